//! Who may do what: bearer tokens with roles, out of a file.
//!
//! Without a file everybody may do everything; then a service listens on loopback only.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::problem::{Problem, ProblemKind};
use crate::settings::SettingsError;

/// Shortest token (bytes): one that cannot be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// What is asked by whoever looks after the service, not by its callers; it shows no data.
const OPEN: [&str; 4] = ["/livez", "/readyz", "/docs", "/openapi.json"];

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Adding units.
    Restock,
    /// Buying.
    Purchase,
    /// Reading items, purchases and metrics.
    Read,
}

impl Role {
    const ALL: [Role; 3] = [Role::Restock, Role::Purchase, Role::Read];

    /// The role of this name.
    pub(crate) fn of(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Its name in files of tokens and in the documentation of paths.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Restock => "restock",
            Self::Purchase => "purchase",
            Self::Read => "read",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    token: String,
    roles: Vec<Role>,
}

/// The tokens of a file; only their digests are kept.
pub struct Tokens {
    known: Vec<([u8; 32], Vec<Role>)>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.known.len())
    }
}

impl Tokens {
    /// Reads a file: TOML, a table `[tokens.NAME]` with `token` and `roles` for each.
    ///
    /// # Errors
    /// What is wrong with it, without a word of what it holds.
    pub fn read(path: &Path) -> Result<Tokens, SettingsError> {
        let wrong = |cause: &dyn std::fmt::Display| SettingsError::new(path.display(), cause);
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
        // The parser's message may quote a line, which may hold a token.
        let file: File = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |at| 1 + text[..at.start].matches('\n').count());
            wrong(&format!("line {line}: not a table [tokens.NAME] with token and roles"))
        })?;
        let mut known: Vec<([u8; 32], Vec<Role>)> = Vec::new();
        for (name, Entry { token, roles }) in file.tokens {
            let is_plain = token.bytes().all(|b| b.is_ascii_graphic());
            if token.len() < TOKEN_BYTES_MIN || !is_plain {
                let cause = format!(
                    "tokens.{name}: token is not {TOKEN_BYTES_MIN} or more letters, digits and symbols"
                );
                return Err(wrong(&cause));
            }
            let digest = digest(&token);
            if known.iter().any(|(other, _)| *other == digest) {
                return Err(wrong(&format!("tokens.{name}: another name has the same token")));
            }
            known.push((digest, roles));
        }
        match known.is_empty() {
            true => Err(wrong(&"it has no token")),
            false => Ok(Tokens { known }),
        }
    }

    /// The roles of a token. All known ones are compared, each in constant time.
    fn roles(&self, token: &str) -> Option<&[Role]> {
        let digest = digest(token);
        let mut found = None;
        for (known, roles) in &self.known {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(&**roles);
            }
        }
        found
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// What it takes to call each path with each method, as its documentation says. Paths are as they are
/// matched, such as `/items/{itemId}`.
pub(crate) type Needed = HashMap<(Method, String), Role>;

/// Who may call a service.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// `None`: everybody.
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// What it takes; what is not listed can only be read.
    pub(crate) needed: Arc<Needed>,
}

impl Access {
    fn check(
        &self,
        method: &Method,
        path: &str,
        matched: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<(), Problem> {
        let is_open = OPEN.iter().any(|open| {
            path.strip_prefix(open).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let Some(tokens) = self.tokens.as_ref().filter(|_| !is_open) else {
            return Ok(());
        };
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let Some(token) = token else {
            let detail = "send the header Authorization: Bearer TOKEN";
            return Err(Problem::new(ProblemKind::Unauthorized, detail));
        };
        let Some(roles) = tokens.roles(token) else {
            return Err(Problem::new(ProblemKind::Unauthorized, "the token is not known"));
        };
        let listed = matched.and_then(|path| self.needed.get(&(method.clone(), path.to_owned())));
        let is_reading = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let needed = listed.copied().or(is_reading.then_some(Role::Read));
        let detail = match needed {
            Some(needed) if roles.contains(&needed) => return Ok(()),
            Some(needed) => format!("the token has not the role {:?}", needed.name()),
            None => format!("no token is good for {method} here"),
        };
        Err(Problem::new(ProblemKind::Forbidden, detail))
    }
}

/// Lets through who may.
pub(crate) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let (method, path) = (request.method(), request.uri().path());
    match access.check(method, path, matched, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const FILE: &str = "[tokens.shop]\ntoken = \"0123456789abcdef\"\nroles = [\"purchase\", \
                        \"read\"]\n[tokens.till]\ntoken = \"fedcba9876543210\"\nroles = \
                        [\"restock\"]\n";

    fn read(text: &str) -> Result<Tokens, SettingsError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, text).expect("written");
        Tokens::read(&path)
    }

    #[track_caller]
    fn check(authorization: Option<&'static str>, method: Method, path: &str, status: Option<u16>) {
        let tokens = Some(Arc::new(read(FILE).expect("tokens")));
        let needed = [((Method::POST, "/purchases".to_owned()), Role::Purchase)];
        let access = Access { tokens, needed: Arc::new(needed.into()) };
        let mut headers = HeaderMap::new();
        if let Some(text) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(text));
        }
        let refused =
            access.check(&method, path, Some(path), &headers).err().map(|problem| problem.status());
        assert_eq!(refused, status, "{authorization:?} {method} {path}");
    }

    #[test]
    fn a_token_opens_what_its_roles_say() {
        let shop = Some("Bearer 0123456789abcdef");
        let till = Some("bearer fedcba9876543210");
        check(shop, Method::POST, "/purchases", None);
        check(shop, Method::GET, "/purchases/1", None);
        check(till, Method::POST, "/purchases", Some(403));
        check(till, Method::GET, "/purchases", Some(403));
        check(shop, Method::POST, "/others", Some(403));
        for none in
            [None, Some("Bearer 0123456789abcdee"), Some("Basic 0123456789abcdef"), Some("")]
        {
            check(none, Method::POST, "/purchases", Some(401));
            check(none, Method::GET, "/metrics", Some(401));
            check(none, Method::GET, "/docs/index.html", None);
            check(none, Method::GET, "/livez", None);
            check(none, Method::GET, "/livezz", Some(401));
        }
    }

    #[test]
    fn a_bad_file_is_told_without_its_tokens() {
        for (text, told) in [
            ("", "line 1: "),
            ("[tokens]\n", "no token"),
            ("[tokens.a]\ntoken = \"canary\"\nroles = []\n", "tokens.a: token is not 16"),
            ("[tokens.a]\ntoken = \"canary-canary-canary\"\nroles = [\"king\"]\n", "line 3"),
            ("[tokens.a]\ntoken = canary-canary-canary\n", "line 2"),
            (
                "[tokens.a]\ntoken = \"canary-canary-canary\"\nroles = []\n[tokens.b]\ntoken = \
                 \"canary-canary-canary\"\nroles = []\n",
                "tokens.b: another name",
            ),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(told) && !error.contains("canary"), "{error}");
        }
        assert!(!format!("{:?}", read(FILE)).contains("0123"));
    }
}

//! Sends batches to the services, one request at a time, so that what is later in the order is
//! sent when all before it is acknowledged. What is not acknowledged is sent again: ids make
//! that harmless.

use std::borrow::Cow;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response};
use serde::Deserialize;

use super::kind::{Kind, Service};
use super::merge::{BadLine, Batch};
use super::progress::Progress;
use crate::error::Error;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(5);
/// A service that says nothing for that long is taken to be gone.
const SILENCE: Duration = Duration::from_secs(120);
/// Longest answer to one line (bytes): an id, a detail, a field, all of them bounded.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What becomes of bad lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnBadLine {
    /// The first one ends the import.
    Stop,
    /// They are reported and left out.
    Skip,
}

/// The services, and what is known of the import.
pub(crate) struct Sender {
    /// How far it is.
    pub(crate) progress: Progress,
    client: Client,
    items: String,
    purchases: String,
    on_bad_line: OnBadLine,
}

/// Why a request came to nothing, or to a part only.
enum Break {
    /// What is left is to be sent again.
    Later(String),
    /// Sending again does not help.
    Never(Error),
}

/// A service's answer to one line.
#[derive(Deserialize)]
struct Answer<'a> {
    line: u64,
    status: u16,
    #[serde(borrow, default)]
    detail: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    field: Option<Cow<'a, str>>,
}

impl Sender {
    /// To the services at these addresses, with a token that opens both.
    pub(crate) fn new(
        items: &str,
        purchases: &str,
        token: Option<&str>,
        on_bad_line: OnBadLine,
        progress: Progress,
    ) -> Result<Sender, Error> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| Error::Usage("the token is no token".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .default_headers(headers)
            // The services are near; a proxy for the web is not the way to them.
            .no_proxy()
            .pool_max_idle_per_host(1)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .tcp_keepalive(Duration::from_secs(10))
            .build()
            .map_err(|e| Error::Usage(format!("HTTP client: {}", causes(&e))))?;
        let (items, purchases) = (items.to_owned(), purchases.to_owned());
        Ok(Sender { progress, client, items, purchases, on_bad_line })
    }

    /// Sends a batch until each of its lines is answered.
    pub(crate) async fn send(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut answered = 0;
        let mut pause = PAUSE_MIN;
        let mut waits = false;
        while answered < batch.lines.len() {
            let before = answered;
            let outcome = self.request(batch, &mut answered).await;
            if answered > before {
                pause = PAUSE_MIN;
                if std::mem::take(&mut waits) {
                    self.progress.note(format_args!("{} goes on", self.url(batch.kind)));
                }
            }
            match outcome {
                Ok(()) => {}
                Err(Break::Never(error)) => return Err(error),
                Err(Break::Later(cause)) => {
                    if !waits {
                        waits = true;
                        let (url, left) = (self.url(batch.kind), batch.lines.len() - answered);
                        self.progress.note(format_args!(
                            "{url} is not available ({cause}): waits, then sends again what it \
                             has not acknowledged ({left} lines)"
                        ));
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        self.progress.advance(batch.source_bytes);
        Ok(())
    }

    /// A line that is left out, unless it ends the import.
    pub(crate) fn bad(&mut self, line: BadLine) -> Result<(), Error> {
        self.progress.counts.bad += 1;
        match self.on_bad_line {
            OnBadLine::Stop => Err(Error::BadLine { line }),
            OnBadLine::Skip => {
                self.progress.note(format_args!("{line}; left out"));
                Ok(())
            }
        }
    }

    fn url(&self, kind: &Kind) -> String {
        let path = |url: &str| format!("{}/{}", url.trim_end_matches('/'), kind.path);
        match kind.service {
            Service::Items => path(&self.items),
            Service::Purchases => path(&self.purchases),
        }
    }

    /// Sends what is not answered yet, and takes the answers.
    async fn request(&mut self, batch: &Batch, answered: &mut usize) -> Result<(), Break> {
        let first = *answered;
        let start = first.checked_sub(1).map_or(0, |last| batch.lines[last].1);
        let request = self
            .client
            .post(self.url(batch.kind))
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(batch.body.slice(start..));
        let mut response = request.send().await.map_err(|e| Break::Later(causes(&e)))?;
        if !response.status().is_success() {
            return Err(self.refused(batch.kind, response).await);
        }
        let mut rest: Vec<u8> = Vec::new();
        loop {
            let chunk = response.chunk().await.map_err(|e| Break::Later(causes(&e)))?;
            let Some(chunk) = chunk else { break };
            rest.extend_from_slice(&chunk);
            let mut taken = 0;
            while let Some(length) = rest[taken..].iter().position(|b| *b == b'\n') {
                let text = &rest[taken..taken + length];
                taken += length + 1;
                self.answer(batch, first, answered, text)?;
            }
            rest.drain(..taken);
            if rest.len() > ANSWER_BYTES_MAX {
                return Err(Break::Never(self.strange(batch.kind, &rest)));
            }
        }
        if !rest.trim_ascii().is_empty() {
            self.answer(batch, first, answered, &rest)?;
        }
        match *answered < batch.lines.len() {
            true => Err(Break::Later("it ended before all lines were answered".to_owned())),
            false => Ok(()),
        }
    }

    /// The answer to the next line.
    fn answer(
        &mut self,
        batch: &Batch,
        first: usize,
        answered: &mut usize,
        text: &[u8],
    ) -> Result<(), Break> {
        let expected = (*answered - first) as u64 + 1;
        let answer = serde_json::from_slice::<Answer<'_>>(text).ok();
        let Some(answer) = answer.filter(|a| a.line == expected) else {
            return Err(Break::Never(self.strange(batch.kind, text)));
        };
        let Some((number, _)) = batch.lines.get(*answered) else {
            return Err(Break::Never(self.strange(batch.kind, text)));
        };
        match answer.status {
            200..300 => self.progress.counts.acknowledge(batch.kind),
            status if is_for_later(status) => {
                let detail = answer.detail.unwrap_or_default();
                return Err(Break::Later(format!("{status} {detail}").trim_end().to_owned()));
            }
            status => {
                let detail = answer.detail.unwrap_or_default();
                // A detail mostly begins with the field's name.
                let field = answer.field.filter(|field| !detail.contains(&**field));
                let field = field.map(|field| format!("{field}: ")).unwrap_or_default();
                let cause = format!("{status} {field}{detail}");
                let line = BadLine { file: batch.file.clone(), number: *number, cause };
                self.bad(line).map_err(Break::Never)?;
            }
        }
        *answered += 1;
        Ok(())
    }

    /// A request that was refused as a whole.
    async fn refused(&self, kind: &Kind, response: Response) -> Break {
        let status = response.status();
        if is_for_later(status.as_u16()) {
            return Break::Later(status.to_string());
        }
        let body = response.text().await.unwrap_or_default();
        let cause = format!("answers {status}: {}", shortened(body.as_bytes()));
        Break::Never(Error::Service { url: self.url(kind), cause })
    }

    fn strange(&self, kind: &Kind, answer: &[u8]) -> Error {
        let cause = format!("is no such service: it answers {}", shortened(answer));
        Error::Service { url: self.url(kind), cause }
    }
}

/// Whether the same line may be taken later.
fn is_for_later(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..600)
}

fn shortened(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let shown: String = text.trim().chars().take(200).collect();
    format!("{shown:?}")
}

/// The last cause, which is the one that tells: "connection refused", not "error sending".
fn causes(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

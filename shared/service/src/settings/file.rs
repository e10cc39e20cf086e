//! A settings file: TOML, each key taken once; what nobody took is an error.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::SettingsError;

/// The keys of a settings file that nobody has taken yet.
#[derive(Debug, Default)]
pub struct SettingsFile {
    path: PathBuf,
    rest: Table,
}

impl SettingsFile {
    /// Reads a file; no path, no settings.
    ///
    /// # Errors
    /// When it cannot be read, or is no TOML.
    pub fn read(path: Option<&Path>) -> Result<SettingsFile, SettingsError> {
        let Some(path) = path else {
            return Ok(SettingsFile::default());
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| SettingsError::new(path.display(), error))?;
        Self::parse(path, &text)
    }

    /// As [`SettingsFile::read`], from a text.
    ///
    /// # Errors
    /// When it is no TOML.
    pub fn parse(path: &Path, text: &str) -> Result<SettingsFile, SettingsError> {
        let rest = text.parse::<Table>().map_err(|error| {
            let line = error.span().map_or(1, |at| 1 + text[..at.start].matches('\n').count());
            let place = format!("{}:{line}", path.display());
            SettingsError::new(place, error.message())
        })?;
        Ok(SettingsFile { path: path.to_owned(), rest })
    }

    /// Takes `key` out of the file; `given`, from a flag or the environment, wins over it.
    ///
    /// # Errors
    /// When the file's value is of another kind, also where it does not win.
    pub fn or<T: DeserializeOwned>(
        &mut self,
        key: &str,
        given: Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.rest.remove(key) else {
            return Ok(given);
        };
        let read = value.try_into::<T>().map_err(|error| self.wrong(key, error.message()))?;
        Ok(Some(given.unwrap_or(read)))
    }

    /// Takes a table out of the file, to be emptied as this one is.
    ///
    /// # Errors
    /// When it is no table.
    pub fn table(&mut self, key: &str) -> Result<SettingsFile, SettingsError> {
        let path = self.path.clone();
        match self.rest.remove(key) {
            None => Ok(SettingsFile { path, rest: Table::new() }),
            Some(Value::Table(rest)) => Ok(SettingsFile { path, rest }),
            Some(_) => Err(self.wrong(key, "it is a table")),
        }
    }

    /// Takes all that is left, as texts: `a.b = 1` and `"a.b" = "1"` are the same.
    ///
    /// # Errors
    /// When a value is a list.
    pub fn lines(&mut self) -> Result<Vec<(String, String)>, SettingsError> {
        let mut lines = Vec::new();
        for (key, value) in std::mem::take(&mut self.rest) {
            self.flatten(key, value, &mut lines)?;
        }
        Ok(lines)
    }

    fn flatten(
        &self,
        key: String,
        value: Value,
        lines: &mut Vec<(String, String)>,
    ) -> Result<(), SettingsError> {
        match value {
            Value::Table(inner) => {
                for (name, value) in inner {
                    self.flatten(format!("{key}.{name}"), value, lines)?;
                }
            }
            Value::Array(_) => return Err(self.wrong(&key, "it is one value, not a list")),
            Value::String(text) => lines.push((key, text)),
            other => lines.push((key, other.to_string())),
        }
        Ok(())
    }

    /// The end: every key has been taken.
    ///
    /// # Errors
    /// The first key that nobody knows.
    pub fn finish(self) -> Result<(), SettingsError> {
        match self.rest.keys().next() {
            None => Ok(()),
            Some(key) => Err(self.wrong(key, "there is no such setting")),
        }
    }

    fn wrong(&self, key: &str, cause: &str) -> SettingsError {
        let place = format!("{}: {key}", self.path.display());
        SettingsError::new(place, cause.lines().next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SettingsFile {
        SettingsFile::parse(Path::new("a.toml"), text).expect("TOML")
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let mut file = file("a = 1\nb = 2");
        assert_eq!(file.or("a", Some(7)), Ok(Some(7)));
        assert_eq!(file.or("b", None), Ok(Some(2)));
        assert_eq!(file.or::<u32>("c", None), Ok(None));
        assert_eq!(file.finish(), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let unknown = file("nosuch = 1").finish().expect_err("unknown").to_string();
        assert_eq!(unknown, "a.toml: nosuch: there is no such setting");
        let kind = file("a = true").or::<u32>("a", Some(1)).expect_err("kind").to_string();
        assert!(kind.starts_with("a.toml: a: invalid type: boolean"), "{kind}");
        let syntax = SettingsFile::parse(Path::new("a.toml"), "a = 1\nb = ").expect_err("syntax");
        assert!(syntax.to_string().starts_with("a.toml:2: "), "{syntax}");
        assert!(!syntax.to_string().contains('\n'));
    }

    #[test]
    fn dotted_keys_are_one_name() {
        let mut file = file("linger.ms = 5\n\"batch.size\" = \"7\"\ndebug = \"broker\"");
        let lines = file.lines().expect("texts");
        let expected = [("batch.size", "7"), ("debug", "broker"), ("linger.ms", "5")];
        assert_eq!(lines, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(file.finish(), Ok(()));
    }
}

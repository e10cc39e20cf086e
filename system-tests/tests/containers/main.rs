//! What lies in `docker/` fits the programs: every setting is one that they have, every query is of
//! numbers that they print, and versions, ports and tokens are the same wherever they stand.
//!
//! It needs no container engine. That the images build and run, only an engine can show.
#![allow(missing_docs, clippy::unwrap_used)]

mod compose;
mod image;
mod queries;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The programs that have instances.
const SERVICES: [&str; 3] = ["items-service", "purchase-service", "purchase-processor"];
/// All programs.
const PROGRAMS: [&str; 4] = [SERVICES[0], SERVICES[1], SERVICES[2], "bps"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn text(path: &str) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn toml(text: &str) -> toml::Table {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// The members of an object, none where there is no object.
fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// The texts of a list, or the names of an object.
fn names(value: &Value) -> Vec<&str> {
    let listed = value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap());
    listed.chain(members(value).map(|(name, _)| name)).collect()
}

/// What a value of the compose file is where nothing in the environment overrules it.
fn plain(value: &Value) -> String {
    let value = value.as_str().unwrap_or_else(|| panic!("{value} is not quoted"));
    let default = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let default = default.map(|inner| inner.split_once(":-").expect("a default").1);
    default.unwrap_or(value).to_owned()
}

/// What is in the environment of a service of the compose file.
fn environment(service: &Value) -> BTreeMap<String, String> {
    let set = |(name, value): (&str, &Value)| (name.to_owned(), plain(value));
    members(&service["environment"]).map(set).collect()
}

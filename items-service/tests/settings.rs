//! The settings of a service, as a program sees them: file, environment, flags, exit codes.

use std::path::PathBuf;
use std::process::{Command, Output};

fn run(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_items-service"));
    command.args(args).env_clear().envs(environment.iter().copied());
    command.output().expect("it runs")
}

/// Asserts exit code 64 and one line on stderr that holds `told`.
#[track_caller]
fn refused(args: &[&str], environment: &[(&str, &str)], told: &str) {
    let output = run(args, environment);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{args:?}: {text}");
    assert!(text.contains(told) && text.starts_with("items-service: "), "{text}");
    assert_eq!((text.matches('\n').count(), output.stdout.len()), (1, 0), "{text}");
}

/// The line of `--print-config` for a key.
fn printed(args: &[&str], environment: &[(&str, &str)], key: &str) -> String {
    let output = run(&[&["--print-config"], args].concat(), environment);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let line = text.lines().find(|line| line.starts_with(key));
    line.unwrap_or_else(|| panic!("{key} in {text}")).to_owned()
}

fn file(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn a_file_yields_to_the_environment_and_that_to_flags() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder, "partitions = 1\nlisten = \"127.0.0.1:1\"\n[kafka]\nset.linger.ms=1");
    let path = path.to_str().expect("a text");
    let config = ["--config", path];
    assert_eq!(printed(&[], &[], "partitions"), "partitions = 8");
    assert_eq!(printed(&[], &[], "listen"), "listen = \"127.0.0.1:7401\"");
    assert_eq!(printed(&config, &[], "partitions"), "partitions = 1");
    assert_eq!(printed(&[], &[("BPS_CONFIG", path)], "listen"), "listen = \"127.0.0.1:1\"");
    let environment = [("BPS_PARTITIONS", "2"), ("BPS_KAFKA_SET", "linger.ms=2\ndebug=all")];
    assert_eq!(printed(&config, &environment, "partitions"), "partitions = 2");
    let flag = [&config[..], &["--partitions", "3"]].concat();
    assert_eq!(printed(&flag, &environment, "partitions"), "partitions = 3");
    let flag = [&config[..], &["--kafka", "h:1"]].concat();
    assert_eq!(printed(&flag, &[], "\"linger"), "\"linger.ms\" = \"1\"");
    assert_eq!(printed(&flag, &environment, "\"linger"), "\"linger.ms\" = \"2\"");
    assert_eq!(printed(&flag, &environment, "debug"), "debug = \"all\"");
    let flag = [&flag[..], &["--kafka-set", "linger.ms=3"]].concat();
    assert_eq!(printed(&flag, &environment, "\"linger"), "\"linger.ms\" = \"3\"");
}

#[test]
fn bad_settings_end_with_64_and_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder, "colour = \"red\"");
    refused(&["--config", path.to_str().expect("a text")], &[], "colour: there is no such setting");
    refused(&["--config", "/no/such/file"], &[], "/no/such/file: ");
    refused(&[], &[], "no cluster is named");
    refused(&["--colour"], &[], "unexpected argument '--colour'");
    refused(&["--partitions", "many"], &[], "invalid value 'many'");
    refused(&[], &[("BPS_PARTITIONS", "0")], "partitions: 0 is not from 1");
    refused(&["--listen", "here"], &[], "invalid value 'here'");
    refused(&["--kafka", "h:1", "--kafka-set", "acks=1"], &[], "\"acks\" cannot be set");
    refused(&["--kafka", "h:1"], &[("BPS_KAFKA_SET", "no.such=1")], "no.such");
    refused(&["--kafka", "h:1", "--listen", "0.0.0.0:0"], &[], "needs --tokens FILE");
    refused(&["--kafka", "h:1", "--tokens", "/no/such/file"], &[], "/no/such/file: ");
    refused(&["--kafka", "h:1", "--log", "a=b=c"], &[], "log: ");
}

#[test]
fn secrets_are_not_printed() {
    let args = ["--kafka", "h:1", "--kafka-set", "sasl.password=hush"];
    assert_eq!(printed(&args, &[], "\"sasl"), "\"sasl.password\" = \"(not shown)\"");
}

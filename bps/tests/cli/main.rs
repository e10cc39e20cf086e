//! The binary as an operator meets it: help, exit codes, output, folders.

mod copy;
mod import;
mod replay;
mod reset;
mod verify;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bps_streams::Outgoing;
use bps_streams::broker::embedded::EmbeddedBroker;
use bps_streams::broker::{Broker, CleanupPolicy, TopicDescription};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bps"));
    command.args(args).stdin(Stdio::null()).env_remove("NO_COLOR");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BPS_")) {
        command.env_remove(name);
    }
    command
}

/// Exit code, standard output, standard error.
fn bps(args: &[&str]) -> (i32, String, String) {
    let output = command(args).output().expect("started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("not killed");
    (code, text(output.stdout), text(output.stderr))
}

#[track_caller]
fn check(args: &[&str], code: i32, stdout: &str, stderr: &str) {
    let (found, out, err) = bps(args);
    assert_eq!(found, code, "{args:?}\n{out}\n{err}");
    assert!(out.contains(stdout), "{args:?}: {stdout:?} is not in\n{out}");
    assert!(err.contains(stderr), "{args:?}: {stderr:?} is not in\n{err}");
    assert!(!(out + &err).contains('\u{1b}'), "{args:?}: colours, but no terminal");
}

/// Folder as text.
fn text(folder: &Path) -> &str {
    folder.to_str().expect("UTF-8")
}

fn create(broker: &EmbeddedBroker, name: &str) {
    let cleanup = CleanupPolicy::Delete { retention_ms: None };
    let topic =
        TopicDescription { name: name.to_owned(), partitions: 2, cleanup, future_max_ms: None };
    broker.create_topic(&topic).expect("created");
}

/// Appends values to partition 1, and waits until they are durable.
fn append(broker: &EmbeddedBroker, topic: &str, values: &[&str]) {
    let appender = broker.appender().expect("an appender");
    for value in values {
        let (tell, told) = mpsc::channel();
        let (key, value) = (Some(&b"k"[..]), Some(value.as_bytes()));
        let headers = [("h", Some(&b"\xff"[..]))];
        let record =
            Outgoing { topic, partition: 1, timestamp: 1_000, key, value, headers: &headers };
        let ack = move |outcome| drop(tell.send(outcome));
        appender.append(record, Box::new(ack)).expect("taken");
        told.recv().expect("answered").expect("durable");
    }
}

fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("started").success());
}

#[test]
fn every_command_has_examples_and_exit_codes_in_its_help() {
    let commands: [&[&str]; 12] = [
        &[],
        &["import"],
        &["tail"],
        &["topics"],
        &["topics", "list"],
        &["topics", "create"],
        &["topics", "describe"],
        &["topics", "copy"],
        &["topology"],
        &["verify"],
        &["reset"],
        &["manual"],
    ];
    for args in commands {
        let args = [args, &["--help"]].concat();
        check(&args, 0, "Examples:\n  bps", "");
        check(&args, 0, "\n   64  the arguments or settings cannot be", "");
    }
    check(&["up", "--help"], 0, "--items-listen", "");
    check(&["--version"], 0, "bps ", "");
}

#[test]
fn what_cannot_be_asked_for_exits_64() {
    check(&[], 64, "", "Usage: bps");
    check(&["nosuch"], 64, "", "nosuch");
    check(&["import"], 64, "", "--restocks");
    check(&["import", "--restocks", "-", "--purchases", "-"], 64, "", "only one of the files");
    let https = ["import", "--restocks", "-", "--items-url", "https://h"];
    check(&https, 64, "", "https is not spoken here");
    check(&["import", "--restocks", "-", "--clock-skew-max", "soon"], 64, "", "no span of time");
    check(&["tail"], 64, "", "TOPIC");
    check(&["tail", "t", "--data", "d", "--kafka", "h:1"], 64, "", "either here or there");
    let acks = ["topics", "list", "--kafka", "h:1", "--kafka-set", "acks=1"];
    check(&acks, 64, "", "\"acks\" cannot be set");
    check(&["reset", "--anew"], 64, "", "--output-prefix");
    check(&["reset", "--anew", "--skip-gap", "--output-prefix", "x"], 64, "", "cannot be used");
    check(&["reset", "--kafka", "h:1"], 64, "", "--state DIR");
}

#[test]
fn the_topology_is_printed() {
    check(&["topology"], 0, "Topology bps-purchase-processor\n", "");
    check(&["topology", "--output-prefix", "x"], 0, "Topology x-purchase-processor\n", "");
    check(&["topology", "--mermaid"], 0, "flowchart LR\n", "");
}

#[test]
fn a_topology_is_named_and_an_unknown_one_is_refused_with_those_that_there_are() {
    check(&["topology", "--topology", "stock"], 0, "Topology bps-purchase-processor\n", "");
    let (_, all, _) = bps(&["topology"]);
    assert_eq!(bps(&["topology", "--topology", "stock"]).1, all);
    let (_, rights, _) = bps(&["acl"]);
    assert_eq!(bps(&["acl", "--topology", "stock"]).1, rights);
    assert_eq!(rights.matches(" --group bps-purchase-processor").count(), 2, "{rights}");
    let folder = tempfile::tempdir().expect("a folder");
    let data = text(folder.path());
    check(&["topics", "create", "--data", data, "--topology", "stock"], 0, "created", "");
    std::fs::create_dir(folder.path().join("state")).expect("made");
    let told = "topology \"stocks\" does not exist; there are: stock";
    for command in ["topology", "acl"] {
        check(&[command, "--topology", "stocks"], 64, "", told);
    }
    let commands: [&[&str]; 5] = [
        &["topics", "create"],
        &["topics", "copy", "--to", "wide"],
        &["verify"],
        &["replay"],
        &["reset", "--yes"],
    ];
    for command in commands {
        let command = [command, &["--data", data, "--topology"]].concat();
        check(&[&command[..], &["stocks"]].concat(), 64, "", told);
        check(&[&command[..], &["stock"]].concat(), 0, "", "");
    }
    let run = ["up", "--run", "stocks", "--print-config"];
    check(&run, 64, "", &format!("run: {told}"));
    let workers = ["up", "--workers", "stocks=1", "--print-config"];
    check(&workers, 64, "", &format!("workers: {told}"));
    let memory = ["up", "--memory", "1MiB", "--print-config"];
    check(&memory, 64, "", "memory: 1MiB is too little: ");
}

#[test]
fn what_runs_is_printed_and_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bps.toml");
    let printed = |args: &[&str]| {
        let (code, out, err) = bps(&[&["up", "--print-config"], args].concat());
        assert_eq!(code, 0, "{err}");
        std::fs::write(&file, &out).expect("written");
        assert_eq!(bps(&["up", "--print-config", "--config", text(&file)]).1, out);
        out
    };
    let has = |text: &str, line: &str| text.lines().any(|found| found == line);
    let defaults = printed(&[]);
    for line in ["run = \"stock\"", "workers = 2", "memory = \"372MiB\""] {
        assert!(has(&defaults, line), "{line} is not in\n{defaults}");
    }
    let told = printed(&["--run", "stock", "--workers", "stock=3", "--memory", "1073741824"]);
    for line in ["run = \"stock\"", "workers = 3", "memory = \"1GiB\""] {
        assert!(has(&told, line), "{line} is not in\n{told}");
    }
}

#[test]
fn man_pages_and_completions_know_every_program_and_flag() {
    let folder = tempfile::tempdir().expect("a folder");
    check(&["manual", text(folder.path())], 0, "", "man/man1, bash-completion/completions");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
    for program in ["bps", "purchase-processor", "items-service", "purchase-service"] {
        let page = read(&format!("man/man1/{program}.1"));
        assert!(page.contains(&format!(".TH {program} 1")), "{page}");
        let [bash, zsh, fish] = [
            format!("bash-completion/completions/{program}"),
            format!("zsh/site-functions/_{program}"),
            format!("fish/vendor_completions.d/{program}.fish"),
        ];
        assert!(read(&bash).contains(&format!(" -o default {program}\n")), "{bash}");
        assert!(read(&zsh).starts_with(&format!("#compdef {program}\n")), "{zsh}");
        assert!(read(&fish).contains(&format!("complete -c {program} ")), "{fish}");
        let checked = Command::new("bash").arg("-n").arg(folder.path().join(&bash)).status();
        assert!(checked.expect("started").success(), "{bash} is no bash");
    }
    let (_, help, _) = bps(&["import", "--help"]);
    let (page, bash) = (read("man/man1/bps-import.1"), read("bash-completion/completions/bps"));
    let flags = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    for flag in flags.map(|f| f.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())) {
        let escaped = flag.replace('-', "\\-");
        assert!(page.contains(&escaped), "bps-import.1 lacks --{flag}");
        assert!(bash.contains(flag), "the completion lacks --{flag}");
    }
    let file = folder.path().join("man");
    let (code, _, err) = bps(&["manual", &format!("{}/man1/bps.1", text(&file))]);
    assert_eq!((code, err.contains("bps.1/man/man1: Not a directory")), (1, true), "{err}");
}

#[test]
fn topics_are_created_listed_and_described() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = text(folder.path());
    check(&["topics", "list", "--data", data], 1, "", "no embedded log lies in");
    let create = ["topics", "create", "--data", data, "--partitions", "3"];
    check(&create, 0, "bps-stock              created    3 partitions, compact\n", "");
    check(&create, 0, "bps-stock              exists     3 partitions, compact\n", "");
    let (_, list, _) = bps(&["topics", "list", "--data", data]);
    assert_eq!(list.lines().count(), 7, "{list}");
    assert!(list.contains("bps-purchase-finished    3 partitions  delete, kept for ever\n"));
    check(&["topics", "describe", "--data", data], 0, "\nbps-purchase-created\n", "");
    let described = ["topics", "describe", "bps-items-added", "--data", data];
    check(&described, 0, "  partition   2   offsets 0..0\n", "");
    check(&described, 0, "  future records  refused beyond 10000 ms ahead of the clock\n", "");
    let unknown = ["topics", "describe", "nosuch", "--data", data];
    check(&unknown, 1, "", "topic nosuch does not exist; there are: bps-dead-letters, bps-items-");
    let _owner = EmbeddedBroker::open(folder.path()).expect("free");
    check(&create, 1, "", "is in use by process");
    check(&["topics", "list", "--data", data], 0, "bps-stock", "");
}

#[test]
fn tail_shows_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = text(folder.path());
    let broker = EmbeddedBroker::open(folder.path()).expect("free");
    create(&broker, "t");
    append(&broker, "t", &["{\"a\":1}", "two"]);
    check(&["tail", "nosuch", "--data", data], 1, "", "topic nosuch does not exist; there are: t");
    check(&["tail", "t", "--data", data, "--count", "0"], 0, "", "");
    let (code, out, err) = bps(&["tail", "t", "--data", data, "--from-start", "--count", "2"]);
    let line = "  1970-01-01T00:00:01Z  k  ";
    assert_eq!(out, format!("1@0{line}{{\"a\":1}}  h=0xff\n1@1{line}two  h=0xff\n"), "{err}");
    assert_eq!(code, 0);
    let json = ["tail", "t", "--data", data, "--from-start", "--count", "1", "--json"];
    let (_, out, _) = bps(&json);
    assert_eq!(
        out,
        "{\"topic\":\"t\",\"partition\":1,\"offset\":0,\"timestamp\":1000,\
         \"time\":\"1970-01-01T00:00:01Z\",\"key\":\"k\",\"value\":{\"a\":1},\
         \"headers\":[{\"name\":\"h\",\"value\":{\"$hex\":\"ff\"}}]}\n"
    );
}

#[test]
fn tail_follows_a_log_that_another_process_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = text(folder.path());
    let mut tail = command(&["tail", "late", "--data", data, "--wait"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut errors = BufReader::new(tail.stderr.take().expect("piped"));
    let mut line = String::new();
    errors.read_line(&mut line).expect("a line");
    assert!(line.starts_with("waits: no embedded log lies in"), "{line}");
    let broker = EmbeddedBroker::open(folder.path()).expect("free");
    create(&broker, "late");
    let mut lines = BufReader::new(tail.stdout.take().expect("piped"));
    let mut slowest = Duration::ZERO;
    for value in ["one", "two", "three"] {
        append(&broker, "late", &[value]);
        let begun = Instant::now();
        line.clear();
        lines.read_line(&mut line).expect("a line");
        assert!(line.contains(&format!("  k  {value}  ")), "{line}");
        if value != "one" {
            slowest = slowest.max(begun.elapsed());
        }
    }
    assert!(slowest < Duration::from_secs(2), "a line took {slowest:?}");
    interrupt(&tail);
    assert_eq!(tail.wait().expect("ended").code(), Some(130));
}

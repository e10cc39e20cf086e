//! The settings that programs are given are ones that they have, and can start with.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;

use system_tests::processes::command;

use crate::{PROGRAMS, SERVICES, environment, image, members, repository, text, toml, yaml};

type Settings = BTreeMap<String, String>;

/// Runs a program with these settings, and none of whoever runs the test.
fn run(name: &str, args: &[&str], settings: &Settings) -> Output {
    command(name).args(args).envs(settings).output().unwrap()
}

/// The variables that a command and its subcommands read, as their help tells.
fn known(name: &str, command: &[&str]) -> BTreeSet<String> {
    let output = run(name, &[command, &["--help"]].concat(), &Settings::new());
    assert!(output.status.success(), "{name} {command:?} --help: {output:?}");
    let help = String::from_utf8(output.stdout).unwrap();
    // A line may be broken between any two words.
    let line = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let variable = |rest: &str| rest.split(['=', ']']).next().unwrap().to_owned();
    let mut known: BTreeSet<String> = line.split("[env: ").skip(1).map(variable).collect();
    let commands = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest);
    let commands = commands.split_once("\n\n").map_or(commands, |(block, _)| block);
    for line in commands.lines() {
        // A deeper line goes on with what the one before says.
        let named = line.strip_prefix("  ").filter(|line| !line.starts_with(' '));
        let named = named.and_then(|line| line.split(' ').next());
        if let Some(below) = named.filter(|named| *named != "help") {
            known.extend(self::known(name, &[command, &[below]].concat()));
        }
    }
    known
}

fn known_of_all() -> BTreeMap<&'static str, BTreeSet<String>> {
    let all: BTreeMap<_, _> = PROGRAMS.map(|name| (name, known(name, &[]))).into();
    // Those of a program, and those of a command of a command.
    for (name, variable) in [("items-service", "BPS_TOKENS"), ("bps", "BPS_PARTITIONS")] {
        assert!(all[name].contains(variable), "{name}: {:?}", all[name]);
    }
    all
}

#[test]
fn every_setting_is_one_that_its_program_has() {
    let known = known_of_all();
    let (compose, cluster) = (yaml("docker/compose.yaml"), yaml("docker/compose.cluster.yaml"));
    let mut seen = BTreeSet::new();
    for (name, service) in members(&compose["services"]) {
        let Some(bin) = service["build"]["args"]["BIN"].as_str() else {
            continue;
        };
        seen.insert(bin);
        let more = &cluster["services"][name]["environment"];
        for (key, _) in members(&service["environment"]).chain(members(more)) {
            assert!(known[bin].contains(key), "{name}: {bin} reads no {key}");
        }
    }
    assert_eq!(seen, BTreeSet::from(PROGRAMS), "each program has a service");
    for (stage, settings) in image::environments() {
        for key in settings.keys() {
            assert!(known[&*stage].contains(key), "Dockerfile: {stage} reads no {key}");
        }
    }
}

#[test]
fn every_program_starts_with_the_settings_that_it_is_given() {
    let compose = yaml("docker/compose.yaml");
    let tokens = repository().join("docker/tokens.toml").display().to_string();
    for name in SERVICES {
        let mut settings = environment(&compose["services"][name]);
        let secret = settings.insert("BPS_TOKENS".to_owned(), tokens.clone());
        assert_eq!(secret.as_deref(), Some("/run/secrets/tokens"));
        let output = run(name, &["--print-config"], &settings);
        assert!(output.status.success(), "{name}: {output:?}");
        let printed = toml(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(printed["listen"].as_str(), Some(&*settings["BPS_LISTEN"]), "{name}");
        assert_eq!(printed["kafka"]["bootstrap"].as_str(), Some("kafka:19092"), "{name}");
        // Without tokens it must not start: that is why they are given.
        settings.remove("BPS_TOKENS");
        assert_eq!(run(name, &["--print-config"], &settings).status.code(), Some(64), "{name}");
    }
}

#[test]
fn prometheus_has_the_token_of_a_reader() {
    let tokens = toml(&text("docker/tokens.toml"));
    let scraper = &tokens["tokens"]["scraper"];
    assert_eq!(scraper["token"].as_str(), Some(text("docker/prometheus/scraper.token").trim()));
    assert_eq!(scraper["roles"], toml::Value::from(vec!["read"]));
}

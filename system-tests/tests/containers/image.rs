//! The Dockerfile makes every program.

use std::collections::BTreeMap;

use parse_dockerfile::{Command, Instruction, Stage};

use crate::{PROGRAMS, SERVICES, text, toml};

/// What the image of each program sets.
pub(crate) fn environments() -> Vec<(String, BTreeMap<String, String>)> {
    let source = text("docker/Dockerfile");
    let file = parse_dockerfile::parse(&source).unwrap();
    let of = |stage: Stage<'_, '_>| {
        let mut set = BTreeMap::new();
        for instruction in stage.instructions {
            if let Instruction::Env(env) = instruction {
                let pairs = env.arguments.value.split_whitespace();
                let pairs = pairs.map(|pair| pair.split_once('=').expect("NAME=VALUE"));
                set.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
        }
        (name(&stage).to_owned(), set)
    };
    file.stages().map(of).filter(|(_, set)| !set.is_empty()).collect()
}

fn name<'b>(stage: &Stage<'_, 'b>) -> &'b str {
    stage.from.as_.as_ref().map_or("", |(_, name)| &name.value)
}

#[test]
fn the_dockerfile_makes_every_program_and_none_as_root() {
    let source = text("docker/Dockerfile");
    let file = parse_dockerfile::parse(&source).unwrap();
    let args: Vec<&str> = file.global_args().map(|arg| &*arg.arguments.value).collect();
    assert_eq!(args, ["BIN=bps"]);
    let stages: Vec<_> = file.stages().collect();
    let found: Vec<_> =
        stages.iter().map(|stage| (name(stage), &*stage.from.image.value)).collect();
    let cargo = toml(&text("Cargo.toml"));
    let rust = cargo["workspace"]["package"]["rust-version"].as_str().unwrap();
    // Both of one Debian: a program finds the glibc and the OpenSSL that it was linked against.
    let builder = format!("rust:{rust}-bookworm");
    let mut wanted = vec![("build", &*builder), ("runtime", "debian:bookworm-slim")];
    wanted.extend(PROGRAMS.map(|program| (program, "runtime")));
    wanted.push(("", "${BIN}"));
    assert_eq!(found, wanted);
    let mut user = None;
    let mut entries = Vec::new();
    let mut healthy = Vec::new();
    for stage in &stages {
        for instruction in stage.instructions {
            match instruction {
                // A later one would have to be looked at, too.
                Instruction::User(is) => {
                    assert_eq!(user.replace((name(stage), &*is.arguments.value)), None);
                }
                Instruction::Entrypoint(is) => match &is.arguments {
                    Command::Exec(words) => {
                        let words: Vec<&str> =
                            words.value.iter().map(|word| &*word.value).collect();
                        entries.push((name(stage), words));
                    }
                    shell => panic!("a shell between a program and its signals: {shell:?}"),
                },
                Instruction::Healthcheck(_) => healthy.push(name(stage)),
                _ => {}
            }
        }
    }
    assert_eq!(user, Some(("runtime", "10001:10001")));
    assert_eq!(entries, PROGRAMS.map(|program| (program, vec![program])));
    assert_eq!(healthy, SERVICES);
    let seen = text("docker/Dockerfile.dockerignore");
    for member in cargo["workspace"]["members"].as_array().unwrap() {
        let folder = member.as_str().unwrap().split('/').next().unwrap();
        assert!(seen.lines().any(|line| line == format!("!{folder}")), "{member} is not seen");
    }
}

//! Every line of the README that asks a service does as printed, and there is one for each path.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use system_tests::installation::PATIENCE;

use crate::run;
use crate::shop::Shop;

/// The commands with `curl`, each whole.
fn commands() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(readme).unwrap().replace("\\\n", " ");
    let indented = text.lines().filter_map(|line| line.strip_prefix("    "));
    indented.filter(|line| line.contains("curl ")).map(str::to_owned).collect()
}

/// What `curl` asks: the method, and the path without its parameters.
fn asked(command: &str) -> (&'static str, String) {
    let is_post = command.contains(" -d ") || command.contains("--data-binary");
    let at = command.find("localhost:").unwrap();
    let rest = &command[at..];
    let url = &rest[..rest.find(['\'', ' ']).unwrap_or(rest.len())];
    let path = url.split_once('/').map_or(String::new(), |(_, path)| format!("/{path}"));
    let path = path.split('?').next().unwrap_or_default().to_owned();
    (if is_post { "post" } else { "get" }, path)
}

/// Whether a path is one of this route.
fn is_of(path: &str, route: &str) -> bool {
    let (mut path, mut route) = (path.split('/'), route.split('/'));
    loop {
        match (path.next(), route.next()) {
            (None, None) => return true,
            (Some(part), Some(name)) if part == name || name.starts_with('{') => {}
            _ => return false,
        }
    }
}

#[test]
fn each_curl_line_works_and_each_path_has_one() {
    run(async {
        let shop = Shop::open("readme").await;
        let commands = commands();
        for command in &commands {
            let ported = command
                .replace("localhost:7401", shop.items("").trim_start_matches("http://"))
                .replace("localhost:7402", shop.purchases("").trim_start_matches("http://"));
            let is_stream = command.contains("curl -N");
            // Streams end by the time that is given them.
            let most = if is_stream { 2 } else { 60 };
            let script = format!(
                "curl() {{ command curl -sS --max-time {most} -o /dev/null -w '%{{http_code}}' \"$@\"; }}; \
                 {ported}"
            );
            let run = || Command::new("bash").args(["-c", &script]).output().unwrap();
            let deadline = Instant::now() + PATIENCE;
            loop {
                let output = tokio::task::block_in_place(run);
                let status = String::from_utf8_lossy(&output.stdout).into_owned();
                // Who types is slower than a read side.
                if status == "404" && Instant::now() < deadline {
                    continue;
                }
                let code = output.status.code();
                assert_eq!(code, Some(if is_stream { 28 } else { 0 }), "{command}: {output:?}");
                assert!(["200", "201", "202"].contains(&&*status), "{command}: {status}");
                break;
            }
        }
        let asked: BTreeSet<_> = commands.iter().map(|command| asked(command)).collect();
        for base in [shop.items(""), shop.purchases("")] {
            let api = shop.get(&format!("{base}/openapi.json")).await.json;
            for (route, item) in api["paths"].as_object().unwrap() {
                for method in item.as_object().unwrap().keys() {
                    let has = asked.iter().any(|(m, path)| m == method && is_of(path, route));
                    assert!(has, "README has no line for {method} {route}");
                }
            }
        }
    });
}

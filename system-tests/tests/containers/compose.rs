//! The compose file holds together, and those who look for the programs find them.

use crate::{SERVICES, environment, members, names, plain, repository, text, yaml};

/// What a service may say. Another key is a misspelt one, or was kept out on purpose, as
/// `container_name`, with which there could be but one instance.
const KEYS: [&str; 18] = [
    "build",
    "cap_drop",
    "command",
    "depends_on",
    "deploy",
    "environment",
    "healthcheck",
    "image",
    "logging",
    "ports",
    "profiles",
    "read_only",
    "restart",
    "secrets",
    "security_opt",
    "stop_grace_period",
    "ulimits",
    "volumes",
];

#[test]
fn the_compose_file_holds_together() {
    let compose = yaml("docker/compose.yaml");
    let here = repository().join("docker");
    for (name, service) in members(&compose["services"]) {
        for (key, _) in members(service) {
            assert!(KEYS.contains(&key), "{name}: {key}");
        }
        match service["image"].as_str().map(|image| image.rsplit_once(':').expect("a version")) {
            Some((image, version)) => {
                assert!(version.contains(|c: char| c.is_ascii_digit()), "{image}:{version}");
                let is_ours = image.starts_with("book-purchase-streams/");
                assert!(!is_ours || version == env!("CARGO_PKG_VERSION"), "{image}:{version}");
            }
            None => assert!(service["build"].is_object(), "{name}: neither image nor build"),
        }
        for port in names(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is published beyond loopback");
            assert!(!SERVICES.contains(&name), "{name}: only one instance could have {port}");
        }
        for other in names(&service["depends_on"]) {
            assert!(compose["services"][other].is_object(), "{name} depends on {other}");
        }
        for secret in names(&service["secrets"]) {
            let file = plain(&compose["secrets"][secret]["file"]);
            assert!(here.join(&file).is_file(), "{name}: {secret}: {file}");
        }
        for volume in names(&service["volumes"]) {
            let source = volume.split(':').next().unwrap();
            let is_there = match source.as_bytes()[0] {
                b'.' => here.join(source).exists(),
                b'/' => source == volume,
                _ => compose["volumes"].get(source).is_some(),
            };
            assert!(is_there, "{name}: {volume}");
        }
    }
}

#[test]
fn kafka_has_the_version_and_the_settings_of_the_script() {
    let compose = yaml("docker/compose.yaml");
    let kafka = &compose["services"]["kafka"];
    let image = format!("apache/kafka:{}", text("scripts/kafka.version").trim());
    assert_eq!(kafka["image"], *image);
    let mut here = environment(kafka);
    let script = text("scripts/kafka");
    let (_, settings) = script.split_once("\nsettings() {").unwrap();
    let (_, settings) = settings.split_once("<<EOF\n").unwrap();
    let (settings, _) = settings.split_once("\nEOF\n").unwrap();
    let lines = settings.lines().filter(|line| !line.starts_with('#'));
    for (name, value) in lines.map(|line| line.split_once('=').expect(line)) {
        let name = format!("KAFKA_{}", name.replace('.', "_").to_uppercase());
        let found = here.remove(&name).unwrap_or_else(|| panic!("{name} is missing"));
        // A container has other places, and listeners of other names.
        let is_place = value.contains('$') || value.contains("PLAINTEXT");
        assert!(is_place || found == value, "{name}: {found} is not {value}");
    }
    let more: Vec<&str> = here.keys().map(String::as_str).collect();
    assert_eq!(more, ["CLUSTER_ID", "KAFKA_HEAP_OPTS"]);
}

#[test]
fn proxy_and_prometheus_look_where_the_programs_listen() {
    let compose = yaml("docker/compose.yaml");
    let port = |name: &str| {
        let listen = environment(&compose["services"][name]).remove("BPS_LISTEN").unwrap();
        listen.rsplit_once(':').unwrap().1.parse::<u64>().unwrap()
    };
    let prometheus = yaml("docker/prometheus/prometheus.yml");
    let mut scraped = Vec::new();
    for job in prometheus["scrape_configs"].as_array().unwrap() {
        let (name, found) = (job["job_name"].as_str().unwrap(), &job["dns_sd_configs"][0]);
        assert_eq!((names(&found["names"]), &found["port"]), (vec![name], &port(name).into()));
        let token = &job["authorization"]["credentials_file"];
        assert_eq!(*token, *"/run/secrets/scraper-token", "{name}");
        scraped.push(name);
    }
    assert_eq!(scraped, SERVICES);
    let proxy = text("docker/proxy/haproxy.cfg");
    let published = names(&compose["services"]["proxy"]["ports"]);
    for name in &SERVICES[..2] {
        let port = port(name);
        for line in [format!("bind :{port}"), format!("default_backend {name}")] {
            assert!(proxy.lines().any(|found| found.trim() == line), "no line {line}");
        }
        assert!(proxy.contains(&format!(" {name}:{port}\n")), "{name} is not behind the proxy");
        assert!(published.contains(&&*format!("127.0.0.1:{port}:{port}")), "{published:?}");
    }
}

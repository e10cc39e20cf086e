//! Rules and dashboard ask for numbers that the programs print, by labels that these have.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;
use system_tests::installation::PATIENCE;
use system_tests::processes::{Process, Work};

use crate::{members, repository, text, yaml};

/// Metrics, and the labels that a query may name.
type Metrics = BTreeMap<String, BTreeSet<String>>;

/// Labels that Prometheus gives, and the one of a histogram's buckets.
const GIVEN: [&str; 3] = ["job", "instance", "le"];

/// What a text of `/metrics` prints, by what a query calls it.
fn printed(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in text.lines() {
        // What has had no value yet is named by its type alone.
        if let Some(named) = line.strip_prefix("# TYPE ") {
            let (name, kind) = named.split_once(' ').unwrap();
            let endings: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "info" => &["_info"],
                "gauge" => &[""],
                other => panic!("{name} is a {other}"),
            };
            for ending in endings {
                metrics.entry(format!("{name}{ending}")).or_default();
            }
        } else if !line.starts_with('#') && !line.is_empty() {
            let name = line.split(['{', ' ']).next().unwrap();
            let labels = line[name.len()..].strip_prefix('{').map_or("", |rest| rest);
            let labels = labels.rsplit_once('}').map_or("", |(labels, _)| labels);
            // Every second piece between quotes is a value, and may hold anything.
            let named = labels.split('"').step_by(2).filter_map(|piece| piece.strip_suffix('='));
            let known = metrics.get_mut(name).unwrap_or_else(|| panic!("{name} has no type"));
            known.extend(named.map(|name| name.trim_start_matches(',').to_owned()));
        }
    }
    metrics
}

/// What a query asks for.
#[derive(Default)]
struct Asked {
    metrics: BTreeSet<String>,
    /// Labels that are matched, by the metric.
    matched: BTreeSet<(String, String)>,
    /// Labels by which sums are made.
    grouped: BTreeSet<String>,
}

impl Asked {
    fn select(&mut self, selector: &VectorSelector) {
        let name = selector.name.clone().expect("each selector names its metric");
        for matcher in &selector.matchers.matchers {
            self.matched.insert((name.clone(), matcher.name.clone()));
        }
        self.metrics.insert(name);
    }
}

impl ExprVisitor for Asked {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        match expr {
            Expr::VectorSelector(selector) => self.select(selector),
            Expr::MatrixSelector(matrix) => self.select(&matrix.vs),
            Expr::Aggregate(aggregate) => match &aggregate.modifier {
                Some(LabelModifier::Include(by)) => self.grouped.extend(by.labels.iter().cloned()),
                Some(LabelModifier::Exclude(_)) => panic!("not used: `without`"),
                None => {}
            },
            _ => {}
        }
        Ok(true)
    }
}

/// Parses a query, and says what it asks for.
#[track_caller]
fn asked(place: &str, query: &str) -> Asked {
    // Grafana puts spans of time in their place.
    let query = query.replace("$__rate_interval", "1m").replace("$__range", "1h");
    let expr = parser::parse(&query).unwrap_or_else(|error| panic!("{place}: {error}: {query}"));
    let mut asked = Asked::default();
    walk_expr(&mut asked, &expr).unwrap();
    asked
}

/// All queries of a dashboard, by the panel they are in.
fn of_dashboard(value: &Value, panel: &str, found: &mut Vec<(String, String)>) {
    let panel = value["title"].as_str().unwrap_or(panel);
    for (name, inner) in members(value) {
        match (name, inner) {
            ("expr", Value::String(query)) => found.push((panel.to_owned(), query.clone())),
            ("query", Value::String(query)) if query.starts_with("label_values(") => {
                let inner = query.trim_start_matches("label_values(").trim_end_matches(')');
                let (metric, label) = inner.split_once(", ").expect("a metric and a label");
                found.push((panel.to_owned(), format!("sum by ({label}) ({metric})")));
            }
            _ => of_dashboard(inner, panel, found),
        }
    }
    for inner in value.as_array().into_iter().flatten() {
        of_dashboard(inner, panel, found);
    }
}

/// Compares all queries with what a program prints.
fn check(sheet: &str) {
    let mut metrics = printed(sheet);
    let shown: BTreeSet<String> = metrics.keys().cloned().collect();
    // Prometheus' own.
    metrics.insert("up".to_owned(), BTreeSet::new());
    let alerts = ["alertname", "alertstate"].map(str::to_owned);
    metrics.insert("ALERTS".to_owned(), BTreeSet::from(alerts));
    let rules = yaml("docker/prometheus/rules.yml");
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules: Vec<&Value> = groups.flat_map(|group| group["rules"].as_array().unwrap()).collect();
    let mut queries = Vec::new();
    for rule in &rules {
        let query = rule["expr"].as_str().unwrap().to_owned();
        if let Some(name) = rule["record"].as_str() {
            // It has the labels by which it is grouped: the first of them in what it is made of.
            let labels = asked(name, &query).grouped.into_iter().filter(|label| label != "le");
            assert_eq!(metrics.insert(name.to_owned(), labels.collect()), None, "{name} is twice");
            queries.push((name.to_owned(), query));
        } else {
            let name = rule["alert"].as_str().unwrap();
            for said in ["summary", "description", "action"] {
                assert!(rule["annotations"][said].is_string(), "{name} has no {said}");
            }
            let severity = rule["labels"]["severity"].as_str().unwrap();
            assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
            queries.push((name.to_owned(), query));
        }
    }
    let dashboard = text("docker/grafana/dashboards/bps.json");
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    of_dashboard(&dashboard, "", &mut queries);
    assert!(queries.len() > rules.len() + 20, "the panels are found");
    let mut used = BTreeSet::new();
    for (place, query) in &queries {
        let asked = asked(place, query);
        for name in &asked.metrics {
            assert!(metrics.contains_key(name), "{place}: nobody prints {name}");
        }
        for (name, label) in &asked.matched {
            let is_known = metrics[name].contains(label) || GIVEN.contains(&label.as_str());
            assert!(is_known, "{place}: {name} has no label {label}");
        }
        for label in &asked.grouped {
            let is_known = asked.metrics.iter().any(|name| metrics[name].contains(label));
            assert!(is_known || GIVEN.contains(&label.as_str()), "{place}: nothing has {label}");
        }
        used.extend(asked.metrics);
    }
    // What is counted and never looked at is not worth counting. A sum alone says little.
    let unused = shown.iter().filter(|name| !used.contains(*name));
    let unused: Vec<&String> = unused.filter(|name| name.starts_with("bps_")).collect();
    let told = |name: &&&String| {
        let histogram = name.strip_suffix("_sum").or_else(|| name.strip_suffix("_count"));
        !histogram.is_some_and(|name| used.contains(&format!("{name}_bucket")))
    };
    assert_eq!(unused.iter().filter(told).collect::<Vec<_>>(), Vec::<&&String>::new());
}

#[test]
fn every_query_is_of_numbers_that_are_printed() {
    let work = Work::new("queries");
    let any = ["127.0.0.1:0"; 2];
    let mut up = Process::start_up(&work, "up", &work.path("data"), &any, &[]);
    let items = up.wait_line("items-service http://");
    let purchases = up.wait_line("purchase-service http://");
    up.wait_line("bps up: ready");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let post = |url: String, body: Value| {
        let client = reqwest::Client::new();
        let sent = client.post(url).header("prefer", "wait=30").json(&body).send();
        let status = runtime.block_on(sent).unwrap().status();
        assert!(status.is_success(), "{status}");
    };
    // All kinds of numbers have a value once something was decided.
    post(format!("http://{items}/items"), serde_json::json!({"itemId": "1", "quantity": 2}));
    post(
        format!("http://{purchases}/purchases"),
        serde_json::json!({"itemId": "1", "quantity": 1, "purchasedBy": "ada"}),
    );
    let get = || async {
        reqwest::get(format!("http://{items}/metrics")).await.unwrap().text().await.unwrap()
    };
    let deadline = Instant::now() + PATIENCE;
    let metrics = loop {
        let metrics = runtime.block_on(get());
        if ["bps_decisions_total{", "bps_lag_records{"].iter().all(|name| metrics.contains(name)) {
            break metrics;
        }
        assert!(Instant::now() < deadline, "{metrics}");
        std::thread::sleep(Duration::from_millis(20));
    };
    check(&metrics);
    // And the health check of the image, on the same program.
    let healthy = |path: &str, address: &str| {
        let mut check = Command::new("bash");
        check.arg(repository().join("docker/healthcheck")).arg(path).env("BPS_LISTEN", address);
        check.output().unwrap().status.success()
    };
    let port = items.rsplit_once(':').unwrap().1;
    for address in [&items, &format!("0.0.0.0:{port}")] {
        assert!(healthy("/readyz", address) && healthy("/livez", address), "{address}");
        assert!(!healthy("/no-such-path", address), "{address}");
    }
    up.stop();
    assert!(!healthy("/livez", &items));
}

#[test]
fn a_query_of_nothing_is_found() {
    let text = "# TYPE bps_a counter\nbps_a_total{x=\"1,y=\",z=\"2\"} 3\n# TYPE bps_b gauge\n# EOF";
    let metrics = printed(text);
    let labels: Vec<(&str, Vec<&str>)> = metrics
        .iter()
        .map(|(name, labels)| (name.as_str(), labels.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(labels, [("bps_a_total", vec!["x", "z"]), ("bps_b", vec![])]);
    let asked =
        asked("here", r#"sum by (x) (rate(bps_a_total{z!="1"}[$__rate_interval])) > bps_c"#);
    assert_eq!(asked.metrics.iter().collect::<Vec<_>>(), ["bps_a_total", "bps_c"]);
    assert_eq!(asked.matched.iter().next().unwrap().1, "z");
    assert_eq!(asked.grouped.iter().collect::<Vec<_>>(), ["x"]);
}

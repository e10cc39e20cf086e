//! No room, or no right to write: it is told with the folder's name, nothing that was
//! acknowledged is lost, and all is decided once when there is room again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bps_streams::broker::Broker;
use bps_verifier::{Acknowledged, Verifier};
use purchase_processor::Settings;
use system_tests::backends::embedded;
use system_tests::installation::PATIENCE;
use system_tests::processes::{Process, Work, free_address, tell};
use system_tests::{Installation, on_both_brokers};

use crate::files::names;
use crate::space::Space;
use crate::workload::{begin, bounds, finish, outcome, purchases, send, verify};

const PARTITIONS: u32 = 4;

/// (a) The state folder is full: the processor ends and says so; a restart goes on.
#[test]
fn a_full_state_folder_ends_the_processor_and_loses_nothing() {
    // What it must come to: the same without a full disk.
    let folder = tempfile::tempdir().unwrap();
    let truth = whole_run(embedded(folder.path()));
    on_both_brokers("full", |broker| {
        let mut installation = Installation::new(broker, "full", PARTITIONS);
        let space = Space::new(12 << 10);
        installation.config.state_folder = space.path().join("state");
        installation.config.memory = bounds();
        installation.start();
        installation.wait_running();
        begin(&mut installation);
        space.fill();
        // What comes now is taken by the log, and decided there: the state falls behind.
        let mut sent = 0;
        for wave in purchases("full", MORE).chunks(100) {
            send(&installation, wave);
            sent += wave.len();
            std::thread::sleep(Duration::from_millis(20));
            if installation.application().is_finished() {
                break;
            }
        }
        let error = installation.failure();
        let state = installation.config.state_folder.display().to_string();
        assert!(error.contains(&state) && error.contains("the disk is full"), "{error}");
        // As long as it is full, a start says the same. (The end has made some room.)
        space.fill();
        installation.start();
        let error = installation.failure();
        assert!(error.contains(&state) && error.contains("No space left"), "{error}");

        space.free();
        send(&installation, &purchases("full", MORE)[sent..]);
        installation.start();
        let topics = installation.settings.topics.clone();
        installation.wait_for(&topics.purchase_finished, crate::workload::PURCHASES + MORE);
        installation.stop();
        assert!(outcome(&installation) == truth, "other results than without a full disk");
        verify(&installation);
        let aside = names(&installation.config.state_folder);
        assert!(!aside.iter().any(|name| name.contains("quarantine")), "{aside:?}");
    });
}

/// Purchases while it is full.
const MORE: usize = 6_000;

fn whole_run(broker: Arc<dyn Broker>) -> crate::workload::Outcome {
    let mut installation = Installation::new(broker, "full", PARTITIONS);
    installation.start();
    begin(&mut installation);
    send(&installation, &purchases("full", MORE));
    let topic = installation.settings.topics.purchase_finished.clone();
    installation.wait_for(&topic, crate::workload::PURCHASES + MORE);
    installation.stop();
    outcome(&installation)
}

/// A state folder that may only be read.
#[test]
fn a_read_only_state_folder_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut space = Space::new(12 << 10);
    let mut installation = Installation::new(embedded(folder.path()), "ro", PARTITIONS);
    installation.config.state_folder = space.path().join("state");
    installation.start();
    installation.wait_running();
    begin(&mut installation);
    installation.stop();
    space.read_only();
    let error = installation.refused();
    let state = installation.config.state_folder.display().to_string();
    assert!(error.contains(&state) && error.contains("Read-only file system"), "{error}");
    space.writable();
    installation.start();
    finish(&installation);
    installation.stop();
    verify(&installation);
}

/// `bps up` with all of its data on a small disk.
struct Up {
    work: Work,
    number: u32,
    addresses: [String; 2],
}

impl Up {
    fn start(&mut self, space: &Space) -> Process {
        self.number += 1;
        let name = format!("up-{}", self.number);
        Process::start_up(&self.work, &name, &space.path().join("data"), &self.addresses, &[])
    }
}

/// What a service said to one request.
struct Answer {
    status: u16,
    kind: String,
    text: String,
}

async fn post(client: &reqwest::Client, url: &str, body: String) -> Option<Answer> {
    let request = client.post(url).header("content-type", "application/json");
    let request = request.header("prefer", "respond-async").body(body);
    let response = request.send().await.ok()?;
    let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok());
    let kind = kind.unwrap_or_default().to_owned();
    let status = response.status().as_u16();
    Some(Answer { status, kind, text: response.text().await.ok()? })
}

/// (b) The log itself is full: 503 and not 202, and every 202 is decided once.
#[test]
fn a_full_log_answers_503_and_keeps_what_it_has_acknowledged() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(full_log());
}

async fn full_log() {
    // Only the log lies there: what else there is would end the process, and perhaps before.
    let space = Space::new(24 << 10);
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::create_dir(space.path().join("data")).unwrap();
    for name in ["state", "items", "purchases"] {
        let folder = elsewhere.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(folder, space.path().join("data").join(name)).unwrap();
    }
    let addresses = [free_address(), free_address()].map(|a| a.to_string());
    let mut up = Up { work: Work::new("full-log"), number: 0, addresses };
    let mut process = up.start(&space);
    process.wait_line("bps up: ready");
    let client = reqwest::Client::new();
    let items = format!("http://{}/items", up.addresses[0]);
    let restock = r#"{"restockId":"r","itemId":"i","quantity":1000000}"#;
    let taken = post(&client, &items, restock.to_owned()).await.unwrap();
    assert_eq!(taken.status, 202, "{}", taken.text);
    let url = format!("http://{}/purchases", up.addresses[1]);
    let buyer = Buyer { client, url, name: "b".repeat(20_000) };
    let (mut acknowledged, first_refused) = buyer.buy_until_it_is_full(&space).await;
    // There is room again: it goes on by itself, or says why it ended and goes on at the restart.
    space.free();
    let (process, restarts) = buyer.buy_again(first_refused, process, &mut up, &space).await;
    acknowledged.push(first_refused);
    for n in 1_000..1_050 {
        let answer = buyer.buy(n).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text);
        acknowledged.push(n);
    }
    process.stop();
    tell(format_args!(
        "a full log: {} acknowledged, went on after {restarts} restarts",
        acknowledged.len()
    ));
    settle(&space, &acknowledged);
}

/// Buys one unit at a time.
struct Buyer {
    client: reqwest::Client,
    url: String,
    name: String,
}

impl Buyer {
    async fn buy(&self, n: usize) -> Option<Answer> {
        let name = &self.name;
        let body =
            format!(r#"{{"purchaseId":"p-{n}","itemId":"i","quantity":1,"purchasedBy":"{name}"}}"#);
        post(&self.client, &self.url, body).await
    }

    /// Which purchases were acknowledged, and which is the first one that was refused.
    async fn buy_until_it_is_full(&self, space: &Space) -> (Vec<usize>, usize) {
        let mut acknowledged = Vec::new();
        for n in 0..200 {
            if n == 100 {
                space.fill();
            }
            let Some(answer) = self.buy(n).await else { break };
            if answer.status == 202 {
                acknowledged.push(n);
                continue;
            }
            let Answer { status, kind, text } = answer;
            assert!(n >= 100, "{text}");
            assert_eq!((status, &*kind), (503, "application/problem+json"), "{text}");
            assert!(text.contains("is full"), "{text}");
            assert!(text.contains("p-"), "the id to send again: {text}");
            return (acknowledged, n);
        }
        panic!("no request was refused");
    }

    /// Until it is acknowledged: the process then, and how often it was started.
    async fn buy_again(
        &self,
        n: usize,
        mut process: Process,
        up: &mut Up,
        space: &Space,
    ) -> (Process, usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut restarts = 0;
        loop {
            if !process.is_running() {
                let status = process.wait(PATIENCE);
                assert_eq!(status.code(), Some(1), "{}", process.log());
                let log = process.log();
                assert!(log.contains("is full") && log.contains("start again"), "{log}");
                restarts += 1;
                process = up.start(space);
                process.wait_line("bps up: ready");
            }
            let answer = self.buy(n).await;
            if answer.as_ref().is_some_and(|answer| answer.status == 202) {
                return (process, restarts);
            }
            assert!(Instant::now() < deadline, "{:?}", answer.map(|a| a.text));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Each acknowledged purchase has its one result.
fn settle(space: &Space, acknowledged: &[usize]) {
    let settings = Settings::default();
    let mut installation = Installation::bare(embedded(&space.path().join("data")), "full", 8);
    installation.settings = settings.clone();
    installation.config.state_folder = space.path().join("data/state");
    installation.start();
    let results = installation.wait_for(&settings.topics.purchase_finished, acknowledged.len());
    installation.stop();
    for n in acknowledged {
        let of = |w: &&system_tests::Written| w.key == format!("p-{n}");
        let found: Vec<_> = results.iter().filter(of).collect();
        assert_eq!(found.len(), 1, "p-{n}");
        assert_eq!(found[0].json()["status"], "SUCCESS");
    }
    let ids = acknowledged
        .iter()
        .map(|n| Acknowledged::Purchase { item: Some("i".to_owned()), id: format!("p-{n}") });
    let verifier =
        Verifier::new(&*installation.broker, settings.topics.clone(), &settings.application);
    let report = verifier.at_rest(true).acknowledged(ids);
    let report = report.run(&|_| std::ops::ControlFlow::Continue(())).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// `bps up` on a folder that it may not write.
#[test]
fn bps_up_on_a_read_only_folder_exits_1_and_names_it() {
    let mut space = Space::new(24 << 10);
    let addresses = [free_address(), free_address()].map(|a| a.to_string());
    let mut up = Up { work: Work::new("read-only"), number: 0, addresses };
    let mut first = up.start(&space);
    first.wait_line("bps up: ready");
    first.stop();
    space.read_only();
    let mut second = up.start(&space);
    assert_eq!(second.wait(PATIENCE).code(), Some(1), "{}", second.log());
    let folder = space.path().join("data").display().to_string();
    let log = second.log();
    assert!(log.contains(&folder) && log.contains("Read-only file system"), "{log}");
    space.writable();
    let mut third = up.start(&space);
    third.wait_line("bps up: ready");
    third.stop();
}

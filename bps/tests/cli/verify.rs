//! `bps verify`: a folder that a real processor has written, and one that was damaged.

use std::sync::Arc;

use bps_events::Topics;
use bps_streams::partitioner::partition_of;
use bps_streams::{Application, ApplicationConfig, prepare_topics};
use purchase_processor::{Settings, topology};

use super::*;

const PARTITIONS: u32 = 2;

fn put(broker: &EmbeddedBroker, topic: &str, item: &str, value: &str, at: i64) {
    put_to(broker, topic, (partition_of(item.as_bytes(), PARTITIONS), item), value, at);
}

fn put_to(broker: &EmbeddedBroker, topic: &str, to: (u32, &str), value: &str, at: i64) {
    let (tell, told) = mpsc::channel();
    let (partition, key) = (to.0, Some(to.1.as_bytes()));
    let value = Some(value.as_bytes());
    let record = Outgoing { topic, partition, timestamp: at, key, value, headers: &[] };
    let ack = Box::new(move |outcome| drop(tell.send(outcome)));
    broker.appender().expect("an appender").append(record, ack).expect("taken");
    told.recv().expect("answered").expect("durable");
}

/// Decides a few purchases; the folder is free again afterwards.
pub(super) fn decide(folder: &Path) {
    let broker = EmbeddedBroker::open(folder).expect("free");
    let settings = Settings::default();
    let mut config = ApplicationConfig::new(folder.join("state"));
    config.partitions = PARTITIONS;
    let topology = topology(&settings).expect("well wired");
    prepare_topics(&broker, &topology, PARTITIONS).expect("created");
    let shared: Arc<dyn Broker> = Arc::new(broker.clone());
    let application = Application::start(shared, topology, config).expect("started");
    let t = &settings.topics;
    for n in 0..20 {
        let item = format!("i{}", n % 5);
        let restock = format!(r#"{{"restockId":"r{n}","itemId":"{item}","quantity":2}}"#);
        put(&broker, &t.items_added, &item, &restock, 1_000 + n);
        let purchase = format!(r#"{{"purchaseId":"p{n}","itemId":"{item}","quantity":3}}"#);
        put(&broker, &t.purchase_created, &item, &purchase, 1_000 + n);
    }
    // By a foreign partitioner, and unreadable.
    for n in 0..5 {
        let item = format!("i{n}");
        let partition = 1 - partition_of(item.as_bytes(), PARTITIONS);
        let purchase = format!(r#"{{"purchaseId":"m{n}","itemId":"{item}","quantity":1}}"#);
        put_to(&broker, &t.purchase_created, (partition, "foreign"), &purchase, 2_000);
    }
    put(&broker, &t.items_added, "i0", "{", 2_000);
    finish(application, 51);
}

/// Stops it as soon as it has processed so many records.
pub(super) fn finish(application: Application, records: u64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while application.status().workers.values().map(|s| s.processed).sum::<u64>() < records {
        assert!(Instant::now() < deadline, "{:?}", application.status());
        std::thread::sleep(Duration::from_millis(10));
    }
    application.stop().expect("stopped");
}

#[test]
fn verify_tells_a_clean_folder_from_a_damaged_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = text(folder.path());
    let verify = ["verify", "--data", data];
    check(&verify, 1, "", "no embedded log lies in");
    decide(folder.path());
    let at_rest = ["verify", "--data", data, "--at-rest"];
    check(&at_rest, 0, "restocks      20: SUCCESS 20\n", "");
    check(&at_rest, 0, "others        5 moved, 1 dead letters, 0 resends, 0 undecided", "");
    check(&at_rest, 0, "clean: ", "");
    let (code, out, _) = bps(&["verify", "--data", data, "--at-rest", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &json["counts"]["purchases"]), (0, &25.into()));
    assert_eq!(json["findings"], serde_json::json!([]));
    let other = ["verify", "--data", data, "--output-prefix", "other"];
    check(&other, 1, "", "does not exist");
    let list = folder.path().join("acknowledged");
    let acknowledged = ["verify", "--data", data, "--acknowledged", text(&list)];
    check(&acknowledged, 1, "", "No such file");
    std::fs::write(&list, "{\"itemId\":\"i1\",\"purchaseId\":\"p1\"}\np2\n").expect("written");
    check(&acknowledged, 0, "clean: ", "");
    let purchase = r#"{"itemId":"i1","purchaseId":"p1","sentAt":2}"#;
    let restock = r#"{"itemId":"i1","restockId":"r1","sentAt":0,"acknowledgedAt":1}"#;
    std::fs::write(&list, format!("{purchase}\n{restock}\n")).expect("written");
    check(&acknowledged, 0, "clean: ", "");
    check(&[&acknowledged[..], &["--stamps-within", "soon"]].concat(), 64, "", "no span of time");
    std::fs::write(&list, "{\"itemId\":\"i1\"}\n").expect("written");
    check(&acknowledged, 64, "", "line 1 names neither a purchaseId");
    std::fs::write(&list, "lost\n").expect("written");
    check(&acknowledged, 3, "C10 bps-purchase-created: expected acknowledged event", "");
    // Another process owns the folder, and writes a result that nobody asked for.
    let broker = EmbeddedBroker::open(folder.path()).expect("free");
    let topics = Topics::default();
    put(&broker, &topics.purchase_created, "i1", r#"{"purchaseId":"n","itemId":"i1"}"#, 2_000);
    check(&verify, 0, "1 undecided", "");
    check(&at_rest, 3, "C7 bps-purchase-created-", "");
    put(&broker, &topics.stock, "i1", "{}", 2_000);
    check(&verify, 3, "C5 bps-stock-", "");
    check(&verify, 3, "broken: ", "");
}

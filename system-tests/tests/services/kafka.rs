//! Two purchase services on one Kafka, and a processor that is killed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::json;
use system_tests::backends::kafka_address;
use system_tests::kafka_installation::KafkaInstallation;
use system_tests::processes::{Process, tell};
use tokio::task::JoinSet;

use crate::run;
use crate::shop::{Answer, send, wait_ready};

const CLIENTS: usize = 200;
const WISHES: usize = 5_000;
const UNITS: u64 = 1_000;

/// Two instances, and where they are.
fn instances(kafka: &KafkaInstallation) -> (Vec<Process>, Vec<String>) {
    let mut processes = Vec::new();
    let mut urls = Vec::new();
    for (name, program) in [
        ("purchases-0", "purchase-service"),
        ("purchases-1", "purchase-service"),
        ("items", "items-service"),
    ] {
        let state = kafka.work.path(&format!("{name}-state")).display().to_string();
        let flags = ["--listen", "127.0.0.1:0", "--state", &state];
        let mut process = kafka.program(name, program, &kafka.address, &flags);
        urls.push(process.wait_line(program));
        processes.push(process);
    }
    (processes, urls)
}

async fn post(
    client: &Client,
    url: &str,
    headers: &[(&str, &str)],
    body: serde_json::Value,
) -> Answer {
    send(client, Method::POST, url, headers, Some(body)).await
}

#[test]
fn two_instances_grant_what_there_is_though_the_processor_is_killed() {
    let Some(address) = kafka_address() else {
        return tell("the two instances did not run on Kafka (BPS_NO_KAFKA)");
    };
    let kafka = KafkaInstallation::new("rush", &address);
    let processor = kafka.processor("p", 0, &address);
    let (mut services, urls) = instances(&kafka);
    let answers = Arc::new(urls);
    run(async {
        let client = Client::new();
        for url in answers.iter() {
            wait_ready(&client, &format!("{url}/readyz")).await;
        }
        let request = json!({"itemId": "one", "quantity": UNITS});
        let added =
            post(&client, &format!("{}/items", answers[2]), &[("prefer", "wait=30")], request)
                .await;
        assert_eq!(added.status, 201, "{added:?}");
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (client, urls) = (client.clone(), answers.clone());
            clients.spawn(async move {
                let mut ids = Vec::new();
                for round in 0..WISHES / CLIENTS {
                    let url = format!("{}/purchases", urls[(number + round) % 2]);
                    let id = format!("p-{number}-{round}");
                    let request = json!({"purchaseId": id, "itemId": "one", "quantity": 1});
                    let answer = post(&client, &url, &[("prefer", "wait=5")], request).await;
                    assert!([201, 202, 409].contains(&answer.status), "{answer:?}");
                    ids.push((id, answer.status));
                }
                ids
            });
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        processor.kill();
        let second = kafka.processor("p", 1, &address);
        let sent: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
        let mut at_once = BTreeMap::new();
        let mut in_the_end = BTreeMap::new();
        for (number, (id, status)) in sent.iter().enumerate() {
            *at_once.entry(*status).or_insert(0) += 1;
            // Each instance tells the decision, and the same one.
            let url = format!("{}/purchases/{id}?itemId=one&wait=60", answers[number % 2]);
            let answer = send(&client, Method::GET, &url, &[], None).await;
            let told = answer.json["status"].as_str().unwrap_or_default().to_owned();
            assert!(*status == 202 || (*status == 201) == (told == "SUCCESS"), "{id}: {answer:?}");
            *in_the_end.entry(told).or_insert(0) += 1;
        }
        let expected = [("FAILED".to_owned(), 4_000), ("SUCCESS".to_owned(), 1_000)];
        assert_eq!(in_the_end, BTreeMap::from(expected));
        tell(format_args!("answered at once: {at_once:?}"));
        second.stop();
    });
    for service in services.drain(..) {
        service.stop();
    }
    kafka.installation.verify();
}

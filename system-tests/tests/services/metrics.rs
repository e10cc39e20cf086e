//! The numbers that operators ask for are those of what was done.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use system_tests::installation::PATIENCE;

use crate::run;
use crate::shop::Shop;

/// Each line's name with its labels, and its number.
pub(crate) async fn numbers(shop: &Shop, url: &str) -> BTreeMap<String, f64> {
    let answer = shop.client.get(url).send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let line = |line: &str| {
        let (name, number) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), number.parse().unwrap())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(line).collect()
}

#[test]
fn what_was_done_is_counted() {
    run(async {
        let shop = Shop::open("metrics").await;
        assert_eq!(shop.restock("1", 3).await.status, 201);
        let request = |item, quantity| json!({"itemId": item, "quantity": quantity});
        for (item, quantity, status) in [("1", 2, 201), ("1", 2, 409), ("2", 1, 404), ("1", 0, 422)]
        {
            assert_eq!(shop.buy(&[], request(item, quantity)).await.status, status);
        }
        let expected = [
            ("bps_records_total{topology=\"stock\"}", 5.0),
            ("bps_decisions_total{topology=\"stock\",kind=\"restock\",outcome=\"SUCCESS\"}", 1.0),
            ("bps_decisions_total{topology=\"stock\",kind=\"purchase\",outcome=\"SUCCESS\"}", 1.0),
            (
                "bps_decisions_total{topology=\"stock\",kind=\"purchase\",outcome=\"INSUFFICIENT_STOCK\"}",
                1.0,
            ),
            (
                "bps_decisions_total{topology=\"stock\",kind=\"purchase\",outcome=\"UNKNOWN_ITEM\"}",
                1.0,
            ),
            (
                "bps_decisions_total{topology=\"stock\",kind=\"purchase\",outcome=\"INVALID_QUANTITY\"}",
                1.0,
            ),
            ("bps_latency_seconds_count{topology=\"stock\"}", 5.0),
            ("bps_transactions_total{topology=\"stock\",outcome=\"dropped\"}", 0.0),
            ("bps_lag_records{topology=\"stock\",topic=\"bps-items-added\",partition=\"0\"}", 0.0),
            ("bps_tasks{topology=\"stock\",state=\"running\"}", 8.0),
            ("bps_workers_waiting{topology=\"stock\"}", 0.0),
            ("bps_events_sent_total{service=\"items-service\"}", 1.0),
            ("bps_events_sent_total{service=\"purchase-service\"}", 4.0),
            ("bps_events_failed_total{service=\"purchase-service\"}", 0.0),
            ("bps_read_side_caught_up{service=\"items-service\"}", 1.0),
            ("bps_waiters{service=\"purchase-service\"}", 0.0),
            (
                "bps_http_request_duration_seconds_count{service=\"purchase-service\",\
                 method=\"POST\",path=\"/purchases\",status=\"409\"}",
                1.0,
            ),
        ];
        // The processor is looked at once a second.
        let deadline = Instant::now() + PATIENCE;
        let url = shop.items("/metrics");
        loop {
            let found = numbers(&shop, &url).await;
            let wrong = expected.iter().find(|(name, number)| found.get(*name) != Some(number));
            let Some((name, number)) = wrong else {
                assert!(found["bps_commit_duration_seconds_count{topology=\"stock\"}"] >= 1.0);
                let memory = "bps_store_memory_bytes{store=\"stock\",part=\"memtables\"}";
                assert!(found[memory] > 0.0, "{found:?}");
                return;
            };
            assert!(Instant::now() < deadline, "{name} is not {number}: {found:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

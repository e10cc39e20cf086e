//! Many buyers, few units.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::run;
use crate::shop::Shop;

const CLIENTS: usize = 200;
const WISHES: usize = 5_000;
const UNITS: u64 = 1_000;

#[test]
fn of_5000_requests_for_1000_units_just_1000_are_granted() {
    run(async {
        let shop = Arc::new(Shop::open("rush").await);
        shop.restock("one", UNITS).await;
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let shop = shop.clone();
            clients.spawn(async move {
                let mut statuses = Vec::new();
                for _ in 0..WISHES / CLIENTS {
                    let by = format!("buyer-{client}");
                    let request = json!({"itemId": "one", "quantity": 1, "purchasedBy": by});
                    let answer = shop.buy(&[("prefer", "wait=60")], request).await;
                    if answer.status == 409 {
                        assert_eq!(answer.problem(), "insufficient-stock");
                    }
                    statuses.push(answer.status);
                }
                statuses
            });
        }
        let mut counts = BTreeMap::new();
        for status in clients.join_all().await.into_iter().flatten() {
            *counts.entry(status).or_insert(0) += 1;
        }
        assert_eq!(counts, BTreeMap::from([(201, 1_000), (409, 4_000)]));
        let sold_out = |item: &Value| item["booked"] == UNITS && item["remaining"] == 0;
        shop.until(&shop.items("/items/one"), sold_out).await;
    });
}

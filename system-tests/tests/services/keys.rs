//! What is asked for again under the same name.

use reqwest::Method;
use serde_json::json;

use crate::run;
use crate::shop::Shop;

const REPLAYED: &str = "idempotency-replayed";

#[test]
fn the_same_key_gets_the_same_answer_also_after_a_restart() {
    run(async {
        let mut shop = Shop::open("keys").await;
        shop.restock("1", 5).await;
        let key = [("idempotency-key", "\"k-1\"")];
        let request = json!({"itemId": "1", "quantity": 2, "purchasedBy": "a"});
        let first = shop.buy(&key, request.clone()).await;
        assert_eq!((first.status, first.header(REPLAYED)), (201, None));
        assert_eq!(first.json["purchaseId"], "k-1");
        let again = shop.buy(&key, request.clone()).await;
        assert_eq!((again.status, again.header(REPLAYED)), (201, Some("true")));
        assert_eq!(
            (&again.json, again.header("location")),
            (&first.json, first.header("location"))
        );

        for other in [
            json!({"itemId": "1", "quantity": 3, "purchasedBy": "a"}),
            json!({"itemId": "1", "quantity": 2, "purchasedBy": "b"}),
        ] {
            let refused = shop.buy(&key, other).await;
            assert_eq!((refused.status, refused.problem()), (422, "another-body"));
            assert_eq!(refused.header(REPLAYED), None);
        }
        // With another item it is another purchase.
        let other = shop.buy(&key, json!({"itemId": "2", "quantity": 2})).await;
        assert_eq!((other.status, other.problem()), (404, "unknown-item"));
        let both = shop.get(&shop.purchases("/purchases/k-1")).await;
        assert_eq!(both.json["purchases"].as_array().unwrap().len(), 2);

        shop.stop();
        shop.start().await;
        let again = shop.buy(&key, request).await;
        assert_eq!((again.status, again.header(REPLAYED)), (201, Some("true")));
        assert_eq!(again.json, first.json);
        let refused = shop.buy(&key, json!({"itemId": "2", "quantity": 2})).await;
        assert_eq!((refused.status, refused.header(REPLAYED)), (404, Some("true")));
        shop.until(&shop.items("/items/1"), |item| item["booked"] == 2).await;
    });
}

#[test]
fn requests_in_flight_under_one_key_share_one_decision() {
    run(async {
        let shop = Shop::open("flight").await;
        shop.restock("1", 100).await;
        let mut statuses = Vec::new();
        for round in 0..20 {
            let name = format!("k-{round}");
            let key = [("idempotency-key", &*name)];
            let request = || json!({"itemId": "1", "quantity": 1});
            let (a, b, c) = tokio::join!(
                shop.buy(&key, request()),
                shop.buy(&key, request()),
                shop.buy(&key, json!({"itemId": "1", "quantity": 2})),
            );
            statuses.push((a.status, b.status, c.status));
            assert_eq!(a.json, b.json, "{round}");
        }
        // Whichever came first is what the key stands for.
        assert!(
            statuses.iter().all(|s| *s == (201, 201, 422) || *s == (422, 422, 201)),
            "{statuses:?}"
        );
        let twos = statuses.iter().filter(|s| s.2 == 201).count();
        shop.until(&shop.items("/items/1"), |item| item["booked"] == 20 + twos).await;
    });
}

#[test]
fn a_restock_is_added_once() {
    run(async {
        let shop = Shop::open("restock-key").await;
        let url = shop.items("/items");
        let headers = [("idempotency-key", "r-1"), ("prefer", "wait=30")];
        let request = |quantity: u64| Some(json!({"itemId": "1", "quantity": quantity}));
        let first = shop.send(Method::POST, &url, &headers, request(5)).await;
        assert_eq!((first.status, &first.json["item"]["supplied"]), (201, &json!(5)), "{first:?}");
        let again = shop.send(Method::POST, &url, &headers, request(5)).await;
        assert_eq!((again.status, again.header(REPLAYED)), (201, Some("true")));
        assert_eq!(again.json["item"]["supplied"], 5);
        let other = shop.send(Method::POST, &url, &headers, request(6)).await;
        assert_eq!((other.status, other.problem()), (422, "another-body"));
    });
}

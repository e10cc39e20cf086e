//! Requests that wait for their decision.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::run;
use crate::shop::Shop;

#[test]
fn a_purchase_is_answered_with_its_decision() {
    run(async {
        let shop = Shop::open("waits").await;
        shop.restock("1", 5).await;
        let bought = shop.buy(&[], json!({"itemId": "1", "quantity": 2, "purchasedBy": "a"})).await;
        assert_eq!((bought.status, &bought.json["remaining"]), (201, &json!(3)), "{bought:?}");
        assert_eq!(bought.json["status"], "SUCCESS");
        let location = bought.header("location").unwrap().to_owned();
        let read = shop.get(&shop.purchases(&location)).await;
        assert_eq!((read.status, &read.json), (200, &bought.json));

        let refused = shop.buy(&[], json!({"itemId": "1", "quantity": 4})).await;
        assert_eq!((refused.status, refused.problem()), (409, "insufficient-stock"));
        for (name, value) in
            [("itemQuantity", 5), ("alreadyBooked", 2), ("remaining", 3), ("quantity", 4)]
        {
            assert_eq!(refused.json[name], value, "{refused:?}");
        }
        assert_eq!(refused.json["reason"], "INSUFFICIENT_STOCK");
        let unknown = shop.buy(&[], json!({"itemId": "2", "quantity": 1})).await;
        assert_eq!((unknown.status, unknown.problem()), (404, "unknown-item"));
        for quantity in [json!(0), json!(-3), json!("two"), json!(1.5), Value::Null] {
            let bad = shop.buy(&[], json!({"itemId": "1", "quantity": quantity})).await;
            assert_eq!((bad.status, bad.problem()), (422, "invalid-quantity"), "{quantity}");
        }
    });
}

#[test]
fn who_does_not_wait_reads_the_decision_later() {
    run(async {
        let shop = Shop::open("async").await;
        shop.restock("a/b", 5).await;
        let request = json!({"itemId": "a/b", "quantity": 2});
        let sent = shop.buy(&[("prefer", "respond-async")], request).await;
        assert_eq!(sent.status, 202);
        assert_eq!(sent.header("preference-applied"), Some("respond-async"));
        let location = shop.purchases(sent.header("location").unwrap());
        let read = shop.get(&format!("{location}&wait=30")).await;
        assert_eq!((read.status, &read.json["status"]), (200, &json!("SUCCESS")), "{read:?}");
        // Without the item: all with this id.
        let id = sent.json["purchaseId"].as_str().unwrap();
        let all = shop.get(&shop.purchases(&format!("/purchases/{id}"))).await;
        assert_eq!(all.json["purchases"], json!([read.json]));

        let begun = Instant::now();
        let none = shop.get(&shop.purchases("/purchases/none?itemId=1&wait=1")).await;
        assert_eq!((none.status, none.problem()), (404, "unknown"));
        assert!(begun.elapsed() >= Duration::from_secs(1));
        for (query, told) in [("wait=61", "wait"), ("wait=x", ""), ("itemId=", "item"), ("x=1", "")]
        {
            let refused = shop.get(&shop.purchases(&format!("/purchases/none?{query}"))).await;
            assert_eq!((refused.status, refused.problem()), (400, "parameter"), "{query}");
            let text = refused.json.to_string();
            assert!(text.contains(told), "{query}: {text}");
        }
    });
}

#[test]
fn a_restock_that_waits_shows_the_row_that_includes_it() {
    run(async {
        let shop = Shop::open("restock").await;
        for (n, supplied) in [(1, 5), (2, 10), (3, 15)] {
            let added = shop.restock("i", 5).await;
            assert_eq!(added.status, 201, "{n}: {added:?}");
            assert_eq!(added.json["restock"]["supplied"], supplied);
            assert_eq!(added.json["item"]["supplied"], supplied);
            assert_eq!(added.header("location"), Some("/items/i"));
        }
        let body = json!({"itemId": "i", "quantity": 0});
        let url = shop.items("/items");
        let wait = [("prefer", "wait=30")];
        let refused = shop.send(Method::POST, &url, &wait, Some(body.clone())).await;
        assert_eq!((refused.status, refused.problem()), (422, "invalid-quantity"));
        assert_eq!(refused.json["supplied"], 15);
        // Unless it waits, it is answered when it is durable.
        assert_eq!(shop.send(Method::POST, &url, &[], Some(body)).await.status, 202);
    });
}

#[test]
fn lines_wait_where_they_are_told_to() {
    run(async {
        let shop = Shop::open("lines").await;
        shop.restock("1", 3).await;
        let lines: String = (0..5)
            .map(|n| format!("{{\"purchaseId\":\"p{n}\",\"itemId\":\"1\",\"quantity\":1}}\n"))
            .chain(["{}\n".to_owned()])
            .collect();
        let request = shop.client.post(shop.purchases("/purchases")).body(lines);
        let request = request.header("content-type", "application/x-ndjson");
        let text = request.header("prefer", "wait=30").send().await.unwrap().text().await.unwrap();
        let answers: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let shown: Vec<_> = answers.iter().map(|a| a["status"].as_u64().unwrap()).collect();
        assert_eq!(shown, [201, 201, 201, 409, 409, 400], "{text}");
        assert_eq!(answers[2]["result"]["remaining"], 0);
        assert_eq!((&answers[3]["line"], &answers[3]["purchaseId"]), (&json!(4), &json!("p3")));
    });
}

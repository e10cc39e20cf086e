//! What there is, and what a buyer has bought.

use reqwest::Method;
use serde_json::{Value, json};

use crate::run;
use crate::shop::{Answer, Shop};

#[test]
fn an_item_is_read_with_a_tag_and_a_position() {
    run(async {
        let shop = Shop::open("item").await;
        shop.restock("a b/ü", 5).await;
        let url = shop.items("/items/a%20b%2F%C3%BC");
        let first = shop.get(&url).await;
        assert_eq!((first.status, &first.json["itemId"]), (200, &json!("a b/ü")), "{first:?}");
        let tag = first.header("etag").unwrap().to_owned();
        let position = |answer: &Answer| -> u64 {
            let text = answer.header("bps-position").unwrap();
            let place = text.strip_prefix("bps-stock ").unwrap().split_once('@').unwrap();
            place.1.parse().unwrap()
        };
        let with = |tag: &str| {
            let (shop, url, tag) = (&shop, &url, tag.to_owned());
            async move { shop.send(Method::GET, url, &[("if-none-match", &tag)], None).await }
        };
        for known in [tag.clone(), format!("\"x\", {tag}"), "*".to_owned()] {
            let same = with(&known).await;
            assert_eq!((same.status, same.header("etag")), (304, Some(&*tag)), "{known}");
        }
        assert_eq!(with("\"x\"").await.status, 200);

        shop.buy(&[], json!({"itemId": "a b/ü", "quantity": 1})).await;
        let later = shop.until(&url, |item| item["remaining"] == 4).await;
        assert_ne!(later.header("etag"), Some(&*tag));
        assert!(position(&later) > position(&first));
        assert_eq!(with(&tag).await.status, 200);

        let none = shop.get(&shop.items("/items/none")).await;
        assert_eq!((none.status, none.problem()), (404, "unknown-item"));
    });
}

fn ids(page: &Answer, list: &str, id: &str) -> Vec<String> {
    assert_eq!(page.status, 200, "{page:?}");
    let rows = page.json[list].as_array().unwrap();
    rows.iter().map(|row| row[id].as_str().unwrap().to_owned()).collect()
}

/// All pages of a list.
async fn pages(shop: &Shop, url: &str, list: &str, id: &str) -> Vec<Vec<String>> {
    let mut page = shop.get(url).await;
    let mut all = vec![ids(&page, list, id)];
    while let Some(next) = page.json["next"].as_str() {
        page = shop.get(&format!("{url}&cursor={next}")).await;
        all.push(ids(&page, list, id));
    }
    all
}

#[test]
fn items_are_listed_by_pages() {
    run(async {
        let shop = Shop::open("list").await;
        for n in 0..7 {
            shop.restock(&format!("a{n}"), 1).await;
        }
        shop.restock("b0", 1).await;
        shop.buy(&[], json!({"itemId": "a1", "quantity": 1})).await;
        shop.until(&shop.items("/items/a1"), |item| item["remaining"] == 0).await;
        let list = |query: &str| shop.items(&format!("/items?{query}"));
        let all = pages(&shop, &list("limit=3"), "items", "itemId").await;
        assert_eq!(all, [&["a0", "a1", "a2"][..], &["a3", "a4", "a5"], &["a6", "b0"]]);
        let left = pages(&shop, &list("limit=3&available=true&prefix=a"), "items", "itemId").await;
        assert_eq!(left, [&["a0", "a2", "a3"][..], &["a4", "a5", "a6"]]);
        let none = pages(&shop, &list("prefix=c"), "items", "itemId").await;
        assert_eq!(none, [[""; 0]]);
        for query in ["limit=0", "limit=1001", "limit=x", "cursor=%21", "available=maybe", "x=1"] {
            let refused = shop.get(&list(query)).await;
            assert_eq!((refused.status, refused.problem()), (400, "parameter"), "{query}");
        }
        // An id that is no text.
        for url in [shop.items("/items/%FF"), shop.purchases("/purchases/%FF")] {
            let refused = shop.get(&url).await;
            assert_eq!((refused.status, refused.problem()), (400, "parameter"), "{url}");
        }
    });
}

#[test]
fn a_buyers_purchases_come_newest_first() {
    run(async {
        let shop = Shop::open("buyer").await;
        shop.restock("1", 3).await;
        let last = shop.restock("2", 100).await;
        // A purchase may take less than a millisecond: each has its own.
        let since = last.json["item"]["updatedAt"].as_i64().unwrap();
        // Of several items, which lie in several partitions; refused ones too.
        for n in 0..8 {
            let item = ["1", "2", "none"][n % 3];
            let mut request = json!({"itemId": item, "quantity": 1, "purchasedBy": "ada"});
            request["purchaseId"] = json!(format!("p{n}"));
            request["timestamp"] = json!(since + n as i64);
            shop.buy(&[], request).await;
        }
        for by in ["ad", "ada ", "", "\u{0}ada"] {
            let id = format!("by-{by:?}");
            shop.buy(
                &[],
                json!({"purchaseId": id, "itemId": "2", "quantity": 1, "purchasedBy": by}),
            )
            .await;
        }
        let list = |query: &str| shop.purchases(&format!("/purchases?purchasedBy={query}"));
        let all = |page: &Value| page["purchases"].as_array().is_some_and(|all| all.len() == 8);
        shop.until(&list("ada"), all).await;
        let found = pages(&shop, &list("ada&limit=3"), "purchases", "purchaseId").await;
        assert_eq!(found, [&["p7", "p6", "p5"][..], &["p4", "p3", "p2"], &["p1", "p0"]]);
        let other = pages(&shop, &list("%00ada"), "purchases", "purchaseId").await;
        assert_eq!(other, [["by-\"\\0ada\""]]);
        assert_eq!(pages(&shop, &list("nobody"), "purchases", "purchaseId").await, [[""; 0]]);
        let missing = shop.get(&shop.purchases("/purchases")).await;
        assert_eq!((missing.status, missing.problem()), (400, "parameter"));
        let wrong = shop.get(&list("ada&cursor=AAAA")).await;
        assert_eq!((wrong.status, &wrong.json["field"]), (400, &json!("cursor")));
    });
}

#[test]
fn paths_methods_and_health_are_told() {
    run(async {
        let shop = Shop::open("paths").await;
        for base in [shop.items(""), shop.purchases("")] {
            assert_eq!(shop.get(&format!("{base}/livez")).await.json, json!({"status": "up"}));
            assert_eq!(shop.get(&format!("{base}/readyz")).await.json, json!({"status": "ready"}));
            let missing = shop.get(&format!("{base}/nothing")).await;
            assert_eq!((missing.status, missing.problem()), (404, "not-found"));
            let method = shop.send(Method::DELETE, &format!("{base}/livez"), &[], None).await;
            assert_eq!((method.status, method.problem()), (405, "method"));
            let api = shop.get(&format!("{base}/openapi.json")).await;
            assert_eq!(api.json["openapi"], "3.1.0");
            let page = shop.client.get(format!("{base}/docs/")).send().await.unwrap();
            assert_eq!(page.status().as_u16(), 200);
            let text = page.text().await.unwrap();
            assert!(text.contains("swagger-ui") && !text.contains("http"), "{text}");
        }
    });
}

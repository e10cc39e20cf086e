//! Server-sent events.

use std::time::Duration;

use serde_json::{Value, json};
use system_tests::installation::PATIENCE;

use crate::run;
use crate::shop::Shop;

/// One event.
#[derive(Clone, Debug, Default)]
struct Event {
    name: String,
    id: String,
    data: String,
}

impl Event {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

/// An open stream.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    /// Opens it; the first event says where it begins.
    async fn open(shop: &Shop, url: &str, last: Option<&str>) -> (Stream, Event) {
        let mut request = shop.client.get(url);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Stream { response, text: String::new() };
        let begin = stream.next().await;
        assert_eq!((&*begin.name, &*begin.data), ("", ""));
        (stream, begin)
    }

    async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.read()).await.unwrap()
    }

    async fn read(&mut self) -> Event {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let mut found = Event::default();
                for line in event.lines() {
                    match line.split_once(':').unwrap_or((line, "")) {
                        ("event", text) => text.trim().clone_into(&mut found.name),
                        ("id", text) => text.trim().clone_into(&mut found.id),
                        ("data", text) => text.trim().clone_into(&mut found.data),
                        _ => {}
                    }
                }
                self.text = rest.to_owned();
                // Else it is there to keep the connection open.
                if !found.id.is_empty() {
                    return found;
                }
                continue;
            }
            let chunk = self.response.chunk().await.unwrap().expect("not the end");
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// Whether nothing comes for a while.
    async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(500), self.read()).await.is_err()
    }
}

#[test]
fn changes_of_items_come_live_and_from_where_a_reader_was() {
    run(async {
        let shop = Shop::open("item-stream").await;
        shop.restock("old", 1).await;
        let url = shop.items("/items/stream");
        let (mut stream, begin) = Stream::open(&shop, &url, None).await;
        shop.restock("a", 5).await;
        let first = stream.next().await;
        assert_eq!((&*first.name, &first.json()["itemId"]), ("item", &json!("a")), "{first:?}");
        shop.buy(&[], json!({"itemId": "a", "quantity": 2})).await;
        let second = stream.next().await;
        assert_eq!(second.json()["remaining"], 3);
        drop(stream);

        for _ in 0..3 {
            shop.buy(&[], json!({"itemId": "a", "quantity": 1})).await;
        }
        shop.restock("b", 1).await;
        shop.until(&shop.items("/items/a"), |item| item["remaining"] == 0).await;
        // The latest row of each item that has changed since, and nothing else.
        let (mut stream, _) = Stream::open(&shop, &url, Some(&second.id)).await;
        let mut found = [stream.next().await.json(), stream.next().await.json()];
        found.sort_by_key(|row| row["itemId"].to_string());
        assert_eq!((&found[0]["itemId"], &found[0]["remaining"]), (&json!("a"), &json!(0)));
        assert_eq!(found[1]["itemId"], "b");
        assert!(stream.is_silent().await);
        // From the first position of all: never what was there before it.
        let (mut stream, _) = Stream::open(&shop, &url, Some(&begin.id)).await;
        let names = [stream.next().await.json(), stream.next().await.json()];
        assert!(names.iter().all(|row| row["itemId"] != "old"), "{names:?}");
        assert!(stream.is_silent().await);

        let bad = shop.client.get(&url).header("last-event-id", "x").send().await.unwrap();
        assert_eq!(bad.status().as_u16(), 400);
    });
}

#[test]
fn decisions_come_as_they_are_made_of_all_or_of_one_buyer() {
    run(async {
        let shop = Shop::open("result-stream").await;
        shop.restock("1", 1_000).await;
        let url = shop.purchases("/purchases/stream");
        let of_ada = format!("{url}?purchasedBy=ada");
        let (mut all, _) = Stream::open(&shop, &url, None).await;
        let (mut ada, _) = Stream::open(&shop, &of_ada, None).await;
        let buy = |n: usize| {
            let (shop, by) = (&shop, if n.is_multiple_of(10) { "ada" } else { "bob" });
            let id = format!("p{n}");
            let request =
                json!({"purchaseId": id, "itemId": "1", "quantity": 1, "purchasedBy": by});
            async move { shop.buy(&[], request).await }
        };
        for n in 0..250 {
            assert_eq!(buy(n).await.status, 201);
        }
        let mut last = String::new();
        for n in 0..250 {
            let event = all.next().await;
            assert_eq!(
                (&*event.name, event.json()["purchaseId"].clone()),
                ("result", json!(format!("p{n}")))
            );
            last = if n == 100 { event.id } else { last };
        }
        for n in (0..250).step_by(10) {
            assert_eq!(ada.next().await.json()["purchaseId"], format!("p{n}"));
        }
        assert!(ada.is_silent().await);
        // Another reader goes on where one was.
        let (mut later, _) = Stream::open(&shop, &url, Some(&last)).await;
        assert_eq!(later.next().await.json()["purchaseId"], "p101");
    });
}

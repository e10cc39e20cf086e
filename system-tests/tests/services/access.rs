//! Who may do what, and that no secret is told.

use reqwest::Method;
use serde_json::json;

use crate::run;
use crate::shop::{Answer, Shop};

const SHOP: &str = "canary-shop-0123456789";
const TILL: &str = "canary-till-0123456789";

#[test]
fn a_token_is_good_for_its_roles_and_is_never_told() {
    run(async {
        let shop = Shop::open_with("tokens", |work| {
            let path = work.path("tokens.toml");
            let text = format!(
                "[tokens.shop]\ntoken = \"{SHOP}\"\nroles = [\"purchase\", \"read\"]\n\
                 [tokens.till]\ntoken = \"{TILL}\"\nroles = [\"restock\"]\n"
            );
            std::fs::write(&path, text).unwrap();
            ["--tokens".to_owned(), path.display().to_string(), "--log=trace".to_owned()].into()
        })
        .await;
        let ask = |method: Method, url: String, token: Option<&'static str>| {
            let (shop, bearer) = (&shop, token.map(|token| format!("Bearer {token}")));
            async move {
                let body = (method == Method::POST).then(|| json!({"itemId": "1", "quantity": 1}));
                let headers = bearer.as_deref().map(|text| ("authorization", text));
                let wait = ("prefer", "wait=30");
                let headers: Vec<_> = headers.into_iter().chain([wait]).collect();
                shop.send(method, &url, &headers, body).await
            }
        };
        let refused = |answer: &Answer, status: u16, kind: &str| {
            assert_eq!((answer.status, answer.problem()), (status, kind), "{answer:?}");
        };
        let (items, buy) = (shop.items("/items"), shop.purchases("/purchases"));
        let list = shop.purchases("/purchases?purchasedBy=a");
        for token in [None, Some("canary-shop-012345678"), Some("x")] {
            for (method, url) in
                [(Method::POST, &items), (Method::POST, &buy), (Method::GET, &list)]
            {
                let answer = ask(method, url.clone(), token).await;
                refused(&answer, 401, "unauthorized");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            }
        }
        refused(&ask(Method::POST, items.clone(), Some(SHOP)).await, 403, "forbidden");
        refused(&ask(Method::POST, buy.clone(), Some(TILL)).await, 403, "forbidden");
        refused(&ask(Method::GET, list.clone(), Some(TILL)).await, 403, "forbidden");
        assert_eq!(ask(Method::POST, items, Some(TILL)).await.status, 201);
        assert_eq!(ask(Method::POST, buy, Some(SHOP)).await.status, 201);
        assert_eq!(ask(Method::GET, list, Some(SHOP)).await.status, 200);
        assert_eq!(ask(Method::GET, shop.items("/livez"), None).await.status, 200);
        let said = shop.said();
        assert!(said.contains("DEBUG") && !said.contains("canary"));
    });
}

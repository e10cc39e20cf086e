//! The page of `bps up` in a real browser without a window: what is done on it is done, and what
//! happens elsewhere shows without a reload.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use system_tests::installation::PATIENCE;
use system_tests::processes::tell;

use crate::metrics::numbers;
use crate::run;
use crate::shop::Shop;

/// What speaks to the browser; it ends with the test, and the browser with it.
struct Driver(Child);

impl Driver {
    fn start() -> (Driver, String) {
        let mut driver = Command::new("chromedriver");
        let driver = driver.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = driver.expect("chromedriver: scripts/test installs it");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        (Driver(driver), format!("http://127.0.0.1:{}", port.expect("a port")))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn browser(driver: &str) -> Client {
    let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,1400"];
    let options = json!({ "goog:chromeOptions": { "args": args } });
    let mut builder = ClientBuilder::new(HttpConnector::new());
    builder.capabilities(options.as_object().unwrap().clone());
    builder.connect(driver).await.unwrap()
}

/// Waits until an element is there, and says this.
async fn says(page: &Client, css: &str, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = match page.find(Locator::Css(css)).await {
            Ok(element) => element.text().await.ok(),
            Err(_) => None,
        };
        if found.as_deref().is_some_and(|found| found.contains(text)) {
            return;
        }
        assert!(Instant::now() < deadline, "{css}: not {text:?} but {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Fills the fields of a form, and sends it by the keyboard.
async fn submit(page: &Client, form: &str, fields: &[(&str, &str)]) {
    let mut last = None;
    for (name, value) in fields {
        let css = format!("form#{form} [name={name}]");
        let field = page.find(Locator::Css(&css)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(value).await.unwrap();
        last = Some(field);
    }
    last.unwrap().send_keys("\u{e007}").await.unwrap();
}

#[test]
fn the_page_shows_what_happens_and_does_what_it_is_told() {
    run(async {
        let shop = Shop::open("page").await;
        let (_driver, address) = Driver::start();
        let page = browser(&address).await;
        page.goto(&shop.page()).await.unwrap();
        says(&page, "#connection[data-state=live]", "").await;

        submit(&page, "restock", &[("itemId", "apple"), ("description", "red"), ("quantity", "3")])
            .await;
        says(&page, "#restock-outcome[data-status=SUCCESS]", "3").await;
        let remaining = "tr[data-item=apple] [data-field=remaining]";
        says(&page, remaining, "3").await;
        let request = [("itemId", "apple"), ("quantity", "2"), ("purchasedBy", "ada")];
        submit(&page, "buy", &request).await;
        says(&page, "#buy-outcome[data-status=SUCCESS]", "").await;
        says(&page, remaining, "1").await;
        submit(&page, "buy", &request).await;
        says(&page, "#buy-outcome[data-status=INSUFFICIENT_STOCK]", "1").await;
        says(&page, "#decisions li[data-status=FAILED]", "apple").await;

        // What others do shows too, without a reload.
        assert_eq!(shop.restock("apple", 6).await.status, 201);
        says(&page, remaining, "7").await;
        shop.buy(&[], json!({"itemId": "apple", "quantity": 7, "purchasedBy": "bob"})).await;
        says(&page, remaining, "0").await;

        // Beside it are the paths of both services, as they are elsewhere.
        let row = shop.get(&format!("{}items/apple", shop.page())).await;
        assert_eq!((row.status, &row.json["remaining"]), (200, &json!(0)));
        let numbers = numbers(&shop, &format!("{}metrics", shop.page())).await;
        let asked = "bps_http_request_duration_seconds_count{service=\"items-service\",\
                     method=\"GET\",path=\"/items/{itemId}\",status=\"200\"}";
        assert_eq!(numbers.get(asked), Some(&1.0), "{numbers:#?}");

        let screenshot = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.png");
        std::fs::write(&screenshot, page.screenshot().await.unwrap()).unwrap();
        tell(format_args!("page: {}", screenshot.display()));
        page.close().await.unwrap();
    });
}

//! `bps up` as a process, and a client of its two services.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::Value;
use system_tests::installation::PATIENCE;
use system_tests::processes::{Process, Work, free_address};

/// What a service said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The kind of a problem, as its type ends.
    pub(crate) fn problem(&self) -> &str {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.json["status"], self.status, "{self:?}");
        self.json["type"].as_str().unwrap().strip_prefix("urn:bps:problem:").unwrap()
    }
}

/// See the module.
pub(crate) struct Shop {
    work: Work,
    process: Option<Process>,
    starts: usize,
    page: String,
    addresses: [String; 2],
    flags: Vec<String>,
    pub(crate) client: Client,
}

impl Shop {
    /// A fresh one that is ready.
    pub(crate) async fn open(name: &str) -> Shop {
        Shop::open_with(name, |_| Vec::new()).await
    }

    /// One with more flags, which may name files in its folder.
    pub(crate) async fn open_with(name: &str, flags: impl FnOnce(&Work) -> Vec<String>) -> Shop {
        let addresses = [free_address(), free_address()].map(|address| address.to_string());
        let client = Client::new();
        let work = Work::new(name);
        let flags = flags(&work);
        let mut shop =
            Shop { work, process: None, starts: 0, page: String::new(), addresses, flags, client };
        shop.start().await;
        shop
    }

    pub(crate) async fn start(&mut self) {
        let data = self.work.path("data");
        let more: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.starts += 1;
        let name = format!("up-{}", self.starts);
        let mut process = Process::start_up(&self.work, &name, &data, &self.addresses, &more);
        process.wait_line("bps up: ready");
        self.page = process.wait_line("page ");
        self.process = Some(process);
        for url in [self.items("/readyz"), self.purchases("/readyz")] {
            wait_ready(&self.client, &url).await;
        }
    }

    pub(crate) fn stop(&mut self) {
        self.process.take().unwrap().stop();
    }

    /// Where its data are.
    pub(crate) fn data(&self) -> PathBuf {
        self.work.path("data")
    }

    /// What its last run has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.work.path(&format!("up-{}.log", self.starts))).unwrap()
    }

    /// All that it has said so far.
    pub(crate) fn said(&self) -> String {
        let names = (1..=self.starts).flat_map(|n| [format!("up-{n}.out"), format!("up-{n}.log")]);
        names.map(|name| std::fs::read_to_string(self.work.path(&name)).unwrap()).collect()
    }

    pub(crate) fn page(&self) -> String {
        format!("{}/", self.page)
    }

    pub(crate) fn items(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses[0])
    }

    pub(crate) fn purchases(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses[1])
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        send(&self.client, method, url, headers, body).await
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.send(Method::GET, url, &[], None).await
    }

    /// Reads until what is read is as it must become: a read side follows what was decided.
    pub(crate) async fn until(&self, url: &str, is_so: impl Fn(&Value) -> bool) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(url).await;
            if is_so(&answer.json) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{url}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Restocks, and waits until the read side shows it.
    pub(crate) async fn restock(&self, item: &str, quantity: u64) -> Answer {
        let body = serde_json::json!({"itemId": item, "quantity": quantity});
        let url = self.items("/items");
        self.send(Method::POST, &url, &[("prefer", "wait=30")], Some(body)).await
    }

    pub(crate) async fn buy(&self, headers: &[(&str, &str)], body: Value) -> Answer {
        self.send(Method::POST, &self.purchases("/purchases"), headers, Some(body)).await
    }
}

pub(crate) async fn send(
    client: &Client,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Answer {
    let mut request = client.request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let json = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    Answer { status, headers, json }
}

/// Waits until a service says that it is ready.
pub(crate) async fn wait_ready(client: &Client, url: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = client.get(url).send().await;
        if answer.as_ref().is_ok_and(|answer| answer.status().as_u16() == 200) {
            return;
        }
        assert!(Instant::now() < deadline, "{url}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

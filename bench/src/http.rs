//! Purchases over HTTP that wait for their decision, over connections that stay open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bps_service::exit::AnyError;
use reqwest::Client;
use serde::{Deserialize, Serialize};
use system_tests::kafka_installation;
use system_tests::processes::{Process, Work, free_address};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::measured::{Spread, percentile};
use crate::say;

const WARM_UP: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(15);
const ITEMS: u64 = 1_000;
/// Callers who each wait for the answer before they ask again, for the highest throughput.
const CALLERS: u64 = 128;

/// What the services stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum On {
    /// `bps up`: all in one process.
    Embedded,
    /// A process each, and Kafka.
    Kafka,
}

/// Latencies in ms.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Result {
    /// What the services stand on.
    pub(crate) on: On,
    /// Purchases a second, open loop, each counted from the moment at which it was to be sent;
    /// `None`: as many as 128 callers get answered.
    pub(crate) rate: Option<u64>,
    /// Purchases answered a second.
    pub(crate) answered_per_s: Spread,
    /// Half are faster.
    pub(crate) p50: Spread,
    /// One in a hundred is slower.
    pub(crate) p99: Spread,
}

/// The services, ready; they end when it is dropped.
struct Shop {
    items: String,
    purchases: String,
    _processes: Vec<Process>,
    _installed: Option<kafka_installation::KafkaInstallation>,
    _work: Work,
}

impl Shop {
    fn embedded() -> Shop {
        let work = Work::new("bench-http");
        let addresses = [free_address(), free_address()];
        let mut up = Process::start_up(&work, "up", &work.path("data"), &addresses, &[]);
        up.wait_line("bps up: ready");
        let [items, purchases] = addresses.map(|address| format!("http://{address}"));
        Shop { items, purchases, _processes: vec![up], _installed: None, _work: work }
    }

    fn on_kafka(kafka: &str) -> Shop {
        let work = Work::new("bench-http");
        let installed = kafka_installation::KafkaInstallation::new("bench", kafka);
        let mut processes = vec![installed.processor("processor", 0, kafka)];
        let mut start = |program: &str| {
            let state = work.path(program).display().to_string();
            let flags = ["--listen", "127.0.0.1:0", "--state", &state];
            let mut process = installed.program(program, program, kafka, &flags);
            let url = process.wait_line(program);
            processes.push(process);
            url
        };
        let (items, purchases) = (start("items-service"), start("purchase-service"));
        Shop { items, purchases, _processes: processes, _installed: Some(installed), _work: work }
    }

    async fn stock(&self, client: &Client) -> std::result::Result<(), AnyError> {
        let deadline = Instant::now() + Duration::from_secs(60);
        for url in [&self.items, &self.purchases] {
            let url = format!("{url}/readyz");
            while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                if Instant::now() > deadline {
                    return Err(format!("{url} is not ready").into());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        for n in 0..ITEMS {
            let body = format!(r#"{{"itemId":"item-{n}","quantity":1000000}}"#);
            let answer = post(client, &format!("{}/items", self.items), body).await?;
            answer.error_for_status()?;
        }
        Ok(())
    }
}

/// Measures at each rate, several times, and then the highest throughput.
///
/// # Errors
/// A purchase that is not granted.
pub(crate) fn run(
    kafka: &str,
    rates: &[u64],
    runs: usize,
) -> std::result::Result<Vec<Result>, AnyError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build()?;
    let mut results = Vec::new();
    for on in [On::Embedded, On::Kafka] {
        let shop = match on {
            On::Embedded => Shop::embedded(),
            On::Kafka => Shop::on_kafka(kafka),
        };
        let client = Client::new();
        runtime.block_on(shop.stock(&client))?;
        for rate in rates.iter().copied().map(Some).chain([None]) {
            let mut took = Vec::new();
            for round in 1..=runs {
                let one = runtime.block_on(measure(&client, &shop.purchases, rate))?;
                let wanted = rate.map_or("flat out".to_owned(), |rate| format!("{rate} a second"));
                say(format_args!(
                    "{round}/{runs} HTTP {on:?} {wanted:>14}: {:.0} answered a second, p50 {:.1} \
                     p99 {:.1} ms",
                    one[0], one[1], one[2],
                ));
                took.push(one);
            }
            let spread = |n: usize| Spread::of(took.iter().map(|one| one[n]).collect());
            let (answered_per_s, p50, p99) = (spread(0), spread(1), spread(2));
            results.push(Result { on, rate, answered_per_s, p50, p99 });
        }
    }
    Ok(results)
}

async fn post(
    client: &Client,
    url: &str,
    body: String,
) -> std::result::Result<reqwest::Response, AnyError> {
    let request = client.post(url).header("content-type", "application/json").body(body);
    Ok(request.send().await?)
}

/// Buys one of the n-th item, and reads the answer to its end.
async fn buy(client: &Client, url: &str, n: u64) -> std::result::Result<(), AnyError> {
    let body = format!(r#"{{"itemId":"item-{}","quantity":1,"purchasedBy":"b-{n}"}}"#, n % ITEMS);
    let answer = post(client, url, body).await?;
    match answer.status().as_u16() {
        201 => {
            answer.bytes().await?;
            Ok(())
        }
        status => Err(format!("a purchase is answered with {status}").into()),
    }
}

/// Purchases answered a second, the median and the 99th percentile of their latencies in ms.
async fn measure(
    client: &Client,
    purchases: &str,
    rate: Option<u64>,
) -> std::result::Result<[f64; 3], AnyError> {
    let url = Arc::new(format!("{purchases}/purchases"));
    let begun = Instant::now();
    let (from, to) = (begun + WARM_UP, begun + WARM_UP + MEASURED);
    let mut asked = JoinSet::new();
    if let Some(rate) = rate {
        let every = Duration::from_secs(1) / rate as u32;
        for n in 0.. {
            let due = begun + every * n as u32;
            if due >= to {
                break;
            }
            tokio::time::sleep_until(due).await;
            let (client, url) = (client.clone(), url.clone());
            asked.spawn(async move {
                buy(&client, &url, n).await?;
                Ok::<_, AnyError>(vec![(due, due.elapsed())])
            });
        }
    } else {
        let next = Arc::new(AtomicU64::new(0));
        for _ in 0..CALLERS {
            let (client, url, next) = (client.clone(), url.clone(), next.clone());
            asked.spawn(async move {
                let mut took = Vec::new();
                while Instant::now() < to {
                    let (n, sent) = (next.fetch_add(1, Ordering::Relaxed), Instant::now());
                    buy(&client, &url, n).await?;
                    took.push((sent, sent.elapsed()));
                }
                Ok(took)
            });
        }
    }
    let mut latencies = Vec::new();
    while let Some(took) = asked.join_next().await {
        let counted = took??.into_iter().filter(|(sent, _)| *sent >= from);
        latencies.extend(counted.map(|(_, took)| took.as_secs_f64() * 1_000.0));
    }
    latencies.sort_by(f64::total_cmp);
    let answered = latencies.len() as f64 / from.elapsed().as_secs_f64();
    Ok([answered, percentile(&latencies, 0.5), percentile(&latencies, 0.99)])
}

//! Takes events over HTTP and answers once they are decided, or durable in their topic.
//!
//! What a service takes, is an [`Intake`]: a topic, how a request becomes an event, and what was
//! decided of it. The rest is the same for all: [`Inbox::take`], `single` (one JSON object),
//! `bulk` (JSON lines, streamed), `acks` (what waits for the log), `decision` (what waits for the
//! processor), `topic` (how many partitions).

mod acks;
mod bulk;
mod decision;
mod key;
mod lines;
mod single;
pub mod stamp;
mod topic;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use bps_events::Topics;
use bps_events::fields::VALUE_BYTES_MAX;
use bps_streams::broker::{Ack, Appender, Broker, BrokerError, Result};
use bps_streams::partitioner::partition_of;
use bps_streams::{Outgoing, TRACE};
use tokio::sync::{Semaphore, watch};

pub use self::decision::Decision;
pub use self::key::IdempotencyKey;
use crate::metrics::Events;
use crate::preference::Preference;
use crate::problem::{Problem, ProblemKind};
use crate::settings::Period;
use crate::signals::Shutdown;
use crate::trace;
use crate::waiters::Waiters;

/// The moment a request is read at.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Milliseconds since 1970-01-01 UTC.
    pub now_ms: i64,
    /// What is stamped later than now and this is refused (ms).
    pub future_max_ms: u64,
}

/// An event, ready to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The record's key, which decides its partition.
    pub key: Vec<u8>,
    /// The record's value.
    pub value: Vec<u8>,
    /// The record's timestamp (ms since 1970).
    pub timestamp: i64,
    /// What the answer says of it: members of a JSON object, without its braces.
    pub ids: String,
    /// Whether the caller has named it: then it may have been sent before.
    pub is_named: bool,
}

/// The [`Event::ids`] of these names and values.
pub fn ids(fields: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(96);
    for (name, value) in fields {
        let comma = if text.is_empty() { "" } else { "," };
        text.extend([comma, "\"", name, "\":"]);
        // Nearly every id is as plain as this.
        match value.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
            true => text.extend(["\"", value, "\""]),
            false => text.push_str(&serde_json::Value::from(*value).to_string()),
        }
    }
    text
}

/// What a service takes.
pub trait Intake: Send + Sync {
    /// Its topic among those of the installation.
    fn topic<'t>(&self, topics: &'t Topics) -> &'t str;
    /// Turns a request (one JSON object) into an event. `key` names it where the object does not.
    ///
    /// # Errors
    /// What the rule would dead-letter, timestamps that cannot be taken, and two different names.
    fn event(&self, request: &[u8], key: &IdempotencyKey, at: Moment) -> Result<Event, Problem>;
    /// How long a single request waits for its decision unless the caller prefers otherwise.
    fn wait(&self) -> Duration;
    /// Who waits for decisions here.
    fn waiters(&self) -> &Arc<Waiters>;
    /// Under what these must be woken when this event is decided.
    fn subject(&self, event: &Event) -> Vec<u8>;
    /// Where the decision on this event can be read.
    fn location(&self, event: &Event) -> Option<Uri>;
    /// The decision on this event, if it is known here.
    ///
    /// # Errors
    /// When it cannot be looked up.
    fn decision(&self, event: &Event) -> Result<Option<Decision>, Problem>;
}

/// What an [`Inbox`] is set to.
#[derive(Clone, Debug)]
pub struct InboxConfig {
    /// The topics of the installation.
    pub topics: Topics,
    /// Partitions of the topic where it is created and no other topic tells the number.
    pub partitions: u32,
    /// What is stamped later than now and this is refused.
    pub future_max: Period,
}

/// How long a log that was away is taken to be so.
const AWAY: Duration = Duration::from_secs(3);
/// Bulk requests under way at a time; each holds some MiB at most.
const BULK_MAX: usize = 256;
/// How long a request waits for the topic to be known before it is told to come again.
const TOPIC_WAIT: Duration = Duration::from_secs(2);

/// A running intake: where it writes and when it ends. Clones share it.
#[derive(Clone)]
pub struct Inbox {
    intake: Arc<dyn Intake>,
    appender: Arc<dyn Appender>,
    topic: Arc<str>,
    future_max_ms: u64,
    /// 0 while it is not known.
    partitions: watch::Receiver<u32>,
    /// When the log was last found to be away, if it has not taken anything since.
    away: Arc<Mutex<Option<Instant>>>,
    events: Arc<Events>,
    bulk: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl Inbox {
    /// Starts an intake. The topic is looked up, and created where it is missing, in the
    /// background: a broker that is away is waited for.
    ///
    /// # Errors
    /// When no writer can be made.
    pub fn start(
        broker: Arc<dyn Broker>,
        intake: Arc<dyn Intake>,
        config: &InboxConfig,
        shutdown: &Shutdown,
    ) -> Result<Inbox> {
        let appender = Arc::from(broker.appender()?);
        let topic = intake.topic(&config.topics).to_owned();
        let partitions = topic::find(broker, &topic, config, shutdown.clone())?;
        Ok(Inbox {
            intake,
            appender,
            topic: Arc::from(topic),
            future_max_ms: config.future_max.as_ms(),
            partitions,
            away: Arc::default(),
            events: Arc::default(),
            bulk: Arc::new(Semaphore::new(BULK_MAX)),
            shutdown: shutdown.clone(),
        })
    }

    /// Answers a request: one event (`application/json`), or one a line (`application/x-ndjson`).
    pub async fn take(&self, headers: &HeaderMap, body: Body) -> Response {
        let preference = |otherwise| Preference::of(headers, otherwise);
        match ContentType::of(headers) {
            Ok(ContentType::Json) => {
                let preference = preference(self.intake.wait());
                single::take(self, headers, preference, body).await.into_response()
            }
            // In bulk nobody waits unless told to.
            Ok(ContentType::Lines) => {
                let trace = trace::parent(headers);
                let preference = preference(Duration::ZERO);
                bulk::take(self.clone(), preference, trace, body).await.into_response()
            }
            Err(problem) => problem.into_response(),
        }
    }

    /// How many partitions its topic has; 0 while that is not known.
    pub fn known_partitions(&self) -> u32 {
        *self.partitions.borrow()
    }

    /// Whether the log was away a moment ago. Not for long: whoever is told so sends no events, and
    /// then nothing would show that it is back.
    pub fn is_away(&self) -> bool {
        self.lock_away().is_some_and(|at| at.elapsed() < AWAY)
    }

    fn lock_away(&self) -> MutexGuard<'_, Option<Instant>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was sent so far.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    fn moment(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { now_ms: since.as_millis() as i64, future_max_ms: self.future_max_ms }
    }

    /// The topic's number of partitions, waited for as long as a caller may be kept.
    async fn partitions(&self) -> Result<u32, Problem> {
        let mut partitions = self.partitions.clone();
        let known = tokio::time::timeout(TOPIC_WAIT, partitions.wait_for(|n| *n > 0)).await;
        match known {
            Ok(Ok(count)) => Ok(*count),
            _ => {
                let detail = format!("topic {} is not known yet", self.topic);
                Err(Problem::new(ProblemKind::Unavailable, detail))
            }
        }
    }

    fn event(&self, request: &[u8], key: &IdempotencyKey, at: Moment) -> Result<Event, Problem> {
        let event = self.intake.event(request, key, at)?;
        if event.value.len() > VALUE_BYTES_MAX {
            // A request that just fits may not do so with the id that it was given.
            return Err(bps_events::Unreadable::TooLong { bytes: event.value.len() }.into());
        }
        Ok(event)
    }

    /// `trace`: what the event belongs to, if that is known.
    fn append(&self, event: &Event, trace: Option<&str>, partitions: u32, ack: Ack) -> Result<()> {
        let headers = [(TRACE, trace.map(str::as_bytes))];
        let record = Outgoing {
            topic: &self.topic,
            partition: partition_of(&event.key, partitions),
            timestamp: event.timestamp,
            key: Some(&event.key),
            value: Some(&event.value),
            headers: &headers[..usize::from(trace.is_some())],
        };
        self.appender.append(record, ack)
    }

    /// Counts events that were sent together, and logs where an outage of the log begins and
    /// ends, once each.
    fn note(&self, all: usize, failures: &[(usize, BrokerError)]) {
        self.events.count(all, failures.len());
        let failure = failures.first().map(|(_, error)| error);
        let mut away = self.lock_away();
        match failure {
            None if all > 0 && away.take().is_some() => {
                tracing::info!(topic = &*self.topic, "takes events again");
            }
            Some(error) if error.is_unavailable() && away.replace(Instant::now()).is_none() => {
                tracing::warn!(topic = &*self.topic, "cannot take events: {error}");
            }
            _ => {}
        }
    }
}

/// What a body says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentType {
    Json,
    Lines,
}

impl ContentType {
    fn of(headers: &HeaderMap) -> Result<ContentType, Problem> {
        let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let essence = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            Ok(Self::Json)
        } else if essence.eq_ignore_ascii_case("application/x-ndjson") {
            Ok(Self::Lines)
        } else {
            let detail = format!("{essence:?}: send application/json or application/x-ndjson");
            Err(Problem::of(ProblemKind::ContentType, "content-type", detail))
        }
    }
}

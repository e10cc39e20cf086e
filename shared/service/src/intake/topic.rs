//! How many partitions the topic of an intake has; where it is missing, it is made.

use std::sync::Arc;
use std::time::Duration;

use bps_streams::broker::{Broker, BrokerError, CleanupPolicy, Result, TopicDescription};
use tokio::sync::watch;

use super::InboxConfig;
use crate::signals::Shutdown;

/// Pause between two questions to a broker that is away.
const PAUSE: Duration = Duration::from_millis(200);
/// What may be the cause where a topic can be neither seen nor made.
const UNSEEN: &str = "it cannot be seen: may this program write it?";
/// Questions after which a topic that was made should be known.
const QUESTIONS_MAX: u32 = 25;

/// Asks on a thread of its own, until the broker answers: its calls may take seconds.
pub(super) fn find(
    broker: Arc<dyn Broker>,
    topic: &str,
    config: &InboxConfig,
    shutdown: Shutdown,
) -> Result<watch::Receiver<u32>> {
    let (sender, receiver) = watch::channel(0);
    let (topic, config) = (topic.to_owned(), config.clone());
    let ask = move || {
        let mut told = None;
        let mut made = 0;
        while !shutdown.is_requested() && !sender.is_closed() {
            match partitions(&*broker, &topic, &config, made == 0) {
                Ok(Some(count)) => {
                    tracing::info!(topic, partitions = count, "takes events");
                    sender.send_replace(count);
                    return;
                }
                Ok(None) => {
                    made += 1;
                    if made == QUESTIONS_MAX {
                        tracing::warn!(topic, "{UNSEEN}");
                    }
                }
                Err(error) => {
                    if !error.is_unavailable() {
                        made += 1;
                    }
                    let text = error.to_string();
                    if told.as_ref() != Some(&text) {
                        tracing::warn!("waits: {text}");
                        if !error.is_unavailable() {
                            tracing::warn!(topic, "{UNSEEN}");
                        }
                        told = Some(text);
                    }
                }
            }
            std::thread::sleep(PAUSE);
        }
    };
    let thread = std::thread::Builder::new().name("topic".to_owned()).spawn(ask);
    thread.map_err(|e| BrokerError::Fatal { what: "topic", cause: e.to_string() })?;
    Ok(receiver)
}

/// The topic's partitions; `None` right after it was made, until the broker tells of it.
fn partitions(
    broker: &dyn Broker,
    topic: &str,
    config: &InboxConfig,
    is_first: bool,
) -> Result<Option<u32>> {
    let all = &config.topics;
    // All but the dead letters have the same number.
    let names = [
        topic,
        &all.items_added,
        &all.purchase_created,
        &all.rekeyed,
        &all.purchase_finished,
        &all.stock,
        &all.restock_finished,
    ];
    let found = broker.describe_topics(&names)?;
    if let Some(own) = &found[0] {
        return Ok((own.partitions > 0).then_some(own.partitions));
    }
    let others = found.iter().flatten().map(|t| t.partitions).find(|n| *n > 0);
    let partitions = others.unwrap_or(config.partitions);
    if is_first {
        tracing::info!(topic, partitions, "creates topic");
    }
    broker.create_topic(&TopicDescription {
        name: topic.to_owned(),
        partitions,
        cleanup: CleanupPolicy::Delete { retention_ms: None },
        future_max_ms: Some(config.future_max.as_ms()),
    })?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use bps_events::Topics;
    use bps_streams::broker::embedded::EmbeddedBroker;

    use super::*;
    use crate::settings::Period;

    #[test]
    fn a_missing_topic_is_made_as_wide_as_the_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = EmbeddedBroker::open(folder.path()).expect("a log");
        let config = InboxConfig {
            topics: Topics::default(),
            partitions: 8,
            future_max: Period(Duration::from_secs(10)),
        };
        let ask = |topic: &str| partitions(&broker, topic, &config, true).expect("an answer");
        assert_eq!(ask("bps-items-added"), None);
        assert_eq!(ask("bps-items-added"), Some(8));
        let other = InboxConfig { partitions: 3, ..config.clone() };
        let made = partitions(&broker, "bps-purchase-created", &other, true).expect("an answer");
        assert_eq!((made, ask("bps-purchase-created")), (None, Some(8)));
        let described = broker.describe_topics(&["bps-items-added"]).expect("an answer");
        let described = described[0].as_ref().expect("it is there");
        assert_eq!(described.future_max_ms, Some(10_000));
        assert_eq!(described.cleanup, CleanupPolicy::Delete { retention_ms: None });
    }
}

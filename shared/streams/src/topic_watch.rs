//! Looks, while an application runs, whether its topics are the ones that it began with. A client of
//! Kafka does not tell: it waits for ever for records of a topic that is no more, or goes on in one
//! that was made anew, at the offset where it was in the former.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::broker::{Broker, BrokerError, TopicIdentity};
use crate::error::{Error, Result};
use crate::policy::{made_anew, wider};
use crate::status::Observer;
use crate::topology::Topology;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct TopicWatch {
    topics: Vec<Watched>,
    partitions: u32,
    /// A topic, by number, and its id (none: it was not there), that should be another one. A broker
    /// that has just come back may know less than it should: it is believed the second time.
    suspect: Mutex<Option<(usize, Option<String>)>>,
}

struct Watched {
    name: String,
    /// Positions in it are kept: another one must not take its place.
    is_kept: bool,
    /// As it was in the beginning.
    id: String,
}

impl TopicWatch {
    /// Begins with the topics as they are now.
    pub(crate) fn begin(
        broker: &dyn Broker,
        topology: &Topology,
        partitions: u32,
    ) -> Result<TopicWatch> {
        let with_positions = topology.topics_with_positions();
        let all = topology.topics(partitions).into_iter().map(|topic| topic.name);
        let names: Vec<String> =
            all.filter(|name| topology.dead_letters.as_ref() != Some(name)).collect();
        let found =
            broker.identify_topics(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let watched = |(name, found): (String, Option<TopicIdentity>)| {
            let unknown = || BrokerError::Unavailable {
                what: "topics",
                cause: format!("{name} is not there yet"),
            };
            let id = found.ok_or_else(unknown)?.id;
            Ok(Watched { is_kept: with_positions.contains(&name), name, id })
        };
        let topics = names.into_iter().zip(found).map(watched).collect::<Result<_>>()?;
        Ok(TopicWatch { topics, partitions, suspect: Mutex::default() })
    }

    /// Looks now and then while an application runs. Sets `shutdown` where it cannot go on, and tells
    /// the observer why it should not be relied on.
    ///
    /// # Errors
    /// Why it has ended: what its workers met may come of its topics.
    pub(crate) fn during(
        &self,
        broker: &dyn Broker,
        observer: &Observer,
        shutdown: &AtomicBool,
        run: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let (running, over) = mpsc::channel();
        let (outcome, found) = std::thread::scope(|scope| {
            let watch = scope.spawn(move || self.watch(broker, observer, shutdown, &over));
            let outcome = run();
            // A panic drops it too: the scope waits for the other thread.
            drop(running);
            (outcome, watch.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        found.map_or_else(|| self.verdict(broker, outcome), Err)
    }

    /// Until `over` has no sender any more; why the application cannot go on, if it cannot.
    fn watch(
        &self,
        broker: &dyn Broker,
        observer: &Observer,
        shutdown: &AtomicBool,
        over: &Receiver<()>,
    ) -> Option<Error> {
        while over.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            match self.look(broker) {
                Ok(trouble) => observer.tell_trouble(trouble),
                // A broker that is away is waited for by whoever needs it.
                Err(Error::Broker(_)) => {}
                Err(error) => {
                    tracing::error!(%error, "the application ends");
                    shutdown.store(true, Ordering::Relaxed);
                    return Some(error);
                }
            }
        }
        None
    }

    /// What its workers met may come of its topics.
    fn verdict(&self, broker: &dyn Broker, outcome: Result<()>) -> Result<()> {
        let met = match outcome {
            Err(e @ (Error::Broker(_) | Error::Gap { .. } | Error::RestoreStalled { .. })) => e,
            other => return other,
        };
        // Twice: what is seen for the first time is not believed.
        for look in [self.look(broker), self.look(broker)] {
            if let Err(cause @ Error::Topic { .. }) = look {
                tracing::warn!(error = %met, "comes of another topic under the same name");
                return Err(cause);
            }
        }
        Err(met)
    }

    /// One look: why the application should not be relied on, if it can go on.
    fn look(&self, broker: &dyn Broker) -> Result<Option<String>> {
        let names: Vec<&str> = self.topics.iter().map(|topic| topic.name.as_str()).collect();
        let found = broker.identify_topics(&names)?;
        self.judge(&found)
    }

    fn judge(&self, found: &[Option<TopicIdentity>]) -> Result<Option<String>> {
        let mut all = self.topics.iter().zip(found).enumerate();
        let is_another = |topic: &Watched, found: &Option<TopicIdentity>| match found {
            None => true,
            Some(found) => !found.id.is_empty() && !topic.id.is_empty() && found.id != topic.id,
        };
        let other = all.find(|(_, (topic, found))| topic.is_kept && is_another(topic, found));
        let suspect = other.map(|(n, (_, found))| (n, found.as_ref().map(|f| f.id.clone())));
        let mut known = self.suspect.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *known, suspect.clone());
        let is_repeated = suspect == before;
        if let Some((number, id)) = suspect.filter(|_| is_repeated) {
            let Watched { name, id: former, .. } = &self.topics[number];
            return Err(match id {
                Some(id) => made_anew(name, former, &id),
                None => Error::Topic {
                    topic: name.clone(),
                    cause: "it is not there any more: it was deleted while this was running"
                        .to_owned(),
                },
            });
        }
        let width = |found: &Option<TopicIdentity>| found.as_ref().map(|found| found.partitions);
        let mut widths = self.topics.iter().zip(found.iter().map(width));
        let wide = widths.find_map(|(topic, width)| {
            Some((&topic.name, width.filter(|width| *width != self.partitions)?))
        });
        Ok(wide.map(|(name, width)| {
            let than = format!("{} when this was started, and reads no others", self.partitions);
            format!("topic {name}: {}", wider(width, &than))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> TopicWatch {
        let watched = |(name, is_kept): (&str, bool)| Watched {
            name: name.to_owned(),
            is_kept,
            id: format!("{name}-1"),
        };
        let topics = [("in", true), ("rows", true), ("out", false)].map(watched).into();
        TopicWatch { topics, partitions: 4, suspect: Mutex::default() }
    }

    fn found(ids: [&str; 3]) -> Vec<Option<TopicIdentity>> {
        let identity = |id: &str| match id {
            "gone" => None,
            id => Some(TopicIdentity { id: id.to_owned(), partitions: 4 }),
        };
        ids.map(identity).into()
    }

    #[test]
    fn another_topic_is_believed_the_second_time() {
        let same = found(["in-1", "rows-1", "out-1"]);
        for (other, word) in [
            (found(["in-2", "rows-1", "out-1"]), "topic in: it was made anew: its id is in-2"),
            (found(["in-1", "rows-3", "out-1"]), "topic rows: it was made anew: its id is rows-3"),
            (found(["gone", "rows-1", "out-1"]), "topic in: it is not there any more"),
        ] {
            let watch = watch();
            for look in [&same, &other, &same, &other] {
                assert_eq!(watch.judge(look).expect("not yet"), None);
            }
            let told = watch.judge(&other).expect_err("twice").to_string();
            assert!(told.starts_with(word), "{told}");
        }
    }

    #[test]
    fn what_holds_no_position_may_be_another_and_an_unknown_id_tells_nothing() {
        let watch = watch();
        for other in [found(["in-1", "rows-1", "out-2"]), found(["", "rows-1", "gone"])] {
            for _ in 0..3 {
                assert_eq!(watch.judge(&other).expect("goes on"), None);
            }
        }
    }

    #[test]
    fn a_wider_topic_is_named_and_does_not_end_it() {
        let watch = watch();
        let mut wide = found(["in-1", "rows-1", "out-1"]);
        if let Some(out) = &mut wide[2] {
            out.partitions = 12;
        }
        for _ in 0..3 {
            let told = watch.judge(&wide).expect("goes on").expect("told");
            assert!(told.starts_with("topic out: it has 12 partitions, 4 when"), "{told}");
        }
    }
}

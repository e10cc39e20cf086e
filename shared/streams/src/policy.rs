//! What a topic must be like for what a topology does with it: what would lose, change or hold up
//! its records is refused by name, what only may is told.

use crate::broker::{
    CleanupPolicy, Copies, TOMBSTONES_MS, Timestamps, TopicDescription, TopicSettings,
};
use crate::error::{Error, Result};
use crate::topology::{Backing, StoreSpec, TICKS_FUTURE_MAX_MS, Topology};

/// A topic as it was found.
pub(crate) struct Found<'a> {
    pub(crate) topic: &'a TopicDescription,
    pub(crate) settings: &'a TopicSettings,
}

/// What stands against a topic, and the settings that mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Objection {
    /// It cannot be used so.
    Refused(String, &'static str),
    /// It can, at the operator's risk.
    Warned(String, &'static str),
}

use Objection::{Refused, Warned};

/// Refuses what cannot serve, and tells of what may harm.
///
/// # Errors
/// The first topic that cannot serve, and what mends it.
pub(crate) fn check(topology: &Topology, all: &[Found<'_>]) -> Result<()> {
    for found in all {
        let topic = &found.topic.name;
        for objection in objections(topology, found, all) {
            match objection {
                Refused(cause, mend) => {
                    let cause = format!("{cause}: {}", command(topic, mend));
                    return Err(Error::Topic { topic: topic.clone(), cause });
                }
                Warned(cause, "") => tracing::warn!("topic {topic}: {cause}"),
                Warned(cause, mend) => {
                    tracing::warn!("topic {topic}: {cause}. To mend it: {}", command(topic, mend));
                }
            }
        }
    }
    Ok(())
}

/// The command that changes a topic's settings.
fn command(topic: &str, settings: &str) -> String {
    format!(
        "kafka-configs.sh --bootstrap-server HOST:PORT --alter --entity-type topics --entity-name \
         {topic} --add-config {settings}"
    )
}

fn objections(topology: &Topology, found: &Found<'_>, all: &[Found<'_>]) -> Vec<Objection> {
    let Found { topic, settings } = found;
    let mut objections = kept(topology, topic, settings);
    if topology.writes(&topic.name) {
        objections.extend(written(topology, topic, settings));
        objections.extend(narrow(topology, found, all));
    }
    objections.extend(settings.copies.iter().flat_map(copied));
    objections
}

/// Every record counts; of a changelog the last of each key.
fn kept(topology: &Topology, topic: &TopicDescription, settings: &TopicSettings) -> Vec<Objection> {
    let changelog =
        |b: &Backing| matches!(b, Backing::Changelog { topic: t, .. } if *t == topic.name);
    let policy = &topic.cleanup;
    if topology.stores.iter().any(|store| changelog(&store.backing)) {
        let cause = format!("its cleanup policy is {policy}, but it is a changelog");
        let is_right = *policy == CleanupPolicy::Compact;
        let refused = (!is_right).then_some(Refused(cause, "cleanup.policy=compact"));
        return refused.into_iter().chain(forgetful(topology, topic, settings)).collect();
    }
    let mut objections = Vec::new();
    if policy.is_compacting() {
        let cause = format!(
            "its cleanup policy is {policy}, but every record of it counts, and what was compacted \
             away is gone"
        );
        objections.push(Refused(cause, "cleanup.policy=delete,retention.ms=-1"));
    }
    if let Some(bytes) = settings.retention_bytes {
        let cause = format!(
            "it keeps {bytes} bytes of a partition only, but every record of it counts, also those \
             that are not processed yet"
        );
        objections.push(Refused(cause, "retention.bytes=-1"));
    }
    if let CleanupPolicy::Delete { retention_ms: Some(ms) } = policy {
        let cause = format!(
            "it keeps its records for {ms} ms only: decisions cannot be replayed after that"
        );
        objections.push(Warned(cause, "retention.ms=-1"));
    }
    objections
}

/// Rows of which ledgers tell are never deleted; others may be.
fn forgetful(
    topology: &Topology,
    topic: &TopicDescription,
    settings: &TopicSettings,
) -> Option<Objection> {
    let ms = settings.tombstones_ms.filter(|ms| *ms < TOMBSTONES_MS)?;
    let is_told = |store: &StoreSpec| topology.tells.iter().any(|t| t.store == store.name);
    let mut stores = topology.stores.iter().filter(|s| s.backing.topic() == topic.name);
    let store = stores.find(|store| !is_told(store))?;
    let cause = format!(
        "it tells of rows of {} that were deleted for {ms} ms only: a store that was away for longer \
         keeps them",
        store.name
    );
    Some(Warned(cause, "delete.retention.ms=2592000000"))
}

/// What is written must be taken, with the timestamp that it is given.
fn written(
    topology: &Topology,
    topic: &TopicDescription,
    settings: &TopicSettings,
) -> Vec<Objection> {
    let mut objections = Vec::new();
    if settings.timestamps == Timestamps::Append {
        let cause = "its message.timestamp.type is LogAppendTime: the broker overwrites the time \
                     of what is written, which can then neither be verified nor replayed";
        objections.push(Refused(cause.to_owned(), "message.timestamp.type=CreateTime"));
    }
    if let Some(ms) = settings.past_max_ms {
        let cause = format!(
            "it refuses records stamped more than {ms} ms in the past, and what is written has the \
             time of what it answers"
        );
        let mend = "message.timestamp.before.max.ms=9223372036854775807";
        objections.push(Refused(cause, mend));
    }
    let door = topology.sources.iter().map(|source| source.future_max_ms.unwrap_or(u64::MAX));
    let door = door.max().unwrap_or(0);
    let is_ticks = topology.ticks.as_deref() == Some(topic.name.as_str());
    if is_ticks && topic.future_max_ms.is_none_or(|ms| ms > TICKS_FUTURE_MAX_MS) {
        let cause =
            "it takes ticks that are far ahead: a clock that is ahead ends early what waits";
        objections.push(Warned(cause.to_owned(), "message.timestamp.after.max.ms=10000"));
    }
    if let Some(ms) = topic.future_max_ms.filter(|ms| *ms < door && !is_ticks) {
        let cause = format!(
            "it refuses records stamped more than {ms} ms ahead, and what is processed may be \
             stamped further ahead"
        );
        let mend = "message.timestamp.after.max.ms=9223372036854775807";
        objections.push(Refused(cause, mend));
    }
    objections
}

/// Where an input takes a batch that this topic does not, what answers it may be refused.
fn narrow(topology: &Topology, found: &Found<'_>, all: &[Found<'_>]) -> Option<Objection> {
    let bytes = found.settings.batch_bytes_max?;
    let inputs = topology.inputs();
    let wider = all.iter().find(|other| {
        inputs.contains(&other.topic.name)
            && other.settings.batch_bytes_max.is_none_or(|wide| wide > bytes)
    })?;
    let cause = format!(
        "it takes batches of {bytes} bytes, {} takes larger ones: a record that is too large to be \
         answered would hold its partition up; set max.message.bytes of both to the same",
        wider.topic.name
    );
    Some(Warned(cause, ""))
}

/// What was acknowledged should outlive a broker.
fn copied(copies: &Copies) -> Vec<Objection> {
    let Copies { brokers, replicas, in_sync_min, is_unclean } = *copies;
    let wanted = Copies::replicas_wanted(brokers);
    let mut objections = Vec::new();
    if replicas < wanted {
        let cause = format!(
            "it lies on {replicas} of {brokers} brokers: what was acknowledged is gone with them. \
             To have it on {wanted}: kafka-reassign-partitions.sh"
        );
        objections.push(Warned(cause, ""));
    } else if in_sync_min < Copies::in_sync_wanted(replicas) {
        let cause = format!(
            "a record is acknowledged when {in_sync_min} of its {replicas} brokers has it, and is \
             gone with that one"
        );
        objections.push(Warned(cause, "min.insync.replicas=2"));
    }
    if is_unclean {
        let cause = "a broker that lacks acknowledged records may become its leader".to_owned();
        objections.push(Warned(cause, "unclean.leader.election.enable=false"));
    }
    objections
}

/// An error that says that a topic is another one than that which is known here.
pub(crate) fn made_anew(topic: &str, former: &str, id: &str) -> Error {
    let cause = format!(
        "it was made anew: its id is {id}, and what is known here is of the one with the id \
         {former}, whose records are gone. If all topics of the application were made anew, \
         `reset` forgets what is known here; if it is a topic of rows alone, `reset --rebuild-rows` \
         writes them anew; else `reset --anew --output-prefix NEW` decides what there is, into empty \
         topics"
    );
    Error::Topic { topic: topic.to_owned(), cause }
}

/// What is wrong with topics of which one is wider than another, and what can be done.
pub(crate) fn wider(partitions: u32, than: &str) -> String {
    format!(
        "it has {partitions} partitions, {than}: all topics of the application must have the same \
         number. One that holds nothing yet can be deleted: the next start makes it. Of one that \
         was made wider nothing can be taken back: `topics copy` brings what the inputs hold to \
         those of another prefix, to be decided there"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::topology::nothing::node;
    use crate::topology::{Sink, Source, Store, as_it_is};

    fn topology() -> Topology {
        let hour = Duration::from_secs(3_600);
        let node = node("p", |wiring| {
            wiring.store("rows");
            wiring.sink("out");
        });
        let node = node.reads(Source::new("in", "in", as_it_is).future_max(hour));
        let topology = Topology::named("a").store(Store::new("rows", "rows")).rekey("moved");
        let topology = topology.sink(Sink::new("out", "out")).processor(node);
        topology.dead_letters("dead").build().expect("well wired")
    }

    type Change = fn(&mut TopicDescription, &mut TopicSettings);

    /// What stands against a topic of that name that was changed so: the word for it, and its mend.
    fn found(name: &str, change: Change) -> Vec<(&'static str, String)> {
        let topology = topology();
        let all = topology.topics(4).into_iter().map(|t| (t, TopicSettings::default()));
        let mut all: Vec<_> = all.collect();
        let changed = all.iter_mut().find(|(topic, _)| topic.name == name).expect("a topic");
        change(&mut changed.0, &mut changed.1);
        let all: Vec<_> = all.iter().map(|(topic, settings)| Found { topic, settings }).collect();
        let told = |objection| match objection {
            Refused(_, mend) => ("refused", mend.to_owned()),
            Warned(_, mend) => ("warned", mend.to_owned()),
        };
        let of = |found: &Found<'_>| objections(&topology, found, &all);
        all.iter().filter(|f| f.topic.name == name).flat_map(of).map(told).collect()
    }

    #[track_caller]
    fn check_all(change: Change, expected: [&[(&str, &str)]; 5]) {
        for (name, expected) in ["in", "rows", "moved", "out", "dead"].into_iter().zip(expected) {
            let found = found(name, change);
            let found: Vec<_> = found.iter().map(|(word, mend)| (*word, mend.as_str())).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn what_is_kept_neither_compacts_nor_has_a_bound_of_bytes() {
        let kept: &[_] = &[("refused", "cleanup.policy=delete,retention.ms=-1")];
        let changelog: &[_] = &[("refused", "cleanup.policy=compact")];
        check_all(|_, _| {}, [&[]; 5]);
        let compact: Change = |topic, _| topic.cleanup = CleanupPolicy::Compact;
        check_all(compact, [kept, &[], kept, kept, kept]);
        let both: Change =
            |topic, _| topic.cleanup = CleanupPolicy::CompactAndDelete { retention_ms: None };
        check_all(both, [kept, changelog, kept, kept, kept]);
        let short: Change =
            |topic, _| topic.cleanup = CleanupPolicy::Delete { retention_ms: Some(7) };
        let warned: &[_] = &[("warned", "retention.ms=-1")];
        check_all(short, [warned, changelog, warned, warned, warned]);
        let bounded: Change = |_, settings| settings.retention_bytes = Some(7);
        let bytes: &[_] = &[("refused", "retention.bytes=-1")];
        check_all(bounded, [bytes, &[], bytes, bytes, bytes]);
    }

    #[test]
    fn ticks_may_not_be_far_ahead() {
        let node = node("p", |wiring| _ = wiring.store("rows"));
        let topology = Topology::named("a")
            .store(Store::new("rows", "rows").due(1, |_| None))
            .processor(node.reads(Source::new("in", "in", as_it_is)))
            .ticks("ticks")
            .build()
            .expect("well wired");
        let settings = TopicSettings::default();
        let of = |future_max_ms: Option<u64>| {
            let mut topics = topology.topics(1);
            let ticks = topics.iter_mut().find(|topic| topic.name == "ticks").expect("ticks");
            ticks.future_max_ms = future_max_ms.or(ticks.future_max_ms).filter(|ms| *ms > 0);
            let found = Found { topic: ticks, settings: &settings };
            let told = |objection| match objection {
                Refused(_, mend) | Warned(_, mend) => mend,
            };
            objections(&topology, &found, &[]).into_iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(of(None), [""; 0]);
        assert_eq!(of(Some(0)), ["message.timestamp.after.max.ms=10000"], "no limit");
        assert_eq!(of(Some(10_001)), ["message.timestamp.after.max.ms=10000"]);
    }

    #[test]
    fn a_changelog_tells_for_long_of_what_was_deleted() {
        let day: Change = |_, settings| settings.tombstones_ms = Some(24 * 3_600 * 1_000);
        let mend = format!("delete.retention.ms={TOMBSTONES_MS}");
        let warned: &[_] = &[("warned", mend.as_str())];
        check_all(day, [&[], warned, &[], &[], &[]]);
        check_all(|_, settings| settings.tombstones_ms = Some(TOMBSTONES_MS), [&[]; 5]);
    }

    #[test]
    fn what_is_written_keeps_the_time_that_it_is_given() {
        let append: Change = |_, settings| settings.timestamps = Timestamps::Append;
        let refused: &[_] = &[("refused", "message.timestamp.type=CreateTime")];
        check_all(append, [&[], refused, refused, refused, refused]);
        let past: Change = |_, settings| settings.past_max_ms = Some(1);
        let refused: &[_] = &[("refused", "message.timestamp.before.max.ms=9223372036854775807")];
        check_all(past, [&[], refused, refused, refused, refused]);
        let narrower: Change = |topic, _| topic.future_max_ms = Some(3_599_999);
        let refused: &[_] = &[("refused", "message.timestamp.after.max.ms=9223372036854775807")];
        check_all(narrower, [&[], refused, refused, refused, refused]);
        check_all(|topic, _| topic.future_max_ms = Some(3_600_000), [&[]; 5]);
    }

    #[test]
    fn what_may_harm_is_told_with_what_mends_it() {
        let small: Change = |_, settings| settings.batch_bytes_max = Some(1_000);
        let warned: &[_] = &[("warned", "")];
        check_all(small, [&[], warned, warned, warned, warned]);
        type Row<'a> = (u32, u32, u32, bool, &'a [(&'a str, &'a str)]);
        let on_one: &[_] = &[("warned", "")];
        let one_has_it: &[_] = &[("warned", "min.insync.replicas=2")];
        let unclean: &[_] = &[("warned", "unclean.leader.election.enable=false")];
        let rows: [Row<'_>; 6] = [
            (3, 3, 2, false, &[]),
            (5, 3, 2, false, &[]),
            (2, 2, 1, false, &[]),
            (3, 1, 1, false, on_one),
            (3, 3, 1, false, one_has_it),
            (3, 3, 2, true, unclean),
        ];
        for (brokers, replicas, in_sync_min, is_unclean, expected) in rows {
            let copies = Copies { brokers, replicas, in_sync_min, is_unclean };
            let found = copied(&copies).into_iter().map(|objection| match objection {
                Refused(_, mend) => ("refused", mend),
                Warned(_, mend) => ("warned", mend),
            });
            assert_eq!(found.collect::<Vec<_>>(), expected, "{copies:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_topic_the_setting_and_the_command() {
        let topology = topology();
        let mut all = topology.topics(4);
        all[0].cleanup = CleanupPolicy::CompactAndDelete { retention_ms: Some(9) };
        let settings = TopicSettings::default();
        let all: Vec<_> = all.iter().map(|topic| Found { topic, settings: &settings }).collect();
        let refused = check(&topology, &all).expect_err("refused").to_string();
        let begin = "topic in: its cleanup policy is compact,delete after 9 ms, but every record";
        let end = "--entity-name in --add-config cleanup.policy=delete,retention.ms=-1";
        assert!(refused.starts_with(begin) && refused.ends_with(end), "{refused}");
    }
}

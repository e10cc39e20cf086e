//! A consumer of somebody else's under the application's group id: what it commits decides nothing.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bps_streams::broker::{
    Broker, CommittedOffset, Consumer, ConsumerOptions, GroupEvent, Isolation, Now, OffsetCommit,
    OffsetSpec, TopicPartition,
};
use system_tests::installation::PATIENCE;
use system_tests::{Backend, Installation, now_ms, on_both_brokers};

const PARTITIONS: u32 = 4;
/// Purchases of a round, all over the partitions.
const ROUND: usize = 40;

/// Somebody else's consumer under the application's group.
struct Stranger {
    consumer: Box<dyn Consumer>,
    assigned: Vec<TopicPartition>,
    begun: Instant,
}

impl Stranger {
    /// Joins; is a member as soon as it is assigned something.
    fn join(installation: &Installation) -> Stranger {
        let topics = &installation.settings.topics;
        let topics = [&topics.items_added, &topics.purchase_created, &topics.rekeyed];
        let options = ConsumerOptions {
            group: installation.settings.application.clone(),
            instance: format!("stranger-{}", now_ms()),
            topics: topics.map(String::clone).to_vec(),
            partitions: PARTITIONS,
            session_timeout_ms: 6_000,
        };
        let consumer = installation.broker.consumer(options).unwrap();
        let mut stranger = Stranger { consumer, assigned: Vec::new(), begun: Instant::now() };
        while stranger.assigned.is_empty() {
            stranger.poll();
        }
        stranger
    }

    fn now(&self) -> Now {
        let monotonic_ms = self.begun.elapsed().as_millis() as u64;
        Now { monotonic_ms, wall_ms: now_ms() }
    }

    fn poll(&mut self) {
        assert!(self.begun.elapsed() < PATIENCE, "it is assigned nothing");
        match self.consumer.poll(self.now(), Duration::from_millis(20)).unwrap() {
            GroupEvent::None => {}
            GroupEvent::Assigned(partitions) => {
                self.consumer.assign(&[]).unwrap();
                self.assigned = partitions;
            }
            GroupEvent::Revoking | GroupEvent::Lost => self.consumer.release().unwrap(),
        }
    }

    /// Commits the ends of what it was assigned, reads nothing, and leaves.
    fn commit_and_leave(mut self, broker: &dyn Broker) {
        let ends = OffsetSpec::End(Isolation::ReadCommitted);
        let ends = broker.offsets(&self.assigned, ends).unwrap();
        let offsets = self.assigned.iter().cloned().zip(ends).map(|(partition, offset)| {
            let committed = CommittedOffset { offset, metadata: String::new() };
            OffsetCommit { partition, committed }
        });
        self.consumer.commit(&offsets.collect::<Vec<_>>()).unwrap();
        self.consumer.leave(self.now()).unwrap();
    }
}

/// Buys one unit of as many items.
fn buy(installation: &mut Installation, round: usize) {
    for n in 0..ROUND {
        let (id, item) = (format!("p-{round}-{n}"), format!("item-{n}"));
        installation.purchase(&id, &item, "1", now_ms());
    }
}

#[test]
fn what_others_commit_in_its_group_leaves_nothing_out() {
    on_both_brokers("stranger", |broker| {
        let mut installation = Installation::new(broker.clone(), "stranger", PARTITIONS);
        installation.start();
        for n in 0..ROUND {
            installation.restock(&format!("r-{n}"), &format!("item-{n}"), "2", now_ms());
        }
        buy(&mut installation, 1);
        installation.results(ROUND);
        // While it is stopped.
        installation.leave();
        buy(&mut installation, 2);
        Stranger::join(&installation).commit_and_leave(&*broker);
        installation.start();
        installation.results(2 * ROUND);
        // While it runs: what the stranger is assigned waits until it has left.
        let mut stranger = Stranger::join(&installation);
        buy(&mut installation, 3);
        for _ in 0..10 {
            stranger.poll();
        }
        stranger.commit_and_leave(&*broker);
        let results = installation.results(3 * ROUND);
        let refused = results.iter().filter(|result| result.message().contains("FAILED"));
        assert_eq!((results.len(), refused.count()), (3 * ROUND, ROUND), "two of each item");
        installation.end().unwrap();
        installation.verify();
    });
}

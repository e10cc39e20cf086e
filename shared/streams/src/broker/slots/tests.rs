//! Slots over a client that does as it is told.

use std::collections::VecDeque;

use super::*;

/// What a queue holds.
#[derive(Clone, Copy)]
enum Entry {
    Record(u64),
    End(u64),
    Failed,
    OutOfRange,
}
use Entry::{End, Failed, OutOfRange, Record};

struct Script(VecDeque<Entry>);

impl Fetched for Script {
    fn hand_over(&mut self, taking: &mut Taking<'_>) -> bool {
        while taking.room() > 0
            && let Some(entry) = self.0.pop_front()
        {
            match entry {
                Record(offset) => taking.record((offset, 0), None, None, []),
                End(offset) => taking.end(offset),
                Failed => taking.halt(Halt::Failed(away("fetch"))),
                OutOfRange => taking.halt(Halt::OutOfRange),
            }
        }
        !self.0.is_empty()
    }
}

fn away(what: &'static str) -> BrokerError {
    BrokerError::Unavailable { what, cause: "away".to_owned() }
}

/// A client whose queues hold what was scripted for each of its starts.
#[derive(Default)]
struct Client {
    scripts: VecDeque<Vec<Vec<Entry>>>,
    started: Vec<Vec<(u32, u64)>>,
    bounds: Option<(u64, u64)>,
    now_ms: u64,
}

impl Fetcher for Client {
    type Queue = Script;
    const SHORT_MS_MAX: u64 = 1_000;

    fn restart(&mut self, from: &[(TopicPartition, u64)]) -> Result<Vec<Script>> {
        self.started.push(from.iter().map(|(at, offset)| (at.partition, *offset)).collect());
        let queues = self.scripts.pop_front().ok_or_else(|| away("assign"))?;
        assert_eq!(queues.len(), from.len());
        Ok(queues.into_iter().map(|queue| Script(queue.into())).collect())
    }

    fn bounds(&self, partitions: &[TopicPartition]) -> Result<Vec<(u64, u64)>> {
        let bounds = self.bounds.ok_or_else(|| away("bounds"))?;
        Ok(vec![bounds; partitions.len()])
    }

    fn now_ms(&self) -> u64 {
        self.now_ms
    }
}

/// Partitions 0 and 1 from their beginning, with these queues at each start.
fn begun(scripts: &[[&[Entry]; 2]]) -> (Slots<Client>, Client) {
    let scripts = scripts.iter().map(|queues| queues.map(<[Entry]>::to_vec).to_vec());
    let mut client = Client { scripts: scripts.collect(), ..Client::default() };
    let mut slots = Slots::default();
    let from = [0, 1].map(|partition| (TopicPartition::new("t", partition), 0));
    slots.assign(&mut client, &from).expect("assigned");
    (slots, client)
}

/// The offsets that a fetch brings, and the position, or the error.
fn fetch(
    slots: &mut Slots<Client>,
    client: &mut Client,
    slot: usize,
) -> Result<(Vec<u64>, u64), String> {
    let mut batch = Batch::default();
    let position = slots.fetch(client, slot, 1 << 20, &mut batch);
    let offsets = (0..batch.len()).map(|index| batch.place(index).0).collect();
    position.map(|position| (offsets, position)).map_err(|error| error.to_string())
}

const AWAY: &str = "fetch: the broker is not available (away)";

#[test]
fn what_lies_before_an_error_is_handed_over_and_what_lies_behind_it_comes_again() {
    let first = [Record(0), Record(2), Failed, Record(4), End(7)];
    let (mut slots, mut client) =
        begun(&[[&first, &[Record(0)]], [&[Record(1), Record(3), Record(4), End(6)], &[]]]);
    let mut fetch = |slot| fetch(&mut slots, &mut client, slot);
    assert_eq!(fetch(0), Ok((vec![0, 2], 3)));
    assert_eq!(fetch(1), Ok((vec![0], 1)));
    assert_eq!(fetch(0), Err(AWAY.to_owned()));
    // 1 was never there for this reader: it is below what it has.
    assert_eq!(fetch(0), Ok((vec![3, 4], 6)));
    assert_eq!(fetch(1), Ok((vec![], 1)));
    assert_eq!(client.started, [[(0, 0), (1, 0)], [(0, 3), (1, 1)]]);
    assert!(slots.take_more(), "the next wait must not wait");
}

#[test]
fn an_error_alone_is_told_at_once_and_tried_again_after_longer_and_longer() {
    let failing: [&[Entry]; 2] = [&[Failed], &[]];
    let (mut slots, mut client) = begun(&[failing; 5]);
    for pause_ms in [0, 50, 100, 200] {
        assert_eq!(fetch(&mut slots, &mut client, 0), Err(AWAY.to_owned()));
        let started = client.started.len();
        client.now_ms += pause_ms;
        if pause_ms > 0 {
            client.now_ms -= 1;
            assert_eq!(fetch(&mut slots, &mut client, 0), Err(AWAY.to_owned()));
            assert_eq!(fetch(&mut slots, &mut client, 1), Ok((vec![], 0)), "it reads on");
            assert_eq!(client.started.len(), started);
            client.now_ms += 1;
        }
    }
}

#[test]
fn a_position_that_is_refused_for_a_moment_is_read_on() {
    let second = [Record(5), End(6)];
    let (mut slots, mut client) =
        begun(&[[&[Record(4), OutOfRange], &[OutOfRange]], [&second, &second]]);
    let mut fetch = |slot, bounds, now_ms| {
        (client.bounds, client.now_ms) = (bounds, now_ms);
        fetch(&mut slots, &mut client, slot)
    };
    assert_eq!(fetch(0, None, 0), Ok((vec![4], 5)));
    let away = "bounds: the broker is not available (away)";
    assert_eq!(fetch(0, None, 0), Err(away.to_owned()));
    // The log looks shorter than it is.
    assert_eq!(fetch(0, Some((0, 3)), 100), Ok((vec![], 5)));
    assert_eq!(fetch(1, Some((0, 3)), 100), Ok((vec![], 0)));
    assert_eq!(fetch(0, Some((0, 6)), 900), Ok((vec![5], 6)));
    assert_eq!(fetch(1, Some((0, 6)), 900), Ok((vec![5], 6)), "it was started with it");
    assert_eq!(client.started, [[(0, 0), (1, 0)], [(0, 5), (1, 0)]]);
}

#[test]
fn a_position_that_is_gone_is_told_with_the_bounds_of_the_log() {
    let queues: [&[Entry]; 2] = [&[Record(4), OutOfRange], &[Record(0), Record(1)]];
    for (bounds, is_quiet, told) in [
        ((7, 9), false, "t-0: offset 5 is outside the log (7..=9)"),
        ((0, 4), true, "t-0: offset 5 is outside the log (0..=4)"),
    ] {
        let (mut slots, mut client) = begun(&[queues]);
        client.bounds = Some(bounds);
        assert_eq!(fetch(&mut slots, &mut client, 0), Ok((vec![4], 5)));
        // It may come back from having been away for long, and know less for a moment.
        client.now_ms = 60_000;
        if is_quiet {
            assert_eq!(fetch(&mut slots, &mut client, 0), Ok((vec![], 5)));
            client.now_ms += 1_000;
        }
        for _ in 0..2 {
            assert_eq!(fetch(&mut slots, &mut client, 0), Err(told.to_owned()));
        }
        assert_eq!(fetch(&mut slots, &mut client, 1), Ok((vec![0, 1], 2)));
    }
}

#[test]
fn a_client_that_could_not_be_started_is_started_by_the_next_call() {
    let (mut slots, mut client) = begun(&[[&[Failed], &[Record(0)]]]);
    assert_eq!(fetch(&mut slots, &mut client, 0), Err(AWAY.to_owned()));
    let away = "assign: the broker is not available (away)";
    assert_eq!(fetch(&mut slots, &mut client, 0), Err(away.to_owned()));
    assert_eq!(fetch(&mut slots, &mut client, 1), Err(away.to_owned()));
    client.scripts.push_back(vec![vec![Record(0)], vec![Record(0), Record(1)]]);
    assert_eq!(fetch(&mut slots, &mut client, 1), Ok((vec![0, 1], 2)));
    assert_eq!(fetch(&mut slots, &mut client, 0), Ok((vec![0], 1)));
}

//! A topology that has gained a store, or a source, since its topics and its store were written.

use bps_streams::broker::{CommittedOffset, TopicPartition};
use bps_streams::store::StoreBatch;
use bps_streams::topology::as_it_is;
use bps_streams::{Ledger, Sink, Source, Topology};

use super::rig::{INPUT, LEDGER, Rig, beginning, node, node_with, set};

const SEEN: &str = "seen";
const ALSO: &str = "also";
/// Tables in the order of their stores.
const ALSO_TABLE: usize = 2;

/// A ledger that backs one store, or two.
fn with_stores(also: bool) -> Topology {
    let seen =
        Ledger::new(SEEN, LEDGER, |record, _| Some((record.key?.to_vec(), b"seen".to_vec())));
    let mut topology = beginning().ledger(seen);
    if also {
        topology = topology.ledger(Ledger::new(ALSO, LEDGER, |record, _| {
            Some((record.key?.to_vec(), record.value?.to_vec()))
        }));
    }
    let ledgers: &[&str] = if also { &[SEEN, ALSO] } else { &[SEEN] };
    topology.processor(node(&[INPUT], ledgers)).build().unwrap()
}

/// Three keys were put by a topology without the store.
fn without_the_store() -> Rig {
    let mut rig = Rig::new(with_stores(false));
    rig.boot();
    for key in ["a", "b", "c"] {
        rig.send(INPUT, key, Some(key));
        rig.settle();
    }
    rig
}

#[track_caller]
fn check_whole(rig: &mut Rig) {
    rig.settle();
    let row = |key: &str| (key.to_owned(), 1, key.to_owned());
    assert_eq!(rig.rows(ALSO_TABLE), ["a", "b", "c"].map(row));
    assert_eq!(rig.rows(0), ["a", "b", "c"].map(row));
    assert_eq!(rig.rows(1).len(), 3);
    assert_eq!(rig.keys(LEDGER), ["a", "b", "c"]);
}

#[test]
fn a_store_on_a_topic_that_backs_another_is_built_from_its_beginning() {
    let mut rig = without_the_store();
    rig.kill(0);
    rig.change_to(with_stores(true));
    rig.boot();
    check_whole(&mut rig);
    // From then on it is kept as the others are.
    rig.kill(0);
    rig.boot();
    check_whole(&mut rig);
}

#[test]
fn also_when_it_is_killed_meanwhile() {
    for steps in 1..12 {
        let mut rig = without_the_store();
        rig.kill(0);
        rig.change_to(with_stores(true));
        set(&rig.trouble.one_by_one, true);
        rig.boot();
        for _ in 0..steps {
            rig.step(10).unwrap();
        }
        rig.kill(0);
        set(&rig.trouble.one_by_one, false);
        rig.boot();
        check_whole(&mut rig);
    }
}

#[test]
fn also_where_the_checkpoint_does_not_tell_of_stores() {
    let mut rig = without_the_store();
    let store = rig.store.clone().unwrap();
    let mut batch = StoreBatch::default();
    let mut checkpoint = store.checkpoint(0).unwrap().unwrap();
    checkpoint.stores.clear();
    batch.checkpoint(0, checkpoint);
    batch.hold(0, store.claim(0));
    store.apply(&batch).unwrap();
    rig.kill(0);
    rig.change_to(with_stores(true));
    rig.boot();
    check_whole(&mut rig);
}

#[test]
fn rows_of_a_store_that_was_not_kept_for_a_while_do_not_come_back() {
    let mut rig = Rig::new(with_stores(true));
    rig.boot();
    for key in ["a", "b"] {
        rig.send(INPUT, key, Some(key));
        rig.settle();
    }
    rig.kill(0);
    rig.change_to(with_stores(false));
    rig.boot();
    rig.send(INPUT, "c", Some("c"));
    rig.settle();
    // One that would have been deleted meanwhile.
    let store = rig.store.clone().unwrap();
    let mut batch = StoreBatch::default();
    batch.write(ALSO_TABLE, 0, b"ghost", Some(&[0; 16]));
    batch.hold(0, store.claim(0));
    store.apply(&batch).unwrap();
    rig.kill(0);
    rig.change_to(with_stores(true));
    rig.boot();
    check_whole(&mut rig);
}

/// Two stores, each on the ledger or on another topic.
fn with_stores_on(seen: &'static str, also: &'static str) -> Topology {
    let seen = Ledger::new(SEEN, seen, |record, _| Some((record.key?.to_vec(), b"seen".to_vec())));
    let also =
        Ledger::new(ALSO, also, |record, _| Some((record.key?.to_vec(), record.value?.to_vec())));
    let topology = beginning().ledger(seen).ledger(also).sink(Sink::new(SECOND, SECOND));
    topology.processor(node_with(&[INPUT], &[SEEN, ALSO], &[SECOND])).build().unwrap()
}

const SECOND: &str = "second";

#[test]
fn stores_that_have_another_topic_for_a_moment_are_built_anew_each_time() {
    for seen in [LEDGER, SECOND] {
        let mut rig = Rig::new(with_stores_on(LEDGER, LEDGER));
        rig.boot();
        for key in ["a", "b", "c"] {
            rig.send(INPUT, key, Some(key));
            rig.settle();
        }
        rig.kill(0);
        rig.change_to(with_stores_on(seen, SECOND));
        rig.boot();
        rig.settle();
        assert_eq!(rig.rows(ALSO_TABLE), [], "nothing is on its topic");
        assert_eq!(rig.rows(1).len(), if seen == SECOND { 0 } else { 3 });
        // Nothing was committed in between. One comes back, and then the other.
        rig.kill(0);
        rig.change_to(with_stores_on(LEDGER, SECOND));
        rig.boot();
        rig.settle();
        assert_eq!((rig.rows(1).len(), rig.rows(ALSO_TABLE).len()), (3, 0));
        rig.kill(0);
        rig.change_to(with_stores_on(LEDGER, LEDGER));
        rig.boot();
        check_whole(&mut rig);
    }
}

/// Reads these topics in this order.
fn with_sources(names: &[&'static str]) -> Topology {
    beginning().processor(node(names, &[])).build().unwrap()
}

const LAST: &str = "last";
const MIDDLE: &str = "middle";

/// Two records of the first input and five of the last are decided, and nobody runs. Then these sources
/// are read, of which a new one holds six.
fn changed_to(names: &[&'static str], batches_lost: usize) -> Rig {
    let mut rig = Rig::new(with_sources(&[INPUT, LAST]));
    rig.boot();
    for topic in [INPUT, LAST, LAST, LAST, LAST, LAST, INPUT] {
        rig.send(topic, topic, Some("1"));
        rig.settle();
    }
    rig.kill(batches_lost);
    rig.change_to(with_sources(names));
    for number in (0..6).filter(|_| names.contains(&MIDDLE)) {
        rig.send(MIDDLE, &format!("m{number}"), Some("1"));
    }
    rig
}

#[track_caller]
fn check_all_of_middle(rig: &mut Rig, what: &str) {
    rig.settle();
    let keys = rig.keys(LEDGER);
    let of_middle: Vec<_> = keys[7..].iter().map(String::as_str).collect();
    assert_eq!(of_middle, ["m0", "m1", "m2", "m3", "m4", "m5"], "{what}");
}

#[test]
fn a_source_in_the_middle_takes_nobodys_position() {
    for batches_lost in [0, 1, 6] {
        for names in [&[INPUT, MIDDLE, LAST][..], &[MIDDLE, INPUT, LAST], &[INPUT, MIDDLE]] {
            let mut rig = changed_to(names, batches_lost);
            rig.boot();
            check_all_of_middle(&mut rig, &format!("{names:?}, {batches_lost} batches lost"));
        }
    }
    let mut rig = changed_to(&[INPUT, MIDDLE, LAST], 0);
    rig.move_on();
    check_all_of_middle(&mut rig, "on another machine");
}

/// It stops with these words, also when it has built its rows by then, and decides nothing.
#[track_caller]
fn check_stops(rig: &mut Rig, expected: &[&str]) {
    rig.stops_each_time(&[expected, &["--skip-gap"]].concat());
}

/// Somebody sets the group's offset of a topic.
fn set_offset(rig: &Rig, topic: &str, offset: u64) {
    let committed = CommittedOffset { offset, metadata: String::new() };
    rig.cluster.set_offset("register", TopicPartition::new(topic, 0), committed);
}

#[test]
fn an_offset_of_one_input_that_others_set_is_not_followed_where_there_is_no_store() {
    for skip_gap in [false, true] {
        let mut rig = changed_to(&[INPUT, LAST], 0);
        set_offset(&rig, LAST, 1);
        rig.send(LAST, "last", Some("1"));
        rig.kill(0);
        if skip_gap {
            rig.configure = |config| config.skip_gap = true;
        }
        rig.move_on();
        rig.settle();
        // Its own position is known, and the one that was set is no later one.
        assert_eq!(rig.keys(LEDGER)[7..], ["last"]);
    }
}

#[test]
fn where_nobody_knows_whose_a_position_is_it_stops() {
    // What is known by number only: of two inputs, and there are three.
    let mut rig = changed_to(&[INPUT, MIDDLE, LAST], 0);
    rig.outside.delete_group(rig.topology.name()).unwrap();
    rig.move_on();
    rig.kill(0);
    check_stops(&mut rig, &["input-0: "]);
    // One in the place of another, for all that the rows tell.
    let mut rig = changed_to(&[INPUT, MIDDLE], 0);
    rig.move_on();
    rig.kill(0);
    check_stops(&mut rig, &["middle-0: ", "rows tell of other inputs"]);
    // The operator's word.
    set_offset(&rig, MIDDLE, 0);
    rig.configure = |config| config.skip_gap = true;
    rig.boot();
    check_all_of_middle(&mut rig, "its offset was set");
}

#[test]
fn an_input_that_was_read_already_is_not_taken_for_a_new_one() {
    let mut rig = changed_to(&[INPUT, MIDDLE, LAST], 0);
    rig.boot();
    check_all_of_middle(&mut rig, "new");
    // Rows tell of two inputs, and of three: of the new one by its number.
    rig.cluster.forget_offsets(MIDDLE);
    rig.move_on();
    rig.kill(0);
    check_stops(&mut rig, &["middle"]);
}

const ADDED: &str = "added";

/// Reads an input, and what is moved; later another input too, behind those.
fn with_moved(is_added: bool) -> Topology {
    let mut node = node(&[INPUT], &[]);
    if is_added {
        node = node.reads(Source::new(ADDED, ADDED, as_it_is).number(2));
    }
    beginning().processor(node).rekey("moved").dead_letters("dead").build().unwrap()
}

#[test]
fn an_added_input_is_read_from_its_beginning_though_only_stamps_tell_of_the_others() {
    let mut rig = Rig::new(with_moved(false));
    rig.boot();
    // What does not say from where it was moved is put aside; its position counts.
    for (topic, key) in [("moved", "x"), ("moved", "y"), (INPUT, "a"), (INPUT, "b"), (INPUT, "c")] {
        rig.send(topic, key, Some("1"));
        rig.settle();
    }
    rig.kill(0);
    rig.change_to(with_moved(true));
    for key in ["d", "e", "f"] {
        rig.send(ADDED, key, Some("1"));
    }
    rig.send(INPUT, "g", Some("1"));
    rig.outside.delete_group(rig.topology.name()).unwrap();
    rig.move_on();
    rig.settle();
    assert_eq!(rig.keys(LEDGER), ["a", "b", "c", "g", "d", "e", "f"]);
    assert_eq!(rig.keys("dead"), ["x", "y"]);
}

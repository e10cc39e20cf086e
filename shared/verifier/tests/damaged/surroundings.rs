//! Damage to the table of stock, to what was put away, and to the group's offsets.

use bps_verifier::Rule;

use crate::clean::{T0, everything, item};
use crate::log::Log;
use crate::{LEDGER, LETTERS, MOVED, PURCHASES, RESTOCKS, STOCK, check, id, undecided};

#[test]
fn wrong_stock_is_found() {
    let last = |log: &mut Log, item: &str| {
        let part = log.part("bps-stock", 0);
        part.records.iter().rposition(|r| r.text().contains(item)).expect("a row")
    };
    let a = item(0, 0);
    let row = |damage: &str, from: &'static str, to: &'static str| {
        check(damage, |log| {
            let index = last(log, &a);
            let record = &mut log.part("bps-stock", 0).records[index];
            record.replace(from, to);
            (Rule::C5, STOCK, 0, record.offset)
        });
    };
    row("wrong booked", "booked\":4", "booked\":5");
    row("wrong supplied", "supplied\":10", "supplied\":11");
    row("wrong remaining", "remaining\":6", "remaining\":7");
    row("wrong description", "red", "blue");
    row("wrong time of the row", "updatedAt\":1", "updatedAt\":2");
    row("a row of another item", "itemId\":\"", "itemId\":\"x");
    check("a torn row", |log| {
        let index = last(log, &a);
        let record = &mut log.part("bps-stock", 0).records[index];
        record.value = Some(b"{".to_vec());
        (Rule::C5, STOCK, 0, record.offset)
    });
    check("a stale row", |log| {
        let index = last(log, &a);
        log.part("bps-stock", 0).records.remove(index);
        let index = last(log, &a);
        (Rule::C5, STOCK, 0, log.part("bps-stock", 0).records[index].offset)
    });
    check("a stranger's row", |log| {
        let index = last(log, &a);
        let record = &mut log.part("bps-stock", 0).records[index];
        record.headers.clear();
        (Rule::C5, STOCK, 0, record.offset)
    });
    check("no row", |log| {
        log.part("bps-stock", 0).records.retain(|r| !r.text().contains(&a));
        let (partition, record) = log.record("bps-purchase-finished", &[&id("p8")]);
        (Rule::C5, LEDGER, partition, record.offset)
    });
}

#[test]
fn records_of_an_input_that_were_compacted_away_are_found() {
    check("a purchase that nobody has read", |log| {
        let offset = undecided(log);
        undecided(log);
        let part = log.part("bps-purchase-created", 0);
        part.records.retain(|r| r.offset != offset);
        log.committed.insert(("bps-purchase-created".to_owned(), 0), Some(offset + 2));
        (Rule::C1, PURCHASES, 0, offset)
    });
    check("a restock that was sent again", |log| {
        let part = log.part("bps-items-added", 0);
        let last = part.records.iter().rposition(|r| r.text().contains(&id("r1")));
        let resend = part.records.remove(last.expect("one that was sent again"));
        (Rule::C1, RESTOCKS, 0, resend.offset)
    });
    let mut log = everything();
    log.compacting.insert("bps-purchase-created".to_owned());
    let report = crate::verify(&log, true, u64::MAX);
    let told = crate::lines(&report);
    let expected = "C1 bps-purchase-created: expected a cleanup policy that keeps every record; \
                    found compact,delete";
    assert_eq!(told, expected);
}

#[test]
fn markers_in_inputs_are_no_finding_where_others_write_them_in_transactions() {
    let mut log = everything();
    // Behind the last record of a partition: the end of its transaction.
    for partition in 0..2 {
        for topic in ["bps-items-added", "bps-purchase-created"] {
            let part = log.part(topic, partition);
            part.markers = 1;
            let end = part.end();
            log.committed.insert((topic.to_owned(), partition), Some(end));
        }
    }
    let verify = |are| {
        let verifier = bps_verifier::Verifier::new(&log, log.names.clone(), "g").at_rest(true);
        let verifier = verifier.transactional_inputs(are);
        verifier.run(&|_| std::ops::ControlFlow::Continue(())).expect("readable")
    };
    let told = crate::lines(&verify(true));
    assert_eq!(told, "");
    assert_eq!(verify(false).by_rule.into_iter().collect::<Vec<_>>(), [(Rule::C1, 4)]);
}

#[test]
fn what_moved_or_died_wrongly_is_found() {
    check("a moved record lost", |log| {
        log.remove("bps-rekeyed", &[&id("moved")]);
        let (partition, record) = log.record("bps-purchase-created", &[&id("moved")]);
        (Rule::C1, PURCHASES, partition, record.offset)
    });
    check("a moved record doubled", |log| {
        let (partition, record) = log.record("bps-rekeyed", &[&id("moved")]);
        let copy = record.clone();
        (Rule::C1, MOVED, partition, log.part("bps-rekeyed", partition).push(copy))
    });
    check("a moved record changed", |log| {
        let (partition, record) = log.record("bps-rekeyed", &[&id("moved")]);
        record.timestamp += 1;
        (Rule::C1, MOVED, partition, record.offset)
    });
    check("a moved record of nothing", |log| {
        let (partition, record) = log.record("bps-rekeyed", &[&id("moved")]);
        record.headers[3].1 = Some(b"77".to_vec());
        (Rule::C1, MOVED, partition, record.offset)
    });
    check("a dead letter lost", |log| {
        let (partition, letter) = log.remove("bps-dead-letters", &["{"]);
        let source = String::from_utf8(letter.headers[2].1.clone().expect("a value"));
        let source = source.expect("a number").parse().expect("a number");
        let topic = letter.headers[0].1.clone().expect("a value");
        assert_eq!(String::from_utf8(topic).expect("a name"), "bps-items-added");
        (Rule::C1, RESTOCKS, partition, source)
    });
    check("a dead letter changed", |log| {
        let (partition, letter) = log.record("bps-dead-letters", &[&id("late")]);
        letter.replace("late", "soon");
        (Rule::C1, LETTERS, partition, letter.offset)
    });
    let clock = |damage: &str, clock: i64| {
        check(damage, |log| {
            let (partition, letter) = log.record("bps-dead-letters", &[&id("late")]);
            letter.timestamp = clock;
            (Rule::C1, LETTERS, partition, letter.offset)
        });
    };
    // Its record is stamped ten thousand seconds later than the others.
    clock("no further ahead than is allowed", T0 + 10_000_000 - 10_000);
    clock("by a clock that is five minutes slow", T0 - 300_000);
    check("a good record put away", |log| {
        let (_, letter) = log.record("bps-dead-letters", &[&id("late")]);
        let mut letter = letter.clone();
        let (partition, purchase) = log.record("bps-purchase-created", &[&id("p2")]);
        letter.headers[2].1 = Some(purchase.offset.to_string().into_bytes());
        log.part("bps-dead-letters", partition).push(letter);
        let (_, record) = log.record("bps-purchase-finished", &[&id("p2")]);
        (Rule::C1, LEDGER, partition, record.offset)
    });
    check("a good record put away instead of decided", |log| {
        let (_, letter) = log.record("bps-dead-letters", &[&id("late")]);
        let mut letter = letter.clone();
        let (partition, purchase) = log.record("bps-purchase-created", &[&id("p2")]);
        letter.headers[2].1 = Some(purchase.offset.to_string().into_bytes());
        log.remove("bps-purchase-finished", &[&id("p2")]);
        (Rule::C1, LETTERS, partition, log.part("bps-dead-letters", partition).push(letter))
    });
}

#[test]
fn an_offset_that_is_gone_is_no_finding_where_nothing_is_left_to_be_read() {
    let mut log = everything();
    // The last records of partition 1 were decided.
    for topic in ["bps-items-added", "bps-purchase-created"] {
        assert!(log.part(topic, 1).end() > 0);
        log.committed.insert((topic.to_owned(), 1), None);
    }
    assert_eq!(crate::lines(&crate::verify(&log, true, u64::MAX)), "");
}

#[test]
fn wrong_offsets_are_found() {
    let purchases = || ("bps-purchase-created".to_owned(), 0);
    check("early offset", |log| {
        let end = log.part("bps-purchase-created", 0).end();
        log.committed.insert(purchases(), Some(end - 4));
        (Rule::C7, PURCHASES, 0, end - 4)
    });
    check("no offset", |log| {
        log.committed.insert(purchases(), None);
        (Rule::C7, PURCHASES, 0, 0)
    });
    check("an offset behind an undecided purchase", |log| {
        let offset = undecided(log);
        log.committed.insert(purchases(), Some(offset + 1));
        (Rule::C7, PURCHASES, 0, offset)
    });
    check("an offset behind the end", |log| {
        let end = log.part("bps-purchase-created", 0).end();
        log.committed.insert(purchases(), Some(end + 9));
        (Rule::C7, PURCHASES, 0, end + 9)
    });
    check("lag", |log| {
        let offset = undecided(log);
        (Rule::C7, PURCHASES, 0, offset)
    });
    check("gap: records of an input are gone", |log| {
        let part = log.part("bps-items-added", 0);
        part.start = 1;
        part.records.remove(0);
        (Rule::C1, RESTOCKS, 0, 0)
    });
    check("a hanging transaction", |log| {
        log.part("bps-purchase-finished", 1).open = 2;
        (Rule::C8, LEDGER, 1, log.part("bps-purchase-finished", 1).end())
    });
}

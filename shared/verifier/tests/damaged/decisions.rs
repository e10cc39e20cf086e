//! Damage to results, answers and their order.

use bps_verifier::{Finding, Rule};

use crate::clean::{everything, item};
use crate::log::Rec;
use crate::{ANSWERS, LEDGER, PURCHASES, RESTOCKS, STOCK, check, id, lines, verify};

/// Changes the result of a purchase; the finding is there.
#[track_caller]
fn result(damage: &str, purchase: &str, rule: Rule, change: impl Fn(&mut Rec)) {
    check(damage, |log| {
        let (partition, record) = log.record("bps-purchase-finished", &[&id(purchase)]);
        change(record);
        (rule, LEDGER, partition, record.offset)
    });
}

/// Changes a result's stamp.
#[track_caller]
fn stamp(damage: &str, purchase: &str, rule: Rule, change: impl Fn(&mut bps_streams::Stamp)) {
    result(damage, purchase, rule, |record| {
        let mut stamp = record.stamp();
        change(&mut stamp);
        record.set_stamp(&stamp);
    });
}

#[test]
fn a_lost_or_doubled_result_is_found() {
    check("drop", |log| {
        let (partition, _) = log.remove("bps-purchase-finished", &[&id("p2")]);
        let (_, purchase) = log.record("bps-purchase-created", &[&id("p2")]);
        (Rule::C1, PURCHASES, partition, purchase.offset)
    });
    check("drop of the last one", |log| {
        let (partition, _) = log.remove("bps-purchase-finished", &[&id("q3")]);
        let (_, purchase) = log.record("bps-purchase-created", &[&id("q3")]);
        (Rule::C7, PURCHASES, partition, purchase.offset)
    });
    check("duplicate", |log| {
        let (partition, record) = log.record("bps-purchase-finished", &[&id("p2")]);
        let copy = record.clone();
        (Rule::C1, LEDGER, partition, log.part("bps-purchase-finished", partition).push(copy))
    });
    check("a resend answered", |log| {
        let (partition, record) = log.record("bps-purchase-finished", &[&id("p1")]);
        let mut copy = record.clone();
        let part = log.part("bps-purchase-finished", partition);
        let mut stamp = part.records.last().expect("some").stamp();
        let resend = log.part("bps-purchase-created", partition).end() - 1;
        stamp.memo = copy.stamp().memo;
        (stamp.source, stamp.positions[1]) = (Some((1, resend)), resend + 1);
        copy.set_stamp(&stamp);
        (Rule::C1, LEDGER, partition, log.part("bps-purchase-finished", partition).push(copy))
    });
    check("aborted leak: a purchase that never was", |log| {
        let (partition, _) = log.remove("bps-purchase-created", &[&id("p2")]);
        let (_, record) = log.record("bps-purchase-finished", &[&id("p2")]);
        (Rule::C1, LEDGER, partition, record.offset)
    });
    check("aborted leak: a purchase behind the end", |log| {
        let (partition, record) = log.record("bps-purchase-finished", &[&id("p8")]);
        let mut copy = record.clone();
        copy.replace("p8", "p99");
        let mut stamp = copy.stamp();
        (stamp.source, stamp.positions[1]) = (Some((1, 999)), 1_000);
        copy.set_stamp(&stamp);
        (Rule::C1, LEDGER, partition, log.part("bps-purchase-finished", partition).push(copy))
    });
}

#[test]
fn a_wrong_result_is_found() {
    let text = |from: &'static str, to: &'static str| move |r: &mut Rec| r.replace(from, to);
    let torn = |r: &mut Rec| r.value.as_mut().expect("a value").truncate(60);
    result("torn", "p2", Rule::C1, torn);
    result("no value", "p2", Rule::C1, |r| r.value = None);
    result("wrong item", "p2", Rule::C1, |r| r.replace(&id(&item(0, 0)), &id(&item(0, 1))));
    result("wrong id", "p2", Rule::C1, text("\"p2\"", "\"p9\""));
    result("wrong key", "p2", Rule::C1, |r| r.key = Some(b"p9".to_vec()));
    result("wrong quantity", "p2", Rule::C1, text("\"quantity\":20", "\"quantity\":21"));
    result("wrong buyer", "p2", Rule::C1, text("\"bA\"", "\"c\""));
    result("wrong time", "p2", Rule::C1, text("decidedAt\":1", "decidedAt\":2"));
    result("off by one: remaining", "p1", Rule::C3, text("remaining\":9", "remaining\":8"));
    let booked = text("alreadyBooked\":1", "alreadyBooked\":0");
    result("off by one: alreadyBooked", "p2", Rule::C3, booked);
    let supplied = text("itemQuantity\":10", "itemQuantity\":5");
    result("lost restock, as a result tells", "p2", Rule::C4, supplied);
    result("wrong message", "p1", Rule::C3, text("remaining: 9", "remaining: 8"));
    result("wrong status", "p1", Rule::C3, text("\"SUCCESS\"", "\"FAILED\""));
    result("phantom accept", "p2", Rule::C3, |r| {
        r.replace("FAILED", "SUCCESS");
        r.replace("\"INSUFFICIENT_STOCK\"", "null");
    });
    let unknown = text("INSUFFICIENT_STOCK", "UNKNOWN_ITEM");
    result("wrong reason", "p2", Rule::C3, unknown);
    let refused = text("\"reason\":null", "\"reason\":\"INSUFFICIENT_STOCK\"");
    result("phantom refusal", "p1", Rule::C3, refused);
    let early = |r: &mut Rec| r.timestamp -= 1;
    result("wrong stream time", "p2", Rule::C2, early);
}

#[test]
fn no_byte_of_a_result_can_change_unseen() {
    const TOPIC: &str = "bps-purchase-finished";
    let mut log = everything();
    for purchase in ["p1", "p2"] {
        let (partition, index) = log.find(TOPIC, &[&id(purchase)]);
        let whole = log.part(TOPIC, partition).records[index].clone();
        for byte in 0..whole.text().len() {
            let record = &mut log.part(TOPIC, partition).records[index];
            record.value.as_mut().expect("a value")[byte] ^= 1;
            let report = verify(&log, true, u64::MAX);
            let place = (TOPIC, Some(partition), Some(whole.offset));
            let is_it = |f: &Finding| (&*f.topic, f.partition, f.offset) == place;
            let found = lines(&report);
            assert!(report.findings.iter().any(is_it), "byte {byte} of {whole:?}: {found}");
            log.part(TOPIC, partition).records[index] = whole.clone();
        }
    }
}

#[test]
fn a_wrong_order_is_found() {
    check("swap", |log| {
        let (partition, index) = log.find("bps-purchase-finished", &[&id("p2")]);
        let records = &mut log.part("bps-purchase-finished", partition).records;
        records.swap(index, index + 1);
        let (first, second) = (records[index].offset, records[index + 1].offset);
        (records[index].offset, records[index + 1].offset) = (second, first);
        (Rule::C2, LEDGER, partition, first.max(second))
    });
    check("swap of answers", |log| {
        let (partition, index) = log.find("bps-restock-finished", &[&id("r2")]);
        let records = &mut log.part("bps-restock-finished", partition).records;
        records.swap(index, index - 1);
        let (first, second) = (records[index].offset, records[index - 1].offset);
        (records[index].offset, records[index - 1].offset) = (second, first);
        (Rule::C2, ANSWERS, partition, first.max(second))
    });
    check("stale writer", |log| {
        let (partition, record) = log.record("bps-purchase-finished", &[&id("p1")]);
        let mut stamp = record.stamp();
        stamp.incarnation = 2;
        record.set_stamp(&stamp);
        let (_, next) = log.record("bps-purchase-finished", &[&id("p2")]);
        (Rule::C9, LEDGER, partition, next.offset)
    });
    check("stale writer of stock", |log| {
        let records = &mut log.part("bps-stock", 0).records;
        let mut stamp = records[0].stamp();
        stamp.incarnation = 2;
        records[0].set_stamp(&stamp);
        (Rule::C9, STOCK, 0, records[1].offset)
    });
    stamp("positions that fall", "p3", Rule::C2, |s| s.positions[0] -= 1);
    stamp("positions of other inputs", "p3", Rule::C2, |s| s.positions.push(0));
    stamp("another source", "p3", Rule::C2, |s| s.source = Some((1, 0)));
    stamp("no source", "p3", Rule::C1, |s| s.source = None);
    stamp("row sequence", "p3", Rule::C4, |s| s.sequence += 1);
    stamp("fingerprint", "p3", Rule::C1, |s| s.memo[3] ^= 1);
    stamp("fingerprint of the content", "p3", Rule::C1, |s| s.memo[20] ^= 1);
}

#[test]
fn a_row_of_a_stranger_is_found_unless_it_lay_there_before() {
    check("a stranger's result", |log| {
        let (partition, record) = log.record("bps-purchase-finished", &[&id("q1")]);
        let copy = Rec { headers: Vec::new(), ..record.clone() };
        (Rule::C1, LEDGER, partition, log.part("bps-purchase-finished", partition).push(copy))
    });
    check("a stranger's answer", |log| {
        let row = Rec { value: Some(b"{}".to_vec()), ..Rec::default() };
        (Rule::C4, ANSWERS, 1, log.part("bps-restock-finished", 1).push(row))
    });
}

#[test]
fn a_wrong_restock_is_found() {
    check("lost restock", |log| {
        let (partition, _) = log.remove("bps-restock-finished", &[&id("r2")]);
        let (_, restock) = log.record("bps-items-added", &[&id("r2")]);
        (Rule::C4, RESTOCKS, partition, restock.offset)
    });
    check("a restock applied twice", |log| {
        let (partition, record) = log.record("bps-restock-finished", &[&id("r2")]);
        record.replace("supplied\":10", "supplied\":15");
        (Rule::C4, ANSWERS, partition, record.offset)
    });
    check("a restock answered twice", |log| {
        let (partition, record) = log.record("bps-restock-finished", &[&id("r2")]);
        let copy = record.clone();
        (Rule::C4, ANSWERS, partition, log.part("bps-restock-finished", partition).push(copy))
    });
    check("a restock refused", |log| {
        let (partition, record) = log.record("bps-restock-finished", &[&id("r2")]);
        record.replace("SUCCESS\",\"reason\":null", "FAILED\",\"reason\":\"OVERFLOW\"");
        (Rule::C4, ANSWERS, partition, record.offset)
    });
}

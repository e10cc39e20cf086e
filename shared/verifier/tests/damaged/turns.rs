//! What had to go first, and what went: a processor that takes purchases first writes a log that is
//! right in itself.

use std::ops::ControlFlow;

use bps_verifier::{Acknowledged, Receipt, Report, Rule, Verifier};
use purchase_processor::Settings;

use crate::clean::{Run, T0, item};
use crate::lines;
use crate::log::Log;

/// Stamped `ahead` ms later than the purchase that was decided before it.
fn purchases_first(ahead: i64) -> Log {
    let mut run = Run::new(&Settings::default());
    let a = item(0, 0);
    run.purchase(0, &a, "p", "1");
    run.now += ahead - 10;
    run.restock(0, &a, r#""restockId":"r","quantity":9"#);
    run.now = T0 + 1_000;
    run.purchase(0, &a, "q", "1");
    // Once more, behind what was sent after it.
    run.restock(0, &a, r#""restockId":"r","quantity":9"#);
    run.log()
}

/// The restock was acknowledged at 5, and the first purchase sent then.
fn receipts(sent_at: Option<i64>) -> Vec<Receipt> {
    let purchase = |id: &str| Acknowledged::Purchase { item: Some(item(0, 0)), id: id.to_owned() };
    let restock = Acknowledged::Restock { item: item(0, 0), id: "r".to_owned() };
    let restock = restock.with_times(None, Some(5));
    let (first, second) = (purchase("p"), purchase("q"));
    vec![first.with_times(sent_at, None), restock, second.with_times(Some(9), None)]
}

fn verify<'a>(log: &'a Log, receipts: Vec<Receipt>) -> Verifier<'a> {
    Verifier::new(log, log.names.clone(), "g").at_rest(true).acknowledged(receipts)
}

#[track_caller]
fn is_clean(verifier: &Verifier<'_>) -> Report {
    let report = verifier.run(&|_| ControlFlow::Continue(())).expect("readable");
    assert!(report.is_clean(), "{}", lines(&report));
    report
}

#[track_caller]
fn is_found(verifier: &Verifier<'_>, why: &str) {
    let report = verifier.run(&|_| ControlFlow::Continue(())).expect("readable");
    let [finding] = &report.findings[..] else {
        panic!("not one finding:\n{}", lines(&report));
    };
    let place = (finding.rule, &*finding.topic, finding.partition, finding.offset);
    assert_eq!(place, (Rule::C2, "bps-purchase-finished", Some(0), Some(0)));
    let expected = "a decision behind that of the restock at bps-items-added-0@0, as it ";
    assert_eq!(finding.expected, format!("{expected}{why}"));
    assert_eq!(report.counts.late, 0);
}

#[test]
fn a_purchase_before_a_restock_that_was_acknowledged_before_it_is_found() {
    let why = "was sent after the restock had been acknowledged";
    for ahead in [-60_000, 0, 5_000] {
        let log = purchases_first(ahead);
        is_found(&verify(&log, receipts(Some(6))), why);
        is_found(&verify(&log, receipts(Some(6))).records_per_pass(2), why);
        // At once with it, before it, or who knows when.
        for sent_at in [Some(5), Some(-1), None] {
            let report = is_clean(&verify(&log, receipts(sent_at)));
            assert_eq!(report.counts.late, u64::from(ahead < 0));
        }
        is_clean(&verify(&log, Vec::new()));
        // So far behind that a processor need not have looked.
        is_clean(&verify(&log, receipts(Some(6))).look_ahead_bytes(100));
    }
    // It may be the purchase that goes first, as it is stamped so much earlier.
    let log = purchases_first(5_001);
    is_clean(&verify(&log, receipts(Some(6))));
    is_found(&verify(&log, receipts(Some(6))).clock_skew_max_ms(6_000), why);
}

#[test]
fn a_purchase_before_a_restock_that_was_stamped_long_before_it_is_found_on_the_operators_word() {
    let log = purchases_first(-10_000);
    let within = |ms| verify(&log, Vec::new()).stamps_within_ms(ms);
    assert_eq!(is_clean(&within(None)).counts.late, 1);
    assert_eq!(is_clean(&within(Some(5_000))).counts.late, 1);
    is_found(&within(Some(4_999)), "is stamped 10000 ms later");
}

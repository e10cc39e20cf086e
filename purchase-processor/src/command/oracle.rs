//! Every short sequence of commands, against an oracle that is written differently: it keeps lists and
//! sums them up anew each time.

use bps_events::Reason;

use super::{purchase, restock};

type Operation = (bool, usize, u64);

/// Up to five operations over two items and four quantities.
#[test]
fn every_short_sequence_agrees_with_a_naive_oracle() {
    let quantities = [0, 1, 2, u64::MAX];
    let operations: Vec<Operation> = [false, true]
        .into_iter()
        .flat_map(|buy| (0..2).flat_map(move |item| quantities.map(|q| (buy, item, q))))
        .collect();
    let mut sequences = 0_u64;
    let mut path = Vec::new();
    walk(&operations, 5, &mut path, &mut sequences);
    assert_eq!(sequences, (1..=5).map(|n| 16_u64.pow(n)).sum::<u64>());
}

fn walk(all: &[Operation], depth: u32, path: &mut Vec<Operation>, sequences: &mut u64) {
    for operation in all {
        path.push(*operation);
        *sequences += 1;
        assert_eq!(real(path), oracle(path), "{path:?}");
        if depth > 1 {
            walk(all, depth - 1, path, sequences);
        }
        path.pop();
    }
}

fn real(path: &[Operation]) -> Option<&'static str> {
    let mut stocks = [None, None];
    let mut last = None;
    for (buy, item, quantity) in path {
        let rule = if *buy { purchase::rule::decide } else { restock::rule::decide };
        // Only quantities from 1 on are valid.
        let decision = rule(stocks[*item], (*quantity > 0).then_some(*quantity));
        if let Ok(stock) = decision {
            assert!(stock.booked <= stock.supplied);
            stocks[*item] = Some(stock);
        }
        last = decision.err().map(Reason::code);
    }
    last
}

fn oracle(path: &[Operation]) -> Option<&'static str> {
    let (mut added, mut taken) = (Vec::<(usize, u128)>::new(), Vec::<(usize, u128)>::new());
    let mut last = None;
    for (buy, item, quantity) in path {
        let total = |list: &[(usize, u128)]| -> u128 {
            list.iter().filter(|(i, _)| i == item).map(|(_, q)| q).sum()
        };
        let (have, sold, q) = (total(&added), total(&taken), u128::from(*quantity));
        last = if q == 0 {
            Some("INVALID_QUANTITY")
        } else if *buy && !added.iter().any(|(i, _)| i == item) {
            Some("UNKNOWN_ITEM")
        } else if *buy && sold + q > have {
            Some("INSUFFICIENT_STOCK")
        } else if !*buy && have + q > u128::from(u64::MAX) {
            Some("OVERFLOW")
        } else {
            if *buy { &mut taken } else { &mut added }.push((*item, q));
            None
        };
    }
    last
}

//! The rule: what becomes of a wish, given what is left. Pure and total: no clock, no topic, no
//! store, nothing that can fail.

use bps_events::Reason;

/// What is known of an item that was restocked at least once. `booked <= supplied`, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock {
    /// Units supplied so far.
    pub supplied: u64,
    /// Units booked so far.
    pub booked: u64,
}

impl Stock {
    /// What is left.
    pub fn remaining(self) -> u64 {
        self.supplied.saturating_sub(self.booked)
    }
}

/// A wish to take or to add units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Units; `None` where they are no valid quantity.
    pub quantity: Option<u64>,
    /// It is older than the memory of decided wishes reaches, so it cannot be told from a resend.
    pub too_old: bool,
}

/// What becomes of a wish: the reason of a refusal, or the new stock.
pub type Decision = Result<Stock, Reason>;

/// Decides a purchase. `stock` is `None` for an item that was never restocked; a purchase never
/// creates one.
pub fn purchase(stock: Option<Stock>, wish: Wish) -> Decision {
    if wish.too_old {
        return Err(Reason::TooOld);
    }
    let quantity = wish.quantity.ok_or(Reason::InvalidQuantity)?;
    let stock = stock.ok_or(Reason::UnknownItem)?;
    if quantity > stock.remaining() {
        return Err(Reason::InsufficientStock);
    }
    Ok(Stock { booked: stock.booked + quantity, ..stock })
}

/// Decides a restock, which adds: two restocks of 5 make 10.
pub fn restock(stock: Option<Stock>, wish: Wish) -> Decision {
    if wish.too_old {
        return Err(Reason::TooOld);
    }
    let quantity = wish.quantity.ok_or(Reason::InvalidQuantity)?;
    let stock = stock.unwrap_or(Stock { supplied: 0, booked: 0 });
    let supplied = stock.supplied.checked_add(quantity).ok_or(Reason::Overflow)?;
    Ok(Stock { supplied, ..stock })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn wish(quantity: u64) -> Wish {
        Wish { quantity: Some(quantity), too_old: false }
    }

    const INVALID: Wish = Wish { quantity: None, too_old: false };
    const OLD: Wish = Wish { quantity: None, too_old: true };

    fn stock(supplied: u64, booked: u64) -> Option<Stock> {
        Some(Stock { supplied, booked })
    }

    #[track_caller]
    fn check(decided: Decision, expected: Result<(u64, u64), Reason>) {
        assert_eq!(decided.map(|s| (s.supplied, s.booked)), expected);
    }

    #[test]
    fn every_row_of_the_rule_for_purchases() {
        check(purchase(stock(2, 0), wish(1)), Ok((2, 1)));
        check(purchase(stock(2, 1), wish(1)), Ok((2, 2)));
        check(purchase(stock(2, 1), wish(2)), Err(Reason::InsufficientStock));
        check(purchase(stock(u64::MAX, 0), wish(u64::MAX)), Ok((u64::MAX, u64::MAX)));
        check(purchase(None, wish(1)), Err(Reason::UnknownItem));
        check(purchase(None, INVALID), Err(Reason::InvalidQuantity));
        check(purchase(stock(2, 0), OLD), Err(Reason::TooOld));
    }

    #[test]
    fn every_row_of_the_rule_for_restocks() {
        check(restock(None, wish(5)), Ok((5, 0)));
        check(restock(stock(5, 3), wish(5)), Ok((10, 3)));
        check(restock(stock(u64::MAX - 4, 3), wish(5)), Err(Reason::Overflow));
        check(restock(stock(u64::MAX - 5, 3), wish(5)), Ok((u64::MAX, 3)));
        check(restock(None, INVALID), Err(Reason::InvalidQuantity));
        check(restock(None, OLD), Err(Reason::TooOld));
    }

    /// Every sequence of up to six operations over two items and four quantities, against an
    /// oracle that is written differently: it keeps lists and sums them up anew each time.
    #[test]
    fn every_short_sequence_agrees_with_a_naive_oracle() {
        let quantities = [0, 1, 2, u64::MAX];
        let operations: Vec<(bool, usize, u64)> = [false, true]
            .into_iter()
            .flat_map(|buy| (0..2).flat_map(move |item| quantities.map(|q| (buy, item, q))))
            .collect();
        let mut sequences = 0_u64;
        let mut path = Vec::new();
        walk(&operations, 5, &mut path, &mut sequences);
        assert_eq!(sequences, (1..=5).map(|n| 16_u64.pow(n)).sum::<u64>());
    }

    type Operation = (bool, usize, u64);

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

    /// Only quantities from 1 on are valid wishes.
    fn as_wish(quantity: u64) -> Wish {
        Wish { quantity: (quantity > 0).then_some(quantity), too_old: false }
    }

    fn real(path: &[Operation]) -> Option<&'static str> {
        let mut stocks = [None, None];
        let mut last = None;
        for (buy, item, quantity) in path {
            let rule = if *buy { purchase } else { restock };
            let decision = rule(stocks[*item], as_wish(*quantity));
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
}

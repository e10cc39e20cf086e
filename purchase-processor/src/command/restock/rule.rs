//! The rule of a restock.

use bps_events::Reason;

use crate::stock::{Decision, Stock};

/// Adds units: two restocks of 5 make 10. The first one of an item makes it known. `quantity` is `None`
/// where it is no valid one.
pub fn decide(stock: Option<Stock>, quantity: Option<u64>) -> Decision {
    let quantity = quantity.ok_or(Reason::InvalidQuantity)?;
    let stock = stock.unwrap_or(Stock { supplied: 0, booked: 0 });
    let supplied = stock.supplied.checked_add(quantity).ok_or(Reason::Overflow)?;
    Ok(Stock { supplied, ..stock })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stock: Option<(u64, u64)>, quantity: Option<u64>, expected: Result<u64, Reason>) {
        let stock = stock.map(|(supplied, booked)| Stock { supplied, booked });
        let decided = decide(stock, quantity);
        assert_eq!(decided.map(|after| after.supplied), expected);
        let booked = stock.map_or(0, |stock| stock.booked);
        assert_eq!(decided.map_or(booked, |after| after.booked), booked);
    }

    #[test]
    fn every_row_of_the_rule_for_restocks() {
        check(None, Some(5), Ok(5));
        check(Some((5, 3)), Some(5), Ok(10));
        check(Some((u64::MAX - 4, 3)), Some(5), Err(Reason::Overflow));
        check(Some((u64::MAX - 5, 3)), Some(5), Ok(u64::MAX));
        check(None, None, Err(Reason::InvalidQuantity));
    }
}

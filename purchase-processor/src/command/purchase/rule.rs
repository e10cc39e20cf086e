//! The rule of a purchase.

use bps_events::Reason;

use crate::stock::{Decision, Stock};

/// Takes units, all or none. `stock` is `None` for an item that was never restocked; a purchase never
/// creates one. `quantity` is `None` where it is no valid one.
pub fn decide(stock: Option<Stock>, quantity: Option<u64>) -> Decision {
    let quantity = quantity.ok_or(Reason::InvalidQuantity)?;
    let stock = stock.ok_or(Reason::UnknownItem)?;
    if quantity > stock.remaining() {
        return Err(Reason::InsufficientStock);
    }
    Ok(Stock { booked: stock.booked + quantity, ..stock })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stock: Option<(u64, u64)>, quantity: Option<u64>, expected: Result<u64, Reason>) {
        let stock = stock.map(|(supplied, booked)| Stock { supplied, booked });
        let decided = decide(stock, quantity);
        assert_eq!(decided.map(|after| after.booked), expected);
        assert_eq!(decided.ok().map(|s| s.supplied), expected.ok().and(stock).map(|s| s.supplied));
    }

    #[test]
    fn every_row_of_the_rule_for_purchases() {
        check(Some((2, 0)), Some(1), Ok(1));
        check(Some((2, 1)), Some(1), Ok(2));
        check(Some((2, 1)), Some(2), Err(Reason::InsufficientStock));
        check(Some((u64::MAX, 0)), Some(u64::MAX), Ok(u64::MAX));
        check(None, Some(1), Err(Reason::UnknownItem));
        check(None, None, Err(Reason::InvalidQuantity));
    }
}

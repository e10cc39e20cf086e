//! Names of the topics: what goes in has one prefix, what comes out another (`bps` both, unless
//! a trial or replay writes beside the real ones).

/// The prefix of all topics, unless set.
pub const PREFIX: &str = "bps";

/// The topics of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Restocks, by item.
    pub items_added: String,
    /// Purchases, by item.
    pub purchase_created: String,
    /// Results: the ledger, in the partition of the item.
    pub purchase_finished: String,
    /// The public table of stock, compacted.
    pub stock: String,
    /// Answers to restocks, in the partition of the item.
    pub restock_finished: String,
    /// What arrived in a wrong partition.
    pub rekeyed: String,
    /// What cannot be read.
    pub dead_letters: String,
}

impl Topics {
    /// The topics under these prefixes.
    pub fn new(input: &str, output: &str) -> Topics {
        Topics {
            items_added: format!("{input}-items-added"),
            purchase_created: format!("{input}-purchase-created"),
            purchase_finished: format!("{output}-purchase-finished"),
            stock: format!("{output}-stock"),
            restock_finished: format!("{output}-restock-finished"),
            rekeyed: format!("{output}-rekeyed"),
            dead_letters: format!("{output}-dead-letters"),
        }
    }
}

impl Default for Topics {
    fn default() -> Self {
        Topics::new(PREFIX, PREFIX)
    }
}

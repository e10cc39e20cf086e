//! The topics: names, what they are for, who writes and reads them. What goes in has one prefix, what
//! comes out another (`bps` both, unless a trial or replay writes beside the real ones).

/// The prefix of all topics, unless set.
pub const PREFIX: &str = "bps";

/// Which prefix a topic has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Requests: what is decided.
    Input,
    /// What the processor writes.
    Output,
}

/// What decides the partition of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// itemId.
    Item,
    /// The record's key is its own id; it lies in the partition of its item.
    IdBesideItem,
    /// That of the record it repeats; any partition.
    AsItCame,
}

/// What is kept of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Every record, for ever, unless an operator decides otherwise.
    All,
    /// The last record of each key.
    LastOfKey,
}

/// A program that writes or reads topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `items-service`.
    Items,
    /// `purchase-service`.
    Purchases,
    /// `purchase-processor`.
    Processor,
}

/// What a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name behind the prefix.
    pub name: &'static str,
    /// Whose prefix.
    pub side: Side,
    /// What decides the partition.
    pub key: Key,
    /// What is kept.
    pub kept: Kept,
    /// Who writes it. Other programs may write to inputs.
    pub writers: &'static [Program],
    /// Who reads it.
    pub readers: &'static [Program],
}

/// The table of topics: a field of [`Topics`] and a row of [`TOPICS`] each.
macro_rules! topics {
    ($(
        $(#[$doc:meta])*
        $field:ident: $name:literal, $side:ident, $key:ident, $kept:ident,
            by [$($writer:ident),*], for [$($reader:ident),*];
    )*) => {
        /// Names of the topics of one installation.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Topics {
            $($(#[$doc])* pub $field: String,)*
        }

        /// All topics.
        pub const TOPICS: &[TopicInfo] = &[$(TopicInfo {
            name: $name,
            side: Side::$side,
            key: Key::$key,
            kept: Kept::$kept,
            writers: &[$(Program::$writer),*],
            readers: &[$(Program::$reader),*],
        }),*];

        impl Topics {
            /// The topics under these prefixes.
            pub fn new(input: &str, output: &str) -> Topics {
                let name = |side, name| match side {
                    Side::Input => format!("{input}-{name}"),
                    Side::Output => format!("{output}-{name}"),
                };
                Topics { $($field: name(Side::$side, $name),)* }
            }

            /// Each with its name here, in the order of [`TOPICS`].
            pub fn all(&self) -> impl Iterator<Item = (&'static TopicInfo, &str)> {
                TOPICS.iter().zip([$(&*self.$field),*])
            }
        }
    };
}

topics! {
    /// Restocks, by item.
    items_added: "items-added", Input, Item, All, by [Items], for [Processor];
    /// Purchases, by item.
    purchase_created: "purchase-created", Input, Item, All, by [Purchases], for [Processor];
    /// All other commands, by item. It is there as soon as a kind of command uses it.
    command_created: "command-created", Input, Item, All, by [Items, Purchases], for [Processor];
    /// The public table of stock, compacted.
    stock: "stock", Output, Item, LastOfKey, by [Processor], for [Processor, Items];
    /// Results: the ledger, in the partition of the item.
    purchase_finished: "purchase-finished", Output, IdBesideItem, All,
        by [Processor], for [Processor, Purchases];
    /// Answers to restocks, in the partition of the item.
    restock_finished: "restock-finished", Output, IdBesideItem, All,
        by [Processor], for [Processor, Items];
    /// Answers to all other commands, in the partition of the item.
    command_finished: "command-finished", Output, IdBesideItem, All,
        by [Processor], for [Processor, Items, Purchases];
    /// What arrived in a wrong partition.
    rekeyed: "rekeyed", Output, Item, All, by [Processor], for [Processor];
    /// What cannot be read.
    dead_letters: "dead-letters", Output, AsItCame, All, by [Processor], for [];
}

impl Default for Topics {
    fn default() -> Self {
        Topics::new(PREFIX, PREFIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_the_prefix_of_its_side() {
        let topics = Topics::new("in", "out");
        assert_eq!((&*topics.items_added, &*topics.stock), ("in-items-added", "out-stock"));
        for (info, name) in topics.all() {
            let prefix = if info.side == Side::Input { "in" } else { "out" };
            assert_eq!(name, format!("{prefix}-{}", info.name));
            assert_eq!(info.side == Side::Output, info.writers == [Program::Processor]);
        }
    }
}

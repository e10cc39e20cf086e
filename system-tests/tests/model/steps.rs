//! What can happen: single records of every kind, records that wait together, time that passes.

use proptest::prelude::*;

use crate::reference::{FUTURE_MAX, Workload};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Restock,
    Purchase,
}

/// What stands in the field `quantity`.
#[derive(Clone, Debug)]
pub(crate) enum Quantity {
    Number(i128),
    /// No integer, word for word as JSON; `None`: no such field.
    Other(Option<&'static str>),
}

impl Quantity {
    pub(crate) fn number(&self) -> Option<i128> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Other(_) => None,
        }
    }

    /// As a message repeats it.
    pub(crate) fn shown(&self) -> String {
        self.number().map_or("null".to_owned(), |number| number.to_string())
    }

    fn field(&self) -> String {
        match self {
            Self::Number(number) => format!(r#","quantity":{number}"#),
            Self::Other(Some(word)) => format!(r#","quantity":{word}"#),
            Self::Other(None) => String::new(),
        }
    }
}

/// A restock or a purchase.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    item: u8,
    /// `None`: a restock without an id of its own.
    id: Option<u8>,
    pub(crate) quantity: Quantity,
    /// The buyer, or the description; 0: none.
    word: u8,
    pub(crate) at: i64,
}

const ITEMS: [&str; 4] = ["a", "b", "é \"7\"", "d"];
const WORDS: [&str; 3] = ["", "ada", "b\\ob"];

impl Request {
    pub(crate) fn item(&self) -> &'static str {
        ITEMS[self.item as usize]
    }

    /// Its id; `origin` (partition, offset) makes one where it has none.
    pub(crate) fn id(&self, origin: (u32, u64)) -> String {
        match self.id {
            Some(id) => format!("id-{id}"),
            None => format!("bps-items-added-{}-{}", origin.0, origin.1),
        }
    }

    pub(crate) fn buyer(&self) -> &'static str {
        WORDS[self.word as usize]
    }

    pub(crate) fn description(&self) -> &'static str {
        WORDS[self.word as usize]
    }

    /// What tells a resend from another request under the same id.
    pub(crate) fn content(&self) -> (String, String) {
        (self.quantity.shown(), self.buyer().to_owned())
    }

    pub(crate) fn json(&self) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let (own, word) = match self.kind {
            Kind::Restock => ("restockId", "description"),
            Kind::Purchase => ("purchaseId", "purchasedBy"),
        };
        let id = self.id.map_or(String::new(), |id| format!(r#""{own}":"id-{id}","#));
        let word = match self.word {
            0 => String::new(),
            _ => format!(r#","{word}":{}"#, text(self.buyer())),
        };
        let (item, quantity) = (text(self.item()), self.quantity.field());
        format!(r#"{{{id}"itemId":{item}{quantity}{word},"extra":[1,{{}}]}}"#)
    }
}

/// A record sent alone, and decided before the next one.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) request: Request,
    /// It lies in a partition that is not its item's.
    pub(crate) astray: bool,
    /// Its key is not its item.
    pub(crate) foreign_key: bool,
}

/// Records that wait together.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) requests: Vec<Request>,
}

/// A record that must become a dead letter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Poison {
    NoValue,
    NotJson,
    NotUtf8,
    Twice,
    NoItem,
    NumberForId,
    TooLong,
    /// Good, but stamped too far ahead of the clock.
    Ahead,
}

impl Poison {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NoValue => "NO_VALUE",
            Self::NotJson => "NOT_JSON",
            Self::NotUtf8 => "NOT_UTF8",
            Self::Twice => "FIELD_TWICE",
            Self::NoItem | Self::NumberForId => "UNREADABLE_ID",
            Self::TooLong => "TOO_LONG",
            Self::Ahead => "FUTURE",
        }
    }

    pub(crate) fn value(self) -> Option<Vec<u8>> {
        let ids = r#""purchaseId":"x","restockId":"x""#;
        let text = match self {
            Self::NoValue => return None,
            Self::NotUtf8 => return Some(b"{\"itemId\":\"\xff\"}".to_vec()),
            Self::NotJson => format!(r#"{{{ids},"itemId":"a","quantity":1"#),
            Self::Twice => format!(r#"{{{ids},"itemId":"a","quantity":1,"quantity":2}}"#),
            Self::NoItem => format!(r#"{{{ids},"quantity":1}}"#),
            Self::NumberForId => format!(r#"{{{ids},"itemId":7,"quantity":1}}"#),
            Self::TooLong => format!(r#"{{{ids},"itemId":"a","x":"{}"}}"#, "x".repeat(66_000)),
            Self::Ahead => format!(r#"{{{ids},"itemId":"a","quantity":1}}"#),
        };
        Some(text.into_bytes())
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Sent),
    Together(Batch),
    Poison {
        kind: Kind,
        partition: u32,
        poison: Poison,
        ahead: i64,
    },
    /// The clock goes on (ms).
    Tick(u32),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Restock), Just(Kind::Purchase)]
}

fn quantity() -> impl Strategy<Value = Quantity> {
    prop_oneof![
        12 => (1..=4_i128).prop_map(Quantity::Number),
        1 => prop_oneof![
            Just(0), Just(-3), Just(1 << 53), Just((1 << 53) + 1), Just(i128::from(u64::MAX) + 1),
        ].prop_map(Quantity::Number),
        1 => prop_oneof![
            Just(None), Just(Some("1.0")), Just(Some("1e2")), Just(Some("\"2\"")),
            Just(Some("null")), Just(Some("[1]")),
        ].prop_map(Quantity::Other),
    ]
}

/// A request stamped around the clock, up to the allowed future and far into the past.
fn request(clock: i64) -> impl Strategy<Value = Request> {
    let stamp = prop_oneof![
        4 => -20_000..=FUTURE_MAX,
        1 => -200_000..=FUTURE_MAX,
        1 => Just(FUTURE_MAX),
    ];
    let ids = (kind(), 0..ITEMS.len() as u8, 0..6_u8, any::<bool>());
    (ids, quantity(), 0..WORDS.len() as u8, stamp).prop_map(move |(ids, quantity, word, stamp)| {
        let (kind, item, id, anonymous) = ids;
        let id = if kind == Kind::Restock && anonymous { None } else { Some(id) };
        Request { kind, item, id, quantity, word, at: clock + stamp }
    })
}

fn poison() -> impl Strategy<Value = Poison> {
    use Poison::*;
    prop_oneof![
        Just(NoValue),
        Just(NotJson),
        Just(NotUtf8),
        Just(Twice),
        Just(NoItem),
        Just(NumberForId),
        Just(Ahead),
        Just(TooLong),
    ]
}

pub(crate) fn steps(workload: &Workload) -> BoxedStrategy<Step> {
    let clock = workload.clock;
    let sent = (request(clock), any::<u8>()).prop_map(|(request, chance)| {
        Step::Send(Sent { request, astray: chance % 5 == 0, foreign_key: chance % 3 == 0 })
    });
    let poisoned = (kind(), 0..crate::reference::PARTITIONS, poison(), 1..1_000_000_i64).prop_map(
        |(kind, partition, poison, ahead)| Step::Poison { kind, partition, poison, ahead },
    );
    let together = prop::collection::vec(request(clock), 2..6);
    prop_oneof![
        10 => sent,
        2 => poisoned,
        3 => together.prop_map(|requests| Step::Together(Batch { requests })),
        1 => (0..60_000_u32).prop_map(Step::Tick),
    ]
    .boxed()
}

//! What can be imported: a row each.

/// A service, by what its address is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// `--items-url`.
    Items,
    /// `--purchases-url`.
    Purchases,
}

/// What the lines of a file are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// What they are called.
    pub(crate) name: &'static str,
    /// The field of their ids.
    pub(crate) id_field: &'static str,
    /// Who takes them, and on which path.
    pub(crate) service: Service,
    pub(crate) path: &'static str,
    /// Whether they go before what is stamped a little earlier.
    pub(crate) has_head_start: bool,
}

/// All of them; where their lines stand at the same time, the first goes first.
pub(crate) static KINDS: [&Kind; 2] = [&RESTOCKS, &PURCHASES];

/// Units added to an item.
pub(crate) static RESTOCKS: Kind = Kind {
    name: "restocks",
    id_field: "restockId",
    service: Service::Items,
    path: "items",
    has_head_start: true,
};

/// Requests to take units.
pub(crate) static PURCHASES: Kind = Kind {
    name: "purchases",
    id_field: "purchaseId",
    service: Service::Purchases,
    path: "purchases",
    has_head_start: false,
};

//! What was found: rules, findings, counts.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Findings that are kept word for word; of the others only the number is known.
pub const FINDINGS_MAX: usize = 100;

/// A rule that the topics must obey. (C6, the same results again from the same inputs, is a
/// replay and no matter of this crate.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Rule {
    /// Every purchase with readable ids has exactly one result, and what has none says why.
    C1,
    /// The order of decisions: positions and stream time never fall, and no purchase goes before a
    /// restock that lay there before it was sent.
    C2,
    /// Never oversold, and every result is what the rule says.
    C3,
    /// Every restock counts once and is answered once; a row's changes are counted.
    C4,
    /// The table of stock agrees with what was decided.
    C5,
    /// Committed offsets and records became visible together.
    C7,
    /// At rest no transaction is open.
    C8,
    /// Nothing was written by a predecessor: incarnations never fall.
    C9,
    /// What was acknowledged is there, and has a result.
    C10,
}

impl Rule {
    /// All of them, in order.
    pub const ALL: [Rule; 9] =
        [Self::C1, Self::C2, Self::C3, Self::C4, Self::C5, Self::C7, Self::C8, Self::C9, Self::C10];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A place in a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
}

impl<'a> Place<'a> {
    pub(crate) fn new(topic: &'a str, partition: u32, offset: u64) -> Self {
        Self { topic, partition, offset }
    }

    pub(crate) fn of(record: &bps_streams::Record<'a>) -> Self {
        Self::new(record.topic, record.partition, record.offset)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}@{}", self.topic, self.partition, self.offset)
    }
}

/// A broken rule, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Partition; `None` where only the topic is known.
    pub partition: Option<u32>,
    /// Topic.
    pub topic: String,
    /// Offset; `None` where no single record is meant.
    pub offset: Option<u64>,
    /// The rule.
    pub rule: Rule,
    /// What should have been there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { rule, topic, partition, offset, expected, found } = self;
        write!(f, "{rule} {topic}")?;
        if let Some(partition) = partition {
            write!(f, "-{partition}")?;
        }
        if let Some(offset) = offset {
            write!(f, "@{offset}")?;
        }
        write!(f, ": expected {expected}; found {found}")
    }
}

/// How much of what was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Purchases with readable ids, resends and moved ones left out.
    pub purchases: u64,
    /// Results, by reason of refusal (`SUCCESS` for those granted).
    pub results: BTreeMap<String, u64>,
    /// Answers to restocks, by reason of refusal (`SUCCESS` for those added).
    pub restocks: BTreeMap<String, u64>,
    /// Answers to other commands, by kind and reason of refusal (`SUCCESS` for those done).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub commands: BTreeMap<String, BTreeMap<String, u64>>,
    /// Records that arrived in a wrong partition and were sent on.
    pub moved: u64,
    /// Records that were put away as unreadable or from the future.
    pub dead_letters: u64,
    /// Records that repeat a decided one.
    pub resends: u64,
    /// Records of the inputs whose outcome is not there yet.
    pub undecided: u64,
    /// Rows in the outputs that another program wrote (they have no stamp).
    pub foreign: u64,
    /// Restocks that were decided after a purchase with a later stamp. Whether they lay there by
    /// then, the topics alone do not tell.
    pub late: u64,
    /// Items that were restocked at least once.
    pub items: u64,
    /// Units of all granted purchases.
    pub units_sold: u128,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        let sum = |into: &mut BTreeMap<String, u64>, from: BTreeMap<String, u64>| {
            from.into_iter().for_each(|(name, count)| *into.entry(name).or_default() += count);
        };
        self.purchases += other.purchases;
        sum(&mut self.results, other.results);
        sum(&mut self.restocks, other.restocks);
        for (kind, counts) in other.commands {
            sum(self.commands.entry(kind).or_default(), counts);
        }
        self.moved += other.moved;
        self.dead_letters += other.dead_letters;
        self.resends += other.resends;
        self.undecided += other.undecided;
        self.foreign += other.foreign;
        self.late += other.late;
        self.items += other.items;
        self.units_sold += other.units_sold;
    }
}

/// Counts one under `name`, without a copy of a name that is known.
pub(crate) fn tally(into: &mut BTreeMap<String, u64>, name: &str) {
    match into.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(into.insert(name.to_owned(), 1)),
    }
}

/// What a verification came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was seen.
    pub counts: Counts,
    /// The first [`FINDINGS_MAX`] findings, by partition.
    pub findings: Vec<Finding>,
    /// How many findings there are, by rule.
    pub by_rule: BTreeMap<Rule, u64>,
    /// Records read; more than there are where partitions took several passes.
    pub records_read: u64,
}

impl Report {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.by_rule.is_empty()
    }

    /// Notes a finding.
    pub(crate) fn find(
        &mut self,
        rule: Rule,
        at: Place<'_>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) {
        self.note(rule, at.topic, Some(at.partition), Some(at.offset), expected, found);
    }

    /// Notes a finding that is not of a single record.
    pub(crate) fn note(
        &mut self,
        rule: Rule,
        topic: &str,
        partition: Option<u32>,
        offset: Option<u64>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) {
        *self.by_rule.entry(rule).or_default() += 1;
        if self.findings.len() < FINDINGS_MAX {
            let (expected, found) = (expected.to_string(), found.to_string());
            let topic = topic.to_owned();
            self.findings.push(Finding { partition, topic, offset, rule, expected, found });
        }
    }

    /// Takes in what was found elsewhere.
    pub(crate) fn merge(&mut self, other: Report) {
        self.counts.add(other.counts);
        self.findings.extend(other.findings);
        for (rule, count) in other.by_rule {
            *self.by_rule.entry(rule).or_default() += count;
        }
    }

    /// The order of partitions, whoever was first.
    pub(crate) fn finish(mut self) -> Report {
        self.findings.sort();
        self.findings.truncate(FINDINGS_MAX);
        self
    }
}

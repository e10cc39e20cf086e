//! What becomes of the ends of transactions (EndTxn): a plan that is asked about each request, and
//! knows no socket.
//!
//! The dangerous case is a late end. librdkafka sends an EndTxn, the connection breaks, it sends
//! it again on another one, and that is answered; but the first one is still on its way. It names
//! the transaction by the producer and its epoch only, so if both are the same by then, it ends
//! the **next** transaction, in its midst.

use std::time::Duration;

use super::frame::{Head, api};

/// A fault for the next commit of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndFault {
    /// It is kept, and its connection cut. It arrives in the midst of the next transaction, of
    /// which the first records were just written; all else of that transaction is swallowed from
    /// then on, until its producer connects again.
    LateInNext,
    /// It is kept, its connection cut, and it arrives after this time.
    LateBy(Duration),
    /// It arrives; its answer is lost, and its connection cut.
    AnswerLost,
}

/// How a request is to be dealt with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passes.
    Pass,
    /// It passes, and [`Ends::answered`] is to be called when it is answered.
    PassAndTell,
    /// As [`Verdict::PassAndTell`], and nothing after it on this connection arrives.
    PassAsLast,
    /// It does not arrive, and neither does anything after it on this connection.
    Swallow,
    /// It does not arrive now, and the connection is cut.
    Cut,
    /// It does not arrive now, the connection is cut, and it is delivered after this time.
    CutAndDeliver(Late, Duration),
}

/// A request that is delivered later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) head: Head,
    pub(super) frame: Vec<u8>,
    id: String,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Calm,
    Armed(EndFault),
    /// The end is kept until its producer (by transactional id) writes again.
    Kept(Late),
    /// The first records of the next transaction are on their way.
    Written(Late),
    /// The answer to an end on its way is to be lost.
    AnswerAwaited,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ends {
    stage: Stage,
}

impl Ends {
    /// Plans a fault for the next commit.
    pub(super) fn plan(&mut self, fault: EndFault) {
        self.stage = Stage::Armed(fault);
    }

    /// Forgets what was planned, and what was kept.
    pub(super) fn calm(&mut self) {
        self.stage = Stage::Calm;
    }

    /// Whether nothing is planned or under way.
    pub(super) fn is_calm(&self) -> bool {
        matches!(self.stage, Stage::Calm)
    }

    /// A request has come.
    pub(super) fn asked(&mut self, head: Head, frame: &[u8]) -> Verdict {
        let Some(id) = head.transactional_id(frame) else {
            return Verdict::Pass;
        };
        match &self.stage {
            Stage::Armed(fault) if head.is_commit(frame) => {
                let late = Late { head, frame: frame.to_vec(), id: id.to_owned() };
                let (stage, verdict) = match *fault {
                    EndFault::LateInNext => (Stage::Kept(late), Verdict::Cut),
                    EndFault::LateBy(time) => (Stage::Calm, Verdict::CutAndDeliver(late, time)),
                    EndFault::AnswerLost => (Stage::AnswerAwaited, Verdict::PassAndTell),
                };
                self.stage = stage;
                verdict
            }
            Stage::Kept(late) if late.id == id && head.api == api::PRODUCE => {
                self.stage = Stage::Written(late.clone());
                Verdict::PassAsLast
            }
            Stage::Written(late) if late.id == id => Verdict::Swallow,
            _ => Verdict::Pass,
        }
    }

    /// A request that was to be told of is answered: whether the answer is to be lost, and what is
    /// to be delivered now.
    pub(super) fn answered(&mut self) -> (bool, Option<Late>) {
        match std::mem::take(&mut self.stage) {
            Stage::AnswerAwaited => (true, None),
            Stage::Written(late) => (false, Some(late)),
            other => {
                self.stage = other;
                (false, None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::{end_txn, produce, request};
    use super::*;

    fn ask(ends: &mut Ends, frame: &[u8]) -> Verdict {
        ends.asked(Head::parse(frame).unwrap(), frame)
    }

    #[test]
    fn a_late_end_meets_the_next_transaction() {
        let mut ends = Ends::default();
        assert_eq!(ask(&mut ends, &end_txn(true)), Verdict::Pass, "nothing is planned");
        ends.plan(EndFault::LateInNext);
        assert_eq!(ask(&mut ends, &produce()), Verdict::Pass);
        assert_eq!(ask(&mut ends, &end_txn(false)), Verdict::Pass, "commits only");
        assert_eq!(ask(&mut ends, &end_txn(true)), Verdict::Cut);
        assert_eq!(ask(&mut ends, &end_txn(true)), Verdict::Pass, "sent again");
        let others = request(api::PRODUCE, 10, &[0, 2, b'u', 0, 0]);
        assert_eq!(ask(&mut ends, &others), Verdict::Pass);
        assert_eq!(ask(&mut ends, &produce()), Verdict::PassAsLast);
        assert_eq!(ask(&mut ends, &produce()), Verdict::Swallow);
        assert_eq!(ask(&mut ends, &others), Verdict::Pass);
        let (is_lost, late) = ends.answered();
        assert_eq!((is_lost, late.unwrap().frame), (false, end_txn(true)));
        assert!(ends.is_calm());
        assert_eq!(ask(&mut ends, &produce()), Verdict::Pass);
    }

    #[test]
    fn an_end_may_be_late_by_a_time_or_lose_its_answer() {
        let mut ends = Ends::default();
        let time = Duration::from_millis(5);
        ends.plan(EndFault::LateBy(time));
        let verdict = ask(&mut ends, &end_txn(true));
        let as_told = |late: &Late, after| late.frame == end_txn(true) && after == time;
        assert!(matches!(verdict, Verdict::CutAndDeliver(late, after) if as_told(&late, after)));
        assert!(ends.is_calm());
        ends.plan(EndFault::AnswerLost);
        assert_eq!(ask(&mut ends, &end_txn(true)), Verdict::PassAndTell);
        assert_eq!(ends.answered(), (true, None));
        assert!(ends.is_calm());
    }
}

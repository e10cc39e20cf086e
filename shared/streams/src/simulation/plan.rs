//! What goes wrong, and when: every call of the engine to a port that does something is an
//! [`Effect`], numbered where it is carried out, and a [`Plan`] says what becomes of it.

/// One thing that a process does to the cluster or to its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Counts the effects of all processes, from 1.
    pub number: u64,
    /// Which process does it.
    pub process: u32,
    /// What it is.
    pub name: &'static str,
}

/// What becomes of an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It happens, and the process learns of it.
    #[default]
    None,
    /// The process dies just before.
    CrashBefore,
    /// It happens; the process dies before it learns of it.
    CrashAfter,
    /// It does not happen; the process is told that nobody answers.
    Lost,
    /// It happens; the process is told that nobody answers.
    Unacknowledged,
    /// The process is told that nobody answers. The end of a transaction arrives this much later
    /// (ms), whatever has happened by then; anything else is lost.
    Delayed(u64),
    /// It happens, and the process learns of it late. The end of a transaction arrives once more
    /// after this time (ms): what librdkafka's retry leaves behind.
    Repeated(u64),
}

/// Decides what becomes of effects. The same plan on the same run decides the same.
pub trait Plan: Send {
    /// What becomes of this effect.
    fn fault(&mut self, effect: &Effect) -> Fault;
    /// One of `count` ways that the cluster may behave without any fault; 0 is the plain one.
    fn choose(&mut self, what: &'static str, count: u32) -> u32;
}

/// Nothing goes wrong, and everything happens at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faultless;

impl Plan for Faultless {
    fn fault(&mut self, _: &Effect) -> Fault {
        Fault::None
    }

    fn choose(&mut self, _: &'static str, _: u32) -> u32 {
        0
    }
}

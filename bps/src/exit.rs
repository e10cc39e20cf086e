//! How a command ends: the exit codes, here and nowhere else.

/// All of it was done.
pub(crate) const OK: u8 = 0;
/// It failed; standard error says why.
pub(crate) const FAILED: u8 = 1;
/// It was done, but some lines were bad and left out.
pub(crate) const SKIPPED: u8 = 2;
/// What was looked at breaks a promise; standard output says which.
pub(crate) const FINDINGS: u8 = 3;
/// The arguments or settings cannot be (`EX_USAGE` of sysexits.h).
pub(crate) const USAGE: u8 = 64;
/// Somebody interrupted it (128 + SIGINT).
pub(crate) const INTERRUPTED: u8 = 130;

/// What a command says of its end when nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of it was done.
    Done,
    /// Some lines were bad and left out.
    SomeSkipped,
    /// Something was found.
    Findings,
}

impl Outcome {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => OK,
            Self::SomeSkipped => SKIPPED,
            Self::Findings => FINDINGS,
        }
    }
}

/// What stands under a command's `--help`: its examples and the exit codes.
pub(crate) fn help(examples: &str) -> String {
    format!(
        "Examples:\n{}\n\nExit codes:\n  \
         {OK:>3}  done\n  \
         {FAILED:>3}  failed; standard error says why\n  \
         {SKIPPED:>3}  done, but some lines were bad and left out (import)\n  \
         {FINDINGS:>3}  done, and a promise is broken, or not the same (verify, replay)\n  \
         {USAGE:>3}  the arguments or settings cannot be\n  \
         {INTERRUPTED:>3}  interrupted",
        examples.trim_end()
    )
}

//! What is told to whoever waits, and where.

use std::io::Write;

/// Where progress goes. Lines are written at once: the reader is waiting for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is told; what fails is in the error. For tests.
    #[default]
    Quiet,
    /// To standard output: the reader is a person.
    Stdout,
    /// To standard error: standard output belongs to a script.
    Stderr,
}

impl Progress {
    /// Tells one line, or several.
    pub fn say(self, line: impl AsRef<str>) {
        let line = line.as_ref();
        // A reader that went away (a closed pipe) is no reason to stop.
        let _ = match self {
            Self::Quiet => Ok(()),
            Self::Stdout => writeln!(std::io::stdout().lock(), "{line}"),
            Self::Stderr => writeln!(std::io::stderr().lock(), "{line}"),
        };
    }

    /// Whether a program we run (cargo) may write to the terminal itself.
    pub(crate) fn is_shown(self) -> bool {
        self != Self::Quiet
    }
}

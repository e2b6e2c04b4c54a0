//! Panics as lines of the log. The standard hook writes plain text, which Lambda takes for INFO and drops at WARN and ERROR.

use std::panic::{self, PanicHookInfo};

/// Logs each panic, with the ids of what its thread is at work on, and writes it nowhere else.
pub(super) fn log() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, panic = literal(panic), "The code panicked: this is a bug in Pombo.");
    }));
}

/// The text of a panic, if it is a literal in the code. A text that was put together while the code ran may hold a value that
/// must not be logged, and the location tells where to look.
fn literal(panic: &PanicHookInfo<'_>) -> Option<&'static str> {
    panic.payload().downcast_ref::<&'static str>().copied()
}

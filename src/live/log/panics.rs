//! Panics: a line of the log like any other, with the request in which it happened.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic, thread,
};

use tracing::Level;

use super::Log;

/// Sends the messages of panics to the log. The standard library would write them to standard error itself, as text, and
/// wait for a reader.
pub(super) fn log_them(log: &'static Log) {
    panic::set_hook(Box::new(move |info| {
        let cause = info.payload_as_str().unwrap_or("(no message)");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let current = thread::current();
        let thread = current.name().unwrap_or("(no name)");
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        if tracing::enabled!(Level::ERROR) {
            tracing::error!(cause, location, thread, backtrace, "panicked");
        } else {
            // Before the log is started, or while it formats a line.
            log.write(Level::ERROR, "panicked", &[("cause", cause), ("location", &location), ("thread", thread)]);
        }
        if thread == "main" {
            // It may end the process.
            super::flush();
        }
    }));
}

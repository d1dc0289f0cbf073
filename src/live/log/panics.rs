//! Panics are logged like any other event, with the request in which they happened.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic, thread,
};

use tracing::Level;

use super::Log;

/// Sends the messages of panics to the log. The standard library's hook would write them to standard error as text, and
/// block until they are read.
pub(super) fn install_hook(log: &'static Log) {
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
            // The log has not started, or it is formatting a line.
            log.write(Level::ERROR, "panicked", &[("cause", cause), ("location", &location), ("thread", thread)]);
        }
        if thread == "main" {
            // The process may end.
            super::flush();
        }
    }));
}

//! What commands write: results to standard output, and domain errors as messages for an operator.

use std::{
    fmt::Display,
    io::{self, Write},
};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{error::Error, live::log};

/// Prints a line to standard output: a JSON object if `log.format` is `json`, otherwise text.
pub(super) fn print_line(sentence: impl Display) -> io::Result<()> {
    print(log::stdout_line(sentence))
}

/// Prints a document to standard output unchanged. Ignores a closed pipe, so that `| head` is not a failure.
pub(super) fn print(text: impl Display) -> io::Result<()> {
    match write!(io::stdout(), "{text}").and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Formats a time in whole seconds.
pub(super) fn format_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Converts a domain error into a message for an operator, which includes every fault and the cause.
pub(super) fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::Invalid(faults) => {
            let faults: Vec<_> = faults.into_iter().map(|fault| fault.detail).collect();
            anyhow::anyhow!("{}", faults.join(" "))
        }
        Error::Internal(cause) => cause,
        Error::Unavailable(cause) => anyhow::Error::new(cause).context("the database is unavailable or busy"),
        error => error.into(),
    }
}

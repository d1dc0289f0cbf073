//! The log, and what else a process says on standard error: one line after another, none of which is ever waited for.
//! A server says what it prints on standard output in the same way.

mod layer;
mod line;
mod outlet;
mod panics;

use std::{
    fmt::Display,
    fs::File,
    io::{self, IsTerminal},
    os::fd::{AsFd, BorrowedFd},
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use anyhow::{Context, Result};
use prometheus_client::metrics::counter::Counter;
use tracing::{Level, Span};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, registry, util::SubscriberInitExt};
use uuid::Uuid;

use self::{
    layer::Lines,
    line::{Line, Style},
    outlet::{Outlet, Rank},
};
use crate::config::LogFormat;

/// The target of requests' spans.
const REQUEST: &str = "vestibule::request";

/// How long the end of the process waits for what is still to be written.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Lines that nobody read in time, and that were dropped, since the process began.
pub static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);

static LOG: OnceLock<Log> = OnceLock::new();

/// The two streams of a process.
struct Log {
    format: LogFormat,
    /// Of the log's lines.
    style: Style,
    stderr: Outlet,
    stdout: OnceLock<Outlet>,
}

/// Opens standard error, and logs panics from here on.
///
/// # Errors
/// When the operating system gives no descriptor or no thread.
pub fn open(format: LogFormat) -> Result<()> {
    let terminal = io::stderr().is_terminal();
    let style = match format {
        LogFormat::Json => Style::Json,
        LogFormat::Auto if !terminal => Style::Json,
        LogFormat::Auto | LogFormat::Text => Style::Text { in_colour: terminal },
    };
    let stderr = outlet("stderr", io::stderr().as_fd(), style)?;
    let log = LOG.get_or_init(|| Log { format, style, stderr, stdout: OnceLock::new() });
    panics::log_them(log);
    Ok(())
}

/// Starts the log of a server: what tracing collects, as far as `level` lets it through.
///
/// # Errors
/// When `level` is not a level or a list of directives, or [`open`] was not called.
pub fn start(level: &str) -> Result<()> {
    let log = LOG.get().context("standard error is not open")?;
    // What these crates say at `info` is our business, and said in our words. The setting has the last word. The span of a
    // request is always there: also an error on its own names its request.
    let filter = EnvFilter::try_new(format!("poem=warn,sea_orm_migration=warn,{REQUEST}=error,{level}"))?;
    let lines = Lines { style: log.style, outlet: &log.stderr };
    registry().with(filter).with(lines).try_init().context("the log cannot be set up")
}

/// The span of one request: every line inside it names the request and, if it is known, the operation.
pub fn request(id: Uuid, operation: Option<&'static str>) -> Span {
    tracing::error_span!(target: REQUEST, "request", request_id = %id, operation)
}

/// Whether `log.format` is `json`.
#[must_use]
pub fn is_json() -> bool {
    LOG.get().is_some_and(|log| log.format == LogFormat::Json)
}

/// Says something to the operator on standard error, whether or not the log is started: an object with `log.format =
/// "json"`, else a sentence after the program's name.
pub fn tell(level: Level, sentence: impl Display) {
    match LOG.get() {
        Some(log) if log.format == LogFormat::Json => log.write(level, sentence, &[]),
        Some(log) => log.stderr.push((&level).into(), format!("vestibule: {sentence}\n")),
        None => {}
    }
}

/// Says something to the operator on standard output without waiting for a reader: an object with `log.format = "json"`,
/// else a sentence.
pub fn announce(sentence: impl Display) {
    let Some(log) = LOG.get() else { return };
    let style = if is_json() { Style::Json } else { Style::Text { in_colour: false } };
    if log.stdout.get().is_none()
        && let Ok(stdout) = outlet("stdout", io::stdout().as_fd(), style)
    {
        _ = log.stdout.set(stdout);
    }
    if let Some(stdout) = log.stdout.get() {
        stdout.push(Rank::Error, on_stdout(sentence));
    }
}

/// A sentence as a line of standard output: an object with `log.format = "json"`.
#[must_use]
pub fn on_stdout(sentence: impl Display) -> String {
    if is_json() { line(Style::Json, Level::INFO, sentence, &[]) } else { format!("{sentence}\n") }
}

/// Waits until everything is written that somebody reads, for a second at most.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.stderr.flush(LAST_CALL / 2);
        if let Some(stdout) = log.stdout.get() {
            stdout.flush(LAST_CALL / 2);
        }
    }
}

impl Log {
    /// A line of the log that does not come through tracing.
    fn write(&self, level: Level, message: impl Display, fields: &[(&str, &str)]) {
        self.stderr.push((&level).into(), line(self.style, level, message, fields));
    }
}

fn line(style: Style, level: Level, message: impl Display, fields: &[(&str, &str)]) -> String {
    let mut line = Line::new(style, level);
    line.message(message);
    for (name, value) in fields {
        line.field(name, value);
    }
    line.end()
}

fn outlet(name: &str, stream: BorrowedFd<'_>, style: Style) -> Result<Outlet> {
    // A descriptor of its own, as the standard library locks its streams while it writes.
    let file = File::from(stream.try_clone_to_owned()?);
    let notice = move |dropped: u64| {
        let mut line = Line::new(style, Level::WARN);
        line.message("lines were dropped, because nobody read them in time");
        line.number("dropped", dropped);
        line.end()
    };
    Outlet::start(name, file, DROPPED.clone(), Box::new(notice)).with_context(|| format!("no thread for {name}"))
}

//! The log and the other output of a process. Lines are written by threads of their own, so a slow or absent reader never
//! delays the server.

mod layer;
mod line;
mod output_queue;
mod panics;
pub mod request;

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
use tracing::Level;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, registry, util::SubscriberInitExt};

use self::{
    layer::LogLayer,
    line::{Line, Style},
    output_queue::{OutputQueue, Priority},
};
use crate::config::LogFormat;

/// How long the end of the process waits for each stream's lines to be written. On a busy machine, their thread may start to run
/// only after half a second. If nobody reads the lines, the process still ends within 10 s of a signal.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(1200);

/// The number of lines that were dropped because they were not read in time, since the process started.
pub static DROPPED_LINES: LazyLock<Counter> = LazyLock::new(Counter::default);

static LOG: OnceLock<Log> = OnceLock::new();

/// The output of a process.
struct Log {
    format: LogFormat,
    /// The style of the lines on standard error.
    style: Style,
    stderr: OutputQueue,
    stdout: OnceLock<OutputQueue>,
}

/// Takes over standard error, and logs panics from here on.
pub fn init(format: LogFormat) -> Result<()> {
    let is_terminal = io::stderr().is_terminal();
    let style = match format {
        LogFormat::Json => Style::Json,
        LogFormat::Auto if !is_terminal => Style::Json,
        LogFormat::Auto | LogFormat::Text => Style::Text { in_colour: is_terminal },
    };
    let stderr = output_queue("stderr", io::stderr().as_fd(), style)?;
    let log = LOG.get_or_init(|| Log { format, style, stderr, stdout: OnceLock::new() });
    panics::install_hook(log);
    Ok(())
}

/// Starts to log the events of `tracing`.
///
/// # Errors
/// When `level` is not a level or a list of directives, or [`init`] was not called.
pub fn start_tracing(level: &str) -> Result<()> {
    let log = LOG.get().context("standard error is not open")?;
    // Vestibule logs in its own words what these crates log, and strangers can cause what webauthn-rs calls errors. The setting comes last, so it can override this.
    let filter = EnvFilter::try_new(format!("poem=warn,sea_orm_migration=warn,webauthn_rs=off,webauthn_rs_core=off,{level}"))?;
    let layer = LogLayer { style: log.style, output: &log.stderr };
    registry().with(filter).with(layer).try_init().context("the log cannot be set up")
}

/// Returns whether `log.format` is `json`.
pub fn is_json() -> bool {
    LOG.get().is_some_and(|log| log.format == LogFormat::Json)
}

/// Writes a sentence for the operator to standard error, whether or not the log has started: as an object with `log.format =
/// "json"`, otherwise after the program's name.
pub fn report(level: Level, sentence: impl Display) {
    match LOG.get() {
        Some(log) if log.format == LogFormat::Json => log.write(level, sentence, &[]),
        Some(log) => log.stderr.push((&level).into(), format!("vestibule: {sentence}\n")),
        None => {}
    }
}

/// Writes a sentence for the operator to standard output without waiting for a reader: as an object with `log.format =
/// "json"`.
pub fn print(sentence: impl Display) {
    let Some(log) = LOG.get() else { return };
    let style = if is_json() { Style::Json } else { Style::Text { in_colour: false } };
    if log.stdout.get().is_none()
        && let Ok(stdout) = output_queue("stdout", io::stdout().as_fd(), style)
    {
        _ = log.stdout.set(stdout);
    }
    if let Some(stdout) = log.stdout.get() {
        stdout.push(Priority::Error, stdout_line(sentence));
    }
}

/// Returns a sentence as a line of standard output: as an object with `log.format = "json"`.
pub fn stdout_line(sentence: impl Display) -> String {
    if is_json() { line(Style::Json, Level::INFO, sentence, &[]) } else { format!("{sentence}\n") }
}

/// Waits until all lines are written, for about two seconds at most.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.stderr.flush(FLUSH_TIMEOUT);
        if let Some(stdout) = log.stdout.get() {
            stdout.flush(FLUSH_TIMEOUT);
        }
    }
}

impl Log {
    /// Writes a line of the log that does not come from `tracing`.
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

fn output_queue(name: &str, stream: BorrowedFd<'_>, style: Style) -> Result<OutputQueue> {
    // A duplicate descriptor, because the standard library locks its streams while it writes.
    let file = File::from(stream.try_clone_to_owned()?);
    let notice = move |dropped: u64| {
        let mut line = Line::new(style, Level::WARN);
        line.message("lines were dropped because they were not read in time");
        line.number("dropped", dropped);
        line.end()
    };
    OutputQueue::start(name, file, DROPPED_LINES.clone(), Box::new(notice)).with_context(|| format!("no thread for {name}"))
}

//! Metrics of a running process, in the OpenMetrics text format.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};

use super::log;
use crate::{entity::mail::MailState, values::mail_kind::MailKind};

/// Returns a histogram from half a millisecond, the time to verify a token, to 16 s, the longest wait for a hash.
fn duration_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

/// The metrics and their registry.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Family<Operation, Histogram, fn() -> Histogram>,
    log_ins: Family<Outcome, Counter>,
    /// How long passwords waited to be hashed.
    pub hash_waits: Histogram,
    /// Open connections to the API.
    pub connections: Gauge,
    hashes_waiting: Gauge,
    revocations: Gauge,
    feed_age: Gauge<f64, AtomicU64>,
    pool: Family<Pool, Gauge>,
    mails: Family<Mails, Counter>,
    mails_waiting: Family<WaitingMails, Gauge>,
    mail_transport_up: Gauge,
    statements: Counter,
    unready: Family<Reason, Gauge>,
    clock_trusted: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    operation: &'static str,
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pool {
    pool: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Mails {
    kind: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaitingMails {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The values that are read when the metrics are requested.
pub struct Gauges {
    /// The number of passwords that wait to be hashed.
    pub hashes_waiting: usize,
    /// The number of revocations in memory.
    pub revocations: usize,
    /// The time since the last successful poll of the revocation feed.
    pub feed_age: Duration,
    /// Whether the mail server accepts mails.
    pub mail_transport_up: bool,
    /// The number of statements that were sent to the database.
    pub statements: u64,
    /// The name of each pool of database connections, and its numbers of busy and idle connections.
    pub pools: Vec<(&'static str, usize, usize)>,
    /// The name of each reason for which the service might not be ready, and whether it applies.
    pub unready: Vec<(&'static str, bool)>,
    /// Whether the clock may decide what is deleted.
    pub clock_trusted: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("vestibule"),
            requests: Family::default(),
            durations: Family::new_with_constructor(duration_histogram),
            log_ins: Family::default(),
            hash_waits: duration_histogram(),
            connections: Gauge::default(),
            hashes_waiting: Gauge::default(),
            revocations: Gauge::default(),
            feed_age: Gauge::default(),
            pool: Family::default(),
            mails: Family::default(),
            mails_waiting: Family::default(),
            mail_transport_up: Gauge::default(),
            statements: Counter::default(),
            unready: Family::default(),
            clock_trusted: Gauge::default(),
        };
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let registry = &mut metrics.registry;
        registry.register("build", "The running version", build);
        registry.register("requests", "Responses sent, by operation of the contract and status", metrics.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "Time from the request to its response",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register("log_ins", "Log-in attempts, by outcome", metrics.log_ins.clone());
        registry.register("hashes_waiting", "Passwords that wait to be hashed", metrics.hashes_waiting.clone());
        registry.register_with_unit(
            "hash_wait",
            "Time that passwords waited to be hashed",
            Unit::Seconds,
            metrics.hash_waits.clone(),
        );
        registry.register("revocations", "Revocations in memory", metrics.revocations.clone());
        registry.register_with_unit(
            "revocations_age",
            "Time since the last successful poll of the revocation feed",
            Unit::Seconds,
            metrics.feed_age.clone(),
        );
        registry.register("database_connections", "Connections to the database, by pool and state", metrics.pool.clone());
        registry.register("mails", "Mails that this server has sent or given up, by kind and state", metrics.mails.clone());
        let waiting = "Mails in the database that are queued or being sent, by any server";
        registry.register("mails_waiting", waiting, metrics.mails_waiting.clone());
        let up = "Whether the mail server accepted the last mail that this server tried to send";
        registry.register("mail_transport_up", up, metrics.mail_transport_up.clone());
        registry.register("database_statements", "Statements and commits sent to the database", metrics.statements.clone());
        let dropped = "Lines of output that were dropped because they were not read in time";
        registry.register("log_lines_dropped", dropped, log::DROPPED_LINES.clone());
        // A series that begins with its first failure would not show an increase.
        for (kind, state) in MailKind::ALL.iter().flat_map(|kind| [(kind, MailState::Failed), (kind, MailState::Dropped)]) {
            _ = metrics.mails.get_or_create(&Mails { kind: kind.as_str(), state: state.as_str() });
        }
        registry.register("connections", "Open connections to the API", metrics.connections.clone());
        let unready = "Whether this server is not ready for this reason, as /readyz reports it";
        registry.register("unready", unready, metrics.unready.clone());
        let trusted = "Whether this machine's clock may decide what is deleted";
        registry.register("clock_trusted", trusted, metrics.clock_trusted.clone());
        metrics
    }
}

impl Metrics {
    /// Counts a request. `operation` is `None` when the request was for no operation of the contract.
    pub fn count_request(&self, operation: Option<&'static str>, status: u16, took: Duration) {
        let operation = operation.unwrap_or("none");
        self.requests.get_or_create(&Request { operation, status: status.into() }).inc();
        self.durations.get_or_create(&Operation { operation }).observe(took.as_secs_f64());
    }

    /// Counts a log-in attempt. `outcome` is `ok` or the code of the problem.
    pub fn count_log_in(&self, outcome: &'static str) {
        self.log_ins.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts a mail that is done.
    pub fn count_mail(&self, kind: MailKind, state: &'static str) {
        self.mails.get_or_create(&Mails { kind: kind.as_str(), state }).inc();
    }

    /// Sets the number of mails in this state that wait.
    pub fn set_mails_waiting(&self, state: &'static str, number: u64) {
        self.mails_waiting.get_or_create(&WaitingMails { state }).set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// Returns all metrics as text, with the given gauges.
    pub fn encode(&self, gauges: &Gauges) -> String {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.hashes_waiting.set(count(gauges.hashes_waiting));
        self.revocations.set(count(gauges.revocations));
        self.statements.inner().store(gauges.statements, Ordering::Relaxed);
        self.mail_transport_up.set(gauges.mail_transport_up.into());
        self.feed_age.set(gauges.feed_age.as_secs_f64());
        for &(pool, busy, idle) in &gauges.pools {
            self.pool.get_or_create(&Pool { pool, state: "busy" }).set(count(busy));
            self.pool.get_or_create(&Pool { pool, state: "idle" }).set(count(idle));
        }
        for &(reason, applies) in &gauges.unready {
            self.unready.get_or_create(&Reason { reason }).set(applies.into());
        }
        self.clock_trusted.set(gauges.clock_trusted.into());
        let mut encoded = String::new();
        text::encode(&mut encoded, &self.registry).expect("writing to a String cannot fail");
        encoded
    }
}

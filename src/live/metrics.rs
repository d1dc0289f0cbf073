//! Metrics: what a running process counts about itself, for whoever watches over it (OpenMetrics).

use std::{sync::atomic::AtomicU64, time::Duration};

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

/// Seconds, from half a millisecond to 16 s: a verified token, and a queue of hashes.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

/// What was counted, and how it is told.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Family<Operation, Histogram, fn() -> Histogram>,
    log_ins: Family<Outcome, Counter>,
    /// How long passwords waited for their turn to be hashed.
    pub hash_waits: Histogram,
    /// Connections to the API.
    pub connections: Gauge,
    hashes_waiting: Gauge,
    revocations: Gauge,
    feed_age: Gauge<f64, AtomicU64>,
    pool: Family<Pool, Gauge>,
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

/// What is looked up when somebody asks, rather than counted.
pub struct Sample {
    /// Passwords that wait to be hashed.
    pub hashes_waiting: usize,
    /// Revocations in memory.
    pub revocations: usize,
    /// How old what is known of revocations is.
    pub feed_age: Duration,
    /// The name of each pool of database connections, those in use, and those at rest.
    pub pools: Vec<(&'static str, usize, usize)>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("vestibule"),
            requests: Family::default(),
            durations: Family::new_with_constructor(seconds),
            log_ins: Family::default(),
            hash_waits: seconds(),
            connections: Gauge::default(),
            hashes_waiting: Gauge::default(),
            revocations: Gauge::default(),
            feed_age: Gauge::default(),
            pool: Family::default(),
        };
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let all = &mut metrics.registry;
        all.register("build", "What is running", build);
        all.register("requests", "Requests answered, by operation of the contract and status", metrics.requests.clone());
        all.register_with_unit("request_duration", "Time to the answer", Unit::Seconds, metrics.durations.clone());
        all.register("log_ins", "Log-ins, by what came of them", metrics.log_ins.clone());
        all.register("hashes_waiting", "Passwords that wait to be hashed", metrics.hashes_waiting.clone());
        all.register_with_unit("hash_wait", "Time that passwords waited", Unit::Seconds, metrics.hash_waits.clone());
        all.register("revocations", "Revocations held in memory", metrics.revocations.clone());
        all.register_with_unit("revocations_age", "Age of what is known of them", Unit::Seconds, metrics.feed_age.clone());
        all.register("database_connections", "Connections to the database, by pool and state", metrics.pool.clone());
        let dropped = "Lines of output that nobody read in time, and that were dropped";
        all.register("log_lines_dropped", dropped, log::DROPPED.clone());
        all.register("connections", "Connections to the API", metrics.connections.clone());
        metrics
    }
}

impl Metrics {
    /// Counts a request; `None` is none of the contract's operations.
    pub fn note_request(&self, operation: Option<&'static str>, status: u16, took: Duration) {
        let operation = operation.unwrap_or("none");
        self.requests.get_or_create(&Request { operation, status: status.into() }).inc();
        self.durations.get_or_create(&Operation { operation }).observe(took.as_secs_f64());
    }

    /// Counts a log-in: `ok`, or the code of its refusal.
    pub fn note_log_in(&self, outcome: &'static str) {
        self.log_ins.get_or_create(&Outcome { outcome }).inc();
    }

    /// All of it as text.
    ///
    /// # Panics
    /// Never: a `String` takes whatever is written.
    pub fn tell(&self, sample: &Sample) -> String {
        let count = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
        self.hashes_waiting.set(count(sample.hashes_waiting));
        self.revocations.set(count(sample.revocations));
        self.feed_age.set(sample.feed_age.as_secs_f64());
        for &(pool, busy, idle) in &sample.pools {
            self.pool.get_or_create(&Pool { pool, state: "busy" }).set(count(busy));
            self.pool.get_or_create(&Pool { pool, state: "idle" }).set(count(idle));
        }
        let mut told = String::new();
        text::encode(&mut told, &self.registry).expect("a String takes whatever is written");
        told
    }
}

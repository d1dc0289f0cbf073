//! Another client of the database holds a lock (H10): requests that need it are refused in time, and others are not affected.

use super::{
    site::{PostgresServers, seconds},
    trial::{DEGRADED, Expect},
};

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_rows_are_locked_by_another_client() {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial("rows locked", 3);
    let expect = Expect { undisturbed: &["token", "me", "ready"], ..DEGRADED };
    for lock in [
        "BEGIN; SELECT id FROM users FOR UPDATE",
        "BEGIN; SELECT id FROM sessions FOR UPDATE",
        // The lock under which revocations get their number in the feed.
        "SELECT pg_advisory_lock(94855750764098)",
    ] {
        trial.fault(expect, seconds(7), || site.cluster.hold(lock), drop);
    }
    trial.finish();
}

/// For example, while an operator changes a table by hand. The feed cannot be read during that time.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_tables_are_locked_by_another_client() {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial("tables locked", 3);
    for table in ["users", "sessions", "revocations"] {
        let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        trial.fault(DEGRADED, seconds(8), || site.cluster.hold(&lock), drop);
    }
    trial.finish();
}

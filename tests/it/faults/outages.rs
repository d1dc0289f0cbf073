//! The whole database is unavailable: restarted, stopped, frozen, cut off, out of connections or read-only (H10, H11, D03).

use super::{
    cluster::{DATABASE, ROLE},
    proxy::Flow,
    site::{PostgresServers, seconds, wait},
    trial::{DEGRADED, Expect, READ_ONLY, Random, UNAVAILABLE},
};

/// The number of connections that PostgreSQL allows by default.
const CONNECTIONS: u32 = 100;

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_postgres_is_restarted_under_load() {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial("restarted", 3);
    for mode in ["fast", "immediate", "fast"] {
        let restart = || {
            site.cluster.stop(mode);
            site.cluster.start_again(CONNECTIONS);
        };
        trial.fault(DEGRADED, seconds(0), || site.cluster.terminate("true"), |_| restart());
    }
    trial.finish();
}

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_postgres_is_stopped_and_comes_back() {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial("stopped", 3);
    for mode in ["fast", "immediate"] {
        trial.fault(UNAVAILABLE, seconds(11), || site.cluster.stop(mode), |()| site.cluster.start_again(CONNECTIONS));
    }
    trial.finish();
}

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_postgres_is_frozen() {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial("frozen", 3);
    trial.fault(UNAVAILABLE, seconds(12), || site.cluster.freeze(), |()| site.cluster.thaw());
    trial.finish();
}

/// There are more clients than connections: each waits for a connection first, and then for a result.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_postgres_is_frozen_under_a_crowd() {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial("frozen under a crowd", 30);
    trial.fault(UNAVAILABLE, seconds(12), || site.cluster.freeze(), |()| site.cluster.thaw());
    trial.finish();
}

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_postgres_is_black_holed() {
    black_hole("black-holed", Flow::Nothing);
}

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_postgres_receives_queries_and_its_answers_are_lost() {
    black_hole("queries arrive, answers do not", Flow::ToServer);
}

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_postgres_receives_no_queries() {
    black_hole("queries do not arrive", Flow::ToClient);
}

fn black_hole(name: &'static str, flow: Flow) {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial(name, 3);
    trial.fault(UNAVAILABLE, seconds(12), || site.set(flow), |()| site.set(Flow::Both));
    // The connections of the outage stay silent for ever.
    let replace = || {
        site.set_existing(Flow::Cut);
        site.set(Flow::Both);
    };
    trial.fault(UNAVAILABLE, seconds(9), || site.set(flow), |()| replace());
    trial.finish();
}

/// The server's connections are ended, and another client takes every connection.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_postgres_is_out_of_connections() {
    let Some(site) = PostgresServers::new() else { return };
    site.cluster.stop("fast");
    // As many as three servers use at most.
    site.cluster.start_again(CONNECTIONS);
    let mut trial = site.trial("out of connections", 3);
    let take_all = || {
        let hog = site.cluster.hog();
        wait(seconds(1));
        let mut calm = 0;
        while calm < 5 {
            calm = if site.cluster.terminate("application_name = 'vestibule'") == 0 { calm + 1 } else { 0 };
            wait(seconds(1) / 20);
        }
        hog
    };
    trial.fault(UNAVAILABLE, seconds(11), take_all, drop);
    trial.finish();
}

/// As after a failover or on a full disk: every transaction is read-only for a while.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_postgres_is_read_only_for_a_while() {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial("read-only", 3);
    let set = |value| site.cluster.set("default_transaction_read_only", value);
    trial.fault(READ_ONLY, seconds(8), || set("on"), |()| set("off"));
    trial.finish();
}

/// The setting of the database applies to a connection from its opening to its end.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_connections_that_were_opened_read_only_are_not_kept() {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial("opened read-only", 3);
    let make_read_only = || {
        site.cluster.sql("postgres", &format!("ALTER DATABASE {DATABASE} SET default_transaction_read_only = on"));
        site.cluster.terminate("true");
    };
    let make_writable = || {
        site.cluster.sql("postgres", &format!("ALTER DATABASE {DATABASE} RESET default_transaction_read_only"));
    };
    // The connections that were ended may make one read fail.
    trial.fault(Expect { undisturbed: &[], ..READ_ONLY }, seconds(8), make_read_only, |()| make_writable());
    trial.finish();
}

/// One fault follows another, in an order that the seed determines.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_postgres_suffers_one_fault_after_another() {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial("one fault after another", 3);
    let mut random = Random::of_this_run("faults");
    let cluster = &site.cluster;
    for _ in 0..6 {
        let length = seconds(1) + random.up_to(seconds(6));
        match random.below(6) {
            0 => trial.fault(DEGRADED, length, || cluster.stop("immediate"), |()| cluster.start_again(CONNECTIONS)),
            1 => trial.fault(DEGRADED, length, || cluster.freeze(), |()| cluster.thaw()),
            2 => trial.fault(DEGRADED, length, || site.set(Flow::Nothing), |()| site.set(Flow::Both)),
            3 => trial.fault(DEGRADED, length, || site.set(Flow::ToServer), |()| site.set(Flow::Both)),
            4 => trial.fault(DEGRADED, length, || _ = cluster.terminate("true"), |()| {}),
            _ => {
                let limit = |limit: i32| {
                    cluster.sql("postgres", &format!("ALTER ROLE {ROLE} CONNECTION LIMIT {limit}"));
                };
                let refuse = || {
                    limit(0);
                    cluster.terminate("true");
                };
                trial.fault(DEGRADED, length, refuse, |()| limit(-1));
            }
        }
    }
    trial.finish();
}

//! Only a part of the connections to the database is cut: some of them, those of one replica, or the one that receives
//! revocations.

use super::{
    proxy::Flow,
    site::{PostgresServers, seconds, wait},
    trial::{DEGRADED, Expect, UNAVAILABLE, UNNOTICED},
};

/// As after a firewall has lost its state, or the database was moved: new connections work, and the existing ones are silent for
/// ever. The servers recover without an operator.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_connections_fall_silent_while_new_ones_work() {
    for flow in [Flow::Nothing, Flow::ToServer] {
        let Some(site) = PostgresServers::new() else { return };
        let mut trial = site.trial("silent connections", 3);
        let expect = Expect { deadline: seconds(2), ..DEGRADED };
        trial.fault(expect, seconds(12), || site.set_existing(flow), |()| site.set_existing(Flow::Both));
        trial.finish();
    }
}

/// A token that is revoked on the connected replica is refused in time by the replica that is cut off.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_d03_one_replica_is_cut_off() {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial("one replica cut off", 3);
    let expect = Expect { replicas: &[1], ..UNAVAILABLE };
    let proxy = &site.proxies[1];
    trial.fault(expect, seconds(12), || proxy.set(Flow::Nothing), |()| proxy.set(Flow::Both));
    trial.fault(expect, seconds(10), || proxy.set(Flow::ToClient), |()| proxy.set(Flow::Both));
    trial.finish();
}

/// The session in which a replica listens for revocations is ended repeatedly.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_d03_the_listeners_session_is_ended() {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial("listener ended", 3);
    let end_again_and_again = || {
        let ended: usize = (0..10)
            .map(|_| {
                wait(seconds(1));
                site.cluster.terminate("query ILIKE 'listen%'")
            })
            .sum();
        assert!(ended > 5, "{ended} sessions listened");
    };
    trial.fault(UNNOTICED, seconds(0), end_again_and_again, |()| {});
    trial.finish();
}

/// Only the connection on which the replicas listen falls silent. Polling finds the revocations.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_d03_the_listeners_connection_falls_silent() {
    fall_silent("listener silent", "LISTEN ", UNNOTICED);
}

/// Only the connections on which the replicas read the feed fall silent: until a replica notices, it does not learn of other
/// replicas' revocations. Tokens are verified all the time, and each silent connection makes one other request fail.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_d03_the_followers_connection_falls_silent() {
    fall_silent("follower silent", "pg_is_in_recovery", Expect { undisturbed: &["token"], ..DEGRADED });
}

fn fall_silent(name: &'static str, text: &str, expect: Expect) {
    let Some(site) = PostgresServers::new() else { return };
    let mut trial = site.trial(name, 3);
    for flow in [Flow::Nothing, Flow::ToServer] {
        let set = |flow| site.proxies.iter().map(|proxy| proxy.set_existing(flow, text)).sum::<usize>();
        let silence = || assert!(set(flow) >= 2, "no connection has sent {text:?}");
        trial.fault(expect, seconds(13), silence, |()| _ = set(Flow::Both));
    }
    trial.finish();
}

//! A standby takes over (H10, D03): no acknowledged change is lost, and a standby's revocations are not trusted.

use super::{
    cluster::Cluster,
    site::{PostgresServers, seconds},
    trial::UNAVAILABLE,
};

fn site_with_standby() -> Option<(PostgresServers, Cluster)> {
    let site = PostgresServers::new()?;
    let standby = site.cluster.standby();
    Some((site, standby))
}

fn turn_to(site: &PostgresServers, cluster: &Cluster) {
    site.proxies.iter().for_each(|proxy| proxy.retarget(cluster.socket()));
}

/// The primary crashes. Connections lead to the standby at once, which is read-only until it is promoted.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_a_standby_takes_over_from_a_primary_that_crashed() {
    let Some((site, standby)) = site_with_standby() else { return };
    let mut trial = site.trial("standby after a crash", 3);
    let crash = || {
        site.cluster.kill();
        turn_to(&site, &standby);
    };
    trial.fault(UNAVAILABLE, seconds(9), crash, |()| standby.promote());
    trial.finish();
}

/// The primary's machine freezes, so its connections are never closed.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_a_standby_takes_over_from_a_primary_that_froze() {
    let Some((site, standby)) = site_with_standby() else { return };
    let mut trial = site.trial("standby after a freeze", 3);
    let take_over = || {
        standby.promote();
        turn_to(&site, &standby);
    };
    trial.fault(UNAVAILABLE, seconds(9), || site.cluster.freeze(), |()| take_over());
    trial.finish();
    site.cluster.thaw();
}

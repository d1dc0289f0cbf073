//! Wrong clocks: they revive no revoked token, and delete no data.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use rstest::rstest;
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait};
use serde_json::json;
use vestibule::{
    domain::{clocks, signing_keys},
    entity::{known_network, revocation, signing_key, throttle},
    jobs,
};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, client::Client, clock::minutes},
};

const DAY: Duration = Duration::from_hours(24);

/// Runs the maintenance that a server runs when it starts and then regularly.
async fn maintain(app: &TestApp) {
    signing_keys::maintain(&app.app).await.unwrap();
    jobs::purge(&app.app).await;
}

/// Returns a replica that has just started, as after a restart.
async fn restarted(app: &TestApp) -> TestApp {
    let app = app.replica().await;
    maintain(&app).await;
    app
}

fn is_postgres(app: &TestApp) -> bool {
    app.app.settings.database.url.is_some()
}

/// Returns how many rows each table has whose rows expire.
async fn expiring_rows(app: &TestApp) -> Vec<u64> {
    let db = app.app.db.read();
    let rows = app.rows().await;
    vec![
        rows["revocations"],
        rows["sessions"],
        throttle::Entity::find().count(db).await.unwrap(),
        known_network::Entity::find().count(db).await.unwrap(),
        signing_key::Entity::find().count(db).await.unwrap(),
    ]
}

/// Revoked access tokens, each with the code that it is rejected with.
struct RevokedTokens(Vec<(String, &'static str)>);

impl RevokedTokens {
    /// Revokes tokens by a log-out, by disabling a user and by demoting an administrator.
    async fn create(app: &TestApp) -> Self {
        let admin = app.admin().await;
        let (out, disabled, demoted) = (app.user("out").await, app.user("disabled").await, app.user("demoted").await);
        let id = async |name| app.anonymous().log_in(name, PASSWORD).await.get("/v1/me").await.expect(200)["id"].clone();
        let path = async |name| format!("/v1/users/{}", id(name).await.as_str().unwrap());
        out.delete("/v1/me/sessions/current", json!(null)).await.expect(204);
        admin.patch(&path("disabled").await, json!({ "status": "disabled" })).await.expect(200);
        let roles = format!("{}/roles", path("demoted").await);
        admin.put(&roles, json!({ "roles": ["admin", "user"] })).await.expect(200);
        let promoted = app.anonymous().log_in("demoted", PASSWORD).await;
        admin.put(&roles, json!({ "roles": ["user"] })).await.expect(200);
        Self(vec![
            (out.token.unwrap(), "session_ended"),
            (disabled.token.unwrap(), "session_ended"),
            (demoted.token.unwrap(), "stale_token"),
            (promoted.token.unwrap(), "stale_token"),
        ])
    }

    async fn assert_rejected(&self, app: &TestApp) {
        for (token, code) in &self.0 {
            let answer = app.bearer(token).get("/v1/token").await;
            assert_eq!(answer.problem(), (401, *code));
        }
    }
}

#[rstest]
#[case(TimeDelta::minutes(62))]
#[case(TimeDelta::hours(17))]
#[case(TimeDelta::hours(25))]
#[case(TimeDelta::days(400))]
#[case(TimeDelta::minutes(-62))]
#[case(TimeDelta::days(-1))]
#[case(TimeDelta::days(-400))]
#[tokio::test]
async fn s08_a_start_with_a_wrong_clock_revives_no_token_and_deletes_no_row(#[case] wrong: TimeDelta) {
    let app = TestApp::start_with(|settings| settings.throttle.enabled = true).await;
    let (ada, revoked) = (app.client("ada").await, RevokedTokens::create(&app).await);
    let log_in = json!({ "identifier": "ada", "password": "not this" });
    app.anonymous().post("/v1/sessions", log_in).await.expect(401);
    maintain(&app).await;
    let (rows_before, events) = (expiring_rows(&app).await, app.events().await);

    app.clock.set_by(wrong);
    for start in [restarted(&app).await, restarted(&app).await] {
        start.anonymous().get("/healthz").await.expect(200);
    }
    app.clock.set_by(-wrong);
    app.clock.advance(minutes(3));
    let restarted = restarted(&app).await;
    revoked.assert_rejected(&restarted).await;
    assert_eq!(expiring_rows(&restarted).await, rows_before);
    assert_eq!(restarted.events().await, events);
    restarted.bearer(&ada.access).get("/v1/me").await.expect(200);
    restarted.refresh(&ada.refresh).await.expect(200);
}

#[rstest]
#[case(TimeDelta::minutes(62))]
#[case(TimeDelta::days(400))]
#[case(TimeDelta::days(-1))]
#[case(TimeDelta::days(-400))]
#[tokio::test]
async fn setting_the_clock_of_a_running_server_revives_no_token_and_deletes_no_row(#[case] wrong: TimeDelta) {
    let app = TestApp::start().await;
    let revoked = RevokedTokens::create(&app).await;
    maintain(&app).await;
    let rows_before = expiring_rows(&app).await;
    for _ in 0..2 {
        app.clock.set_by(wrong);
        for _ in 0..3 {
            app.clock.advance(minutes(1));
            maintain(&app).await;
        }
        app.clock.set_by(-wrong);
        maintain(&app).await;
        revoked.assert_rejected(&app).await;
        revoked.assert_rejected(&restarted(&app).await).await;
        assert_eq!(expiring_rows(&app).await, rows_before);
    }
}

#[tokio::test]
async fn a_revocation_made_while_the_clock_is_behind_holds_after_the_clock_is_corrected() {
    let app = TestApp::start().await;
    let (ada, admin) = (app.user("ada").await, app.admin().await);
    let id = ada.get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    app.clock.set_by(TimeDelta::days(-2));
    let wrong = restarted(&app).await;
    assert_problem!(wrong.bearer(ada.token.as_deref().unwrap()).get("/v1/me").await, 401, "invalid_token");
    let admin_there = wrong.anonymous().log_in("admin", app.admin_password()).await;
    admin_there.patch(&format!("/v1/users/{id}"), json!({ "status": "disabled" })).await.expect(200);
    app.clock.set_by(TimeDelta::days(2));
    for _ in 0..2 {
        let right = restarted(&app).await;
        assert_problem!(right.bearer(ada.token.as_deref().unwrap()).get("/v1/me").await, 401, "session_ended");
        right.bearer(admin.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
    }
    let events = restarted(&app).await.events().await;
    assert!(
        events.iter().any(|event| event.kind == "user.updated"),
        "an event dated two days ago is not old enough to be purged"
    );
}

#[tokio::test]
async fn a_revoked_token_from_a_clock_that_was_ahead_is_still_revoked_when_its_time_comes() {
    let app = TestApp::start().await;
    let ahead = app.replica_by(Arc::new(app.clock.another()), |_| {}).await;
    ahead.clock.set_by(TimeDelta::days(3));
    ahead.register("ada").await;
    let early = Client::log_in(&ahead, "ada").await;
    let ada = app.anonymous().log_in("ada", PASSWORD).await;
    ada.delete("/v1/me/sessions", json!(null)).await.expect(204);
    for _ in 0..2 * 24 * 3 {
        app.clock.advance(minutes(30));
        maintain(&app).await;
    }
    assert_problem!(app.bearer(&early.access).get("/v1/me").await, 401, "session_ended");
}

#[tokio::test]
async fn an_account_that_was_closed_while_the_clock_was_far_behind_waits_for_its_erasure() {
    let app = TestApp::start().await;
    app.clock.set_by(TimeDelta::days(-500));
    let wrong = restarted(&app).await;
    wrong.user("ada").await.delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204);
    app.clock.set_by(TimeDelta::days(500));
    let right = restarted(&app).await;
    assert_eq!(right.event("account.closed").await.actor_name.as_deref(), Some("ada"));
}

#[tokio::test]
async fn setting_the_clock_back_revives_no_token_whose_revocation_was_purged() {
    let app = TestApp::start_with(|settings| settings.tokens.access_ttl = minutes(60)).await;
    let (out, ada) = (app.user("out").await, app.user("ada").await);
    out.delete("/v1/me/sessions/current", json!(null)).await.expect(204);
    app.clock.advance(2 * DAY);
    maintain(&app).await;
    assert_eq!((app.app.access.revocations.count(), revocation::Entity::find().count(app.app.db.read()).await.unwrap()), (0, 0));
    app.clock.set_by(TimeDelta::days(-2));
    for app in [&app, &restarted(&app).await] {
        assert_problem!(app.bearer(out.token.as_deref().unwrap()).get("/v1/me").await, 401, "session_ended");
        app.bearer(ada.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
    }
}

#[tokio::test]
async fn an_untrusted_clock_is_trusted_again_when_it_has_agreed_with_the_uptime_for_a_day() {
    let app = TestApp::start().await;
    RevokedTokens::create(&app).await;
    maintain(&app).await;
    app.clock.off_for(20 * DAY);
    let app = restarted(&app).await;
    assert!(clocks::check(&app.app).await.unwrap().is_none());
    for _ in 0..23 {
        app.clock.advance(minutes(60));
        maintain(&app).await;
    }
    assert!(app.rows().await["revocations"] > 0);
    app.clock.advance(minutes(60));
    maintain(&app).await;
    assert_eq!(app.rows().await["revocations"], 0);
    // The newest time is recorded, so that the next start trusts the clock.
    restarted(&app).await.trusted().await;
}

#[tokio::test]
async fn an_untrusted_clock_of_a_machine_that_is_off_at_night_is_trusted_again() {
    let app = TestApp::start().await;
    maintain(&app).await;
    app.clock.off_for(20 * DAY);
    for day in 0..4 {
        let started = restarted(&app).await;
        assert!(clocks::check(&started.app).await.unwrap().is_none(), "the clock is trusted on day {day}");
        for _ in 0..8 {
            app.clock.advance(minutes(60));
            maintain(&started).await;
        }
        if day == 2 {
            started.trusted().await;
            break;
        }
        app.clock.off_for(Duration::from_hours(16));
    }
    // From here on the clock stays trusted, because a night is short enough.
    app.clock.off_for(Duration::from_hours(16));
    restarted(&app).await.trusted().await;
}

#[tokio::test]
async fn the_clock_of_a_laptop_that_sleeps_for_weeks_stays_trusted() {
    let app = TestApp::start().await;
    app.clock.advance(20 * DAY); // the uptime includes time asleep
    app.trusted().await;
}

#[tokio::test]
async fn an_operator_can_accept_an_untrusted_clock() {
    let app = TestApp::start().await;
    app.clock.off_for(20 * DAY);
    let app = restarted(&app).await;
    assert!(clocks::check(&app.app).await.unwrap().is_none());
    clocks::accept(&app.replica().await.app).await.unwrap();
    clocks::compare(&app.app).await.unwrap();
    assert_eq!(app.app.clock_trust.mismatch(), None);
    app.trusted().await;
    assert_eq!(app.event("clock.accepted").await.actor_name.as_deref(), Some("operator"));
    app.anonymous().get("/readyz").await.expect(200);
}

#[tokio::test]
async fn accepting_the_clock_revives_no_token_whose_revocation_was_purged_by_a_wrong_clock() {
    let app = TestApp::start().await;
    if is_postgres(&app) {
        return; // the database's clock keeps this one untrusted
    }
    let revoked = RevokedTokens::create(&app).await;
    maintain(&app).await;
    // Each step alone is too small to be detected.
    for _ in 0..3 {
        app.clock.set_by(TimeDelta::hours(12));
        restarted(&app).await;
    }
    assert_eq!(
        revocation::Entity::find().count(app.app.db.read()).await.unwrap(),
        0,
        "the wrong clock must have purged all revocations"
    );
    app.clock.set_by(-TimeDelta::hours(36));
    clocks::accept(&restarted(&app).await.app).await.unwrap();
    revoked.assert_rejected(&restarted(&app).await).await;
}

#[tokio::test]
async fn an_untrusted_clock_makes_the_server_not_ready_on_postgresql_only() {
    let app = TestApp::start().await;
    app.clock.off_for(20 * DAY);
    let app = restarted(&app).await;
    let answer = app.anonymous().get("/readyz").await;
    if is_postgres(&app) {
        let answer = assert_problem!(answer, 503, "unavailable");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("run `vestibule clock accept`"), "{detail}");
    } else {
        answer.expect(200);
    }
}

#[tokio::test]
async fn a_replica_with_a_wrong_clock_deletes_nothing_and_revives_no_token_on_other_replicas() {
    let right = TestApp::start_with(|settings| settings.tokens.access_ttl = minutes(60)).await;
    let revoked = RevokedTokens::create(&right).await;
    let (rows_before, events) = (expiring_rows(&right).await, right.events().await);
    let wrong = right.replica_by(Arc::new(right.clock.another()), |_| {}).await;
    for by in [TimeDelta::minutes(62), TimeDelta::hours(24), TimeDelta::days(400), TimeDelta::days(-800)] {
        wrong.clock.set_by(by);
        for _ in 0..10 {
            for app in [&right, &wrong] {
                app.clock.advance(minutes(1));
                maintain(app).await;
            }
        }
        if is_postgres(&right) {
            clocks::compare(&wrong.app).await.unwrap();
            wrong.anonymous().get("/readyz").await.expect(503);
            right.anonymous().get("/readyz").await.expect(200);
        }
        right.trusted().await;
        assert_eq!(expiring_rows(&right).await, rows_before);
        assert_eq!(right.events().await, events);
        revoked.assert_rejected(&right).await;
        wrong.clock.set_by(-by);
    }
}

#[tokio::test]
async fn a_signing_key_with_a_date_from_a_wrong_clock_becomes_active_in_time() {
    let app = TestApp::start().await;
    let wrong = app.replica_by(Arc::new(app.clock.another()), |_| {}).await;
    wrong.clock.set_by(TimeDelta::days(400));
    let admin = wrong.admin().await;
    admin.post("/v1/signing-keys", json!(null)).await.expect(201);
    maintain(&app).await;
    app.clock.advance(minutes(30));
    let listed = app.admin().await.get("/v1/signing-keys").await.expect(200);
    let statuses: Vec<_> = listed["items"].as_array().unwrap().iter().map(|key| key["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["active", "retiring"]);
}

#[tokio::test]
async fn a_wrong_clock_rotates_no_signing_key() {
    let app = TestApp::start().await;
    app.clock.set_by(TimeDelta::days(400));
    let wrong = restarted(&app).await;
    assert_eq!(signing_key::Entity::find().count(wrong.app.db.read()).await.unwrap(), 1);
}

#[tokio::test]
async fn events_written_while_the_clock_was_far_behind_are_expiring_rows() {
    let app = TestApp::start().await;
    app.clock.set_by(TimeDelta::days(-500));
    let wrong = restarted(&app).await;
    wrong.register("ada").await;
    app.clock.set_by(TimeDelta::days(500));
    let right = restarted(&app).await;
    right.event("account.registered").await;
}

#[tokio::test]
async fn setting_the_clock_back_revives_no_token_of_any_kind() {
    let app = TestApp::start().await;
    let (revoked, left) = (RevokedTokens::create(&app).await, app.user("left").await);
    app.clock.advance(2 * DAY);
    maintain(&app).await;
    assert_eq!(app.app.access.revocations.count(), 0);
    // Disabled in the database only, so that the session remains.
    let tx = app.app.db.write().await.unwrap();
    tx.execute_unprepared("UPDATE users SET status = 'disabled' WHERE username = 'left'").await.unwrap();
    tx.commit().await.unwrap();
    app.clock.set_by(TimeDelta::days(-2));
    for app in [&app, &restarted(&app).await] {
        revoked.assert_rejected(app).await;
        assert_problem!(app.bearer(left.token.as_deref().unwrap()).get("/v1/me").await, 401, "session_ended");
    }
}

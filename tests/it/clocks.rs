//! Clocks that are wrong: whatever they say, nothing that was taken away comes back, and nothing is lost.

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

/// What every start does, and every server again and again.
async fn serve(app: &TestApp) {
    signing_keys::maintain(&app.app).await.unwrap();
    jobs::purge(&app.app).await;
}

/// A server that was stopped and is started again.
async fn restarted(app: &TestApp) -> TestApp {
    let app = app.replica().await;
    serve(&app).await;
    app
}

fn is_postgres(app: &TestApp) -> bool {
    app.app.settings.database.url.is_some()
}

/// How many rows each table has of what time makes worthless.
async fn kept(app: &TestApp) -> Vec<u64> {
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

/// Tokens that were taken away, each with what the service says to it.
struct Dead(Vec<(String, &'static str)>);

impl Dead {
    /// Somebody logs out, somebody is disabled, an administrator is demoted.
    async fn of(app: &TestApp) -> Self {
        let admin = app.admin().await;
        let (out, disabled, demoted) = (app.user("out").await, app.user("disabled").await, app.user("demoted").await);
        let id = async |name| app.nobody().log_in(name, PASSWORD).await.get("/v1/me").await.expect(200)["id"].clone();
        let path = async |name| format!("/v1/users/{}", id(name).await.as_str().unwrap());
        out.delete("/v1/me/sessions/current", json!(null)).await.expect(204);
        admin.patch(&path("disabled").await, json!({ "status": "disabled" })).await.expect(200);
        let roles = format!("{}/roles", path("demoted").await);
        admin.put(&roles, json!({ "roles": ["admin", "user"] })).await.expect(200);
        let promoted = app.nobody().log_in("demoted", PASSWORD).await;
        admin.put(&roles, json!({ "roles": ["user"] })).await.expect(200);
        Self(vec![
            (out.token.unwrap(), "session_ended"),
            (disabled.token.unwrap(), "session_ended"),
            (demoted.token.unwrap(), "stale_token"),
            (promoted.token.unwrap(), "stale_token"),
        ])
    }

    async fn stay_so(&self, app: &TestApp) {
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
async fn s08_a_start_with_a_wrong_clock_revives_nothing_and_deletes_nothing(#[case] wrong: TimeDelta) {
    let app = TestApp::start_with(|settings| settings.throttle.enabled = true).await;
    let (ada, dead) = (app.client("ada").await, Dead::of(&app).await);
    let log_in = json!({ "identifier": "ada", "password": "not this" });
    app.nobody().post("/v1/sessions", log_in).await.expect(401);
    serve(&app).await;
    let (kept_before, events) = (kept(&app).await, app.events().await);

    app.clock.set_by(wrong);
    for start in [restarted(&app).await, restarted(&app).await] {
        start.nobody().get("/healthz").await.expect(200);
    }
    app.clock.set_by(-wrong);
    app.clock.advance(minutes(3));
    let restarted = restarted(&app).await;
    dead.stay_so(&restarted).await;
    assert_eq!(kept(&restarted).await, kept_before);
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
async fn a_running_server_whose_clock_is_set_forgets_nothing(#[case] wrong: TimeDelta) {
    let app = TestApp::start().await;
    let dead = Dead::of(&app).await;
    serve(&app).await;
    let kept_before = kept(&app).await;
    for _ in 0..2 {
        app.clock.set_by(wrong);
        for _ in 0..3 {
            app.clock.advance(minutes(1));
            serve(&app).await;
        }
        app.clock.set_by(-wrong);
        serve(&app).await;
        dead.stay_so(&app).await;
        dead.stay_so(&restarted(&app).await).await;
        assert_eq!(kept(&app).await, kept_before);
    }
}

#[tokio::test]
async fn what_is_taken_away_while_the_clock_is_behind_stays_away_once_it_is_right() {
    let app = TestApp::start().await;
    let (ada, admin) = (app.user("ada").await, app.admin().await);
    let id = ada.get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    app.clock.set_by(TimeDelta::days(-2));
    let wrong = restarted(&app).await;
    assert_problem!(wrong.bearer(ada.token.as_deref().unwrap()).get("/v1/me").await, 401, "invalid_token");
    let there = wrong.nobody().log_in("admin", app.admin_password()).await;
    there.patch(&format!("/v1/users/{id}"), json!({ "status": "disabled" })).await.expect(200);
    app.clock.set_by(TimeDelta::days(2));
    for _ in 0..2 {
        let right = restarted(&app).await;
        assert_problem!(right.bearer(ada.token.as_deref().unwrap()).get("/v1/me").await, 401, "session_ended");
        right.bearer(admin.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
    }
    let disabled = restarted(&app).await.events().await;
    assert!(disabled.iter().any(|it| it.kind == "user.updated"), "dated two days ago, it is not too old");
}

#[tokio::test]
async fn a_token_from_a_clock_that_was_ahead_stays_dead_when_its_time_comes() {
    let app = TestApp::start().await;
    let ahead = app.replica_by(Arc::new(app.clock.another()), |_| {}).await;
    ahead.clock.set_by(TimeDelta::days(3));
    ahead.register("ada").await;
    let early = Client::log_in(&ahead, "ada").await;
    let ada = app.nobody().log_in("ada", PASSWORD).await;
    ada.delete("/v1/me/sessions", json!(null)).await.expect(204);
    for _ in 0..2 * 24 * 3 {
        app.clock.advance(minutes(30));
        serve(&app).await;
    }
    assert_problem!(app.bearer(&early.access).get("/v1/me").await, 401, "session_ended");
}

#[tokio::test]
async fn a_clock_that_was_set_back_brings_no_forgotten_token_back_to_life() {
    let app = TestApp::start_with(|settings| settings.tokens.access_ttl = minutes(60)).await;
    let (out, ada) = (app.user("out").await, app.user("ada").await);
    out.delete("/v1/me/sessions/current", json!(null)).await.expect(204);
    app.clock.advance(2 * DAY);
    serve(&app).await;
    assert_eq!((app.app.access.revocations.count(), revocation::Entity::find().count(app.app.db.read()).await.unwrap()), (0, 0));
    app.clock.set_by(TimeDelta::days(-2));
    for app in [&app, &restarted(&app).await] {
        assert_problem!(app.bearer(out.token.as_deref().unwrap()).get("/v1/me").await, 401, "session_ended");
        app.bearer(ada.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
    }
}

#[tokio::test]
async fn a_doubt_ends_when_the_clock_has_kept_step_for_a_day() {
    let app = TestApp::start().await;
    Dead::of(&app).await;
    serve(&app).await;
    app.clock.off_for(20 * DAY);
    let app = restarted(&app).await;
    assert!(clocks::check(&app.app).await.unwrap().is_none());
    for _ in 0..23 {
        app.clock.advance(minutes(60));
        serve(&app).await;
    }
    assert!(app.rows().await["revocations"] > 0);
    app.clock.advance(minutes(60));
    serve(&app).await;
    assert_eq!(app.rows().await["revocations"], 0);
    // The newest time is recorded, so the next start is in no doubt.
    restarted(&app).await.trusted().await;
}

#[tokio::test]
async fn a_machine_that_is_off_at_night_comes_out_of_doubt() {
    let app = TestApp::start().await;
    serve(&app).await;
    app.clock.off_for(20 * DAY);
    for day in 0..4 {
        let started = restarted(&app).await;
        assert!(clocks::check(&started.app).await.unwrap().is_none(), "on day {day}");
        for _ in 0..8 {
            app.clock.advance(minutes(60));
            serve(&started).await;
        }
        if day == 2 {
            started.trusted().await;
            break;
        }
        app.clock.off_for(Duration::from_hours(16));
    }
    // From here on a night is short enough to be no doubt at all.
    app.clock.off_for(Duration::from_hours(16));
    restarted(&app).await.trusted().await;
}

#[tokio::test]
async fn a_laptop_that_sleeps_for_weeks_is_in_no_doubt() {
    let app = TestApp::start().await;
    app.clock.advance(20 * DAY); // uptime counts the time asleep
    app.trusted().await;
}

#[tokio::test]
async fn an_operator_ends_a_doubt() {
    let app = TestApp::start().await;
    app.clock.off_for(20 * DAY);
    let app = restarted(&app).await;
    assert!(clocks::check(&app.app).await.unwrap().is_none());
    clocks::accept(&app.replica().await.app).await.unwrap();
    clocks::compare(&app.app).await.unwrap();
    assert_eq!(app.app.clock_trust.mismatch(), None);
    app.trusted().await;
    assert_eq!(app.event("clock.accepted").await.actor_name.as_deref(), Some("operator"));
    app.nobody().get("/readyz").await.expect(200);
}

#[tokio::test]
async fn an_operator_who_ends_a_doubt_brings_nothing_back_that_the_wrong_clock_has_purged() {
    let app = TestApp::start().await;
    if is_postgres(&app) {
        return; // the database's own clock keeps this one in doubt
    }
    let dead = Dead::of(&app).await;
    serve(&app).await;
    // Each step alone is too small to be noticed.
    for _ in 0..3 {
        app.clock.set_by(TimeDelta::hours(12));
        restarted(&app).await;
    }
    assert_eq!(revocation::Entity::find().count(app.app.db.read()).await.unwrap(), 0, "the wrong clock has purged them");
    app.clock.set_by(-TimeDelta::hours(36));
    clocks::accept(&restarted(&app).await.app).await.unwrap();
    dead.stay_so(&restarted(&app).await).await;
}

#[tokio::test]
async fn only_postgres_reports_a_doubt_as_not_ready() {
    let app = TestApp::start().await;
    app.clock.off_for(20 * DAY);
    let app = restarted(&app).await;
    let answer = app.nobody().get("/readyz").await;
    if is_postgres(&app) {
        let answer = assert_problem!(answer, 503, "unavailable");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("run `vestibule clock accept`"), "{detail}");
    } else {
        answer.expect(200);
    }
}

#[tokio::test]
async fn a_replica_whose_clock_is_wrong_takes_nothing_from_the_others() {
    let right = TestApp::start_with(|settings| settings.tokens.access_ttl = minutes(60)).await;
    let dead = Dead::of(&right).await;
    let (kept_before, events) = (kept(&right).await, right.events().await);
    let wrong = right.replica_by(Arc::new(right.clock.another()), |_| {}).await;
    for by in [TimeDelta::minutes(62), TimeDelta::hours(24), TimeDelta::days(400), TimeDelta::days(-800)] {
        wrong.clock.set_by(by);
        for _ in 0..10 {
            for app in [&right, &wrong] {
                app.clock.advance(minutes(1));
                serve(app).await;
            }
        }
        if is_postgres(&right) {
            clocks::compare(&wrong.app).await.unwrap();
            wrong.nobody().get("/readyz").await.expect(503);
            right.nobody().get("/readyz").await.expect(200);
        }
        right.trusted().await;
        assert_eq!(kept(&right).await, kept_before);
        assert_eq!(right.events().await, events);
        dead.stay_so(&right).await;
        wrong.clock.set_by(-by);
    }
}

#[tokio::test]
async fn a_key_that_a_wrong_clock_has_dated_keeps_nobody_waiting() {
    let app = TestApp::start().await;
    let wrong = app.replica_by(Arc::new(app.clock.another()), |_| {}).await;
    wrong.clock.set_by(TimeDelta::days(400));
    let admin = wrong.admin().await;
    admin.post("/v1/signing-keys", json!(null)).await.expect(201);
    serve(&app).await;
    app.clock.advance(minutes(30));
    let listed = app.admin().await.get("/v1/signing-keys").await.expect(200);
    let statuses: Vec<_> = listed["items"].as_array().unwrap().iter().map(|it| it["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["active", "retiring"]);
}

#[tokio::test]
async fn a_wrong_clock_turns_no_key_over() {
    let app = TestApp::start().await;
    app.clock.set_by(TimeDelta::days(400));
    let wrong = restarted(&app).await;
    assert_eq!(signing_key::Entity::find().count(wrong.app.db.read()).await.unwrap(), 1);
}

#[tokio::test]
async fn events_written_while_the_clock_was_far_behind_are_kept() {
    let app = TestApp::start().await;
    app.clock.set_by(TimeDelta::days(-500));
    let wrong = restarted(&app).await;
    wrong.register("ada").await;
    app.clock.set_by(TimeDelta::days(500));
    let right = restarted(&app).await;
    right.event("account.registered").await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_brings_no_token_of_any_kind_back_to_life() {
    let app = TestApp::start().await;
    let (dead, left) = (Dead::of(&app).await, app.user("left").await);
    app.clock.advance(2 * DAY);
    serve(&app).await;
    assert_eq!(app.app.access.revocations.count(), 0);
    // Disabled by hand: the session was left.
    let tx = app.app.db.write().await.unwrap();
    tx.execute_unprepared("UPDATE users SET status = 'disabled' WHERE username = 'left'").await.unwrap();
    tx.commit().await.unwrap();
    app.clock.set_by(TimeDelta::days(-2));
    for app in [&app, &restarted(&app).await] {
        dead.stay_so(app).await;
        assert_problem!(app.bearer(left.token.as_deref().unwrap()).get("/v1/me").await, 401, "session_ended");
    }
}

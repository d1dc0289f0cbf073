//! A session continues from refresh token to refresh token, even if a response is lost.

use std::time::Duration;

use sea_orm::EntityTrait;
use serde_json::{Value, json};
use vestibule::entity::session;

use super::{DAY, SECOND, fifty_times, kinds, unthrottled};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, clock::minutes},
};

#[tokio::test]
async fn a_session_continues_from_token_to_token() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    for round in 0..5 {
        let before = ada.clone();
        app.clock.advance(minutes(14));
        let answer = ada.refresh().await;
        assert_eq!(answer.header("cache-control"), "no-store", "S10");
        let tokens = answer.expect(200);
        assert_eq!(tokens["expires_in"], 900);
        assert_eq!(tokens["refresh_expires_in"], 30 * 24 * 3600);
        assert_eq!(tokens["token_type"], "Bearer");
        assert_eq!(tokens["session_id"], before.session);
        assert!(ada.refresh != before.refresh && ada.access != before.access, "round {round}");
        ada.caller().get("/v1/me").await.expect(200);
        before.caller().get("/v1/me").await.expect(200);
    }
    let token = ada.caller().get("/v1/token").await.expect(200);
    let times = (&json!("2026-01-01T01:10:00.000000Z"), &json!("2026-01-01T01:25:00.000000Z"));
    assert_eq!((&token["issued_at"], &token["expires_at"]), times);
    let list = ada.caller().get("/v1/me/sessions").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["last_used_at"], "2026-01-01T01:10:00.000000Z");
    assert_eq!(app.rows().await["sessions"], 1, "one row for each session, whatever its age");
    assert!(kinds(&app.events().await).is_empty());
}

#[tokio::test]
async fn s03_a_client_that_lost_the_response_can_refresh_again() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let lost = ada.refresh_and_lose().await.expect(200);
    app.clock.advance(Duration::from_secs(9));
    let again = ada.refresh_and_lose().await.expect(200);
    assert_eq!(again["refresh_token"], lost["refresh_token"], "the same refresh token");
    assert_ne!(again["access_token"], lost["access_token"], "a new access token");
    assert!(kinds(&app.events().await).is_empty());

    app.clock.advance(SECOND);
    let doubted = ada.refresh_and_lose().await.expect(200);
    assert_ne!(doubted["refresh_token"], lost["refresh_token"], "the first successor is void");
    let event = app.event("session.refresh_doubted").await;
    assert_eq!(event.session_id.unwrap().to_string(), ada.session);

    // As long as no response arrives, the client may refresh as often as it likes, even days later.
    app.clock.advance(SECOND);
    assert_eq!(ada.refresh_and_lose().await.expect(200)["refresh_token"], doubted["refresh_token"]);
    for _ in 0..3 {
        app.clock.advance(20 * DAY);
        ada.refresh_and_lose().await.expect(200);
    }
    ada.refresh().await.expect(200);
    ada.refresh().await.expect(200);
    ada.caller().get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn without_a_replay_window_every_repeated_refresh_is_doubted() {
    let app = TestApp::start_with(|settings| settings.sessions.replay_window = Duration::ZERO).await;
    let ada = app.client("ada").await;
    let first = ada.refresh_and_lose().await.expect(200);
    let second = ada.refresh_and_lose().await.expect(200);
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    app.event("session.refresh_doubted").await;
}

async fn fifty_at_once(rounds: usize) {
    let app = unthrottled().await;
    let mut ada = app.client("ada").await;
    for round in 0..rounds {
        let answers = fifty_times(&ada).await;
        let tokens: Vec<Value> = answers.into_iter().map(|answer| answer.expect(200)["refresh_token"].clone()).collect();
        assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
        assert_ne!(tokens[0], ada.refresh);
        ada.refresh().await.expect(200);
        assert_eq!(ada.refresh, tokens[0]);
        let rows = session::Entity::find().all(app.app.db.read()).await.unwrap();
        let chain: Vec<_> = rows.iter().map(|session| (session.parent.map(i64::from), i64::from(session.current))).collect();
        let parent = i64::try_from(round).unwrap() + 1;
        assert_eq!(chain, [(Some(parent), parent + 1)], "exactly one successor");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_fifty_refreshes_at_once_get_the_same_successor() {
    fifty_at_once(3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: .ci/run lets them come two hundred times"]
async fn long_s02_fifty_refreshes_at_once_get_the_same_successor_every_time() {
    fifty_at_once(200).await;
}

#[tokio::test]
async fn a_session_continues_after_it_changed_the_password() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let change = json!({ "current_password": PASSWORD, "new_password": "another horse battery staple" });
    ada.caller().put("/v1/me/password", change).await.expect(204);
    ada.refresh().await.expect(200);
}

#[tokio::test]
async fn a_refresh_brings_the_roles_that_were_assigned_meanwhile() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let me = ada.caller().get("/v1/me").await.expect(200);
    let roles = format!("/v1/users/{}/roles", me["id"].as_str().unwrap());
    app.admin().await.put(&roles, json!({ "roles": ["admin", "user"] })).await.expect(200);
    assert_problem!(ada.caller().get("/v1/users").await, 401, "stale_token");
    ada.refresh().await.expect(200);
    ada.caller().get("/v1/users").await.expect(200);
}

#[tokio::test]
async fn s08_a_restart_neither_revives_nor_loses_a_session() {
    let app = TestApp::start().await;
    let (mut ada, gone) = (app.client("ada").await, app.client("grace").await);
    let before = ada.clone();
    ada.refresh().await.expect(200);
    gone.caller().delete("/v1/me/sessions/current", json!(null)).await.expect(204);
    let restarted = app.replica().await;
    assert_problem!(restarted.refresh(&gone.refresh).await, 401, "invalid_refresh_token");
    assert_problem!(restarted.bearer(&gone.access).get("/v1/me").await, 401, "session_ended");
    let again = restarted.refresh(&before.refresh).await.expect(200);
    assert_eq!(again["refresh_token"], ada.refresh, "the same token as before the restart");
    restarted.refresh(&ada.refresh).await.expect(200);
}

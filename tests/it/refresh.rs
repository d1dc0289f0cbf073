//! Refresh: a session goes on, a lost answer costs nothing, and two who hold one session are found out.

use std::time::Duration;

use aws_lc_rs::hmac;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, EntityTrait};
use serde_json::{Value, json};
use vestibule::{entity::session, values::refresh_token::RefreshToken};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Answer, client::Client, clock::minutes},
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
/// Longer than a token just spent is answered with the same successor.
const LATER: Duration = Duration::from_secs(10);

fn kinds(events: &[vestibule::entity::audit_event::Model]) -> Vec<&str> {
    events.iter().map(|it| it.kind.as_str()).filter(|it| it.starts_with("session.refresh")).collect()
}

#[tokio::test]
async fn a_session_goes_on_from_token_to_token() {
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
    assert_eq!(app.rows().await["sessions"], 1, "one row a session, whatever its age");
    assert!(kinds(&app.events().await).is_empty());
}

/// An app where one network refreshes more than any honest one.
async fn unthrottled() -> TestApp {
    TestApp::start_with(|settings| settings.throttle.enabled = false).await
}

/// All at once, on as many threads as there are.
async fn fifty_times(client: &Client<'_>) -> Vec<Answer> {
    join_all((0..50).map(|_| client.refresh_and_lose())).await
}

async fn fifty_at_once(rounds: usize) {
    let app = unthrottled().await;
    let mut ada = app.client("ada").await;
    for round in 0..rounds {
        let answers = fifty_times(&ada).await;
        let tokens: Vec<Value> = answers.into_iter().map(|it| it.expect(200)["refresh_token"].clone()).collect();
        assert!(tokens.iter().all(|it| *it == tokens[0]), "{tokens:?}");
        assert_ne!(tokens[0], ada.refresh);
        ada.refresh().await.expect(200);
        assert_eq!(ada.refresh, tokens[0]);
        let rows = session::Entity::find().all(app.app.db.read()).await.unwrap();
        let chain: Vec<_> = rows.iter().map(|it| (it.parent, it.current)).collect();
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
async fn s03_whoever_lost_the_answer_asks_again() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let lost = ada.refresh_and_lose().await.expect(200);
    app.clock.advance(Duration::from_secs(9));
    let again = ada.refresh_and_lose().await.expect(200);
    assert_eq!(again["refresh_token"], lost["refresh_token"], "the identical one");
    assert_ne!(again["access_token"], lost["access_token"], "a fresh one");
    assert!(kinds(&app.events().await).is_empty());

    app.clock.advance(SECOND);
    let doubted = ada.refresh_and_lose().await.expect(200);
    assert_ne!(doubted["refresh_token"], lost["refresh_token"], "the first one is void");
    let event = app.event("session.refresh_doubted").await;
    assert_eq!(event.session_id.unwrap().to_string(), ada.session);

    // As long as nothing arrives, it may ask as often as it likes, days later too.
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

/// Two hold one session; whoever comes second with what the other has spent ends it for both.
async fn is_found_out(app: &TestApp, spent: Answer, holders: &[&Client<'_>]) {
    let mut refused = assert_problem!(spent, 401, "invalid_refresh_token");
    for holder in holders {
        assert_problem!(holder.caller().get("/v1/me").await, 401, "session_ended");
        let mut answer = assert_problem!(holder.refresh_and_lose().await, 401, "invalid_refresh_token");
        for body in [&mut answer.body, &mut refused.body] {
            body.as_object_mut().unwrap().remove("request_id");
        }
        assert_eq!(answer.body, refused.body);
    }
    assert_eq!(app.rows().await["sessions"], 0);
    let event = app.event("session.refresh_reused").await;
    assert_eq!(event.session_id.unwrap().to_string(), holders[0].session);
    assert_eq!(event.subject_name.as_deref(), Some("ada"));
    assert_eq!(event.actor_id, None, "nobody knows which of them it was");
}

#[tokio::test]
async fn s04_a_spent_token_ends_the_session_for_the_thief_and_the_owner() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let thief = ada.clone();
    ada.refresh().await.expect(200);
    ada.refresh().await.expect(200);
    app.clock.advance(minutes(1));
    is_found_out(&app, thief.refresh_and_lose().await, &[&ada, &thief]).await;
}

#[tokio::test]
async fn s04_a_thief_who_is_faster_is_found_out_when_the_owner_comes() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    let mut thief = ada.clone();
    thief.refresh().await.expect(200);
    thief.refresh().await.expect(200);
    is_found_out(&app, ada.refresh_and_lose().await, &[&ada, &thief]).await;
}

#[tokio::test]
async fn s04_a_successor_that_was_void_counts_as_spent() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let mut thief = ada.clone();
    thief.refresh().await.expect(200);
    app.clock.advance(LATER);
    ada.refresh().await.expect(200);
    is_found_out(&app, thief.refresh_and_lose().await, &[&ada, &thief]).await;
}

#[tokio::test]
async fn without_a_replay_window_every_lost_answer_is_doubted() {
    let app = TestApp::start_with(|settings| settings.sessions.replay_window = Duration::ZERO).await;
    let ada = app.client("ada").await;
    let first = ada.refresh_and_lose().await.expect(200);
    let second = ada.refresh_and_lose().await.expect(200);
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    app.event("session.refresh_doubted").await;
}

#[tokio::test]
async fn a_restored_backup_refuses_what_it_does_not_know_and_ends_nothing() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let old = ada.clone();
    ada.refresh().await.expect(200);
    ada.refresh().await.expect(200);
    let tx = app.app.db.write().await.unwrap();
    tx.execute_unprepared("UPDATE sessions SET current = 1, parent = NULL").await.unwrap();
    tx.commit().await.unwrap();
    assert_problem!(ada.refresh().await, 401, "invalid_refresh_token");
    app.event("session.refresh_ahead").await;
    old.refresh_and_lose().await.expect(200);
}

#[tokio::test]
async fn what_is_not_genuine_is_refused_alike_and_leaves_no_trace() {
    let (app, other) = (TestApp::start().await, TestApp::start().await);
    let (ada, grace) = (app.client("ada").await, app.client("grace").await);
    let foreign = other.client("ada").await;
    let rows = app.rows().await;
    let good = ada.refresh.as_str();
    let mut tokens: Vec<String> = ["", "x", "null", "vrt_", &good[4..], &good.to_uppercase(), &format!("{good}A")]
        .iter()
        .skip(1)
        .map(ToString::to_string)
        .chain([foreign.refresh.clone(), ada.access.clone(), foreign.access, "A".repeat(8192)])
        .collect();
    // Another's session, another serial, another proof: each with the rest of a good token.
    tokens.push(format!("{}{}", &grace.refresh[..20], &good[20..]));
    for at in [30, 35, 40, 60, 78] {
        let mut bent = good.to_owned().into_bytes();
        bent[at] = if bent[at] == b'A' { b'Q' } else { b'A' };
        tokens.push(String::from_utf8(bent).unwrap());
    }
    let mut bodies = Vec::new();
    for token in tokens {
        let mut answer = assert_problem!(app.refresh(&token).await, 401, "invalid_refresh_token");
        answer.body.as_object_mut().unwrap().remove("request_id");
        bodies.push(answer.body);
    }
    let mut answer = assert_problem!(
        app.nobody().send(poem::http::Method::POST, "/v1/sessions/refresh", &[], poem::Body::empty()).await,
        401,
        "invalid_refresh_token"
    );
    answer.body.as_object_mut().unwrap().remove("request_id");
    bodies.push(answer.body);
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
    assert_eq!(app.rows().await, rows);
    ada.refresh_and_lose().await.expect(200);
}

#[tokio::test]
async fn bad_bodies_are_told_as_everywhere() {
    let app = TestApp::start().await;
    let refresh = |body: Value| async { app.nobody().post("/v1/sessions/refresh", body).await };
    let refused = |answer: Answer| assert_problem!(answer, 422, "validation_failed");
    assert_eq!(refused(refresh(json!({ "refresh_token": 1 })).await).faults(), [("/refresh_token", "type")]);
    for nothing in [json!({}), json!({ "refresh_token": null })] {
        assert_problem!(refresh(nothing).await, 401, "invalid_refresh_token");
    }
    assert_eq!(
        refused(refresh(json!({ "refreshToken": "x", "refresh_token": "" })).await).faults(),
        [("/refreshToken", "unknown_member"), ("/refresh_token", "too_short")]
    );
    assert_eq!(refused(refresh(json!({ "refresh_token": "x".repeat(8193) })).await).faults(), [("/refresh_token", "too_long")]);
}

#[tokio::test]
async fn t10_neither_token_passes_for_the_other() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    assert_problem!(app.bearer(&ada.refresh).get("/v1/me").await, 401, "invalid_token");
    assert_problem!(app.refresh(&ada.access).await, 401, "invalid_refresh_token");
}

#[tokio::test]
async fn s06_an_unused_session_ends_whatever_the_purge_does() {
    let app = TestApp::start().await;
    let (mut ada, grace) = (app.client("ada").await, app.client("grace").await);
    app.clock.advance(29 * DAY);
    ada.refresh().await.expect(200);
    app.clock.advance(DAY);
    assert_problem!(grace.refresh_and_lose().await, 401, "invalid_refresh_token");
    ada.refresh().await.expect(200);
    app.clock.advance(Duration::from_secs(30 * 24 * 3600 - 1));
    let last = ada.refresh().await.expect(200);
    assert_eq!(last["expires_in"], 900);
    assert_eq!(app.rows().await["sessions"], 2, "nobody has purged");
    assert!(kinds(&app.events().await).is_empty());
}

#[tokio::test]
async fn s06_no_session_lives_for_ever() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    for _ in 0..4 {
        app.clock.advance(20 * DAY);
        ada.refresh().await.expect(200);
    }
    app.clock.advance(9 * DAY + minutes(24 * 60 - 5));
    let last = ada.refresh().await.expect(200);
    assert_eq!((&last["expires_in"], &last["refresh_expires_in"]), (&json!(300), &json!(300)), "S10: no longer than the session");
    app.clock.advance(Duration::from_millis(299_500));
    assert_problem!(ada.refresh().await, 401, "invalid_refresh_token");
    ada.caller().get("/v1/me").await.expect(200);
    app.clock.advance(Duration::from_millis(500));
    assert_problem!(ada.refresh().await, 401, "invalid_refresh_token");
    assert_problem!(ada.caller().get("/v1/me").await, 401, "expired_token");
}

#[tokio::test]
async fn s07_whatever_ends_a_session_ends_its_refreshes() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for (number, way) in ["log out", "all", "password", "set password", "disable", "delete", "end", "close"].iter().enumerate() {
        let name = format!("user{number}");
        let ada = app.client(&name).await;
        let id = ada.caller().get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned();
        let user = format!("/v1/users/{id}");
        let new = "another horse battery staple";
        match *way {
            "log out" => ada.caller().delete("/v1/me/sessions/current", json!(null)).await.expect(204),
            "all" => ada.caller().delete("/v1/me/sessions", json!(null)).await.expect(204),
            "password" => {
                let change = json!({ "current_password": PASSWORD, "new_password": new });
                Client::log_in(&app, &name).await.caller().put("/v1/me/password", change).await.expect(204)
            }
            "set password" => admin.put(&format!("{user}/password"), json!({ "new_password": new })).await.expect(204),
            "disable" => admin.patch(&user, json!({ "status": "disabled" })).await.expect(200),
            "delete" => admin.delete(&user, json!(null)).await.expect(204),
            "end" => admin.delete(&format!("{user}/sessions"), json!(null)).await.expect(204),
            _ => ada.caller().delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204),
        };
        assert_problem!(ada.refresh_and_lose().await, 401, "invalid_refresh_token");
        assert_problem!(ada.caller().get("/v1/token").await, 401, "session_ended");
        if *way == "disable" {
            admin.patch(&user, json!({ "status": "active" })).await.expect(200);
            assert_problem!(ada.refresh_and_lose().await, 401, "invalid_refresh_token");
        }
    }
}

#[tokio::test]
async fn a_session_whose_own_password_was_changed_goes_on() {
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
async fn s08_a_restart_neither_revives_nor_forgets() {
    let app = TestApp::start().await;
    let (mut ada, gone) = (app.client("ada").await, app.client("grace").await);
    let before = ada.clone();
    ada.refresh().await.expect(200);
    gone.caller().delete("/v1/me/sessions/current", json!(null)).await.expect(204);
    let restarted = app.replica().await;
    assert_problem!(restarted.refresh(&gone.refresh).await, 401, "invalid_refresh_token");
    assert_problem!(restarted.bearer(&gone.access).get("/v1/me").await, 401, "session_ended");
    let again = restarted.refresh(&before.refresh).await.expect(200);
    assert_eq!(again["refresh_token"], ada.refresh, "the very token that was given out before");
    restarted.refresh(&ada.refresh).await.expect(200);
}

/// What takes a session away while it is refreshed.
#[derive(Debug, Clone, Copy)]
enum Revoking {
    LogOut,
    Disable,
    SetPassword,
}

/// Fifty refreshes race with what revokes them. Once that has answered, nothing that any of them got works.
async fn race(app: &TestApp, revoking: Revoking) {
    let (ada, admin) = (Client::log_in(app, "ada").await, app.admin().await);
    let caller = ada.caller();
    let user = format!("/v1/users/{}", caller.get("/v1/me").await.expect(200)["id"].as_str().unwrap());
    let revoke = async {
        match revoking {
            Revoking::LogOut => caller.delete("/v1/me/sessions/current", json!(null)).await.expect(204),
            Revoking::Disable => admin.patch(&user, json!({ "status": "disabled" })).await.expect(200),
            Revoking::SetPassword => {
                admin.put(&format!("{user}/password"), json!({ "new_password": PASSWORD })).await.expect(204)
            }
        }
    };
    let (answers, _) = tokio::join!(fifty_times(&ada), revoke);
    let mut late = vec![ada.clone()];
    for answer in answers {
        if answer.status == 200 {
            late.push(Client::new(app, &answer.body));
        } else {
            assert_problem!(answer, 401, "invalid_refresh_token");
        }
    }
    for client in late {
        assert_problem!(client.caller().get("/v1/me").await, 401, "session_ended");
        assert_problem!(client.refresh_and_lose().await, 401, "invalid_refresh_token");
    }
    if let Revoking::Disable = revoking {
        admin.patch(&user, json!({ "status": "active" })).await.expect(200);
    }
}

async fn races(rounds: usize) {
    let app = unthrottled().await;
    app.register("ada").await;
    for _ in 0..rounds {
        for revoking in [Revoking::LogOut, Revoking::Disable, Revoking::SetPassword] {
            race(&app, revoking).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s05_no_refresh_that_races_with_what_revokes_it_gives_anything_that_works_afterwards() {
    races(3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: .ci/run lets them race a hundred times"]
async fn long_s05_no_refresh_that_races_with_what_revokes_it_ever_gives_anything_that_works_afterwards() {
    races(100).await;
}

#[tokio::test]
async fn p10_the_database_holds_no_refresh_token_and_no_two_sessions_share_a_secret() {
    let app = TestApp::start().await;
    let (ada, grace) = (app.client("ada").await, app.client("grace").await);
    let rows = session::Entity::find().all(app.app.db.read()).await.unwrap();
    assert_ne!(rows[0].refresh_secret, rows[1].refresh_secret);
    assert!(rows.iter().all(|it| it.refresh_secret.len() == 32));
    for token in [ada.refresh, grace.refresh] {
        let token: vestibule::values::refresh_token::RefreshToken = token.parse().unwrap();
        assert!(rows.iter().all(|it| it.refresh_secret != token.mac));
    }
}

/// The session's current refresh token, as someone would write it who has only this key.
fn forged(session: &session::Model, key: &[u8]) -> String {
    let message = RefreshToken::message(session.id, session.current);
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &message);
    RefreshToken { session: session.id, serial: session.current, mac: mac.as_ref().try_into().unwrap() }.to_string()
}

#[tokio::test]
async fn p10_a_copy_of_the_database_is_not_enough_to_make_a_refresh_token() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    let row = session::Entity::find().one(app.app.db.read()).await.unwrap().unwrap();
    assert_problem!(app.refresh(&forged(&row, &row.refresh_secret)).await, 401, "invalid_refresh_token");
    ada.refresh_and_lose().await.expect(200);
}

#[tokio::test]
async fn p10_a_refresh_token_is_void_when_its_sessions_secret_is_replaced() {
    let app = TestApp::start().await;
    let clients = [app.client("ada").await, app.client("grace").await];
    let tx = app.app.db.write().await.unwrap();
    let smallest = "SELECT refresh_secret FROM sessions ORDER BY refresh_secret LIMIT 1";
    tx.execute_unprepared(&format!("UPDATE sessions SET refresh_secret = ({smallest})")).await.unwrap();
    tx.commit().await.unwrap();
    let mut statuses = join_all(clients.iter().map(|client| async { client.refresh_and_lose().await.status })).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401], "one session has kept its secret");
}

#[tokio::test]
async fn s04_the_event_of_a_reused_token_states_both_serials() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let thief = ada.clone();
    ada.refresh().await.expect(200);
    ada.refresh().await.expect(200);
    assert_problem!(thief.refresh_and_lose().await, 401, "invalid_refresh_token");
    let path = "/v1/audit-events?kind=session.refresh_reused";
    let events = app.admin().await.get(path).await.expect(200);
    assert_eq!(events["items"][0]["details"], json!({ "presented": 1, "current": 3 }));
}

#[tokio::test]
async fn a_disabled_account_refreshes_no_session_even_if_a_session_was_left() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    let tx = app.app.db.write().await.unwrap();
    tx.execute_unprepared("UPDATE users SET status = 'disabled' WHERE username = 'ada'").await.unwrap();
    tx.commit().await.unwrap();
    assert_problem!(ada.refresh_and_lose().await, 401, "invalid_refresh_token");
}

//! The end of a session ends its refreshes, even those that are running.

use std::time::Duration;

use sea_orm::ConnectionTrait;
use serde_json::json;

use super::{DAY, fifty_times, kinds, unthrottled};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, client::Client, clock::minutes},
};

#[tokio::test]
async fn s06_an_unused_session_ends_without_the_purge() {
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
    assert_eq!(app.rows().await["sessions"], 2, "no purge has run");
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
async fn s07_every_way_to_end_a_session_ends_its_refreshes() {
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
async fn a_disabled_account_refreshes_no_session_even_if_a_session_was_left() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    let tx = app.app.db.write().await.unwrap();
    tx.execute_unprepared("UPDATE users SET status = 'disabled' WHERE username = 'ada'").await.unwrap();
    tx.commit().await.unwrap();
    assert_problem!(ada.refresh_and_lose().await, 401, "invalid_refresh_token");
}

/// A change that revokes a session while it is refreshed.
#[derive(Debug, Clone, Copy)]
enum Revoking {
    LogOut,
    Disable,
    SetPassword,
}

/// Fifty refreshes race with a revocation. After the revocation was answered, none of the tokens that they returned is valid.
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
async fn s05_a_refresh_that_races_with_a_revocation_yields_no_valid_token() {
    races(3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: .ci/run lets them race a hundred times"]
async fn long_s05_a_refresh_that_races_with_a_revocation_never_yields_a_valid_token() {
    races(100).await;
}

//! Revocation: a revoked token is refused from the next request here, and on other replicas once they have read the feed.

use std::time::Duration;

use chrono::TimeDelta;
use poem::{Body, Request, http::Method};
use sea_orm::{ActiveValue::Set, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait};
use serde_json::json;
use vestibule::{
    config::{Algorithm, Settings},
    domain::{generations, revocations},
    entity::{revocation, session},
    values::{
        authentication::{Acr, Amr, FactorIds},
        ids::{SessionId, UserId},
    },
};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Caller, client::Client, clock::minutes},
};

async fn id_of(caller: &Caller<'_>) -> UserId {
    caller.get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a04_disabling_a_user_ends_all_sessions_and_enabling_revives_none() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let path = format!("/v1/users/{}", id_of(&ada).await);
    admin.patch(&path, json!({ "status": "disabled" })).await.expect(200);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    admin.patch(&path, json!({ "status": "active" })).await.expect(200);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    app.anonymous().log_in("ada", PASSWORD).await.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a04_new_roles_make_old_tokens_stale_and_never_upgrade_them() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let path = format!("/v1/users/{}/roles", id_of(&ada).await);
    admin.put(&path, json!({ "roles": ["admin", "user"] })).await.expect(200);
    assert_problem!(ada.get("/v1/users").await, 401, "stale_token");
    let ada = app.anonymous().log_in("ada", PASSWORD).await;
    ada.get("/v1/users").await.expect(200);
    admin.put(&path, json!({ "roles": ["user"] })).await.expect(200);
    assert_problem!(ada.get("/v1/users").await, 401, "stale_token");
    let ada = app.anonymous().log_in("ada", PASSWORD).await;
    assert_problem!(ada.get("/v1/users").await, 403, "insufficient_permission");
}

#[tokio::test]
async fn a04_an_edited_role_applies_to_the_next_request() {
    let app = TestApp::start().await;
    let (admin, clerk) = (app.admin().await, app.holding("clerk", &["users:read"]).await);
    clerk.get("/v1/users").await.expect(200);
    admin.put("/v1/roles/role-clerk", json!({ "permissions": ["roles:read"] })).await.expect(200);
    assert_problem!(clerk.get("/v1/users").await, 403, "insufficient_permission");
    clerk.get("/v1/roles").await.expect(200);
}

#[tokio::test]
async fn s08_a_restart_revives_no_token() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    ada.delete("/v1/me/sessions/current", json!(null)).await.expect(204);
    let path = format!("/v1/users/{}/roles", id_of(&bob).await);
    app.admin().await.put(&path, json!({ "roles": [] })).await.expect(200);
    let restarted = app.replica().await;
    assert_problem!(restarted.bearer(&ada.token.unwrap()).get("/v1/me").await, 401, "session_ended");
    assert_problem!(restarted.bearer(&bob.token.unwrap()).get("/v1/me").await, 401, "stale_token");
}

#[tokio::test]
async fn d03_another_replica_learns_every_revocation_from_the_feed() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    let (admin, ada, bob) = (here.admin().await, here.user("ada").await, here.user("bob").await);
    let clerk = here.holding("clerk", &["users:read"]).await;
    revocations::follow(&there.app).await.unwrap();
    let seen_from_there = |caller: &Caller<'_>| there.bearer(caller.token.as_deref().unwrap());
    let (ada_there, bob_there, clerk_there) = (seen_from_there(&ada), seen_from_there(&bob), seen_from_there(&clerk));
    clerk_there.get("/v1/users").await.expect(200);

    admin.delete(&format!("/v1/users/{}/sessions", id_of(&ada).await), json!(null)).await.expect(204);
    admin.put(&format!("/v1/users/{}/roles", id_of(&bob).await), json!({ "roles": [] })).await.expect(200);
    admin.put("/v1/roles/role-clerk", json!({ "permissions": [] })).await.expect(200);
    ada_there.get("/v1/token").await.expect(200);
    revocations::follow(&there.app).await.unwrap();

    assert_problem!(ada_there.get("/v1/token").await, 401, "session_ended");
    assert_problem!(bob_there.get("/v1/token").await, 401, "stale_token");
    assert_problem!(clerk_there.get("/v1/users").await, 403, "insufficient_permission");
}

#[tokio::test]
async fn s05_disabling_a_user_also_revokes_sessions_that_another_replica_ended() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    let ada = here.user("ada").await;
    let path = format!("/v1/users/{}", id_of(&ada).await);
    there.admin().await.delete(&format!("{path}/sessions"), json!(null)).await.expect(204);
    ada.get("/v1/me").await.expect(200);
    here.admin().await.patch(&path, json!({ "status": "disabled" })).await.expect(200);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
}

#[tokio::test]
async fn a_revoked_token_changes_nothing_through_a_replica_that_lags_behind() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    let (admin, ada) = (here.admin().await, here.user("ada").await);
    let deputy = here.holding("deputy", &["users:write", "users:read"]).await;
    revocations::follow(&there.app).await.unwrap();
    let path = format!("/v1/users/{}", id_of(&ada).await);
    let deputy_there = there.bearer(deputy.token.as_deref().unwrap());

    admin.put(&format!("/v1/users/{}/roles", id_of(&deputy).await), json!({ "roles": ["user"] })).await.expect(200);
    assert_problem!(deputy_there.patch(&path, json!({ "name": "Changed" })).await, 401, "stale_token");
    admin.delete(&format!("/v1/users/{}/sessions", id_of(&ada).await), json!(null)).await.expect(204);
    let ada_there = there.bearer(ada.token.as_deref().unwrap());
    assert_problem!(ada_there.patch("/v1/me", json!({ "name": "Changed" })).await, 401, "session_ended");
    assert!(admin.get(&path).await.expect(200).get("name").is_none());
}

#[tokio::test]
async fn d03_a_replica_with_stale_revocations_refuses_tokens_until_it_reads_the_feed() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    bob.delete("/v1/me/sessions/current", json!(null)).await.expect(204);
    app.clock.stall(Duration::from_secs(5));
    ada.get("/v1/me").await.expect(200);
    app.clock.stall(Duration::from_secs(1));

    let refused = assert_problem!(ada.get("/v1/me").await, 503, "authorization_stale");
    assert_eq!(refused.header("retry-after"), "1");
    assert_problem!(bob.get("/v1/me").await, 401, "session_ended");
    assert_problem!(app.anonymous().get("/v1/me").await, 401, "missing_token");
    assert_problem!(app.anonymous().get("/readyz").await, 503, "authorization_stale");
    app.anonymous().get("/healthz").await.expect(200);
    app.anonymous().log_in("ada", PASSWORD).await;

    revocations::follow(&app.app).await.unwrap();
    ada.get("/v1/me").await.expect(200);
    app.anonymous().get("/readyz").await.expect(200);
}

#[tokio::test]
async fn revocations_are_dropped_once_their_tokens_have_expired() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    ada.delete("/v1/me/sessions", json!(null)).await.expect(204);
    let rows = || revocation::Entity::find().count(app.app.db.read());
    let purge = async || revocations::purge(&app.app, app.trusted().await).await.unwrap();
    app.clock.advance(minutes(59));
    purge().await;
    assert_eq!((app.app.access.revocations.count(), rows().await.unwrap()), (1, 1));
    app.clock.advance(minutes(2));
    purge().await;
    assert_eq!((app.app.access.revocations.count(), rows().await.unwrap()), (0, 1), "the row is kept, because it costs little");
    assert_problem!(ada.get("/v1/me").await, 401, "expired_token");
    app.clock.advance(Duration::from_hours(24));
    purge().await;
    assert_eq!(rows().await.unwrap(), 0);
}

#[tokio::test]
async fn d04_a_change_completes_after_its_client_disconnects() {
    let app = TestApp::start().await;
    for name in ["ada", "bob", "cyd", "dan", "eve"] {
        let caller = app.user(name).await;
        let request = Request::builder()
            .method(Method::DELETE)
            .uri_str("/v1/me/sessions/current")
            .header("authorization", format!("Bearer {}", caller.token.as_deref().unwrap()))
            .body(Body::empty());
        // Polled once, then dropped: the client disconnects before it gets a response.
        tokio::select! {
            biased;
            _ = app.raw(request) => {}
            () = tokio::task::yield_now() => {}
        }
        for _ in 0..1000 {
            if caller.get("/v1/token").await.status == 401 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_problem!(caller.get("/v1/me").await, 401, "session_ended");
    }
}

#[tokio::test]
async fn d03_a_follower_misses_nothing_that_many_writers_commit_at_once() {
    let here = TestApp::start().await;
    let (there, follower) = (here.replica().await, here.replica().await);
    let mut sessions = Vec::new();
    here.register("ada").await;
    for _ in 0..40 {
        sessions.push(here.anonymous().log_in("ada", PASSWORD).await.token.unwrap());
    }
    // A request that waits too long for SQLite's only writer gets 503 and is sent again.
    let end = async |app: &TestApp, token: &str| {
        let log_out = || async { app.bearer(token).delete("/v1/me/sessions/current", json!(null)).await.status };
        while log_out().await == 503 {}
    };
    let writers = async {
        let replicas = [&here, &there];
        let ends = sessions.iter().enumerate().map(|(number, token)| end(replicas[number % 2], token));
        futures_util::future::join_all(ends).await;
    };
    let follows = async {
        loop {
            revocations::follow(&follower.app).await.unwrap();
        }
    };
    tokio::select! {
        () = writers => {}
        () = follows => {}
    }
    revocations::follow(&follower.app).await.unwrap();
    for token in &sessions {
        assert_problem!(follower.bearer(token).get("/v1/me").await, 401, "session_ended");
    }
}

#[tokio::test]
async fn s07_any_number_of_sessions_ends_at_once() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let (id, now) = (id_of(&ada).await, app.app.clock.now());
    let tx = app.app.db.write().await.unwrap();
    for _ in 0..7 {
        let session = || session::ActiveModel {
            id: Set(SessionId::new(now)),
            user_id: Set(id),
            client_id: Set("vestibule".into()),
            created_at: Set(now),
            last_used_at: Set(now),
            expires_at: Set(now + chrono::TimeDelta::days(1)),
            address: Set(None),
            user_agent: Set(None),
            refresh_secret: Set(vec![7; 32]),
            current: Set(1.into()),
            parent: Set(None),
            auth_time: Set(now),
            acr: Set(Acr::One),
            amr: Set(Amr::default()),
            factors: Set(FactorIds::default()),
        };
        session::Entity::insert_many((0..1_000).map(|_| session())).exec_without_returning(&tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    admin.patch(&format!("/v1/users/{id}"), json!({ "status": "disabled" })).await.expect(200);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    assert_eq!(app.app.access.revocations.count(), 7_001);
    let replica = app.replica().await;
    assert_eq!(replica.app.access.revocations.count(), 7_001);
}

#[tokio::test]
async fn a_permission_lost_on_one_replica_cannot_be_used_through_another() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    let (admin, ada) = (here.admin().await, here.user("ada").await);
    let deleter = here.holding("deleter", &["users:delete"]).await;
    revocations::follow(&there.app).await.unwrap();
    admin.put("/v1/roles/role-deleter", json!({ "permissions": [] })).await.expect(200);
    let there = there.bearer(deleter.token.as_deref().unwrap());
    let path = format!("/v1/users/{}", id_of(&ada).await);
    assert_problem!(there.delete(&path, json!(null)).await, 403, "insufficient_permission");
    ada.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn o01_every_process_reads_everything_again_after_a_restore() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    let (admin, mut ada) = (here.admin().await, here.client("ada").await);
    let path = format!("/v1/users/{}/roles", id_of(&ada.caller()).await);
    admin.put(&path, json!({ "roles": ["admin", "user"] })).await.expect(200);
    ada.refresh().await.expect(200);
    revocations::follow(&there.app).await.unwrap();
    there.bearer(&ada.access).get("/v1/users").await.expect(200);

    // The backup was made before the roles were assigned, so the epoch of its user is lower than the one in memory.
    let tx = here.app.db.write().await.unwrap();
    for statement in ["UPDATE users SET epoch = 0", "DELETE FROM user_roles WHERE role = 'admin'"] {
        tx.execute_unprepared(statement).await.unwrap();
    }
    tx.commit().await.unwrap();
    let ended = generations::begin(&here.app).await.unwrap();
    assert_eq!(ended.sessions, 2);
    here.clock.advance(minutes(1));
    revocations::follow(&there.app).await.unwrap();
    revocations::follow(&here.app).await.unwrap();
    for app in [&here, &there] {
        assert_eq!(app.app.access.revocations.count(), 0);
        let old = app.bearer(&ada.access).get("/v1/me").await;
        assert_problem!(old, 401, "invalid_token"); // its key is revoked
        assert_problem!(app.refresh(&ada.refresh).await, 401, "invalid_refresh_token");
        let new = Client::log_in(app, "ada").await;
        for reader in [&here, &there] {
            reader.bearer(&new.access).get("/v1/me").await.expect(200);
            assert_problem!(reader.bearer(&new.access).get("/v1/users").await, 403, "insufficient_permission");
        }
    }
}

#[tokio::test]
async fn o01_a_server_whose_database_went_back_issues_no_token() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    app.client("bea").await.caller().delete("/v1/me/sessions", json!(null)).await.expect(204);
    revocations::follow(&app.app).await.unwrap();
    let tx = app.app.db.write().await.unwrap();
    let went_back = match tx.get_database_backend() {
        DbBackend::Postgres => "ALTER SEQUENCE revocations_seq_seq RESTART",
        _ => "DELETE FROM sqlite_sequence WHERE name = 'revocations'",
    };
    tx.execute_unprepared("DELETE FROM revocations").await.unwrap();
    tx.execute_unprepared(went_back).await.unwrap();
    tx.commit().await.unwrap();
    for _ in 0..2 {
        assert!(revocations::follow(&app.app).await.is_err());
        assert_problem!(ada.refresh_and_lose().await, 503, "unavailable");
        let body = json!({ "identifier": "ada", "password": PASSWORD });
        assert_problem!(app.anonymous().post("/v1/sessions", body).await, 503, "unavailable");
    }
    generations::begin(&app.app).await.unwrap();
    app.clock.advance(minutes(1));
    revocations::follow(&app.app).await.unwrap();
    assert_problem!(ada.refresh().await, 401, "invalid_refresh_token");
    Client::log_in(&app, "ada").await.caller().get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn o01_a_database_of_an_earlier_generation_went_back_and_only_a_later_one_was_restored() {
    let app = TestApp::start().await;
    let ended = generations::begin(&app.app).await.unwrap();
    app.clock.advance(minutes(1));
    revocations::follow(&app.app).await.unwrap();
    let ada = app.client("ada").await;
    // A backup from before that, which lacks no revocation: `pg_restore` was used once more.
    let tx = app.app.db.write().await.unwrap();
    tx.execute_unprepared("UPDATE installation SET generation = NULL, not_before = NULL").await.unwrap();
    tx.commit().await.unwrap();
    assert!(revocations::follow(&app.app).await.is_err());
    assert_problem!(ada.refresh_and_lose().await, 503, "unavailable");
    assert!(app.app.access.generation.is_later_than(ended.not_before.timestamp() - 1), "older tokens stay refused");

    // The command runs while the clock is an hour ahead, and again when it was set right.
    for ahead in [60, 0] {
        app.clock.set_by(TimeDelta::minutes(ahead));
        generations::begin(&app.app).await.unwrap();
        app.clock.set_by(-TimeDelta::minutes(ahead));
        app.clock.advance(minutes(1));
        revocations::follow(&app.app).await.unwrap();
        assert_problem!(ada.refresh_and_lose().await, 401, "invalid_refresh_token");
    }
    Client::log_in(&app, "ada").await.caller().get("/v1/me").await.expect(200);
}

/// The guard of a replica knows of a restore a moment later than the database, but no change is made in between.
#[tokio::test]
async fn o01_a_replica_that_has_not_read_of_a_restore_changes_nothing_with_tokens_from_before() {
    let sign_with_secret = |settings: &mut Settings| {
        settings.signing.algorithm = Algorithm::Hs256; // no key is revoked, which would refuse the tokens as well
        settings.signing.secret = Some("thirty-two bytes, or a few more, for tests".into());
    };
    let here = TestApp::start_with(sign_with_secret).await;
    let there = here.replica().await;
    let before = here.client("ada").await;
    generations::begin(&here.app).await.unwrap();
    revocations::follow(&here.app).await.unwrap();
    here.clock.advance(minutes(1));
    let change = json!({ "name": "Ada" });
    there.bearer(&before.access).get("/v1/me").await.expect(200);
    assert_problem!(there.bearer(&before.access).patch("/v1/me", change.clone()).await, 401, "session_ended");
    assert_problem!(here.bearer(&before.access).get("/v1/me").await, 401, "session_ended");
    let after = Client::log_in(&here, "ada").await;
    there.bearer(&after.access).patch("/v1/me", change).await.expect(200);
}

#[tokio::test]
async fn o01_beside_a_restore_nobody_receives_a_token_that_would_be_refused() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    here.register("ada").await;
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    let ended = generations::begin(&here.app).await.unwrap();
    revocations::follow(&here.app).await.unwrap();
    // Here the generation has not begun, and there nobody has read of it, so a token would have the old key.
    for app in [&here, &there] {
        let answer = assert_problem!(app.anonymous().post("/v1/sessions", body.clone()).await, 503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    here.clock.advance((ended.not_before - here.app.clock.now()).to_std().unwrap());
    assert_problem!(there.anonymous().post("/v1/sessions", body).await, 503, "unavailable");
    revocations::follow(&there.app).await.unwrap();
    for app in [&here, &there] {
        let new = Client::log_in(app, "ada").await;
        for reader in [&here, &there] {
            reader.bearer(&new.access).get("/v1/me").await.expect(200);
        }
    }
}

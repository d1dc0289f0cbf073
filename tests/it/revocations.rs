//! Revocation: a revoked token is refused from the next request here, and on other replicas once they have read the feed.

use std::time::Duration;

use poem::{Body, Request, http::Method};
use sea_orm::{ActiveValue::Set, EntityTrait, PaginatorTrait};
use serde_json::json;
use vestibule::{
    domain::revocations,
    entity::{revocation, session},
    values::{
        authentication::{Acr, Amr, FactorIds},
        ids::{SessionId, UserId},
    },
};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Caller, clock::minutes},
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

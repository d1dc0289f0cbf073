//! Health, readiness, version and key set of the server, and how it behaves without its database.

use std::time::Duration;

use poem::{Body, http::Method};
use sea_orm::{ConnectionTrait, DbBackend};
use serde_json::json;
use vestibule::live::database::Database;

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp},
};

#[tokio::test]
async fn health_readiness_and_version_are_public() {
    let app = TestApp::start().await;
    for caller in [app.anonymous(), app.bearer("garbage")] {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(caller.get(path).await.expect(200), json!({ "status": "ok" }));
        }
        let version = json!({ "name": "vestibule", "version": env!("CARGO_PKG_VERSION") });
        assert_eq!(caller.get("/version").await.expect(200), version);
    }
    assert_problem!(app.anonymous().post("/healthz", json!({})).await, 405, "method_not_allowed");
}

#[tokio::test]
async fn the_key_set_may_be_cached_and_contains_the_key_that_signs() {
    let app = TestApp::start().await;
    let answer = app.anonymous().get("/.well-known/jwks.json").await;
    assert_eq!(answer.header("content-type"), "application/jwk-set+json");
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    let etag = answer.header("etag").to_owned();
    let keys = answer.expect(200);
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!((&keys[0]["use"], &keys[0]["alg"], keys[0].get("d")), (&json!("sig"), &json!("EdDSA"), None));
    let token = app.user("ada").await.token.unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(keys[0]["kid"], header.kid.unwrap());
    for condition in [etag.as_str(), "*", &format!("\"x\", W/{etag}")] {
        let answer =
            app.anonymous().send(Method::GET, "/.well-known/jwks.json", &[("if-none-match", condition)], Body::empty()).await;
        assert_eq!((answer.header("etag"), answer.header("cache-control")), (etag.as_str(), "public, max-age=300"));
        assert!(answer.expect(304).is_null());
    }
    let stale = [("if-none-match", "\"x\"")];
    app.anonymous().send(Method::GET, "/.well-known/jwks.json", &stale, Body::empty()).await.expect(200);
}

#[tokio::test]
async fn h10_without_a_database_tokens_are_verified_and_other_requests_get_503() {
    let app = TestApp::start().await;
    let (ada, admin) = (app.user("ada").await, app.admin().await);
    app.app.db.close().await;
    let credentials = json!({ "identifier": "ada", "password": PASSWORD });
    let registration = json!({ "email": "grace@example.org", "password": PASSWORD });
    let change = json!({ "current_password": PASSWORD, "new_password": "another horse battery staple" });
    for answer in [
        app.anonymous().get("/readyz").await,
        app.anonymous().post("/v1/accounts", registration).await,
        app.anonymous().post("/v1/sessions", credentials).await,
        ada.get("/v1/me").await,
        ada.patch("/v1/me", json!({ "name": "Ada" })).await,
        ada.put("/v1/me/password", change).await,
        ada.delete("/v1/me", json!({ "current_password": PASSWORD })).await,
        admin.get("/v1/users").await,
        admin.get("/v1/users/0198c5e0-0000-7000-8000-000000000000").await,
    ] {
        let answer = assert_problem!(answer, 503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    app.anonymous().get("/healthz").await.expect(200);
    app.anonymous().get("/version").await.expect(200);
    ada.get("/v1/token").await.expect(200);
    assert_problem!(app.bearer("garbage").get("/v1/me").await, 401, "invalid_token");
    assert_problem!(ada.get("/v1/users").await, 403, "insufficient_permission");
    assert_problem!(admin.get("/v1/users/1").await, 404, "not_found");
}

#[tokio::test]
async fn a_server_that_is_not_ready_names_every_reason() {
    let app = TestApp::start().await;
    let detail = async || app.anonymous().get("/readyz").await.body["detail"].as_str().unwrap().to_owned();
    app.clock.stall(Duration::from_secs(6));
    assert_eq!(detail().await, "Not ready: the revocation data is too old.");
    app.app.db.close().await;
    app.app.stopping.cancel();
    let reasons = "the service is stopping; the database does not respond; the revocation data is too old";
    assert_eq!(detail().await, format!("Not ready: {reasons}."));
}

/// On SQLite only: a writer on PostgreSQL does not lock the whole database.
#[tokio::test]
async fn h10_reads_succeed_while_another_process_holds_the_write_lock() {
    let app = TestApp::start().await;
    if app.app.db.read().get_database_backend() != DbBackend::Sqlite {
        return;
    }
    let (ada, admin) = (app.user("ada").await, app.admin().await);
    let rows = app.rows().await;
    let other = Database::connect(&app.app.settings.database_url()).await.unwrap();
    let lock = other.write_in_background().await.unwrap();

    let limit = Duration::from_secs(2);
    let credentials = json!({ "identifier": "ada", "password": PASSWORD });
    let anonymous = app.anonymous();
    let writes = async {
        tokio::join!(
            anonymous.post("/v1/sessions", credentials.clone()),
            ada.patch("/v1/me", json!({ "name": "Ada" })),
            anonymous.post("/v1/accounts", json!({ "email": "grace@example.org", "password": PASSWORD })),
        )
    };
    let (log_in, patch, register) = tokio::time::timeout(limit, writes).await.expect("writes are rejected within 2 s");
    for answer in [log_in, patch, register] {
        assert_eq!(assert_problem!(answer, 503, "unavailable").header("retry-after"), "1");
    }
    ada.get("/v1/me").await.expect(200);
    admin.get("/v1/users").await.expect(200);
    app.anonymous().get("/healthz").await.expect(200);
    assert_eq!(app.rows().await, rows);

    lock.commit().await.unwrap();
    app.anonymous().post("/v1/sessions", credentials).await.expect(201);
    assert_eq!(ada.patch("/v1/me", json!({ "name": "Ada" })).await.expect(200)["name"], "Ada");
}

//! Revocation of a signing key, on this replica and on others.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use vestibule::{
    domain::{revocations, signing_keys},
    entity::signing_key,
};

use super::{DAY, ada, kid, listed, published, revoke, rotate, statuses};

use crate::{
    assert_problem,
    support::{TestApp, clock::minutes},
};

#[tokio::test]
async fn t12_a_revoked_key_is_refused_at_once_and_on_other_replicas_after_one_poll() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    here.register("ada").await;
    here.clock.advance(minutes(1));
    let (before, admin) = (ada(&here).await, here.admin().await);
    revocations::follow(&there.app).await.unwrap();
    let before_there = there.bearer(before.token.as_deref().unwrap());
    before_there.get("/v1/me").await.expect(200);
    let revoked = kid(&before);

    // The revocation also revokes the administrator's own token. The request still gets its response.
    assert_eq!(kid(&admin), revoked);
    admin.delete(&format!("/v1/signing-keys/{revoked}"), Value::Null).await.expect(204);
    assert_problem!(before.get("/v1/me").await, 401, "invalid_token");
    assert_problem!(admin.get("/v1/me").await, 401, "invalid_token");
    let after = ada(&here).await;
    after.get("/v1/me").await.expect(200);
    assert_ne!(kid(&after), revoked);
    assert_eq!(published(&here).await, [kid(&after)].into());

    before_there.get("/v1/me").await.expect(200);
    revocations::follow(&there.app).await.unwrap();
    assert_problem!(before_there.get("/v1/me").await, 401, "invalid_token");
    there.bearer(after.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
    assert_problem!(here.replica().await.bearer(&before.token.unwrap()).get("/v1/me").await, 401, "invalid_token");

    let event = here.event("key.revoked").await;
    assert_eq!((event.subject_type.as_deref(), event.subject_id), (Some("key"), Some(revoked.clone())));
    assert_eq!(statuses(&here).await, ["active", "revoked"]);
    let row = signing_key::Entity::find_by_id(&revoked).one(here.app.db.read()).await.unwrap().unwrap();
    assert!(row.private_key.is_empty(), "the private key is erased");
    // A second revocation changes nothing, not even the audit trail. A day and an hour later the key is deleted.
    revoke(&here, &revoked).await;
    here.event("key.revoked").await;
    here.clock.advance(minutes(DAY + 61));
    signing_keys::maintain(&here.app).await.unwrap();
    let gone = here.admin().await.delete(&format!("/v1/signing-keys/{revoked}"), Value::Null).await;
    assert_problem!(gone, 404, "not_found");
}

#[tokio::test]
async fn revoking_a_next_or_a_retiring_key_affects_no_other_token() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (first, old) = (ada(&app).await, kid(&ada(&app).await));
    let waiting = rotate(&app).await;
    revoke(&app, &waiting).await;
    assert_eq!(published(&app).await, [old.clone()].into());
    app.clock.advance(minutes(12));
    assert_eq!(kid(&ada(&app).await), old, "the active key still signs");
    let replica = app.replica().await;
    replica.clock.advance(minutes(100));
    assert_eq!(published(&replica).await, [old.clone()].into(), "only the active key is published");

    rotate(&app).await;
    app.clock.advance(minutes(20));
    let retiring = old;
    let (second, new) = (ada(&app).await, kid(&ada(&app).await));
    revoke(&app, &retiring).await;
    assert_problem!(first.get("/v1/me").await, 401, "invalid_token");
    second.get("/v1/me").await.expect(200);
    assert_eq!(kid(&ada(&app).await), new);
}

#[tokio::test]
async fn the_next_key_replaces_a_revoked_active_key() {
    let app = TestApp::start().await;
    app.register("ada").await;
    app.clock.advance(minutes(1));
    let old = kid(&ada(&app).await);
    let waiting = rotate(&app).await;
    revoke(&app, &old).await;
    assert_eq!(kid(&ada(&app).await), waiting, "verifiers may have fetched it already");
    assert_eq!(listed(&app).await, [(waiting, "active".into()), (old, "revoked".into())]);
}

#[tokio::test]
async fn an_unknown_key_id_is_not_found() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for kid in ["unknown", &"k".repeat(65), "a.b", "%2e%2e%2fx", "%27%20OR%201=1", "%00", "%C3%A9"] {
        assert_problem!(admin.delete(&format!("/v1/signing-keys/{kid}"), Value::Null).await, 404, "not_found");
    }
    assert_eq!(statuses(&app).await, ["active"]);
}

#[tokio::test]
async fn an_unknown_kid_causes_no_database_query() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let token = ada(&app).await.token.unwrap();
    let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "unknown" }).to_string());
    let (_, rest) = token.split_once('.').unwrap();
    app.app.db.close().await;
    assert_problem!(app.bearer(&format!("{header}.{rest}")).get("/v1/token").await, 401, "invalid_token");
    app.bearer(&token).get("/v1/token").await.expect(200);
}

#[tokio::test]
async fn an_administrator_who_was_just_demoted_revokes_no_key() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    let keeper = here.holding("keeper", &["keys:rotate"]).await;
    revocations::follow(&there.app).await.unwrap();
    here.admin().await.put("/v1/roles/role-keeper", json!({ "permissions": [] })).await.expect(200);
    let keeper = there.bearer(keeper.token.as_deref().unwrap());
    let path = format!("/v1/signing-keys/{}", kid(&keeper));
    assert_problem!(keeper.delete(&path, Value::Null).await, 403, "insufficient_permission");
    assert_problem!(keeper.post("/v1/signing-keys", Value::Null).await, 403, "insufficient_permission");
    assert_eq!(statuses(&here).await, ["active"]);
}

#[tokio::test]
async fn a_token_of_a_revoked_key_changes_nothing_through_a_replica_that_lags_behind() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    let (ada, thief) = (here.register("ada").await, here.admin().await);
    revoke(&here, &kid(&thief)).await;
    let thief = there.bearer(thief.token.as_deref().unwrap());
    thief.get("/v1/me").await.expect(200);
    assert_problem!(thief.delete(&format!("/v1/users/{ada}"), Value::Null).await, 401, "invalid_token");
    assert_problem!(thief.patch("/v1/me", json!({ "name": "Thief" })).await, 401, "invalid_token");
    here.admin().await.get(&format!("/v1/users/{ada}")).await.expect(200);
}

#[tokio::test]
async fn t12_a_revoked_key_is_refused_even_if_no_key_can_replace_it() {
    let app = TestApp::start().await;
    if app.app.settings.master_key.is_some() {
        return; // the master key is not in a file, so this test cannot change it
    }
    let (admin, other) = (app.admin().await, app.replica().await);
    signing_keys::rewrap(&other.app, None).await.unwrap();
    app.anonymous().get("/readyz").await.expect(200);
    let leaked = kid(&admin);
    admin.delete(&format!("/v1/signing-keys/{leaked}"), Value::Null).await.expect(204);
    assert_problem!(admin.get("/v1/me").await, 401, "invalid_token");
    let answer = assert_problem!(app.anonymous().get("/readyz").await, 503, "unavailable");
    assert!(answer.body["detail"].as_str().unwrap().contains("no active signing key"), "{}", answer.body);
    // After a restart the service creates another key.
    let restarted = app.replica().await;
    signing_keys::maintain(&restarted.app).await.unwrap();
    restarted.admin().await.get("/v1/me").await.expect(200);
}

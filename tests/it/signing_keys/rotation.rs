//! Rotation: the next key is published before it signs, and the previous key stays until its tokens have expired.

use poem::{Body, http::Method};
use rstest::rstest;
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::Value;
use vestibule::{config::Algorithm, domain::signing_keys, entity::signing_key};

use super::{DAY, ada, kid, listed, published, rotate, signing, statuses};

use crate::{
    assert_problem,
    support::{TestApp, clock::minutes},
};

#[rstest]
#[case(Algorithm::EdDsa)]
#[case(Algorithm::Es256)]
#[case(Algorithm::Rs256)]
#[tokio::test]
async fn t12_a_new_key_is_published_before_it_signs_and_an_old_one_kept_until_its_tokens_have_expired(
    #[case] algorithm: Algorithm,
) {
    let app = TestApp::start_with(signing(algorithm)).await;
    app.register("ada").await;
    let old = kid(&ada(&app).await);
    let new = rotate(&app).await;
    assert_ne!(old, new);
    assert_eq!(published(&app).await, [old.clone(), new.clone()].into());

    // Some verifiers may keep a key set for ten minutes that they fetched a moment before.
    for _ in 0..19 {
        app.clock.advance(minutes(1));
        assert_eq!(kid(&ada(&app).await), old);
    }
    let last = ada(&app).await;
    app.clock.advance(minutes(1));
    let first = ada(&app).await;
    assert_eq!(kid(&first), new);
    assert_eq!(listed(&app).await, [(new.clone(), "active".into()), (old.clone(), "retiring".into())]);
    last.get("/v1/me").await.expect(200);
    first.get("/v1/me").await.expect(200);

    app.clock.advance(minutes(60));
    assert_eq!(published(&app).await, [old.clone(), new.clone()].into(), "a token of one hour may still be valid");
    app.clock.advance(minutes(1));
    assert_eq!(published(&app).await, [new.clone()].into());
    assert_eq!(listed(&app).await, [(new.clone(), "active".into())]);
    app.clock.advance(minutes(DAY));
    signing_keys::maintain(&app.app).await.unwrap();
    assert_eq!(signing_key::Entity::find().count(app.app.db.read()).await.unwrap(), 1);
    ada(&app).await.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn t12_the_key_set_is_cached_until_it_changes() {
    let app = TestApp::start().await;
    let tag = async || app.anonymous().get("/.well-known/jwks.json").await.header("etag").to_owned();
    let known = async |tag: &str| {
        app.anonymous().send(Method::GET, "/.well-known/jwks.json", &[("if-none-match", tag)], Body::empty()).await
    };
    let before = tag().await;
    let unchanged = known(&before).await;
    assert_eq!((unchanged.status, unchanged.header("cache-control")), (304, "public, max-age=300"));
    let next = rotate(&app).await;
    known(&before).await.expect(200);
    let both = tag().await;
    known(&both).await.expect(304);
    app.clock.advance(minutes(20));
    known(&both).await.expect(304);
    assert_eq!(app.replica().await.anonymous().get("/.well-known/jwks.json").await.header("etag"), both);
    app.clock.advance(minutes(61));
    known(&both).await.expect(200);
    assert_eq!(published(&app).await, [next].into());
}

#[tokio::test]
async fn only_one_next_key_exists_at_a_time() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let key = admin.post("/v1/signing-keys", Value::Null).await.expect(201);
    assert_eq!(key["created_at"], "2026-01-01T00:00:00.000000Z");
    assert_eq!(key["activates_at"], "2026-01-01T00:20:00.000000Z");
    assert!(key.get("retires_at").is_none());
    assert_problem!(admin.post("/v1/signing-keys", Value::Null).await, 409, "rotation_pending");
    let retires_at = &admin.get("/v1/signing-keys").await.expect(200)["items"][1]["retires_at"];
    assert_eq!(*retires_at, "2026-01-01T01:21:00.000000Z");
    app.clock.advance(minutes(20));
    rotate(&app).await;
    assert_eq!(statuses(&app).await, ["next", "active", "retiring"]);
}

#[tokio::test]
async fn t12_an_old_key_is_rotated_automatically_by_one_replica_alone() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    here.register("ada").await;
    let old = kid(&ada(&here).await);
    here.clock.advance(minutes(90 * DAY - 1));
    signing_keys::maintain(&here.app).await.unwrap();
    assert_eq!(statuses(&here).await, ["active"]);
    here.clock.advance(minutes(1));

    let turns = [&here, &there, &here, &there].map(|app| signing_keys::maintain(&app.app));
    for turn in futures_util::future::join_all(turns).await {
        turn.unwrap();
    }
    assert_eq!(statuses(&here).await, ["next", "active"]);
    assert_eq!(published(&here).await, published(&there).await);
    assert_eq!((kid(&ada(&here).await), here.event("key.rotated").await.actor_id), (old.clone(), None));
    here.clock.advance(minutes(20));
    for app in [&here, &there] {
        signing_keys::maintain(&app.app).await.unwrap();
        assert_ne!(kid(&ada(app).await), old, "the switch needs no background task");
    }
    assert_eq!(statuses(&here).await, ["active", "retiring"]);
}

#[tokio::test]
async fn a_restart_during_a_rotation_continues_it() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (before, next) = (ada(&app).await, rotate(&app).await);
    app.clock.advance(minutes(10));
    let restarted = app.replica().await;
    signing_keys::maintain(&restarted.app).await.unwrap();
    assert_eq!(kid(&ada(&restarted).await), kid(&before));
    let before = ada(&app).await;
    restarted.clock.advance(minutes(10));
    assert_eq!(kid(&ada(&restarted).await), next);
    restarted.bearer(before.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
    let restarted = app.replica().await;
    assert_eq!(kid(&ada(&restarted).await), next);
    restarted.bearer(before.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
}

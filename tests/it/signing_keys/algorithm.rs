//! Changes of the signing algorithm in the settings.

use serde_json::{Value, json};
use vestibule::{
    config::Algorithm,
    domain::{revocations, signing_keys},
};

use super::{ada, kid, listed, published, rotate, signing, statuses};

use crate::{
    assert_problem,
    support::{TestApp, clock::minutes},
};

#[tokio::test]
async fn another_algorithm_begins_with_a_key_that_verifiers_know() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let before = ada(&app).await;
    let restarted = app.replica_with(signing(Algorithm::Es256)).await;
    signing_keys::maintain(&restarted.app).await.unwrap();
    assert_eq!((kid(&ada(&restarted).await), published(&restarted).await.len()), (kid(&before), 2));
    signing_keys::maintain(&restarted.app).await.unwrap();
    restarted.clock.advance(minutes(10));
    let before = ada(&app).await;
    restarted.clock.advance(minutes(10));
    let after = ada(&restarted).await;
    assert_ne!(kid(&after), kid(&before));
    let keys = restarted.admin().await.get("/v1/signing-keys").await.expect(200);
    let algorithms: Vec<_> = keys["items"].as_array().unwrap().iter().map(|key| key["algorithm"].as_str().unwrap()).collect();
    assert_eq!(algorithms, ["ES256", "EdDSA"]);
    // A replica that was started with the other setting accepts the new key as soon as it has read the feed.
    revocations::follow(&app.app).await.unwrap();
    app.bearer(after.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
    restarted.bearer(before.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn an_algorithm_set_by_mistake_can_be_reverted_before_it_signs() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let before = ada(&app).await;
    let mistaken = app.replica_with(signing(Algorithm::Es256)).await;
    signing_keys::maintain(&mistaken.app).await.unwrap();
    app.clock.advance(minutes(10));
    let corrected = app.replica_with(signing(Algorithm::EdDsa)).await;
    signing_keys::maintain(&corrected.app).await.unwrap();
    assert_eq!(statuses(&corrected).await, ["next", "active"]);
    corrected.clock.advance(minutes(10));
    assert_eq!(kid(&ada(&corrected).await), kid(&before));
    corrected.clock.advance(minutes(10));
    let keys = corrected.admin().await.get("/v1/signing-keys").await.expect(200);
    assert_eq!((&keys["items"][0]["algorithm"], &keys["items"][0]["status"]), (&json!("EdDSA"), &json!("active")));
    // A key that is about to sign stays, because a replica whose clock is ahead already signs with it.
    signing_keys::maintain(&mistaken.app).await.unwrap();
    corrected.clock.advance(minutes(19));
    signing_keys::maintain(&corrected.app).await.unwrap();
    corrected.clock.advance(minutes(1));
    let keys = corrected.admin().await.get("/v1/signing-keys").await.expect(200);
    assert_eq!((&keys["items"][0]["algorithm"], &keys["items"][0]["status"]), (&json!("ES256"), &json!("active")));
}

#[tokio::test]
async fn a_shared_secret_is_neither_listed_nor_rotated() {
    let app = TestApp::start_with(signing(Algorithm::Hs256)).await;
    let admin = app.admin().await;
    let own = kid(&admin);
    assert_eq!((statuses(&app).await.len(), published(&app).await.len()), (0, 0));
    let refused = assert_problem!(admin.post("/v1/signing-keys", Value::Null).await, 409, "rotation_pending");
    assert_eq!(refused.body["detail"], "Tokens are signed with signing.secret. Only an operator can change it, in the settings.");
    assert_problem!(admin.delete(&format!("/v1/signing-keys/{own}"), Value::Null).await, 404, "not_found");
    admin.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn tokens_of_earlier_keys_stay_valid_after_a_switch_to_a_shared_secret() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (before, waiting) = (ada(&app).await, rotate(&app).await);
    let shared = app.replica_with(signing(Algorithm::Hs256)).await;
    signing_keys::maintain(&shared.app).await.unwrap();
    let after = ada(&shared).await;
    assert_ne!(kid(&after), kid(&before));
    after.get("/v1/me").await.expect(200);
    shared.bearer(before.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
    shared.clock.advance(minutes(20));
    assert_eq!(listed(&shared).await[0], (waiting, "retiring".into()));
    shared.clock.advance(minutes(61));
    signing_keys::maintain(&shared.app).await.unwrap();
    assert_eq!(published(&shared).await, [].into());

    // After the switch back no earlier key is left, so a new one signs at once.
    let back = app.replica().await;
    signing_keys::maintain(&back.app).await.unwrap();
    ada(&back).await.get("/v1/me").await.expect(200);
    assert_problem!(back.bearer(after.token.as_deref().unwrap()).get("/v1/me").await, 401, "invalid_token");
}

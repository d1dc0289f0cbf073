//! Signing keys are sealed under the master key.

use sea_orm::{ActiveModelTrait, ActiveValue::Set, EntityTrait, IntoActiveModel};
use serde_json::Value;
use vestibule::{
    config,
    domain::{revocations, signing_keys},
    entity::signing_key,
    live::seal::{Purpose, Sealer},
};

use super::{ada, published, rotate, statuses};

use crate::{
    assert_problem,
    support::{TestApp, clock::minutes},
};

#[tokio::test]
async fn after_a_master_key_change_a_running_server_serves_but_creates_no_key() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let before = ada(&app).await;
    let new = || Some(config::parse_master_key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap());
    signing_keys::rewrap(&app.app, new()).await.unwrap();
    revocations::follow(&app.app).await.unwrap();
    ada(&app).await.get("/v1/me").await.expect(200);
    before.get("/v1/me").await.expect(200);
    let admin = app.admin().await;
    assert_problem!(admin.post("/v1/signing-keys", Value::Null).await, 500, "internal");
    assert_eq!(statuses(&app).await, ["active"], "nothing was sealed under the old master key");
    assert!(signing_keys::maintain(&app.app).await.is_err(), "every run reports the error");

    // A process with the new master key creates a key. The running server learns of it, cannot open it, and logs that.
    let restarted = app.replica_with(|settings| {
        settings.master_key = Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into());
    });
    let restarted = restarted.await;
    rotate(&restarted).await;
    revocations::follow(&app.app).await.unwrap();
    before.get("/v1/me").await.expect(200);
    assert_eq!((published(&app).await.len(), published(&restarted).await.len()), (1, 2));
    restarted.clock.advance(minutes(20));
    ada(&restarted).await.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_signing_key_that_does_not_open_stops_the_start() {
    let app = TestApp::start().await;
    let tx = app.app.db.write().await.unwrap();
    let row = signing_key::Entity::find().one(&tx).await.unwrap().unwrap();
    let mut row = row.into_active_model();
    row.private_key = Set(Sealer::new(&[7; 32]).seal(Purpose::SigningKey, "another", b"key"));
    row.update(&tx).await.unwrap();
    tx.commit().await.unwrap();
    let settings = app.app.settings.clone();
    let failed = vestibule::app::App::open(settings, app.clock.clone()).await.err().unwrap();
    assert!(failed.to_string().contains("but not the signing key"), "{failed}");
}

#[tokio::test]
async fn a_concurrent_second_change_of_the_master_key_is_refused_before_it_touches_a_file() {
    let first = TestApp::start().await;
    let second = first.replica().await;
    if first.app.settings.master_key.is_some() {
        return; // the master key is not in a file
    }
    let file = signing_keys::rewrap(&first.app, None).await.unwrap().unwrap();
    std::fs::remove_file(file.old_path()).unwrap();
    let held = std::fs::read(file.path()).unwrap();
    assert!(signing_keys::rewrap(&second.app, None).await.is_err());
    assert_eq!(std::fs::read(file.path()).unwrap(), held);
    assert!(!file.path().with_extension("key.new").exists());
    first.replica().await.admin().await.get("/v1/me").await.expect(200);
}

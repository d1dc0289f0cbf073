//! Signing keys: a rotation disturbs no caller, and no replica accepts a revoked key (row T12).

mod algorithm;
mod master_key;
mod revocation;
mod rotation;

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use vestibule::config::{Algorithm, Settings};

use crate::support::{PASSWORD, TestApp, caller::Caller};

const DAY: u64 = 24 * 60;

/// Returns the id of the key that signed a caller's token.
fn kid(caller: &Caller<'_>) -> String {
    let header = caller.token.as_deref().unwrap().split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

async fn published(app: &TestApp) -> BTreeSet<String> {
    let set = app.anonymous().get("/.well-known/jwks.json").await.expect(200);
    let kids: Vec<_> = set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    let unique: BTreeSet<_> = kids.iter().cloned().collect();
    assert_eq!(unique.len(), kids.len(), "a kid is published twice: {kids:?}");
    unique
}

/// Returns the id and the status of each key that an administrator sees.
async fn listed(app: &TestApp) -> Vec<(String, String)> {
    let page = app.admin().await.get("/v1/signing-keys").await.expect(200);
    let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(|key| (text(key, "kid"), text(key, "status"))).collect()
}

async fn statuses(app: &TestApp) -> Vec<String> {
    listed(app).await.into_iter().map(|(_, status)| status).collect()
}

async fn rotate(app: &TestApp) -> String {
    let key = app.admin().await.post("/v1/signing-keys", Value::Null).await.expect(201);
    assert_eq!(key["status"], "next");
    key["kid"].as_str().unwrap().to_owned()
}

async fn revoke(app: &TestApp, kid: &str) {
    app.admin().await.delete(&format!("/v1/signing-keys/{kid}"), Value::Null).await.expect(204);
}

async fn ada(app: &TestApp) -> Caller<'_> {
    app.anonymous().log_in("ada", PASSWORD).await
}

fn signing(algorithm: Algorithm) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.signing.algorithm = algorithm;
        settings.signing.secret = (algorithm == Algorithm::Hs256).then(|| "thirty-two bytes, or a few more, for tests".into());
    }
}

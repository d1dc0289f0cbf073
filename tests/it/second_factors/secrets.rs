//! The secrets of second factors are shown once, and no other response and no copy of the database contains them (row F05).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use vestibule::values::{
    ceremony::CeremonyText, challenge::Challenge, passkey_credential::PasskeyCredential, recovery_code::RecoveryCode,
    totp_code::TotpCode,
};

use crate::{
    assert_problem,
    stolen::{dump, values},
    support::{
        PASSWORD, TestApp,
        authenticator::{Authenticator, confirm, texts},
    },
};

#[tokio::test]
async fn f05_secrets_are_shown_once_and_no_copy_of_the_database_has_them() {
    let app = TestApp::start().await;
    let id = app.create("ada").await;
    let secrets = {
        let ada = app.anonymous().log_in("ada", PASSWORD).await;
        let started = ada.post("/v1/me/factors/totp", json!({})).await.expect(201);
        let authenticator = Authenticator::scan(&app, &started);
        let wrong = confirm(&ada, &authenticator, &authenticator.wrong_code()).await;
        let enrolled = confirm(&ada, &authenticator, &authenticator.code()).await.expect(200);
        let codes = texts(&enrolled["recovery_codes"]);
        let ada = app.bearer(enrolled["tokens"]["access_token"].as_str().unwrap());
        let asked = app.log_in("ada").await;
        let challenge = asked.body["challenge"].as_str().unwrap().to_owned();
        let refused = app.complete(&challenge, &json!({ "kind": "recovery_code", "code": "0000-0000-0000-0000" })).await;
        let completed = app.complete(&challenge, &json!({ "kind": "recovery_code", "code": codes[0] })).await;
        let admin = app.admin().await;
        let mut shown = String::new();
        for answer in [
            wrong,
            refused,
            completed,
            ada.get("/v1/me/factors").await,
            ada.get("/v1/me").await,
            admin.get(&format!("/v1/users/{id}/factors")).await,
            admin.get("/v1/audit-events?limit=100").await,
            admin.get("/v1/mails?limit=100").await,
        ] {
            shown += &answer.body.to_string();
        }
        for mail in app.mails().await {
            shown += &mail.text;
        }
        let mut secrets = vec![authenticator.secret.clone(), challenge.clone(), challenge[4..].to_owned()];
        secrets.extend(codes.iter().map(|code| code.replace('-', "")));
        secrets.extend(codes);
        for secret in &secrets {
            assert!(!shown.contains(secret), "{secret}");
        }
        secrets
    };
    let dump = dump(&app).await;
    let contains = |bytes: &[u8]| dump.windows(bytes.len()).any(|window| window == bytes);
    assert!(contains(b"ada@example.org") && contains(b"Authenticator app"), "the dump is complete");
    let raw = totp_rs::Secret::try_from_base32(&secrets[0]).unwrap();
    assert!(!contains(raw.as_bytes()), "the secret in bytes");
    for secret in &secrets {
        assert!(!contains(secret.as_bytes()), "{secret}");
    }
}

#[test]
fn f05_no_debug_text_contains_a_secret() {
    let (code, ceremony) = ("4F7K-2M9P-XW3B-R8TQ", format!("vp1.{}", "q3Zk".repeat(20)));
    let challenge = format!("vc1.{}", URL_SAFE_NO_PAD.encode([7; 32]));
    let credential = json!({ "id": "q3Zk0mWb", "response": { "userHandle": "q3Zk0mWb" } });
    for (shown, secret) in [
        (format!("{:?}", "287082".parse::<TotpCode>().unwrap()), "287082"),
        (format!("{:?}", code.parse::<RecoveryCode>().unwrap()), "4F7K"),
        (format!("{:?}", challenge.parse::<Challenge>().unwrap()), &challenge[4..20]),
        (format!("{:?}", ceremony.parse::<CeremonyText>().unwrap()), "q3Zkq3Zkq3Zk"),
        (format!("{:?}", PasskeyCredential(credential.as_object().unwrap().clone())), "q3Zk0mWb"),
    ] {
        assert!(!shown.contains(secret) && shown.len() < 60, "{shown}");
    }
}

#[tokio::test]
async fn f05_no_value_of_the_database_serves_as_a_challenge() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let challenge = app.challenge("ada").await;
    let values = values(&app).await;
    assert!(values.len() > 100, "only {} values were found", values.len());
    for value in values {
        let stolen = format!("vc1.{}", URL_SAFE_NO_PAD.encode(value));
        assert_problem!(app.complete(&stolen, &owner.authenticator.factor()).await, 401, "invalid_challenge");
    }
    app.complete(&challenge, &owner.authenticator.factor()).await.expect(201);
}

//! Passkeys: made and used by a device in software, through the public interface. They log in without a name and without a
//! password, and are refused if anything about them is wrong.

use std::time::Duration;

use poem::{Body, http::Method};
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};
use vestibule::{
    config::{MailTransport, Settings},
    domain::passkeys,
    entity::redeemed_ceremony,
    values::second_factor_policy::SecondFactorPolicy,
};

use crate::{
    assert_problem,
    cookies::{self, cookie},
    stolen::dump,
    support::{
        PASSWORD, TestApp,
        caller::{Answer, Caller},
        clock::minutes,
        passkey_device::PasskeyDevice,
    },
    throttle::{ELSEWHERE, HOME, send},
};

/// The origin of the pages on which passkeys are made and used.
pub const ORIGIN: &str = "https://id.example.org";

impl TestApp {
    /// Starts an app that browsers reach at [`ORIGIN`].
    pub async fn with_passkeys() -> Self {
        Self::start_with(at(ORIGIN)).await
    }

    /// Begins a log-in by passkey, and returns the ceremony and the options.
    pub async fn begin_log_in(&self) -> (Value, Value) {
        begun(self.anonymous().post("/v1/passkeys/options", json!({})).await)
    }

    /// Logs in with a passkey of this device, as a page of [`ORIGIN`] does.
    pub async fn log_in_by(&self, device: &mut PasskeyDevice) -> Answer {
        let (ceremony, options) = self.begin_log_in().await;
        let credential = device.sign(ORIGIN, &options).await;
        self.present(&ceremony, &credential).await
    }

    /// Presents what a passkey has signed in a ceremony.
    pub async fn present(&self, ceremony: &Value, credential: &Value) -> Answer {
        self.anonymous().post("/v1/sessions/passkey", json!({ "ceremony": ceremony, "credential": credential })).await
    }
}

/// Lets browsers reach the service at `origin`.
pub fn at(origin: &'static str) -> impl FnOnce(&mut Settings) {
    move |settings| settings.server.public_url = Some(origin.parse().unwrap())
}

/// Returns the ceremony and the options in a response.
#[track_caller]
pub fn begun(answer: Answer) -> (Value, Value) {
    let body = answer.expect(200);
    (body["ceremony"].clone(), body["options"].clone())
}

/// Adds a passkey to the caller's account, and returns the reply.
pub async fn enrol(caller: &Caller<'_>, device: &mut PasskeyDevice) -> Value {
    let (ceremony, options) = begun(caller.post("/v1/me/factors/passkey/options", json!({})).await);
    let credential = device.make(ORIGIN, &options).await;
    caller.post("/v1/me/factors/passkey", json!({ "ceremony": ceremony, "credential": credential })).await.expect(201)
}

#[tokio::test]
async fn a_passkey_logs_in_without_a_name_and_without_a_password() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    let added = enrol(&ada, &mut phone).await;
    assert_eq!((&added["factor"]["kind"], added["recovery_codes"].as_array().map(Vec::len)), (&json!("passkey"), Some(10)));
    let tokens = app.log_in_by(&mut phone).await.expect(201);
    let caller = app.bearer(tokens["access_token"].as_str().unwrap());
    assert_eq!(caller.get("/v1/me").await.expect(200)["username"], "ada");
    let token = caller.get("/v1/token").await.expect(200);
    assert_eq!((&token["acr"], &token["amr"]), (&json!("2"), &json!(["pop", "user", "mfa"])));
}

#[tokio::test]
async fn in_cookie_mode_a_page_of_this_service_alone_logs_in_and_gets_no_refresh_token() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    enrol(&ada, &mut phone).await;
    let (ceremony, options) = app.begin_log_in().await;
    let credential = phone.sign(ORIGIN, &options).await;
    let body = json!({ "ceremony": ceremony, "credential": credential, "transport": "cookie" }).to_string();
    let send = |site: &'static str| {
        let (anonymous, body) = (app.anonymous(), Body::from_string(body.clone()));
        async move {
            let headers = [("content-type", "application/json"), ("sec-fetch-site", site)];
            anonymous.send(Method::POST, "/v1/sessions/passkey", &headers, body).await
        }
    };
    assert_problem!(send("cross-site").await, 403, "csrf_rejected");
    let answer = send("same-origin").await;
    assert_eq!(cookie(&answer).0, cookies::NAME);
    assert!(answer.expect(201).get("refresh_token").is_none());
}

#[tokio::test]
async fn the_options_reveal_neither_the_account_nor_who_asks() {
    let app = TestApp::with_passkeys().await;
    let ada = app.user("ada").await;
    let (_, making) = begun(ada.post("/v1/me/factors/passkey/options", json!({})).await);
    let id = ada.get("/v1/me").await.expect(200)["id"].clone();
    assert_eq!(
        (&making["rp"], &making["user"]["name"]),
        (&json!({ "name": "id.example.org", "id": "id.example.org" }), &json!("ada"))
    );
    assert_eq!(making["authenticatorSelection"]["residentKey"], "preferred");
    assert_eq!(making["authenticatorSelection"]["userVerification"], "required");
    let handle = uuid(&making["user"]["id"]);
    assert_eq!((handle.get_version_num(), handle.get_variant()), (4, uuid::Variant::RFC4122));
    assert_ne!(handle.to_string(), id.as_str().unwrap());
    let (_, again) = begun(ada.post("/v1/me/factors/passkey/options", json!({})).await);
    assert_eq!(again["user"]["id"], making["user"]["id"], "authenticators replace the passkey of the same account");
    // Nor does it change with a restart or with the keys that sign tokens.
    app.admin().await.post("/v1/signing-keys", Value::Null).await.expect(201);
    let restarted = app.replica().await;
    let ada_again = restarted.bearer(ada.token.as_deref().unwrap());
    let (_, later) = begun(ada_again.post("/v1/me/factors/passkey/options", json!({})).await);
    assert_eq!(later["user"]["id"], making["user"]["id"]);
    let (_, of_another) = begun(app.user("eve").await.post("/v1/me/factors/passkey/options", json!({})).await);
    assert_ne!(of_another["user"]["id"], making["user"]["id"]);
    let (_, logging_in) = app.begin_log_in().await;
    assert_eq!((&logging_in["rpId"], &logging_in["allowCredentials"]), (&json!("id.example.org"), &json!([])));
    assert_eq!(logging_in["userVerification"], "required");
}

fn uuid(base64url: &Value) -> uuid::Uuid {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    uuid::Uuid::from_slice(&URL_SAFE_NO_PAD.decode(base64url.as_str().unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_ceremony_expires() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    enrol(&ada, &mut phone).await;
    let (ceremony, options) = app.begin_log_in().await;
    let credential = phone.sign(ORIGIN, &options).await;
    app.clock.advance(minutes(10));
    assert_problem!(app.present(&ceremony, &credential).await, 401, "invalid_challenge");
}

#[tokio::test]
async fn a_ceremony_that_was_altered_or_made_elsewhere_is_refused() {
    let (app, other) = (TestApp::with_passkeys().await, TestApp::with_passkeys().await);
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    enrol(&ada, &mut phone).await;
    let (ceremony, options) = app.begin_log_in().await;
    let credential = phone.sign(ORIGIN, &options).await;
    let text = ceremony.as_str().unwrap();
    for at in 4..text.len() - 1 {
        let with = if &text[at..=at] == "A" { "B" } else { "A" };
        let altered = json!(format!("{}{with}{}", &text[..at], &text[at + 1..]));
        assert_problem!(app.present(&altered, &credential).await, 401, "invalid_challenge");
    }
    let (foreign, options) = other.begin_log_in().await;
    let credential = phone.sign(ORIGIN, &options).await;
    assert_problem!(app.present(&foreign, &credential).await, 401, "invalid_challenge");
}

#[tokio::test]
async fn a_signature_counts_only_for_its_own_challenge() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    enrol(&ada, &mut phone).await;
    let (_, options) = app.begin_log_in().await;
    let credential = phone.sign(ORIGIN, &options).await;
    let (ceremony, _) = app.begin_log_in().await;
    assert_problem!(app.present(&ceremony, &credential).await, 401, "invalid_passkey");
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_log_in() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    enrol(&ada, &mut phone).await;
    // A browser offers the passkey to pages of subdomains, too.
    for origin in ["https://evil.id.example.org", "https://id.example.org:8443"] {
        let (ceremony, options) = app.begin_log_in().await;
        let credential = phone.sign(origin, &options).await;
        assert_problem!(app.present(&ceremony, &credential).await, 401, "invalid_passkey");
    }
    let (_, options) = app.begin_log_in().await;
    assert!(phone.try_sign("https://example.com", &options).await.is_err(), "the browser keeps the passkey to its host");
}

#[tokio::test]
async fn a_passkey_that_was_made_for_another_host_is_refused() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    let (ceremony, mut options) = begun(ada.post("/v1/me/factors/passkey/options", json!({})).await);
    options["rp"]["id"] = "evil.example.com".into();
    let credential = phone.make("https://evil.example.com", &options).await;
    let answer = ada.post("/v1/me/factors/passkey", json!({ "ceremony": ceremony, "credential": credential })).await;
    assert_eq!(assert_problem!(answer, 422, "validation_failed").faults(), [("/credential", "invalid_passkey")]);
}

#[tokio::test]
async fn an_authenticator_that_did_not_verify_its_user_is_refused() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut key) = (app.user("ada").await, PasskeyDevice::default());
    let (ceremony, mut options) = begun(ada.post("/v1/me/factors/passkey/options", json!({})).await);
    options["authenticatorSelection"]["userVerification"] = "discouraged".into();
    let credential = key.make(ORIGIN, &options).await;
    let answer = ada.post("/v1/me/factors/passkey", json!({ "ceremony": ceremony, "credential": credential })).await;
    assert_eq!(assert_problem!(answer, 422, "validation_failed").faults(), [("/credential", "invalid_passkey")]);

    enrol(&ada, &mut key).await;
    let (ceremony, mut options) = app.begin_log_in().await;
    options["userVerification"] = "discouraged".into();
    let credential = key.sign(ORIGIN, &options).await;
    assert_problem!(app.present(&ceremony, &credential).await, 401, "invalid_passkey");
}

#[tokio::test]
async fn a_copy_of_a_passkey_is_noticed_by_its_counter() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut key) = (app.user("ada").await, PasskeyDevice::counting());
    enrol(&ada, &mut key).await;
    let mut copy = key.clone();
    app.log_in_by(&mut key).await.expect(201);
    app.log_in_by(&mut key).await.expect(201);
    let refused = assert_problem!(app.log_in_by(&mut copy).await, 401, "invalid_passkey");
    assert!(refused.body["detail"].as_str().unwrap().contains("copy"), "{:#}", refused.body);
    assert_eq!(app.event("factor.passkey_refused").await.subject_name.as_deref(), Some("ada"));
    app.log_in_by(&mut key).await.expect(201);
}

#[tokio::test]
async fn a_passkey_belongs_to_one_account() {
    let app = TestApp::with_passkeys().await;
    let (ada, eve, mut phone) = (app.user("ada").await, app.user("eve").await, PasskeyDevice::default());
    let (ceremony, options) = begun(ada.post("/v1/me/factors/passkey/options", json!({})).await);
    let credential = phone.make(ORIGIN, &options).await;
    let body = json!({ "ceremony": ceremony, "credential": credential });
    let answer = eve.post("/v1/me/factors/passkey", body.clone()).await;
    assert_eq!(assert_problem!(answer, 422, "validation_failed").faults(), [("/ceremony", "invalid_challenge")]);
    ada.post("/v1/me/factors/passkey", body).await.expect(201);
    // An attestation of the kind `none` is not signed, so anybody can make one for the passkey of another account.
    let (ceremony, options) = begun(eve.post("/v1/me/factors/passkey/options", json!({})).await);
    let copied = for_challenge(&credential, &options["challenge"]);
    let answer = eve.post("/v1/me/factors/passkey", json!({ "ceremony": ceremony, "credential": copied })).await;
    assert_eq!(assert_problem!(answer, 422, "validation_failed").faults(), [("/credential", "already_registered")]);
}

/// Returns what was made or signed for one challenge, as if it were for another.
fn for_challenge(credential: &Value, challenge: &Value) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut copy = credential.clone();
    let text = URL_SAFE_NO_PAD.decode(copy["response"]["clientDataJSON"].as_str().unwrap()).unwrap();
    let mut client_data: Value = serde_json::from_slice(&text).unwrap();
    client_data["challenge"] = challenge.clone();
    copy["response"]["clientDataJSON"] = URL_SAFE_NO_PAD.encode(client_data.to_string()).into();
    copy
}

#[tokio::test]
async fn only_a_passkey_that_is_gone_is_unknown() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    let added = enrol(&ada, &mut phone).await;
    let caller = app.bearer(added["tokens"]["access_token"].as_str().unwrap());
    caller.delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204);
    assert_problem!(app.log_in_by(&mut phone).await, 401, "unknown_passkey");
    let redeemed = redeemed_ceremony::Entity::find().count(app.app.db.read()).await.unwrap();
    assert_eq!(redeemed, 1, "a stranger writes nothing");
}

/// Returns the factor with what a passkey has signed in a ceremony.
pub fn passkey(ceremony: &Value, credential: &Value) -> Value {
    json!({ "kind": "passkey", "ceremony": ceremony, "credential": credential })
}

/// Proves the caller's presence with what a passkey has signed.
async fn prove(caller: &Caller<'_>, ceremony: &Value, credential: &Value) -> Answer {
    let factor = passkey(ceremony, credential);
    caller.post("/v1/me/authentication", json!({ "factor": factor })).await
}

#[tokio::test]
async fn a_ceremony_serves_only_the_purpose_and_the_account_for_which_it_was_begun() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    let (eve, mut other) = (app.user("eve").await, PasskeyDevice::default());
    let ada = app.bearer(enrol(&ada, &mut phone).await["tokens"]["access_token"].as_str().unwrap());
    let eve = app.bearer(enrol(&eve, &mut other).await["tokens"]["access_token"].as_str().unwrap());
    // From a log-in, without an account.
    let (ceremony, options) = app.begin_log_in().await;
    let credential = phone.sign(ORIGIN, &options).await;
    assert_problem!(prove(&ada, &ceremony, &credential).await, 401, "wrong_factor");
    // From a proof.
    let (ceremony, options) = begun(ada.post("/v1/me/authentication/options", json!({})).await);
    let credential = phone.sign(ORIGIN, &options).await;
    assert_problem!(app.present(&ceremony, &credential).await, 401, "invalid_challenge");
    assert_problem!(prove(&eve, &ceremony, &credential).await, 401, "wrong_factor");
    prove(&ada, &ceremony, &credential).await.expect(200);
    // Another account's passkey in one's own ceremony.
    let (ceremony, mut options) = begun(ada.post("/v1/me/authentication/options", json!({})).await);
    assert!(other.try_sign(ORIGIN, &options).await.is_err(), "the options name the passkeys of the account");
    options["allowCredentials"] = json!([]);
    let credential = other.sign(ORIGIN, &options).await;
    assert_problem!(prove(&ada, &ceremony, &credential).await, 401, "wrong_factor");
}

#[tokio::test]
async fn a_passkey_is_the_second_factor_of_a_password() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    enrol(&ada, &mut phone).await;
    // A security key that stores no passkeys: the options name them.
    phone.forget_users();
    let anonymous = app.anonymous();
    let log_in = json!({ "identifier": "ada", "password": PASSWORD });
    let asked = assert_problem!(anonymous.post("/v1/sessions", log_in).await, 401, "second_factor_required");
    assert_eq!(asked.body["factors"], json!(["passkey", "recovery_code"]));
    let challenge = &asked.body["challenge"];
    let (ceremony, options) = begun(anonymous.post("/v1/passkeys/options", json!({ "challenge": challenge })).await);
    let credential = phone.sign(ORIGIN, &options).await;
    let factor = passkey(&ceremony, &credential);
    let complete = json!({ "challenge": challenge, "factor": factor });
    let tokens = anonymous.post("/v1/sessions/second-factor", complete.clone()).await.expect(201);
    let token = app.bearer(tokens["access_token"].as_str().unwrap()).get("/v1/token").await.expect(200);
    assert_eq!((&token["acr"], &token["amr"]), (&json!("2"), &json!(["pwd", "pop", "user", "mfa"])));
    assert_problem!(anonymous.post("/v1/sessions/second-factor", complete).await, 401, "invalid_challenge");
    let used = json!({ "challenge": challenge });
    assert_problem!(anonymous.post("/v1/passkeys/options", used).await, 401, "invalid_challenge");
}

#[tokio::test]
async fn nobody_waits_for_a_passkey_because_nobody_can_guess_it() {
    let app = TestApp::start_with(|settings| {
        at(ORIGIN)(settings);
        settings.mail.transport = Some(MailTransport::File);
        settings.throttle.enabled = true;
    })
    .await;
    app.create("ada").await;
    let (ada, mut phone) = (app.anonymous().log_in("ada", PASSWORD).await, PasskeyDevice::default());
    enrol(&ada, &mut phone).await;
    let challenge = app.challenge("ada").await;
    let begin = async || begun(app.anonymous().post("/v1/passkeys/options", json!({ "challenge": challenge })).await);
    let (stale, _) = begin().await;
    for _ in 0..9 {
        let (_, options) = begin().await;
        let credential = phone.sign(ORIGIN, &options).await;
        assert_problem!(app.complete(&challenge, &passkey(&stale, &credential)).await, 401, "wrong_factor");
    }
    let (ceremony, options) = begin().await;
    let credential = phone.sign(ORIGIN, &options).await;
    app.complete(&challenge, &passkey(&ceremony, &credential)).await.expect(201);
    let told: Vec<_> = app.mails().await.into_iter().map(|mail| mail.kind).collect();
    assert!(!told.contains(&"factor_refused".to_owned()), "{told:?}");
}

#[tokio::test]
async fn f02_under_every_policy_a_passkey_is_two_factors_and_a_password_beside_it_is_none() {
    let lenient = TestApp::with_passkeys().await;
    let (ada, mut phone) = (lenient.holding("ada", &["users:read"]).await, PasskeyDevice::default());
    enrol(&ada, &mut phone).await;
    for policy in [SecondFactorPolicy::None, SecondFactorPolicy::Administrators, SecondFactorPolicy::Everyone] {
        let app = lenient.replica_with(|settings| settings.second_factor.require = policy).await;
        let log_in = json!({ "identifier": "ada", "password": PASSWORD });
        let asked = assert_problem!(app.anonymous().post("/v1/sessions", log_in).await, 401, "second_factor_required");
        let challenge = &asked.body["challenge"];
        let (ceremony, options) = begun(app.anonymous().post("/v1/passkeys/options", json!({ "challenge": challenge })).await);
        let credential = phone.sign(ORIGIN, &options).await;
        let factor = passkey(&ceremony, &credential);
        let body = json!({ "challenge": challenge, "factor": factor });
        let beside = app.anonymous().post("/v1/sessions/second-factor", body).await.expect(201);
        let alone = app.log_in_by(&mut phone).await.expect(201);
        for (tokens, amr) in [(beside, json!(["pwd", "pop", "user", "mfa"])), (alone, json!(["pop", "user", "mfa"]))] {
            let caller = app.bearer(tokens["access_token"].as_str().unwrap());
            let token = caller.get("/v1/token").await.expect(200);
            assert_eq!((&token["acr"], &token["amr"]), (&json!("2"), &amr), "{policy:?}");
            caller.get("/v1/users").await.expect(200);
            caller.post("/v1/me/recovery-codes", json!({})).await.expect(201);
        }
    }
}

#[tokio::test]
async fn removing_a_passkey_ends_the_sessions_that_it_has_begun_or_raised() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone, mut key) = (app.user("ada").await, PasskeyDevice::default(), PasskeyDevice::default());
    let first = enrol(&ada, &mut phone).await;
    let ada = app.bearer(first["tokens"]["access_token"].as_str().unwrap());
    let second = enrol(&ada, &mut key).await;
    let by_phone = app.bearer(app.log_in_by(&mut phone).await.expect(201)["access_token"].as_str().unwrap());
    let by_key = app.bearer(app.log_in_by(&mut key).await.expect(201)["access_token"].as_str().unwrap());
    let path = format!("/v1/me/factors/{}", second["factor"]["id"].as_str().unwrap());
    by_phone.delete(&path, Value::Null).await.expect(204);
    assert_problem!(by_key.get("/v1/me").await, 401, "session_ended");
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    assert_problem!(by_phone.get("/v1/me").await, 401, "stale_token");
    assert_problem!(app.log_in_by(&mut key).await, 401, "unknown_passkey");
    app.log_in_by(&mut phone).await.expect(201);
}

#[tokio::test]
async fn a_ceremony_of_a_challenge_also_logs_in_alone() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    enrol(&ada, &mut phone).await;
    let log_in = json!({ "identifier": "ada", "password": PASSWORD });
    let asked = assert_problem!(app.anonymous().post("/v1/sessions", log_in).await, 401, "second_factor_required");
    let challenge = json!({ "challenge": asked.body["challenge"] });
    let (ceremony, options) = begun(app.anonymous().post("/v1/passkeys/options", challenge).await);
    let credential = phone.sign(ORIGIN, &options).await;
    app.present(&ceremony, &credential).await.expect(201);
}

#[tokio::test]
async fn a_reset_asks_for_the_passkey_and_its_ceremony_serves_nothing_else() {
    let app = TestApp::start_with(|settings| {
        at(ORIGIN)(settings);
        settings.mail.transport = Some(MailTransport::File);
    })
    .await;
    app.create("ada").await;
    let (ada, mut phone) = (app.anonymous().log_in("ada", PASSWORD).await, PasskeyDevice::default());
    enrol(&ada, &mut phone).await;
    app.anonymous().post("/v1/password-resets", json!({ "identifier": "ada" })).await.expect(202);
    let link = json!({ "kind": "link", "token": app.mail("reset", "ada@example.org").await.token() });
    let reset = |factor: Value| {
        let body = json!({ "proof": link, "new_password": "nine grey gulls at noon", "factor": factor });
        let anonymous = app.anonymous();
        async move { anonymous.post("/v1/password-resets/complete", body).await }
    };
    let asked = assert_problem!(reset(Value::Null).await, 401, "second_factor_required");
    let challenge = json!({ "challenge": asked.body["challenge"] });
    let (ceremony, options) = begun(app.anonymous().post("/v1/passkeys/options", challenge).await);
    let credential = phone.sign(ORIGIN, &options).await;
    assert_problem!(app.present(&ceremony, &credential).await, 401, "invalid_challenge");
    let (log_in, options) = app.begin_log_in().await;
    let other = phone.sign(ORIGIN, &options).await;
    assert_problem!(reset(passkey(&log_in, &other)).await, 401, "wrong_factor");
    reset(passkey(&ceremony, &credential)).await.expect(204);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
}

#[tokio::test]
async fn a_disabled_account_is_told_so_only_after_the_proof() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    let id = ada.get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    enrol(&ada, &mut phone).await;
    app.admin().await.patch(&format!("/v1/users/{id}"), json!({ "status": "disabled" })).await.expect(200);
    assert_problem!(app.log_in_by(&mut phone).await, 403, "account_disabled");
    let (ceremony, _) = app.begin_log_in().await;
    let (_, options) = app.begin_log_in().await;
    let credential = phone.sign(ORIGIN, &options).await;
    assert_problem!(app.present(&ceremony, &credential).await, 401, "invalid_passkey");
}

#[tokio::test]
async fn an_account_has_at_most_ten_passkeys() {
    let app = TestApp::with_passkeys().await;
    let (mut ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    for _ in 0..10 {
        ada = app.bearer(enrol(&ada, &mut phone).await["tokens"]["access_token"].as_str().unwrap());
    }
    assert_problem!(ada.post("/v1/me/factors/passkey/options", json!({})).await, 409, "too_many_factors");
    let names: Vec<_> = ada.get("/v1/me/factors").await.expect(200)["items"].as_array().unwrap().clone();
    assert_eq!(names.len(), 10);
}

#[tokio::test]
async fn passkeys_need_a_public_url_with_a_host_name() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    assert_eq!(app.anonymous().get("/v1/options").await.expect(200)["passkeys"], false);
    for (caller, path) in [
        (&app.anonymous(), "/v1/passkeys/options"),
        (&ada, "/v1/me/factors/passkey/options"),
        (&ada, "/v1/me/authentication/options"),
    ] {
        let refused = assert_problem!(caller.post(path, json!({})).await, 403, "passkeys_unavailable");
        assert!(refused.body["detail"].as_str().unwrap().contains("server.public_url"), "{:#}", refused.body);
    }
    let app = TestApp::with_passkeys().await;
    assert_eq!(app.anonymous().get("/v1/options").await.expect(200)["passkeys"], true);
}

#[tokio::test]
async fn passkeys_of_another_public_url_do_not_work_and_are_counted_at_start() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    let added = enrol(&ada, &mut phone).await;
    assert_eq!(passkeys::hints(&app.app).await.unwrap(), Vec::<String>::new());
    let moved = app.replica_with(|settings| {
        at("https://login.example.org")(settings);
        settings.tokens.issuer = Some(ORIGIN.to_owned());
    });
    let moved = moved.await;
    let hints = passkeys::hints(&moved.app).await.unwrap();
    assert!(hints.len() == 1 && hints[0].starts_with("1 passkey was made for the host id.example.org"), "{hints:?}");
    let ada = moved.bearer(added["tokens"]["access_token"].as_str().unwrap());
    let refused = assert_problem!(ada.post("/v1/me/authentication/options", json!({})).await, 403, "passkeys_unavailable");
    assert!(refused.body["detail"].as_str().unwrap().contains("no passkey that works here"), "{:#}", refused.body);
    // Nobody gets rid of a passkey by moving the service: it works again when the service moves back.
    let (ceremony, mut options) = moved.begin_log_in().await;
    options["rpId"] = "id.example.org".into();
    let credential = phone.sign(ORIGIN, &options).await;
    assert_problem!(moved.present(&ceremony, &credential).await, 401, "invalid_passkey");
    app.log_in_by(&mut phone).await.expect(201);
}

#[tokio::test]
async fn f05_no_copy_of_the_database_has_a_ceremony_or_the_handle_of_an_account() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    let (making, options) = begun(ada.post("/v1/me/factors/passkey/options", json!({})).await);
    let credential = phone.make(ORIGIN, &options).await;
    ada.post("/v1/me/factors/passkey", json!({ "ceremony": making, "credential": credential })).await.expect(201);
    let (logging_in, _) = app.begin_log_in().await;
    let dump = dump(&app).await;
    let contains = |bytes: &[u8]| dump.windows(bytes.len()).any(|window| window == bytes);
    assert!(contains(b"ada@example.org") && contains(b"id.example.org"), "the dump is complete");
    for ceremony in [making, logging_in] {
        let text = ceremony.as_str().unwrap();
        assert!(!contains(text.as_bytes()) && !contains(&text.as_bytes()[30..]));
    }
    let handle = uuid(&options["user"]["id"]);
    assert!(!contains(handle.as_bytes()) && !contains(handle.to_string().as_bytes()));
    assert!(!contains(b"cred_id"), "the passkey is sealed");
}

#[tokio::test]
async fn one_network_may_call_the_public_operations_so_often_and_others_go_on() {
    let app = TestApp::start_with(|settings| {
        at(ORIGIN)(settings);
        settings.throttle.enabled = true;
    })
    .await;
    let begin = |network| send(&app, network, Method::POST, "/v1/passkeys/options", None, json!({}));
    for _ in 0..=3_000 {
        begin(ELSEWHERE).await.expect(200);
    }
    assert_problem!(begin(ELSEWHERE).await, 429, "too_many_requests");
    begin(HOME).await.expect(200);
    app.clock.advance(Duration::from_secs(1));
    let ceremony = begin(ELSEWHERE).await.expect(200)["ceremony"].clone();
    let body = json!({ "ceremony": ceremony, "credential": { "id": "", "rawId": "", "response": {}, "type": "public-key" } });
    assert_problem!(send(&app, ELSEWHERE, Method::POST, "/v1/sessions/passkey", None, body).await, 429, "too_many_requests");
}

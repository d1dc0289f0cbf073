//! Access tokens at the door: which are let in, and that every other gets the same refusal (rows T01 to T11 and T14).

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use chrono::TimeDelta;
use jsonwebtoken::Algorithm;
use poem::{
    Body,
    http::{HeaderValue, Method},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use rstest::rstest;
use serde_json::{Value, json};
use vestibule::{
    api::contract::{self, Access},
    config,
    live::{
        key_ring::{Key, KeyRing},
        revocations::Revocation,
    },
};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Answer, clock::minutes},
};

const SECRET: &str = "thirty-two bytes, or a few more, for tests";
const BAD: &str = r#"Bearer realm="vestibule", error="invalid_token", error_description="The access token is not valid.""#;

/// Somebody who knows the HS256 secret, and bends a good token into a bad one that is signed rightly.
struct Forger {
    app: TestApp,
    header: Value,
    claims: Value,
}

impl Forger {
    async fn start() -> Self {
        let app = signing_with(config::Algorithm::Hs256).await;
        let token = app.user("ada").await.token.unwrap();
        let (header, claims) = (part(&token, 0), part(&token, 1));
        Self { app, header, claims }
    }

    fn header(&self, header: &Value) -> String {
        sign(&header.to_string(), &self.claims.to_string())
    }

    fn claims(&self, claims: &Value) -> String {
        sign(&self.header.to_string(), &claims.to_string())
    }

    /// The good token, with one member of its claims as given.
    fn claim(&self, name: &str, value: Value) -> String {
        self.claims(&with(&self.claims, name, value))
    }

    async fn assert_refused(&self, why: &str, token: &str) {
        assert_invalid(why, &self.app.bearer(token).get("/v1/me").await);
    }

    async fn assert_taken(&self, why: &str, token: &str) {
        let answer = self.app.bearer(token).get("/v1/me").await;
        assert_eq!(answer.status, 200, "{why}: {:#}", answer.body);
    }
}

async fn signing_with(algorithm: config::Algorithm) -> TestApp {
    let set = move |settings: &mut config::Settings| {
        settings.signing.algorithm = algorithm;
        settings.signing.secret = (algorithm == config::Algorithm::Hs256).then(|| SECRET.into());
    };
    TestApp::start_with(set).await
}

/// A token of these two, be they JSON or not.
fn sign(header: &str, claims: &str) -> String {
    signed(&format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)))
}

/// The message with its HS256 signature.
fn signed(message: &str) -> String {
    signed_with(hmac::HMAC_SHA256, SECRET.as_bytes(), message)
}

fn signed_with(algorithm: hmac::Algorithm, secret: &[u8], message: &str) -> String {
    let signature = hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A part of a token, read.
fn part(token: &str, number: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(number).unwrap()).unwrap()).unwrap()
}

fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    object[name] = value;
    object
}

fn without(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove(name).unwrap();
    object
}

#[track_caller]
fn assert_invalid(why: &str, answer: &Answer) {
    assert_eq!(answer.problem(), (401, "invalid_token"), "{why}: {:#}", answer.body);
    assert_eq!(answer.header("www-authenticate"), BAD, "{why}");
}

/// What a client can tell about an answer, but for the time and the request id.
fn told(mut answer: Answer) -> (u16, String, Value) {
    answer.headers.remove("x-request-id");
    answer.body.as_object_mut().unwrap().remove("request_id");
    (answer.status, format!("{:?}", answer.headers), answer.body)
}

#[tokio::test]
async fn t01_the_scheme_is_bearer_in_any_letter_case() {
    let app = TestApp::start().await;
    let token = app.user("ada").await.token.unwrap();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer ", "Bearer   "] {
        let header = format!("{scheme} {token}");
        app.nobody().send(Method::GET, "/v1/me", &[("authorization", &header)], Body::empty()).await.expect(200);
    }
    for (header, code) in [
        ("Basic YWRhOnNlY3JldA==", "missing_token"),
        (&format!("Basic {token}"), "missing_token"),
        (&format!("Bearer:{token}"), "missing_token"),
        ("Basic", "missing_token"),
        ("", "missing_token"),
        ("Bearer", "invalid_token"),
        ("Bearer ", "invalid_token"),
        (&format!("Bearer\t{token}"), "missing_token"),
        (&format!("Bearer {token} {token}"), "invalid_token"),
        (&format!("Bearer {token}, Bearer {token}"), "invalid_token"),
        (&format!("Bearer \"{token}\""), "invalid_token"),
        ("Bearer é", "invalid_token"),
    ] {
        let answer = app.nobody().send(Method::GET, "/v1/me", &[("authorization", header)], Body::empty()).await;
        assert_eq!(answer.problem(), (401, code), "{header}");
    }
}

#[tokio::test]
async fn t01_a_token_anywhere_but_in_its_header_is_not_seen() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let (token, nobody) = (ada.token.clone().unwrap(), app.nobody());
    for name in ["access_token", "token", "authorization", "Authorization"] {
        assert_problem!(nobody.get(&format!("/v1/me?{name}={token}")).await, 401, "missing_token");
        let cookie = format!("{name}={token}");
        assert_problem!(nobody.send(Method::GET, "/v1/me", &[("cookie", &cookie)], Body::empty()).await, 401, "missing_token");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        assert_problem!(nobody.send(Method::PATCH, "/v1/me", &form, Body::from_string(cookie)).await, 401, "missing_token");
    }
    // Nor does a second token elsewhere disturb the first.
    ada.get("/v1/me?access_token=garbage").await.expect(200);
}

#[tokio::test]
async fn t01_two_authorization_headers_are_ambiguous() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    for second in [ada.token.as_deref().map(|it| format!("Bearer {it}")).unwrap().as_str(), "Bearer x", "Basic x", ""] {
        let answer = ada.send(Method::GET, "/v1/me", &[("authorization", second)], Body::empty()).await;
        let answer = assert_problem!(answer, 400, "malformed_request");
        assert!(!answer.headers.contains_key("www-authenticate"));
    }
}

#[tokio::test]
async fn t02_every_401_has_one_challenge_that_says_no_more_than_it_should() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let nobody = app.nobody().get("/v1/me").await;
    assert_eq!(nobody.header("www-authenticate"), r#"Bearer realm="vestibule""#);
    assert_invalid("garbage", &app.bearer("garbage").get("/v1/me").await);

    app.clock.advance(minutes(15));
    let expired = assert_problem!(ada.get("/v1/me").await, 401, "expired_token");
    let challenge = r#"Bearer realm="vestibule", error="invalid_token", error_description="The access token has expired.""#;
    assert_eq!(expired.header("www-authenticate"), challenge);

    let wrong = app.nobody().post("/v1/sessions", json!({ "identifier": "ada", "password": "wrong" })).await;
    assert_eq!(wrong.header("www-authenticate"), r#"Bearer realm="vestibule""#);
}

#[tokio::test]
async fn t03_a_guards_403_names_the_permission_and_who_has_it() {
    let app = TestApp::start().await;
    app.holding("clerk", &["users:read"]).await;
    let ada = app.user("ada").await;
    let answer = assert_problem!(ada.get("/v1/users").await, 403, "insufficient_permission");
    let challenge = r#"Bearer realm="vestibule", error="insufficient_scope", scope="users:read""#;
    assert_eq!(answer.header("www-authenticate"), challenge);
    assert_eq!(answer.body["required_permission"], "users:read");
    assert_eq!(answer.body["granted_by"], json!(["admin", "role-clerk"]));
}

#[tokio::test]
async fn t04_the_header_says_exactly_alg_typ_and_kid() {
    let forger = Forger::start().await;
    forger.assert_taken("unchanged", &forger.header(&forger.header)).await;
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(true)),
        ("jku", json!("https://example.org/jwks.json")),
        ("jwk", json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET) })),
        ("x5u", json!("https://example.org/chain.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("x")),
        ("x5t#S256", json!("x")),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A128GCM")),
        ("ALG", json!("HS256")),
        ("foo", Value::Null),
        ("typ", json!("JWT")),
        ("typ", json!("at+JWT")),
        ("typ", json!("application/at+jwt")),
        ("typ", json!("")),
        ("typ", Value::Null),
        ("typ", json!(["at+jwt"])),
        ("alg", json!(["HS256"])),
        ("alg", Value::Null),
    ] {
        forger.assert_refused(name, &forger.header(&with(&forger.header, name, value))).await;
    }
    for name in ["alg", "typ", "kid"] {
        forger.assert_refused(name, &forger.header(&without(&forger.header, name))).await;
    }
}

#[tokio::test]
async fn t04_the_header_is_one_json_object_without_doubles() {
    let forger = Forger::start().await;
    let (good, kid, claims) = (forger.header.to_string(), forger.header["kid"].as_str().unwrap(), forger.claims.to_string());
    for header in [
        format!(r#"["HS256","at+jwt","{kid}"]"#),
        format!("[{good}]"),
        good.replacen('{', r#"{"alg":"HS256","#, 1),
        good.replacen('{', r#"{"\u0061lg":"none","#, 1),
        good.replacen('{', r#"{"kid":"other","#, 1),
        format!("{good}{good}"),
        format!("{good} x"),
        format!("\u{feff}{good}"),
        good.replace('"', "'"),
        r#""HS256""#.to_owned(),
        "null".to_owned(),
        String::new(),
    ] {
        forger.assert_refused(&header, &sign(&header, &claims)).await;
    }
}

#[tokio::test]
async fn t05_no_token_goes_unsigned_however_it_spells_none() {
    for algorithm in [config::Algorithm::EdDsa, config::Algorithm::Hs256] {
        let app = signing_with(algorithm).await;
        let token = app.user("ada").await.token.unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (_, claims) = message.split_once('.').unwrap();
        for none in ["none", "None", "NONE", "nOnE", "none ", " none", "", "null", "undefined"] {
            let header = URL_SAFE_NO_PAD.encode(with(&part(&token, 0), "alg", json!(none)).to_string());
            for signature in ["", signature] {
                let answer = app.bearer(&format!("{header}.{claims}.{signature}")).get("/v1/me").await;
                assert_invalid(none, &answer);
            }
            assert_invalid(none, &app.bearer(&format!("{header}.{claims}")).get("/v1/me").await);
        }
        assert_invalid("unsigned", &app.bearer(&format!("{message}.")).get("/v1/me").await);
    }
}

#[tokio::test]
async fn t05_a_public_key_is_nobodys_hmac_secret() {
    for algorithm in [config::Algorithm::EdDsa, config::Algorithm::Rs256] {
        let app = signing_with(algorithm).await;
        let token = app.user("ada").await.token.unwrap();
        let jwks = app.nobody().get("/.well-known/jwks.json").await.expect(200);
        let key = &jwks["keys"][0];
        let public = key["x"].as_str().or_else(|| key["n"].as_str()).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(public).unwrap();
        let der = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".as_slice(), &bytes].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
        let claims = token.split('.').nth(1).unwrap();
        for secret in [bytes.as_slice(), public.as_bytes(), &der, pem.as_bytes(), key.to_string().as_bytes(), b""] {
            for alg in ["HS256", algorithm.as_str()] {
                let header = URL_SAFE_NO_PAD.encode(with(&part(&token, 0), "alg", json!(alg)).to_string());
                let token = signed_with(hmac::HMAC_SHA256, secret, &format!("{header}.{claims}"));
                assert_invalid(alg, &app.bearer(&token).get("/v1/me").await);
            }
        }
    }
}

#[tokio::test]
async fn t05_the_algorithm_belongs_to_the_key_that_kid_names() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let token = ada.token.clone().unwrap();
    // Several keys at once, as while they rotate: the test knows the shared one.
    let private = |algorithm| Key::private(algorithm, &Key::generate(algorithm).unwrap()).unwrap();
    let (keys, own) = ([private(Algorithm::EdDSA), private(Algorithm::ES256)], Key::shared(SECRET.as_bytes()).unwrap());
    let ids: Vec<_> = keys.iter().chain([&own]).map(|key| (key.id.clone(), key.algorithm_name())).collect();
    let (shared, now) = (own.id.clone(), app.app.clock.now());
    let keys = keys.map(|key| (key.row(Vec::new(), now, now), Arc::new(key)));
    app.app.signing.keys.store(Arc::new(KeyRing::new(keys.into(), Some(Arc::new(own)))));
    assert_invalid("its key is gone, remembered or not", &ada.get("/v1/me").await);

    let claims = token.split('.').nth(1).unwrap();
    let forge = |hmac, kid: &str, alg: &str| {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "typ": "at+jwt", "kid": kid }).to_string());
        signed_with(hmac, SECRET.as_bytes(), &format!("{header}.{claims}"))
    };
    app.bearer(&forge(hmac::HMAC_SHA256, &shared, "HS256")).get("/v1/me").await.expect(200);
    for (kid, of_key) in &ids {
        for alg in ["HS256", "HS384", "HS512", "EdDSA", "ES256", "RS256", "PS256", "Ed25519", "hs256"] {
            for hmac in [hmac::HMAC_SHA256, hmac::HMAC_SHA384, hmac::HMAC_SHA512] {
                if (*kid == shared) && alg == *of_key && hmac == hmac::HMAC_SHA256 {
                    continue;
                }
                assert_invalid(alg, &app.bearer(&forge(hmac, kid, alg)).get("/v1/me").await);
            }
        }
    }
}

#[tokio::test]
async fn t06_a_kid_is_looked_up_and_nothing_else() {
    let forger = Forger::start().await;
    let good = forger.header["kid"].as_str().unwrap().to_owned();
    for kid in [
        "../../x",
        "../../../../dev/null",
        "/etc/passwd",
        "' OR 1=1",
        "' OR '1'='1' --",
        "'; DROP TABLE signing_keys; --",
        "https://example.org/jwks.json",
        "http://169.254.169.254/latest/meta-data",
        "file:///dev/null",
        "$(id)",
        "%00",
        "\0",
        "é",
        "",
        " ",
        &"a".repeat(64),
        &"a".repeat(65),
        &good.to_uppercase(),
        &format!("{good} "),
        &format!("{good}\0"),
        &good[1..],
    ] {
        forger.assert_refused(kid, &forger.header(&with(&forger.header, "kid", json!(kid)))).await;
    }
    for kid in [json!(0), json!(null), json!(true), json!([good]), json!({ "kid": good })] {
        forger.assert_refused("no string", &forger.header(&with(&forger.header, "kid", kid))).await;
    }
}

#[tokio::test]
async fn t07_unknown_kid_and_bad_signature_answer_alike() {
    let forger = Forger::start().await;
    let good = forger.claims(&forger.claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let mut answers = Vec::new();
    for token in [
        format!("{message}.{}", signature.chars().rev().collect::<String>()),
        forger.header(&with(&forger.header, "kid", json!("unknown"))),
        forger.header(&with(&forger.header, "alg", json!("none"))),
        forger.claim("iss", json!("https://example.org")),
        forger.claim("aud", json!("another")),
        forger.claims(&without(&forger.claims, "jti")),
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(10_000),
    ] {
        let mut answer = forger.app.bearer(&token).get("/v1/me").await;
        assert_invalid(&token, &answer);
        answer.headers.remove("date");
        answers.push(told(answer));
    }
    assert!(answers.iter().all(|it| *it == answers[0]), "{answers:#?}");
}

#[tokio::test]
async fn t07_only_an_authentic_token_learns_why_it_is_refused() {
    let forger = Forger::start().await;
    let (app, ada) = (&forger.app, forger.app.nobody().log_in("ada", PASSWORD).await);
    let token = ada.token.clone().unwrap();
    let (message, _) = token.rsplit_once('.').unwrap();
    let badly_signed = app.bearer(&signed_with(hmac::HMAC_SHA256, b"another secret", message));
    let claims = part(&token, 1);

    let (later, user) = (app.app.clock.now() + TimeDelta::hours(2), claims["sub"].as_str().unwrap().parse().unwrap());
    app.app.access.revocations.apply(
        Revocation::TokensBefore(user, claims["epoch"].as_i64().unwrap() + 1),
        later,
        app.app.clock.read(),
    );
    assert_problem!(ada.get("/v1/me").await, 401, "stale_token");
    assert_invalid("stale", &badly_signed.get("/v1/me").await);

    app.app.access.revocations.apply(
        Revocation::Session(claims["sid"].as_str().unwrap().parse().unwrap()),
        later,
        app.app.clock.read(),
    );
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    assert_invalid("ended", &badly_signed.get("/v1/me").await);

    app.clock.advance(minutes(15));
    assert_problem!(ada.get("/v1/me").await, 401, "expired_token");
    assert_invalid("expired", &badly_signed.get("/v1/me").await);
    assert_invalid("expired, elsewhere", &app.bearer(&forger.claim("iss", json!("elsewhere"))).get("/v1/me").await);
}

#[tokio::test]
async fn t08_every_claim_is_there_and_of_its_type() {
    let forger = Forger::start().await;
    forger.assert_taken("unchanged", &forger.claims(&forger.claims)).await;
    let any = [json!(null), json!(true), json!(1.5), json!({}), json!([]), json!("x"), json!(-1), json!([1]), json!("")];
    for (name, fits) in [
        ("iss", [].as_slice()),
        ("aud", &[]),
        ("sub", &[]),
        ("sid", &[]),
        ("jti", &[]),
        ("client_id", &["x", ""]),
        ("iat", &[]),
        ("exp", &[]),
        ("roles", &["[]"]),
        ("epoch", &["-1"]),
    ] {
        forger.assert_refused(name, &forger.claims(&without(&forger.claims, name))).await;
        for value in any.iter().filter(|it| !fits.contains(&it.as_str().unwrap_or(&it.to_string()))) {
            forger.assert_refused(&format!("{name}: {value}"), &forger.claim(name, value.clone())).await;
        }
        if name != "client_id" {
            let text = forger.claims[name].to_string();
            forger.assert_refused(&format!("{name} as text"), &forger.claim(name, json!(text))).await;
        }
        forger.assert_refused(&format!("{name} in a list"), &forger.claim(name, json!([[forger.claims[name]]]))).await;
    }
    for number in ["9223372036854775808", "1e400", "-1e400", "99999999999999999999999", "0x10", "NaN"] {
        for name in ["iat", "exp", "epoch"] {
            let claims = with(&forger.claims, name, json!("@")).to_string().replace("\"@\"", number);
            forger.assert_refused(number, &sign(&forger.header.to_string(), &claims)).await;
        }
    }
}

#[tokio::test]
async fn t08_the_claims_are_one_json_object_without_doubles() {
    let forger = Forger::start().await;
    let (header, good) = (forger.header.to_string(), forger.claims.to_string());
    let members: Vec<_> = forger.claims.as_object().unwrap().values().cloned().collect();
    for claims in [
        json!(members).to_string(),
        json!([forger.claims]).to_string(),
        good.replacen('{', r#"{"exp":9999999999,"#, 1),
        good.replacen('{', r#"{"\u0073ub":"00000000-0000-7000-8000-000000000000","#, 1),
        good.replacen('{', r#"{"foo":{"a":1,"a":2},"#, 1),
        good.replacen('{', r#"{"roles":["admin"],"#, 1),
        format!("{}{}}}", &good[..good.len() - 1], r#","roles":["admin"]"#),
        format!("{good}{good}"),
        format!("\u{feff}{good}"),
        "null".to_owned(),
        "{}".to_owned(),
        String::new(),
    ] {
        forger.assert_refused(&claims, &sign(&header, &claims)).await;
    }
    // A member we do not know is another issuer's business.
    forger.assert_taken("unknown member", &forger.claim("azp", json!("x"))).await;
}

#[tokio::test]
async fn t08_issuer_and_audience_are_ours() {
    let forger = Forger::start().await;
    let (iss, aud) = (forger.claims["iss"].as_str().unwrap(), forger.claims["aud"].as_str().unwrap());
    for other in [format!("{iss}/"), iss.to_uppercase(), format!(" {iss}"), iss[1..].to_owned(), String::new()] {
        forger.assert_refused(&other, &forger.claim("iss", json!(other))).await;
    }
    forger.assert_refused("a list of issuers", &forger.claim("iss", json!([iss]))).await;
    for ours in [json!(aud), json!([aud]), json!(["another", aud]), json!([aud, aud])] {
        forger.assert_taken("aud", &forger.claim("aud", ours)).await;
    }
    for other in [json!([]), json!(["another"]), json!([[aud]]), json!([aud, 1]), json!({ aud: aud }), json!("Vestibule")] {
        forger.assert_refused("aud", &forger.claim("aud", other)).await;
    }
}

#[tokio::test]
async fn t08_a_token_lives_for_60_minutes_at_most() {
    let forger = Forger::start().await;
    let iat = forger.claims["iat"].as_i64().unwrap();
    let living = |iat: i64, exp: i64| forger.claims(&with(&with(&forger.claims, "iat", json!(iat)), "exp", json!(exp)));
    forger.assert_taken("60 minutes", &living(iat, iat + 3_600)).await;
    forger.assert_taken("1 second", &living(iat, iat + 1)).await;
    for exp in [iat + 3_601, iat + 86_400, i64::MAX, iat, iat - 1, 0, -1, i64::MIN] {
        forger.assert_refused(&format!("until {exp}"), &living(iat, exp)).await;
    }
    for (iat, exp) in [(i64::MIN, i64::MAX), (-1, i64::MAX), (i64::MIN, 0), (i64::MAX - 1, i64::MAX)] {
        forger.assert_refused(&format!("{iat} to {exp}"), &living(iat, exp)).await;
    }
}

#[tokio::test]
async fn t08_a_token_from_the_future_is_refused() {
    let forger = Forger::start().await;
    let iat = forger.claims["iat"].as_i64().unwrap();
    let at = |iat: i64| forger.claims(&with(&with(&forger.claims, "iat", json!(iat)), "exp", json!(iat + 900)));
    forger.assert_taken("5 s ahead", &at(iat + 5)).await;
    forger.assert_refused("6 s ahead", &at(iat + 6)).await;
    forger.assert_refused("a year ahead", &at(iat + 31_536_000)).await;
}

#[tokio::test]
async fn t08_a_token_is_good_from_its_nbf_on() {
    let forger = Forger::start().await;
    let iat = forger.claims["iat"].as_i64().unwrap();
    for nbf in [json!(iat), json!(iat - 3_600), json!(0), json!(-1), json!(iat + 5), json!(0.5)] {
        forger.assert_taken(&format!("from {nbf}"), &forger.claim("nbf", nbf.clone())).await;
    }
    let future = [json!(iat + 6), json!(iat + 3_600), json!(i64::MAX), json!(u64::MAX), json!(1e300)];
    let no_number = [json!(null), json!(iat.to_string()), json!(""), json!(true), json!([iat]), json!({})];
    for nbf in future.iter().chain(&no_number) {
        forger.assert_refused(&format!("from {nbf}"), &forger.claim("nbf", nbf.clone())).await;
    }
}

#[tokio::test]
async fn t08_a_token_is_refused_from_the_second_it_expires() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    app.clock.advance(std::time::Duration::from_secs(15 * 60 - 1));
    ada.get("/v1/me").await.expect(200);
    app.clock.advance(std::time::Duration::from_secs(1));
    assert_problem!(ada.get("/v1/me").await, 401, "expired_token");
    // Seen for the first time, too: nothing remembers it.
    let (forger, second) = (Forger::start().await, std::time::Duration::from_secs(1));
    let unseen = forger.app.bearer(&forger.claim("epoch", forger.claims["epoch"].clone())).clone();
    forger.app.clock.advance(second * 900);
    assert_problem!(unseen.get("/v1/me").await, 401, "expired_token");
}

#[tokio::test]
async fn t09_a_token_is_three_strict_parts() {
    let forger = Forger::start().await;
    let good = forger.claims(&forger.claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    for token in [
        format!("{good}="),
        format!("{good}=="),
        format!("{good}."),
        format!("{good}.x"),
        format!("{good}.{signature}"),
        format!(".{good}"),
        format!("{good}\t"),
        format!("{good} "),
        format!("{header}. {claims}.{signature}"),
        format!("{header}..{signature}"),
        format!("{message}.."),
        format!("{header}.{claims}"),
        format!("{header}{claims}.{signature}"),
        header.to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        ".....".to_owned(),
    ] {
        forger.assert_refused(&token, &token).await;
    }
}

#[tokio::test]
async fn t09_a_rightly_signed_token_in_loose_base64_is_refused() {
    let forger = Forger::start().await;
    let header = URL_SAFE_NO_PAD.encode(forger.header.to_string());
    // Three lengths, so that padding, trailing bits and both alphabets come up.
    for tail in ["x", "xx", "xxx"] {
        let claims = with(&forger.claims, "foo", json!(format!("ÿÿ>>??{tail}"))).to_string();
        let (strict, padded) = (URL_SAFE_NO_PAD.encode(&claims), URL_SAFE.encode(&claims));
        forger.assert_taken("strict", &signed(&format!("{header}.{strict}"))).await;
        let mut loose = vec![
            format!("{strict}="),
            format!("{}\t{}", &strict[..8], &strict[8..]),
            format!("{}%{}", &strict[..8], &strict[8..]),
            STANDARD.encode(&claims),
        ];
        if padded != strict {
            loose.push(padded);
            // The last character has bits that stand for nothing: another one decodes to the same bytes.
            loose.push(format!("{}{}", &strict[..strict.len() - 1], char::from(strict.as_bytes()[strict.len() - 1] + 1)));
        }
        for claims in loose.into_iter().filter(|it| *it != strict) {
            forger.assert_refused(&claims, &signed(&format!("{header}.{claims}"))).await;
        }
        let padded_header = URL_SAFE.encode(format!("{}  ", forger.header));
        forger.assert_refused("padded header", &signed(&format!("{}=.{strict}", padded_header.trim_end_matches('=')))).await;
    }
    // 64 bytes leave four such bits at the end of an Ed25519 signature.
    let app = TestApp::start().await;
    let token = app.user("ada").await.token.unwrap();
    let (rest, last) = token.split_at(token.len() - 1);
    let twin = format!("{rest}{}", char::from(last.as_bytes()[0] + 1));
    assert_invalid("trailing bits", &app.bearer(&twin).get("/v1/me").await);
}

#[tokio::test]
async fn t09_a_token_of_more_than_8_kib_is_not_read() {
    let forger = Forger::start().await;
    // White space after the header makes any length possible.
    let signed = |spaces: usize, by: usize| {
        let header = format!("{}{}", forger.header, " ".repeat(spaces));
        sign(&header, &with(&forger.claims, "foo", json!("x".repeat(by))).to_string())
    };
    let (spaces, by) = (0..3)
        .find_map(|spaces| {
            let by = (5_000..7_000).rfind(|by| signed(spaces, *by).len() <= 8 * 1024)?;
            Some((spaces, by)).filter(|_| signed(spaces, by).len() == 8 * 1024)
        })
        .unwrap();
    forger.assert_taken("8 KiB", &signed(spaces, by)).await;
    forger.assert_refused("over 8 KiB", &signed(spaces, by + 1)).await;
    forger.assert_refused("15 KiB", &signed(0, 10_000)).await;
    forger.assert_refused("dots", &".".repeat(8_192)).await;
}

#[tokio::test]
async fn t10_an_opaque_token_is_no_access_token() {
    let app = TestApp::start().await;
    for token in ["vr1_0198c5e0000070008000000000000000_1_c2VjcmV0", "YWJjZGVmZ2hpamtsbW5vcA", "1.2", "tok.1.c2VjcmV0", "null"] {
        assert_invalid(token, &app.bearer(token).get("/v1/me").await);
    }
}

#[rstest]
#[case(config::Algorithm::EdDsa, "OKP", &["crv", "x"])]
#[case(config::Algorithm::Es256, "EC", &["crv", "x", "y"])]
#[case(config::Algorithm::Rs256, "RSA", &["n", "e"])]
#[tokio::test]
async fn t11_each_algorithm_works_from_log_in_to_key_set(
    #[case] algorithm: config::Algorithm,
    #[case] family: &str,
    #[case] public: &[&str],
) {
    let app = signing_with(algorithm).await;
    let ada = app.user("ada").await;
    ada.get("/v1/me").await.expect(200);

    let keys = app.nobody().get("/.well-known/jwks.json").await.expect(200)["keys"].clone();
    let key = keys[0].as_object().unwrap();
    assert_eq!(keys.as_array().unwrap().len(), 1);
    let expected = json!({ "alg": algorithm.as_str(), "typ": "at+jwt", "kid": key["kid"] });
    assert_eq!(part(ada.token.as_ref().unwrap(), 0), expected);
    assert_eq!(
        (key["kty"].as_str(), key["use"].as_str(), key["alg"].as_str()),
        (Some(family), Some("sig"), Some(algorithm.as_str()))
    );
    let mut members: Vec<_> = ["kty", "kid", "use", "alg"].iter().chain(public).copied().collect();
    let mut found: Vec<_> = key.keys().map(String::as_str).collect();
    members.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, members);
    if family == "RSA" {
        let modulus = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
        assert_eq!((modulus.len(), modulus[0] >> 7), (3072 / 8, 1));
    }

    // Another service, with nothing but the key set, believes the token.
    let jwk = serde_json::from_value(keys[0].clone()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(algorithm.as_str().parse().unwrap());
    validation.set_audience(&["vestibule"]);
    validation.validate_exp = false;
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    let read = jsonwebtoken::decode::<Value>(ada.token.as_ref().unwrap(), &key, &validation).unwrap();
    assert_eq!(read.claims, part(ada.token.as_ref().unwrap(), 1));
}

#[tokio::test]
async fn t11_a_shared_secret_signs_and_is_never_published() {
    let app = signing_with(config::Algorithm::Hs256).await;
    let ada = app.user("ada").await;
    ada.get("/v1/me").await.expect(200);
    assert_eq!(part(ada.token.as_ref().unwrap(), 0)["alg"], "HS256");
    let keys = app.nobody().get("/.well-known/jwks.json").await;
    assert_eq!(keys.expect(200), json!({ "keys": [] }));
    // Another service with the same secret makes the very same signature.
    let token = ada.token.unwrap();
    assert_eq!(signed(token.rsplit_once('.').unwrap().0), token);
}

#[tokio::test]
async fn t14_a_public_operation_ignores_authorization() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    app.clock.advance(minutes(16));
    assert_problem!(ada.caller().get("/v1/me").await, 401, "expired_token");
    let expired = format!("Bearer {}", ada.access);
    for (number, headers) in [
        vec![("authorization", expired.as_str())],
        vec![("authorization", "Bearer garbage")],
        vec![("authorization", "Bearer ")],
        vec![("authorization", "Basic YWRhOnNlY3JldA==")],
        vec![("authorization", "é")],
        vec![("authorization", "Bearer x"), ("authorization", "Bearer y")],
    ]
    .into_iter()
    .enumerate()
    {
        for (path, method, operation) in contract::operations(contract::document()) {
            if contract::access(operation) != Access::Public {
                continue;
            }
            let (body, status) = match path {
                "/v1/sessions" => (json!({ "identifier": "ada", "password": PASSWORD }), 201),
                "/v1/sessions/refresh" => (json!({ "refresh_token": ada.refresh }), 200),
                "/v1/sessions/end" => (json!({ "refresh_token": "unknown" }), 204),
                "/v1/accounts" => (json!({ "email": format!("user{number}@example.org"), "password": PASSWORD }), 201),
                _ => (Value::Null, 200),
            };
            let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
            let method: Method = method.to_uppercase().parse().unwrap();
            app.nobody().send(method, path, &headers, Body::from_string(body.to_string())).await.expect(status);
        }
    }
}

/// One way to spoil bytes.
#[derive(Debug, Clone)]
enum Damage {
    Flip(usize, u8),
    Cut(usize),
    Remove(usize),
    Insert(usize, u8),
    Replace(usize, u8),
    Swap(usize, usize),
    Double(usize, usize),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        let at = any::<usize>;
        let byte = || prop_oneof![any::<u8>(), proptest::sample::select(b"=.+/-_ AQgw\t\"".as_slice())];
        prop_oneof![
            (at(), 0..8u8).prop_map(|(at, bit)| Self::Flip(at, bit)),
            at().prop_map(Self::Cut),
            at().prop_map(Self::Remove),
            (at(), byte()).prop_map(|(at, byte)| Self::Insert(at, byte)),
            (at(), byte()).prop_map(|(at, byte)| Self::Replace(at, byte)),
            (at(), at()).prop_map(|(one, other)| Self::Swap(one, other)),
            (at(), 1..64usize).prop_map(|(at, length)| Self::Double(at, length)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len().max(1);
        if bytes.is_empty() {
            return;
        }
        match *self {
            Self::Flip(at, bit) => bytes[at % length] ^= 1 << bit,
            Self::Cut(at) => bytes.truncate(at % length),
            Self::Remove(at) => _ = bytes.remove(at % length),
            Self::Insert(at, byte) => bytes.insert(at % (length + 1), byte),
            Self::Replace(at, byte) => bytes[at % length] = byte,
            Self::Swap(one, other) => bytes.swap(one % length, other % length),
            Self::Double(at, more) => {
                let at = at % length;
                let piece = bytes[at..(at + more).min(length)].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

#[test]
fn no_damaged_token_is_ever_let_in() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let app = runtime.block_on(TestApp::start());
    let token = runtime.block_on(async { app.user("ada").await.token.unwrap() });
    let config = Config { cases: 3_000, failure_persistence: None, ..Config::default() };
    let story = |damages: Vec<Damage>| {
        let mut damaged = token.clone().into_bytes();
        for damage in damages {
            damage.apply(&mut damaged);
        }
        let spaces = damaged.iter().take_while(|it| **it == b' ').count();
        let header = HeaderValue::from_bytes(&[b"Bearer ", damaged.as_slice()].concat());
        let Ok(header) = header else { return Ok(()) };
        // Spaces before a whole token are no damage (RFC 9110 section 11.4).
        prop_assume!(&damaged[spaces..] != token.as_bytes());
        let mut request = poem::Request::builder().uri_str("/v1/me").finish();
        request.headers_mut().insert("authorization", header);
        let answer = runtime.block_on(async {
            let response = app.raw(request).await;
            crate::support::checked::answer(&Method::GET, "/v1/me", response).await
        });
        prop_assert_eq!(answer.problem(), (401, "invalid_token"));
        Ok(())
    };
    TestRunner::new(config).run(&proptest::collection::vec(Damage::any(), 1..4), story).unwrap();
}

#[tokio::test]
async fn t08_every_token_has_an_id_of_its_own() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    let again = ada.refresh_and_lose().await.expect(200);
    let id = |token: &str| part(token, 1)["jti"].clone();
    assert_ne!(id(&ada.access), id(again["access_token"].as_str().unwrap()));
}

#[tokio::test]
async fn t07_what_is_known_against_a_token_is_told_even_when_the_revocations_are_stale() {
    let app = TestApp::start().await;
    let (ada, bea) = (app.user("ada").await, app.user("bea").await);
    ada.delete("/v1/me/sessions/current", json!(null)).await.expect(204);
    let id = bea.get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    app.admin().await.put(&format!("/v1/users/{id}/roles"), json!({ "roles": ["admin"] })).await.expect(200);
    app.clock.stall(std::time::Duration::from_secs(6));
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    assert_problem!(bea.get("/v1/me").await, 401, "stale_token");
    assert_problem!(app.admin().await.get("/v1/me").await, 503, "authorization_stale");
}

//! Access tokens: which ones the service accepts (rows T01 to T11 and T14). A token that is not accepted gets the same response
//! whatever is wrong with it.

mod algorithm;
mod bearer;
mod claims;
mod damaged;
mod encoding;
mod forger;
mod header;
mod lifetime;
mod reasons;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use vestibule::config;

use crate::support::{TestApp, caller::Answer};

const SECRET: &str = "thirty-two bytes, or a few more, for tests";
const BAD: &str = r#"Bearer realm="vestibule", error="invalid_token", error_description="The access token is not valid.""#;

async fn signing_with(algorithm: config::Algorithm) -> TestApp {
    let set = move |settings: &mut config::Settings| {
        settings.signing.algorithm = algorithm;
        settings.signing.secret = (algorithm == config::Algorithm::Hs256).then(|| SECRET.into());
    };
    TestApp::start_with(set).await
}

/// Returns a signed token with this header and these claims, even if they are not JSON.
fn sign(header: &str, claims: &str) -> String {
    signed(&format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)))
}

/// Returns the message with its HS256 signature.
fn signed(message: &str) -> String {
    signed_with(hmac::HMAC_SHA256, SECRET.as_bytes(), message)
}

fn signed_with(algorithm: hmac::Algorithm, secret: &[u8], message: &str) -> String {
    let signature = hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Returns a part of a token, decoded.
pub fn part(token: &str, number: usize) -> Value {
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

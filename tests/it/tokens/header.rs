//! The JOSE header of a token.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{SECRET, forger::Forger, sign, with, without};

#[tokio::test]
async fn t04_the_header_contains_exactly_alg_typ_and_kid() {
    let forger = Forger::start().await;
    forger.assert_accepted("unchanged", &forger.header(&forger.header)).await;
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
async fn t04_the_header_is_one_json_object_without_duplicates() {
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
async fn t06_a_kid_is_only_looked_up() {
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

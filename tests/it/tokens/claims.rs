//! The claims of a token.

use serde_json::json;

use super::{forger::Forger, part, sign, with, without};

use crate::{assert_problem, support::TestApp};

#[tokio::test]
async fn t08_every_claim_is_required_and_has_its_type() {
    let forger = Forger::start().await;
    forger.assert_accepted("unchanged", &forger.claims(&forger.claims)).await;
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
        ("auth_time", &["-1"]),
        ("acr", &[]),
        ("amr", &["[]"]),
        ("acr_max", &[]),
    ] {
        // Tokens from before the upgrade lack the claims about the authentication.
        if !["auth_time", "acr", "amr", "acr_max"].contains(&name) {
            forger.assert_refused(name, &forger.claims(&without(&forger.claims, name))).await;
        }
        for value in any.iter().filter(|value| !fits.contains(&value.as_str().unwrap_or(&value.to_string()))) {
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
async fn a_token_from_before_the_upgrade_is_no_fresh_proof() {
    let forger = Forger::start().await;
    let mut claims = forger.claims.clone();
    for name in ["auth_time", "acr", "amr", "acr_max"] {
        claims.as_object_mut().unwrap().remove(name);
    }
    forger.assert_accepted("without the new claims", &forger.claims(&claims)).await;
    let caller = forger.app.bearer(&forger.claims(&claims)).get("/v1/token").await.expect(200);
    assert_eq!((&caller["acr"], &caller["amr"]), (&json!("1"), &json!(["pwd"])));
    claims["roles"] = json!(["admin"]);
    let admin = forger.app.bearer(&forger.claims(&claims));
    assert_problem!(
        admin.post("/v1/users", json!({ "email": "grace@example.org" })).await,
        401,
        "insufficient_user_authentication"
    );
}

#[tokio::test]
async fn t08_the_claims_are_one_json_object_without_duplicates() {
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
    // An unknown claim is ignored.
    forger.assert_accepted("unknown member", &forger.claim("azp", json!("x"))).await;
}

#[tokio::test]
async fn t08_issuer_and_audience_must_match() {
    let forger = Forger::start().await;
    let (iss, aud) = (forger.claims["iss"].as_str().unwrap(), forger.claims["aud"].as_str().unwrap());
    for other in [format!("{iss}/"), iss.to_uppercase(), format!(" {iss}"), iss[1..].to_owned(), String::new()] {
        forger.assert_refused(&other, &forger.claim("iss", json!(other))).await;
    }
    forger.assert_refused("a list of issuers", &forger.claim("iss", json!([iss]))).await;
    for ours in [json!(aud), json!([aud]), json!(["another", aud]), json!([aud, aud])] {
        forger.assert_accepted("aud", &forger.claim("aud", ours)).await;
    }
    for other in [json!([]), json!(["another"]), json!([[aud]]), json!([aud, 1]), json!({ aud: aud }), json!("Vestibule")] {
        forger.assert_refused("aud", &forger.claim("aud", other)).await;
    }
}

#[tokio::test]
async fn t08_every_token_has_an_id_of_its_own() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    let again = ada.refresh_and_lose().await.expect(200);
    let id = |token: &str| part(token, 1)["jti"].clone();
    assert_ne!(id(&ada.access), id(again["access_token"].as_str().unwrap()));
}

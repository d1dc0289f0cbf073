//! Signature algorithms: the key that `kid` names determines the algorithm, the token never does.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::Algorithm;
use rstest::rstest;
use serde_json::{Value, json};
use vestibule::{
    config,
    live::{jwt_key::JwtKey, key_ring::KeyRing},
};

use super::{SECRET, assert_invalid, part, signed, signed_with, signing_with, with};

use crate::support::TestApp;

#[tokio::test]
async fn t05_an_unsigned_token_is_refused_in_every_spelling_of_none() {
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
async fn t05_a_public_key_is_not_accepted_as_an_hmac_secret() {
    for algorithm in [config::Algorithm::EdDsa, config::Algorithm::Rs256] {
        let app = signing_with(algorithm).await;
        let token = app.user("ada").await.token.unwrap();
        let jwks = app.anonymous().get("/.well-known/jwks.json").await.expect(200);
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
    // Several keys at once, as during a rotation. The test knows the shared secret.
    let private = |algorithm| JwtKey::from_pkcs8(algorithm, &JwtKey::generate(algorithm).unwrap()).unwrap();
    let (keys, own) =
        ([private(Algorithm::EdDSA), private(Algorithm::ES256)], JwtKey::from_shared_secret(SECRET.as_bytes()).unwrap());
    let ids: Vec<_> = keys.iter().chain([&own]).map(|key| (key.id.clone(), key.algorithm_name())).collect();
    let (shared, now) = (own.id.clone(), app.app.clock.now());
    let keys = keys.map(|key| (key.to_row(Vec::new(), now, now), Arc::new(key)));
    app.app.signing.keys.store(Arc::new(KeyRing::new(keys.into(), Some(Arc::new(own)))));
    assert_invalid("its key is gone, even if the token was verified before", &ada.get("/v1/me").await);

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

    let keys = app.anonymous().get("/.well-known/jwks.json").await.expect(200)["keys"].clone();
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

    // Another service accepts the token with nothing but the key set.
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
    let keys = app.anonymous().get("/.well-known/jwks.json").await;
    assert_eq!(keys.expect(200), json!({ "keys": [] }));
    // Another service with the same secret computes the same signature.
    let token = ada.token.unwrap();
    assert_eq!(signed(token.rsplit_once('.').unwrap().0), token);
}

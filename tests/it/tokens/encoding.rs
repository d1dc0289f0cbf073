//! The encoding of a token: three parts, strict base64url, at most 8 KiB.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use serde_json::json;

use super::{assert_invalid, forger::Forger, sign, signed, with};

use crate::support::TestApp;

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
async fn t09_a_correctly_signed_token_in_loose_base64_is_refused() {
    let forger = Forger::start().await;
    let header = URL_SAFE_NO_PAD.encode(forger.header.to_string());
    // Three lengths cover padding, trailing bits and both alphabets.
    for tail in ["x", "xx", "xxx"] {
        let claims = with(&forger.claims, "foo", json!(format!("ÿÿ>>??{tail}"))).to_string();
        let (strict, padded) = (URL_SAFE_NO_PAD.encode(&claims), URL_SAFE.encode(&claims));
        forger.assert_accepted("strict", &signed(&format!("{header}.{strict}"))).await;
        let mut loose = vec![
            format!("{strict}="),
            format!("{}\t{}", &strict[..8], &strict[8..]),
            format!("{}%{}", &strict[..8], &strict[8..]),
            STANDARD.encode(&claims),
        ];
        if padded != strict {
            loose.push(padded);
            // The last character has unused bits, so another character decodes to the same bytes.
            loose.push(format!("{}{}", &strict[..strict.len() - 1], char::from(strict.as_bytes()[strict.len() - 1] + 1)));
        }
        for claims in loose.into_iter().filter(|claims| *claims != strict) {
            forger.assert_refused(&claims, &signed(&format!("{header}.{claims}"))).await;
        }
        let padded_header = URL_SAFE.encode(format!("{}  ", forger.header));
        forger.assert_refused("padded header", &signed(&format!("{}=.{strict}", padded_header.trim_end_matches('=')))).await;
    }
    // In base64url, an Ed25519 signature of 64 bytes leaves four unused bits at its end.
    let app = TestApp::start().await;
    let token = app.user("ada").await.token.unwrap();
    let (rest, last) = token.split_at(token.len() - 1);
    let twin = format!("{rest}{}", char::from(last.as_bytes()[0] + 1));
    assert_invalid("trailing bits", &app.bearer(&twin).get("/v1/me").await);
}

#[tokio::test]
async fn t09_a_token_of_more_than_8_kib_is_not_read() {
    let forger = Forger::start().await;
    // White space after the header gives the token any length.
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
    forger.assert_accepted("8 KiB", &signed(spaces, by)).await;
    forger.assert_refused("over 8 KiB", &signed(spaces, by + 1)).await;
    forger.assert_refused("15 KiB", &signed(0, 10_000)).await;
    forger.assert_refused("dots", &".".repeat(8_192)).await;
}

#[tokio::test]
async fn t10_an_opaque_token_is_not_an_access_token() {
    let app = TestApp::start().await;
    for token in ["vr1_0198c5e0000070008000000000000000_1_c2VjcmV0", "YWJjZGVmZ2hpamtsbW5vcA", "1.2", "tok.1.c2VjcmV0", "null"] {
        assert_invalid(token, &app.bearer(token).get("/v1/me").await);
    }
}

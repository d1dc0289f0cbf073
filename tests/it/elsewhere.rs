//! Other services verify access tokens: the guide's programs for Node, Python and Rust, extracted from it and run.

mod programs;
mod stand_in;

use std::{fs, net::TcpListener};

use jsonwebtoken::Header;
use rstest::rstest;
use serde_json::{Value, json};

use self::{
    programs::{Programs, shown},
    stand_in::{Health, ISSUER, Key, StandIn},
};
use crate::support::{PASSWORD, binary::Server};

const INVALID: &str = r#"401 Bearer error="invalid_token""#;
const OUTAGE: &str = "503 Retry-After: 5";

/// What a token says differently from a good one.
type Change = fn(&mut Header, &mut Value);

#[test]
fn the_guide_shows_the_rust_program_that_is_tested() {
    assert_eq!(shown("rust,ignore"), include_str!("elsewhere/verify.rs"));
}

#[test]
fn other_services_accept_vestibules_tokens_until_the_key_is_revoked_and_tell_an_outage_apart() {
    let issuer = "https://id.example.org";
    let directory = tempfile::tempdir().unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let server = Server::start(directory.path(), &[("VESTIBULE_SERVER__LISTEN", &listen), ("VESTIBULE_TOKENS__ISSUER", issuer)]);
    let Some(mut programs) = Programs::start(issuer, &server.url) else { return };
    let password = fs::read_to_string(directory.path().join("data/initial-admin-password")).unwrap();
    let (somebody, admin) = log_in(&server, "admin", password.trim());
    programs.verify(Some(&admin), &format!("{somebody} admin,user"));
    programs.authorize(Some(&admin), "users:read", &format!("{somebody} may"));
    programs.authorize(Some(&admin), "billing:refund", &format!("{somebody} may"));

    let account = json!({ "email": "ada@example.org", "username": "ada", "password": PASSWORD });
    ureq::post(format!("{}/v1/accounts", server.url)).send_json(account).unwrap();
    let (_, ada) = log_in(&server, "ada", PASSWORD);
    programs.authorize(Some(&ada), "users:read", r#"403 Bearer error="insufficient_scope", scope="users:read""#);

    revoke_the_key(&server, &admin);
    programs.verify(Some(&admin), &format!("{somebody} admin,user"));
    let challenge = r#"realm="vestibule", error="invalid_token", error_description="The access token is not valid.""#;
    programs.authorize(Some(&admin), "users:read", &format!("401 Bearer {challenge}"));
    programs.advance(301);
    programs.verify(Some(&admin), INVALID);
    let (_, admin) = log_in(&server, "admin", password.trim());
    programs.verify(Some(&admin), &format!("{somebody} admin,user"));

    assert!(server.stop().success());
    programs.verify(Some(&admin), &format!("{somebody} admin,user"));
    programs.authorize(Some(&admin), "users:read", OUTAGE);
    programs.advance(301);
    programs.verify(Some(&admin), OUTAGE);
}

#[test]
fn other_services_accept_access_tokens_of_vestibule_alone() {
    let (key, imposter) = (Key::new("1"), Key::new("1"));
    let vestibule = StandIn::start(&[&key]);
    let Some(mut programs) = Programs::start(ISSUER, &vestibule.url) else { return };
    let now = jsonwebtoken::get_current_timestamp();
    programs.verify(Some(&key.sign(|_, _| {})), "somebody user");
    programs.verify(Some(&key.sign(|_, claims| claims["iat"] = json!(now + 60))), "somebody user"); // their clock is behind

    let bad: &[(&str, Change)] = &[
        ("an ID token", |header, _| header.typ = Some("JWT".into())),
        ("of no kind", |header, _| header.typ = None),
        ("of another issuer", |_, claims| claims["iss"] = json!("https://evil.example")),
        ("of an issuer that only looks the same", |_, claims| claims["iss"] = json!("https://id.example.org/")),
        ("for another audience", |_, claims| claims["aud"] = json!("shop")),
        ("expired", |_, claims| claims["exp"] = json!(jsonwebtoken::get_current_timestamp() - 1)),
        ("without end", |_, claims| _ = claims.as_object_mut().unwrap().remove("exp")),
        ("of nobody", |_, claims| _ = claims.as_object_mut().unwrap().remove("sub")),
        ("of an unknown key", |header, _| header.kid = Some("2".into())),
    ];
    for (_, change) in bad {
        programs.verify(Some(&key.sign(change)), INVALID);
    }
    programs.verify(Some(&imposter.sign(|_, _| {})), INVALID);
    for garbage in
        ["Bearer nonsense", "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30.", &format!("Bearer {}.a.b", "W1tb".repeat(3000))]
    {
        programs.verify(Some(garbage), INVALID);
    }
    for no_token in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic YTpi"), Some("Bearer two words")] {
        programs.verify(no_token, "401 Bearer");
        programs.authorize(no_token, "users:read", "401 Bearer");
    }
}

#[rstest]
#[case::failing(Health::Answers("500 Internal Server Error"))]
#[case::busy(Health::Answers("503 Service Unavailable"))]
#[case::throttling(Health::Answers("429 Too Many Requests"))]
#[case::not_there(Health::Answers("404 Not Found"))]
#[case::behind_a_portal(Health::Page)]
#[case::hanging_up(Health::HangsUp)]
fn an_outage_is_no_fault_of_the_token(#[case] outage: Health) {
    let (key, unknown) = (Key::new("1"), Key::new("2"));
    let vestibule = StandIn::start(&[&key]);
    let Some(mut programs) = Programs::start(ISSUER, &vestibule.url) else { return };
    let token = key.sign(|_, _| {});
    vestibule.fall(outage);
    programs.verify(Some(&token), OUTAGE);
    vestibule.fall(Health::Well);
    programs.verify(Some(&token), "somebody user");

    vestibule.fall(outage);
    programs.authorize(Some(&token), "users:read", OUTAGE);
    programs.advance(240);
    programs.verify(Some(&token), "somebody user");
    programs.verify(Some(&unknown.sign(|_, _| {})), OUTAGE);
    programs.verify(Some("Bearer nonsense"), INVALID);
    programs.advance(61);
    programs.verify(Some(&token), OUTAGE);
    vestibule.fall(Health::Well);
    programs.verify(Some(&token), "somebody user");
}

#[test]
#[ignore = "takes half a minute"]
fn long_a_vestibule_that_is_frozen_is_an_outage_too() {
    let key = Key::new("1");
    let vestibule = StandIn::start(&[&key]);
    let Some(mut programs) = Programs::start(ISSUER, &vestibule.url) else { return };
    vestibule.fall(Health::Silent);
    programs.verify(Some(&key.sign(|_, _| {})), OUTAGE);
    programs.authorize(Some("Bearer token"), "users:read", OUTAGE);
}

#[test]
fn vestibules_own_refusals_are_passed_on() {
    let vestibule = StandIn::start(&[]);
    let Some(mut programs) = Programs::start(ISSUER, &vestibule.url) else { return };
    for (status, refusal) in [("401 Unauthorized", INVALID), ("403 Forbidden", r#"403 Bearer error="invalid_token""#)] {
        vestibule.fall(Health::Answers(status));
        programs.authorize(Some("Bearer token"), "users:read", refusal);
    }
}

#[test]
fn a_new_key_is_read_when_a_token_names_it_but_not_for_every_token_that_names_none() {
    let (old, new) = (Key::new("1"), Key::new("2"));
    let vestibule = StandIn::start(&[&old]);
    let Some(mut programs) = Programs::start(ISSUER, &vestibule.url) else { return };
    programs.verify(Some(&old.sign(|_, _| {})), "somebody user");
    vestibule.publish(&[&old, &new]);
    programs.advance(31);
    programs.verify(Some(&new.sign(|_, _| {})), "somebody user");
    let reads = vestibule.reads();
    for _ in 0..5 {
        programs.verify(Some(&old.sign(|header, _| header.kid = Some("3".into()))), INVALID);
    }
    assert_eq!((reads, vestibule.reads()), (6, 6), "twice by each of three programs");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Logs in: the account's id, and an `Authorization` header.
fn log_in(server: &Server, identifier: &str, password: &str) -> (String, String) {
    let credentials = json!({ "identifier": identifier, "password": password });
    let mut answer = ureq::post(format!("{}/v1/sessions", server.url)).send_json(credentials).unwrap();
    let token = answer.body_mut().read_json::<Value>().unwrap()["access_token"].as_str().unwrap().to_owned();
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(&token).unwrap().claims;
    (claims["sub"].as_str().unwrap().to_owned(), format!("Bearer {token}"))
}

/// Revokes the key that signed this caller's token.
fn revoke_the_key(server: &Server, authorization: &str) {
    let token = authorization.strip_prefix("Bearer ").unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let url = format!("{}/v1/signing-keys/{kid}", server.url);
    let answer = ureq::delete(url).header("Authorization", authorization).call().unwrap();
    assert_eq!(answer.status(), 204);
}

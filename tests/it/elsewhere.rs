//! Other services verify access tokens: runs the programs for Node, Python and Rust that the guide shows.

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
use crate::support::{PASSWORD, binary::Server, directory};

const INVALID: &str = r#"401 Bearer error="invalid_token""#;
const OUTAGE: &str = "503 Retry-After: 5";

/// Changes the header or the claims of a valid token.
type Change = fn(&mut Header, &mut Value);

#[test]
fn the_guide_shows_the_rust_program_that_is_tested() {
    assert_eq!(shown("rust,ignore"), include_str!("elsewhere/verify.rs"));
}

#[test]
fn other_services_accept_tokens_until_the_signing_key_is_revoked_and_report_an_outage_as_503() {
    let issuer = "https://id.example.org";
    let directory = directory::temporary();
    let listen = format!("127.0.0.1:{}", free_port());
    let server = Server::start(directory.path(), &[("VESTIBULE_SERVER__LISTEN", &listen), ("VESTIBULE_TOKENS__ISSUER", issuer)]);
    let Some(mut programs) = Programs::start(issuer, &server.url) else { return };
    let password = fs::read_to_string(directory.path().join("data/initial-admin-password")).unwrap();
    let (admin_id, admin) = log_in(&server, "admin", password.trim());
    programs.verify(Some(&admin), &format!("{admin_id} admin,user"));
    programs.authorize(Some(&admin), "users:read", &format!("{admin_id} may"));
    programs.authorize(Some(&admin), "billing:refund", &format!("{admin_id} may"));

    let account = json!({ "email": "ada@example.org", "username": "ada", "password": PASSWORD });
    ureq::post(format!("{}/v1/accounts", server.url)).send_json(account).unwrap();
    let (_, ada) = log_in(&server, "ada", PASSWORD);
    programs.authorize(Some(&ada), "users:read", r#"403 Bearer error="insufficient_scope", scope="users:read""#);

    revoke_key_of(&server, &admin);
    programs.verify(Some(&admin), &format!("{admin_id} admin,user"));
    let challenge = r#"realm="vestibule", error="invalid_token", error_description="The access token is not valid.""#;
    programs.authorize(Some(&admin), "users:read", &format!("401 Bearer {challenge}"));
    programs.advance(301);
    programs.verify(Some(&admin), INVALID);
    let (_, admin) = log_in(&server, "admin", password.trim());
    programs.verify(Some(&admin), &format!("{admin_id} admin,user"));

    assert!(server.stop().success());
    programs.verify(Some(&admin), &format!("{admin_id} admin,user"));
    programs.authorize(Some(&admin), "users:read", OUTAGE);
    programs.advance(301);
    programs.verify(Some(&admin), OUTAGE);
}

#[test]
fn other_services_accept_only_valid_access_tokens_of_vestibule() {
    let (key, imposter) = (Key::new("1"), Key::new("1"));
    let vestibule = StandIn::start(&[&key]);
    let Some(mut programs) = Programs::start(ISSUER, &vestibule.url) else { return };
    let now = jsonwebtoken::get_current_timestamp();
    programs.verify(Some(&key.sign(|_, _| {})), "somebody user");
    programs.verify(Some(&key.sign(|_, claims| claims["iat"] = json!(now + 60))), "somebody user"); // the verifier's clock is behind

    let invalid: &[(&str, Change)] = &[
        ("an ID token", |header, _| header.typ = Some("JWT".into())),
        ("of no type", |header, _| header.typ = None),
        ("of another issuer", |_, claims| claims["iss"] = json!("https://evil.example")),
        ("of an issuer that differs by a slash", |_, claims| claims["iss"] = json!("https://id.example.org/")),
        ("for another audience", |_, claims| claims["aud"] = json!("shop")),
        ("expired", |_, claims| claims["exp"] = json!(jsonwebtoken::get_current_timestamp() - 1)),
        ("without an expiry", |_, claims| _ = claims.as_object_mut().unwrap().remove("exp")),
        ("without a subject", |_, claims| _ = claims.as_object_mut().unwrap().remove("sub")),
        ("of an unknown key", |header, _| header.kid = Some("2".into())),
    ];
    for (_, change) in invalid {
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
#[case::failing(Health::Status("500 Internal Server Error"))]
#[case::busy(Health::Status("503 Service Unavailable"))]
#[case::throttling(Health::Status("429 Too Many Requests"))]
#[case::not_found(Health::Status("404 Not Found"))]
#[case::behind_a_portal(Health::Page)]
#[case::closing_connections(Health::ClosesConnections)]
fn an_outage_is_reported_as_503_and_not_as_an_invalid_token(#[case] outage: Health) {
    let (key, unknown) = (Key::new("1"), Key::new("2"));
    let vestibule = StandIn::start(&[&key]);
    let Some(mut programs) = Programs::start(ISSUER, &vestibule.url) else { return };
    let token = key.sign(|_, _| {});
    vestibule.set_health(outage);
    programs.verify(Some(&token), OUTAGE);
    vestibule.set_health(Health::Healthy);
    programs.verify(Some(&token), "somebody user");

    vestibule.set_health(outage);
    programs.authorize(Some(&token), "users:read", OUTAGE);
    programs.advance(240);
    programs.verify(Some(&token), "somebody user");
    programs.verify(Some(&unknown.sign(|_, _| {})), OUTAGE);
    programs.verify(Some("Bearer nonsense"), INVALID);
    programs.advance(61);
    programs.verify(Some(&token), OUTAGE);
    vestibule.set_health(Health::Healthy);
    programs.verify(Some(&token), "somebody user");
}

#[test]
#[ignore = "takes half a minute"]
fn long_a_vestibule_that_does_not_respond_is_reported_as_an_outage() {
    let key = Key::new("1");
    let vestibule = StandIn::start(&[&key]);
    let Some(mut programs) = Programs::start(ISSUER, &vestibule.url) else { return };
    vestibule.set_health(Health::Unresponsive);
    programs.verify(Some(&key.sign(|_, _| {})), OUTAGE);
    programs.authorize(Some("Bearer token"), "users:read", OUTAGE);
}

#[test]
fn vestibules_401_and_403_are_passed_on() {
    let vestibule = StandIn::start(&[]);
    let Some(mut programs) = Programs::start(ISSUER, &vestibule.url) else { return };
    for (status, expected) in [("401 Unauthorized", INVALID), ("403 Forbidden", r#"403 Bearer error="invalid_token""#)] {
        vestibule.set_health(Health::Status(status));
        programs.authorize(Some("Bearer token"), "users:read", expected);
    }
}

#[test]
fn the_key_set_is_read_again_for_a_new_key_id_but_not_for_every_unknown_one() {
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
    assert_eq!((reads, vestibule.reads()), (6, 6), "each of the three programs reads the key set twice");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Logs in. Returns the account's id and an `Authorization` header.
fn log_in(server: &Server, identifier: &str, password: &str) -> (String, String) {
    let credentials = json!({ "identifier": identifier, "password": password });
    let mut answer = ureq::post(format!("{}/v1/sessions", server.url)).send_json(credentials).unwrap();
    let token = answer.body_mut().read_json::<Value>().unwrap()["access_token"].as_str().unwrap().to_owned();
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(&token).unwrap().claims;
    (claims["sub"].as_str().unwrap().to_owned(), format!("Bearer {token}"))
}

/// Revokes the signing key of the caller's own token.
fn revoke_key_of(server: &Server, authorization: &str) {
    let token = authorization.strip_prefix("Bearer ").unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let url = format!("{}/v1/signing-keys/{kid}", server.url);
    let answer = ureq::delete(url).header("Authorization", authorization).call().unwrap();
    assert_eq!(answer.status(), 204);
}

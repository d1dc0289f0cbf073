//! The real binary with a wrong clock: libfaketime shows the process another time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use totp_rs::{Builder, Secret};
use ureq::http::Method;

use super::{empty_directory, initial_password, run, run_with, sql, until};

use crate::support::binary::{self, Server};

const PASSWORD: &str = "ada likes tall ships";

/// Returns the path of Debian's `libfaketime`.
pub fn libfaketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|path| path.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// The tables from which old rows are deleted, and those whose rows go with them.
const TABLES: [&str; 16] = [
    "audit_events",
    "challenges",
    "closed_accounts",
    "factors",
    "known_networks",
    "mails",
    "pending_totps",
    "recovery_codes",
    "redeemed_ceremonies",
    "revocations",
    "sessions",
    "signing_keys",
    "tallies",
    "throttles",
    "ticket_handles",
    "tickets",
];

/// Lets a user enrol an authenticator app and begin what expires in minutes: another app, a log-in, and a reset.
fn begin_much(dir: &Path, server: &Server) {
    run_with(dir, "user create cleo@example.org --password-stdin", &[], PASSWORD).done();
    let token = server.log_in("cleo@example.org", PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
    let post = |token: &str, path: &str, body: Value| server.send(Method::POST, path, token, Some(body.to_string()));
    let started = post(&token, "/v1/me/factors/totp", json!({})).json();
    let secret = Secret::try_from_base32(started["secret"].as_str().unwrap()).unwrap();
    let code = Builder::new().with_secret(secret).build().unwrap().generate_current().to_string();
    let confirm = format!("/v1/me/factors/totp/{}/confirm", started["id"].as_str().unwrap());
    let enrolled = post(&token, &confirm, json!({ "code": code })).json();
    let token = enrolled["tokens"]["access_token"].as_str().unwrap();
    assert_eq!(post(token, "/v1/me/factors/totp", json!({})).status, 201);
    run_with(dir, "user create dora@example.org --password-stdin", &[], PASSWORD).done();
    let dora = server.log_in("dora@example.org", PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
    let close = json!({ "current_password": PASSWORD }).to_string();
    assert_eq!(server.send(Method::DELETE, "/v1/me", &dora, Some(close)).status, 204);
    let challenge = server.log_in("cleo@example.org", PASSWORD).json()["challenge"].clone();
    let body = json!({ "challenge": challenge, "factor": { "kind": "recovery_code", "code": "0000-0000-0000-0000" } });
    assert_eq!(server.post("/v1/sessions/second-factor", &body).status, 401);
    assert_eq!(server.post("/v1/password-resets", &json!({ "identifier": "cleo@example.org" })).status, 202);
}

#[test]
fn s08_no_start_with_a_wrong_clock_revives_a_token_or_deletes_a_row() {
    let Some(library) = libfaketime() else {
        return binary::not_tested("starts with a wrong clock", "libfaketime is missing");
    };
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.register("ada@example.org", PASSWORD).status, 201);
    let log_in = || server.log_in("ada@example.org", PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
    let (out, disabled) = (log_in(), log_in());
    assert_eq!(server.send(Method::DELETE, "/v1/me/sessions/current", &out, None).status, 204);
    run(dir.path(), "user disable ada@example.org").done();
    assert_eq!(server.log_in("admin", &initial_password(dir.path())).status, 201);
    assert_eq!(server.log_in("admin", "this is not it").status, 401);
    begin_much(dir.path(), &server);
    assert!(server.stop().success());

    // No browser takes part, so a redeemed ceremony is written as one that expires with the challenge.
    let like = "SELECT randomblob(16), expires_at FROM challenges";
    sql(dir.path(), &format!("INSERT INTO redeemed_ceremonies (id, expires_at) {like}"));
    let rows = || TABLES.map(|table| sql(dir.path(), &format!("SELECT count(*) || '' FROM {table}")).remove(0));
    let before = rows();
    assert!(before.iter().all(|count| count != "0"), "{TABLES:?} have {before:?} rows");
    for wrong in ["+62m", "+25h", "+400d", "-1d", "-400d"] {
        let mut command = binary::command(dir.path(), &[("FAKETIME", wrong)]);
        command.env("LD_PRELOAD", &library);
        let server = Server::spawn(command);
        assert_eq!(server.get("/readyz").status, 200);
        let log = server.log.clone();
        assert!(server.stop().success());
        let doubted = log.text().contains("this machine's clock may be wrong");
        assert_eq!(doubted, wrong != "+62m", "{wrong}: {}", log.text());

        let server = Server::start(dir.path(), &[]);
        for token in [&out, &disabled] {
            assert_eq!(server.get_as(token, "/v1/token").problem(), (401, "session_ended".into()), "{wrong}");
        }
        assert!(server.stop().success());
        assert_eq!(rows(), before, "{wrong}");
    }
    let said = run(dir.path(), "clock accept").done();
    assert!(
        said.starts_with("The clock is accepted: it is 20") && said.ends_with("Z. Servers delete old data again.\n"),
        "{said}"
    );

    // The same starts delete what has expired once the operator says that the clock is right.
    let later = |arguments: &[&str]| {
        let mut command = binary::command(dir.path(), &[("FAKETIME", "+25h")]);
        command.env("LD_PRELOAD", &library).args(arguments);
        command
    };
    assert!(later(&["clock", "accept"]).output().unwrap().status.success());
    let server = Server::spawn(later(&[]));
    let expired = ["challenges", "pending_totps", "redeemed_ceremonies", "tickets", "ticket_handles"];
    let are_gone = || expired.iter().all(|table| sql(dir.path(), &format!("SELECT count(*) || '' FROM {table}"))[0] == "0");
    until(are_gone);
    assert!(server.stop().success());
}

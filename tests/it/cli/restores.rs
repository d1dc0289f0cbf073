//! A restore brings nothing back to life (row O01): what was ended, disabled, deleted, reset, used, sent or revoked after the backup
//! stays so. People act before the backup, after it, and after the restore, with the tokens of all three times.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use ureq::http::Method;

use super::{
    empty_directory, files, initial_password, installed,
    people::{App, ORIGIN, PASSWORD, SETTINGS, Tokens, address, call, challenge, complete, refresh, sign_in},
    run_with, sql, sql_in, until,
};
use crate::support::{
    binary::Server,
    mail_text,
    passkey_device::PasskeyDevice,
    postgres::{TemporaryPostgres, find_server, unprivileged},
};

const NEW_PASSWORD: &str = "eight tall ships at dusk";
/// The people of the story. The name says what happens to each of them after the backup.
const PEOPLE: [&str; 9] = ["calm", "ended", "disabled", "deleted", "reset", "demoted", "moved", "enrolled", "lost"];

/// The mails of an installation: the recipient and the subject of each file.
fn mails(dir: &Path) -> BTreeMap<String, String> {
    let folder = dir.join("data/mail");
    let read = |name: &String| fs::read_to_string(folder.join(name)).unwrap();
    files(&folder)
        .into_iter()
        .filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "eml"))
        .map(|name| (name.clone(), read(&name)))
        .collect()
}

/// What people hold who acted before and after the backup.
struct Held {
    tokens: Vec<(String, Tokens)>,
    reset_link: String,
    challenge: Value,
    app: App,
    codes: Vec<Value>,
    used_code: String,
    passkey_proof: Value,
    role: &'static str,
    revoked_key: String,
    sent: BTreeMap<String, String>,
}

fn kid_of(server: &Server) -> Vec<String> {
    let keys = server.get("/.well-known/jwks.json").json()["keys"].as_array().unwrap().clone();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Everybody acts, a backup is made in between, and everybody acts again. Returns what they hold. The backup is `backup.db`.
fn live_through(dir: &Path) -> Held {
    let server = Server::start(dir, SETTINGS);
    for name in PEOPLE {
        run_with(dir, &format!("user create {name}@example.org --password-stdin"), SETTINGS, PASSWORD).done();
    }
    let admin = Tokens::of(&sign_in(&server, "admin", &initial_password(dir)));
    let admin_call = |method: Method, path: &str, body: Value| call(&server, &method, path, &admin.access, &body);
    let ids: BTreeMap<_, _> = admin_call(Method::GET, "/v1/users?limit=100", Value::Null)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| (user["email"].as_str().unwrap().to_owned(), user["id"].as_str().unwrap().to_owned()))
        .collect();
    let id = |name: &str| &ids[&address(name)];
    let role = "auditor";
    admin_call(Method::POST, "/v1/roles", json!({ "name": role, "permissions": ["audit:read", "users:read"] }));
    for name in ["demoted", "calm"] {
        admin_call(Method::PUT, &format!("/v1/users/{}/roles", id(name)), json!({ "roles": [role, "user"] }));
    }
    let mut tokens: Vec<(String, Tokens)> =
        PEOPLE.map(|name| (name.to_owned(), Tokens::of(&sign_in(&server, &address(name), PASSWORD)))).to_vec();
    let token_of = |name: &str| tokens.iter().find(|(of, _)| of == name).unwrap().1.clone();
    let (app, enrolled) = App::enrol(&server, &token_of("lost").access);
    let codes = enrolled["recovery_codes"].as_array().unwrap().clone();
    let pending = challenge(&server, "lost");
    let mut device = PasskeyDevice::default();
    let runtime = Runtime::new().unwrap();
    let calm = token_of("calm").access;
    let made = call(&server, &Method::POST, "/v1/me/factors/passkey/options", &calm, &Value::Null);
    let credential = runtime.block_on(device.make(ORIGIN, &made["options"]));
    let body = json!({ "ceremony": made["ceremony"], "credential": credential });
    call(&server, &Method::POST, "/v1/me/factors/passkey", &calm, &body);
    let begun = call(&server, &Method::POST, "/v1/passkeys/options", "", &json!({}));
    let credential = runtime.block_on(device.sign(ORIGIN, &begun["options"]));
    let passkey_proof = json!({ "ceremony": begun["ceremony"], "credential": credential });
    assert_eq!(server.post("/v1/password-resets", &json!({ "identifier": address("reset") })).status, 202);
    until(|| mails(dir).values().any(|mail| mail_text::token(mail).is_some()));
    let reset_link = mails(dir).values().find_map(|mail| mail_text::token(mail)).unwrap();
    tokens.push(("admin".to_owned(), admin.clone()));

    run_with(dir, "backup backup.db", SETTINGS, "").done();

    let before: BTreeMap<_, _> = tokens.iter().cloned().collect();
    let mut next = before["moved"].clone();
    for _ in 0..2 {
        // The serial of these tokens is ahead of that in the backup.
        next = Tokens::of(&refresh(&server, &next.refresh));
        tokens.push(("moved".to_owned(), next.clone()));
    }
    let since = |name: &str| Tokens::of(&sign_in(&server, &address(name), PASSWORD));
    for name in ["ended", "disabled", "demoted", "enrolled"] {
        tokens.push((name.to_owned(), since(name)));
    }
    call(&server, &Method::DELETE, "/v1/me/sessions", &before["ended"].access, &Value::Null);
    admin_call(Method::PATCH, &format!("/v1/users/{}", id("disabled")), json!({ "status": "disabled" }));
    admin_call(Method::DELETE, &format!("/v1/users/{}", id("deleted")), Value::Null);
    let proof = json!({ "proof": { "kind": "link", "token": reset_link }, "new_password": NEW_PASSWORD });
    assert!(server.post("/v1/password-resets/complete", &proof).status < 300);
    admin_call(Method::PUT, &format!("/v1/users/{}/roles", id("demoted")), json!({ "roles": ["user"] }));
    admin_call(Method::PUT, &format!("/v1/roles/{role}"), json!({ "permissions": ["audit:read"] }));
    admin_call(Method::PATCH, &format!("/v1/users/{}", id("moved")), json!({ "email": "moved@example.com" }));
    let used_code = app.code(0);
    let done = complete(&server, &pending, &json!({ "kind": "totp", "code": used_code }));
    tokens.push(("lost".to_owned(), Tokens::of(&done)));
    let code = json!({ "kind": "recovery_code", "code": codes[0] });
    tokens.push(("lost".to_owned(), Tokens::of(&complete(&server, &challenge(&server, "lost"), &code))));
    App::enrol(&server, &since("enrolled").access);
    tokens.push(("calm".to_owned(), Tokens::of(&server.post("/v1/sessions/passkey", &passkey_proof))));
    assert_eq!(server.register("new@example.org", PASSWORD).status, 201);
    tokens.push(("new".to_owned(), since("new")));
    let revoked_key = kid_of(&server).remove(0);
    run_with(dir, &format!("key revoke {revoked_key}"), SETTINGS, "").done();
    tokens.push(("ended".to_owned(), since("ended"))); // signed with a key that the backup does not have
    assert!(server.stop().success());
    let sent = mails(dir);
    Held { tokens, reset_link, challenge: pending, app, codes, used_code, passkey_proof, role, revoked_key, sent }
}

/// After a restore: nothing that was issued earlier is valid, and nothing happens twice.
fn check_that_nothing_came_back(dir: &Path, server: &Server, held: &Held) {
    for (name, tokens) in &held.tokens {
        let answer = server.get_as(&tokens.access, "/v1/me");
        assert_eq!(answer.status, 401, "an access token of {name}: {}", answer.text);
        assert_eq!(refresh(server, &tokens.refresh).problem(), (401, "invalid_refresh_token".to_owned()), "{name}");
    }
    let keys = kid_of(server);
    assert!(!keys.contains(&held.revoked_key) && keys.len() == 1, "only the new key is published: {keys:?}");
    let proof = json!({ "proof": { "kind": "link", "token": held.reset_link }, "new_password": "nine tall ships at noon" });
    let answer = server.post("/v1/password-resets/complete", &proof);
    assert!(answer.status >= 400, "a link that was used: {}", answer.text);
    let used = json!({ "kind": "totp", "code": held.used_code });
    assert_eq!(complete(server, &held.challenge, &used).problem(), (401, "invalid_challenge".to_owned()));
    let pending = challenge(server, "lost");
    for factor in [used, json!({ "kind": "totp", "code": held.app.code(0) })] {
        assert_eq!(complete(server, &pending, &factor).problem(), (401, "wrong_factor".to_owned()), "a code that may be used");
    }
    for code in &held.codes[..3] {
        let answer = complete(server, &challenge(server, "lost"), &json!({ "kind": "recovery_code", "code": code }));
        assert_eq!(answer.problem(), (401, "wrong_factor".to_owned()), "a recovery code");
    }
    let answer = server.post("/v1/sessions/passkey", &held.passkey_proof);
    assert_eq!(answer.status, 401, "a ceremony that was redeemed: {}", answer.text);

    // Only the owner of recovery codes receives a mail; nothing is sent again.
    let new =
        || mails(dir).into_iter().filter(|(name, _)| !held.sent.contains_key(name)).map(|(_, mail)| mail).collect::<Vec<_>>();
    until(|| new().iter().any(|mail| mail.contains("recovery codes of your account")));
    let others: Vec<_> = new().into_iter().filter(|mail| !mail.contains("recovery codes of your account")).collect();
    let others: Vec<_> = others.iter().filter(|mail| !mail.contains("wrong")).collect(); // of the wrong factors above
    assert!(others.is_empty(), "{others:#?}");
}

/// The backup may have mails that were not sent yet when it was made.
fn make_all_mails_of_the_backup_wait(backup: &Path) {
    sql_in(backup, "UPDATE mails SET state = 'queued', next_at = created_at, sent_at = NULL");
}

#[test]
fn o01_a_restore_brings_nothing_back_to_life_and_keeps_what_changed_since() {
    let dir = empty_directory();
    let held = live_through(dir.path());
    make_all_mails_of_the_backup_wait(&dir.path().join("backup.db"));
    let said = run_with(dir.path(), "restore backup.db", SETTINGS, "").done();
    assert!(said.contains("5 accounts changed and 1 deleted"), "{said}");

    let server = Server::start(dir.path(), SETTINGS);
    check_that_nothing_came_back(dir.path(), &server, &held);
    let log_in = |name: &str, password: &str| sign_in(&server, &address(name), password);
    for (name, password) in
        [("disabled", PASSWORD), ("deleted", PASSWORD), ("reset", PASSWORD), ("moved", PASSWORD), ("new", PASSWORD)]
    {
        assert!([401, 403].contains(&log_in(name, password).status), "{name}");
    }
    challenge(&server, "enrolled"); // the password alone is no longer enough
    for (name, password) in [("ended", PASSWORD), ("reset", NEW_PASSWORD), ("demoted", PASSWORD)] {
        Tokens::of(&log_in(name, password));
    }
    Tokens::of(&sign_in(&server, "moved@example.com", PASSWORD));
    assert_eq!(server.get_as(&Tokens::of(&log_in("demoted", PASSWORD)).access, "/v1/audit-events").status, 403);
    let admin = Tokens::of(&sign_in(&server, "admin", &initial_password(dir.path())));
    let role = server.get_as(&admin.access, &format!("/v1/roles/{}", held.role)).json();
    assert_eq!(role["permissions"], json!(["audit:read"]));
    for kind in ["user.deleted", "database.restored"] {
        let events = server.get_as(&admin.access, &format!("/v1/audit-events?kind={kind}")).json();
        assert_eq!(events["items"].as_array().unwrap().len(), 1, "{kind}");
    }
    let after = Tokens::of(&refresh(&server, &admin.refresh));
    assert!(server.stop().success());

    // The same backup again: it undoes nothing of the first restore.
    run_with(dir.path(), "restore backup.db", SETTINGS, "").done();
    let server = Server::start(dir.path(), SETTINGS);
    assert_eq!(server.get_as(&after.access, "/v1/me").status, 401);
    assert_eq!(refresh(&server, &after.refresh).status, 401);
    assert_eq!(sign_in(&server, &address("disabled"), PASSWORD).status, 403);
    assert_eq!(sign_in(&server, &address("reset"), PASSWORD).status, 401);
    assert!(server.stop().success());
}

#[test]
fn o01_without_the_former_database_a_restore_brings_no_token_link_or_code_back_to_life() {
    let dir = empty_directory();
    let held = live_through(dir.path());
    make_all_mails_of_the_backup_wait(&dir.path().join("backup.db"));
    fs::remove_file(dir.path().join("data/vestibule.db")).unwrap();
    run_with(dir.path(), "restore backup.db --accept-loss", SETTINGS, "").done();
    let server = Server::start(dir.path(), SETTINGS);
    check_that_nothing_came_back(dir.path(), &server, &held);
    // What the command has said: accounts are as they were at the time of the backup.
    for name in ["disabled", "deleted", "reset", "demoted", "enrolled"] {
        Tokens::of(&sign_in(&server, &address(name), PASSWORD));
    }
    assert_eq!(sign_in(&server, &address("new"), PASSWORD).status, 401);
    assert!(server.stop().success());
}

#[test]
fn o01_factors_that_were_added_since_open_after_the_restore_of_a_backup_from_before_there_were_factors() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), SETTINGS);
    run_with(dir.path(), "user create enrolled@example.org --password-stdin", SETTINGS, PASSWORD).done();
    run_with(dir.path(), "backup backup.db", SETTINGS, "").done();
    // An earlier version did not have these secrets.
    let secrets = "name IN ('factors', 'recovery codes', 'ceremonies')";
    sql_in(&dir.path().join("backup.db"), &format!("DELETE FROM secrets WHERE {secrets}"));
    let (app, _) = App::enrol(&server, &Tokens::of(&sign_in(&server, &address("enrolled"), PASSWORD)).access);
    assert!(server.stop().success());
    let database = dir.path().join("data/vestibule.db");
    let created =
        |database: &Path| sql_in(database, &format!("SELECT name || created_at FROM secrets WHERE {secrets} ORDER BY 1"));
    let before = created(&database);
    assert_eq!(before.len(), 3);

    run_with(dir.path(), "restore backup.db", SETTINGS, "").done();
    assert_eq!(created(&database), before);
    sql_in(&database, "UPDATE factors SET last_step = 0"); // as if time had passed, because codes of this time count as used
    let server = Server::start(dir.path(), SETTINGS);
    let code = json!({ "kind": "totp", "code": app.code(0) });
    Tokens::of(&complete(&server, &challenge(&server, "enrolled"), &code));
    assert!(server.stop().success());

    // Sealed under a master key that is not here, these secrets could not be opened after the restore.
    run_with(dir.path(), "key rewrap", SETTINGS, "").done();
    fs::rename(dir.path().join("data/master.key"), dir.path().join("new.key")).unwrap();
    fs::rename(dir.path().join("data/master.key.old"), dir.path().join("data/master.key")).unwrap();
    let said = run_with(dir.path(), "restore backup.db", SETTINGS, "").refused(1);
    assert!(said.contains("secrets that the backup lacks, sealed under another master key"), "{said}");
    run_with(dir.path(), "restore backup.db --accept-loss", SETTINGS, "").done();
}

#[test]
fn o01_an_invitation_that_was_revoked_or_accepted_since_is_not_pending_again() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), SETTINGS);
    let token = Tokens::of(&sign_in(&server, "admin", &initial_password(dir.path()))).access;
    let invite = |name: &str| {
        let invited = call(&server, &Method::POST, "/v1/invitations", &token, &json!({ "email": address(name) }));
        format!("/v1/invitations/{}", invited["id"].as_str().unwrap())
    };
    let revoked = invite("revoked");
    invite("pending");
    run_with(dir.path(), "backup backup.db", SETTINGS, "").done();
    call(&server, &Method::DELETE, &revoked, &token, &Value::Null);
    invite("later");
    assert!(server.stop().success());
    run_with(dir.path(), "restore backup.db", SETTINGS, "").done();

    let server = Server::start(dir.path(), SETTINGS);
    let token = Tokens::of(&sign_in(&server, "admin", &initial_password(dir.path()))).access;
    let pending = call(&server, &Method::GET, "/v1/invitations", &token, &Value::Null);
    let mut invited: Vec<_> = pending["items"].as_array().unwrap().iter().map(|invitation| invitation["email"].clone()).collect();
    invited.sort_by_key(ToString::to_string);
    assert_eq!(invited, [address("later"), address("pending")]);
    let resend = server.send(Method::POST, &format!("{revoked}/resend"), &token, None);
    assert_eq!(resend.status, 404, "{}", resend.text);
    assert!(server.stop().success());
}

#[test]
fn o01_with_a_shared_secret_tokens_from_before_a_restore_are_refused() {
    let dir = empty_directory();
    let mut settings = SETTINGS.to_vec();
    settings.extend([
        ("VESTIBULE_SIGNING__ALGORITHM", "HS256"),
        ("VESTIBULE_SIGNING__SECRET", "9f8c1d0b7a6e5f4d3c2b1a0918273645abcdef12"),
    ]);
    let server = Server::start(dir.path(), &settings);
    let admin = initial_password(dir.path());
    let before = Tokens::of(&sign_in(&server, "admin", &admin));
    run_with(dir.path(), "backup backup.db", &settings, "").done();
    // No revocation of this session is in the backup, and no key is revoked: only its time tells that the token is too old.
    let between = Tokens::of(&sign_in(&server, "admin", &admin));
    assert!(server.stop().success());
    run_with(dir.path(), "restore backup.db", &settings, "").done();
    let server = Server::start(dir.path(), &settings);
    for tokens in [before, between] {
        assert_eq!(server.get_as(&tokens.access, "/v1/me").problem(), (401, "session_ended".to_owned()));
        assert_eq!(refresh(&server, &tokens.refresh).status, 401);
    }
    assert_eq!(server.get_as(&Tokens::of(&sign_in(&server, "admin", &admin)).access, "/v1/me").status, 200);
    assert!(server.stop().success());
}

/// Runs one of PostgreSQL's programs on the database `site`.
fn postgres_tool(postgres: &TemporaryPostgres, program: &str, arguments: &[&str]) {
    let mut command: Command = unprivileged(&find_server().unwrap().join(program));
    command.arg("--username=vestibule").arg("--host").arg(postgres.directory()).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the settings of an installation in the database at this URL.
fn on_postgres(url: &str) -> Vec<(&str, &str)> {
    let master_key = ("VESTIBULE_MASTER_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    [SETTINGS, &[("VESTIBULE_DATABASE__URL", url), master_key]].concat()
}

#[test]
fn o01_servers_refuse_a_postgres_database_that_went_back_until_restored_was_run() {
    let Some(postgres) = crate::support::postgres() else { return };
    postgres_tool(&postgres, "createdb", &["site"]);
    let dir: TempDir = empty_directory();
    let url = postgres.url("site");
    let settings = on_postgres(&url);
    let server = Server::start(dir.path(), &settings);
    assert_eq!(server.register("ada@example.org", PASSWORD).status, 201);
    let log_in = || Tokens::of(&sign_in(&server, "ada@example.org", PASSWORD));
    let before = log_in();
    let dump: PathBuf = postgres.directory().join("dump");
    let dump = dump.to_str().unwrap();
    postgres_tool(&postgres, "pg_dump", &["--format=custom", "--file", dump, "site"]);
    let between = Tokens::of(&refresh(&server, &before.refresh));
    let others = log_in();
    call(&server, &Method::DELETE, "/v1/me/sessions", &others.access, &Value::Null);
    assert_eq!(server.get_as(&between.access, "/v1/me").status, 401);

    postgres_tool(&postgres, "pg_restore", &["--clean", "--if-exists", "--dbname=site", dump]);
    until(|| server.get("/readyz").text.contains("vestibule restored"));
    assert_eq!(refresh(&server, &before.refresh).status, 503, "a session that had ended is not refreshed");
    assert_eq!(server.log_in("ada@example.org", PASSWORD).status, 503);
    assert!(server.log.text().contains("run `vestibule restored`"), "{}", server.log.text());

    let said = run_with(dir.path(), "restored", &settings, "").refused(1);
    assert!(said.contains("accounts that were disabled or deleted are active again"), "{said}");
    let said = run_with(dir.path(), "restored --accept-loss", &settings, "").done();
    assert!(said.contains("Ended 1 session,"), "{said}");
    until(|| server.get("/readyz").status == 200);
    for tokens in [before, between, others] {
        assert_eq!(server.get_as(&tokens.access, "/v1/me").status, 401);
        assert_eq!(refresh(&server, &tokens.refresh).status, 401);
    }
    let after = log_in();
    assert_eq!(server.get_as(&after.access, "/v1/me").status, 200);
    assert_eq!(refresh(&server, &after.refresh).status, 200);
    let said = run_with(dir.path(), "backup backup.db", &settings, "").refused(1);
    assert!(said.contains("pg_dump"), "{said}");
    let said = run_with(dir.path(), "restore Cargo.toml", &settings, "").refused(1);
    assert!(said.contains("there is no file Cargo.toml"), "{said}");
    assert!(server.stop().success());
}

/// Moves the newest event of a database an hour into the future, as if the clock had been ahead when it was recorded. Returns its id.
fn move_the_newest_event_ahead(dir: &Path) -> String {
    let newest = sql(dir, "SELECT hex(id) FROM audit_events ORDER BY id DESC LIMIT 1").remove(0);
    let millis = u64::from_str_radix(&newest[..12], 16).unwrap() + 3_600_000;
    let ahead = format!("{millis:012X}{}", &newest[12..]);
    sql(dir, &format!("UPDATE audit_events SET id = X'{ahead}' WHERE id = X'{newest}'"));
    ahead
}

#[test]
fn o01_events_since_the_backup_are_kept_although_the_clock_was_ahead_when_it_was_made() {
    let dir = installed();
    run_with(dir.path(), "user create ada@example.org --password-stdin", &[], PASSWORD).done();
    let ahead = move_the_newest_event_ahead(dir.path());
    run_with(dir.path(), "backup monday.db", &[], "").done();
    run_with(dir.path(), "user disable ada@example.org", &[], "").done();
    run_with(dir.path(), "backup tuesday.db", &[], "").done();
    run_with(dir.path(), "restore monday.db", &[], "").done();
    let events = sql(dir.path(), "SELECT kind || ' ' || hex(id) FROM audit_events ORDER BY id");
    assert!(events.iter().any(|event| event.starts_with("user.updated")), "{events:#?}");
    assert!(events.last().unwrap().ends_with(&ahead), "{events:#?}");

    // A database that is older than the backup has the newest event of both, and says nothing about what came after.
    fs::copy(dir.path().join("monday.db"), dir.path().join("data/vestibule.db")).unwrap();
    let said = run_with(dir.path(), "restore tuesday.db", &[], "").refused(1);
    assert!(said.contains("the present database is older than the backup"), "{said}");
}

#[test]
fn o01_servers_notice_that_a_postgres_database_was_restored_although_it_lacks_no_revocation() {
    let Some(postgres) = crate::support::postgres() else { return };
    postgres_tool(&postgres, "createdb", &["site"]);
    let dir = empty_directory();
    let url = postgres.url("site");
    let settings = on_postgres(&url);
    let server = Server::start(dir.path(), &settings);
    assert_eq!(server.register("ada@example.org", PASSWORD).status, 201);
    let before = Tokens::of(&sign_in(&server, "ada@example.org", PASSWORD));
    let dump = postgres.directory().join("dump");
    let dump = dump.to_str().unwrap();
    postgres_tool(&postgres, "pg_dump", &["--format=custom", "--file", dump, "site"]);
    assert_eq!(server.register("bea@example.org", PASSWORD).status, 201); // revokes nothing
    postgres_tool(&postgres, "pg_restore", &["--clean", "--if-exists", "--dbname=site", dump]);

    until(|| server.get("/readyz").text.contains("vestibule restored"));
    assert_eq!(refresh(&server, &before.refresh).status, 503);
    let said = run_with(dir.path(), "restored", &settings, "").refused(1);
    assert!(!said.contains("the backup of"), "nobody knows when the dump was made: {said}");
    run_with(dir.path(), "restored --accept-loss", &settings, "").done();
    until(|| server.get("/readyz").status == 200);
    let after = Tokens::of(&sign_in(&server, "ada@example.org", PASSWORD));
    assert_eq!(server.get_as(&after.access, "/v1/me").status, 200);
    assert!(server.stop().success());
}

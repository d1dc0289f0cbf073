//! The page "What to do when …" of the guide: each of its commands is run in the trouble that its section is about, and helps.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    thread,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use totp_rs::{Builder, Secret};
use ureq::http::Method;

use crate::{
    cli::{clocks::libfaketime, files, initial_password, metrics_address, run, run_with, sql},
    faults::cluster::{Cluster, DATABASE, ROLE},
    support::{
        binary::{self, Server, not_tested},
        directory,
        mail_server::{Answer::Say, MailServer, Script},
        mail_text,
        small_disk::SmallDisk,
    },
};

pub use crate::cli::until;

const PAGE: &str = include_str!("../../src/guide/trouble.md");
const PASSWORD: &str = "ada likes tall ships";
const METRICS: (&str, &str) = ("VESTIBULE_METRICS__LISTEN", "127.0.0.1:0");
/// 32 bytes in base64.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Returns the text of `/metrics`.
pub fn metrics(address: &str) -> String {
    ureq::get(format!("http://{address}/metrics")).call().unwrap().body_mut().read_to_string().unwrap()
}

/// Waits until the metrics contain this line.
fn until_metrics_say(address: &str, line: &str) {
    until(|| metrics(address).lines().any(|known| known == line));
}

fn unready(reason: &str, applies: bool) -> String {
    format!("vestibule_unready{{reason=\"{reason}\"}} {}", u8::from(applies))
}

/// Returns the blocks of commands of a section.
fn blocks(section: &str) -> Vec<&'static str> {
    let (_, text) = PAGE.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("there is no section {section}"));
    let text = text.split("\n## ").next().unwrap();
    text.split("\n```sh\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect()
}

/// Returns a block of commands of a section.
fn block(section: &str, number: usize) -> &'static str {
    blocks(section)[number]
}

/// Runs commands as an operator does in the directory of the server. Returns the output, and whether all of them succeeded.
fn run_block(dir: &Path, env: &[(&str, &str)], commands: &str) -> (String, bool) {
    let bin = tempfile::tempdir().unwrap();
    symlink(fs::canonicalize(binary::path()).unwrap(), bin.path().join("vestibule")).unwrap();
    let path = format!("{}:{}", bin.path().display(), env::var("PATH").unwrap());
    // Every command runs, also after one that fails. The exit code tells whether one did.
    let script = format!("failed=0; trap failed=1 ERR\n{commands}\nexit $failed");
    let mut command = binary::like(Command::new("bash"), dir, env);
    let output = command.args(["-c", &script]).env("PATH", path).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.success())
}

/// As [`run_block`], for commands that succeed.
fn helped(dir: &Path, env: &[(&str, &str)], commands: &str) -> String {
    let (output, succeeded) = run_block(dir, env, commands);
    assert!(succeeded, "{commands}: {output}");
    output
}

fn has(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap()).any(|folder| folder.join(program).exists())
}

/// The password that `user create` or `user set-password` has printed.
fn printed_password(output: &str) -> &str {
    output.rsplit_once(" Its password is ").unwrap().1.split_whitespace().next().unwrap()
}

#[test]
fn every_block_of_the_page_is_run_by_a_test() {
    let tests = include_str!("trouble.rs");
    let sections: Vec<_> = PAGE.split("\n## ").skip(1).map(|rest| rest.split_once('\n').unwrap().0).collect();
    let run: Vec<_> =
        sections.iter().flat_map(|section| (0..blocks(section).len()).map(move |number| (section, number))).collect();
    assert!(run.len() >= 10, "{run:?}");
    for (section, number) in run {
        assert!(tests.contains(&format!("block(\"{section}\", {number})")), "block {number} of {section:?} is not run");
    }
}

#[test]
fn a_server_that_does_not_start_says_why_in_two_commands() {
    let dir = directory::temporary();
    let commands = block("The server does not respond", 0);
    let (said, _) = run_block(dir.path(), &[("VESTIBULE_SERVER__HSTS", "perhaps")], commands);
    assert!(said.contains("`server.hsts`") && said.contains("VESTIBULE_SERVER__HSTS"), "{said}");
    run(dir.path(), "migrate up").done();
    helped(dir.path(), &[], commands);
    sql(dir.path(), "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_000001_flying_cars', 0)");
    let (said, _) = run_block(dir.path(), &[], commands);
    assert!(said.contains("The settings are valid.") && said.contains("newer version of Vestibule"), "{said}");
}

#[test]
fn the_largest_files_of_a_full_disk_are_found_and_the_service_resumes_when_there_is_room() {
    let dir = directory::temporary();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let Some(disk) = SmallDisk::mount(&data, 4) else {
        return not_tested("a full disk", "only root can mount a small disk");
    };
    let server = Server::start(dir.path(), &[METRICS]);
    let address = metrics_address(&server);
    let ballast = disk.fill();
    let mut number = 0;
    while server.register(&format!("ada{number}@example.org"), PASSWORD).status != 503 {
        number += 1; // the write-ahead log may have some free room inside
    }
    until_metrics_say(&address, &unready("database_read_only", true));
    let said = helped(dir.path(), &[], block("The disk is full", 0));
    assert!(said.contains("100%") && said.contains("data/ballast"), "{said}");
    ballast.set_len(0).unwrap();
    until_metrics_say(&address, &unready("database_read_only", false));
    assert_eq!(server.register("ada@example.org", PASSWORD).status, 201);
    drop(server);
    drop(disk);
}

#[test]
fn a_postgres_that_is_away_or_read_only_is_recognised_and_the_service_resumes() {
    let Some(cluster) = Cluster::start() else { return };
    if !has("psql") {
        return not_tested("the commands for PostgreSQL", "psql is not in the PATH");
    }
    let dir = directory::temporary();
    let host = cluster.socket().parent().unwrap().display().to_string();
    let url = format!("postgres://{ROLE}@localhost/{DATABASE}?host={host}");
    let env = [METRICS, ("VESTIBULE_DATABASE__URL", url.as_str()), ("VESTIBULE_MASTER_KEY", KEY)];
    let server = Server::start(dir.path(), &env);
    let address = metrics_address(&server);

    cluster.stop("fast");
    for reason in ["database_unreachable", "revocations_stale"] {
        until_metrics_say(&address, &unready(reason, true));
    }
    let away = block("The database does not respond", 0);
    let (said, succeeded) = run_block(dir.path(), &env, away);
    assert!(!succeeded && said.matches("No such file or directory").count() >= 2, "both commands name the cause: {said}");
    cluster.start_again(100);
    for reason in ["database_unreachable", "revocations_stale"] {
        until_metrics_say(&address, &unready(reason, false));
    }
    let said = helped(dir.path(), &env, away);
    assert!(said.contains("applied m2026") && said.contains("| 100"), "{said}");

    cluster.sql("postgres", &format!("ALTER DATABASE {DATABASE} SET default_transaction_read_only = on"));
    cluster.terminate("true");
    until_metrics_say(&address, &unready("database_read_only", true));
    let said = helped(dir.path(), &env, block("The database is read-only", 0));
    assert!(said.contains(" f                 | on"), "{said}");
    cluster.sql("postgres", &format!("ALTER DATABASE {DATABASE} RESET default_transaction_read_only"));
    until_metrics_say(&address, &unready("database_read_only", false));
    assert_eq!(server.register("ada@example.org", PASSWORD).status, 201);
}

#[test]
fn a_master_key_in_the_environment_of_a_running_server_is_found() {
    let dir = directory::temporary();
    let server = Server::start(dir.path(), &[("VESTIBULE_MASTER_KEY", KEY)]);
    // Other tests run servers too.
    let search = block("The master key is lost", 0).replace("$(pidof -s vestibule)", &server.id().to_string());
    let (said, _) = run_block(dir.path(), &[], &search);
    assert!(said.contains(&format!("VESTIBULE_MASTER_KEY={KEY}\n")), "{said}");
}

#[test]
fn after_the_loss_of_the_master_key_the_accounts_are_kept_and_get_new_passwords() {
    if !has("sqlite3") {
        return not_tested("the loss of the master key", "sqlite3 is not installed");
    }
    let dir = directory::temporary();
    let server = Server::start(dir.path(), &[]);
    let ada = account_with_a_factor(dir.path(), &server);
    let refused = server.log_in("ada@example.org", PASSWORD);
    assert_eq!(refused.problem(), (401, "second_factor_required".into()));
    assert!(server.stop().success());
    fs::remove_file(dir.path().join("data/master.key")).unwrap();
    let said = run(dir.path(), "serve").refused(1);
    assert!(said.contains("restore ./data/master.key, or set VESTIBULE_MASTER_KEY"), "{said}");

    let said = helped(dir.path(), &[], block("The master key is lost", 1));
    let server = Server::start(dir.path(), &[]);
    let admin = server.log_in("admin", printed_password(&said));
    assert_eq!(admin.status, 201, "{}", admin.text);
    let admin = admin.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(server.get_as(&admin, &format!("/v1/users/{ada}")).json()["email"], "ada@example.org");
    assert_eq!(server.get_as(&admin, "/v1/audit-events").status, 200);

    assert_eq!(server.log_in("ada@example.org", PASSWORD).problem(), (401, "invalid_credentials".into()));
    let pending = server.post("/v1/password-resets", &json!({ "identifier": "ada@example.org" })).json();
    let code = code_of_the_last_mail(dir.path());
    let proof = json!({ "kind": "code", "handle": pending["handle"], "code": code });
    let complete = json!({ "proof": proof, "new_password": "nine grey gulls at noon" });
    let done = server.post("/v1/password-resets/complete", &complete);
    assert_eq!(done.status, 204, "{}", done.text);
    let token = server.log_in("ada@example.org", "nine grey gulls at noon").json()["access_token"].as_str().unwrap().to_owned();
    enrol(&server, &token);
    assert_eq!(server.log_in("ada@example.org", "nine grey gulls at noon").problem(), (401, "second_factor_required".into()));
}

/// Creates an account with an authenticator app, and returns its id.
fn account_with_a_factor(dir: &Path, server: &Server) -> String {
    run_with(dir, "user create ada@example.org --password-stdin", &[], &format!("{PASSWORD}\n")).done();
    let token = server.log_in("ada@example.org", PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
    enrol(server, &token);
    let admin = server.log_in("admin", &initial_password(dir)).json()["access_token"].as_str().unwrap().to_owned();
    let users = server.get_as(&admin, "/v1/users?search=ada@example.org").json();
    users["items"][0]["id"].as_str().unwrap().to_owned()
}

/// Adds an authenticator app to the account of this token.
fn enrol(server: &Server, token: &str) {
    let started: Value = server.send(Method::POST, "/v1/me/factors/totp", token, Some("{}".to_owned())).json();
    let secret = Secret::try_from_base32(started["secret"].as_str().unwrap()).unwrap();
    let totp = Builder::new().with_secret(secret).build().unwrap();
    let code = totp.generate(seconds_since_1970()).to_string();
    let path = format!("/v1/me/factors/totp/{}/confirm", started["id"].as_str().unwrap());
    let confirmed = server.send(Method::POST, &path, token, Some(json!({ "code": code }).to_string()));
    assert_eq!(confirmed.status, 200, "{}", confirmed.text);
}

#[expect(clippy::disallowed_methods, reason = "the server of the test has the real clock")]
fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Waits for a mail with a code in the directory of a server whose mails become files.
fn code_of_the_last_mail(dir: &Path) -> String {
    let folder = dir.join("data/mail");
    for _ in 0..600 {
        let names = if folder.exists() { files(&folder) } else { Vec::new() };
        let mails = names.iter().rev().filter(|name| name.strip_suffix(".eml").is_some());
        let codes = mails.filter_map(|name| mail_text::code(&fs::read_to_string(folder.join(name)).unwrap()));
        if let Some(code) = codes.into_iter().next() {
            return code;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("no mail with a code within a minute");
}

#[test]
fn a_leaked_signing_key_is_revoked_by_its_id_in_the_list() {
    let dir = directory::temporary();
    let server = Server::start(dir.path(), &[]);
    let token = server.log_in("admin", &initial_password(dir.path())).json()["access_token"].as_str().unwrap().to_owned();
    let listed = run(dir.path(), "key list").done();
    let leaked = listed.split(' ').next().unwrap();
    let said = helped(dir.path(), &[], &block("A signing key has leaked", 0).replace("KID", leaked));
    assert!(said.contains(&format!("Revoked {leaked}: its tokens are rejected.")), "{said}");
    until(|| server.get_as(&token, "/v1/token").status == 401);
    assert_eq!(server.log_in("admin", &initial_password(dir.path())).status, 201);
}

#[test]
fn an_administrator_who_is_locked_out_gets_in_again() {
    let dir = directory::temporary();
    let server = Server::start(dir.path(), &[]);
    run(dir.path(), "user create bea@example.org --role admin").done();
    run(dir.path(), "user disable admin").done();
    assert_eq!(server.log_in("admin", &initial_password(dir.path())).problem().0, 403);
    let said = helped(dir.path(), &[], block("No administrator can log in", 0));
    assert!(said.contains("admin@vestibule.invalid admin disabled admin"), "{said}");
    let password = printed_password(&said);
    until(|| server.log_in("admin", password).status == 201);

    let said = helped(dir.path(), &[], block("No administrator can log in", 1));
    let token = server.log_in("ops@example.org", printed_password(&said)).json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(server.get_as(&token, "/v1/users").status, 200);
}

#[test]
fn a_clock_that_is_right_after_all_is_accepted_and_trusted_again() {
    let Some(library) = libfaketime() else {
        return not_tested("a clock in doubt", "libfaketime is missing");
    };
    let dir = directory::temporary();
    assert!(Server::start(dir.path(), &[]).stop().success());
    let library = library.display().to_string();
    let env = [METRICS, ("LD_PRELOAD", library.as_str()), ("FAKETIME", "+25h")];
    let server = Server::start(dir.path(), &env);
    let address = metrics_address(&server);
    until_metrics_say(&address, "vestibule_clock_trusted 0");
    assert_eq!(server.get("/readyz").status, 200);
    let said = helped(dir.path(), &env, block("The clock is wrong", 0));
    assert!(said.contains("UTC") && said.contains("The clock is accepted"), "{said}");
    until_metrics_say(&address, "vestibule_clock_trusted 1");
}

#[test]
fn the_answer_of_a_mail_server_that_refuses_is_shown() {
    let refusal = Say("553 5.7.1 the sender address belongs to another user");
    let mail_server = MailServer::start(Script { answers: vec![("MAIL", 0, refusal)], ..Script::default() });
    let (dir, port): (TempDir, _) = (directory::temporary(), mail_server.port.to_string());
    let env = [
        METRICS,
        ("VESTIBULE_SERVER__PUBLIC_URL", "https://id.example.org"),
        ("VESTIBULE_MAIL__TRANSPORT", "smtp"),
        ("VESTIBULE_MAIL__FROM", "id@example.org"),
        ("VESTIBULE_MAIL__SMTP__HOST", "127.0.0.1"),
        ("VESTIBULE_MAIL__SMTP__TLS", "none"),
        ("VESTIBULE_MAIL__SMTP__PORT", &port),
    ];
    let server = Server::start(dir.path(), &env);
    let address = metrics_address(&server);
    assert_eq!(server.register("ada@example.org", PASSWORD).status, 201);
    assert_eq!(server.post("/v1/password-resets", &json!({ "identifier": "ada@example.org" })).status, 202);
    until_metrics_say(&address, "vestibule_mail_transport_up 0");
    assert_eq!(server.get("/readyz").status, 200);
    let (said, succeeded) = run_block(dir.path(), &env, block("The mail server refuses mails", 0));
    assert!(!succeeded && said.contains("The settings are valid."), "{said}");
    assert!(said.contains("answered MAIL FROM with 553 5.7.1 the sender address belongs to another user"), "{said}");
    let admin = server.log_in("admin", &initial_password(dir.path())).json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(server.get_as(&admin, "/v1/mails?state=failed").status, 200);
}

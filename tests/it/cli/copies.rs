//! `vestibule copy` (row O02): all or nothing, and everybody gets in as before.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use ureq::http::Method;

use super::{
    Ran, empty_directory, files, initial_password, installed, kill,
    people::{App, PASSWORD, SETTINGS, Tokens, address, call, challenge, complete, refresh, sign_in},
    run_with, sql_in,
};
use crate::support::{
    binary::Server,
    postgres::{TemporaryPostgres, find_server, unprivileged},
};

const OTHER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// The key of the advisory lock that a migration holds.
const MIGRATION_LOCK: i64 = 0x7665_7374_6962_756C;
const FROM: &str = "sqlite:data/vestibule.db";
/// How many audit events the installation has whose copies are killed.
const EVENTS: u64 = 20_000;
/// How long such a copy takes on a fast machine, in milliseconds.
const LONGEST: u64 = 3_000;

fn copy(dir: &Path, to: &str) -> Ran {
    run_with(dir, &format!("copy --from {FROM} --to {to}"), SETTINGS, "")
}

/// Runs SQL in a database of PostgreSQL. Returns what it prints.
fn psql(postgres: &TemporaryPostgres, database: &str, sql: &str) -> String {
    let mut command = unprivileged(&find_server().unwrap().join("psql"));
    command.args(["--username=vestibule", "--no-psqlrc", "--tuples-only", "--no-align", "--dbname", database, "--command", sql]);
    let output = command.arg("--host").arg(postgres.directory()).output().unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Returns the file that was the database before a copy.
fn retired(dir: &Path) -> PathBuf {
    let name = files(&dir.join("data")).into_iter().find(|name| name.starts_with("vestibule.db.copied-")).unwrap();
    fs::canonicalize(dir.join("data").join(name)).unwrap()
}

/// Does something while another process is in a transaction, in which it has run this SQL.
fn beside(url: &str, sql: &str, work: impl FnOnce()) {
    Runtime::new().unwrap().block_on(async {
        let tx = Database::connect(url).await.unwrap().begin().await.unwrap();
        tx.execute_unprepared(sql).await.unwrap();
        work();
        tx.rollback().await.unwrap();
    });
}

#[test]
fn o02_after_a_copy_everybody_gets_in_as_before_and_nobody_else() {
    let Some(postgres) = crate::support::postgres() else { return };
    let (dir, url) = (empty_directory(), postgres.url("postgres"));
    let server = Server::start(dir.path(), SETTINGS);
    for name in ["ada", "bea", "cyd", "dan"] {
        run_with(dir.path(), &format!("user create {} --password-stdin", address(name)), SETTINGS, PASSWORD).done();
    }
    let log_in = |name: &str| Tokens::of(&sign_in(&server, &address(name), PASSWORD));
    let (first, bea, cyd) = (log_in("ada"), log_in("bea"), log_in("cyd"));
    let second = Tokens::of(&refresh(&server, &first.refresh));
    let ada = Tokens::of(&refresh(&server, &second.refresh));
    let (app, enrolled) = App::enrol(&server, &bea.access);
    let codes = enrolled["recovery_codes"].as_array().unwrap().clone();
    assert_eq!(server.post("/v1/sessions/end", &json!({ "refresh_token": cyd.refresh })).status, 204);
    run_with(dir.path(), &format!("user disable {}", address("dan")), SETTINGS, "").done();
    let me = server.get_as(&ada.access, "/v1/me").json();
    let keys = server.get("/.well-known/jwks.json").text;
    let refused = copy(dir.path(), &url).refused(1);
    assert!(refused.contains("A server or another command uses the database"), "{refused}");
    assert!(server.stop().success());

    // A replacement of the master key was killed before it renamed the files. The copy completes it.
    run_with(dir.path(), "key rewrap", SETTINGS, "").done();
    let key = |name: &str| dir.path().join("data").join(name);
    fs::rename(key("master.key"), key("master.key.new")).unwrap();
    fs::rename(key("master.key.old"), key("master.key")).unwrap();

    let said = copy(dir.path(), &url).done();
    assert!(said.contains("VESTIBULE_DATABASE__URL") && said.contains("/data/master.key, whose fingerprint is "), "{said}");
    let former = retired(dir.path());
    assert!(said.contains(former.to_str().unwrap()), "{said}");
    let refused = copy(dir.path(), &url).refused(1);
    assert!(refused.contains("there is no Vestibule database at "), "{refused}");
    fs::rename(former, dir.path().join("data/vestibule.db")).unwrap();
    let refused = copy(dir.path(), &url).refused(1);
    assert!(refused.contains("nothing was copied: the target is not empty"), "{refused}");

    let moved = [("VESTIBULE_DATABASE__URL", url.as_str()), ("VESTIBULE_MASTER_KEY_FILE", "data/master.key")];
    let server = Server::start(dir.path(), &[SETTINGS, &moved].concat());
    assert_eq!(server.get("/.well-known/jwks.json").text, keys);
    assert_eq!(server.get_as(&ada.access, "/v1/me").json(), me);
    Tokens::of(&refresh(&server, &bea.refresh));
    assert_eq!(server.get_as(&cyd.access, "/v1/me").problem(), (401, "session_ended".to_owned()));
    assert_eq!(refresh(&server, &cyd.refresh).status, 401);
    assert_eq!(sign_in(&server, &address("dan"), PASSWORD).status, 403);
    assert_eq!(sign_in(&server, &address("ada"), "another password").status, 401);
    Tokens::of(&sign_in(&server, &address("cyd"), PASSWORD));
    Tokens::of(&complete(&server, &challenge(&server, "bea"), &json!({ "kind": "totp", "code": app.code(0) })));
    let code = json!({ "kind": "recovery_code", "code": codes[0] });
    Tokens::of(&complete(&server, &challenge(&server, "bea"), &code));
    assert_eq!(complete(&server, &challenge(&server, "bea"), &code).status, 401, "it was used");
    let admin = Tokens::of(&sign_in(&server, "admin", &initial_password(dir.path())));
    let events = call(&server, &Method::GET, "/v1/audit-events?kind=user.updated", &admin.access, &Value::Null);
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");

    // The feed continues after the last number of the source, so this revocation reaches the server.
    let ada = Tokens::of(&refresh(&server, &ada.refresh));
    assert_eq!(refresh(&server, &first.refresh).status, 401, "a spent token");
    assert_eq!(server.get_as(&ada.access, "/v1/me").problem(), (401, "session_ended".to_owned()));
    assert!(server.stop().success());
}

#[test]
fn o02_a_copy_that_is_refused_changes_nothing() {
    let Some(postgres) = crate::support::postgres() else { return };
    let (dir, url) = (installed(), postgres.url("postgres"));
    let other_key: &[(&str, &str)] = &[("VESTIBULE_MASTER_KEY", OTHER_KEY)];
    let refuse = |arguments: &str, env: &[(&str, &str)], reason: &str| {
        let said = run_with(dir.path(), &format!("copy {arguments}"), env, "").refused(1);
        assert!(said.contains(reason), "{said}");
    };
    refuse(&format!("--from sqlite:data/other.db --to {url}"), &[], "there is no Vestibule database at ");
    refuse(&format!("--from {url} --to {url}"), &[], "--from must be a URL that begins with `sqlite:`");
    refuse(&format!("--from {FROM} --to {FROM}"), &[], "--to must be a URL that begins with `postgres://`");
    refuse(&format!("--from {FROM} --to {url}"), other_key, "the master key in the settings does not open ");
    let nowhere = "postgres://vestibule@localhost:1/nowhere";
    refuse(&format!("--from {FROM} --to {nowhere}"), &[], "the target cannot be used");
    psql(&postgres, "postgres", "CREATE TABLE notes (text text)");
    refuse(&format!("--from {FROM} --to {url}"), &[], "another program has 1 tables in it");
    assert_eq!(psql(&postgres, "postgres", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "1");
    assert_eq!(files(&dir.path().join("data")), ["master.key", "vestibule.db", "vestibule.lock"]);

    psql(&postgres, "postgres", "DROP TABLE notes");
    let database = dir.path().join("data/vestibule.db");
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_000001_later', 0)";
    sql_in(&database, newer);
    refuse(&format!("--from {FROM} --to {url}"), &[], "m20991231_000001_later");
    sql_in(&database, "DELETE FROM seaql_migrations WHERE version = 'm20991231_000001_later'");
    sql_in(&database, "PRAGMA foreign_keys = OFF; INSERT INTO user_words (user_id, word) VALUES (x'00', 'nobody')");
    refuse(&format!("--from {FROM} --to {url}"), &[], "data/vestibule.db is damaged: a row refers to a row that does not exist");
    sql_in(&database, "DELETE FROM user_words WHERE word = 'nobody'");

    run_with(dir.path(), "backup monday.db", &[], "").done();
    let backup = fs::read(dir.path().join("monday.db")).unwrap();
    refuse(&format!("--from sqlite:monday.db --to {url}"), &[], "/monday.db is a backup, whose state is old");
    assert!(fs::read(dir.path().join("monday.db")).unwrap() == backup);
    assert_eq!(files(dir.path()), ["data", "monday.db"]);

    run_with(dir.path(), "migrate up", &[("VESTIBULE_DATABASE__URL", &url), other_key[0]], "").done();
    psql(&postgres, "postgres", "TRUNCATE users, secrets, signing_keys, audit_events CASCADE");
    let writer = "LOCK TABLE users IN ROW EXCLUSIVE MODE";
    beside(&url, writer, || {
        refuse(&format!("--from {FROM} --to {url}"), &[], "nothing was copied: another process uses the target");
    });
    let other = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
    beside(&url, &other, || {
        refuse(&format!("--from {FROM} --to {url}"), &[], "another process migrates the target or copies into it");
    });
    copy(dir.path(), &url).done();
}

/// Kills copies at moments that a seed selects. Each leaves the source as it was, and a target that is empty or whole.
fn kill_at_random_moments(times: u32) {
    let Some(postgres) = crate::support::postgres() else { return };
    let dir = installed();
    let database = dir.path().join("data/vestibule.db");
    let events = format!(
        "INSERT INTO audit_events (id, at, kind, details)
         WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {EVENTS})
         SELECT randomblob(16), '2026-01-01T00:00:00+00:00', 'session.created', '{{}}' FROM number"
    );
    sql_in(&database, &events);
    let present: u64 = sql_in(&database, "SELECT CAST(count(*) AS TEXT) FROM audit_events")[0].parse().unwrap();
    psql(&postgres, "postgres", "CREATE DATABASE whole");
    copy(dir.path(), &postgres.url("whole")).done();
    fs::rename(retired(dir.path()), &database).unwrap();
    let before = fs::read(&database).unwrap();

    let (mut killed, mut target) = (0, String::new());
    for number in 0..times {
        if target.is_empty() {
            target = format!("target{number}");
            psql(&postgres, "postgres", &format!("CREATE DATABASE {target}"));
        }
        let arguments = format!("copy --from {FROM} --to {}", postgres.url(&target));
        killed += u32::from(kill(dir.path(), &arguments, LONGEST));
        if !database.exists() {
            fs::rename(retired(dir.path()), &database).unwrap();
        }
        assert!(fs::read(&database).unwrap() == before, "the source is only read");
        let tables = "SELECT count(*) FROM pg_tables WHERE tablename IN ('secrets', 'audit_events')";
        if psql(&postgres, &target, tables) == "2" {
            let rows = "SELECT (SELECT count(*) FROM secrets) > 0, (SELECT count(*) FROM audit_events)";
            match psql(&postgres, &target, rows).as_str() {
                "f|0" => {}
                rows => {
                    assert_eq!(rows, format!("t|{present}"));
                    target.clear(); // The next copy needs another one.
                }
            }
        }
    }
    if !target.is_empty() {
        copy(dir.path(), &postgres.url(&target)).done();
    }
    println!("\n{killed} of {times} copies killed");
}

#[test]
fn o02_a_copy_killed_at_a_random_moment_leaves_the_source_and_an_empty_target() {
    kill_at_random_moments(4);
}

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_o02_copies_killed_at_random_moments_leave_the_source_and_an_empty_target() {
    kill_at_random_moments(25);
}

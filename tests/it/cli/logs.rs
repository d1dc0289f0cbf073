//! The log: one line for each request if standard error is not a terminal, and the format of all other lines.

use std::{fs, io::Write, net::TcpStream, path::Path, thread, time::Duration};

use rstest::rstest;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use ureq::http::Method;

use super::{empty_directory, initial_password, run, run_with, sql};

use crate::support::binary::{Printed, Server};

/// Returns every line of a stream as a JSON object.
fn lines(printed: &Printed) -> Vec<Value> {
    let text = printed.text();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
}

/// Returns the lines about one request.
fn about<'a>(lines: &'a [Value], request_id: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["request_id"] == request_id).collect()
}

#[test]
fn h01_a_request_is_logged_on_one_line_without_its_query() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let password = initial_password(dir.path());
    let log_in = server.log_in("admin", &password);
    let token = log_in.json()["access_token"].as_str().unwrap().to_owned();
    let id = server.get_as(&token, "/v1/me").json()["id"].clone();
    let user = format!("/v1/users/{}", id.as_str().unwrap());
    let change = Some(json!({ "hunter2": 1 }).to_string());
    let post = |body| server.send(Method::POST, "/v1/sessions", "", Some(body));
    let answers = [
        (log_in, "POST", "logIn", "/v1/sessions", "", false),
        (server.get_as(&token, "/v1/me?access_token=hunter2"), "GET", "readMe", "/v1/me", "", true),
        (server.get_as(&token, "/v1/users?search=hunter2"), "GET", "listUsers", "/v1/users", "", true),
        (server.get_as(&token, &user), "GET", "readUser", "/v1/users/{id}", "", true),
        (server.get_as(&token, "/v1/users/hunter2"), "GET", "readUser", "/v1/users/{id}", "not_found", true),
        (server.get("/v1/users?access_token=hunter2"), "GET", "listUsers", "/v1/users", "missing_token", false),
        (server.get("/hunter2?hunter2"), "GET", "", "", "not_found", false),
        (server.send(Method::PATCH, "/v1/me", &token, change), "PATCH", "updateMe", "/v1/me", "validation_failed", true),
        (post("{".to_owned()), "POST", "logIn", "/v1/sessions", "malformed_request", false),
        (post("x".repeat(65 * 1024)), "POST", "logIn", "/v1/sessions", "payload_too_large", false),
        (server.send(Method::DELETE, "/v1/me?hunter2", "", None), "DELETE", "closeAccount", "/v1/me", "missing_token", false),
        (server.send(Method::PUT, "/v1/me", "", None), "PUT", "", "/v1/me", "method_not_allowed", false),
        (server.get("/healthz"), "GET", "readHealth", "/healthz", "", false),
        (server.get("/docs/hunter2"), "GET", "", "/docs/{file}", "not_found", false),
    ];
    let (wrong, log) = (server.log_in("admin", "hunter2"), server.log.clone());
    assert!(server.stop().success());
    assert!(!log.text().contains("hunter2"), "{}", log.text());
    let shown = log.text().replace(&format!(r#""user":{id}"#), "");
    assert!(!shown.contains(id.as_str().unwrap()), "the path is logged without its parameters: {shown}");

    let lines = lines(&log);
    let line = |request_id: &str| {
        let about = about(&lines, request_id);
        assert_eq!(about.len(), 1, "expected one line about {request_id}: {}", log.text());
        about[0]
    };
    for (answer, method, operation, path, code, knows_user) in &answers {
        let line = line(answer.header("x-request-id"));
        assert_eq!(line["message"], "request");
        assert_eq!(line["method"], *method);
        assert_eq!(line["operation"].as_str().unwrap_or_default(), *operation, "{line}");
        assert_eq!(line["path"].as_str().unwrap_or_default(), *path, "{line}");
        assert_eq!(line["code"].as_str().unwrap_or_default(), *code, "{line}");
        assert_eq!(line["status"], answer.status);
        assert_eq!(line["client"], "127.0.0.1");
        assert!(line["duration_us"].as_u64().is_some_and(|duration| duration > 0), "{line}");
        assert_eq!(line.get("user"), knows_user.then_some(&id), "{line}");
        if answer.status >= 400 {
            assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));
        }
    }
    assert_eq!(line(wrong.header("x-request-id"))["code"], "invalid_credentials");
}

#[rstest]
#[case::everything("info", &["unexpected failure", "request"])]
#[case::errors_alone("error", &["unexpected failure"])]
#[case::of_vestibule_alone("off,vestibule=error", &["unexpected failure"])]
#[test]
fn an_unforeseen_failure_is_logged_once_with_its_cause_and_its_request(#[case] level: &str, #[case] messages: &[&str]) {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[("VESTIBULE_LOG__LEVEL", level)]);
    let tokens = server.log_in("admin", &initial_password(dir.path())).json();
    let token = tokens["access_token"].as_str().unwrap();
    sql(dir.path(), "DROP TABLE audit_events");
    let failed = server.get_as(token, "/v1/audit-events?actor=0199a000-0000-7000-8000-000000000000");
    assert_eq!(failed.problem(), (500, "internal".into()));
    let log = server.log.clone();
    assert!(server.stop().success());

    let lines = lines(&log);
    let about = about(&lines, failed.header("x-request-id"));
    assert_eq!(about.iter().map(|line| line["message"].as_str().unwrap()).collect::<Vec<_>>(), messages, "{}", log.text());
    assert!(about.iter().all(|line| line["operation"] == "listAuditEvents"), "{}", log.text());
    let cause = about[0]["cause"].as_str().unwrap();
    assert_eq!((about[0]["level"].as_str().unwrap(), cause.matches("no such table").count()), ("ERROR", 1), "{cause}");
    assert!(!failed.text.contains("table"), "{}", failed.text);
}

#[test]
fn an_unavailable_database_is_logged_with_the_request_even_after_the_client_disconnects() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let log = server.log.clone();
    let tokens = server.log_in("admin", &initial_password(dir.path())).json();
    let token = tokens["access_token"].as_str().unwrap();
    let held = while_locked(dir.path(), || {
        let refused = server.register("ada@example.org", "ada likes tall ships");
        // Clients that disconnect while they wait for the database, until the failure of one of them is logged.
        while log.text().matches("the database is unavailable or busy").count() < 2 {
            let mut gone = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
            write!(gone, "DELETE /v1/me/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
            thread::sleep(Duration::from_millis(300));
        }
        refused
    });
    assert_eq!(held.problem(), (503, "unavailable".into()));
    assert!(server.stop().success());

    let lines = lines(&log);
    let away: Vec<_> = lines.iter().filter(|line| line["message"] == "the database is unavailable or busy").collect();
    assert_eq!((&away[0]["request_id"], &away[0]["operation"]), (&held.header("x-request-id").into(), &"registerAccount".into()));
    for line in &away {
        assert_eq!(line["level"], "WARN");
        assert!(line["request_id"].is_string() && line["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{line}");
    }
    assert!(away[1..].iter().all(|line| line["operation"] == "endMySessions"), "{}", log.text());
}

/// Runs `work` while another process holds the database's write lock.
fn while_locked<T>(dir: &Path, work: impl FnOnce() -> T) -> T {
    let url = format!("sqlite:{}", dir.join("data/vestibule.db").display());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let db = runtime.block_on(Database::connect(sea_orm::ConnectOptions::new(url).max_connections(1).to_owned())).unwrap();
    runtime.block_on(db.execute_unprepared("BEGIN IMMEDIATE")).unwrap();
    let done = work();
    runtime.block_on(db.execute_unprepared("ROLLBACK")).unwrap();
    done
}

#[test]
fn with_json_every_line_on_both_streams_is_an_object() {
    let dir = empty_directory();
    let json = ("VESTIBULE_LOG__FORMAT", "json");
    let server = Server::start(dir.path(), &[json]);
    let (stdout, log) = (server.stdout.clone(), server.log.clone());
    let listen = server.url.strip_prefix("http://").unwrap().to_owned();
    let taken = run_with(dir.path(), "serve", &[json, ("VESTIBULE_SERVER__LISTEN", &listen)], "");
    assert!(server.stop().success());
    let said: Vec<_> = lines(&stdout).into_iter().map(|line| (line["level"].clone(), line["message"].clone())).collect();
    assert!(said.iter().all(|(level, _)| level == "INFO"), "{said:?}");
    assert!(said[0].1.as_str().unwrap().starts_with("Vestibule listens on http://127.0.0.1:"), "{said:?}");
    assert!(said[1].1.as_str().unwrap().contains("initial-admin-password"), "{said:?}");
    assert!(lines(&log).iter().any(|line| line["message"] == "stopped"));

    // The error that ends a process is its last line.
    let ends = |err: &str, sentence: &str| {
        let lines: Vec<Value> = err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = lines.last().unwrap();
        assert_eq!(last["level"], "ERROR");
        assert!(last["message"].as_str().unwrap().contains(sentence) && last["timestamp"].is_string(), "{last}");
    };
    ends(&taken.refused(1), "is in use by another process");
    ends(&run_with(dir.path(), "serve", &[json, ("VESTIBULE_SERVER__LISTN", "x")], "").refused(78), "`server.listn`");
    ends(&run_with(dir.path(), "user disable nobody", &[json], "").refused(1), "there is no such account");
    ends(&run_with(dir.path(), "srve", &[json], "").refused(2), "Usage: vestibule");
    fs::write(dir.path().join("other.toml"), "log.format = 'json'\nlog.level = 'inof'\n").unwrap();
    ends(&run(dir.path(), "--config other.toml srve").refused(2), "Usage: vestibule");
    ends(&run(dir.path(), "srve --config=other.toml").refused(2), "Usage: vestibule");
    ends(&run(dir.path(), "config check --config other.toml").refused(78), "`log.level` (from other.toml)");
    fs::write(dir.path().join("vestibule.toml"), "[log]\nformat = 'json'\n[pasword]\nbcrypt_cost = 12\n").unwrap();
    ends(&run(dir.path(), "").refused(78), "`pasword.bcrypt_cost`");
    // The environment has priority, and an unknown format falls back to text.
    let text = run_with(dir.path(), "", &[("VESTIBULE_LOG__FORMAT", "xml")], "").refused(78);
    assert!(text.starts_with("vestibule: ") && text.contains("must be auto, text or json"), "{text}");
}

#[test]
fn with_json_commands_print_objects() {
    let dir = empty_directory();
    let said = |command: &str| -> Vec<String> {
        let out = run_with(dir.path(), command, &[("VESTIBULE_LOG__FORMAT", "json")], "").done();
        let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|err| panic!("{err}: {line}")));
        lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(said("config check"), ["The settings are valid."]);
    assert!(said("migrate status").iter().all(|line| line.starts_with("missing m")));
    assert!(said("migrate up").iter().all(|line| line.starts_with("applied m")));
    assert!(said("user create ada@example.org")[0].starts_with("Created the account ada@example.org. Its password is "));
    assert!(said("user set-password ada@example.org")[0].starts_with("Set the password of ada@example.org"));
    assert_eq!(said("user disable ada@example.org"), ["Disabled ada@example.org and ended its sessions."]);
    assert_eq!(said("user enable ada@example.org"), ["Enabled ada@example.org."]);
    assert_eq!(said("user list"), ["ada@example.org - active user"]);
    assert_eq!(said("key rotate").len(), 1);
    let keys = said("key list");
    let kid = keys[0].split(' ').next().unwrap();
    assert_eq!(said(&format!("key revoke {kid}")), [format!("Revoked {kid}: its tokens are rejected.")]);
    let [rewrapped] = &said("key rewrap")[..] else { panic!("expected one object") };
    assert!(rewrapped.ends_with("Restart all running servers."), "{rewrapped}");
    assert!(said("clock accept")[0].ends_with("Servers delete old data again."));
}

#[test]
fn as_text_a_request_is_one_readable_line() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[("VESTIBULE_LOG__FORMAT", "text")]);
    let refused = server.get("/v1/users/hunter2");
    let log = server.log.clone();
    assert!(server.stop().success());
    let id = refused.header("x-request-id");
    let line = log.text().lines().find(|line| line.contains(id)).unwrap().to_owned();
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!((time.len(), time.ends_with('Z')), ("2026-11-26T12:00:00.000000Z".len(), true), "{line}");
    assert!(rest.starts_with(&format!(r#" INFO request request_id={id} method="GET" operation="readUser""#)), "{line}");
    assert!(rest.contains(r#" path="/v1/users/{id}" status=401 code="missing_token" duration_us="#), "{line}");
    assert!(rest.ends_with(" client=127.0.0.1"), "{line}");
}

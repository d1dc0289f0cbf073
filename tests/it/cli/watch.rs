//! What an operator can observe of the real binary: its metrics, its warnings, and its behaviour on a full disk.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::json;
use ureq::Agent;

use super::{empty_directory, initial_password, metrics_address};

use crate::support::{binary::Server, small_disk::SmallDisk};

const PASSWORD: &str = "ada likes tall ships";

/// Returns the status and the body of the response from this URL.
fn get(url: &str) -> (u16, String) {
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.get(url).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

#[test]
fn metrics_are_served_on_a_separate_listener() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[("VESTIBULE_METRICS__LISTEN", "127.0.0.1:0")]);
    let url = format!("http://{}", metrics_address(&server));

    assert_eq!(server.log_in("admin", &initial_password(dir.path())).status, 201);
    assert_eq!(server.log_in("admin", "wrong").status, 401);
    assert_eq!(server.get("/v1/me").status, 401);
    assert_eq!(server.get("/none").status, 404);
    assert_eq!(server.get("/metrics").status, 404, "the API does not serve metrics");

    let (status, text) = get(&format!("{url}/metrics"));
    assert_eq!(status, 200);
    for metric in [
        r#"vestibule_build_info{version=""#,
        r#"vestibule_requests_total{operation="logIn",status="201"} 1"#,
        r#"vestibule_requests_total{operation="logIn",status="401"} 1"#,
        r#"vestibule_requests_total{operation="readMe",status="401"} 1"#,
        r#"vestibule_requests_total{operation="none",status="404"} 2"#,
        r#"vestibule_request_duration_seconds_count{operation="logIn"} 2"#,
        r#"vestibule_log_ins_total{outcome="ok"} 1"#,
        r#"vestibule_log_ins_total{outcome="invalid_credentials"} 1"#,
        "vestibule_hashes_waiting 0",
        "vestibule_hash_wait_seconds_count 3",
        "vestibule_revocations 0",
        "vestibule_revocations_age_seconds 0.",
        r#"vestibule_database_connections{pool="writer",state="#,
        "vestibule_connections ",
        "vestibule_mail_transport_up 1",
        r#"vestibule_mails_waiting{state="queued"} 0"#,
        "vestibule_database_statements_total ",
    ] {
        assert!(text.contains(metric), "{metric}: {text}");
    }
    assert_eq!(get(&format!("{url}/healthz")).0, 404);
    assert!(server.stop().success());
}

/// Returns the log after three requests with these headers.
fn logged(env: &[(&str, &str)], headers: &[(&str, &str)]) -> String {
    let dir = empty_directory();
    let server = Server::start(dir.path(), env);
    let agent: Agent = Agent::new_with_defaults();
    for _ in 0..3 {
        let request = agent.get(format!("{}/healthz", server.url));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call().unwrap();
    }
    let log = server.log.clone();
    assert!(server.stop().success());
    log.text()
}

#[test]
fn h07_a_forwarded_address_from_an_untrusted_peer_is_warned_about_once() {
    let headers = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.2")];
    for (header, proxies, warnings, client) in [
        ("x-forwarded-for", "", 1, "127.0.0.1"),
        ("x-forwarded-for", "127.0.0.1", 0, "192.0.2.1"),
        ("forwarded", "", 1, "127.0.0.1"),
        ("Forwarded", "127.0.0.1", 0, "192.0.2.2"),
        ("x-real-ip", "", 0, "127.0.0.1"),
        ("x-real-ip", "127.0.0.1", 0, "127.0.0.1"),
    ] {
        let env = [("VESTIBULE_SERVER__TRUSTED_PROXIES", proxies), ("VESTIBULE_SERVER__FORWARDED_HEADER", header)];
        let log = logged(&env, &headers);
        assert_eq!(log.matches("not in server.trusted_proxies").count(), warnings, "{header} {proxies}: {log}");
        assert_eq!(log.matches(&format!(r#""client":"{client}""#)).count(), 3, "{header} {proxies}: {log}");
    }
}

#[test]
fn h07_a_forwarded_value_without_an_address_is_logged_once() {
    let proxy = ("VESTIBULE_SERVER__TRUSTED_PROXIES", "127.0.0.1");
    for (header, value, text) in [
        ("x-forwarded-for", "192.0.2.1, not an address", "not an address"),
        ("forwarded", "for=192.0.2.1, for=_hidden", "for=_hidden"),
        ("x-real-ip", "unknown", "unknown"),
    ] {
        let log = logged(&[proxy, ("VESTIBULE_SERVER__FORWARDED_HEADER", header)], &[(header, value)]);
        assert_eq!(log.matches(&format!(r#""text":"{text}""#)).count(), 1, "{log}");
        assert_eq!(
            log.matches(r#""client":"127.0.0.1""#).count(),
            3,
            "the client's invention is never logged as its address: {log}"
        );
    }
}

#[test]
fn refused_origins_are_logged_once_each_and_a_hundred_at_most() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[("VESTIBULE_CORS__ORIGINS", "https://app.example.org")]);
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let call = |origin: &str| agent.get(format!("{}/v1/me", server.url)).header("origin", origin).call().unwrap();
    for _ in 0..3 {
        for origin in ["https://app.example.org", server.url.as_str(), "https://evil.example", "http://evil.example", "null"] {
            call(origin);
        }
    }
    for number in 0..200 {
        call(&format!("https://{number}.example"));
    }
    let (own, log) = (server.url.clone(), server.log.clone());
    assert!(server.stop().success());
    let log = log.text();
    let count = |origin: &str| log.matches(&format!(r#""origin":"{origin}""#)).count();
    assert_eq!((count("https://app.example.org"), count(&own)), (0, 0), "{log}");
    assert_eq!((count("https://evil.example"), count("http://evil.example"), count("null")), (1, 1, 1), "{log}");
    assert_eq!((log.matches(r#""origin":"#).count(), log.matches("further origins are not logged").count()), (100, 1), "{log}");
    let line = log.lines().find(|line| line.contains("https://evil.example")).unwrap();
    assert!(line.contains(r#""request_id":"#) && line.contains(r#""operation":"readMe""#), "{line}");
}

#[test]
fn p09_by_default_guesses_are_throttled_and_the_stated_wait_is_correct() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let password = initial_password(dir.path());
    for _ in 0..6 {
        assert_eq!(server.log_in("admin", "wrong").problem(), (401, "invalid_credentials".into()));
    }
    let refused = server.log_in("admin", &password);
    assert_eq!(refused.problem(), (429, "too_many_requests".into()));
    assert_eq!(refused.header("retry-after"), "1");
    thread::sleep(Duration::from_secs(1));
    assert_eq!(server.log_in("admin", &password).status, 201);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long the real server really takes")]
fn h10_on_a_full_disk_writes_are_refused_until_there_is_room_again() {
    let dir = empty_directory();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let Some(disk) = SmallDisk::mount(&data, 4) else {
        eprintln!("skipped: only root can mount a small disk");
        return;
    };
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.register("ada@example.org", PASSWORD).status, 201);
    let token = server.log_in("ada@example.org", PASSWORD).json()["access_token"].as_str().unwrap().to_owned();

    let ballast = disk.fill();
    let mut acknowledged = vec!["ada@example.org".to_owned()];
    let mut refused = 0;
    // The write-ahead log may have some free room inside.
    for number in 0.. {
        let email = format!("ada{number}@example.org");
        let began = Instant::now();
        let answer = server.register(&email, PASSWORD);
        match answer.problem() {
            (201, _) => acknowledged.push(email),
            (503, code) => {
                assert_eq!((code.as_str(), answer.header("retry-after")), ("unavailable", "1"));
                assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
        if refused == 3 {
            break;
        }
    }
    let change = json!({ "identifier": "ada@example.org", "password": PASSWORD });
    assert_eq!(server.post("/v1/sessions", &change).status, 503);
    assert_eq!(server.get_as(&token, "/v1/token").status, 200);
    assert_eq!(server.get("/healthz").status, 200);
    let full = Instant::now();
    while server.get("/readyz").status != 503 {
        assert!(full.elapsed() < Duration::from_secs(10), "the server reports that it is ready but cannot write");
        thread::sleep(Duration::from_millis(100)); // a trial write may succeed where a registration does not
    }

    ballast.set_len(0).unwrap();
    let began = Instant::now();
    while server.register("bea@example.org", PASSWORD).status != 201 {
        assert!(began.elapsed() < Duration::from_secs(3));
    }
    thread::sleep(Duration::from_millis(500)); // the result of a trial write is kept for this long
    assert_eq!(server.get("/readyz").status, 200);
    server.kill();
    let server = Server::start(dir.path(), &[]);
    for email in acknowledged {
        assert_eq!(server.log_in(&email, PASSWORD).status, 201, "{email} is lost");
    }
    drop(server);
    drop(disk);
}

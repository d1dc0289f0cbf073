//! What a watchman sees of the real binary: its metrics, its warnings, and what it does when the disk is full.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;
use ureq::Agent;

use super::{empty_directory, initial_password, metrics_address};
use crate::support::{binary::Server, small_disk::SmallDisk};

const PASSWORD: &str = "ada likes tall ships";

/// Status and body of what is at this URL.
fn get(url: &str) -> (u16, String) {
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.get(url).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

#[test]
fn metrics_are_told_on_a_listener_of_their_own() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[("VESTIBULE_METRICS__LISTEN", "127.0.0.1:0")]);
    let url = format!("http://{}", metrics_address(&server));

    assert_eq!(server.log_in("admin", &initial_password(dir.path())).status, 201);
    assert_eq!(server.log_in("admin", "wrong").status, 401);
    assert_eq!(server.get("/v1/me").status, 401);
    assert_eq!(server.get("/none").status, 404);
    assert_eq!(server.get("/metrics").status, 404, "the API does not have them");

    let (status, text) = get(&format!("{url}/metrics"));
    assert_eq!(status, 200);
    for told in [
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
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert_eq!(get(&format!("{url}/healthz")).0, 404);
    assert!(server.stop().success());
}

#[test]
fn h07_a_forwarded_address_from_a_stranger_is_warned_about_once() {
    for (proxies, warnings) in [("", 1), ("127.0.0.1", 0)] {
        let dir = empty_directory();
        let server = Server::start(dir.path(), &[("VESTIBULE_SERVER__TRUSTED_PROXIES", proxies)]);
        let agent: Agent = Agent::new_with_defaults();
        for _ in 0..3 {
            agent.get(format!("{}/healthz", server.url)).header("x-forwarded-for", "192.0.2.1").call().unwrap();
        }
        let log = server.log.clone();
        assert!(server.stop().success());
        assert_eq!(log.text().matches("none of server.trusted_proxies").count(), warnings, "{}", log.text());
    }
}

#[test]
fn p09_by_default_guesses_are_slowed_down_and_the_wait_that_is_told_is_true() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let password = initial_password(dir.path());
    for _ in 0..6 {
        assert_eq!(server.log_in("admin", "wrong").told(), (401, "invalid_credentials".into()));
    }
    let refused = server.log_in("admin", &password);
    assert_eq!(refused.told(), (429, "too_many_requests".into()));
    assert_eq!(refused.header("retry-after"), "1");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(server.log_in("admin", &password).status, 201);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long the real server really takes")]
fn h10_on_a_full_disk_it_refuses_and_is_back_when_there_is_room_again() {
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
    // The write-ahead log may have some room left inside.
    for number in 0.. {
        let email = format!("ada{number}@example.org");
        let began = Instant::now();
        let answer = server.register(&email, PASSWORD);
        match answer.told() {
            (201, _) => acknowledged.push(email),
            (503, code) => {
                assert_eq!((code.as_str(), answer.header("retry-after")), ("unavailable", "1"));
                assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
                refused += 1;
            }
            told => panic!("{told:?}"),
        }
        if refused == 3 {
            break;
        }
    }
    let change = json!({ "identifier": "ada@example.org", "password": PASSWORD });
    assert_eq!(server.post("/v1/sessions", &change).status, 503);
    assert_eq!(server.get_as(&token, "/v1/token").status, 200);
    assert_eq!(server.get("/healthz").status, 200);

    ballast.set_len(0).unwrap();
    let began = Instant::now();
    while server.register("bea@example.org", PASSWORD).status != 201 {
        assert!(began.elapsed() < Duration::from_secs(3));
    }
    server.kill();
    let server = Server::start(dir.path(), &[]);
    for email in acknowledged {
        assert_eq!(server.log_in(&email, PASSWORD).status, 201, "{email} is lost");
    }
    drop(server);
    drop(disk);
}

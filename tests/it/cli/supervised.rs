//! What supervisors and packages use: readiness over systemd's socket, the check of a container, the drain, the version,
//! completions, manual pages, and the unit.

use std::{fs, net::TcpListener, os::unix::net::UnixDatagram, process::Command, time::Duration};

use super::{empty_directory, files, run, run_with, until};
use crate::support::binary::{Server, not_tested, signal};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/packaging/systemd/vestibule.service");

/// Returns an address of this machine with a free port.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn systemd_learns_when_the_server_listens_and_when_it_stops() {
    let dir = empty_directory();
    let path = dir.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let told = || {
        let mut state = [0; 64];
        let length = supervisor.recv(&mut state).unwrap();
        String::from_utf8_lossy(&state[..length]).into_owned()
    };
    let server = Server::start(dir.path(), &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert_eq!(told(), "READY=1");
    assert_eq!(server.get("/healthz").status, 200);
    assert!(server.stop().success());
    assert_eq!(told(), "STOPPING=1");

    // A supervisor that has gone is no reason to fail.
    drop(supervisor);
    let server = Server::start(dir.path(), &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let log = server.log.clone();
    assert!(server.stop().success());
    assert!(log.text().contains("cannot tell the supervisor READY=1"), "{}", log.text());
}

#[test]
fn health_tells_whether_the_server_is_alive_and_whether_it_is_ready() {
    let dir = empty_directory();
    let listen = free_address();
    let env = [("VESTIBULE_SERVER__LISTEN", listen.as_str()), ("VESTIBULE_SERVER__DRAIN", "60")];
    let said = run_with(dir.path(), "health", &env, "").refused(1);
    assert!(said.contains(&format!("no response from http://{listen}/healthz")), "{said}");
    assert_eq!(files(dir.path()), [""; 0], "the check creates nothing");

    let server = Server::start(dir.path(), &env);
    assert_eq!(run_with(dir.path(), "health", &env, "").done(), "The server is alive.\n");
    assert_eq!(run_with(dir.path(), "health --ready", &env, "").done(), "The server is ready.\n");
    let everywhere = [("VESTIBULE_SERVER__LISTEN", listen.replace("127.0.0.1", "0.0.0.0"))];
    run_with(dir.path(), "health", &everywhere.each_ref().map(|(name, value)| (*name, value.as_str())), "").done();

    let moved = free_address();
    let below = [("VESTIBULE_SERVER__LISTEN", moved.as_str()), ("VESTIBULE_SERVER__BASE_PATH", "/auth")];
    let other = Server::start(dir.path(), &below);
    assert!(other.stdout.text().contains(&format!("{}/auth/docs", other.url)), "{}", other.stdout.text());
    assert_eq!(run_with(dir.path(), "health --ready", &below, "").done(), "The server is ready.\n");
    drop(other);

    signal("TERM", server.id());
    until(|| run_with(dir.path(), "health --ready", &env, "").code == Some(1));
    let said = run_with(dir.path(), "health --ready", &env, "").refused(1);
    assert_eq!(said, "vestibule: Not ready: the service is stopping.\n");
    assert_eq!(run_with(dir.path(), "health", &env, "").done(), "The server is alive.\n");
    server.kill();
    let said = run(dir.path(), "health").refused(1);
    assert!(said.contains("the port of the server is not known"), "{said}");
}

#[test]
fn h11_connections_are_accepted_for_as_long_as_the_drain_says() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[("VESTIBULE_SERVER__DRAIN", "60")]);
    signal("TERM", server.id());
    until(|| server.get("/readyz").status == 503);
    assert_eq!(server.get("/healthz").status, 200, "a new connection");
    // SIGINT does not shorten a drain that has begun, so the test ends it.
    server.kill();

    let server = Server::start(dir.path(), &[("VESTIBULE_SERVER__DRAIN", "0")]);
    assert!(server.stop_within(Duration::from_secs(30)).is_some_and(|status| status.success()));
}

#[test]
fn the_version_is_a_sentence_or_an_object_for_programs() {
    let dir = empty_directory();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(dir.path(), "version").done(), format!("vestibule {version}\n"));
    let object: serde_json::Value = serde_json::from_str(&run(dir.path(), "version --json").done()).unwrap();
    assert_eq!((&object["name"], &object["version"]), (&"vestibule".into(), &version.into()));
    assert_eq!(object["platform"], format!("{}-linux", std::env::consts::ARCH));
    run(dir.path(), "migrate up").done();
    let migrations = run(dir.path(), "migrate status").done();
    let newest = migrations.lines().last().unwrap().strip_prefix("applied ").unwrap();
    assert_eq!(object["migration"], newest);
}

#[test]
fn every_command_has_a_manual_page_and_is_completed() {
    let dir = empty_directory();
    fs::create_dir(dir.path().join("man")).unwrap();
    run(dir.path(), "man man").done();
    let pages = files(&dir.path().join("man"));
    for page in ["vestibule.1", "vestibule-serve.1", "vestibule-user-create.1", "vestibule-key-rewrap.1", "vestibule-health.1"] {
        assert!(pages.iter().any(|known| known == page), "no {page}: {pages:?}");
    }
    let page = fs::read_to_string(dir.path().join("man/vestibule-user-create.1")).unwrap();
    assert!(page.contains("Create an account"), "{page}");
    let said = run(dir.path(), "man nowhere").refused(1);
    assert!(said.contains("cannot write to nowhere"), "{said}");
    for shell in ["bash", "zsh", "fish"] {
        let script = run(dir.path(), &format!("completions {shell}")).done();
        assert!(script.contains("reset-factors") && script.contains("password-stdin"), "{shell}: {script}");
    }
    run(dir.path(), "completions sh").refused(2);
}

#[test]
fn the_unit_is_as_closed_as_the_server_permits() {
    let analysed = Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=15", UNIT]).output();
    let Ok(analysed) = analysed else { return not_tested("the unit", "systemd-analyze is not installed") };
    let said = String::from_utf8_lossy(&analysed.stdout);
    assert!(analysed.status.success() && said.contains("Overall exposure level"), "{said}");
    // Every variable in the unit is a setting: a wrong one would end the start or cause a warning.
    let dir = empty_directory();
    fs::write(dir.path().join("master_key"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    let unit = fs::read_to_string(UNIT).unwrap();
    let set = unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    let set: Vec<_> = set.map(|(name, value)| (name, value.replace("%d/", ""))).collect();
    assert!(!set.is_empty());
    let env: Vec<_> = set.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let ran = run_with(dir.path(), "config check", &env, "");
    assert_eq!(ran.err, "", "no warning");
    ran.done();
}

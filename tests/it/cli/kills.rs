//! The server is killed (SIGKILL) during refreshes: every client continues with the token it holds, and no acknowledged change
//! is lost (rows S03 and D01).

use std::{
    path::Path,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::json;
use uuid::Uuid;

use super::{empty_directory, sql};

use crate::support::binary::Server;

const PASSWORD: &str = "ada likes tall ships";
pub const CLIENTS: usize = 8;
/// Here one network refreshes more often than any ordinary network.
const SETTINGS: &[(&str, &str)] = &[("VESTIBULE_THROTTLE__ENABLED", "false")];

/// Returns a random duration of at most this many milliseconds.
fn a_moment(longest: u64) -> Duration {
    Duration::from_millis(Uuid::new_v4().as_u64_pair().1 % longest)
}

/// Refreshes until `stop`, each time with the last token that the client received. Returns its last access token.
fn refresh_for_ever(url: &RwLock<String>, refreshes: &AtomicUsize, stop: &AtomicBool, log_in: &serde_json::Value) -> String {
    let text = |tokens: &serde_json::Value, member: &str| tokens[member].as_str().unwrap().to_owned();
    let (mut held, mut access) = (text(log_in, "refresh_token"), text(log_in, "access_token"));
    while !stop.load(Ordering::SeqCst) {
        let at = url.read().unwrap().clone();
        match super::http::try_post(&format!("{at}/v1/sessions/refresh"), &json!({ "refresh_token": held })) {
            Some((200, tokens)) => {
                (held, access) = (text(&tokens, "refresh_token"), text(&tokens, "access_token"));
                refreshes.fetch_add(1, Ordering::SeqCst);
            }
            Some((status, problem)) => panic!("a client was refused: {status} {problem}"),
            None => thread::sleep(Duration::from_millis(5)), // the server was killed and has not restarted yet
        }
    }
    access
}

/// Kills a server repeatedly while clients refresh, and restarts it. At the end every client's session must continue.
pub fn kill_and_restart(dir: &Path, settings: &[(&str, &str)], times: usize) {
    let mut server = Server::start(dir, settings);
    assert_eq!(server.register("ada@example.org", PASSWORD).status, 201);
    let url = Arc::new(RwLock::new(server.url.clone()));
    let (refreshes, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let tokens = server.log_in("ada@example.org", PASSWORD).json();
            let (url, refreshes, stop) = (Arc::clone(&url), Arc::clone(&refreshes), Arc::clone(&stop));
            thread::spawn(move || refresh_for_ever(&url, &refreshes, &stop, &tokens))
        })
        .collect();
    for _ in 0..times {
        let before = refreshes.load(Ordering::SeqCst);
        while refreshes.load(Ordering::SeqCst) < before + CLIENTS {
            assert!(clients.iter().all(|client| !client.is_finished()), "a client has stopped");
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(a_moment(300));
        server.kill();
        server = Server::start(dir, settings);
        url.write().unwrap().clone_from(&server.url);
    }
    thread::sleep(a_moment(300));
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        assert_eq!(server.get_as(&client.join().unwrap(), "/v1/me").status, 200);
    }
    println!("\n{times} kills, {} refreshes by {CLIENTS} clients", refreshes.load(Ordering::SeqCst));
    server.kill();
}

fn kill_and_restart_on_sqlite(times: usize) {
    let dir = empty_directory();
    kill_and_restart(dir.path(), SETTINGS, times);
    assert_eq!(sql(dir.path(), "PRAGMA integrity_check"), ["ok"]);
    assert_eq!(sql(dir.path(), "SELECT CAST(count(*) AS TEXT) FROM sessions"), [CLIENTS.to_string()]);
}

#[test]
fn s03_a_server_killed_during_refreshes_keeps_all_sessions() {
    kill_and_restart_on_sqlite(3);
}

#[test]
#[ignore = "long: .ci/run kills it thirty times"]
fn long_s03_a_server_killed_repeatedly_during_refreshes_keeps_all_sessions() {
    kill_and_restart_on_sqlite(30);
}

//! A server on PostgreSQL is killed (SIGKILL) during refreshes and during migrations (S03, D02).

use std::{process::Stdio, time::Duration};

use serde_json::json;
use ureq::http::Method;

use super::{
    cluster::{DATABASE, url},
    load::{log_in, now, register, send},
    site::{PostgresServers, settings, wait},
    trial::{Random, stop},
};

use crate::{
    cli::kills::{CLIENTS, kill_and_restart},
    support::binary::{Server, command},
};

#[test]
#[ignore = "long: .ci/long kills it a hundred times"]
fn long_s03_a_server_on_postgres_killed_a_hundred_times_keeps_all_sessions() {
    let Some(site) = PostgresServers::new() else { return };
    let address = url(site.proxies[0].port);
    kill_and_restart(site.directory(), &settings(&address), 100);
    assert_eq!(site.cluster.sql(DATABASE, "SELECT count(*) FROM sessions"), CLIENTS.to_string());
}

/// A client whose response is lost, because its server is killed, refreshes at the other server without delay: the locks of the
/// killed server must not block it.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_s03_the_client_of_a_killed_server_continues_on_the_other_one() {
    let Some(site) = PostgresServers::new() else { return };
    let other = site.server(1);
    let mut random = Random::of_this_run("kills");
    assert_eq!(register(&other.url, "ada@example.org").status, 201);
    let mut held = log_in(&other.url, "ada@example.org").text("refresh_token");
    let refresh =
        |url: &str, held: &str| send(url, Method::POST, "/v1/sessions/refresh", "", Some(&json!({ "refresh_token": held })));
    let (mut lost, mut slowest) = (0, Duration::ZERO);
    for round in 0..25 {
        let server = site.server(0);
        let began = now();
        let length = random.up_to(Duration::from_millis(300));
        let (address, mine) = (server.url.clone(), held.clone());
        let client = std::thread::spawn(move || {
            let mut mine = mine;
            loop {
                let reply = refresh(&address, &mine);
                match reply.status {
                    200 => mine = reply.text("refresh_token"),
                    0 => return mine,
                    status => panic!("round {round}: {status} {}", reply.code),
                }
            }
        });
        wait(length.saturating_sub(began.elapsed()));
        server.kill();
        held = client.join().unwrap();
        let sent_at = now();
        let reply = refresh(&other.url, &held);
        slowest = slowest.max(sent_at.elapsed());
        assert_eq!(reply.status, 200, "round {round}: {}", reply.code);
        lost += 1;
        held = reply.text("refresh_token");
    }
    println!("\n{lost} servers killed; the slowest refresh at the other one took {slowest:.1?}");
    assert!(slowest < Duration::from_secs(3), "{slowest:.1?}");
    assert_eq!(stop(other).0, Some(0));
}

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_d02_a_server_killed_mid_migration_leaves_a_database_that_the_next_one_migrates() {
    let Some(site) = PostgresServers::new() else { return };
    let mut random = Random::of_this_run("migrations");
    let (mut untouched, mut partly, mut whole) = (0, 0, 0);
    let mut length = Duration::ZERO;
    for round in 0..40 {
        let name = format!("round_{round}");
        site.cluster.create_database(&name);
        let address = url(site.proxies[0].port).replace(DATABASE, &name);
        let directory = tempfile::tempdir().unwrap();
        let spawn = || {
            let mut command = command(directory.path(), &settings(&address));
            command.args(["migrate", "up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let began = now();
        let mut migration = spawn();
        if round == 0 {
            // How long a migration takes without a kill.
            assert!(migration.wait().unwrap().success());
            length = began.elapsed();
            continue;
        }
        // Every second time another replica waits for the migration.
        let waiting = (round % 2 == 0).then(spawn);
        wait(random.up_to(length));
        migration.kill().unwrap();
        migration.wait().unwrap();
        let tables = site.cluster.sql(&name, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'");
        match (waiting, tables.as_str()) {
            (Some(mut waiting), _) => {
                assert!(waiting.wait().unwrap().success(), "round {round}");
                partly += 1;
            }
            (None, "0") => untouched += 1,
            (None, _) => whole += 1,
        }
        assert!(spawn().wait().unwrap().success(), "round {round}: the next migration failed");
        if round % 8 == 0 {
            let server = Server::start(directory.path(), &settings(&address));
            assert_eq!(register(&server.url, "ada@example.org").status, 201);
            assert_eq!(log_in(&server.url, "ada@example.org").status, 201);
            server.kill();
        }
    }
    println!("\nmigrations killed: {untouched} left nothing, {whole} were done, and {partly} times another replica went on");
    assert!(untouched > 0, "no migration was killed before it was complete");
}

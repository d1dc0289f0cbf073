//! Races of several servers on one PostgreSQL database (A06, D02): starting on an empty one, starting before it is available,
//! and two administrators who demote each other during a fault.

use std::{fs, sync::Barrier, thread};

use serde_json::{Value, json};
use ureq::http::Method;

use super::{
    cluster::{DATABASE, url},
    load::{Reply, log_in, now, register, send},
    proxy::Flow,
    site::{PostgresServers, seconds, settings, wait},
    trial::{Random, stop},
};

use crate::support::binary::{Server, command};

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_d02_servers_that_start_at_once_on_an_empty_database_agree() {
    let Some(site) = PostgresServers::new() else { return };
    for round in 0..10 {
        let name = format!("round_{round}");
        site.cluster.create_database(&name);
        let address = url(site.proxies[0].port).replace(DATABASE, &name);
        let directories: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
        let barrier = Barrier::new(directories.len());
        let servers: Vec<_> = thread::scope(|scope| {
            let start = |directory| {
                let (barrier, address) = (&barrier, &address);
                scope.spawn(move || {
                    barrier.wait();
                    Server::spawn(command(directory, &settings(address)))
                })
            };
            let starts: Vec<_> = directories.iter().map(|directory| start(directory.path())).collect();
            starts.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let passwords: Vec<_> = directories
            .iter()
            .filter_map(|directory| fs::read_to_string(directory.path().join("data/initial-admin-password")).ok())
            .collect();
        assert_eq!(passwords.len(), 1, "one server makes the first administrator");
        let password = passwords[0].trim();
        // Every server accepts the tokens of every other one.
        for (number, server) in servers.iter().enumerate() {
            let body = json!({ "identifier": "admin", "password": password });
            let tokens = send(&server.url, Method::POST, "/v1/sessions", "", Some(&body));
            assert_eq!(tokens.status, 201, "{}", tokens.code);
            let other = &servers[(number + 1) % servers.len()];
            assert_eq!(send(&other.url, Method::GET, "/v1/users", &tokens.text("access_token"), None).status, 200);
        }
        assert_eq!(site.cluster.sql(&name, "SELECT count(*) FROM users"), "1");
        assert_eq!(site.cluster.sql(&name, "SELECT count(*) FROM signing_keys"), "1");
        for server in servers {
            assert_eq!(stop(server).0, Some(0));
        }
    }
}

/// As after a power failure: the machine of the service starts faster than the machine of the database.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_a_server_waits_for_a_database_that_starts_later() {
    let Some(site) = PostgresServers::new() else { return };
    for silent in [false, true] {
        if silent {
            site.cluster.freeze();
        } else {
            site.cluster.stop("fast");
        }
        let server = thread::scope(|scope| {
            let server = scope.spawn(|| site.server(0));
            wait(seconds(6));
            assert!(!server.is_finished(), "the server started without a database");
            if silent {
                site.cluster.thaw();
            } else {
                site.cluster.start_again(100);
            }
            let back = now();
            let server = server.join().unwrap();
            println!("\ndatabase {}: served {:.1?} after it was back", if silent { "frozen" } else { "stopped" }, back.elapsed());
            server
        });
        assert_eq!(register(&server.url, &format!("{silent}@example.org")).status, 201);
        assert_eq!(stop(server).0, Some(0));
    }
}

/// Two administrators demote each other, each on a different replica. At most one of them succeeds, and one administrator is
/// left, whatever fault the database has.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_a06_mutual_demotions_leave_an_administrator_in_every_fault() {
    let Some(site) = PostgresServers::new() else { return };
    let servers = [site.server(0), site.server(1)];
    let file = site.directory().join("data/initial-admin-password");
    let first = json!({ "identifier": "admin", "password": fs::read_to_string(file).unwrap().trim() });
    let mut random = Random::of_this_run("demotions");
    let names = ["ada", "bea"].map(|name| format!("{name}@example.org"));
    let ids = names.each_ref().map(|name| register(&servers[0].url, name).text("id"));
    let (mut one, mut unknown, mut none) = (0, 0, 0);
    for round in 0..24 {
        // These two are the only administrators.
        let emails = names.each_ref().map(|name| format!("'{name}'")).join(", ");
        let grant =
            format!("INSERT INTO user_roles SELECT id, 'admin' FROM users WHERE email IN ({emails}) ON CONFLICT DO NOTHING");
        site.cluster.sql(DATABASE, &grant);
        let others = format!("SELECT id FROM users WHERE email NOT IN ({emails})");
        site.cluster.sql(DATABASE, &format!("DELETE FROM user_roles WHERE role = 'admin' AND user_id IN ({others})"));
        let tokens = [0, 1].map(|at| log_in(&servers[at].url, &names[at]).text("access_token"));
        let barrier = Barrier::new(3);
        let demote = |at: usize| -> Reply {
            barrier.wait();
            let path = format!("/v1/users/{}/roles", ids[1 - at]);
            send(&servers[at].url, Method::PUT, &path, &tokens[at], Some(&json!({ "roles": ["user"] })))
        };
        let replies = thread::scope(|scope| {
            let demotions = [scope.spawn(|| demote(0)), scope.spawn(|| demote(1))];
            barrier.wait();
            wait(random.up_to(seconds(1) / 50));
            match round % 6 {
                0 => {}
                1 => _ = site.cluster.terminate("true"),
                2 => {
                    site.cluster.freeze();
                    wait(seconds(4));
                    site.cluster.thaw();
                }
                3 => {
                    site.proxies[0].set(Flow::ToServer);
                    wait(seconds(4));
                    site.proxies[0].set(Flow::Both);
                }
                4 => {
                    site.cluster.stop("immediate");
                    site.cluster.start_again(100);
                }
                _ => {
                    site.set(Flow::Nothing);
                    wait(seconds(4));
                    site.set_existing(Flow::Cut);
                    site.set(Flow::Both);
                }
            }
            demotions.map(|thread| thread.join().unwrap())
        });
        let answers = replies.each_ref().map(|reply| (reply.status, reply.code.as_str()));
        let refused =
            |(status, code): (u16, &str)| matches!((status, code), (409, "last_admin") | (401, "stale_token") | (403, _));
        assert!(answers.iter().all(|answer| matches!(answer.0, 200 | 503) || refused(*answer)), "round {round}: {answers:?}");
        let done = answers.iter().filter(|answer| answer.0 == 200).count();
        let left: usize = site
            .cluster
            .sql(
                DATABASE,
                "SELECT count(*) FROM user_roles JOIN users ON id = user_id WHERE role = 'admin' AND status = 'active'",
            )
            .parse()
            .unwrap();
        assert!(done <= 1 && left >= 1, "round {round}: {answers:?}, and {left} administrators are left");
        // A change that was answered with 503 may have been committed. A change that was answered with 200 must have been.
        assert!(done == 0 || left == 1, "round {round}: {answers:?}, and {left} administrators are left");
        match (done, answers.iter().any(|answer| answer.0 == 503)) {
            (1, _) => one += 1,
            (_, true) => unknown += 1,
            _ => none += 1,
        }
        wait_until_all_is_well(&servers, &first);
    }
    println!(
        "\nmutual demotions: {one} times one succeeded, {unknown} times the outcome was unknown, {none} times none succeeded"
    );
    assert!(one >= 4 && none == 0, "without a fault exactly one succeeds");
    for server in servers {
        assert_eq!(stop(server).0, Some(0));
    }
}

/// Waits until both replicas are ready, and the first administrator, who is an ordinary user by now, can log in.
fn wait_until_all_is_well(servers: &[Server; 2], first: &Value) {
    let began = now();
    for server in servers {
        let is_well = || {
            send(&server.url, Method::GET, "/readyz", "", None).status == 200
                && send(&server.url, Method::POST, "/v1/sessions", "", Some(first)).status == 201
        };
        while !is_well() {
            assert!(began.elapsed() < seconds(15), "a server has not recovered after {:.1?}", began.elapsed());
            wait(seconds(1) / 10);
        }
    }
}

//! Stops: on a signal, by SIGKILL, and after the reader of the log has gone.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Stdio,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use serde_json::json;

use super::{empty_directory, initial_password, sql};

use crate::support::binary::{Server, command, signal};

const PASSWORD: &str = "ada likes tall ships";

fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap()
}

/// Runs `work`, and panics if it takes longer than `limit`.
fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(limit).expect("the work takes too long")
}

#[test]
fn h11_sigterm_lets_a_running_request_finish_and_then_exits_0() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let body = json!({ "email": "ada@example.org", "password": PASSWORD }).to_string();
    let (begin, end) = body.split_at(10);
    let mut client = connect(&server);
    let head =
        format!("POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    write!(client, "{head}\r\n{begin}").unwrap();
    // An idle connection that was used before does not delay the stop.
    let mut idle = connect(&server);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 1024]).unwrap() > 0);

    let (id, log) = (server.id(), server.log.clone());
    signal("TERM", id);
    while !log.text().contains("stopping") {
        thread::sleep(Duration::from_millis(10));
    }
    client.write_all(end.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(within(Duration::from_secs(4), || server.stop()).success());
}

#[test]
fn h11_a_silent_connection_does_not_delay_the_stop() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let _silent = connect(&server);
    let mut half = connect(&server);
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
    assert!(within(Duration::from_secs(10), || server.stop()).success());
}

#[test]
fn sigint_stops_the_server() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    signal("INT", server.id());
    assert!(server.stop().success());
}

#[test]
fn d01_acknowledged_changes_survive_kill_9() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let (sender, receiver) = mpsc::channel();
    let busy = Arc::new(server);
    let client = Arc::clone(&busy);
    let registering = thread::spawn(move || {
        for number in 0.. {
            let email = format!("ada{number}@example.org");
            match client.try_register(&email, PASSWORD) {
                Some(201) => sender.send(email).unwrap(),
                Some(status) => panic!("{email}: {status}"),
                None => return,
            }
        }
    });
    let mut answered: Vec<String> = receiver.iter().take(5).collect();
    signal("KILL", busy.id());
    registering.join().unwrap();
    answered.extend(receiver.try_iter());
    drop(busy);
    assert_eq!(sql(dir.path(), "PRAGMA integrity_check"), ["ok"]);
    assert_eq!(sql(dir.path(), "PRAGMA journal_mode"), ["wal"]);

    let server = Server::start(dir.path(), &[]);
    let tokens = server.log_in("admin", &initial_password(dir.path())).json();
    let token = tokens["access_token"].as_str().unwrap();
    let users = server.get_as(token, "/v1/users?limit=100").text;
    for email in answered {
        assert!(users.contains(&format!("\"{email}\"")), "{email} is lost");
        assert_eq!(server.log_in(&email, PASSWORD).status, 201);
    }
    server.kill();
    assert_eq!(sql(dir.path(), "PRAGMA integrity_check"), ["ok"]);
}

#[test]
fn output_without_a_reader_does_not_stop_the_server() {
    let dir = empty_directory();
    let mut child = command(dir.path(), &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    drop(child.stderr.take());
    let address = line.split("http://").nth(1).and_then(|rest| rest.split(". ").next()).unwrap().to_owned();
    for _ in 0..2 {
        let mut client = TcpStream::connect(&address).unwrap();
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    signal("TERM", child.id());
    assert!(child.wait().unwrap().success());
}

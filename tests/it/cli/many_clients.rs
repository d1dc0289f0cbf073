//! Many clients of the real binary: slow clients, large uploads, too few descriptors, and a stop under load (rows H04, H05 and
//! H11).

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{empty_directory, metrics_address, until};

use crate::support::binary::{self, Server, signal};

fn connect(server: &Server) -> TcpStream {
    let client = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

/// Returns a number of `/proc/<id>/status`, such as `VmRSS`, in KiB.
fn status(server: &Server, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Returns the processor time that a server has used.
fn processor_time(server: &Server) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10) // Linux counts hundredths of a second
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long the real server really takes")]
fn h05_two_thousand_slow_clients_do_not_slow_other_clients() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let slow: Vec<_> = (0..2_000)
        .map(|number| {
            let mut client = connect(&server);
            let begun = if number % 2 == 0 {
                "GET /healthz HTTP/1.1\r\nX:"
            } else {
                "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            };
            client.write_all(begun.as_bytes()).unwrap();
            client
        })
        .collect();
    let mut times: Vec<_> = (0..100)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(server.get("/healthz").status, 200);
            began.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[50] < Duration::from_millis(100), "{:?} is the median", times[50]);
    assert_eq!(slow.len(), 2_000);
}

#[test]
fn h04_a_hundred_uploads_of_60_mb_at_once_take_no_memory() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.get("/readyz").status, 200);
    let before = status(&server, "VmHWM");
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..100 {
            let (mut client, refused) = (connect(&server), &refused);
            scope.spawn(move || {
                let length = if number % 2 == 0 { "Content-Length: 60000000" } else { "Transfer-Encoding: chunked" };
                let head = format!("POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{length}\r\n\r\n");
                client.write_all(head.as_bytes()).unwrap();
                let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).into_bytes();
                // A simple client sends everything before it reads the response.
                let sent = (0..60_000_000 / chunk.len()).try_for_each(|_| client.write_all(&chunk));
                let mut answer = String::new();
                _ = client.read_to_string(&mut answer);
                assert!(answer.starts_with("HTTP/1.1 413"), "{sent:?} {answer:?}");
                refused.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(refused.into_inner(), 100);
    let grown = status(&server, "VmHWM").saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more than before"); // 100 bodies of 60 MB are 5,700 MiB
}

/// Waits until a server's memory exceeds `before` by at most `within` KiB.
fn until_given_back(server: &Server, before: u64, within: u64) {
    until(|| status(server, "VmRSS") < before + within);
}

#[test]
fn two_thousand_clients_that_do_not_read_take_no_memory() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.get("/openapi.json").status, 200);
    let at_first = status(&server, "VmRSS");
    for path in ["/openapi.json", "/docs/swagger-ui-bundle.js", "/.well-known/jwks.json"] {
        assert_eq!(server.get(path).status, 200);
        let before = status(&server, "VmRSS");
        let requests = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(3);
        let deaf: Vec<_> = (0..2_000)
            .map(|_| {
                let mut client = connect(&server);
                client.write_all(requests.as_bytes()).unwrap();
                client
            })
            .collect();
        assert_eq!(server.get("/healthz").status, 200);
        let grown = status(&server, "VmRSS").saturating_sub(before);
        assert!(grown < 64 * 1024, "{path}: {grown} KiB more than before"); // 2,000 copies of the contract are 1,400 MiB
        drop(deaf);
    }
    until_given_back(&server, at_first, 24 * 1024);
}

#[test]
fn the_memory_of_incomplete_requests_is_limited_in_total() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.get("/readyz").status, 200);
    let before = status(&server, "VmRSS");
    let begun = [
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(60_000)),
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_500),
        format!(
            "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 64000\r\n\r\n{}",
            "x".repeat(63_000)
        ),
    ];
    let clients: Vec<_> = (0..3_000)
        .map(|number| {
            let mut client = connect(&server);
            client.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
            _ = client.write_all(begun[number % 3].as_bytes());
            client
        })
        .collect();
    assert_eq!(server.get("/healthz").status, 200);
    until(|| server.log_in("nobody", "wrong horse battery").status == 401); // 503 while the server is busy
    let grown = status(&server, "VmHWM").saturating_sub(before);
    assert!(grown < 192 * 1024, "{grown} KiB more than before");
    drop(clients);
    until_given_back(&server, before, 32 * 1024);
}

#[test]
fn metrics_are_served_while_sixteen_connections_are_idle() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[("VESTIBULE_METRICS__LISTEN", "127.0.0.1:0")]);
    let watched = metrics_address(&server);
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let mut client = TcpStream::connect(&watched).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = [0; 12];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
            client
        })
        .collect();
    let mut client = TcpStream::connect(&watched).unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("malformed_request"), "{answer}");
    assert_eq!(clients.len(), 40);
}

#[test]
fn h05_a_server_without_free_descriptors_pauses_and_recovers_at_once() {
    let dir = empty_directory();
    let server = {
        // Without connections the server uses twenty to thirty. It accepts ten for the API and sixteen for the metrics.
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"ulimit -n 40; exec "$0""#, binary::BINARY]);
        Server::spawn(binary::like(shell, dir.path(), &[("VESTIBULE_METRICS__LISTEN", "127.0.0.1:0")]))
    };
    let is_served = |client: &mut TcpStream| {
        let mut answer = [0; 1024];
        client.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").is_ok()
            && client.read(&mut answer).is_ok()
            && answer.starts_with(b"HTTP/1.1 200")
    };
    let mut first = connect(&server);
    assert!(is_served(&mut first));
    let watched = metrics_address(&server);
    // The operating system accepts these connections; the server cannot.
    let clients: Vec<_> = (0..30).flat_map(|_| [connect(&server), TcpStream::connect(&watched).unwrap()]).collect();
    until(|| server.log.text().contains("cannot accept connections"));
    let before = processor_time(&server);
    thread::sleep(Duration::from_secs(1));
    let used = processor_time(&server).saturating_sub(before);
    assert!(used < Duration::from_millis(300), "the server used {used:?} in one second");
    drop(clients);
    // Before the server notices that the clients are gone, it may close a new connection to make room for another.
    until(|| is_served(&mut connect(&server)));
    assert!(server.stop().success());
}

#[test]
fn h11_sigterm_under_load_loses_no_accepted_request() {
    let dir = empty_directory();
    let server = Arc::new(Server::start(dir.path(), &[]));
    assert_eq!(server.register("ada@example.org", "ada likes tall ships").status, 201);
    let (answered, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let body = json!({ "identifier": "ada@example.org", "password": "ada likes tall ships" }).to_string();
    let head = "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let log_in = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (server, answered, stop, log_in) =
                (Arc::clone(&server), Arc::clone(&answered), Arc::clone(&stop), log_in.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut client) = TcpStream::connect(server.url.strip_prefix("http://").unwrap()) else { return };
                    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    client.write_all(log_in.as_bytes()).unwrap();
                    // From here on the request is sent. The server may refuse it only by not accepting the connection.
                    let mut answer = [0; 12];
                    match client.read_exact(&mut answer) {
                        Ok(()) => assert!(matches!(&answer, b"HTTP/1.1 201" | b"HTTP/1.1 503"), "{answer:?}"),
                        Err(err) if err.kind() == ErrorKind::ConnectionReset => return,
                        Err(err) => panic!("no answer: {err}"),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while answered.load(Ordering::Relaxed) < 10 {
        thread::sleep(Duration::from_millis(10));
    }
    signal("TERM", server.id());
    while !server.log.text().contains("stopping") {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(server.get("/readyz").problem(), (503, "unavailable".into()));
    let at_the_signal = answered.load(Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert!(answered.load(Ordering::Relaxed) > at_the_signal);
    stop.store(true, Ordering::Relaxed);
    assert!(Arc::into_inner(server).unwrap().stop().success());
}

//! Output that cannot be written: a pipe without a reader, a full disk, a closed stream. None of them stops the service.

use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe},
    net::TcpStream,
    path::Path,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{empty_directory, initial_password, sql};

use crate::support::binary::{BINARY, command, signal};

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Returns a pipe that is full and has no reader.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    let mut filler = writer.try_clone().unwrap();
    // The last write never returns, because the pipe has no reader.
    thread::spawn(move || while filler.write_all(&[b' '; 512]).is_ok() {});
    (reader, writer)
}

/// A connection that sends several requests.
struct Caller(BufReader<TcpStream>);

impl Caller {
    fn new(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends `count` requests at once, and reads the responses.
    fn get(&mut self, path: &str, token: &str, count: usize) -> Vec<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        self.0.get_mut().write_all(request.repeat(count).as_bytes()).unwrap();
        (0..count).map(|_| self.response()).collect()
    }

    fn response(&mut self) -> String {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let begin = head.len();
            assert!(self.0.read_line(&mut head).expect("a response") > 0, "the connection was closed after {head}");
            if let Some(value) = head[begin..].strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        head + &String::from_utf8(body).unwrap()
    }
}

/// Returns the address of a free port. It is the address of a server whose output cannot be read.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Starts a server with these streams, and waits until it responds.
fn start(dir: &Path, stdout: impl Into<Stdio>, stderr: impl Into<Stdio>, env: &[(&str, &str)]) -> (Child, String) {
    let address = free_address();
    let mut command = command(dir, env);
    command.env("VESTIBULE_SERVER__LISTEN", &address).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let mut child = command.spawn().unwrap();
    while TcpStream::connect(&address).is_err() {
        assert_eq!(child.try_wait().unwrap(), None, "the server did not start");
        thread::sleep(Duration::from_millis(10));
    }
    (child, address)
}

/// Sends SIGTERM to the server, and checks that it stops in time.
fn stop(mut child: Child) {
    signal("TERM", child.id());
    for _ in 0..PATIENCE.as_millis() / 10 {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("SIGTERM had no effect");
}

#[test]
fn a_log_without_a_reader_drops_lines_and_reports_their_number() {
    let dir = empty_directory();
    let ((reader, writer), metrics) = (pipe().unwrap(), free_address());
    let env = [("VESTIBULE_METRICS__LISTEN", metrics.as_str())];
    let (child, address) = start(dir.path(), Stdio::null(), writer, &env);
    let mut caller = Caller::new(&address);
    let body = format!(r#"{{"identifier":"admin","password":"{}"}}"#, initial_password(dir.path()));
    let head = "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ";
    write!(caller.0.get_mut(), "{head}{}\r\n\r\n{body}", body.len()).unwrap();
    let tokens = caller.response();
    let token = tokens.split(r#""access_token":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();

    let dropped = || {
        let answer = Caller::new(&metrics).get("/metrics", "", 1).remove(0);
        let count = answer.lines().find_map(|line| line.strip_prefix("vestibule_log_lines_dropped_total "));
        count.unwrap_or_else(|| panic!("{answer}")).parse::<u64>().unwrap()
    };
    let mut sent = 1;
    while dropped() == 0 {
        let answers = caller.get("/healthz", "", 200);
        assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")));
        sent += answers.len();
        assert!(sent < 50_000, "too many lines are kept in memory");
    }
    // The log is full, but there is still room for an error.
    sql(dir.path(), "DROP TABLE audit_events");
    let failed = caller.get("/v1/audit-events", &token, 3);
    assert!(failed.iter().all(|answer| answer.starts_with("HTTP/1.1 500 ")), "{failed:?}");
    assert!(caller.get("/healthz", "", 1)[0].starts_with("HTTP/1.1 200 "));
    sent += failed.len() + 1;

    // The reader continues. It has read everything once it sees the line of a last request.
    let read = Arc::new(Mutex::new(Vec::<Value>::new()));
    let keep = Arc::clone(&read);
    let reading = thread::spawn(move || {
        for line in BufReader::new(reader).lines().map(Result::unwrap) {
            keep.lock().unwrap().push(serde_json::from_str(&line).unwrap());
        }
    });
    while !read.lock().unwrap().iter().any(|line| line["operation"] == "readVersion") {
        sent += caller.get("/version", "", 1).len();
    }
    let dropped = dropped();
    stop(child);
    reading.join().unwrap();
    let lines = read.lock().unwrap();
    let count = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
    assert_eq!(count("unexpected failure"), 3);
    let reported: u64 = lines.iter().filter_map(|line| line["dropped"].as_u64()).sum();
    assert_eq!(reported, dropped, "each line that was dropped is reported");
    assert_eq!(count("request") as u64 + reported, sent as u64, "and no other line is missing");
    assert_eq!((count("stopping"), count("stopped")), (1, 1));
}

#[test]
fn a_server_serves_and_stops_while_its_output_cannot_be_written() {
    let discard = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    for format in ["text", "json"] {
        let env = [("VESTIBULE_LOG__FORMAT", format)];
        let dir = empty_directory();
        let ((reader, writer), (_unread, both)) = (pipe().unwrap(), full_pipe());
        drop(reader);
        let (full, closed): (Stdio, Stdio) = (both.try_clone().unwrap().into(), writer.into());
        for (stdout, stderr) in [
            (full, both.into()),
            (discard().into(), closed),
            (Stdio::null(), discard().into()),
            (discard().into(), Stdio::piped()),
        ] {
            let (mut child, address) = start(dir.path(), stdout, stderr, &env);
            drop(child.stderr.take());
            let mut caller = Caller::new(&address);
            assert!(caller.get("/healthz", "", 500).iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")));
            assert!(caller.get("/v1/me", "", 1)[0].starts_with("HTTP/1.1 401 "));
            stop(child);
        }
    }
}

#[test]
fn a_server_with_closed_output_streams_serves() {
    let dir = empty_directory();
    let address = free_address();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", r#"exec "$0" >&- 2>&-"#, BINARY]);
    let mut shell = crate::support::binary::like(shell, dir.path(), &[("VESTIBULE_SERVER__LISTEN", &address)]);
    shell.env("VESTIBULE_SERVER__LISTEN", &address);
    let child = shell.spawn().unwrap();
    while TcpStream::connect(&address).is_err() {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(Caller::new(&address).get("/healthz", "", 1)[0].starts_with("HTTP/1.1 200 "));
    stop(child);
}

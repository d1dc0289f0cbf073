//! Clients of two replicas, which record the status and the time of every response and every change that was acknowledged.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use ureq::{
    Agent,
    http::{Method, Request},
};

pub const PASSWORD: &str = "ada likes tall ships";

/// How long a client waits for a response.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the real time, because a trial measures how long a real server takes.
#[expect(clippy::disallowed_methods, reason = "how long the real server really takes")]
pub fn now() -> Instant {
    Instant::now()
}

/// A response. The status is 0 if there was none; the code then states the reason.
pub struct Reply {
    pub status: u16,
    pub code: String,
    pub retry_after: bool,
    pub body: Value,
}

impl Reply {
    pub fn text(&self, member: &str) -> String {
        self.body[member].as_str().unwrap_or_else(|| panic!("no {member}: {} {}", self.status, self.code)).to_owned()
    }
}

/// Sends one request on a connection of its own.
pub fn send(url: &str, method: Method, path: &str, token: &str, body: Option<&Value>) -> Reply {
    let agent: Agent = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
    let mut request = Request::builder().method(method).uri(format!("{url}{path}"));
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = match body {
        Some(body) => agent.run(request.header("content-type", "application/json").body(body.to_string()).unwrap()),
        None => agent.run(request.body(()).unwrap()),
    };
    let read = answer.and_then(|answer| {
        let (head, mut body) = answer.into_parts();
        Ok((head, body.read_to_string()?))
    });
    match read {
        Ok((head, text)) => {
            let body: Value = serde_json::from_str(&text).unwrap_or_default();
            let code = body["code"].as_str().unwrap_or_default().to_owned();
            Reply { status: head.status.as_u16(), code, retry_after: head.headers.contains_key("retry-after"), body }
        }
        Err(err) => Reply { status: 0, code: err.to_string(), retry_after: false, body: Value::Null },
    }
}

pub fn log_in(url: &str, email: &str) -> Reply {
    send(url, Method::POST, "/v1/sessions", "", Some(&json!({ "identifier": email, "password": PASSWORD })))
}

pub fn register(url: &str, email: &str) -> Reply {
    send(url, Method::POST, "/v1/accounts", "", Some(&json!({ "email": email, "password": PASSWORD })))
}

/// A request that was sent.
#[derive(Clone)]
pub struct Sample {
    pub replica: usize,
    pub name: &'static str,
    /// The time since the trial began.
    pub at: Duration,
    pub took: Duration,
    pub status: u16,
    pub code: String,
    pub retry_after: bool,
}

impl Sample {
    pub const fn is_good(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    pub fn end(&self) -> Duration {
        self.at + self.took
    }

    /// Returns whether the request waits for a password hash, which takes long on a busy machine.
    pub fn hashes(&self) -> bool {
        self.name == "log in" || self.name == "register"
    }
}

/// What the servers have acknowledged, and must therefore keep.
#[derive(Default)]
pub struct Promised {
    /// The number in the writer's name that was acknowledged last.
    pub name: u64,
    /// The addresses whose registration was acknowledged.
    pub accounts: Vec<String>,
    /// The access tokens whose session's end was acknowledged.
    pub ended: Vec<String>,
    /// The refresh tokens that clients hold.
    pub refresh: Vec<String>,
    /// When each end of a session was acknowledged, and for how long the other replica accepted the token after that.
    pub spread: Vec<(Duration, Duration)>,
    pub broken: Vec<String>,
}

/// The state that the clients share.
pub struct Shared {
    pub urls: [String; 2],
    began: Instant,
    stop: AtomicBool,
    pub samples: Mutex<Vec<Sample>>,
    pub promised: Mutex<Promised>,
    pub names: AtomicU64,
}

/// The clients. They run until [`Load::stop`].
pub struct Load {
    pub shared: Arc<Shared>,
    /// The account whose name is changed repeatedly.
    pub writer: String,
    threads: Vec<JoinHandle<()>>,
}

const PAUSE: Duration = Duration::from_millis(50);

impl Load {
    /// Registers accounts and starts clients: on each replica, `readers` that read their account, and one for each other
    /// operation.
    pub fn start(urls: [String; 2], readers: usize) -> Self {
        let shared = Arc::new(Shared {
            began: now(),
            stop: AtomicBool::default(),
            samples: Mutex::default(),
            promised: Mutex::default(),
            names: AtomicU64::default(),
            urls,
        });
        let mut load = Self { writer: "writer@example.org".to_owned(), shared, threads: Vec::new() };
        let url = load.shared.urls[0].clone();
        for name in ["reader", "writer", "leaver", "holder0", "holder1"] {
            assert_eq!(register(&url, &format!("{name}@example.org")).status, 201);
        }
        let reader = log_in(&url, "reader@example.org").text("access_token");
        for replica in [0, 1] {
            load.repeat(replica, "health", Method::GET, "/healthz", String::new());
            load.repeat(replica, "ready", Method::GET, "/readyz", String::new());
            load.repeat(replica, "token", Method::GET, "/v1/token", reader.clone());
            for _ in 0..readers {
                load.repeat(replica, "me", Method::GET, "/v1/me", reader.clone());
            }
            // This client has its own account: a replica that is cut off in a transaction keeps its locks for some seconds.
            let held = log_in(&url, &format!("holder{replica}@example.org")).text("refresh_token");
            load.shared.promised.lock().unwrap().refresh.push(held);
            load.spawn(move |shared| refresh(shared, replica));
        }
        let writer = log_in(&url, &load.writer).text("access_token");
        let token = writer.clone();
        load.spawn(move |shared| rename(shared, &token));
        load.spawn(move |shared| {
            shared.send(0, "end others", Method::DELETE, "/v1/me/sessions?except_current=true", &writer, None);
            thread::sleep(PAUSE * 4);
        });
        load.spawn(leave);
        load.spawn(register_others);
        load
    }

    fn spawn(&mut self, client: impl Fn(&Shared) + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.threads.push(thread::spawn(move || {
            while !shared.stop.load(Ordering::SeqCst) {
                client(&shared);
                thread::sleep(PAUSE);
            }
        }));
    }

    fn repeat(&mut self, replica: usize, name: &'static str, method: Method, path: &'static str, token: String) {
        self.spawn(move |shared| _ = shared.send(replica, name, method.clone(), path, &token, None));
    }

    /// Returns the time since the trial began.
    pub fn elapsed(&self) -> Duration {
        self.shared.elapsed()
    }

    /// Waits until every client has succeeded twice.
    pub fn warm_up(&self) {
        let limit = self.elapsed() + Duration::from_mins(1);
        loop {
            let samples = self.shared.samples.lock().unwrap().clone();
            let done = |replica, name| {
                samples.iter().filter(|sample| (sample.replica, sample.name) == (replica, name) && sample.is_good()).count() > 1
            };
            let everywhere = ["health", "ready", "token", "me", "refresh"];
            if everywhere.iter().all(|name| done(0, name) && done(1, name))
                && ["rename", "end", "register"].iter().all(|name| done(0, name))
            {
                return;
            }
            assert!(self.elapsed() < limit, "the clients do not succeed");
            thread::sleep(PAUSE);
        }
    }

    /// Stops the clients.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl Shared {
    fn elapsed(&self) -> Duration {
        now().duration_since(self.began)
    }

    fn send(&self, replica: usize, name: &'static str, method: Method, path: &str, token: &str, body: Option<&Value>) -> Reply {
        let at = self.elapsed();
        let reply = send(&self.urls[replica], method, path, token, body);
        let took = self.elapsed().saturating_sub(at);
        let Reply { status, ref code, retry_after, .. } = reply;
        self.samples.lock().unwrap().push(Sample { replica, name, at, took, status, code: code.clone(), retry_after });
        reply
    }
}

/// Refreshes with the token that was received last.
fn refresh(shared: &Shared, replica: usize) {
    let held = shared.promised.lock().unwrap().refresh[replica].clone();
    let body = json!({ "refresh_token": held });
    let reply = shared.send(replica, "refresh", Method::POST, "/v1/sessions/refresh", "", Some(&body));
    if reply.status == 200 {
        shared.promised.lock().unwrap().refresh[replica] = reply.text("refresh_token");
    }
}

/// Changes the name to the next number.
fn rename(shared: &Shared, token: &str) {
    let number = shared.names.fetch_add(1, Ordering::SeqCst) + 1;
    let body = json!({ "name": format!("number {number}") });
    if shared.send(0, "rename", Method::PATCH, "/v1/me", token, Some(&body)).status == 200 {
        shared.promised.lock().unwrap().name = number;
    }
}

fn register_others(shared: &Shared) {
    let email = format!("{}@example.org", uuid::Uuid::new_v4());
    let body = json!({ "email": email, "password": PASSWORD });
    if shared.send(0, "register", Method::POST, "/v1/accounts", "", Some(&body)).status == 201 {
        shared.promised.lock().unwrap().accounts.push(email);
    }
    thread::sleep(PAUSE * 4);
}

/// Logs in, ends the session on one replica, and uses its token on both until it is refused.
fn leave(shared: &Shared) {
    let body = json!({ "identifier": "leaver@example.org", "password": PASSWORD });
    let tokens = shared.send(0, "log in", Method::POST, "/v1/sessions", "", Some(&body));
    if tokens.status != 201 {
        return;
    }
    let token = tokens.text("access_token");
    // If the outcome is unknown, the end is not requested again: the token may already be refused.
    if shared.send(0, "end", Method::DELETE, "/v1/me/sessions/current", &token, None).status != 204 {
        return;
    }
    let acknowledged = shared.elapsed();
    let try_token = |replica: usize| send(&shared.urls[replica], Method::GET, "/v1/token", &token, None).status;
    if try_token(0) == 200 {
        shared.promised.lock().unwrap().broken.push("a token was accepted by the replica that had just ended its session".into());
    }
    let mut accepted = Duration::ZERO;
    while !shared.stop.load(Ordering::SeqCst) {
        let sent_at = shared.elapsed();
        if try_token(1) != 200 {
            break;
        }
        accepted = sent_at.saturating_sub(acknowledged);
        thread::sleep(PAUSE / 2);
    }
    let mut promised = shared.promised.lock().unwrap();
    promised.spread.push((acknowledged, accepted));
    promised.ended.push(token);
}

//! A stand-in for Vestibule. The test determines its keys, tokens and failures.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

/// How the stand-in answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// With the key set.
    Healthy,
    /// With this status.
    Status(&'static str),
    /// With 200 and a page that is not JSON.
    Page,
    /// Closes each connection without an answer.
    ClosesConnections,
    /// Keeps each connection open without an answer.
    Unresponsive,
}

/// A signing key.
pub struct Key {
    id: &'static str,
    private: EncodingKey,
}

impl Key {
    pub fn new(id: &'static str) -> Self {
        let private = EncodingKey::from_ed_der(Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap().as_ref());
        Self { id, private }
    }

    fn public(&self) -> Value {
        let mut public = Jwk::from_encoding_key(&self.private, Algorithm::EdDSA).unwrap();
        public.common.key_id = Some(self.id.into());
        json!(public)
    }

    /// Returns an `Authorization` header with a token that is valid, except for what `change` changes in its header and claims.
    pub fn sign(&self, change: impl FnOnce(&mut Header, &mut Value)) -> String {
        let now = jsonwebtoken::get_current_timestamp();
        let mut header = Header { kid: Some(self.id.into()), typ: Some("at+jwt".into()), ..Header::new(Algorithm::EdDSA) };
        let mut claims = json!({
            "iss": ISSUER, "aud": "vestibule", "sub": "somebody", "roles": ["user"], "iat": now, "exp": now + 900,
        });
        change(&mut header, &mut claims);
        format!("Bearer {}", jsonwebtoken::encode(&header, &claims, &self.private).unwrap())
    }
}

/// The issuer of the tokens. It is not the address of the stand-in.
pub const ISSUER: &str = "https://id.example.org";

struct State {
    health: Health,
    keys: Value,
    reads: usize,
}

/// A running stand-in.
pub struct StandIn {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl StandIn {
    pub fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { health: Health::Healthy, keys: Value::Null, reads: 0 }));
        let stand_in = Self { url, state };
        stand_in.publish(keys);
        let state = Arc::clone(&stand_in.state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&state);
                thread::spawn(move || answer(&stream.unwrap(), &state));
            }
        });
        stand_in
    }

    pub fn publish(&self, keys: &[&Key]) {
        self.state.lock().unwrap().keys = keys.iter().map(|key| key.public()).collect();
    }

    pub fn set_health(&self, health: Health) {
        self.state.lock().unwrap().health = health;
    }

    /// Returns how often the key set was read.
    pub fn reads(&self) -> usize {
        self.state.lock().unwrap().reads
    }
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>) {
    let lines: Vec<_> = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let mut state = state.lock().unwrap();
    let (status, body) = match state.health {
        Health::ClosesConnections => return,
        Health::Unresponsive => {
            drop(state);
            return thread::sleep(Duration::from_mins(1));
        }
        Health::Status(status) => (status, json!({ "title": "No" }).to_string()),
        Health::Page => ("200 OK", "<h1>Welcome to the hotel</h1>".to_owned()),
        Health::Healthy if lines[0].starts_with("GET /.well-known/jwks.json ") => {
            state.reads += 1;
            ("200 OK", json!({ "keys": state.keys }).to_string())
        }
        Health::Healthy => ("404 Not Found", "{}".to_owned()),
    };
    let head = "Content-Type: application/json\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\nConnection: close";
    _ = write!(stream, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

//! The load generator: clients that keep their connections, and send the next request when the response has arrived.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    figures::Figures,
    process::{self, Process},
};

/// A response.
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Response {
    /// Parses the body as JSON. Fails unless the response has this status.
    pub fn expect(&self, status: u16) -> Result<serde_json::Value> {
        ensure!(self.status == status, "the status is {}: {}", self.status, String::from_utf8_lossy(&self.body));
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// Returns a request without a body.
pub fn get(path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n").into()
}

/// Returns a request with a JSON body.
pub fn post(path: &str, body: &serde_json::Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into()
}

/// Sends one request on a connection of its own.
pub async fn send(address: SocketAddr, request: &[u8]) -> Result<Response> {
    Connection::open(address).await?.exchange(request).await
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(16 * 1024) })
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Response> {
        self.stream.write_all(request).await?;
        self.received.clear();
        loop {
            ensure!(
                self.stream.read_buf(&mut self.received).await? > 0,
                "the connection was closed before the response was complete"
            );
            let Some(end) = memmem::find(&self.received, b"\r\n\r\n") else { continue };
            let (head, body) = (&self.received[..end], &self.received[end + 4..]);
            if body.len() >= content_length(head)? {
                let status = head.get(9..12).context("the response has no status")?;
                return Ok(Response { status: str::from_utf8(status)?.parse()?, body: body.to_vec() });
            }
        }
    }
}

fn content_length(head: &[u8]) -> Result<usize> {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let begin = memmem::find(head, NAME).context("the response has no content-length")? + NAME.len();
    let rest = &head[begin..];
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    Ok(str::from_utf8(&rest[..end])?.parse()?)
}

/// Returns the next request of a client from the response to the one before; `None` repeats the request.
type Next = fn(&Response) -> Result<Option<Vec<u8>>>;

/// What clients send to a server. Each client has a connection and a request of its own.
#[derive(Clone)]
pub struct Load {
    pub requests: Vec<Vec<u8>>,
    /// The status of every response.
    pub status: u16,
    pub next: Next,
}

impl Load {
    /// Clients that repeat one request.
    pub fn repeat(clients: usize, status: u16, request: &[u8]) -> Self {
        Self { requests: vec![request.to_vec(); clients], status, next: |_| Ok(None) }
    }

    /// Runs the clients for this time. Fails if a response has another status than the expected one.
    pub async fn run(&mut self, server: &Process, length: Duration) -> Result<Figures> {
        let (mut connections, mut count) = (Vec::new(), 0_u32);
        for request in &mut self.requests {
            let mut connection = Connection::open(server.address).await?;
            step(&mut connection, request, self.status, self.next).await?; // not counted: the first request on a connection
            connections.push(connection);
            count += 1;
        }
        let (mine, theirs, began) = (process::processor_time("self")?, server.processor_time()?, Instant::now());
        let mut clients = JoinSet::new();
        for (number, mut connection) in connections.into_iter().enumerate() {
            let (mut request, status, next) = (std::mem::take(&mut self.requests[number]), self.status, self.next);
            clients.spawn(async move {
                let (mut in_time, mut all) = (0_u32, 0_u32);
                while began.elapsed() < length {
                    step(&mut connection, &mut request, status, next).await?;
                    all += 1;
                    in_time += u32::from(began.elapsed() <= length);
                }
                anyhow::Ok((number, request, in_time, all))
            });
        }
        let (mut in_time, mut all) = (0, 0);
        while let Some(client) = clients.join_next().await {
            let (number, request, own_in_time, own_all) = client??;
            self.requests[number] = request;
            in_time += own_in_time;
            all += own_all;
        }
        let elapsed = began.elapsed().as_secs_f64();
        Ok(Figures {
            per_second: f64::from(in_time) / length.as_secs_f64(),
            latency: elapsed * f64::from(count) / f64::from(all),
            processor_time: (server.processor_time()? - theirs) / f64::from(all),
            generator: (process::processor_time("self")? - mine) / elapsed,
        })
    }
}

async fn step(connection: &mut Connection, request: &mut Vec<u8>, status: u16, next: Next) -> Result<()> {
    let response = connection.exchange(request).await?;
    ensure!(response.status == status, "the status is {}: {}", response.status, String::from_utf8_lossy(&response.body));
    if let Some(following) = next(&response)? {
        *request = following;
    }
    Ok(())
}

//! A minimal HTTP client.

use std::{cell::RefCell, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A client that keeps connections open and reuses them.
pub struct Client {
    address: SocketAddr,
    idle: RefCell<Vec<TcpStream>>,
}

/// A response.
pub struct Response {
    pub status: u16,
    text: String,
}

pub fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n")
}

pub fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, idle: RefCell::default() }
    }

    /// Sends a request and returns the response.
    pub async fn send(&self, request: &str) -> Result<Response> {
        let idle = self.idle.borrow_mut().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => TcpStream::connect(self.address).await?,
        };
        connection.set_nodelay(true)?;
        connection.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::with_capacity(2048);
        loop {
            ensure!(connection.read_buf(&mut bytes).await? > 0, "the connection was closed before the response was complete");
            let text = String::from_utf8_lossy(&bytes);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.context("the response has no content-length")?.parse()? {
                let status = head.split(' ').nth(1).context("the response has no status")?.parse()?;
                self.idle.borrow_mut().push(connection);
                return Ok(Response { status, text: text.into_owned() });
            }
        }
    }
}

impl Response {
    pub fn has_header(&self, name: &str) -> bool {
        self.text.contains(&format!("\r\n{name}: "))
    }

    /// Returns a text member of the body.
    pub fn member(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.text.split_once(&format!("\"{name}\":\""))?;
        rest.split('"').next()
    }
}

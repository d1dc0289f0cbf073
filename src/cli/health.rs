//! `vestibule health`: asks the server that the settings describe whether it is alive or ready, as the check of a container. An
//! image without a shell has no other program that could ask.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::output::print_line;
use crate::config::Settings;

/// How long the server may take to connect, and to respond. It responds within two seconds even without its database.
const TIMEOUT: Duration = Duration::from_secs(4);
/// The longest response that is read, in bytes.
const MAX_RESPONSE: u64 = 64 * 1024;

/// Fails unless the server responds with 200.
pub(super) fn run(settings: &Settings, ready: bool) -> Result<()> {
    let address = local(settings.server.listen);
    ensure!(address.port() != 0, "the port of the server is not known: set VESTIBULE_SERVER__LISTEN");
    let path = settings.server.base_path.outside(if ready { "/readyz" } else { "/healthz" });
    let (status, body) = get(address, &path).with_context(|| format!("no response from http://{address}{path}"))?;
    if status == 200 {
        return Ok(print_line(if ready { "The server is ready." } else { "The server is alive." })?);
    }
    match serde_json::from_str::<Value>(&body).ok().as_ref().and_then(|problem| problem["detail"].as_str()) {
        Some(detail) => bail!("{detail}"),
        None => bail!("http://{address}{path} responds with {status}"),
    }
}

/// Returns the address at which this machine reaches a server that listens on `address`, which may stand for all addresses.
fn local(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) });
    }
    address
}

/// Returns the status and the body of a response.
fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.take(MAX_RESPONSE).read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").context("the response is incomplete")?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).context("the response is not HTTP")?;
    Ok((status.parse()?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_reached_on_the_loopback_address() {
        for (listen, reached) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.1.2.3:80", "10.1.2.3:80"), ("[::1]:8", "[::1]:8")]
        {
            assert_eq!(local(listen.parse().unwrap()), reached.parse().unwrap());
        }
    }
}

//! Web origins: scheme, host and port.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// An origin as browsers write it (RFC 6454 section 6.2): `http` or `https`, a host in lower-case ASCII, and the port unless it
/// is the default port of the scheme.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// Returns the origin, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the scheme, `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// Returns the host without the port; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        let authority = self.0.split_once("://").map_or("", |(_, authority)| authority);
        match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => authority,
        }
    }

    /// Returns whether the host is this machine: `localhost`, a name below it, or a loopback address.
    pub fn is_local(&self) -> bool {
        let host = self.host().trim_matches(['[', ']']);
        host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Origin {
    type Err = ();

    /// Fails for user names, paths, queries, fragments, wildcards, and hosts that are not ASCII.
    fn from_str(raw: &str) -> Result<Self, ()> {
        let raw = raw.to_ascii_lowercase();
        let (scheme, rest) = raw.split_once("://").ok_or(())?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(()),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, parse_port(port).ok_or(())?),
            _ => (rest, default_port),
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().map_err(|_| ())?),
            None if host.split('.').all(is_label) => host.to_owned(),
            None => return Err(()),
        };
        Ok(Self(if port == default_port { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }))
    }
}

fn parse_port(raw: &str) -> Option<u16> {
    let digits = raw.bytes().all(|byte| byte.is_ascii_digit()); // `parse` would accept a plus sign
    raw.parse().ok().filter(|port| digits && *port != 0)
}

fn is_label(raw: &str) -> bool {
    !raw.is_empty() && raw.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

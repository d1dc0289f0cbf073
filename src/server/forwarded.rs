//! The headers in which proxies report client addresses: `X-Forwarded-For`, `Forwarded` (RFC 7239), `X-Real-IP`.

use std::{borrow::Cow, net::IpAddr};

use poem::http::HeaderMap;

use crate::config::ForwardedHeader;

/// The client that a proxy reports.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// The client's address.
    Address(IpAddr),
    /// Text that holds no address: malformed, `unknown`, or an obfuscated identifier such as `_hidden`.
    NotAnAddress(String),
}

/// Returns the clients that the proxies report, the nearest proxy first. Each proxy appends to the header, so the lines and
/// their elements are read backwards. Empty list elements do not count (RFC 9110 section 5.6.1).
pub(super) fn hops(header: ForwardedHeader, headers: &HeaderMap) -> Vec<Hop> {
    // A client may send bytes that are not text, and the proxy appends to the same line.
    let lines = headers.get_all(header.as_str()).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    let mut hops: Vec<Hop> = match header {
        ForwardedHeader::XForwardedFor => lines.flat_map(|line| parse_each(line.split(','), node)).collect(),
        ForwardedHeader::Forwarded => {
            lines.flat_map(|line| parse_each(split_outside_quotes(&line, ',').into_iter(), element)).collect()
        }
        ForwardedHeader::XRealIp => {
            // The proxy sets this header and does not append. It is unclear which of several values the proxy has set.
            let all = lines.collect::<Vec<_>>().join(",");
            let mut hops = parse_each(all.split(','), node);
            if hops.len() > 1 { vec![Hop::NotAnAddress(all)] } else { hops.pop().into_iter().collect() }
        }
    };
    hops.reverse();
    hops
}

/// Parses every element that is not empty.
fn parse_each<'a>(elements: impl Iterator<Item = &'a str>, parse: impl Fn(&str) -> Option<IpAddr>) -> Vec<Hop> {
    let elements = elements.map(trim).filter(|element| !element.is_empty());
    elements.map(|element| parse(element).map_or_else(|| Hop::NotAnAddress(element.to_owned()), Hop::Address)).collect()
}

/// A `forwarded-element` (RFC 7239 section 4): parameters, of which `for` names the client.
fn element(raw: &str) -> Option<IpAddr> {
    let mut client = None;
    for pair in split_outside_quotes(raw, ';').into_iter().map(trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let value = unquote(trim(value))?;
        // Each parameter may occur once.
        if trim(name).eq_ignore_ascii_case("for") && client.replace(value).is_some() {
            return None;
        }
    }
    node(&client?)
}

/// Splits `raw` at the separators outside quoted strings. A quoted string without an end extends to the end of `raw`.
fn split_outside_quotes(raw: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, char) in raw.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            char if char == separator && !quoted => {
                parts.push(&raw[begin..at]);
                begin = at + char.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&raw[begin..]);
    parts
}

/// Returns the text of a value: a quoted string (RFC 9110 section 5.6.4), or any text without quotes. More than a token is
/// accepted, because some proxies do not quote the colon of a port or the brackets of an IPv6 address.
fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = raw.strip_prefix('"') else {
        return (!raw.is_empty() && !raw.contains(['"', '\\', ' ', '\t'])).then_some(Cow::Borrowed(raw));
    };
    let inner = rest.strip_suffix('"')?;
    if !inner.contains(['"', '\\']) {
        return Some(Cow::Borrowed(inner));
    }
    let (mut text, mut chars) = (String::new(), inner.chars());
    while let Some(char) = chars.next() {
        match char {
            '"' => return None,
            '\\' => text.push(chars.next()?),
            char => text.push(char),
        }
    }
    Some(Cow::Owned(text))
}

/// Parses a `node` (RFC 7239 section 6) that is an address: IPv4, or IPv6 with or without brackets, with or without a port.
fn node(raw: &str) -> Option<IpAddr> {
    if let Some(rest) = raw.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_whole = port.is_empty() || is_port(port.strip_prefix(':')?);
        return address.parse().ok().map(IpAddr::V6).filter(|_| is_whole);
    }
    // An IPv6 address without brackets has no port, because the port would be indistinguishable from the address.
    raw.parse().ok().or_else(|| {
        let (address, port) = raw.split_once(':')?;
        address.parse().ok().map(IpAddr::V4).filter(|_| is_port(port))
    })
}

/// Whether this is a port, or an obfuscated one (RFC 7239 section 6.2).
fn is_port(raw: &str) -> bool {
    match raw.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
        None => raw.bytes().all(|byte| byte.is_ascii_digit()) && raw.parse::<u16>().is_ok(),
    }
}

/// Removes optional white space (RFC 9110 section 5.6.3).
fn trim(raw: &str) -> &str {
    raw.trim_matches([' ', '\t'])
}

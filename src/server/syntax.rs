//! Rules of HTTP that hyper does not check: the Host header, the form of the target, and the transfer coding. A proxy in
//! front may interpret a malformed request differently, and a client could use the difference to smuggle a request past it.

use std::net::Ipv6Addr;

use hyper::{
    Method, Request, Version,
    header::{HOST, TRANSFER_ENCODING},
    http::uri::Scheme,
};

use crate::api::http::{codes::Code, problem::Problem};

/// A malformed request: the sentence says what is wrong. The connection closes after the response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Malformed(&'static str);

impl Malformed {
    /// Returns what is wrong with the head of a request, if anything (RFC 9112 sections 3.2 and 6.1).
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        host_fault(request).or_else(|| target_fault(request)).or_else(|| coding_fault(request)).map(Self)
    }
}

impl From<Malformed> for Problem {
    fn from(Malformed(detail): Malformed) -> Self {
        Self::new(Code::MalformedRequest, detail)
    }
}

fn host_fault<B>(request: &Request<B>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Some("The request has more than one Host header."),
        (None, _) if request.version() >= Version::HTTP_11 => Some("The request has no Host header."),
        (Some(host), None) if !host.is_empty() && !is_host(host.as_bytes()) => Some("The Host header is invalid."),
        _ => None,
    }
}

fn target_fault<B>(request: &Request<B>) -> Option<&'static str> {
    const FAULT: Option<&str> = Some("The request target is invalid.");
    let uri = request.uri();
    match (uri.scheme(), uri.authority()) {
        (Some(scheme), _) if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS => FAULT,
        (Some(_), Some(authority)) if is_host(authority.as_str().as_bytes()) => None,
        (Some(_), _) => FAULT,
        (None, Some(_)) if request.method() != Method::CONNECT => FAULT,
        _ if uri.path() == "*" && request.method() != Method::OPTIONS => FAULT,
        _ => None,
    }
}

/// hyper accepts any list of codings that ends with `chunked`, and decodes only `chunked`.
fn coding_fault<B>(request: &Request<B>) -> Option<&'static str> {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => None,
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => None,
        _ => Some("The only supported transfer coding is chunked."),
    }
}

/// Whether this is `uri-host [":" port]` (RFC 3986 section 3.2). Unlike the RFC, this rejects a comma in a name, because
/// it may come from a proxy that joined two Host headers.
fn is_host(value: &[u8]) -> bool {
    let Ok(value) = str::from_utf8(value) else { return false };
    let (is_host, rest) = if let Some((literal, rest)) = value.strip_prefix('[').and_then(|value| value.split_once(']')) {
        (literal.parse::<Ipv6Addr>().is_ok() || is_future_address(literal), rest)
    } else {
        let (name, rest) = value.split_at(value.find(':').unwrap_or(value.len()));
        (!name.is_empty() && is_name(name), rest)
    };
    let is_port = |port: &str| port.is_empty() || port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_host && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let is_allowed = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte),
        };
        if !is_allowed {
            return false;
        }
    }
    true
}

/// `IPvFuture`: `v1.x`.
fn is_future_address(literal: &str) -> bool {
    let Some((version, address)) = literal.strip_prefix(['v', 'V']).and_then(|rest| rest.split_once('.')) else { return false };
    let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_version && !address.is_empty() && address.split(':').all(|part| !part.contains('%') && is_name(part))
}

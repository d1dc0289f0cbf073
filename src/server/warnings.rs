//! Warnings about requests that suggest a wrong setting. Each is logged once, because clients control how often they occur.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use poem::http::{HeaderMap, HeaderValue, header};

use super::client_address::Ignored;
use crate::config::{ForwardedHeader, Settings};

/// The highest number of origins to log.
const MAX_ORIGINS: usize = 100;
/// The maximum number of characters of a client's text to log.
const MAX_TEXT: usize = 100;

/// The warnings that were logged.
#[derive(Default)]
pub(super) struct Warnings {
    untrusted_peer: AtomicBool,
    not_an_address: AtomicBool,
    origins: Mutex<HashSet<String>>,
}

impl Warnings {
    /// Warns that a forwarded header was ignored. If the sender is a proxy that the settings do not name, all clients of
    /// that proxy count as one.
    pub(super) fn forwarded_header_ignored(&self, reason: &Ignored, header: ForwardedHeader, peer: IpAddr) {
        let header = header.as_str();
        match reason {
            Ignored::UntrustedPeer if is_first(&self.untrusted_peer) => {
                let message = "ignored a forwarded header from an address that is not in server.trusted_proxies";
                tracing::warn!(header, %peer, "{message}");
            }
            Ignored::NotAnAddress(text) if is_first(&self.not_an_address) => {
                let message = "a trusted proxy forwarded text that is not an address, so the proxy counts as the client";
                tracing::warn!(header, %peer, text = shorten(text), "{message}");
            }
            _ => {}
        }
    }

    /// Warns that a page called from an origin that is not in `cors.origins`. The page cannot read the response.
    pub(super) fn origin_not_allowed(&self, origin: &HeaderValue, headers: &HeaderMap, settings: &Settings) {
        if is_own_origin(origin, headers, settings) {
            return;
        }
        let origin = shorten(&String::from_utf8_lossy(origin.as_bytes()));
        let mut known = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > MAX_ORIGINS || known.contains(&origin) {
            return;
        }
        if known.len() == MAX_ORIGINS {
            tracing::warn!("pages call from many other origins; further origins are not logged");
        } else {
            tracing::warn!(origin, "a page called from an origin that is not in cors.origins, and cannot read the response");
        }
        known.insert(origin);
    }
}

/// Whether the page belongs to this service: browsers also send `Origin` with same-origin requests other than GET and HEAD.
fn is_own_origin(origin: &HeaderValue, headers: &HeaderMap, settings: &Settings) -> bool {
    let origin_host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    origin_host.zip(host).is_some_and(|(origin_host, host)| origin_host.eq_ignore_ascii_case(host))
        || settings.server.public_url.as_ref().is_some_and(|url| url.as_str().as_bytes() == origin.as_bytes())
}

fn is_first(warned: &AtomicBool) -> bool {
    !warned.load(Ordering::Relaxed) && !warned.swap(true, Ordering::Relaxed)
}

fn shorten(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

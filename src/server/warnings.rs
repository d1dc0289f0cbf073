//! Warnings about what requests bring along. Anybody can send as many of them as they like, so each is logged once.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use poem::http::{HeaderMap, HeaderValue, header};

use super::client::Doubt;
use crate::config::{ForwardedHeader, Settings};

/// How many refused origins are logged.
const MOST_ORIGINS: usize = 100;
/// How much of a client's text is logged, in characters.
const MOST_TEXT: usize = 100;

/// What was warned about already.
#[derive(Default)]
pub(super) struct Warnings {
    stranger: AtomicBool,
    unreadable: AtomicBool,
    origins: Mutex<HashSet<String>>,
}

impl Warnings {
    /// Says that a forwarded header was not followed. If it came from a proxy of the operator's that the settings do not
    /// name, all clients of that proxy count as one.
    pub(super) fn forwarded(&self, doubt: &Doubt, header: ForwardedHeader, peer: IpAddr) {
        let header = header.as_str();
        match doubt {
            Doubt::Stranger if is_first(&self.stranger) => {
                tracing::warn!(header, %peer, "a forwarded header came from an address that is none of server.trusted_proxies, and is not trusted");
            }
            Doubt::Unreadable(text) if is_first(&self.unreadable) => {
                tracing::warn!(header, %peer, text = short(text), "a trusted proxy forwarded something that is not an address; the proxy counts as the client");
            }
            _ => {}
        }
    }

    /// Says that a page of another origin called, which may not read the response.
    pub(super) fn origin(&self, origin: &HeaderValue, headers: &HeaderMap, settings: &Settings) {
        if is_our_own(origin, headers, settings) {
            return;
        }
        let origin = short(&String::from_utf8_lossy(origin.as_bytes()));
        let mut known = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > MOST_ORIGINS || known.contains(&origin) {
            return;
        }
        if known.len() == MOST_ORIGINS {
            tracing::warn!("pages of many other origins call; no more of them are logged");
        } else {
            tracing::warn!(origin, "a page of this origin called, which is none of cors.origins, and may not read the response");
        }
        known.insert(origin);
    }
}

/// Whether a page of this service itself called: browsers send `Origin` then too, if the method is not GET.
fn is_our_own(origin: &HeaderValue, headers: &HeaderMap, settings: &Settings) -> bool {
    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let called = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.zip(called).is_some_and(|(host, called)| host.eq_ignore_ascii_case(called))
        || settings.server.public_url.as_ref().is_some_and(|url| url.as_str().as_bytes() == origin.as_bytes())
}

fn is_first(warned: &AtomicBool) -> bool {
    !warned.load(Ordering::Relaxed) && !warned.swap(true, Ordering::Relaxed)
}

fn short(text: &str) -> String {
    text.chars().take(MOST_TEXT).collect()
}

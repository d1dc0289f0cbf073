//! Values as people write them. A variable holds only text, so each type reads text as well as its own kind;
//! guessing types from text instead would turn the secret `0123456` into a number.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use config::{Value, ValueKind};
use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::Value as Shown;

use super::{Algorithm, ForwardedHeader, Hsts, LogFormat, Origin, PageOrigin};

/// A type that a setting may have.
pub(super) trait Written: Sized {
    /// What the value must be, as the end of a sentence.
    fn expected() -> String;
    /// The value, or none when it is not what it must be.
    fn read(raw: ValueKind) -> Option<Self>;
    /// The value to print; null when it is not set, `(hidden)` for a secret.
    fn show(&self) -> Shown;
}

/// For `#[serde(with = "written")]`. Errors never repeat the value: it may be a secret.
pub(super) fn deserialize<'de, D: Deserializer<'de>, T: Written>(source: D) -> Result<T, D::Error> {
    let raw = Value::deserialize(source)?;
    T::read(raw.kind).ok_or_else(|| D::Error::custom(format_args!("must be {}", T::expected())))
}

/// For `#[serde(with = "written")]`.
pub(super) fn serialize<S: Serializer, T: Written>(value: &T, target: S) -> Result<S::Ok, S::Error> {
    value.show().serialize(target)
}

fn text(raw: ValueKind) -> Option<String> {
    match raw {
        ValueKind::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn whole_number(raw: ValueKind) -> Option<u64> {
    match raw {
        ValueKind::I64(number) => number.try_into().ok(),
        ValueKind::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

/// Implements [`Written`]: type, what it must be, how to read it, how to show it.
macro_rules! written {
    ($($type:ty, $expected:literal, $read:expr, $show:expr;)+) => {$(
        impl Written for $type {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn read(raw: ValueKind) -> Option<Self> {
                let read: fn(ValueKind) -> Option<Self> = $read;
                read(raw)
            }

            fn show(&self) -> Shown {
                let show: fn(&Self) -> Shown = $show;
                show(self)
            }
        }
    )+};
}

written! {
    String, "text", text, |it| it.as_str().into();
    PathBuf, "a path", |raw| text(raw).map(Self::from), |it| it.to_string_lossy().into();
    SecretString, "text", |raw| text(raw).map(Self::from), |_| "(hidden)".into();
    u32, "a whole number", |raw| whole_number(raw)?.try_into().ok(), |it| (*it).into();
    usize, "a whole number", |raw| whole_number(raw)?.try_into().ok(), |it| (*it).into();
    Duration, "a whole number of seconds", |raw| whole_number(raw).map(Self::from_secs), |it| it.as_secs().into();
    Algorithm, "EdDSA, ES256, RS256 or HS256", |raw| text(raw)?.parse().ok(), |it| it.as_str().into();
    LogFormat, "auto, text or json", |raw| text(raw)?.parse().ok(), |it| it.as_str().into();
    ForwardedHeader, "x-forwarded-for, forwarded or x-real-ip", |raw| text(raw)?.parse().ok(), |it| it.as_str().into();
    SocketAddr, "an IP address and a port, such as 127.0.0.1:8080", |raw| text(raw)?.parse().ok(),
        |it| it.to_string().into();
    Origin, "http:// or https://, a host, perhaps a port, and nothing else, such as https://id.example.org",
        |raw| text(raw)?.parse().ok(), |it| it.as_str().into();
    PageOrigin, "the origin of a page, such as https://app.example.org, https://*.preview.example.org or capacitor://localhost",
        |raw| text(raw)?.parse().ok(), |it| it.as_str().into();
    Hsts, "off, host or include_subdomains", |raw| text(raw)?.parse().ok(), |it| it.as_str().into();
    IpNet, "an IP address or network, such as 10.0.0.0/8", network, |it| it.to_string().into();
    bool, "true or false", truth, |it| (*it).into();
}

fn truth(raw: ValueKind) -> Option<bool> {
    match raw {
        ValueKind::Boolean(truth) => Some(truth),
        other => text(other)?.parse().ok(),
    }
}

fn network(raw: ValueKind) -> Option<IpNet> {
    let text = text(raw)?;
    // 10.0.0.1/8 may mean one proxy or sixteen million: whom to trust is nothing to guess about.
    let exact = text.parse().ok().filter(|net: &IpNet| net.trunc() == *net);
    exact.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

impl<T: Written> Written for Option<T> {
    fn expected() -> String {
        T::expected()
    }

    fn read(raw: ValueKind) -> Option<Self> {
        T::read(raw).map(Some)
    }

    fn show(&self) -> Shown {
        self.as_ref().map_or(Shown::Null, T::show)
    }
}

impl<T: Written> Written for Vec<T> {
    fn expected() -> String {
        format!("a list, each entry {}", T::expected())
    }

    fn read(raw: ValueKind) -> Option<Self> {
        match raw {
            ValueKind::Array(entries) => entries.into_iter().map(|entry| T::read(entry.kind)).collect(),
            ValueKind::String(text) if text.trim().is_empty() => Some(Self::new()),
            ValueKind::String(text) => text.split(',').map(|entry| T::read(entry.trim().into())).collect(),
            _ => None,
        }
    }

    fn show(&self) -> Shown {
        self.iter().map(T::show).collect()
    }
}

/// The value as it was written, for the end of an error message.
pub(super) fn echo(raw: &Value) -> String {
    match &raw.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(entries) => {
            let entries: Vec<_> = entries.iter().map(echo).collect();
            format!("[{}]", entries.join(", "))
        }
        other => other.to_string(),
    }
}

//! Parsing and printing the values of settings. Environment variables hold only text, so each type accepts text as well as its
//! own TOML type. (The alternative, guessing types from text, would turn the secret `0123456` into a number.)

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

use super::{
    Accent, Algorithm, BasePath, CorsOrigin, ForwardedHeader, Hsts, LinkBase, LogFormat, MailTransport, Origin, SmtpTls,
};
use crate::values::{
    language::Language, mailbox::Mailbox, name::Name, registration_mode::RegistrationMode,
    second_factor_policy::SecondFactorPolicy,
};

/// The type of a setting.
pub(super) trait SettingValue: Sized {
    /// Returns what the value must be, as the end of a sentence.
    fn expected() -> String;
    /// Parses a value; `None` if it is invalid.
    fn parse(raw: ValueKind) -> Option<Self>;
    /// Returns the value to print: null if it is not set, `(hidden)` for a secret.
    fn show(&self) -> Shown;
}

/// For `#[serde(with = "setting_value")]`. Errors never repeat the value, which may be a secret.
pub(super) fn deserialize<'de, D: Deserializer<'de>, T: SettingValue>(source: D) -> Result<T, D::Error> {
    let raw = Value::deserialize(source)?;
    T::parse(raw.kind).ok_or_else(|| D::Error::custom(format_args!("must be {}", T::expected())))
}

/// For `#[serde(with = "setting_value")]`.
pub(super) fn serialize<S: Serializer, T: SettingValue>(value: &T, target: S) -> Result<S::Ok, S::Error> {
    value.show().serialize(target)
}

fn text(raw: ValueKind) -> Option<String> {
    text_or_empty(raw).filter(|text| !text.is_empty())
}

fn text_or_empty(raw: ValueKind) -> Option<String> {
    match raw {
        ValueKind::String(text) => Some(text),
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

/// Implements [`SettingValue`]: the type, what a value must be, how to parse it, how to print it.
macro_rules! setting_values {
    ($($type:ty, $expected:literal, $parse:expr, $show:expr;)+) => {$(
        impl SettingValue for $type {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn parse(raw: ValueKind) -> Option<Self> {
                let parse: fn(ValueKind) -> Option<Self> = $parse;
                parse(raw)
            }

            fn show(&self) -> Shown {
                let show: fn(&Self) -> Shown = $show;
                show(self)
            }
        }
    )+};
}

setting_values! {
    String, "text", text, |value| value.as_str().into();
    PathBuf, "a path", |raw| text(raw).map(Self::from), |path| path.to_string_lossy().into();
    SecretString, "text", |raw| text(raw).map(Self::from), |_| "(hidden)".into();
    u16, "a whole number up to 65535", |raw| whole_number(raw)?.try_into().ok(), |value| (*value).into();
    u32, "a whole number", |raw| whole_number(raw)?.try_into().ok(), |value| (*value).into();
    usize, "a whole number", |raw| whole_number(raw)?.try_into().ok(), |value| (*value).into();
    Duration, "a whole number of seconds", |raw| whole_number(raw).map(Self::from_secs), |duration| duration.as_secs().into();
    Algorithm, "EdDSA, ES256, RS256 or HS256", |raw| text(raw)?.parse().ok(), |value| value.as_str().into();
    LogFormat, "auto, text or json", |raw| text(raw)?.parse().ok(), |value| value.as_str().into();
    ForwardedHeader, "x-forwarded-for, forwarded or x-real-ip", |raw| text(raw)?.parse().ok(), |value| value.as_str().into();
    SocketAddr, "an IP address and a port, such as 127.0.0.1:8080", |raw| text(raw)?.parse().ok(),
        |value| value.to_string().into();
    Origin, "http:// or https://, a host, optionally a port, and nothing else, such as https://id.example.org",
        |raw| text(raw)?.parse().ok(), |value| value.as_str().into();
    BasePath, "a path of at most 64 letters, digits, slashes, and `-`, `_`, `.` or `~`, such as /auth, or empty",
        |raw| text_or_empty(raw)?.parse().ok(), |value| value.as_str().into();
    CorsOrigin, "the origin of a page, such as https://app.example.org, https://*.preview.example.org or capacitor://localhost",
        |raw| text(raw)?.parse().ok(), |value| value.as_str().into();
    Hsts, "off, host or include_subdomains", |raw| text(raw)?.parse().ok(), |value| value.as_str().into();
    MailTransport, "smtp, file, log or none", |raw| text(raw)?.parse().ok(), |value| value.as_str().into();
    SmtpTls, "implicit, starttls or none", |raw| text(raw)?.parse().ok(), |value| value.as_str().into();
    RegistrationMode, "open, verified, invited or closed", |raw| text(raw)?.parse().ok(), |value| value.as_str().into();
    SecondFactorPolicy, "none, administrators or everyone", |raw| text(raw)?.parse().ok(), |value| value.as_str().into();
    Language, "en or de", |raw| text(raw)?.parse().ok(), |value| value.as_str().into();
    Mailbox, "an e-mail address, such as id@example.org or Example <id@example.org>", |raw| text(raw)?.parse().ok(),
        |value| value.to_string().into();
    LinkBase, "http:// or https://, a host and perhaps a path, such as https://www.example.org/id", |raw| text(raw)?.parse().ok(),
        |value| value.as_str().into();
    Name, "a name of 1 to 100 characters", |raw| text(raw)?.parse().ok(), |value| value.as_str().into();
    Accent, "a colour such as #0b57d0", |raw| text(raw)?.parse().ok(), |value| value.to_string().into();
    IpNet, "an IP address or network, such as 10.0.0.0/8", network, |value| value.to_string().into();
    bool, "true or false", boolean, |value| (*value).into();
}

fn boolean(raw: ValueKind) -> Option<bool> {
    match raw {
        ValueKind::Boolean(boolean) => Some(boolean),
        other => text(other)?.parse().ok(),
    }
}

fn network(raw: ValueKind) -> Option<IpNet> {
    let text = text(raw)?;
    // 10.0.0.1/8 could mean one proxy or sixteen million. Do not guess whom to trust.
    let exact = text.parse().ok().filter(|net: &IpNet| net.trunc() == *net);
    exact.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

impl<T: SettingValue> SettingValue for Option<T> {
    fn expected() -> String {
        T::expected()
    }

    fn parse(raw: ValueKind) -> Option<Self> {
        T::parse(raw).map(Some)
    }

    fn show(&self) -> Shown {
        self.as_ref().map_or(Shown::Null, T::show)
    }
}

impl<T: SettingValue> SettingValue for Vec<T> {
    fn expected() -> String {
        format!("a list, each entry {}", T::expected())
    }

    fn parse(raw: ValueKind) -> Option<Self> {
        match raw {
            ValueKind::Array(entries) => entries.into_iter().map(|entry| T::parse(entry.kind)).collect(),
            ValueKind::String(text) if text.trim().is_empty() => Some(Self::new()),
            ValueKind::String(text) => text.split(',').map(|entry| T::parse(entry.trim().into())).collect(),
            _ => None,
        }
    }

    fn show(&self) -> Shown {
        self.iter().map(T::show).collect()
    }
}

/// Returns a value as it was written, for the end of an error message.
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

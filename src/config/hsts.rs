//! HTTP Strict Transport Security (RFC 6797): for which hosts browsers are told to use TLS alone.

use std::str::FromStr;

/// The hosts that the header covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hsts {
    /// None: the header is not sent, for example because the proxy sends it.
    Off,
    /// The host of `server.public_url` alone.
    Host,
    /// That host and every host below it.
    IncludeSubdomains,
}

impl Hsts {
    /// The name in the settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Host => "host",
            Self::IncludeSubdomains => "include_subdomains",
        }
    }

    /// The header's value, for a year.
    #[must_use]
    pub const fn header(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::Host => Some("max-age=31536000"),
            Self::IncludeSubdomains => Some("max-age=31536000; includeSubDomains"),
        }
    }
}

impl FromStr for Hsts {
    type Err = ();

    fn from_str(raw: &str) -> Result<Self, ()> {
        [Self::Off, Self::Host, Self::IncludeSubdomains].into_iter().find(|one| one.as_str() == raw).ok_or(())
    }
}

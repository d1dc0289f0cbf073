//! HTTP Strict Transport Security (RFC 6797): the hosts for which browsers must use TLS.

use std::str::FromStr;

/// The hosts that the header covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hsts {
    /// No host. The header is not sent, for example because the proxy sends it.
    Off,
    /// The host of `server.public_url` only.
    Host,
    /// That host and every host below it.
    IncludeSubdomains,
}

impl Hsts {
    /// Returns the name in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Host => "host",
            Self::IncludeSubdomains => "include_subdomains",
        }
    }

    /// Returns the value of the header, which is valid for a year.
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
        [Self::Off, Self::Host, Self::IncludeSubdomains].into_iter().find(|hsts| hsts.as_str() == raw).ok_or(())
    }
}

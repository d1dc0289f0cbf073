//! The header in which the proxy in front names the client's address.

use std::str::FromStr;

/// A header that carries client addresses through proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: a list to which each proxy adds the address of its own client.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Real-IP`: one address, which the proxy sets.
    XRealIp,
}

impl ForwardedHeader {
    /// The header's name in lower case, which is also the value of the setting.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
            Self::XRealIp => "x-real-ip",
        }
    }
}

impl FromStr for ForwardedHeader {
    type Err = ();

    /// Reads the name in any letter case, as header names are.
    fn from_str(raw: &str) -> Result<Self, ()> {
        let all = [Self::XForwardedFor, Self::Forwarded, Self::XRealIp];
        all.into_iter().find(|header| raw.eq_ignore_ascii_case(header.as_str())).ok_or(())
    }
}

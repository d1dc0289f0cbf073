//! The header in which a proxy names the client's address.

use std::str::FromStr;

/// A header that names the address of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: a list to which each proxy appends the address of its client.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Real-IP`: one address, set by the proxy.
    XRealIp,
}

impl ForwardedHeader {
    /// Returns the name of the header in lower case, which is also the value of the setting.
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

    /// Accepts any letter case, because the names of headers do.
    fn from_str(raw: &str) -> Result<Self, ()> {
        let all = [Self::XForwardedFor, Self::Forwarded, Self::XRealIp];
        all.into_iter().find(|header| raw.eq_ignore_ascii_case(header.as_str())).ok_or(())
    }
}

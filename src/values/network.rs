//! Networks: who counts as one client. One IPv4 address; of IPv6 a /64, for that is what a single customer gets.

use std::{fmt, net::IpAddr};

/// The network an address is in. Requests without an address share one of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(Option<IpAddr>);

impl From<Option<IpAddr>> for Network {
    fn from(address: Option<IpAddr>) -> Self {
        Self(address.map(|it| match it.to_canonical() {
            IpAddr::V6(it) => {
                let [a, b, c, d, ..] = it.segments();
                [a, b, c, d, 0, 0, 0, 0].into()
            }
            it @ IpAddr::V4(_) => it,
        }))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Network {
        Some(address.parse().unwrap()).into()
    }

    #[test]
    fn addresses_are_one_client_by_32_and_by_64_bits() {
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_eq!(network("2001:db8:0:1::1"), network("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:2::1"));
        assert_ne!(Network::from(None), network("::"));
        assert_ne!(Network::from(None).to_string(), network("::").to_string());
    }
}

//! A check that trusted networks are not so large that strangers are in them.

use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The IPv6 networks in which all IPv4 addresses are embedded: mapped and compatible (RFC 4291 section 2.5.5), translated
/// (RFC 6052) and 6to4 (RFC 3056).
const IPV4_IN_IPV6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    (Ipv6Addr::UNSPECIFIED, 96),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];

/// Returns whether these networks, alone or together, contain a large part of the Internet. The largest networks for private
/// use are 10.0.0.0/8 and fc00::/7.
pub(super) fn are_too_large(networks: &[IpNet]) -> bool {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for network in networks {
        match network {
            IpNet::V4(network) => v4.push(*network),
            IpNet::V6(network) => {
                v6.push(*network);
                v4.extend(embedded(*network));
            }
        }
    }
    let many_v4 = Ipv4Net::aggregate(&v4).iter().map(|network| 1_u64 << (32 - network.prefix_len())).sum::<u64>() >= 1 << 31;
    let many_v6 = Ipv6Net::aggregate(&v6).iter().any(|network| network.prefix_len() < 7);
    many_v4 || many_v6 || v4.iter().any(|network| network.prefix_len() < 8)
}

/// Returns the IPv4 networks that are embedded in an IPv6 network.
fn embedded(network: Ipv6Net) -> impl Iterator<Item = Ipv4Net> {
    IPV4_IN_IPV6.into_iter().filter_map(move |(address, length)| {
        let whole = Ipv6Net::new(address, length).ok()?;
        if network.contains(&whole) {
            return Some(Ipv4Net::default());
        }
        let address = (u128::from(network.network()) >> (96 - length)) & 0xffff_ffff;
        let inside = whole.contains(&network) && network.prefix_len() <= length + 32;
        let address = u32::try_from(address).ok().filter(|_| inside)?;
        Ipv4Net::new(address.into(), network.prefix_len() - length).ok()
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn too_large(networks: &str) -> bool {
        are_too_large(&networks.split(' ').map(|network| network.parse().unwrap()).collect::<Vec<_>>())
    }

    #[rstest]
    fn a_network_with_strangers_is_too_large(
        #[values(
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/8 ::/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "0.0.0.0/1 128.0.0.0/1",
            "0.0.0.0/2 64.0.0.0/2 128.0.0.0/2 192.0.0.0/2",
            "64.0.0.0/7",
            "::ffff:0:0/96",
            "::ffff:0:0/97 ::ffff:128.0.0.0/97",
            "::ffff:0:0/95",
            "::/96",
            "64:ff9b::/96",
            "2002::/16",
            "2002:8000::/17",
            "::/1",
            "8000::/1",
            "::/1 8000::/1",
            "2000::/3",
            "::/64"
        )]
        networks: &str,
    ) {
        assert!(too_large(networks));
    }

    #[test]
    fn many_small_networks_together_are_too_large() {
        let all = |from: u32, to: u32| (from..to).map(|first| format!("{first}.0.0.0/8")).collect::<Vec<_>>().join(" ");
        assert!(too_large(&all(0, 256)) && too_large(&all(1, 224)));
        assert!(!too_large(&all(1, 20)));
        let parts: Vec<_> = (0..=255).map(|first| format!("{:x}::/8", first << 8)).collect();
        assert!(too_large(&parts.join(" ")));
    }

    #[rstest]
    fn a_private_or_small_network_is_not_too_large(
        #[values(
            "10.0.0.0/8",
            "127.0.0.1/32",
            "127.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 ::1/128",
            "fc00::/7",
            "fd00::/8",
            "fe80::/10",
            "2001:db8::/32",
            "2a00::/12",
            "::1/128",
            "::ffff:10.0.0.0/104",
            "64:ff9b::10.0.0.0/104",
            "2002:c000:204::/48",
            "104.16.0.0/13 172.64.0.0/13 131.0.72.0/22"
        )]
        networks: &str,
    ) {
        assert!(!too_large(networks));
    }
}

//! The client's address, through the proxies that are ours and no others.

use std::net::IpAddr;

use ipnet::IpNet;
use poem::http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Whether somebody forwards addresses who is none of our proxies, and is not believed.
pub(super) fn is_stranger_who_forwards(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> bool {
    headers.contains_key(FORWARDED_FOR) && !is_ours(peer.to_canonical(), proxies)
}

fn is_ours(address: IpAddr, proxies: &[IpNet]) -> bool {
    proxies.iter().any(|net| net.contains(&address))
}

/// The client's address: the peer's, unless the peer is a proxy of ours; then the last address it forwards that is
/// not one of ours too. Everything before that one is the client's own invention.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    // A client may put bytes that are no text before what the proxy adds to the same line.
    let lines = headers.get_all(FORWARDED_FOR).iter().map(|it| String::from_utf8_lossy(it.as_bytes()));
    let forwarded = lines.collect::<Vec<_>>().join(",");
    // A socket that takes both families shows an IPv4 peer as `::ffff:…`, which no IPv4 network holds.
    let mut client = peer.to_canonical();
    for hop in forwarded.rsplit(',') {
        match hop.trim().parse::<IpAddr>() {
            Ok(hop) if is_ours(client, proxies) => client = hop.to_canonical(),
            _ => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nobody_is_trusted("203.0.113.9", &["198.51.100.1"], &[], "203.0.113.9")]
    #[case::a_stranger("203.0.113.9", &["198.51.100.1"], &["10.0.0.0/8"], "203.0.113.9")]
    #[case::our_proxy("10.0.0.1", &["198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::nothing_forwarded("10.0.0.1", &[], &["10.0.0.0/8"], "10.0.0.1")]
    #[case::what_the_client_invented("10.0.0.1", &["1.1.1.1, 127.0.0.1, 198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::in_another_line("10.0.0.1", &["1.1.1.1", "198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::two_proxies("10.0.0.1", &["1.1.1.1, 198.51.100.1,10.0.0.2"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::garbage("10.0.0.1", &["198.51.100.1, unknown"], &["10.0.0.0/8"], "10.0.0.1")]
    #[case::garbage_before("10.0.0.1", &["\u{e9}, 198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::empty("10.0.0.1", &[""], &["10.0.0.0/8"], "10.0.0.1")]
    #[case::a_socket_of_both_families("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::ipv6("fd00::1", &["2001:db8::7"], &["fd00::/8"], "2001:db8::7")]
    fn h07_a_forwarded_address_is_believed_from_our_proxies_alone(
        #[case] peer: IpAddr,
        #[case] forwarded: &[&str],
        #[case] proxies: &[&str],
        #[case] expected: IpAddr,
    ) {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let proxies: Vec<_> = proxies.iter().map(|it| it.parse().unwrap()).collect();
        assert_eq!(address(peer, &headers, &proxies), expected);
    }
}

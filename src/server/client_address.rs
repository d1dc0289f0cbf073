//! The client's address, as trusted proxies report it.

use std::net::IpAddr;

use ipnet::IpNet;
use poem::http::HeaderMap;

use super::forwarded::{Hop, hops};
use crate::config::ServerSettings;

/// The address of the client that sent a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientAddress {
    /// The address.
    pub(super) address: IpAddr,
    /// Why the forwarded header, or a part of it, was ignored, if it was.
    pub(super) ignored: Option<Ignored>,
}

/// Why a forwarded header was ignored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ignored {
    /// The peer is not a trusted proxy.
    UntrustedPeer,
    /// A trusted proxy sent this text instead of an address.
    NotAnAddress(String),
}

/// Returns the address of the client. It is the peer's address, unless the peer is a trusted proxy. Then it is the last
/// address in the forwarded header that does not belong to a trusted proxy; the client may have invented the addresses
/// before it. An entry without an address ends the search, and the trusted proxy that sent it counts as the client.
pub(super) fn of(peer: IpAddr, headers: &HeaderMap, settings: &ServerSettings) -> ClientAddress {
    // A socket for both families shows an IPv4 peer as `::ffff:…`, which no IPv4 network contains.
    let mut address = peer.to_canonical();
    if !headers.contains_key(settings.forwarded_header.as_str()) {
        return ClientAddress { address, ignored: None };
    }
    let is_trusted = |address: IpAddr| settings.trusted_proxies.iter().any(|net: &IpNet| net.contains(&address));
    if !is_trusted(address) {
        return ClientAddress { address, ignored: Some(Ignored::UntrustedPeer) };
    }
    for hop in hops(settings.forwarded_header, headers) {
        match hop {
            Hop::Address(next) => address = next.to_canonical(),
            Hop::NotAnAddress(text) => return ClientAddress { address, ignored: Some(Ignored::NotAnAddress(text)) },
        }
        if !is_trusted(address) {
            break;
        }
    }
    ClientAddress { address, ignored: None }
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;
    use rstest::rstest;

    use super::*;
    use crate::config::{ForwardedHeader, Settings};

    /// The client of a request from the proxy 10.0.0.1, which sets `header`.
    fn behind_a_proxy(header: ForwardedHeader, lines: &[&str]) -> ClientAddress {
        client_of("10.0.0.1", header, lines, &["10.0.0.0/8"])
    }

    fn client_of(peer: &str, header: ForwardedHeader, lines: &[&str], proxies: &[&str]) -> ClientAddress {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header.as_str(), HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let mut settings = Settings::default().server;
        settings.trusted_proxies = proxies.iter().map(|net| net.parse().unwrap()).collect();
        settings.forwarded_header = header;
        of(peer.parse().unwrap(), &headers, &settings)
    }

    #[rstest]
    #[case::no_trusted_proxy("203.0.113.9", &["198.51.100.1"], &[], "203.0.113.9")]
    #[case::an_untrusted_peer("203.0.113.9", &["198.51.100.1"], &["10.0.0.0/8"], "203.0.113.9")]
    #[case::a_trusted_proxy("10.0.0.1", &["198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::nothing_forwarded("10.0.0.1", &[], &["10.0.0.0/8"], "10.0.0.1")]
    #[case::addresses_that_the_client_invented("10.0.0.1", &["1.1.1.1, 127.0.0.1, 198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::an_invented_address_on_another_line("10.0.0.1", &["1.1.1.1", "198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::two_proxies("10.0.0.1", &["1.1.1.1, 198.51.100.1,10.0.0.2"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::only_proxies("10.0.0.1", &["10.0.0.3,10.0.0.2"], &["10.0.0.0/8"], "10.0.0.3")]
    #[case::garbage("10.0.0.1", &["198.51.100.1, unknown"], &["10.0.0.0/8"], "10.0.0.1")]
    #[case::garbage_from_the_second_proxy("10.0.0.1", &["1.1.1.1, garbage, 10.0.0.2"], &["10.0.0.0/8"], "10.0.0.2")]
    #[case::garbage_before("10.0.0.1", &["\u{e9}, 198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::empty("10.0.0.1", &[""], &["10.0.0.0/8"], "10.0.0.1")]
    #[case::a_socket_of_both_families("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::ipv6("fd00::1", &["2001:db8::7"], &["fd00::/8"], "2001:db8::7")]
    fn h07_a_forwarded_address_counts_only_from_a_trusted_proxy(
        #[case] peer: &str,
        #[case] forwarded: &[&str],
        #[case] proxies: &[&str],
        #[case] expected: IpAddr,
    ) {
        assert_eq!(client_of(peer, ForwardedHeader::XForwardedFor, forwarded, proxies).address, expected);
    }

    #[rstest]
    #[case::a_port("203.0.113.7:54321", "203.0.113.7")]
    #[case::a_port_and_a_proxy("203.0.113.7:54321, 10.0.0.2:80", "203.0.113.7")]
    #[case::brackets("[2001:db8::1]", "2001:db8::1")]
    #[case::brackets_and_a_port("[2001:db8::1]:4711", "2001:db8::1")]
    #[case::mapped("[::ffff:203.0.113.7]:4711", "203.0.113.7")]
    #[case::a_trailing_comma("203.0.113.7,", "203.0.113.7")]
    #[case::empty_elements(" , 203.0.113.7:1 ,\t, ", "203.0.113.7")]
    #[case::an_obfuscated_port("203.0.113.7:_nat", "203.0.113.7")]
    fn h07_every_form_of_address_that_proxies_write_is_accepted(#[case] value: &str, #[case] expected: IpAddr) {
        let expected = ClientAddress { address: expected, ignored: None };
        assert_eq!(behind_a_proxy(ForwardedHeader::XForwardedFor, &[value]), expected);
        assert_eq!(behind_a_proxy(ForwardedHeader::XForwardedFor, &["1.1.1.1, garbage", value]), expected);
        // Two lines, the last of which is empty.
        assert_eq!(behind_a_proxy(ForwardedHeader::XForwardedFor, &[value, ""]), expected);
    }

    #[rstest]
    #[case::not_a_port("1.1.1.1, 203.0.113.7:", "203.0.113.7:")]
    #[case::a_large_port("203.0.113.7:65536", "203.0.113.7:65536")]
    #[case::a_signed_port("203.0.113.7:+1", "203.0.113.7:+1")]
    #[case::an_open_bracket("[2001:db8::1", "[2001:db8::1")]
    #[case::an_odd_rest("[2001:db8::1]4711", "[2001:db8::1]4711")]
    #[case::ipv4_in_brackets("[203.0.113.7]", "[203.0.113.7]")]
    #[case::octal("010.0.0.1", "010.0.0.1")]
    #[case::unknown("1.1.1.1, unknown", "unknown")]
    #[case::a_name("1.1.1.1, example.org", "example.org")]
    #[case::the_other_header("for=203.0.113.7", "for=203.0.113.7")]
    fn h07_an_entry_without_an_address_makes_the_proxy_that_sent_it_the_client(#[case] value: &str, #[case] logged: &str) {
        let expected =
            ClientAddress { address: "10.0.0.1".parse().unwrap(), ignored: Some(Ignored::NotAnAddress(logged.into())) };
        assert_eq!(behind_a_proxy(ForwardedHeader::XForwardedFor, &[value]), expected);
    }

    #[rstest]
    #[case::a_token(&["for=203.0.113.7"], "203.0.113.7")]
    #[case::a_quoted_port(&[r#"for="203.0.113.7:47011""#], "203.0.113.7")]
    #[case::a_bare_port(&["for=203.0.113.7:47011"], "203.0.113.7")]
    #[case::ipv6(&[r#"For="[2001:db8::1]:4711""#], "2001:db8::1")]
    #[case::ipv6_and_an_obfuscated_port(&[r#"for="[2001:db8::1]:_p4""#], "2001:db8::1")]
    #[case::ipv6_alone(&[r#"for="[2001:db8::1]""#], "2001:db8::1")]
    #[case::an_escape(&[r#"for="203.0.113\.7""#], "203.0.113.7")]
    #[case::other_parameters(&[r#"by=203.0.113.43;FOR=203.0.113.7;host="a,b;for=1.1.1.1";proto=https"#], "203.0.113.7")]
    #[case::an_escaped_quote(&[r#"host="a\",for=1.1.1.1";for=203.0.113.7"#], "203.0.113.7")]
    #[case::white_space(&["\tfor=203.0.113.7 ; proto=http ,"], "203.0.113.7")]
    #[case::several_elements(&["for=1.1.1.1, for=203.0.113.7;proto=https, for=10.0.0.2"], "203.0.113.7")]
    #[case::several_lines(&["for=1.1.1.1", r#"for=203.0.113.7, for="10.0.0.2:80""#], "203.0.113.7")]
    #[case::garbage_before(&["garbage, for=203.0.113.7"], "203.0.113.7")]
    #[case::an_open_quote_before(&[r#"for=1.1.1.1, for=""#, "for=203.0.113.7"], "203.0.113.7")]
    fn h07_the_client_is_read_from_forwarded(#[case] lines: &[&str], #[case] expected: IpAddr) {
        assert_eq!(behind_a_proxy(ForwardedHeader::Forwarded, lines), ClientAddress { address: expected, ignored: None });
    }

    #[rstest]
    #[case::obfuscated("for=1.1.1.1, for=_hidden")]
    #[case::unknown("for=1.1.1.1, for=unknown")]
    #[case::unknown_with_a_port(r#"for=1.1.1.1, for="unknown:80""#)]
    #[case::no_client("for=1.1.1.1, proto=https;by=10.0.0.2")]
    #[case::two_clients("for=203.0.113.7;for=1.1.1.1")]
    #[case::no_pair("for=1.1.1.1, 203.0.113.7")]
    #[case::no_value("for=1.1.1.1, for=")]
    #[case::a_client_that_opens_a_quote(r#"for=1.1.1.1, for="x, for=203.0.113.7"#)]
    #[case::a_client_that_opens_a_quote_before_a_quote(r#"for=1.1.1.1;x=", for="[2001:db8::1]:4711""#)]
    #[case::a_client_that_opens_a_quote_before_an_element(r#"for=1.1.1.1;x=", for="203.0.113.7";proto="http""#)]
    #[case::a_client_that_escapes_a_quote(r#"for=1.1.1.1;x="\, for="203.0.113.7:80""#)]
    fn h07_a_client_cannot_hide_an_element_that_the_proxy_adds_to_forwarded(#[case] line: &str) {
        let client = behind_a_proxy(ForwardedHeader::Forwarded, &[line]);
        assert_eq!(client.address, "10.0.0.1".parse::<IpAddr>().unwrap());
        assert!(matches!(client.ignored, Some(Ignored::NotAnAddress(_))), "{client:?}");
    }

    #[test]
    fn h07_x_real_ip_holds_one_address() {
        let client = |lines| behind_a_proxy(ForwardedHeader::XRealIp, lines).address.to_string();
        assert_eq!(client(&["203.0.113.7"]), "203.0.113.7");
        assert_eq!(client(&["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client(&["203.0.113.7,"]), "203.0.113.7");
        // It is unclear which of several addresses the proxy has set.
        assert_eq!(client(&["1.1.1.1, 203.0.113.7"]), "10.0.0.1");
        assert_eq!(client(&["1.1.1.1", "203.0.113.7"]), "10.0.0.1");
        assert_eq!(client(&["unknown"]), "10.0.0.1");
    }

    #[test]
    fn h07_only_the_chosen_header_is_read() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("198.51.100.1"));
        headers.insert("x-real-ip", HeaderValue::from_static("198.51.100.2"));
        headers.insert("forwarded", HeaderValue::from_static("for=198.51.100.3"));
        let mut settings = Settings::default().server;
        settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        for (header, expected) in [
            (ForwardedHeader::XForwardedFor, "198.51.100.1"),
            (ForwardedHeader::XRealIp, "198.51.100.2"),
            (ForwardedHeader::Forwarded, "198.51.100.3"),
        ] {
            settings.forwarded_header = header;
            let client = of("10.0.0.1".parse().unwrap(), &headers, &settings);
            assert_eq!(client, ClientAddress { address: expected.parse().unwrap(), ignored: None });
            let mut without = headers.clone();
            without.remove(header.as_str());
            let untrusted = of("203.0.113.9".parse().unwrap(), &without, &settings);
            assert_eq!(untrusted.ignored, None, "without {header:?} there is nothing to ignore");
            let client = of("10.0.0.1".parse().unwrap(), &without, &settings);
            assert_eq!(client, ClientAddress { address: "10.0.0.1".parse().unwrap(), ignored: None });
        }
    }
}

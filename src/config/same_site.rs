//! Whether two origins are the same site. Browsers send a cookie that is `SameSite=Strict` only within one site.

use super::Origin;

/// Returns whether browsers treat two origins as one site: the scheme is the same, and so is the host or the domain that somebody
/// has registered, of which the Public Suffix List knows the end (`example.co.uk` in `id.example.co.uk`).
pub(super) fn is_same_site(one: &Origin, other: &Origin) -> bool {
    let domain = |origin: &Origin| registered_domain(origin.host()).map(str::to_owned);
    one.scheme() == other.scheme() && (one.host() == other.host() || domain(one).is_some_and(|own| domain(other) == Some(own)))
}

/// Returns the part of a host that somebody has registered. An address has none, and neither has a name such as `localhost`.
fn registered_domain(host: &str) -> Option<&str> {
    let last = host.rsplit('.').next()?;
    // The last label of an IPv4 address is a number, which no top-level domain is (RFC 3696 section 2).
    let is_address = host.starts_with('[') || last.bytes().all(|byte| byte.is_ascii_digit());
    if is_address { None } else { psl::domain_str(host) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://id.example.org", "https://app.example.org", true)]
    #[case("https://id.example.org", "https://example.org:8443", true)]
    #[case("https://id.eu.example.org", "https://a.b.example.org", true)]
    #[case("https://id.example.co.uk", "https://app.example.co.uk", true)]
    #[case("http://localhost:8080", "http://localhost:3000", true)]
    #[case("http://127.0.0.1:8080", "http://127.0.0.1:3000", true)]
    #[case("https://intranet", "https://intranet:444", true)]
    #[case("https://id.example.org", "https://example.com", false)]
    #[case("https://id.example.org", "https://idexample.org", false)]
    #[case("https://id.example.org", "http://app.example.org", false)] // the scheme belongs to the site
    #[case("https://example.co.uk", "https://other.co.uk", false)]
    #[case("https://example.github.io", "https://other.github.io", false)]
    #[case("https://id.intranet", "https://intranet", false)]
    #[case("https://org", "https://example.org", false)]
    #[case("https://10.0.0.1", "https://11.0.0.1", false)]
    #[case("http://localhost:8080", "http://127.0.0.1:8080", false)]
    #[case("https://[::1]", "https://[::2]", false)]
    fn a_site_is_what_browsers_take_for_one(#[case] one: Origin, #[case] other: Origin, #[case] expected: bool) {
        assert_eq!((is_same_site(&one, &other), is_same_site(&other, &one)), (expected, expected));
    }
}

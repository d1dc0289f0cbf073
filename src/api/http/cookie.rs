//! Cookie mode: the refresh token is kept in a cookie that no script can read. A request that has this cookie, or asks for
//! it, must come from a page of this site. A second cookie says which users have logged in with the browser.

use poem::{
    Request,
    http::{HeaderName, HeaderValue, header},
};
use zeroize::Zeroizing;

use crate::{
    config::{Origin, Settings},
    domain::browsers::{self, Browser},
    error::{Error, Result},
    values::{ids::SessionId, refresh_token::RefreshToken},
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The cookies of the service.
#[derive(Debug, Clone, Copy)]
enum Name {
    /// Holds the refresh token.
    Refresh,
    /// Holds a [`Browser`].
    Browser,
}

impl Name {
    /// Returns the name of the cookie. Browsers accept a name with the prefix `__Host-` only if the cookie is secure, for this
    /// host alone and for every path (draft-ietf-httpbis-rfc6265bis section 4.1.3.2).
    const fn as_str(self, settings: &Settings) -> &'static str {
        match (self, settings.cookies.insecure) {
            (Self::Refresh, false) => "__Host-vestibule_refresh",
            (Self::Refresh, true) => "vestibule_refresh",
            (Self::Browser, false) => "__Host-vestibule_browser",
            (Self::Browser, true) => "vestibule_browser",
        }
    }
}

/// Returns a cookie that holds `token` for `seconds`.
pub fn holding(settings: &Settings, token: &str, seconds: i64) -> Result<HeaderValue> {
    set(settings, Name::Refresh, token, seconds)
}

/// Returns a cookie that holds a browser for a year.
pub fn remembering(settings: &Settings, browser: &Browser) -> Result<HeaderValue> {
    set(settings, Name::Browser, &browser.to_cookie(), browsers::KNOWN.num_seconds())
}

/// Returns the browser of a request. A browser without the cookie has no marks.
pub fn browser(request: &Request, settings: &Settings) -> Browser {
    values(request, Name::Browser.as_str(settings)).next().map(Browser::from_cookie).unwrap_or_default()
}

/// Returns a cookie. This cannot fail for a value that is ASCII.
fn set(settings: &Settings, name: Name, value: &str, seconds: i64) -> Result<HeaderValue> {
    let (name, secure) = (name.as_str(settings), if settings.cookies.insecure { "" } else { "; Secure" });
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}{secure}; HttpOnly; SameSite=Strict");
    let mut cookie = HeaderValue::try_from(cookie).map_err(Error::internal)?;
    cookie.set_sensitive(true);
    Ok(cookie)
}

/// Returns a cookie that clears the request's cookie, if that holds a token of one of the sessions that have `ended`. The
/// cookie of another session stays.
pub fn cleared(request: &Request, settings: &Settings, ended: &[SessionId]) -> Vec<HeaderValue> {
    let tokens = tokens(request, settings);
    let has_ended =
        tokens.iter().filter_map(|token| token.parse::<RefreshToken>().ok()).any(|token| ended.contains(&token.session));
    if has_ended { holding(settings, "", 0).into_iter().collect() } else { Vec::new() }
}

/// Returns every refresh token in the request's cookies, and a cookie that clears them if there are any. Fails as
/// [`must_be_ours`] does.
pub fn given_up(request: &Request, settings: &Settings) -> Result<(Vec<Zeroizing<String>>, Vec<HeaderValue>)> {
    let tokens = tokens(request, settings);
    if tokens.is_empty() {
        return Ok((tokens, Vec::new()));
    }
    must_be_ours(request, settings)?;
    Ok((tokens, vec![holding(settings, "", 0)?]))
}

/// Returns the one refresh token in the request's cookies. Fails with [`Error::AmbiguousRefreshToken`] if there are two, and as
/// [`must_be_ours`] does.
pub fn presented(request: &Request, settings: &Settings) -> Result<Option<Zeroizing<String>>> {
    let mut tokens = tokens(request, settings);
    let Some(token) = tokens.pop() else { return Ok(None) };
    must_be_ours(request, settings)?;
    if tokens.is_empty() { Ok(Some(token)) } else { Err(Error::AmbiguousRefreshToken) }
}

/// Returns the refresh token of each cookie that holds one.
fn tokens(request: &Request, settings: &Settings) -> Vec<Zeroizing<String>> {
    let tokens = values(request, Name::Refresh.as_str(settings));
    tokens.map(|token| Zeroizing::new(String::from_utf8_lossy(token).into_owned())).collect()
}

/// Returns the value of each cookie with this name. Values are bytes, because other programs also set cookies for this host,
/// and theirs need not be text.
fn values<'a>(request: &'a Request, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let cookies = request.headers().get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    cookies.filter_map(|cookie| cookie.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Fails with [`Error::CsrfRejected`] if a page of another site may have sent the request. Browsers state the origin of a
/// request in `Sec-Fetch-Site`, or at least in `Origin` (OWASP CSRF prevention, "Fetch Metadata headers").
pub fn must_be_ours(request: &Request, settings: &Settings) -> Result<()> {
    let only = |name| {
        let mut values = request.headers().get_all(name).iter();
        (values.next(), values.next().is_some())
    };
    let is_ours = match (only(SEC_FETCH_SITE), only(header::ORIGIN)) {
        ((_, true), _) | (_, (_, true)) => false,
        ((None, _), (None, _)) => true,
        ((site, _), (origin, _)) => {
            site.is_some_and(|site| site == "same-origin" || site == "same-site")
                || origin.is_some_and(|origin| is_known(origin, settings))
        }
    };
    if is_ours { Ok(()) } else { Err(Error::CsrfRejected) }
}

/// Whether this is the service's own origin, or an origin whose pages may call the API.
fn is_known(origin: &HeaderValue, settings: &Settings) -> bool {
    let own = settings.server.public_url.as_ref().map_or_else(|| format!("http://{}", settings.server.listen), Origin::to_string);
    origin == own.as_str() || settings.cors.allows(origin.as_bytes())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::no_browser(&[], true)]
    #[case::our_page(&[("sec-fetch-site", "same-origin"), ("origin", "https://id.example.org")], true)]
    #[case::a_sibling(&[("sec-fetch-site", "same-site"), ("origin", "https://shop.example.org")], true)]
    #[case::an_old_browser(&[("origin", "https://id.example.org")], true)]
    #[case::a_configured_page(&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example.com")], true)]
    #[case::an_application(&[("sec-fetch-site", "cross-site"), ("origin", "capacitor://localhost")], true)]
    #[case::a_preview(&[("sec-fetch-site", "cross-site"), ("origin", "https://pr-1.preview.example.com")], true)]
    #[case::not_a_preview(&[("origin", "https://a.b.preview.example.com")], false)]
    #[case::another_application(&[("origin", "ionic://localhost")], false)]
    #[case::another_site(&[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")], false)]
    #[case::another_site_without_origin(&[("sec-fetch-site", "cross-site")], false)]
    #[case::another_site_in_an_old_browser(&[("origin", "https://evil.example")], false)]
    #[case::a_sandbox(&[("origin", "null")], false)]
    #[case::another_port(&[("origin", "https://id.example.org:8443")], false)]
    #[case::typed_by_hand(&[("sec-fetch-site", "none")], false)]
    #[case::twice(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false)]
    #[case::two_origins(&[("origin", "https://id.example.org"), ("origin", "https://evil.example")], false)]
    fn s09_only_pages_of_this_site_and_programs_may_use_the_cookie(#[case] headers: &[(&'static str, &str)], #[case] ours: bool) {
        let mut settings = Settings::default();
        settings.server.public_url = Some("https://id.example.org".parse().unwrap());
        settings.cors.origins = ["https://app.example.com", "capacitor://localhost", "https://*.preview.example.com"]
            .map(|origin| origin.parse().unwrap())
            .to_vec();
        let mut request = Request::builder().finish();
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(must_be_ours(&request, &settings).is_ok(), ours);
    }
}

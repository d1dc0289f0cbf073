//! The cookie mode: the refresh token in a cookie that no script can read, and the question whether a request that
//! has one, or asks for one, comes from a page of ours.

use poem::{
    Request,
    http::{HeaderName, HeaderValue, header},
};
use zeroize::Zeroizing;

use crate::{
    config::{Origin, Settings},
    error::{Error, Result},
    values::{ids::SessionId, refresh_token::RefreshToken},
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The cookie's name. The prefix makes browsers refuse it unless it is secure, for this host alone and for every path
/// (draft-ietf-httpbis-rfc6265bis section 4.1.3.2).
fn name(settings: &Settings) -> &'static str {
    if settings.cookies.insecure { "vestibule_refresh" } else { "__Host-vestibule_refresh" }
}

/// A cookie that holds `token` for `seconds`.
///
/// # Errors
/// Never: a refresh token is plain ASCII.
pub fn holding(settings: &Settings, token: &str, seconds: i64) -> Result<HeaderValue> {
    let secure = if settings.cookies.insecure { "" } else { "; Secure" };
    let cookie = format!("{}={token}; Path=/; Max-Age={seconds}{secure}; HttpOnly; SameSite=Strict", name(settings));
    let mut cookie = HeaderValue::try_from(cookie).map_err(Error::internal)?;
    cookie.set_sensitive(true);
    Ok(cookie)
}

/// A cookie that clears the request's, if that holds a token of one of the sessions that have `ended`: another session's
/// cookie stays.
#[must_use]
pub fn cleared(request: &Request, settings: &Settings, ended: &[SessionId]) -> Option<HeaderValue> {
    let tokens = tokens(request, settings);
    let has_ended = tokens.iter().filter_map(|it| it.parse::<RefreshToken>().ok()).any(|it| ended.contains(&it.session));
    if has_ended { holding(settings, "", 0).ok() } else { None }
}

/// Every refresh token in the request's cookies, and a cookie that clears them if there are any.
///
/// # Errors
/// [`Error::CsrfRejected`].
pub fn given_up(request: &Request, settings: &Settings) -> Result<(Vec<Zeroizing<String>>, Option<HeaderValue>)> {
    let tokens = tokens(request, settings);
    if tokens.is_empty() {
        return Ok((tokens, None));
    }
    must_be_ours(request, settings)?;
    Ok((tokens, Some(holding(settings, "", 0)?)))
}

/// The one refresh token in the request's cookies.
///
/// # Errors
/// [`Error::CsrfRejected`], [`Error::AmbiguousRefreshToken`] for two cookies.
pub fn presented(request: &Request, settings: &Settings) -> Result<Option<Zeroizing<String>>> {
    let mut tokens = tokens(request, settings);
    let Some(token) = tokens.pop() else { return Ok(None) };
    must_be_ours(request, settings)?;
    if tokens.is_empty() { Ok(Some(token)) } else { Err(Error::AmbiguousRefreshToken) }
}

/// What stands in each cookie of our name.
fn tokens(request: &Request, settings: &Settings) -> Vec<Zeroizing<String>> {
    // Byte by byte: others set cookies for this host too, and theirs need not be text.
    let cookies = request.headers().get_all(header::COOKIE).iter().flat_map(|it| it.as_bytes().split(|byte| *byte == b';'));
    let tokens = cookies.filter_map(|it| it.trim_ascii().strip_prefix(name(settings).as_bytes())?.strip_prefix(b"="));
    tokens.map(|it| Zeroizing::new(String::from_utf8_lossy(it).into_owned())).collect()
}

/// Goes on only if no page of another site can have sent this: browsers say where a request comes from, in
/// `Sec-Fetch-Site` or at least in `Origin` (OWASP CSRF prevention, "Fetch Metadata headers").
///
/// # Errors
/// [`Error::CsrfRejected`].
pub fn must_be_ours(request: &Request, settings: &Settings) -> Result<()> {
    let only = |name| {
        let mut values = request.headers().get_all(name).iter();
        (values.next(), values.next().is_some())
    };
    let is_ours = match (only(SEC_FETCH_SITE), only(header::ORIGIN)) {
        ((_, true), _) | (_, (_, true)) => false,
        ((None, _), (None, _)) => true,
        ((site, _), (origin, _)) => {
            site.is_some_and(|it| it == "same-origin" || it == "same-site") || origin.is_some_and(|it| is_known(it, settings))
        }
    };
    if is_ours { Ok(()) } else { Err(Error::CsrfRejected) }
}

/// Whether this is the origin under which callers reach us, or one whose pages may call the API.
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
    fn s09_only_our_pages_and_programs_have_a_say_over_the_cookie(#[case] headers: &[(&'static str, &str)], #[case] ours: bool) {
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

//! Cross-origin resource sharing (the Fetch standard, "CORS protocol"): what pages of other origins may send and read.

use poem::{
    Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
};

/// The request headers that every page needs.
const USUAL: [HeaderName; 4] = [header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_MATCH, header::IF_NONE_MATCH];
/// How many other headers a page may ask for, and how long their names are together, in bytes.
const MOST: usize = 64;
const LONGEST: usize = 4 * 1024;

/// The headers that a preflight request asks for: none if there are too many, or if one is not the name of a header.
pub(super) fn wished(request: &Request) -> Vec<HeaderName> {
    if request.method() != Method::OPTIONS {
        return Vec::new();
    }
    let lines: Vec<_> = request.headers().get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().collect();
    let names = lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names: Option<Vec<_>> = names
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .map(|name| HeaderName::from_bytes(name).ok().filter(|name| name.as_str() != "*"))
        .take(MOST + 1)
        .collect();
    let length: usize = lines.iter().map(|line| line.len()).sum();
    names.filter(|names| names.len() <= MOST && length <= LONGEST).unwrap_or_default()
}

/// Lets a page of this origin send the headers it asks for, and read the response.
pub(super) fn allow(headers: &mut HeaderMap, origin: &HeaderValue, wished: &[HeaderName]) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    // For the cookie of the refresh token: a page must be able to send it, and only to us.
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    let mut allowed: Vec<_> = USUAL.iter().chain(wished).map(HeaderName::as_str).collect();
    allowed.sort_unstable();
    allowed.dedup();
    if let Ok(allowed) = HeaderValue::try_from(allowed.join(", ")) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    if !wished.is_empty() {
        headers.append(header::VARY, HeaderValue::from(header::ACCESS_CONTROL_REQUEST_HEADERS));
    }
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("etag, link, location, retry-after, www-authenticate, x-request-id"),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Some(allow) = headers.get(header::ALLOW).cloned() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
    }
}

//! Cross-origin resource sharing (the Fetch standard, "CORS protocol"): what pages of other origins may send and read.

use poem::{
    Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
};

/// The request headers that pages may always send.
const ALWAYS_ALLOWED: [HeaderName; 4] = [header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_MATCH, header::IF_NONE_MATCH];
/// The limits on the headers that a preflight request may name: their number, and the length of the list in bytes.
const MAX_REQUESTED: usize = 64;
const MAX_LIST: usize = 4 * 1024;

/// Returns the headers that a preflight request names. Returns none if the list exceeds a limit or contains something that
/// is not a header name.
pub(super) fn requested_headers(request: &Request) -> Vec<HeaderName> {
    if request.method() != Method::OPTIONS {
        return Vec::new();
    }
    let lines: Vec<_> = request.headers().get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().collect();
    let names = lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names: Option<Vec<_>> = names
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .map(|name| HeaderName::from_bytes(name).ok().filter(|name| name.as_str() != "*"))
        .take(MAX_REQUESTED + 1)
        .collect();
    let length: usize = lines.iter().map(|line| line.len()).sum();
    names.filter(|names| names.len() <= MAX_REQUESTED && length <= MAX_LIST).unwrap_or_default()
}

/// Lets pages of an origin send the headers that they requested, and read the response.
pub(super) fn allow(headers: &mut HeaderMap, origin: &HeaderValue, requested_headers: &[HeaderName]) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    // The refresh token's cookie counts as credentials.
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    let mut allowed: Vec<_> = ALWAYS_ALLOWED.iter().chain(requested_headers).map(HeaderName::as_str).collect();
    allowed.sort_unstable();
    allowed.dedup();
    if let Ok(allowed) = HeaderValue::try_from(allowed.join(", ")) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    if !requested_headers.is_empty() {
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

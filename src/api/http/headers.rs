//! Headers of requests: those that come more than once, and what the client can read (RFC 9110 section 12.4).

use poem::{
    Request,
    http::{HeaderName, HeaderValue, header},
};

/// All lines of a header that may come more than once.
pub fn lines<'a>(request: &'a Request, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    request.headers().get_all(name).iter().map(HeaderValue::as_bytes)
}

/// Whether a request comes from a browser: programs accept anything, but only browsers name HTML.
pub fn accepts_html(request: &Request) -> bool {
    weight(request, &header::ACCEPT, "text/html") > Some(0.0)
}

/// Whether the client reads gzip. Without the header it may not: most programs that do not send it do not decompress.
pub fn accepts_gzip(request: &Request) -> bool {
    let weight = |name| weight(request, &header::ACCEPT_ENCODING, name);
    weight("gzip").or_else(|| weight("x-gzip")).or_else(|| weight("*")) > Some(0.0)
}

/// Returns the weight that a header gives to this name: 0 means "not acceptable", and `None` that it does not name it.
fn weight(request: &Request, header: &HeaderName, name: &str) -> Option<f32> {
    let elements = lines(request, header).flat_map(|line| line.split(|byte| *byte == b','));
    let weight_of = |element: &[u8]| {
        let mut parts = str::from_utf8(element).ok()?.split(';').map(str::trim);
        parts.next().filter(|own| own.eq_ignore_ascii_case(name))?;
        let weight = parts.filter_map(|part| part.split_once('=')).find(|(key, _)| key.eq_ignore_ascii_case("q"));
        Some(weight.map_or(1.0, |(_, weight)| weight.parse().unwrap_or(1.0)))
    };
    elements.filter_map(weight_of).reduce(f32::max)
}

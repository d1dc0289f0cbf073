//! Answers that clients may keep: an entity tag over the whole body, and 304 for who has it already.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use poem::{
    Request, Response,
    http::{StatusCode, header},
};

/// Answers with `body`, or with 304 when `If-None-Match` names it (RFC 9110 section 13.1.2).
pub fn respond(request: &Request, media_type: &str, cache_control: &str, body: impl AsRef<[u8]>) -> Response {
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest(&SHA256, body.as_ref()).as_ref()[..16]));
    let known = request.headers().get_all(header::IF_NONE_MATCH).iter().filter_map(|it| it.to_str().ok());
    let matches =
        known.flat_map(|it| it.split(',')).map(|it| it.trim().trim_start_matches("W/")).any(|it| it == tag || it == "*");
    let response = Response::builder().header(header::ETAG, tag).header(header::CACHE_CONTROL, cache_control);
    if matches {
        return response.status(StatusCode::NOT_MODIFIED).finish();
    }
    response.content_type(media_type).body(body.as_ref().to_vec())
}

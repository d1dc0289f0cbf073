//! Documents that clients may cache: an entity tag over the whole body, and 304 for a client that has it already. All
//! responses share the bytes of one document, because a client that does not read keeps its response in memory.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use poem::{
    Request, Response,
    http::{HeaderValue, StatusCode, header},
};

use crate::values::revision::EntityTags;

/// Marks a response whose body shares its bytes with other responses, so that it holds no memory of its own.
#[derive(Debug, Clone, Copy)]
pub struct Shared;

/// A body and its entity tag. Cloning it copies no bytes of the body.
#[derive(Debug, Clone)]
pub struct Document {
    body: Bytes,
    tag: String,
}

impl Document {
    /// Computes the tag of `body`. A document that does not change is made once.
    pub fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest(&SHA256, &body).as_ref()[..16]));
        Self { body, tag }
    }

    /// Responds with the document, or with 304 if `If-None-Match` names it (RFC 9110 section 13.1.2).
    pub fn respond(&self, request: &Request, media_type: &str, cache_control: &str) -> Response {
        let known = EntityTags::read(request.headers().get_all(header::IF_NONE_MATCH).iter().map(HeaderValue::as_bytes));
        let response = Response::builder().header(header::ETAG, &self.tag).header(header::CACHE_CONTROL, cache_control);
        if known.is_some_and(|tags| tags.matches(&self.tag)) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        response.content_type(media_type).extension(Shared).body(self.body.clone())
    }
}

//! Documents that clients may cache: the `ETag` of a body, and 304 for a client that already has this body. All responses
//! share the bytes of one document, because a client that reads slowly keeps its response in memory.

use std::marker::PhantomData;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use poem::{
    IntoResponse, Request, Response,
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse,
    registry::{MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::Type,
};

use super::reply::meta_header;
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
    /// Computes the tag of `body`. If a document does not change, create it only once.
    pub fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let digest = digest(&SHA256, &body);
        Self::with_digest(body, &digest.as_ref()[..16])
    }

    /// Makes the tag from a digest of `body`.
    pub fn with_digest(body: impl Into<Bytes>, digest: &[u8]) -> Self {
        Self { body: body.into(), tag: format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest)) }
    }

    /// Responds with the document, or with 304 if `If-None-Match` names it (RFC 9110 section 13.1.2).
    pub fn respond(&self, request: &Request, media_type: &str, cache_control: &str) -> Response {
        let known = EntityTags::read(lines(request, &header::IF_NONE_MATCH));
        let response = Response::builder().header(header::ETAG, &self.tag).header(header::CACHE_CONTROL, cache_control);
        if known.is_some_and(|tags| tags.matches(&self.tag)) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        response.content_type(media_type).extension(Shared).body(self.body.clone())
    }
}

/// All lines of a header that may come more than once.
pub fn lines<'a>(request: &'a Request, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    request.headers().get_all(name).iter().map(HeaderValue::as_bytes)
}

/// A representation that clients may cache.
pub trait Cacheable: Type {
    /// The media type of the body.
    const MEDIA_TYPE: &'static str;
    /// The header `Cache-Control`.
    const CACHE_CONTROL: &'static str;
}

/// 200 with a document that shows a `T`, or 304.
pub struct Cached<T>(Response, PhantomData<fn() -> T>);

impl<T: Cacheable> Cached<T> {
    /// Responds to `request` with `document`.
    pub fn new(request: &Request, document: &Document) -> Self {
        Self(document.respond(request, T::MEDIA_TYPE, T::CACHE_CONTROL), PhantomData)
    }
}

impl<T> IntoResponse for Cached<T> {
    fn into_response(self) -> Response {
        self.0
    }
}

impl<T: Cacheable> ApiResponse for Cached<T> {
    fn meta() -> MetaResponses {
        let response = |status, content| MetaResponse {
            description: "",
            status: Some(status),
            status_range: None,
            content,
            headers: vec![
                meta_header("ETag", "The entity tag of the response, to send in `If-None-Match`.", true),
                meta_header("Cache-Control", "How long clients may keep the response.", true),
            ],
        };
        let body = MetaMediaType { content_type: T::MEDIA_TYPE, schema: T::schema_ref() };
        MetaResponses { responses: vec![response(200, vec![body]), response(304, Vec::new())] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

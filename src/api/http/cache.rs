//! Documents that clients may cache: the `ETag` of a body, and 304 for a client that already has this body. All responses
//! share the bytes of one document, because a client that reads slowly keeps its response in memory.

use std::{
    io::{Read, Write},
    marker::PhantomData,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use poem::{
    IntoResponse, Request, Response,
    http::{StatusCode, header},
};
use poem_openapi::{
    ApiResponse,
    registry::{MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::Type,
};

use super::{
    headers::{accepts_gzip, lines},
    reply::meta_header,
};
use crate::values::revision::EntityTags;

/// Marks a response whose body shares its bytes with other responses, so that it holds no memory of its own.
#[derive(Debug, Clone, Copy)]
pub struct Shared;

/// A body and its entity tag. If a document does not change, create it only once: the tag is computed with the first response.
#[derive(Debug)]
pub struct Document {
    body: Bytes,
    /// Whether `body` is in the format of gzip, which not every client can read.
    is_compressed: bool,
    digest: OnceLock<String>,
    /// What is sent to clients that cannot read gzip, for as long as a response contains it.
    plain: Mutex<Weak<[u8]>>,
}

impl Document {
    /// Makes a document that is sent as it is.
    pub fn new(body: impl Into<Bytes>) -> Self {
        let plain = Mutex::new(Weak::<[u8; 0]>::new() as Weak<[u8]>);
        Self { body: body.into(), is_compressed: false, digest: OnceLock::new(), plain }
    }

    /// Makes a document of what gzip has made. Clients that cannot read it get it decompressed.
    pub fn compressed(body: impl Into<Bytes>) -> Self {
        Self { is_compressed: true, ..Self::new(body) }
    }

    /// Responds with the document, or with 304 if `If-None-Match` names it (RFC 9110 section 13.1.2). What is compressed and what
    /// is not have different tags (section 8.8.3.3).
    pub fn respond(&self, request: &Request, media_type: &str, cache_control: &str) -> Response {
        let digest = self.digest.get_or_init(|| URL_SAFE_NO_PAD.encode(&digest(&SHA256, &self.body).as_ref()[..16]));
        let sends_gzip = self.is_compressed && accepts_gzip(request);
        let tag = if sends_gzip { format!("\"{digest}-gzip\"") } else { format!("\"{digest}\"") };
        let mut response = Response::builder().header(header::ETAG, &tag).header(header::CACHE_CONTROL, cache_control);
        if self.is_compressed {
            response = response.header(header::VARY, "Accept-Encoding");
        }
        let known = EntityTags::read(lines(request, &header::IF_NONE_MATCH));
        if known.is_some_and(|tags| tags.matches(&tag)) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        response = response.content_type(media_type).extension(Shared);
        if sends_gzip {
            return response.header(header::CONTENT_ENCODING, "gzip").body(self.body.clone());
        }
        response.body(if self.is_compressed { self.plain() } else { self.body.clone() })
    }

    /// Returns the decompressed body. Responses that are sent at the same time share it.
    fn plain(&self) -> Bytes {
        let mut known = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        let plain = known.upgrade().unwrap_or_else(|| decompress(&self.body).into());
        *known = Arc::downgrade(&plain);
        Bytes::from_owner(plain)
    }
}

/// Compresses `body` with gzip.
pub fn compress(body: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_bytes()).and_then(|()| encoder.finish()).expect("writing to memory succeeds")
}

/// Returns what gzip has made `compressed` from.
pub fn decompress(compressed: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    GzDecoder::new(compressed).read_to_end(&mut body).expect("this program has compressed it");
    body
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

//! Files of pages, which the binary contains: their media types, headers and entity tags.

use std::collections::BTreeMap;

use bytes::Bytes;
use poem::{
    Request, Response,
    http::{HeaderName, HeaderValue},
};

use super::cache::Document;

/// A browser asks each time whether its copy is current, so an update shows at once.
pub const NO_CACHE: &str = "no-cache";
/// A browser keeps the file for a year without asking. Only for files whose names change with their content.
pub const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The headers that all files of a page have.
pub type Headers = &'static [(HeaderName, &'static str)];

/// A file, ready to be served.
#[derive(Debug)]
pub struct File {
    document: Document,
    media_type: &'static str,
}

impl File {
    /// Makes a file. Its name determines its media type.
    pub fn new(name: &str, body: impl Into<Bytes>) -> Self {
        Self { document: Document::new(body), media_type: media_type(name) }
    }

    /// Responds with the file, or with 304 if the client has it.
    pub fn respond(&self, request: &Request, cache_control: &str, headers: Headers) -> Response {
        let mut response = self.document.respond(request, self.media_type, cache_control);
        for (name, value) in headers {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// The files of a folder, by name, as the build script has compressed them.
pub type Embedded = &'static [(&'static str, &'static [u8])];

/// Prepares all these files.
pub fn embedded(files: Embedded) -> BTreeMap<&'static str, File> {
    let file = |body| Document::compressed(Bytes::from_static(body));
    files.iter().map(|(name, body)| (*name, File { document: file(body), media_type: media_type(name) })).collect()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        // With `nosniff`, a browser uses such a file for nothing. A test shows that no file has this type.
        _ => "application/octet-stream",
    }
}

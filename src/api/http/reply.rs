//! Replies: what a handler returns. The type states the success and the codes of the errors.

use poem::{
    IntoResponse, Request, Response,
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
    types::ToJSON,
};

use serde::Serialize;

use super::{declared_problem::DeclaredProblem, json};
use crate::domain::paging::Slice;

/// A success, or a problem with one of the codes of `E`.
pub type Reply<T, E> = Result<T, DeclaredProblem<E>>;

const JSON: &str = "application/json";

/// 200 with a JSON body.
pub struct Json<T>(pub T);

/// 200 with a JSON body and its `ETag` (RFC 9110 section 8.8.3).
pub struct Tagged<T>(pub T, pub String);

/// 201 with a JSON body and the `Location` of the new resource.
pub struct Created<T>(pub T, pub String);

/// 201 with a JSON body. The new resource has no URL of its own.
pub struct Issued<T>(pub T);

/// 202 with a JSON body: the work is done in the background.
pub struct Accepted<T>(pub T);

/// 200 with one page of a list, and a `Link` to the next page (RFC 8288) unless this is the last page.
pub struct Page<T>(pub T, pub Option<String>);

/// 202 without a body: the work is done in the background.
pub struct Queued;

/// 204.
pub struct NoContent;

fn response<T: ToJSON + Serialize>(status: StatusCode, body: &T, header: Option<(HeaderName, &str)>) -> Response {
    let response = Response::builder().status(status).content_type(JSON);
    match header {
        Some((name, value)) => response.header(name, value),
        None => response,
    }
    .body(json::written(body))
}

fn meta<T: ToJSON>(status: u16, header: Option<(&str, &str, bool)>) -> MetaResponses {
    let headers = header.map(|(name, about, required)| meta_header(name, about, required));
    let content = vec![MetaMediaType { content_type: JSON, schema: T::schema_ref() }];
    let response = MetaResponse {
        description: "",
        status: Some(status),
        status_range: None,
        content,
        headers: headers.into_iter().collect(),
    };
    MetaResponses { responses: vec![response] }
}

/// A header as the contract describes it. The contract adds the schema.
pub fn meta_header(name: &str, description: &str, required: bool) -> MetaHeader {
    MetaHeader {
        name: name.into(),
        description: Some(description.into()),
        required,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
    }
}

/// Implements each reply with a JSON body: its status, and the header that its second field fills.
macro_rules! replies {
    ($($reply:ident = $status:ident, |$value:ident| $header:expr, $meta:expr;)*) => {$(
        impl<T: ToJSON + Serialize> IntoResponse for $reply<T> {
            fn into_response(self) -> Response {
                let $value = &self;
                response(StatusCode::$status, &self.0, $header)
            }
        }

        impl<T: ToJSON + Serialize> ApiResponse for $reply<T> {
            fn meta() -> MetaResponses {
                meta::<T>(StatusCode::$status.as_u16(), $meta)
            }

            fn register(registry: &mut Registry) {
                T::register(registry);
            }
        }
    )*};
}

replies! {
    Json = OK, |_reply| None, None;
    Tagged = OK, |reply| Some((header::ETAG, reply.1.as_str())), Some(("ETag", "The state of the resource, for `If-Match`.", true));
    Created = CREATED, |reply| Some((header::LOCATION, reply.1.as_str())), Some(("Location", "The path of the resource.", true));
    Issued = CREATED, |_reply| None, None;
    Accepted = ACCEPTED, |_reply| None, None;
    Page = OK, |reply| reply.1.as_deref().map(|link| (header::LINK, link)), Some(("Link", "The next page, as `rel=\"next\"`.", false));
}

/// Another reply, and the cookies that it sets or clears (RFC 6265 section 4.1).
pub struct WithCookies<R>(pub R, pub Vec<HeaderValue>);

impl<R: IntoResponse> IntoResponse for WithCookies<R> {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        for cookie in self.1 {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}

impl<R: ApiResponse> ApiResponse for WithCookies<R> {
    fn meta() -> MetaResponses {
        let mut meta = R::meta();
        let cookie =
            || meta_header("Set-Cookie", "The refresh token, if it is kept in a cookie. A log-in also marks the browser.", false);
        meta.responses.iter_mut().for_each(|response| response.headers.push(cookie()));
        meta
    }

    fn register(registry: &mut Registry) {
        R::register(registry);
    }
}

/// Implements each reply without a body and headers.
macro_rules! empty_replies {
    ($($reply:ident = $status:ident;)*) => {$(
        impl IntoResponse for $reply {
            fn into_response(self) -> Response {
                StatusCode::$status.into_response()
            }
        }

        impl ApiResponse for $reply {
            fn meta() -> MetaResponses {
                let response = MetaResponse {
                    description: "",
                    status: Some(StatusCode::$status.as_u16()),
                    status_range: None,
                    content: Vec::new(),
                    headers: Vec::new(),
                };
                MetaResponses { responses: vec![response] }
            }

            fn register(_: &mut Registry) {}
        }
    )*};
}

empty_replies! {
    Queued = ACCEPTED;
    NoContent = NO_CONTENT;
}

impl<P> Page<P> {
    /// Replies with the page that `wrap` makes of a page of the domain. The link is the URL of the request with another cursor.
    pub fn new<T>(request: &Request, slice: Slice<T>, wrap: impl FnOnce(Vec<T>, Option<String>) -> P) -> Self {
        let link = slice.next.as_ref().map(|cursor| {
            let query = request
                .uri()
                .query()
                .unwrap_or_default()
                .split('&')
                .filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
            let query: Vec<_> = query.map(str::to_owned).chain([format!("cursor={cursor}")]).collect();
            format!("<{}?{}>; rel=\"next\"", request.uri().path(), query.join("&"))
        });
        Self(wrap(slice.items, slice.next), link)
    }
}

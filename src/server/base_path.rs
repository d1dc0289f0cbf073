//! Serving below a base path: requests lose it before everything else sees them, and the headers of responses regain it.

use poem::{
    Request, Response,
    http::{
        Uri,
        header::{HeaderName, HeaderValue, LINK, LOCATION},
    },
};

use crate::config::BasePath;

/// The headers of responses that contain a path of the service, and what comes before the path.
const HEADERS: [(HeaderName, &str); 2] = [(LOCATION, ""), (LINK, "<")];

/// Removes the base path from the target of a request. Returns `None`, and leaves the request as it is, if its path is not one of
/// the service.
pub(super) fn remove(base_path: &BasePath, request: &mut Request) -> Option<()> {
    let inside = base_path.inside(request.uri().path())?;
    if inside.len() != request.uri().path().len() {
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(format!("{inside}{query}").parse().ok()?);
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
    }
    Some(())
}

/// Adds the base path to the headers of a response. A relative reference needs none.
pub(super) fn add(base_path: &BasePath, response: &mut Response) {
    if base_path.is_root() {
        return;
    }
    for (name, before) in HEADERS {
        let value = response.headers().get(&name).and_then(|value| value.to_str().ok()?.strip_prefix(before));
        if let Some(path) = value.filter(|value| value.starts_with('/')) {
            let value = format!("{before}{}", base_path.outside(path));
            response.headers_mut().insert(name, HeaderValue::try_from(value).expect("a base path is ASCII"));
        }
    }
}

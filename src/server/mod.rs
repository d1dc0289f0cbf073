//! The server: what every answer has in common, and serving until told to stop.

mod client;
mod connection;
mod listen;
mod metrics;
mod stream;

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Once},
    time::Duration,
};

use anyhow::bail;
use poem::{
    Endpoint, EndpointExt, Request, Response, Result,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
};
use poem_openapi::OperationId;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::{connection::Patience, listen::Limits};

use crate::{
    api::{
        self, contract,
        problem::{Code, Problem},
        source::{SignedIn, user_agent},
    },
    app::App,
    domain::source::Source,
    error::Error,
    live::{hasher::CALLER_GONE, refusals::Refusal},
    values::ids,
};

/// The longest address of a request, and the longest header, in bytes.
const LONGEST_URI: usize = 8 * 1024;
const LONGEST_HEADER: usize = 16 * 1024;

/// The operation whose outcomes are counted apart.
const LOG_IN: &str = "logIn";
/// Connections to `/metrics`.
const WATCHERS: usize = 16;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Everything the server answers, as one endpoint.
///
/// # Errors
/// When the contract leaves an operation open that should not be.
pub fn endpoint(app: App) -> anyhow::Result<impl Endpoint<Output = Response>> {
    contract::check()?;
    Ok(Front { routes: Arc::new(api::routes()), app, warned: Once::new() })
}

/// Listens on `server.listen` until `stop` is ready. From then on `/readyz` says so; connections are still accepted for
/// as long as `stop` tells, so that whoever spreads the load can turn elsewhere; then requests under way finish.
///
/// # Errors
/// When an address cannot be listened on.
pub async fn serve(
    app: App,
    limits: Limits,
    ready: impl FnOnce(&str),
    stop: impl Future<Output = Duration>,
) -> anyhow::Result<()> {
    let listener = listen::bind(app.settings.server.listen, "VESTIBULE_SERVER__LISTEN").await?;
    let address = listener.local_addr()?;
    let watched = match app.settings.metrics.listen {
        Some(address) => Some(listen::bind(address, "VESTIBULE_METRICS__LISTEN").await?),
        None => None,
    };
    let endpoint = Arc::new(endpoint(app.clone())?.boxed());
    let closing = CancellationToken::new();
    let mut doors = JoinSet::new();
    ready(&format!("http://{address}"));
    doors.spawn(listen::run(listener, endpoint, limits, app.metrics.connections.clone(), closing.clone()));
    if let Some(listener) = watched {
        tracing::info!(address = %listener.local_addr()?, "metrics");
        let limits = Limits { connections: WATCHERS, ..limits };
        doors.spawn(listen::run(listener, metrics::endpoint(app.clone()), limits, Gauge::default(), closing.clone()));
    }
    tokio::select! {
        notice = stop => {
            app.stopping.cancel();
            sleep(notice).await;
        }
        _ = doors.join_next() => bail!("a listener ended"),
    }
    closing.cancel();
    doors.join_all().await;
    Ok(())
}

/// Stands before the routes: gives each request its id and source, runs it, and finishes its answer.
struct Front<E> {
    routes: Arc<E>,
    app: App,
    /// Of forwarded addresses that are not believed.
    warned: Once,
}

impl<E: Endpoint<Output = Response> + 'static> Endpoint for Front<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let began = self.app.clock.uptime();
        let id = ids::v7(self.app.clock.now());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let origin = request.headers().get(header::ORIGIN).cloned();
        let signed_in = SignedIn::default();
        request.set_data(self.app.clone());
        request.set_data(signed_in.clone());
        let peer = request.remote_addr().as_socket_addr().map(SocketAddr::ip);
        let proxies = &self.app.settings.server.trusted_proxies;
        if let Some(peer) = peer.filter(|it| client::is_stranger_who_forwards(*it, request.headers(), proxies)) {
            self.warn_of_stranger(peer);
        }
        let address = peer.map(|it| client::address(it, request.headers(), proxies));
        let source = Source { request_id: Some(id), address, user_agent: user_agent(&request) };
        request.set_data(source.clone());

        let (answer, operation) = self.answer(request, &method, &path).await;
        if operation.is_some_and(|it| it.0 == LOG_IN) {
            self.app.metrics.note_log_in(answer.as_ref().map_or_else(|problem| problem.code.name(), |_| "ok"));
        }
        if let Err(problem) = &answer {
            self.note_refusal(problem, operation, &signed_in, source.address);
        }
        let mut response = answer.unwrap_or_else(|problem| problem.render(&id.to_string()));
        self.finish(&mut response, id, origin.as_ref());

        let took = self.app.clock.uptime().saturating_sub(began);
        let operation = operation.map(|it| it.0);
        self.app.metrics.note_request(operation, response.status().as_u16(), took);
        tracing::info!(
            request_id = %id,
            method = %method,
            operation,
            status = response.status().as_u16(),
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            user = signed_in.get().map(tracing::field::display),
            "request"
        );
        Ok(response)
    }
}

impl<E: Endpoint<Output = Response> + 'static> Front<E> {
    /// Runs a request in a task of its own: a client that hangs up stops nothing between commit and memory, and a
    /// handler that panics takes nobody with it.
    async fn answer(&self, request: Request, method: &Method, path: &str) -> (Result<Response, Problem>, Option<OperationId>) {
        if let Some(problem) = too_large(&request) {
            return (Err(problem), None);
        }
        if let Some(early) = preflight(method, path) {
            return (early, None);
        }
        let routes = Arc::clone(&self.routes);
        // Whoever waits for the answer drops this when they go.
        let gone = CancellationToken::new();
        let _waiting = gone.clone().drop_guard();
        match tokio::spawn(CALLER_GONE.scope(gone, async move { routes.call(request).await })).await {
            Ok(Ok(response)) => {
                let operation = response.data::<OperationId>().copied();
                (Ok(response), operation)
            }
            Ok(Err(err)) => {
                let operation = err.data::<OperationId>().copied();
                (Err(Problem::from_poem(&err, || allow(path))), operation)
            }
            Err(crash) => (Err(Error::internal(crash).into()), None),
        }
    }

    /// Counts a refusal by a guard, for the audit trail.
    fn note_refusal(&self, problem: &Problem, operation: Option<OperationId>, signed_in: &SignedIn, address: Option<IpAddr>) {
        if let (Some(permission), Some(operation), Some(user)) = (problem.lacking(), operation, signed_in.get()) {
            let minute = self.app.clock.now();
            self.app.refusals.note(Refusal { user: *user, operation: operation.0, permission, minute }, address);
        }
    }

    /// Says once that somebody's forwarded addresses are not believed: if it is a proxy of ours that was not declared, all
    /// its clients are one to us.
    fn warn_of_stranger(&self, peer: IpAddr) {
        self.warned.call_once(|| {
            tracing::warn!(%peer, "X-Forwarded-For came from an address that is none of server.trusted_proxies, and is not believed");
        });
    }

    /// What every answer carries. An answer that is not said to be public is nobody's to keep.
    fn finish(&self, response: &mut Response, id: Uuid, origin: Option<&HeaderValue>) {
        let settings = &self.app.settings;
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
            headers.insert(REQUEST_ID, id);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let mut unless_set = |name, value| _ = headers.entry(name).or_insert(HeaderValue::from_static(value));
        unless_set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
        unless_set(header::REFERRER_POLICY, "no-referrer");
        unless_set(header::CACHE_CONTROL, "no-store");
        if settings.server.public_url.as_ref().is_some_and(|url| url.as_str().starts_with("https:")) {
            unless_set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains");
        }
        if !settings.cors.origins.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = origin
            && settings.cors.origins.iter().any(|it| it.as_str().as_bytes() == origin.as_bytes())
        {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            // For the cookie of the refresh token: a page must be able to send it, and only to us.
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("authorization, content-type, if-match, if-none-match"),
            );
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("etag, link, location, retry-after, www-authenticate, x-request-id"),
            );
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
            if let Some(allow) = headers.get(header::ALLOW).cloned() {
                headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
            }
        }
    }
}

/// What is refused for its size before anything looks at it; hyper has refused what is larger still.
fn too_large(request: &Request) -> Option<Problem> {
    let uri = request.uri().path_and_query().map_or(0, |it| it.as_str().len());
    if uri > LONGEST_URI {
        return Some(Problem::new(Code::UriTooLong, "The address is longer than 8 KiB."));
    }
    // With the colon, the space and the end of each line.
    let header: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    (header > LONGEST_HEADER).then(|| Problem::new(Code::HeadersTooLarge, "The headers are longer than 16 KiB."))
}

/// OPTIONS says which methods a path has, and TRACE is refused everywhere, before any handler.
fn preflight(method: &Method, path: &str) -> Option<Result<Response, Problem>> {
    match (method, allow(path)) {
        (&Method::OPTIONS | &Method::TRACE, None) => Some(Err(Error::NotFound.into())),
        (&Method::OPTIONS, Some(allow)) => {
            Some(Ok(Response::builder().status(StatusCode::NO_CONTENT).header(header::ALLOW, allow).finish()))
        }
        (&Method::TRACE, Some(allow)) => Some(Err(Problem::method_not_allowed(allow))),
        _ => None,
    }
}

/// The methods a path has: the contract's, or those of the pages beside it.
fn allow(path: &str) -> Option<String> {
    let is_beside = path == "/openapi.json" || path == "/docs" || path.starts_with("/docs/");
    contract::allow(path).or_else(|| is_beside.then(|| "GET, HEAD, OPTIONS".into()))
}

#[cfg(test)]
mod tests {
    use poem::endpoint::make_sync;

    use super::*;
    use crate::{config::Settings, live::clock::System};

    #[tokio::test]
    async fn h06_a_handler_that_panics_answers_500_and_takes_nobody_with_it() {
        let directory = tempfile::TempDir::new().unwrap();
        let settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
        let app = App::open(settings, Arc::new(System)).await.unwrap();
        let routes = make_sync(|request| {
            assert_ne!(request.uri().path(), "/panic", "hunter2 is on the stack");
            Response::builder().body("alive")
        });
        let front = Front { routes: Arc::new(routes), app, warned: Once::new() };
        for _ in 0..3 {
            let answer = front.get_response(Request::builder().uri_str("/panic").finish()).await;
            assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(answer.content_type(), Some(crate::api::problem::MEDIA_TYPE));
            let id = answer.header(REQUEST_ID).unwrap().to_owned();
            let body = answer.into_body().into_string().await.unwrap();
            assert!(body.contains(r#""code":"internal""#) && body.contains(&id) && !body.contains("hunter2"), "{body}");

            let answer = front.get_response(Request::builder().uri_str("/fine").finish()).await;
            assert_eq!((answer.status(), answer.into_body().into_string().await.unwrap().as_str()), (StatusCode::OK, "alive"));
        }
    }
}

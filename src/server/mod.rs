//! The server: what every answer has in common, and listening until told to stop.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use poem::{
    Endpoint, Request, Response, Result, Server,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    listener::{Acceptor, Listener, TcpListener},
};
use poem_openapi::OperationId;
use uuid::Uuid;

use crate::{
    api::{
        self, contract,
        problem::Problem,
        source::{SignedIn, user_agent},
    },
    app::App,
    domain::source::Source,
    error::Error,
    live::refusals::Refusal,
    values::ids,
};

/// How long requests under way may go on after the signal to stop.
const GRACE: Duration = Duration::from_secs(8);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Everything the server answers, as one endpoint.
///
/// # Errors
/// When the contract leaves an operation open that should not be.
pub fn endpoint(app: App) -> anyhow::Result<impl Endpoint<Output = Response>> {
    contract::check()?;
    Ok(Front { routes: Arc::new(api::routes()), app })
}

/// Listens on `server.listen` until `stop` is ready, then lets requests under way finish.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(app: App, ready: impl FnOnce(&str), stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let listen = app.settings.server.listen;
    let endpoint = endpoint(app)?;
    let acceptor = TcpListener::bind(listen).into_acceptor().await.map_err(|err| explain(listen, &err))?;
    let address = acceptor.local_addr().first().and_then(|it| it.as_socket_addr().copied()).unwrap_or(listen);
    ready(&format!("http://{address}"));
    Server::new_with_acceptor(acceptor).run_with_graceful_shutdown(endpoint, stop, Some(GRACE)).await?;
    Ok(())
}

fn explain(listen: SocketAddr, err: &io::Error) -> anyhow::Error {
    match err.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{listen} is taken by another process; choose another address with VESTIBULE_SERVER__LISTEN")
        }
        _ => anyhow::anyhow!("cannot listen on {listen}: {err}"),
    }
}

/// Stands before the routes: gives each request its id and source, runs it, and finishes its answer.
struct Front<E> {
    routes: Arc<E>,
    app: App,
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
        let address = peer.map(|it| client(it, request.headers(), &self.app.settings.server.trusted_proxies));
        let source = Source { request_id: Some(id), address, user_agent: user_agent(&request) };
        request.set_data(source.clone());

        let (answer, operation) = self.answer(request, &method, &path).await;
        if let Err(problem) = &answer {
            self.note_refusal(problem, operation, &signed_in, source.address);
        }
        let mut response = answer.unwrap_or_else(|problem| problem.render(&id.to_string()));
        self.finish(&mut response, id, origin.as_ref());

        let took = self.app.clock.uptime().saturating_sub(began);
        tracing::info!(
            request_id = %id,
            method = %method,
            operation = operation.map(|it| it.0),
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
        if let Some(early) = preflight(method, path) {
            return (early, None);
        }
        let routes = Arc::clone(&self.routes);
        match tokio::spawn(async move { routes.call(request).await }).await {
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

/// The client's address: the peer's, unless the peer is a proxy of ours; then the last address it forwards that is
/// not one of ours too. Everything before that one is the client's own invention.
fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let is_ours = |address: &IpAddr| proxies.iter().any(|net| net.contains(address));
    // A client may put bytes that are no text before what the proxy adds to the same line.
    let lines = headers.get_all("x-forwarded-for").iter().map(|it| String::from_utf8_lossy(it.as_bytes()));
    let forwarded = lines.collect::<Vec<_>>().join(",");
    // A socket that takes both families shows an IPv4 peer as `::ffff:…`, which no IPv4 network holds.
    let mut client = peer.to_canonical();
    for hop in forwarded.rsplit(',') {
        match hop.trim().parse::<IpAddr>() {
            Ok(hop) if is_ours(&client) => client = hop.to_canonical(),
            _ => break,
        }
    }
    client
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
    use rstest::rstest;

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
        let front = Front { routes: Arc::new(routes), app };
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

    #[rstest]
    #[case::nobody_is_trusted("203.0.113.9", &["198.51.100.1"], &[], "203.0.113.9")]
    #[case::a_stranger("203.0.113.9", &["198.51.100.1"], &["10.0.0.0/8"], "203.0.113.9")]
    #[case::our_proxy("10.0.0.1", &["198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::nothing_forwarded("10.0.0.1", &[], &["10.0.0.0/8"], "10.0.0.1")]
    #[case::what_the_client_invented("10.0.0.1", &["1.1.1.1, 127.0.0.1, 198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::in_another_line("10.0.0.1", &["1.1.1.1", "198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::two_proxies("10.0.0.1", &["1.1.1.1, 198.51.100.1,10.0.0.2"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::garbage("10.0.0.1", &["198.51.100.1, unknown"], &["10.0.0.0/8"], "10.0.0.1")]
    #[case::garbage_before("10.0.0.1", &["\u{e9}, 198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::empty("10.0.0.1", &[""], &["10.0.0.0/8"], "10.0.0.1")]
    #[case::a_socket_of_both_families("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1")]
    #[case::ipv6("fd00::1", &["2001:db8::7"], &["fd00::/8"], "2001:db8::7")]
    fn h07_a_forwarded_address_is_believed_from_our_proxies_alone(
        #[case] peer: IpAddr,
        #[case] forwarded: &[&str],
        #[case] proxies: &[&str],
        #[case] expected: IpAddr,
    ) {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let proxies: Vec<_> = proxies.iter().map(|it| it.parse().unwrap()).collect();
        assert_eq!(client(peer, &headers, &proxies), expected);
    }
}

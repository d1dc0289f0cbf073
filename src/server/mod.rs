//! The server: what every answer has in common, and serving until told to stop.

mod client;
mod connection;
mod cors;
mod crowd;
mod forwarded;
mod listen;
mod metrics;
mod pace;
mod paths;
mod stream;
mod syntax;
mod warnings;

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::bail;
use poem::{
    Endpoint, EndpointExt, Request, Response, Result,
    http::{HeaderName, HeaderValue, header},
};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};
use uuid::Uuid;

pub use self::{connection::Timeouts, listen::Limits};
use self::{syntax::Malformed, warnings::Warnings};

use crate::{
    api::{
        self,
        contract::{self, routes},
        http::{
            codes::Code,
            problem::Problem,
            source::{SignedIn, user_agent},
        },
    },
    app::App,
    domain::source::Source,
    error::{Error, Panicked, with_causes},
    live::{
        database::deadline,
        denials::Denial,
        hashing_pool::{CLIENT_CONNECTION, ClientConnection},
        log,
    },
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
    Ok(Front { routes: Arc::new(api::routes()), app, warnings: Warnings::default() })
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
    let listener = listen::bind(app.settings.server.listen, "VESTIBULE_SERVER__LISTEN")?;
    let address = listener.local_addr()?;
    let watched = match app.settings.metrics.listen {
        Some(address) => Some(listen::bind(address, "VESTIBULE_METRICS__LISTEN")?),
        None => None,
    };
    let endpoint = Arc::new(endpoint(app.clone())?.boxed());
    let closing = CancellationToken::new();
    let mut listeners = JoinSet::new();
    ready(&format!("http://{address}"));
    listeners.spawn(listen::run(listener, endpoint, limits, app.metrics.connections.clone(), closing.clone()));
    if let Some(listener) = watched {
        tracing::info!(address = %listener.local_addr()?, "metrics");
        let limits = Limits { connections: WATCHERS, ..limits };
        listeners.spawn(listen::run(listener, metrics::endpoint(app.clone()), limits, Gauge::default(), closing.clone()));
    }
    tokio::select! {
        notice = stop => {
            app.stopping.cancel();
            sleep(notice).await;
        }
        _ = listeners.join_next() => bail!("a listener ended"),
    }
    closing.cancel();
    listeners.join_all().await;
    Ok(())
}

/// Stands before the routes: gives each request its id and source, runs it, and finishes its answer.
struct Front<E> {
    routes: Arc<E>,
    app: App,
    warnings: Warnings,
}

impl<E: Endpoint<Output = Response> + 'static> Endpoint for Front<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let began = self.app.clock.uptime();
        let id = ids::v7(self.app.clock.now());
        let method = request.method().clone();
        let MatchedRoute { template, operation } = MatchedRoute::of(&request);
        let span = log::request_span(id, operation);
        let source = span.in_scope(|| self.source(&request, id));
        let (address, signed_in) = (source.address, SignedIn::default());
        let origin = request.headers().get(header::ORIGIN).cloned();
        let wished = cors::wished(&request);
        request.set_data(self.app.clone());
        request.set_data(signed_in.clone());
        request.set_data(source);

        let answer = self.answer(request, &span).await;
        let code = answer.as_ref().err().map(|problem| problem.code.name());
        if operation == Some(LOG_IN) {
            self.app.metrics.count_log_in(code.unwrap_or("ok"));
        }
        if let Err(problem) = &answer {
            span.in_scope(|| self.note_refusal(problem, operation, &signed_in, address));
        }
        let mut response = answer.unwrap_or_else(|problem| problem.render(&id.to_string()));
        self.finish(&mut response, id, origin.as_ref(), &wished);

        let took = self.app.clock.uptime().saturating_sub(began);
        self.app.metrics.count_request(operation, response.status().as_u16(), took);
        tracing::info!(
            request_id = %id,
            method = method.as_str(),
            operation,
            path = template,
            status = response.status().as_u16(),
            code,
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            client = address.map(tracing::field::display),
            user = signed_in.get().map(tracing::field::display),
            "request"
        );
        Ok(response)
    }
}

/// Where in the contract a request belongs, or among the pages beside it.
#[derive(Default)]
struct MatchedRoute {
    /// The path without what varies in it, which may identify somebody.
    template: Option<&'static str>,
    operation: Option<&'static str>,
}

impl MatchedRoute {
    fn of(request: &Request) -> Self {
        match routes::find(request.uri().path()) {
            Some(route) => Self { template: Some(route.template), operation: route.operation(request.method()) },
            None => Self { template: paths::page(request.uri().path()), operation: None },
        }
    }
}

impl<E: Endpoint<Output = Response> + 'static> Front<E> {
    /// Where a request comes from, with a warning about what it brought along.
    fn source(&self, request: &Request, id: Uuid) -> Source {
        let (headers, settings) = (request.headers(), &self.app.settings);
        let client = request.remote_addr().as_socket_addr().map(SocketAddr::ip).map(|peer| {
            let client = client::of(peer, headers, &settings.server);
            if let Some(doubt) = &client.doubt {
                self.warnings.forwarded(doubt, settings.server.forwarded_header, peer);
            }
            client.address
        });
        if let Some(origin) = headers.get(header::ORIGIN).filter(|origin| !self.may_read(origin)) {
            self.warnings.origin(origin, headers, settings);
        }
        Source { request_id: Some(id), address: client, user_agent: user_agent(request) }
    }

    /// Whether pages of an origin may read the responses.
    fn may_read(&self, origin: &HeaderValue) -> bool {
        self.app.settings.cors.allows(origin.as_bytes())
    }

    /// Runs a request in a task of its own: a client that hangs up stops nothing between commit and memory, and a
    /// handler that panics takes nobody with it.
    async fn answer(&self, request: Request, span: &Span) -> Result<Response, Problem> {
        if let Some(malformed) = request.data::<Malformed>() {
            return Err((*malformed).into());
        }
        if let Some(problem) = too_large(&request) {
            return Err(problem);
        }
        let path = request.uri().path().to_owned();
        if let Some(early) = paths::preflight(request.method(), &path) {
            return early;
        }
        if path == "/" {
            return paths::entrance(&request);
        }
        let routes = Arc::clone(&self.routes);
        // The connection drops this when its client hangs up.
        let disconnected = CancellationToken::new();
        let _waiting = disconnected.clone().drop_guard();
        let network = request.data::<Source>().and_then(|source| source.address).into();
        let work = async move {
            // Logged in this task: nobody else may be left to do so.
            routes.call(request).await.map_err(|err| {
                let problem = Problem::from_poem(&err, || paths::allow(&path));
                log_failure(&problem);
                problem
            })
        };
        let work = CLIENT_CONNECTION.scope(ClientConnection { disconnected, network }, deadline::share_one_deadline(work));
        match tokio::spawn(work.instrument(span.clone())).await {
            Ok(answer) => answer,
            Err(crash) => {
                let problem = Error::from(crash).into();
                span.in_scope(|| log_failure(&problem));
                Err(problem)
            }
        }
    }

    /// Counts a refusal by a guard, for the audit trail.
    fn note_refusal(&self, problem: &Problem, operation: Option<&'static str>, signed_in: &SignedIn, address: Option<IpAddr>) {
        if let (Some(permission), Some(operation), Some(user)) = (problem.lacking(), operation, signed_in.get()) {
            let minute = self.app.clock.now();
            self.app.denials.count(Denial { user: *user, operation, permission, minute }, address);
        }
    }

    /// What every answer carries. An answer that is not said to be public is nobody's to keep.
    fn finish(&self, response: &mut Response, id: Uuid, origin: Option<&HeaderValue>, wished: &[HeaderName]) {
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
        let is_secure = settings.server.public_url.as_ref().is_some_and(|url| url.as_str().starts_with("https:"));
        if let Some(policy) = settings.server.hsts.header().filter(|_| is_secure) {
            unless_set(header::STRICT_TRANSPORT_SECURITY, policy);
        }
        if !settings.cors.origins.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = origin.filter(|origin| self.may_read(origin)) {
            cors::allow(headers, origin, wished);
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

/// Logs what is behind a 500 or a 503: once, whole, and with the request that it answers. A panic was logged already.
fn log_failure(problem: &Problem) {
    match problem.cause() {
        Some(cause) if cause.is::<Panicked>() => {}
        Some(cause) if problem.code == Code::Unavailable => {
            tracing::warn!(cause = with_causes(cause.as_ref()), "the database is away or busy");
        }
        Some(cause) => tracing::error!(cause = with_causes(cause.as_ref()), "unforeseen failure"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use poem::{endpoint::make_sync, http::StatusCode};

    use std::{env, process::Command};

    use super::*;
    use crate::{
        config::{LogFormat, Settings},
        live::clock::SystemClock,
    };

    #[tokio::test]
    async fn h06_a_handler_that_panics_answers_500_and_takes_nobody_with_it() {
        let directory = tempfile::TempDir::new().unwrap();
        let settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
        let app = App::open(settings, Arc::new(SystemClock)).await.unwrap();
        let routes = make_sync(|request| {
            assert_ne!(request.uri().path(), "/panic", "hunter2 is on the stack");
            Response::builder().body("alive")
        });
        let front = Front { routes: Arc::new(routes), app, warnings: Warnings::default() };
        for _ in 0..3 {
            let answer = front.get_response(Request::builder().uri_str("/panic").finish()).await;
            assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(answer.content_type(), Some(crate::api::http::problem::MEDIA_TYPE));
            let id = answer.header(REQUEST_ID).unwrap().to_owned();
            let body = answer.into_body().into_string().await.unwrap();
            assert!(body.contains(r#""code":"internal""#) && body.contains(&id) && !body.contains("hunter2"), "{body}");

            let answer = front.get_response(Request::builder().uri_str("/fine").finish()).await;
            assert_eq!((answer.status(), answer.into_body().into_string().await.unwrap().as_str()), (StatusCode::OK, "alive"));
        }
    }

    #[test]
    fn a_panic_is_logged_once_with_its_request_and_its_place() {
        // The panic hook belongs to the whole process, so the story is told in one of its own.
        let story = ["--exact", "server::tests::panics_in_a_process_of_its_own", "--ignored", "--nocapture"];
        let output = Command::new(env::current_exe().unwrap()).args(story).env_remove("RUST_BACKTRACE").output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{stdout}{stderr}");
        let lines: Vec<serde_json::Value> = stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        for (path, operation, cause) in [("/v1/me", "readMe", "in the handler"), ("/v1/roles", "listRoles", "in the hasher")] {
            let id = stdout.lines().find_map(|line| line.strip_prefix(path)).unwrap().trim();
            let about: Vec<_> = lines.iter().filter(|line| line["request_id"] == id).collect();
            assert_eq!(about.len(), 2, "{stderr}");
            assert_eq!((about[0]["message"].as_str(), about[0]["cause"].as_str()), (Some("panicked"), Some(cause)));
            assert!(about[0]["location"].as_str().unwrap().starts_with("src/server/mod.rs:"), "{}", about[0]);
            assert_eq!((about[1]["message"].as_str(), about[1]["status"].as_u64()), (Some("request"), Some(500)));
            assert!(about.iter().all(|line| line["operation"] == operation), "{stderr}");
        }
    }

    #[tokio::test]
    #[ignore = "a_panic_is_logged_once_with_its_request_and_its_place runs it"]
    async fn panics_in_a_process_of_its_own() {
        log::init(LogFormat::Json).unwrap();
        log::start_tracing("info").unwrap();
        let directory = tempfile::TempDir::new().unwrap();
        let settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
        let app = App::open(settings, Arc::new(SystemClock)).await.unwrap();
        let hasher = app.clone();
        let routes = poem::endpoint::make(move |request: Request| {
            let app = hasher.clone();
            async move {
                assert!(request.uri().path() != "/v1/me", "in the handler");
                app.passwords
                    .pool
                    .run::<()>(|| panic!("in the hasher"))
                    .await
                    .map_err(|err| poem::Error::from(Problem::from(err)))
            }
        });
        let routes = routes.map_to_response();
        let front = Front { routes: Arc::new(routes), app, warnings: Warnings::default() };
        for path in ["/v1/me", "/v1/roles"] {
            let answer = front.get_response(Request::builder().uri_str(path).finish()).await;
            println!("{path} {}", answer.header(REQUEST_ID).unwrap());
        }
        log::flush();
    }
}

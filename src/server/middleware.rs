//! The middleware around every route: gives each request an id and a source, runs it, logs it, and completes its response.

use std::{
    future::{Future, poll_fn, ready},
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use poem::{
    Endpoint, Request, Response, Result,
    http::{HeaderName, HeaderValue, Method, header},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{
    base_path, client_address, cors,
    paths::{self, KnownPath},
    syntax::Malformed,
    warnings::Warnings,
};
use crate::{
    api::{
        http::{
            codes::Code,
            problem::Problem,
            source::{SignedIn, user_agent},
        },
        pages::Pages,
    },
    app::App,
    domain::source::Source,
    error::{Error, Missing, Panicked, with_causes},
    live::{
        database::deadline,
        denials::Denial,
        hashing_pool::{CLIENT_CONNECTION, ClientConnection},
        log::{self, request::LoggedRequest},
    },
    values::ids,
};

/// The longest request target and the longest headers (names and values together), in bytes.
const MAX_TARGET: usize = 8 * 1024;
const MAX_HEADERS: usize = 16 * 1024;

/// The operation whose outcomes have a metric of their own.
const LOG_IN: &str = "logIn";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The middleware around the operations and the pages.
pub(super) struct Middleware<E> {
    operations: Arc<E>,
    pages: Arc<Pages>,
    app: App,
    warnings: Warnings,
}

impl<E> Middleware<E> {
    pub(super) fn new(operations: E, app: App) -> Self {
        let pages = Arc::new(Pages::new(&app.settings));
        Self { operations: Arc::new(operations), pages, app, warnings: Warnings::default() }
    }
}

impl<E: Endpoint<Output = Response> + 'static> Endpoint for Middleware<E> {
    type Output = Response;

    // Not an `async fn`, because the request is large: the future that is returned does not contain it.
    fn call(&self, request: Request) -> impl Future<Output = Result<Response>> + Send {
        let (exchange, work) = self.begin(request);
        async move {
            let result = run_to_end(work, exchange.logged).await;
            Ok(self.finish(&exchange, result))
        }
    }
}

/// The work for a request: everything that its route does.
type Work = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

/// What the middleware remembers of a request until its response.
struct Exchange {
    began_at: Duration,
    /// The request's id as text, which is also a header of the response.
    id: HeaderValue,
    method: Method,
    path: Option<KnownPath>,
    operation: Option<&'static str>,
    logged: Option<LoggedRequest>,
    address: Option<IpAddr>,
    signed_in: SignedIn,
    origin: Option<HeaderValue>,
    requested_headers: Vec<HeaderName>,
    /// hyper drops the exchange, and with it the guard, when the client disconnects.
    _disconnected: DropGuard,
}

impl<E: Endpoint<Output = Response> + 'static> Middleware<E> {
    fn begin(&self, mut request: Request) -> (Exchange, Work) {
        let began_at = self.app.clock.uptime();
        let id = ids::v7(self.app.clock.now());
        let mut text = Uuid::encode_buffer();
        let text: &str = id.hyphenated().encode_lower(&mut text);
        let is_inside = base_path::remove(&self.app.settings.server.base_path, &mut request).is_some();
        let path = is_inside.then(|| KnownPath::find(request.uri().path(), &self.pages)).flatten();
        let operation = path.and_then(|path| path.operation(request.method()));
        let logged = Some(LoggedRequest { id, operation });
        let source = log::request::in_scope(logged, || self.source(&request, id));
        let client = ClientConnection { disconnected: CancellationToken::new(), network: source.address.into() };
        let exchange = Exchange {
            began_at,
            id: HeaderValue::from_str(text).expect("an id is ASCII"),
            method: request.method().clone(),
            path,
            operation,
            logged,
            address: source.address,
            signed_in: SignedIn::default(),
            origin: request.headers().get(header::ORIGIN).cloned(),
            requested_headers: cors::requested_headers(&request),
            _disconnected: client.disconnected.clone().drop_guard(),
        };
        request.set_data(self.app.clone());
        request.set_data(exchange.signed_in.clone());
        request.set_data(source);
        let work = if is_inside { self.respond(request, path, client, logged) } else { outside(&request) };
        (exchange, work)
    }

    /// Completes the response, and counts and logs the request.
    fn finish(&self, exchange: &Exchange, result: Result<Response, Problem>) -> Response {
        let Exchange { id, operation, address, signed_in, .. } = exchange;
        let code = result.as_ref().err().map(|problem| problem.code.name());
        if *operation == Some(LOG_IN) {
            self.app.metrics.count_log_in(code.unwrap_or("ok"));
        }
        if let Err(problem) = &result {
            self.count_denial(problem, *operation, signed_in, *address);
        }
        let request_id = id.to_str().unwrap_or_default();
        let mut response = result.unwrap_or_else(|problem| problem.render(request_id));
        base_path::add(&self.app.settings.server.base_path, &mut response);
        self.add_common_headers(&mut response, id.clone(), exchange.origin.as_ref(), &exchange.requested_headers);

        let took = self.app.clock.uptime().saturating_sub(exchange.began_at);
        self.app.metrics.count_request(*operation, response.status().as_u16(), took);
        tracing::info!(
            request_id = %request_id,
            method = exchange.method.as_str(),
            operation,
            path = exchange.path.map(KnownPath::template),
            status = response.status().as_u16(),
            code,
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            client = address.map(tracing::field::display),
            user = signed_in.get().map(tracing::field::display),
            "request"
        );
        response
    }

    /// Returns the source of a request. Logs a warning if its forwarded header is ignored or its origin is not allowed.
    fn source(&self, request: &Request, id: Uuid) -> Source {
        let (headers, settings) = (request.headers(), &self.app.settings);
        let address = request.remote_addr().as_socket_addr().map(SocketAddr::ip).map(|peer| {
            let client = client_address::of(peer, headers, &settings.server);
            if let Some(reason) = &client.ignored {
                self.warnings.forwarded_header_ignored(reason, settings.server.forwarded_header, peer);
            }
            client.address
        });
        if let Some(origin) = headers.get(header::ORIGIN).filter(|origin| !self.is_allowed(origin)) {
            self.warnings.origin_not_allowed(origin, headers, settings);
        }
        Source { request_id: Some(id), address, user_agent: user_agent(request) }
    }

    /// Whether pages of an origin may read responses.
    fn is_allowed(&self, origin: &HeaderValue) -> bool {
        self.app.settings.cors.allows(origin.as_bytes())
    }

    /// Returns the work for a request, which only the first poll begins.
    fn respond(
        &self,
        request: Request,
        path: Option<KnownPath>,
        client: ClientConnection,
        logged: Option<LoggedRequest>,
    ) -> Work {
        if let Some(problem) = refusal(&request) {
            return Box::pin(ready(Err(problem)));
        }
        if let Some(result) = paths::options_or_trace(request.method(), path) {
            return Box::pin(ready(result));
        }
        if let Some(KnownPath::Page(page)) = path {
            let pages = Arc::clone(&self.pages);
            return Box::pin(async move { pages.respond(page, &request) });
        }
        let operations = Arc::clone(&self.operations);
        let allow = path.map(KnownPath::allow).unwrap_or_default();
        let work = async move {
            operations.call(request).await.map_err(|error| {
                // Logged here, because the middleware may have ended with the connection.
                let problem = Problem::from_poem(&error, allow);
                log_failure(&problem);
                problem
            })
        };
        Box::pin(log::request::scope(logged, CLIENT_CONNECTION.scope(client, deadline::share_one_deadline(work))))
    }

    /// Counts a 403 of a guard, for the audit trail.
    fn count_denial(&self, problem: &Problem, operation: Option<&'static str>, signed_in: &SignedIn, address: Option<IpAddr>) {
        if let (Some(permission), Some(operation), Some(user)) = (problem.lacking(), operation, signed_in.get()) {
            let minute = self.app.clock.now();
            self.app.denials.count(Denial { user: *user, operation, permission, minute }, address);
        }
    }

    /// Adds the headers that every response carries. A response must not be stored unless it has its own `Cache-Control`.
    fn add_common_headers(
        &self,
        response: &mut Response,
        id: HeaderValue,
        origin: Option<&HeaderValue>,
        requested_headers: &[HeaderName],
    ) {
        let settings = &self.app.settings;
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let mut set_default = |name, value| _ = headers.entry(name).or_insert(HeaderValue::from_static(value));
        set_default(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
        set_default(header::REFERRER_POLICY, "no-referrer");
        set_default(header::CACHE_CONTROL, "no-store");
        let is_https = settings.server.public_url.as_ref().is_some_and(|url| url.as_str().starts_with("https:"));
        if let Some(policy) = settings.server.hsts.header().filter(|_| is_https) {
            set_default(header::STRICT_TRANSPORT_SECURITY, policy);
        }
        if !settings.cors.origins.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = origin.filter(|origin| self.is_allowed(origin)) {
            cors::allow(headers, origin, requested_headers);
        }
    }
}

/// Runs the work for a request to its end, also if the client disconnects, so that no commit is left without its update of
/// memory. Most work ends at its first poll, which nothing interrupts. Only work that has to wait gets a task of its own, and
/// the task continues when hyper drops this future. A panic ends nothing but the work.
async fn run_to_end(mut work: Work, logged: Option<LoggedRequest>) -> Result<Response, Problem> {
    let first = poll_fn(|cx| Poll::Ready(catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))))).await;
    let error = match first {
        Ok(Poll::Ready(result)) => return result,
        Ok(Poll::Pending) => match tokio::spawn(work).await {
            Ok(result) => return result,
            Err(error) => Error::from(error),
        },
        Err(_) => Error::internal(Panicked),
    };
    let problem = error.into();
    log::request::in_scope(logged, || log_failure(&problem));
    Err(problem)
}

/// Returns the work for a request whose path is not one of the service.
fn outside(request: &Request) -> Work {
    let problem = refusal(request).unwrap_or_else(|| Error::NotFound(Missing::Path).into());
    Box::pin(ready(Err(problem)))
}

/// Rejects a request that is malformed or too large, whatever its path.
fn refusal(request: &Request) -> Option<Problem> {
    let malformed = request.data::<Malformed>().map(|malformed| (*malformed).into());
    malformed.or_else(|| too_large(request))
}

/// Rejects a request whose target or headers are too long. hyper rejects still longer ones itself.
fn too_large(request: &Request) -> Option<Problem> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET {
        return Some(Problem::new(Code::UriTooLong, "The request target is longer than 8 KiB."));
    }
    // Each line also has a colon, a space and a line break.
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    (headers > MAX_HEADERS).then(|| Problem::new(Code::HeadersTooLarge, "The headers are longer than 16 KiB."))
}

/// Logs the cause of a 500 or a 503, once and with the request's id. The panic hook has already logged a panic.
fn log_failure(problem: &Problem) {
    match problem.cause() {
        Some(cause) if cause.is::<Panicked>() => {}
        Some(cause) if problem.code == Code::Unavailable => {
            tracing::warn!(cause = with_causes(cause.as_ref()), "the database is unavailable or busy");
        }
        Some(cause) => tracing::error!(cause = with_causes(cause.as_ref()), "unexpected failure"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use poem::{EndpointExt, endpoint::make, http::StatusCode};
    use serde_json::Value;
    use tokio::{sync::Notify, task::yield_now, time::timeout};

    use super::*;
    use crate::{
        api::http::problem::MEDIA_TYPE,
        config::{LogFormat, Settings},
        live::{clock::SystemClock, database::tests::directory},
    };

    #[tokio::test]
    async fn h06_a_panic_in_a_handler_answers_500_and_affects_no_other_request() {
        let directory = directory::temporary();
        let settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
        let app = App::open(settings, Arc::new(SystemClock)).await.unwrap();
        let routes = make(async |request: Request| {
            assert_ne!(request.uri().path(), "/panic", "hunter2 is on the stack");
            yield_now().await;
            assert_ne!(request.uri().path(), "/later-panic", "hunter2 is on the stack");
            Response::builder().body("alive")
        });
        let service = Middleware::new(routes, app);
        for path in ["/panic", "/later-panic", "/panic", "/later-panic"] {
            let response = service.get_response(Request::builder().uri_str(path).finish()).await;
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(response.content_type(), Some(MEDIA_TYPE));
            let id = response.header(REQUEST_ID).unwrap().to_owned();
            let body = response.into_body().into_string().await.unwrap();
            assert!(body.contains(r#""code":"internal""#) && body.contains(&id) && !body.contains("hunter2"), "{body}");

            let response = service.get_response(Request::builder().uri_str("/fine").finish()).await;
            assert_eq!(
                (response.status(), response.into_body().into_string().await.unwrap().as_str()),
                (StatusCode::OK, "alive")
            );
        }
    }

    #[tokio::test]
    async fn d04_work_that_waits_is_finished_after_its_client_has_left() {
        let directory = directory::temporary();
        let settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
        let app = App::open(settings, Arc::new(SystemClock)).await.unwrap();
        let (commit, finished) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (for_routes, by_routes) = (Arc::clone(&commit), Arc::clone(&finished));
        let routes = make(move |_| {
            let (commit, finished) = (Arc::clone(&for_routes), Arc::clone(&by_routes));
            async move {
                commit.notified().await;
                finished.notify_one();
            }
        });
        let service = Middleware::new(routes.map_to_response(), app);
        let response = service.get_response(Request::builder().uri_str("/v1/me").finish());
        assert!(timeout(Duration::from_millis(10), response).await.is_err(), "the client leaves while the work waits");
        assert!(timeout(Duration::from_millis(10), finished.notified()).await.is_err());
        commit.notify_one();
        finished.notified().await;
    }

    #[test]
    fn a_panic_is_logged_once_with_its_request_and_its_location() {
        // The panic hook belongs to the whole process, so the panics happen in a process of their own.
        let arguments = ["--exact", "server::middleware::tests::panics_in_its_own_process", "--ignored", "--nocapture"];
        let output = Command::new(env::current_exe().unwrap()).args(arguments).env_remove("RUST_BACKTRACE").output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{stdout}{stderr}");
        let lines: Vec<Value> = stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        for (path, operation, cause) in [("/v1/me", "readMe", "in the handler"), ("/v1/roles", "listRoles", "in the hasher")] {
            let id = stdout.lines().find_map(|line| line.strip_prefix(path)).unwrap().trim();
            let about: Vec<_> = lines.iter().filter(|line| line["request_id"] == id).collect();
            assert_eq!(about.len(), 2, "{stderr}");
            assert_eq!((about[0]["message"].as_str(), about[0]["cause"].as_str()), (Some("panicked"), Some(cause)));
            assert!(about[0]["location"].as_str().unwrap().starts_with("src/server/middleware.rs:"), "{}", about[0]);
            assert_eq!((about[1]["message"].as_str(), about[1]["status"].as_u64()), (Some("request"), Some(500)));
            assert!(about.iter().all(|line| line["operation"] == operation), "{stderr}");
        }
    }

    #[tokio::test]
    #[ignore = "a_panic_is_logged_once_with_its_request_and_its_location runs it"]
    async fn panics_in_its_own_process() {
        log::init(LogFormat::Json).unwrap();
        log::start_tracing("info").unwrap();
        let directory = directory::temporary();
        let settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
        let app = App::open(settings, Arc::new(SystemClock)).await.unwrap();
        let handler_app = app.clone();
        let routes = make(move |request: Request| {
            let app = handler_app.clone();
            async move {
                assert!(request.uri().path() != "/v1/me", "in the handler");
                let result = app.passwords.pool.run::<(), _>(|_| async { panic!("in the hasher") }).await;
                result.map_err(|error| poem::Error::from(Problem::from(error)))
            }
        });
        let service = Middleware::new(routes.map_to_response(), app);
        for path in ["/v1/me", "/v1/roles"] {
            let response = service.get_response(Request::builder().uri_str(path).finish()).await;
            println!("{path} {}", response.header(REQUEST_ID).unwrap());
        }
        log::flush();
    }
}

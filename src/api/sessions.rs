//! Sessions: log-in, refresh, and log-out without an access token.

use poem::{Request, web::Data};
use poem_openapi::{Enum, Object, OpenApi};
use zeroize::Zeroizing;

use super::{
    Tag,
    factors::FactorProof,
    http::{
        body::{Body, OptionalBody},
        codes::operation_codes,
        cookie,
        reply::{Issued, Json, NoContent, Reply, WithCookies},
    },
    objects::Tokens,
};
use crate::{
    app::App,
    config::Settings,
    domain::{
        authentication,
        browsers::Browser,
        refresh::{self, IssuedTokens},
        sessions::{self, LogIn as Begun},
        source::Source,
    },
    error::{Error, Result},
    values::{challenge::Challenge, identifier::Identifier, password::Password},
};

operation_codes! {
    /// `logIn`.
    LogIn: InvalidCredentials SecondFactorRequired AccountDisabled CsrfRejected ValidationFailed TooManyRequests Overloaded;
    /// `completeLogIn`.
    CompleteLogIn: WrongFactor InvalidChallenge AccountDisabled CsrfRejected ValidationFailed TooManyRequests;
    /// `logOut`.
    LogOut: CsrfRejected ValidationFailed;
    /// `refreshSession`.
    RefreshSession: InvalidRefreshToken CsrfRejected ValidationFailed TooManyRequests;
}

/// The request of a log-in.
#[derive(Object)]
#[oai(write_only_all)]
struct Credentials {
    /// The e-mail address or the username.
    identifier: Identifier,
    /// The password.
    password: Password,
    /// How the client receives the refresh token and sends it back.
    transport: Option<Transport>,
}

/// The completion of a log-in.
#[derive(Object)]
#[oai(write_only_all)]
struct LogInCompletion {
    /// The challenge from the response to `logIn`.
    challenge: Challenge,
    /// The second factor.
    factor: FactorProof,
    /// How the client receives the refresh token and sends it back.
    transport: Option<Transport>,
}

/// How the client receives the refresh token and sends it back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub enum Transport {
    /// In the body: the client stores it.
    #[default]
    Body,
    /// In a cookie: a browser stores it, sends it to this service only, and lets no script read it.
    Cookie,
}

/// The refresh token of a session.
#[derive(Object)]
#[oai(write_only_all)]
struct Holding {
    /// The latest refresh token. Leave it out if the cookie holds it.
    #[oai(validator(min_length = 1, max_length = 8192))]
    refresh_token: Option<String>,
}

impl Holding {
    fn token(body: Option<Self>) -> Option<Zeroizing<String>> {
        body.and_then(|body| body.refresh_token).map(Zeroizing::new)
    }
}

/// Returns the response that carries the issued tokens, with the refresh cookie if the transport is `cookie`.
fn hand_out<R>(
    settings: &Settings,
    issued: IssuedTokens,
    transport: Transport,
    reply: fn(Tokens) -> R,
) -> Result<WithCookies<R>> {
    let IssuedTokens { access, refresh_token } = issued;
    let (refresh_token, cookies) = match transport {
        Transport::Body => (Some(refresh_token.to_string()), Vec::new()),
        Transport::Cookie => (None, vec![cookie::holding(settings, &refresh_token, access.refresh_expires_in)?]),
    };
    let tokens = Tokens { refresh_token, ..access.into() };
    Ok(WithCookies(reply(tokens), cookies))
}

/// Returns the browser of a log-in whose refresh token a cookie will hold.
pub(super) fn browser(request: &Request, settings: &Settings, transport: Transport) -> Result<Option<Browser>> {
    if transport == Transport::Body {
        return Ok(None);
    }
    cookie::must_be_ours(request, settings)?;
    Ok(Some(cookie::browser(request, settings)))
}

/// Returns the response that begins a session.
pub(super) fn begin(settings: &Settings, begun: Begun, transport: Transport) -> Result<WithCookies<Issued<Tokens>>> {
    let mut reply = hand_out(settings, begun.issued, transport, Issued)?;
    if let Some(browser) = begun.browser {
        reply.1.push(cookie::remembering(settings, &browser)?);
    }
    Ok(reply)
}

/// Returns the one refresh token of a request, and how the client sent it.
fn presented(request: &Request, settings: &Settings, body: Option<Holding>) -> Result<(Zeroizing<String>, Transport)> {
    match (Holding::token(body), cookie::presented(request, settings)?) {
        (Some(_), Some(_)) => Err(Error::AmbiguousRefreshToken),
        (Some(token), None) => Ok((token, Transport::Body)),
        (None, Some(token)) => Ok((token, Transport::Cookie)),
        (None, None) => Err(Error::InvalidRefreshToken),
    }
}

/// The operations on sessions.
pub struct SessionsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Sessions")]
impl SessionsApi {
    /// Log in.
    ///
    /// Starts a session. The response is the same for an unknown account as for a wrong password, and takes the same time. The
    /// owner of an account with a second factor gets 401 with the code `second_factor_required` and a challenge, which
    /// `completeLogIn` takes; there is no session before that. The owner receives a mail if the account has not been logged in to
    /// with this browser before, or, if the client stores the refresh token itself, from this network.
    #[oai(path = "/sessions", method = "post", operation_id = "logIn")]
    async fn log_in(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        request: &Request,
        body: Body<Credentials>,
    ) -> Reply<WithCookies<Issued<Tokens>>, LogIn> {
        let Credentials { identifier, password, transport } = body.0;
        let transport = transport.unwrap_or_default();
        let browser = browser(request, &app.settings, transport)?;
        let begun = sessions::log_in(&app, &source, &identifier, &password, browser.as_ref()).await?;
        Ok(begin(&app.settings, begun, transport)?)
    }

    /// Complete a log-in.
    ///
    /// Takes the challenge from `logIn` and a second factor, and starts the session. A challenge is valid for ten minutes, permits
    /// five wrong factors, and works once. If it is not valid any more, log in again.
    #[oai(path = "/sessions/second-factor", method = "post", operation_id = "completeLogIn")]
    async fn complete_log_in(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        request: &Request,
        body: Body<LogInCompletion>,
    ) -> Reply<WithCookies<Issued<Tokens>>, CompleteLogIn> {
        let LogInCompletion { challenge, factor, transport } = body.0;
        let transport = transport.unwrap_or_default();
        let browser = browser(request, &app.settings, transport)?;
        let begun = authentication::complete_log_in(&app, &source, &challenge, &factor.into(), browser.as_ref()).await?;
        Ok(begin(&app.settings, begun, transport)?)
    }

    /// Log out.
    ///
    /// Ends the session of the refresh token in the body or in the cookie, and clears the cookie. No access token is needed, so
    /// that users whose access token has expired can log out. The response is the same if the refresh token is not valid or if
    /// there is none.
    #[oai(path = "/sessions/end", method = "post", operation_id = "logOut")]
    async fn log_out(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        request: &Request,
        body: OptionalBody<Holding>,
    ) -> Reply<WithCookies<NoContent>, LogOut> {
        let (cookies, cleared) = cookie::given_up(request, &app.settings)?;
        for token in cookies.into_iter().chain(Holding::token(body.0)) {
            sessions::log_out(&app, &source, &token).await?;
        }
        Ok(WithCookies(NoContent, cleared))
    }

    /// Refresh.
    ///
    /// Exchanges the refresh token for a new access token and a new refresh token. Send the refresh token in the body. If the
    /// cookie holds it, send no body or `{}`. If the response is lost, try again: your refresh token stays valid until the
    /// new one is used. A token that is used again after that ends the session, because two clients hold it.
    #[oai(path = "/sessions/refresh", method = "post", operation_id = "refreshSession")]
    async fn refresh(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        request: &Request,
        body: OptionalBody<Holding>,
    ) -> Reply<WithCookies<Json<Tokens>>, RefreshSession> {
        let (token, transport) = presented(request, &app.settings, body.0)?;
        let issued = refresh::exchange(&app, &source, &token).await?;
        Ok(hand_out(&app.settings, issued, transport, Json)?)
    }
}

//! Sessions: log-in, refresh, and log-out without an access token.

use poem::{Request, web::Data};
use poem_openapi::{Enum, Object, OpenApi};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Tag,
    http::{
        body::{Body, OptionalBody},
        codes::operation_codes,
        cookie,
        reply::{Issued, Json, NoContent, Reply, WithCookie},
    },
};
use crate::{
    app::App,
    config::Settings,
    domain::{
        refresh::{self, IssuedTokens},
        sessions,
        source::Source,
    },
    error::{Error, Result},
    values::{identifier::Identifier, password::Password},
};

operation_codes! {
    /// `logIn`.
    LogIn: InvalidCredentials AccountDisabled CsrfRejected ValidationFailed TooManyRequests Overloaded;
    /// `logOut`.
    LogOut: CsrfRejected ValidationFailed;
    /// `refreshSession`.
    RefreshSession: InvalidRefreshToken CsrfRejected ValidationFailed TooManyRequests;
}

/// Who wants to log in, and the proof.
#[derive(Object)]
#[oai(write_only_all)]
struct Credentials {
    /// The e-mail address or the username.
    identifier: Identifier,
    /// The password.
    password: Password,
    /// How the refresh token travels.
    transport: Option<Transport>,
}

/// How the refresh token travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum Transport {
    /// In bodies: the client keeps it.
    #[default]
    Body,
    /// In a cookie that no script can read, to this service alone: a browser keeps it.
    Cookie,
}

/// The refresh token of a session.
#[derive(Object)]
#[oai(write_only_all)]
struct Holding {
    /// The one handed out last. Leave it out where it is in the cookie.
    #[oai(validator(min_length = 1, max_length = 8192))]
    refresh_token: Option<String>,
}

impl Holding {
    fn token(body: Option<Self>) -> Option<Zeroizing<String>> {
        body.and_then(|it| it.refresh_token).map(Zeroizing::new)
    }
}

/// What a session hands out.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct Tokens {
    /// Send it as `Authorization: Bearer …`.
    #[oai(validator(max_length = 8192))]
    access_token: String,
    /// How to send it.
    token_type: TokenType,
    /// How long the access token is good for, in seconds.
    #[oai(validator(minimum(value = "1"), maximum(value = "3600")))]
    expires_in: i64,
    /// Exchange it with `refreshSession`, once, for the next access token. Absent where it travels in a cookie.
    #[oai(validator(max_length = 128))]
    refresh_token: Option<String>,
    /// How long the session lives unless it is used again, in seconds.
    #[oai(validator(minimum(value = "0"), maximum(value = "315360000")))]
    refresh_expires_in: i64,
    /// Names the session.
    session_id: Uuid,
}

/// The one kind of access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
enum TokenType {
    /// RFC 6750.
    Bearer,
}

/// The answer to whoever was granted tokens, and the cookie that it needs.
fn hand_out<R>(settings: &Settings, issued: IssuedTokens, transport: Transport, reply: fn(Tokens) -> R) -> Result<WithCookie<R>> {
    let IssuedTokens { session, access, refresh_token, refresh_expires_in } = issued;
    let (refresh_token, cookie) = match transport {
        Transport::Body => (Some(refresh_token.to_string()), None),
        Transport::Cookie => (None, Some(cookie::holding(settings, &refresh_token, refresh_expires_in)?)),
    };
    let tokens = Tokens {
        access_token: access.token,
        token_type: TokenType::Bearer,
        expires_in: access.expires_in,
        refresh_token,
        refresh_expires_in,
        session_id: session.into(),
    };
    Ok(WithCookie(reply(tokens), cookie))
}

/// The one refresh token of a request, and how it came.
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
    /// Begins a session. An unknown account and a wrong password are answered alike, and take as long.
    #[oai(path = "/sessions", method = "post", operation_id = "logIn")]
    async fn log_in(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        request: &Request,
        body: Body<Credentials>,
    ) -> Reply<WithCookie<Issued<Tokens>>, LogIn> {
        let Credentials { identifier, password, transport } = body.0;
        let transport = transport.unwrap_or_default();
        if transport == Transport::Cookie {
            cookie::must_be_ours(request, &app.settings)?;
        }
        let issued = sessions::log_in(&app, &source, &identifier, &password).await?;
        Ok(hand_out(&app.settings, issued, transport, Issued)?)
    }

    /// Log out.
    ///
    /// Ends the session of the refresh token in the body or in the cookie, and clears the cookie. It needs no access token,
    /// so that one which has expired keeps nobody signed in. The answer is the same whatever the token is: also where it is
    /// not valid, or there is none.
    #[oai(path = "/sessions/end", method = "post", operation_id = "logOut")]
    async fn log_out(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        request: &Request,
        body: OptionalBody<Holding>,
    ) -> Reply<WithCookie<NoContent>, LogOut> {
        let (cookies, cleared) = cookie::given_up(request, &app.settings)?;
        for token in cookies.into_iter().chain(Holding::token(body.0)) {
            sessions::log_out(&app, &source, &token).await?;
        }
        Ok(WithCookie(NoContent, cleared))
    }

    /// Refresh.
    ///
    /// Exchanges the refresh token for a new access token and the next refresh token. Send it in the body, or send no body
    /// (or `{}`) where it is in the cookie. Try again when the answer is lost: the token that you have stays good until the next one is
    /// used. Whoever uses a spent one ends the session, for then two hold it.
    #[oai(path = "/sessions/refresh", method = "post", operation_id = "refreshSession")]
    async fn refresh(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        request: &Request,
        body: OptionalBody<Holding>,
    ) -> Reply<WithCookie<Json<Tokens>>, RefreshSession> {
        let (token, transport) = presented(request, &app.settings, body.0)?;
        let issued = refresh::exchange(&app, &source, &token).await?;
        Ok(hand_out(&app.settings, issued, transport, Json)?)
    }
}

//! Access tokens: the claims of the caller's own token, and the introspection of any token.

use chrono::DateTime;
use poem::web::Data;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use serde_with::skip_serializing_none;
use uuid::Uuid;

use super::{
    Tag,
    guard::{Allowed, Enrolling},
    http::{
        codes::operation_codes,
        form::Form,
        reply::{Json, Reply},
        words::Time,
    },
};
use crate::{
    app::App,
    domain::{caller::Caller, tokens},
    values::{authentication::Acr, permission::IntrospectTokens},
};

operation_codes! {
    /// `readToken`.
    ReadToken:;
    /// `introspectToken`.
    IntrospectToken:;
}

/// The claims of the request's access token, and the permissions that its roles grant at this moment.
#[derive(Debug, Object, Serialize)]
struct Token {
    /// The user's id.
    subject: Uuid,
    /// The session's id.
    session_id: Uuid,
    /// The application's id.
    #[oai(validator(max_length = 64))]
    client_id: String,
    /// The names of the roles.
    #[oai(validator(max_items = 1000, max_length = 32))]
    roles: Vec<String>,
    /// The permissions that the roles grant, sorted.
    #[oai(validator(max_items = 260_000, max_length = 64))]
    permissions: Vec<String>,
    /// When the token was issued.
    issued_at: Time,
    /// When the token expires.
    expires_at: Time,
    /// When the user was last authenticated in this session. A refresh does not change this, `acr` and `amr`.
    auth_time: Time,
    /// The level of the authentication: one factor (`1`) or two (`2`).
    acr: Acr,
    /// The methods of the authentication (RFC 8176): a password (`pwd`), a one-time code (`otp`), a passkey (`pop`) that has
    /// verified its user (`user`), and more than one factor (`mfa`).
    #[oai(validator(max_items = 5, max_length = 4))]
    amr: Vec<String>,
}

/// The token to introspect.
#[derive(Object)]
#[oai(write_only_all)]
struct IntrospectionRequest {
    /// The access token. Any other text, also a refresh token, is not active.
    // The pattern allows the character NUL, because any text can be introspected.
    #[oai(validator(min_length = 1, max_length = 8192, pattern = r"^[\s\S]+$"))]
    token: String,
}

/// The claims of an access token if it is valid at this moment. Otherwise only `active` is present (RFC 7662 section 2.2).
#[skip_serializing_none]
#[derive(Debug, Default, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct Introspection {
    /// Whether guarded operations accept the token at this moment.
    active: bool,
    /// The issuer: this service.
    #[oai(validator(max_length = 255))]
    iss: Option<String>,
    /// The user's id.
    sub: Option<Uuid>,
    /// The audience.
    #[oai(validator(max_length = 255))]
    aud: Option<String>,
    /// The application's id.
    #[oai(validator(max_length = 64))]
    client_id: Option<String>,
    /// When the token expires, in seconds since 1970.
    #[oai(validator(minimum(value = "0"), maximum(value = "253402300799")))]
    exp: Option<i64>,
    /// When the token was issued, in seconds since 1970.
    #[oai(validator(minimum(value = "0"), maximum(value = "253402300799")))]
    iat: Option<i64>,
    /// The token's id.
    jti: Option<Uuid>,
    /// Always `Bearer`.
    #[oai(validator(max_length = 8))]
    token_type: Option<String>,
    /// The permissions that its roles grant at this moment, sorted and separated by spaces.
    #[oai(validator(max_length = 16_900_000))]
    scope: Option<String>,
    /// The names of the roles.
    #[oai(validator(max_items = 1000, max_length = 32))]
    roles: Option<Vec<String>>,
}

impl Introspection {
    fn of(caller: &Caller, audience: &str) -> Self {
        let claims = caller.claims();
        Self {
            active: true,
            iss: Some(claims.iss.clone()),
            sub: Some(claims.sub.into()),
            aud: Some(audience.to_owned()),
            client_id: Some(claims.client_id.clone()),
            exp: Some(claims.exp),
            iat: Some(claims.iat),
            jti: Some(claims.jti),
            token_type: Some("Bearer".into()),
            scope: Some(caller.permissions().join(" ")),
            roles: Some(claims.roles.iter().map(ToString::to_string).collect()),
        }
    }
}

/// The operations on access tokens.
pub struct TokensApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Tokens")]
impl TokensApi {
    /// See my access token.
    #[oai(path = "/token", method = "get", operation_id = "readToken")]
    async fn read(&self, caller: Enrolling) -> Reply<Json<Token>, ReadToken> {
        let claims = caller.claims();
        Ok(Json(Token {
            subject: claims.sub.into(),
            session_id: claims.sid.into(),
            client_id: claims.client_id.clone(),
            roles: claims.roles.iter().map(ToString::to_string).collect(),
            permissions: caller.permissions().into_iter().map(String::from).collect(),
            issued_at: at(claims.iat),
            expires_at: at(claims.exp),
            auth_time: at(claims.auth_time),
            acr: claims.acr,
            amr: claims.amr.names().map(str::to_owned).collect(),
        }))
    }

    /// Introspect an access token.
    ///
    /// For services that must see a revocation at once, which offline verification does not show (RFC 7662). Other parameters
    /// are ignored.
    #[oai(path = "/tokens/introspect", method = "post", operation_id = "introspectToken")]
    async fn introspect(
        &self,
        _caller: Allowed<IntrospectTokens>,
        app: Data<&App>,
        form: Form<IntrospectionRequest>,
    ) -> Reply<Json<Introspection>, IntrospectToken> {
        let found = tokens::introspect(&app, &form.0.token).await?;
        let audience = &app.settings.tokens.audience;
        Ok(Json(found.map_or_else(Introspection::default, |caller| Introspection::of(&caller, audience))))
    }
}

/// Converts seconds since 1970 to a time.
fn at(seconds: i64) -> Time {
    Time(DateTime::from_timestamp(seconds, 0).unwrap_or_default())
}

//! Passkeys: the options for the browser, the log-in by passkey, and passkeys as factors of one's own account.

use poem::{Request, web::Data};
use poem_openapi::{
    Object, OpenApi,
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseFromJSON, ParseResult, ToJSON},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Tag,
    factors::EnrolledFactor,
    guard::{Enrolling, Fresh},
    http::{
        body::Body,
        codes::operation_codes,
        reply::{Issued, Json, Reply, WithCookies},
        words::typed,
    },
    objects::Tokens,
    sessions::{self, Transport},
};
use crate::{
    app::App,
    domain::{authentication, factors, passkey_log_in, passkeys, source::Source},
    values::{ceremony::CeremonyText, challenge::Challenge, name::Name, passkey_credential::PasskeyCredential},
};

operation_codes! {
    /// `startPasskeyLogIn`.
    StartPasskeyLogIn: InvalidChallenge PasskeysUnavailable ValidationFailed TooManyRequests;
    /// `logInByPasskey`.
    LogInByPasskey: UnknownPasskey InvalidPasskey InvalidChallenge AccountDisabled CsrfRejected ValidationFailed TooManyRequests;
    /// `startPasskeyProof`.
    StartPasskeyProof: PasskeysUnavailable;
    /// `startPasskey`.
    StartPasskey: PasskeysUnavailable EmailUnverified TooManyFactors;
    /// `addPasskey`.
    AddPasskey: PasskeysUnavailable EmailUnverified TooManyFactors ValidationFailed TooManyRequests;
}

/// What a page needs to make or to use a passkey.
#[derive(Object, Serialize)]
struct PasskeyCeremony {
    /// The ceremony, to be sent back with the credential. It expires after ten minutes and works once.
    #[oai(validator(max_length = 2048))]
    ceremony: String,
    /// The options for the browser, as JSON: what `PublicKeyCredential.parseRequestOptionsFromJSON()` takes, or
    /// `parseCreationOptionsFromJSON()` where a passkey is made.
    options: PasskeyOptions,
}

/// The options of a ceremony, as WebAuthn Level 3 defines them.
#[derive(Serialize)]
struct PasskeyOptions(Value);

typed!(
    PasskeyOptions,
    MetaSchema {
        additional_properties: Some(Box::new(MetaSchemaRef::Inline(Box::new(MetaSchema::ANY)))),
        ..MetaSchema::new("object")
    }
);

impl ToJSON for PasskeyOptions {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.clone())
    }
}

impl ParseFromJSON for PasskeyOptions {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Ok(Self(value.unwrap_or_default()))
    }
}

impl From<passkeys::Started> for PasskeyCeremony {
    fn from(started: passkeys::Started) -> Self {
        Self { ceremony: started.ceremony.to_string(), options: PasskeyOptions(started.options) }
    }
}

/// The request for the options of a log-in.
#[derive(Object)]
#[oai(write_only_all)]
struct PasskeyLogInStart {
    /// The challenge from a log-in, a reset or a revert that needs a second factor. Without it, the passkey names the account.
    challenge: Option<Challenge>,
}

/// A log-in by passkey.
#[derive(Object)]
#[oai(write_only_all)]
struct PasskeyLogIn {
    /// The ceremony from `startPasskeyLogIn`.
    ceremony: CeremonyText,
    /// What the browser returned.
    credential: PasskeyCredential,
    /// How the client receives the refresh token and sends it back.
    transport: Option<Transport>,
}

/// A passkey to be added to the account.
#[derive(Object)]
#[oai(write_only_all)]
struct NewPasskey {
    /// The ceremony from `startPasskey`.
    ceremony: CeremonyText,
    /// What the browser returned.
    credential: PasskeyCredential,
    /// A name by which the user recognises the passkey.
    name: Option<Name>,
}

/// The operations on passkeys.
pub struct PasskeysApi;

#[OpenApi(prefix_path = "/v1")]
impl PasskeysApi {
    /// Start to use a passkey.
    ///
    /// Returns the options with which a browser asks for a passkey, and the ceremony for `logInByPasskey`. A page that suggests
    /// passkeys in a field passes `mediation: "conditional"` to the browser. With a challenge, the passkey is the second factor of
    /// the operation that returned the challenge.
    #[oai(path = "/passkeys/options", method = "post", operation_id = "startPasskeyLogIn", tag = "Tag::Sessions")]
    async fn start_log_in(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        body: Body<PasskeyLogInStart>,
    ) -> Reply<Json<PasskeyCeremony>, StartPasskeyLogIn> {
        let started = passkey_log_in::start(&app, &source, body.0.challenge.as_ref()).await?;
        Ok(Json(started.into()))
    }

    /// Log in with a passkey.
    ///
    /// Starts a session without a name and a password. The passkey counts for both factors, because its device verifies its user.
    /// Only after `unknown_passkey` may a page tell the browser to forget the passkey (`signalUnknownCredential`).
    #[oai(path = "/sessions/passkey", method = "post", operation_id = "logInByPasskey", tag = "Tag::Sessions")]
    async fn log_in(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        request: &Request,
        body: Body<PasskeyLogIn>,
    ) -> Reply<WithCookies<Issued<Tokens>>, LogInByPasskey> {
        let PasskeyLogIn { ceremony, credential, transport } = body.0;
        let transport = transport.unwrap_or_default();
        let browser = sessions::browser(request, &app.settings, transport)?;
        let log_in = passkey_log_in::log_in(&app, &source, &ceremony, &credential, browser.as_ref()).await?;
        Ok(sessions::begin(&app.settings, log_in, transport)?)
    }

    /// Start to prove your presence with a passkey.
    ///
    /// Returns the options with which a browser asks for one of your passkeys, and the ceremony for `authenticateAgain`.
    #[oai(path = "/me/authentication/options", method = "post", operation_id = "startPasskeyProof", tag = "Tag::Me")]
    async fn start_proof(&self, caller: Enrolling, app: Data<&App>) -> Reply<Json<PasskeyCeremony>, StartPasskeyProof> {
        Ok(Json(authentication::start_passkey(&app, &caller).await?.into()))
    }

    /// Start to add a passkey.
    ///
    /// Returns the options with which a browser makes a passkey, and the ceremony for `addPasskey`.
    #[oai(path = "/me/factors/passkey/options", method = "post", operation_id = "startPasskey", tag = "Tag::Factors")]
    async fn start(&self, caller: Fresh<Enrolling>, app: Data<&App>) -> Reply<Json<PasskeyCeremony>, StartPasskey> {
        Ok(Json(factors::passkeys::start(&app, &caller).await?.into()))
    }

    /// Add a passkey.
    ///
    /// Adds the passkey that the browser has made. It works for log-ins from now on. Returns the recovery codes if it is the first
    /// factor of the account; they are shown only now.
    #[oai(path = "/me/factors/passkey", method = "post", operation_id = "addPasskey", tag = "Tag::Factors")]
    async fn add(
        &self,
        caller: Fresh<Enrolling>,
        app: Data<&App>,
        body: Body<NewPasskey>,
    ) -> Reply<Issued<EnrolledFactor>, AddPasskey> {
        let NewPasskey { ceremony, credential, name } = body.0;
        Ok(Issued(factors::passkeys::add(&app, &caller, &ceremony, credential, name).await?.into()))
    }
}

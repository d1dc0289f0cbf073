//! Second factors: the caller's own. The objects are those of every operation that takes or lists factors.

use poem::{Request, web::Data};
use poem_openapi::{Enum, Object, OpenApi};
use serde::Serialize;
use serde_with::skip_serializing_none;
use uuid::Uuid;

use super::{
    Tag,
    guard::{Enrolling, Fresh},
    http::{
        body::{Body, OptionalBody},
        codes::operation_codes,
        cookie,
        params::Path,
        reply::{Issued, Json, NoContent, Reply, WithCookies},
        union::union,
        words::Time,
    },
    objects::Tokens,
};
use crate::{
    app::App,
    domain::factors::{self, FactorProof as Proof, enrolment, recovery_codes, totp},
    entity::factor,
    values::{
        ceremony::CeremonyText, factor_kind, ids::FactorId, name::Name, passkey_credential::PasskeyCredential,
        recovery_code::RecoveryCode, totp_code::TotpCode,
    },
};

operation_codes! {
    /// `listMyFactors`.
    ListMyFactors:;
    /// `renameFactor`.
    RenameFactor: NotFound ValidationFailed;
    /// `removeFactor`.
    RemoveFactor: NotFound FactorRequired;
    /// `startTotp`.
    StartTotp: TooManyFactors EmailUnverified ValidationFailed;
    /// `confirmTotp`.
    ConfirmTotp: NotFound TooManyFactors EmailUnverified ValidationFailed TooManyRequests;
    /// `replaceRecoveryCodes`.
    ReplaceRecoveryCodes: FactorRequired;
}

/// The kind of a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum FactorKind {
    /// An authenticator app, which shows another code every 30 seconds (RFC 6238).
    Totp,
    /// A passkey.
    Passkey,
}

impl From<factor_kind::FactorKind> for FactorKind {
    fn from(kind: factor_kind::FactorKind) -> Self {
        match kind {
            factor_kind::FactorKind::Totp => Self::Totp,
            factor_kind::FactorKind::Passkey => Self::Passkey,
        }
    }
}

/// A second factor of an account.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
pub struct Factor {
    /// The factor's id.
    pub id: Uuid,
    /// The kind.
    pub kind: FactorKind,
    /// The name that the owner has given it.
    #[oai(validator(max_length = 100))]
    pub name: String,
    /// When the factor was added.
    pub created_at: Time,
    /// When the factor was last used, after it was added.
    pub last_used_at: Option<Time>,
    /// Whether the passkey is copied to other devices. Only a passkey has this member.
    pub backed_up: Option<bool>,
}

impl From<factor::Model> for Factor {
    fn from(row: factor::Model) -> Self {
        Self {
            id: row.id.into(),
            kind: row.kind.into(),
            name: row.name,
            created_at: Time(row.created_at),
            last_used_at: row.last_used_at.map(Time),
            backed_up: row.backed_up,
        }
    }
}

/// The second factors of an account. There is only one page.
#[derive(Debug, Object, Serialize)]
pub struct FactorPage {
    /// The factors, oldest first.
    #[oai(validator(max_items = 100))]
    pub items: Vec<Factor>,
}

impl From<Vec<factor::Model>> for FactorPage {
    fn from(rows: Vec<factor::Model>) -> Self {
        Self { items: rows.into_iter().map(Factor::from).collect() }
    }
}

/// The kind of proof: the code of an authenticator app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum TotpKind {
    /// A code.
    Totp,
}

/// The kind of proof: a recovery code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum RecoveryCodeKind {
    /// A recovery code.
    RecoveryCode,
}

/// The code that an authenticator app shows now. Each code works once.
#[derive(Object)]
#[oai(write_only_all)]
pub struct TotpFactor {
    /// Always `totp`.
    kind: TotpKind,
    /// The six digits. Spaces and hyphens between them do not count.
    code: TotpCode,
}

/// A recovery code, in place of a factor that was lost. Each code works once.
#[derive(Object)]
#[oai(write_only_all)]
pub struct RecoveryCodeFactor {
    /// Always `recovery_code`.
    kind: RecoveryCodeKind,
    /// The code. Spaces, hyphens and letter case do not count.
    code: RecoveryCode,
}

/// The kind of proof: a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum PasskeyKind {
    /// A passkey.
    Passkey,
}

/// What a passkey has signed.
#[derive(Object)]
#[oai(write_only_all)]
pub struct PasskeyFactor {
    /// Always `passkey`.
    kind: PasskeyKind,
    /// The ceremony from the response with the options.
    ceremony: CeremonyText,
    /// What the browser returned.
    credential: PasskeyCredential,
}

union! {
    /// What proves a second factor: the code of an authenticator app, a passkey or a recovery code.
    pub enum FactorProof {
        "totp" TotpFactor,
        "passkey" PasskeyFactor,
        "recovery_code" RecoveryCodeFactor,
    }
}

impl From<TotpFactor> for Proof {
    fn from(TotpFactor { kind: TotpKind::Totp, code }: TotpFactor) -> Self {
        Self::Totp(code)
    }
}

impl From<PasskeyFactor> for Proof {
    fn from(PasskeyFactor { kind: PasskeyKind::Passkey, ceremony, credential }: PasskeyFactor) -> Self {
        Self::Passkey { ceremony, credential }
    }
}

impl From<RecoveryCodeFactor> for Proof {
    fn from(RecoveryCodeFactor { kind: RecoveryCodeKind::RecoveryCode, code }: RecoveryCodeFactor) -> Self {
        Self::RecoveryCode(code)
    }
}

impl From<FactorProof> for Proof {
    fn from(proof: FactorProof) -> Self {
        match proof {
            FactorProof::TotpFactor(factor) => factor.into(),
            FactorProof::PasskeyFactor(factor) => factor.into(),
            FactorProof::RecoveryCodeFactor(factor) => factor.into(),
        }
    }
}

/// The authenticator app to enrol.
#[derive(Object)]
#[oai(write_only_all)]
struct NewTotp {
    /// A name by which the user recognises the app.
    name: Option<Name>,
}

/// An authenticator app that waits to be confirmed. This is the only response that contains its secret.
#[derive(Object, Serialize)]
struct TotpEnrolment {
    /// The id that the factor will have.
    id: Uuid,
    /// The secret in base32, for users who type it into the app.
    #[oai(validator(max_length = 64))]
    secret: String,
    /// The URI that the app reads from the picture. On a phone, it can open the app.
    #[oai(validator(max_length = 2000))]
    uri: String,
    /// The picture of the URI.
    qr: QrCode,
    /// How long the app may wait to be confirmed, in seconds.
    #[oai(validator(minimum(value = "1"), maximum(value = "600")))]
    expires_in: i64,
}

/// A QR code, to be drawn as `<svg viewBox="0 0 SIZE SIZE"><path d="PATH"/></svg>`, dark on light.
#[derive(Object, Serialize)]
struct QrCode {
    /// The width and the height, with the light border that readers need.
    #[oai(validator(minimum(value = "29"), maximum(value = "185")))]
    size: i32,
    /// The dark squares, as the path of an SVG.
    #[oai(validator(max_length = 200_000))]
    path: String,
}

impl From<totp::Started> for TotpEnrolment {
    fn from(totp::Started { id, secret, uri, qr, expires_in }: totp::Started) -> Self {
        let qr = QrCode { size: qr.size, path: qr.path.to_string() };
        Self { id: id.into(), secret: secret.to_string(), uri: uri.to_string(), qr, expires_in }
    }
}

/// The confirmation of an authenticator app.
#[derive(Object)]
#[oai(write_only_all)]
struct TotpConfirmation {
    /// The code that the app shows now. Spaces and hyphens between the digits do not count.
    code: TotpCode,
}

/// A factor that was added.
#[skip_serializing_none]
#[derive(Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
pub struct EnrolledFactor {
    /// The factor.
    factor: Factor,
    /// Tokens of the same session, whose user has now proven the new factor. The access token replaces the one of the request,
    /// which is stale.
    tokens: Tokens,
    /// Ten recovery codes, if this is the first factor. This is the only response that contains them.
    #[oai(validator(max_items = 10, max_length = 19))]
    recovery_codes: Option<Vec<String>>,
}

impl From<enrolment::Enrolled> for EnrolledFactor {
    fn from(enrolment::Enrolled { factor, access, recovery_codes }: enrolment::Enrolled) -> Self {
        let codes = |codes: Vec<RecoveryCode>| codes.iter().map(RecoveryCode::expose).collect();
        Self { factor: factor.into(), tokens: access.into(), recovery_codes: recovery_codes.map(codes) }
    }
}

/// The new name of a factor.
#[derive(Object)]
#[oai(write_only_all)]
struct FactorChange {
    /// The name.
    name: Name,
}

/// Recovery codes. This is the only response that contains them.
#[derive(Object, Serialize)]
struct RecoveryCodes {
    /// Ten codes, each of which works once.
    #[oai(validator(max_items = 10, max_length = 19))]
    codes: Vec<String>,
}

/// The operations on the caller's own factors.
pub struct FactorsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Factors")]
impl FactorsApi {
    /// List my second factors.
    #[oai(path = "/me/factors", method = "get", operation_id = "listMyFactors")]
    async fn list(&self, caller: Enrolling, app: Data<&App>) -> Reply<Json<FactorPage>, ListMyFactors> {
        Ok(Json(factors::list(&app, &caller).await?.into()))
    }

    /// Rename one of my second factors.
    #[oai(path = "/me/factors/:id", method = "patch", operation_id = "renameFactor")]
    async fn rename(
        &self,
        caller: Enrolling,
        app: Data<&App>,
        id: Path<FactorId>,
        body: Body<FactorChange>,
    ) -> Reply<Json<Factor>, RenameFactor> {
        Ok(Json(factors::rename(&app, &caller, id.0, &body.0.name).await?.into()))
    }

    /// Remove one of my second factors.
    ///
    /// Ends the sessions that were begun or raised with it, which may include the session of this request. The recovery codes go
    /// with the last factor. A factor that the policy of the server demands cannot be removed.
    #[oai(path = "/me/factors/:id", method = "delete", operation_id = "removeFactor")]
    async fn remove(
        &self,
        caller: Fresh<Enrolling>,
        app: Data<&App>,
        request: &Request,
        id: Path<FactorId>,
    ) -> Reply<WithCookies<NoContent>, RemoveFactor> {
        let ended = factors::remove(&app, &caller, id.0).await?;
        Ok(WithCookies(NoContent, cookie::cleared(request, &app.settings, &ended)))
    }

    /// Begin to add an authenticator app.
    ///
    /// Returns a secret, as text, as a URI and as a QR code. The factors of the account stay as they are until `confirmTotp` proves
    /// within ten minutes that the app has the secret. Where mail can be sent, the address of the account must be verified.
    #[oai(path = "/me/factors/totp", method = "post", operation_id = "startTotp")]
    async fn start_totp(
        &self,
        caller: Fresh<Enrolling>,
        app: Data<&App>,
        body: OptionalBody<NewTotp>,
    ) -> Reply<Issued<TotpEnrolment>, StartTotp> {
        Ok(Issued(totp::start(&app, &caller, body.0.and_then(|body| body.name)).await?.into()))
    }

    /// Add an authenticator app.
    ///
    /// Takes the code that the app shows now. The session of the request counts as one with two factors from now on; all other
    /// tokens of the account become stale, and a refresh replaces them. A code that is wrong is a fault of `/code` with the code
    /// `wrong_code`.
    #[oai(path = "/me/factors/totp/:id/confirm", method = "post", operation_id = "confirmTotp")]
    async fn confirm_totp(
        &self,
        caller: Enrolling,
        app: Data<&App>,
        id: Path<FactorId>,
        body: Body<TotpConfirmation>,
    ) -> Reply<Json<EnrolledFactor>, ConfirmTotp> {
        Ok(Json(totp::confirm(&app, &caller, id.0, body.0.code).await?.into()))
    }

    /// Replace my recovery codes.
    ///
    /// Returns ten new codes. Earlier ones no longer work.
    #[oai(path = "/me/recovery-codes", method = "post", operation_id = "replaceRecoveryCodes")]
    async fn replace_recovery_codes(
        &self,
        caller: Fresh<Enrolling>,
        app: Data<&App>,
    ) -> Reply<Issued<RecoveryCodes>, ReplaceRecoveryCodes> {
        let codes = recovery_codes::replace(&app, &caller).await?;
        Ok(Issued(RecoveryCodes { codes: codes.iter().map(RecoveryCode::expose).collect() }))
    }
}

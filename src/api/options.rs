//! Options: the settings that a page needs before anybody is logged in.

use poem::web::Data;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use serde_with::skip_serializing_none;

use super::{
    Tag,
    http::{
        codes::operation_codes,
        reply::{Json, Reply},
    },
    objects::Language,
};
use crate::{
    app::App,
    values::{language, registration_mode::RegistrationMode},
};

operation_codes! {
    /// `readOptions`.
    ReadOptions:;
}

/// What a page must know of the service.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct ServiceOptions {
    /// The name of the service: `account_pages.name`, or else the display name in `mail.from` or the host of
    /// `server.public_url`.
    #[oai(validator(max_length = 254))]
    name: String,
    /// The colour of links and buttons: `account_pages.accent`.
    #[oai(validator(max_length = 7, pattern = "^#[0-9a-f]{6}$"))]
    accent: Option<String>,
    /// Who may create an account.
    registration: RegistrationMode,
    /// Whether the service can send mail. Without it, operations that need mail return 403 `mail_unavailable`.
    mail: bool,
    /// Whether passkeys can be used: `server.public_url` is set to a host that browsers reach securely.
    passkeys: bool,
    /// The minimum length of a new password, in characters.
    #[oai(validator(minimum(value = "8"), maximum(value = "128")))]
    password_min_length: u32,
    /// The languages of mails.
    #[oai(validator(max_items = 100))]
    languages: Vec<Language>,
    /// The origins to which a page of the service may send users back after they have signed in: `account_pages.return_to`.
    #[oai(validator(max_items = 100, max_length = 255))]
    return_to: Vec<String>,
}

/// The operation that reads the options.
pub struct OptionsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Service")]
impl OptionsApi {
    /// Get the options.
    ///
    /// Returns the settings that a page needs before anybody is logged in: which ways to an account to offer, and what a password
    /// needs.
    #[oai(path = "/options", method = "get", operation_id = "readOptions")]
    async fn read(&self, app: Data<&App>) -> Reply<Json<ServiceOptions>, ReadOptions> {
        let settings = &app.settings;
        Ok(Json(ServiceOptions {
            name: settings.name_on_pages(),
            accent: settings.account_pages.accent.as_ref().map(ToString::to_string),
            registration: settings.registration.mode,
            mail: app.mail.transport.can_send(),
            passkeys: app.passkeys.is_ok(),
            password_min_length: u32::try_from(settings.password.min_length).unwrap_or(u32::MAX),
            languages: language::Language::ALL.iter().copied().map(Into::into).collect(),
            return_to: settings.account_pages.return_to.iter().map(ToString::to_string).collect(),
        }))
    }
}

//! Settings: their names, defaults and reasons. They are read from the defaults, then a TOML file, then the environment.
//! Unknown settings are rejected, and no secret is ever printed.

mod accent;
mod algorithm;
mod base_path;
mod cors_origin;
pub mod database_url;
mod environment;
mod error;
mod former;
mod forwarded_header;
mod hsts;
mod link_base;
mod load;
mod log_format;
mod mail_transport;
mod master_key;
mod origin;
mod print;
mod reference;
mod same_site;
mod sections;
mod setting_value;
#[cfg(test)]
mod tests;
mod trusted_proxies;
mod validate;
mod weak_secrets;

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::values::mailbox::Mailbox;

pub use self::{
    accent::Accent,
    algorithm::Algorithm,
    base_path::BasePath,
    cors_origin::CorsOrigin,
    error::{Error, SettingError},
    forwarded_header::ForwardedHeader,
    hsts::Hsts,
    link_base::LinkBase,
    load::early_log_format,
    log_format::LogFormat,
    mail_transport::{MailTransport, SmtpTls},
    master_key::parse_master_key,
    origin::Origin,
    reference::{REFERENCE, Setting, markdown},
    sections::{
        AccountPagesSettings, AuditSettings, CookiesSettings, CorsSettings, DatabaseSettings, LogSettings, MailSettings,
        MetricsSettings, PasswordSettings, RegistrationSettings, RevocationSettings, SecondFactorSettings, ServerSettings,
        SessionsSettings, SigningSettings, SmtpSettings, ThrottleSettings, TokensSettings,
    },
};

/// All settings. [`REFERENCE`] describes each one and holds its default. Serialisation and `Debug` hide secrets.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Settings {
    /// The directory of all files that Vestibule keeps.
    #[serde(with = "setting_value")]
    pub data_dir: PathBuf,
    /// The master key, 32 bytes in base64; see [`Settings::master_key`].
    #[serde(with = "setting_value", default)]
    pub master_key: Option<SecretString>,
    /// The HTTP server.
    pub server: ServerSettings,
    /// The database.
    pub database: DatabaseSettings,
    /// The signatures of access tokens.
    pub signing: SigningSettings,
    /// The claims and the lifetime of access tokens.
    pub tokens: TokensSettings,
    /// The lifetime of sessions.
    pub sessions: SessionsSettings,
    /// How current the revocations in memory must be.
    pub revocation: RevocationSettings,
    /// The rules for passwords, and the cost of hashing them.
    pub password: PasswordSettings,
    /// Who may create an account.
    pub registration: RegistrationSettings,
    /// Who must have shown a second factor.
    pub second_factor: SecondFactorSettings,
    /// Mails.
    pub mail: MailSettings,
    /// The pages on which people manage their own account.
    pub account_pages: AccountPagesSettings,
    /// The limits of password attempts and of public operations.
    pub throttle: ThrottleSettings,
    /// The attributes of refresh cookies.
    pub cookies: CookiesSettings,
    /// The web pages of other origins that may call the API.
    pub cors: CorsSettings,
    /// The metrics endpoint.
    pub metrics: MetricsSettings,
    /// The log.
    pub log: LogSettings,
    /// The audit trail.
    pub audit: AuditSettings,
    /// Messages about settings under a former name, and about environment variables that begin with `VESTIBULE_` but were
    /// ignored.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Settings {
    /// Returns the `iss` of access tokens: `tokens.issuer`, else the public URL, else `http://` and the listening address.
    pub fn issuer(&self) -> String {
        self.configured_issuer().unwrap_or_else(|| format!("http://{}", self.server.listen))
    }

    /// Returns the `iss` of access tokens if a setting determines it.
    pub fn configured_issuer(&self) -> Option<String> {
        self.tokens.issuer.clone().or_else(|| self.server.public_url.as_ref().map(ToString::to_string))
    }

    /// Returns `database.url`, else `sqlite:` and the file `vestibule.db` in the data directory.
    pub fn database_url(&self) -> SecretString {
        self.database.url.clone().unwrap_or_else(|| database_url::of_file(&self.data_dir.join("vestibule.db")).into())
    }

    /// Returns how mails are sent: `mail.transport`, else into files while there is no public URL, else not at all, so that
    /// nobody's mail disappears into a folder.
    pub fn mail_transport(&self) -> MailTransport {
        let default = if self.server.public_url.is_none() { MailTransport::File } else { MailTransport::None };
        self.mail.transport.unwrap_or(default)
    }

    /// Returns the sender of mails: `mail.from`, else an address that cannot receive mail.
    pub fn mail_from(&self) -> Mailbox {
        let unset = || "vestibule@vestibule.invalid".parse().expect("a test parses this address");
        self.mail.from.clone().unwrap_or_else(unset)
    }

    /// Returns the beginning of the links in mails: `mail.link_base`, else the public URL, else `http://` and the listening
    /// address; the latter two with the base path.
    pub fn link_base(&self) -> LinkBase {
        let base_path = &self.server.base_path;
        let public = || Some(LinkBase::below(self.server.public_url.as_ref()?, base_path));
        let listen = || LinkBase::below(format_args!("http://{}", self.server.listen), base_path);
        self.mail.link_base.clone().or_else(public).unwrap_or_else(listen)
    }

    /// Returns the name of the service in mails: the display name in `mail.from`, else `account_pages.name`, else the host of
    /// the public URL.
    pub fn service_name(&self) -> String {
        let host = || Some(self.server.public_url.as_ref()?.as_str().split_once("://")?.1.to_owned());
        let in_mails = self.mail.from.as_ref().and_then(|from| from.name.as_ref()).map(ToString::to_string);
        let on_pages = || self.account_pages.name.as_ref().map(ToString::to_string);
        in_mails.or_else(on_pages).or_else(host).unwrap_or_else(|| "Vestibule".to_owned())
    }

    /// Returns the name of the service on pages: `account_pages.name`, else the name in mails.
    pub fn name_on_pages(&self) -> String {
        self.account_pages.name.as_ref().map_or_else(|| self.service_name(), ToString::to_string)
    }

    /// Returns the master key if one is set. Fails if the text is not a master key, which [`Settings::validate`] rules out.
    pub fn master_key(&self) -> Result<Option<Zeroizing<[u8; 32]>>, Error> {
        let Some(text) = &self.master_key else { return Ok(None) };
        match parse_master_key(text.expose_secret()) {
            Some(key) => Ok(Some(key)),
            None => Err(SettingError::new("master_key", "must be 32 bytes in base64.").into()),
        }
    }
}

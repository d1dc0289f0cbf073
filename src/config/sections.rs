//! The sections of the settings. [`REFERENCE`](super::REFERENCE) describes each setting.

use std::{net::SocketAddr, num::NonZero, path::PathBuf, thread, time::Duration};

use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{
    Accent, Algorithm, BasePath, CorsOrigin, ForwardedHeader, Hsts, LinkBase, LogFormat, MailTransport, Origin, SmtpTls,
    setting_value,
};
use crate::values::{
    language::Language, mailbox::Mailbox, name::Name, registration_mode::RegistrationMode,
    second_factor_policy::SecondFactorPolicy,
};

/// The settings under `[server]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServerSettings {
    /// The address and port to listen on.
    #[serde(with = "setting_value")]
    pub listen: SocketAddr,
    /// The origin at which callers reach this server.
    #[serde(with = "setting_value", default)]
    pub public_url: Option<Origin>,
    /// The path below which the service is served.
    #[serde(with = "setting_value")]
    pub base_path: BasePath,
    /// The networks of proxies whose forwarded headers are trusted.
    #[serde(with = "setting_value")]
    pub trusted_proxies: Vec<IpNet>,
    /// The hosts for which browsers must use TLS, if `public_url` begins with `https:`.
    #[serde(with = "setting_value")]
    pub hsts: Hsts,
    /// How long connections are still accepted after SIGTERM, 0 to 60 seconds.
    #[serde(with = "setting_value")]
    pub drain: Duration,
    /// The header in which the trusted proxies name the client's address.
    #[serde(with = "setting_value")]
    pub forwarded_header: ForwardedHeader,
}

/// The settings under `[database]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DatabaseSettings {
    /// A `sqlite:` or `postgres://` URL, which may contain a password; see [`database_url`](super::Settings::database_url).
    #[serde(with = "setting_value", default)]
    pub url: Option<SecretString>,
    /// How long `serve` and `migrate up` wait for a database that is not available yet.
    #[serde(with = "setting_value")]
    pub wait: Duration,
}

/// The settings under `[signing]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SigningSettings {
    /// The algorithm of new signing keys.
    #[serde(with = "setting_value")]
    pub algorithm: Algorithm,
    /// The shared secret of HS256, at least 32 bytes; set if and only if the algorithm is HS256.
    #[serde(with = "setting_value", default)]
    pub secret: Option<SecretString>,
}

/// The settings under `[tokens]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TokensSettings {
    /// The `iss` of access tokens; see [`issuer`](super::Settings::issuer).
    #[serde(with = "setting_value", default)]
    pub issuer: Option<String>,
    /// The `aud` of access tokens.
    #[serde(with = "setting_value")]
    pub audience: String,
    /// The lifetime of an access token, 1 second to 60 minutes.
    #[serde(with = "setting_value")]
    pub access_ttl: Duration,
}

/// The settings under `[sessions]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SessionsSettings {
    /// How long an unused session lasts.
    #[serde(with = "setting_value")]
    pub idle_ttl: Duration,
    /// How long any session lasts, at least `idle_ttl`.
    #[serde(with = "setting_value")]
    pub max_ttl: Duration,
    /// How long a refresh token that was just used returns the same successor again, 0 to 60 seconds.
    #[serde(with = "setting_value")]
    pub replay_window: Duration,
}

/// The settings under `[revocation]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RevocationSettings {
    /// How old the revocations in memory may be before guarded operations return 503, 1 to 60 seconds.
    #[serde(with = "setting_value")]
    pub max_staleness: Duration,
}

/// The settings under `[password]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PasswordSettings {
    /// The cost of new bcrypt hashes, 10 to 16.
    #[serde(with = "setting_value")]
    pub bcrypt_cost: u32,
    /// The minimum length of a new password, 8 to 128 characters.
    #[serde(with = "setting_value")]
    pub min_length: usize,
    /// The number of hashing threads, 1 to 64; see [`PasswordSettings::threads`].
    #[serde(with = "setting_value", default)]
    pub hash_threads: Option<usize>,
    /// The number of passwords that each thread hashes at a time, 1 to 5.
    #[serde(with = "setting_value")]
    pub lanes: usize,
    /// How long a password may wait to be hashed, 0 to 60 seconds.
    #[serde(with = "setting_value")]
    pub max_wait: Duration,
}

impl PasswordSettings {
    /// Returns the number of hashing threads: `hash_threads`, else one per available core and at most 64.
    pub fn threads(&self) -> usize {
        self.hash_threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get).min(64))
    }
}

/// The settings under `[registration]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RegistrationSettings {
    /// Who may create an account without an administrator.
    #[serde(with = "setting_value")]
    pub mode: RegistrationMode,
}

/// The settings under `[second_factor]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SecondFactorSettings {
    /// Who must have shown a second factor.
    #[serde(with = "setting_value")]
    pub require: SecondFactorPolicy,
}

/// The settings under `[throttle]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ThrottleSettings {
    /// Whether password attempts, registrations and refreshes are limited.
    #[serde(with = "setting_value")]
    pub enabled: bool,
}

/// The settings under `[cookies]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CookiesSettings {
    /// Whether refresh cookies are set without `Secure` and the `__Host-` prefix.
    #[serde(with = "setting_value")]
    pub insecure: bool,
}

/// The settings under `[cors]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CorsSettings {
    /// The origins whose pages may call the API.
    #[serde(with = "setting_value")]
    pub origins: Vec<CorsOrigin>,
}

impl CorsSettings {
    /// Returns whether pages with this `Origin` header may call the API.
    pub fn allows(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|allowed| allowed.matches(origin))
    }
}

/// The settings under `[mail]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MailSettings {
    /// How mails are sent; see [`mail_transport`](super::Settings::mail_transport).
    #[serde(with = "setting_value", default)]
    pub transport: Option<MailTransport>,
    /// The sender; see [`mail_from`](super::Settings::mail_from).
    #[serde(with = "setting_value", default)]
    pub from: Option<Mailbox>,
    /// Where answers go, unless they go to the sender.
    #[serde(with = "setting_value", default)]
    pub reply_to: Option<Mailbox>,
    /// The language of mails to people who have not chosen one.
    #[serde(with = "setting_value")]
    pub language: Language,
    /// The directory of templates that replace those of the program.
    #[serde(with = "setting_value", default)]
    pub templates_dir: Option<PathBuf>,
    /// The beginning of all links; see [`link_base`](super::Settings::link_base).
    #[serde(with = "setting_value", default)]
    pub link_base: Option<LinkBase>,
    /// The maximum number of mails in an hour, of all servers together.
    #[serde(with = "setting_value")]
    pub max_per_hour: u32,
    /// How long the link and the code of a password reset are valid, 1 to 60 minutes.
    #[serde(with = "setting_value")]
    pub reset_ttl: Duration,
    /// The mail server.
    pub smtp: SmtpSettings,
}

impl MailSettings {
    /// Returns a hint if servers expect another encryption on the port of the mail server.
    pub fn smtp_mismatch(&self) -> Option<String> {
        let (tls, port) = (self.smtp.tls, self.smtp.port());
        let usual = [SmtpTls::Implicit, SmtpTls::Starttls].into_iter().find(|usual| usual.default_port() == port)?;
        let hint = || format!("`mail.smtp.tls` is `{}`, but servers expect `{}` on port {port}", tls.as_str(), usual.as_str());
        (usual != tls).then(hint)
    }
}

/// The settings under `[mail.smtp]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SmtpSettings {
    /// The host name or the IP address of the server.
    #[serde(with = "setting_value", default)]
    pub host: Option<String>,
    /// The port; see [`SmtpSettings::port`].
    #[serde(with = "setting_value", default)]
    pub port: Option<u16>,
    /// The encryption of the connection.
    #[serde(with = "setting_value")]
    pub tls: SmtpTls,
    /// The name with which to authenticate.
    #[serde(with = "setting_value", default)]
    pub username: Option<String>,
    /// The password with which to authenticate; set if and only if `username` is.
    #[serde(with = "setting_value", default)]
    pub password: Option<SecretString>,
}

impl SmtpSettings {
    /// Returns the port: `port`, else the usual port of `tls`.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.tls.default_port())
    }
}

/// The settings under `[account_pages]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AccountPagesSettings {
    /// Whether the pages are served.
    #[serde(with = "setting_value")]
    pub enabled: bool,
    /// The name of the service on the pages; see [`name_on_pages`](super::Settings::name_on_pages).
    #[serde(with = "setting_value", default)]
    pub name: Option<Name>,
    /// The colour of links and buttons.
    #[serde(with = "setting_value", default)]
    pub accent: Option<Accent>,
    /// The origins of pages to which people may return after they have signed in.
    #[serde(with = "setting_value")]
    pub return_to: Vec<Origin>,
}

/// The settings under `[metrics]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MetricsSettings {
    /// The address and port of `/metrics`, unless it is off.
    #[serde(with = "setting_value", default)]
    pub listen: Option<SocketAddr>,
}

/// The settings under `[log]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LogSettings {
    /// A level, or directives of tracing's `EnvFilter`.
    #[serde(with = "setting_value")]
    pub level: String,
    /// The format of a log line.
    #[serde(with = "setting_value")]
    pub format: LogFormat,
}

/// The settings under `[audit]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AuditSettings {
    /// How long audit events are kept, at least one day.
    #[serde(with = "setting_value")]
    pub retention: Duration,
    /// How long after the end of an account its person is erased; zero means never.
    #[serde(with = "setting_value")]
    pub erase_after: Duration,
}

//! Settings: every one of them, its default and its reason. They come from the defaults, then a TOML file,
//! then the environment; what is not a setting is refused, and no secret is ever printed.

mod check;
pub mod database_url;
mod error;
mod forwarded_header;
mod hsts;
mod load;
mod networks;
mod origin;
mod page_origin;
mod reference;
#[cfg(test)]
mod tests;
mod weak;
mod written;

use std::{net::SocketAddr, num::NonZero, path::PathBuf, str::FromStr, time::Duration};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use self::{
    error::{Error, Problem},
    forwarded_header::ForwardedHeader,
    hsts::Hsts,
    load::log_format,
    origin::Origin,
    page_origin::PageOrigin,
    reference::{REFERENCE, Setting, markdown},
};

/// All settings. [`REFERENCE`] holds their defaults and says what each is for.
///
/// Serialising and `Debug` show no secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Settings {
    /// The directory for everything that Vestibule keeps in files.
    #[serde(with = "written")]
    pub data_dir: PathBuf,
    /// 32 bytes in base64; see [`Settings::master_key`].
    #[serde(with = "written", default)]
    pub master_key: Option<SecretString>,
    /// Where and as whom to listen.
    pub server: Server,
    /// Where rows are kept.
    pub database: Database,
    /// How access tokens are signed.
    pub signing: Signing,
    /// What access tokens say.
    pub tokens: Tokens,
    /// How long people stay signed in.
    pub sessions: Sessions,
    /// How soon a revocation bites.
    pub revocation: Revocation,
    /// What is a password, and what checking one costs.
    pub password: Password,
    /// Who may make an account.
    pub registration: Registration,
    /// How password guessing is slowed down.
    pub throttle: Throttle,
    /// How refresh cookies are set.
    pub cookies: Cookies,
    /// Which other web pages may call.
    pub cors: Cors,
    /// Where metrics are served.
    pub metrics: Metrics,
    /// What is logged, and how.
    pub log: Log,
    /// How long audit events are kept.
    pub audit: Audit,
    /// Sentences about variables that begin like ours and were ignored.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// The settings under `[server]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Server {
    /// The address and port to listen on.
    #[serde(with = "written")]
    pub listen: SocketAddr,
    /// Where callers reach this server.
    #[serde(with = "written", default)]
    pub public_url: Option<Origin>,
    /// The networks of proxies whose forwarded headers are trusted.
    #[serde(with = "written")]
    pub trusted_proxies: Vec<IpNet>,
    /// For which hosts browsers are told to use TLS alone, where `public_url` begins with `https:`.
    #[serde(with = "written")]
    pub hsts: Hsts,
    /// The header in which these proxies name the client's address.
    #[serde(with = "written")]
    pub forwarded_header: ForwardedHeader,
}

/// The settings under `[database]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Database {
    /// A `sqlite:` or `postgres://` URL, which may hold a password; see [`Settings::database_url`].
    #[serde(with = "written", default)]
    pub url: Option<SecretString>,
    /// How long a start waits for a database that is not there yet.
    #[serde(with = "written")]
    pub wait: Duration,
}

/// The settings under `[signing]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Signing {
    /// The algorithm of new signing keys.
    #[serde(with = "written")]
    pub algorithm: Algorithm,
    /// The shared secret of HS256, at least 32 bytes; present exactly with that algorithm.
    #[serde(with = "written", default)]
    pub secret: Option<SecretString>,
}

/// How access tokens are signed (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// RSA with PKCS #1 v1.5 padding and SHA-256.
    Rs256,
    /// HMAC with SHA-256, for services that share a secret today.
    Hs256,
}

impl Algorithm {
    /// The name in the settings and in a token's `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Hs256 => "HS256",
        }
    }
}

impl FromStr for Algorithm {
    type Err = ();

    fn from_str(raw: &str) -> Result<Self, ()> {
        [Self::EdDsa, Self::Es256, Self::Rs256, Self::Hs256].into_iter().find(|one| one.as_str() == raw).ok_or(())
    }
}

/// The settings under `[tokens]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Tokens {
    /// The `iss` of access tokens; see [`Settings::issuer`].
    #[serde(with = "written", default)]
    pub issuer: Option<String>,
    /// The `aud` of access tokens.
    #[serde(with = "written")]
    pub audience: String,
    /// How long an access token is good, 1 second to 60 minutes.
    #[serde(with = "written")]
    pub access_ttl: Duration,
}

/// The settings under `[sessions]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Sessions {
    /// How long a session lives without being used.
    #[serde(with = "written")]
    pub idle_ttl: Duration,
    /// How long a session lives at most, not shorter than `idle_ttl`.
    #[serde(with = "written")]
    pub max_ttl: Duration,
    /// How long the refresh token just spent answers the same successor again, 0 to 60 seconds.
    #[serde(with = "written")]
    pub replay_window: Duration,
}

/// The settings under `[revocation]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Revocation {
    /// How old the knowledge of revocations may be before guarded operations are refused, 1 to 60 seconds.
    #[serde(with = "written")]
    pub max_staleness: Duration,
}

/// The settings under `[password]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Password {
    /// The cost of new bcrypt hashes, 10 to 16.
    #[serde(with = "written")]
    pub bcrypt_cost: u32,
    /// The least number of characters of a new password, 8 to 128.
    #[serde(with = "written")]
    pub min_length: usize,
    /// The number of threads that hash, 1 to 64; see [`Password::threads`].
    #[serde(with = "written", default)]
    pub hash_threads: Option<usize>,
    /// How long a password may wait for its turn to be hashed, 0 to 60 seconds.
    #[serde(with = "written")]
    pub max_wait: Duration,
}

impl Password {
    /// The number of threads that hash: as set, else one for each available core.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.hash_threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get).min(64))
    }
}

/// The settings under `[registration]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Registration {
    /// Whether anybody may register.
    #[serde(with = "written")]
    pub open: bool,
}

/// The settings under `[throttle]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Throttle {
    /// Whether password checks, registrations and refreshes are throttled.
    #[serde(with = "written")]
    pub enabled: bool,
}

/// The settings under `[cookies]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Cookies {
    /// Whether refresh cookies go without `Secure` and the `__Host-` prefix.
    #[serde(with = "written")]
    pub insecure: bool,
}

/// The settings under `[cors]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Cors {
    /// The origins whose pages may call the API.
    #[serde(with = "written")]
    pub origins: Vec<PageOrigin>,
}

impl Cors {
    /// Whether pages with this `Origin` header may call the API.
    #[must_use]
    pub fn allows(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|known| known.allows(origin))
    }
}

/// The settings under `[metrics]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Metrics {
    /// The address and port of `/metrics`, if it is served.
    #[serde(with = "written", default)]
    pub listen: Option<SocketAddr>,
}

/// The settings under `[log]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Log {
    /// A level, or directives of tracing's `EnvFilter`.
    #[serde(with = "written")]
    pub level: String,
    /// The form of a log line.
    #[serde(with = "written")]
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text, for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl LogFormat {
    /// The name in the settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(raw: &str) -> Result<Self, ()> {
        [Self::Auto, Self::Text, Self::Json].into_iter().find(|one| one.as_str() == raw).ok_or(())
    }
}

/// The settings under `[audit]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Audit {
    /// How long audit events are kept, at least a day.
    #[serde(with = "written")]
    pub retention: Duration,
}

impl Settings {
    /// The `iss` of access tokens: as set, else the public URL, else `http://` and the listening address.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.named_issuer().unwrap_or_else(|| format!("http://{}", self.server.listen))
    }

    /// The `iss` of access tokens, if a setting names it.
    #[must_use]
    pub fn named_issuer(&self) -> Option<String> {
        self.tokens.issuer.clone().or_else(|| self.server.public_url.as_ref().map(ToString::to_string))
    }

    /// The database: as set, else `sqlite:` and the file `vestibule.db` in the data directory.
    #[must_use]
    pub fn database_url(&self) -> SecretString {
        self.database.url.clone().unwrap_or_else(|| {
            let file = self.data_dir.join("vestibule.db");
            // The driver decodes percents and takes what follows a question mark for options.
            let file = file.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
            format!("sqlite:{file}").into()
        })
    }

    /// The 32 bytes of the master key, if one is set.
    ///
    /// # Errors
    /// When it is not 32 bytes in base64 (standard or URL-safe, padded or not); never so after
    /// [`Settings::validate`].
    pub fn master_key(&self) -> Result<Option<Zeroizing<[u8; 32]>>, Error> {
        let Some(text) = &self.master_key else { return Ok(None) };
        match parse_master_key(text.expose_secret()) {
            Some(key) => Ok(Some(key)),
            None => Err(Problem::new("master_key", "must be 32 bytes in base64.").into()),
        }
    }
}

/// A master key as people write it: 32 bytes in base64, standard or URL-safe, padded or not.
#[must_use]
pub fn parse_master_key(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let alphabet = if text.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let either = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = Zeroizing::new(GeneralPurpose::new(alphabet, either).decode(text).ok()?);
    <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new)
}

//! The table of settings: the defaults, the table in `guide/configuration.md`, and the output of `vestibule config print`.

use std::fmt::Write;

use secrecy::ExposeSecret;
use serde_json::Value;

use super::Settings;

/// One setting, as people read about it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name in a file, such as `server.listen`.
    pub name: &'static str,
    /// The default as a TOML literal, or in parentheses what holds when it is not set.
    pub default: &'static str,
    /// Whether the value is never shown, and may be read from a file that `<VARIABLE>_FILE` names.
    pub secret: bool,
    /// What it does, and why it is as it is; units are seconds, bytes or characters as it says.
    pub about: &'static str,
}

impl Setting {
    /// The environment variable that sets it, such as `VESTIBULE_SERVER__LISTEN`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("VESTIBULE_{}", self.name.to_ascii_uppercase().replace('.', "__"))
    }
}

const fn open(name: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { name, default, secret: false, about }
}

const fn secret(name: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { name, default, secret: true, about }
}

/// Every setting, sections together, in the order in which they are shown.
pub const REFERENCE: &[Setting] = &[
    open(
        "data_dir",
        r#""./data""#,
        "Directory of the SQLite database, the master key made at the first start and the first administrator's password.",
    ),
    secret(
        "master_key",
        "(made at the first start)",
        "32 random bytes in base64, under which all other secrets lie sealed in the database. PostgreSQL requires it, since replicas share no directory.",
    ),
    open(
        "server.listen",
        r#""127.0.0.1:8080""#,
        "IP address and port to listen on; only this machine by default, since TLS is a proxy's work.",
    ),
    open(
        "server.public_url",
        "(none)",
        "Where callers reach this server, such as `https://id.example.org`: scheme, host and port, no path.",
    ),
    open(
        "server.trusted_proxies",
        "[]",
        "Networks of proxies whose forwarded client addresses are trusted; nobody's by default, since anybody can send such headers.",
    ),
    open(
        "server.forwarded_header",
        r#""x-forwarded-for""#,
        "The header in which these proxies name the client's address: `x-forwarded-for`, `forwarded` (RFC 7239) or `x-real-ip`. No other is read. \
         The client is the last address in it that is not a trusted proxy's. An entry without an address ends the search: the client is then the proxy that sent the entry.",
    ),
    open(
        "server.hsts",
        r#""host""#,
        "Whom browsers are told to reach by TLS alone for a year, if `server.public_url` begins with `https:`: `host` (every port of this host), `include_subdomains` (every host below it too, whatever runs there) or `off`.",
    ),
    secret(
        "database.url",
        "(SQLite: `vestibule.db` in `data_dir`)",
        "`sqlite:<file>` or `postgres://<user>:<password>@<host>/<database>`; it counts as a secret because of the password.",
    ),
    open(
        "database.wait",
        "30",
        "Seconds, 0 to 3600, that `serve` and `migrate up` wait for a database that is not there yet, or accepts no writes yet. A refused password or an unknown database is reported at once.",
    ),
    open(
        "signing.algorithm",
        r#""EdDSA""#,
        "How access tokens are signed: EdDSA (small and fast), ES256 or RS256 for verifiers that lack it, HS256 only with a secret of your own.",
    ),
    secret(
        "signing.secret",
        "(none)",
        "The shared secret of HS256, at least 32 bytes (RFC 7518 section 3.2) and not one that is published or easy to guess. Who can verify with it can also forge: prefer another algorithm.",
    ),
    open(
        "tokens.issuer",
        "(`server.public_url`, else `http://` and `server.listen`)",
        "The `iss` of access tokens. Tokens of another issuer are refused, so changing it ends all of them.",
    ),
    open("tokens.audience", r#""vestibule""#, "The `aud` of access tokens; services that verify offline check it."),
    open(
        "tokens.access_ttl",
        "900",
        "Life of an access token in seconds, 1 to 3600. Services that verify offline learn of a revocation only when it has passed.",
    ),
    open(
        "sessions.idle_ttl",
        "2592000",
        "Seconds after which an unused session ends, 30 days by default; people who return within a month stay signed in.",
    ),
    open(
        "sessions.max_ttl",
        "7776000",
        "Seconds after which every session ends, 90 days by default, at least `sessions.idle_ttl`; a stolen session does not live for ever.",
    ),
    open(
        "sessions.replay_window",
        "10",
        "Seconds, 0 to 60, in which a refresh token just spent gives the same successor again, so that a lost reply or a second tab logs nobody out.",
    ),
    open(
        "revocation.max_staleness",
        "5",
        "Seconds, 1 to 60, after which a replica that cannot read revocations answers 503 instead of guessing.",
    ),
    open(
        "password.bcrypt_cost",
        "12",
        "Cost of new password hashes, 10 to 16; each step doubles the work, for an attacker and for this server. Others are upgraded at the next log-in.",
    ),
    open(
        "password.min_length",
        "8",
        "Least number of characters of a new password, 8 to 128 (NIST SP 800-63B-4); length helps, composition rules do not.",
    ),
    open(
        "password.hash_threads",
        "(one for each core, 64 at most)",
        "Threads that hash passwords, 1 to 64. They are apart from the rest, so that a storm of log-ins does not slow other requests.",
    ),
    open(
        "password.max_wait",
        "2",
        "Seconds, 0 to 60, that a password may wait for its turn to be hashed. What would wait longer is turned away at once (503), for people who wait longer try again and make it worse.",
    ),
    open("registration.open", "true", "Whether anybody may register; otherwise only administrators make accounts."),
    open(
        "throttle.enabled",
        "true",
        "Whether password checks, registrations and refreshes are throttled. Turn it off only where something in front does it.",
    ),
    open(
        "cookies.insecure",
        "false",
        "Sets refresh cookies without `Secure` and the `__Host-` prefix, for development over plain HTTP only.",
    ),
    open(
        "cors.origins",
        "[]",
        "Origins whose pages may call the API, with any request header and with the refresh cookie; none by default. Web pages (`https://app.example.org`), pages of applications and extensions (`capacitor://localhost`, `chrome-extension://<id>`), or `https://*.preview.example.org` for exactly one label: only where every such host is yours.",
    ),
    open(
        "metrics.listen",
        "(none)",
        "IP address and port of `/metrics`, apart from the API so that it is never public by accident; not served by default.",
    ),
    open(
        "log.level",
        r#""info""#,
        "`off`, `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,vestibule=debug`.",
    ),
    open(
        "log.format",
        r#""auto""#,
        "`text`, `json` (every line on both streams, also errors that end the process), or `auto`: the log is text on a terminal, JSON otherwise, and the rest is text.",
    ),
    open("audit.retention", "31536000", "Seconds for which audit events are kept, at least a day; a year by default."),
];

/// Returns the table of settings in `guide/configuration.md`.
#[must_use]
pub fn markdown() -> String {
    let mut table = "| setting | default | what it does, and why |\n|---|---|---|\n".to_owned();
    for Setting { name, default, secret, about } in REFERENCE {
        let default = if default.starts_with('(') { (*default).to_owned() } else { format!("`{default}`") };
        let secret = if *secret { " Secret." } else { "" };
        let _ = writeln!(table, "| `{name}` | {default} | {about}{secret} |");
    }
    table
}

/// The TOML of all defaults that can be written down.
pub(super) fn defaults() -> String {
    let literals = REFERENCE.iter().filter(|setting| !setting.default.starts_with('('));
    let lines: Vec<_> = literals.map(|setting| format!("{} = {}", setting.name, setting.default)).collect();
    lines.join("\n")
}

impl Settings {
    /// The settings in effect as TOML that can be read again. Secrets, and what follows from other settings,
    /// are comments; a database URL is shown without its password.
    #[must_use]
    pub fn print(&self) -> String {
        let mut toml = String::new();
        let mut section = "";
        for setting in REFERENCE {
            let (head, key) = setting.name.split_once('.').unwrap_or(("", setting.name));
            if head != section {
                let _ = writeln!(toml, "[{head}]\n");
                section = head;
            }
            let _ = writeln!(toml, "# {}", setting.about);
            let set = self.shown(setting.name);
            let _ = match self.derived(setting.name) {
                _ if !set.is_null() && !setting.secret => writeln!(toml, "{key} = {}\n", literal(&set)),
                Some(value) if set.is_null() => writeln!(toml, "# {key} = {} (not set)\n", literal(&value)),
                Some(value) => writeln!(toml, "# {key} = {}\n", literal(&value)),
                None if set.is_null() => writeln!(toml, "# {key} = \"(not set)\"\n"),
                None => writeln!(toml, "# {key} = {}\n", literal(&set)),
            };
        }
        toml.truncate(toml.trim_end().len());
        toml + "\n"
    }

    /// The value of a setting, safe to print; null when it is not set.
    pub(super) fn shown(&self, name: &str) -> Value {
        let all = serde_json::to_value(self).expect("plain data with text for keys");
        all.pointer(&format!("/{}", name.replace('.', "/"))).cloned().unwrap_or_default()
    }

    /// What holds when a setting is not set and another decides; and the database, without its password.
    fn derived(&self, name: &str) -> Option<Value> {
        match name {
            "database.url" => Some(without_password(self.database_url().expose_secret()).into()),
            "tokens.issuer" => Some(self.issuer().into()),
            "password.hash_threads" => Some(self.password.threads().into()),
            _ => None,
        }
    }
}

/// JSON of text, numbers, truths and lists of text is TOML too, but for one character.
fn literal(value: &Value) -> String {
    value.to_string().replace('\x7f', "\\u007F")
}

/// Keeps scheme, user, host and database. All up to the last `@` counts as user and password, however badly
/// the password is encoded, and parameters go as a whole, for they may hold one too.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() }; // SQLite: a path
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (user.split([':', '?']).next().map(|user| format!("{user}:(hidden)@")), place),
        None => (None, rest),
    };
    let (place, parameters) = match place.split_once('?') {
        Some((place, _)) => (place, "?(hidden)"),
        None => (place, ""),
    };
    format!("{scheme}://{}{place}{parameters}", user.unwrap_or_default())
}

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
        "The directory of the SQLite database, of the master key that the first start creates, and of the first \
         administrator's password.",
    ),
    secret(
        "master_key",
        "(created at the first start)",
        "32 random bytes in base64. All other secrets are stored in the database encrypted under this key. Required with \
         PostgreSQL, because replicas share no directory.",
    ),
    open(
        "server.listen",
        r#""127.0.0.1:8080""#,
        "The IP address and port to listen on. The default accepts connections from this machine only, because TLS is the \
         work of a proxy.",
    ),
    open(
        "server.public_url",
        "(none)",
        "The address that callers use, such as `https://id.example.org`: scheme, host and port without a path.",
    ),
    open(
        "server.trusted_proxies",
        "[]",
        "The networks of the proxies whose forwarded client addresses are trusted. Empty by default, because any client can \
         send such headers.",
    ),
    open(
        "server.forwarded_header",
        r#""x-forwarded-for""#,
        "The only header from which the client's address is read: `x-forwarded-for`, `forwarded` (RFC 7239) or `x-real-ip`. \
         The client is the last address in the header that does not belong to a trusted proxy. An entry without an address \
         ends the search, and the proxy that sent it counts as the client.",
    ),
    open(
        "server.hsts",
        r#""host""#,
        "The hosts that browsers must reach over TLS for a year, if `server.public_url` begins with `https:`. `host`: this \
         host, on every port. `include_subdomains`: also every host below it, whatever runs there. `off`: none.",
    ),
    secret(
        "database.url",
        "(SQLite: `vestibule.db` in `data_dir`)",
        "`sqlite:<file>` or `postgres://<user>:<password>@<host>/<database>`.",
    ),
    open(
        "database.wait",
        "30",
        "The time in seconds (0 to 3600) that `serve` and `migrate up` wait for a database that cannot be reached or does \
         not accept writes yet. A refused password and an unknown database are reported at once.",
    ),
    open(
        "signing.algorithm",
        r#""EdDSA""#,
        "The algorithm of access tokens: EdDSA (small and fast), ES256 or RS256 for verifiers that lack EdDSA, or HS256 \
         with `signing.secret`.",
    ),
    secret(
        "signing.secret",
        "(none)",
        "The shared secret of HS256: at least 32 bytes (RFC 7518 section 3.2), and neither published nor easy to guess. \
         Everyone who can verify tokens with it can also forge them: prefer another algorithm.",
    ),
    open(
        "tokens.issuer",
        "(`server.public_url`, else `http://` and `server.listen`)",
        "The `iss` of access tokens. Tokens of another issuer are refused, so a change ends all of them.",
    ),
    open("tokens.audience", r#""vestibule""#, "The `aud` of access tokens, which services that verify tokens offline check."),
    open(
        "tokens.access_ttl",
        "900",
        "The lifetime of an access token in seconds (1 to 3600). Services that verify tokens offline accept a revoked token \
         until it expires.",
    ),
    open(
        "sessions.idle_ttl",
        "2592000",
        "The time in seconds after which an unused session ends, by default 30 days: users who return within a month stay \
         logged in.",
    ),
    open(
        "sessions.max_ttl",
        "7776000",
        "The time in seconds after which every session ends, by default 90 days and never less than `sessions.idle_ttl`. It \
         limits how long a stolen session can live.",
    ),
    open(
        "sessions.replay_window",
        "10",
        "The time in seconds (0 to 60) during which a refresh token that was just used returns the same successor again, so \
         that a lost response or a second tab logs nobody out.",
    ),
    open(
        "revocation.max_staleness",
        "5",
        "The time in seconds (1 to 60) after which a replica that cannot read revocations returns 503 instead of guessing.",
    ),
    open(
        "password.bcrypt_cost",
        "12",
        "The cost of new password hashes (10 to 16). Each step doubles the work of an attacker and of this server. Hashes \
         with another cost are replaced at the next log-in.",
    ),
    open(
        "password.min_length",
        "8",
        "The minimum length of a new password in characters (8 to 128, NIST SP 800-63B-4). Length helps; composition rules \
         do not.",
    ),
    open(
        "password.hash_threads",
        "(one for each core, 64 at most)",
        "The number of threads that hash passwords (1 to 64). They do nothing else, so that many log-ins do not slow other \
         requests.",
    ),
    open(
        "password.max_wait",
        "2",
        "The time in seconds (0 to 60) that a password may wait to be hashed. A log-in that would wait longer is rejected \
         at once (503), because users who wait longer try again and add to the load.",
    ),
    open("registration.open", "true", "Whether everyone may register. Otherwise only administrators create accounts."),
    open(
        "throttle.enabled",
        "true",
        "Whether password checks, registrations and refreshes are throttled. Turn this off only if a system in front of the \
         server throttles them.",
    ),
    open(
        "cookies.insecure",
        "false",
        "Whether refresh cookies are set without `Secure` and without the prefix `__Host-`. For development over plain HTTP \
         only.",
    ),
    open(
        "cors.origins",
        "[]",
        "The origins whose pages may call the API, with any request header and with the refresh cookie: web pages \
         (`https://app.example.org`), pages of applications and extensions (`capacitor://localhost`, \
         `chrome-extension://<id>`), or `https://*.preview.example.org` for exactly one label, if every such host is yours.",
    ),
    open(
        "metrics.listen",
        "(none)",
        "The IP address and port of `/metrics`. It differs from that of the API, so that metrics are never public by \
         accident. By default metrics are not served.",
    ),
    open(
        "log.level",
        r#""info""#,
        "`off`, `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,vestibule=debug`.",
    ),
    open(
        "log.format",
        r#""auto""#,
        "`text`; `json`, for every line on both streams, including errors that end the process; or `auto`: the log is text \
         on a terminal and JSON otherwise, and all other output is text.",
    ),
    open(
        "audit.retention",
        "31536000",
        "The time in seconds for which audit events are kept: at least a day, by default a year.",
    ),
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

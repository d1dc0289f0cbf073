//! The table of settings: the defaults, the table in `guide/configuration.md`, and the output of `vestibule config print`.

use std::fmt::Write;

/// A setting and its documentation.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name in the TOML file, such as `server.listen`.
    pub name: &'static str,
    /// The default as a TOML literal, or a description in parentheses if there is no literal default.
    pub default: &'static str,
    /// Whether the value is secret: it is never shown, and it can be read from a file that `<VARIABLE>_FILE` names.
    pub secret: bool,
    /// What the setting does, its unit and limits, and the reason for the default.
    pub about: &'static str,
}

impl Setting {
    /// Returns the environment variable of the setting, such as `VESTIBULE_SERVER__LISTEN`.
    pub fn variable(&self) -> String {
        format!("VESTIBULE_{}", self.name.to_ascii_uppercase().replace('.', "__"))
    }
}

pub(super) const fn plain(name: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { name, default, secret: false, about }
}

const fn secret(name: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { name, default, secret: true, about }
}

/// All settings, grouped by section, in the order in which they are shown.
pub const REFERENCE: &[Setting] = &[
    plain(
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
    plain(
        "server.listen",
        r#""127.0.0.1:8080""#,
        "The IP address and port to listen on. The default accepts connections from this machine only, because TLS is the \
         work of a proxy.",
    ),
    plain(
        "server.public_url",
        "(none)",
        "The address that callers use, such as `https://id.example.org`: scheme, host and port without a path.",
    ),
    plain(
        "server.base_path",
        r#""""#,
        "The path below which everything is served except `/.well-known/`, such as `/auth` if the service shares its host with \
         others. A proxy must pass requests on with it.",
    ),
    plain(
        "server.trusted_proxies",
        "[]",
        "The networks of the proxies whose forwarded client addresses are trusted. Empty by default, because any client can \
         send such headers.",
    ),
    plain(
        "server.forwarded_header",
        r#""x-forwarded-for""#,
        "The only header from which the client's address is read: `x-forwarded-for`, `forwarded` (RFC 7239) or `x-real-ip`. \
         The client is the last address in the header that does not belong to a trusted proxy. An entry without an address \
         ends the search, and the proxy that sent it counts as the client.",
    ),
    plain(
        "server.hsts",
        r#""host""#,
        "The hosts that browsers must reach over TLS for a year, if `server.public_url` begins with `https:`. `host`: this \
         host, on every port. `include_subdomains`: also every host below it, whatever runs there. `off`: none.",
    ),
    plain(
        "server.drain",
        "1",
        "The time in seconds (0 to 60) for which connections are still accepted after SIGTERM, while `/readyz` returns 503. A \
         load balancer must notice that within this time: set it to the interval of its checks, times the failures that it waits for.",
    ),
    secret(
        "database.url",
        "(SQLite: `vestibule.db` in `data_dir`)",
        "`sqlite:<file>` or `postgres://<user>:<password>@<host>/<database>`.",
    ),
    plain(
        "database.wait",
        "30",
        "The time in seconds (0 to 3600) that `serve` and `migrate up` wait for a database that cannot be reached or does \
         not accept writes yet. A refused password and an unknown database are reported at once.",
    ),
    plain(
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
    plain(
        "tokens.issuer",
        "(`server.public_url`, else `http://` and `server.listen`)",
        "The `iss` of access tokens. Tokens of another issuer are refused, so a change ends all of them.",
    ),
    plain("tokens.audience", r#""vestibule""#, "The `aud` of access tokens, which services that verify tokens offline check."),
    plain(
        "tokens.access_ttl",
        "900",
        "The lifetime of an access token in seconds (1 to 3600). Services that verify tokens offline accept a revoked token \
         until it expires.",
    ),
    plain(
        "sessions.idle_ttl",
        "2592000",
        "The time in seconds after which an unused session ends, by default 30 days: users who return within a month stay \
         logged in.",
    ),
    plain(
        "sessions.max_ttl",
        "7776000",
        "The time in seconds after which every session ends, by default 90 days and never less than `sessions.idle_ttl`. It \
         limits how long a stolen session can live.",
    ),
    plain(
        "sessions.replay_window",
        "10",
        "The time in seconds (0 to 60) during which a refresh token that was just used returns the same successor again, so \
         that a lost response or a second tab logs nobody out.",
    ),
    plain(
        "revocation.max_staleness",
        "5",
        "The time in seconds (1 to 60) after which a replica that cannot read revocations returns 503 instead of guessing.",
    ),
    plain(
        "password.bcrypt_cost",
        "12",
        "The cost of new password hashes (10 to 16). Each step doubles the work of an attacker and of this server. Hashes \
         with another cost are replaced at the next log-in.",
    ),
    plain(
        "password.min_length",
        "8",
        "The minimum length of a new password in characters (8 to 128, NIST SP 800-63B-4). Length helps; composition rules \
         do not.",
    ),
    plain(
        "password.hash_threads",
        "(one for each core, 64 at most)",
        "The number of threads that hash passwords (1 to 64). They do nothing else, so that many log-ins do not slow other \
         requests.",
    ),
    plain(
        "password.lanes",
        "5",
        "The number of passwords (1 to 5) that each of these threads hashes at a time. Five hashes in step take little longer \
         than one alone; with 1, the `bcrypt` crate computes each by itself.",
    ),
    plain(
        "password.max_wait",
        "2",
        "The time in seconds (0 to 60) that a password may wait to be hashed. A log-in that would wait longer is rejected \
         at once (503), because users who wait longer try again and add to the load.",
    ),
    plain(
        "registration.mode",
        r#""open""#,
        "Who may create an account. `open`: everyone. `verified`: everyone who proves with a mailed link or code that the \
         address is theirs; only this mode hides which addresses have an account, and it needs mail. `invited`: those whom an \
         administrator has invited. `closed`: nobody. Administrators create accounts and invite people in every mode; pages \
         learn from it which way to offer.",
    ),
    plain(
        "second_factor.require",
        r#""none""#,
        "Who must log in with a second factor. `none`: nobody. `administrators`: everyone whose roles grant a permission of \
         Vestibule's, for the operations that require one. `everyone`. A user without a factor can still log in and enrol one. \
         The servers require it from their next start on, also of sessions that began before.",
    ),
    plain(
        "throttle.enabled",
        "true",
        "Whether password checks, registrations, refreshes and requests for mails are throttled. Turn this off only if a system in front of the \
         server throttles them.",
    ),
    plain(
        "cookies.insecure",
        "false",
        "Whether refresh cookies are set without `Secure` and without the prefix `__Host-`. For development over plain HTTP \
         only.",
    ),
    plain(
        "cors.origins",
        "[]",
        "The origins whose pages may call the API, with any request header and with the refresh cookie: web pages \
         (`https://app.example.org`), pages of applications and extensions (`capacitor://localhost`, \
         `chrome-extension://<id>`), or `https://*.preview.example.org` for exactly one label, if every such host is yours.",
    ),
    plain(
        "mail.transport",
        "(`file` if `server.public_url` is not set, otherwise `none`)",
        "`smtp`: mails go to the server of `mail.smtp`; requires `server.public_url` and `mail.from`. `file`: they become files \
         in `mail` below `data_dir`, for development. `log`: the log names the kind and the recipient of each. `none`: no mail.",
    ),
    plain(
        "mail.from",
        "(`vestibule@vestibule.invalid`)",
        "The sender, such as `Example <id@example.org>`. The name is also the name of the service in mails. Your mail server \
         must be allowed to send for the domain (SPF, DKIM).",
    ),
    plain("mail.reply_to", "(none)", "The address to which answers go, such as that of your support. By default `mail.from`."),
    plain("mail.language", r#""en""#, "The language of mails to people who have not chosen one: `en` or `de`."),
    plain(
        "mail.templates_dir",
        "(none)",
        "A directory of templates. Each file in it, such as `de/reset.html`, replaces the template of the program with this \
         name. All templates are tried at start.",
    ),
    plain(
        "mail.link_base",
        "(`server.public_url`, else `http://` and `server.listen`, with `server.base_path`)",
        "The beginning of the links in mails, which continue with `/account/`: scheme, host, optionally port and path.",
    ),
    plain(
        "mail.max_per_hour",
        "500",
        "The maximum number of mails in an hour (1 to 1000000), of all servers together, as your provider allows. Sign-ups and \
         verifications use three fifths of it at most, and together with mails that strangers can request for accounts four \
         fifths; the rest is reserved for notices, invitations and users who request a mail from where they have logged in.",
    ),
    plain(
        "mail.reset_ttl",
        "1800",
        "The time in seconds (60 to 3600) for which the link and the code of a password reset are valid.",
    ),
    plain("mail.smtp.host", "(none)", "The host name or IP address of the mail server. Its certificate must be valid for it."),
    plain("mail.smtp.port", "(465 with `implicit`, 587 with `starttls`, 25 with `none`)", "The port of the mail server."),
    plain(
        "mail.smtp.tls",
        r#""implicit""#,
        "`implicit`: TLS from the first byte. `starttls`: TLS after the command STARTTLS, without which nothing is sent. \
         `none`: no encryption, for a server on this machine.",
    ),
    plain("mail.smtp.username", "(none)", "The user name at the mail server. Without one, no log-in is tried."),
    secret("mail.smtp.password", "(none)", "The password at the mail server. Required with a user name."),
    plain(
        "account_pages.enabled",
        "true",
        "Whether the pages at `/account/` are served, on which people sign in and manage their own account. The links in mails \
         lead to them, unless `mail.link_base` names another place.",
    ),
    plain(
        "account_pages.name",
        "(the name in `mail.from`, else the host of `server.public_url`)",
        "The name of the service on the pages.",
    ),
    plain(
        "account_pages.accent",
        "(a blue)",
        "The colour of links and buttons, such as `#0b57d0`. It must have a contrast of 4.5:1 with the light pages \
         (WCAG 2.2), so that everybody can read it. For the dark pages it is mixed with white until it has that contrast there.",
    ),
    plain(
        "account_pages.return_to",
        "[]",
        "The origins to which people return after they have signed in, such as `https://app.example.org`. They must be of the \
         same site as `server.public_url`, because browsers keep the session's cookie from other sites; without a public URL, \
         they must be on this machine.",
    ),
    plain(
        "metrics.listen",
        "(none)",
        "The IP address and port of `/metrics`. It differs from that of the API, so that metrics are never public by \
         accident. By default metrics are not served.",
    ),
    plain(
        "log.level",
        r#""info""#,
        "`off`, `error`, `warn`, `info`, `debug` or `trace`, or directives such as `info,vestibule=debug`.",
    ),
    plain(
        "log.format",
        r#""auto""#,
        "`text`; `json`, for every line on both streams, including errors that end the process; or `auto`: the log is text \
         on a terminal and JSON otherwise, and all other output is text.",
    ),
    plain(
        "audit.retention",
        "31536000",
        "The time in seconds for which audit events are kept: at least a day, by default a year.",
    ),
    plain(
        "audit.erase_after",
        "2592000",
        "The time in seconds after which a person whose account was closed or deleted is erased, by default 30 days; `0` means never.",
    ),
];

/// Returns the table of settings in `guide/configuration.md`.
pub fn markdown() -> String {
    let mut table = "| setting | default | what it does, and why |\n|---|---|---|\n".to_owned();
    for Setting { name, default, secret, about } in REFERENCE {
        let default = if default.starts_with('(') { (*default).to_owned() } else { format!("`{default}`") };
        let secret = if *secret { " Secret." } else { "" };
        let _ = writeln!(table, "| `{name}` | {default} | {about}{secret} |");
    }
    table
}

/// Returns the TOML of all defaults that are literals.
pub(super) fn defaults() -> String {
    let literals = REFERENCE.iter().filter(|setting| !setting.default.starts_with('('));
    let lines: Vec<_> = literals.map(|setting| format!("{} = {}", setting.name, setting.default)).collect();
    lines.join("\n")
}

/// Returns the setting of this name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    REFERENCE.iter().find(|setting| setting.name == name)
}

/// Returns whether `name` is the name of a section.
pub(super) fn is_section(name: &str) -> bool {
    REFERENCE.iter().any(|setting| setting.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// Returns the error message for a name that is not a setting, with the setting that was probably meant.
pub(super) fn unknown_setting(name: &str) -> String {
    if is_section(name) {
        return "is a section; set the settings in it.".to_owned();
    }
    let distance = |other: &str| {
        let whole = strsim::damerau_levenshtein(name, other);
        // Compare the key alone, in case the section is missing or wrong.
        match (name.rsplit('.').next(), other.rsplit('.').next()) {
            (Some(key), Some(known)) if key == known => whole.min(1),
            _ if name.starts_with(&format!("{other}.")) => 0,
            _ => whole,
        }
    };
    match REFERENCE.iter().map(|setting| (distance(setting.name), setting.name)).min_by_key(|(distance, _)| *distance) {
        Some((distance, nearest)) if distance <= 2.max(name.chars().count() / 3) => {
            format!("is not a setting; did you mean `{nearest}`?")
        }
        _ => "is not a setting.".to_owned(),
    }
}

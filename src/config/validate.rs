//! Validation: the limits of each setting, and the settings that require or exclude each other.

use std::{net::IpAddr, ops::RangeInclusive, time::Duration};

use secrecy::ExposeSecret;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{
    Algorithm, Error, MailTransport, Origin, SettingError, Settings, SmtpTls, accent::READABLE, database_url,
    same_site::is_same_site, trusted_proxies, weak_secrets,
};

const DAY: u64 = 24 * 60 * 60;

impl Settings {
    /// Checks all limits. [`Settings::load`] has already done this. The error names every invalid setting and no secret.
    pub fn validate(&self) -> Result<(), Error> {
        let mut errors = Vec::new();
        self.check_ranges(&mut errors);
        self.check_secrets(&mut errors);
        self.check_texts(&mut errors);
        self.check_mail(&mut errors);
        self.check_account_pages(&mut errors);
        Error::unless_empty(errors)
    }

    fn check_ranges(&self, errors: &mut Vec<SettingError>) {
        let mut seconds = |name, value: Duration, range: RangeInclusive<u64>| {
            let rounded_up = value.as_secs() + u64::from(value.subsec_nanos() > 0);
            if !range.contains(&rounded_up) {
                errors.push(out_of_range(name, rounded_up, &range, " seconds"));
            }
        };
        // The upper limits of sessions and audit events keep dates in the range of both databases.
        seconds("tokens.access_ttl", self.tokens.access_ttl, 1..=60 * 60);
        seconds("sessions.idle_ttl", self.sessions.idle_ttl, 1..=3_650 * DAY);
        seconds("sessions.max_ttl", self.sessions.max_ttl, 1..=3_650 * DAY);
        seconds("sessions.replay_window", self.sessions.replay_window, 0..=60);
        seconds("revocation.max_staleness", self.revocation.max_staleness, 1..=60);
        seconds("password.max_wait", self.password.max_wait, 0..=60);
        seconds("mail.reset_ttl", self.mail.reset_ttl, 60..=60 * 60);
        seconds("server.drain", self.server.drain, 0..=60);
        seconds("database.wait", self.database.wait, 0..=60 * 60);
        seconds("audit.retention", self.audit.retention, DAY..=36_500 * DAY);
        seconds("audit.erase_after", self.audit.erase_after, 0..=36_500 * DAY);

        if self.sessions.max_ttl < self.sessions.idle_ttl {
            errors.push(SettingError::new("sessions.max_ttl", "must not be shorter than `sessions.idle_ttl`."));
        }

        let password = &self.password;
        let mut number = |name, value: u64, range: RangeInclusive<u64>| {
            if !range.contains(&value) {
                errors.push(out_of_range(name, value, &range, ""));
            }
        };
        number("mail.max_per_hour", self.mail.max_per_hour.into(), 1..=1_000_000);
        number("password.bcrypt_cost", password.bcrypt_cost.into(), 10..=16);
        number("password.min_length", password.min_length as u64, 8..=128);
        if let Some(threads) = password.hash_threads {
            number("password.hash_threads", threads as u64, 1..=64);
        }
        number("password.lanes", password.lanes as u64, 1..=vestibule_lanes::MOST as u64);
    }

    fn check_secrets(&self, errors: &mut Vec<SettingError>) {
        if let Err(error) = self.master_key() {
            errors.extend(error.into_errors());
        }

        let url = self.database.url.as_ref().map_or("sqlite:default", ExposeSecret::expose_secret);
        if let Err(message) = database_url::check(url) {
            let end = if message.ends_with('?') { "" } else { "." };
            errors.push(SettingError::new("database.url", message + end));
        }
        if url.starts_with("postgres") && self.master_key.is_none() {
            errors.push(SettingError::new("master_key", "is required with PostgreSQL."));
        }

        let message = match (self.signing.algorithm, &self.signing.secret) {
            (Algorithm::Hs256, None) => "is required with HS256.",
            // RFC 7518 section 3.2: the key must be at least as long as the hash.
            (Algorithm::Hs256, Some(secret)) if secret.expose_secret().len() < 32 => "must be at least 32 bytes long.",
            (Algorithm::Hs256, Some(secret)) if weak_secrets::is_weak(secret.expose_secret()) => {
                "is published or easy to guess, so that anybody could forge tokens; generate one with `openssl rand -base64 48`."
            }
            (Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256, Some(_)) => {
                "is only for HS256: set `signing.algorithm` to HS256, or remove the secret."
            }
            _ => return,
        };
        errors.push(SettingError::new("signing.secret", message));
    }

    fn check_texts(&self, errors: &mut Vec<SettingError>) {
        if self.data_dir.as_os_str().is_empty() {
            errors.push(SettingError::new("data_dir", "must not be empty."));
        }
        let issuer = self.tokens.issuer.as_deref();
        for (name, text) in [("tokens.issuer", issuer), ("tokens.audience", Some(self.tokens.audience.as_str()))] {
            if text.is_some_and(|text| !(1..=255).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic())) {
                errors.push(SettingError::new(name, "must be 1 to 255 ASCII characters without spaces."));
            }
        }
        if trusted_proxies::are_too_large(&self.server.trusted_proxies) {
            let message = "contains a large part of the Internet, where anybody could claim any address. Name only the \
                           networks of your proxies.";
            errors.push(SettingError::new("server.trusted_proxies", message));
        }
        if self.metrics.listen == Some(self.server.listen) && self.server.listen.port() != 0 {
            errors.push(SettingError::new("metrics.listen", "must differ from `server.listen`."));
        }
        if !is_log_level(&self.log.level) {
            let message = "must be `off`, `error`, `warn`, `info`, `debug` or `trace`, or directives such as \
                           `info,vestibule=debug`.";
            errors.push(SettingError::new("log.level", message));
        }
    }
}

impl Settings {
    fn check_mail(&self, errors: &mut Vec<SettingError>) {
        let mut refuse = |name: &str, message: &str| errors.push(SettingError::new(name, message));
        let smtp = &self.mail.smtp;
        if smtp.host.as_ref().is_some_and(|host| !is_host(host)) {
            refuse("mail.smtp.host", "must be a host name or an IP address, without a port.");
        }
        if smtp.port == Some(0) {
            refuse("mail.smtp.port", "must be 1 to 65535, not 0.");
        }
        match (&smtp.username, &smtp.password) {
            (Some(_), None) => refuse("mail.smtp.password", "is required with `mail.smtp.username`."),
            (None, Some(_)) => refuse("mail.smtp.username", "is required with `mail.smtp.password`."),
            (Some(_), Some(_)) if smtp.tls == SmtpTls::None && !smtp.host.as_deref().is_some_and(is_loopback) => {
                let message = "must not be `none` with a password: it would cross the network in clear. Only a server on this \
                               machine may go without.";
                refuse("mail.smtp.tls", message);
            }
            _ => {}
        }
        if self.mail.transport.is_none() && smtp.host.is_some() {
            refuse("mail.transport", "must be set with `mail.smtp.host`: `smtp` sends mails to this server.");
        }
        if self.mail_transport() != MailTransport::Smtp {
            return;
        }
        let required = [
            ("mail.from", self.mail.from.is_none()),
            ("mail.smtp.host", smtp.host.is_none()),
            ("server.public_url", self.server.public_url.is_none()),
        ];
        for (name, _) in required.into_iter().filter(|(_, missing)| *missing) {
            refuse(name, "is required if `mail.transport` is `smtp`.");
        }
    }
}

impl Settings {
    fn check_account_pages(&self, errors: &mut Vec<SettingError>) {
        let pages = &self.account_pages;
        if let Some(accent) = pages.accent.filter(|accent| accent.contrast() < READABLE) {
            // Rounded down, so that 4.49 does not look like 4.5.
            let contrast = (accent.contrast() * 10.0).floor() / 10.0;
            let message = format!(
                "must have a contrast of at least {READABLE}:1 with the light pages, so that everybody can read it, but {accent} \
                 has {contrast}:1. The nearest shade that has it is {}.",
                accent.darkened()
            );
            errors.push(SettingError::new("account_pages.accent", message));
        }
        if pages.return_to.len() > 100 {
            errors.push(SettingError::new("account_pages.return_to", "must name at most 100 origins."));
        }
        let messages = pages.return_to.iter().filter_map(|origin| self.why_not_return_to(origin));
        errors.extend(messages.map(|message| SettingError::new("account_pages.return_to", message)));
    }

    /// Returns why people cannot return to an origin, or `None` if they can.
    fn why_not_return_to(&self, origin: &Origin) -> Option<String> {
        if origin.as_str().len() > 255 {
            return Some("must not name an origin of more than 255 characters.".to_owned());
        }
        if origin.scheme() != "https" && !origin.is_local() {
            return Some(format!(
                "must name origins that begin with `https:`, unless they are on this machine; `{origin}` does not."
            ));
        }
        match &self.server.public_url {
            None if origin.is_local() && origin.scheme() == "http" => None,
            None => Some(format!(
                "needs `server.public_url`: without it, people can return only to pages on this machine, such as \
                 `http://localhost:3000`, not to `{origin}`."
            )),
            Some(public_url) if is_same_site(origin, public_url) => None,
            Some(public_url) => Some(format!(
                "must name origins of the same site as `server.public_url` ({public_url}), because browsers keep the session's \
                 cookie from other sites; `{origin}` is another site."
            )),
        }
    }
}

/// Returns whether a text is a host name or an IP address. Whether the host exists is not known before a mail is sent.
fn is_host(text: &str) -> bool {
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    text.parse::<IpAddr>().is_ok() || text.len() <= 253 && text.split('.').all(is_label)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn out_of_range(name: &str, value: u64, range: &RangeInclusive<u64>, unit: &str) -> SettingError {
    let (min, max) = (range.start(), range.end());
    SettingError::new(name, format!("must be {min} to {max}{unit}, not {value}."))
}

/// Returns whether a text is a level or a list of directives. Words that are not levels are rejected: `EnvFilter` would take
/// `inof` for the name of a target and silence all others.
fn is_log_level(raw: &str) -> bool {
    let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    let parts = raw.split(',').map(str::trim);
    parts.into_iter().all(|part| part.contains(['=', '[', ']', '}']) || is_level(part)) && EnvFilter::try_new(raw).is_ok()
}

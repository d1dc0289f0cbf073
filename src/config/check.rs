//! Limits: what a value may be beyond its type, and which settings need or exclude each other.

use std::{ops::RangeInclusive, time::Duration};

use secrecy::ExposeSecret;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{Algorithm, Error, Problem, Settings, database_url, networks, weak};

const DAY: u64 = 24 * 60 * 60;

impl Settings {
    /// Checks every limit; [`Settings::load`] has done so.
    ///
    /// # Errors
    /// Names every value outside its limits, and no secret.
    pub fn validate(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        self.check_ranges(&mut problems);
        self.check_secrets(&mut problems);
        self.check_texts(&mut problems);
        Error::unless_none(problems)
    }

    fn check_ranges(&self, problems: &mut Vec<Problem>) {
        let mut seconds = |name, value: Duration, range: RangeInclusive<u64>| {
            let whole = value.as_secs() + u64::from(value.subsec_nanos() > 0);
            if !range.contains(&whole) {
                problems.push(outside(name, whole, &range, " seconds"));
            }
        };
        // The upper limits of sessions and audit keep dates within what both databases can hold.
        seconds("tokens.access_ttl", self.tokens.access_ttl, 1..=60 * 60);
        seconds("sessions.idle_ttl", self.sessions.idle_ttl, 1..=3_650 * DAY);
        seconds("sessions.max_ttl", self.sessions.max_ttl, 1..=3_650 * DAY);
        seconds("sessions.replay_window", self.sessions.replay_window, 0..=60);
        seconds("revocation.max_staleness", self.revocation.max_staleness, 1..=60);
        seconds("password.max_wait", self.password.max_wait, 0..=60);
        seconds("database.wait", self.database.wait, 0..=60 * 60);
        seconds("audit.retention", self.audit.retention, DAY..=36_500 * DAY);

        if self.sessions.max_ttl < self.sessions.idle_ttl {
            problems.push(Problem::new("sessions.max_ttl", "must not be shorter than `sessions.idle_ttl`."));
        }

        let password = &self.password;
        let mut number = |name, value: u64, range: RangeInclusive<u64>| {
            if !range.contains(&value) {
                problems.push(outside(name, value, &range, ""));
            }
        };
        number("password.bcrypt_cost", password.bcrypt_cost.into(), 10..=16);
        number("password.min_length", password.min_length as u64, 8..=128);
        if let Some(threads) = password.hash_threads {
            number("password.hash_threads", threads as u64, 1..=64);
        }
    }

    fn check_secrets(&self, problems: &mut Vec<Problem>) {
        if let Err(error) = self.master_key() {
            problems.extend(error.into_problems());
        }

        let url = self.database.url.as_ref().map_or("sqlite:default", ExposeSecret::expose_secret);
        if let Err(sentence) = database_url::check(url) {
            let end = if sentence.ends_with('?') { "" } else { "." };
            problems.push(Problem::new("database.url", sentence + end));
        }
        if url.starts_with("postgres") && self.master_key.is_none() {
            problems.push(Problem::new("master_key", "is required with PostgreSQL."));
        }

        let sentence = match (self.signing.algorithm, &self.signing.secret) {
            (Algorithm::Hs256, None) => "is required with HS256.",
            // RFC 7518 section 3.2: a key at least as long as the hash.
            (Algorithm::Hs256, Some(secret)) if secret.expose_secret().len() < 32 => "must be at least 32 bytes long.",
            (Algorithm::Hs256, Some(secret)) if weak::is_well_known(secret.expose_secret()) => {
                "is published or easy to guess, so that anybody can forge tokens; make one with `openssl rand -base64 48`."
            }
            (Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256, Some(_)) => {
                "is only for HS256: set `signing.algorithm` to that, or remove the secret."
            }
            _ => return,
        };
        problems.push(Problem::new("signing.secret", sentence));
    }

    fn check_texts(&self, problems: &mut Vec<Problem>) {
        if self.data_dir.as_os_str().is_empty() {
            problems.push(Problem::new("data_dir", "must not be empty."));
        }
        let issuer = self.tokens.issuer.as_deref();
        for (name, text) in [("tokens.issuer", issuer), ("tokens.audience", Some(self.tokens.audience.as_str()))] {
            if text.is_some_and(|text| !(1..=255).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic())) {
                problems.push(Problem::new(name, "must be 1 to 255 ASCII characters without spaces."));
            }
        }
        if networks::hold_strangers(&self.server.trusted_proxies) {
            let sentence =
                "holds a large part of the Internet: anybody there could claim any address. Name the networks of your proxies.";
            problems.push(Problem::new("server.trusted_proxies", sentence));
        }
        if self.metrics.listen == Some(self.server.listen) && self.server.listen.port() != 0 {
            problems.push(Problem::new("metrics.listen", "must differ from `server.listen`."));
        }
        if !is_log_level(&self.log.level) {
            let sentence = "must be `off`, `error`, `warn`, `info`, `debug` or `trace`, or directives such as \
                            `info,vestibule=debug`.";
            problems.push(Problem::new("log.level", sentence));
        }
    }
}

fn outside(name: &str, value: u64, range: &RangeInclusive<u64>, unit: &str) -> Problem {
    let (least, most) = (range.start(), range.end());
    Problem::new(name, format!("must be {least} to {most}{unit}, not {value}."))
}

/// The filter takes any bare word for a target, so that `inof` would silence all but a module of that name.
fn is_log_level(raw: &str) -> bool {
    let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    let parts = raw.split(',').map(str::trim);
    parts.into_iter().all(|part| part.contains(['=', '[', ']', '}']) || is_level(part)) && EnvFilter::try_new(raw).is_ok()
}

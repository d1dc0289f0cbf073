//! Validation of `database.url`. The driver would ignore an unknown parameter, such as `sslmod=require`, and log its value,
//! which may be a password. The messages of this module repeat nothing of the URL.

use std::path::Path;

/// The parameters of a PostgreSQL URL. In addition, `options[…]` sets any setting of the database server.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
];
const SSL_MODES: &[&str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Returns the URL of a SQLite database in this file.
pub fn of_file(path: &Path) -> String {
    // The driver decodes percent signs and reads options after a question mark.
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite:{path}")
}

/// Rejects a URL that cannot be used, or that the driver would misread. The error is the rest of a sentence that begins with
/// the name of the setting, without a full stop.
pub fn check(url: &str) -> Result<(), String> {
    match url.split_once(':') {
        Some(("sqlite", rest)) => check_sqlite(rest),
        Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => check_postgres(rest),
        _ => Err("must begin with `sqlite:` and a file, or with `postgres://`".to_owned()),
    }
}

fn check_sqlite(rest: &str) -> Result<(), String> {
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if path.ends_with(":memory:") || parameters.contains("mode=memory") {
        return Err("must name a file: a database in memory would lose all accounts at every restart".to_owned());
    }
    if path.trim_start_matches('/').is_empty() {
        return Err("must begin with `sqlite:` and a file, or with `postgres://`".to_owned());
    }
    if !["", "mode=rw", "mode=rwc"].contains(&parameters) {
        return Err("must have no parameters for SQLite; write %3F for a ? in the path".to_owned());
    }
    Ok(())
}

fn check_postgres(rest: &str) -> Result<(), String> {
    // A parser would read the rest of such a password as parameters.
    if rest.split_once(['?', '#']).is_some_and(|(_, rest)| rest.contains('@')) {
        return Err("has a ? or # before the @: write %3F and %23 in a password".to_owned());
    }
    if rest.contains('#') {
        return Err("has a #, after which everything would be ignored: write %23".to_owned());
    }
    let Some((_, query)) = rest.split_once('?') else { return Ok(()) };
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_option = name.starts_with("options[") && name.ends_with(']');
        if !is_option && !PARAMETERS.contains(&&*name) {
            return Err(unknown(&name));
        }
        if matches!(&*name, "sslmode" | "ssl-mode") && !SSL_MODES.contains(&&*value) {
            return Err(format!("has an unknown sslmode; known are {}", SSL_MODES.join(", ")));
        }
        if seen.contains(&name) {
            return Err("has a parameter twice; only the last would count".to_owned());
        }
        seen.push(name);
    }
    Ok(())
}

/// Returns the message about an unknown parameter. It does not repeat the parameter, which may be a part of a password.
fn unknown(name: &str) -> String {
    let distance = |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), other);
    match PARAMETERS.iter().map(|other| (distance(other), other)).min() {
        Some((distance, nearest)) if distance <= 2 => format!("has an unknown parameter; did you mean `{nearest}`?"),
        _ => format!("has an unknown parameter; known are {}", PARAMETERS.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn urls_that_the_driver_understands_are_accepted() {
        for url in [
            "sqlite:data/vestibule.db",
            "sqlite:///var/lib/vestibule.db?mode=rw",
            "postgres://ada@localhost/db",
            "postgresql://ada:%3Fx%23@db.example.org:5432/db?sslmode=verify-full&sslrootcert=/ca.pem",
            "postgres:///db?host=/run/postgresql&user=ada&options[search_path]=mine",
            "postgres://ada@localhost/db?",
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn urls_that_the_driver_would_misread_are_rejected_and_not_repeated() {
        for (url, hint) in [
            ("postgres://ada@localhost/db?pass=hunter2", "known are"),
            ("postgres://ada@localhost/db?passwrod=hunter2", "did you mean `password`?"),
            ("postgres://ada@localhost/db?sslmod=require", "did you mean `sslmode`?"),
            ("postgres://ada@localhost/db?SSLMODE=require", "did you mean `sslmode`?"),
            ("postgres://ada@localhost/db?sslmode=Require", "known are disable, allow"),
            ("postgres://ada@localhost/db?sslmode=hunter2", "known are disable, allow"),
            ("postgres://ada@localhost/db?sslmode=require&sslmode=disable", "twice"),
            ("postgres://ada@localhost/db?sslmode", "known are disable"),
            ("postgres://ada@localhost/db?hunter2", "unknown parameter"),
            ("postgres://ada@localhost/db?=hunter2", "unknown parameter"),
            ("postgres://ada@localhost/db?options[hunter2=1", "unknown parameter"),
            ("postgres://ada@localhost/db?connect_timeout=10", "unknown parameter"),
            ("postgres://ada@localhost/db#hunter2", "%23"),
            ("postgres://ada:hunter2?x@localhost/db", "before the @"),
            ("sqlite:data/vestibule.db?key=hunter2", "no parameters"),
            ("sqlite::memory:", "in memory"),
            ("mysql://ada:hunter2@localhost/db", "must begin with"),
            ("postgres:ada@localhost/db", "must begin with"),
        ] {
            let message = check(url).unwrap_err();
            assert!(message.contains(hint) && !message.contains("hunter2"), "{url}: {message}");
        }
    }
}

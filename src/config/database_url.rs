//! What `database.url` may say. The driver would overlook a parameter that it does not know, `sslmod=require` for one, and
//! log its value, which may be a password. No sentence here repeats anything of the URL.

/// The parameters of a PostgreSQL URL. Beside them, `options[…]` sets any setting of the server.
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

/// Refuses a URL that is of no use, or that the driver would read otherwise than it is meant.
///
/// # Errors
/// The rest of a sentence that begins with the setting, without a full stop.
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
        return Err("must name a file: a database in memory would lose every account".to_owned());
    }
    if path.trim_start_matches('/').is_empty() {
        return Err("must begin with `sqlite:` and a file, or with `postgres://`".to_owned());
    }
    if !["", "mode=rw", "mode=rwc"].contains(&parameters) {
        return Err("takes no parameters for SQLite; a ? in the path is written %3F".to_owned());
    }
    Ok(())
}

fn check_postgres(rest: &str) -> Result<(), String> {
    // A parser takes the rest of such a password for parameters.
    if rest.split_once(['?', '#']).is_some_and(|(_, rest)| rest.contains('@')) {
        return Err("has a ? or # before its @: write them %3F and %23 in a password".to_owned());
    }
    if rest.contains('#') {
        return Err("has a #, and what follows would be overlooked: write it %23".to_owned());
    }
    let Some((_, query)) = rest.split_once('?') else { return Ok(()) };
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_option = name.starts_with("options[") && name.ends_with(']');
        if !is_option && !PARAMETERS.contains(&&*name) {
            return Err(unknown(&name));
        }
        if matches!(&*name, "sslmode" | "ssl-mode") && !SSL_MODES.contains(&&*value) {
            return Err(format!("has an sslmode that is none of {}", SSL_MODES.join(", ")));
        }
        if seen.contains(&name) {
            return Err("has a parameter twice, of which only the last would count".to_owned());
        }
        seen.push(name);
    }
    Ok(())
}

/// The sentence about a parameter that is not known. It may be a piece of a password, so it is not repeated.
fn unknown(name: &str) -> String {
    let near = |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), other);
    match PARAMETERS.iter().map(|other| (near(other), other)).min() {
        Some((far, nearest)) if far <= 2 => format!("has a parameter that is not known; did you mean `{nearest}`?"),
        _ => format!("has a parameter that is not known; known are {}", PARAMETERS.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_the_driver_understands_is_accepted() {
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
    fn what_the_driver_would_overlook_is_refused_and_not_repeated() {
        for (url, hint) in [
            ("postgres://ada@localhost/db?pass=hunter2", "known are"),
            ("postgres://ada@localhost/db?passwrod=hunter2", "did you mean `password`?"),
            ("postgres://ada@localhost/db?sslmod=require", "did you mean `sslmode`?"),
            ("postgres://ada@localhost/db?SSLMODE=require", "did you mean `sslmode`?"),
            ("postgres://ada@localhost/db?sslmode=Require", "none of disable, allow"),
            ("postgres://ada@localhost/db?sslmode=hunter2", "none of disable, allow"),
            ("postgres://ada@localhost/db?sslmode=require&sslmode=disable", "twice"),
            ("postgres://ada@localhost/db?sslmode", "none of disable"),
            ("postgres://ada@localhost/db?hunter2", "not known"),
            ("postgres://ada@localhost/db?=hunter2", "not known"),
            ("postgres://ada@localhost/db?options[hunter2=1", "not known"),
            ("postgres://ada@localhost/db?connect_timeout=10", "not known"),
            ("postgres://ada@localhost/db#hunter2", "%23"),
            ("postgres://ada:hunter2?x@localhost/db", "before its @"),
            ("sqlite:data/vestibule.db?key=hunter2", "no parameters"),
            ("sqlite::memory:", "in memory"),
            ("mysql://ada:hunter2@localhost/db", "must begin with"),
            ("postgres:ada@localhost/db", "must begin with"),
        ] {
            let sentence = check(url).unwrap_err();
            assert!(sentence.contains(hint) && !sentence.contains("hunter2"), "{url}: {sentence}");
        }
    }
}

//! Tests of the settings: the order of the layers, the errors, and that no secret is printed.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::values::registration_mode::RegistrationMode;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn directory(toml: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("vestibule.toml"), toml).unwrap();
    directory
}

fn load(toml: &str, env: &[(&str, &str)]) -> Result<Settings, Error> {
    let env = env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Settings::load_in(directory(toml).path(), None, env)
}

/// The error message, without the directory of the file.
fn error_message(toml: &str, env: &[(&str, &str)]) -> String {
    let directory = directory(toml);
    let env = env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let error = Settings::load_in(directory.path(), None, env).expect_err("is rejected");
    error.to_string().replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn no_setting_is_needed() {
    let empty = tempfile::tempdir().unwrap();
    let settings = Settings::load_in::<String>(empty.path(), None, []).unwrap();
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.issuer(), "http://127.0.0.1:8080");
    assert_eq!(settings.database_url().expose_secret(), "sqlite:./data/vestibule.db");
    assert_eq!(settings.signing.algorithm, Algorithm::EdDsa);
    assert_eq!(settings.tokens.access_ttl, Duration::from_mins(15));
    assert!(settings.master_key().unwrap().is_none());
    assert!((1..=64).contains(&settings.password.threads()));
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let toml = "[tokens]\naccess_ttl = 60\naudience = 'file'\n[cors]\norigins = ['https://file.example']";
    let env = [("VESTIBULE_TOKENS__AUDIENCE", "env"), ("VESTIBULE_CORS__ORIGINS", "https://a.example, http://b.example:81")];
    let settings = load(toml, &env).unwrap();
    assert_eq!(settings.tokens.access_ttl.as_secs(), 60);
    assert_eq!(settings.tokens.audience, "env");
    let origins: Vec<_> = settings.cors.origins.iter().map(CorsOrigin::as_str).collect();
    assert_eq!(origins, ["https://a.example", "http://b.example:81"]);
    assert_eq!(settings.sessions.max_ttl.as_secs(), 90 * 86_400);
    assert!(load("[cors]\norigins = []", &[]).unwrap().cors.origins.is_empty());
}

#[test]
fn a_named_file_is_read_instead_and_must_exist() {
    let directory = directory("nonsense = 1");
    let named = directory.path().join("other.toml");
    fs::write(&named, "data_dir = '/var/lib/vestibule'").unwrap();
    let settings = Settings::load_in::<String>(directory.path(), Some(&named), []).unwrap();
    assert_eq!(settings.data_dir, Path::new("/var/lib/vestibule"));
    fs::remove_file(&named).unwrap();
    let error = Settings::load_in::<String>(directory.path(), Some(&named), []).unwrap_err().to_string();
    assert!(error.contains("other.toml cannot be read"), "{error}");
}

#[test]
fn every_type_is_parsed_from_the_environment() {
    let env = [
        ("VESTIBULE_DATA_DIR", "/srv/v%?#"),
        ("VESTIBULE_MASTER_KEY", KEY),
        ("VESTIBULE_SERVER__LISTEN", "[::1]:0"),
        ("VESTIBULE_SERVER__PUBLIC_URL", "https://ID.example.org:443"),
        ("VESTIBULE_SERVER__TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1,fd00::/8"),
        ("VESTIBULE_PASSWORD__BCRYPT_COST", "10"),
        ("VESTIBULE_PASSWORD__HASH_THREADS", "3"),
        ("VESTIBULE_REGISTRATION__MODE", "verified"),
        ("VESTIBULE_METRICS__LISTEN", "127.0.0.1:9090"),
        ("VESTIBULE_LOG__LEVEL", "info,vestibule=debug"),
        ("VESTIBULE_LOG__FORMAT", "json"),
        ("PATH", "/bin"),
    ];
    let settings = load("", &env).unwrap();
    assert_eq!(settings.issuer(), "https://id.example.org");
    assert_eq!(settings.server.trusted_proxies[1].to_string(), "192.0.2.1/32");
    assert_eq!(settings.database_url().expose_secret(), "sqlite:/srv/v%25%3F%23/vestibule.db");
    assert_eq!((settings.password.bcrypt_cost, settings.password.threads()), (10, 3));
    assert_eq!(settings.registration.mode, RegistrationMode::Verified);
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.master_key().unwrap().unwrap()[31], 31);
}

#[test]
fn a_secret_of_digits_is_not_parsed_as_a_number() {
    let digits = "31957204886513072946581720394856".to_owned();
    let env = [("VESTIBULE_SIGNING__ALGORITHM", "HS256"), ("VESTIBULE_SIGNING__SECRET", digits.as_str())];
    let settings = load("", &env).unwrap();
    assert_eq!(settings.signing.secret.unwrap().expose_secret(), digits);
    let toml = "[signing]\nsecret = 12345678901234567";
    assert_eq!(error_message(toml, &[]), "`signing.secret` (from vestibule.toml) must be text.");
}

#[test]
fn a_misspelt_setting_is_reported_with_its_source_and_a_suggestion() {
    let env = [
        ("VESTIBULE_SESIONS__IDLE_TTL", "1"),
        ("vestibule_data_dir", "x"),
        ("VESTIBULE_DATABASE_URL", "x"),
        ("VESTIBULE_DATADIR", "x"),
        ("VESTIBULE_SERVER_LISTN", "x"),
        ("VESTIBULE__CORS__ORIGINS", "x"),
        ("VESTIBULE_DATA_DIR_FILE", "x"),
    ];
    let toml = "passwrd.min_length = 9\n[server]\nlistn = 'x'\n[nothing_like_it]\n[log.level]\nall = 'x'";
    let message = error_message(toml, &env);
    let lines: BTreeSet<_> = message.lines().collect();
    let expected = BTreeSet::from([
        "`sesions.idle_ttl` (from VESTIBULE_SESIONS__IDLE_TTL) is not a setting; did you mean `sessions.idle_ttl`?",
        "`database_url` (from VESTIBULE_DATABASE_URL) is not a setting; did you mean `database.url`?",
        "`datadir` (from VESTIBULE_DATADIR) is not a setting; did you mean `data_dir`?",
        "`server_listn` (from VESTIBULE_SERVER_LISTN) is not a setting; did you mean `server.listen`?",
        "`_cors.origins` (from VESTIBULE__CORS__ORIGINS) is not a setting; did you mean `cors.origins`?",
        "`data_dir_file` (from VESTIBULE_DATA_DIR_FILE) is not a setting: only secrets can be read from files.",
        "`data_dir` (from vestibule_data_dir) must be written VESTIBULE_DATA_DIR as an environment variable.",
        "`passwrd.min_length` (from vestibule.toml) is not a setting; did you mean `password.min_length`?",
        "`server.listn` (from vestibule.toml) is not a setting; did you mean `server.listen`?",
        "`nothing_like_it` (from vestibule.toml) is not a setting.",
        "`log.level.all` (from vestibule.toml) is not a setting; did you mean `log.level`?",
    ]);
    assert_eq!(lines, expected);
}

#[rstest]
fn an_unrelated_variable_is_ignored_with_a_warning(
    #[values(
        "VESTIBULE_VERSION",
        "VESTIBULE_PORT",
        "VESTIBULE_SERVICE_HOST",
        "VESTIBULE_SERVICE_PORT_HTTP",
        "VESTIBULE_PORT_8080_TCP_ADDR",
        "VESTIBULE_SERVER_PORT",
        "VESTIBULE_SERVER_SERVICE_HOST",
        "VESTIBULE_DATABASE_PORT_5432_TCP",
        "VESTIBULE_IMAGE",
        "VESTIBULE_HOME",
        "VESTIBULE_GIT_COMMIT",
        "VESTIBULE_BCRYPT_COST",
        "VESTIBULE_SERVER",
        "VESTIBULE_\u{c4}"
    )]
    variable: &str,
) {
    let settings = load("", &[(variable, "hunter2"), ("VESTIBULE_TOKENS__AUDIENCE", "api")]).unwrap();
    assert_eq!(settings.tokens.audience, "api");
    assert_eq!(settings.warnings.len(), 1);
    assert!(settings.warnings[0].contains(variable) && !settings.warnings[0].contains("hunter2"), "{:?}", settings.warnings);
}

#[test]
fn an_empty_variable_counts_as_unset_and_an_empty_secret_stops_the_start() {
    let toml = "[tokens]\naudience = 'file'\n[cors]\norigins = ['https://file.example']";
    let names = REFERENCE.iter().filter(|setting| !setting.secret).map(Setting::variable);
    let empty: Vec<_> = names.chain(["VESTIBULE_VERSION".into(), "VESTIBULE_DATABASE_URL".into()]).collect();
    let settings = load(toml, &empty.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>()).unwrap();
    assert_eq!((settings.tokens.audience.as_str(), settings.cors.origins.len(), settings.warnings.len()), ("file", 1, 0));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    for setting in REFERENCE.iter().filter(|setting| setting.secret) {
        let (variable, in_file) = (setting.variable(), format!("{}_FILE", setting.variable()));
        let expected = format!("`{}` (from {variable}) must not be empty.", setting.name);
        assert_eq!(error_message("", &[(&variable, "")]), expected);
        for content in ["", "\n", "\r\n", " \n"] {
            fs::write(&path, content).unwrap();
            assert_eq!(error_message("", &[(&in_file, path.to_str().unwrap())]), expected.replace(&variable, &in_file));
        }
        let toml = match setting.name.rsplit_once('.') {
            Some((section, key)) => format!("[{section}]\n{key} = ''"),
            None => format!("{} = ''", setting.name),
        };
        assert!(error_message(&toml, &[]).contains(setting.name), "{toml}");
    }
}

#[test]
fn a_published_secret_is_rejected_and_not_repeated() {
    let env = |secret| [("VESTIBULE_SIGNING__ALGORITHM", "HS256"), ("VESTIBULE_SIGNING__SECRET", secret)];
    let message = error_message("", &env("a-string-secret-at-least-256-bits-long"));
    assert!(message.starts_with("`signing.secret` (from VESTIBULE_SIGNING__SECRET) is published or easy to guess"), "{message}");
    assert!(!message.contains("256-bits"), "{message}");
    load("", &env("3pV0o5Wq8mYk2TzR7cHs1XnB9dLfG6jA")).unwrap();
}

#[test]
fn all_invalid_values_are_reported_at_once() {
    let toml = "[server]\nlisten = 'localhost'\n[tokens]\naccess_ttl = 1.5\n[throttle]\nenabled = 1";
    let env = [("VESTIBULE_SIGNING__ALGORITHM", "none"), ("VESTIBULE_PASSWORD__BCRYPT_COST", "9")];
    assert_eq!(
        error_message(toml, &env).lines().collect::<BTreeSet<_>>(),
        BTreeSet::from([
            "`server.listen` (from vestibule.toml) must be an IP address and a port, such as 127.0.0.1:8080, not \"localhost\".",
            "`tokens.access_ttl` (from vestibule.toml) must be a whole number of seconds, not 1.5.",
            "`throttle.enabled` (from vestibule.toml) must be true or false, not 1.",
            "`signing.algorithm` (from VESTIBULE_SIGNING__ALGORITHM) must be EdDSA, ES256, RS256 or HS256, not \"none\".",
            "`password.bcrypt_cost` (from VESTIBULE_PASSWORD__BCRYPT_COST) must be 10 to 16, not 9.",
        ])
    );
}

#[test]
fn a_secret_can_be_read_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let path = path.to_str().unwrap();
    let env = [("VESTIBULE_SIGNING__ALGORITHM", "HS256"), ("VESTIBULE_SIGNING__SECRET_FILE", path)];
    let secret = " a secret with spaces and newlines\n";
    for newline in ["\n", "\r\n"] {
        fs::write(path, format!("{secret}{newline}")).unwrap();
        assert_eq!(load("", &env).unwrap().signing.secret.unwrap().expose_secret(), secret);
    }
    let both = [("VESTIBULE_MASTER_KEY", KEY), ("VESTIBULE_MASTER_KEY_FILE", path)];
    let expected = "`master_key` is set by VESTIBULE_MASTER_KEY and by VESTIBULE_MASTER_KEY_FILE; remove one of them.";
    assert_eq!(error_message("", &both), expected);
    fs::write(path, "\n").unwrap();
    let url = [("VESTIBULE_DATABASE__URL_FILE", path)];
    assert_eq!(error_message("", &url), "`database.url` (from VESTIBULE_DATABASE__URL_FILE) must not be empty.");
    fs::remove_file(path).unwrap();
    assert!(error_message("", &url).starts_with("`database.url` (from VESTIBULE_DATABASE__URL_FILE) cannot be read from"));
    assert!(load("", &[("VESTIBULE_DATA_DIR_FILE", path)]).is_err(), "only secrets can be read from files");
}

#[rstest]
#[case("tokens.access_ttl", &["1", "3600"], &["0", "3601", "-1", "+1", "1s", "18446744073709551616"])]
#[case("sessions.idle_ttl", &["1", "7776000"], &["0", "7776001"])]
#[case("sessions.max_ttl", &["2592000", "315360000"], &["2591999", "315360001"])]
#[case("sessions.replay_window", &["0", "60"], &["61"])]
#[case("revocation.max_staleness", &["1", "60"], &["0", "61"])]
#[case("password.bcrypt_cost", &["10", "16"], &["9", "17", "4294967306"])]
#[case("password.min_length", &["8", "128"], &["7", "129"])]
#[case("password.hash_threads", &["1", "64"], &["0", "65"])]
#[case("password.lanes", &["1", "5"], &["0", "6"])]
#[case("server.drain", &["0", "60"], &["61"])]
#[case("password.max_wait", &["0", "60"], &["61"])]
#[case("audit.retention", &["86400", "3153600000"], &["86399", "3153600001"])]
#[case("audit.erase_after", &["0", "1", "3153600000"], &["3153600001"])]
#[case("registration.mode", &["open", "verified", "invited", "closed"], &["Open", "true", "false", "verify"])]
#[case("second_factor.require", &["none", "administrators", "everyone"], &["None", "true", "admins"])]
#[case("cookies.insecure", &["true"], &["0"])]
#[case("throttle.enabled", &["false"], &["off"])]
#[case("signing.algorithm", &["EdDSA", "ES256", "RS256"], &["eddsa", "none", "HS256", "RS512"])]
#[case("signing.secret", &[], &["a-secret-of-thirty-two-bytes-....."])]
#[case("database.url", &["sqlite:a.db"], &["sqlite::memory:", "sqlite:", "sqlite://", "mysql://a/b", "a.db", ""])]
#[case("master_key", &[KEY, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "__________________________________________8"],
    &["c2hvcnQ=", "not base64", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"])]
#[case("server.listen", &["0.0.0.0:80", "[::]:0"], &["localhost:80", "80", "127.0.0.1"])]
#[case("server.public_url", &["http://localhost:8080", "https://[::1]:8443"],
    &["https://a.example/", "https://a.example/x", "https://a.example?x", "https://a.example#x", "ftp://a.example",
      "https://u:p@a.example", "https://", "https://a..b", "https://a:0", "https://a:+1", "https://a:", "https://[::g]",
      "https://\u{e9}.example", "a.example"])]
#[case("server.trusted_proxies", &["", "10.0.0.1", "::1, 10.0.0.0/8"],
    &["10.0.0.1/8", "10.0.0.0/33", "proxy", "10.0.0.1,", "0.0.0.0/0", "::/0", "::ffff:0:0/96", "0.0.0.0/1, 128.0.0.0/1", "10.0.0.0/8, 2000::/3"])]
#[case("server.hsts", &["off", "host", "include_subdomains", ""], &["on", "true", "preload", "Host"])]
#[case("cors.origins", &["", "https://a.example", "capacitor://localhost,https://*.preview.example.org"], &["*", "https://*.example", "null", "https://a.example,,"])]
#[case("mail.transport", &["file", "log", "none", ""], &["smtp", "sendmail", "SMTP"])]
#[case("mail.from", &["id@example.org", "Example <id@example.org>"], &["Example", "id@localhost", "a@b.c, d@e.f"])]
#[case("mail.reply_to", &["Help <help@example.org>"], &["help"])]
#[case("mail.language", &["en", "de"], &["fr", "DE"])]
#[case("mail.templates_dir", &["/etc/vestibule/mail"], &[])]
#[case("mail.link_base", &["https://www.example.org/id/", "http://localhost:3000"],
    &["www.example.org", "https://a.example/?x", "https://a.example/#x", "https://a.example//x", "https://a.example/../x", "https://u@a.example/x",
      "https://a.example/a b", "ftp://a.example/x", "https:///x"])]
#[case("mail.max_per_hour", &["1", "1000000"], &["0", "1000001", "-1"])]
#[case("mail.reset_ttl", &["60", "3600"], &["59", "3601"])]
#[case("mail.smtp.port", &["1", "65535"], &["0", "65536", "-1", "smtp"])]
#[case("mail.smtp.tls", &["implicit", "starttls", "none"], &["ssl", "true", "Implicit"])]
#[case("mail.smtp.host", &[], &["mail.example.org:25", "a b", "smtp://mail", "-", "a..b", "mail.example.org"])]
#[case("mail.smtp.username", &[], &["id"])]
#[case("mail.smtp.password", &[], &["secret"])]
#[case("account_pages.enabled", &["false"], &["off"])]
#[case("account_pages.name", &["Example & S\u{f6}hne"], &["\u{200b}", "a\nb"])]
#[case("account_pages.accent", &["#0b57d0", "#000000"], &["#ffd400", "0b57d0", "blue", "#fff"])]
#[case("account_pages.return_to", &["", "http://localhost:3000, http://127.0.0.1:81"],
    &["https://app.example.org", "http://app.example.org", "https://localhost", "http://localhost/x", "*", "capacitor://localhost"])]
#[case("metrics.listen", &["127.0.0.1:9090"], &["127.0.0.1:8080", "9090"])]
#[case("tokens.audience", &["api", "https://api.example/"], &["two words"])]
#[case("tokens.issuer", &["https://id.example/tenant"], &["caf\u{e9}"])]
#[case("server.base_path", &["", "/", "/auth", "/a/b.c/"], &["auth", "//", "/a//b", "/a b", "/../a", "/.well-known", "https://a.b/c"])]
#[case("log.level", &["off", "info", "warn,vestibule=trace", "info,[request{id}]=debug"], &["inof", "info,,", "vestibule=inof"])]
#[case("log.format", &["auto", "text", "json"], &["JSON", "xml"])]
#[case("data_dir", &["/srv", ""], &[])]
fn each_setting_has_its_limits(#[case] name: &str, #[case] good: &[&str], #[case] bad: &[&str]) {
    let setting = REFERENCE.iter().find(|setting| setting.name == name).unwrap();
    for text in good {
        if let Err(error) = load("", &[(&setting.variable(), text)]) {
            panic!("{text}: {error}");
        }
    }
    for text in bad {
        let error = load("", &[(&setting.variable(), text)]).expect_err(text);
        let message = error.to_string();
        assert_eq!(error.into_errors()[0].section(), name.split('.').next(), "{message}");
    }
}

#[test]
fn registration_open_is_read_for_one_more_release() {
    for (text, mode) in [("true", RegistrationMode::Open), ("false", RegistrationMode::Closed)] {
        let toml = format!("[registration]\nopen = {text}");
        let variable = [("VESTIBULE_REGISTRATION__OPEN", text)];
        for (settings, source) in [(load(&toml, &[]), "vestibule.toml"), (load("", &variable), "VESTIBULE_REGISTRATION__OPEN")] {
            let settings = settings.unwrap();
            assert_eq!(settings.registration.mode, mode);
            let [warning] = &settings.warnings[..] else { panic!("{:?}", settings.warnings) };
            assert!(warning.starts_with("`registration.open` (from ") && warning.contains(source), "{warning}");
            assert!(warning.ends_with(&format!("set that to `{}`.", mode.as_str())), "{warning}");
            let printed = settings.print();
            assert!(printed.contains(&format!("mode = \"{}\"\n", mode.as_str())), "{printed}");
            assert!(load(&printed, &[]).unwrap().warnings.is_empty());
        }
        let both = error_message(&toml, &[("VESTIBULE_REGISTRATION__MODE", "open")]);
        let expected = "`registration.open` (from vestibule.toml) is the former name of `registration.mode`, which is set too; \
                        remove it.";
        assert_eq!(both, expected);
    }
    let message = error_message("[registration]\nopen = 'yes'", &[]);
    assert_eq!(message, "`registration.open` (from vestibule.toml) must be true or false, not \"yes\".");
}

#[test]
fn t11_hs256_needs_a_secret_of_32_bytes() {
    let with = |secret: &str| {
        let signing = SigningSettings { algorithm: Algorithm::Hs256, secret: Some(secret.into()) };
        Settings { signing, ..Settings::default() }.validate()
    };
    let secret = "3pV0o5Wq8mYk2TzR7cHs1XnB9dLfG6jA";
    assert!(with(secret).is_ok());
    assert_eq!(with(&secret[1..]).unwrap_err().to_string(), "`signing.secret` must be at least 32 bytes long.");
    let alone = error_message("[signing]\nalgorithm = 'HS256'", &[]);
    assert_eq!(alone, "`signing.secret` is required with HS256.");
}

/// Settings that send mail over the server of the test, and those of `more` in addition.
fn smtp(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut env = vec![
        ("VESTIBULE_SERVER__PUBLIC_URL", "https://id.example.org"),
        ("VESTIBULE_MAIL__TRANSPORT", "smtp"),
        ("VESTIBULE_MAIL__FROM", "Example <id@example.org>"),
        ("VESTIBULE_MAIL__SMTP__HOST", "mail.example.org"),
    ];
    env.extend(more);
    env
}

#[test]
fn smtp_needs_a_public_url_a_sender_and_a_server() {
    load("", &smtp(&[])).unwrap();
    let message = error_message("[mail]\ntransport = 'smtp'", &[]);
    for name in ["server.public_url", "mail.from", "mail.smtp.host"] {
        assert!(message.contains(&format!("`{name}` is required if `mail.transport` is `smtp`.")), "{message}");
    }
    let message = error_message("[mail.smtp]\nhost = 'mail.example.org'", &[]);
    assert_eq!(message, "`mail.transport` must be set with `mail.smtp.host`: `smtp` sends mails to this server.");
    load("[mail]\ntransport = 'file'\n[mail.smtp]\nhost = 'mail.example.org'", &[]).unwrap();
    load("[mail.smtp]\n", &[]).unwrap();
}

#[test]
fn a_mail_password_never_crosses_a_network_in_clear() {
    let login = [("VESTIBULE_MAIL__SMTP__USERNAME", "id"), ("VESTIBULE_MAIL__SMTP__PASSWORD", "hunter2")];
    load("", &smtp(&login)).unwrap();
    for part in login {
        let message = error_message("", &smtp(&[part]));
        assert!(message.contains(" is required with `mail.smtp."), "{message}");
    }
    let plain = ("VESTIBULE_MAIL__SMTP__TLS", "none");
    let message = error_message("", &smtp(&[login[0], login[1], plain]));
    assert!(
        message.starts_with("`mail.smtp.tls` (from VESTIBULE_MAIL__SMTP__TLS) must not be `none` with a password"),
        "{message}"
    );
    assert!(!message.contains("hunter2"));
    load("", &smtp(&[plain])).unwrap();
    for host in ["localhost", "127.0.0.1", "::1"] {
        load("", &smtp(&[login[0], login[1], plain, ("VESTIBULE_MAIL__SMTP__HOST", host)])).unwrap();
    }
}

#[test]
fn mail_becomes_files_until_there_is_a_public_url() {
    let public = ("VESTIBULE_SERVER__PUBLIC_URL", "https://id.example.org");
    let settings = load("", &[]).unwrap();
    assert_eq!(settings.mail_transport(), MailTransport::File);
    assert_eq!(settings.mail_from().to_string(), "vestibule@vestibule.invalid");
    assert_eq!((settings.link_base().as_str(), settings.service_name().as_str()), ("http://127.0.0.1:8080", "Vestibule"));
    assert!(
        settings.print().contains("# transport = \"file\" (not set)\n")
            && settings.print().contains("# smtp.port = 465 (not set)\n")
    );
    let settings = load("", &[public]).unwrap();
    assert_eq!(settings.mail_transport(), MailTransport::None);
    assert_eq!((settings.link_base().as_str(), settings.service_name().as_str()), ("https://id.example.org", "id.example.org"));
    let settings =
        load("", &smtp(&[("VESTIBULE_MAIL__LINK_BASE", "https://www.example.org/id/"), ("VESTIBULE_MAIL__SMTP__PORT", "587")]))
            .unwrap();
    assert_eq!((settings.link_base().as_str(), settings.service_name().as_str()), ("https://www.example.org/id", "Example"));
    assert!(settings.mail.smtp_mismatch().unwrap().ends_with("servers expect `starttls` on port 587"));
    assert_eq!(load("", &smtp(&[])).unwrap().mail.smtp_mismatch(), None);
}

#[test]
fn people_return_only_to_the_same_site() {
    let check = |public_url: &str, return_to: &str| {
        let env = [("VESTIBULE_SERVER__PUBLIC_URL", public_url), ("VESTIBULE_ACCOUNT_PAGES__RETURN_TO", return_to)];
        load("", &env).map_err(|error| error.to_string())
    };
    let settings = check("https://id.example.org", "https://app.example.org,https://example.org:8443").unwrap();
    assert_eq!(settings.account_pages.return_to[1].as_str(), "https://example.org:8443");
    check("http://localhost:8080", "http://localhost:3000").unwrap();
    for (public_url, return_to, expected) in [
        ("https://id.example.org", "https://app.example.org,https://example.com", "`https://example.com` is another site."),
        ("https://example.co.uk", "https://shop.co.uk", "`https://shop.co.uk` is another site."),
        ("https://id.example.org", "http://app.example.org", "`http://app.example.org` does not."),
        ("http://id.example.org", "http://app.example.org", "`http://app.example.org` does not."),
        ("http://localhost:8080", "http://127.0.0.1:3000", "`http://127.0.0.1:3000` is another site."),
        ("", "https://app.example.org", "not to `https://app.example.org`."),
    ] {
        let message = check(public_url, return_to).unwrap_err();
        assert!(message.starts_with("`account_pages.return_to` (from VESTIBULE_ACCOUNT_PAGES__RETURN_TO) "), "{message}");
        assert!(message.ends_with(expected), "{message}");
    }
    let many: Vec<_> = (1..=101).map(|port| format!("http://localhost:{port}")).collect();
    assert!(check("", &many.join(",")).unwrap_err().ends_with("must name at most 100 origins."));
    check("", &many[1..].join(",")).unwrap();
}

#[test]
fn an_accent_colour_that_people_cannot_read_is_refused_with_one_that_they_can() {
    let message = error_message("[account_pages]\naccent = '#FFD400'", &[]);
    let expected = "`account_pages.accent` (from vestibule.toml) must have a contrast of at least 4.5:1 with the light pages, so \
                    that everybody can read it, but #ffd400 has 1.3:1. The nearest shade that has it is ";
    let nearest = message.strip_prefix(expected).unwrap_or_else(|| panic!("{message}"));
    load(&format!("[account_pages]\naccent = '{}'", nearest.trim_end_matches('.')), &[]).unwrap();
}

#[test]
fn mails_and_pages_share_the_name_of_the_service_unless_each_has_its_own() {
    let names = |env: &[(&str, &str)]| {
        let settings = load("", env).unwrap();
        (settings.service_name(), settings.name_on_pages())
    };
    let both = |name: &str| (name.to_owned(), name.to_owned());
    let (url, from) =
        (("VESTIBULE_SERVER__PUBLIC_URL", "https://id.example.org"), ("VESTIBULE_MAIL__FROM", "By mail <id@example.org>"));
    let name = ("VESTIBULE_ACCOUNT_PAGES__NAME", "On pages");
    assert_eq!(names(&[]), both("Vestibule"));
    assert_eq!(names(&[url]), both("id.example.org"));
    assert_eq!(names(&[url, from]), both("By mail"));
    assert_eq!(names(&[url, name]), both("On pages"));
    assert_eq!(names(&[url, from, name]), ("By mail".to_owned(), "On pages".to_owned()));
}

#[test]
fn postgres_needs_a_master_key() {
    let url = ("VESTIBULE_DATABASE__URL", "postgresql://v:hunter2@db/v");
    assert_eq!(error_message("", &[url]), "`master_key` is required with PostgreSQL.");
    load("", &[url, ("VESTIBULE_MASTER_KEY", KEY)]).unwrap();
}

#[test]
fn a_toml_error_names_the_line_without_quoting_it() {
    let message = error_message("data_dir = 'x'\nmaster_key = \"hunter2", &[]);
    assert!(message.starts_with("vestibule.toml is not valid TOML: line 2, column "), "{message}");
    assert!(!message.contains("hunter2") && !message.contains('|'), "{message}");
    let message = error_message("data_dir = 'x'\ndata_dir = 'hunter2'", &[]);
    assert!(message.contains("line 2") && message.contains("duplicate key") && !message.contains("hunter2"), "{message}");
    let message = error_message("[tokens]\naccess_ttl = 99999999999999999999", &[]);
    assert!(message.contains("vestibule.toml"), "{message}");
}

#[test]
fn p10_no_secret_is_ever_printed() {
    let toml = format!(
        "master_key = '{KEY}'\n[database]\nurl = 'postgres://ada:hun%2Fter2%3F@db:5432/v?sslmode=require&password=hunter2'\n\
         [signing]\nalgorithm = 'HS256'\nsecret = 'hunter2-3pV0o5Wq8mYk2TzR7cHs1XnB9dLfG6jA'"
    );
    let settings = load(&toml, &[]).unwrap();
    let json = serde_json::to_string(&settings).unwrap();
    for text in [settings.print(), format!("{settings:?}"), json] {
        assert!(!["hunter2", "ter2", "AAECAw"].iter().any(|secret| text.contains(secret)), "{text}");
    }
    assert!(settings.print().contains("# master_key = \"(hidden)\"\n"));
    assert!(settings.print().contains("# url = \"postgres://ada:(hidden)@db:5432/v?(hidden)\"\n"));

    for name in ["master_key", "database.url", "signing.secret", "server.public_url", "signing.secrt", "master_kye"] {
        let (toml, list) = (format!("{name} = 'https://ada:hunter2@x/'"), format!("{name} = ['hunter2@']"));
        for message in [error_message(&toml, &[]), error_message(&list, &[])] {
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}

#[test]
fn printed_settings_can_be_loaded_again() {
    let toml = "data_dir = \"a \\\"b\\\" \\\\ \\u007F\"\n[server]\ntrusted_proxies = ['10.0.0.0/8']\n[log]\nformat = 'text'";
    let settings = load(toml, &[]).unwrap();
    let again = load(&settings.print(), &[]).unwrap();
    assert_eq!(again.print(), settings.print());
    assert_eq!(again.data_dir, settings.data_dir);
    assert!(settings.print().contains("# issuer = \"http://127.0.0.1:8080\" (not set)\n"));
    assert!(settings.print().contains("# listen = \"(not set)\"\n"));
}

#[test]
fn the_table_and_the_type_have_the_same_settings_and_defaults() {
    let settings = Settings::default();
    settings.validate().unwrap();
    let named: BTreeSet<_> = REFERENCE.iter().map(|setting| setting.name.to_owned()).collect();
    let mut typed = BTreeSet::new();
    let Value::Object(top) = serde_json::to_value(&settings).unwrap() else { panic!("not an object") };
    for (name, value) in top {
        match value {
            Value::Object(section) => {
                for (key, value) in section {
                    match value {
                        Value::Object(inner) => typed.extend(inner.keys().map(|inner| format!("{name}.{key}.{inner}"))),
                        _ => drop(typed.insert(format!("{name}.{key}"))),
                    }
                }
            }
            _ => drop(typed.insert(name)),
        }
    }
    assert_eq!(named, typed);
    assert_eq!(named.len(), REFERENCE.len(), "each name is unique");

    // The defaults are parsed from the literals. Settings without a literal must be unset.
    for setting in REFERENCE {
        let shown = settings.shown(setting.name);
        let literal = if shown.is_null() { "(".to_owned() } else { shown.to_string() };
        assert!(setting.default.starts_with(&literal), "{}: {literal}", setting.name);
        assert!(setting.about.ends_with('.') && !setting.about.contains(['|', '\n']), "{}", setting.name);
        let secret = matches!(setting.name, "master_key" | "database.url" | "signing.secret" | "mail.smtp.password");
        assert_eq!(setting.secret, secret, "{}", setting.name);
        assert!(markdown().contains(&format!("| `{}` |", setting.name)));
    }
}

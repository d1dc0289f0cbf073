//! Right and wrong settings. Every mistake is reported, and no secret is shown.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

use super::{empty_directory, files, run, run_with};

use crate::support::binary::{Server, command};

/// A secret that must not be shown.
const SECRET: &str = "correct horse battery staple 1234";

#[test]
fn an_invalid_setting_is_reported_with_its_source_and_a_remedy() {
    let dir = empty_directory();
    let short = &SECRET[..31];
    for (variable, value, sentence) in [
        (
            "VESTIBULE_SERVER__LISTN",
            "x",
            "`server.listn` (from VESTIBULE_SERVER__LISTN) is not a setting; did you mean `server.listen`?",
        ),
        ("VESTIBULE_SIGNING__SECERT", SECRET, "did you mean `signing.secret`?"),
        ("VESTIBULE_PASSWORD__BCRYPT_COST", "9", "must be 10 to 16, not 9"),
        ("VESTIBULE_PASSWORD__BCRYPT_COST", "17", "must be 10 to 16, not 17"),
        ("VESTIBULE_TOKENS__ACCESS_TTL", "3601", "must be 1 to 3600 seconds, not 3601"),
        ("VESTIBULE_TOKENS__ACCESS_TTL", "15m", "must be a whole number of seconds, not \"15m\""),
        ("VESTIBULE_SIGNING__ALGORITHM", "HS512", "must be EdDSA, ES256, RS256 or HS256, not \"HS512\""),
        ("VESTIBULE_SIGNING__ALGORITHM", "none", "must be EdDSA, ES256, RS256 or HS256"),
        ("VESTIBULE_SIGNING__ALGORITHM", "HS256", "`signing.secret` is required with HS256"),
        ("VESTIBULE_SIGNING__SECRET", SECRET, "is only for HS256"),
        ("VESTIBULE_SIGNING__SECRET_FILE", "nowhere", "cannot be read from nowhere"),
        ("VESTIBULE_LOG__LEVEL", "inof", "must be `off`"),
        ("VESTIBULE_DATABASE__URL", "mysql://ada:correct horse@host/db", "must begin with"),
        ("VESTIBULE_REGISTRATION__MODE", "everyone", "must be open, verified, invited or closed, not \"everyone\""),
    ] {
        // `serve` and `config check` report the same, and neither creates a file.
        for arguments in ["", "config check"] {
            let said = run_with(dir.path(), arguments, &[(variable, value)], "").refused(78);
            assert!(said.contains(sentence), "{variable}: {said}");
            assert!(!said.contains("correct horse"), "{said}");
        }
    }
    let hs256 = ("VESTIBULE_SIGNING__ALGORITHM", "HS256");
    let said = run_with(dir.path(), "", &[hs256, ("VESTIBULE_SIGNING__SECRET", short)], "").refused(78);
    assert!(said.contains("must be at least 32 bytes long") && !said.contains("correct horse"), "{said}");
    assert_eq!(files(dir.path()), [""; 0]);
}

#[test]
fn all_invalid_settings_of_a_file_are_reported_together() {
    let dir = empty_directory();
    fs::write(dir.path().join("vestibule.toml"), "[pasword]\nbcrypt_cost = 12\n[tokens]\naccess_ttl = 3601\n").unwrap();
    let said = run(dir.path(), "").refused(78);
    assert!(
        said.contains("`pasword.bcrypt_cost` (from vestibule.toml) is not a setting; did you mean `password.bcrypt_cost`?"),
        "{said}"
    );
    assert!(said.contains("`tokens.access_ttl` (from vestibule.toml) must be 1 to 3600 seconds"), "{said}");

    fs::write(dir.path().join("other.toml"), "[signing\nsecret = 'correct horse'").unwrap();
    let said = run(dir.path(), "config check --config other.toml").refused(78);
    assert!(said.contains("other.toml is not valid TOML") && !said.contains("correct horse"), "{said}");
    let said = run(dir.path(), "--config nowhere.toml").refused(78);
    assert!(said.contains("nowhere.toml cannot be read"), "{said}");
}

#[test]
fn the_former_name_of_a_setting_is_accepted_with_a_warning_but_not_beside_the_present_one() {
    let dir = empty_directory();
    let open = ("VESTIBULE_REGISTRATION__OPEN", "false");
    let output = command(dir.path(), &[open]).args(["config", "print"]).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("mode = \"closed\"\n"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("`registration.open` (from VESTIBULE_REGISTRATION__OPEN) is replaced by `registration.mode`"),
        "{said}"
    );
    let said = run_with(dir.path(), "", &[open, ("VESTIBULE_REGISTRATION__MODE", "closed")], "").refused(78);
    assert!(said.contains("is the former name of `registration.mode`, which is set too; remove it"), "{said}");
    assert_eq!(files(dir.path()), [""; 0]);
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    let dir = empty_directory();
    let output =
        command(dir.path(), &[]).args(["config", "check"]).env("VESTIBULE_DATA_DIR", OsStr::from_bytes(b"caf\xe9")).output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("`data_dir` (from VESTIBULE_DATA_DIR) must be UTF-8"), "{said}");
    assert!(
        command(dir.path(), &[])
            .args(["config", "check"])
            .env("ELSEWHERE", OsStr::from_bytes(b"\xe9"))
            .output()
            .unwrap()
            .status
            .success()
    );
}

#[test]
fn config_check_names_the_administrators_of_an_installation_who_hold_no_second_factor() {
    let dir = empty_directory();
    let hint = "the administrator admin has no second factor";
    assert!(!run(dir.path(), "config check").err.contains("second factor"));
    assert_eq!(files(dir.path()), [""; 0], "nothing was created");
    assert!(Server::start(dir.path(), &[]).stop().success());
    for policy in ["none", "everyone"] {
        let ran = run_with(dir.path(), "config check", &[("VESTIBULE_SECOND_FACTOR__REQUIRE", policy)], "");
        assert!(ran.err.contains(hint), "{}", ran.err);
        assert_eq!(ran.done(), "The settings are valid.\n");
    }
}

#[test]
fn the_output_of_config_print_loads_again_and_contains_no_secret() {
    let dir = empty_directory();
    let master_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let env = [
        ("VESTIBULE_MASTER_KEY", master_key),
        ("VESTIBULE_SIGNING__ALGORITHM", "HS256"),
        ("VESTIBULE_SIGNING__SECRET", SECRET),
        ("VESTIBULE_DATABASE__URL", "postgres://vestibule:correct-horse@db.example.org/vestibule"),
        ("VESTIBULE_CORS__ORIGINS", "https://app.example.org,https://www.example.org"),
    ];
    assert_eq!(run_with(dir.path(), "config check", &env, "").done(), "The settings are valid.\n");
    let printed = run_with(dir.path(), "config print", &env, "").done();
    for secret in [master_key, SECRET, "correct-horse"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert!(printed.contains("db.example.org"), "{printed}");

    fs::write(dir.path().join("vestibule.toml"), &printed).unwrap();
    let secrets = [env[0], env[2], env[3]];
    assert_eq!(run_with(dir.path(), "config print", &secrets, "").done(), printed);
    assert_eq!(files(dir.path()), ["vestibule.toml"]);
}

#[test]
fn help_lists_every_command_and_no_secret() {
    let dir = empty_directory();
    let env = [("VESTIBULE_SIGNING__SECRET", SECRET), ("VESTIBULE_MASTER_KEY", SECRET)];
    for (arguments, commands) in [
        ("--help", ["serve", "migrate", "openapi", "user", "key", "clock", "mail", "config"].as_slice()),
        ("user --help", &["create", "list", "set-password", "disable", "enable"]),
        ("migrate --help", &["up", "status"]),
        ("mail --help", &["preview", "test"]),
        ("config --help", &["check", "print"]),
        ("user create --help", &["--password-stdin", "--role", "--config"]),
    ] {
        let help = run_with(dir.path(), arguments, &env, "").done();
        for command in commands {
            assert!(help.contains(command), "{arguments} does not name {command}: {help}");
        }
        assert!(!help.contains(SECRET), "{help}");
    }
    assert!(run(dir.path(), "--version").done().starts_with("vestibule "));
    for wrong in ["srve", "user", "migrate down", "--no-such-option", "openapi --chek"] {
        assert!(run_with(dir.path(), wrong, &env, "").refused(2).contains("Usage: vestibule"), "{wrong}");
    }
}

#[test]
fn t11_every_algorithm_serves_and_a_shared_secret_is_never_published() {
    for algorithm in ["HS256", "ES256", "RS256", "EdDSA"] {
        let dir = empty_directory();
        let mut env = vec![("VESTIBULE_SIGNING__ALGORITHM", algorithm)];
        if algorithm == "HS256" {
            env.push(("VESTIBULE_SIGNING__SECRET", &SECRET[..32]));
        }
        let server = Server::start(dir.path(), &env);
        let set = server.get("/.well-known/jwks.json").json();
        let published: Vec<_> = set["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap()).collect();
        assert_eq!(published, if algorithm == "HS256" { vec![] } else { vec![algorithm] });
        let tokens = server.log_in("admin", &super::initial_password(dir.path())).json();
        let token = tokens["access_token"].as_str().unwrap();
        assert_eq!(server.get_as(token, "/v1/me").status, 200);
        assert!(server.stop().success());
    }
}

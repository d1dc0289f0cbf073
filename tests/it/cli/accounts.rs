//! Accounts that an operator creates and changes at the command line.

use serde_json::json;
use ureq::http::Method;

use super::{empty_directory, files, installed, run, run_with, until};

use crate::support::binary::Server;

const PASSWORD: &str = "ada likes tall ships";

/// Returns the password that a command printed.
fn shown(said: &str) -> &str {
    said.trim().rsplit(' ').next().unwrap()
}

#[test]
fn accounts_made_at_the_command_line_log_in() {
    let dir = installed();
    let said = run(dir.path(), "user create Ada@Example.org --username ada --name Ada --role admin").done();
    assert!(said.starts_with("Created the account ada@example.org. Its password is "), "{said}");
    assert_eq!(files(&dir.path().join("data")), ["master.key", "vestibule.db", "vestibule.lock"]);

    let server = Server::start(dir.path(), &[]);
    let tokens = server.log_in("ada", shown(&said)).json();
    let me = server.get_as(tokens["access_token"].as_str().unwrap(), "/v1/me").json();
    assert_eq!((&me["name"], &me["roles"]), (&"Ada".into(), &serde_json::json!(["admin", "user"])));
    assert!(!dir.path().join("data/initial-admin-password").exists(), "an administrator exists already");

    // Next to the running server, and with a chosen password. The newline at its end is not part of it.
    let said = run_with(dir.path(), "user create bea@example.org --password-stdin", &[], &format!("{PASSWORD}\r\n")).done();
    assert_eq!(said, "Created the account bea@example.org.\n");
    let tokens = server.log_in("bea@example.org", PASSWORD).json();
    assert_eq!(server.get_as(tokens["access_token"].as_str().unwrap(), "/v1/me").json()["roles"], serde_json::json!(["user"]));
}

#[test]
fn an_invalid_account_is_refused_with_a_reason() {
    let dir = installed();
    run(dir.path(), "user create ada@example.org --username ada").done();
    for (arguments, typed, sentence) in [
        ("bea@example.org", "short\n", "A password must have at least 8 characters."),
        ("bea@example.org", "", "Standard input contains no password."),
        ("bea@example.org", "password123\n", "This is a common password."),
        ("bea@example.org", "bea@example.org\n", "must not consist of the account's e-mail address"),
        ("bea@example.org --role boss", "ada likes tall ships\n", "There is no such role."),
        ("ADA@example.org", "ada likes tall ships\n", "This e-mail address is taken."),
        ("bea@example.org --username Ada", "ada likes tall ships\n", "This username is taken."),
    ] {
        let said = run_with(dir.path(), &format!("user create {arguments} --password-stdin"), &[], typed).refused(1);
        assert!(said.contains(sentence), "{arguments}: {said}");
        assert!(typed.trim().is_empty() || !said.contains(typed.trim()), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    for wrong in
        ["user create", "user create bea", "user create bea@example.org --username b", "user create b@example.org --role A!"]
    {
        run(dir.path(), wrong).refused(2);
    }
    assert_eq!(super::sql(dir.path(), "SELECT count(*) || '' FROM users"), ["1"]);
}

#[test]
fn a_password_set_at_the_command_line_replaces_the_old_one() {
    let dir = installed();
    let old = run(dir.path(), "user create ada@example.org --username ada").done();
    let said = run(dir.path(), "user set-password ADA").done();
    assert!(said.starts_with("Set the password of ada@example.org and ended its sessions. Its password is "), "{said}");
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.log_in("ada", shown(&old)).status, 401);
    assert_eq!(server.log_in("ada", shown(&said)).status, 201);

    run_with(dir.path(), "user set-password ada@example.org --password-stdin", &[], PASSWORD).done();
    assert_eq!(server.log_in("ada", shown(&said)).status, 401);
    assert_eq!(server.log_in("ada", PASSWORD).status, 201);

    run_with(dir.path(), "user set-password ada --password-stdin", &[], "password123").refused(1);
    assert_eq!(server.log_in("ada", PASSWORD).status, 201);
}

#[test]
fn a_disabled_account_is_reported_only_with_its_password() {
    let dir = installed();
    run_with(dir.path(), "user create ada@example.org --password-stdin", &[], PASSWORD).done();
    let said = run(dir.path(), "user disable ada@example.org").done();
    assert_eq!(said, "Disabled ada@example.org and ended its sessions.\n");
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.log_in("ada@example.org", PASSWORD).problem(), (403, "account_disabled".into()));
    assert_eq!(server.log_in("ada@example.org", "bea likes tall ships").problem(), (401, "invalid_credentials".into()));
    assert_eq!(run(dir.path(), "user enable ada@example.org").done(), "Enabled ada@example.org.\n");
    assert_eq!(server.log_in("ada@example.org", PASSWORD).status, 201);
}

#[test]
fn p07_a_hash_of_another_cost_is_upgraded_and_garbage_matches_no_password() {
    let dir = installed();
    for account in ["ada@example.org", "bea@example.org"] {
        run_with(dir.path(), &format!("user create {account} --password-stdin"), &[], PASSWORD).done();
    }
    let hash = || super::sql(dir.path(), "SELECT password_hash FROM users WHERE email = 'ada@example.org'").remove(0);
    assert!(hash().contains("$10$"), "{}", hash());
    super::sql(dir.path(), "UPDATE users SET password_hash = '$2b$99$garbage' WHERE email = 'bea@example.org'");

    let server = Server::start(dir.path(), &[("VESTIBULE_PASSWORD__BCRYPT_COST", "11")]);
    assert_eq!(server.log_in("ada@example.org", PASSWORD).status, 201);
    assert!(hash().contains("$11$"), "{}", hash());
    assert_eq!(server.log_in("ada@example.org", PASSWORD).status, 201);
    assert_eq!(server.log_in("bea@example.org", PASSWORD).problem(), (401, "invalid_credentials".into()));
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn p07_the_first_start_does_not_wait_for_a_hash_that_the_first_log_in_makes() {
    let dir = super::empty_directory();
    let server = Server::start(dir.path(), &[("VESTIBULE_PASSWORD__BCRYPT_COST", "10")]);
    let hash = || super::sql(dir.path(), "SELECT password_hash FROM users").remove(0);
    assert!(hash().contains("$04$"), "{}", hash());
    assert_eq!(server.log_in("admin", &super::initial_password(dir.path())).status, 201);
    assert!(hash().contains("$10$"), "{}", hash());
}

#[test]
fn the_last_administrator_cannot_be_disabled() {
    let dir = installed();
    run(dir.path(), "user create ada@example.org --role admin").done();
    let said = run(dir.path(), "user disable ada@example.org").refused(1);
    assert!(said.contains("This is the last active administrator."), "{said}");
    run(dir.path(), "user create bea@example.org --role admin").done();
    run(dir.path(), "user disable ada@example.org").done();
}

#[test]
fn an_unknown_account_is_reported() {
    let dir = installed();
    for command in [
        "user disable ada",
        "user enable ada",
        "user reset-factors ada",
        "user erase ada",
        "user set-password ada@example.org",
        "user disable ada@",
        "user set-password @",
    ] {
        let said = run(dir.path(), command).refused(1);
        assert_eq!(said, "vestibule: there is no such account.\n");
    }
}

#[test]
fn resetting_the_factors_of_an_account_without_any_says_so() {
    let dir = installed();
    run(dir.path(), "user create ada@example.org").done();
    let said = run(dir.path(), "user reset-factors ada@example.org").done();
    assert_eq!(said, "ada@example.org has no second factor. Ended its sessions.\n");
}

#[test]
fn a_running_server_applies_revocations_from_the_command_line() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    for (name, command, stdin) in [
        ("ada", "user disable ada", ""),
        ("bea", "user set-password bea --password-stdin", "bea prefers small boats\n"),
        ("cleo", "user reset-factors cleo", ""),
    ] {
        run_with(dir.path(), &format!("user create {name}@example.org --username {name} --password-stdin"), &[], PASSWORD).done();
        let token = server.log_in(name, PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(server.get_as(&token, "/v1/token").status, 200);
        run_with(dir.path(), command, &[], stdin).done();
        until(|| server.get_as(&token, "/v1/token").problem() == (401, "session_ended".into()));
    }
}

/// Returns how many rows of the audit trail name somebody.
fn events_of(dir: &std::path::Path, name: &str) -> String {
    let any = format!("actor_name LIKE '%{name}%' OR subject_name LIKE '%{name}%' OR details LIKE '%{name}%'");
    super::sql(dir, &format!("SELECT count(*) || '' FROM audit_events WHERE {any}")).remove(0)
}

#[test]
fn o04_an_operator_erases_the_people_of_present_and_of_closed_accounts() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let create = |name: &str| {
        let command = format!("user create {name}@example.org --username {name} --password-stdin");
        run_with(dir.path(), &command, &[], PASSWORD).done();
        let token = server.log_in(name, PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
        let id = server.get_as(&token, "/v1/me").json()["id"].as_str().unwrap().to_owned();
        (token, id)
    };
    let close = |token: &str| {
        let body = serde_json::json!({ "current_password": PASSWORD }).to_string();
        assert_eq!(server.send(Method::DELETE, "/v1/me", token, Some(body)).status, 204);
    };
    let erased = |id: &str| format!("Erased the person of the account {id}.\n");
    let nobody = "vestibule: there is no such account.\n";

    let (token, id) = create("ada");
    assert_eq!(run(dir.path(), "user erase ADA").done(), erased(&id));
    until(|| server.get_as(&token, "/v1/token").problem() == (401, "session_ended".into()));
    assert_eq!(server.log_in("ada", PASSWORD).problem(), (401, "invalid_credentials".into()));
    assert_eq!(events_of(dir.path(), "ada"), "0");
    assert_eq!(run(dir.path(), "user erase ada").refused(1), nobody);
    assert_eq!(run(dir.path(), "user erase ada --closed").refused(1), "vestibule: there is no such closed account.\n");

    let (token, first) = create("bea");
    close(&token);
    let said = run(dir.path(), "user erase bea").refused(1);
    assert!(said.contains("add --closed"), "{said}");
    let (_, second) = create("bea");
    let said = run(dir.path(), "user erase bea@example.org").done();
    let hint = format!("The closed account {first} had the same name. To erase its person too, add --closed.\n");
    assert_eq!(said, erased(&second) + &hint);
    assert_ne!(events_of(dir.path(), "bea"), "0");
    assert_eq!(run(dir.path(), "user erase bea --closed").done(), erased(&first));
    assert_eq!(events_of(dir.path(), "bea"), "0");

    let (one, other) = (create("cleo"), create("dora"));
    close(&one.0);
    let again = create("cleo");
    close(&again.0);
    close(&other.0);
    let said = run(dir.path(), "user erase cleo --closed").refused(1);
    assert!(said.contains(&format!("State one by its id: {}, {}", one.1, again.1)), "{said}");
    assert_eq!(run(dir.path(), &format!("user erase {} --closed", one.1)).done(), erased(&one.1));
    assert_ne!(events_of(dir.path(), "cleo"), "0");

    // Dora left before the service recorded that.
    super::sql(dir.path(), "DELETE FROM closed_accounts WHERE username = 'dora'");
    let said = run(dir.path(), "user erase dora@example.com --closed").refused(1);
    assert_eq!(said, "vestibule: there is no such closed account.\n");
    assert_eq!(run(dir.path(), "user erase dora --closed").done(), erased(&other.1));
    assert_eq!(events_of(dir.path(), "dora"), "0");
    let said = run(dir.path(), "user erase admin").refused(1);
    assert!(said.contains("This is the last active administrator."), "{said}");
}

#[test]
fn o04_the_person_of_a_closed_account_is_found_by_a_former_name_unless_several_people_had_it() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[("VESTIBULE_MAIL__TRANSPORT", "none")]);
    let send = |method: Method, path: &str, token: &str, body: &serde_json::Value| {
        let answer = server.send(method, path, token, Some(body.to_string()));
        assert!(answer.status < 300, "{path}: {}", answer.text);
    };
    let create = |name: &str| {
        run_with(dir.path(), &format!("user create {name}@example.org --username {name} --password-stdin"), &[], PASSWORD).done();
        let token = server.log_in(name, PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
        let id = server.get_as(&token, "/v1/me").json()["id"].as_str().unwrap().to_owned();
        (token, id)
    };
    let rename = |token: &str, name: &str| {
        let to = format!("{name}@example.org");
        send(Method::PATCH, "/v1/me", token, &json!({ "username": name, "email": to, "current_password": PASSWORD }));
    };
    let close = |token: &str| send(Method::DELETE, "/v1/me", token, &json!({ "current_password": PASSWORD }));

    let (first, id) = create("ada");
    rename(&first, "bea");
    close(&first);
    let (present, _) = create("ada"); // who only has the same name
    rename(&present, "cleo");
    let erased = format!("Erased the person of the account {id}.\n");
    assert_eq!(run(dir.path(), "user erase ADA@example.org --closed").done(), erased);
    assert_eq!(events_of(dir.path(), "bea"), "0");
    for name in ["ada", "bea", "cleo"] {
        let said = run(dir.path(), &format!("user erase {name} --closed")).refused(1);
        assert_eq!(said, "vestibule: there is no such closed account.\n", "{name}");
    }

    let both = ["dora", "emma"].map(|name| {
        let (token, id) = create("fay");
        rename(&token, name);
        close(&token);
        id
    });
    let said = run(dir.path(), "user erase fay --closed").refused(1);
    assert!(said.contains(&format!("State one by its id: {}", both.join(", "))), "{said}");
    assert_ne!(events_of(dir.path(), "fay"), "0");
}

#[test]
fn o04_whoever_was_erased_since_the_backup_is_erased_again_after_a_restore() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    for name in ["ada", "bertha"] {
        run_with(dir.path(), &format!("user create {name}@example.org --password-stdin"), &[], PASSWORD).done();
        assert_eq!(server.log_in(&format!("{name}@example.org"), PASSWORD).status, 201);
    }
    // The events of this account name its username alone.
    let admin = server.log_in("admin", &super::initial_password(dir.path())).json()["access_token"].as_str().unwrap().to_owned();
    for (path, body) in [
        ("/v1/invitations", serde_json::json!({ "email": "cleo@example.org" })),
        ("/v1/users", serde_json::json!({ "email": "cleo@example.org", "username": "cleo", "password": PASSWORD })),
    ] {
        assert_eq!(server.send(Method::POST, path, &admin, Some(body.to_string())).status, 201, "{path}");
    }
    run(dir.path(), "backup backup.db").done();
    run(dir.path(), "user erase ada@example.org").done();
    run(dir.path(), "user erase cleo").done();
    let bertha = server.log_in("bertha@example.org", PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
    let close = serde_json::json!({ "current_password": PASSWORD }).to_string();
    assert_eq!(server.send(Method::DELETE, "/v1/me", &bertha, Some(close)).status, 204);
    assert!(server.stop().success());
    run(dir.path(), "restore backup.db").done();
    assert_ne!(events_of(dir.path(), "ada@"), "0", "the events of the backup name her");

    let _server = Server::start(dir.path(), &[]);
    until(|| events_of(dir.path(), "ada@") == "0");
    let count = |query: &str| super::sql(dir.path(), &format!("SELECT count(*) || '' FROM {query}")).remove(0);
    until(|| events_of(dir.path(), "cleo@") == "0" && count("invitations WHERE email = 'cleo@example.org'") == "0");
    assert_eq!(count("audit_events WHERE kind = 'user.erased'"), "2");
    assert_eq!(count("closed_accounts WHERE email = 'bertha@example.org' AND due_at IS NULL"), "1", "she has her 30 days");
}

//! Starts: in an empty directory, with an existing installation, and with faults.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
};

use super::{empty_directory, files, initial_password, installed, mode, run, run_with, sql};

use crate::support::binary::{self, Server};

/// Returns the key id of the only key in the key set.
fn kid(server: &Server) -> String {
    let set = server.get("/.well-known/jwks.json").json();
    assert_eq!(set["keys"].as_array().unwrap().len(), 1);
    set["keys"][0]["kid"].as_str().unwrap().to_owned()
}

#[test]
fn a_first_start_creates_everything_and_a_second_one_uses_it() {
    let dir = empty_directory();
    let data = dir.path().join("data");
    let server = Server::start(dir.path(), &[]);

    assert_eq!(files(dir.path()), ["data"]);
    assert_eq!(mode(&data), 0o700);
    let names =
        ["initial-admin-password", "master.key", "vestibule.db", "vestibule.db-shm", "vestibule.db-wal", "vestibule.lock"];
    assert_eq!(files(&data), names);
    for file in files(&data) {
        assert_eq!(mode(&data.join(&file)), 0o600, "{file}");
    }
    let printed = server.stdout.text();
    assert!(printed.contains(&format!("{}/docs", server.url)), "{printed}");
    assert_eq!(server.get("/docs").status, 200);

    let password = initial_password(dir.path());
    assert!(!printed.contains(&password), "standard output is not a terminal here");
    let tokens = server.log_in("admin", &password).json();
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(server.get_as(token, "/v1/users").json()["items"].as_array().unwrap().len(), 1);
    let (first_kid, log) = (kid(&server), server.log.clone());
    assert!(server.stop().success());
    assert!(log.text().contains("stopped"), "{}", log.text());
    assert_eq!(
        files(&data),
        ["initial-admin-password", "master.key", "vestibule.db", "vestibule.lock"],
        "the write-ahead log is merged into the database"
    );

    let file = data.join("initial-admin-password");
    let written_at = fs::metadata(&file).unwrap().modified().unwrap();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(kid(&server), first_kid);
    assert_eq!(server.log_in("admin@vestibule.invalid", &password).status, 201);
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written_at);
    assert_eq!(initial_password(dir.path()), password);
    assert!(!server.stdout.text().contains("administrator"), "{}", server.stdout.text());
    let users = server.get_as(token, "/v1/users").json();
    assert_eq!(users["items"].as_array().unwrap().len(), 1);
}

#[test]
fn two_concurrent_first_starts_agree() {
    let dir = empty_directory();
    let servers: Vec<Server> = thread::scope(|scope| {
        let starts: Vec<_> = (0..2).map(|_| scope.spawn(|| Server::start(dir.path(), &[]))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(kid(&servers[0]), kid(&servers[1]));
    let password = initial_password(dir.path());
    for server in &servers {
        assert_eq!(server.log_in("admin", &password).status, 201);
    }
    assert_eq!(sql(dir.path(), "SELECT email FROM users"), ["admin@vestibule.invalid"]);
    let shown = servers.iter().filter(|server| server.stdout.text().contains("first administrator")).count();
    assert_eq!(shown, 1);
}

#[test]
fn a_terminal_shows_the_first_password_and_a_text_log() {
    let dir = empty_directory();
    let script = binary::command(dir.path(), &[]);
    let mut terminal = Command::new("script");
    terminal.args(["-qefc", binary::BINARY, "/dev/null"]).current_dir(dir.path());
    for (name, value) in script.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    let Ok(mut terminal) = terminal.stdin(Stdio::null()).stdout(Stdio::piped()).spawn() else {
        assert!(env::var_os("CI").is_none(), "CI needs `script` of util-linux");
        eprintln!("skipped: `script`, which provides a terminal, is not installed");
        return;
    };
    let mut seen = String::new();
    for line in BufReader::new(terminal.stdout.take().unwrap()).lines() {
        seen += &(line.unwrap() + "\n");
        if seen.contains("The first administrator") {
            break;
        }
    }
    _ = terminal.kill();
    _ = terminal.wait();
    assert!(seen.contains(&initial_password(dir.path())), "{seen}");
    assert!(seen.contains("INFO") && !seen.contains("\"level\""), "{seen}");
}

#[test]
fn a_port_in_use_is_reported() {
    let dir = empty_directory();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = other.local_addr().unwrap().to_string();
    let said = run_with(dir.path(), "serve", &[("VESTIBULE_SERVER__LISTEN", &listen)], "").refused(1);
    assert!(said.contains(&format!("{listen} is in use")) && said.contains("VESTIBULE_SERVER__LISTEN"), "{said}");
}

#[test]
fn an_unusable_data_directory_or_database_is_reported() {
    let dir = empty_directory();
    fs::write(dir.path().join("file"), "").unwrap();
    for command in ["serve", "migrate up"] {
        let said = run_with(dir.path(), command, &[("VESTIBULE_DATA_DIR", "file/data")], "").refused(1);
        assert!(said.contains("cannot create the data directory file/data") && said.contains("VESTIBULE_DATA_DIR"), "{said}");
        assert_eq!(said.matches("os error").count(), 1, "{said}");
    }
    let said = run_with(dir.path(), "serve", &[("VESTIBULE_DATABASE__URL", "sqlite:nowhere/it.db")], "").refused(1);
    assert!(said.contains("nowhere/it.db cannot be opened: No such file or directory"), "{said}");
    assert_eq!(said.matches("os error").count(), 1, "{said}");

    fs::write(dir.path().join("data/vestibule.db"), "this is a letter to my grandmother, and no database. ".repeat(99)).unwrap();
    let said = run(dir.path(), "serve").refused(1);
    assert!(said.starts_with("vestibule: The database cannot be opened: ") && said.contains("not a database"), "{said}");
    assert_eq!(said.matches("not a database").count(), 1, "{said}");
}

#[test]
fn a_newer_database_is_reported_and_not_changed() {
    let dir = installed();
    sql(dir.path(), "DELETE FROM secrets");
    sql(dir.path(), "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_000001_flying_cars', 0)");
    for command in ["serve", "migrate up", "migrate status", "user disable ada"] {
        let said = run(dir.path(), command).refused(1);
        assert!(said.contains("newer version of Vestibule") && said.contains("m20991231_000001_flying_cars"), "{said}");
    }
    assert_eq!(sql(dir.path(), "SELECT count(*) || '' FROM secrets"), ["0"]);
}

#[test]
fn a_server_without_an_administrator_logs_how_to_create_one() {
    // `user create` may run before the first start. The start then finds users and creates no first administrator: an operator
    // who has created accounts does not want another account with all permissions.
    let dir = installed();
    run(dir.path(), "user create bea@example.org").done();
    let server = Server::start(dir.path(), &[]);
    assert!(!dir.path().join("data/initial-admin-password").exists());
    assert!(server.log.text().contains("there is no active administrator"), "{}", server.log.text());
    assert!(server.stop().success());

    run(dir.path(), "user create ada@example.org --role admin").done();
    let server = Server::start(dir.path(), &[]);
    assert!(!server.log.text().contains("there is no active administrator"), "{}", server.log.text());
}

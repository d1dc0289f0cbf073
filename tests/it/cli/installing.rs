//! Which commands create an installation, and which user owns its files.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
};

use super::{empty_directory, files, initial_password, installed, mode, run, run_with};

use crate::support::binary::{self, Server, command, not_tested};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// The user id of `nobody` on Debian.
const NOBODY: u32 = 65534;
/// Commands that need an installation.
const COMMANDS: [&str; 13] = [
    "user create ada@example.org",
    "user list",
    "user set-password ada",
    "user disable ada",
    "user enable ada",
    "user reset-factors ada",
    "key list",
    "key rotate",
    "key revoke abc",
    "key rewrap",
    "clock accept",
    "backup backup.db",
    "restored",
];

#[test]
fn a_command_in_the_wrong_directory_creates_nothing() {
    let dir = empty_directory();
    for command in COMMANDS {
        let said = run(dir.path(), command).refused(1);
        assert!(said.starts_with("vestibule: no database at ./data/vestibule.db; set VESTIBULE_DATA_DIR"), "{command}: {said}");
        assert_eq!(files(dir.path()), [""; 0], "{command}");
    }
    let elsewhere = [("VESTIBULE_DATABASE__URL", "sqlite:other.db")];
    let said = run_with(dir.path(), "user list", &elsewhere, "").refused(1);
    assert!(said.starts_with("vestibule: no database at other.db; set VESTIBULE_DATABASE__URL"), "{said}");
    let said = run_with(dir.path(), "user list", &[("VESTIBULE_DATA_DIR", "nowhere/at/all")], "").refused(1);
    assert!(said.starts_with("vestibule: no database at nowhere/at/all/vestibule.db; "), "{said}");
    let ran = run(dir.path(), "migrate status");
    assert!(ran.err.starts_with("vestibule: no database at ./data/vestibule.db; "), "{}", ran.err);
    ran.done();
    assert_eq!(files(dir.path()), [""; 0]);
}

#[test]
fn an_empty_database_file_is_not_an_installation_and_is_not_changed() {
    let dir = empty_directory();
    fs::create_dir(dir.path().join("data")).unwrap();
    let file = dir.path().join("data/vestibule.db");
    fs::write(&file, "").unwrap();
    for command in COMMANDS {
        assert!(run(dir.path(), command).refused(1).contains("no database at ./data/vestibule.db"), "{command}");
    }
    assert_eq!((files(&dir.path().join("data")), fs::metadata(&file).unwrap().len()), (vec!["vestibule.db".into()], 0));
}

#[test]
fn migrate_up_creates_an_installation_that_commands_and_servers_use() {
    let dir = installed();
    assert_eq!(files(&dir.path().join("data")), ["master.key", "vestibule.db", "vestibule.lock"]);
    assert_eq!(run(dir.path(), "user list").done(), "");
    run(dir.path(), "user create ada@example.org --username ada --role admin").done();
    run(dir.path(), "user create bea@example.org").done();
    run(dir.path(), "user disable bea@example.org").done();
    let listed = "ada@example.org ada active admin,user\nbea@example.org - disabled user\n";
    assert_eq!(run(dir.path(), "user list").done(), listed);
    assert!(Server::start(dir.path(), &[]).stop().success());
}

/// Gives everything in a directory to `nobody`. Returns `false` if this process is not root and therefore may not.
fn give_away(path: &Path) -> bool {
    if path.is_dir() && !fs::read_dir(path).unwrap().all(|entry| give_away(&entry.unwrap().path())) {
        return false;
    }
    chown(path, Some(NOBODY), Some(NOBODY)).is_ok()
}

#[test]
fn commands_of_root_do_not_change_the_owner_of_the_files() {
    let dir = empty_directory();
    fs::create_dir(dir.path().join("data")).unwrap();
    if !give_away(dir.path()) {
        return not_tested("that root leaves files to their owner", "this is not root");
    }
    let data = dir.path().join("data");
    let owners = || files(&data).iter().map(|file| fs::metadata(data.join(file)).unwrap().uid()).collect::<Vec<_>>();
    run(dir.path(), "migrate up").done();
    run(dir.path(), "user create ada@example.org --role admin").done();
    fs::set_permissions(data.join("master.key"), Permissions::from_mode(0o400)).unwrap();
    run(dir.path(), "key rewrap").done();
    assert_eq!(owners(), [NOBODY; 4], "{:?}", files(&data));
    assert_eq!((mode(&data.join("master.key")), mode(&data.join("master.key.old"))), (0o400, 0o400));

    let as_owner = || {
        let mut command = command(dir.path(), &[]);
        command.uid(NOBODY).gid(NOBODY);
        command
    };
    let server = Server::spawn(as_owner());
    for command in ["key list", "user list", "key rotate", "clock accept"] {
        run(dir.path(), command).done(); // next to the running server
    }
    assert!(server.stop().success());
    assert!(Server::spawn(as_owner()).stop().success());
}

#[test]
fn a_master_key_that_cannot_be_given_to_its_owner_is_not_changed() {
    let dir = installed();
    let data = dir.path().join("data");
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for (path, mode) in
        [("", 0o755), ("data", 0o777), ("data/master.key", 0o644), ("data/vestibule.db", 0o666), ("data/vestibule.lock", 0o666)]
    {
        open(&dir.path().join(path), mode);
    }
    let key = fs::read(data.join("master.key")).unwrap();
    let mut stranger = command(dir.path(), &[]);
    stranger.args(["key", "rewrap"]).uid(NOBODY).gid(NOBODY);
    let Ok(output) = stranger.output() else {
        return not_tested("that another user changes no master key", "this is not root");
    };
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("master.key belongs to user 0: run this as that user, or as root"), "{said}");
    assert_eq!(fs::read(data.join("master.key")).unwrap(), key);
    assert!(!data.join("master.key.new").exists());
    run(dir.path(), "key list").done();
}

#[test]
fn files_that_other_users_can_read_are_logged_at_the_start() {
    let dir = installed();
    let data = dir.path().join("data");
    let log = |dir: &Path| {
        let server = Server::start(dir, &[]);
        let log = server.log.clone();
        assert!(server.stop().success());
        log.text()
    };
    assert!(!log(dir.path()).contains("others can read"));
    fs::create_dir(data.join("old")).unwrap();
    fs::write(data.join("notes.txt"), "").unwrap();
    for file in ["copy.db", "old/vestibule.db.bak", "backup-monday"] {
        fs::copy(data.join("vestibule.db"), data.join(file)).unwrap();
        fs::set_permissions(data.join(file), Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(data.join("master.key"), Permissions::from_mode(0o640)).unwrap();
    let log = log(dir.path());
    let named: Vec<_> = log.lines().filter(|line| line.contains("other users can read this file")).collect();
    assert_eq!(named.len(), 4, "{log}");
    for file in ["master.key", "copy.db", "vestibule.db.bak", "backup-monday"] {
        assert!(named.iter().any(|line| line.contains(&format!("/{file}\""))), "{file}: {log}");
    }
    assert!(log.contains(r#""mode":"640""#), "{log}");
}

#[test]
fn an_installation_keeps_its_issuer() {
    let dir = empty_directory();
    let set = |issuer| [("VESTIBULE_TOKENS__ISSUER", issuer)];
    assert!(Server::start(dir.path(), &[]).stop().success());
    assert!(Server::start(dir.path(), &set("https://id.example.org")).stop().success());
    assert!(Server::start(dir.path(), &set("https://id.example.org")).stop().success());
    assert!(Server::start(dir.path(), &[("VESTIBULE_SERVER__PUBLIC_URL", "https://id.example.org")]).stop().success());
    for other in [&set("https://other.example.org")[..], &[("VESTIBULE_SERVER__PUBLIC_URL", "https://b.example")], &[]] {
        let said = run_with(dir.path(), "serve", other, "").refused(1);
        assert!(said.contains("the issuer of this installation is https://id.example.org"), "{said}");
        assert!(said.contains("--accept-issuer"), "{said}");
    }
    // Commands issue no tokens, so they accept any issuer.
    run(dir.path(), "user list").done();

    for arguments in [&["serve", "--accept-issuer"][..], &["--accept-issuer"]] {
        let mut accepting = binary::command(dir.path(), &set("https://other.example.org"));
        accepting.args(arguments);
        let server = Server::spawn(accepting);
        assert_eq!(server.log_in("admin", &initial_password(dir.path())).status, 201);
        assert!(server.stop().success());
    }
    assert!(Server::start(dir.path(), &set("https://other.example.org")).stop().success());
    run_with(dir.path(), "serve", &set("https://id.example.org"), "").refused(1);
}

#[test]
fn a_postgres_database_without_tables_is_not_an_installation() {
    let Some(postgres) = crate::support::postgres() else { return };
    let dir = empty_directory();
    let (url, env) = (postgres.url("postgres"), [("VESTIBULE_MASTER_KEY", KEY)]);
    let env = [env[0], ("VESTIBULE_DATABASE__URL", url.as_str())];
    for command in COMMANDS {
        let said = run_with(dir.path(), command, &env, KEY).refused(1);
        assert!(said.contains("no installation in the database that database.url names"), "{command}: {said}");
    }
    assert!(run_with(dir.path(), "migrate status", &env, "").done().lines().all(|line| line.starts_with("missing")));
    assert_eq!(files(dir.path()), [""; 0]);
    run_with(dir.path(), "migrate up", &env, "").done();
    run_with(dir.path(), "user create ada@example.org", &env, "").done();
    assert_eq!(run_with(dir.path(), "user list", &env, "").done(), "ada@example.org - active user\n");
}

//! `vestibule backup` and `vestibule restore`: which files they write, which they refuse, and what a failure or a kill leaves.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    thread,
};

use sea_orm::{ConnectionTrait, Database};
use vestibule_migration::{Migrator, MigratorTrait};

use super::{empty_directory, files, initial_password, installed, kill, mode, run, run_with, sql_in};
use crate::support::{
    binary::{Server, not_tested},
    small_disk::SmallDisk,
};

const PASSWORD: &str = "ada likes tall ships";
const OTHER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Returns a directory with an installation of a few users and its backup `backup.db`.
fn backed_up() -> tempfile::TempDir {
    let dir = installed();
    for name in ["ada", "bea", "cyd"] {
        run(dir.path(), &format!("user create {name}@example.org")).done();
    }
    run(dir.path(), "backup backup.db").done();
    dir
}

fn data(dir: &Path) -> Vec<String> {
    files(&dir.join("data"))
}

#[test]
fn o01_a_backup_beside_a_running_server_is_whole_and_replaces_no_file() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let clients: Vec<_> = (0..4).map(|client| format!("client{client}@example.org")).collect();
    for email in &clients {
        assert_eq!(server.register(email, PASSWORD).status, 201);
    }
    let said = thread::scope(|scope| {
        // Writers go on meanwhile. A busy machine may have no time for some of them.
        let writers: Vec<_> = clients
            .iter()
            .map(|email| {
                scope.spawn(|| (0..5).for_each(|_| assert!([201, 503].contains(&server.log_in(email, PASSWORD).status))))
            })
            .collect();
        let said: Vec<_> = (0..3).map(|number| run(dir.path(), &format!("backup {number}.db")).done()).collect();
        for writer in writers {
            writer.join().unwrap();
        }
        said
    });
    for (number, said) in said.iter().enumerate() {
        let file = dir.path().join(format!("{number}.db"));
        assert_eq!(mode(&file), 0o600);
        assert_eq!(sql_in(&file, "PRAGMA integrity_check"), ["ok"]);
        assert_eq!(sql_in(&file, "SELECT email FROM users WHERE username IS NULL ORDER BY 1"), clients);
        assert!(said.starts_with(&format!("Wrote {number}.db, a backup of 20")), "{said}");
        assert!(said.contains("keep the key with the fingerprint "), "{said}");
    }
    let key = fs::read_to_string(dir.path().join("data/master.key")).unwrap();
    assert!(!said.concat().contains(key.trim()), "the key is not printed");
    let whole = fs::read(dir.path().join("0.db")).unwrap();
    assert!(run(dir.path(), "backup 0.db").refused(1).contains("0.db exists already"));
    assert!(fs::read(dir.path().join("0.db")).unwrap() == whole);
    assert!(run(dir.path(), "backup nowhere/1.db").refused(1).contains("nowhere/1.db.unfinished cannot be written"));
    assert_eq!(files(dir.path()), ["0.db", "1.db", "2.db", "data"]);
    symlink("0.db", dir.path().join("3.db.unfinished")).unwrap();
    assert!(run(dir.path(), "backup 3.db").refused(1).contains("3.db.unfinished cannot be written"));
    assert!(fs::read(dir.path().join("0.db")).unwrap() == whole);

    let refused = run(dir.path(), "restore 0.db").refused(1);
    assert!(refused.contains("A server or another command uses the database"), "{refused}");
    assert_eq!(server.log_in("admin", &initial_password(dir.path())).status, 201);
    assert!(server.stop().success());
}

#[test]
fn no_command_uses_a_database_while_it_is_being_restored() {
    let dir = backed_up();
    let lock = File::options().write(true).open(dir.path().join("data/vestibule.lock")).unwrap();
    lock.lock().unwrap();
    for command in ["user list", "backup other.db", "key list"] {
        assert!(run(dir.path(), command).refused(1).contains("is being restored"), "{command}");
    }
    let env = [("VESTIBULE_DATABASE__WAIT", "0")];
    assert!(run_with(dir.path(), "serve", &env, "").refused(1).contains("is being restored"));
    assert!(run(dir.path(), "restore backup.db").refused(1).contains("uses the database"));
    drop(lock);
    run(dir.path(), "restore backup.db").done();
}

#[test]
fn a_file_that_cannot_be_restored_is_refused_and_changes_nothing() {
    let dir = backed_up();
    let at = |name: &str| dir.path().join(name);
    let backup = fs::read(at("backup.db")).unwrap();
    fs::write(at("text"), "not a database, but long enough to have a header of one hundred bytes ".repeat(20)).unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("half.db"), &backup[..backup.len() / 2]).unwrap();
    let mut torn = backup.clone();
    torn[backup.len() / 2..][..8192].fill(0x5A);
    fs::write(at("torn.db"), torn).unwrap();
    for (name, statement) in [
        ("foreign.db", "DROP TABLE seaql_migrations"),
        ("newer.db", "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_000001_later', 0)"),
        ("dangling.db", "PRAGMA foreign_keys = OFF; DELETE FROM users WHERE email = 'ada@example.org'"),
    ] {
        fs::copy(at("backup.db"), at(name)).unwrap();
        sql_in(&at(name), statement);
    }
    run(dir.path(), "user disable ada@example.org").done();
    let before = fs::read(at("data/vestibule.db")).unwrap();
    for (file, reason) in [
        ("missing.db", "there is no file missing.db"),
        ("data", "there is no file data"),
        ("text", "text is not a Vestibule database"),
        ("empty", "not a Vestibule database"),
        ("half.db", "half.db is damaged"),
        ("torn.db", "torn.db is damaged"),
        ("foreign.db", "foreign.db cannot be restored: it is not a Vestibule database"),
        ("newer.db", "migrated by a newer version of Vestibule, which added m20991231_000001_later"),
        ("dangling.db", "dangling.db is damaged: a row refers to a row that does not exist"),
        ("data/vestibule.db", "is the database itself"),
    ] {
        let said = run(dir.path(), &format!("restore {file}")).refused(1);
        assert!(said.contains(reason), "{file}: {said}");
    }
    let said = run_with(dir.path(), "restore backup.db", &[("VESTIBULE_MASTER_KEY", OTHER_KEY)], "").refused(1);
    assert!(said.contains("backup.db cannot be restored: this database was made under another master key"), "{said}");
    fs::rename(at("data/master.key"), at("key")).unwrap();
    let said = run(dir.path(), "restore backup.db").refused(1);
    assert!(said.contains("sealed under a master key that is not here"), "{said}");
    assert!(run(dir.path(), "backup keyless.db").done().contains("is not here"));
    assert!(!at("data/master.key").exists(), "no other key was made");
    fs::rename(at("key"), at("data/master.key")).unwrap();

    assert_eq!(data(dir.path()), ["master.key", "vestibule.db", "vestibule.lock"]);
    assert!(fs::read(at("data/vestibule.db")).unwrap() == before);
    assert!(fs::read(at("backup.db")).unwrap() == backup, "the backup is only read");
}

#[test]
fn a_loss_must_be_accepted_where_nothing_says_what_changed_since_the_backup() {
    let dir = backed_up();
    let at = |name: &str| dir.path().join(name);
    let refuse = |reason: &str| {
        let size = || fs::metadata(at("data/vestibule.db")).ok().map(|file| file.len());
        let before = size();
        let said = run(dir.path(), "restore backup.db").refused(1);
        assert!(said.contains(reason), "{said}");
        assert!(said.contains("accounts that were disabled or deleted are active again"), "{said}");
        assert!(said.trim_end().ends_with("To go on, add --accept-loss."), "{said}");
        assert_eq!(size(), before);
    };
    let accept = || {
        run(dir.path(), "restore backup.db --accept-loss").done();
        assert!(run(dir.path(), "user list").done().starts_with("ada@example.org - active user\n"));
    };

    fs::rename(at("data/vestibule.db"), at("moved.db")).unwrap();
    refuse("there is no database ./data/vestibule.db to be replaced");
    accept();
    assert_eq!(data(dir.path()), ["master.key", "vestibule.db", "vestibule.lock"], "there was nothing to keep");

    fs::write(at("data/vestibule.db"), "damaged beyond recognition".repeat(100)).unwrap();
    refuse("the present database cannot be read: ");
    refuse("file is not a database, and whatever changed since the backup");
    accept();
    let kept: Vec<_> = data(dir.path()).into_iter().filter(|name| name.contains("replaced")).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(fs::read_to_string(at("data").join(&kept[0])).unwrap().starts_with("damaged"));

    let other = empty_directory();
    let key = fs::read_to_string(at("data/master.key")).unwrap();
    run_with(other.path(), "migrate up", &[("VESTIBULE_MASTER_KEY", key.trim())], "").done();
    fs::copy(other.path().join("data/vestibule.db"), at("data/vestibule.db")).unwrap();
    refuse("the present database belongs to another installation");
    accept();
    assert!(run(dir.path(), "restored").refused(1).contains("To go on, add --accept-loss."));

    // In the wrong directory, nothing is created.
    let wrong = empty_directory();
    fs::copy(at("backup.db"), wrong.path().join("backup.db")).unwrap();
    assert!(run(wrong.path(), "restore backup.db").refused(1).contains("there is no database"));
    assert_eq!(files(wrong.path()), ["backup.db"]);
}

#[test]
fn what_a_backup_says_is_not_undone_by_a_database_that_is_older_than_the_backup() {
    let dir = backed_up();
    run(dir.path(), "user disable ada@example.org").done();
    run(dir.path(), "user create dan@example.org").done();
    run(dir.path(), "backup later.db").done();
    fs::remove_file(dir.path().join("data/vestibule.db")).unwrap();
    run(dir.path(), "restore backup.db --accept-loss").done();
    let said = run(dir.path(), "restore later.db").refused(1);
    assert!(said.contains("the present database is older than the backup, or has another history"), "{said}");
    run(dir.path(), "restore later.db --accept-loss").done();
    let users = "ada@example.org - disabled user\nbea@example.org - active user\ncyd@example.org - active user\n\
                 dan@example.org - active user\n";
    assert_eq!(run(dir.path(), "user list").done(), users);

    run(dir.path(), "user disable bea@example.org").done();
    run(dir.path(), "restore later.db").done();
    assert_eq!(run(dir.path(), "user list").done(), users.replace("bea@example.org - active", "bea@example.org - disabled"));
}

#[test]
fn a_database_that_is_no_backup_is_not_called_one() {
    let dir = empty_directory();
    assert!(Server::start(dir.path(), &[]).stop().success());
    fs::copy(dir.path().join("data/vestibule.db"), dir.path().join("copy.db")).unwrap();
    let said = run(dir.path(), "restored").refused(1);
    let since = "whatever changed since the state that is restored (the newest time in it is 20";
    assert!(said.contains(since) && !said.contains("backup"), "{said}");
    let said = run(dir.path(), "restore copy.db").done();
    assert!(said.starts_with("Restored copy.db. The newest time in it is 20") && !said.contains("a backup of"), "{said}");
}

#[test]
fn a_database_that_another_program_has_open_is_not_replaced() {
    let dir = backed_up();
    let path = dir.path().join("data/vestibule.db");
    run(dir.path(), "user disable ada@example.org").done();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let other = runtime.block_on(async {
        let other = Database::connect(format!("sqlite:{}", path.display())).await.unwrap();
        other.execute_unprepared("SELECT count(*) FROM users").await.unwrap();
        other
    });
    for arguments in ["restore backup.db", "restore backup.db --accept-loss"] {
        let said = run(dir.path(), arguments).refused(1);
        assert!(said.contains("another program has") && said.contains("stop it first"), "{said}");
    }
    assert!(data(dir.path()).iter().all(|name| !name.contains("replaced")));
    runtime.block_on(other.close()).unwrap();
    run(dir.path(), "restore backup.db").done();
    assert!(run(dir.path(), "user list").done().starts_with("ada@example.org - disabled user\n"));
}

#[test]
fn a_backup_of_an_earlier_version_or_under_an_earlier_master_key_is_restored() {
    let dir = backed_up();
    let at = |name: &str| dir.path().join(name);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let db = Database::connect(format!("sqlite:{}", at("backup.db").display())).await.unwrap();
        let later = Migrator::migrations().len() - 6;
        Migrator::down(&db, Some(u32::try_from(later).unwrap())).await.unwrap();
        db.close().await.unwrap();
    });
    run(dir.path(), "user disable ada@example.org").done();
    run(dir.path(), "key rewrap").done();
    let said = run(dir.path(), "restore backup.db").refused(1);
    assert!(said.contains("another master key, which is in ./data/master.key.old: put it"), "{said}");
    fs::rename(at("data/master.key"), at("new.key")).unwrap();
    fs::rename(at("data/master.key.old"), at("data/master.key")).unwrap();
    let said = run(dir.path(), "restore backup.db").done();
    assert!(said.contains("0 deleted since the backup. Lost: 0 accounts"), "{said}");
    let listed = "ada@example.org - disabled user\nbea@example.org - active user\ncyd@example.org - active user\n";
    assert_eq!(run(dir.path(), "user list").done(), listed);
    assert!(run(dir.path(), "migrate status").done().lines().all(|line| line.starts_with("applied")));
    assert!(Server::start(dir.path(), &[]).stop().success());
}

#[test]
fn a_copy_of_the_directory_of_a_server_that_was_killed_is_restored_with_its_log() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.register("ada@example.org", PASSWORD).status, 201);
    server.kill();
    fs::create_dir(dir.path().join("copy")).unwrap();
    for file in ["vestibule.db", "vestibule.db-wal"] {
        fs::copy(dir.path().join("data").join(file), dir.path().join("copy").join(file)).unwrap();
    }
    run(dir.path(), "user create bea@example.org").done();
    run(dir.path(), "restore copy/vestibule.db").done();
    let users = run(dir.path(), "user list").done();
    assert!(users.contains("ada@example.org") && !users.contains("bea@example.org"), "{users}");
}

#[test]
fn a_full_disk_leaves_no_half_backup_and_the_former_database() {
    let dir = backed_up();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("small")).unwrap();
    let Some(disk) = SmallDisk::mount(&at("small"), 2) else {
        return not_tested("a full disk", "only root can mount a small disk");
    };
    fs::set_permissions(at("small"), Permissions::from_mode(0o755)).unwrap();
    for file in data(dir.path()) {
        fs::copy(at("data").join(&file), at("small").join(&file)).unwrap();
    }
    let on_disk = [("VESTIBULE_DATA_DIR", "small")];
    run_with(dir.path(), "user disable ada@example.org", &on_disk, "").done();
    let before = fs::read(at("small/vestibule.db")).unwrap();
    let ballast = disk.fill();
    ballast.set_len(ballast.metadata().unwrap().len() - 200 * 1024).unwrap(); // room for half of it
    let said = run_with(dir.path(), "backup small/backup.db", &on_disk, "").refused(1);
    assert!(said.contains("full") || said.contains("No space"), "{said}");
    let said = run_with(dir.path(), "restore backup.db", &on_disk, "").refused(1);
    assert!(said.contains("full") || said.contains("No space"), "{said}");
    assert_eq!(files(&at("small")), ["ballast", "master.key", "vestibule.db", "vestibule.lock"]);
    assert!(fs::read(at("small/vestibule.db")).unwrap() == before);
    ballast.set_len(0).unwrap();
    run_with(dir.path(), "restore backup.db", &on_disk, "").done();
    assert!(run_with(dir.path(), "user list", &on_disk, "").done().starts_with("ada@example.org - disabled user\n"));
    drop(disk);
}

/// Kills restores and backups at random moments. Whatever the moment, there is a whole database, the former one or the new one, and
/// the next command succeeds.
fn kill_at_random_moments(times: usize) {
    let dir = backed_up();
    run(dir.path(), "user disable ada@example.org").done();
    run(dir.path(), "user create dan@example.org").done();
    let (mut killed, mut replaced) = (0, 0);
    for number in 0..times {
        killed += usize::from(kill(dir.path(), "restore backup.db", 1_300));
        let users = run(dir.path(), "user list").done();
        // The former database has the account that was created since the backup.
        let dan = if users.contains("dan@example.org") { "dan@example.org - active user\n" } else { "" };
        let expected =
            format!("ada@example.org - disabled user\nbea@example.org - active user\ncyd@example.org - active user\n{dan}");
        assert_eq!(users, expected);
        if dan.is_empty() {
            replaced += 1;
            run(dir.path(), "user create dan@example.org").done();
        }
        let file = format!("{number}.db");
        killed += usize::from(kill(dir.path(), &format!("backup {file}"), 150));
        if dir.path().join(&file).exists() {
            assert_eq!(sql_in(&dir.path().join(&file), "PRAGMA integrity_check"), ["ok"]);
            fs::remove_file(dir.path().join(&file)).unwrap();
        }
        run(dir.path(), &format!("backup {file}")).done();
        fs::remove_file(dir.path().join(&file)).unwrap();
    }
    run(dir.path(), "restore backup.db").done();
    let names: Vec<_> = data(dir.path()).into_iter().filter(|name| !name.contains("replaced")).collect();
    assert_eq!(names, ["master.key", "vestibule.db", "vestibule.lock"], "what the kills left is gone");
    let kept = data(dir.path()).len() - names.len();
    assert_eq!(kept, replaced + 1, "each former database is kept once");
    assert_eq!(files(dir.path()), ["backup.db", "data"]);
    println!("\n{killed} of {} commands killed, {replaced} of them after the replacement", 2 * times);
}

#[test]
fn o01_a_restore_killed_at_a_random_moment_loses_nothing() {
    kill_at_random_moments(4);
}

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_o01_a_restore_killed_at_random_moments_loses_nothing() {
    kill_at_random_moments(60);
}

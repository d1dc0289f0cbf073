//! Migrations at the command line.

use super::{empty_directory, files, mode, run, run_with};

#[test]
fn status_lists_missing_migrations_and_creates_nothing() {
    let dir = empty_directory();
    let missing = run(dir.path(), "migrate status").done();
    assert!(!missing.is_empty() && missing.lines().all(|line| line.starts_with("missing m20")), "{missing}");
    assert_eq!(files(dir.path()), [""; 0]);

    let applied = missing.replace("missing", "applied");
    assert_eq!(run(dir.path(), "migrate up").done(), applied);
    assert_eq!(mode(&dir.path().join("data")), 0o700);
    assert_eq!(files(&dir.path().join("data")), ["master.key", "vestibule.db", "vestibule.lock"]);
    assert_eq!(run(dir.path(), "migrate up").done(), applied, "a second run changes nothing");
    assert_eq!(run(dir.path(), "migrate status").done(), applied);
}

#[test]
fn an_unreachable_database_is_reported_without_its_password() {
    let dir = empty_directory();
    let env = [
        ("VESTIBULE_DATABASE__URL", "postgres://vestibule:hunter2@127.0.0.1:1/vestibule"),
        ("VESTIBULE_MASTER_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ];
    for command in ["migrate status", "migrate up", "serve"] {
        let said = run_with(dir.path(), command, &env, "").refused(1);
        assert!(said.contains("No database answers where database.url points to"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

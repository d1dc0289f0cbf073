//! The master key: lost, wrong, and from the settings.

use std::fs;

use super::{empty_directory, files, initial_password, run, run_with};
use crate::support::binary::Server;

/// 32 bytes in base64.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "HxwdHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

#[test]
fn a_lost_master_key_is_explained_and_the_database_untouched() {
    let dir = empty_directory();
    let data = dir.path().join("data");
    let (file, database) = (data.join("master.key"), data.join("vestibule.db"));
    assert!(Server::start(dir.path(), &[]).stop().success());
    let (key, before) = (fs::read_to_string(&file).unwrap(), fs::read(&database).unwrap());

    fs::remove_file(&file).unwrap();
    for command in ["serve", "user create eve@example.org --role admin"] {
        let said = run(dir.path(), command).refused(1);
        assert!(said.contains("restore ./data/master.key, or set VESTIBULE_MASTER_KEY"), "{said}");
        assert!(!file.exists(), "a new key would make it worse");
    }
    fs::write(&file, "not a key").unwrap();
    let said = run(dir.path(), "serve").refused(1);
    assert!(said.contains("./data/master.key does not hold a master key") && !said.contains("not a key"), "{said}");
    for wrong in [format!("{KEY}\n"), OTHER.to_owned()] {
        fs::write(&file, &wrong).unwrap();
        let said = run(dir.path(), "serve").refused(1);
        assert!(said.contains("another master key: restore"), "{said}");
        assert!(!said.contains(wrong.trim()), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), wrong);
    }
    assert!(fs::read(&database).unwrap() == before, "a failed start wrote to the database");

    // The variable wins over the file, so the right key from a backup helps at once.
    let server = Server::start(dir.path(), &[("VESTIBULE_MASTER_KEY", key.trim())]);
    assert_eq!(server.log_in("admin", &initial_password(dir.path())).status, 201);
}

#[test]
fn a_master_key_from_the_settings_leaves_no_file() {
    let dir = empty_directory();
    fs::write(dir.path().join("key"), format!("{KEY}\n")).unwrap();
    assert!(Server::start(dir.path(), &[("VESTIBULE_MASTER_KEY_FILE", "key")]).stop().success());
    assert_eq!(files(&dir.path().join("data")), ["initial-admin-password", "vestibule.db"]);

    let said = run_with(dir.path(), "serve", &[("VESTIBULE_MASTER_KEY", OTHER)], "").refused(1);
    assert!(said.contains("another master key") && !said.contains(OTHER), "{said}");
    let said = run_with(dir.path(), "serve", &[("VESTIBULE_MASTER_KEY", "aGFsZiBhIGtleQ==")], "").refused(78);
    assert!(said.contains("must be 32 bytes in base64") && !said.contains("aGFsZ"), "{said}");
    assert!(Server::start(dir.path(), &[("VESTIBULE_MASTER_KEY", KEY)]).stop().success());
}

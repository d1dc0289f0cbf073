//! The master key: lost, wrong, in the settings, and replaced. Rotation of signing keys at the command line.

use std::{fs, path::Path, thread::sleep, time::Duration};

use super::{empty_directory, files, initial_password, mode, run, run_with, until};

use crate::support::binary::Server;

/// 32 bytes in base64.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "HxwdHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

#[test]
fn a_lost_master_key_is_reported_and_the_database_is_not_changed() {
    let dir = empty_directory();
    let data = dir.path().join("data");
    let (file, database) = (data.join("master.key"), data.join("vestibule.db"));
    assert!(Server::start(dir.path(), &[]).stop().success());
    let (key, before) = (fs::read_to_string(&file).unwrap(), fs::read(&database).unwrap());

    fs::remove_file(&file).unwrap();
    for command in ["serve", "user create eve@example.org --role admin"] {
        let said = run(dir.path(), command).refused(1);
        assert!(said.contains("restore ./data/master.key, or set VESTIBULE_MASTER_KEY"), "{said}");
        assert!(!file.exists(), "no new key is created");
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

    // The variable has priority over the file, so the right key from a backup works at once.
    let server = Server::start(dir.path(), &[("VESTIBULE_MASTER_KEY", key.trim())]);
    assert_eq!(server.log_in("admin", &initial_password(dir.path())).status, 201);
}

#[test]
fn a_master_key_from_the_settings_leaves_no_file() {
    let dir = empty_directory();
    fs::write(dir.path().join("key"), format!("{KEY}\n")).unwrap();
    assert!(Server::start(dir.path(), &[("VESTIBULE_MASTER_KEY_FILE", "key")]).stop().success());
    assert_eq!(files(&dir.path().join("data")), ["initial-admin-password", "vestibule.db", "vestibule.lock"]);

    let said = run_with(dir.path(), "serve", &[("VESTIBULE_MASTER_KEY", OTHER)], "").refused(1);
    assert!(said.contains("another master key") && !said.contains(OTHER), "{said}");
    let said = run_with(dir.path(), "serve", &[("VESTIBULE_MASTER_KEY", "aGFsZiBhIGtleQ==")], "").refused(78);
    assert!(said.contains("must be 32 bytes in base64") && !said.contains("aGFsZ"), "{said}");
    assert!(Server::start(dir.path(), &[("VESTIBULE_MASTER_KEY", KEY)]).stop().success());
}

/// Returns the key ids in the key set that a server publishes, oldest first.
fn published(server: &Server) -> Vec<String> {
    let set = server.get("/.well-known/jwks.json").json();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn keys_rotated_at_the_command_line_reach_the_running_server() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let token = server.log_in("admin", &initial_password(dir.path())).json()["access_token"].as_str().unwrap().to_owned();
    let listed = run(dir.path(), "key list").done();
    let old = published(&server).remove(0);
    assert!(listed.starts_with(&format!("{old} EdDSA active since 20")) && listed.lines().count() == 1, "{listed}");

    let said = run(dir.path(), "key rotate").done();
    assert!(said.contains(" EdDSA next, signs from 20"), "{said}");
    let said = run(dir.path(), "key rotate").refused(1);
    assert_eq!(
        said,
        "vestibule: The next signing key is already published. It starts to sign when verifiers have had time to fetch it.\n"
    );
    until(|| published(&server).len() == 2);
    assert_eq!(run(dir.path(), "key list").done().lines().count(), 2);
    assert_eq!(server.get_as(&token, "/v1/token").status, 200);

    let said = run(dir.path(), &format!("key revoke {old}")).done();
    assert_eq!(said, format!("Revoked {old}: its tokens are rejected.\n"));
    until(|| server.get_as(&token, "/v1/token").problem() == (401, "invalid_token".into()));
    assert!(!published(&server).contains(&old));
    assert_eq!(server.log_in("admin", &initial_password(dir.path())).status, 201);
    assert!(run(dir.path(), "key list").done().contains(&format!("{old} EdDSA revoked\n")));
    for unknown in ["unknown", "-r", "--help-me"] {
        assert_eq!(run(dir.path(), &format!("key revoke {unknown}")).refused(1), "vestibule: There is no such signing key.\n");
    }
}

/// Starts a server, and checks that it can open everything that is sealed.
fn assert_opens(dir: &Path, env: &[(&str, &str)], kids: &[String]) {
    let server = Server::start(dir, env);
    assert_eq!(server.log_in("admin", &initial_password(dir)).status, 201);
    assert_eq!(published(&server), kids);
    assert!(server.stop().success());
}

#[test]
fn a_new_master_key_replaces_the_old_one_after_any_interruption() {
    let dir = empty_directory();
    let file = |name: &str| dir.path().join("data").join(name);
    let text = |name: &str| fs::read_to_string(file(name)).unwrap();
    let server = Server::start(dir.path(), &[]);
    let kids = published(&server);
    assert!(server.stop().success());
    let old = text("master.key");

    // Killed before anything was sealed under the new key, whose file was written whole or in part.
    for proposed in [format!("{OTHER}\n"), OTHER[..9].to_owned(), String::new()] {
        fs::write(file("master.key.new"), proposed).unwrap();
        assert_opens(dir.path(), &[], &kids);
        assert_eq!(text("master.key"), old);
    }

    let said = run(dir.path(), "key rewrap").done();
    assert!(said.starts_with("Sealed all secrets under a new master key, which is in ./data/master.key.\n"), "{said}");
    let new = text("master.key");
    assert!(new != old && text("master.key.old") == old && !file("master.key.new").exists());
    assert!(!said.contains(new.trim()) && !said.contains(old.trim()), "{said}");
    assert_eq!((mode(&file("master.key")), mode(&file("master.key.old"))), (0o600, 0o600));
    assert_opens(dir.path(), &[], &kids);

    // Killed after that: before the first file was renamed, and before the second was.
    fs::rename(file("master.key"), file("master.key.new")).unwrap();
    fs::rename(file("master.key.old"), file("master.key")).unwrap();
    assert_opens(dir.path(), &[], &kids);
    assert_eq!((text("master.key"), text("master.key.old")), (new.clone(), old.clone()));
    fs::rename(file("master.key"), file("master.key.new")).unwrap();
    assert_opens(dir.path(), &[], &kids);
    assert_eq!((text("master.key"), text("master.key.old")), (new.clone(), old.clone()));
    assert!(!file("master.key.new").exists());

    let said = run(dir.path(), "key rewrap").refused(1);
    assert!(said.contains("master.key.old is still here: move it to the backups it belongs to"), "{said}");
    assert_opens(dir.path(), &[], &kids);
    let said = run_with(dir.path(), "serve", &[("VESTIBULE_MASTER_KEY", old.trim())], "").refused(1);
    assert!(said.contains("another master key, which is in ./data/master.key: set VESTIBULE_MASTER_KEY_FILE"), "{said}");
    fs::rename(file("master.key"), file("master.key.new key")).unwrap();
    let said = run(dir.path(), "serve").refused(1);
    assert!(said.contains("restore ./data/master.key, or set") && !said.contains("master.key.old"), "{said}");
    fs::rename(file("master.key.old"), file("master.key")).unwrap();
    fs::rename(file("master.key.new key"), file("master.key.old")).unwrap();
    let said = run(dir.path(), "serve").refused(1);
    let found = "is in ./data/master.key.old: put it in the place of ./data/master.key";
    assert!(said.contains(&format!("another master key, which {found}, which you may need for other backups")), "{said}");
    let present = fs::read(file("master.key")).unwrap();
    fs::remove_file(file("master.key")).unwrap();
    let said = run(dir.path(), "serve").refused(1);
    assert!(said.contains(&format!("sealed under a master key that {found}")), "{said}");
    fs::rename(file("master.key.old"), file("master.key")).unwrap();
    assert_eq!(String::from_utf8(present).unwrap(), old);
    run_with(dir.path(), "key rewrap --key-stdin", &[], &format!("{KEY}\n")).done();
    assert_eq!((text("master.key").trim(), text("master.key.old")), (KEY, new));
    assert_opens(dir.path(), &[], &kids);
}

#[test]
fn while_no_key_signs_log_ins_are_unavailable() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let [key] = published(&server).try_into().unwrap();
    // The running server keeps the old master key, and cannot read a signing key that is made under the new one.
    run(dir.path(), "key rewrap").done();
    run(dir.path(), &format!("key revoke {key}")).done();
    let log_in = || server.log_in("admin", &initial_password(dir.path()));
    until(|| log_in().status != 201);
    assert_eq!(log_in().problem(), (503, "unavailable".to_owned()));
    assert!(server.stop().success());
    assert_eq!(Server::start(dir.path(), &[]).log_in("admin", &initial_password(dir.path())).status, 201);
}

#[test]
fn a_master_key_from_the_settings_is_replaced_by_one_from_standard_input() {
    let dir = empty_directory();
    let (old, new) = ([("VESTIBULE_MASTER_KEY", KEY)], [("VESTIBULE_MASTER_KEY", OTHER)]);
    let server = Server::start(dir.path(), &old);
    let (kids, password) = (published(&server), initial_password(dir.path()));
    let token = server.log_in("admin", &password).json()["access_token"].as_str().unwrap().to_owned();

    let said = run_with(dir.path(), "key rewrap", &old, "").refused(1);
    assert!(said.contains("the master key is a setting, so give the new one with --key-stdin"), "{said}");
    for wrong in ["", "\n", "aGFsZiBhIGtleQ==\n"] {
        let said = run_with(dir.path(), "key rewrap --key-stdin", &old, wrong).refused(1);
        assert!(said.contains("master key") && !said.contains("aGFsZ"), "{said}");
    }
    let said = run_with(dir.path(), "key rewrap --key-stdin", &new, OTHER).refused(1);
    assert!(said.contains("another master key"), "{said}");
    let said = run_with(dir.path(), "key rewrap --key-stdin", &old, OTHER).done();
    assert!(said.starts_with("Sealed all secrets under the new master key.\n") && !said.contains(OTHER), "{said}");
    assert!(!files(&dir.path().join("data")).iter().any(|name| name.starts_with("master.key")));

    // The running server continues with the keys that it has in memory.
    sleep(Duration::from_secs(1));
    assert_eq!(server.get_as(&token, "/v1/token").status, 200);
    assert_eq!(server.log_in("admin", &password).status, 201);
    assert_eq!(server.get("/readyz").status, 200);
    assert!(server.stop().success());
    let said = run_with(dir.path(), "serve", &old, "").refused(1);
    assert!(said.contains("another master key"), "{said}");
    assert_opens(dir.path(), &new, &kids);
}

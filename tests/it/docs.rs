//! `/docs` in a real browser: starts a real server and runs `tests/browser/docs.mjs` against it.

use std::{env, fs, path::Path, process::Command};

use crate::support::binary::{Server, not_tested};

/// The oldest version of Node that playwright-core supports.
const NODE: u32 = 20;

#[test]
fn the_first_five_minutes_work_in_a_browser() {
    let chromium = env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/docs.mjs");
    if let Some(missing) = missing(&chromium, &script) {
        not_tested("in a browser", &missing);
        return;
    }

    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let password = fs::read_to_string(dir.path().join("data/initial-admin-password")).unwrap();
    let output = Command::new("node")
        .arg(&script)
        .env("VESTIBULE_URL", &server.url)
        .env("VESTIBULE_ADMIN_PASSWORD", password.trim())
        .env("CHROMIUM", &chromium)
        .env("VESTIBULE_SCREENSHOTS", concat!(env!("CARGO_MANIFEST_DIR"), "/target/screenshots"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(server.stop().success());
}

/// Returns what the script needs and this machine does not have.
fn missing(chromium: &str, script: &Path) -> Option<String> {
    let node = Command::new("node").arg("--version").output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let node = node.ok().and_then(|version| version.strip_prefix('v')?.split('.').next()?.parse::<u32>().ok());
    if node.is_none_or(|version| version < NODE) {
        return Some(format!("there is no Node {NODE} or newer (`node`)"));
    }
    if !Path::new(chromium).exists() {
        return Some(format!("there is no Chromium at {chromium} (set CHROMIUM to its path)"));
    }
    if !script.with_file_name("node_modules/playwright-core").exists() {
        return Some("there is no playwright-core: run `npm ci` in tests/browser".into());
    }
    None
}

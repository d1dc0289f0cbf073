//! `/docs` in a real browser: `tests/browser/docs.mjs` tells the story, here it gets the real server.

use std::{env, fs, path::Path, process::Command};

use crate::support::binary::{Server, not_tested};

/// The oldest Node that playwright-core takes.
const NODE: u32 = 20;

#[test]
fn the_first_five_minutes_work_in_a_browser() {
    let chromium = env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/docs.mjs");
    if let Some(missing) = missing(&chromium, &story) {
        not_tested("in a browser", &missing);
        return;
    }

    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let password = fs::read_to_string(dir.path().join("data/initial-admin-password")).unwrap();
    let told = Command::new("node")
        .arg(&story)
        .env("VESTIBULE_URL", &server.url)
        .env("VESTIBULE_ADMIN_PASSWORD", password.trim())
        .env("CHROMIUM", &chromium)
        .env("VESTIBULE_SCREENSHOTS", concat!(env!("CARGO_MANIFEST_DIR"), "/target/screenshots"))
        .output()
        .unwrap();
    assert!(told.status.success(), "{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(server.stop().success());
}

/// What the browser's story needs and this machine has not.
fn missing(chromium: &str, story: &Path) -> Option<String> {
    let node = Command::new("node").arg("--version").output().map(|told| String::from_utf8_lossy(&told.stdout).into_owned());
    let node = node.ok().and_then(|version| version.strip_prefix('v')?.split('.').next()?.parse::<u32>().ok());
    if node.is_none_or(|version| version < NODE) {
        return Some(format!("there is no Node {NODE} or newer (`node`)"));
    }
    if !Path::new(chromium).exists() {
        return Some(format!("there is no Chromium at {chromium} (CHROMIUM names another place)"));
    }
    if !story.with_file_name("node_modules/playwright-core").exists() {
        return Some("there is no playwright-core: run `npm ci` in tests/browser".into());
    }
    None
}

//! What needs a real browser: `/docs`, and every account page in each language, theme and width. Runs the scripts of
//! `tests/browser`. `.ci/pages` runs the others of them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{
    binary::{self, Server, not_tested},
    directory,
};

/// The oldest version of Node that playwright-core supports.
const NODE: u32 = 20;

#[test]
fn the_first_five_minutes_with_the_docs_work() {
    let Some(mut docs) = script("docs.mjs") else { return };
    let dir = directory::temporary();
    let server = Server::start(dir.path(), &[]);
    let password = fs::read_to_string(dir.path().join("data/initial-admin-password")).unwrap();
    run(docs.env("VESTIBULE_URL", &server.url).env("VESTIBULE_ADMIN_PASSWORD", password.trim()));
    assert!(server.stop().success());
}

#[test]
#[ignore = "long: .ci/long looks at every combination, and .ci/pages at each page once"]
fn long_w01_everybody_can_use_every_page_in_each_language_theme_and_width() {
    let Some(mut matrix) = script("matrix.mjs") else { return };
    run(matrix.env("VESTIBULE", binary::path()).env("VESTIBULE_MATRIX", "whole"));
}

/// Returns the command that runs a script of `tests/browser`, unless this machine lacks what it needs.
fn script(name: &str) -> Option<Command> {
    let chromium = env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("tests/browser").join(name);
    if let Some(missing) = missing(&chromium, &script) {
        not_tested("in a browser", &missing);
        return None;
    }
    let mut command = Command::new("node");
    command.arg(script).env("CHROMIUM", chromium).env("VESTIBULE_SCREENSHOTS", root.join("target/screenshots"));
    Some(command)
}

/// Runs a script. Panics with its output if it fails.
fn run(script: &mut Command) {
    let output = script.output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
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

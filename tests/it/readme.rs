//! The documentation agrees with the program: the README, the pages next to it, and the guide.

mod alerts;
mod links;
mod map;
mod names;
mod walk;

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// Returns the text between `<!-- name -->` and `<!-- /name -->`.
fn between(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("<!-- {name} -->\n")).unwrap();
    rest.split_once(&format!("<!-- /{name} -->")).unwrap().0.to_owned()
}

/// Returns every page of documentation, relative to the root.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = ["", "openapi/typescript", "src/guide"]
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path().strip_prefix(root()).unwrap().to_owned())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    assert!(pages.len() >= 12, "only {pages:?} were found");
    pages
}

#[test]
fn the_table_of_settings_matches_the_program() {
    let expected = vestibule::config::markdown();
    let page = read("src/guide/configuration.md");
    assert!(between(&page, "settings") == expected, "put this between the markers in src/guide/configuration.md:\n{expected}");
}

#[test]
fn the_readme_shows_the_program_that_a_browser_test_runs() {
    let readme = read("README.md");
    let (_, shown) = readme.split_once("```js\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let program = read("openapi/typescript/example/product.js");
    let (_, program) = program.split_once("\n\n").unwrap();
    assert!(shown == program, "README.md and openapi/typescript/example/product.js differ");
}

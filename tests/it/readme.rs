//! The documentation is true: the README, the pages beside it, and the guide.

mod links;
mod names;
mod walk;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// Returns what stands between `<!-- name -->` and `<!-- /name -->`.
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
fn the_table_of_settings_is_the_programs_own() {
    let expected = vestibule::config::markdown();
    let page = read("src/guide/configuration.md");
    assert!(between(&page, "settings") == expected, "put this between the markers in src/guide/configuration.md:\n{expected}");
}

#[test]
fn the_map_names_every_room_and_no_other() {
    let src = root().join("src");
    let mut real = rooms(&src, "");
    for floor in ["server/", "api/", "domain/", "entity/", "values/", "config/", "live/"] {
        real.extend(rooms(&src.join(floor), floor));
    }

    let map = between(&read("CONTRIBUTING.md"), "map");
    let (_, house) = map.split_once("\nsrc/").unwrap();
    let (house, _) = house.split_once("\ntests/").unwrap();
    let mut drawn = BTreeSet::new();
    let mut floor = "";
    for line in house.lines().skip(1) {
        if !line.starts_with("    ") {
            floor = line.split_whitespace().next().filter(|word| word.ends_with('/')).unwrap_or_default();
        }
        drawn.extend(line.split_whitespace().filter(|word| is_rust(word)).map(|name| format!("{floor}{name}")));
    }
    assert_eq!(drawn, real);
}

/// The Rust files of a folder, but for its tests and for `mod.rs`, which is the folder itself.
fn rooms(folder: &Path, prefix: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let rooms = files.filter(|name| is_rust(name) && name != "mod.rs" && name != "tests.rs");
    rooms.map(|name| format!("{prefix}{name}")).collect()
}

fn is_rust(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "rs")
}

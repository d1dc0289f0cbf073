//! The README says what is so: its table of settings, its map of the house.

use std::{collections::BTreeSet, fs, path::Path};

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// What stands between `<!-- name -->` and `<!-- /name -->`.
fn between(readme: &str, name: &str) -> String {
    let (_, rest) = readme.split_once(&format!("<!-- {name} -->\n")).unwrap();
    rest.split_once(&format!("<!-- /{name} -->")).unwrap().0.to_owned()
}

#[test]
fn the_table_of_settings_is_the_programs_own() {
    let expected = vestibule::config::markdown();
    assert!(between(&readme(), "settings") == expected, "put this between the markers:\n{expected}");
}

#[test]
fn the_map_names_every_room_and_no_other() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut real = rooms(&src, "");
    for floor in ["server/", "api/", "domain/", "entity/", "values/", "config/", "live/"] {
        real.extend(rooms(&src.join(floor), floor));
    }

    let map = between(&readme(), "map");
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
    Path::new(name).extension().is_some_and(|it| it == "rs")
}

//! The house keeps its order: no floor imports a floor above it.

use std::{fs, path::Path};

/// From the ground up. What is not listed here is no floor and imports nothing that is (`error` knows `values`).
const FLOORS: &[&[&str]] =
    &[&["values", "config"], &["entity"], &["live"], &["app"], &["domain"], &["api", "jobs"], &["server"], &["cli"]];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            sources(&entry.path(), found);
        } else if entry.path().extension().is_some_and(|it| it == "rs") {
            found.push(entry.path());
        }
    }
}

/// The modules that a source names after `crate::`, alone or in braces.
fn imports(source: &str) -> Vec<&str> {
    let word = |text: &'_ str| text.find(|it: char| !it.is_ascii_alphanumeric() && it != '_').unwrap_or(text.len());
    let mut modules = Vec::new();
    for rest in source.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            modules.push(&rest[..word(rest)]);
            continue;
        };
        let mut depth = 0;
        let mut begins = 0;
        for (at, it) in group.char_indices() {
            match it {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    let import = group[begins..at].trim_start();
                    modules.push(&import[..word(import)]);
                    begins = at + 1;
                    if it == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    modules.retain(|it| !it.is_empty());
    modules
}

#[test]
fn no_floor_imports_a_floor_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut seen = 0;
    for file in &files {
        let relative = file.strip_prefix(&src).unwrap();
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some(own) = floor_of(module) else { continue };
        let source = fs::read_to_string(file).unwrap();
        for import in imports(&source) {
            let Some(other) = floor_of(import) else { continue };
            seen += 1;
            assert!(other <= own, "{} imports crate::{import}, which is above it", relative.display());
        }
    }
    assert!(seen > 80, "only {seen} imports were seen: does this test still read the sources right?");
}

#[test]
fn only_the_door_and_the_server_know_poem() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    for file in files {
        let relative = file.strip_prefix(&src).unwrap().to_str().unwrap();
        if !relative.starts_with("api") && !relative.starts_with("server") {
            let source = fs::read_to_string(&file).unwrap();
            assert!(!source.contains("poem::") && !source.contains("poem_openapi"), "{relative} knows poem");
        }
    }
}

#[test]
fn the_door_does_not_know_sea_orm() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src.join("api"), &mut files);
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        assert!(!source.contains("sea_orm"), "{} knows SeaORM", file.display());
    }
}

#[test]
fn imports_are_read_from_braces_and_from_paths() {
    let source = "use crate::{app::App, domain::{a, b::c}, error::Error};\nlet x = crate::live::clock::SystemClock;";
    assert_eq!(imports(source), ["app", "domain", "error", "live"]);
}

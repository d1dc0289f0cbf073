//! The structure of the source: no layer imports a layer above it, and modules do not use each other in a circle.

mod graph;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use self::graph::{Graph, Uses};

/// The layers, the lowest first. A module that is not listed is part of no layer, and uses none except `values` (`error` does).
const LAYERS: &[&[&str]] =
    &[&["values", "config"], &["entity"], &["live"], &["app"], &["domain"], &["api", "jobs"], &["server"], &["cli"]];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn no_layer_uses_a_layer_above_it() {
    let mut count = 0;
    for ((module, other), names) in Graph::read(&src()).uses() {
        let layers = [&module, &other].map(|path| path.first().and_then(|name| layer_of(name)));
        let [Some(own), Some(used)] = layers else { continue };
        assert!(used <= own, "{} uses {names:?} of {}, which is above it", module.join("::"), other.join("::"));
        count += 1;
    }
    assert!(count > 400, "only {count} uses were found: does this test still read the source correctly?");
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let circles = circles(&Graph::read(&src()).uses());
    assert!(circles.is_empty(), "{circles:#?}");
}

/// For each module of a folder, the modules of the folder that it uses, and a description of each use.
type Folder<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Vec<String>>>;

/// Returns the uses that form circles among the modules of a folder. A module includes its submodules: a use by
/// `live::database::open` is a use by `live::database`. Uses between a module and its own submodules form no circle.
fn circles(uses: &Uses) -> Vec<String> {
    let mut folders: BTreeMap<&[String], Folder<'_>> = BTreeMap::new();
    for ((module, other), names) in uses {
        // Tables refer to each other in both directions: a relation does not count as a use.
        if module[0] == "entity" && names.iter().all(|name| ["Entity", "Column", "COLUMN"].contains(&name.as_str())) {
            continue;
        }
        let depth = module.iter().zip(other).take_while(|(one, another)| one == another).count();
        if let (Some(from), Some(to)) = (module.get(depth), other.get(depth)) {
            let text = format!("{} -> {} ({})", module.join("::"), other.join("::"), Vec::from_iter(names.clone()).join(", "));
            folders.entry(&module[..depth]).or_default().entry(from).or_default().entry(to).or_default().push(text);
        }
    }
    let mut circles = Vec::new();
    for folder in folders.values() {
        let reachable: BTreeMap<_, _> = folder.keys().map(|module| (*module, reachable(folder, module))).collect();
        let is_circle = |from: &str, to: &str| reachable.get(to).is_some_and(|modules| modules.contains(from));
        for (from, others) in folder {
            circles.extend(others.iter().filter(|(to, _)| is_circle(from, to)).flat_map(|(_, texts)| texts.clone()));
        }
    }
    circles
}

/// Returns the modules that `module` uses, directly or through others.
fn reachable<'a>(folder: &Folder<'a>, module: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut pending = vec![module];
    while let Some(module) = pending.pop() {
        pending.extend(folder.get(module).into_iter().flat_map(BTreeMap::keys).filter(|other| found.insert(**other)));
    }
    found
}

#[test]
fn only_api_and_server_use_poem() {
    for (path, source) in sources(&src()) {
        // `tests` sends requests to the whole service.
        if !["api", "server", "tests.rs", "tests"].iter().any(|layer| path.starts_with(src().join(layer))) {
            assert!(!source.contains("poem::") && !source.contains("poem_openapi"), "{} uses poem", path.display());
        }
    }
}

#[test]
fn api_and_server_do_not_use_the_database() {
    for (path, source) in ["api", "server"].iter().flat_map(|layer| sources(&src().join(layer))) {
        assert!(!source.contains("sea_orm") && !source.contains("sqlx"), "{} uses the database", path.display());
    }
}

/// Returns the path and the text of every Rust file below a folder.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            found.push((path, source));
        }
    }
    found
}

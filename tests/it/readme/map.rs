//! The map in CONTRIBUTING.md: a tree of folders and files, drawn by indentation.
//!
//! - A line that begins with a folder (`live/`) opens it for the lines that are indented below it.
//! - A word that ends in `.rs` names a file. The file is in the folder that its line opens, or else in the folder that the line
//!   is indented below. The word may be a path (`log/line.rs`).
//! - Everything else is description. Below `src/`, every file is named once, except `mod.rs` and unit tests. Elsewhere, folders
//!   are enough.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{between, read, root};

#[test]
fn the_map_names_every_file_of_the_source_once() {
    let (folders, mut drawn) = read_map(&between(&read("CONTRIBUTING.md"), "map"));
    for folder in folders {
        assert!(root().join(&folder).is_dir(), "the map names `{folder}`, which is not a folder");
    }
    let real = sources(&root().join("src"));
    let missing: Vec<_> = real.iter().filter(|file| !drawn.contains(file)).collect();
    let unknown: Vec<_> = drawn.iter().filter(|file| !real.contains(file)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not in the map: {missing:?}, not in the source: {unknown:?}");
    drawn.sort_unstable();
    let twice: Vec<_> = drawn.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "twice in the map: {twice:?}");
}

/// Returns the folders and the Rust files of a map.
fn read_map(map: &str) -> (Vec<String>, Vec<String>) {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    let mut open: Vec<(usize, String)> = Vec::new();
    for line in map.lines().filter(|line| !line.starts_with("```")) {
        let Some(first) = line.split_whitespace().next() else { continue };
        let indent = line.len() - line.trim_start().len();
        while open.last().is_some_and(|(outer, _)| *outer >= indent) {
            open.pop();
        }
        let within = |open: &[(usize, String)]| open.last().map(|(_, folder)| folder.clone()).unwrap_or_default();
        if first.ends_with('/') {
            let folder = within(&open) + first;
            folders.push(folder.clone());
            open.push((indent, folder));
        }
        let words = line.split_whitespace().map(|word| word.trim_matches(['(', ')', ',', ';', ':', '`']));
        files.extend(words.filter(|word| is_rust(word)).map(|name| within(&open) + name));
    }
    (folders, files)
}

fn is_rust(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "rs")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Returns the Rust files below a folder of the repository, except unit tests and `mod.rs`, which stands for the folder itself.
fn sources(folder: &Path) -> Vec<String> {
    let (folders, files): (Vec<_>, Vec<_>) = entries(folder).into_iter().partition(|path| path.is_dir());
    let is_source = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        is_rust(name) && !["mod.rs", "tests.rs"].contains(&name)
    };
    let files = files.into_iter().filter(is_source).map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
    let folders = folders.into_iter().filter(|path| !path.ends_with("tests"));
    files.chain(folders.flat_map(|folder| sources(&folder))).collect()
}

#[test]
fn files_of_a_map_are_read_from_a_line_and_the_lines_indented_below_it() {
    let map = "src/\n  app.rs    what everything needs\n  live/     what a process holds\n    log.rs  the log (log/line.rs)\n    \
               database/    SQLite or PostgreSQL (open.rs)\n      group.rs lease.rs    group commit\n    clock.rs\ntests/\n  it/\n";
    let (folders, files) = read_map(map);
    assert_eq!(folders, ["src/", "src/live/", "src/live/database/", "tests/", "tests/it/"]);
    let expected = ["app.rs", "live/log.rs", "live/log/line.rs", "live/database/open.rs", "live/database/group.rs"];
    let expected = expected.into_iter().chain(["live/database/lease.rs", "live/clock.rs"]).map(|file| format!("src/{file}"));
    assert_eq!(files, expected.collect::<Vec<_>>());
}

//! The tests that the documentation names exist, and every requirement has tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::{pages, read, root};

#[test]
fn every_test_that_the_documentation_names_exists() {
    let functions = functions();
    let mut named = 0;
    for page in pages() {
        for name in read(page.to_str().unwrap()).lines().filter_map(filter_of) {
            let is_module = name.ends_with("::") && root().join(format!("tests/it/{}.rs", name.trim_end_matches(':'))).exists();
            let is_prefix = name.ends_with('_') && functions.iter().any(|function| function.starts_with(&name));
            assert!(is_module || is_prefix || functions.contains(&name), "{}: there is no test {name}", page.display());
            named += 1;
        }
    }
    assert!(named > 10, "only {named} tests are named");
}

#[test]
fn every_promise_of_the_readme_names_a_test() {
    let readme = read("README.md");
    let (_, promises) = readme.split_once("\n## Four promises\n").unwrap();
    let (promises, _) = promises.split_once("\n## ").unwrap();
    let promises: Vec<_> = (1..=4).map(|number| promises.split_once(&format!("\n{number}. ")).unwrap().1).collect();
    for promise in promises {
        let (promise, _) = promise.split_once("\n   ```\n").unwrap();
        assert!(promise.lines().any(|line| filter_of(line).is_some()), "{promise}");
    }
}

#[test]
fn every_requirement_has_a_test_and_every_test_with_an_id_a_requirement() {
    let page = read("src/guide/requirements.md");
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows: BTreeMap<_, _> = cells.map(|(id, rest)| (id.to_lowercase(), rest)).filter(|(id, _)| is_id(id)).collect();
    let tests: BTreeSet<_> = functions().iter().chain(&stories()).flat_map(|name| ids(name)).collect();
    let without_a_test: Vec<_> = rows.keys().filter(|id| !tests.contains(*id)).collect();
    let without_a_row: Vec<_> = tests.iter().filter(|id| !rows.contains_key(*id)).collect();
    assert!(without_a_test.is_empty() && without_a_row.is_empty(), "no test: {without_a_test:?}, no row: {without_a_row:?}");
    assert!(rows.len() > 50, "only {} rows were found", rows.len());
}

/// Returns the filter of a line that runs tests: `cargo test --test it NAME`, `cargo test NAME` or `.ci/long NAME`.
fn filter_of(line: &str) -> Option<String> {
    let (_, arguments) = line.split_once("cargo test ").or_else(|| line.split_once(".ci/long "))?;
    let words = arguments.split(|char: char| char.is_whitespace() || char == '`');
    let mut words = words.filter(|word| !["--test", "it", "--"].contains(word));
    let name = words.next().filter(|word| word.contains(['_', ':']))?;
    Some(name.to_owned())
}

/// Returns the ids with which a test's name begins, in lower case: `a05` and `a06` of
/// `a05_a06_no_random_history_breaks_the_rules_of_escalation`.
fn ids(name: &str) -> Vec<String> {
    let words = name.strip_prefix("long_").unwrap_or(name).split('_');
    words.take_while(|word| is_id(word)).map(str::to_owned).collect()
}

fn is_id(word: &str) -> bool {
    let (letter, number) = word.split_at_checked(1).unwrap_or_default();
    letter.starts_with(|char: char| char.is_ascii_lowercase())
        && number.len() == 2
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the names of the browser tests and of the checks of packages, as the name of a function would be: `M03 a robot …` becomes
/// `m03_a_robot_…`.
fn stories() -> Vec<String> {
    let folders = ["tests/browser", "tests/browser/account"].map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let files = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let scripts = files.filter(|path| path.extension().is_some_and(|extension| extension == "mjs"));
    let scripts = scripts.chain([root().join(".ci/operate")]);
    let texts: Vec<_> = scripts.map(|path| fs::read_to_string(path).unwrap()).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let beginnings = lines.filter_map(|line| line.strip_prefix("step(\"").or_else(|| line.strip_prefix("check \"")));
    let names = beginnings.filter_map(|rest| rest.split_once('"'));
    names.map(|(name, _)| name.to_lowercase().replace(' ', "_")).collect()
}

/// Returns the names of all functions in `src` and `tests`.
fn functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(&root().join("src"), &mut names);
    collect(&root().join("tests/it"), &mut names);
    names
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().filter_map(|line| line.split_once("fn ")?.1.split_once(['(', '<']));
            names.extend(lines.map(|(name, _)| name.to_owned()));
        }
    }
}

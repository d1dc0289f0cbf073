//! Every relative link of the documentation leads to a file, and to a heading in it if the link names one.

use std::{collections::BTreeSet, path::Path};

use super::{pages, read, root};

#[test]
fn every_relative_link_has_a_target() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for page in pages() {
        let text = prose(&read(page.to_str().unwrap()));
        for target in targets(&text).filter(|target| !target.contains(':')) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            if !root().join(&file).exists() || !anchor.is_empty() && !anchors(&file).contains(anchor) {
                broken.push(format!("{}: {target}", page.display()));
            }
            followed += 1;
        }
        for label in labels(&text).filter(|label| !text.contains(&format!("\n[{label}]: "))) {
            broken.push(format!("{}: [{label}] is not defined", page.display()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(followed > 30, "only {followed} links were found");
}

/// Returns the text without code.
fn prose(markdown: &str) -> String {
    let mut in_code = false;
    let mut prose = String::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            // Every second part is between backticks. The text of a link may be code, so a placeholder stays there.
            let parts = line.split('`').enumerate().map(|(number, part)| if number % 2 == 0 { part } else { "code" });
            prose.extend(parts);
        }
        prose.push('\n');
    }
    prose
}

/// Returns the targets of all links: `[text](target)`, and `[label]: target` at the beginning of a line.
fn targets(prose: &str) -> impl Iterator<Item = &str> {
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let defined = prose.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).map(|(_, target)| target);
    inline.chain(defined)
}

/// Returns the labels of all links of the form `[text][label]`.
fn labels(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("][").skip(1).filter_map(|rest| rest.split_once(']')).map(|(label, _)| label)
}

/// Returns the anchors of a page's headings, as GitHub and rustdoc derive them.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = read(page.to_str().unwrap());
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

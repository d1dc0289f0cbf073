//! The alerts for Prometheus: they use metrics that exist, and the guide explains each of them. `.ci/operate` runs their own tests.

use std::collections::BTreeSet;

use serde_json::json;

use super::{between, read};
use crate::{
    cli::metrics_address,
    support::{binary::Server, directory},
    trouble::{metrics, until},
};

const RULES: &str = "src/guide/alerts/vestibule.rules.yml";

#[test]
fn every_metric_and_label_in_the_alerts_exists() {
    let directory = directory::temporary();
    let server = Server::start(directory.path(), &[("VESTIBULE_METRICS__LISTEN", "127.0.0.1:0")]);
    let address = metrics_address(&server);
    // Series begin when they are first counted.
    assert_eq!(server.log_in("ada", "wrong").status, 401);
    assert_eq!(server.post("/v1/password-resets", &json!({ "identifier": "admin" })).status, 202);
    until(|| metrics(&address).contains("vestibule_mails_waiting{"));
    let served = metrics(&address);
    let rules = read(RULES);
    let names = names(&rules);
    assert!(names.len() > 10, "only {names:?} were found");
    for name in &names {
        let series: Vec<_> = served
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")))
            .collect();
        assert!(!series.is_empty(), "no series of {name}: {served}");
        for label in labels(&rules, name) {
            assert!(series[0].contains(&format!("{label}=\"")), "{name} has no label {label}: {}", series[0]);
        }
    }
}

/// Returns the names of the metrics in the rules, except Prometheus' own.
fn names(rules: &str) -> BTreeSet<&str> {
    let is_part = |char: char| char.is_ascii_lowercase() || char == '_';
    let words = rules.split(|char| !is_part(char));
    words.filter(|word| word.starts_with("vestibule_")).collect()
}

/// Returns the labels by which the rules select series of a metric.
fn labels<'a>(rules: &'a str, name: &str) -> BTreeSet<&'a str> {
    let beginning = format!("{name}{{");
    let selectors: Vec<_> = rules.split(&beginning).skip(1).map(|rest| rest.split_once('}').unwrap().0).collect();
    selectors.into_iter().flat_map(|selector| selector.split(',')).map(|label| label.split(['=', '!']).next().unwrap()).collect()
}

#[test]
fn the_guide_explains_every_alert_and_the_alerts_name_sections_of_the_guide() {
    let rules = read(RULES);
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).map(|rest| rest.split_once('\n').unwrap()).collect();
    let severity = |rule: &str| rule.split_once("severity: ").unwrap().1.split(' ').next().unwrap().to_owned();
    let defined: Vec<_> = alerts.iter().map(|(name, rule)| ((*name).to_owned(), severity(rule))).collect();
    let table = between(&read("src/guide/monitoring.md"), "alerts");
    let rows = table.lines().skip(2).map(|row| row.split(" | ").collect::<Vec<_>>());
    let explained: Vec<_> = rows.map(|cells| (cells[0].trim_matches(['|', ' ', '`']).to_owned(), cells[2].to_owned())).collect();
    assert_eq!(explained, defined);

    let trouble = read("src/guide/trouble.md");
    let tests = read("src/guide/alerts/vestibule.tests.yml");
    for (name, rule) in alerts {
        if let Some((_, rest)) = rule.split_once("help: \"") {
            let section = rest.split_once('"').unwrap().0;
            assert!(trouble.contains(&format!("\n## {section}\n")), "{name}: there is no section {section}");
        }
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} has no test");
    }
}

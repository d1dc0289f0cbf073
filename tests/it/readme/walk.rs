//! The commands of the README's walk and of the guide print the output that is shown.

use std::{
    fs,
    process::{Command, Stdio},
};

use super::{between, read};

use crate::support::{
    binary::{Server, command, not_tested},
    directory,
};

/// A block of commands, and the output that the README shows below it.
#[derive(Default)]
struct Step {
    commands: String,
    output: String,
}

#[test]
fn the_walk_prints_the_output_that_the_readme_shows() {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        return not_tested("the README's walk", "curl is not installed");
    }
    let directory = directory::temporary();
    let server = Server::start(directory.path(), &[]);
    let steps = steps(&between(&read("README.md"), "walk"));
    assert!(steps.len() > 8, "only {} blocks of commands were found", steps.len());

    // All steps run in one shell, so a step sees the variables of the earlier ones.
    let blocks = steps.iter().enumerate().map(|(number, step)| {
        let commands = step.commands.replace("http://127.0.0.1:8080", &server.url);
        format!("{{\n{commands}}} >{number}.out 2>{number}.err\n")
    });
    let script: String = blocks.collect();
    let status = Command::new("bash").arg("-c").arg(script).current_dir(&directory).env("NO_PROXY", "127.0.0.1").status();
    status.unwrap();

    for (number, step) in steps.iter().enumerate() {
        let written = |stream: &str| fs::read_to_string(directory.path().join(format!("{number}.{stream}"))).unwrap();
        let printed = (lines(&written("out")), lines(&written("err")));
        // curl writes errors to standard error, which a terminal shows together with the output.
        let (errors, output): (Vec<_>, Vec<_>) = lines(&step.output).into_iter().partition(|line| line.starts_with("curl: "));
        assert_eq!(printed, (output, errors), "after\n{}", step.commands);
    }
}

#[test]
fn the_commands_of_the_guide_print_the_output_that_it_shows() {
    let directory = directory::temporary();
    assert!(Server::start(directory.path(), &[]).stop().success());
    let page = read("src/guide/operating.md");
    let sessions: Vec<_> =
        page.split("\n```text\n$ vestibule ").skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect();
    assert!(sessions.len() >= 2, "only {} commands were found", sessions.len());
    for session in sessions {
        let (arguments, shown) = session.split_once('\n').unwrap();
        let output = command(directory.path(), &[]).args(arguments.split(' ')).output().unwrap();
        assert_eq!(lines(&String::from_utf8(output.stdout).unwrap()), lines(shown), "after vestibule {arguments}");
    }
}

fn steps(walk: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut language = None;
    for line in walk.lines() {
        match (line.strip_prefix("```"), language) {
            (Some("sh"), None) => {
                language = Some("sh");
                steps.push(Step::default());
            }
            (Some(name), None) => language = Some(name),
            (Some(_), Some(_)) => language = None,
            (None, Some(name)) => {
                let step = steps.last_mut().unwrap();
                let part = if name == "sh" { &mut step.commands } else { &mut step.output };
                part.extend([line, "\n"]);
            }
            (None, None) => {}
        }
    }
    steps
}

/// Returns the lines with a placeholder for each id, time and token, which differ from run to run.
fn lines(text: &str) -> Vec<String> {
    let is_word = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.' | ':' | '…');
    let placeholder = |word: &str| match word {
        word if word.len() == 36 && word.matches('-').count() == 4 => "ID",
        word if word.starts_with("20") && word.ends_with('Z') => "TIME",
        word if word.starts_with("eyJ") => "ACCESS-TOKEN",
        word if word.starts_with("vrt_") => "REFRESH-TOKEN",
        word if word.len() == 43 => "KEY-ID",
        word if word.ends_with('…') || word.len() > 64 => "CURSOR",
        word if word.starts_with("2591") => "2592000", // seconds, some of which have passed
        _ => "",
    };
    let stable = |line: &str| {
        let mut stable = String::new();
        let mut rest = line;
        while let Some(begin) = rest.find(is_word) {
            let length = rest[begin..].find(|char| !is_word(char)).unwrap_or(rest.len() - begin);
            let word = &rest[begin..begin + length];
            let known = placeholder(word);
            stable += &rest[..begin];
            stable += if known.is_empty() { word } else { known };
            rest = &rest[begin + length..];
        }
        stable + rest
    };
    text.lines().map(stable).collect()
}

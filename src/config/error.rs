//! What is wrong with the settings: all of it at once, in sentences that never hold a secret.

use std::fmt;

/// Why the settings cannot be used: one or more problems, a line each.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    problems: Vec<Problem>,
}

impl Error {
    /// What is wrong, at least one thing.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Of at least one problem.
    pub(super) fn of(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// `Ok` when nothing is wrong.
    pub(super) fn unless_none(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(ToString::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting as it was named, such as `server.listen`; none when a whole file is at fault.
    pub setting: Option<String>,
    /// The file or variable that it came from; none for a default.
    pub origin: Option<String>,
    /// What is wrong, as the rest of a sentence that begins with the setting.
    pub sentence: String,
}

impl Problem {
    pub(super) fn new(setting: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { setting: Some(setting.into()), origin: None, sentence: sentence.into() }
    }

    pub(super) fn of_file(file: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { setting: None, origin: Some(file.into()), sentence: sentence.into() }
    }

    pub(super) fn from(mut self, origin: Option<String>) -> Self {
        self.origin = origin;
        self
    }

    /// The part of the setting's name before the first dot.
    pub(super) fn section(&self) -> Option<&str> {
        self.setting.as_deref().and_then(|name| name.split('.').next())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.setting, &self.origin) {
            (Some(setting), Some(origin)) => write!(out, "`{setting}` (from {origin}) {}", self.sentence),
            (Some(subject), None) => write!(out, "`{subject}` {}", self.sentence),
            (None, Some(file)) => write!(out, "{file} {}", self.sentence),
            (None, None) => out.write_str(&self.sentence),
        }
    }
}

//! Errors in the settings. All of them are reported at once, in messages that never contain a secret.

use std::fmt;

/// Why the settings cannot be used: one or more errors, which `Display` writes one per line.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    errors: Vec<SettingError>,
}

impl Error {
    /// An error in a file that a setting names. `message` is the rest of a sentence that begins with the file.
    pub fn in_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        SettingError::of_file(file, message).into()
    }

    /// `errors` must not be empty.
    pub(super) fn of(errors: Vec<SettingError>) -> Self {
        Self { errors }
    }

    /// Returns `Ok` if there are no errors.
    pub(super) fn unless_empty(errors: Vec<SettingError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self { errors }) }
    }

    pub(super) fn into_errors(self) -> Vec<SettingError> {
        self.errors
    }
}

impl From<SettingError> for Error {
    fn from(error: SettingError) -> Self {
        Self { errors: vec![error] }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.errors.iter().map(ToString::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}

/// An error in one setting or in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The name of the setting as it was written, such as `server.listen`; `None` for an error in a whole file.
    pub setting: Option<String>,
    /// The file or environment variable that the setting came from; `None` for a default.
    pub source: Option<String>,
    /// What is wrong, as the rest of a sentence that begins with the name of the setting.
    pub message: String,
}

impl SettingError {
    pub(super) fn new(setting: impl Into<String>, message: impl Into<String>) -> Self {
        Self { setting: Some(setting.into()), source: None, message: message.into() }
    }

    pub(super) fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { setting: None, source: Some(file.into()), message: message.into() }
    }

    pub(super) fn with_source(mut self, source: Option<String>) -> Self {
        self.source = source;
        self
    }

    /// Returns the part of the setting's name before the first dot.
    pub(super) fn section(&self) -> Option<&str> {
        self.setting.as_deref().and_then(|name| name.split('.').next())
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.setting, &self.source) {
            (Some(setting), Some(source)) => write!(out, "`{setting}` (from {source}) {}", self.message),
            (Some(setting), None) => write!(out, "`{setting}` {}", self.message),
            (None, Some(file)) => write!(out, "{file} {}", self.message),
            (None, None) => out.write_str(&self.message),
        }
    }
}

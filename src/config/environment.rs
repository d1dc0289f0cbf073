//! Settings in environment variables: which variable sets which setting, and what to do with all the others.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs,
};

use config::Map;

use super::{
    REFERENCE, Setting, SettingError, former,
    reference::{find, unknown_setting},
};

/// The environment variables that begin with `VESTIBULE_`.
pub(super) struct Variables {
    /// The text of each variable that sets a setting, including the secrets that were read from files.
    pub(super) texts: Map<String, String>,
    /// The variable that sets each setting.
    pub(super) sources: HashMap<String, String>,
    /// Messages about variables that were ignored.
    pub(super) warnings: Vec<String>,
}

impl Variables {
    /// Reads the variables. Adds an error for each variable that looks like a misspelt setting.
    pub(super) fn read<V: Into<OsString>>(env: impl IntoIterator<Item = (V, V)>, errors: &mut Vec<SettingError>) -> Self {
        let mut variables: BTreeMap<String, OsString> = BTreeMap::new();
        for (variable, text) in env {
            let variable = variable.into().to_string_lossy().into_owned();
            if variable.get(..10).is_some_and(|prefix| prefix.eq_ignore_ascii_case("VESTIBULE_")) {
                variables.insert(variable, text.into());
            }
        }
        let mut read = Self { texts: Map::new(), sources: HashMap::new(), warnings: Vec::new() };
        for setting in REFERENCE.iter().chain([&former::REGISTRATION_OPEN]) {
            match Self::read_setting(setting, &mut variables) {
                Ok(Some((source, text))) => {
                    read.sources.insert(setting.name.to_owned(), source);
                    read.texts.insert(setting.variable(), text);
                }
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        for (variable, _) in variables.into_iter().filter(|(_, text)| !text.is_empty()) {
            let name = variable[10..].to_lowercase().replace("__", ".");
            if !resembles_setting(&variable) {
                let hint = unknown_setting(&name);
                read.warnings.push(format!("`{name}` (from {variable}) {} It is ignored.", hint.replace("; did", ". Did")));
                continue;
            }
            let message = match find(&name) {
                Some(setting) => format!("must be written {} as an environment variable.", setting.variable()),
                None if name.strip_suffix("_file").and_then(find).is_some() => {
                    "is not a setting: only secrets can be read from files.".to_owned()
                }
                None => unknown_setting(&name),
            };
            errors.push(SettingError::new(name, message).with_source(Some(variable)));
        }
        read
    }

    /// Removes the variable of a setting from `variables`, and returns its name and its text. An empty variable counts as
    /// unset, unless the setting is a secret: if the server ignored an empty secret, it would use or generate another one.
    fn read_setting(
        setting: &Setting,
        variables: &mut BTreeMap<String, OsString>,
    ) -> Result<Option<(String, String)>, SettingError> {
        let variable = setting.variable();
        let in_file = format!("{variable}_FILE");
        let mut take = |variable: &str| {
            let text = variables.remove(variable).map(OsString::into_string).transpose();
            text.map_err(|_| SettingError::new(setting.name, "must be UTF-8.").with_source(Some(variable.to_owned())))
        };
        let file = if setting.secret { take(&in_file)? } else { None };
        let (source, text) = match (take(&variable)?, file) {
            (Some(text), Some(file)) if !text.is_empty() && !file.is_empty() => {
                return Err(SettingError::new(
                    setting.name,
                    format!("is set by {variable} and by {in_file}; remove one of them."),
                ));
            }
            (_, Some(file)) if !file.is_empty() => match fs::read_to_string(&file) {
                Ok(text) => (in_file, without_newline(&text).to_owned()),
                Err(error) => {
                    let message = format!("cannot be read from {file}: {error}.");
                    return Err(SettingError::new(setting.name, message).with_source(Some(in_file)));
                }
            },
            (Some(text), _) => (variable, text),
            (None, Some(_)) => (in_file, String::new()),
            (None, None) => return Ok(None),
        };
        match (text.trim().is_empty(), setting.secret) {
            (true, true) => Err(SettingError::new(setting.name, "must not be empty.").with_source(Some(source))),
            (_, false) if text.is_empty() => Ok(None),
            _ => Ok(Some((source, text))),
        }
    }
}

/// Returns whether a variable resembles a setting: at most two letters are wrong, and the number of underscores does not
/// matter. Other variables may begin with `VESTIBULE_` too: Kubernetes sets some in each container for a service of this name,
/// and images set one for their version.
fn resembles_setting(variable: &str) -> bool {
    let normalise = |name: &str| {
        let words = name.split(['_', '.', '-']).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("_").to_ascii_uppercase()
    };
    let name = normalise(&variable[10..]);
    let names = REFERENCE.iter().map(|setting| normalise(setting.name)).flat_map(|name| [format!("{name}_FILE"), name]);
    names.into_iter().any(|known| strsim::damerau_levenshtein(&known, &name) <= 2)
}

/// Removes the newline that editors and `echo` add to the end of a file.
fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

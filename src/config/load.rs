//! Loading the settings: defaults, then a file, then the environment. All errors are reported at once, each with its source.

use std::{collections::BTreeMap, ffi::OsString, fs, io, path::Path};

use config::{Config, ConfigError, Environment, File, FileFormat, Map, Value, ValueKind};

use super::{
    Error, LogFormat, REFERENCE, SettingError, Settings,
    environment::Variables,
    former,
    reference::{self, find, is_section, unknown_setting},
    setting_value,
};

/// The file that is read if no file is named.
const FILE: &str = "vestibule.toml";

/// The values of settings, by name.
type Values = BTreeMap<String, Value>;

impl Settings {
    /// Reads and validates the settings: the defaults, then `file` (or `vestibule.toml` in the working directory, if it
    /// exists), then the environment variables `env`. The variable of a setting is `VESTIBULE_SECTION__KEY`. A secret can also
    /// be in a file that `VESTIBULE_SECTION__KEY_FILE` names. Commas separate the items of a list in a variable.
    ///
    /// The error names every unknown setting and every invalid value, but no secret.
    pub fn load<V: Into<OsString>>(file: Option<&Path>, env: impl IntoIterator<Item = (V, V)>) -> Result<Self, Error> {
        Self::load_in(Path::new(""), file, env)
    }

    /// Like [`Settings::load`], with another working directory.
    pub(super) fn load_in<V: Into<OsString>>(
        directory: &Path,
        file: Option<&Path>,
        env: impl IntoIterator<Item = (V, V)>,
    ) -> Result<Self, Error> {
        let mut errors = Vec::new();
        let variables = Variables::read(env, &mut errors);
        let (file, text) = match read_file(directory, file) {
            Ok(found) => found,
            Err(error) => {
                errors.push(error);
                return Err(Error::of(errors));
            }
        };
        let mut values = match layers(&text, &variables) {
            Ok(values) => values,
            Err(error) => {
                errors.push(SettingError::of_file(file, format!("is not valid TOML: {}.", without_source(&error))));
                return Err(Error::of(errors));
            }
        };
        let source = |name: &str| variables.sources.get(name).unwrap_or(&file).clone();
        let mut warnings = variables.warnings.clone();
        let from_former = |error: SettingError| error.with_source(Some(source(former::REGISTRATION_OPEN.name)));
        match former::translate(&mut values) {
            Ok(warning) => warnings.extend(warning.map(|warning| from_former(warning).to_string())),
            Err(error) => errors.push(from_former(error)),
        }
        values.retain(|name, _| {
            let known = find(name).is_some();
            if !known {
                errors.push(SettingError::new(name, unknown_setting(name)).with_source(Some(file.clone())));
            }
            known
        });
        let set: Vec<String> = values.keys().cloned().collect();
        let mut settings = assemble(values, |name, message| {
            errors.push(SettingError::new(name, message).with_source(Some(source(name))));
        })?;
        // A setting that did not parse now has its default. Validating its section could report errors that do not exist.
        let invalid_sections: Vec<_> = errors.iter().filter_map(SettingError::section).map(str::to_owned).collect();
        for error in settings.validate().err().map(Error::into_errors).unwrap_or_default() {
            if !error.section().is_some_and(|section| invalid_sections.iter().any(|invalid| invalid == section)) {
                let name = error.setting.clone().filter(|name| set.contains(name));
                errors.push(error.with_source(name.map(|name| source(&name))));
            }
        }
        settings.warnings = warnings;
        Error::unless_empty(errors).map(|()| settings)
    }
}

/// Returns the log format before the settings are validated, so that their errors are written in this format too.
pub fn early_log_format<V: Into<OsString>>(file: Option<&Path>, env: impl IntoIterator<Item = (V, V)>) -> LogFormat {
    let variable = env.into_iter().map(|(name, text)| (name.into(), text.into()));
    let variable = variable.filter(|(name, text)| name == "VESTIBULE_LOG__FORMAT" && !text.is_empty()).last();
    let in_file = || {
        let (_, text) = read_file(Path::new(""), file).ok()?;
        Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build().ok()?.get_string("log.format").ok()
    };
    let text = variable.map_or_else(in_file, |(_, text)| text.into_string().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(LogFormat::Auto)
}

impl Default for Settings {
    fn default() -> Self {
        assemble(Values::new(), |name, message| unreachable!("the default of {name} {message}"))
            .expect("the defaults are valid: a test loads them")
    }
}

/// Returns the name and the text of the file. The text is empty if no file was named and the default file does not exist.
fn read_file(directory: &Path, named: Option<&Path>) -> Result<(String, String), SettingError> {
    let path = directory.join(named.unwrap_or(Path::new(FILE)));
    let shown = path.display().to_string();
    match fs::read_to_string(&path) {
        Ok(text) => Ok((shown, text)),
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok((shown, String::new())),
        Err(error) => Err(SettingError::of_file(shown, format!("cannot be read: {error}."))),
    }
}

/// Merges the values of the file and of the environment, which takes precedence.
fn layers(text: &str, variables: &Variables) -> Result<Values, ConfigError> {
    let environment = Environment::with_prefix("VESTIBULE").prefix_separator("_").separator("__");
    let layers = Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .add_source(environment.source(Some(variables.texts.clone())))
        .build()?;
    let mut values = Values::new();
    flatten("", layers.cache, &mut values);
    Ok(values)
}

fn flatten(name: &str, value: Value, into: &mut Values) {
    match value.kind {
        ValueKind::Table(table) if !table.is_empty() => {
            for (key, value) in table {
                let name = if name.is_empty() { key } else { format!("{name}.{key}") };
                flatten(&name, value, into);
            }
        }
        ValueKind::Table(_) if name.is_empty() || is_section(name) => {}
        _ => {
            into.insert(name.to_owned(), value);
        }
    }
}

/// Builds the settings from `values` and the defaults. Each round removes one value that does not parse and reports it to
/// `reject`, until all remaining values parse.
fn assemble(mut values: Values, mut reject: impl FnMut(&str, String)) -> Result<Settings, Error> {
    loop {
        match overlay(&values).and_then(Config::try_deserialize) {
            Ok(settings) => return Ok(settings),
            Err(ConfigError::At { error, key: Some(name), .. }) if values.contains_key(&name) => {
                let secret = find(&name).is_none_or(|setting| setting.secret);
                // A URL may contain a password before the @.
                let found = values.remove(&name).map(|value| setting_value::echo(&value)).filter(|echo| !echo.contains('@'));
                reject(
                    &name,
                    match found {
                        Some(found) if !secret => format!("{error}, not {found}."),
                        _ => format!("{error}."),
                    },
                );
            }
            Err(_) => return Err(SettingError::of_file("The settings", "cannot be read.").into()),
        }
    }
}

fn overlay(values: &Values) -> Result<Config, ConfigError> {
    let defaults = File::from_str(&reference::defaults(), FileFormat::Toml);
    let mut builder = Config::builder().add_source(defaults);
    for (name, value) in values {
        builder = builder.set_override(name, value.clone())?;
    }
    // A section whose settings all lack a default must be created here.
    for setting in REFERENCE {
        if let Some((section, _)) = setting.name.split_once('.') {
            builder = builder.set_default(section, Map::<String, Value>::new())?;
        }
    }
    builder.build()
}

/// Returns the position and the reason of a TOML error, without the quoted line, which may contain a secret.
fn without_source(error: &ConfigError) -> String {
    let ConfigError::FileParse { cause, .. } = error else { return "it cannot be read".to_owned() };
    let text = cause.to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    match first.strip_prefix("TOML parse error at ") {
        Some(position) => {
            // The position is followed by a margin, the quoted line, a marker under it, and the reason.
            let reason: Vec<_> = lines.skip(3).map(str::trim).filter(|line| !line.is_empty()).collect();
            format!("{position}: {}", reason.join("; "))
        }
        None => first.to_owned(),
    }
}

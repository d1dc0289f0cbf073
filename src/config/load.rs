//! Loading: defaults, then a file, then the environment. Everything that is wrong is named at once, with
//! where it came from.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs, io,
    path::Path,
};

use config::{Config, ConfigError, Environment, File, FileFormat, Map, Value, ValueKind};

use super::{Error, LogFormat, Problem, REFERENCE, Setting, Settings, reference, written};

/// The file that is read when none is named.
const FILE: &str = "vestibule.toml";

/// Values by name of setting.
type Values = BTreeMap<String, Value>;

impl Settings {
    /// Reads and checks the settings: defaults, then `file` (else `vestibule.toml` in the working directory,
    /// if it is there), then `env`: `VESTIBULE_SECTION__KEY`, and for secrets also `VESTIBULE_SECTION__KEY_FILE`,
    /// which names a file that holds the secret. Lists in `env` are separated by commas.
    ///
    /// # Errors
    /// Names everything that is not a setting and every value that cannot be, but no secret.
    pub fn load<V: Into<OsString>>(file: Option<&Path>, env: impl IntoIterator<Item = (V, V)>) -> Result<Self, Error> {
        Self::load_in(Path::new(""), file, env)
    }

    /// As [`Settings::load`], with another working directory.
    pub(super) fn load_in<V: Into<OsString>>(
        directory: &Path,
        file: Option<&Path>,
        env: impl IntoIterator<Item = (V, V)>,
    ) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let variables = Variables::read(env, &mut problems);
        let (file, text) = match read_file(directory, file) {
            Ok(found) => found,
            Err(problem) => {
                problems.push(problem);
                return Err(Error::of(problems));
            }
        };
        let mut values = match layers(&text, &variables) {
            Ok(values) => values,
            Err(error) => {
                problems.push(Problem::of_file(file, format!("is not valid TOML: {}.", without_source(&error))));
                return Err(Error::of(problems));
            }
        };
        let origin = |name: &str| variables.origins.get(name).unwrap_or(&file).clone();
        values.retain(|name, _| {
            let known = setting(name).is_some();
            if !known {
                problems.push(Problem::new(name, not_a_setting(name)).from(Some(file.clone())));
            }
            known
        });
        let written: Vec<String> = values.keys().cloned().collect();
        let mut settings = assemble(values, |name, sentence| {
            problems.push(Problem::new(name, sentence).from(Some(origin(name))));
        })?;
        // What did not parse has its default now: what would be said of it, and of its neighbours, may be wrong.
        let judged: Vec<_> = problems.iter().filter_map(Problem::section).map(str::to_owned).collect();
        for problem in settings.validate().err().map(Error::into_problems).unwrap_or_default() {
            if !problem.section().is_some_and(|section| judged.iter().any(|one| one == section)) {
                let named = problem.setting.clone().filter(|name| written.contains(name));
                problems.push(problem.from(named.map(|name| origin(&name))));
            }
        }
        settings.warnings = variables.warnings;
        Error::unless_none(problems).map(|()| settings)
    }
}

/// The form of a line, as far as it can be told before the settings are checked: what is wrong with them is a line too.
#[must_use]
pub fn log_format<V: Into<OsString>>(file: Option<&Path>, env: impl IntoIterator<Item = (V, V)>) -> LogFormat {
    let set = env.into_iter().map(|(name, text)| (name.into(), text.into()));
    let set = set.filter(|(name, text)| name == "VESTIBULE_LOG__FORMAT" && !text.is_empty()).last();
    let written = || {
        let (_, text) = read_file(Path::new(""), file).ok()?;
        Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build().ok()?.get_string("log.format").ok()
    };
    let text = set.map_or_else(written, |(_, text)| text.into_string().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(LogFormat::Auto)
}

impl Default for Settings {
    fn default() -> Self {
        assemble(Values::new(), |name, sentence| unreachable!("the default of {name} {sentence}"))
            .expect("the defaults are settings: a test reads them")
    }
}

/// What the environment says.
struct Variables {
    /// Variable and text, secrets from files included.
    texts: Map<String, String>,
    /// The variable that set a setting.
    origins: HashMap<String, String>,
    /// Sentences about variables that set nothing.
    warnings: Vec<String>,
}

impl Variables {
    fn read<V: Into<OsString>>(env: impl IntoIterator<Item = (V, V)>, problems: &mut Vec<Problem>) -> Self {
        let mut ours: BTreeMap<String, OsString> = BTreeMap::new();
        for (variable, text) in env {
            let variable = variable.into().to_string_lossy().into_owned();
            if variable.get(..10).is_some_and(|prefix| prefix.eq_ignore_ascii_case("VESTIBULE_")) {
                ours.insert(variable, text.into());
            }
        }
        let mut read = Self { texts: Map::new(), origins: HashMap::new(), warnings: Vec::new() };
        for setting in REFERENCE {
            match Self::read_setting(setting, &mut ours) {
                Ok(Some((origin, text))) => {
                    read.origins.insert(setting.name.to_owned(), origin);
                    read.texts.insert(setting.variable(), text);
                }
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        for (variable, _) in ours.into_iter().filter(|(_, text)| !text.is_empty()) {
            let name = variable[10..].to_lowercase().replace("__", ".");
            if !is_meant_for_us(&variable) {
                let hint = not_a_setting(&name);
                read.warnings.push(format!("`{name}` (from {variable}) {} It is ignored.", hint.replace("; did", ". Did")));
                continue;
            }
            let sentence = match setting(&name) {
                Some(setting) => format!("is spelt {} as a variable.", setting.variable()),
                None if name.strip_suffix("_file").and_then(setting).is_some() => {
                    "is not a setting: only secrets are read from files.".to_owned()
                }
                None => not_a_setting(&name),
            };
            problems.push(Problem::new(name, sentence).from(Some(variable)));
        }
        read
    }

    /// Takes a setting's text out of the variables, with the variable that it came from. An empty variable counts as unset,
    /// but not that of a secret: without the secret that somebody meant to give, the server would make or use another.
    fn read_setting(setting: &Setting, ours: &mut BTreeMap<String, OsString>) -> Result<Option<(String, String)>, Problem> {
        let variable = setting.variable();
        let in_file = format!("{variable}_FILE");
        let mut take = |variable: &str| {
            let text = ours.remove(variable).map(OsString::into_string).transpose();
            text.map_err(|_| Problem::new(setting.name, "must be UTF-8.").from(Some(variable.to_owned())))
        };
        let file = if setting.secret { take(&in_file)? } else { None };
        let (origin, text) = match (take(&variable)?, file) {
            (Some(text), Some(file)) if !text.is_empty() && !file.is_empty() => {
                return Err(Problem::new(setting.name, format!("is set by {variable} and by {in_file}; keep one.")));
            }
            (_, Some(file)) if !file.is_empty() => match fs::read_to_string(&file) {
                Ok(text) => (in_file, without_newline(&text).to_owned()),
                Err(error) => {
                    let sentence = format!("cannot be read from {file}: {error}.");
                    return Err(Problem::new(setting.name, sentence).from(Some(in_file)));
                }
            },
            (Some(text), _) => (variable, text),
            (None, Some(_)) => (in_file, String::new()),
            (None, None) => return Ok(None),
        };
        match (text.trim().is_empty(), setting.secret) {
            (true, true) => Err(Problem::new(setting.name, "must not be empty.").from(Some(origin))),
            (_, false) if text.is_empty() => Ok(None),
            _ => Ok(Some((origin, text))),
        }
    }
}

/// Whether a variable that sets nothing names a setting after all, but for up to two letters and the number of underscores.
/// Others that begin like ours are somebody else's: Kubernetes describes each service to each container in variables, and
/// images carry their version in one.
fn is_meant_for_us(variable: &str) -> bool {
    let plain = |name: &str| {
        let words = name.split(['_', '.', '-']).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("_").to_ascii_uppercase()
    };
    let name = plain(&variable[10..]);
    let names = REFERENCE.iter().map(|setting| plain(setting.name)).flat_map(|name| [format!("{name}_FILE"), name]);
    names.into_iter().any(|known| strsim::damerau_levenshtein(&known, &name) <= 2)
}

/// Editors and `echo` end a file with a newline that is not part of the secret.
fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

/// The file's name and text; no text when there is none and none was asked for.
fn read_file(directory: &Path, named: Option<&Path>) -> Result<(String, String), Problem> {
    let path = directory.join(named.unwrap_or(Path::new(FILE)));
    let shown = path.display().to_string();
    match fs::read_to_string(&path) {
        Ok(text) => Ok((shown, text)),
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok((shown, String::new())),
        Err(error) => Err(Problem::of_file(shown, format!("cannot be read: {error}."))),
    }
}

/// The values of file and environment, the latter winning.
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

/// The settings with these values and otherwise the defaults. Each round takes out one value that does not
/// parse and says so, until all the others do.
fn assemble(mut values: Values, mut refuse: impl FnMut(&str, String)) -> Result<Settings, Error> {
    loop {
        match overlay(&values).and_then(Config::try_deserialize) {
            Ok(settings) => return Ok(settings),
            Err(ConfigError::At { error, key: Some(name), .. }) if values.contains_key(&name) => {
                let secret = setting(&name).is_none_or(|setting| setting.secret);
                // An address may hold a password before its @.
                let found = values.remove(&name).map(|value| written::echo(&value)).filter(|echo| !echo.contains('@'));
                refuse(
                    &name,
                    match found {
                        Some(found) if !secret => format!("{error}, not {found}."),
                        _ => format!("{error}."),
                    },
                );
            }
            Err(_) => return Err(Problem::of_file("The settings", "cannot be read.").into()),
        }
    }
}

fn overlay(values: &Values) -> Result<Config, ConfigError> {
    let defaults = File::from_str(&reference::defaults(), FileFormat::Toml);
    let mut builder = Config::builder().add_source(defaults);
    for (name, value) in values {
        builder = builder.set_override(name, value.clone())?;
    }
    // Sections whose settings are all optional have no default to bring them about.
    for setting in REFERENCE {
        if let Some((section, _)) = setting.name.split_once('.') {
            builder = builder.set_default(section, Map::<String, Value>::new())?;
        }
    }
    builder.build()
}

fn setting(name: &str) -> Option<&'static Setting> {
    REFERENCE.iter().find(|setting| setting.name == name)
}

fn is_section(name: &str) -> bool {
    REFERENCE.iter().any(|setting| setting.name.split_once('.').is_some_and(|(section, _)| section == name))
}

/// The sentence about a name that is not a setting, with the nearest that is.
fn not_a_setting(name: &str) -> String {
    if is_section(name) {
        return "is a section; set what is in it.".to_owned();
    }
    let distance = |other: &str| {
        let whole = strsim::damerau_levenshtein(name, other);
        // The key alone, for a forgotten or mistaken section.
        match (name.rsplit('.').next(), other.rsplit('.').next()) {
            (Some(key), Some(right)) if key == right => whole.min(1),
            _ if name.starts_with(&format!("{other}.")) => 0,
            _ => whole,
        }
    };
    match REFERENCE.iter().map(|setting| (distance(setting.name), setting.name)).min_by_key(|(far, _)| *far) {
        Some((far, nearest)) if far <= 2.max(name.chars().count() / 3) => {
            format!("is not a setting; did you mean `{nearest}`?")
        }
        _ => "is not a setting.".to_owned(),
    }
}

/// Place and reason of a TOML error, without the line that it quotes: a secret may stand there.
fn without_source(error: &ConfigError) -> String {
    let ConfigError::FileParse { cause, .. } = error else { return "it cannot be read".to_owned() };
    let text = cause.to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    match first.strip_prefix("TOML parse error at ") {
        Some(place) => {
            // After the place: a margin, the quoted line, the mark under it, and then the reason.
            let reason: Vec<_> = lines.skip(3).map(str::trim).filter(|line| !line.is_empty()).collect();
            format!("{place}: {}", reason.join("; "))
        }
        None => first.to_owned(),
    }
}

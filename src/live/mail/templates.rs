//! The templates. Each mail has three: `<language>/<kind>.subject`, `.txt` and `.html`. A file in the operator's directory replaces
//! the one of the program. If there is such a file, all templates are tried at start, so that a mistake is found before a user needs
//! the mail. The tests try those of the program, which are compiled at their first use.

use std::{collections::BTreeMap, error::Error as _, fmt::Write, fs, io, path::Path};

use anyhow::{Result, anyhow, ensure};
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior, Value, escape_formatter};

use super::{draft::Draft, message::Message, wording};
use crate::{
    config::{self, Settings},
    values::{
        language::Language,
        mail_kind::{MailKind, Proof},
    },
};

/// The steps that one template may take. The largest of the program takes about 300.
const FUEL: u64 = 50_000;
/// The maximum length of a subject, in characters.
const LONGEST_SUBJECT: usize = 200;
/// The file names that belong to templates. Others, such as a README, are ignored.
const EXTENSIONS: [&str; 3] = ["subject", "txt", "html"];

/// The templates of the program, by name.
static TEXTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/mails.rs"));

/// The templates of all mails, and what all mails say.
pub struct Templates {
    environment: Environment<'static>,
    /// The file of each template that the operator has replaced.
    replaced: BTreeMap<String, String>,
    service: String,
    base: String,
}

impl Templates {
    /// Loads the templates, and tries them if some are replaced. The error names the file and the line.
    pub fn load(settings: &Settings) -> Result<Self, config::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_formatter(escape);
        environment.set_fuel(Some(FUEL));
        let mut templates = Self {
            environment,
            replaced: BTreeMap::new(),
            service: settings.service_name(),
            base: settings.link_base().to_string(),
        };
        templates.environment.set_loader(|name| Ok(embedded(name)));
        if let Some(directory) = &settings.mail.templates_dir {
            for (name, file, source) in read_directory(directory)? {
                templates.replaced.insert(name.clone(), file);
                let added = templates.environment.add_template_owned(name.clone(), source);
                added.map_err(|error| templates.fault(&name, &error))?;
            }
            templates.try_all()?;
        }
        Ok(templates)
    }

    /// Renders a mail. Fails if a value is missing that the template needs.
    pub fn render(&self, draft: &Draft) -> Result<Message> {
        let proof = draft.kind.proof();
        ensure!(proof == Proof::None || draft.values.token.is_some(), "a mail of the kind {} needs a token", draft.kind);
        ensure!(proof != Proof::LinkAndCode || draft.values.code.is_some(), "a mail of the kind {} needs a code", draft.kind);
        self.render_parts(draft).map_err(|error| anyhow!("{error}"))
    }

    fn render_parts(&self, draft: &Draft) -> Result<Message, config::Error> {
        let mut values = self.values(draft);
        let part = |extension: &str, values: &BTreeMap<&'static str, Value>| {
            let name = file_name(draft, extension);
            let rendered = self.environment.get_template(&name).and_then(|template| template.render(Value::from(values.clone())));
            rendered.map_err(|error| self.fault(&name, &error))
        };
        let subject = part("subject", &values)?.trim().to_owned();
        if subject.is_empty() || subject.chars().count() > LONGEST_SUBJECT || subject.chars().any(char::is_control) {
            let message = format!("must be one line of 1 to {LONGEST_SUBJECT} characters.");
            return Err(config::Error::in_file(self.file(&file_name(draft, "subject")), message));
        }
        values.insert("subject", subject.clone().into());
        let (text, html) = (part("txt", &values)?, part("html", &values)?);
        let Draft { id, kind, language, to, created_at, .. } = draft.clone();
        Ok(Message { id, kind, language, to, created_at, subject, text: with_one_newline(&text), html: with_one_newline(&html) })
    }

    /// Returns what the templates may use. Text of people is escaped in HTML, and a name that could be anything but a name is left
    /// out.
    fn values(&self, draft: &Draft) -> BTreeMap<&'static str, Value> {
        let (kind, language, values) = (draft.kind, draft.language, &draft.values);
        let page = |page: &str| Value::from(format!("{}/account/{page}", self.base));
        let mut all = BTreeMap::from([
            ("service", Value::from(self.service.as_str())),
            ("to", draft.to.as_str().into()),
            ("language", language.as_str().into()),
            ("sign_in_url", page("sign-in")),
            ("reset_url", page("reset")),
            ("sessions_url", page("sessions")),
            ("factors_url", page("factors")),
        ]);
        let mut add = |name, value: Option<Value>| {
            if let Some(value) = value {
                all.insert(name, value);
            }
        };
        if greets_by_name(kind) {
            add("name", Some(values.name.as_deref().and_then(wording::plain_name).into()));
        }
        if kind.proof() != Proof::None {
            add("link", values.token.as_ref().map(|token| self.link(kind, token).into()));
            add("valid_for", values.valid_for.map(|valid_for| wording::duration(language, valid_for).into()));
        }
        if kind.proof() == Proof::LinkAndCode {
            add("code", values.code.as_deref().map(|code| spaced(code).into()));
        }
        add("at", values.at.map(|at| wording::moment(language, at).into()));
        add("old_address", values.old_address.as_ref().map(|address| address.as_str().into()));
        add("new_address", values.new_address.as_ref().map(|address| address.as_str().into()));
        if kind == MailKind::NewSignIn {
            add("browser", Some(values.browser.as_deref().into()));
        }
        if [MailKind::NewSignIn, MailKind::FactorRefused, MailKind::RecoveryCodeUsed].contains(&kind) {
            add("network", Some(values.network.map(|network| network.to_string()).into()));
        }
        add("factor", values.factor.map(|kind| wording::factor(language, kind).into()));
        add("codes_left", values.codes_left.map(Value::from));
        all
    }

    /// Returns the link of a mail. The token is in the fragment, which browsers send to no server.
    fn link(&self, kind: MailKind, token: &str) -> String {
        let page = match kind {
            MailKind::SignUp => "sign-up",
            MailKind::Verify => "verify",
            MailKind::Change => "email",
            MailKind::Revert => "revert",
            MailKind::Invite => "accept",
            _ => "reset",
        };
        format!("{}/account/{page}#t={token}", self.base)
    }

    /// Renders every kind in every language, once with everything that is optional and once without.
    fn try_all(&self) -> Result<(), config::Error> {
        for kind in MailKind::ALL {
            for language in Language::ALL {
                for full in [true, false] {
                    self.try_one(&Draft::sample(*kind, *language, full))?;
                }
            }
        }
        Ok(())
    }

    fn try_one(&self, draft: &Draft) -> Result<(), config::Error> {
        let message = self.render_parts(draft)?;
        let fault =
            |extension: &str, message: &str| Err(config::Error::in_file(self.file(&file_name(draft, extension)), message));
        if let Some(token) = &draft.values.token {
            let link = self.link(draft.kind, token);
            if !message.text.lines().any(|line| line == link) {
                return fault("txt", "must contain {{ link }} on a line of its own.");
            }
            if !message.html.contains(&format!("href=\"{link}\"")) {
                return fault("html", "must contain the link: <a href=\"{{ link }}\">.");
            }
            if message.subject.contains(token.as_str()) {
                return fault("subject", "must not contain the link: subjects are shown on locked screens.");
            }
        }
        if let Some(code) = draft.values.code.as_deref().map(spaced) {
            for (extension, text) in [("txt", &message.text), ("html", &message.html)] {
                if !text.contains(&code) {
                    return fault(extension, "must contain {{ code }}.");
                }
            }
            if message.subject.contains(&code) {
                return fault("subject", "must not contain the code: subjects are shown on locked screens.");
            }
        }
        Ok(())
    }

    /// Returns the error in a template. The template in which the error is may be one that `name` includes.
    fn fault(&self, name: &str, error: &Error) -> config::Error {
        let mut innermost = error;
        while let Some(source) = innermost.source().and_then(|source| source.downcast_ref::<Error>()) {
            innermost = source;
        }
        let file = self.file(innermost.name().or(error.name()).unwrap_or(name));
        let file = innermost.line().or(error.line()).map_or(file.clone(), |line| format!("{file}, line {line}"));
        let detail = innermost.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        config::Error::in_file(file, format!("cannot be used: {}{detail}.", innermost.kind()))
    }

    /// Returns where a template comes from.
    fn file(&self, name: &str) -> String {
        self.replaced.get(name).cloned().unwrap_or_else(|| format!("The template {name} of the program"))
    }
}

/// Returns whether mails of a kind greet the recipient by name. Those to a mailbox that nobody has proven do not: a stranger could
/// have them carry any text as a name.
fn greets_by_name(kind: MailKind) -> bool {
    !matches!(kind, MailKind::SignUp | MailKind::AccountExists | MailKind::Verify | MailKind::Change | MailKind::Test)
}

fn file_name(draft: &Draft, extension: &str) -> String {
    format!("{}/{}.{extension}", draft.language, draft.kind)
}

/// Returns a code in two groups, which are easier to read and to copy.
fn spaced(code: &str) -> String {
    match code.split_at_checked(4) {
        Some((first, second)) => format!("{first} {second}"),
        None => code.to_owned(),
    }
}

fn with_one_newline(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

/// Writes a value, in HTML with `&`, `<`, `>` and quotation marks escaped. minijinja would also escape the slashes of every link,
/// which is right but looks suspicious to filters.
fn escape(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = match value.as_str() {
        Some(text) if matches!(state.auto_escape(), AutoEscape::Html) && !value.is_safe() => text,
        _ => return escape_formatter(out, state, value),
    };
    for character in text.chars() {
        match character {
            '&' => out.write_str("&amp;")?,
            '<' => out.write_str("&lt;")?,
            '>' => out.write_str("&gt;")?,
            '"' => out.write_str("&quot;")?,
            '\'' => out.write_str("&#39;")?,
            other => out.write_char(other)?,
        }
    }
    Ok(())
}

/// Returns the text of a template of the program.
fn embedded(name: &str) -> Option<String> {
    let (_, text) = TEXTS.iter().find(|(known, _)| *known == name)?;
    Some(String::from_utf8(text.to_vec()).expect("the files are UTF-8: a test renders them"))
}

/// Returns the name, the file and the text of each template in the operator's directory. A file that would not be used is an error:
/// its name is probably misspelt.
fn read_directory(directory: &Path) -> Result<Vec<(String, String, String)>, config::Error> {
    let fault = |file: &Path, message: String| config::Error::in_file(file.display().to_string(), message);
    let list = |folder: &Path| -> io::Result<Vec<_>> {
        let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        // Kubernetes mounts the real files under names that begin with a dot.
        paths.retain(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")));
        paths.sort();
        Ok(paths)
    };
    let unreadable = |folder: &Path, error: &io::Error| fault(folder, format!("cannot be read: {error}."));
    let mut found = Vec::new();
    let (folders, mut files): (Vec<_>, Vec<_>) =
        list(directory).map_err(|error| unreadable(directory, &error))?.into_iter().partition(|path| path.is_dir());
    for folder in folders {
        files.extend(list(&folder).map_err(|error| unreadable(&folder, &error))?);
    }
    for file in files.into_iter().filter(|file| file.extension().is_some_and(|end| EXTENSIONS.iter().any(|known| end == *known)))
    {
        let name = file.strip_prefix(directory).unwrap_or(&file).to_string_lossy().into_owned();
        let names = || TEXTS.iter().map(|(name, _)| *name);
        if !names().any(|known| known == name) {
            let nearest = names().min_by_key(|known| strsim::damerau_levenshtein(known, &name));
            let nearest = nearest.filter(|known| strsim::damerau_levenshtein(known, &name) <= 3);
            let hint = nearest.map(|known| format!(": no template is called {name}; did you mean {known}?"));
            let hint = hint.unwrap_or_else(|| format!(": no template is called {name}."));
            return Err(fault(&file, format!("is not used{hint}")));
        }
        let text = fs::read_to_string(&file).map_err(|error| fault(&file, format!("cannot be read: {error}.")))?;
        found.push((name, file.display().to_string(), text));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;

//! Printing the settings in effect.

use std::fmt::Write;

use secrecy::ExposeSecret;
use serde_json::Value;

use super::{REFERENCE, Settings};

impl Settings {
    /// Returns the settings in effect as TOML that can be loaded again. Secrets and derived values are comments, and the
    /// database URL is shown without its password.
    pub fn print(&self) -> String {
        let mut toml = String::new();
        let mut section = "";
        for setting in REFERENCE {
            let (head, key) = setting.name.split_once('.').unwrap_or(("", setting.name));
            if head != section {
                let _ = writeln!(toml, "[{head}]\n");
                section = head;
            }
            let _ = writeln!(toml, "# {}", setting.about);
            let set = self.shown(setting.name);
            let _ = match self.derived(setting.name) {
                _ if !set.is_null() && !setting.secret => writeln!(toml, "{key} = {}\n", literal(&set)),
                Some(value) if set.is_null() => writeln!(toml, "# {key} = {} (not set)\n", literal(&value)),
                Some(value) => writeln!(toml, "# {key} = {}\n", literal(&value)),
                None if set.is_null() => writeln!(toml, "# {key} = \"(not set)\"\n"),
                None => writeln!(toml, "# {key} = {}\n", literal(&set)),
            };
        }
        toml.truncate(toml.trim_end().len());
        toml + "\n"
    }

    /// Returns the value of a setting, safe to print; null if it is not set.
    pub(super) fn shown(&self, name: &str) -> Value {
        let all = serde_json::to_value(self).expect("settings are plain data with text as keys");
        all.pointer(&format!("/{}", name.replace('.', "/"))).cloned().unwrap_or_default()
    }

    /// Returns the value that is used if a setting is not set but derived from others, and the database URL without its
    /// password.
    fn derived(&self, name: &str) -> Option<Value> {
        match name {
            "database.url" => Some(without_password(self.database_url().expose_secret()).into()),
            "tokens.issuer" => Some(self.issuer().into()),
            "mail.transport" => Some(self.mail_transport().as_str().into()),
            "mail.from" => Some(self.mail_from().to_string().into()),
            "mail.link_base" => Some(self.link_base().as_str().into()),
            "account_pages.name" => Some(self.name_on_pages().into()),
            "mail.smtp.port" => Some(self.mail.smtp.port().into()),
            "password.hash_threads" => Some(self.password.threads().into()),
            _ => None,
        }
    }
}

/// Writes a value as TOML. JSON of texts, numbers, booleans and lists of texts is also TOML, except for one character.
fn literal(value: &Value) -> String {
    value.to_string().replace('\x7f', "\\u007F")
}

/// Removes everything from a database URL but the scheme, user, host and database. Everything up to the last `@` counts as user
/// and password, even if the password is badly encoded. All parameters are removed, because one may be a password.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() }; // SQLite: a path
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (user.split([':', '?']).next().map(|user| format!("{user}:(hidden)@")), host),
        None => (None, rest),
    };
    let (host, parameters) = match host.split_once('?') {
        Some((host, _)) => (host, "?(hidden)"),
        None => (host, ""),
    };
    format!("{scheme}://{}{host}{parameters}", user.unwrap_or_default())
}

//! `vestibule mail`: what mails look like, and whether they can be sent. Needs the settings only, no database.

use anyhow::{Result, bail};
use clap::Subcommand;

use super::output::{print, print_line};
use crate::{
    config::{MailTransport, Settings},
    live::{
        clock::{Clock, SystemClock},
        log,
        mail::{Draft, Limits, Sender, Templates, Transport, Values, tracking_hint},
    },
    values::{email::Email, ids, language::Language, mail_kind::MailKind, name::Name, registration_mode::RegistrationMode},
};

#[derive(Subcommand)]
pub(super) enum Mail {
    /// Print an example of a mail as it would be sent
    Preview {
        /// Kind, such as reset; a wrong one lists all
        kind: MailKind,
        /// Language: en or de [default: mail.language]
        #[arg(long)]
        language: Option<Language>,
        /// Print only the HTML
        #[arg(long, conflicts_with = "text")]
        html: bool,
        /// Print only the subject and the text
        #[arg(long)]
        text: bool,
        /// Name of the recipient
        #[arg(long)]
        name: Option<Name>,
    },
    /// Send a test mail now, and say what failed
    Test {
        /// E-mail address
        to: Email,
        /// Language: en or de [default: mail.language]
        #[arg(long)]
        language: Option<Language>,
    },
}

pub(super) async fn run(command: Mail, settings: Settings) -> Result<()> {
    log::start_tracing(&settings.log.level)?;
    match command {
        Mail::Preview { kind, language, html, text, name } => {
            let mut draft = Draft::sample(kind, language.unwrap_or(settings.mail.language), true);
            if let Some(name) = name {
                draft.values.name = Some(name.into_string());
            }
            let message = Templates::load(&settings)?.render(&draft)?;
            match (html, text) {
                (true, _) => print(message.html)?,
                (_, true) => print(format_args!("{}\n\n{}", message.subject, message.text))?,
                _ => print(String::from_utf8_lossy(&message.format(&Sender::of(&settings))?))?,
            }
        }
        Mail::Test { to, language } => send_test(to, language, &settings).await?,
    }
    Ok(())
}

async fn send_test(to: Email, language: Option<Language>, settings: &Settings) -> Result<()> {
    for hint in hints(settings) {
        tracing::warn!("{hint}");
    }
    let transport = Transport::new(settings, Limits::default())?;
    if !transport.can_send() {
        bail!("no mail can be sent, because `mail.transport` is `{}`", settings.mail_transport().as_str());
    }
    let now = SystemClock.now();
    let draft = Draft {
        id: ids::v7(now),
        kind: MailKind::Test,
        language: language.unwrap_or(settings.mail.language),
        to,
        created_at: now,
        values: Values::at(now),
    };
    let message = Templates::load(settings)?.render(&draft)?;
    transport.send(&message).await?;
    let (to, id) = (&message.to, message.id);
    match (transport.server(), transport.folder()) {
        (Some(server), _) => print_line(format_args!("{server} has accepted the test mail to {to}, <{id}>."))?,
        (_, folder) => {
            let file = folder.map(|folder| folder.join(format!("{id}.eml"))).unwrap_or_default();
            print_line(format_args!("The test mail to {to} is in {}.", file.display()))?;
        }
    }
    Ok(())
}

/// Returns hints about settings of mail that are valid, but probably wrong.
pub(super) fn hints(settings: &Settings) -> Vec<String> {
    let host = settings.mail.smtp.host.as_deref().filter(|_| settings.mail_transport() == MailTransport::Smtp);
    let mismatch = settings.mail.smtp_mismatch().filter(|_| host.is_some());
    mismatch.into_iter().chain(host.and_then(tracking_hint)).chain(sign_up_hint(settings)).chain(pages_hint(settings)).collect()
}

/// Returns a hint if the links in mails lead to pages that are off.
fn pages_hint(settings: &Settings) -> Option<String> {
    let are_sent = matches!(settings.mail_transport(), MailTransport::Smtp | MailTransport::File);
    let lead_nowhere = are_sent && !settings.account_pages.enabled && settings.mail.link_base.is_none();
    let hint = "the links in mails lead to pages that are not served: `account_pages.enabled` is `false`, and `mail.link_base` \
                names no other place";
    lead_nowhere.then(|| hint.to_owned())
}

/// Returns a hint if people are to sign up by mail, and no mail can be sent.
fn sign_up_hint(settings: &Settings) -> Option<String> {
    let transport = settings.mail_transport();
    let is_missing = matches!(transport, MailTransport::Log | MailTransport::None);
    let hint =
        || format!("nobody can sign up: `registration.mode` is `verified`, but `mail.transport` is `{}`", transport.as_str());
    (is_missing && settings.registration.mode == RegistrationMode::Verified).then(hint)
}

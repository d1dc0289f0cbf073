//! Mails on their way out: to a mail server of the test's own that also refuses, delays, drops and lies, and into files.

mod files;
mod outages;
mod smtp;
mod tls;

use vestibule::{
    config::{MailTransport, Settings, SmtpTls},
    live::mail::{Draft, Message, Templates},
    values::{language::Language, mail_kind::MailKind},
};

use crate::support::mail_server::MailServer;

/// Returns settings that send to a server without encryption.
fn settings_for(server: &MailServer) -> Settings {
    let mut settings = Settings::default();
    settings.server.public_url = Some("https://id.example.org".parse().unwrap());
    settings.mail.transport = Some(MailTransport::Smtp);
    settings.mail.from = Some("Example <id@mail.example.org>".parse().unwrap());
    settings.mail.smtp.host = Some("127.0.0.1".to_owned());
    settings.mail.smtp.port = Some(server.port);
    settings.mail.smtp.tls = SmtpTls::None;
    settings.validate().unwrap();
    settings
}

fn message(settings: &Settings) -> Message {
    Templates::load(settings).unwrap().render(&Draft::sample(MailKind::Reset, Language::German, true)).unwrap()
}

//! The mails of a service: the queue, and the files that the transport `file` writes.

use std::fs;

use sea_orm::{EntityTrait, QueryOrder};
use vestibule::{config::MailTransport, domain::mail::sending, entity::mail};

use super::TestApp;

/// A mail that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub kind: String,
    pub to: String,
    pub language: String,
    /// The token in its link.
    pub token: Option<String>,
    /// The eight digits of its code.
    pub code: Option<String>,
    pub text: String,
}

impl Sent {
    #[track_caller]
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_else(|| panic!("no link: {}", self.text))
    }

    #[track_caller]
    pub fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_else(|| panic!("no code: {}", self.text))
    }
}

impl TestApp {
    /// Starts an app that sends no mail.
    pub async fn without_mail() -> Self {
        Self::start_with(|settings| settings.mail.transport = Some(MailTransport::None)).await
    }

    /// Sends every mail that is due.
    pub async fn send_due_mails(&self) {
        loop {
            let leased = sending::lease(&self.app).await.unwrap();
            if leased.is_empty() {
                return;
            }
            futures_util::future::join_all(leased.into_iter().map(|mail| sending::deliver(&self.app, mail))).await;
        }
    }

    /// Returns the rows of all mails, oldest first.
    pub async fn mail_rows(&self) -> Vec<mail::Model> {
        mail::Entity::find().order_by_asc(mail::Column::Id).all(self.app.db.read()).await.unwrap()
    }

    /// Sends every mail that is due, and returns all that were sent so far, oldest first.
    pub async fn mails(&self) -> Vec<Sent> {
        self.send_due_mails().await;
        let mut sent = Vec::new();
        for row in self.mail_rows().await {
            let file = self.app.settings.data_dir.join("mail").join(format!("{}.eml", row.id));
            let Ok(text) = fs::read_to_string(file) else { continue };
            sent.push(Sent {
                kind: row.kind.to_string(),
                to: row.to_address.clone().unwrap(),
                language: row.language.to_string(),
                token: token(&text),
                code: code(&text),
                text: plain(&text),
            });
        }
        sent
    }

    /// Sends every mail that is due, and returns the newest one of this kind to this address.
    pub async fn mail(&self, kind: &str, to: &str) -> Sent {
        let sent = self.mails().await;
        let newest = sent.iter().rev().find(|mail| mail.kind == kind && mail.to == to);
        newest.cloned().unwrap_or_else(|| panic!("no {kind} to {to}: {sent:#?}"))
    }
}

/// Returns a message without the escapes of `quoted-printable`, as far as links and codes need it.
fn plain(message: &str) -> String {
    message.replace("=\r\n", "").replace("=\n", "").replace("=3D", "=")
}

/// Returns the token in the link of a message.
pub fn token(message: &str) -> Option<String> {
    let message = plain(message);
    let text = message.split("#t=").nth(1)?;
    let end = text.find(|character: char| !character.is_ascii_alphanumeric() && !"-_.".contains(character));
    Some(text[..end.unwrap_or(text.len())].to_owned()).filter(|token| token.starts_with("vt1."))
}

/// Returns the eight digits of the first line of a message that consists of them and of spaces.
pub fn code(message: &str) -> Option<String> {
    let digits = |line: &str| line.split_whitespace().collect::<String>();
    plain(message).lines().map(digits).find(|line| line.len() == 8 && line.bytes().all(|byte| byte.is_ascii_digit()))
}

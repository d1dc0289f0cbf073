//! What a mail is about, before a template turns it into text.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, TimeZone, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::values::{
    browser_name::browser_name,
    email::Email,
    factor_kind::FactorKind,
    language::Language,
    mail_kind::{MailKind, Proof},
};

/// A mail before it is rendered.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The id of the mail. A mail that is sent again has the same id, and so the same `Message-ID`.
    pub id: Uuid,
    /// The kind.
    pub kind: MailKind,
    /// The language of the recipient.
    pub language: Language,
    /// The recipient.
    pub to: Email,
    /// The time of the cause, which becomes the `Date`.
    pub created_at: DateTime<Utc>,
    /// What the templates may say.
    pub values: Values,
}

/// The values of a mail. Each kind uses some of them. All but the three secrets can be stored until the mail is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Values {
    /// The token of the link. Required if the kind proves a mailbox.
    #[serde(skip)]
    pub token: Option<String>,
    /// The code, 8 digits. Required if the kind has one.
    #[serde(skip)]
    pub code: Option<String>,
    /// How long the link and the code still work. Required with a link.
    #[serde(skip)]
    pub valid_for: Option<Duration>,
    /// The recipient's name. The greeting omits it if it could carry a link or a telephone number, and in mails to a mailbox that
    /// has not been proven: anybody could have chosen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address of the account before the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_address: Option<Email>,
    /// The address of the account after the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_address: Option<Email>,
    /// The time of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// The browser in words, such as `Firefox on Linux`; never text from a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser: Option<String>,
    /// The network address of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<IpAddr>,
    /// The kind of the second factor. Its name is not mentioned, because whoever adds a factor chooses its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<FactorKind>,
    /// The number of recovery codes that are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codes_left: Option<u64>,
}

impl Values {
    /// Returns the values of a notice about an event at this time.
    pub fn at(now: DateTime<Utc>) -> Self {
        Self { at: Some(now), ..Self::default() }
    }
}

impl Draft {
    /// Returns an example of a kind. `full`: with everything that is optional.
    pub fn sample(kind: MailKind, language: Language, full: bool) -> Self {
        let at = Utc.with_ymd_and_hms(2026, 11, 26, 14, 30, 0).single().expect("this moment exists");
        let address = |text: &str| text.parse().expect("this address is valid");
        let proof = kind.proof();
        let valid_for = match kind {
            MailKind::Reset => Duration::from_mins(30),
            MailKind::Revert | MailKind::Invite => Duration::from_hours(7 * 24),
            _ => Duration::from_hours(24),
        };
        let values = Values {
            token: (proof != Proof::None)
                .then(|| "vt1.AZKyH3m4eLmQv5x1n9sK2w.b7Xc0dE1fG2hI3jK4lM5nO6pQ7rS8tU9vW0xY1zA2bC".to_owned()),
            code: (proof == Proof::LinkAndCode).then(|| "48151623".to_owned()),
            valid_for: (proof != Proof::None).then_some(valid_for),
            name: full.then(|| "Ada Lovelace".to_owned()),
            old_address: Some(address("ada@example.org")),
            new_address: Some(address("countess.of.lovelace@mail.example.com")),
            at: Some(at),
            browser: browser_name("Firefox/140.0 (X11; Linux x86_64)", language).filter(|_| full),
            network: full.then_some(IpAddr::from([203, 0, 113, 7])),
            factor: Some(FactorKind::Totp),
            codes_left: Some(3),
        };
        let to = address("ada@example.org");
        Self { id: Uuid::from_u128(0x01a2_1691_d860_72e2_8565_8e06_a6ac_b53a), kind, language, to, created_at: at, values }
    }
}

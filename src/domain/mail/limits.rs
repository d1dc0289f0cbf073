//! The limits of mails to one recipient, and of wrong codes. They count in the database, by digests of the address, so that they
//! hold for all servers together, and alike for addresses with and without an account.

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    app::App,
    domain::{source::Source, throttle},
    entity::{tally, ticket},
    error::Result,
    live::database::Transaction,
    values::{identifier::Identifier, ids::UserId, network::Network},
};

const MINUTE: TimeDelta = TimeDelta::minutes(1);
const HOUR: TimeDelta = TimeDelta::hours(1);
const DAY: TimeDelta = TimeDelta::days(1);

/// The mails to one recipient that callers without authority over the account may cause: periods, and the mails in each.
const MAILS: [(TimeDelta, usize); 3] = [(MINUTE, 1), (HOUR, 5), (DAY, 10)];
/// The wrong codes of one network, or of one signed-in user, for one recipient in a day.
const GUESSES_OF_ONE: usize = 20;
/// The wrong codes of all networks, and those of all signed-in users, for one recipient in a day. With 10^8 codes, guesses succeed
/// once in 1,300 years.
const GUESSES: usize = 100;

/// To whom a mail would go.
#[derive(Debug, Clone, Copy)]
pub enum Addressee<'a> {
    /// A canonical address.
    Address(&'a str),
    /// An identifier that no account has. It counts as a recipient, so that nobody learns that no account has it.
    Nobody(&'a Identifier),
}

impl Addressee<'_> {
    /// Returns the digest under which limits count, and by which tickets are found.
    pub(super) fn digest(self, app: &App) -> Vec<u8> {
        let (kind, name) = match self {
            Self::Address(address) => ("address", address),
            Self::Nobody(Identifier::Email(email)) => ("address", email.as_str()),
            Self::Nobody(Identifier::Username(username)) => ("username", username.as_str()),
            Self::Nobody(Identifier::Malformed) => ("malformed", ""),
        };
        keyed_digest(app, &[b"recipient", kind.as_bytes(), name.as_bytes()])
    }
}

/// A recipient whose row is locked: until the transaction ends, no other one issues a ticket for the recipient. A transaction
/// locks the row of the user before it locks the recipient.
pub struct Recipient {
    pub(super) digest: Vec<u8>,
    mails: tally::Model,
}

impl Recipient {
    /// Locks the row of a recipient.
    pub async fn lock(app: &App, tx: &Transaction, addressee: Addressee<'_>) -> Result<Self> {
        let digest = addressee.digest(app);
        let [mails] = tally::Entity::locked(tx, &[keyed_digest(app, &[b"mails", &digest])]).await?;
        Ok(Self { digest, mails })
    }

    /// Counts a mail that a caller without authority over the account causes. Returns false, and counts nothing, if the
    /// recipient has been sent enough: a mail a minute, five an hour and ten a day. Whoever wants to keep the owner of the
    /// address out by requesting all of them fails, because one mail an hour is always sent.
    pub async fn count_mail(&self, tx: &Transaction, now: DateTime<Utc>) -> Result<bool> {
        let mut mails = self.mails.clone();
        let sent = |period| self.mails.times.within(period, now);
        let may_send = sent(HOUR) == 0 || MAILS.iter().all(|(period, most)| sent(*period) < *most);
        if may_send {
            add(&mut mails, now);
        }
        // Written in any case, so that the work does not reveal what was sent before.
        mails.write(tx).await?;
        Ok(may_send)
    }
}

/// The wrong codes for one recipient. The rows are locked, so that codes which arrive at once are compared one after another.
pub(super) struct Guesses {
    of_one: tally::Model,
    of_all: tally::Model,
    is_network_known: bool,
}

impl Guesses {
    /// Locks those of callers who are not signed in.
    pub(super) async fn lock(
        app: &App,
        tx: &Transaction,
        source: &Source,
        ticket: &ticket::Model,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let network = Network::from(source.address).to_string();
        let keys = [
            keyed_digest(app, &[b"codes of network", network.as_bytes(), &ticket.recipient]),
            keyed_digest(app, &[b"codes", &ticket.recipient]),
        ];
        let [of_one, of_all] = tally::Entity::locked(tx, &keys).await?;
        // Looked up for a decoy, too, so that its work is the same.
        let user = ticket.user_id.unwrap_or_else(|| Uuid::nil().into());
        let is_network_known = throttle::knows_network(app, tx, source, user, now).await?;
        Ok(Self { of_one, of_all, is_network_known })
    }

    /// Locks those of signed-in users. They count apart from the others, so that strangers cannot use them up, and whatever the
    /// network, because a user who guesses at the code of an address that is not theirs knows many.
    pub(super) async fn lock_own(app: &App, tx: &Transaction, user: UserId, ticket: &ticket::Model) -> Result<Self> {
        let keys = [
            keyed_digest(app, &[b"codes of user", Uuid::from(user).as_bytes(), &ticket.recipient]),
            keyed_digest(app, &[b"codes of users", &ticket.recipient]),
        ];
        let [of_one, of_all] = tally::Entity::locked(tx, &keys).await?;
        Ok(Self { of_one, of_all, is_network_known: false })
    }

    /// Returns whether another code may be compared. The owner can use a code from a known network, however many attackers
    /// guess.
    pub(super) fn may_guess(&self, now: DateTime<Utc>) -> bool {
        let wrong = |tally: &tally::Model| tally.times.within(DAY, now);
        wrong(&self.of_one) < GUESSES_OF_ONE && (self.is_network_known || wrong(&self.of_all) < GUESSES)
    }

    /// Counts a wrong code.
    pub(super) async fn count(mut self, tx: &Transaction, now: DateTime<Utc>) -> Result<()> {
        for tally in [&mut self.of_one, &mut self.of_all] {
            add(tally, now);
        }
        self.of_one.write(tx).await?;
        Ok(self.of_all.write(tx).await?)
    }
}

fn add(tally: &mut tally::Model, now: DateTime<Utc>) {
    tally.times.add(now, DAY);
    tally.expires_at = now + DAY;
}

/// Returns the digest of some parts. Only parts of a fixed length and the last one may contain NUL.
fn keyed_digest(app: &App, parts: &[&[u8]]) -> Vec<u8> {
    hmac::sign(&app.throttle.key, &parts.join(&0)).as_ref().to_vec()
}

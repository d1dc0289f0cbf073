//! Erasure: removes a person from what remains of their account after its end. The ids stay, so that the audit trail still says what
//! was done by whom and to whom; addresses, names and network addresses go.
//!
//! It takes several transactions, because an account may have any number of events and other writers must not wait for all of them.
//! Its last transaction notes that it is complete. If a server stops before that, the next one begins again, and finds as much: the
//! events of the person, by which everything else is found, are changed last.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, ModelTrait, QueryFilter, QuerySelect,
};

use super::{
    audit::{self, Actor, ERASED, Event, Kind},
    mail::tickets,
    source::Source,
    users,
};
use crate::{
    app::App,
    entity::{
        audit_event::{self, ActiveModel},
        closed_account, installation, invitation, mail, ticket, user,
    },
    error::{Error, Missing, Result},
    live::{clock_trust::TrustedReading, database::Reader},
    values::{
        identifier::Identifier,
        ids::{EventId, UserId},
        mail_kind::MailKind,
        ticket_purpose::TicketPurpose,
    },
};

/// How many accounts the job reads at once.
const ACCOUNTS: u64 = 100;
/// The number of values in one statement, which databases limit.
const BATCH: usize = 500;
/// How long after the end of an account an event of it may still be written, by a request that had begun before.
const STRAGGLERS: TimeDelta = TimeDelta::hours(1);
/// How long before their account existed a person may have requested it: a link of a sign-up lives for two days at most.
const SIGN_UP: TimeDelta = TimeDelta::days(2);

/// Deletes an account, and erases its person at once.
///
/// # Errors
/// [`Error::NotFound`], [`Error::LastAdmin`].
pub async fn erase(app: &App, id: UserId) -> Result<()> {
    users::delete_to_erase(app, id).await?;
    erase_closed(app, id).await
}

/// Erases the person of a closed or deleted account at once. An account that was closed before the service recorded that is known by
/// its id, if an event of the audit trail has it.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn erase_closed(app: &App, id: UserId) -> Result<()> {
    let (tx, now) = (app.db.write_in_background().await?, app.clock.now());
    let closed = match closed_account::Entity::locked(&tx, id).await? {
        Some(closed) if !closed.erased => closed.into_active_model(),
        None if user::Entity::find_by_id(id).one(&tx).await?.is_none() && has_events(app, id).await? => {
            let nameless = closed_account::Model { id, email: None, username: None, closed_at: now, due_at: None, erased: false };
            closed_account::Entity::insert(nameless.clone().into_active_model()).exec_without_returning(&tx).await?;
            nameless.into_active_model()
        }
        _ => return Err(Error::NotFound(Missing::User)),
    };
    // If this process stops, a server goes on.
    let closed = closed_account::ActiveModel { due_at: Set(Some(now)), ..closed }.update(&tx).await?;
    tx.commit().await?;
    run(app, &closed, Actor::operator()).await
}

async fn has_events(app: &App, id: UserId) -> Result<bool> {
    let db = app.db.read();
    let of_user = [audit_event::Entity::by_user(id), audit_event::Entity::on_user(id)];
    for events in of_user {
        if events.limit(1).one(db).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the closed accounts with this last address or username whose people are not erased.
pub async fn closed(app: &App, identifier: &Identifier) -> Result<Vec<UserId>> {
    let accounts = closed_account::Entity::named(app.db.read(), identifier).await?;
    Ok(accounts.into_iter().map(|account| account.id).collect())
}

/// Returns the closed accounts that had this address or username at any time, as far as the audit trail says, which is read as a whole.
/// It does not name people who are erased.
pub async fn closed_with_former_name(app: &App, identifier: &Identifier) -> Result<Vec<UserId>> {
    let name = match identifier {
        Identifier::Email(email) => email.as_str(),
        Identifier::Username(username) => username.as_str(),
        Identifier::Malformed => return Ok(Vec::new()),
    };
    let db = app.db.read_in_background();
    let (mut ids, mut last) = (BTreeSet::new(), None);
    loop {
        let page = audit_event::Entity::page(audit_event::Entity::find(), &db, last).await?;
        let Some(end) = page.last() else { break };
        last = Some(end.id);
        let named = page.iter().filter(|event| audit::names_of_subject(event).any(|held| held == name));
        ids.extend(named.filter_map(|event| event.subject_id.as_ref()?.parse::<UserId>().ok()));
    }
    let found: Vec<_> = ids.iter().copied().collect();
    for batch in found.chunks(BATCH) {
        for user in user::Entity::with_ids(&db, batch).await? {
            ids.remove(&user.id);
        }
    }
    Ok(ids.into_iter().collect())
}

/// Erases the people whose accounts ended longer ago than `audit.erase_after`, and those whose erasure was not completed.
pub async fn erase_due(app: &App, trusted: TrustedReading) -> Result<()> {
    let (db, wait) = (app.db.read_in_background(), app.settings.audit.erase_after);
    loop {
        let mut accounts = closed_account::Entity::due(&db, app.clock.now(), ACCOUNTS).await?;
        let before = trusted.purge_before() - wait;
        // An account that ended while the clock was far behind looks as if it had ended long ago.
        let behind = installation::Entity::row(&db).await?.behind_at;
        if !wait.is_zero() && behind.is_none_or(|behind| behind <= before) {
            accounts.extend(closed_account::Entity::closed_before(&db, before, ACCOUNTS).await?);
        }
        if accounts.is_empty() {
            return Ok(());
        }
        let mut failure = Ok(());
        for account in accounts {
            // One that cannot be erased does not keep the others.
            failure = run(app, &account, Actor::NONE).await.and(failure);
        }
        failure?;
    }
}

/// Erases a person.
async fn run(app: &App, account: &closed_account::Model, actor: Actor) -> Result<()> {
    let db = app.db.read_in_background();
    let traces = find_traces(&db, account).await?;
    delete_requests(app, account.id, &traces.addresses).await?;
    let period =
        (EventId::first_of(account.id.made_at() - SIGN_UP), EventId::first_of(account.closed_at + TimeDelta::milliseconds(1)));
    rewrite_invitations(app, &db, period.1, &traces.addresses).await?;
    rewrite_events_of_nobody(app, &db, period, &traces.networks).await?;
    rewrite_own_events(app, &db, account.id).await?;
    finish(app, account, actor).await
}

/// By what a person can be found beside the id.
struct Traces {
    /// The last and the former addresses, by the time until which whatever was sent to them was sent to the person: the end of the
    /// account, or, of an address that another account has by now, when the person had it last.
    addresses: BTreeMap<DateTime<Utc>, Vec<String>>,
    /// The networks from which the person has acted.
    networks: BTreeSet<String>,
}

async fn find_traces(db: &Reader, account: &closed_account::Model) -> Result<Traces> {
    let (mut held, mut networks) = (BTreeMap::new(), BTreeSet::new());
    let mut note = |address: String, at: DateTime<Utc>| {
        let last = held.entry(address).or_insert(at);
        *last = at.max(*last).min(account.closed_at);
    };
    let mut last = None;
    loop {
        let page = audit_event::Entity::page(audit_event::Entity::by_user(account.id), db, last).await?;
        let Some(end) = page.last() else { break };
        last = Some(end.id);
        networks.extend(page.into_iter().filter_map(|event| event.address));
    }
    last = None;
    loop {
        let page = audit_event::Entity::page(audit_event::Entity::on_user(account.id), db, last).await?;
        let Some(end) = page.last() else { break };
        last = Some(end.id);
        for event in &page {
            let names = audit::names_of_subject(event).filter(|name| name.contains('@'));
            names.for_each(|address| note(address.to_owned(), event.at));
        }
    }
    // A requested change is left out: the person never had that address, and it may be somebody else's.
    let tickets = ticket::Entity::find().filter(ticket::COLUMN.user_id.eq(account.id));
    for ticket in tickets.filter(ticket::COLUMN.purpose.ne(TicketPurpose::Change)).all(db).await? {
        ticket.address.into_iter().for_each(|address| note(address, ticket.created_at));
    }
    let mails = mail::Entity::find().filter(mail::COLUMN.user_id.eq(account.id));
    for mail in mails.filter(mail::COLUMN.kind.ne(MailKind::Change)).all(db).await? {
        mail.to_address.into_iter().for_each(|address| note(address, mail.created_at));
    }
    account.email.iter().for_each(|address| note(address.clone(), account.closed_at));

    let (found, mut taken) = (held.keys().cloned().collect::<Vec<_>>(), BTreeSet::new());
    for batch in found.chunks(BATCH) {
        let of_others = user::Entity::find().select_only().column(user::Column::Email);
        let of_others = of_others.filter(user::COLUMN.email.is_in(batch.iter().cloned()));
        taken.extend(of_others.into_tuple::<String>().all(db).await?);
    }
    let mut addresses = BTreeMap::<_, Vec<_>>::new();
    for (address, at) in held {
        let until = if taken.contains(&address) { at } else { account.closed_at };
        addresses.entry(until).or_default().push(address);
    }
    Ok(Traces { addresses, networks })
}

/// Deletes the tickets, mails and invitations of a person, whatever became of them.
async fn delete_requests(app: &App, id: UserId, addresses: &BTreeMap<DateTime<Utc>, Vec<String>>) -> Result<()> {
    let tx = app.db.write_in_background().await?;
    mail::Entity::delete_of_user(&tx, id).await?;
    ticket::Entity::delete_of_user(&tx, id).await?;
    for (until, addresses) in addresses {
        for batch in addresses.chunks(BATCH) {
            mail::Entity::delete_to(&tx, batch.iter().cloned(), *until).await?;
            invitation::Entity::delete_of(&tx, batch.iter().cloned(), *until).await?;
            tickets::delete_to(app, &tx, batch, *until).await?;
        }
    }
    Ok(tx.commit().await?)
}

/// Removes the person's addresses from the events of invitations, whose subject is not the person.
async fn rewrite_invitations(
    app: &App,
    db: &Reader,
    until: EventId,
    addresses: &BTreeMap<DateTime<Utc>, Vec<String>>,
) -> Result<()> {
    let addresses: HashMap<_, _> =
        addresses.iter().flat_map(|(until, addresses)| addresses.iter().map(move |address| (address.as_str(), until))).collect();
    for kind in [Kind::InvitationCreated, Kind::InvitationRevoked] {
        let mut last = None;
        loop {
            let of_kind = audit_event::Entity::find().filter(audit_event::COLUMN.kind.eq(kind.name()));
            let page = audit_event::Entity::page(of_kind.filter(audit_event::COLUMN.id.lt(until)), db, last).await?;
            let Some(end) = page.last() else { break };
            last = Some(end.id);
            let is_theirs = |event: &&audit_event::Model| {
                let names = audit::personal_texts(event).into_iter();
                names.filter_map(|text| addresses.get(text)).any(|until| event.at <= **until)
            };
            let theirs: Vec<_> = page.iter().filter(is_theirs).collect();
            if !theirs.is_empty() {
                rewrite_details(app, &theirs).await?;
            }
        }
    }
    Ok(())
}

async fn rewrite_details(app: &App, events: &[&audit_event::Model]) -> Result<()> {
    let tx = app.db.write_in_background().await?;
    for event in events {
        if let Some(details) = audit::without_personal_texts(event) {
            audit_event::Entity::rewrite(&tx, [event.id], ActiveModel::with_details(details)).await?;
        }
    }
    Ok(tx.commit().await?)
}

/// Removes the person's network addresses from the events of callers who were not logged in and named no account: the request of a
/// sign-up, or a log-in with a mistyped name. Events before the account was requested and after its end are of somebody else.
async fn rewrite_events_of_nobody(app: &App, db: &Reader, period: (EventId, EventId), networks: &BTreeSet<String>) -> Result<()> {
    // One address at a time: for several, SQLite would read all events without an account.
    for address in networks {
        loop {
            let ids = audit_event::Entity::of_nobody(db, address, period).await?;
            if ids.is_empty() {
                break;
            }
            let tx = app.db.write_in_background().await?;
            audit_event::Entity::rewrite(&tx, ids, ActiveModel::without_address()).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

/// Removes the person from the events of which they are the actor or the subject.
async fn rewrite_own_events(app: &App, db: &Reader, id: UserId) -> Result<()> {
    let mut last = None;
    loop {
        let page = audit_event::Entity::page(audit_event::Entity::by_user(id), db, last).await?;
        let Some(end) = page.last() else { break };
        last = Some(end.id);
        let tx = app.db.write_in_background().await?;
        audit_event::Entity::rewrite(&tx, page.iter().map(|event| event.id), ActiveModel::with_actor_name(ERASED)).await?;
        tx.commit().await?;
    }
    last = None;
    loop {
        let page = audit_event::Entity::page(audit_event::Entity::on_user(id), db, last).await?;
        let Some(end) = page.last() else { break };
        last = Some(end.id);
        let tx = app.db.write_in_background().await?;
        audit_event::Entity::rewrite(&tx, page.iter().map(|event| event.id), ActiveModel::with_subject_name(ERASED)).await?;
        // Without an actor, the caller may have been the person: whoever logs in has no session yet.
        let by_nobody = page.iter().filter(|event| event.actor_name.is_none()).map(|event| event.id);
        audit_event::Entity::rewrite(&tx, by_nobody, ActiveModel::without_address()).await?;
        for event in &page {
            if let Some(details) = audit::without_personal_texts(event) {
                audit_event::Entity::rewrite(&tx, [event.id], ActiveModel::with_details(details)).await?;
            }
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Notes that a person is erased. The row of the account goes as well, once no straggling request can name the person any more.
async fn finish(app: &App, account: &closed_account::Model, actor: Actor) -> Result<()> {
    let (tx, now) = (app.db.write_in_background().await?, app.clock.now());
    // Another server may have erased the same person.
    let Some(row) = closed_account::Entity::locked(&tx, account.id).await? else { return Ok(()) };
    if !row.erased {
        let event = Event::on_erased_user(Kind::UserErased, account.id);
        audit::record(&tx, now, &Source::default(), actor, event).await?;
    }
    let is_over = row.closed_at + STRAGGLERS;
    if is_over <= now {
        row.delete(&tx).await?;
    } else {
        let mut row = row.into_active_model();
        (row.email, row.username, row.erased, row.due_at) = (Set(None), Set(None), Set(true), Set(Some(is_over)));
        row.update(&tx).await?;
    }
    Ok(tx.commit().await?)
}

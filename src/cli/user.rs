//! `vestibule user`: account administration from a shell on the server.

use std::{
    collections::BTreeSet,
    io::{self, BufRead},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Subcommand;
use zeroize::Zeroizing;

use super::{
    installation,
    output::{explain, print_line},
};
use crate::{
    app::App,
    config::Settings,
    domain::{
        authority::By,
        erasure, factors,
        paging::Paging,
        users::{self, Change, Filter, NewAccount, Sort},
    },
    entity::user::{self, Status},
    error::Error,
    live::random,
    values::{
        email::Email, identifier::Identifier, ids::UserId, name::Name, password::NewPassword, role_name::RoleName,
        username::Username,
    },
};

/// How many accounts to read at once.
const PAGE: u64 = 1_000;

#[derive(Subcommand)]
pub(super) enum User {
    /// Create an account; prints a random password unless one is read from standard input
    Create {
        /// E-mail address
        email: Email,
        /// Username
        #[arg(long)]
        username: Option<Username>,
        /// Display name
        #[arg(long)]
        name: Option<Name>,
        /// Role in addition to `user`; may be repeated
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<RoleName>,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List all accounts with their statuses and roles, sorted by e-mail address
    List,
    /// Set an account's password and end its sessions; prints a random password unless one is read from standard input
    SetPassword {
        /// E-mail address or username
        identifier: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove the second factors of an account whose owner has lost them, and end its sessions
    ResetFactors {
        /// E-mail address or username
        identifier: String,
    },
    /// Disable an account and end its sessions
    Disable {
        /// E-mail address or username
        identifier: String,
    },
    /// Enable a disabled account
    Enable {
        /// E-mail address or username
        identifier: String,
    },
    /// Erase a person for good: delete the account, and remove their addresses and names from the audit trail and everywhere else
    Erase {
        /// E-mail address or username; with --closed, the last or an earlier one, or the id of the account
        identifier: String,
        /// Erase the person of an account that was closed or deleted before
        #[arg(long)]
        closed: bool,
    },
}

pub(super) async fn run(command: User, settings: Settings) -> Result<()> {
    let app = installation::open(settings).await?;
    match command {
        User::Create { email, username, name, roles, password_stdin } => {
            let (password, notice) = read_or_generate_password(password_stdin)?;
            let roles = roles.into_iter().chain([RoleName::user()]).collect();
            let new = NewAccount { email, username, name, password: Some(password), roles, language: None, email_verified: true };
            let user = users::create(&app, By::Operator, new).await.map_err(explain)?;
            print_line(format_args!("Created the account {}.{notice}", user.profile.email))?;
        }
        User::List => list(&app).await?,
        User::SetPassword { identifier, password_stdin } => {
            let (password, notice) = read_or_generate_password(password_stdin)?;
            let user = find(&app, &identifier.parse()?).await?;
            users::set_password(&app, By::Operator, user.id, &password).await.map_err(explain)?;
            print_line(format_args!("Set the password of {} and ended its sessions.{notice}", user.email))?;
        }
        User::ResetFactors { identifier } => {
            let user = find(&app, &identifier.parse()?).await?;
            let had_factors = factors::reset(&app, By::Operator, user.id).await.map_err(explain)?;
            print_line(if had_factors {
                format!("Removed the second factors of {} and ended its sessions.", user.email)
            } else {
                format!("{} has no second factor. Ended its sessions.", user.email)
            })?;
        }
        User::Disable { identifier } => {
            let email = set_status(&app, &identifier, Status::Disabled).await?;
            print_line(format_args!("Disabled {email} and ended its sessions."))?;
        }
        User::Enable { identifier } => {
            let email = set_status(&app, &identifier, Status::Active).await?;
            print_line(format_args!("Enabled {email}."))?;
        }
        User::Erase { identifier, closed: false } => erase(&app, &identifier).await?,
        User::Erase { identifier, closed: true } => erase_closed(&app, &identifier).await?,
    }
    app.db.close().await;
    Ok(())
}

async fn set_status(app: &App, identifier: &str, status: Status) -> Result<String> {
    let user = find(app, &identifier.parse()?).await?;
    let change = Change { status: Some(status), ..Change::default() };
    users::update(app, By::Operator, user.id, change, None).await.map_err(explain)?;
    Ok(user.email)
}

async fn erase(app: &App, identifier: &str) -> Result<()> {
    let name = identifier.parse()?;
    let Some(user) = users::by_identifier(app, &name).await? else {
        ensure!(
            erasure::closed(app, &name).await?.is_empty(),
            "The account was closed or deleted. To erase its person, add --closed"
        );
        bail!("there is no such account");
    };
    erasure::erase(app, user.id).await.map_err(explain)?;
    print_line(format_args!("Erased the person of the account {}.", user.id))?;
    let mut earlier = BTreeSet::new();
    for name in [Some(user.email), user.username].into_iter().flatten() {
        earlier.extend(erasure::closed(app, &name.parse()?).await?);
    }
    for id in earlier {
        print_line(format_args!("The closed account {id} had the same name. To erase its person too, add --closed."))?;
    }
    Ok(())
}

async fn erase_closed(app: &App, identifier: &str) -> Result<()> {
    let ids = match identifier.parse::<UserId>() {
        Ok(id) => vec![id],
        Err(_) => closed(app, &identifier.parse()?).await?,
    };
    // Different people may have had the same name, one after another.
    if let [_, _, ..] = *ids {
        let ids: Vec<_> = ids.iter().map(UserId::to_string).collect();
        bail!("Several closed accounts had this name. State one by its id: {}", ids.join(", "));
    }
    let id = *ids.first().context("there is no such closed account")?;
    erasure::erase_closed(app, id).await.map_err(|error| match error {
        Error::NotFound(_) => anyhow!("there is no such closed account"),
        error => explain(error),
    })?;
    Ok(print_line(format_args!("Erased the person of the account {id}."))?)
}

/// Returns the closed accounts of this last address or username; if there are none, those that had it earlier, or were closed before
/// the service recorded that.
async fn closed(app: &App, name: &Identifier) -> Result<Vec<UserId>> {
    let ids = erasure::closed(app, name).await?;
    Ok(if ids.is_empty() { erasure::closed_with_former_name(app, name).await? } else { ids })
}

/// Prints each account as a line: e-mail address, username or a hyphen, status, and roles separated by commas.
async fn list(app: &App) -> Result<()> {
    let mut paging = Paging { cursor: None, limit: PAGE };
    loop {
        let page = users::list(app, &Filter::default(), Sort::Email, &paging).await.map_err(explain)?;
        for user in page.items {
            let status = match user.profile.status {
                Status::Active => "active",
                Status::Disabled => "disabled",
            };
            let username = user.profile.username.as_deref().unwrap_or("-");
            print_line(format_args!("{} {username} {status} {}", user.profile.email, user.roles.join(",")))?;
        }
        let Some(next) = page.next else { return Ok(()) };
        paging.cursor = Some(next.parse()?);
    }
}

async fn find(app: &App, identifier: &Identifier) -> Result<user::Model> {
    users::by_identifier(app, identifier).await?.context("there is no such account")
}

/// Returns the password from standard input, or a random password and a sentence that shows it.
fn read_or_generate_password(from_stdin: bool) -> Result<(NewPassword, String)> {
    if !from_stdin {
        let random = random::password()?;
        let notice = format!(" Its password is {random}");
        return Ok((random.parse()?, notice));
    }
    let mut line = Zeroizing::new(String::new());
    ensure!(io::stdin().lock().read_line(&mut line)? > 0, "Standard input contains no password.");
    Ok((line.trim_end_matches(['\n', '\r']).parse()?, String::new()))
}

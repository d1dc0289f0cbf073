//! `vestibule user`: accounts, made and changed by whoever has a shell on the server.

use std::io::{self, BufRead};

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use zeroize::Zeroizing;

use super::{explain, open, say};
use crate::{
    app::App,
    config::Settings,
    domain::{
        authority::By,
        paging::Paging,
        users::{self, Change, Filter, NewAccount, Sort},
    },
    entity::user::{self, Status},
    live::random,
    values::{email::Email, identifier::Identifier, name::Name, password::NewPassword, role_name::RoleName, username::Username},
};

/// How many accounts are read at once.
const AT_ONCE: u64 = 1_000;

#[derive(Subcommand)]
pub(super) enum User {
    /// Make an account; its password is printed, unless it comes on standard input
    Create {
        /// E-mail address
        email: Email,
        /// Username
        #[arg(long)]
        username: Option<Username>,
        /// What the person is called
        #[arg(long)]
        name: Option<Name>,
        /// A role it holds beside `user`; may be repeated
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<RoleName>,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Show every account with its status and its roles, by e-mail address
    List,
    /// Set an account's password and end its sessions; the new password is printed, unless it comes on standard input
    SetPassword {
        /// E-mail address or username
        identifier: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Disable an account and end its sessions
    Disable {
        /// E-mail address or username
        identifier: String,
    },
    /// Enable an account that was disabled
    Enable {
        /// E-mail address or username
        identifier: String,
    },
}

pub(super) async fn run(command: User, settings: Settings) -> Result<()> {
    let app = open(settings).await?;
    match command {
        User::Create { email, username, name, roles, password_stdin } => {
            let (password, shown) = password(password_stdin)?;
            let roles = roles.into_iter().chain([RoleName::user()]).collect();
            let new = NewAccount { email, username, name, password: Some(password), roles };
            let user = users::create(&app, By::Operator, new).await.map_err(explain)?;
            say(format_args!("Made the account {}.{shown}", user.profile.email))?;
        }
        User::List => list(&app).await?,
        User::SetPassword { identifier, password_stdin } => {
            let (password, shown) = password(password_stdin)?;
            let user = find(&app, &identifier.parse()?).await?;
            users::set_password(&app, By::Operator, user.id, &password).await.map_err(explain)?;
            say(format_args!("Set the password of {} and ended its sessions.{shown}", user.email))?;
        }
        User::Disable { identifier } => {
            let email = set_status(&app, &identifier, Status::Disabled).await?;
            say(format_args!("Disabled {email} and ended its sessions."))?;
        }
        User::Enable { identifier } => {
            let email = set_status(&app, &identifier, Status::Active).await?;
            say(format_args!("Enabled {email}."))?;
        }
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

/// One account a line: e-mail address, username or a hyphen, status, and roles with commas between.
async fn list(app: &App) -> Result<()> {
    let mut paging = Paging { cursor: None, limit: AT_ONCE };
    loop {
        let page = users::list(app, &Filter::default(), Sort::Email, &paging).await.map_err(explain)?;
        for user in page.items {
            let status = match user.profile.status {
                Status::Active => "active",
                Status::Disabled => "disabled",
            };
            let username = user.profile.username.as_deref().unwrap_or("-");
            say(format_args!("{} {username} {status} {}", user.profile.email, user.roles.join(",")))?;
        }
        let Some(next) = page.next else { return Ok(()) };
        paging.cursor = Some(next.parse()?);
    }
}

async fn find(app: &App, identifier: &Identifier) -> Result<user::Model> {
    users::by_identifier(app, identifier).await?.context("there is no such account")
}

/// The password from standard input; else a random one, and the sentence that tells it.
fn password(from_stdin: bool) -> Result<(NewPassword, String)> {
    if !from_stdin {
        let random = random::password()?;
        let shown = format!(" Its password is {random}");
        return Ok((random.parse()?, shown));
    }
    let mut line = Zeroizing::new(String::new());
    ensure!(io::stdin().lock().read_line(&mut line)? > 0, "No password came on standard input.");
    Ok((line.trim_end_matches(['\n', '\r']).parse()?, String::new()))
}

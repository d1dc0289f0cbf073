//! `vestibule key`: the keys that sign access tokens, and the master key under which they lie sealed.

use std::io::{self, BufRead};

use anyhow::{Context, Result, ensure};
use chrono::SecondsFormat;
use clap::Subcommand;
use zeroize::Zeroizing;

use super::{explain, open, say};
use crate::{
    config::{self, Settings},
    domain::{
        authority::By,
        signing_keys::{self, SigningKey, Status},
    },
    live::master_key::MasterKey,
    values::key_id::KeyId,
};

#[derive(Subcommand)]
pub(super) enum Key {
    /// Show the signing keys
    List,
    /// Publish a new signing key, which signs 20 minutes later
    Rotate,
    /// Refuse a signing key's tokens at once; another key signs instead
    Revoke {
        /// The key's id, which may begin with a hyphen
        #[arg(allow_hyphen_values = true)]
        kid: KeyId,
    },
    /// Seal everything under a new master key: a random one, where it lies in `master.key`
    Rewrap {
        /// Read the new master key from the first line of standard input: 32 bytes in base64
        #[arg(long)]
        key_stdin: bool,
    },
}

pub(super) async fn run(command: Key, settings: Settings) -> Result<()> {
    let new = if let Key::Rewrap { key_stdin: true } = command { Some(master_key()?) } else { None };
    let app = open(settings).await?;
    match command {
        Key::List => {
            for key in signing_keys::list(&app).await.map_err(explain)? {
                say(line(&key))?;
            }
        }
        Key::Rotate => {
            let key = signing_keys::rotate(&app, By::Operator).await.map_err(explain)?;
            say(line(&key))?;
        }
        Key::Revoke { kid } => {
            signing_keys::revoke(&app, By::Operator, &kid).await.map_err(explain)?;
            say(format_args!("Revoked {kid}: its tokens are refused."))?;
        }
        Key::Rewrap { .. } => match signing_keys::rewrap(&app, new).await.map_err(explain)? {
            Some(file) => say(format_args!(
                "Sealed everything under a new master key, which is in {}.\n\
                 Backups made until now open only with the old one: keep {} with them, and not here.\n\
                 Restart the servers that are running.",
                file.path().display(),
                file.old_path().display()
            ))?,
            None => say("Sealed everything under the new master key.\n\
                 Backups made until now open only with the old one: keep it with them.\n\
                 Restart the servers that are running, with the new one.")?,
        },
    }
    app.db.close().await;
    Ok(())
}

/// One key as a line: id, algorithm, and where it stands.
fn line(SigningKey { row, status }: &SigningKey) -> String {
    let at = |time: chrono::DateTime<chrono::Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let stands = match (status, row.retires_at) {
        (Status::Next, _) => format!("next, signs from {}", at(row.activates_at)),
        (Status::Active, _) => format!("active since {}", at(row.activates_at)),
        (Status::Retiring, until) => format!("retiring until {}", until.map_or_else(String::new, at)),
        (Status::Revoked, _) => "revoked".to_owned(),
    };
    format!("{} {} {stands}", row.kid, row.algorithm)
}

fn master_key() -> Result<MasterKey> {
    let mut line = Zeroizing::new(String::new());
    ensure!(io::stdin().lock().read_line(&mut line)? > 0, "No master key came on standard input.");
    config::parse_master_key(line.trim()).context("a master key is 32 bytes in base64 (`openssl rand -base64 32`)")
}

//! `vestibule key`: the keys that sign access tokens, and the master key under which they are stored.

use std::io::{self, BufRead};

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use zeroize::Zeroizing;

use super::{
    installation,
    output::{explain, format_time, print_line},
};
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
    /// List the signing keys
    List,
    /// Publish a new signing key, which starts to sign 20 minutes later
    Rotate,
    /// Reject all tokens of a signing key at once; another key signs from now on
    Revoke {
        /// Key id (may begin with a hyphen)
        #[arg(allow_hyphen_values = true)]
        kid: KeyId,
    },
    /// Seal all secrets under a new master key; if the present key is in the file `master.key`, a random key replaces it
    Rewrap {
        /// Read the new master key (32 bytes in base64) from the first line of standard input
        #[arg(long)]
        key_stdin: bool,
    },
}

pub(super) async fn run(command: Key, settings: Settings) -> Result<()> {
    let new_master_key = if let Key::Rewrap { key_stdin: true } = command { Some(read_master_key()?) } else { None };
    let app = installation::open(settings).await?;
    match command {
        Key::List => {
            for key in signing_keys::list(&app).await.map_err(explain)? {
                print_line(line(&key))?;
            }
        }
        Key::Rotate => {
            let key = signing_keys::rotate(&app, By::Operator).await.map_err(explain)?;
            print_line(line(&key))?;
        }
        Key::Revoke { kid } => {
            signing_keys::revoke(&app, By::Operator, &kid).await.map_err(explain)?;
            print_line(format_args!("Revoked {kid}: its tokens are rejected."))?;
        }
        Key::Rewrap { .. } => match signing_keys::rewrap(&app, new_master_key).await.map_err(explain)? {
            Some(file) => print_line(format_args!(
                "Sealed all secrets under a new master key, which is in {}.\n\
                 Earlier backups need the old key: move {} to where the backups are.\n\
                 Restart all running servers.",
                file.path().display(),
                file.old_path().display()
            ))?,
            None => print_line(
                "Sealed all secrets under the new master key.\n\
                 Earlier backups need the old key: keep it with them.\n\
                 Restart all running servers with the new key.",
            )?,
        },
    }
    app.db.close().await;
    Ok(())
}

/// Formats a key as a line: id, algorithm and status.
fn line(SigningKey { row, status }: &SigningKey) -> String {
    let status = match (status, row.retires_at) {
        (Status::Next, _) => format!("next, signs from {}", format_time(row.activates_at)),
        (Status::Active, _) => format!("active since {}", format_time(row.activates_at)),
        (Status::Retiring, until) => format!("retiring until {}", until.map_or_else(String::new, format_time)),
        (Status::Revoked, _) => "revoked".to_owned(),
    };
    format!("{} {} {status}", row.kid, row.algorithm)
}

fn read_master_key() -> Result<MasterKey> {
    let mut line = Zeroizing::new(String::new());
    ensure!(io::stdin().lock().read_line(&mut line)? > 0, "Standard input contains no master key.");
    config::parse_master_key(line.trim()).context("a master key is 32 bytes in base64 (`openssl rand -base64 32`)")
}

//! `vestibule copy`: an installation moves from SQLite to PostgreSQL.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::SecretString;

use super::output::print_line;
use crate::{
    config::Settings,
    live::{
        clock::{Clock as _, SystemClock},
        database::copy::{self, Source},
        master_key::{KeyFile, fingerprint},
        secrets::{finish_rewrap, present_master_key},
    },
};

/// How often the bar is drawn while no rows arrive.
const TICK: Duration = Duration::from_millis(200);

pub(super) async fn run(from: &SecretString, to: &SecretString, settings: &Settings) -> Result<()> {
    let source = Source::open(from).await?;
    let file = KeyFile::new(settings);
    if let Some(file) = &file {
        finish_rewrap(file, source.rows()).await?;
    }
    let key = present_master_key(settings, source.rows()).await?;
    let key = key.with_context(|| {
        let path = source.path().display();
        match &file {
            Some(file) => format!("{} does not open {path}: set VESTIBULE_DATA_DIR or VESTIBULE_MASTER_KEY", file.path().display()),
            None => format!("the master key in the settings does not open {path}. If its key is in a file `master.key`, unset VESTIBULE_MASTER_KEY"),
        }
    })?;
    let target = copy::open_target(to).await?;
    // Draws nothing if standard error is no terminal.
    let bar = ProgressBar::new(source.count().await?);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} rows, {eta} left ({msg})")?);
    bar.enable_steady_tick(TICK);
    let copied = source
        .copy_to(&target, &|table, rows| {
            bar.set_message(table.to_owned());
            bar.inc(rows);
        })
        .await;
    let rows = bar.position();
    bar.finish_and_clear();
    target.close().await;
    copied?;
    let former = source.retire(SystemClock.now())?;
    print_line(format_args!("Copied {rows} rows. Each table has the same rows as before."))?;
    print_line(format_args!("The former database is now {}, so that no server uses it again.", former.display()))?;
    print_line("Set database.url (VESTIBULE_DATABASE__URL) to the new database before you start a server.")?;
    if let Some(file) = file {
        let path = fs::canonicalize(file.path()).unwrap_or_else(|_| file.path().to_owned());
        print_line(format_args!(
            "PostgreSQL needs the master key as a setting: set VESTIBULE_MASTER_KEY_FILE to {}, whose fingerprint is {}.",
            path.display(),
            fingerprint(&key)
        ))?;
    }
    Ok(())
}

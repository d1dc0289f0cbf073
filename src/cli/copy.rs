//! `vestibule copy`: an installation moves from SQLite to PostgreSQL.

use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::SecretString;

use super::output::print_line;
use crate::{
    config::Settings,
    live::{
        database::copy::{self, Source},
        master_key::{KeyFile, fingerprint},
        secrets::present_master_key,
    },
};

/// How often the bar is drawn while no rows arrive.
const TICK: Duration = Duration::from_millis(200);

pub(super) async fn run(from: &SecretString, to: &SecretString, settings: &Settings) -> Result<()> {
    let source = Source::open(from).await?;
    let key = present_master_key(settings, source.rows()).await?;
    let key = key.with_context(|| {
        format!(
            "the master key that opens {} is not here: set VESTIBULE_DATA_DIR or VESTIBULE_MASTER_KEY",
            source.path().display()
        )
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
    print_line(format_args!("Copied {rows} rows of {}. Each table has the same rows.", source.path().display()))?;
    print_line("Set database.url (VESTIBULE_DATABASE__URL) to the new database before you start a server.")?;
    if let Some(file) = KeyFile::new(settings) {
        print_line(format_args!(
            "PostgreSQL needs the master key as a setting: set VESTIBULE_MASTER_KEY_FILE to {}, whose fingerprint is {}.",
            file.path().display(),
            fingerprint(&key)
        ))?;
    }
    print_line(format_args!(
        "{} is unchanged. No server may use it again: its sessions continue in the new database.",
        source.path().display()
    ))?;
    Ok(())
}

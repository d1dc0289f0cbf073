//! `vestibule restore` and `vestibule restored`: a backup takes the place of the database, and nothing that was ended, used or sent
//! since becomes valid again.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Utc};
use tokio::time::sleep;

use super::{
    installation,
    output::{explain, format_time, print_line},
};
use crate::{
    app::App,
    config::Settings,
    domain::{
        carry_over::{self, CarriedOver},
        generations::{self, Ended},
    },
    entity::{installation::Entity as Installation, secret},
    live::{
        clock::{Clock, SystemClock},
        database::{Database, Replacement},
        files,
        secrets::are_sealed_by,
    },
};

pub(super) async fn restore(file: &Path, accept_loss: bool, settings: Settings) -> Result<()> {
    ensure!(file.is_file(), "there is no file {}", file.display());
    let url = settings.database_url();
    if let Some(database) = Database::file(&url)?
        && !database.exists()
    {
        // In the wrong directory, this creates nothing.
        ensure!(accept_loss, "there is no database {} to be replaced, and {}", database.display(), loss(TakenAt::Unknown));
        files::create_data_dir(files::directory_of(&database))?;
    }
    let replacement = Replacement::begin(&url)?;
    replacement.prepare(file).await?;
    let mut app = open_copy(&replacement, &settings).await.with_context(|| format!("{} cannot be restored", file.display()))?;
    let of = taken_at(&app).await?;
    replacement.must_be_unused().await?;
    let carried = match open_present(&replacement, &app).await {
        Ok((present, missing)) => {
            if !missing.is_empty() {
                carry_over::replace_secrets(&app, missing).await.map_err(explain)?;
                app.db.close().await;
                app = open_copy(&replacement, &settings).await?; // with these secrets
            }
            let carried = carry_over::carry_over(&app, &present).await.map_err(explain);
            present.close().await;
            Some(carried.context("what changed since the backup cannot be carried over")?)
        }
        Err(reason) => {
            ensure!(accept_loss, "{reason:#}, and {}", loss(of));
            None
        }
    };
    let ended = generations::begin(&app).await.map_err(explain)?;
    app.db.close().await;
    drop(app);
    wait_until(ended.not_before).await;
    let kept = replacement.finish(SystemClock.now()).await?;
    let restored = file.display();
    print_line(match of {
        TakenAt::Backup(time) => format!("Restored {restored}, a backup of {}.", format_time(time)),
        TakenAt::Copy(newest) => format!("Restored {restored}. The newest time in it is {}.", format_time(newest)),
        TakenAt::Unknown => format!("Restored {restored}."),
    })?;
    report(&ended, carried)?;
    if let Some(kept) = kept {
        print_line(format_args!("The former database is {}: delete it when you no longer need it.", kept.display()))?;
    }
    Ok(())
}

/// Opens the copy of the backup, and brings its tables up to date.
async fn open_copy(replacement: &Replacement, settings: &Settings) -> Result<App> {
    let mut settings = settings.clone();
    settings.database.url = Some(replacement.url());
    ensure!(installation::exists(&settings).await?, "it is not a Vestibule database");
    App::open_installed(settings, Arc::new(SystemClock)).await
}

/// Opens the database that is replaced, to carry over what changed since the backup. Returns with it the secrets that the backup lacks.
async fn open_present(replacement: &Replacement, copy: &App) -> Result<(Database, Vec<secret::Model>)> {
    if !replacement.has_present() {
        bail!("there is no database to be replaced");
    }
    let present = replacement.open_present().await.context("the present database cannot be read")?;
    let missing = carry_over::missing_secrets(copy, &present).await.map_err(explain)?;
    let reason = if !carry_over::is_same_installation(copy, &present).await.map_err(explain)? {
        "the present database belongs to another installation"
    } else if !carry_over::is_later(copy, &present).await.map_err(explain)? {
        carry_over::keep_newest_time(copy, &present).await.map_err(explain)?;
        "the present database is older than the backup, or has another history"
    } else if !missing.is_empty() && !are_sealed_by(&copy.signing.sealer, present.read()).await? {
        "the present database has secrets that the backup lacks, sealed under another master key"
    } else {
        return Ok((present, missing));
    };
    present.close().await;
    bail!(reason)
}

pub(super) async fn restored(accept_loss: bool, settings: Settings) -> Result<()> {
    let app = installation::open(settings).await?;
    let of = taken_at(&app).await?;
    ensure!(accept_loss, "the former database is not here, and {}", loss(of));
    let ended = generations::begin(&app).await.map_err(explain)?;
    app.db.close().await;
    wait_until(ended.not_before).await;
    print_line("Running servers read everything again within a second.")?;
    report(&ended, None)
}

/// Which state of an installation a database holds that is restored.
#[derive(Clone, Copy)]
enum TakenAt {
    /// `vestibule backup` made the file at this time.
    Backup(DateTime<Utc>),
    /// Another tool made the copy, such as `pg_dump`, after the newest time that a server had recorded.
    Copy(DateTime<Utc>),
    Unknown,
}

async fn taken_at(app: &App) -> Result<TakenAt> {
    let row = Installation::row(app.db.read()).await?;
    let copy = || row.newest_at.map_or(TakenAt::Unknown, TakenAt::Copy);
    Ok(row.backed_up_at.map_or_else(copy, TakenAt::Backup))
}

/// Returns the rest of a sentence: what is lost.
fn loss(of: TakenAt) -> String {
    let since = match of {
        TakenAt::Backup(time) => format!("the backup of {}", format_time(time)),
        TakenAt::Copy(newest) => format!("the state that is restored (the newest time in it is {})", format_time(newest)),
        TakenAt::Unknown => "the state that is restored".to_owned(),
    };
    format!(
        "whatever changed since {since} will be lost: accounts that were disabled or deleted are active again; earlier passwords, \
         addresses, roles and second factors are valid again; accounts that were created are gone. To go on, add --accept-loss"
    )
}

/// Waits until tokens that are issued from now on are accepted.
async fn wait_until(not_before: DateTime<Utc>) {
    sleep((not_before - SystemClock.now()).to_std().unwrap_or_default()).await;
}

fn report(ended: &Ended, carried: Option<CarriedOver>) -> Result<()> {
    if let Some(CarriedOver { changed, deleted, lost }) = carried {
        print_line(format_args!(
            "Kept from the former database: {} changed and {} deleted since the backup. Lost: {} created since.",
            accounts(changed as u64),
            deleted,
            accounts(lost)
        ))?;
    }
    print_line(format_args!(
        "Ended {}, every access token, all links and codes in mails, and all waiting mails. A new signing key signs.",
        count(ended.sessions, "session")
    ))?;
    if ended.users_without_codes > 0 {
        print_line(format_args!(
            "Users whose recovery codes no longer work, which a mail tells them: {}.",
            ended.users_without_codes
        ))?;
    }
    Ok(())
}

fn accounts(number: u64) -> String {
    count(number, "account")
}

fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

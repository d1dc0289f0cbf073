//! `vestibule serve`: starts the server and the background jobs, and stops them on a signal.

use std::{
    future::Future,
    io::{self, IsTerminal},
    path::Path,
    process,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::signal::unix::{SignalKind, signal};

use super::{mail, output::explain, supervisor};
use crate::{
    app::App,
    config::{LinkBase, Settings},
    domain::{authority, passkeys, setup, signing_keys},
    jobs,
    live::{clock::SystemClock, database::Database, files, log},
    server::{self, Limits},
};

/// How long stopping may take after the drain. Many supervisors kill a process after 10 s.
const STOP_TIMEOUT: Duration = Duration::from_millis(8_500);

pub(super) async fn run(mut settings: Settings, accept_issuer: bool) -> Result<()> {
    log::start_tracing(&settings.log.level)?;
    let data_dir = settings.data_dir.clone();
    let mut stop_signal = Box::pin(stop_signal(settings.server.drain)?);
    let hints = mail::hints(&settings);
    let bound = server::bind(&settings)?;
    if settings.server.public_url.is_none() && settings.mail.link_base.is_none() {
        // Links lead to the port that was bound, not to port 0.
        let origin = format!("http://{}", bound.address());
        settings.mail.link_base = Some(LinkBase::below(origin, &settings.server.base_path));
    }
    let app = tokio::select! {
        app = App::open(settings, Arc::new(SystemClock)) => app?,
        _ = &mut stop_signal => return Ok(()),
    };
    let database = Database::file(&app.settings.database_url()).ok().flatten();
    for (file, mode) in files::readable_by_others(&app.settings.data_dir, database) {
        tracing::warn!(file = %file.display(), mode = format!("{mode:o}"), "other users can read this file: `chmod 600` it");
    }
    for hint in hints {
        tracing::warn!("{hint}");
    }
    if let Some(folder) = app.mail.transport.folder() {
        tracing::info!(folder = %folder.display(), "mails are written to files and reach nobody: mail.transport is file");
    } else if !app.mail.transport.can_send() {
        tracing::info!("no mail is sent, so users cannot reset their passwords: mail.transport is none or log");
    }
    setup::keep_issuer(&app, accept_issuer).await.map_err(explain)?;
    signing_keys::maintain(&app).await.map_err(explain)?;
    let password = setup::first_administrator(&app).await?;
    if !authority::any_administrator(app.db.read()).await? {
        tracing::warn!("there is no active administrator; create one: vestibule user create EMAIL --role admin");
    }
    for hint in passkeys::hints(&app).await? {
        tracing::warn!("{hint}");
    }
    let has_pages = app.settings.account_pages.enabled;
    let base_path = app.settings.server.base_path.clone();
    let ready = |address: &str| {
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
        let pages = if has_pages { format!("{address}{base_path}/account/ to sign in, or ") } else { String::new() };
        log::print(format_args!("Vestibule listens on {address}. Open {pages}{address}{base_path}/docs for the API"));
        supervisor::notify(supervisor::READY);
        announce_password(&data_dir.join(setup::PASSWORD_FILE), password.as_deref());
    };
    let mut jobs = jobs::start(&app);
    let mut job_ended = false;
    let stop = async {
        tokio::select! {
            drain = stop_signal => drain,
            _ = jobs.join_next() => {
                job_ended = true;
                Duration::ZERO
            }
        }
    };
    server::serve(app.clone(), bound, Limits::of_this_process(), ready, stop).await?;
    jobs::stop(jobs, &app).await;
    ensure!(!job_ended, "a background job ended, so this process can no longer follow revocations");
    app.db.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Says where the first administrator's password is. At a terminal, also says the password.
fn announce_password(path: &Path, password: Option<&str>) {
    let file = path.display();
    let sentence = match password {
        Some(password) if io::stdout().is_terminal() => {
            format!("The first administrator is `admin` with the password {password} (also in {file}).")
        }
        Some(_) => format!("The first administrator is `admin`; the password is in {file}."),
        None if path.exists() => {
            format!("The initial password of `admin` is in {file}: delete the file after you have changed the password.")
        }
        None => return,
    };
    log::print(sentence);
}

/// Returns a future that completes on SIGINT or SIGTERM, with the duration for which the server still accepts connections.
fn stop_signal(drain: Duration) -> io::Result<impl Future<Output = Duration>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        let drain = tokio::select! {
            _ = interrupt.recv() => Duration::ZERO,
            _ = terminate.recv() => drain,
        };
        tracing::info!("stopping");
        supervisor::notify(supervisor::STOPPING);
        exit_after(drain + STOP_TIMEOUT);
        drain
    })
}

/// Ends the process after this time, even if it waits for something that has no time-out, such as a file system
/// that does not respond.
fn exit_after(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        process::exit(0);
    });
}

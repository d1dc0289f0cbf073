//! The command line. A bare `vestibule` serves.

mod key;
mod user;

use std::{
    env,
    ffi::OsString,
    fmt::Display,
    fs,
    future::Future,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use chrono::SecondsFormat;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;

use crate::{
    api::contract,
    app::{self, App},
    config::{self, Settings},
    domain::{authority, clocks, setup, signing_keys},
    error::{Error, with_causes},
    jobs,
    live::{clock, database::Database, files, log},
    server,
};

/// Accounts, sessions and roles for other people's products.
///
/// Every setting also comes from the environment: VESTIBULE_SECTION__KEY. `vestibule config print` shows them all.
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong settings.
#[derive(Parser)]
#[command(version)]
pub struct Cli {
    /// Settings file in TOML [default: vestibule.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve under another issuer than before: every token issued until now is refused
    #[arg(long)]
    accept_issuer: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (also without any command)
    Serve {
        /// Serve under another issuer than before: every token issued until now is refused
        #[arg(long)]
        accept_issuer: bool,
    },
    /// Bring the database's tables up to date, or show how they stand
    #[command(subcommand)]
    Migrate(Migrate),
    /// Print the OpenAPI document
    Openapi {
        /// Compare openapi/openapi.json and openapi/access.md with this program instead; exit 1 if they differ
        #[arg(long)]
        check: bool,
        /// Write these two files instead
        #[arg(long, conflicts_with = "check")]
        write: bool,
    },
    /// Show, make and change accounts, beside a running server or without one
    #[command(subcommand)]
    User(user::User),
    /// Turn signing keys over, and change the master key, beside a running server or without one
    #[command(subcommand)]
    Key(key::Key),
    /// Say that this machine's clock is right
    #[command(subcommand)]
    Clock(Clock),
    /// Look at the settings
    #[command(subcommand)]
    Config(Config),
}

#[derive(Subcommand)]
enum Clock {
    /// Believe this machine's clock, so that servers delete what is old again
    Accept,
}

#[derive(Subcommand)]
enum Migrate {
    /// Apply what is missing
    Up,
    /// Show what is applied and what is missing
    Status,
}

#[derive(Subcommand)]
enum Config {
    /// Say whether the settings are good
    Check,
    /// Print every setting as it is in effect; secrets are hidden
    Print,
}

/// Does what the command line says. An error is a line on standard error, in the form that `log.format` asks for.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse();
    let file = cli.as_ref().map_or_else(|_| config_argument(env::args_os()), |cli| cli.config.clone());
    // Before the settings are checked, as what is wrong with them is a line too.
    if let Err(err) = log::init(config::log_format(file.as_deref(), env::vars_os())) {
        _ = writeln!(io::stderr(), "vestibule: {}", sentence(&err));
        return ExitCode::FAILURE;
    }
    let code = match cli {
        Ok(cli) => run(cli).map_or_else(
            |err| {
                log::report(Level::ERROR, sentence(&err));
                exit_code(&err)
            },
            |()| ExitCode::SUCCESS,
        ),
        Err(err) => usage(&err),
    };
    log::flush();
    code
}

/// The settings file that a command line names. What else is wrong with the line does not matter.
fn config_argument(arguments: impl IntoIterator<Item = OsString>) -> Option<PathBuf> {
    let mut arguments = arguments.into_iter().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(file) = argument.to_str().and_then(|argument| argument.strip_prefix("--config=")) {
            return Some(file.into());
        }
    }
    None
}

/// Prints help, the version, or what is wrong with the command line.
fn usage(err: &clap::Error) -> ExitCode {
    if err.use_stderr() && log::is_json() {
        log::report(Level::ERROR, err.render().to_string().trim_end());
    } else {
        _ = err.print();
    }
    ExitCode::from(if err.use_stderr() { 2 } else { 0 })
}

fn run(cli: Cli) -> Result<()> {
    if let Some(Command::Openapi { check, write }) = cli.command {
        return openapi(check, write);
    }
    let settings = Settings::load(cli.config.as_deref(), env::vars_os())?;
    for warning in &settings.warnings {
        log::report(Level::WARN, warning);
    }
    match cli.command {
        Some(Command::Config(Config::Check)) => say("The settings are good.")?,
        Some(Command::Config(Config::Print)) => print(settings.print())?,
        command => {
            let command = match command.unwrap_or(Command::Serve { accept_issuer: false }) {
                Command::Serve { accept_issuer } => Command::Serve { accept_issuer: accept_issuer || cli.accept_issuer },
                command => command,
            };
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let done = runtime.block_on(work(command, settings));
            // What still waits for an answer of the database, or of a name server, is not worth waiting for.
            runtime.shutdown_timeout(Duration::from_millis(200));
            done?;
        }
    }
    Ok(())
}

/// The exit code that an error calls for: 78 (`EX_CONFIG` of sysexits.h) for settings.
fn exit_code(err: &anyhow::Error) -> ExitCode {
    ExitCode::from(if err.is::<config::Error>() { 78 } else { 1 })
}

/// An error with its causes, as a sentence.
fn sentence(err: &anyhow::Error) -> String {
    let sentence = with_causes(err.as_ref());
    if sentence.ends_with(['.', '?']) { sentence } else { sentence + "." }
}

async fn work(command: Command, mut settings: Settings) -> Result<()> {
    if !matches!(command, Command::Serve { .. } | Command::Migrate(_)) {
        settings.database.wait = Duration::ZERO;
    }
    match command {
        Command::Serve { accept_issuer } => Box::pin(serve(settings, accept_issuer)).await,
        Command::Migrate(command) => migrate(&command, &settings).await,
        Command::User(command) => Box::pin(user::run(command, settings)).await,
        Command::Key(command) => key::run(command, settings).await,
        Command::Clock(Clock::Accept) => accept_clock(settings).await,
        Command::Openapi { .. } | Command::Config(_) => Ok(()),
    }
}

async fn serve(settings: Settings, accept_issuer: bool) -> Result<()> {
    log::start_tracing(&settings.log.level)?;
    let data_dir = settings.data_dir.clone();
    let mut stopped = Box::pin(stopped()?);
    let app = tokio::select! {
        app = App::open(settings, Arc::new(clock::SystemClock)) => app?,
        _ = &mut stopped => return Ok(()),
    };
    let database = Database::file(&app.settings.database_url()).ok().flatten();
    for (file, mode) in files::readable_by_others(&app.settings.data_dir, database) {
        tracing::warn!(file = %file.display(), mode = format!("{mode:o}"), "others can read this file: `chmod 600` it");
    }
    setup::keep_issuer(&app, accept_issuer).await.map_err(explain)?;
    signing_keys::maintain(&app).await.map_err(explain)?;
    let password = setup::first_administrator(&app).await?;
    if !authority::any_administrator(app.db.read()).await? {
        tracing::warn!("nobody is an administrator; make one: vestibule user create EMAIL --role admin");
    }
    let ready = |address: &str| {
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
        log::print(format_args!("Vestibule listens on {address}. Try it: {address}/docs"));
        announce(&data_dir.join(setup::PASSWORD_FILE), password.as_deref());
    };
    let mut jobs = jobs::start(&app);
    let mut job_ended = false;
    let until = async {
        tokio::select! {
            notice = stopped => notice,
            _ = jobs.join_next() => {
                job_ended = true;
                Duration::ZERO
            }
        }
    };
    server::serve(app.clone(), server::Limits::of_this_process(), ready, until).await?;
    jobs::stop(jobs, &app).await;
    ensure!(!job_ended, "a background job ended, so this process can no longer follow revocations");
    app.db.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Says where the first administrator's password is, and at a terminal the password itself.
fn announce(path: &Path, password: Option<&str>) {
    let file = path.display();
    let sentence = match password {
        Some(password) if io::stdout().is_terminal() => {
            format!("The first administrator is `admin` with the password {password} (also in {file}).")
        }
        Some(_) => format!("The first administrator is `admin`; the password is in {file}."),
        None if path.exists() => {
            format!("The password that `admin` began with is in {file}: delete it once you have set another.")
        }
        None => return,
    };
    log::print(sentence);
}

/// Says something on standard output: an object with `log.format = "json"`, else a line.
fn say(sentence: impl Display) -> io::Result<()> {
    print(log::stdout_line(sentence))
}

/// Prints a document to standard output as it is. A reader who has seen enough (`| head`) is no failure.
fn print(text: impl Display) -> io::Result<()> {
    match write!(io::stdout(), "{text}").and_then(|()| io::stdout().flush()) {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// How long connections are still accepted after SIGTERM, which comes while others may still be sent our way.
const NOTICE: Duration = Duration::from_secs(1);

/// Ready when the process is asked to stop, by SIGINT or SIGTERM; tells how long connections are still accepted.
fn stopped() -> io::Result<impl Future<Output = Duration>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        let notice = tokio::select! {
            _ = interrupt.recv() => Duration::ZERO,
            _ = terminate.recv() => NOTICE,
        };
        tracing::info!("stopping");
        give_up_in_time();
        notice
    })
}

/// How long stopping may take, less than the 10 seconds after which a supervisor kills.
const STOP: Duration = Duration::from_millis(9_500);

/// Ends the process in time, even if something waits where no time-out reaches: for a file system that hangs, for one.
fn give_up_in_time() {
    std::thread::spawn(|| {
        std::thread::sleep(STOP);
        std::process::exit(0);
    });
}

async fn migrate(command: &Migrate, settings: &Settings) -> Result<()> {
    let url = settings.database_url();
    if let Migrate::Up = command {
        log::start_tracing(&settings.log.level)?;
        app::make_data_dir(settings)?;
        let db = Database::connect_to_write(&url, settings.database.wait).await?;
        db.migrate().await?;
        db.close().await;
        if !app::is_installed(settings).await? {
            App::open(settings.clone(), Arc::new(clock::SystemClock)).await?.db.close().await;
        }
    } else if !app::is_installed(settings).await? {
        log::report(Level::WARN, app::nothing_there(settings));
    }
    for migration in Database::migrations_at(&url).await? {
        say(format_args!("{} {}", if migration.applied { "applied" } else { "missing" }, migration.name))?;
    }
    Ok(())
}

/// Opens the installation that is there: a command that was run in the wrong directory must not make another one.
async fn open(settings: Settings) -> Result<App> {
    ensure!(app::is_installed(&settings).await?, app::nothing_there(&settings));
    Box::pin(App::open_installed(settings, Arc::new(clock::SystemClock))).await
}

async fn accept_clock(settings: Settings) -> Result<()> {
    let app = open(settings).await?;
    let now = clocks::accept(&app).await.map_err(explain)?;
    let now = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    say(format_args!("It is {now}. Servers delete what is old again."))?;
    app.db.close().await;
    Ok(())
}

/// A refusal with each of its faults, for a terminal.
fn explain(err: Error) -> anyhow::Error {
    match err {
        Error::Invalid(faults) => {
            let faults: Vec<_> = faults.into_iter().map(|fault| fault.detail).collect();
            anyhow::anyhow!("{}", faults.join(" "))
        }
        Error::Internal(cause) => cause,
        Error::Unavailable(cause) => anyhow::Error::new(cause).context("the database is away or busy"),
        err => err.into(),
    }
}

fn openapi(check: bool, write: bool) -> Result<()> {
    contract::check()?;
    if !check && !write {
        return Ok(print(contract::text())?);
    }
    let files = [("openapi/openapi.json", contract::text().to_owned()), ("openapi/access.md", contract::matrix::render())];
    for (path, text) in files {
        if write {
            fs::write(path, text).with_context(|| format!("{path} cannot be written"))?;
        } else {
            let committed = fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))?;
            ensure!(committed == text, "{path} is not what this program says; run `vestibule openapi --write`");
        }
    }
    Ok(())
}

//! Compares Vestibule with other handlers, and with itself under other settings: `.ci/compare [--quick] [ROW...]`.
//!
//! Every server runs on the first processor core, this program on the last one. The two sides of a row are measured one after
//! the other in every round, so that other load on the machine affects both. The result is the median of the rounds.

use std::{env, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    figures::{self, Side},
    footprint,
    load::{Load, Response, get, post, send},
    population,
    process::Process,
    vestibule::Vestibule,
};

const ROUNDS: u32 = 5;
const QUICK_ROUNDS: u32 = 3;
/// How long each side of a row is measured in each round.
const ROUND: Duration = Duration::from_millis(600);
/// The same for log-ins, of which a core hashes a few dozen per second.
const HASHING_ROUND: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 64;
/// The number of users in the database.
const USERS: u32 = 10_000;

/// The name by which the command line selects a row, and the title of the row.
const ROWS: [(&str, &str); 9] = [
    ("token", "`GET /v1/token`, token seen before, no request log"),
    ("log", "the same with the request log"),
    ("me", "`GET /v1/me`"),
    ("signature", "`GET /v1/token` with a bad signature"),
    ("refresh", "refreshes, one session for each client"),
    ("list", "`GET /v1/users`, a page of 25 of 10,000"),
    ("search", "the same with a search that matches 11"),
    ("log-ins", "log-ins of 8 clients, default lanes"),
    ("log-in", "log-ins of one client, default lanes"),
];

/// A row of the table.
struct Row<'a> {
    title: &'a str,
    length: Duration,
    vestibule: Side<'a>,
    other: Side<'a>,
    other_name: &'a str,
}

impl Row<'_> {
    async fn measure(&mut self) -> Result<()> {
        self.vestibule.measure(self.length).await?;
        self.other.measure(self.length).await
    }

    fn print(&self) {
        let show = |side: &Side| {
            let cost = figures::time(side.median(|round| round.processor_time));
            format!("{} | {cost}", figures::rate(side.median(|round| round.per_second)))
        };
        let (own, other) = (show(&self.vestibule), show(&self.other));
        let ratio = self.vestibule.ratio(&self.other, |round| round.per_second);
        println!("| {} | {own} | {} | {other} | x {ratio:.2} |", self.title, self.other_name);
    }
}

/// Runs the rows of these names, or all rows. `--quick` among the names takes fewer rounds.
pub async fn run(binary: &Path, arguments: &[&str]) -> Result<()> {
    let (options, names): (Vec<_>, Vec<_>) = arguments.iter().copied().partition(|argument| *argument == "--quick");
    let rounds = if options.is_empty() { ROUNDS } else { QUICK_ROUNDS };
    for name in &names {
        ensure!(ROWS.iter().any(|(known, _)| known == name), "the rows are: {}", ROWS.map(|(known, _)| known).join(", "));
    }
    let quiet = Vestibule::start(binary, &[("LOG__LEVEL", "warn")])?;
    let logging = Vestibule::start(binary, &[])?;
    let single = Vestibule::start(binary, &[("LOG__LEVEL", "warn"), ("PASSWORD__LANES", "1")])?;
    population::add_users(quiet.database(), USERS).await?;
    let this = env::current_exe()?;
    let this = this.to_str().context("the path of this program is UTF-8")?;
    let unguarded = Process::start(this, |command| _ = command.arg("serve-unguarded"))?;
    let keys = quiet.key_set().await?.to_string();
    let verifying = Process::start(this, |command| _ = command.args(["serve-verifying", &keys]))?;

    let tokens = quiet.log_in().await?;
    let token = tokens.access()?;
    let other_token = logging.log_in().await?;
    let reads = |path| Load::repeat(CONNECTIONS, 200, &get(path, token));
    let unsigned = Load::repeat(CONNECTIONS, 401, &get("/v1/token", &with_a_bad_signature(token)?));
    let log_ins = |service: &Vestibule, clients| anyhow::Ok(Load::repeat(clients, 201, &service.log_in_request()?));
    let frame = || (Side::new(&unguarded, reads("/v1/token")), "unguarded poem-openapi handler");
    // The reference must accept what it is compared with.
    send(verifying.address, &get("/v1/token", token)).await?.expect(200)?;

    let mut rows = Vec::new();
    for (name, title) in ROWS.into_iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
        let (length, load) = (ROUND, |load| Side::new(&quiet.process, load));
        let (vestibule, (other, other_name)) = match name {
            "token" => (load(reads("/v1/token")), frame()),
            "log" => {
                let reads = Load::repeat(CONNECTIONS, 200, &get("/v1/token", other_token.access()?));
                (Side::new(&logging.process, reads), frame())
            }
            "me" => (load(reads("/v1/me")), frame()),
            "signature" => (load(unsigned.clone()), (Side::new(&verifying, unsigned.clone()), "axum, same JWT library")),
            "refresh" => (load(refreshes(&quiet, CONNECTIONS).await?), frame()),
            "list" => (load(reads("/v1/users")), frame()),
            "search" => (load(reads("/v1/users?search=family999")), frame()),
            "log-ins" => (load(log_ins(&quiet, 8)?), (Side::new(&single.process, log_ins(&single, 8)?), "`password.lanes = 1`")),
            _ => (load(log_ins(&quiet, 1)?), (Side::new(&single.process, log_ins(&single, 1)?), "`password.lanes = 1`")),
        };
        let length = if name.starts_with("log-in") { HASHING_ROUND } else { length };
        rows.push(Row { title, length, vestibule, other, other_name });
    }
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for row in &mut rows {
            row.measure().await.with_context(|| row.title.to_owned())?;
        }
    }

    println!("| Vestibule | rate | processor time | compared with | rate | processor time | ratio of the rates |");
    println!("|---|---|---|---|---|---|---|");
    rows.iter().for_each(Row::print);
    let busiest = rows.iter().flat_map(|row| [&row.vestibule, &row.other]).map(|side| side.median(|round| round.generator));
    println!("\nThe generator used at most {:.0} % of its core.", busiest.fold(0.0, f64::max) * 100.0);
    quiet.process.stop()?;
    logging.process.stop()?;
    single.process.stop()?;
    if names.is_empty() { footprint::run(binary).await } else { Ok(()) }
}

/// Returns the load of clients that refresh, each with a session of its own.
pub async fn refreshes(service: &Vestibule, clients: usize) -> Result<Load> {
    fn request(refresh_token: &Value) -> Vec<u8> {
        post("/v1/sessions/refresh", &json!({ "refresh_token": refresh_token }))
    }
    let mut requests = Vec::new();
    for _ in 0..clients {
        requests.push(request(&json!(service.log_in().await?.refresh()?)));
    }
    let next = |response: &Response| Ok(Some(request(&response.expect(200)?["refresh_token"])));
    Ok(Load { requests, status: 200, next })
}

/// Returns a token with another signature. Only the first character differs: the signature stays well formed, so that a verifier
/// computes as much as for a valid one.
fn with_a_bad_signature(token: &str) -> Result<String> {
    let (signed, signature) = token.rsplit_once('.').context("the token has no signature")?;
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    Ok(format!("{signed}.{first}{}", &signature[1..]))
}

//! How the time of a request depends on the number of users and of live revocations: `.ci/growth [PART...]`.
//!
//! Services with databases of different sizes are measured in turns, so that other load on the machine affects all of them. The
//! result is the median of the rounds.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use crate::{
    compare::refreshes,
    figures::{self, Side},
    load::{Load, get, send},
    population,
    postgres::TemporaryPostgres,
    vestibule::Vestibule,
};

const ROUNDS: usize = 5;
/// How long each request is measured on each service in each round.
const ROUND: Duration = Duration::from_millis(300);
/// The same for requests on services with revocations.
const REVOCATIONS_ROUND: Duration = Duration::from_secs(1);
const USERS: [u32; 3] = [1_000, 100_000, 1_000_000];
const REVOCATIONS: [u32; 4] = [0, 1_000, 100_000, 1_000_000];
const QUIET: (&str, &str) = ("LOG__LEVEL", "warn");

const PARTS: [&str; 3] = ["revocations", "sqlite", "postgres"];

/// Runs the parts of these names, or all parts.
pub async fn run(binary: &Path, parts: &[&str]) -> Result<()> {
    ensure!(parts.iter().all(|part| PARTS.contains(part)), "the parts are: {}", PARTS.join(", "));
    for part in PARTS.into_iter().filter(|part| parts.is_empty() || parts.contains(part)) {
        match part {
            "revocations" => revocations(binary).await?,
            "sqlite" => {
                let services = USERS.map(|_| Vestibule::start(binary, &[QUIET]));
                users(services.into_iter().collect::<Result<_>>()?, "SQLite").await?;
            }
            _ => {
                let server = TemporaryPostgres::start().context("PostgreSQL is not installed")?;
                users(on_postgres(binary, &server).await?, "PostgreSQL").await?;
            }
        }
    }
    Ok(())
}

async fn on_postgres(binary: &Path, server: &TemporaryPostgres) -> Result<Vec<Vestibule>> {
    let mut services = Vec::new();
    for count in USERS {
        let name = format!("users_{count}");
        population::create_database(&server.url("postgres"), &name).await?;
        let key = ("MASTER_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        services.push(Vestibule::start(binary, &[QUIET, key, ("DATABASE__URL", &server.url(&name))])?);
    }
    Ok(services)
}

/// Prints the time of each request at each number of users.
async fn users(services: Vec<Vestibule>, database: &str) -> Result<()> {
    let mut filled = Vec::new();
    for (service, count) in services.into_iter().zip(USERS) {
        eprintln!("{database}: adding {count} users");
        filled.push(service.fill(async |url| population::add_users(url, count).await).await?);
    }
    let mut columns = Vec::new();
    for service in &filled {
        let requests = requests(service).await?.into_iter();
        columns.push(requests.map(|(title, load)| (title, Side::new(&service.process, load))).collect::<Vec<_>>());
    }
    rounds(&mut columns, ROUND).await?;

    let [heads, ..] = &columns[..] else { return Ok(()) };
    println!(
        "\n| one client on {database} | {} | ratio |",
        USERS.map(|count| figures::grouped(count.into()) + " users").join(" | ")
    );
    println!("|---|{}---|", "---|".repeat(USERS.len()));
    for (row, (title, least)) in heads.iter().enumerate() {
        let cells: Vec<_> = columns.iter().map(|column| figures::time(column[row].1.median(|round| round.latency))).collect();
        let ratio = columns[USERS.len() - 1][row].1.ratio(least, |round| round.latency);
        println!("| {title} | {} | x {ratio:.2} |", cells.join(" | "));
    }
    filled.into_iter().try_for_each(|service| service.process.stop())
}

async fn rounds(columns: &mut [Vec<(&str, Side<'_>)>], length: Duration) -> Result<()> {
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for row in 0..columns[0].len() {
            for column in &mut *columns {
                let (title, side) = &mut column[row];
                side.measure(length).await.with_context(|| (*title).to_owned())?;
            }
        }
    }
    Ok(())
}

/// Returns the requests that are measured, and the titles of their rows.
async fn requests(service: &Vestibule) -> Result<Vec<(&'static str, Load)>> {
    let tokens = service.log_in().await?;
    let read = |path: &str| anyhow::Ok(Load::repeat(1, 200, &get(path, tokens.access()?)));
    let oldest = send(service.process.address, &get("/v1/users?sort=created_at&limit=1", tokens.access()?)).await?.expect(200)?;
    let first = oldest["items"][0]["id"].as_str().context("no user")?;
    Ok(vec![
        ("log-in", Load::repeat(1, 201, &service.log_in_request()?)),
        ("refresh", refreshes(service, 1).await?),
        ("guarded request (`GET /v1/token`)", read("/v1/token")?),
        ("`GET /v1/me`", read("/v1/me")?),
        ("`GET /v1/me/sessions`", read("/v1/me/sessions?limit=1")?),
        ("`GET /v1/users/{id}/sessions`", read(&format!("/v1/users/{first}/sessions"))?),
        ("`GET /v1/users`", read("/v1/users")?),
        ("the same, by address", read("/v1/users?sort=email")?),
        ("with a role that everyone has", read("/v1/users?role=user")?),
        ("with a role that one user has", read("/v1/users?role=admin")?),
        ("with a status that nobody has", read("/v1/users?status=disabled")?),
        ("with the total", read("/v1/users?total=true")?),
        ("search that matches one user", read("/v1/users?search=given42%20f")?),
        ("search that matches everyone", read("/v1/users?search=family")?),
        ("the same, by address", read("/v1/users?search=family&sort=email")?),
        ("the same, with a role that one user has", read("/v1/users?search=family&role=admin")?),
        ("the same, with the total", read("/v1/users?search=family&total=true")?),
        ("search that matches a ninth of the users", read("/v1/users?search=family9")?),
        ("search that matches nobody", read("/v1/users?search=nobody")?),
        ("`GET /v1/audit-events`", read("/v1/audit-events")?),
        ("the same, of one user", read(&format!("/v1/audit-events?actor={first}"))?),
    ])
}

/// Prints the time of a guarded request, the memory and the time of a start at each number of live revocations.
async fn revocations(binary: &Path) -> Result<()> {
    let (mut services, mut starts) = (Vec::new(), Vec::new());
    for count in REVOCATIONS {
        let service = Vestibule::start(binary, &[QUIET])?;
        let mut filled_at = Instant::now();
        let service = service.fill(async |url| {
            population::add_revocations(url, count).await?;
            filled_at = Instant::now();
            Ok(())
        });
        services.push(service.await?);
        starts.push(filled_at.elapsed());
    }
    let mut columns = Vec::new();
    for service in &services {
        let load = Load::repeat(64, 200, &get("/v1/token", service.log_in().await?.access()?));
        columns.push(vec![("guarded request", Side::new(&service.process, load))]);
    }
    rounds(&mut columns, REVOCATIONS_ROUND).await?;

    println!("\n| live revocations | guarded requests | ratio | resident memory | start |\n|---|---|---|---|---|");
    let least = &columns[0][0].1;
    for (((count, service), start), column) in REVOCATIONS.iter().zip(&services).zip(starts).zip(&columns) {
        let side = &column[0].1;
        println!(
            "| {} | {} | x {:.2} | {} MiB | {:.1} s |",
            figures::grouped((*count).into()),
            figures::rate(side.median(|round| round.per_second)),
            side.ratio(least, |round| round.per_second),
            service.process.memory()?.resident >> 20,
            start.as_secs_f64()
        );
    }
    services.into_iter().try_for_each(|service| service.process.stop())
}

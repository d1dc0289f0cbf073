//! What the service takes: the size of the binary, the time until it answers, and the memory that it keeps.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use crate::{
    figures,
    load::{Load, get, send},
    process::Memory,
    vestibule::Vestibule,
};

/// How often a start is measured.
const STARTS: usize = 11;
/// How many connections are opened that send nothing, and how many that read nothing of what they have asked for.
const CONNECTIONS: usize = 1_000;
/// How long the log-ins last.
const STORM: Duration = Duration::from_secs(10);
/// How long the service is left alone before its memory is read.
const CALM: Duration = Duration::from_secs(15);

/// Prints the table.
pub async fn run(binary: &Path) -> Result<()> {
    println!("\n| figure | |\n|---|---|");
    let size = binary.metadata()?.len();
    println!("| release binary | {} |", mebibytes(size));

    let mut first = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let service = Vestibule::start(binary, &[])?;
        is_ready(&service).await?;
        first.push(begun.elapsed().as_secs_f64());
    }
    println!("| first start, until `/readyz` returns 200 | {} |", figures::time(figures::median(first)));

    let mut service = Vestibule::start(binary, &[])?;
    let mut later = Vec::new();
    for _ in 0..STARTS {
        let stopped = service.stop()?;
        let begun = Instant::now();
        service = stopped.start()?;
        is_ready(&service).await?;
        later.push(begun.elapsed().as_secs_f64());
    }
    println!("| start with an existing database, until `/readyz` returns 200 | {} |", figures::time(figures::median(later)));

    let rest = |title: &str, memory: &Memory| {
        println!("| {title} | {}, of which {} belong to no file |", mebibytes(memory.resident), mebibytes(memory.anonymous));
    };
    let token = service.log_in().await?;
    sleep(CALM).await;
    rest("memory after a log-in", &service.process.memory()?);
    Load::repeat(64, 201, &service.log_in_request()?).run(&service.process, STORM).await?;
    sleep(CALM).await;
    rest("memory after ten seconds of log-ins by 64 clients", &service.process.memory()?);
    Load::repeat(64, 200, &get("/v1/me", token.access()?)).run(&service.process, Duration::from_secs(1)).await?;
    attack(&service).await?;
    sleep(CALM).await;
    rest("memory after 1,000 idle clients and 1,000 that read nothing", &service.process.memory()?);
    service.process.stop()
}

async fn is_ready(service: &Vestibule) -> Result<()> {
    send(service.process.address, &get("/readyz", "none")).await?.expect(200)?;
    Ok(())
}

/// Opens connections of clients that send nothing, and of clients that ask for the contract and read nothing of it.
async fn attack(service: &Vestibule) -> Result<()> {
    let mut connections = Vec::new();
    for number in 0..2 * CONNECTIONS {
        let mut connection = TcpStream::connect(service.process.address).await?;
        if number >= CONNECTIONS {
            connection.write_all(&get("/openapi.json", "none")).await?;
        }
        connections.push(connection);
    }
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

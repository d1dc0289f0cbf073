//! Measures log-ins, which take processor time, and their effect on other requests:
//!
//! - `.ci/storm BINARY [SECONDS]` sends more log-ins than the server can serve, beside other requests. The server runs on one
//!   processor core and this program on another. Requests are sent at fixed times, even if earlier ones have no response yet.
//! - `.ci/storm --neighbours BINARY [SECONDS]` compares log-ins beside busy processes with log-ins on a calm machine.
//! - `.ci/storm --lanes BINARY [SECONDS]` compares hashes in lanes with hashes one after another.
//!
//! The exit code is 1 if a response was wrong. Latencies are only printed, because they depend on the machine.

#![expect(clippy::disallowed_methods, reason = "measures real time")]
#![expect(clippy::cast_precision_loss, reason = "counts are below 100,000")]

mod http;
mod lanes;
mod neighbours;
mod server;

use std::{
    cell::RefCell,
    env,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    task::{LocalSet, spawn_local},
    time::{MissedTickBehavior, interval, sleep},
};

use self::{
    http::{Client, Response},
    server::Server,
};

/// The rate of guarded requests, per second.
const GUARDED_RATE: f64 = 300.0;
/// The rate of log-ins, as a multiple of the rate at which they can be served.
const OVERLOAD: f64 = 10.0;
/// The number of clients that measure the rate at which log-ins can be served. One of them always waits, because a thread
/// hashes up to five passwords at a time.
const CLIENTS: usize = 6;

/// A response, its latency, and whether it arrived before the last request was sent.
type Outcome = (Response, Duration, bool);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1).peekable();
    let measurement = arguments.next_if(|argument| argument.starts_with("--"));
    let binary = arguments.next().context("usage: .ci/storm [--neighbours|--lanes] BINARY [SECONDS]")?;
    let length = Duration::from_secs(arguments.next().map_or(Ok(60), |seconds| seconds.parse())?);
    let (binary, local) = (Path::new(&binary), LocalSet::new());
    match measurement.as_deref() {
        None => local.run_until(overload(binary, length)).await,
        Some("--neighbours") => local.run_until(neighbours::measure(binary, length)).await,
        Some("--lanes") => local.run_until(lanes::measure(binary, length)).await,
        Some(unknown) => bail!("{unknown} is not known"),
    }
}

async fn overload(binary: &Path, length: Duration) -> Result<()> {
    let server = Server::start(binary, "0", &[])?;
    let client = Rc::new(Client::new(server.address));
    let log_in: Rc<str> = http::post("/v1/sessions", &server.credentials()?).into();
    let first = client.send(&log_in).await?;
    ensure!(first.status == 201, "the first log-in returned {}", first.status);
    let guarded: Rc<str> = http::get("/v1/token", first.member("access_token").context("no token")?).into();

    let idle = send_at_rate(&client, &guarded, GUARDED_RATE, Duration::from_secs(3)).await?;
    println!("idle          guarded: {}", Latencies::of(&idle));
    let capacity = capacity(&client, &log_in, CLIENTS, length / 4).await?;
    println!("capacity      {capacity:.2} log-ins/s");
    let memory = server.memory()?;

    let (others, log_ins) = tokio::try_join!(
        send_at_rate(&client, &guarded, GUARDED_RATE, length),
        send_at_rate(&client, &log_in, capacity * OVERLOAD, length),
    )?;
    let (served, rejected): (Vec<_>, Vec<_>) = log_ins.into_iter().partition(|(response, ..)| response.status == 201);
    // Log-ins that were still waiting at the end do not count.
    let goodput = served.iter().filter(|(.., in_time)| *in_time).count() as f64 / length.as_secs_f64();
    println!("under load    guarded: {}, {} of {} successful", Latencies::of(&others), successes(&others), others.len());
    println!("              log-ins: {goodput:.2}/s, {:.2} of capacity; {}", goodput / capacity, Latencies::of(&served));
    println!("              rejected: {}", Latencies::of(&rejected));
    println!("              memory:  {} MiB before, {} MiB after", memory >> 10, server.memory()? >> 10);

    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    let again = client.send(&log_in).await?;
    let after = send_at_rate(&client, &guarded, GUARDED_RATE, Duration::from_secs(3)).await?;
    println!(
        "2 s later     guarded: {}; a log-in {} ms",
        Latencies::of(&after),
        began.elapsed().as_millis().saturating_sub(3_000)
    );

    ensure!(successes(&others) == others.len(), "a guarded request failed");
    ensure!(!served.is_empty(), "no log-in succeeded under load");
    ensure!(!rejected.is_empty(), "no log-in was rejected: the load was too low");
    for (response, ..) in &rejected {
        ensure!(response.status == 503 && response.has_header("retry-after"), "a log-in returned {}", response.status);
    }
    ensure!(again.status == 201 && successes(&after) == after.len(), "the server had not recovered 2 s after the load");
    server.stop()
}

/// Returns the number of log-ins a second that the server serves to `clients` clients, each of which sends one after another. A
/// client whose log-in is rejected waits for a moment.
async fn capacity(client: &Rc<Client>, log_in: &Rc<str>, clients: usize, length: Duration) -> Result<f64> {
    let start = Instant::now();
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let (client, log_in) = (Rc::clone(client), Rc::clone(log_in));
            spawn_local(async move {
                let mut served = 0;
                while start.elapsed() < length {
                    match client.send(&log_in).await?.status {
                        201 => served += 1,
                        503 => sleep(Duration::from_millis(100)).await,
                        status => bail!("a log-in returned {status}"),
                    }
                }
                Ok(served)
            })
        })
        .collect();
    let mut served = 0;
    for client in clients {
        served += client.await??;
    }
    Ok(f64::from(served) / start.elapsed().as_secs_f64())
}

/// Sends a request `rate` times per second, even if earlier ones have no response yet.
async fn send_at_rate(client: &Rc<Client>, request: &Rc<str>, rate: f64, length: Duration) -> Result<Vec<Outcome>> {
    let outcomes = Rc::new(RefCell::new(Vec::new()));
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = Vec::new();
    let start = Instant::now();
    while start.elapsed() < length {
        ticks.tick().await;
        let (client, request, outcomes) = (Rc::clone(client), Rc::clone(request), Rc::clone(&outcomes));
        sent.push(spawn_local(async move {
            let began = Instant::now();
            let response = client.send(&request).await?;
            outcomes.borrow_mut().push((response, began.elapsed(), start.elapsed() <= length));
            anyhow::Ok(())
        }));
    }
    for request in sent {
        request.await??;
    }
    Ok(Rc::into_inner(outcomes).context("all requests have finished")?.into_inner())
}

fn successes(all: &[Outcome]) -> usize {
    all.iter().filter(|(response, ..)| response.status == 200).count()
}

/// Latencies, in milliseconds.
struct Latencies(Vec<f64>);

impl Latencies {
    fn of(all: &[Outcome]) -> Self {
        let mut latencies: Vec<_> = all.iter().map(|(_, latency, _)| latency.as_secs_f64() * 1e3).collect();
        latencies.sort_by(f64::total_cmp);
        Self(latencies)
    }

    fn percentile(&self, percent: usize) -> f64 {
        self.0.get(self.0.len() * percent / 100).or(self.0.last()).copied().unwrap_or(f64::NAN)
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} in p50 {:.2} ms, p99 {:.2} ms, at most {:.2} ms",
            self.0.len(),
            self.percentile(50),
            self.percentile(99),
            self.percentile(100)
        )
    }
}

//! A storm of log-ins against the real binary, and what others feel of it: `.ci/storm target/release/vestibule [SECONDS]`.
//!
//! The server has one processor core and this program another. Requests are sent by the clock, however long the answers
//! take. Exit 1 when an answer was wrong; times are only printed, for they depend on what else the machine does.

#![expect(clippy::disallowed_methods, reason = "it measures what really happens")]
#![expect(clippy::cast_precision_loss, reason = "it counts to some ten thousand")]

mod http;
mod server;

use std::{
    cell::RefCell,
    env,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    task::{LocalSet, spawn_local},
    time::{MissedTickBehavior, interval, sleep},
};

use self::{
    http::{Answer, Client},
    server::Server,
};

/// Guarded requests a second, the whole time.
const GUARDED: f64 = 300.0;
/// Log-ins arrive at so many times the rate at which they can be served.
const OVERLOAD: f64 = 10.0;

/// An answer, how long it took, and whether it came before the last request was sent.
type Taken = (Answer, Duration, bool);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let binary = arguments.next().context("usage: storm BINARY [SECONDS]")?;
    let seconds = arguments.next().map_or(Ok(60), |it| it.parse())?;
    LocalSet::new().run_until(storm(Path::new(&binary), Duration::from_secs(seconds))).await
}

async fn storm(binary: &Path, length: Duration) -> Result<()> {
    let server = Server::start(binary)?;
    let client = Rc::new(Client::new(server.address));
    let log_in: Rc<str> = http::post("/v1/sessions", &server.credentials()?).into();
    let first = client.ask(&log_in).await?;
    ensure!(first.status == 201, "the first log-in answered {}", first.status);
    let guarded: Rc<str> = http::get("/v1/token", first.member("access_token").context("no token")?).into();

    let calm = send(&client, &guarded, GUARDED, Duration::from_secs(3)).await?;
    println!("in calm       guarded: {}", Times::of(&calm));
    let capacity = capacity(&client, &log_in, length / 4).await?;
    println!("capacity      {capacity:.2} log-ins/s");
    let memory = server.memory()?;

    let (others, log_ins) =
        tokio::try_join!(send(&client, &guarded, GUARDED, length), send(&client, &log_in, capacity * OVERLOAD, length),)?;
    let (made, shed): (Vec<_>, Vec<_>) = log_ins.into_iter().partition(|(answer, ..)| answer.status == 201);
    // Those that were still waiting at the end are no work of that time.
    let goodput = made.iter().filter(|(.., in_time)| *in_time).count() as f64 / length.as_secs_f64();
    println!("in the storm  guarded: {}, {} of {} answered", Times::of(&others), good(&others), others.len());
    println!("              log-ins: {goodput:.2}/s, {:.2} of capacity; {}", goodput / capacity, Times::of(&made));
    println!("              shed:    {}", Times::of(&shed));
    println!("              memory:  {} MiB before, {} MiB after", memory >> 10, server.memory()? >> 10);

    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    let again = client.ask(&log_in).await?;
    let after = send(&client, &guarded, GUARDED, Duration::from_secs(3)).await?;
    println!("2 s later     guarded: {}; a log-in {} ms", Times::of(&after), began.elapsed().as_millis().saturating_sub(3_000));

    ensure!(good(&others) == others.len(), "not every guarded request was answered");
    ensure!(!made.is_empty(), "nobody logged in during the storm");
    ensure!(!shed.is_empty(), "nobody was turned away: was there a storm?");
    for (answer, ..) in &shed {
        ensure!(answer.status == 503 && answer.has_header("retry-after"), "a log-in answered {}", answer.status);
    }
    ensure!(again.status == 201 && good(&after) == after.len(), "it is not as before 2 s after the storm");
    server.stop()
}

/// Log-ins a second when there is always one more waiting.
async fn capacity(client: &Rc<Client>, log_in: &Rc<str>, length: Duration) -> Result<f64> {
    let began = Instant::now();
    let one = async || -> Result<u32> {
        let mut made = 0;
        while began.elapsed() < length {
            let answer = client.ask(log_in).await?;
            ensure!(answer.status == 201, "a log-in answered {}", answer.status);
            made += 1;
        }
        Ok(made)
    };
    let (one, other) = tokio::try_join!(one(), one())?;
    Ok(f64::from(one + other) / began.elapsed().as_secs_f64())
}

/// Sends a request `rate` times a second, whether or not the ones before were answered.
async fn send(client: &Rc<Client>, request: &Rc<str>, rate: f64, length: Duration) -> Result<Vec<Taken>> {
    let taken = Rc::new(RefCell::new(Vec::new()));
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = Vec::new();
    let start = Instant::now();
    while start.elapsed() < length {
        ticks.tick().await;
        let (client, request, taken) = (Rc::clone(client), Rc::clone(request), Rc::clone(&taken));
        sent.push(spawn_local(async move {
            let began = Instant::now();
            let answer = client.ask(&request).await?;
            taken.borrow_mut().push((answer, began.elapsed(), start.elapsed() <= length));
            anyhow::Ok(())
        }));
    }
    for one in sent {
        one.await??;
    }
    Ok(Rc::into_inner(taken).context("all have answered")?.into_inner())
}

fn good(all: &[Taken]) -> usize {
    all.iter().filter(|(answer, ..)| answer.status == 200).count()
}

/// How long answers took, in milliseconds.
struct Times(Vec<f64>);

impl Times {
    fn of(all: &[Taken]) -> Self {
        let mut times: Vec<_> = all.iter().map(|(_, took, _)| took.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    fn at(&self, hundredths: usize) -> f64 {
        self.0.get(self.0.len() * hundredths / 100).or(self.0.last()).copied().unwrap_or(f64::NAN)
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in p50 {:.2} ms, p99 {:.2} ms, at most {:.2} ms", self.0.len(), self.at(50), self.at(99), self.at(100))
    }
}

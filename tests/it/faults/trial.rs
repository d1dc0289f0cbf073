//! A trial: two servers under load, one fault after another, and the rules for every response.
//!
//! The limits are those of rows H10, H11, D03 and S08. On a busy machine they are extended by the slowest `/healthz` of the
//! trial, which needs only the processor.

use std::{mem, sync::Arc, sync::atomic::Ordering, thread, time::Duration};

use serde_json::json;
use ureq::http::Method;

use super::{
    load::{Load, log_in, now, send},
    verdict,
};

use crate::support::binary::Server;

/// The time limit of a response.
pub const ANSWER: Duration = Duration::from_secs(2);
/// The time from the end of a fault until everything works again.
pub const RESUME: Duration = Duration::from_secs(3);
/// The time until `/readyz` reports a fault.
pub const NOTICE: Duration = Duration::from_secs(3);
/// The time until a token that was revoked on one replica is refused by another one that can read the feed.
pub const SPREAD: Duration = Duration::from_secs(1);
/// The time until a replica that cannot read the feed refuses tokens (`revocation.max_staleness`).
pub const STALE: Duration = Duration::from_secs(5);
/// The time from SIGTERM to the end of a server.
pub const STOP: Duration = Duration::from_secs(10);
/// The extension of each limit for a busy machine, in addition to the slowest `/healthz`.
pub const SLACK: Duration = Duration::from_secs(1);

/// The behaviour expected of the servers during a fault. In every fault, responses are 2xx or 503.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expect {
    /// The replicas that the fault affects. All others respond with 2xx.
    pub replicas: &'static [usize],
    /// `/readyz` responds with 503.
    pub unready: bool,
    /// Tokens are accepted up to the staleness limit, and refused after it.
    pub stale: bool,
    /// Operations that continue to respond with 2xx.
    pub undisturbed: &'static [&'static str],
    /// How long the servers may take to detect the fault. [`RESUME`] begins after that.
    pub deadline: Duration,
}

/// Everything that needs the database is unavailable.
pub const UNAVAILABLE: Expect =
    Expect { replicas: &[0, 1], unready: true, stale: true, undisturbed: &[], deadline: Duration::ZERO };
/// The fault ends as soon as it has begun, or affects only some requests.
pub const DEGRADED: Expect = Expect { unready: false, stale: false, ..UNAVAILABLE };
/// Writes fail, and reads continue.
pub const READ_ONLY: Expect = Expect { stale: false, undisturbed: &["token", "me"], ..UNAVAILABLE };
/// The fault has no effect on clients.
pub const UNNOTICED: Expect = Expect { replicas: &[], unready: false, stale: false, ..UNAVAILABLE };

/// A fault. Times are measured from the beginning of the trial.
pub struct Window {
    pub expect: Expect,
    /// The time before the fault was caused, and the time after that.
    pub begins: Duration,
    pub began: Duration,
    /// The time before the fault was ended, and the time after that.
    pub ends: Duration,
    pub ended: Duration,
}

pub struct Trial {
    pub name: &'static str,
    pub load: Load,
    pub windows: Vec<Window>,
    /// The rules that were broken.
    pub broken: Vec<String>,
    /// How long each server took to stop.
    pub stops: Vec<Duration>,
    servers: Vec<Server>,
    spare: Box<dyn Fn() -> Server>,
    random: Random,
}

impl Trial {
    /// Starts clients of two servers. During each fault, a third server, which `spare` starts, is stopped.
    pub fn begin(name: &'static str, servers: [Server; 2], readers: usize, spare: impl Fn() -> Server + 'static) -> Self {
        let load = Load::start(servers.each_ref().map(|server| server.url.clone()), readers);
        load.warm_up();
        Self {
            name,
            load,
            windows: Vec::new(),
            broken: Vec::new(),
            stops: Vec::new(),
            servers: servers.into(),
            spare: Box::new(spare),
            random: Random::of_this_run(name),
        }
    }

    /// Lets a fault last for about this long, and then lets the servers recover.
    pub fn fault<T>(&mut self, expect: Expect, length: Duration, cause: impl FnOnce() -> T, mend: impl FnOnce(T)) {
        let spare = (self.spare)();
        let token = log_in(&spare.url, "reader@example.org").text("access_token");
        thread::sleep(self.random.up_to(Duration::from_millis(500)));
        let length = length + self.random.up_to(length / 4);

        let begins = self.load.elapsed();
        let fault = cause();
        let began = self.load.elapsed();
        // The server that is stopped has a running request, which may wait for the database.
        let url = spare.url.clone();
        let under_way = thread::spawn(move || send(&url, Method::GET, "/v1/me", &token, None).status);
        thread::sleep(Duration::from_millis(200));
        let stopping = thread::spawn(move || stop(spare));
        thread::sleep((began + length).saturating_sub(self.load.elapsed()));
        let ends = self.load.elapsed();
        mend(fault);
        self.windows.push(Window { expect, begins, began, ends, ended: self.load.elapsed() });

        self.note_stop(stopping.join().unwrap(), "while the fault lasted");
        let status = under_way.join().unwrap();
        if !(200..300).contains(&status) && status != 503 {
            self.broken.push(format!("a request under way at SIGTERM got status {status}"));
        }
        thread::sleep(expect.deadline + RESUME + SLACK + Duration::from_secs(2));
    }

    fn note_stop(&mut self, (code, took): (Option<i32>, Duration), when: &str) {
        self.stops.push(took);
        if code != Some(0) {
            self.broken.push(format!("SIGTERM {when}: exit code {code:?} after {took:.1?}"));
        }
    }

    /// Stops everything and checks every rule.
    ///
    /// # Panics
    /// Lists every broken rule if there is one.
    pub fn finish(mut self) {
        self.load.stop();
        self.keeps_its_promises();
        let mut errors = Vec::new();
        for server in mem::take(&mut self.servers) {
            let log = server.log.text();
            errors.extend(log.lines().filter(|line| line.contains("ERROR")).map(str::to_owned).take(5));
            let stopped = stop(server);
            self.note_stop(stopped, "after the trial");
        }
        let (mut broken, figures) = verdict::judge(&self);
        broken.append(&mut self.broken);
        println!("\n{figures}");
        if !broken.is_empty() {
            println!("{}", errors.join("\n"));
        }
        assert!(broken.is_empty(), "{}: {} rules broken:\n- {}", self.name, broken.len(), broken.join("\n- "));
    }

    /// Checks that acknowledged changes are stored, revoked tokens are refused, and no client is logged out.
    fn keeps_its_promises(&mut self) {
        let shared = Arc::clone(&self.load.shared);
        let promised = mem::take(&mut *shared.promised.lock().unwrap());
        let mut broken = promised.broken.clone();
        let url = &shared.urls[0];
        for (number, token) in promised.ended.iter().enumerate() {
            for url in &shared.urls {
                let status = send(url, Method::GET, "/v1/token", token, None).status;
                if status != 401 {
                    broken.push(format!("the token of ended session {number} gets status {status} at the end"));
                }
            }
        }
        // Only some of them: each log-in costs a password hash.
        let mut accounts = promised.accounts.clone();
        while accounts.len() > 12 {
            accounts.swap_remove(self.random.below(accounts.len()));
        }
        for email in accounts.iter().chain([&self.load.writer]) {
            let reply = log_in(url, email);
            if reply.status != 201 {
                broken.push(format!("a registered account cannot log in: {} {}", reply.status, reply.code));
            }
        }
        for (replica, held) in promised.refresh.iter().enumerate() {
            let reply = send(url, Method::POST, "/v1/sessions/refresh", "", Some(&json!({ "refresh_token": held })));
            if reply.status != 200 {
                broken.push(format!("the client of replica {replica} is logged out: {} {}", reply.status, reply.code));
            }
        }
        let writer = log_in(url, &self.load.writer).body["access_token"].as_str().unwrap_or_default().to_owned();
        let me = send(url, Method::GET, "/v1/me", &writer, None).body;
        let number = me["name"].as_str().and_then(|name| name.strip_prefix("number ")?.parse::<u64>().ok()).unwrap_or_default();
        let last = shared.names.load(Ordering::SeqCst);
        if number < promised.name || number > last {
            broken.push(format!("the name is number {number}, though {} of {last} was acknowledged", promised.name));
        }
        *shared.promised.lock().unwrap() = promised;
        self.broken.append(&mut broken);
    }
}

/// Sends SIGTERM to a server. Returns its exit code, or `None` if it is late, and the time that it took.
pub fn stop(server: Server) -> (Option<i32>, Duration) {
    let signalled_at = now();
    let code = server.stop_within(STOP + SLACK).and_then(|status| status.code());
    (code, now().duration_since(signalled_at))
}

/// The settings of a server in a trial. All clients are in one network, so the throttle must be off.
pub const SETTINGS: [(&str, &str); 2] = [("VESTIBULE_THROTTLE__ENABLED", "false"), ("VESTIBULE_LOG__LEVEL", "info")];

/// Random numbers that a seed determines (SplitMix64). `TRIAL_SEED` repeats a run.
pub struct Random(u64);

impl Random {
    pub fn of_this_run(name: &str) -> Self {
        let seed = std::env::var("TRIAL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
        Self(name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))))
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.next() % (u64::try_from(longest.as_micros()).unwrap() + 1))
    }
}

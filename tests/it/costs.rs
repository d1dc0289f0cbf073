//! Measurements, outside the default run: what the README says of speed, and the command that says it again.

use std::{fs, time::Duration};

use poem::{Request, http::header};
use vestibule::{
    live::{
        clock::{Clock, System},
        revocations::Revocation,
    },
    values::ids::{SessionId, UserId},
};

use crate::support::TestApp;

const REQUESTS: u32 = 20_000;
const ROUNDS: usize = 9;

/// `cargo test --release --test it -- --ignored --nocapture live_revocations`
#[tokio::test]
#[ignore = "a measurement: it says how fast, not whether right"]
async fn a_guarded_request_costs_the_same_with_any_number_of_live_revocations() {
    let app = TestApp::start().await;
    let token = app.user("ada").await.token.unwrap();
    let until = app.app.clock.now() + chrono::TimeDelta::hours(1);
    let mut held = 0;
    let mut first = None;
    let mut memory = 0;
    for count in [0, 1_000, 100_000] {
        for number in held..count {
            // As many sessions as users, each new: the worst mixture for memory.
            let id = System.now();
            app.app.revocations.apply(
                if number % 2 == 0 { Revocation::Session(SessionId::new(id)) } else { Revocation::Tokens(UserId::new(id), 1) },
                until,
            );
        }
        held = count;
        if count == 0 {
            round(&app, &token).await;
            memory = resident();
        }
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(round(&app, &token).await);
        }
        rounds.sort();
        let median = rounds[ROUNDS / 2] / REQUESTS;
        let ratio = median.as_secs_f64() / first.get_or_insert(median).as_secs_f64();
        let grown = resident().saturating_sub(memory) / (1024 * 1024);
        println!("{count:>7} revocations: {median:?} a guarded request (x {ratio:.2}), {grown} MiB more memory");
    }
}

/// How long that many guarded requests take, one after the other, without a socket in between.
async fn round(app: &TestApp, token: &str) -> Duration {
    let began = System.uptime();
    for _ in 0..REQUESTS {
        let request = Request::builder().uri_str("/v1/token").header(header::AUTHORIZATION, format!("Bearer {token}")).finish();
        assert_eq!(app.raw(request).await.status(), 200);
    }
    System.uptime().saturating_sub(began)
}

/// The memory of this process that is in use, in bytes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

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

const REQUESTS: u32 = 2_000;
const ROUNDS: usize = 41;

/// `cargo test --test it -- --ignored --nocapture live_revocations`
///
/// Each round asks all three in turn, so that whatever else the machine does falls on all; the median round counts.
#[tokio::test]
#[ignore = "a measurement: it says how fast, not whether right"]
async fn a_guarded_request_costs_the_same_with_any_number_of_live_revocations() {
    let mut measured = Vec::new();
    for count in [0, 1_000, 100_000] {
        let app = TestApp::start().await;
        let token = app.user("ada").await.token.unwrap();
        let before = resident();
        revoke(&app, count);
        measured.push((count, app, token, resident().saturating_sub(before) / 1024, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, app, token, _, rounds) in &mut measured {
            rounds.push(round(app, token).await.as_secs_f64());
        }
    }
    let first = measured[0].4.clone();
    for (count, _, _, memory, rounds) in measured {
        let mut ratios: Vec<f64> = rounds.iter().zip(&first).map(|(one, first)| one / first).collect();
        ratios.sort_by(f64::total_cmp);
        println!("{count:>7} live revocations: x {:.2} of a guarded request without, {memory} KiB", ratios[ROUNDS / 2]);
    }
}

/// As many sessions as users, each new: the worst mixture for memory.
fn revoke(app: &TestApp, count: usize) {
    let (now, until) = (System.now(), app.app.clock.now() + chrono::TimeDelta::hours(1));
    for number in 0..count {
        let session = || Revocation::Session(SessionId::new(now));
        let tokens = || Revocation::Tokens(UserId::new(now), 1);
        app.app.revocations.apply(if number % 2 == 0 { session() } else { tokens() }, until);
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

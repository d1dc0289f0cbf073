//! Refresh tokens: a session continues, a lost response costs nothing, and two holders of one session are detected.

mod end;
mod refusal;
mod reuse;
mod rotation;
mod secret;

use std::time::Duration;

use futures_util::future::join_all;
use vestibule::entity::audit_event;

use crate::support::{TestApp, caller::Answer, client::Client};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// After this time, a spent token no longer gets the same successor.
const LATER: Duration = Duration::from_secs(10);

fn kinds(events: &[audit_event::Model]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).filter(|event| event.starts_with("session.refresh")).collect()
}

/// Starts an app where one network refreshes more often than any ordinary network.
async fn unthrottled() -> TestApp {
    TestApp::start_with(|settings| settings.throttle.enabled = false).await
}

/// Sends fifty refreshes at once, on as many threads as there are.
async fn fifty_times(client: &Client<'_>) -> Vec<Answer> {
    join_all((0..50).map(|_| client.refresh_and_lose())).await
}

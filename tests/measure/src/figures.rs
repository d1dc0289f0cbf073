//! What is measured, and how it is shown.

use anyhow::Result;
use std::time::Duration;

use crate::{load::Load, process::Process};

/// What was measured in one round.
#[derive(Clone, Copy)]
pub struct Figures {
    /// The requests that were answered, per second.
    pub per_second: f64,
    /// The time from a request to its response, in seconds: the mean of the round.
    pub latency: f64,
    /// The processor time of the server for each request, in seconds.
    pub processor_time: f64,
    /// The share of its processor core that the generator has used.
    pub generator: f64,
}

/// A server, what is sent to it, and what was measured.
pub struct Side<'a> {
    server: &'a Process,
    load: Load,
    pub rounds: Vec<Figures>,
}

impl<'a> Side<'a> {
    pub fn new(server: &'a Process, load: Load) -> Self {
        Self { server, load, rounds: Vec::new() }
    }

    /// Measures a round of this length.
    pub async fn measure(&mut self, length: Duration) -> Result<()> {
        self.rounds.push(self.load.run(self.server, length).await?);
        Ok(())
    }

    /// Returns the median of the rounds.
    pub fn median(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        median(self.rounds.iter().map(figure))
    }

    /// Returns how many times `other` this figure is: the median of the ratios of each round.
    pub fn ratio(&self, other: &Self, figure: impl Fn(&Figures) -> f64) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(own, other)| figure(own) / figure(other)))
    }
}

/// Returns the median.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Returns a rate in readable form.
pub fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}/s") } else { format!("{}/s", grouped(per_second)) }
}

/// Returns a time in seconds in a readable unit.
pub fn time(seconds: f64) -> String {
    match seconds * 1e6 {
        micros if micros < 100.0 => format!("{micros:.1} us"),
        micros if micros < 10_000.0 => format!("{} us", grouped(micros)),
        micros => format!("{:.1} ms", micros / 1e3),
    }
}

/// Returns an integer with a comma after the thousands.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

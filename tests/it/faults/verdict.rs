//! Judges the recorded responses of a trial: the rules that they break, and figures.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use super::{
    load::Sample,
    trial::{ANSWER, NOTICE, RESUME, SLACK, SPREAD, STALE, Trial, Window},
};

/// Returns every broken rule, and the figures.
pub fn judge(trial: &Trial) -> (Vec<String>, String) {
    let samples = trial.load.shared.samples.lock().unwrap().clone();
    let slowest = samples.iter().filter(|sample| sample.name == "health").map(|sample| sample.took).max().unwrap_or_default();
    let judge = Judge { trial, samples, slack: SLACK + slowest.min(ANSWER) };
    let mut broken = Vec::new();
    judge.statuses(&mut broken);
    judge.times(&mut broken);
    judge.outside_of_faults(&mut broken);
    for window in &trial.windows {
        judge.readiness(window, &mut broken);
        judge.verification(window, &mut broken);
        judge.undisturbed(window, &mut broken);
    }
    judge.spread(&mut broken);
    (broken, judge.figures(slowest))
}

struct Judge<'a> {
    trial: &'a Trial,
    samples: Vec<Sample>,
    slack: Duration,
}

impl Judge<'_> {
    /// Responses are 2xx, or 503 with `Retry-After`; `/healthz` always gets 200.
    fn statuses(&self, broken: &mut Vec<String>) {
        let allowed = |sample: &Sample| sample.is_good() || sample.name != "health" && sample.status == 503 && sample.retry_after;
        report("gets neither 2xx nor 503 with Retry-After", self.samples.iter().filter(|sample| !allowed(sample)), broken);
    }

    /// Responses take at most two seconds. Those that need a password hash may take as long as without a fault.
    fn times(&self, broken: &mut Vec<String>) {
        let calm = |sample: &&Sample| {
            self.trial.windows.iter().all(|window| sample.end() < window.begins || sample.at > self.over(window))
        };
        let hashing =
            self.samples.iter().filter(|sample| sample.hashes()).filter(calm).map(|sample| sample.took).max().unwrap_or_default();
        let limit = |sample: &Sample| ANSWER + self.slack + if sample.hashes() { hashing } else { Duration::ZERO };
        report("takes too long", self.samples.iter().filter(|sample| sample.took > limit(sample)), broken);
    }

    /// Returns when everything must work again.
    fn over(&self, window: &Window) -> Duration {
        window.ended + RESUME + self.slack
    }

    /// Requests succeed before a fault and from three seconds after it, and always on replicas that it does not affect.
    fn outside_of_faults(&self, broken: &mut Vec<String>) {
        let affects = |window: &Window, sample: &Sample| {
            let over = if window.expect.deadline.is_zero() {
                self.over(window)
            } else {
                window.began + window.expect.deadline + RESUME + self.slack
            };
            window.expect.replicas.contains(&sample.replica) && sample.end() >= window.begins && sample.at <= over
        };
        let failed = self.samples.iter().filter(|sample| !sample.is_good() && sample.code != "overloaded");
        let unexplained = failed.filter(|sample| !self.trial.windows.iter().any(|window| affects(window, sample)));
        report("fails without a fault", unexplained, broken);
    }

    /// Returns the requests to an affected replica between `after` the beginning of the fault and its end.
    fn during<'a>(&'a self, window: &'a Window, after: Duration, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        let within = move |sample: &&Sample| sample.at > window.began + after && sample.end() < window.ends;
        self.samples
            .iter()
            .filter(move |sample| sample.name == name && window.expect.replicas.contains(&sample.replica))
            .filter(within)
    }

    fn readiness(&self, window: &Window, broken: &mut Vec<String>) {
        if window.expect.unready {
            let ready = self.during(window, NOTICE + self.slack, "ready").filter(|sample| sample.is_good());
            report("reports that it is ready while it is not", ready, broken);
        }
    }

    /// Tokens are accepted for four seconds without a database (the last poll of the feed was a moment before), and for five at
    /// most. A change with an unknown outcome makes a replica doubt at once, so only the second replica, which writes none, must
    /// continue for four.
    fn verification(&self, window: &Window, broken: &mut Vec<String>) {
        if !window.expect.stale {
            return;
        }
        let soon = |sample: &&Sample| sample.replica == 1 && sample.end() + Duration::from_secs(1) < window.begins + STALE;
        let early = self.during(window, Duration::ZERO, "token").filter(soon).filter(|sample| !sample.is_good());
        report("is refused before the staleness limit", early, broken);
        for name in ["token", "me"] {
            let late = self.during(window, STALE + self.slack, name).filter(|sample| sample.is_good());
            report("is accepted after the staleness limit", late, broken);
        }
    }

    fn undisturbed(&self, window: &Window, broken: &mut Vec<String>) {
        for name in window.expect.undisturbed {
            let failed = self.during(window, Duration::ZERO, name).filter(|sample| !sample.is_good());
            report("fails, although the fault does not affect it", failed, broken);
        }
    }

    /// A revoked token is refused by the other replica within a second, or within five if that replica cannot read the feed.
    fn spread(&self, broken: &mut Vec<String>) {
        for (at, accepted) in &self.trial.load.shared.promised.lock().unwrap().spread {
            let faulty = |window: &Window| {
                !window.expect.replicas.is_empty() && *at < self.over(window) && *at + *accepted > window.begins
            };
            let limit = if self.trial.windows.iter().any(faulty) { STALE } else { SPREAD };
            if *accepted > limit + self.slack {
                broken.push(format!("{at:.1?}: a token that was revoked was accepted by the other replica for {accepted:.1?}"));
            }
        }
    }

    /// Returns for how long after a fault requests still failed that were sent after it.
    fn resumed(&self, window: &Window) -> Duration {
        let failed =
            self.samples.iter().filter(|sample| !sample.is_good() && sample.code != "overloaded" && sample.at > window.ended);
        failed
            .filter(|sample| sample.at < self.over(window))
            .map(|sample| sample.at.saturating_sub(window.ended))
            .max()
            .unwrap_or_default()
    }

    fn figures(&self, slowest: Duration) -> String {
        let good = self.samples.iter().filter(|sample| sample.is_good()).count();
        let mut text = format!(
            "{}: {} requests, {} good, {} refused; /healthz at most {slowest:.1?}",
            self.trial.name,
            self.samples.len(),
            good,
            self.samples.len() - good
        );
        for (number, window) in self.trial.windows.iter().enumerate() {
            let meets = |sample: &&Sample| sample.end() >= window.begins && sample.at <= window.ended && sample.name != "health";
            let mut times: Vec<_> = self.samples.iter().filter(meets).map(|sample| sample.took).collect();
            times.sort();
            let at = |part: usize| {
                times.get((times.len() * part / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
            };
            _ = write!(
                text,
                "\n  fault {}: {:.1?} long; responses during it: median {:.1?}, 99 % {:.1?}, slowest {:.1?}; works again after {:.1?}",
                number + 1,
                window.ended.saturating_sub(window.begins),
                at(50),
                at(99),
                at(100),
                self.resumed(window)
            );
        }
        let promised = self.trial.load.shared.promised.lock().unwrap();
        let mut spread: Vec<_> = promised.spread.iter().map(|accepted| accepted.1).collect();
        spread.sort();
        _ = write!(
            text,
            "\n  revocations: {}, accepted by the other replica: median {:.1?}, longest {:.1?}; SIGTERM to exit: at most {:.1?}",
            spread.len(),
            spread.get(spread.len() / 2).copied().unwrap_or_default(),
            spread.last().copied().unwrap_or_default(),
            self.trial.stops.iter().max().copied().unwrap_or_default()
        );
        text
    }
}

/// Reports each operation that breaks a rule on one line.
fn report<'a>(rule: &str, samples: impl Iterator<Item = &'a Sample>, broken: &mut Vec<String>) {
    let mut kinds: BTreeMap<_, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        kinds.entry((sample.name, sample.status, sample.code.clone())).or_default().push(sample);
    }
    for ((name, status, code), samples) in kinds {
        let slowest = samples.iter().map(|sample| sample.took).max().unwrap_or_default();
        let first = samples.iter().map(|sample| sample.at).min().unwrap_or_default();
        let last = samples.iter().map(|sample| sample.at).max().unwrap_or_default();
        broken.push(format!(
            "{name} {rule}: {} times {status} {code}, sent from {first:.1?} to {last:.1?}, slowest {slowest:.1?}",
            samples.len()
        ));
    }
}

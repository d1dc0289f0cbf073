//! What the recorded answers say: which rules they break, and the figures of a trial.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use super::{
    load::Sample,
    trial::{ANSWER, NOTICE, RESUME, SLACK, SPREAD, STALE, Trial, Window},
};

/// Every rule that is broken, and what was measured.
pub fn judge(trial: &Trial) -> (Vec<String>, String) {
    let samples = trial.load.shared.samples.lock().unwrap().clone();
    let slowest = samples.iter().filter(|it| it.name == "health").map(|it| it.took).max().unwrap_or_default();
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
    /// 2xx, or 503 with a Retry-After, and `/healthz` 200 throughout.
    fn statuses(&self, broken: &mut Vec<String>) {
        let allowed = |it: &Sample| it.is_good() || it.name != "health" && it.status == 503 && it.retry_after;
        report("is answered neither 2xx nor 503 with Retry-After", self.samples.iter().filter(|it| !allowed(it)), broken);
    }

    /// Two seconds. What hashes a password also takes as long as it does without a fault.
    fn times(&self, broken: &mut Vec<String>) {
        let calm = |it: &&Sample| self.trial.windows.iter().all(|window| it.end() < window.begins || it.at > self.over(window));
        let hashing = self.samples.iter().filter(|it| it.hashes()).filter(calm).map(|it| it.took).max().unwrap_or_default();
        let limit = |it: &Sample| ANSWER + self.slack + if it.hashes() { hashing } else { Duration::ZERO };
        report("takes too long", self.samples.iter().filter(|it| it.took > limit(it)), broken);
    }

    /// When everything works again.
    fn over(&self, window: &Window) -> Duration {
        window.ended + RESUME + self.slack
    }

    /// Before a fault, and from three seconds after it, everything succeeds; and always on replicas it does not affect.
    fn outside_of_faults(&self, broken: &mut Vec<String>) {
        let affects = |window: &Window, it: &Sample| {
            let over = if window.expect.deadline.is_zero() {
                self.over(window)
            } else {
                window.began + window.expect.deadline + RESUME + self.slack
            };
            window.expect.replicas.contains(&it.replica) && it.end() >= window.begins && it.at <= over
        };
        let failed = self.samples.iter().filter(|it| !it.is_good() && it.code != "overloaded");
        let unexplained = failed.filter(|it| !self.trial.windows.iter().any(|window| affects(window, it)));
        report("fails without a fault", unexplained, broken);
    }

    /// The requests of an affected replica that lie between `after` the fault's beginning and its end.
    fn during<'a>(&'a self, window: &'a Window, after: Duration, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        let within = move |it: &&Sample| it.at > window.began + after && it.end() < window.ends;
        self.samples.iter().filter(move |it| it.name == name && window.expect.replicas.contains(&it.replica)).filter(within)
    }

    fn readiness(&self, window: &Window, broken: &mut Vec<String>) {
        if window.expect.unready {
            let ready = self.during(window, NOTICE + self.slack, "ready").filter(|it| it.is_good());
            report("says that it is ready while it is not", ready, broken);
        }
    }

    /// Tokens are verified for four seconds without a database (the last poll of the feed was a moment before), and for
    /// five at most. A change of unknown outcome makes a replica doubt at once, so only the second, which writes none, must go on.
    fn verification(&self, window: &Window, broken: &mut Vec<String>) {
        if !window.expect.stale {
            return;
        }
        let soon = |it: &&Sample| it.replica == 1 && it.end() + Duration::from_secs(1) < window.begins + STALE;
        let early = self.during(window, Duration::ZERO, "token").filter(soon).filter(|it| !it.is_good());
        report("is refused before the staleness bound", early, broken);
        for name in ["token", "me"] {
            let late = self.during(window, STALE + self.slack, name).filter(|it| it.is_good());
            report("is allowed after the staleness bound", late, broken);
        }
    }

    fn undisturbed(&self, window: &Window, broken: &mut Vec<String>) {
        for name in window.expect.undisturbed {
            let failed = self.during(window, Duration::ZERO, name).filter(|it| !it.is_good());
            report("fails, although the fault does not concern it", failed, broken);
        }
    }

    /// A revoked token is refused on the other replica within a second, or where that cannot follow, within five.
    fn spread(&self, broken: &mut Vec<String>) {
        for (at, accepted) in &self.trial.load.shared.promised.lock().unwrap().spread {
            let faulty = |window: &Window| {
                !window.expect.replicas.is_empty() && *at < self.over(window) && *at + *accepted > window.begins
            };
            let limit = if self.trial.windows.iter().any(faulty) { STALE } else { SPREAD };
            if *accepted > limit + self.slack {
                broken.push(format!("{at:.1?}: a token that was revoked was accepted elsewhere for {accepted:.1?}"));
            }
        }
    }

    /// How long after a fault the last request failed that was sent after it.
    fn resumed(&self, window: &Window) -> Duration {
        let failed = self.samples.iter().filter(|it| !it.is_good() && it.code != "overloaded" && it.at > window.ended);
        failed.filter(|it| it.at < self.over(window)).map(|it| it.at.saturating_sub(window.ended)).max().unwrap_or_default()
    }

    fn figures(&self, slowest: Duration) -> String {
        let good = self.samples.iter().filter(|it| it.is_good()).count();
        let mut text = format!(
            "{}: {} requests, {} good, {} refused; /healthz at most {slowest:.1?}",
            self.trial.name,
            self.samples.len(),
            good,
            self.samples.len() - good
        );
        for (number, window) in self.trial.windows.iter().enumerate() {
            let meets = |it: &&Sample| it.end() >= window.begins && it.at <= window.ended && it.name != "health";
            let mut times: Vec<_> = self.samples.iter().filter(meets).map(|it| it.took).collect();
            times.sort();
            let at = |part: usize| {
                times.get((times.len() * part / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
            };
            _ = write!(
                text,
                "\n  fault {}: {:.1?} long; answers meanwhile: median {:.1?}, 99 % {:.1?}, slowest {:.1?}; works again after {:.1?}",
                number + 1,
                window.ended.saturating_sub(window.begins),
                at(50),
                at(99),
                at(100),
                self.resumed(window)
            );
        }
        let promised = self.trial.load.shared.promised.lock().unwrap();
        let mut spread: Vec<_> = promised.spread.iter().map(|it| it.1).collect();
        spread.sort();
        _ = write!(
            text,
            "\n  revocations: {}, accepted elsewhere: median {:.1?}, longest {:.1?}; SIGTERM to exit: at most {:.1?}",
            spread.len(),
            spread.get(spread.len() / 2).copied().unwrap_or_default(),
            spread.last().copied().unwrap_or_default(),
            self.trial.stops.iter().max().copied().unwrap_or_default()
        );
        text
    }
}

/// One line for each operation that breaks a rule.
fn report<'a>(rule: &str, samples: impl Iterator<Item = &'a Sample>, broken: &mut Vec<String>) {
    let mut kinds: BTreeMap<_, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        kinds.entry((sample.name, sample.status, sample.code.clone())).or_default().push(sample);
    }
    for ((name, status, code), samples) in kinds {
        let slowest = samples.iter().map(|it| it.took).max().unwrap_or_default();
        let first = samples.iter().map(|it| it.at).min().unwrap_or_default();
        let last = samples.iter().map(|it| it.at).max().unwrap_or_default();
        broken.push(format!(
            "{name} {rule}: {} times {status} {code}, sent from {first:.1?} to {last:.1?}, slowest {slowest:.1?}",
            samples.len()
        ));
    }
}

//! When to claim again.

use std::time::Duration;

use tokio::time::Instant;

/// Decides when to claim again: at once while claims come back full; else when something arrives, when something falls due, and in
/// any case after an interval.
#[derive(Debug)]
pub(super) struct Lookout {
    interval: Duration,
    /// Whether the next claim may find something.
    hungry: bool,
    /// A claim failed: only the interval leads to another.
    resting: bool,
    at: Instant,
}

impl Lookout {
    pub(super) fn new(now: Instant, interval: Duration) -> Self {
        Self { interval, hungry: true, resting: false, at: now + interval }
    }

    /// Whether to claim now.
    pub(super) fn is_hungry(&self) -> bool {
        self.hungry
    }

    /// Whether news of work is of interest.
    pub(super) fn listens(&self) -> bool {
        !self.hungry && !self.resting
    }

    /// When [`Lookout::tick`] has something to do.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// A claim came back with less than it was asked for, and the next event falls due in `next_due`.
    pub(super) fn found_few(&mut self, now: Instant, next_due: Option<Duration>) {
        self.hungry = false;
        self.at = now + next_due.map_or(self.interval, |due| due.min(self.interval));
    }

    /// A claim failed.
    pub(super) fn rest(&mut self, now: Instant) {
        self.hungry = false;
        self.resting = true;
        self.at = now + self.interval;
    }

    /// Something may have become claimable: it arrived, or a run that held it up has ended.
    pub(super) fn notice(&mut self) {
        if !self.resting {
            self.hungry = true;
        }
    }

    /// Somebody wants to know.
    pub(super) fn demand(&mut self) {
        self.hungry = true;
        self.resting = false;
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        if now >= self.at {
            self.hungry = true;
            self.resting = false;
            self.at = now + self.interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn lookout() -> (Lookout, Instant) {
        let now = Instant::now();
        (Lookout::new(now, INTERVAL), now)
    }

    #[test]
    fn it_claims_until_a_claim_comes_back_short() {
        let (mut lookout, now) = lookout();
        assert!(lookout.is_hungry() && !lookout.listens());
        lookout.found_few(now, None);
        assert!(!lookout.is_hungry() && lookout.listens());
        lookout.notice();
        assert!(lookout.is_hungry());
    }

    #[test]
    fn it_looks_again_when_something_falls_due_but_no_later_than_the_interval() {
        for (next_due, wait) in [(None, 5_000), (Some(300), 300), (Some(0), 0), (Some(60_000), 5_000)] {
            let (mut lookout, now) = lookout();
            lookout.found_few(now, next_due.map(Duration::from_millis));
            assert_eq!(lookout.at(), now + Duration::from_millis(wait));
            lookout.tick(lookout.at() - Duration::from_micros(1).min(lookout.at() - now));
            assert_eq!(lookout.is_hungry(), wait == 0);
            lookout.tick(lookout.at());
            assert!(lookout.is_hungry());
        }
    }

    #[test]
    fn after_a_claim_that_failed_only_the_interval_leads_to_another() {
        let (mut lookout, now) = lookout();
        lookout.rest(now);
        lookout.notice();
        assert!(!lookout.is_hungry() && !lookout.listens());
        lookout.tick(now + INTERVAL);
        assert!(lookout.is_hungry());
    }
}

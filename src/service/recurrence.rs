//! What may happen many times a second, and is told once a minute.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often something is told that anybody can cause.
const TOLD_INTERVAL: Duration = Duration::from_mins(1);

/// Something that happens again and again: the first time is told, and from then on one an interval, with their number.
#[derive(Debug, Default)]
pub(super) struct Recurrence {
    since: Mutex<Since>,
}

#[derive(Debug, Default)]
struct Since {
    /// In running time; none before the first.
    told_at: Option<Duration>,
    /// How many were not told since.
    untold: u64,
}

impl Recurrence {
    /// One more; how many were not told before it, if this one is to be told.
    pub(super) fn count(&self, now: Duration) -> Option<u64> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.told_at.is_some_and(|at| now < at + TOLD_INTERVAL) {
            since.untold += 1;
            return None;
        }
        since.told_at = Some(now);
        Some(std::mem::take(&mut since.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_recurs_is_told_once_a_minute_with_the_number_of_the_others() {
        let recurrence = Recurrence::default();
        let told: Vec<_> =
            [0, 1, 59, 60, 61, 200, 201].map(|second| recurrence.count(Duration::from_secs(second))).into();
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1), None]);
    }
}

//! How long to wait before the next run.

use std::time::Duration;

/// Exponential backoff: `base × factor^(failures − 1)`, at most `cap`, then ± `jitter`.
///
/// Jitter keeps events that failed together (the other side was down) from coming back together. It is a pure function of a hash,
/// so a delay can be recomputed; what counts is the one that was recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Backoff {
    pub(crate) base: Duration,
    pub(crate) factor: u32,
    pub(crate) cap: Duration,
    /// In hundredths: 20 spreads a delay over 80 % to 120 %.
    pub(crate) jitter_percent: u32,
}

impl Backoff {
    /// Doubles from `base` up to an hour, ± 20 %. A `base` of more than an hour stays what it is.
    pub(crate) const fn exponential(base: Duration) -> Self {
        let hour = Duration::from_hours(1);
        let cap = if base.as_micros() > hour.as_micros() { base } else { hour };
        Self { base, factor: 2, cap, jitter_percent: 20 }
    }

    /// The wait after the `failures`-th counted failure (the first is 1); `hash` chooses the place within the jitter.
    pub(crate) fn delay(&self, failures: u32, hash: u64) -> Duration {
        let cap = self.cap.as_micros();
        let mut micros = self.base.as_micros().min(cap);
        for _ in 1..failures {
            if micros >= cap {
                break;
            }
            micros = micros.saturating_mul(u128::from(self.factor)).min(cap);
        }
        let spread = micros * u128::from(self.jitter_percent) / 100;
        let jittered = micros - spread + (2 * spread * u128::from(hash) / u128::from(u64::MAX));
        Duration::from_micros(u64::try_from(jittered).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_stay_within_the_jitter() {
        let backoff = Backoff::exponential(Duration::from_mins(1));
        for (failures, seconds) in [(1, 60), (2, 120), (3, 240), (6, 1_920), (7, 3_600), (1_000, 3_600)] {
            let middle = Duration::from_secs(seconds);
            assert_eq!(backoff.delay(failures, 0), middle * 8 / 10);
            assert_eq!(backoff.delay(failures, u64::MAX), middle * 12 / 10);
            let delay = backoff.delay(failures, u64::MAX / 2);
            assert!(delay >= middle * 99 / 100 && delay <= middle * 101 / 100, "{delay:?}");
        }
        assert_eq!(Backoff::exponential(Duration::from_hours(6)).delay(2, 0), Duration::from_hours(6) * 8 / 10);
        let none = Backoff::exponential(Duration::ZERO);
        assert_eq!(none.delay(5, 1), Duration::ZERO);
    }
}

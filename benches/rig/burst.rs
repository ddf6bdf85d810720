//! Burst: writing that fits into space which was prepared before. Sustained writing is what goes on until it does not.
//!
//! Both prepare the next segment while they write, as the store always does. A burst begins when all preparation has ended and is
//! shorter than what is prepared; time between bursts does not count.

use std::time::Duration;

use super::directory::settle;

/// What is written in one burst: less than half a segment, so that it ends inside what was prepared wherever it begins.
pub(crate) const BURST_BYTES: u64 = 24 * 1024 * 1024;

/// Bursts, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Bursts {
    written: u64,
}

impl Bursts {
    /// The time for `rounds` of about `round_bytes` each: `timed` runs a part of them and says how long that took.
    pub(crate) fn time(&mut self, rounds: u64, round_bytes: u64, mut timed: impl FnMut(u64) -> Duration) -> Duration {
        let mut took = Duration::ZERO;
        let mut left = rounds;
        while left > 0 {
            if self.written + round_bytes > BURST_BYTES {
                settle();
                self.written = 0;
            }
            let part = left.min((BURST_BYTES.saturating_sub(self.written) / round_bytes).max(1));
            took += timed(part);
            self.written += part * round_bytes;
            left -= part;
        }
        took
    }
}

//! What the wall clock read, as a log tells it: the last reading, and the last step that no time passed for.
//!
//! An opening learns from it that the clock went on by more than a day, though the process before this one has already written by that
//! clock. Only neighbours tell: where compaction has taken out what stood between two records, that time may well have passed.

use std::time::Duration;

use crate::event::Timestamp;
use crate::event::entry::Entry;
use crate::store::notes::{CLOCK_GAP, RETENTION_REST};
use crate::store::replay::at_of;

/// [`CLOCK_GAP`] in microseconds.
const GAP: u64 = CLOCK_GAP.as_secs() * 1_000_000;

/// Readings of the wall clock in the order of the records, in microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Readings {
    /// The last one, if it stands right before the next record.
    last: Option<i64>,
    /// The last one otherwise.
    before: Option<i64>,
    step: Option<Step>,
    /// The segment that is read, and whether it has gaps.
    ordinal: u64,
    is_sparse: bool,
}

/// The clock went on by more than a day between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    from: i64,
    to: i64,
}

impl Readings {
    pub(crate) const fn new() -> Self {
        Self { last: None, before: None, step: None, ordinal: 0, is_sparse: false }
    }

    /// Goes on to a segment; one that compaction wrote is sparse.
    pub(crate) fn enter(&mut self, ordinal: u64, is_sparse: bool) {
        let joins = ordinal == self.ordinal + 1 && !self.is_sparse && !is_sparse;
        (self.ordinal, self.is_sparse) = (ordinal, is_sparse);
        if !joins {
            self.before = self.last.take().or(self.before);
        }
    }

    /// Takes the next reading.
    pub(crate) fn take(&mut self, at: i64) {
        let is_near = self.last.is_some_and(|last| at.abs_diff(last) <= GAP);
        if !is_near {
            self.note_step(at);
        }
        self.last = Some(at);
    }

    #[cold]
    fn note_step(&mut self, at: i64) {
        let Some(last) = self.last() else { return };
        if at < last {
            // Set back: to where it was, or only nearer to that.
            self.step = self.step.filter(|step| is_gap(step.from, at)).map(|step| Step { to: at, ..step });
        } else if self.last.is_some() && !self.is_sparse && is_gap(last, at) {
            self.step = Some(Step { from: last, to: at });
        }
    }

    pub(crate) fn last(&self) -> Option<i64> {
        self.last.or(self.before)
    }

    /// How long retention rests for the last step yet.
    pub(crate) fn rest(&self, now: Timestamp) -> Duration {
        let now = now.unix_micros();
        let since = self.step.filter(|step| is_gap(step.from, now)).map(|step| now.saturating_sub(step.to));
        // The clock may have been set back since, but not to where it was.
        since.map_or(Duration::ZERO, |since| {
            RETENTION_REST.saturating_sub(Duration::from_micros(u64::try_from(since).unwrap_or(0)))
        })
    }
}

/// Whether it is more than a day from one moment to another.
fn is_gap(from: i64, to: i64) -> bool {
    to > from && to.abs_diff(from) > GAP
}

/// What the clock read when an entry was written, if that tells. The end of a run does not: it is not dated before the horizon in force,
/// whatever the clock says.
pub(crate) fn reading_of(entry: &Entry<'_>) -> Option<i64> {
    match entry {
        Entry::Completed(_) | Entry::Failed(_) | Entry::Released(_) | Entry::Cancelled(_) => None,
        _ => at_of(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;
    const YEAR: i64 = 365 * 24 * HOUR;

    /// For how many minutes retention rests after these readings, each with its segment and whether that is sparse, where it is `now`.
    fn rest(readings: &[(u64, bool, i64)], now: i64) -> u64 {
        let mut found = Readings::new();
        for &(ordinal, is_sparse, at) in readings {
            if ordinal != found.ordinal {
                found.enter(ordinal, is_sparse);
            }
            found.take(at);
        }
        assert_eq!(found.last(), readings.last().map(|(.., at)| *at));
        found.rest(Timestamp::from_unix_micros(now)).as_secs() / 60
    }

    #[test]
    fn a_step_of_more_than_a_day_between_neighbours_is_known_for_an_hour() {
        let ahead = 10 * YEAR;
        let (dense, sparse) = (false, true);
        let jumped = [(1, dense, 0), (1, dense, HOUR), (2, dense, ahead), (2, dense, ahead + 1)];
        for (readings, now, minutes) in [
            (&[][..], ahead, 0),
            (&[(1, dense, 0)], ahead, 0),
            (&jumped, ahead, 60),
            (&jumped, ahead + HOUR / 4, 45),
            (&jumped, ahead + HOUR, 0),
            // It was set back: a little, by years, to where it was.
            (&jumped, ahead - HOUR, 60),
            (&jumped, 3 * YEAR, 60),
            (&jumped, 2 * HOUR, 0),
            (&[jumped[1], jumped[2], (3, dense, 3 * YEAR)], 3 * YEAR + HOUR / 2, 30),
            (&[jumped[1], jumped[2], (3, dense, 3 * YEAR)], 4 * YEAR, 0),
            (&[jumped[1], jumped[2], (3, dense, HOUR)], ahead, 0),
            // In one segment as well; a day and no more is none.
            (&[(1, dense, 0), (1, dense, ahead)], ahead, 60),
            (&[(1, dense, 0), (1, dense, 24 * HOUR)], 24 * HOUR, 0),
            // What stood between them is gone.
            (&[(1, sparse, 0), (1, sparse, ahead)], ahead, 0),
            (&[(1, sparse, 0), (2, dense, ahead)], ahead, 0),
            (&[(1, dense, 0), (2, sparse, ahead)], ahead, 0),
            (&[(1, dense, 0), (3, dense, ahead)], ahead, 0),
            (&[(1, sparse, 0), (2, dense, HOUR), (2, dense, ahead)], ahead, 60),
        ] {
            assert_eq!(rest(readings, now), minutes, "{readings:?} at {now}");
        }
    }
}

//! What a store can be told.

use std::time::Duration;

use crate::error::Error;
use crate::log::writer::Stage;

/// What a store can be told when it is opened. The defaults are good; each has its bounds, checked by [`crate::Store::open`].
#[derive(Debug, Clone)]
pub struct StoreOptions {
    pub(crate) segment_bytes: u64,
    /// Whether that was said.
    segment_bytes_given: bool,
    pub(crate) max_retries: u32,
    pub(crate) retry_interval: Duration,
    pub(crate) max_event_age: Duration,
    pub(crate) dedup_window: Duration,
    pub(crate) dedup_max: usize,
    pub(crate) log_bytes_max: u64,
    pub(crate) process_deaths_max: u32,
    pub(crate) unhandled: Unhandled,
    pub(crate) held_age_max: Duration,
    pub(crate) sync_delay: Duration,
    /// How often retention runs by itself, if it does.
    pub(crate) compaction_interval: Option<Duration>,
    pub(crate) scrub_interval: Duration,
}

/// What becomes of events whose type has no handler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unhandled {
    /// They are held, counted apart, and run once there is a handler; after [`StoreOptions::held_age_max`] they have failed for good.
    #[default]
    Hold,
    /// They are completed without a handler, soon after their arrival: for whoever subscribes to more than it handles. A handler that
    /// comes later sees none of them, unless somebody replays them.
    Complete,
    /// They fail for good, soon after their arrival, and wait for a person: for whoever handles all that may come.
    Fail,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            segment_bytes_given: false,
            max_retries: 3,
            retry_interval: Duration::from_mins(1),
            max_event_age: Duration::from_hours(24),
            dedup_window: Duration::from_hours(24),
            dedup_max: 4_000_000,
            log_bytes_max: 0,
            process_deaths_max: 3,
            unhandled: Unhandled::Hold,
            held_age_max: Duration::from_hours(30 * 24),
            sync_delay: Duration::from_millis(10),
            compaction_interval: Some(Duration::from_hours(1)),
            scrub_interval: Duration::from_hours(7 * 24),
        }
    }
}

impl StoreOptions {
    /// Bytes of one segment file: 64 KiB to 1 GiB, 64 MiB by default (8 MiB in memory). An event takes at most a quarter of it.
    ///
    /// On a full disk a quarter of the last segment is kept for what ends runs: of 64 MiB that is room for 3,900 failures with the longest
    /// message, of 64 KiB for three. [`Store::settle`](crate::Store::settle) refuses the others with
    /// [`ErrorKind::Full`](crate::ErrorKind::Full) until there is space; the manager tries them again by itself.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self.segment_bytes_given = true;
        self
    }

    /// Runs after the first counted failure, for events that do not say: 0 to 1,000, 3 by default.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// Wait before the first retry; it doubles with each further one, up to an hour, ± 20 %. 1 ms to 1 hour, 60 s by default.
    #[must_use]
    pub fn retry_interval(mut self, interval: Duration) -> Self {
        self.retry_interval = interval;
        self
    }

    /// How long completed and cancelled events are kept: 1 s to 10 years, 24 hours by default.
    #[must_use]
    pub fn max_event_age(mut self, age: Duration) -> Self {
        self.max_event_age = age;
        self
    }

    /// How long after its reception an id is remembered, so that it is refused as a duplicate: 0 to 10 years, 24 hours by default.
    #[must_use]
    pub fn dedup_window(mut self, window: Duration) -> Self {
        self.dedup_window = window;
        self
    }

    /// How many ids of forgotten events are remembered: 0 to 100 million, 4 million by default (about 400 MB of memory when full).
    /// Compaction sees to it; of too many, those that were received first go.
    #[must_use]
    pub fn dedup_max(mut self, ids: usize) -> Self {
        self.dedup_max = ids;
        self
    }

    /// How many bytes the log may hold: 0 (no bound) by default, else at least four segments. Over it compaction forgets completed and
    /// cancelled events before their age, those that finished first go first; all others stay, however many. A segment that is being
    /// written and one that is prepared take their space besides.
    #[must_use]
    pub fn log_bytes_max(mut self, bytes: u64) -> Self {
        self.log_bytes_max = bytes;
        self
    }

    /// How often a process may die while an event runs alone before the event is given up: 0 (for ever) to 15, 3 by default.
    #[must_use]
    pub fn process_deaths_max(mut self, deaths: u32) -> Self {
        self.process_deaths_max = deaths;
        self
    }

    /// What becomes of events whose type has no handler: [`Unhandled::Hold`] by default. It is asked only where somebody says which
    /// types have one, as an `EventManager` with workers does; in a store without, all types have.
    #[must_use]
    pub fn unhandled(mut self, unhandled: Unhandled) -> Self {
        self.unhandled = unhandled;
        self
    }

    /// How long events of a type without a handler are held, counted from their arrival, their last replay or the beginning of their last
    /// run: 1 s to 10 years, 30 days by default. Older ones have failed for good, because there is no handler, and wait for a person.
    /// Retention sees to it, a minute after the opening, then every hour, and at [`crate::Store::compact`].
    #[must_use]
    pub fn held_age_max(mut self, age: Duration) -> Self {
        self.held_age_max = age;
        self
    }

    /// How often all sealed segments are read to find rot before anybody needs the bytes: 1 hour to 10 years, 7 days by default. It reads
    /// 16 MiB a second at most; a process that ends sooner has read a part.
    #[must_use]
    pub fn scrub_interval(mut self, interval: Duration) -> Self {
        self.scrub_interval = interval;
        self
    }

    /// The same for a store in memory: memory is given back a segment at a time, and what is forgotten takes some until then. An event
    /// of two mebibytes still fits.
    pub(crate) fn for_memory(mut self) -> Self {
        if !self.segment_bytes_given {
            self.segment_bytes = 8 * 1024 * 1024;
        }
        self.compaction_interval = Some(Duration::from_secs(5));
        self
    }

    /// Has retention run only when it is asked for: whoever opens a store for one thing may not know how long its events are to be kept.
    #[cfg(feature = "service")]
    pub(crate) fn without_retention(mut self) -> Self {
        self.compaction_interval = None;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        const YEARS: Duration = Duration::from_hours(10 * 366 * 24);
        const HOUR: Duration = Duration::from_hours(1);
        bounded("segment_bytes", self.segment_bytes, 64 * 1024, 1024 * 1024 * 1024)?;
        bounded("max_retries", self.max_retries, 0, crate::event::limits::RETRIES_MAX)?;
        bounded_time("retry_interval", self.retry_interval, Duration::from_millis(1), HOUR)?;
        bounded_time("max_event_age", self.max_event_age, Duration::from_secs(1), YEARS)?;
        bounded_time("dedup_window", self.dedup_window, Duration::ZERO, YEARS)?;
        bounded("dedup_max", self.dedup_max, 0, 100_000_000)?;
        if self.log_bytes_max > 0 {
            bounded("log_bytes_max", self.log_bytes_max, self.log_bytes_min(), u64::MAX)?;
        }
        bounded_time("scrub_interval", self.scrub_interval, HOUR, YEARS)?;
        bounded_time("held_age_max", self.held_age_max, Duration::from_secs(1), YEARS)?;
        bounded("process_deaths_max", self.process_deaths_max, 0, 15)
    }

    /// The least that may bound the log: four segments.
    pub(crate) fn log_bytes_min(&self) -> u64 {
        4 * self.segment_bytes
    }

    /// Longest record that these options allow.
    pub(crate) fn record_bytes_max(&self) -> usize {
        Stage::record_bytes_max(self.segment_bytes)
    }
}

fn bounded<T: PartialOrd + std::fmt::Display + Copy>(name: &str, value: T, min: T, max: T) -> Result<(), Error> {
    if value < min || value > max {
        return Err(Error::invalid(format!("{name} is {value}; it must be from {min} to {max}")));
    }
    Ok(())
}

fn bounded_time(name: &str, value: Duration, min: Duration, max: Duration) -> Result<(), Error> {
    if value < min || value > max {
        return Err(Error::invalid(format!("{name} is {value:?}; it must be from {min:?} to {max:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_bounds_are_refused_by_name() {
        let options = StoreOptions::default;
        options().validate().unwrap();
        for (options, says) in [
            (options().segment_bytes(1), "segment_bytes is 1; it must be from 65536 to 1073741824"),
            (options().max_retries(1_001), "max_retries is 1001"),
            (options().retry_interval(Duration::ZERO), "retry_interval is 0ns; it must be from 1ms to 3600s"),
            (options().max_event_age(Duration::ZERO), "max_event_age"),
            (options().dedup_max(100_000_001), "dedup_max is 100000001; it must be from 0 to 100000000"),
            (options().log_bytes_max(1), "log_bytes_max is 1; it must be from 268435456"),
            (options().held_age_max(Duration::ZERO), "held_age_max is 0ns; it must be from 1s to"),
            (options().scrub_interval(Duration::ZERO), "scrub_interval is 0ns; it must be from 3600s"),
        ] {
            let error = options.validate().unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}

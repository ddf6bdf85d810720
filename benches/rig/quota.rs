//! How many events are still to be written, shared by all who write them: they end together, so no figure has a tail of a few.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A number of events, or a time.
#[derive(Debug)]
pub(crate) struct Quota {
    taken: AtomicU64,
    least: u64,
    lasting: Option<Lasting>,
}

/// Bounds of a quota that goes on for a while.
#[derive(Debug)]
struct Lasting {
    most: u64,
    until: Instant,
    latest: Instant,
}

impl Quota {
    /// Exactly this many events.
    pub(crate) fn of(events: u64) -> Self {
        Self { taken: AtomicU64::new(0), least: events, lasting: None }
    }

    /// At least `least` events, and more until `time` is over; but never more than `most`, nor for more than twice that time.
    pub(crate) fn lasting(least: u64, time: Duration, most: u64) -> Self {
        let now = Instant::now();
        let lasting = Lasting { most, until: now + time, latest: now + time * 2 };
        Self { taken: AtomicU64::new(0), least, lasting: Some(lasting) }
    }

    /// Takes `events` of them; false if there are none any more.
    pub(crate) fn take(&self, events: u64) -> bool {
        let taken = self.taken.fetch_add(events, Ordering::Relaxed);
        let goes_on = self.lasting.as_ref().map_or(taken < self.least, |lasting| {
            let now = Instant::now();
            taken < lasting.most && now < lasting.latest && (taken < self.least || now < lasting.until)
        });
        if !goes_on {
            self.taken.fetch_sub(events, Ordering::Relaxed);
        }
        goes_on
    }

    /// How many were taken, once all who take have ended.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

//! What a store notes beside its state: when it last did what, what it found damaged, and whether the clock is to be believed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::event::{Moment, Timestamp};
use crate::log::segment::Segment;
use crate::store::commit::{Shared, micros};
use crate::store::readings::Readings;

/// A clock that goes on by more than this at once is not acted on.
pub(crate) const CLOCK_GAP: Duration = Duration::from_hours(24);
/// For so much running time retention rests then; across openings, for so much time.
pub(crate) const RETENTION_REST: Duration = Duration::from_hours(1);

/// Why retention by age rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The clock went on by more than a day at once; it rests for so long yet.
    Jumped(Duration),
    /// The clock is behind an earlier horizon, which is this.
    Behind(Timestamp),
}

impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jumped(rest) => {
                write!(
                    f,
                    "the clock went on by more than a day at once; retention by age rests for {} s",
                    rest.as_secs()
                )
            }
            Self::Behind(horizon) => {
                write!(
                    f,
                    "the clock is behind an earlier horizon; retention by age rests until it has caught up, at {horizon}"
                )
            }
        }
    }
}

/// The manifest, among places in segments: none has this key.
pub(crate) const MANIFEST_PLACE: (u32, u64) = (0, 0);

/// What statistics tell beside the state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    pub(crate) last_persistence: Option<Timestamp>,
    pub(crate) last_cleanup: Option<Timestamp>,
    pub(crate) last_scrub: Option<Timestamp>,
    /// Receptions that were found damaged, and where they stand: segment, by key, and offset.
    pub(crate) damaged: BTreeMap<u64, (u32, u64)>,
    /// Segments, by key, that were found damaged elsewhere, and where; or the manifest.
    pub(crate) damaged_places: BTreeSet<(u32, u64)>,
    /// Retention rests until this much running time has passed, in microseconds.
    pub(crate) retention_rests_until: u64,
    /// Why retention by age rested when that was last asked.
    rest: Option<Rest>,
    /// The clocks as they stood when that was last asked.
    pub(crate) seen: Option<Moment>,
}

impl Notes {
    /// Segments, with keys in ascending order, are gone, and what was damaged in them.
    pub(crate) fn forget_segments(&mut self, keys: &[u32]) {
        debug_assert!(keys.is_sorted(), "they are looked up");
        self.damaged_places.retain(|(key, _)| keys.binary_search(key).is_err());
        self.damaged.retain(|_, (key, _)| keys.binary_search(key).is_err());
    }

    /// A segment was found to be as it was written, to its end: what was damaged there is not.
    pub(crate) fn forget_damage(&mut self, segment: u32) {
        self.damaged_places.retain(|(key, _)| *key != segment);
        self.damaged.retain(|_, (key, _)| *key != segment);
    }

    /// Goes on from what the clock read up to the opening, which is `now`. A log without times says nothing about it.
    pub(crate) fn go_on_from(&mut self, readings: &Readings, now: Moment) {
        self.seen = Some(Moment { wall: readings.last().map_or(now.wall, Timestamp::from_unix_micros), ..now });
        let rests_until = now.steady.saturating_add(micros(readings.rest(now.wall)));
        self.retention_rests_until = self.rests_until(now).max(rests_until);
    }

    /// Notes why retention by age rests now, if it does; whether that is another reason than before.
    pub(crate) fn note_rest(&mut self, rest: Option<Rest>) -> bool {
        let kind = |rest: Option<Rest>| rest.map(|rest| std::mem::discriminant(&rest));
        kind(std::mem::replace(&mut self.rest, rest)) != kind(rest)
    }

    /// Until when retention rests. A wall clock that went on by a day more than time itself did is rather to be doubted than acted on:
    /// whoever sets it right has an hour.
    pub(crate) fn rests_until(&mut self, now: Moment) -> u64 {
        if let Some(seen) = self.seen.replace(now) {
            let passed = Duration::from_micros(now.steady.saturating_sub(seen.steady));
            if now.wall.saturating_since(seen.wall.saturating_add(passed)) > CLOCK_GAP {
                self.retention_rests_until = now.steady.saturating_add(micros(RETENTION_REST));
            }
        }
        self.retention_rests_until
    }
}

impl Shared {
    /// Notes something, and when.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Notes, Timestamp)) {
        let now = self.now().wall;
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner), now);
    }

    /// Notes something about a segment, and returns true, unless that is gone: nobody would take the note back.
    pub(super) fn note_of(&self, segment: &Arc<Segment>, change: impl FnOnce(&mut Notes)) -> bool {
        // Whoever removes a file takes it out of `files` first, and then what was noted of it.
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let is_there = files.get(&segment.key()).is_some_and(|there| Arc::ptr_eq(there, segment));
        if is_there {
            self.note(|notes, _| change(notes));
        }
        is_there
    }
}

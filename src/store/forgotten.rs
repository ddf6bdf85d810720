//! Whether a log still holds all that counted at an earlier point, told by how far it has forgotten since.

use crate::event::entry::Entry;
use crate::log::manifest::Manifest;

/// How far a log has forgotten: events that finished before that time, in microseconds since 1970, do not count any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Forgotten(i64);

impl Forgotten {
    /// Nothing.
    pub(super) const NOTHING: Self = Self(i64::MIN);

    /// Goes on with an entry. Horizons never go back.
    pub(super) fn see(&mut self, entry: &Entry<'_>) {
        let horizon = match entry {
            Entry::Horizon(horizon) => *horizon,
            Entry::State(summary) => summary.totals.horizon,
            _ => return,
        };
        self.0 = self.0.max(horizon.finished_before);
    }

    /// Whether nothing can be missing of what counted at a point where the log had forgotten so far; `now` is how far it had at its end.
    pub(super) fn is_all_there(self, now: Self, manifest: &Manifest) -> bool {
        manifest.dropped_count() == 0 || now <= self
    }
}

//! What became of every event, told by the entries alone: a second, plain answer to hold the state against.
//!
//! It knows no tokens, keys or delays and judges nothing; it shares no line with [`crate::state`], so a mistake of one of them shows.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Status;
use crate::event::entry::{Entry, Of};

/// Where every event stands.
#[derive(Debug, Default)]
pub(super) struct Fold {
    /// By the seq of the reception.
    events: BTreeMap<u64, Status>,
    running: BTreeSet<u64>,
    /// When those finished that a horizon may forget.
    finished: BTreeSet<(i64, u64)>,
    finished_at: BTreeMap<u64, i64>,
    finished_before: Option<i64>,
    epoch: u64,
}

impl Fold {
    /// Goes on with the entry numbered `seq`.
    pub(super) fn entry(&mut self, seq: u64, entry: &Entry<'_>) {
        match entry {
            Entry::Begun(begun) => self.begin(begun.epoch),
            Entry::State(summary) => self.forget(summary.totals.horizon.finished_before),
            Entry::Horizon(horizon) => self.forget(horizon.finished_before),
            Entry::Mark(_)
            | Entry::Remembered(_)
            | Entry::Accepted(_)
            | Entry::Handled(_)
            | Entry::Paused(_)
            | Entry::Resumed(_)
            | Entry::Cursor(_) => {}
            Entry::Received(_) => {
                self.events.insert(seq, Status::Pending);
            }
            Entry::Started(started) => self.stand(started.of, Status::Processing, None),
            Entry::Completed(completed) => self.stand(completed.of, Status::Completed, Some(completed.at)),
            Entry::Failed(failed) if failed.retry.is_some() => self.stand(failed.of, Status::Retrying, None),
            Entry::Failed(failed) => self.stand(failed.of, Status::Failed, None),
            Entry::Snoozed(snoozed) => self.stand(snoozed.of, Status::Retrying, None),
            Entry::Released(released) => self.stand(released.of, Status::Pending, None),
            Entry::Replayed(replayed) => self.stand(replayed.of, Status::Pending, None),
            Entry::Cancelled(cancelled) => self.stand(cancelled.of, Status::Cancelled, Some(cancelled.at)),
            Entry::Condemned(condemned) => self.stand(condemned.of, Status::Failed, None),
        }
    }

    fn begin(&mut self, epoch: u64) {
        if epoch <= self.epoch {
            return;
        }
        self.epoch = epoch;
        // Whatever ran is running no more.
        for seq in std::mem::take(&mut self.running) {
            self.events.insert(seq, Status::Pending);
        }
    }

    fn stand(&mut self, of: Of, status: Status, finished_at: Option<i64>) {
        let Some(stands) = self.events.get_mut(&of.seq) else { return };
        *stands = status;
        self.running.remove(&of.seq);
        if status == Status::Processing {
            self.running.insert(of.seq);
        }
        if let Some(before) = self.finished_at.remove(&of.seq) {
            self.finished.remove(&(before, of.seq));
        }
        if let Some(at) = finished_at {
            self.finished.insert((at, of.seq));
            self.finished_at.insert(of.seq, at);
        }
    }

    fn forget(&mut self, finished_before: i64) {
        let before = self.finished_before.max(Some(finished_before));
        self.finished_before = before;
        while let Some((at, seq)) = self.finished.first().copied().filter(|(at, _)| Some(*at) < before) {
            self.finished.remove(&(at, seq));
            self.finished_at.remove(&seq);
            self.events.remove(&seq);
        }
    }

    /// Every event that is kept, by the seq of its reception, ascending.
    pub(super) fn events(&self) -> impl Iterator<Item = (u64, Status)> {
        self.events.iter().map(|(seq, status)| (*seq, *status))
    }
}

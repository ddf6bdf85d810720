//! Runs that go on although their events were cancelled.
//!
//! A handler is told that its event was called off, but nothing makes it end. Until it does, its event is not offered again, nor any
//! other of its key. The log knows nothing of this, because it is about tasks of this process: whoever cancels what runs says so here,
//! whoever sees a run end takes it back, and the next process begins with none. It is known by the seq of the reception and not by
//! the slot, because a horizon may forget the event while its run goes on.

use std::collections::{BTreeMap, BTreeSet};

/// The runs that go on although their events were cancelled.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// By the seq of the event's reception.
    runs: BTreeMap<u64, Leftover>,
    /// Their keys, each with that seq.
    keys: BTreeSet<(u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Leftover {
    /// Seq of the entry that started the run.
    pub(crate) started: u64,
    /// Hash of the event's key; 0: it has none.
    pub(crate) key: u64,
    /// The number of the event's type.
    pub(crate) kind: u32,
    /// Whether it counts among the runs of its type: until it is found not to end.
    pub(crate) has_slot: bool,
}

impl Leftovers {
    pub(crate) const fn new() -> Self {
        Self { runs: BTreeMap::new(), keys: BTreeSet::new() }
    }

    /// Usually nothing is left over, and whoever asks is told at once.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn insert(&mut self, seq: u64, run: Leftover) {
        let before = self.runs.insert(seq, run);
        debug_assert!(before.is_none(), "an event runs again only once its run has ended");
        if run.key != 0 {
            self.keys.insert((run.key, seq));
        }
    }

    /// The run that `started` names has ended; returns it if it was left over.
    pub(crate) fn remove(&mut self, seq: u64, started: u64) -> Option<Leftover> {
        self.runs.get(&seq).filter(|run| run.started == started)?;
        let run = self.runs.remove(&seq)?;
        self.keys.remove(&(run.key, seq));
        Some(run)
    }

    /// The run that `started` names does not end; returns the number of its type if it was left over and counted until now.
    pub(crate) fn lose_slot(&mut self, seq: u64, started: u64) -> Option<u32> {
        let run = self.runs.get_mut(&seq).filter(|run| run.started == started && run.has_slot)?;
        run.has_slot = false;
        Some(run.kind)
    }

    /// Types of those that count among the runs of their type.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn kinds(&self) -> impl Iterator<Item = u32> {
        self.runs.values().filter(|run| run.has_slot).map(|run| run.kind)
    }

    /// Any of them, by its seq and what started it.
    pub(crate) fn first(&self) -> Option<(u64, u64)> {
        self.runs.first_key_value().map(|(seq, run)| (*seq, run.started))
    }

    /// Whether a run of this event is left over.
    pub(crate) fn has(&self, seq: u64) -> bool {
        self.runs.contains_key(&seq)
    }

    /// The event whose run, being left over, must end before this event runs: itself, or one of its key.
    pub(crate) fn before(&self, seq: u64, key: u64) -> Option<u64> {
        let of_key = || self.keys.range((key, 0)..=(key, u64::MAX)).next().map(|(_, seq)| *seq);
        if self.has(seq) { Some(seq) } else { of_key() }
    }

    /// Whether a run of any event of this key is.
    pub(crate) fn has_key(&self, key: u64) -> bool {
        self.keys.range((key, 0)..=(key, u64::MAX)).next().is_some()
    }
}

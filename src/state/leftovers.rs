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
struct Leftover {
    /// Seq of the entry that started the run.
    started: u64,
    /// Hash of the event's key; 0: it has none.
    key: u64,
}

impl Leftovers {
    pub(crate) const fn new() -> Self {
        Self { runs: BTreeMap::new(), keys: BTreeSet::new() }
    }

    /// Usually nothing is left over, and whoever asks is told at once.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn insert(&mut self, seq: u64, key: u64, started: u64) {
        let before = self.runs.insert(seq, Leftover { started, key });
        debug_assert!(before.is_none(), "an event runs again only once its run has ended");
        if key != 0 {
            self.keys.insert((key, seq));
        }
    }

    /// The run that `started` names has ended; returns the event's key if it was left over.
    pub(crate) fn remove(&mut self, seq: u64, started: u64) -> Option<u64> {
        self.runs.get(&seq).filter(|run| run.started == started)?;
        let key = self.runs.remove(&seq)?.key;
        self.keys.remove(&(key, seq));
        Some(key)
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

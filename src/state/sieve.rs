//! What compaction keeps of segments that it rewrites: a pure function of their records, in order, and of what is known now.
//!
//! ```text
//! received         known ─► kept      forgotten, its id is not ─► remembered      forgotten ─► gone
//! transition       its reception is kept, or lies elsewhere and might come back ─► kept      otherwise ─► gone
//! begun, close     kept where something kept stands before or after it that a process start means something to, and where one
//!                  ended runs of events in other segments that are known, though nothing else is kept
//! horizon, state   the last before anything that is kept, unless one before it went further
//! mark (idle)      gone
//! accepted         kept: it says for ever that something was lost
//! paused, resumed, cursor   gone: the `State` of a later segment says what is left of them
//! ```
//!
//! Replaying what is kept gives the same state as replaying all, the deaths of the process while each event ran included. What is kept for
//! that, and what replay would get wrong without it:
//!
//! - A transition, until its reception has gone, durably, or goes with it (R6). An event whose completion went first would run again.
//! - Of process starts without anything kept between them, the first, and the first of another epoch than that. The one with which a new
//!   epoch begins ends what ran before; without it those runs would end with a later start, and whether they died with their process is
//!   told by the boot of the start that ends them and by the close before it.
//! - The last of these starts. It gives the epoch to what starts after it, which cannot have happened in another one.
//! - These starts, and a close, at the end, where nothing else is kept but one of them ended runs of events that are known and lie in other
//!   segments: `Segments` knows whether. Those would end otherwise, as above.
//! - A close, with the start after it. That start would be one after a crash, and what it ends would have died once more.
//! - Of horizons without anything kept between them, each that goes further than any other in one respect, before what is kept next. An id
//!   that it made free and that is taken there would still be another event's.

use std::collections::BTreeMap;

use crate::event::Place;
use crate::event::entry::{Entry, Horizon, Mark, Received, Remembered, RememberedId};
use crate::mutants::mutant;
use crate::state::hash::low;
use crate::state::machine::State;
use crate::state::order::{Finder, Order};
use crate::state::slot::Slot;

/// Ids that one record remembers.
const IDS_PER_RECORD: usize = 256;

/// A record that is looked at.
#[derive(Debug)]
pub(crate) struct Grain<'e> {
    pub(crate) seq: u64,
    pub(crate) place: Place,
    pub(crate) entry: Entry<'e>,
    pub(crate) body: &'e [u8],
}

/// What is known now, to be asked about one event after another.
#[derive(Debug)]
pub(crate) struct Lookup<'s> {
    state: &'s State,
    /// Receptions ascend, and so does as a rule what transitions are about: each by itself.
    receptions: Finder<'s>,
    subjects: Finder<'s>,
}

impl State {
    /// What is known now.
    pub(crate) fn lookup(&self) -> Lookup<'_> {
        let slots = &self.events.slots;
        Lookup { state: self, receptions: slots.finder(), subjects: slots.finder() }
    }
}

impl<'s> Lookup<'s> {
    /// Whether the event that the record `seq` receives is known.
    fn is_known(&mut self, seq: u64) -> bool {
        self.receptions.get(seq).is_some()
    }

    /// The event, received as `seq`, that a transition is about.
    fn subject(&mut self, seq: u64) -> Option<&'s Slot> {
        self.subjects.get(seq).map(|at| &self.state.events.slots[at])
    }
}

/// A record to be written, in the order of their seqs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The record that was looked at as it is.
    AsItIs { seq: u64, place: Place },
    /// One that was looked at before, as it was.
    Held { seq: u64, body: Vec<u8> },
    /// What is left of receptions, or of a longer record of this kind.
    Remembered { seq: u64, ids: Vec<RememberedId> },
}

/// What was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sifted {
    /// How many receptions.
    pub(crate) receptions: u64,
    /// Bytes of transitions, by the segment of the reception that they are about.
    pub(crate) refs: BTreeMap<u32, u64>,
    /// How many accepted losses.
    pub(crate) accepted: u64,
}

/// Looks at the records of neighbouring segments, one after another.
#[derive(Debug)]
pub(crate) struct Sieve {
    sources: Vec<u32>,
    /// Seq of the first record that is looked at.
    first_seq: u64,
    /// Receptions that were kept, ascending. They stay kept even if they are forgotten meanwhile, and so does all about them.
    /// Callers wait meanwhile, so it must not grow by doubling.
    receptions: Order,
    held: Held,
    /// Whether a process start or a close among them ended runs of events in other segments that are known. It is asked once: no
    /// other events become known that ran then, and at worst a few bytes stay until they are looked at again.
    ends_runs: bool,
    ids: Vec<RememberedId>,
    /// Seq of the last reception that is to be remembered.
    ids_at: u64,
    sifted: Sifted,
}

/// A record that was looked at and is held back.
type Record = (u64, Vec<u8>);

/// Records that belong to no event, held back until it is known whether they matter.
#[derive(Debug, Default)]
struct Held {
    /// The last record, if it says that the process closed the store.
    close: Option<Record>,
    /// The first beginning of a segment, and its epoch.
    first: Option<(u64, Record)>,
    /// The first beginning of another epoch after that: this one ended what ran, if the first did not.
    change: Option<Record>,
    /// The last one: this gives the epoch to what follows.
    last: Option<Record>,
    /// That the store was closed before the first or before the change.
    closes: Vec<Record>,
    /// None goes as far as another in both respects.
    horizons: Vec<(Horizon, Record)>,
}

impl Sieve {
    /// A sieve for `sources`, sealed neighbours in ascending order.
    pub(crate) fn new(state: &State, sources: Vec<u32>) -> Self {
        let first = sources.first().copied().unwrap_or(0);
        let first_seq = state.segments.first_seq(first).unwrap_or(0);
        Self {
            ends_runs: sources.iter().any(|segment| state.segments.ends_runs(*segment)),
            sources,
            receptions: Order::new(),
            held: Held::default(),
            ids: Vec::new(),
            ids_at: 0,
            first_seq,
            sifted: Sifted::default(),
        }
    }

    /// Looks at the next record; what is to be written now goes to the end of `kept`.
    pub(crate) fn sift(&mut self, lookup: &mut Lookup<'_>, grain: &Grain<'_>, kept: &mut Vec<Kept>) {
        match &grain.entry {
            Entry::Begun(_) | Entry::State(_) | Entry::Horizon(_) | Entry::Mark(_) => {
                self.write_ids(kept);
                self.held.hold(grain);
            }
            Entry::Received(received) => self.sift_reception(lookup, grain, received, kept),
            Entry::Remembered(remembered) => self.sift_remembered(lookup.state, grain, remembered, kept),
            // Only segments that have a successor are looked at.
            Entry::Paused(_) | Entry::Resumed(_) | Entry::Cursor(_) => {}
            Entry::Accepted(_) => {
                self.sifted.accepted += 1;
                self.keep(grain, kept);
            }
            Entry::Started(_)
            | Entry::Completed(_)
            | Entry::Failed(_)
            | Entry::Released(_)
            | Entry::Replayed(_)
            | Entry::Cancelled(_)
            | Entry::Condemned(_)
            | Entry::Snoozed(_)
            | Entry::Handled(_) => self.sift_transition(lookup, grain, kept),
        }
    }

    /// All was looked at. What was held back to the end is written if anything was written before, or if it ended runs of events that
    /// are known; if not, nothing is left at all.
    pub(crate) fn end(mut self, kept: &mut Vec<Kept>, wrote_before: bool) -> Sifted {
        self.write_ids(kept);
        if wrote_before || self.ends_runs || !kept.is_empty() {
            self.held.release(kept);
        }
        self.sifted
    }

    fn sift_reception(
        &mut self,
        lookup: &mut Lookup<'_>,
        grain: &Grain<'_>,
        received: &Received<'_>,
        kept: &mut Vec<Kept>,
    ) {
        let state = lookup.state;
        if lookup.is_known(grain.seq) {
            self.receptions.insert(grain.seq, 0);
            self.sifted.receptions += 1;
            self.keep(grain, kept);
        } else if let Some(id) = self.remembered_here(state, state.hasher.id(received.id), grain.seq)
            && !mutant!("ids-lost-in-a-rewrite")
        {
            self.ids.push(id);
            self.ids_at = grain.seq;
            if self.ids.len() == IDS_PER_RECORD {
                self.write_ids(kept);
            }
        }
    }

    fn sift_remembered(&mut self, state: &State, grain: &Grain<'_>, remembered: &Remembered, kept: &mut Vec<Kept>) {
        let ids = remembered.ids.iter().filter_map(|id| self.remembered_here(state, id.id_hash, id.seq));
        let ids: Vec<RememberedId> = ids.collect();
        if !ids.is_empty() && !mutant!("remembered-ids-lost-in-a-rewrite") {
            self.write_ids(kept);
            self.held.release(kept);
            kept.push(Kept::Remembered { seq: grain.seq, ids });
        }
    }

    fn sift_transition(&mut self, lookup: &mut Lookup<'_>, grain: &Grain<'_>, kept: &mut Vec<Kept>) {
        let Some(of) = grain.entry.of() else { return };
        let state = lookup.state;
        let reception = match lookup.subject(of.seq) {
            Some(slot) if low(slot.id()) == of.id_hash => Some(slot.place().segment),
            _ if self.receptions.get(of.seq).is_some() => self.sources.first().copied(),
            _ if of.seq >= self.first_seq || mutant!("ending-dropped-before-its-event") => None,
            _ => state.segments.of_seq(of.seq).filter(|segment| state.segments.holds_forgotten(*segment)),
        };
        if let Some(segment) = reception {
            *self.sifted.refs.entry(segment).or_default() += grain.place.bytes();
            self.keep(grain, kept);
        }
    }

    fn keep(&mut self, grain: &Grain<'_>, kept: &mut Vec<Kept>) {
        self.write_ids(kept);
        self.held.release(kept);
        kept.push(Kept::AsItIs { seq: grain.seq, place: grain.place });
    }

    /// What is remembered of the reception `seq`, if its evidence lies in what is looked at.
    fn remembered_here(&self, state: &State, id: u128, seq: u64) -> Option<RememberedId> {
        let (segment, id) = state.memory.evidence(id)?;
        (id.seq == seq && self.sources.binary_search(&segment).is_ok()).then_some(id)
    }

    fn write_ids(&mut self, kept: &mut Vec<Kept>) {
        if !self.ids.is_empty() {
            self.held.release(kept);
            kept.push(Kept::Remembered { seq: self.ids_at, ids: std::mem::take(&mut self.ids) });
        }
    }
}

impl Held {
    fn hold(&mut self, grain: &Grain<'_>) {
        let record = || (grain.seq, grain.body.to_vec());
        let close = self.close.take();
        match (&grain.entry, &self.first) {
            (Entry::Mark(Mark::Close), _) => self.close = Some(record()),
            (Entry::Begun(begun), None) => {
                self.closes.extend(close);
                self.first = Some((begun.epoch, record()));
            }
            (Entry::Begun(begun), Some((epoch, _))) if begun.epoch != *epoch && self.change.is_none() => {
                self.closes.extend(close);
                self.change = Some(record());
            }
            (Entry::Begun(_), Some(_)) => self.last = Some(record()),
            (Entry::State(summary), _) => self.hold_horizon(summary.totals.horizon, record()),
            (Entry::Horizon(horizon), _) => self.hold_horizon(*horizon, record()),
            _ => {}
        }
    }

    fn hold_horizon(&mut self, horizon: Horizon, record: Record) {
        self.horizons.retain(|(held, _)| {
            held.finished_before > horizon.finished_before || held.remembered_before > horizon.remembered_before
        });
        self.horizons.push((horizon, record));
    }

    /// Writes what was held back.
    fn release(&mut self, kept: &mut Vec<Kept>) {
        let Self { close, first, change, last, closes, horizons } = std::mem::take(self);
        let mut records = closes;
        records.extend([close, first.map(|(_, record)| record), change, last].into_iter().flatten());
        records.extend(horizons.into_iter().map(|(_, record)| record));
        records.sort_unstable_by_key(|(seq, _)| *seq);
        kept.extend(records.into_iter().map(|(seq, body)| Kept::Held { seq, body }));
    }
}

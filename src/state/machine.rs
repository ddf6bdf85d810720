//! The state, and the one way to change it.

use std::collections::BTreeMap;

use crate::event::entry::{Begun, Entry, Horizon, Mark, Remembered, Started, Summary, Totals};
use crate::event::{Moment, Place};
use crate::mutants::mutant;
use crate::state::events::Events;
use crate::state::gist::Gist;
use crate::state::hash::IdHasher;
use crate::state::memory::Memory;
use crate::state::segments::Segments;
use crate::state::slot::{Fact, descending};
use crate::state::table::{self, Step};
use crate::state::types::Handled;
use crate::state::verdict::{Applied, Illegal, Reason};

/// So many events are given to [`State::foresee`] before the first of them is looked for.
pub(crate) const FORESEEN_COUNT: usize = 32;

/// What the state decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// An event during which the process died so often while it ran alone is condemned. Default 3, at most
    /// [`PROCESS_DEATHS_MAX`](crate::state::events::PROCESS_DEATHS_MAX); 0: never.
    pub(crate) process_deaths_max: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { process_deaths_max: 3 }
    }
}

/// What is true of every event, and what may happen next.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) hasher: IdHasher,
    pub(super) events: Events,
    pub(super) memory: Memory,
    pub(super) segments: Segments,
    pub(super) totals: Totals,
    /// The last record that each reader is done with, by the reader's name.
    pub(super) cursors: BTreeMap<Box<str>, u64>,
    /// Seq of the last entry that was applied.
    pub(super) last_seq: u64,
    /// The process start that writes.
    pub(super) epoch: u64,
    boot: Option<u64>,
    /// Whether the last entry says that the store was closed.
    closed: bool,
    /// Runs that began while a suspect waited. It counts for the process that claims, so a deferred replay, which does not know
    /// who waits, leaves it at 0, as the next beginning does.
    pub(super) passed_over: u32,
}

/// What an entry is applied with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) seq: u64,
    pub(super) place: Place,
    pub(super) now: Moment,
}

impl Stamp {
    pub(super) const fn illegal(self, reason: Reason) -> Illegal {
        Illegal { seq: self.seq, reason }
    }
}

impl State {
    /// Nothing has happened yet.
    pub(crate) fn new(store_id: [u8; 16], policy: Policy) -> Self {
        Self {
            hasher: IdHasher::new(store_id),
            events: Events::new(policy.process_deaths_max),
            memory: Memory::new(),
            segments: Segments::new(),
            totals: Totals::default(),
            cursors: BTreeMap::new(),
            last_seq: 0,
            epoch: 0,
            boot: None,
            closed: false,
            passed_over: 0,
        }
    }

    /// The same, for a log that is about to be replayed: who may run next is not worked out after each entry, but once, by
    /// [`State::arrange`]. Until then only the events themselves are told right: not how many stand where, nor who comes first.
    pub(crate) fn replaying(store_id: [u8; 16], policy: Policy) -> Self {
        let mut state = Self::new(store_id, policy);
        state.events.defer();
        state
    }

    /// The log is replayed: works out who may run next.
    pub(crate) fn arrange(&mut self) {
        self.events.arrange_all();
    }

    /// Applies the entry numbered `seq` that lies, or will lie, at `place`: live when it is staged, at replay in the same order with
    /// the moment of opening as `now`. `now` only turns due times into waits.
    ///
    /// # Errors
    /// [`Illegal`] if this cannot have happened; nothing changed.
    pub(crate) fn apply(&mut self, seq: u64, place: Place, entry: &Entry<'_>, now: Moment) -> Result<Applied, Illegal> {
        let stamp = self.stamp(seq, place, now)?;
        let applied = match entry {
            Entry::Begun(begun) => self.begin(stamp, *begun)?,
            Entry::State(summary) => self.resume(stamp, summary),
            Entry::Mark(mark) => self.mark(stamp, *mark),
            Entry::Accepted(_) => {
                self.segments.accept(place, seq);
                Applied::Done
            }
            Entry::Horizon(horizon) => self.forget(*horizon),
            Entry::Remembered(remembered) => self.remember(stamp, remembered)?,
            Entry::Received(received) => {
                return self.receive(stamp, &self.hasher.gist(received), received.event_type);
            }
            Entry::Started(started) => self.start(stamp, *started)?,
            Entry::Completed(completed) => self.complete(stamp, *completed)?,
            Entry::Failed(failed) => self.fail(stamp, failed)?,
            Entry::Released(released) => self.release(stamp, *released)?,
            Entry::Replayed(replayed) => self.replay(stamp, *replayed)?,
            Entry::Cancelled(cancelled) => self.cancel(stamp, cancelled)?,
            Entry::Condemned(condemned) => self.condemn(stamp, condemned)?,
            Entry::Snoozed(snoozed) => self.snooze(stamp, *snoozed)?,
            Entry::Handled(handled) => self.handle(stamp, *handled)?,
            Entry::Paused(_) | Entry::Resumed(_) | Entry::Cursor(_) => self.post(stamp, entry),
        };
        self.count(entry);
        self.closed = matches!(entry, Entry::Mark(Mark::Close));
        self.segments.note(place.segment, seq);
        self.last_seq = seq;
        Ok(applied)
    }

    /// As [`State::apply`], for a reception of which only the gist and the name of its type are at hand.
    ///
    /// # Errors
    /// [`Illegal`] if this cannot have happened; nothing changed.
    pub(crate) fn apply_gist(
        &mut self,
        (seq, place): (u64, Place),
        gist: &Gist,
        event_type: &str,
        now: Moment,
    ) -> Result<Applied, Illegal> {
        let stamp = self.stamp(seq, place, now)?;
        self.receive(stamp, gist, event_type)
    }

    fn stamp(&self, seq: u64, place: Place, now: Moment) -> Result<Stamp, Illegal> {
        let stamp = Stamp { seq, place, now };
        if seq <= self.last_seq { Err(stamp.illegal(Reason::NotAfter { last: self.last_seq })) } else { Ok(stamp) }
    }

    fn receive(&mut self, stamp: Stamp, gist: &Gist, event_type: &str) -> Result<Applied, Illegal> {
        self.add(stamp, gist, event_type)?;
        self.totals.received = self.totals.received.saturating_add(1);
        self.closed = false;
        self.last_seq = stamp.seq;
        Ok(Applied::Done)
    }

    /// Counts everything that happened, to events that are known and to others: after a `State` entry replay counts on from there,
    /// also over orphans.
    fn count(&mut self, entry: &Entry<'_>) {
        let totals = &mut self.totals;
        let (counter, by) = match entry {
            Entry::Completed(_) => (&mut totals.completed, true),
            Entry::Started(Started { opens_claim, .. }) => (&mut totals.claims, *opens_claim),
            Entry::Failed(failed) => {
                totals.retries_scheduled = totals.retries_scheduled.saturating_add(u64::from(failed.retry.is_some()));
                (&mut totals.attempts_failed, true)
            }
            _ => return,
        };
        *counter = counter.saturating_add(u64::from(by));
    }

    /// A segment begins. With a new epoch a process has started, so whatever ran is running no more.
    fn begin(&mut self, stamp: Stamp, begun: Begun) -> Result<Applied, Illegal> {
        if begun.epoch < self.epoch {
            return Err(stamp.illegal(Reason::Epoch { expected: self.epoch, found: begun.epoch }));
        }
        if begun.epoch > self.epoch {
            // A reboot or a clean end says nothing about what was running.
            let is_same_boot = self.boot == Some(begun.boot) || mutant!("reboot-counted-as-a-death");
            let is_death = is_same_boot && (!self.closed || mutant!("close-counted-as-a-death"));
            let in_flight: Vec<u32> = self.events.lanes.in_flight.from(0).map(|(_, at)| at).collect();
            self.note_ended_runs(stamp);
            for at in in_flight {
                self.events.change(at, |slots| {
                    let slot = &mut slots[at];
                    let alone = slot.is(Fact::ALONE);
                    if mutant!("retry-count-reset-by-a-restart") {
                        slot.retry_count = 0;
                    }
                    if is_death {
                        slot.count_death(alone || mutant!("death-counted-for-innocents"));
                    }
                    slot.set(Fact::ALONE, false);
                    slot.set(Fact::STUCK, false);
                    slot.set_status(table::next(Some(slot.status()), Step::Died).expect("what is in flight may die"));
                });
            }
            self.epoch = begun.epoch;
            self.passed_over = 0;
            self.events.let_all_go();
        }
        self.boot = Some(begun.boot);
        Ok(Applied::Done)
    }

    fn mark(&mut self, stamp: Stamp, mark: Mark) -> Applied {
        if mark == Mark::Close {
            // What runs now did not die with the process, whenever it starts again.
            self.note_ended_runs(stamp);
        }
        Applied::Done
    }

    /// What ran up to this entry ends because of it, so it counts as long as those events are known.
    fn note_ended_runs(&mut self, stamp: Stamp) {
        let slots = &self.events.slots;
        let receptions = self.events.lanes.in_flight.from(0).map(|(_, at)| slots[at].place().segment);
        self.segments.end_runs(stamp.place, receptions, stamp.seq);
    }

    /// Goes on from what was written. Live it is what is already in force; at replay it knows of segments that are gone.
    fn resume(&mut self, stamp: Stamp, summary: &Summary<'_>) -> Applied {
        self.stand(stamp, summary);
        if mutant!("horizon-by-the-clock") {
            let day_ago = stamp.now.wall.unix_micros().saturating_sub(86_400_000_000);
            let _ = self.forget(Horizon { finished_before: day_ago, ..self.totals.horizon });
        }
        let (totals, horizon) = (summary.totals, self.totals.horizon);
        self.totals = Totals { horizon, ..totals };
        self.forget(totals.horizon)
    }

    /// Forgets what finished, and what was received, before a horizon. Horizons never go back.
    fn forget(&mut self, horizon: Horizon) -> Applied {
        let in_force = &mut self.totals.horizon;
        in_force.finished_before = in_force.finished_before.max(horizon.finished_before);
        in_force.remembered_before = in_force.remembered_before.max(horizon.remembered_before);
        let Horizon { finished_before, remembered_before } = *in_force;
        let mut oldest = Vec::with_capacity(FORESEEN_COUNT);
        loop {
            let finished = self.events.lanes.finished.from(0).take(FORESEEN_COUNT);
            let old = finished.take_while(|(finished_at, _)| descending(*finished_at) < finished_before);
            oldest.extend(old.map(|(_, at)| at));
            if oldest.is_empty() {
                break;
            }
            self.foresee(oldest.iter().map(|at| self.events.slots[*at].id()));
            for at in oldest.drain(..) {
                let slot = self.events.remove(at);
                self.segments.release(slot.place());
                if !slot.is(Fact::OWN_ID) && slot.received_at >= remembered_before && !mutant!("id-not-remembered") {
                    self.memory.remember_slot(&slot);
                }
            }
        }
        self.memory.forget_before(remembered_before);
        Applied::Done
    }

    fn remember(&mut self, stamp: Stamp, remembered: &Remembered) -> Result<Applied, Illegal> {
        let taken = remembered.ids.iter().find_map(|id| self.events.slots.by_id(id.id_hash));
        if let Some(at) = taken {
            return Err(stamp.illegal(Reason::TakenId { seq: self.events.slots[at].seq }));
        }
        let before = self.totals.horizon.remembered_before;
        for id in remembered.ids.iter().filter(|id| id.received_at >= before) {
            self.memory.remember(id, stamp.place.segment);
        }
        Ok(Applied::Done)
    }

    /// What is counted, and the horizons in force.
    pub(crate) const fn totals(&self) -> Totals {
        self.totals
    }

    /// The process start that writes; 0 before the first.
    #[cfg(any(test, fuzzing))]
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Has what these ids lead to brought near, because they are about to be looked for. Looked up one after another each waits for
    /// memory; looked at together they wait once.
    pub(crate) fn foresee(&self, ids: impl Iterator<Item = u128>) {
        self.events.slots.touch(ids);
    }

    /// Hashes ids and keys as this store does.
    #[cfg(test)]
    pub(crate) const fn hasher(&self) -> IdHasher {
        self.hasher
    }

    /// Whether the event received as `seq` is live or retained.
    pub(crate) fn knows(&self, seq: u64) -> bool {
        self.events.slots.by_seq(seq).is_some()
    }

    /// Sets for which types a handler is there; events of others are held. Costs a walk over all events if that changes anything
    /// for them.
    pub(crate) fn set_handled(&mut self, handled: Handled) {
        self.events.set_handled(handled);
    }

    /// Says that a handler is there for these types as well. What of them is held is released in steps: see [`State::release_held`].
    pub(crate) fn add_handled(&mut self, more: Handled) {
        self.events.add_handled(more);
    }

    /// Sets how many events of a type may run at once: 1 or more. Types that are not named are not bounded.
    pub(crate) fn set_limits(&mut self, limits: BTreeMap<String, u32>) {
        self.events.set_limits(limits);
    }

    /// Panics if anything disagrees with anything else. Costs a walk over everything.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        self.events.check();
        self.memory.check();
        let slots = &self.events.slots;
        self.segments.check(slots.iter().map(|(_, slot)| slot.place()));
        for (id, _) in self.memory.iter() {
            assert!(slots.by_id(id.id_hash).is_none(), "the id of seq {} is remembered and known", id.seq);
            assert!(id.received_at >= self.totals.horizon.remembered_before, "seq {} is too old", id.seq);
        }
        for (_, slot) in slots.iter() {
            assert!(slot.seq <= slot.last_seq && slot.last_seq <= self.last_seq, "seq {} is of the past", slot.seq);
        }
    }
}

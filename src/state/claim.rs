//! What may run next.
//!
//! Offered is what is ready: the most urgent first, types in turn, and of each type first come, first served ([`Ready`]); whatever is
//! behind its key, waits, is held or paused is not among it. Suspects (events during which the process died twice) run alone: offered
//! when nothing runs, not even what is left of a cancelled run, and while one runs nothing is offered. So that they come at all under
//! load, but cannot starve the rest by killing the process again and again, ordinary events go first 256 times; then no more are
//! offered until all have settled and a suspect has run. What may never end, because it did not when it was told to, nobody waits for but
//! who must run alone: neither what is left of a cancelled run, nor a run that has lost its slot.

use crate::event::Moment;
use crate::event::entry::{Of, Token};
use crate::mutants::mutant;
use crate::state::events::Events;
use crate::state::machine::State;
#[cfg(doc)]
use crate::state::ready::Ready;
use crate::state::slot::{Fact, descending};
use crate::state::verdict::Offer;

/// Ordinary runs that may begin while a suspect waits for its turn.
const SUSPECT_PATIENCE: u32 = 256;

/// Waits that are ended at a time: they cost a fraction of a microsecond each, under the lock.
const WAKE_COUNT_MAX: usize = 1_024;

/// The same for whoever gives up the lock in between.
const WAKES_PER_STEP: usize = 256;

/// Held events that are passed at a time in search of those to be released, and how many are released of them.
const HELD_PASSED_MAX: usize = 2_048;
const RELEASES_PER_STEP: usize = 256;

/// Lines that go on to their next level at a time: more are late by a claim.
const STEP_COUNT_MAX: usize = 1_024;

impl State {
    /// The event to run next, of those that are durable up to seq `durable`; none if there is none now. Append and apply its
    /// `Started`, then ask again.
    pub(crate) fn next_claim(&mut self, now: Moment, durable: u64) -> Option<Offer> {
        loop {
            self.events.end_pauses(now.steady);
            let woken = self.events.wake(now.steady, WAKE_COUNT_MAX);
            let Events { slots, lanes, .. } = &mut self.events;
            lanes.ready.admit(slots, durable);
            lanes.ready.step(slots, now.wall.unix_micros(), STEP_COUNT_MAX);
            if let Some((at, alone)) = self.choose(durable) {
                let slot = &self.events.slots[at];
                let (of, place, attempt) = (slot.of(), slot.place(), u32::from(slot.attempt) + 1);
                self.events.slots.note(of.seq, at);
                return Some(Offer { of, place, attempt, alone });
            }
            if woken < WAKE_COUNT_MAX {
                return None;
            }
        }
    }

    /// Ends some of the waits that are over, and says whether there may be more: [`State::next_claim`] alone would go on until there is
    /// somebody who may run, however many there are.
    pub(crate) fn end_waits(&mut self, now: Moment) -> bool {
        self.events.wake(now.steady, WAKES_PER_STEP) == WAKES_PER_STEP
    }

    /// Releases some of those that were held until somebody came who handles their type, and says whether there may be more: until there
    /// are none, nothing is offered.
    pub(crate) fn release_held(&mut self) -> bool {
        self.events.release(HELD_PASSED_MAX, RELEASES_PER_STEP)
    }

    /// Whether [`State::next_claim`] is worth calling, after [`State::release_held`]. It may still find nothing, because what became due
    /// may be behind its key; once it has looked, it is not worth calling again until something happens.
    pub(crate) fn ready(&self, now: Moment, durable: u64) -> bool {
        let may_be_more = self.events.types.are_releasing() || self.next_due().is_some_and(|due| due <= now.steady);
        may_be_more || self.choose(durable).is_some()
    }

    /// How many wait for nothing but to be claimed.
    pub(crate) fn ready_count(&self) -> u64 {
        let lanes = &self.events.lanes;
        lanes.ready.len() + lanes.suspects.len() as u64
    }

    /// How many wait for a time.
    pub(crate) fn waiting_count(&self) -> u64 {
        self.events.lanes.waiting.len() as u64
    }

    /// When the first wait or the first pause ends, by the steady clock.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let wait = self.events.lanes.waiting.first().map(|(due, _)| due);
        let pause = self.events.pauses.first_end().map(|(ends, _)| ends);
        wait.into_iter().chain(pause).min()
    }

    /// Whether ordinary events must let a suspect run alone first, or one does.
    pub(super) fn is_for_suspects(&self) -> bool {
        let lanes = &self.events.lanes;
        let is_patience_over = self.passed_over >= SUSPECT_PATIENCE && !self.may_never_be_idle();
        lanes.alone > 0 || !lanes.suspects.is_empty() && is_patience_over
    }

    /// Whether something runs that may never end, though it was told to.
    fn may_never_be_idle(&self) -> bool {
        self.events.lanes.stuck > 0 || !self.events.leftovers.is_empty()
    }

    /// The run that `token` names does not end though it was told to, and has lost its slot: until it ends, or another process begins, it
    /// holds up nothing but its key and who must run alone. Whether that makes a difference: not to a run that is over.
    pub(crate) fn lose_slot(&mut self, seq: u64, token: Token) -> bool {
        let runs = self.view(seq).is_some_and(|view| view.token == Some(token));
        let Some(at) = self.events.slots.by_seq(seq).filter(|_| runs) else {
            return token.epoch == self.epoch && self.events.lose_leftover(seq, token.started);
        };
        self.events.change(at, |slots| {
            slots[at].set(Fact::ALONE, false);
            slots[at].set(Fact::STUCK, true);
        });
        true
    }

    /// Whether runs go on whose events were cancelled.
    #[cfg(feature = "manager")]
    pub(crate) fn has_leftovers(&self) -> bool {
        !self.events.leftovers.is_empty()
    }

    /// The event received as `seq` was cancelled just now, but the run that `token` names goes on: until [`State::let_go`], or until
    /// another process begins, neither it nor any other of its key is offered, and it counts among the runs of its type unless it had lost
    /// its slot.
    pub(crate) fn leave(&mut self, seq: u64, token: Token, has_slot: bool) {
        debug_assert!(token.epoch == self.epoch, "what runs was started by this process");
        self.events.leave(seq, token.started, has_slot);
    }

    /// Whether the present run of this event has a slot: see [`State::lose_slot`].
    pub(crate) fn has_slot(&self, seq: u64) -> bool {
        self.events.slots.by_seq(seq).is_some_and(|at| !self.events.slots[at].is(Fact::STUCK))
    }

    /// The run that `token` names has ended, however. Whether that makes a difference: it does where its event was cancelled.
    pub(crate) fn let_go(&mut self, seq: u64, token: Token) -> bool {
        token.epoch == self.epoch && self.events.let_go(seq, token.started)
    }

    /// The events that killed the process too often: for each a `Condemned` is to be appended.
    pub(crate) fn condemned(&self) -> impl Iterator<Item = Of> {
        self.events.lanes.condemned.from(0).map(|(_, at)| self.events.slots[at].of())
    }

    /// The events that nobody handles, those first that came to be so first, by what they themselves tell: when they arrived, when
    /// they were last replayed, or when a run of theirs last began; microseconds since 1970. As long as some are still to be released
    /// none is told.
    pub(crate) fn held(&self) -> impl Iterator<Item = (Of, i64)> {
        let held = self.events.lanes.held.from(0).take_while(|_| !self.events.types.are_releasing());
        held.map(|(since, at)| (self.events.slots[at].of(), descending(since)))
    }

    /// Which to run next, and whether alone.
    fn choose(&self, durable: u64) -> Option<(u32, bool)> {
        let lanes = &self.events.lanes;
        // Who is still to be released may be the first of a key.
        if lanes.alone > 0 || self.events.types.are_releasing() {
            return None;
        }
        let is_durable = |(rank, _): &(u64, u32)| *rank <= durable;
        let ready = lanes.ready.first(durable).map(|at| (at, false));
        let suspect = lanes.suspects.first().filter(is_durable).map(|(_, at)| (at, true));
        let is_left = self.may_never_be_idle();
        let idle = lanes.in_flight.is_empty() && !is_left || mutant!("suspect-runs-beside-others");
        match (ready, suspect) {
            (Some(ready), None) => Some(ready),
            (Some(ready), Some(_)) if is_left || self.passed_over < SUSPECT_PATIENCE => Some(ready),
            (_, Some(suspect)) if idle => Some(suspect),
            (_, Some(_)) | (None, None) => None,
        }
    }
}

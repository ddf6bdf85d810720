//! Events, each where it belongs: in its lane and in the row of its key.
//!
//! One way to change an event: take it out of its lane, change its fields, put it where it now belongs ([`Events::change`]). Where
//! that is follows from its fields alone ([`Events::lane`]), so no transition can forget a set.
//!
//! Because it follows from the fields, it need not be followed step by step while a log is replayed: until [`Events::arrange_all`]
//! only those in flight and those finished are in their lanes, which is what entries ask about, and nobody is in a row.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::Status;
use crate::mutants::mutant;
use crate::state::at_once::both;
use crate::state::index::Gap;
use crate::state::keys::{self, Keys, Members, Rows};
use crate::state::lanes::Lanes;
use crate::state::leftovers::{Leftover, Leftovers};
use crate::state::pauses::Pauses;
#[cfg(any(test, fuzzing))]
use crate::state::slab::NONE;
use crate::state::slot::{Arrival, Fact, Lane, Slot};
use crate::state::slots::Slots;
use crate::state::types::{Handled, Holding, Types};

/// From so many deaths on an event runs alone.
const SUSPECT_DEATHS: u8 = 2;

/// Most deaths alone that can be asked for; a slot counts no further.
pub(crate) const PROCESS_DEATHS_MAX: u32 = 15;

/// All events that are live or retained.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) slots: Slots,
    pub(crate) lanes: Lanes,
    pub(crate) types: Types,
    pub(super) pauses: Pauses,
    pub(super) keys: Keys,
    /// Runs of cancelled events that go on. They are of this process and no entry tells of them.
    pub(crate) leftovers: Leftovers,
    /// So many deaths alone condemn; 0: none do.
    deaths_max: u8,
    /// Whether those that wait are still to be put where they belong.
    pub(super) is_deferring: bool,
    /// From where on those among the held are still to be released whose type is handled.
    release_from: (u64, u32),
}

/// Of some events, those who do not stay as they are when all are arranged.
#[derive(Debug)]
struct Moving {
    /// Who is to leave his lane and his row.
    leaving: Vec<u32>,
    /// How many are to enter a lane then: those, and who is in none.
    entering: usize,
    /// Who is to be in the row of a key.
    members: Members,
}

impl Events {
    pub(crate) fn new(process_deaths_max: u32) -> Self {
        let deaths_max = u8::try_from(process_deaths_max.min(PROCESS_DEATHS_MAX)).expect("15 fits into a byte");
        let (slots, lanes, types, keys) = (Slots::new(), Lanes::new(), Types::new(), Keys::new());
        let (pauses, leftovers) = (Pauses::new(), Leftovers::new());
        Self { slots, lanes, types, pauses, keys, leftovers, deaths_max, is_deferring: false, release_from: (0, 0) }
    }

    /// From now on, until [`Events::arrange_all`], only who is in flight or finished is put where he belongs. Nothing was added yet.
    pub(crate) fn defer(&mut self) {
        assert!(self.slots.iter().next().is_none(), "who is in a row would have to leave it");
        self.is_deferring = true;
        self.slots.expect_many();
    }

    /// The number of a type, a new one if need be; there is room.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        let (known, number) = (self.types.len(), self.types.number(name));
        if self.types.len() > known {
            let name: Arc<str> = self.types.name(number);
            self.lanes.ready.add_kind(self.types.limit(&name), self.pauses.has_type(&name));
        }
        number
    }

    /// Adds an event whose id was not found, and led to `gap`.
    pub(crate) fn add(&mut self, arrival: &Arrival, gap: Gap) {
        let at = self.slots.insert(Slot::new(arrival), gap);
        self.arrange(at);
    }

    /// Changes an event, then puts it where it belongs.
    pub(crate) fn change(&mut self, at: u32, change: impl FnOnce(&mut Slots)) {
        self.lanes.leave(&mut self.slots, at);
        self.keys.forget_mark(&self.slots, at);
        change(&mut self.slots);
        self.arrange(at);
    }

    /// Removes an event that holds no key any more.
    pub(crate) fn remove(&mut self, at: u32) -> Slot {
        self.lanes.leave(&mut self.slots, at);
        debug_assert!(!self.slots[at].is_linked(), "a finished event holds no key");
        self.slots.remove(at)
    }

    /// Sets how many of a type may run at once; others are not bounded.
    pub(crate) fn set_limits(&mut self, limits: BTreeMap<String, u32>) {
        self.types.set_limits(limits);
        for (kind, name) in self.types.iter() {
            self.lanes.ready.set_limit(&self.slots, kind, self.types.limit(name));
        }
    }

    /// The first in the row of a key.
    pub(crate) fn first_of_key(&self, key: u64) -> Option<u32> {
        self.keys.first(&self.slots, key)
    }

    /// Ends the waits that are over, at most `count_max` of them; returns how many.
    pub(crate) fn wake(&mut self, steady: u64, count_max: usize) -> usize {
        if self.lanes.waiting.first().is_none_or(|(due, _)| due > steady) {
            return 0;
        }
        let over = self.lanes.waiting.from(0).take_while(|(due, _)| *due <= steady).take(count_max);
        let mut over: Vec<u32> = over.map(|(_, at)| at).collect();
        // Each finds its place in the row of its key close to the one before it, whatever the order in which they became due.
        over.sort_unstable_by_key(|at| (self.slots[*at].key, self.slots.rank(*at)));
        for at in &over {
            self.change(*at, |slots| slots[*at].set_due(None));
        }
        over.len()
    }

    /// Sets which types are handled. Costs a walk over all events if that changes anything for them.
    pub(crate) fn set_handled(&mut self, handled: Handled) {
        if self.types.set_handled(handled) && !self.is_deferring {
            self.arrange_all();
        }
    }

    /// More types are handled. What of them is held is released by [`Events::release`]; what is not, and what comes, is not held.
    pub(crate) fn add_handled(&mut self, more: Handled) {
        let tally = &self.lanes.tally;
        if self.types.add_handled(more, |kind| tally.has_held(kind)) {
            self.release_from = (0, 0);
        }
    }

    /// Releases some of those that are held though their type is handled: it passes at most `passed_max` of the held, and releases at most
    /// `count_max`. Whether there may be more.
    pub(crate) fn release(&mut self, passed_max: usize, count_max: usize) -> bool {
        if !self.types.are_releasing() {
            return false;
        }
        let (number, slot) = self.release_from;
        let mut released = Vec::new();
        let mut held = self.lanes.held.starting_at(number, slot);
        let is_end = (0..passed_max).find_map(|_| {
            let Some((number, at)) = held.next() else { return Some(true) };
            self.release_from = (number, at + 1);
            if self.types.holding(self.slots[at].kind()) == Holding::Earlier {
                released.push(at);
            }
            (released.len() == count_max).then_some(false)
        });
        drop(held);
        // As in `wake`: each finds its place close to the one before it.
        released.sort_unstable_by_key(|at| (self.slots[*at].key, self.slots.rank(*at)));
        for at in released {
            self.change(at, |_| ());
            let kind = self.slots[at].kind();
            if !self.lanes.tally.has_held(kind) {
                self.types.released(kind);
            }
        }
        if is_end == Some(true) {
            self.types.all_released();
        }
        self.types.are_releasing()
    }

    /// Puts everybody where he belongs, whoever was where before. Costs a walk over all events.
    pub(crate) fn arrange_all(&mut self) {
        debug_assert!(!self.types.are_releasing(), "who is held would be released by leaving his lane");
        if std::mem::take(&mut self.is_deferring) {
            self.slots.settle();
        }
        let mut all = Vec::with_capacity(self.slots.order().len());
        all.extend(self.slots.from(0));
        let (len, middle) = (all.len(), all.len() / 2);
        let (lower, upper) = all.split_at_mut(middle);
        let (first, second) = both(len, || self.moving(lower), || self.moving(upper));
        for at in [first.leaving, second.leaving].into_iter().flatten() {
            self.lanes.leave(&mut self.slots, at);
            keys::unlink(&mut self.slots, at);
        }
        // Rows are made anew, each at once: joining one by one could walk through a long row for each.
        let mut rows = Rows::of([first.members, second.members]);
        rows.link(&mut self.slots);
        let entering = lower.iter().take(first.entering).chain(upper.iter().take(second.entering));
        let (keys, ()) = both(len, || Keys::of(&rows), || self.enter_lanes(entering.copied()));
        self.keys = keys;
    }

    /// Puts those in front who are to enter a lane; the rest means nothing any more.
    fn moving(&self, some: &mut [u32]) -> Moving {
        let some = Cell::from_mut(some).as_slice_of_cells();
        let mut moving = Moving { leaving: Vec::new(), entering: 0, members: Members::with_room_for(some.len()) };
        let mut front = some.iter();
        for at in some.iter().map(Cell::get) {
            let slot = &self.slots[at];
            if slot.is_live() || slot.lane() == Lane::Out {
                front.next().expect("what is in front was looked at").set(at);
                // After a replay that are those in flight.
                if slot.lane() != Lane::Out || slot.is_linked() {
                    moving.leaving.push(at);
                }
            }
            if self.holds_key(slot) {
                moving.members.push(slot.key, at);
            }
        }
        moving.entering = some.len() - front.len();
        moving
    }

    /// Puts these, who are in no lane, where they belong, and into a row of their own if they are alone with their key.
    fn enter_lanes(&mut self, entering: impl Iterator<Item = u32>) {
        for at in entering {
            let slot = &self.slots[at];
            if !slot.is_linked() && self.holds_key(slot) {
                keys::link_alone(&mut self.slots, at);
            }
            let lane = self.lane(at);
            self.lanes.enter(&mut self.slots, at, lane);
        }
    }

    /// Whether nobody handles its type, or nobody did when it came to wait and it was not yet released, so that it waits without
    /// holding its key. What runs already is not touched.
    pub(crate) fn is_held(&self, slot: &Slot) -> bool {
        let waits = matches!(slot.status(), Status::Pending | Status::Retrying);
        waits
            && match self.types.holding(slot.kind()) {
                Holding::All => true,
                Holding::Earlier => slot.lane() == Lane::Held,
                Holding::None => false,
            }
    }

    /// Whether others of its key come before it, or a run is left over that must end first: its own, or one of its key.
    pub(crate) fn is_behind(&self, at: u32) -> bool {
        let slot = &self.slots[at];
        let is_later = slot.is_linked() && !keys::is_first(&self.slots, at);
        if self.leftovers.is_empty() {
            return is_later;
        }
        let waits = matches!(slot.status(), Status::Pending | Status::Retrying) && !self.is_held(slot);
        is_later || waits && (self.leftovers.has(slot.seq) || slot.is_linked() && self.leftovers.has_key(slot.key))
    }

    /// The event received as `seq` was cancelled, and the run that `started` names goes on: among the runs of its type, if it `has_slot`.
    pub(crate) fn leave(&mut self, seq: u64, started: u64, has_slot: bool) {
        let Some(at) = self.slots.by_seq(seq) else { return };
        let (key, kind) = (self.slots[at].key, self.slots[at].kind());
        self.leftovers.insert(seq, Leftover { started, key, kind, has_slot });
        if has_slot {
            self.lanes.ready.began(&self.slots, kind);
        }
        self.arrange_again(seq, key);
    }

    /// The run that `started` names has ended; whether it was left over.
    pub(crate) fn let_go(&mut self, seq: u64, started: u64) -> bool {
        let Some(run) = self.leftovers.remove(seq, started) else { return false };
        if run.has_slot {
            self.lanes.ready.ended(&self.slots, run.kind);
        }
        self.arrange_again(seq, run.key);
        true
    }

    /// The run that `started` names does not end; whether that makes a difference, as it does if it was left over and counted until now.
    pub(crate) fn lose_leftover(&mut self, seq: u64, started: u64) -> bool {
        let Some(kind) = self.leftovers.lose_slot(seq, started) else { return false };
        self.lanes.ready.ended(&self.slots, kind);
        true
    }

    /// No run is left over.
    pub(crate) fn let_all_go(&mut self) {
        while let Some((seq, started)) = self.leftovers.first() {
            self.let_go(seq, started);
        }
    }

    /// Puts where they belong those for whom a run that is left over makes a difference: the event, and the first of its key.
    fn arrange_again(&mut self, seq: u64, key: u64) {
        if self.is_deferring {
            return;
        }
        let first = if key == 0 { None } else { self.keys.first(&self.slots, key) };
        for at in [self.slots.by_seq(seq), first].into_iter().flatten() {
            self.change(at, |_| ());
        }
    }

    fn arrange(&mut self, at: u32) {
        let slot = &self.slots[at];
        if self.is_deferring {
            if let lane @ (Lane::InFlight | Lane::Finished) = self.lane(at) {
                self.lanes.enter(&mut self.slots, at, lane);
            }
            return;
        }
        let holds_key = self.holds_key(slot);
        let other = match (slot.is_linked(), holds_key) {
            (false, false) => None,
            (false, true) => self.keys.insert(&mut self.slots, at),
            (true, false) => self.keys.remove(&mut self.slots, at),
            (true, true) => self.keys.move_within(&mut self.slots, at),
        };
        // Whoever came to the front of the row, or was displaced from it, may now be offered, or no more.
        for at in [other, Some(at)].into_iter().flatten() {
            self.put_in_lane(at);
        }
    }

    /// Puts an event into the lane where it belongs.
    pub(super) fn put_in_lane(&mut self, at: u32) {
        self.lanes.leave(&mut self.slots, at);
        let lane = self.lane(at);
        self.lanes.enter(&mut self.slots, at, lane);
    }

    /// Live events hold their key, if they have one, except those that are held, and those that never ran and are not due.
    fn holds_key(&self, slot: &Slot) -> bool {
        let not_due = slot.status() == Status::Pending && slot.is(Fact::WAITS)
            || mutant!("key-released-while-its-event-runs") && slot.status() == Status::Processing
            || mutant!("key-released-while-its-event-waits") && slot.is(Fact::WAITS);
        slot.key != 0 && slot.is_live() && !self.is_held(slot) && !not_due
    }

    /// Where an event belongs.
    fn lane(&self, at: u32) -> Lane {
        let slot = &self.slots[at];
        match slot.status() {
            Status::Processing => Lane::InFlight,
            Status::Cancelled if mutant!("cancelled-event-claimable") => Lane::Ready,
            Status::Completed | Status::Cancelled => Lane::Finished,
            Status::Failed => Lane::Failed,
            Status::Pending | Status::Retrying if self.is_held(slot) => Lane::Held,
            Status::Pending | Status::Retrying if slot.is(Fact::WAITS) => Lane::Waiting,
            Status::Pending | Status::Retrying if self.is_condemned(slot) => Lane::Condemned,
            Status::Pending | Status::Retrying if self.is_behind(at) => Lane::Behind,
            Status::Pending | Status::Retrying if slot.key != 0 && self.pauses.has_key(slot.key) => Lane::Paused,
            Status::Pending | Status::Retrying if slot.deaths() < SUSPECT_DEATHS => Lane::Ready,
            Status::Pending | Status::Retrying if self.lanes.ready.is_paused(slot.kind()) => Lane::Shelved,
            Status::Pending | Status::Retrying => Lane::Suspect,
        }
    }

    fn is_condemned(&self, slot: &Slot) -> bool {
        self.deaths_max > 0 && slot.alone_deaths() >= self.deaths_max
    }

    /// Panics if an event is not where it belongs, or a row is out of order.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        self.slots.check();
        self.pauses.check();
        self.keys.check_marks(&self.slots);
        for (kind, name) in self.types.iter() {
            assert_eq!(self.lanes.ready.is_paused(kind), self.pauses.has_type(name), "type {name} knows its pause");
        }
        self.lanes.check(&self.slots, &self.leftovers);
        let (mut linked, mut walked, mut firsts) = (0, 0, 0);
        for (at, slot) in self.slots.iter() {
            let seq = slot.seq;
            assert_eq!(slot.lane(), self.lane(at), "seq {seq} is in its lane");
            let holds_key = self.holds_key(slot);
            assert_eq!(slot.is_linked(), holds_key, "seq {seq} is in the row of its key if it holds it");
            linked += usize::from(slot.is_linked());
            if keys::is_first(&self.slots, at) {
                firsts += 1;
                walked += self.check_row(at);
            }
        }
        assert_eq!(linked, walked, "rows lead to all who are in one");
        assert_eq!(firsts, self.keys.len(), "each key has one row");
    }

    #[cfg(any(test, fuzzing))]
    fn check_row(&self, first: u32) -> usize {
        let slots = &self.slots;
        let key = slots[first].key;
        assert_eq!(self.keys.first(slots, key), Some(first), "a key leads to the first of its row");
        let (mut at, mut len) = (first, 1);
        while slots[at].next != NONE {
            let next = slots[at].next;
            assert_eq!((slots[next].prev, slots[next].key), (at, key), "a row is linked both ways");
            assert!(keys::goes_before(slots, at, next), "seq {} goes before its next", slots[at].seq);
            (at, len) = (next, len + 1);
        }
        assert_eq!(slots[first].prev, at, "the first knows the last");
        len
    }
}

//! The sets that events are in, each in its own order.
//!
//! ```text
//! ready       by type, priority and rank: what may be offered (see [`Ready`])      waiting    by the moment it waits for
//! suspect     by rank: the same, alone                                             in flight  by seq
//! condemned   by seq                                                               shelved    by seq
//! finished    by the moment it finished        held    by the moment of its arrival, last replay or last run
//! failed      by seq                           behind, paused: in none, merely counted
//! ```

#[cfg(any(test, fuzzing))]
use crate::state::leftovers::Leftovers;
use crate::state::order::Order;
use crate::state::ready::Ready;
use crate::state::slot::{Fact, Lane, ascending};
use crate::state::slots::Slots;
use crate::state::tally::Tally;

/// Who is in which lane.
#[derive(Debug)]
pub(crate) struct Lanes {
    pub(crate) ready: Ready,
    pub(crate) suspects: Order,
    shelved: Order,
    pub(crate) condemned: Order,
    pub(crate) waiting: Order,
    pub(crate) in_flight: Order,
    pub(crate) finished: Order,
    /// They are few among many, and asked for.
    pub(crate) failed: Order,
    /// How many of those in flight were started alone.
    pub(crate) alone: u64,
    /// How many of those in flight have lost their slot: they count among the runs of no type.
    pub(crate) stuck: u64,
    pub(crate) held: Order,
    held_count: u64,
    by_status: [u64; 6],
    pub(crate) tally: Tally,
}

impl Lanes {
    pub(crate) const fn new() -> Self {
        Self {
            ready: Ready::new(),
            suspects: Order::new(),
            shelved: Order::new(),
            condemned: Order::new(),
            waiting: Order::new(),
            in_flight: Order::new(),
            finished: Order::new(),
            failed: Order::new(),
            alone: 0,
            stuck: 0,
            held: Order::new(),
            held_count: 0,
            by_status: [0; 6],
            tally: Tally::new(),
        }
    }

    /// How many are held, and how many of the others stand at each status.
    pub(crate) const fn counts(&self) -> (u64, [u64; 6]) {
        (self.held_count, self.by_status)
    }

    /// Takes the event out of its lane; its fields must still be those with which it entered.
    pub(crate) fn leave(&mut self, slots: &mut Slots, at: u32) {
        let lane = slots[at].lane();
        if lane == Lane::Out {
            return;
        }
        if lane == Lane::Ready {
            self.ready.remove(slots, at);
        } else if let Some(order) = self.order_mut(lane) {
            order.remove(number(slots, at, lane), at);
        }
        *self.count_mut(slots, at, lane) -= 1;
        self.tally.leave(&slots[at], lane);
        if lane == Lane::InFlight {
            if slots[at].is(Fact::STUCK) {
                self.stuck -= 1;
            } else {
                self.ready.ended(slots, slots[at].kind());
            }
            self.alone -= u64::from(slots[at].is(Fact::ALONE));
        }
        slots[at].set_lane(Lane::Out);
    }

    /// Puts the event, which is in none, into a lane.
    pub(crate) fn enter(&mut self, slots: &mut Slots, at: u32, lane: Lane) {
        debug_assert!(slots[at].lane() == Lane::Out && lane != Lane::Out, "an event is in one lane");
        if lane == Lane::Ready {
            self.ready.insert(slots, at);
        } else if let Some(order) = self.order_mut(lane) {
            order.insert(number(slots, at, lane), at);
        }
        *self.count_mut(slots, at, lane) += 1;
        self.tally.enter(&slots[at], lane);
        if lane == Lane::InFlight {
            if slots[at].is(Fact::STUCK) {
                self.stuck += 1;
            } else {
                self.ready.began(slots, slots[at].kind());
            }
            self.alone += u64::from(slots[at].is(Fact::ALONE));
        }
        slots[at].set_lane(lane);
    }

    /// Those of a type that are suspects, or shelved: there are few of either.
    pub(crate) fn of_kind(&self, slots: &Slots, lane: Lane, kind: u32) -> Vec<u32> {
        let order = if lane == Lane::Suspect { &self.suspects } else { &self.shelved };
        order.from(0).map(|(_, at)| at).filter(|at| slots[*at].kind() == kind).collect()
    }

    fn order_mut(&mut self, lane: Lane) -> Option<&mut Order> {
        match lane {
            Lane::Suspect => Some(&mut self.suspects),
            Lane::Shelved => Some(&mut self.shelved),
            Lane::Condemned => Some(&mut self.condemned),
            Lane::Waiting => Some(&mut self.waiting),
            Lane::InFlight => Some(&mut self.in_flight),
            Lane::Finished => Some(&mut self.finished),
            Lane::Failed => Some(&mut self.failed),
            Lane::Held => Some(&mut self.held),
            Lane::Out | Lane::Ready | Lane::Behind | Lane::Paused => None,
        }
    }

    fn count_mut(&mut self, slots: &Slots, at: u32, lane: Lane) -> &mut u64 {
        if lane == Lane::Held {
            return &mut self.held_count;
        }
        self.by_status.get_mut(slots[at].status() as usize).expect("there is a count for each status")
    }

    /// Panics unless exactly those are in an order whose lane it is, and all are counted.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self, slots: &Slots, leftovers: &Leftovers) {
        let orders = [
            (Lane::Suspect, &self.suspects),
            (Lane::Shelved, &self.shelved),
            (Lane::Condemned, &self.condemned),
            (Lane::Waiting, &self.waiting),
            (Lane::InFlight, &self.in_flight),
            (Lane::Finished, &self.finished),
            (Lane::Failed, &self.failed),
            (Lane::Held, &self.held),
        ];
        self.ready.check(slots, leftovers);
        for (lane, order) in orders {
            order.check();
            for (found, at) in order.from(0) {
                let seq = slots[at].seq;
                assert_eq!(slots[at].lane(), lane, "seq {seq} is in one lane and knows which");
                assert_eq!(number(slots, at, lane), found, "seq {seq} is where it belongs in {lane:?}");
            }
            assert_eq!(slots.iter().filter(|(_, slot)| slot.lane() == lane).count(), order.len(), "all of {lane:?}");
        }
        let (mut held, mut by_status, mut alone, mut stuck) = (0, [0; 6], 0, 0);
        for (_, slot) in slots.iter() {
            assert!(slot.lane() != Lane::Out, "seq {} is in a lane", slot.seq);
            let of_run = slot.is(Fact::ALONE) || slot.is(Fact::STUCK);
            assert!(slot.lane() == Lane::InFlight || !of_run, "seq {} does not run", slot.seq);
            stuck += u64::from(slot.is(Fact::STUCK));
            alone += u64::from(slot.lane() == Lane::InFlight && slot.is(Fact::ALONE));
            match by_status.get_mut(slot.status() as usize) {
                Some(count) if slot.lane() != Lane::Held => *count += 1,
                _ => held += 1,
            }
        }
        assert_eq!((held, by_status, alone), (self.held_count, self.by_status, self.alone), "events are counted");
        assert_eq!(stuck, self.stuck, "runs without a slot are counted");
        self.tally.check(slots.iter().map(|(_, slot)| slot));
    }
}

/// The number by which an event stands in the order of a lane.
fn number(slots: &Slots, at: u32, lane: Lane) -> u64 {
    match lane {
        Lane::Suspect => slots.rank(at),
        Lane::Waiting | Lane::Finished => slots[at].when,
        Lane::Held => ascending(slots[at].last_moved().max(slots.since(at))),
        _ => slots[at].seq,
    }
}

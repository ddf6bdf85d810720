//! How many events of each type stand where, and which of them has waited longest.

use crate::event::Status;
use crate::state::slot::{Lane, Slot};

/// Where held events are counted: behind the statuses.
pub(crate) const HELD: usize = Status::ALL.len();

/// The events of one type, by status in the order of [`Status::ALL`], then the held ones.
pub(crate) type Stands = [u32; HELD + 1];

/// All types, by number.
#[derive(Debug)]
pub(crate) struct Tally {
    by_kind: Vec<Kind>,
}

#[derive(Debug, Clone, Copy)]
struct Kind {
    stands: Stands,
    /// No event of the type that waits was received earlier.
    waiting_from: u64,
}

impl Kind {
    const NONE: Self = Self { stands: [0; HELD + 1], waiting_from: u64::MAX };
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self { by_kind: Vec::new() }
    }

    /// The event, whose fields are those with which it enters `lane`, is there from now on.
    pub(crate) fn enter(&mut self, slot: &Slot, lane: Lane) {
        let number = slot.kind() as usize;
        if number >= self.by_kind.len() {
            self.by_kind.resize(number + 1, Kind::NONE);
        }
        if let Some(kind) = self.by_kind.get_mut(number) {
            *column(&mut kind.stands, slot, lane) += 1;
            if waits(slot) {
                kind.waiting_from = kind.waiting_from.min(slot.seq);
            }
        }
    }

    /// The event is in `lane` no more.
    pub(crate) fn leave(&mut self, slot: &Slot, lane: Lane) {
        if let Some(kind) = self.by_kind.get_mut(slot.kind() as usize) {
            *column(&mut kind.stands, slot, lane) -= 1;
        }
    }

    /// How many types there were.
    pub(crate) fn len(&self) -> usize {
        self.by_kind.len()
    }

    /// How many events of a type stand where.
    pub(crate) fn stands(&self, number: usize) -> Stands {
        self.by_kind.get(number).map_or(Kind::NONE.stands, |kind| kind.stands)
    }

    /// From which seq on to look for the type's event that has waited longest; none: none waits.
    pub(crate) fn waiting_from(&self, number: usize) -> Option<u64> {
        let Kind { stands, waiting_from } = self.by_kind.get(number)?;
        let mut waiting = [Status::Pending as usize, Status::Retrying as usize, HELD].into_iter();
        waiting.any(|column| stands.get(column).is_some_and(|count| *count > 0)).then_some(*waiting_from)
    }

    /// No event of the type that waits was received before `seq`: the next look begins there.
    pub(crate) fn note_waiting_from(&mut self, number: usize, seq: u64) {
        if let Some(kind) = self.by_kind.get_mut(number) {
            kind.waiting_from = seq;
        }
    }

    /// Panics unless every event is counted once, and none that waits was received before the looks begin.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check<'s>(&self, slots: impl Iterator<Item = &'s Slot>) {
        let mut counted = vec![Kind::NONE.stands; self.by_kind.len()];
        for slot in slots {
            let number = slot.kind() as usize;
            let (Some(kind), Some(counted)) = (self.by_kind.get(number), counted.get_mut(number)) else {
                unreachable!("slots hold numbers that were given out")
            };
            *column(counted, slot, slot.lane()) += 1;
            assert!(!waits(slot) || kind.waiting_from <= slot.seq, "seq {} waits and is found", slot.seq);
        }
        let stands: Vec<Stands> = self.by_kind.iter().map(|kind| kind.stands).collect();
        assert_eq!(counted, stands, "events are counted by type");
    }
}

/// Whether it waits to run, for whatever reason.
pub(crate) fn waits(slot: &Slot) -> bool {
    matches!(slot.status(), Status::Pending | Status::Retrying)
}

fn column<'s>(stands: &'s mut Stands, slot: &Slot, lane: Lane) -> &'s mut u32 {
    let column = if lane == Lane::Held { HELD } else { slot.status() as usize };
    stands.get_mut(column).expect("there is a count for each status, and one for the held")
}

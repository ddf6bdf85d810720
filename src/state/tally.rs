//! How many events of each type stand where, and which of them has waited longest.
//!
//! Of those that wait, the one that was received first has waited longest. Which one that is, is known for as long as it waits, unless an
//! earlier one comes to wait again, which takes its place. Once it waits no more, the next one of its type may be anywhere behind it, and
//! is looked for only when somebody asks. One walk along the events looks for those of all types that were asked for:
//!
//! ```text
//! Known ──it waits no more──► Stale ──somebody asks──► Ahead ──the walk comes to where it stood──► Reached ──found──► Known
//! ```
//!
//! Where no type is reached, the walk jumps to the next one ahead. It goes on by pages, and others may do anything between two of them:
//! who comes to wait where the walk has been is noted as he comes.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::event::Status;
use crate::state::slot::{Lane, Slot};
use crate::state::slots::Slots;

/// Where held events are counted: behind the statuses.
pub(crate) const HELD: usize = Status::ALL.len();

/// The columns of those who wait.
const WAITING: [usize; 3] = [Status::Pending as usize, Status::Retrying as usize, HELD];

/// To begin a walk anew elsewhere costs about as much as so many events that are passed over.
const JUMP_COST: usize = 8;

/// The events of one type, by status in the order of [`Status::ALL`], then the held ones.
pub(crate) type Stands = [u32; HELD + 1];

/// All types, by number.
#[derive(Debug)]
pub(crate) struct Tally {
    by_kind: Vec<Kind>,
    walk: Walk,
}

#[derive(Debug, Clone, Copy)]
struct Kind {
    stands: Stands,
    first: First,
    /// Seq of the one that has waited longest, and when it was received. Where that is stale, it is one that waits no more, before which
    /// none waits; while it is looked for, the first of those that have come to wait since, [`u64::MAX`] if none has.
    waiting_from: u64,
    waiting_since: i64,
}

/// What is known of the event of a type that has waited longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// It is the one, if any waits.
    Known,
    /// It waited, and waits no more.
    Stale,
    /// It is looked for from a seq on that the walk has not reached.
    Ahead,
    /// It is looked for.
    Reached,
}

/// Who is looked for, and how far the walk has come.
#[derive(Debug)]
struct Walk {
    /// From which seq on, and for which type.
    ahead: BTreeSet<(u64, u32)>,
    reached: BTreeSet<u32>,
    /// The walk has come to here: nobody whom it has reached waits before.
    next: u64,
}

impl Kind {
    const NONE: Self = Self { stands: [0; HELD + 1], first: First::Known, waiting_from: u64::MAX, waiting_since: 0 };

    fn waiting_count(&self) -> u32 {
        WAITING.iter().filter_map(|column| self.stands.get(*column)).sum()
    }

    /// An event, which was counted, has come to wait.
    fn waits(&mut self, slot: &Slot) {
        let is_only = || self.first == First::Stale && self.waiting_count() == 1;
        if slot.seq <= self.waiting_from || is_only() {
            (self.waiting_from, self.waiting_since) = (slot.seq, slot.received_at);
            if self.first == First::Stale {
                self.first = First::Known;
            }
        }
    }

    /// The walk has found the first that waits from where it began. If one before it has come to wait since, that one may have run already.
    fn found(&mut self, slot: &Slot) {
        self.first = if slot.seq <= self.waiting_from { First::Known } else { First::Stale };
        if self.first == First::Known {
            (self.waiting_from, self.waiting_since) = (slot.seq, slot.received_at);
        }
    }
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self { by_kind: Vec::new(), walk: Walk { ahead: BTreeSet::new(), reached: BTreeSet::new(), next: 0 } }
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
                kind.waits(slot);
            }
        }
    }

    /// The event is in `lane` no more.
    pub(crate) fn leave(&mut self, slot: &Slot, lane: Lane) {
        if let Some(kind) = self.by_kind.get_mut(slot.kind() as usize) {
            *column(&mut kind.stands, slot, lane) -= 1;
            if kind.first == First::Known && slot.seq == kind.waiting_from {
                kind.first = First::Stale;
            }
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

    /// Whether events of a type are held.
    pub(crate) fn has_held(&self, number: u32) -> bool {
        self.by_kind.get(number as usize).and_then(|kind| kind.stands.get(HELD)).is_some_and(|count| *count > 0)
    }

    /// When the event of a type was received that waits and has waited longest, as it was when last looked for.
    pub(crate) fn oldest_waiting(&self, number: usize) -> Option<i64> {
        let kind = self.by_kind.get(number).filter(|kind| kind.waiting_count() > 0 && kind.waiting_from < u64::MAX)?;
        Some(kind.waiting_since)
    }

    /// Whether it is being looked for.
    pub(crate) fn is_sought(&self, number: usize) -> bool {
        self.by_kind.get(number).is_some_and(|kind| matches!(kind.first, First::Ahead | First::Reached))
    }

    /// Has the first be looked for of those of these types of which it is not known.
    pub(crate) fn seek(&mut self, numbers: Range<usize>) {
        for number in numbers {
            let Some(kind) = self.by_kind.get_mut(number) else { return };
            if kind.first == First::Stale && kind.waiting_count() > 0 {
                kind.first = First::Ahead;
                self.walk.ahead.insert((kind.waiting_from, u32::try_from(number).expect("a number has twenty bits")));
                // From here on it tells who comes to wait.
                kind.waiting_from = u64::MAX;
            }
        }
    }

    /// Goes on with the walk, past `count_max` events at most or a little more; returns past how many.
    pub(crate) fn walk(&mut self, slots: &Slots, count_max: usize) -> usize {
        let mut count = 0;
        while count < count_max && self.is_walk_on() {
            let mut is_end = true;
            for slot in slots.from(self.walk.next).map(|at| &slots[at]) {
                if count >= count_max || self.walk.reached.is_empty() && !self.reach(slot.seq) {
                    is_end = false;
                    break;
                }
                self.pass(slot);
                count += 1;
            }
            if is_end {
                self.reach(u64::MAX);
                for kind in std::mem::take(&mut self.walk.reached) {
                    self.kind_mut(kind).first = First::Stale;
                }
            }
            count += JUMP_COST;
        }
        count
    }

    /// Whether anybody is looked for; if nobody is where the walk is, it goes to the next one, and from the last to the first.
    fn is_walk_on(&mut self) -> bool {
        if !self.walk.reached.is_empty() {
            return true;
        }
        let next = self.walk.ahead.range((self.walk.next, 0)..).next().or_else(|| self.walk.ahead.first());
        let Some((from, _)) = next.copied() else { return false };
        self.walk.next = from;
        self.reach(from)
    }

    /// Whoever is to be looked for from `seq` on, or from between there and where the walk was, is looked for; whether anybody is.
    fn reach(&mut self, seq: u64) -> bool {
        while let Some((from, kind)) = self.walk.ahead.range((self.walk.next, 0)..=(seq, u32::MAX)).next().copied() {
            self.walk.ahead.remove(&(from, kind));
            self.walk.reached.insert(kind);
            self.kind_mut(kind).first = First::Reached;
        }
        !self.walk.reached.is_empty()
    }

    /// The walk passes over an event.
    fn pass(&mut self, slot: &Slot) {
        self.reach(slot.seq);
        self.walk.next = slot.seq + 1;
        let kind = self.kind_mut(slot.kind());
        if kind.first == First::Reached && waits(slot) {
            kind.found(slot);
            self.walk.reached.remove(&slot.kind());
        }
    }

    fn kind_mut(&mut self, kind: u32) -> &mut Kind {
        self.by_kind.get_mut(kind as usize).expect("who is looked for, or is in a lane, was counted")
    }

    /// Panics unless every event is counted once, and of those that wait the first is known or will be found.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check<'s>(&self, slots: impl Iterator<Item = &'s Slot>) {
        let mut counted = vec![Kind::NONE.stands; self.by_kind.len()];
        let mut firsts = vec![u64::MAX; self.by_kind.len()];
        let from = |first, number: usize| match first {
            First::Known | First::Stale => 0,
            First::Reached => self.walk.next,
            First::Ahead => {
                let of_kind = |(_, kind): &&(u64, u32)| *kind as usize == number;
                self.walk.ahead.iter().find(of_kind).expect("who is ahead is known to the walk").0
            }
        };
        for slot in slots {
            let number = slot.kind() as usize;
            let (Some(kind), Some(counted)) = (self.by_kind.get(number), counted.get_mut(number)) else {
                unreachable!("slots hold numbers that were given out")
            };
            *column(counted, slot, slot.lane()) += 1;
            if waits(slot) {
                let is_noted = kind.waiting_from <= slot.seq;
                let is_sought = self.is_sought(number) && from(kind.first, number) <= slot.seq;
                assert!(is_noted || is_sought, "seq {} waits and is found", slot.seq);
                if let Some(first) = firsts.get_mut(number) {
                    *first = slot.seq.min(*first);
                }
            }
        }
        for (kind, first) in self.by_kind.iter().zip(firsts) {
            let is_first = first == kind.waiting_from || kind.waiting_count() == 0;
            assert!(kind.first != First::Known || is_first, "seq {first} has waited longest");
        }
        let reached = self.by_kind.iter().filter(|kind| kind.first == First::Reached).count();
        assert_eq!(reached, self.walk.reached.len(), "the walk knows whom it looks for");
        let stands: Vec<Stands> = self.by_kind.iter().map(|kind| kind.stands).collect();
        assert_eq!(counted, stands, "events are counted by type");
    }
}

/// Whether it waits to run, for whatever reason.
fn waits(slot: &Slot) -> bool {
    matches!(slot.status(), Status::Pending | Status::Retrying)
}

fn column<'s>(stands: &'s mut Stands, slot: &Slot, lane: Lane) -> &'s mut u32 {
    let column = if lane == Lane::Held { HELD } else { slot.status() as usize };
    stands.get_mut(column).expect("there is a count for each status, and one for the held")
}

#[cfg(test)]
mod tests {
    use super::JUMP_COST;
    use crate::event::entry::{Begun, Entry, Received, Started};
    use crate::event::{Moment, Place, Timestamp};
    use crate::state::foreign::EVENT;
    use crate::state::{IdHasher, Policy, State};

    const NOW: Moment = Moment { wall: Timestamp::from_unix_micros(0), steady: 0 };
    const PLACE: Place = Place { segment: 1, offset: 0, length: 1 };

    /// A state with an event of each of these types, received at the moment of its number, of which those run that these number.
    fn state(types: &[String], running: impl IntoIterator<Item = usize>) -> State {
        let (mut state, hasher) = (State::new([1; 16], Policy::default()), IdHasher::new([1; 16]));
        let begun = Begun { first_seq: 1, epoch: 1, boot: 1, at: 0, predecessor: None };
        let _ = state.apply(1, PLACE, &Entry::Begun(begun), NOW).unwrap();
        for (seq, event_type) in (2..).zip(types) {
            let received_at = i64::try_from(seq).unwrap() - 2;
            let event = Received { id: &seq.to_string(), received_at, ..EVENT };
            let _ = state.apply_gist((seq, PLACE), &hasher.gist(&event), event_type, NOW).unwrap();
        }
        for (seq, number) in (types.len() as u64 + 2..).zip(running) {
            let of = state.events.slots[state.events.slots.by_seq(number as u64 + 2).unwrap()].of();
            let started = Started { of, epoch: 1, attempt: 1, alone: false, opens_claim: true, at: 0 };
            let _ = state.apply(seq, PLACE, &Entry::Started(started), NOW).unwrap();
        }
        state.check();
        state
    }

    /// When the oldest of each type was received, and past how many events the walk went.
    fn oldest(state: &mut State) -> (Vec<Option<i64>>, usize) {
        let types = 0..state.kind_count();
        state.seek_oldest(types.clone());
        let mut passed = 0;
        while types.clone().any(|number| state.of_type(number).is_err()) {
            let count = state.look_for_oldest(100);
            assert!((1..=100 + JUMP_COST).contains(&count), "{count}");
            passed += count;
            state.check();
        }
        (types.map(|number| state.of_type(number).unwrap().unwrap().oldest_waiting).collect(), passed)
    }

    #[test]
    fn however_many_types_there_are_one_walk_finds_the_oldest_of_each() {
        let (types, rounds) = (500, 20);
        let names: Vec<_> = (0..types * rounds).map(|number| format!("T{}", number % types)).collect();
        let mut state = state(&names, 0..types * (rounds - 1));
        let (found, passed) = oldest(&mut state);
        assert!(found.into_iter().eq((types * (rounds - 1)..names.len()).map(|number| i64::try_from(number).ok())));
        assert!(passed < 2 * names.len(), "{passed} of {} events", names.len());
        assert_eq!(oldest(&mut state).1, 0, "it is known");
    }

    #[test]
    fn the_walk_passes_over_what_lies_between_those_it_looks_for() {
        let mut names = vec!["Flood".to_owned(); 4_000];
        names.extend(["Rare", "Rare", "New"].map(str::to_owned));
        let mut state = state(&names, [0, 4_000, 4_002]);
        let (found, passed) = oldest(&mut state);
        assert_eq!(found, [Some(1), Some(4_001), None]);
        assert!(passed < 40, "{passed}");
    }
}

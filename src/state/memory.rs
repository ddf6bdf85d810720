//! Ids of forgotten events, so that duplicates are still refused.
//!
//! About 100 bytes each; the horizon `remembered_before` bounds how long, and by way of [`Memory::next_horizon`] how many.

use std::collections::BTreeMap;

use crate::event::entry::RememberedId;
use crate::state::hash::low;
use crate::state::index::Index;
use crate::state::order::Order;
use crate::state::slab::{Slab, Vacate};
use crate::state::slot::{Fact, Slot, ascending, descending, halves, whole};

const HAS_BODY_HASH: u8 = 1;
const BODY_IS_IDENTITY: u8 = 1 << 1;
const VACANT: u8 = 1 << 2;

/// What is left of an event.
#[derive(Debug, Clone, Copy)]
struct Ghost {
    seq: u64,
    id: [u64; 2],
    body: [u64; 2],
    received_at: i64,
    /// Where the evidence lies: its reception, or a `Remembered` entry. In a vacant place the next vacant one.
    segment: u32,
    marks: u8,
}

const _: () = assert!(size_of::<Ghost>() == 56);

impl Ghost {
    fn new(id: &RememberedId, segment: u32) -> Self {
        let body = id.body_hash.map_or(0, |_| HAS_BODY_HASH);
        let identity = if id.body_is_identity { BODY_IS_IDENTITY } else { 0 };
        Self {
            seq: id.seq,
            id: halves(id.id_hash),
            body: halves(id.body_hash.unwrap_or(0)),
            received_at: id.received_at,
            segment,
            marks: body | identity,
        }
    }

    fn id(&self) -> RememberedId {
        RememberedId {
            seq: self.seq,
            id_hash: whole(self.id),
            body_hash: (self.marks & HAS_BODY_HASH != 0).then(|| whole(self.body)),
            body_is_identity: self.marks & BODY_IS_IDENTITY != 0,
            received_at: self.received_at,
        }
    }

    fn identity(&self) -> Option<u128> {
        self.id().body_hash.filter(|_| self.marks & BODY_IS_IDENTITY != 0)
    }
}

impl Vacate for Ghost {
    fn vacant(next: u32) -> Self {
        Self { seq: 0, id: [0; 2], body: [0; 2], received_at: 0, segment: next, marks: VACANT }
    }

    fn next_vacant(&self) -> Option<u32> {
        (self.marks & VACANT != 0).then_some(self.segment)
    }
}

/// The remembered ids. Each is there once.
#[derive(Debug)]
pub(crate) struct Memory {
    ghosts: Slab<Ghost>,
    by_id: Index,
    by_body: Index,
    by_received_at: Order,
    by_segment: Order,
    /// How many there are in each segment.
    counts: BTreeMap<u32, u64>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            ghosts: Slab::new(),
            by_id: Index::new(),
            by_body: Index::new(),
            by_received_at: Order::new(),
            by_segment: Order::new(),
            counts: BTreeMap::new(),
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.ghosts.len()
    }

    /// Remembers an id whose evidence lies in `segment`; one that is remembered already moves there.
    pub(crate) fn remember(&mut self, id: &RememberedId, segment: u32) {
        if let Some(at) = self.at(id.id_hash) {
            self.remove(at);
        }
        let ghost = Ghost::new(id, segment);
        let at = self.ghosts.insert(ghost);
        self.by_id.insert(low(id.id_hash), at);
        if let Some(body) = ghost.identity() {
            self.by_body.insert(low(body), at);
        }
        self.by_received_at.insert(ascending(id.received_at), at);
        self.by_segment.insert(u64::from(segment), at);
        *self.counts.entry(segment).or_default() += 1;
    }

    /// Remembers what is needed of an event that is forgotten.
    pub(crate) fn remember_slot(&mut self, slot: &Slot) {
        let id = RememberedId {
            seq: slot.seq,
            id_hash: slot.id(),
            body_hash: slot.body(),
            body_is_identity: slot.is(Fact::BODY_IS_IDENTITY),
            received_at: slot.received_at,
        };
        self.remember(&id, slot.place().segment);
    }

    /// Forgets what was received before.
    pub(crate) fn forget_before(&mut self, remembered_before: i64) {
        while let Some((received_at, at)) = self.by_received_at.first()
            && descending(received_at) < remembered_before
        {
            self.remove(at);
        }
    }

    /// The next `remembered_before` on the way to `target`, or further to leave at most `count_max`, and whether there is more of the
    /// way. It forgets about `step` ids, and more only if they were received in one and the same microsecond. Costs a walk over those.
    pub(crate) fn next_horizon(&self, target: i64, count_max: usize, step: usize) -> (i64, bool) {
        let received_at = |count: usize| self.by_received_at.from(0).nth(count).map(|(at, _)| descending(at));
        let Some(oldest) = received_at(0) else { return (target, false) };
        let excess = self.len().saturating_sub(count_max);
        let crowding = excess.min(step).checked_sub(1).and_then(received_at);
        let target = crowding.map_or(target, |last| target.max(last.saturating_add(1)));
        let next = received_at(step).filter(|next| *next < target).map_or(target, |next| next.max(oldest + 1));
        (next, next < target || excess > step && oldest < target)
    }

    pub(crate) fn by_id(&self, id: u128) -> Option<RememberedId> {
        self.at(id).map(|at| self.ghosts[at].id())
    }

    /// The remembered event whose body is identity and has this hash.
    pub(crate) fn by_body(&self, body: u128) -> Option<RememberedId> {
        let at = self.by_body.find(low(body), |at| self.ghosts[at].identity() == Some(body))?;
        Some(self.ghosts[at].id())
    }

    /// How many have their evidence in `segment`.
    pub(crate) fn count_in(&self, segment: u32) -> u64 {
        self.counts.get(&segment).copied().unwrap_or(0)
    }

    /// The segment in which the evidence of an id lies, and what is remembered.
    pub(crate) fn evidence(&self, id: u128) -> Option<(u32, RememberedId)> {
        self.at(id).map(|at| (self.ghosts[at].segment, self.ghosts[at].id()))
    }

    /// The evidence of an id lies in `to` from now on, if it lay in one of `from`, which ascend.
    pub(crate) fn relocate(&mut self, id: u128, from: &[u32], to: u32) {
        if let Some((segment, id)) = self.evidence(id)
            && from.binary_search(&segment).is_ok()
        {
            self.remember(&id, to);
        }
    }

    /// Those whose evidence lies in `segment`.
    pub(crate) fn in_segment(&self, segment: u32) -> impl Iterator<Item = RememberedId> {
        let numbers = self.by_segment.from(u64::from(segment));
        numbers.take_while(move |(found, _)| *found == u64::from(segment)).map(|(_, at)| self.ghosts[at].id())
    }

    /// Everything, by no particular order.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RememberedId, u32)> {
        self.ghosts.iter().map(|(_, ghost)| (ghost.id(), ghost.segment))
    }

    fn at(&self, id: u128) -> Option<u32> {
        if self.ghosts.len() == 0 {
            return None;
        }
        self.by_id.find(low(id), |at| whole(self.ghosts[at].id) == id)
    }

    fn remove(&mut self, at: u32) {
        let ghost = self.ghosts.remove(at);
        self.by_id.remove(low(whole(ghost.id)), at);
        if let Some(body) = ghost.identity() {
            self.by_body.remove(low(body), at);
        }
        self.by_received_at.remove(ascending(ghost.received_at), at);
        self.by_segment.remove(u64::from(ghost.segment), at);
        let count = self.counts.get_mut(&ghost.segment).expect("a segment counts its ids");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&ghost.segment);
        }
    }

    /// Panics if an index does not lead to every id, or leads elsewhere.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        self.by_received_at.check();
        self.by_segment.check();
        let mut bodies = 0;
        for (at, ghost) in self.ghosts.iter() {
            assert_eq!(self.at(whole(ghost.id)), Some(at), "the id of seq {} leads to it", ghost.seq);
            if let Some(body) = ghost.identity() {
                bodies += 1;
                assert_eq!(
                    self.by_body.find(low(body), |found| found == at),
                    Some(at),
                    "the body of seq {}",
                    ghost.seq
                );
            }
        }
        for (received_at, at) in self.by_received_at.from(0) {
            assert_eq!(descending(received_at), self.ghosts[at].received_at, "ids are ordered by their reception");
        }
        for (segment, at) in self.by_segment.from(0) {
            assert_eq!(segment, u64::from(self.ghosts[at].segment), "ids are ordered by their evidence");
        }
        let counted: u64 = self.counts.values().sum();
        assert_eq!(counted, self.len() as u64, "segments count all ids");
        let lens = [self.by_id.len(), self.by_body.len(), self.by_received_at.len(), self.by_segment.len()];
        assert_eq!(lens, [self.len(), bodies, self.len(), self.len()], "no index holds more than there is");
    }
}

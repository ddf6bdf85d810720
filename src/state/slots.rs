//! All slots, and the ways to find one.

use std::collections::BTreeMap;
use std::ops::{Index as At, IndexMut as AtMut};

use crate::event::Place;
#[cfg(any(test, fuzzing))]
use crate::event::limits;
use crate::state::hash::low;
use crate::state::index::{Gap, Index};
use crate::state::order::{Finder, Order};
use crate::state::slab::{NONE, Slab};
use crate::state::slot::{Fact, Slot};

/// So many seqs of late are remembered with their slots.
const RECENT_COUNT: usize = 16_384;

/// The events that are live or retained, by number, by seq, by id and by body; and what only few of them have.
#[derive(Debug)]
pub(crate) struct Slots {
    slab: Slab<Slot>,
    by_seq: Order,
    /// Where the slots of seqs were when last looked for, by their low bits. Transitions follow soon after their receptions, or after
    /// one another. A slot knows its seq, so nothing here need ever be taken back, and zeros, which take no memory, may stand for nothing.
    recent: Box<[u32]>,
    by_id: Index,
    /// Only those whose body is identity.
    by_body: Index,
    /// Ranks of those that were replayed, and when that was.
    ranks: BTreeMap<u32, (u64, i64)>,
    errors: BTreeMap<u32, Place>,
    /// What is known of those that were put off, or of whose handlers some have succeeded.
    extras: BTreeMap<u32, Extras>,
}

/// What few events have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Extras {
    /// How often it was put off since its reception or its last replay.
    snoozes: u32,
    /// Hashes of the names of its handlers that have succeeded, as many as are kept.
    handled: Vec<u64>,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self {
            slab: Slab::new(),
            by_seq: Order::new(),
            recent: vec![0; RECENT_COUNT].into_boxed_slice(),
            by_id: Index::new(),
            by_body: Index::new(),
            ranks: BTreeMap::new(),
            errors: BTreeMap::new(),
            extras: BTreeMap::new(),
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) const fn len(&self) -> usize {
        self.slab.len()
    }

    /// A log is about to be replayed: until [`Slots::settle`] indexes grow in great steps.
    pub(crate) const fn expect_many(&mut self) {
        self.by_id.expect_many();
        self.by_body.expect_many();
    }

    /// It was replayed.
    pub(crate) fn settle(&mut self) {
        self.by_id.settle();
        self.by_body.settle();
    }

    /// Adds a slot whose id was not found, and led to `gap`.
    pub(crate) fn insert(&mut self, slot: Slot, gap: Gap) -> u32 {
        let (seq, identity) = (slot.seq, slot.identity());
        let at = self.slab.insert(slot);
        self.by_seq.insert(seq, at);
        self.by_id.fill(gap, at);
        self.note(seq, at);
        if let Some(body) = identity {
            self.by_body.insert(low(body), at);
        }
        at
    }

    pub(crate) fn remove(&mut self, at: u32) -> Slot {
        let slot = self.slab.remove(at);
        self.by_seq.remove(slot.seq, at);
        self.by_id.remove(low(slot.id()), at);
        if let Some(body) = slot.identity() {
            self.by_body.remove(low(body), at);
        }
        if slot.is(Fact::RERANKED) {
            self.ranks.remove(&at);
        }
        if slot.is(Fact::HAS_ERROR) {
            self.errors.remove(&at);
        }
        self.extras.remove(&at);
        slot
    }

    /// The slot with this number, if an event has it.
    pub(crate) fn lookup(&self, at: u32) -> Option<&Slot> {
        self.slab.lookup(at)
    }

    pub(crate) fn by_seq(&self, seq: u64) -> Option<u32> {
        let at = self.recent.get(recent(seq)).copied().unwrap_or(NONE);
        match self.slab.lookup(at) {
            Some(slot) if slot.seq == seq => Some(at),
            _ => self.by_seq.get(seq),
        }
    }

    /// As [`Slots::by_seq`], for many that lie close to one another in the log.
    pub(crate) fn finder(&self) -> Finder<'_> {
        self.by_seq.finder()
    }

    /// The slot of `seq` is `at`, and will be asked for again soon.
    pub(crate) fn note(&mut self, seq: u64, at: u32) {
        if let Some(place) = self.recent.get_mut(recent(seq)) {
            *place = at;
        }
    }

    pub(crate) fn by_id(&self, id: u128) -> Option<u32> {
        self.by_id.find(low(id), |at| self[at].id() == id)
    }

    /// The event with this id, or where one would lie in the index.
    pub(crate) fn by_id_or_gap(&self, id: u128) -> Result<u32, Gap> {
        self.by_id.find_or_gap(low(id), |at| self[at].id() == id)
    }

    /// Has what these ids lead to brought near: see [`Index::touch`].
    pub(crate) fn touch(&self, ids: impl Iterator<Item = u128>) {
        std::hint::black_box(ids.fold(0, |touched, id| touched ^ self.by_id.touch(low(id))));
    }

    /// The event whose body is identity and has this hash.
    pub(crate) fn by_body(&self, body: u128) -> Option<u32> {
        self.by_body.find(low(body), |at| self[at].identity() == Some(body))
    }

    /// All, by seq.
    pub(crate) const fn order(&self) -> &Order {
        &self.by_seq
    }

    /// Ascending by seq.
    pub(crate) fn from(&self, seq: u64) -> impl Iterator<Item = u32> {
        self.by_seq.from(seq).map(|(_, at)| at)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        self.slab.iter()
    }

    /// Its place in the order of what is offered: the seq of its reception or of its last replay.
    pub(crate) fn rank(&self, at: u32) -> u64 {
        let slot = &self[at];
        if slot.is(Fact::RERANKED) { self.ranks.get(&at).map_or(slot.seq, |(rank, _)| *rank) } else { slot.seq }
    }

    /// Since when it has waited: its reception or its last replay.
    pub(crate) fn since(&self, at: u32) -> i64 {
        let slot = &self[at];
        let replayed = if slot.is(Fact::RERANKED) { self.ranks.get(&at) } else { None };
        replayed.map_or(slot.received_at, |(_, since)| *since)
    }

    pub(crate) fn set_rank(&mut self, at: u32, rank: u64, since: i64) {
        self.ranks.insert(at, (rank, since));
        self[at].set(Fact::RERANKED, true);
    }

    /// Where the record lies that holds its error text.
    pub(crate) fn error_at(&self, at: u32) -> Option<Place> {
        if self[at].is(Fact::HAS_ERROR) { self.errors.get(&at).copied() } else { None }
    }

    pub(crate) fn set_error_at(&mut self, at: u32, place: Option<Place>) {
        let had = self[at].is(Fact::HAS_ERROR);
        if let Some(place) = place {
            self.errors.insert(at, place);
        } else if had {
            self.errors.remove(&at);
        }
        self[at].set(Fact::HAS_ERROR, place.is_some());
    }

    /// How often it was put off since its reception or its last replay.
    pub(crate) fn snoozes(&self, at: u32) -> u32 {
        self.extras.get(&at).map_or(0, |extras| extras.snoozes)
    }

    pub(crate) fn set_snoozes(&mut self, at: u32, snoozes: u32) {
        if snoozes > 0 {
            self.extras.entry(at).or_default().snoozes = snoozes;
        } else if let Some(extras) = self.extras.get_mut(&at) {
            extras.snoozes = 0;
            if extras.handled.is_empty() {
                self.extras.remove(&at);
            }
        }
    }

    /// Hashes of the names of its handlers that have succeeded.
    pub(crate) fn handled(&self, at: u32) -> &[u64] {
        self.extras.get(&at).map_or(&[], |extras| &extras.handled)
    }

    pub(crate) fn add_handled(&mut self, at: u32, handler: u64) {
        self.extras.entry(at).or_default().handled.push(handler);
    }

    /// It was never put off, and none of its handlers has succeeded.
    pub(crate) fn forget_extras(&mut self, at: u32) {
        self.extras.remove(&at);
    }

    /// Panics if an index does not lead to every slot, or leads elsewhere.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        self.by_seq.check();
        let mut finder = self.finder();
        for (seq, at) in self.by_seq.from(0) {
            assert_eq!(
                (self.by_seq.get(seq), finder.get(seq)),
                (Some(at), Some(at)),
                "seq {seq} is found in the order"
            );
        }
        let (mut bodies, mut ranks, mut errors) = (0, 0, 0);
        for (at, slot) in self.iter() {
            assert_eq!(self.by_seq(slot.seq), Some(at), "seq {} leads to its slot", slot.seq);
            assert_eq!(self.by_id(slot.id()), Some(at), "the id of seq {} leads to its slot", slot.seq);
            if let Some(body) = slot.identity() {
                bodies += 1;
                let found = self.by_body.find(low(body), |found| found == at);
                assert_eq!(found, Some(at), "the body of seq {} leads to its slot", slot.seq);
            }
            ranks += usize::from(slot.is(Fact::RERANKED));
            assert_eq!(slot.is(Fact::RERANKED), self.ranks.contains_key(&at), "a rank belongs to seq {}", slot.seq);
            errors += usize::from(slot.is(Fact::HAS_ERROR));
            assert_eq!(slot.is(Fact::HAS_ERROR), self.errors.contains_key(&at), "an error belongs to seq {}", slot.seq);
        }
        for (at, extras) in &self.extras {
            assert!(self.slab.lookup(*at).is_some(), "what few events have is theirs");
            assert!(*extras != Extras::default() && extras.handled.len() <= limits::HANDLERS_MAX, "{extras:?}");
        }
        let lens = [self.by_seq.len(), self.by_id.len(), self.by_body.len(), self.ranks.len(), self.errors.len()];
        assert_eq!(lens, [self.len(), self.len(), bodies, ranks, errors], "no index holds more than the slots");
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are picked")]
const fn recent(seq: u64) -> usize {
    seq as usize % RECENT_COUNT
}

impl At<u32> for Slots {
    type Output = Slot;

    fn index(&self, at: u32) -> &Slot {
        &self.slab[at]
    }
}

impl AtMut<u32> for Slots {
    fn index_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.slab[at]
    }
}

//! Slots by hash.
//!
//! ```text
//! hash ─► shard (12 bits) ─► place in the shard (tag, 16 bits) ─► slot; the slot itself holds the whole hash
//! ```
//!
//! Six bytes an entry at a load of 75 to 85 %. A map of a million entries that doubles stops everybody for milliseconds: here each
//! of 4,096 shards grows by an eighth on its own. Hashes are keyed already, so their bits are used as they are.

const SHARD_COUNT: usize = 4_096;
const SHARD_LEN_MIN: usize = 8;

/// A tag and a slot in three words of sixteen bits, because a `(u16, u32)` would be padded to eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell([u16; 3]);

impl Cell {
    /// No slot has the number that this holds.
    const EMPTY: Self = Self([u16::MAX; 3]);

    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a u32")]
    const fn new(tag: u16, slot: u32) -> Self {
        Self([tag, (slot >> 16) as u16, slot as u16])
    }

    const fn tag(self) -> u16 {
        let Self([tag, _, _]) = self;
        tag
    }

    const fn slot(self) -> u32 {
        let Self([_, high, low]) = self;
        (high as u32) << 16 | low as u32
    }

    const fn is_empty(self) -> bool {
        self.slot() == u32::MAX
    }
}

/// Finds slots by a hash. Several may share one.
#[derive(Debug)]
pub(crate) struct Index {
    shards: Vec<Shard>,
    len: usize,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { shards: vec![Shard::default(); SHARD_COUNT], len: 0 }
    }

    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The first slot under `hash` that `is_it`. Asked are slots whose hash may differ: `is_it` compares the whole.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (shard, tag) = split(hash);
        self.shards.get(shard)?.find(tag, is_it)
    }

    /// The same, or where a slot under `hash` would lie: good for one [`Index::fill`] while nothing else changes.
    pub(crate) fn find_or_gap(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Result<u32, Gap> {
        let (shard, tag) = split(hash);
        let found = self.shards.get(shard).map_or(Err(0), |shard| shard.find_or_gap(tag, is_it));
        found.map_err(|at| Gap { hash, at })
    }

    /// Puts a slot into a gap.
    pub(crate) fn fill(&mut self, gap: Gap, slot: u32) {
        let (shard, tag) = split(gap.hash);
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.fill(gap.at, Cell::new(tag, slot));
            self.len += 1;
        }
    }

    pub(crate) fn insert(&mut self, hash: u64, slot: u32) {
        let (shard, tag) = split(hash);
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.insert(Cell::new(tag, slot));
            self.len += 1;
        }
    }

    /// Removes what is there.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32) {
        let (shard, tag) = split(hash);
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.remove(Cell::new(tag, slot));
            self.len -= 1;
        }
    }

    /// Puts `new` where `old` is, under the same hash.
    pub(crate) fn replace(&mut self, hash: u64, old: u32, new: u32) {
        let (shard, tag) = split(hash);
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.replace(Cell::new(tag, old), Cell::new(tag, new));
        }
    }
}

/// The place for a hash that was not found.
#[derive(Debug)]
pub(crate) struct Gap {
    hash: u64,
    /// The empty place in its shard.
    at: usize,
}

/// The shard and the tag of a hash.
#[expect(clippy::cast_possible_truncation, reason = "bits are picked")]
const fn split(hash: u64) -> (usize, u16) {
    ((hash >> 52) as usize, (hash >> 36) as u16)
}

/// Open addressing with linear probing; a removal closes the gap, so there are no tombstones.
#[derive(Debug, Clone, Default)]
struct Shard {
    cells: Box<[Cell]>,
    len: u32,
}

impl Shard {
    /// Where a tag would lie if nobody were in its way. It ascends with the tag, so growing walks through memory in order.
    fn home(&self, tag: u16) -> usize {
        (usize::from(tag) * self.cells.len()) >> 16
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.cells.len() { 0 } else { at + 1 }
    }

    /// Where the probing for `tag` meets the first cell that `is_it`; there is always an empty one to end at.
    fn probe(&self, tag: u16, is_it: impl Fn(Cell) -> bool) -> Option<usize> {
        let mut at = self.home(tag);
        loop {
            let cell = *self.cells.get(at)?;
            if is_it(cell) {
                return Some(at);
            }
            if cell.is_empty() {
                return None;
            }
            at = self.next(at);
        }
    }

    fn find(&self, tag: u16, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let at = self.probe(tag, |cell| cell.tag() == tag && !cell.is_empty() && is_it(cell.slot()))?;
        self.cells.get(at).map(|cell| cell.slot())
    }

    fn find_or_gap(&self, tag: u16, is_it: impl Fn(u32) -> bool) -> Result<u32, usize> {
        let mut at = self.home(tag);
        loop {
            match self.cells.get(at) {
                Some(cell) if cell.is_empty() => return Err(at),
                Some(cell) if cell.tag() == tag && is_it(cell.slot()) => return Ok(cell.slot()),
                Some(_) => at = self.next(at),
                None => return Err(at),
            }
        }
    }

    fn fill(&mut self, gap: usize, cell: Cell) {
        if self.is_full() {
            return self.insert(cell);
        }
        debug_assert!(self.cells.get(gap).is_some_and(|gap| gap.is_empty()), "a gap is filled once");
        self.put(gap, cell);
        self.len += 1;
    }

    fn insert(&mut self, cell: Cell) {
        if self.is_full() {
            self.grow();
        }
        self.place(cell);
        self.len += 1;
    }

    /// Whether one more makes it grow.
    fn is_full(&self) -> bool {
        (self.len as usize + 1) * 100 > self.cells.len() * 85
    }

    fn place(&mut self, cell: Cell) {
        let at = self.probe(cell.tag(), Cell::is_empty).expect("a shard is never full");
        if let Some(empty) = self.cells.get_mut(at) {
            *empty = cell;
        }
    }

    fn grow(&mut self) {
        let len = (self.cells.len() + self.cells.len() / 8 + 1).max(SHARD_LEN_MIN);
        let old = std::mem::replace(&mut self.cells, vec![Cell::EMPTY; len].into_boxed_slice());
        for cell in old.into_iter().filter(|cell| !cell.is_empty()) {
            self.place(cell);
        }
    }

    fn replace(&mut self, old: Cell, new: Cell) {
        let at = self.probe(old.tag(), |cell| cell == old).expect("only what is there is replaced");
        if let Some(cell) = self.cells.get_mut(at) {
            *cell = new;
        }
    }

    fn remove(&mut self, cell: Cell) {
        let mut gap = self.probe(cell.tag(), |other| other == cell).expect("only what is there is removed");
        let mut at = gap;
        loop {
            at = self.next(at);
            let cell = self.cells.get(at).copied().unwrap_or(Cell::EMPTY);
            if cell.is_empty() {
                break;
            }
            // A cell may move into the gap unless its home lies after the gap, on the way to where it is.
            let home = self.home(cell.tag());
            let stays = if gap <= at { gap < home && home <= at } else { gap < home || home <= at };
            if !stays {
                self.put(gap, cell);
                gap = at;
            }
        }
        self.put(gap, Cell::EMPTY);
        self.len -= 1;
        self.shrink();
    }

    fn put(&mut self, at: usize, cell: Cell) {
        if let Some(place) = self.cells.get_mut(at) {
            *place = cell;
        }
    }

    /// Gives memory back once three quarters of it are empty.
    fn shrink(&mut self) {
        let len = self.len as usize;
        if self.cells.len() > SHARD_LEN_MIN && len * 4 < self.cells.len() {
            let old = std::mem::take(&mut self.cells);
            self.cells = vec![Cell::EMPTY; (len * 2).max(SHARD_LEN_MIN)].into_boxed_slice();
            for cell in old.into_iter().filter(|cell| !cell.is_empty()) {
                self.place(cell);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::state::chance::Chance;

    /// The same operations on an [`Index`] and on a map leave the same entries; `bits` few make many hashes meet.
    fn check(seed: u64, mask: u64, steps: u32, removals: u64) {
        let mut chance = Chance::new(seed);
        let (mut index, mut map) = (Index::new(), HashMap::<u32, u64>::new());
        for slot in 0..steps {
            if chance.below(10) < removals {
                let victim = u32::try_from(chance.below(u64::from(slot) + 1)).unwrap();
                if let Some(hash) = map.remove(&victim) {
                    index.remove(hash, victim);
                    assert_eq!(index.find(hash, |found| found == victim), None, "seed {seed}");
                }
            } else {
                let hash = chance.next() & mask;
                index.insert(hash, slot);
                map.insert(slot, hash);
            }
        }
        assert_eq!(index.len(), map.len());
        for (slot, hash) in &map {
            assert_eq!(index.find(*hash, |found| found == *slot), Some(*slot), "seed {seed}");
        }
        for (slot, hash) in map {
            index.replace(hash, slot, slot + steps);
            index.remove(hash, slot + steps);
        }
        assert_eq!(index.len(), 0);
    }

    #[test]
    fn it_holds_what_a_map_holds() {
        check(1, u64::MAX, 50_000, 2);
        check(2, 3 << 52 | 7 << 40, 3_000, 4);
        check(3, 1 << 52 | 0xffff << 36, 20_000, 5);
        check(4, 0xffff << 36, 20_000, 3);
    }

    #[test]
    fn an_entry_costs_less_than_eight_bytes() {
        let (mut index, mut chance) = (Index::new(), Chance::new(5));
        for slot in 0..400_000 {
            index.insert(chance.next(), slot);
        }
        let cells: usize = index.shards.iter().map(|shard| shard.cells.len()).sum();
        assert!(cells * size_of::<Cell>() < 400_000 * 83 / 10, "{cells} cells");
    }
}

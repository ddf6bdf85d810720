//! Slots by hash.
//!
//! ```text
//! hash ─► shard (12 bits) ─► place in the shard (tag, 16 bits) ─► slot; the slot itself holds the whole hash
//! ```
//!
//! Six bytes an entry at a load of 75 to 85 %. A map of a million entries that doubles stops everybody for milliseconds: here each
//! of 4,096 shards grows by an eighth on its own. While a log is replayed nobody waits for that, and most will come at once: then they
//! double, and are made to fit at the end. Hashes are keyed already, so their bits are used as they are.

use crate::state::at_once::both;

const SHARD_COUNT: usize = 4_096;
const SHARD_LEN_MIN: usize = 8;
/// A shard that would be fuller grows.
const LOAD_PERCENT_MAX: usize = 85;
/// How full a shard is that was made to fit.
const LOAD_PERCENT_SETTLED: usize = 80;
/// So many cells are added where the last homes overflow.
const SPARE_LEN: usize = 4;
/// About how many cells a search looks at.
const TOUCHED_LEN: usize = 10;

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
    /// None before the first entry: most stores have an index or two that they never use.
    shards: Vec<Shard>,
    len: usize,
    growth: Growth,
}

/// By how much a shard grows that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    Eighth,
    Double,
}

impl Growth {
    const fn of(self, len: usize) -> usize {
        match self {
            Self::Eighth => len / 8,
            Self::Double => len,
        }
    }
}

impl Index {
    pub(crate) const fn new() -> Self {
        Self { shards: Vec::new(), len: 0, growth: Growth::Eighth }
    }

    /// Of pairs of a hash and a slot, by ascending hash: in another order they would not be found. Each shard is laid out once, as full
    /// as one that was made to fit.
    pub(crate) fn of(pairs: impl Iterator<Item = (u64, u32)>) -> Self {
        let mut index = Self::new();
        let mut pairs = pairs.map(|(hash, slot)| (split(hash), slot)).peekable();
        let mut cells = Vec::new();
        while let Some(((shard, _), _)) = pairs.peek().copied() {
            let of_shard = std::iter::from_fn(|| pairs.next_if(|((of, _), _)| *of == shard));
            cells.extend(of_shard.map(|((_, tag), slot)| Cell::new(tag, slot)));
            index.len += cells.len();
            if let Some(shard) = index.shards_mut().get_mut(shard) {
                *shard = Shard::laid(cells.iter(), settled_len(cells.len()));
            }
            cells.clear();
        }
        index
    }

    /// A great many entries are about to come: until [`Index::settle`] its shards double.
    pub(crate) const fn expect_many(&mut self) {
        self.growth = Growth::Double;
    }

    /// They have come: shards give back what they have too much, and grow by an eighth from here on.
    pub(crate) fn settle(&mut self) {
        self.growth = Growth::Eighth;
        let middle = self.shards.len() / 2;
        let (lower, upper) = self.shards.split_at_mut(middle);
        let settle = |shards: &mut [Shard]| shards.iter_mut().for_each(Shard::settle);
        both(self.len, || settle(lower), || settle(upper));
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    fn shards_mut(&mut self) -> &mut [Shard] {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARD_COUNT, Shard::default);
        }
        &mut self.shards
    }

    /// The first slot under `hash` that `is_it`. Asked are slots whose hash may differ: `is_it` compares the whole.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (shard, tag) = split(hash);
        self.shards.get(shard)?.find(tag, is_it)
    }

    /// Reads where `hash` would be looked for, so that it is in the processor's cache soon. What it returns means nothing.
    pub(crate) fn touch(&self, hash: u64) -> u16 {
        let (shard, tag) = split(hash);
        let Some(shard) = self.shards.get(shard) else { return 0 };
        let at = shard.home(tag);
        let word = |at: usize| shard.cells.get(at).map_or(0, |cell| cell.tag());
        word(at) ^ word(at + TOUCHED_LEN)
    }

    /// The same, or where a slot under `hash` would lie: good for one [`Index::fill`] while nothing else changes.
    pub(crate) fn find_or_gap(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Result<u32, Gap> {
        let (shard, tag) = split(hash);
        let found = self.shards.get(shard).map_or(Err(0), |shard| shard.find_or_gap(tag, is_it));
        found.map_err(|at| Gap { hash, at })
    }

    /// Puts a slot into a gap.
    pub(crate) fn fill(&mut self, gap: Gap, slot: u32) {
        let ((shard, tag), growth) = (split(gap.hash), self.growth);
        if let Some(shard) = self.shards_mut().get_mut(shard) {
            shard.fill(gap.at, Cell::new(tag, slot), growth);
            self.len += 1;
        }
    }

    pub(crate) fn insert(&mut self, hash: u64, slot: u32) {
        let ((shard, tag), growth) = (split(hash), self.growth);
        if let Some(shard) = self.shards_mut().get_mut(shard) {
            shard.insert(Cell::new(tag, slot), growth);
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

/// How many cells a shard takes that is made to fit so many slots.
fn settled_len(count: usize) -> usize {
    (count * 100 / LOAD_PERCENT_SETTLED + 1).max(SHARD_LEN_MIN)
}

/// Open addressing with linear probing, sorted: tags ascend through the cells, whatever lies between them empty. So a search ends at
/// the first tag that is greater, and growing is one walk through old and new cells. There are no tombstones.
#[derive(Debug, Clone, Default)]
struct Shard {
    cells: Box<[Cell]>,
    len: u32,
    /// So many of the cells are homes; those behind take what the last homes have no room for.
    homes: u32,
}

impl Shard {
    /// Of these, whose tags ascend, in about `len` cells.
    fn laid<'c>(sorted: impl Iterator<Item = &'c Cell>, len: usize) -> Self {
        let homes = u32::try_from(len - len / 32 - 1);
        let homes = homes.expect("slots have numbers of 32 bits, and each takes less than two cells");
        let mut shard = Self { homes, ..Self::default() };
        let mut cells = Vec::with_capacity(len);
        for cell in sorted {
            let home = shard.home(cell.tag());
            if home > cells.len() {
                cells.resize(home, Cell::EMPTY);
            }
            cells.push(*cell);
            shard.len += 1;
        }
        if cells.len() < len {
            cells.resize(len, Cell::EMPTY);
        }
        shard.cells = cells.into_boxed_slice();
        shard
    }

    /// Where a tag would lie if nobody were in its way. It ascends with the tag.
    const fn home(&self, tag: u16) -> usize {
        (tag as usize * self.homes as usize) >> 16
    }

    fn find(&self, tag: u16, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.find_or_gap(tag, is_it).ok()
    }

    /// The slot that `is_it`, or the place for one: the cell there, if there is one, is empty or has a greater tag.
    fn find_or_gap(&self, tag: u16, is_it: impl Fn(u32) -> bool) -> Result<u32, usize> {
        let mut at = self.home(tag);
        loop {
            match self.cells.get(at) {
                Some(cell) if cell.is_empty() || cell.tag() > tag => return Err(at),
                Some(cell) if cell.tag() == tag && is_it(cell.slot()) => return Ok(cell.slot()),
                Some(_) => at += 1,
                None => return Err(at),
            }
        }
    }

    fn insert(&mut self, cell: Cell, growth: Growth) {
        let Err(gap) = self.find_or_gap(cell.tag(), |_| false) else { return };
        self.fill(gap, cell, growth);
    }

    /// Puts a cell where nothing like it was found, and those after it one further.
    fn fill(&mut self, gap: usize, cell: Cell, growth: Growth) {
        if (self.len as usize + 1) * 100 > self.cells.len() * LOAD_PERCENT_MAX {
            self.rebuild((self.cells.len() + growth.of(self.cells.len()) + 1).max(SHARD_LEN_MIN));
            return self.insert(cell, growth);
        }
        let tail = self.cells.get(gap..).unwrap_or_default();
        let Some(moved) = tail.iter().position(|cell| cell.is_empty()) else {
            self.lengthen();
            return self.fill(gap, cell, growth);
        };
        self.cells.copy_within(gap..gap + moved, gap + 1);
        self.put(gap, cell);
        self.len += 1;
    }

    /// Adds cells behind the last homes.
    fn lengthen(&mut self) {
        let mut cells = std::mem::take(&mut self.cells).into_vec();
        cells.reserve_exact(SPARE_LEN);
        cells.extend([Cell::EMPTY; SPARE_LEN]);
        self.cells = cells.into_boxed_slice();
    }

    /// Moves everything into about `len` cells.
    fn rebuild(&mut self, len: usize) {
        *self = Self::laid(self.cells.iter().filter(|cell| !cell.is_empty()), len);
    }

    /// Gives back what it has too much, once everything has come.
    fn settle(&mut self) {
        let most = settled_len(self.len as usize);
        if self.cells.len() > most + most / 16 {
            self.rebuild(most);
        }
    }

    fn position(&self, cell: Cell) -> Option<usize> {
        let home = self.home(cell.tag());
        let found = self.cells.get(home..)?.iter().position(|other| *other == cell || other.is_empty())?;
        Some(home + found).filter(|at| self.cells.get(*at) == Some(&cell))
    }

    fn replace(&mut self, old: Cell, new: Cell) {
        let at = self.position(old).expect("only what is there is replaced");
        self.put(at, new);
    }

    fn remove(&mut self, cell: Cell) {
        let gap = self.position(cell).expect("only what is there is removed");
        let after = self.cells.get(gap + 1..).unwrap_or_default();
        // Those that are not at home move one back.
        let is_at_home = |(at, cell): (usize, &Cell)| cell.is_empty() || self.home(cell.tag()) > gap + at;
        let moved = after.iter().enumerate().position(is_at_home).unwrap_or(after.len());
        self.cells.copy_within(gap + 1..gap + 1 + moved, gap);
        self.put(gap + moved, Cell::EMPTY);
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
            self.rebuild((len * 2).max(SHARD_LEN_MIN));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::state::chance::Chance;

    /// The same operations on an [`Index`] and on a map leave the same entries; few bits in `mask` make many hashes meet. A quarter of them
    /// are there from the start.
    fn check(seed: u64, mask: u64, steps: u32, removals: u64) {
        let mut chance = Chance::new(seed);
        let mut pairs: Vec<(u64, u32)> = (0..steps / 4).map(|slot| (chance.next() & mask, slot)).collect();
        pairs.sort_unstable();
        let mut index = Index::of(pairs.iter().copied());
        let mut map: HashMap<u32, u64> = pairs.into_iter().map(|(hash, slot)| (slot, hash)).collect();
        for slot in steps / 4..steps {
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
    fn an_entry_costs_less_than_eight_bytes_whether_it_came_alone_or_with_many_or_with_all() {
        let mut chance = Chance::new(5);
        let mut hashes: Vec<u64> = (0..400_000).map(|_| chance.next()).collect();
        let one_by_one = |mut index: Index, hashes: &[u64]| {
            for (hash, slot) in hashes.iter().zip(0..) {
                index.insert(*hash, slot);
            }
            index.settle();
            index
        };
        let mut of_many = Index::new();
        of_many.expect_many();
        let (alone, many) = (one_by_one(Index::new(), &hashes), one_by_one(of_many, &hashes));
        let unsorted = hashes.clone();
        hashes.sort_unstable();
        let all = Index::of(hashes.iter().copied().zip(0..));
        for (index, hashes) in [(alone, &unsorted), (many, &unsorted), (all, &hashes)] {
            let cells: usize = index.shards.iter().map(|shard| shard.cells.len()).sum();
            assert!(cells * size_of::<Cell>() < 400_000 * 83 / 10, "{cells} cells");
            for (hash, slot) in hashes.iter().zip(0..) {
                assert_eq!(index.find(*hash, |found| found == slot), Some(slot));
            }
        }
    }
}

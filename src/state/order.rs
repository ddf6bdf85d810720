//! Slots in the order of a number: of a seq, of a time.
//!
//! ```text
//! first pair ──► run of at most 128 pairs (number, slot), sorted
//! first pair ──► run …                                            runs are found by a B-tree
//! ```
//!
//! Twelve bytes a pair, and runs that fill as seqs ascend: about 12.5 bytes per entry, where `BTreeSet` takes 32. Nothing here grows
//! by doubling: a full run gets a successor or is split.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Most pairs in a run.
const RUN_LEN_MAX: usize = 128;
/// A run that shrinks below this joins a neighbour if both fit into three quarters of a run.
const RUN_LEN_MIN: usize = 32;

/// A number and a slot, ordered by number, then slot. Three words, because a `(u64, u32)` would be padded to sixteen bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair([u32; 3]);

impl Pair {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a u64")]
    const fn new(number: u64, slot: u32) -> Self {
        Self([(number >> 32) as u32, number as u32, slot])
    }

    const fn number(self) -> u64 {
        let Self([high, low, _]) = self;
        (high as u64) << 32 | low as u64
    }

    const fn split(self) -> (u64, u32) {
        let Self([_, _, slot]) = self;
        (self.number(), slot)
    }

    /// The pair as one number, which is compared without branches.
    const fn key(self) -> u128 {
        let (number, slot) = self.split();
        (number as u128) << 32 | slot as u128
    }
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A set of (number, slot), in that order.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// Sorted runs, none empty, each under a pair that is not greater than its first and greater than all of the run before.
    runs: BTreeMap<Pair, Vec<Pair>>,
    /// The key of the last run, which most pairs belong to.
    last: Option<Pair>,
    len: usize,
}

impl Order {
    pub(crate) const fn new() -> Self {
        Self { runs: BTreeMap::new(), last: None, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The least.
    pub(crate) fn first(&self) -> Option<(u64, u32)> {
        let (_, run) = self.runs.first_key_value()?;
        run.first().map(|pair| pair.split())
    }

    /// The slot under exactly this number; the least if there are several.
    pub(crate) fn get(&self, number: u64) -> Option<u32> {
        let least = Pair::new(number, 0);
        let run = self.run_before(least).unwrap_or_default();
        let found = match run.get(run.partition_point(|pair| *pair < least)) {
            Some(pair) => pair.split(),
            None => self.from(number).next()?,
        };
        Some(found).filter(|(found, _)| *found == number).map(|(_, slot)| slot)
    }

    /// The run that a pair would be in, unless it goes before all.
    fn run_before(&self, pair: Pair) -> Option<&[Pair]> {
        if self.last.is_some_and(|last| last <= pair) {
            return self.runs.last_key_value().map(|(_, run)| run.as_slice());
        }
        self.runs.range(..=pair).next_back().map(|(_, run)| run.as_slice())
    }

    /// The same, to change it, and its key. Most pairs go to the last run: it is asked first.
    fn run_before_mut(&mut self, pair: Pair) -> Option<(Pair, &mut Vec<Pair>)> {
        if self.last.is_some_and(|last| last <= pair) {
            return self.runs.last_entry().map(|last| (*last.key(), last.into_mut()));
        }
        self.runs.range_mut(..=pair).next_back().map(|(first, run)| (*first, run))
    }

    /// All from `number` on, ascending.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = (u64, u32)> {
        let least = Pair::new(number, 0);
        let start = self.runs.range(..=least).next_back().map_or(least, |(first, _)| *first);
        let mut runs = self.runs.range(start..);
        let (mut run, mut at) = (&[][..], 0);
        if let Some((_, first)) = runs.next() {
            run = first;
            at = first.partition_point(|pair| *pair < least);
        }
        std::iter::from_fn(move || {
            while at == run.len() {
                (run, at) = (runs.next()?.1, 0);
            }
            let pair = run.get(at)?;
            at += 1;
            Some(pair.split())
        })
    }

    /// Adds a pair that is not yet there.
    pub(crate) fn insert(&mut self, number: u64, slot: u32) {
        let pair = Pair::new(number, slot);
        self.len += 1;
        let Some((_, run)) = self.run_before_mut(pair) else {
            return self.insert_before_all(pair);
        };
        let is_after = run.last().is_some_and(|last| *last < pair);
        let at = if is_after { run.len() } else { run.partition_point(|other| *other < pair) };
        debug_assert!(run.get(at) != Some(&pair), "{pair:?} is inserted twice");
        if run.len() < RUN_LEN_MAX {
            run.insert(at, pair);
        } else if at == run.len() {
            self.runs.insert(pair, new_run([pair]));
            self.note_last();
        } else {
            let upper = run.drain(RUN_LEN_MAX / 2..);
            let upper = new_run(upper);
            let half = if at <= RUN_LEN_MAX / 2 { Some(&mut *run) } else { None };
            if let Some(run) = half {
                run.insert(at, pair);
            }
            let first = *upper.first().expect("half a run is not empty");
            let upper = self.runs.entry(first).or_insert(upper);
            if at > RUN_LEN_MAX / 2 {
                upper.insert(at - RUN_LEN_MAX / 2, pair);
            }
            self.note_last();
        }
    }

    fn insert_before_all(&mut self, pair: Pair) {
        match self.runs.first_entry() {
            Some(first) if first.get().len() < RUN_LEN_MAX => {
                let mut run = first.remove();
                run.insert(0, pair);
                self.runs.insert(pair, run);
            }
            _ => {
                self.runs.insert(pair, new_run([pair]));
            }
        }
        self.note_last();
    }

    /// Runs came, went or changed their keys.
    fn note_last(&mut self) {
        self.last = self.runs.last_key_value().map(|(key, _)| *key);
    }

    /// Removes a pair that is there.
    pub(crate) fn remove(&mut self, number: u64, slot: u32) {
        let pair = Pair::new(number, slot);
        let (key, run) = self.run_before_mut(pair).expect("only what is there is removed");
        let at = run.binary_search(&pair).expect("only what is there is removed");
        run.remove(at);
        let left = run.len();
        self.len -= 1;
        if left == 0 {
            self.runs.remove(&key);
            self.note_last();
        } else if left < RUN_LEN_MIN {
            self.join(key);
        }
    }

    /// Moves the run after `key` into the one at `key`, or this one into the one before, if they fit together.
    fn join(&mut self, key: Pair) {
        let after = self.runs.range((Bound::Excluded(key), Bound::Unbounded)).next().map(|(other, _)| (key, *other));
        let before = self.runs.range(..key).next_back().map(|(other, _)| (*other, key));
        for (low, high) in [after, before].into_iter().flatten() {
            let together = self.runs.get(&low).map_or(0, Vec::len) + self.runs.get(&high).map_or(0, Vec::len);
            if together <= RUN_LEN_MAX / 4 * 3 {
                let tail = self.runs.remove(&high).expect("a neighbour was just seen");
                self.runs.get_mut(&low).expect("a neighbour was just seen").extend(tail);
                self.note_last();
                return;
            }
        }
    }

    /// Panics if runs are out of order, empty or too long.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        let mut last = None;
        let mut len = 0;
        for (key, run) in &self.runs {
            assert!(last < Some(*key), "run {key:?} begins before the end of the one before it");
            assert!(run.first().is_some_and(|first| key <= first), "run {key:?} begins before its key or is empty");
            assert!(run.is_sorted_by(|a, b| a < b), "run {key:?} is out of order");
            assert!(run.len() <= RUN_LEN_MAX && run.capacity() == RUN_LEN_MAX, "run {key:?} grew");
            last = run.last().copied();
            len += run.len();
        }
        assert_eq!(len, self.len, "pairs are counted");
        assert_eq!(self.last, self.runs.last_key_value().map(|(key, _)| *key), "the last run is known");
    }
}

fn new_run(pairs: impl IntoIterator<Item = Pair>) -> Vec<Pair> {
    let mut run = Vec::with_capacity(RUN_LEN_MAX);
    run.extend(pairs);
    run
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::state::chance::Chance;

    /// The same operations on an [`Order`] and on a `BTreeSet` leave the same set.
    fn check(seed: u64, numbers: u64, steps: u32, removals: u64) {
        let (mut order, mut set, mut chance) = (Order::new(), BTreeSet::new(), Chance::new(seed));
        for step in 0..steps {
            let pair = (chance.below(numbers), u32::try_from(chance.below(3)).unwrap());
            if chance.below(10) < removals {
                let from = set.range(pair..).next().copied();
                if let Some((number, slot)) = from {
                    set.remove(&(number, slot));
                    order.remove(number, slot);
                }
            } else if set.insert(pair) {
                order.insert(pair.0, pair.1);
            }
            assert_eq!(order.first(), set.first().copied(), "seed {seed}");
            let from = chance.below(numbers);
            assert!(order.from(from).take(3).eq(set.range((from, 0)..).copied().take(3)), "seed {seed}");
            if step % 64 == 0 {
                order.check();
                assert!(order.from(0).eq(set.iter().copied()), "seed {seed}");
            }
        }
    }

    #[test]
    fn it_holds_what_a_b_tree_holds() {
        check(1, 100, 2_000, 5);
        check(2, 100_000, 20_000, 3);
        check(3, 100_000, 20_000, 6);
        check(4, u64::MAX, 5_000, 2);
    }

    #[test]
    fn ascending_numbers_fill_the_runs() {
        let mut order = Order::new();
        for number in 0..12_800 {
            order.insert(number * 3, 7);
        }
        assert_eq!(order.runs.len(), 100);
        assert_eq!((order.get(27), order.get(28)), (Some(7), None));
        for number in 0..12_800 {
            if number % 100 != 0 {
                order.remove(number * 3, 7);
            }
        }
        order.check();
        assert!(order.runs.len() <= 8, "{} runs hold 128 pairs", order.runs.len());
    }
}

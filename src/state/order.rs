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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pair([u32; 3]);

impl Pair {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a u64")]
    pub(crate) const fn new(number: u64, slot: u32) -> Self {
        Self([(number >> 32) as u32, number as u32, slot])
    }

    pub(crate) const fn number(self) -> u64 {
        let Self([high, low, _]) = self;
        (high as u64) << 32 | low as u64
    }

    pub(crate) const fn split(self) -> (u64, u32) {
        let Self([_, _, slot]) = self;
        (self.number(), slot)
    }

    /// The pair as one number, which is compared without branches.
    pub(crate) const fn key(self) -> u128 {
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
    /// All runs but the last, none empty, each under a pair that is not greater than its first and greater than all of the run before.
    runs: BTreeMap<Pair, Vec<Pair>>,
    /// The last run, where most pairs go; empty only if there is no other.
    last: Vec<Pair>,
    len: usize,
}

impl Order {
    pub(crate) const fn new() -> Self {
        Self { runs: BTreeMap::new(), last: Vec::new(), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The least.
    pub(crate) fn first(&self) -> Option<(u64, u32)> {
        let run = self.runs.first_key_value().map_or(&self.last, |(_, run)| run);
        run.first().map(|pair| pair.split())
    }

    /// The slot under exactly this number, in an order in which no number ever comes again under another slot, not even once it was
    /// removed.
    pub(crate) fn get(&self, number: u64) -> Option<u32> {
        find(self.run_of(number), number)
    }

    /// Gets one number after another.
    pub(crate) fn finder(&self) -> Finder<'_> {
        Finder { order: self, run: &[] }
    }

    /// The run that holds this number, if any does: see [`Order::get`].
    fn run_of(&self, number: u64) -> &[Pair] {
        let greatest = Pair::new(number, u32::MAX);
        if self.is_late(greatest) {
            return &self.last;
        }
        self.runs.range(..=greatest).next_back().map_or(&[], |(_, run)| run)
    }

    /// Whether a pair belongs into the last run.
    fn is_late(&self, pair: Pair) -> bool {
        self.runs.is_empty() || self.last.first().is_some_and(|first| *first <= pair)
    }

    /// All from `number` on, ascending.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = (u64, u32)> {
        self.starting_at(number, 0)
    }

    /// All from a pair on, which need not be there, ascending.
    pub(crate) fn starting_at(&self, number: u64, slot: u32) -> impl Iterator<Item = (u64, u32)> {
        let least = Pair::new(number, slot);
        let earlier = (!self.is_late(least)).then(|| {
            let start = self.runs.range(..=least).next_back().map_or(least, |(key, _)| *key);
            self.runs.range(start..).map(|(_, run)| run)
        });
        let mut runs = earlier.into_iter().flatten().chain([&self.last]);
        let mut run = runs.next().map_or(&[][..], Vec::as_slice);
        let mut at = run.partition_point(|pair| *pair < least);
        std::iter::from_fn(move || {
            while at == run.len() {
                (run, at) = (runs.next()?, 0);
            }
            let pair = run.get(at)?;
            at += 1;
            Some(pair.split())
        })
    }

    /// The greatest number up to this one.
    pub(crate) fn last_up_to(&self, number: u64) -> Option<u64> {
        let most = Pair::new(number, u32::MAX);
        let last_in = |run: &[Pair]| run.get(run.partition_point(|pair| *pair <= most).checked_sub(1)?).copied();
        let earlier = || self.runs.range(..=most).rev().find_map(|(_, run)| last_in(run));
        last_in(&self.last).or_else(earlier).map(Pair::number)
    }

    /// Adds a pair that is not yet there.
    pub(crate) fn insert(&mut self, number: u64, slot: u32) {
        let pair = Pair::new(number, slot);
        self.len += 1;
        if self.is_late(pair) {
            if let Some(upper) = put(&mut self.last, pair) {
                let lower = std::mem::replace(&mut self.last, upper);
                self.add(lower);
            }
        } else if let Some((_, run)) = self.runs.range_mut(..=pair).next_back() {
            if let Some(upper) = put(run, pair) {
                self.add(upper);
            }
        } else {
            let (_, mut run) = self.runs.pop_first().expect("what is not late goes before a run");
            let upper = put(&mut run, pair);
            [Some(run), upper].into_iter().flatten().for_each(|run| self.add(run));
        }
    }

    /// Adds a run under its first pair.
    fn add(&mut self, run: Vec<Pair>) {
        self.runs.insert(*run.first().expect("no run is empty"), run);
    }

    /// Removes a pair that is there.
    pub(crate) fn remove(&mut self, number: u64, slot: u32) {
        let pair = Pair::new(number, slot);
        self.len -= 1;
        if self.is_late(pair) {
            take(&mut self.last, pair);
            if self.last.len() < RUN_LEN_MIN {
                self.refill();
            }
            return;
        }
        let (key, run) = self.runs.range_mut(..=pair).next_back().expect("only what is there is removed");
        take(run, pair);
        let (key, left) = (*key, run.len());
        if left == 0 {
            self.runs.remove(&key);
        } else if left < RUN_LEN_MIN {
            self.join(key);
        }
    }

    /// Moves the run before the last into it if they fit together, as they do if the last is empty.
    fn refill(&mut self) {
        let Some(before) = self.runs.last_entry() else { return };
        if self.last.is_empty() || fit(before.get(), &self.last) {
            let tail = std::mem::replace(&mut self.last, before.remove());
            self.last.extend(tail);
        }
    }

    /// Moves the run after `key` into the one at `key`, or this one into the one before, if they fit together.
    fn join(&mut self, key: Pair) {
        let after = self.runs.range((Bound::Excluded(key), Bound::Unbounded)).next().map(|(other, _)| (key, *other));
        let before = self.runs.range(..key).next_back().map(|(other, _)| (*other, key));
        for (low, high) in [after, before].into_iter().flatten() {
            let (Some(lower), Some(upper)) = (self.runs.get(&low), self.runs.get(&high)) else { continue };
            if fit(lower, upper) {
                let tail = self.runs.remove(&high).expect("a neighbour was just seen");
                self.runs.get_mut(&low).expect("a neighbour was just seen").extend(tail);
                return;
            }
        }
    }

    /// Panics if runs are out of order, empty or too long.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        let mut last = None;
        let mut len = 0;
        let key_of_last = self.last.first().copied();
        let runs = self.runs.iter().map(|(key, run)| (*key, run)).chain(key_of_last.map(|key| (key, &self.last)));
        for (key, run) in runs {
            assert!(last < Some(key), "run {key:?} begins before the end of the one before it");
            assert!(run.first().is_some_and(|first| key <= *first), "run {key:?} begins before its key or is empty");
            assert!(run.is_sorted_by(|a, b| a < b), "run {key:?} is out of order");
            assert!(run.len() <= RUN_LEN_MAX && run.capacity() == RUN_LEN_MAX, "run {key:?} grew");
            last = run.last().copied();
            len += run.len();
        }
        assert!(!self.last.is_empty() || self.runs.is_empty(), "the last run is not empty if there is another");
        assert_eq!(len, self.len, "pairs are counted");
    }
}

/// As [`Order::get`], for numbers that lie close to one another: most are found where the one before them was.
#[derive(Debug)]
pub(crate) struct Finder<'o> {
    order: &'o Order,
    /// Where the last one was found, or would have been.
    run: &'o [Pair],
}

impl Finder<'_> {
    pub(crate) fn get(&mut self, number: u64) -> Option<u32> {
        let begins_before = self.run.first().is_some_and(|first| first.number() <= number);
        let ends_after = self.run.last().is_some_and(|last| last.number() >= number);
        if !(begins_before && ends_after) {
            self.run = self.order.run_of(number);
        }
        find(self.run, number)
    }
}

/// The slot under a number in a run.
fn find(run: &[Pair], number: u64) -> Option<u32> {
    let pair = run.get(run.partition_point(|pair| pair.number() < number))?;
    (pair.number() == number).then_some(pair.split().1)
}

/// Puts a pair into a run. One that is full is cut in two, and what lies above is returned: all but the new pair stay below if that goes
/// to the end, as where numbers ascend.
fn put(run: &mut Vec<Pair>, pair: Pair) -> Option<Vec<Pair>> {
    let is_after = run.last().is_none_or(|last| *last < pair);
    let at = if is_after { run.len() } else { run.partition_point(|other| *other < pair) };
    debug_assert!(run.get(at) != Some(&pair), "{pair:?} is inserted twice");
    if run.len() < RUN_LEN_MAX {
        run.reserve_exact(RUN_LEN_MAX - run.len());
        run.insert(at, pair);
        return None;
    }
    let cut = if is_after { RUN_LEN_MAX } else { RUN_LEN_MAX / 2 };
    let mut upper = Vec::with_capacity(RUN_LEN_MAX);
    upper.extend(run.drain(cut..));
    if at < cut {
        run.insert(at, pair);
    } else {
        upper.insert(at - cut, pair);
    }
    Some(upper)
}

/// Takes a pair out of the run where it is.
fn take(run: &mut Vec<Pair>, pair: Pair) {
    run.remove(run.binary_search(&pair).expect("only what is there is removed"));
}

/// Whether two neighbours may become one run.
fn fit(lower: &[Pair], upper: &[Pair]) -> bool {
    lower.len() + upper.len() <= RUN_LEN_MAX / 4 * 3
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
            let last = set.range(..=(from, u32::MAX)).next_back().map(|(number, _)| *number);
            assert_eq!(order.last_up_to(from), last, "seed {seed}");
            assert!(order.from(from).take(3).eq(set.range((from, 0)..).copied().take(3)), "seed {seed}");
            assert!(order.starting_at(from, 1).take(3).eq(set.range((from, 1)..).copied().take(3)), "seed {seed}");
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
    fn what_is_there_is_found_by_its_number() {
        let (mut order, mut set, mut chance) = (Order::new(), BTreeSet::new(), Chance::new(5));
        let slot = |number: u64| u32::try_from(number * 7 % 1_000).unwrap();
        for step in 0..20_000 {
            let number = chance.below(4_000);
            if set.remove(&number) {
                order.remove(number, slot(number));
            } else {
                set.insert(number);
                order.insert(number, slot(number));
            }
            let mut finder = order.finder();
            let from = chance.below(4_000);
            for number in [from, from + 1, from + 3, chance.below(4_000), from + 2] {
                let found = set.contains(&number).then(|| slot(number));
                assert_eq!((order.get(number), finder.get(number)), (found, found), "step {step}");
            }
        }
        assert!(order.runs.len() > 10);
    }

    #[test]
    fn ascending_numbers_fill_the_runs() {
        let mut order = Order::new();
        for number in 0..12_800 {
            order.insert(number * 3, 7);
        }
        assert_eq!(order.runs.len() + 1, 100);
        let mut finder = order.finder();
        for number in (0..38_400).chain([u64::MAX, 0, 38_397, 5, 3]) {
            let slot = (number % 3 == 0 && number < 38_400).then_some(7);
            assert_eq!((order.get(number), finder.get(number)), (slot, slot), "{number}");
        }
        assert_eq!((Order::new().get(0), Order::new().finder().get(0)), (None, None));
        for number in 0..12_800 {
            if number % 100 != 0 {
                order.remove(number * 3, 7);
            }
        }
        order.check();
        let mut finder = order.finder();
        for number in 0..38_400_u64 {
            let slot = number.is_multiple_of(300).then_some(7);
            assert_eq!((order.get(number), finder.get(number)), (slot, slot), "{number}");
        }
        assert!(order.runs.len() < 8, "{} runs hold 128 pairs", order.runs.len() + 1);
    }
}

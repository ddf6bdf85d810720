//! Events of one key, in a row.
//!
//! ```text
//! key's hash ─► first ⇄ second ⇄ … ⇄ last      linked through the slots; first.prev = last, last.next = none
//! ```
//!
//! Whatever runs stands in front; the rest follows by rank. Only the first may be offered, so at most one runs at a time, and it
//! keeps its key until it leaves the row.

use std::collections::BTreeMap;

use crate::event::Status;
use crate::mutants::mutant;
use crate::state::at_once::both;
use crate::state::index::Index;
use crate::state::order::Pair;
use crate::state::slab::NONE;
use crate::state::slots::Slots;

/// The rows of all keys.
#[derive(Debug)]
pub(crate) struct Keys {
    firsts: Index,
    /// Who was put into the midst of a row last. Where many fall due at once, the next one belongs close by.
    last_put: u32,
    /// Where the next one is looked for that does not.
    marks: Marks,
    /// Steps along rows so far.
    #[cfg(test)]
    steps: u64,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self::with(Index::new())
    }

    const fn with(firsts: Index) -> Self {
        Self {
            firsts,
            last_put: NONE,
            marks: Marks::new(),
            #[cfg(test)]
            steps: 0,
        }
    }

    /// Of rows that were linked, which puts each in its order.
    pub(crate) fn of(rows: &Rows) -> Self {
        let firsts = rows.iter().filter_map(|row| row.first());
        Self::with(Index::of(firsts.map(|first| first.split())))
    }

    /// How many keys have a row.
    #[cfg(any(test, fuzzing))]
    pub(crate) const fn len(&self) -> usize {
        self.firsts.len()
    }

    /// Panics if a mark is not true.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check_marks(&self, slots: &Slots) {
        for (mark, at) in &self.marks.0 {
            let slot = slots.lookup(*at).expect("whoever is marked is there");
            assert!(slot.is_linked(), "seq {} is marked and in a row", slot.seq);
            assert_eq!(*mark, (slot.key, place(slots, *at)), "seq {} stands where it is marked", slot.seq);
        }
    }

    pub(crate) fn first(&self, slots: &Slots, key: u64) -> Option<u32> {
        self.firsts.find(key, |at| slots[at].key == key)
    }

    /// Puts `at` into the row of its key, and returns whom it displaced from the front.
    pub(crate) fn insert(&mut self, slots: &mut Slots, at: u32) -> Option<u32> {
        let key = slots[at].key;
        debug_assert!(key != 0 && !slots[at].is_linked(), "only what has a key and is in no row joins one");
        let Some(first) = self.first(slots, key) else {
            self.firsts.insert(key, at);
            link_alone(slots, at);
            return None;
        };
        if goes_before(slots, at, first) {
            self.put_in_front(slots, at, first);
            return Some(first);
        }
        let last = slots[first].prev;
        let before = if goes_before(slots, last, at) { last } else { self.find_before(slots, at, last) };
        put_after(slots, at, before, first);
        None
    }

    /// After whom `at` belongs, which comes neither first nor last in its row. Looked for from where somebody was put last and from the
    /// last, whichever of them is nearer; and from the marks about it, once it is far from both.
    fn find_before(&mut self, slots: &Slots, at: u32, last: u32) -> u32 {
        let is_near = |put: &u32| {
            let slot = slots.lookup(*put);
            slot.is_some_and(|slot| slot.key == slots[at].key && slot.is_linked())
        };
        let near = Some(self.last_put).filter(is_near);
        let mut earlier = near.filter(|put| goes_before(slots, *put, at));
        let mut later = near.filter(|_| earlier.is_none()).unwrap_or(last);
        self.last_put = at;
        for steps in 1.. {
            self.count_step();
            let before = slots[later].prev;
            if goes_before(slots, before, at) {
                return before;
            }
            later = before;
            if let Some(put) = earlier {
                let next = slots[put].next;
                if goes_before(slots, at, next) {
                    return put;
                }
                earlier = Some(next);
            }
            if steps == STRIDE {
                (earlier, later) = self.marks.about(slots, at, (earlier, later));
            } else if steps % STRIDE == 0 {
                [Some(later), earlier].into_iter().flatten().for_each(|passed| self.marks.put(slots, passed));
            }
        }
        unreachable!("whoever comes neither first nor last comes after somebody")
    }

    /// Somebody is about to change, and may then stand elsewhere in his row, or in none.
    pub(crate) fn forget_mark(&mut self, slots: &Slots, at: u32) {
        self.marks.remove(slots, at);
    }

    /// Takes `at` out of its row, and returns who comes to the front by that.
    pub(crate) fn remove(&mut self, slots: &mut Slots, at: u32) -> Option<u32> {
        let (key, next, prev) = (slots[at].key, slots[at].next, slots[at].prev);
        debug_assert!(slots[at].is_linked(), "only what is in a row leaves it");
        let was_first = is_first(slots, at);
        if was_first && next == NONE {
            self.firsts.remove(key, at);
        } else if was_first {
            self.firsts.replace(key, at, next);
            slots[next].prev = prev;
        } else {
            slots[prev].next = next;
            let after = if next == NONE { self.first(slots, key) } else { Some(next) };
            slots[after.expect("a row has a first")].prev = prev;
        }
        unlink(slots, at);
        Some(next).filter(|next| was_first && *next != NONE)
    }

    /// Moves `at`, which began or ceased to run, to where it belongs in its row. Returns the other one, if the front changed.
    ///
    /// What is replayed goes to the end. What ceases to run stands in front and seldom has to let anybody pass, so this walks from there.
    pub(crate) fn move_within(&mut self, slots: &mut Slots, at: u32) -> Option<u32> {
        let next = slots[at].next;
        let was_first = is_first(slots, at);
        if was_first && (next == NONE || goes_before(slots, at, next)) {
            return None;
        }
        let promoted = self.remove(slots, at);
        let first = self.first(slots, slots[at].key).expect("others of its key are there");
        if goes_before(slots, at, first) {
            self.put_in_front(slots, at, first);
            return Some(first);
        }
        let last = slots[first].prev;
        let mut before = if goes_before(slots, last, at) { last } else { first };
        while slots[before].next != NONE && goes_before(slots, slots[before].next, at) {
            self.count_step();
            before = slots[before].next;
        }
        put_after(slots, at, before, first);
        promoted
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "only tests count"))]
    const fn count_step(&mut self) {
        #[cfg(test)]
        {
            self.steps += 1;
        }
    }

    fn put_in_front(&mut self, slots: &mut Slots, at: u32, first: u32) {
        slots[at].prev = slots[first].prev;
        slots[at].next = first;
        slots[first].prev = at;
        self.firsts.replace(slots[at].key, first, at);
    }
}

/// So many steps along a row are taken before its marks are asked, and lie between two marks that are made on one way.
const STRIDE: u32 = 16;

/// Who stands where in long rows, so that nobody walks there from an end: some of their members, by key and by place.
///
/// They are made by walking, so a row through which nobody walks has none, and there are a few for each hundred of a row that has.
/// Whoever changes is marked no more, so a mark is always true. Nobody's place follows from them: only how soon it is found.
#[derive(Debug)]
struct Marks(BTreeMap<(u64, (bool, u64)), u32>);

impl Marks {
    const fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn put(&mut self, slots: &Slots, at: u32) {
        self.0.insert((slots[at].key, place(slots, at)), at);
    }

    fn remove(&mut self, slots: &Slots, at: u32) {
        if !self.0.is_empty() && slots[at].is_linked() {
            self.0.remove(&(slots[at].key, place(slots, at)));
        }
    }

    /// Those who are closest to where `at` belongs, before it and after it, be they marked or these who were reached.
    fn about(&self, slots: &Slots, at: u32, (earlier, later): (Option<u32>, u32)) -> (Option<u32>, u32) {
        let (key, here) = (slots[at].key, place(slots, at));
        let first = (key, (false, 0));
        let before = self.0.range(first..(key, here)).next_back().map(|(_, at)| *at);
        let after = self.0.range((key, here)..=(key, (true, u64::MAX))).next().map(|(_, at)| *at);
        let closest = |a: u32, b: u32, is_wanted: bool| if goes_before(slots, a, b) == is_wanted { a } else { b };
        let earlier = match (earlier, before) {
            (Some(reached), Some(marked)) => Some(closest(reached, marked, false)),
            (reached, marked) => reached.or(marked),
        };
        (earlier, after.map_or(later, |marked| closest(later, marked, true)))
    }
}

/// Keys, each with the slot of somebody who is to be in its row: apart by the first bit of the key, so that two can go on with them.
#[derive(Debug)]
pub(crate) struct Members([Vec<Pair>; 2]);

impl Members {
    /// None yet, of whom at most `count` will come: keys are hashes, so about half of them in each half.
    pub(crate) fn with_room_for(count: usize) -> Self {
        let half = || Vec::with_capacity(count / 2 + count / 16);
        Self([half(), half()])
    }

    pub(crate) fn push(&mut self, key: u64, at: u32) {
        let Self([lower, upper]) = self;
        let half = if key >> (u64::BITS - 1) == 0 { lower } else { upper };
        half.push(Pair::new(key, at));
    }
}

/// Members are dealt out by so many bits of their keys, behind the first, before they are sorted: in so many places the processor can
/// write in turns.
const DEALT_BITS: u32 = 9;

/// Where a member is dealt to.
const fn deal(member: Pair) -> usize {
    (member.number() << 1 >> (u64::BITS - DEALT_BITS)) as usize
}

/// Rows that are made at once: members by ascending key, as [`Index::of`] needs them; and once they were linked, in each row by who
/// comes first.
#[derive(Debug)]
pub(crate) struct Rows([Vec<Pair>; 2]);

impl Rows {
    pub(crate) fn of([Members([lower, upper]), Members([other_lower, other_upper])]: [Members; 2]) -> Self {
        let count = lower.len() + upper.len() + other_lower.len() + other_upper.len();
        let (lower, upper) = both(count, || by_key([lower, other_lower]), || by_key([upper, other_upper]));
        Self([lower, upper])
    }

    fn iter(&self) -> impl Iterator<Item = &[Pair]> {
        self.0.iter().flat_map(|half| half.chunk_by(is_of_row))
    }

    /// Has the members of each row know their neighbours, but those who are alone, as most are: see [`link_alone`].
    pub(crate) fn link(&mut self, slots: &mut Slots) {
        let rows = self.0.iter_mut().flat_map(|half| half.chunk_by_mut(is_of_row));
        for row in rows.filter(|row| row.len() > 1) {
            // Most slots were taken in the order of ranks.
            if !row.is_sorted_by_key(|member| place(slots, member.split().1)) {
                row.sort_by_cached_key(|member| place(slots, member.split().1));
            }
            let members = || row.iter().map(|member| member.split().1);
            let Some(mut before) = members().next_back() else { continue };
            for (at, next) in members().zip(members().skip(1).chain([NONE])) {
                slots[at].prev = before;
                slots[at].next = next;
                before = at;
            }
        }
    }
}

fn is_of_row(a: &Pair, b: &Pair) -> bool {
    a.number() == b.number()
}

/// The members by ascending key. A million at once would be sorted from one end of the memory to the other; what was dealt out lies in
/// the processor's cache.
#[expect(
    clippy::indexing_slicing,
    reason = "there is a deal for each number of those bits, and who is dealt was counted"
)]
fn by_key(members: [Vec<Pair>; 2]) -> Vec<Pair> {
    let count = members.iter().map(Vec::len).sum();
    if count < 1 << DEALT_BITS {
        let mut members = members.concat();
        members.sort_unstable_by_key(|member| member.key());
        return members;
    }
    let mut ends = [0; 1 << DEALT_BITS];
    for member in members.iter().flatten() {
        ends[deal(*member)] += 1;
    }
    let mut sum = 0;
    for end in &mut ends {
        // Where they begin; dealing moves it to where they end.
        (*end, sum) = (sum, sum + *end);
    }
    let mut dealt = vec![Pair::default(); count];
    for member in members.iter().flatten() {
        let next = &mut ends[deal(*member)];
        dealt[*next] = *member;
        *next += 1;
    }
    let (mut rest, mut start) = (dealt.as_mut_slice(), 0);
    for end in ends {
        let (deal, others) = rest.split_at_mut(end - start);
        deal.sort_unstable_by_key(|member| member.key());
        (rest, start) = (others, end);
    }
    dealt
}

/// Makes somebody a row of his own.
pub(crate) fn link_alone(slots: &mut Slots, at: u32) {
    slots[at].prev = at;
    slots[at].next = NONE;
}

/// Makes somebody forget his neighbours, who have forgotten him or are about to be told anew.
pub(crate) fn unlink(slots: &mut Slots, at: u32) {
    slots[at].prev = NONE;
    slots[at].next = NONE;
}

/// Whether `at` is in front of its row. The one before the first is the last, and only the last has no next.
pub(crate) fn is_first(slots: &Slots, at: u32) -> bool {
    let prev = slots[at].prev;
    prev != NONE && slots[prev].next == NONE
}

/// Whether `a` comes before `b` in a row.
pub(crate) fn goes_before(slots: &Slots, a: u32, b: u32) -> bool {
    place(slots, a) < place(slots, b)
}

/// What runs comes first, then what came first.
fn place(slots: &Slots, at: u32) -> (bool, u64) {
    if mutant!("order-by-the-clock") {
        let second = u64::try_from(slots[at].received_at / 1_000_000).unwrap_or(0);
        return (slots[at].status() != Status::Processing, second << 24 | slots.rank(at));
    }
    (slots[at].status() != Status::Processing, slots.rank(at))
}

fn put_after(slots: &mut Slots, at: u32, before: u32, first: u32) {
    let next = slots[before].next;
    slots[at].prev = before;
    slots[at].next = next;
    slots[before].next = at;
    let after = if next == NONE { first } else { next };
    slots[after].prev = at;
}

#[cfg(test)]
mod tests {
    use crate::event::entry::{Begun, Cancelled, Entry, Failed, Of, Received, Replayed, Started, Token, Wait};
    use crate::event::{Moment, Place, Timestamp};
    use crate::state::chance::Chance;
    use crate::state::foreign::EVENT;
    use crate::state::hash::low;
    use crate::state::{IdHasher, Policy, State};

    const NOW: Moment = Moment { wall: Timestamp::from_unix_micros(0), steady: 0 };
    const LATER: Moment = Moment { wall: Timestamp::from_unix_micros(1 << 40), steady: 1 << 40 };
    const PLACE: Place = Place { segment: 1, offset: 0, length: 1 };

    /// A state in which one event of a key runs, and as many more as there are `dues` of it wait for these times.
    fn state(dues: &[i64]) -> State {
        let (mut state, hasher) = (State::new([1; 16], Policy::default()), IdHasher::new([1; 16]));
        let begun = Begun { first_seq: 1, epoch: 1, boot: 1, at: 0, predecessor: None };
        let _ = state.apply(1, PLACE, &Entry::Begun(begun), NOW).unwrap();
        let dues = [None].into_iter().chain(dues.iter().map(|due| Some(*due)));
        let mut seq = 1;
        for not_before in dues {
            seq += 1;
            let event = Received { id: &seq.to_string(), key: Some("k"), not_before, received_at: 0, ..EVENT };
            let _ = state.apply_gist((seq, PLACE), &hasher.gist(&event), "Issue", NOW).unwrap();
        }
        let of = state.next_claim(NOW, u64::MAX).unwrap().of;
        let started = Started { of, epoch: 1, attempt: 1, alone: false, opens_claim: true, at: 0 };
        let _ = state.apply(seq + 1, PLACE, &Entry::Started(started), NOW).unwrap();
        state
    }

    /// So many that they are dealt out before they are sorted.
    #[test]
    fn rows_that_are_made_at_once_are_whole_and_in_order() {
        let (mut state, hasher) = (State::replaying([1; 16], Policy::default()), IdHasher::new([1; 16]));
        let begun = Begun { first_seq: 1, epoch: 1, boot: 1, at: 0, predecessor: None };
        let _ = state.apply(1, PLACE, &Entry::Begun(begun), NOW).unwrap();
        let count = 4_000;
        for seq in 2..2 + count {
            // Alone, in threes, and a tenth of all in one row.
            let key = match seq % 10 {
                0 => "many".to_owned(),
                1..=4 => format!("alone {seq}"),
                _ => format!("three {}", seq % (count / 3)),
            };
            let event = Received { id: &seq.to_string(), key: Some(&key), received_at: 0, ..EVENT };
            let _ = state.apply_gist((seq, PLACE), &hasher.gist(&event), "Issue", NOW).unwrap();
        }
        for (number, seq) in (0..).zip((2..2 + count).step_by(97)) {
            let of = Of { seq, id_hash: low(hasher.id(&seq.to_string())) };
            let started = Started { of, epoch: 1, attempt: 1, alone: false, opens_claim: true, at: 0 };
            let _ = state.apply(2 + count + number, PLACE, &Entry::Started(started), NOW).unwrap();
        }
        state.arrange();
        state.check();
    }

    #[test]
    fn whoever_is_replayed_from_the_front_of_a_long_row_goes_to_its_end_at_once() {
        let mut state = state(&[0; 1_000]);
        let mut seq = 1_003;
        for first in 2..=1_002 {
            let of = Of { seq: first, id_hash: low(IdHasher::new([1; 16]).id(&first.to_string())) };
            let token = Token { epoch: 1, started: seq };
            let retry = Some(Wait { due: 1 << 40, delay: 1 << 40 });
            let failed = Entry::Failed(Failed { of, token, error: "", at: 0, retry });
            for entry in [failed, Entry::Replayed(Replayed { of, at: 0 })] {
                seq += 1;
                let _ = state.apply(seq, PLACE, &entry, NOW).unwrap();
            }
            let of = state.next_claim(NOW, u64::MAX).unwrap().of;
            assert_ne!(of.seq, first, "it is the last now");
            let started = Started { of, epoch: 1, attempt: 1, alone: false, opens_claim: true, at: 0 };
            seq += 1;
            let _ = state.apply(seq, PLACE, &Entry::Started(started), NOW).unwrap();
        }
        state.check();
        assert_eq!(state.events.keys.steps, 0);
    }

    /// One event of a key runs, and so many more have fallen due together, in no order, and were woken some at a time.
    fn woken(count: i64) -> State {
        let mut chance = Chance::new(1);
        let dues: Vec<i64> = (0..count).map(|_| 1 + i64::try_from(chance.below(1 << 30)).unwrap()).collect();
        let mut state = state(&dues);
        while state.end_waits(LATER) {}
        state.check();
        state
    }

    #[test]
    fn delayed_events_of_one_key_that_fall_due_together_do_not_hold_up_claims_longer_the_more_they_are() {
        let [few, many] = [10_000, 40_000].map(|count| woken(count).events.keys.steps);
        assert!(many < 6 * few, "{few} steps for 10,000 events, {many} for 40,000");
    }

    #[test]
    fn marks_of_a_long_row_stay_true_whoever_leaves_it_or_goes_to_its_end() {
        let (count, mut chance, hasher) = (4_000, Chance::new(2), IdHasher::new([1; 16]));
        let mut state = woken(count);
        let marks = state.events.keys.marks.0.len();
        assert!((50..1_000).contains(&marks), "{marks} marks");
        let mut left: Vec<u64> = state.events.keys.marks.0.values().map(|at| state.events.slots[*at].seq).collect();
        let mut last = 10_000;
        while let Some(seq) = left.pop() {
            let of = Of { seq, id_hash: low(hasher.id(&seq.to_string())) };
            let mut entries = vec![Entry::Cancelled(Cancelled { of, reason: "", at: 0 })];
            entries.extend((chance.below(2) == 0).then_some(Entry::Replayed(Replayed { of, at: 0 })));
            for entry in entries {
                last += 1;
                let _ = state.apply(last, PLACE, &entry, LATER).unwrap();
            }
            state.events.keys.check_marks(&state.events.slots);
        }
        state.check();
        assert_eq!(state.events.keys.marks.0.len(), 0);
    }

    /// Counted in steps along the row it would be the same; in time, a walk through half of the row for each takes minutes here.
    #[test]
    fn in_whatever_order_events_of_one_key_become_due_each_finds_its_place_close_by() {
        let count = 40_000;
        let ascending: Vec<i64> = (1..=count).collect();
        let descending: Vec<i64> = (1..=count).rev().collect();
        let mut chance = Chance::new(1);
        let scattered: Vec<i64> = (0..count).map(|_| 1 + i64::try_from(chance.below(1 << 30)).unwrap()).collect();
        for dues in [ascending, descending, scattered] {
            let mut state = state(&dues);
            assert!(state.next_claim(LATER, u64::MAX).is_none(), "one of the key runs");
            state.check();
        }
    }
}

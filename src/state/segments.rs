//! Which segments are still needed, and how much of each.
//!
//! ```text
//! 1  received a, received b         kept: b     forgotten: a          refs: –
//! 2  started a, completed a         kept: –     forgotten: –          refs: 1    needed: without it a would come back from segment 1
//! 3  received c, completed c        kept: –     forgotten: c          refs: 3    dead
//! ```
//!
//! A segment is dead when it holds no reception of an event that is still known, and every segment whose receptions its
//! transitions are about is gone, or goes with it (R6). Refs only ever lead to older segments, or to the segment itself.
//!
//! Nor is one dead that holds the process start, or the close, that ended a run of an event that is known: without it replay would
//! count the deaths of the process otherwise. Nor, ever, one that holds an accepted loss.
//!
//! What compaction would keep of a segment is estimated: receptions of events that are known count whole, transitions in proportion
//! to how many of the receptions that they are about are known.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;

use crate::event::Place;
use crate::mutants::mutant;
use crate::state::sieve::Sifted;

/// To look at a segment costs about as much as to look at so many that it refers to.
const SEGMENT_WEIGHT: usize = 8;

/// What a segment is still needed for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SegmentUse {
    /// Seq of its first record.
    pub(crate) first_seq: u64,
    /// Receptions in it whose events are live or retained.
    pub(crate) receptions_kept: u64,
    /// Bytes of those.
    bytes_kept: u64,
    /// Receptions in it whose events are forgotten. They would come back if what ended them went first.
    receptions_forgotten: u64,
    /// Segments with receptions that its transitions are about.
    refs: BTreeMap<u32, Ref>,
    /// Other segments with receptions of events that ran when a process start or a close in it ended their runs.
    ended: BTreeSet<u32>,
    /// Accepted losses in it.
    accepted: u64,
    /// Bytes that compaction found it must keep whatever becomes of the events.
    bytes_fixed: u64,
    /// Receptions that lay in it and lie in the segment that is about to stand for it.
    receptions_moved: u64,
}

/// Transitions in one segment about receptions in another. There may be as many of these as pairs of segments, so they are kept short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ref {
    /// No segment is as long as 4 GiB.
    bytes: u32,
    /// How many receptions `bytes` counts for: each that is known needs such a part of them. 0: for all that the other segment has at
    /// present. Set once the other was rewritten, where forgotten receptions went and what is said here of them did not: see
    /// [`redirect`].
    receptions: u32,
}

const _: () = assert!(size_of::<Ref>() == 8);

impl Ref {
    /// About how many of the bytes are needed for `known` receptions; `all` there are in the other segment.
    fn bytes_needed(self, known: u64, all: u64) -> u64 {
        let of = if self.receptions > 0 { self.receptions.into() } else { all };
        (self.bytes() * known).checked_div(of).unwrap_or(0).min(self.bytes())
    }

    fn bytes(self) -> u64 {
        self.bytes.into()
    }

    fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(narrow(bytes));
    }
}

impl SegmentUse {
    const fn receptions(&self) -> u64 {
        self.receptions_kept + self.receptions_forgotten
    }

    /// How much is looked at where all is that it says: each segment that it refers to, and itself, which is several times as much.
    fn weight(&self) -> usize {
        SEGMENT_WEIGHT + self.refs.len() + self.ended.len()
    }
}

/// What each segment is still needed for.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    uses: BTreeMap<u32, SegmentUse>,
    /// Where they begin: seq and segment, which ascend together.
    beginnings: BTreeSet<(u64, u32)>,
}

/// Segments that go, because another will stand for them: of each, how many of its receptions lie there, and how many were forgotten.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    gone: BTreeMap<u32, (u64, u64)>,
    new: u32,
}

impl Segments {
    pub(crate) const fn new() -> Self {
        Self { uses: BTreeMap::new(), beginnings: BTreeSet::new() }
    }

    /// The entry `seq` lies in `segment`.
    pub(crate) fn note(&mut self, segment: u32, seq: u64) -> &mut SegmentUse {
        // What is written, or replayed, lies in the last one.
        if self.uses.last_key_value().is_some_and(|(last, _)| *last == segment) {
            return self.uses.last_entry().expect("the last one was just seen").into_mut();
        }
        self.uses.entry(segment).or_insert_with(|| {
            self.beginnings.insert((seq, segment));
            SegmentUse { first_seq: seq, ..SegmentUse::default() }
        })
    }

    /// The reception `seq` of an event that is known lies at `place`.
    pub(crate) fn keep(&mut self, place: Place, seq: u64) {
        let used = self.note(place.segment, seq);
        used.receptions_kept += 1;
        used.bytes_kept += place.bytes();
    }

    /// An event whose reception lies at `place` is forgotten.
    pub(crate) fn release(&mut self, place: Place) {
        self.take(place).receptions_forgotten += 1;
    }

    /// The reception of an event that is known lies at `to` from now on.
    pub(crate) fn relocate(&mut self, from: Place, to: Place, seq: u64) {
        self.take(from).receptions_moved += 1;
        self.keep(to, seq);
    }

    fn take(&mut self, place: Place) -> &mut SegmentUse {
        let used = self.uses.get_mut(&place.segment).expect("an event lies in a segment");
        used.receptions_kept = used.receptions_kept.checked_sub(1).expect("an event is forgotten once");
        used.bytes_kept = used.bytes_kept.saturating_sub(place.bytes());
        used
    }

    /// The transition `seq` at `place` is about a reception in `reception`.
    pub(crate) fn refer(&mut self, place: Place, reception: u32, seq: u64) {
        self.note(place.segment, seq).refs.entry(reception).or_default().add(place.bytes());
    }

    /// The process start or close `seq` at `place` ended runs of events whose receptions lie in `receptions`.
    pub(crate) fn end_runs(&mut self, place: Place, receptions: impl Iterator<Item = u32>, seq: u64) {
        let others = receptions.filter(|other| *other != place.segment);
        self.note(place.segment, seq).ended.extend(others);
    }

    /// The entry `seq` at `place` accepts a loss.
    pub(crate) fn accept(&mut self, place: Place, seq: u64) {
        self.note(place.segment, seq).accepted += 1;
    }

    /// Whether a process start or a close in `segment` ended runs of events in others that may be known. It matters to nobody else:
    /// what is forgotten does not run again, whatever became of its runs.
    pub(crate) fn ends_runs(&self, segment: u32) -> bool {
        self.uses.get(&segment).is_some_and(|used| self.has_known(&used.ended))
    }

    fn has_known(&self, segments: &BTreeSet<u32>) -> bool {
        segments.iter().any(|other| self.uses.get(other).is_some_and(|used| used.receptions_kept > 0))
    }

    /// Whether `segment` is dead once those of `dead` are gone, which are all of the older ones that are dead. One that is dead stays so.
    pub(crate) fn is_dead(&self, segment: u32, dead: &BTreeSet<u32>) -> bool {
        let Some(SegmentUse { receptions_kept: 0, accepted: 0, refs, ended, .. }) = self.uses.get(&segment) else {
            return false;
        };
        let goes = |other: &u32| *other == segment || dead.contains(other) || !self.uses.contains_key(other);
        let all_go = refs.keys().all(goes) || mutant!("segment-deleted-before-its-events");
        let ends_runs = self.has_known(ended) && !mutant!("end-of-runs-deleted");
        all_go && !ends_runs
    }

    /// Those of `sealed`, given in ascending order, that are dead.
    #[cfg(test)]
    pub(crate) fn dead(&self, sealed: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut dead = BTreeSet::new();
        for segment in sealed {
            if self.is_dead(segment, &dead) {
                dead.insert(segment);
            }
        }
        dead.into_iter().collect()
    }

    /// How much is looked at to tell whether `segment` is dead, or what is needed of it.
    pub(crate) fn weight(&self, segment: u32) -> usize {
        self.uses.get(&segment).map_or(0, SegmentUse::weight)
    }

    /// About how many bytes of `segment` are needed, its remembered ids apart. `cleaned` are segments whose forgotten receptions go at
    /// the same time or before.
    pub(crate) fn bytes_needed(&self, segment: u32, cleaned: &BTreeSet<u32>) -> u64 {
        let Some(used) = self.uses.get(&segment) else { return 0 };
        let refs = used.refs.iter().map(|(other, found)| {
            let Some(about) = self.uses.get(other) else { return 0 };
            if about.receptions_forgotten > 0 && *other != segment && !cleaned.contains(other) {
                return found.bytes();
            }
            found.bytes_needed(about.receptions_kept, about.receptions())
        });
        used.bytes_fixed + used.bytes_kept + refs.sum::<u64>()
    }

    /// Whether an event that is forgotten would come back from `segment` if what ended it went.
    pub(crate) fn holds_forgotten(&self, segment: u32) -> bool {
        self.uses.get(&segment).is_some_and(|used| used.receptions_forgotten > 0)
    }

    /// The segment that holds the record `seq`, or would.
    pub(crate) fn of_seq(&self, seq: u64) -> Option<u32> {
        self.beginnings.range(..=(seq, u32::MAX)).next_back().map(|(_, segment)| *segment)
    }

    pub(crate) fn first_seq(&self, segment: u32) -> Option<u64> {
        self.uses.get(&segment).map(|used| used.first_seq)
    }

    /// What is known in `old` is about to be relocated to `new`.
    pub(crate) fn begin(&mut self, old: &[u32], new: u32) {
        let first_seq = old.first().and_then(|segment| self.first_seq(*segment)).unwrap_or(0);
        self.note(new, first_seq);
    }

    /// What is known in `old` was relocated to `new`, which is about to stand for them, and for what `leaving` holds already:
    /// [`Segments::redirect`] is next, from the first of all of them on, then [`Segments::replace`].
    pub(crate) fn leave(&self, old: &[u32], new: u32, leaving: &mut Leaving) {
        let left = |segment: &u32| {
            let used = self.uses.get(segment)?;
            Some((*segment, (used.receptions_moved, used.receptions_forgotten)))
        };
        leaving.gone.extend(old.iter().filter_map(left));
        leaving.new = new;
    }

    /// Has what the segments from `from` on say about those that leave be about the one that will stand for them, until `weight` of
    /// that was looked at; returns where to go on, if there is more. Until all of it is done nobody asks what is dead, or what is needed.
    pub(crate) fn redirect(&mut self, leaving: &Leaving, from: u32, weight: usize) -> Option<u32> {
        let mut looked_at = 0;
        for (segment, used) in self.uses.range_mut(from..) {
            if looked_at >= weight {
                return Some(*segment);
            }
            let before = used.ended.len();
            looked_at += SEGMENT_WEIGHT + before + redirect(&mut used.refs, leaving);
            used.ended.retain(|other| !leaving.gone.contains_key(other));
            if used.ended.len() < before && *segment != leaving.new {
                used.ended.insert(leaving.new);
            }
        }
        None
    }

    /// The segment `new`, in which `sifted` was written, stands for `old`, which ascend, from now on. Everything that is known was
    /// relocated, and all that others say was redirected; nothing is left to say of `old`, and [`Segments::drop`] is next.
    pub(crate) fn replace(&mut self, old: &[u32], new: u32, sifted: &Sifted) {
        let gone = || old.iter().filter_map(|segment| self.uses.get(segment));
        assert!(gone().all(|used| used.receptions_kept == 0), "what is known in {old:?} was relocated before");
        let mut ended: BTreeSet<u32> = gone().flat_map(|used| &used.ended).copied().collect();
        let used = self.uses.get_mut(&new).expect("what is known lies there");
        // What was forgotten since it was copied lies in the new segment.
        used.receptions_forgotten = sifted.receptions.saturating_sub(used.receptions_kept);
        for (other, bytes) in &sifted.refs {
            let other = if old.binary_search(other).is_ok() { new } else { *other };
            used.refs.entry(other).or_default().add(*bytes);
        }
        ended.remove(&new);
        used.ended = ended;
        used.accepted = sifted.accepted;
    }

    fn remove(&mut self, segment: u32) -> Option<SegmentUse> {
        let used = self.uses.remove(&segment)?;
        self.beginnings.remove(&(used.first_seq, segment));
        Some(used)
    }

    /// Compaction left `bytes` in `segment` and can do no better.
    pub(crate) fn fix(&mut self, segment: u32, bytes: u64) {
        let estimated = self.bytes_needed(segment, &BTreeSet::new());
        if let Some(used) = self.uses.get_mut(&segment) {
            used.bytes_fixed += bytes.saturating_sub(estimated);
        }
    }

    /// Forgets segments that are gone. What others say about them is passed over from now on, until [`Segments::forget_references`]: no
    /// other segment is ever known by their keys. Returns what they said: it is let go without the lock, as it may be long.
    pub(crate) fn drop(&mut self, gone: &[u32]) -> Vec<SegmentUse> {
        let dropped: Vec<SegmentUse> = gone.iter().filter_map(|segment| self.remove(*segment)).collect();
        let is_needed = |dropped: &SegmentUse| dropped.receptions_kept > 0;
        assert!(!dropped.iter().any(is_needed), "one of the segments {gone:?} was needed");
        dropped
    }

    /// Forgets what the segments from `from` on say about segments that are gone, until `weight` of that was looked at; returns
    /// where to go on, if there is more.
    pub(crate) fn forget_references(&mut self, from: u32, weight: usize) -> Option<u32> {
        let (mut next, mut looked_at) = (Some(from), 0);
        while let Some((segment, used)) = next.and_then(|from| self.uses.range_mut(from..).next()) {
            if looked_at >= weight {
                return Some(*segment);
            }
            next = segment.checked_add(1);
            looked_at += used.weight();
            // Whether they are there is asked of the map in which they lie.
            let (segment, mut refs, mut ended) = (*segment, take(&mut used.refs), take(&mut used.ended));
            refs.retain(|other, _| self.uses.contains_key(other));
            ended.retain(|other| self.uses.contains_key(other));
            let used = self.uses.get_mut(&segment).expect("it was just looked at");
            (used.refs, used.ended) = (refs, ended);
        }
        None
    }

    /// Panics unless `receptions`, the places of all known receptions, are those that are kept.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self, receptions: impl Iterator<Item = Place>) {
        let mut kept = BTreeMap::<u32, (u64, u64)>::new();
        for place in receptions {
            let (count, bytes) = kept.entry(place.segment).or_default();
            (*count, *bytes) = (*count + 1, *bytes + place.bytes());
        }
        for (segment, used) in &self.uses {
            let counted = kept.remove(segment).unwrap_or_default();
            assert_eq!(counted, (used.receptions_kept, used.bytes_kept), "receptions in segment {segment} are counted");
        }
        assert!(kept.is_empty(), "receptions lie in segments that are gone: {kept:?}");
        let beginnings: Vec<_> = self.uses.iter().map(|(segment, used)| (*segment, used.first_seq)).collect();
        assert!(beginnings.is_sorted_by_key(|(_, seq)| *seq), "keys ascend with the log: {beginnings:?}");
        let found: BTreeSet<(u64, u32)> = beginnings.iter().map(|(segment, seq)| (*seq, *segment)).collect();
        assert_eq!(found, self.beginnings, "they are found by where they begin");
    }
}

/// Has `refs` lead to the new segment where they led to one that leaves; returns how much was looked at. What they are in proportion to
/// is chosen so that as much of them is needed as before: were it the receptions that are left, they would look needed again each time.
fn redirect(refs: &mut BTreeMap<u32, Ref>, leaving: &Leaving) -> usize {
    let Leaving { gone, new } = leaving;
    let (Some((first, _)), Some((last, _))) = (gone.first_key_value(), gone.last_key_value()) else { return 0 };
    let within = refs.range(first..=last).map(|(other, _)| *other);
    let mut looked_at = 0;
    let led: Vec<u32> = within.inspect(|_| looked_at += 1).filter(|other| gone.contains_key(other)).collect();
    let (mut bytes, mut needed) = (0, 0);
    for other in &led {
        let (Some(found), Some((moved, forgotten))) = (refs.remove(other), gone.get(other)) else { continue };
        bytes += found.bytes();
        needed += found.bytes_needed(*moved, moved + forgotten);
    }
    if bytes > 0 {
        let moved: u64 = gone.values().map(|(moved, _)| moved).sum();
        let receptions = (bytes * moved).div_ceil(needed.max(1)).max(1);
        let found = refs.entry(*new).or_default();
        found.add(bytes);
        found.receptions = narrow(receptions);
    }
    // What led there costs some more: it is taken out.
    looked_at + 3 * led.len()
}

/// What is estimated is none the worse for it.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(segment: u32) -> Place {
        Place { segment, offset: 0, length: 72 }
    }

    /// All that replaces `old` by `new`.
    fn replace(segments: &mut Segments, old: &[u32], new: u32, sifted: &Sifted) {
        let mut leaving = Leaving::default();
        segments.leave(old, new, &mut leaving);
        assert_eq!(segments.redirect(&leaving, 0, usize::MAX), None);
        segments.replace(old, new, sifted);
        segments.drop(old);
    }

    fn sifted(receptions: u64) -> Sifted {
        Sifted { receptions, ..Sifted::default() }
    }

    #[test]
    fn a_segment_is_dead_when_nothing_is_kept_and_all_it_refers_to_goes_too() {
        let mut segments = Segments::new();
        (1..=4).for_each(|segment| segments.keep(place(segment), segment.into()));
        segments.refer(place(2), 1, 2);
        segments.refer(place(3), 2, 3);
        segments.refer(place(4), 4, 4);
        (2..=4).for_each(|segment| segments.release(place(segment)));
        assert_eq!(segments.dead(1..=4), [4]);
        segments.release(place(1));
        assert_eq!(segments.dead(1..=4), [1, 2, 3, 4]);
        assert_eq!(segments.dead(2..=4), [4], "what is not sealed is not gone");
        segments.drop(&[1]);
        assert_eq!(segments.dead(2..=3), [2, 3]);
    }

    #[test]
    fn what_is_said_of_segments_that_are_gone_is_passed_over_and_forgotten_a_step_at_a_time() {
        let mut segments = Segments::new();
        for segment in 1..=40 {
            segments.keep(place(segment), segment.into());
            (1..segment).for_each(|other| segments.refer(place(segment), other, segment.into()));
        }
        segments.end_runs(place(40), [1, 2, 3].into_iter(), 40);
        (1..=30).for_each(|segment| segments.release(place(segment)));
        let gone: Vec<u32> = (1..=30).collect();
        assert_eq!(segments.dead(1..=40), gone);
        let none = BTreeSet::new();
        let bytes = place(1).bytes();
        segments.drop(&gone);
        // Itself, and what it says of nine others.
        assert_eq!(segments.bytes_needed(40, &none), 10 * bytes);
        let said = |segments: &Segments| -> usize {
            segments.uses.values().map(|used| used.refs.len() + used.ended.len()).sum()
        };
        assert_eq!(said(&segments), (30..40).sum::<usize>() + 3, "nothing walks over all of it at once");
        let (mut next, mut steps) = (Some(0), 0);
        while let Some(from) = next {
            (next, steps) = (segments.forget_references(from, 64), steps + 1);
        }
        assert_eq!((said(&segments), steps), ((0..10).sum(), 5));
        assert_eq!(segments.bytes_needed(40, &none), 10 * bytes);
    }

    #[test]
    fn what_is_needed_of_a_segment_shrinks_with_what_is_known() {
        let mut segments = Segments::new();
        let bytes = place(1).bytes();
        (0..4).for_each(|seq| segments.keep(place(2), seq));
        (0..4).for_each(|seq| segments.refer(place(4), 2, 10 + seq));
        let none = BTreeSet::new();
        assert_eq!((segments.bytes_needed(2, &none), segments.bytes_needed(4, &none)), (4 * bytes, 4 * bytes));
        (0..3).for_each(|_| segments.release(place(2)));
        assert_eq!(segments.bytes_needed(2, &none), bytes);
        assert_eq!(segments.bytes_needed(4, &none), 4 * bytes, "without them what is forgotten would come back");
        assert_eq!(segments.bytes_needed(4, &BTreeSet::from([2])), bytes, "unless it goes");
        segments.begin(&[2], 3);
        segments.relocate(place(2), place(3), 1);
        replace(&mut segments, &[2], 3, &sifted(1));
        assert_eq!((segments.bytes_needed(3, &none), segments.bytes_needed(4, &none)), (bytes, bytes));
        segments.fix(3, bytes + 7);
        assert_eq!(segments.bytes_needed(3, &none), bytes + 7);
        segments.release(place(3));
        assert_eq!(segments.bytes_needed(4, &none), 4 * bytes);
        assert!(segments.holds_forgotten(3));
    }

    #[test]
    fn what_is_needed_stays_in_proportion_however_often_it_was_rewritten() {
        let mut segments = Segments::new();
        let (bytes, none) = (place(6).bytes(), BTreeSet::new());
        (0..100).for_each(|seq| segments.keep(place(2), seq));
        (0..100).for_each(|seq| segments.refer(place(6), 2, 100 + seq));
        let (mut old, mut new, mut kept) = (2, 3, 100);
        for left in [40, 10, 5, 1] {
            (left..kept).for_each(|_| segments.release(place(old)));
            segments.begin(&[old], new);
            (0..left).for_each(|seq| segments.relocate(place(old), place(new), seq));
            replace(&mut segments, &[old], new, &sifted(left));
            assert_eq!(segments.bytes_needed(6, &none), left * bytes, "{left} of a hundred are known");
            (old, new, kept) = (new, old, left);
        }
    }

    #[test]
    fn what_is_needed_stays_in_proportion_where_neighbours_were_merged() {
        let mut segments = Segments::new();
        let (bytes, none) = (place(6).bytes(), BTreeSet::new());
        (0..100).for_each(|seq| segments.keep(place(2), seq));
        (0..100).for_each(|seq| segments.keep(place(4), 100 + seq));
        (0..100).for_each(|seq| segments.refer(place(6), 2, 200 + seq));
        (0..90).for_each(|_| segments.release(place(2)));
        segments.begin(&[2, 4], 3);
        (0..10).for_each(|seq| segments.relocate(place(2), place(3), seq));
        (0..100).for_each(|seq| segments.relocate(place(4), place(3), 100 + seq));
        replace(&mut segments, &[2, 4], 3, &sifted(110));
        assert_eq!(segments.bytes_needed(6, &none), 10 * bytes, "what 4 held adds nothing");
    }

    #[test]
    fn what_is_said_is_redirected_a_step_at_a_time_to_the_same_end() {
        let story = |weight: usize| {
            let mut segments = Segments::new();
            (0..3).for_each(|seq| segments.keep(place(2), seq));
            (3..6).for_each(|seq| segments.keep(place(4), seq));
            for segment in (8..28).step_by(2) {
                (0..3).for_each(|_| segments.refer(place(segment), 2, segment.into()));
                (0..3).for_each(|_| segments.refer(place(segment), 4, segment.into()));
                segments.end_runs(place(segment), [2, 4].into_iter(), segment.into());
            }
            (0..2).for_each(|_| segments.release(place(2)));
            segments.begin(&[2, 4], 3);
            segments.relocate(place(2), place(3), 2);
            (3..6).for_each(|seq| segments.relocate(place(4), place(3), seq));
            let mut leaving = Leaving::default();
            segments.leave(&[2], 3, &mut leaving);
            segments.leave(&[4], 3, &mut leaving);
            let (mut next, mut steps) = (Some(2), 0);
            while let Some(from) = next {
                (next, steps) = (segments.redirect(&leaving, from, weight), steps + 1);
            }
            segments.replace(&[2, 4], 3, &sifted(4));
            segments.drop(&[2, 4]);
            (segments.uses, steps)
        };
        let (at_once, steps) = story(usize::MAX);
        assert_eq!(steps, 1);
        assert!((8..28).step_by(2).all(|segment| at_once[&segment].refs.keys().eq(&[3])));
        assert!((8..28).step_by(2).all(|segment| at_once[&segment].ended.iter().eq(&[3])));
        for (weight, expected) in [(1, 13), (20, 6), (60, 3)] {
            let (in_steps, steps) = story(weight);
            assert_eq!(in_steps, at_once);
            assert_eq!(steps, expected, "{weight} at a time");
        }
    }

    #[test]
    fn an_end_of_runs_is_needed_while_what_ran_is_known_wherever_it_lies() {
        let mut segments = Segments::new();
        (1..=3).for_each(|seq| segments.keep(place(2), seq));
        segments.end_runs(place(4), [2, 2, 4].into_iter(), 4);
        segments.end_runs(place(6), [2].into_iter(), 5);
        segments.note(8, 6);
        assert_eq!(segments.dead([2, 4, 6, 8].into_iter()), [8]);
        segments.begin(&[2], 3);
        (1..=3).for_each(|seq| segments.relocate(place(2), place(3), seq));
        replace(&mut segments, &[2], 3, &sifted(3));
        assert_eq!(segments.dead([3, 4, 6].into_iter()), [0; 0], "it was rewritten");
        segments.begin(&[4, 6], 5);
        replace(&mut segments, &[4, 6], 5, &sifted(0));
        assert!(segments.ends_runs(5) && segments.dead([3, 5].into_iter()).is_empty(), "they were merged");
        segments.release(place(3));
        assert!(segments.ends_runs(5), "two are known still");
        (0..2).for_each(|_| segments.release(place(3)));
        assert_eq!(segments.dead([5].into_iter()), [5], "what is forgotten needs no end, though it lies in the log");
    }

    #[test]
    fn an_accepted_loss_is_kept_for_ever() {
        let mut segments = Segments::new();
        segments.accept(place(2), 1);
        segments.note(4, 2);
        assert_eq!(segments.dead([2, 4].into_iter()), [4]);
        segments.begin(&[2, 4], 3);
        replace(&mut segments, &[2, 4], 3, &Sifted { accepted: 1, ..Sifted::default() });
        assert_eq!(segments.dead([3].into_iter()), [0; 0]);
    }
}

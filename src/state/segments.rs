//! Which segments are still needed.
//!
//! ```text
//! 1  received a, received b         kept: b          refs: –
//! 2  started a, completed a         kept: –          refs: 1     needed: without it a would come back from segment 1
//! 3  received c, completed c        kept: –          refs: –     dead once c is forgotten
//! ```
//!
//! A segment is dead when it holds no reception of an event that is still known, and every segment whose receptions its
//! transitions are about is gone, or goes with it (R6). Refs only ever lead to older segments.

use std::collections::{BTreeMap, BTreeSet};

/// What a segment is still needed for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SegmentUse {
    /// Receptions in it whose events are live or retained.
    pub(crate) receptions_kept: u64,
    /// Other segments with receptions that its transitions are about.
    pub(crate) refs: BTreeSet<u32>,
}

/// What each segment is still needed for.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    uses: BTreeMap<u32, SegmentUse>,
}

impl Segments {
    pub(crate) const fn new() -> Self {
        Self { uses: BTreeMap::new() }
    }

    /// An entry lies in `segment`.
    pub(crate) fn note(&mut self, segment: u32) -> &mut SegmentUse {
        self.uses.entry(segment).or_default()
    }

    /// The reception of an event that is known lies in `segment`.
    pub(crate) fn keep(&mut self, segment: u32) {
        self.note(segment).receptions_kept += 1;
    }

    /// An event whose reception lies in `segment` is forgotten.
    pub(crate) fn release(&mut self, segment: u32) {
        let kept = &mut self.note(segment).receptions_kept;
        *kept = kept.checked_sub(1).expect("an event is forgotten once");
    }

    /// A transition in `segment` is about a reception in `reception`.
    pub(crate) fn refer(&mut self, segment: u32, reception: u32) {
        if segment != reception {
            self.note(segment).refs.insert(reception);
        }
    }

    /// Those of `sealed`, given in ascending order, that are dead.
    pub(crate) fn dead(&self, sealed: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut dead = BTreeSet::new();
        for segment in sealed {
            let Some(SegmentUse { receptions_kept: 0, refs }) = self.uses.get(&segment) else { continue };
            if refs.iter().all(|other| dead.contains(other) || !self.uses.contains_key(other)) {
                dead.insert(segment);
            }
        }
        dead.into_iter().collect()
    }

    /// Forgets segments that are gone.
    pub(crate) fn drop(&mut self, gone: &[u32]) {
        for segment in gone {
            let dropped = self.uses.remove(segment);
            assert!(dropped.is_none_or(|dropped| dropped.receptions_kept == 0), "segment {segment} was needed");
        }
    }

    /// Panics unless `receptions`, the segments of all known receptions, are those that are kept.
    #[cfg(test)]
    pub(crate) fn check(&self, receptions: impl Iterator<Item = u32>) {
        let mut kept = BTreeMap::<u32, u64>::new();
        receptions.for_each(|segment| *kept.entry(segment).or_default() += 1);
        for (segment, used) in &self.uses {
            let counted = kept.remove(segment).unwrap_or(0);
            assert_eq!(counted, used.receptions_kept, "receptions in segment {segment} are counted");
        }
        assert!(kept.is_empty(), "receptions lie in segments that are gone: {kept:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_dead_when_nothing_is_kept_and_all_it_refers_to_goes_too() {
        let mut segments = Segments::new();
        (1..=4).for_each(|segment| segments.keep(segment));
        segments.refer(2, 1);
        segments.refer(3, 2);
        segments.refer(4, 4);
        (2..=4).for_each(|segment| segments.release(segment));
        assert_eq!(segments.dead(1..=4), [4]);
        segments.release(1);
        assert_eq!(segments.dead(1..=4), [1, 2, 3, 4]);
        assert_eq!(segments.dead(2..=4), [4], "what is not sealed is not gone");
        segments.drop(&[1]);
        assert_eq!(segments.dead(2..=3), [2, 3]);
    }
}

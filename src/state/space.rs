//! What compaction asks and does: which segments are needed, where things lie from now on.

use std::collections::BTreeSet;

use crate::event::Place;
use crate::event::entry::{Entry, RememberedId};
use crate::state::hash::IdHasher;
use crate::state::machine::State;
use crate::state::segments::Leaving;
use crate::state::sieve::Sifted;
use crate::state::slot::descending;

/// About how many bytes one remembered id takes in the log.
pub(crate) const REMEMBERED_BYTES: u64 = 48;

/// A record that lies elsewhere once the segment into which compaction has put it is in force.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Move {
    /// The reception `seq` of the event with this id; if that is forgotten meanwhile, it is evidence of the id.
    Reception { seq: u64, id: u128, from: Place, to: Place },
    /// What may have told why the run of the event received as `seq` failed.
    Message { seq: u64, from: Place, to: Place },
    /// The evidence of a remembered id.
    Remembered { id: u128 },
}

impl Move {
    /// What changes over because the record `seq` lies at `to` and no more at `from`; nothing if nobody knows where it lay. Of
    /// remembered ids each is a move of its own.
    pub(crate) fn of(seq: u64, entry: &Entry<'_>, hasher: IdHasher, from: Place, to: Place) -> Option<Self> {
        match entry {
            Entry::Received(received) => Some(Self::Reception { seq, id: hasher.id(received.id), from, to }),
            Entry::Failed(_) | Entry::Cancelled(_) | Entry::Condemned(_) => {
                entry.of().map(|of| Self::Message { seq: of.seq, from, to })
            }
            _ => None,
        }
    }

    /// The seq of the event that it is about; none where only an id tells.
    const fn seq(&self) -> Option<u64> {
        match self {
            Self::Reception { seq, .. } | Self::Message { seq, .. } => Some(*seq),
            Self::Remembered { .. } => None,
        }
    }
}

impl State {
    /// Whether `segment` may be deleted, with those of `dead`, once [`State::remembered_in`] it is written elsewhere and durable. They
    /// are asked in ascending order, and `dead` are those before it of which this was true. It does not become false again.
    pub(crate) fn is_dead_segment(&self, segment: u32, dead: &BTreeSet<u32>) -> bool {
        self.segments.is_dead(segment, dead)
    }

    /// Those of `sealed`, given in ascending order, of which that is true.
    #[cfg(test)]
    pub(crate) fn dead_segments(&self, sealed: impl Iterator<Item = u32>) -> Vec<u32> {
        self.segments.dead(sealed)
    }

    /// The remembered ids whose evidence lies in `segments`: to be appended as `Remembered` before those are deleted.
    pub(crate) fn remembered_in(&self, segments: &[u32]) -> Vec<RememberedId> {
        segments.iter().flat_map(|segment| self.memory.in_segment(*segment)).collect()
    }

    /// How many those are.
    pub(crate) fn remembered_count_in(&self, segment: u32) -> u64 {
        self.memory.count_in(segment)
    }

    /// Forgets segments that were deleted; what others say about them means nothing any more, and goes by [`State::forget_references`].
    /// What they said is let go without the lock.
    pub(crate) fn drop_segments(&mut self, gone: &[u32]) -> impl Sized + use<> {
        self.segments.drop(gone)
    }

    /// Forgets what segments say about segments that are gone: of the segments from `from` on, until so much was looked at. Returns
    /// where to go on, if there is more.
    pub(crate) fn forget_references(&mut self, from: u32, weight: usize) -> Option<u32> {
        self.segments.forget_references(from, weight)
    }

    /// About how many bytes of `segment` rewriting it would leave. `cleaned` are segments that are rewritten at the same time or before.
    pub(crate) fn bytes_needed(&self, segment: u32, cleaned: &BTreeSet<u32>) -> u64 {
        self.segments.bytes_needed(segment, cleaned) + self.memory.count_in(segment) * REMEMBERED_BYTES
    }

    /// What is known in `old` is about to be relocated to `new`.
    pub(crate) fn begin_relocation(&mut self, old: &[u32], new: u32) {
        self.segments.begin(old, new);
    }

    /// Some of what lay in `old`, which ascend, lies in `new` from now on.
    pub(crate) fn relocate(&mut self, moves: &[Move], old: &[u32], new: u32) {
        let Self { events, memory, segments, .. } = self;
        let slots = &mut events.slots;
        let mut finder = slots.finder();
        let found: Vec<Option<u32>> = moves.iter().map(|moved| finder.get(moved.seq()?)).collect();
        for (moved, at) in moves.iter().zip(found) {
            match (*moved, at) {
                (Move::Reception { seq, from, to, .. }, Some(at)) if slots[at].place() == from => {
                    slots[at].set_place(to);
                    segments.relocate(from, to, seq);
                }
                (Move::Message { from, to, .. }, Some(at)) if slots.error_at(at) == Some(from) => {
                    slots.set_error_at(at, Some(to));
                }
                (Move::Reception { id, from, to, .. }, None) => memory.relocate(id, &[from.segment], to.segment),
                (Move::Remembered { id }, _) => memory.relocate(id, old, new),
                (Move::Reception { .. } | Move::Message { .. }, _) => {}
            }
        }
    }

    /// How much is looked at to tell whether `segment` is dead, or how many bytes of it are needed: one for each segment that it refers
    /// to, and some for itself.
    pub(crate) fn segment_weight(&self, segment: u32) -> usize {
        self.segments.weight(segment)
    }

    /// What is known in `old` was relocated to `new`: what other segments say about `old`, and about what `leaving` holds already, is
    /// to be about `new` then, before it stands for them.
    pub(crate) fn note_leaving(&self, old: &[u32], new: u32, leaving: &mut Leaving) {
        self.segments.leave(old, new, leaving);
    }

    /// Has it be about that, of the segments from `from` on, until so much was looked at; returns where to go on, if there is
    /// more. Segments before the first that leaves say nothing about them.
    pub(crate) fn redirect_references(&mut self, leaving: &Leaving, from: u32, weight: usize) -> Option<u32> {
        self.segments.redirect(leaving, from, weight)
    }

    /// The segment `new` of `bytes` bytes stands for `old` from now on; all that is known was relocated, and what is said of them
    /// redirected. They are dropped next.
    pub(crate) fn replace_segments(&mut self, old: &[u32], new: u32, sifted: &Sifted, bytes: u64) {
        self.segments.replace(old, new, sifted);
        let remembered = self.memory.count_in(new) * REMEMBERED_BYTES;
        self.segments.fix(new, bytes.saturating_sub(remembered));
    }

    /// When the last of the oldest finished events finished that take about `bytes` together, or of `count_max` of them, and what those
    /// take. Costs a walk over them; none: nothing finished is kept.
    pub(crate) fn finished_worth(&self, bytes: u64, count_max: usize) -> Option<(i64, u64)> {
        let (mut sum, mut last) = (0, None);
        for (count, (finished_at, at)) in self.events.lanes.finished.from(0).enumerate() {
            let finished_at = descending(finished_at);
            // Those that finished in one and the same microsecond go together.
            if (sum >= bytes || count >= count_max) && last != Some(finished_at) {
                break;
            }
            last = Some(finished_at);
            sum += self.events.slots[at].place().bytes();
        }
        last.map(|last| (last, sum))
    }
}

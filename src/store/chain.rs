//! How segments are joined: each names how the one before ended (R9), and the manifest names those that are gone, and the files that
//! stand for them.

use crate::event::entry::{Begun, Predecessor};
use crate::log::manifest::{Extent, Manifest, Next};
use crate::log::segment::Name;
use crate::log::writer::SegmentEnd;
use crate::mutants::mutant;

/// Where a scan from segment to segment has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// How the segment before ended; none before the first.
    pub(crate) end: Option<SegmentEnd>,
}

/// A joint that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("a file of the log is missing: {name}; put it back from a backup")]
    Missing { name: Name },
    #[error("the segment says that {}, but {}: a part of the log is lost", told(*.said), told(*.found))]
    Predecessor { said: Option<Predecessor>, found: Option<Predecessor> },
}

fn told(end: Option<Predecessor>) -> String {
    match end {
        None => "there is none before it".to_owned(),
        Some(end) => format!(
            "segment {} ends at offset {} with record {} and digest {:#010x}",
            end.ordinal, end.length, end.last_seq, end.digest
        ),
    }
}

impl Chain {
    /// Ordinal of the last segment that was gone past; 0 before the first.
    pub(crate) fn ordinal(&self) -> u64 {
        self.end.map_or(0, |end| end.ordinal)
    }

    /// Seq of the last record before the next segment.
    pub(crate) fn last_seq(&self) -> u64 {
        self.end.map_or(0, |end| end.last_seq)
    }

    /// Goes on to the file `name`: none may be missing but those that compaction dropped.
    pub(crate) fn join(&mut self, manifest: &Manifest, name: Name) -> Result<(), Broken> {
        let next = manifest.next_after(self.ordinal());
        if let Next::AfterDropped(extent, _) = next {
            self.end = Some(end_of(extent));
        }
        if next.name() == name || mutant!("missing-file-passed-over") {
            Ok(())
        } else {
            Err(Broken::Missing { name: next.name() })
        }
    }

    /// Goes past the last file that holds records. What the log itself goes on from is how its last segment ended, as the log wrote
    /// it, even where compaction wrote it anew.
    pub(crate) fn pass(&mut self, manifest: &Manifest) {
        if let Next::AfterDropped(extent, _) = manifest.next_after(self.ordinal()) {
            self.end = Some(end_of(extent));
        }
    }

    /// Goes past a file of which no record is known; it is there all the same.
    pub(crate) fn skip(&mut self, ordinal: u64) {
        self.end = Some(SegmentEnd { ordinal, last_seq: self.last_seq(), length: 0, digest: 0 });
    }

    /// Checks what the segment says about the one before.
    pub(crate) fn check(&self, begun: &Begun) -> Result<(), Broken> {
        let found = self.end.map(predecessor);
        let found = match (found, begun.predecessor) {
            (Some(found), Some(said)) if mutant!("predecessors-digest-unchecked") => {
                Some(Predecessor { digest: said.digest, ..found })
            }
            _ => found,
        };
        if begun.predecessor == found || mutant!("predecessor-unchecked") {
            Ok(())
        } else {
            Err(Broken::Predecessor { said: begun.predecessor, found })
        }
    }
}

/// What the next segment says of one that ended so.
pub(crate) const fn predecessor(end: SegmentEnd) -> Predecessor {
    let SegmentEnd { ordinal, last_seq, length, digest } = end;
    Predecessor { ordinal, last_seq, length, digest }
}

/// How the last segment of an extent ended.
pub(crate) const fn end_of(extent: &Extent) -> SegmentEnd {
    let Extent { last_ordinal, last_seq, length, digest, .. } = *extent;
    SegmentEnd { ordinal: last_ordinal, last_seq, length, digest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_followed_another_end_than_the_one_before_is_refused_whatever_differs() {
        // R9.
        let end = SegmentEnd { ordinal: 2, last_seq: 9, length: 640, digest: 5 };
        let said = Predecessor { ordinal: 2, last_seq: 9, length: 640, digest: 5 };
        let chain = Chain { end: Some(end) };
        let check = |chain: &Chain, predecessor| {
            chain.check(&Begun { first_seq: 10, epoch: 1, boot: 1, at: 0, predecessor }).is_ok()
        };
        assert!(check(&chain, Some(said)) && check(&Chain::default(), None));
        for other in [
            Predecessor { ordinal: 1, ..said },
            Predecessor { last_seq: 8, ..said },
            Predecessor { length: 648, ..said },
            Predecessor { digest: 6, ..said },
        ] {
            assert!(!check(&chain, Some(other)), "{other:?}");
        }
        assert!(!check(&chain, None) && !check(&Chain::default(), Some(said)));
    }
}

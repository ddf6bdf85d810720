//! How segments are joined: each names how the one before ended (R9), and the manifest names those that are gone.

use crate::event::entry::{Begun, Predecessor};
use crate::log::manifest::Manifest;
use crate::log::writer::SegmentEnd;

/// Where a scan from segment to segment has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// How the segment before ended; none before the first.
    pub(crate) end: Option<SegmentEnd>,
}

/// A joint that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("a file of the log is missing: segment {ordinal}; put it back from a backup")]
    Missing { ordinal: u64 },
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
    /// Seq of the last record before the next segment.
    pub(crate) fn last_seq(&self) -> u64 {
        self.end.map_or(0, |end| end.last_seq)
    }

    /// Goes on to segment `ordinal`: none may be missing but those that compaction dropped.
    pub(crate) fn join(&mut self, manifest: &Manifest, ordinal: u64) -> Result<(), Broken> {
        let mut expected = self.end.map_or(1, |end| end.ordinal + 1);
        if let Some(range) = manifest.dropped(expected) {
            self.end = Some(SegmentEnd {
                ordinal: range.last_ordinal,
                last_seq: range.last_seq,
                length: range.length,
                digest: range.digest,
            });
            expected = range.last_ordinal + 1;
        }
        if expected == ordinal { Ok(()) } else { Err(Broken::Missing { ordinal: expected }) }
    }

    /// Checks what the segment says about the one before.
    pub(crate) fn check(&self, begun: &Begun) -> Result<(), Broken> {
        let found = self.end.map(|end| Predecessor {
            ordinal: end.ordinal,
            last_seq: end.last_seq,
            length: end.length,
            digest: end.digest,
        });
        if begun.predecessor == found { Ok(()) } else { Err(Broken::Predecessor { said: begun.predecessor, found }) }
    }
}

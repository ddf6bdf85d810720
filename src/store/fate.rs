//! What becomes of events on their way in.

use crate::mutants::mutant;
use crate::state::Known;
use crate::store::answers::Duplicate;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept {
        seq: u64,
    },
    /// `seq` is the reception that was there before, and `is_kept` whether it still is.
    Duplicate {
        why: Duplicate,
        seq: u64,
        is_kept: bool,
    },
}

impl Fate {
    /// That of a duplicate of what is known.
    pub(super) fn duplicate(why: Duplicate, known: Known) -> Self {
        Self::Duplicate { why, seq: known.seq, is_kept: known.kept }
    }

    /// The reception that must be durable before anybody is told.
    pub(crate) fn seq(&self) -> Option<u64> {
        match *self {
            Self::Duplicate { .. } if mutant!("duplicate-answered-before-durable") => None,
            // Also where it was forgotten since: neither the reception nor the horizon need be durable yet.
            Self::Kept { seq } | Self::Duplicate { seq, .. } => Some(seq),
        }
    }
}

/// What an event is found to be, before anything is done about it.
pub(crate) enum Judged {
    New,
    /// A duplicate.
    Known(Fate),
    /// Its id is taken by another event.
    Taken,
    /// Its id is taken, perhaps by the same: see [`Decision::Doubt`].
    Doubtful {
        seq: u64,
    },
}

/// What was decided about a batch.
pub(crate) enum Decision {
    /// Each has its fate; this seq must be durable before anybody is told.
    Done { seq: Option<u64> },
    /// There are events whose ids are taken by other data, and know it. Nothing was appended.
    Conflict,
    /// There are events whose ids are taken, and only their data tells whether they are the same: it is to be compared once this seq is
    /// durable. Nothing was appended.
    Doubt { seq: u64 },
}

impl Decision {
    /// What must be durable before anybody is told.
    pub(crate) fn seq(&self) -> Option<u64> {
        match *self {
            Self::Done { seq } => seq,
            Self::Conflict | Self::Doubt { .. } => None,
        }
    }
}

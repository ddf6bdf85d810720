//! What time it is, as a value.

use crate::event::Timestamp;

/// A reading of both clocks, taken once per operation and handed down as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// What the wall clock says; it may jump.
    pub(crate) wall: Timestamp,
    /// Microseconds since the store was opened; it never jumps.
    pub(crate) steady: u64,
}

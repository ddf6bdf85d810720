//! Where a record lies.

/// The place of a record in the log: enough to read it again with one call, and to verify that it is the one that was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Key of the segment: ascends in the order of the log.
    pub(crate) segment: u32,
    /// Offset of the record's header within it.
    pub(crate) offset: u32,
    /// Length of the record's body.
    pub(crate) length: u32,
}

impl Place {
    /// None where the segment would be longer than 4 GiB.
    pub(crate) fn new(segment: u32, offset: u64, length: usize) -> Option<Self> {
        Some(Self { segment, offset: u32::try_from(offset).ok()?, length: u32::try_from(length).ok()? })
    }

    /// About how many bytes the record takes in the log, its header included.
    pub(crate) const fn bytes(self) -> u64 {
        self.length as u64 + 28
    }
}

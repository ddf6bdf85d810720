//! Where a process may die, by name: the places that its code passes, at which a simulated disk may lose its power.

/// A place in the life of an event, or of the log, at which a simulated process dies: see `Bench::crash_at` in the module `testing`.
///
/// Whatever stands between two of these is one call of the disk; a death in the middle of it is one of those that
/// `Bench::crash_after` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrashPoint {
    /// An event was taken, and nothing of it is with the disk: whoever emitted it has no answer.
    AppendStaged,
    /// Records were written, and not synced.
    Written,
    /// Records were synced, and nobody has been told.
    Synced,
    /// The start of a run was written, and its handler has not begun.
    Started,
    /// A handler has ended, and nothing of that is recorded.
    Settling,
    /// The end of a run was taken, and nothing of it is with the disk.
    SettleStaged,
    /// The next segment is about to be created.
    SegmentWanted,
    /// The next segment was created, and nothing was written to it.
    SegmentCreated,
    /// The next record is the first one of the next segment.
    SegmentRolled,
    /// A compaction has copied what is left, and the old segments are in force.
    CompactionCopied,
    /// What a compaction has copied is in force, and the old segments are not deleted.
    CompactionInForce,
}

impl CrashPoint {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::AppendStaged,
        Self::Written,
        Self::Synced,
        Self::Started,
        Self::Settling,
        Self::SettleStaged,
        Self::SegmentWanted,
        Self::SegmentCreated,
        Self::SegmentRolled,
        Self::CompactionCopied,
        Self::CompactionInForce,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AppendStaged => "append staged",
            Self::Written => "written",
            Self::Synced => "synced",
            Self::Started => "started",
            Self::Settling => "settling",
            Self::SettleStaged => "settle staged",
            Self::SegmentWanted => "segment wanted",
            Self::SegmentCreated => "segment created",
            Self::SegmentRolled => "segment rolled",
            Self::CompactionCopied => "compaction copied",
            Self::CompactionInForce => "compaction in force",
        }
    }
}

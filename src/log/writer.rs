//! The writing end of the log: records are staged in memory, taken as groups, written and synced.
//!
//! ```text
//!   Stage (under the caller's lock)                    Tail (one owner at a time, no lock)
//!   begin_batch, stage, stage … ─► open group          (a batch comes as a Draft, encoded without any lock: stage_all)
//!   take(durable) ─────────────► Group ──────────────► write ──► sync
//! ```
//!
//! Offsets and seqs are given out when a record is staged, because checksums cover them. A group lies in one segment; the first
//! write into a segment follows the last sync of its predecessor, so a torn tail can only be in the last one.
//!
//! Neither knows what a record says, nor when to sync: that is the caller's business.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::env;
use crate::log::draft::Draft;
use crate::log::format::{
    Body, GROUP_BYTES_MAX, GROUP_HEAD_BYTES, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, record_span,
};
use crate::log::group::OpenGroup;
use crate::log::segment::Segment;
use crate::mutants::mutant;

/// A group grows to this before the next one is begun, unless one batch alone is longer: past it a longer write gains nothing.
const GROUP_BYTES_AIM: usize = 1024 * 1024;

/// Longest group that is put behind the end of a segment.
const LAST_GROUP_BYTES_MAX: u64 = 4 * 1024;

/// Where staged records go.
#[derive(Debug)]
pub(crate) struct Stage {
    segment_bytes: u64,
    active: Arc<Segment>,
    /// Where the next group begins, or the next record within the open group.
    offset: u64,
    digest: crc32fast::Hasher,
    next_seq: u64,
    prepared: Option<Arc<Segment>>,
    /// Oldest first; only the last one may still grow.
    groups: VecDeque<Staged>,
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Staged {
    segment: Arc<Segment>,
    group: OpenGroup,
    /// Nothing is added to it any more.
    sealed: bool,
}

/// A group on its way to the disk.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) segment: Arc<Segment>,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) last_seq: u64,
}

impl Group {
    /// Writes it where it belongs.
    pub(crate) fn write(&self) -> Result<(), env::Error> {
        self.segment.fill.make_way(self.offset + self.bytes.len() as u64);
        self.segment.file.write_all_at(&self.bytes, self.offset)
    }
}

/// How the segment before the active one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentEnd {
    pub(crate) ordinal: u64,
    pub(crate) last_seq: u64,
    pub(crate) length: u64,
    pub(crate) digest: u32,
}

/// What a batch needs that the active segment does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// It fits, and so many bytes are left behind it.
    Enough { left: u64 },
    /// It fits into the next segment.
    NextSegment,
    /// It is longer than any group may be.
    Never,
}

impl Stage {
    /// Begins writing at the start of `active`, an empty segment, with the record `next_seq`.
    pub(crate) fn new(active: Arc<Segment>, segment_bytes: u64, next_seq: u64) -> Self {
        Self {
            segment_bytes,
            active,
            offset: SEGMENT_HEADER_BYTES,
            digest: crc32fast::Hasher::new(),
            next_seq,
            prepared: None,
            groups: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// Goes on in `active` behind its last group, which ends at `offset`, with one group that ends the log: how the segment ends as a
    /// whole is not known here, so none follows it.
    pub(crate) fn resume(active: Arc<Segment>, offset: u64, next_seq: u64) -> Self {
        Self { offset, ..Self::new(active, offset + LAST_GROUP_BYTES_MAX, next_seq) }
    }

    /// Longest group that a segment of `segment_bytes` takes: a quarter of it, and never more than readers accept.
    pub(crate) fn group_bytes_max(segment_bytes: u64) -> usize {
        usize::try_from((segment_bytes / 4).min(u64::from(GROUP_BYTES_MAX))).unwrap_or(usize::MAX)
    }

    /// Longest body of a record in a segment of `segment_bytes`.
    pub(crate) fn record_bytes_max(segment_bytes: u64) -> usize {
        let group = Self::group_bytes_max(segment_bytes).saturating_sub(GROUP_HEAD_BYTES + RECORD_HEADER_BYTES + 8);
        group.min(RECORD_BYTES_MAX as usize)
    }

    /// What records whose bodies have these lengths take as one group.
    pub(crate) fn group_bytes(bodies: impl IntoIterator<Item = usize>) -> usize {
        bodies.into_iter().map(record_span).fold(GROUP_HEAD_BYTES, usize::saturating_add)
    }

    /// Whether records whose bodies have these lengths fit into the active segment as one group.
    pub(crate) fn room(&self, bodies: impl IntoIterator<Item = usize>) -> Room {
        let longest = Self::record_bytes_max(self.segment_bytes);
        let mut is_record_too_long = false;
        let span = Self::group_bytes(bodies.into_iter().inspect(|length| is_record_too_long |= *length > longest));
        if is_record_too_long || span > Self::group_bytes_max(self.segment_bytes) {
            Room::Never
        } else {
            self.left().checked_sub(span as u64).map_or(Room::NextSegment, |left| Room::Enough { left })
        }
    }

    /// Bytes left in the active segment.
    pub(crate) fn left(&self) -> u64 {
        self.segment_bytes.saturating_sub(self.offset)
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub(crate) fn active(&self) -> &Arc<Segment> {
        &self.active
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Ordinal of the segment to prepare, unless one is prepared.
    pub(crate) fn wants_segment(&self) -> Option<u64> {
        self.prepared.is_none().then(|| self.active.ordinal() + 1)
    }

    pub(crate) fn prepared(&self) -> Option<&Arc<Segment>> {
        self.prepared.as_ref()
    }

    /// Takes `segment` back, if it is prepared and nothing was staged into it yet.
    pub(crate) fn take_back(&mut self, segment: &Arc<Segment>) -> bool {
        self.prepared.take_if(|prepared| Arc::ptr_eq(prepared, segment)).is_some()
    }

    /// Takes a segment that was created, and is durable, for when the active one is full.
    pub(crate) fn put_prepared(&mut self, segment: Arc<Segment>) {
        assert_eq!(segment.ordinal(), self.active.ordinal() + 1, "segments follow one another");
        self.prepared = Some(segment);
    }

    /// Goes over to the prepared segment, if there is one, and says how the one before ended.
    pub(crate) fn roll(&mut self) -> Option<SegmentEnd> {
        let next = self.prepared.take()?;
        self.seal();
        let end = SegmentEnd {
            ordinal: self.active.ordinal(),
            last_seq: self.next_seq - 1,
            length: self.offset,
            digest: std::mem::take(&mut self.digest).finalize(),
        };
        self.active = next;
        self.offset = SEGMENT_HEADER_BYTES;
        Some(end)
    }

    /// Makes sure that the next `span` bytes of records land in one group.
    pub(crate) fn begin_batch(&mut self, bodies: impl IntoIterator<Item = usize>) {
        let span = bodies.into_iter().map(record_span).sum::<usize>();
        if self.groups.back().is_some_and(|group| !group.sealed && group.group.len() + span > GROUP_BYTES_AIM) {
            self.seal();
        }
    }

    /// Stages one record; `room` said that it fits. Returns its seq and the offset of its header in the active segment.
    pub(crate) fn stage(&mut self, body: Body<'_>) -> (u64, u64) {
        let span = record_span(body.len());
        let (seq, salt) = (self.next_seq, self.active.salt());
        let (offset, checksum) = self.open_group(span as u64).push(body, seq, salt);
        self.digest.update(&checksum.to_le_bytes());
        self.offset += span as u64;
        self.next_seq += 1;
        (seq, offset)
    }

    /// Stages the records of a draft, of which there is at least one; `room` said that they fit. Returns the seq of the first, and the
    /// offset of its header.
    pub(crate) fn stage_all(&mut self, draft: &mut Draft) -> (u64, u64) {
        let span = draft.records().len() as u64;
        let (seq, salt) = (self.next_seq, self.active.salt());
        let (offset, checksums) = self.open_group(span).append(draft, seq, salt);
        self.digest.update(&checksums);
        self.offset += span;
        self.next_seq += draft.len() as u64;
        (seq, offset)
    }

    /// The group into which the next `span` bytes of records go.
    fn open_group(&mut self, span: u64) -> &mut OpenGroup {
        if self.groups.back().is_none_or(|group| group.sealed) {
            self.begin_group();
        }
        assert!(span <= self.left(), "a record is staged only where there is room for it");
        &mut self.groups.back_mut().expect("a group was just begun").group
    }

    fn begin_group(&mut self) {
        let group = OpenGroup::new(self.offset, self.spare.pop().unwrap_or_default());
        self.groups.push_back(Staged { segment: Arc::clone(&self.active), group, sealed: false });
        self.offset += GROUP_HEAD_BYTES as u64;
    }

    fn seal(&mut self) {
        if let Some(group) = self.groups.back_mut() {
            group.sealed = true;
        }
    }

    /// Bytes that wait to be taken.
    pub(crate) fn staged_bytes(&self) -> usize {
        self.groups.iter().map(|staged| staged.group.len()).sum()
    }

    /// Where the oldest group belongs.
    pub(crate) fn next_segment(&self) -> Option<&Arc<Segment>> {
        self.groups.front().map(|staged| &staged.segment)
    }

    /// Takes the oldest group, stamped with what is durable now.
    pub(crate) fn take(&mut self, durable: u64) -> Option<Group> {
        let Staged { segment, group, .. } = self.groups.pop_front()?;
        let (offset, last_seq) = (group.offset, group.last_seq());
        let bytes = group.close(segment.salt(), durable, segment.header.group_flags());
        Some(Group { segment, offset, bytes, last_seq })
    }

    /// Takes back a buffer, so that the next groups need not allocate.
    pub(crate) fn give_back(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < 4 && bytes.capacity() <= 4 * GROUP_BYTES_AIM {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}

/// The end of the log that touches the disk. One owner at a time, so no two sync at once.
#[derive(Debug)]
pub(crate) struct Tail {
    segment: Arc<Segment>,
    /// Whether the system counts the names of files: not every one does.
    has_names: bool,
    unsynced: bool,
}

impl Tail {
    pub(crate) fn new(segment: Arc<Segment>) -> Self {
        Self { has_names: segment.file.has_name(), segment, unsynced: false }
    }

    /// Whether the last group was written into this segment.
    pub(crate) fn is_in(&self, segment: &Arc<Segment>) -> bool {
        Arc::ptr_eq(&self.segment, segment)
    }

    /// Writes a group. If it is the first of its segment, what the segment before holds is synced first (R9).
    pub(crate) fn write(&mut self, group: &Group) -> Result<(), env::Error> {
        if !self.is_in(&group.segment) {
            if mutant!("roll-syncs-the-wrong-segment") {
                self.segment = Arc::clone(&group.segment);
            }
            self.sync()?;
            self.segment.fill.stop();
            self.segment = Arc::clone(&group.segment);
        }
        self.unsynced = true;
        group.write()
    }

    /// Where the last group was written.
    pub(crate) const fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Whether something was written since the last sync.
    #[cfg(all(test, feature = "manager"))]
    pub(crate) const fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// A group was written into its segment by somebody else, beside the last sync or before.
    pub(crate) const fn note_write_beside(&mut self) {
        self.unsynced = true;
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> Result<(), env::Error> {
        if self.unsynced && !mutant!("acknowledged-before-sync") {
            let mut synced = self.segment.file.sync_data();
            if mutant!("failed-sync-retried") && synced.is_err() {
                synced = self.segment.file.sync_data();
            }
            synced?;
            // What was removed while it was in use is synced well, and gone with the process.
            if self.has_names && !self.segment.file.has_name() {
                return Err(self.segment.file.removed());
            }
            self.unsynced = false;
        }
        Ok(())
    }

    /// Ends the segment's file where its last group ends: the space behind it was never used. `length` is where that is.
    pub(crate) fn trim(&mut self, length: u64) -> Result<(), env::Error> {
        self.segment.fill.stop();
        self.segment.file.truncate(length)?;
        self.segment.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Dir;
    use crate::log::format::SegmentHeader;

    #[test]
    fn no_record_is_longer_than_readers_take_however_large_the_segment() {
        let dir = tempfile::tempdir().unwrap();
        let header = SegmentHeader { store_id: [7; 16], ordinal: 1, generation: 0, salt: 1 };
        let segment = Segment::create(&Dir::open(dir.path()).unwrap(), header, 0).unwrap();
        for (segment_bytes, longest) in [
            (64 * 1024, 16 * 1024 - 72),
            (64 * 1024 * 1024, 16 * 1024 * 1024 - 72),
            (1024 * 1024 * 1024, 16 * 1024 * 1024),
        ] {
            let stage = Stage::new(Arc::clone(&segment), segment_bytes, 1);
            assert_eq!(Stage::record_bytes_max(segment_bytes), longest);
            assert!(matches!(stage.room([longest]), Room::Enough { .. }), "{segment_bytes}");
            assert_eq!(stage.room([longest + 1]), Room::Never, "{segment_bytes}");
            assert_eq!(stage.room([longest, longest]), Room::Never, "{segment_bytes}");
        }
    }
}

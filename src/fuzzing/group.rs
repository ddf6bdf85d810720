//! One group, with its head and the headers of its records.

use std::convert::Infallible;

use super::forging::{Forged, forge, header};
use super::taken::Taken;
use crate::log::format::{GROUP_HEAD_BYTES, GroupHead, RECORD_HEADER_BYTES, RecordHeader, SegmentHeader};
use crate::log::reader::verified;
use crate::log::scan::{GroupEnd, Record, Standing, Visitor, visit_group};
use crate::log::source::Source;

/// The first byte chooses how the rest is taken:
///
/// * 0: as a group, as it is. A head that verifies, and a record's header, say the same when they are encoded again.
/// * otherwise: as a description of a group whose checksums all hold. It is read if, and only if, a writer could have written it. Odd
///   ones stand in a segment that compaction wrote, where seqs have gaps.
pub fn group(bytes: &[u8]) {
    match bytes.split_first() {
        None => {}
        Some((0, rest)) => raw(rest),
        Some((kind, rest)) => described(kind % 2 == 1, rest),
    }
}

fn raw(bytes: &[u8]) {
    let segment = header(false);
    let found = visited(bytes, &segment, 0);
    if let Some(head) = GroupHead::decode(bytes, segment.salt, 0) {
        assert!(bytes.starts_with(&head.encode(segment.salt, 0)), "a head keeps every byte: {head:?}");
        assert!(found.is_none_or(|(end, _)| end.offset == u64::from(head.length)), "a group ends where its head says");
    } else {
        assert!(found.is_none(), "without a head there is no group");
    }
    if let Some(record) = RecordHeader::decode(bytes, segment.salt, 0) {
        let (encoded, checksum) = record.forged(segment.salt, 0);
        assert!(bytes.starts_with(&encoded) && checksum == record.checksum, "a header keeps every byte: {record:?}");
    }
}

fn described(is_sparse: bool, bytes: &[u8]) {
    let (segment, mut taken) = (header(is_sparse), Taken::new(bytes));
    let (offset, first_seq) = (u64::from(taken.byte()) * 8, taken.number());
    let group = forge(&mut taken, &segment, offset, first_seq);
    let mut file = vec![0; usize::try_from(offset).unwrap_or(0)];
    file.extend_from_slice(&group.bytes);
    // What stands behind it is nothing to it.
    file.extend_from_slice(taken.rest());
    match visited(&file, &segment, offset) {
        Some((end, records)) => {
            assert!(group.is_sound, "a group that lies is read: {:?}", group.head);
            assert_eq!(end, end_of(&group, offset));
            assert_eq!(records, group.records, "a group shows the records that were put into it");
        }
        None => assert!(!group.is_sound, "a sound group is refused: {:?}", group.head),
    }
    // Its place is part of every checksum (R7).
    assert_eq!(visited(&group.bytes, &segment, 0).is_some(), group.is_sound && offset == 0);
    let elsewhere = SegmentHeader { salt: segment.salt + 1, ..segment };
    assert!(visited(&file, &elsewhere, offset).is_none(), "a group verifies in another segment");
}

fn end_of(group: &Forged, offset: u64) -> GroupEnd {
    let last_seq = group.records.last().map_or(0, |(seq, _)| *seq);
    GroupEnd { offset: offset + group.bytes.len() as u64, last_seq }
}

type Records = Vec<(u64, Vec<u8>)>;

/// Where the group ends and what it shows, if it verifies; each record is then found alone, too.
fn visited(file: &[u8], segment: &SegmentHeader, offset: u64) -> Option<(GroupEnd, Records)> {
    struct Shown<'f> {
        file: &'f [u8],
        segment: SegmentHeader,
        records: Records,
    }
    impl Visitor for Shown<'_> {
        type Stop = Infallible;

        fn record(&mut self, record: &Record<'_>, standing: Standing) -> Result<(), Infallible> {
            assert_eq!(standing, Standing::Sound, "one group has nothing before it");
            let at = usize::try_from(record.offset).unwrap_or(usize::MAX);
            let length = u32::try_from(record.body.len()).unwrap_or(u32::MAX);
            let rest = self.file.get(at..).unwrap_or_default();
            let alone = verified(rest, &self.segment, record.offset, length, Some(record.seq));
            assert_eq!(alone, Some(record.body), "a record that was shown is found by its place");
            self.records.push((record.seq, record.body.to_vec()));
            Ok(())
        }
    }
    let mut shown = Shown { file, segment: *segment, records: Vec::new() };
    let end = visit_group(&mut Source::Memory(file), file.len() as u64, segment, offset, &mut shown);
    let end = end.unwrap_or_else(|_| unreachable!("memory can be read and the visitor never stops"));
    let Ok(end) = end else {
        assert!(shown.records.is_empty(), "of a group that does not verify nothing is shown");
        return None;
    };
    let span = usize::try_from(end.offset - offset).unwrap_or(0);
    assert!(shown.records.len() * RECORD_HEADER_BYTES + GROUP_HEAD_BYTES <= span, "records take room");
    Some((end, shown.records))
}

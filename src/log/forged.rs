//! Segments that somebody made to mislead a reader: every checksum holds, and the numbers under them lie (R14).

use std::convert::Infallible;

use crate::log::format::{
    GROUP_BYTES_MAX, GROUP_HEAD_BYTES, GroupHead, HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader,
    SEGMENT_HEADER_BYTES, SegmentHeader, record_span,
};
use crate::log::group::OpenGroup;
use crate::log::scan::{Defect, Record, Scan, Seqs, Standing, Visitor, scan};
use crate::log::source::Source;

const HEADER: SegmentHeader = SegmentHeader { store_id: [7; 16], ordinal: 1, generation: 0, salt: 9 };

/// Counts the sound records.
struct Count(u64);

impl Visitor for Count {
    type Stop = Infallible;

    fn record(&mut self, _: &Record<'_>, standing: Standing) -> Result<(), Infallible> {
        self.0 += u64::from(standing == Standing::Sound);
        Ok(())
    }
}

/// A segment of one group, whose head is changed before it is sealed, and whose only record keeps so many bytes of its body.
fn segment(change: impl Fn(&mut GroupHead), body_kept: usize) -> Vec<u8> {
    let body = [0xa5; 1_000];
    let at = SEGMENT_HEADER_BYTES + GROUP_HEAD_BYTES as u64;
    let mut record = [0; RECORD_HEADER_BYTES];
    let checksum = RecordHeader::encode(&mut record, body.as_slice().into(), 1, HEADER.salt, at);
    let span = GROUP_HEAD_BYTES + record_span(body_kept);
    let mut head = GroupHead {
        length: u32::try_from(span).unwrap(),
        record_count: 1,
        first_seq: 1,
        durable: 0,
        digest: crc32fast::hash(&checksum.to_le_bytes()),
        flags: 0,
    };
    change(&mut head);
    let mut bytes = HEADER.encode().to_vec();
    bytes.extend_from_slice(&head.encode(HEADER.salt, SEGMENT_HEADER_BYTES));
    bytes.extend_from_slice(&record);
    bytes.extend_from_slice(&body[..body_kept]);
    bytes.resize(HEADER_BYTES + span, 0);
    bytes
}

fn scanned(bytes: &[u8]) -> (Scan, u64) {
    let mut count = Count(0);
    let mut source = Source::Memory(bytes);
    let Ok(scan) = scan(&mut source, bytes.len() as u64, &HEADER, Seqs::Any, &mut count) else {
        panic!("bytes in memory are readable")
    };
    (scan, count.0)
}

#[test]
fn nothing_hides_between_two_records() {
    // R7: no checksum covers what fills a record up to its alignment.
    let mut group = OpenGroup::new(SEGMENT_HEADER_BYTES, Vec::new());
    group.push([0xa5; 13].as_slice().into(), 1, HEADER.salt);
    let mut bytes = HEADER.encode().to_vec();
    bytes.extend(group.close(HEADER.salt, 0, 0));
    assert_eq!(scanned(&bytes).1, 1);
    *bytes.last_mut().unwrap() = 1;
    assert_eq!((scanned(&bytes).0.end, scanned(&bytes).1), (SEGMENT_HEADER_BYTES, 0));
}

#[test]
fn flags_of_a_newer_version_are_refused_and_named() {
    // R15.
    for flags in [1, 2, 1 << 31] {
        let (scan, records) = scanned(&segment(|head| head.flags = flags, 1_000));
        assert_eq!((scan.finding.map(|finding| finding.defect), records), (Some(Defect::Flags { flags }), 0));
    }
}

#[test]
fn no_group_is_read_that_is_longer_than_any_may_be_however_long_the_file() {
    // R14: whoever read it would have to make room for it first.
    let bytes = segment(|head| head.length = GROUP_BYTES_MAX + 8, 1_000);
    let mut source = Source::Memory(&bytes);
    let Ok(scan) = scan(&mut source, 1 << 40, &HEADER, Seqs::Any, &mut Count(0)) else {
        panic!("bytes in memory are readable")
    };
    assert!(matches!(scan.finding.map(|finding| finding.defect), Some(Defect::Length { .. })), "{scan:?}");
}

#[test]
fn a_number_is_bounded_before_it_is_acted_on_though_its_checksum_holds() {
    // R14, R7.
    let (sound, records) = scanned(&segment(|_| {}, 1_000));
    assert_eq!((sound.finding, records), (None, 1));
    let length = |length: u32| move |head: &mut GroupHead| head.length = length;
    for forged in [0, 8, 39, u32::MAX, GROUP_BYTES_MAX + 8, 1_000_000, 1_065] {
        let (scan, records) = scanned(&segment(length(forged), 1_000));
        let defect = scan.finding.map(|finding| finding.defect);
        assert!(matches!(defect, Some(Defect::Length { length, .. }) if length == forged), "{forged}: {defect:?}");
        assert_eq!(records, 0);
    }
    for (name, bytes) in [
        ("no record", segment(|head| head.record_count = 0, 1_000)),
        ("more records than bytes", segment(|head| head.record_count = u32::MAX, 1_000)),
        ("a seq that no store reaches", segment(|head| head.first_seq = u64::MAX, 1_000)),
        ("a body that goes on behind the group", segment(|_| {}, 100)),
        ("other records than it was written with", segment(|head| head.digest ^= 1, 1_000)),
    ] {
        let (scan, records) = scanned(&bytes);
        assert!(scan.finding.is_some(), "{name}");
        assert_eq!((scan.end, records), (SEGMENT_HEADER_BYTES, 0), "{name}");
    }
}

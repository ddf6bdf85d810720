//! A whole segment: its header, the scan from its first byte to its last, and the verdict on what is wrong.

use std::convert::Infallible;

use super::forging::{Forged, forge, header};
use super::taken::Taken;
use crate::log::format::{HEADER_BYTES, SegmentHeader};
use crate::log::scan::{Record, Scan, Seqs, Standing, Visitor, begins_as, scan};
use crate::log::source::Source;
use crate::log::verdict::{Role, Verdict, verdict};

/// Groups of one described segment.
const GROUPS_MAX: usize = 12;

/// The first byte chooses how the rest is taken:
///
/// * 0: as a whole file. A header that verifies says the same when it is encoded again.
/// * 1: as what stands behind a sound header.
/// * otherwise: as a description of groups whose checksums all hold, and of one damage to them. The scan shows just what stands before
///   the first lie and before the damage. Odd ones are in a segment that compaction wrote, where seqs have gaps.
///
/// Whatever was scanned is judged: what is cut was not known to be durable, and the file that is left is whole.
pub fn segment(bytes: &[u8]) {
    match bytes.split_first() {
        None => {}
        Some((0, file)) => whole(file),
        Some((1, rest)) => {
            let header = header(false);
            judged(&[header.encode().as_slice(), rest].concat(), &header, Seqs::Any);
        }
        Some((kind, rest)) => described(kind % 2 == 1, rest),
    }
}

fn whole(file: &[u8]) {
    match SegmentHeader::decode(file) {
        Ok(header) => {
            assert!(file.starts_with(&header.encode()), "a header keeps every byte: {header:?}");
            judged(file, &header, Seqs::Any);
        }
        Err(defect) => assert!(!defect.to_string().is_empty()),
    }
}

/// Groups one after another, and where each begins.
struct Described {
    header: SegmentHeader,
    file: Vec<u8>,
    groups: Vec<(usize, Forged)>,
    /// How many of them follow from what is before, from the first on.
    sound: usize,
}

impl Described {
    fn new(header: SegmentHeader, taken: &mut Taken<'_>) -> Self {
        let mut described = Self { header, file: header.encode().to_vec(), groups: Vec::new(), sound: 0 };
        let count = usize::from(taken.byte()) % (GROUPS_MAX + 1);
        let mut next = 1;
        for index in 0..count {
            let skipped = taken.number();
            let first_seq = if skipped < 240 || header.is_sparse() { next } else { skipped };
            let first_seq = if header.is_sparse() { first_seq.saturating_add(skipped) } else { first_seq };
            let start = described.file.len();
            let group = forge(taken, &header, start as u64, first_seq);
            let follows = first_seq == next || header.is_sparse() && first_seq > next;
            if described.sound == index && group.is_sound && follows {
                described.sound += 1;
            }
            next = group.records.last().map_or(next, |(seq, _)| seq.saturating_add(1));
            described.file.extend_from_slice(&group.bytes);
            described.groups.push((start, group));
        }
        described
    }

    /// The records of the groups that are sound and end no later than here.
    fn records_before(&self, end: usize) -> Records {
        let groups = self.groups.iter().take(self.sound).take_while(|(start, group)| start + group.bytes.len() <= end);
        groups.flat_map(|(_, group)| group.records.iter().cloned()).collect()
    }
}

fn described(is_sparse: bool, bytes: &[u8]) {
    let mut taken = Taken::new(bytes);
    let mut described = Described::new(header(is_sparse), &mut taken);
    let (intact, place) = (described.file.len(), taken.u32() as usize);
    let place = HEADER_BYTES + place % (intact - HEADER_BYTES + 1);
    let file = &mut described.file;
    // The first byte that is not as it was, and the first after it that is.
    let (changed, end) = match taken.byte() % 5 {
        0 => (intact, intact),
        1 => {
            file.truncate(place);
            (place, intact)
        }
        2 => match file.get_mut(place) {
            Some(byte) => {
                *byte ^= taken.byte().max(1);
                (place, place + 1)
            }
            None => (intact, intact),
        },
        3 => {
            // Space that was prepared and never used.
            file.resize(intact + usize::from(taken.byte()) * 8, 0);
            (intact, intact)
        }
        _ => {
            file.extend_from_slice(taken.rest());
            (intact, intact)
        }
    };
    let (scan, shown) = judged(&described.file, &described.header, Seqs::From(1));
    assert_eq!(shown, described.records_before(changed), "shown is what stands before the first lie and the damage");
    assert_eq!(scan.group_count, described.groups_before(changed), "{scan:?}");
    let is_cut = described.file.len() < intact;
    for (start, group) in described.groups.iter().filter(|(start, _)| !is_cut && *start >= end) {
        assert!(scan.evidence >= group.head.durable, "evidence at {start} is overlooked: {scan:?}");
    }
    if let Some((_, first)) = described.groups.first().filter(|_| scan.group_count > 0) {
        assert!(begins_as(&described.header, first.head.first_seq, Seqs::From(1)), "it begins where it should");
    }
}

impl Described {
    fn groups_before(&self, end: usize) -> u64 {
        let groups = self.groups.iter().take(self.sound);
        groups.take_while(|(start, group)| start + group.bytes.len() <= end).count() as u64
    }
}

type Records = Vec<(u64, Vec<u8>)>;

/// Scans the file, judges it both as the last of its log and as one before it, and mends it as opening would.
fn judged(file: &[u8], header: &SegmentHeader, seqs: Seqs) -> (Scan, Records) {
    let (found, records) = scanned(file, header, seqs);
    let last_seq = found.last_seq.unwrap_or(0);
    let end = usize::try_from(found.end).unwrap_or(usize::MAX);
    let behind = file.get(end..).unwrap_or_default();
    for role in [Role::Last, Role::Sealed] {
        match verdict(role, &found, last_seq) {
            Verdict::Keep => assert!(behind.iter().all(|byte| *byte == 0), "something is passed over: {found:?}"),
            Verdict::Refuse(_) => assert!(found.finding.is_some(), "nothing is wrong: {found:?}"),
            Verdict::Cut => {
                assert_eq!(role, Role::Last, "what others follow is never cut");
                assert!(found.evidence <= last_seq, "what was durable is cut: {found:?}");
                let kept = file.get(..end).unwrap_or_default();
                let (mended, same) = scanned(kept, header, seqs);
                assert_eq!(
                    verdict(Role::Sealed, &mended, last_seq),
                    Verdict::Keep,
                    "what is left is whole: {mended:?}"
                );
                assert_eq!((mended.end, mended.digest, mended.last_seq), (found.end, found.digest, found.last_seq));
                assert_eq!(same, records, "what is left shows the same records");
            }
        }
    }
    (found, records)
}

/// What a scan finds, and the sound records.
fn scanned(file: &[u8], header: &SegmentHeader, seqs: Seqs) -> (Scan, Records) {
    struct Sound {
        end: u64,
        records: Records,
        others: usize,
    }
    impl Visitor for Sound {
        type Stop = Infallible;

        fn record(&mut self, record: &Record<'_>, standing: Standing) -> Result<(), Infallible> {
            if standing == Standing::Sound {
                assert!(self.others == 0 && record.offset >= self.end, "records come in order");
                self.end = record.offset + record.body.len() as u64;
                assert!(self.records.last().is_none_or(|(seq, _)| *seq < record.seq), "seqs ascend");
                self.records.push((record.seq, record.body.to_vec()));
            } else {
                assert!(record.offset >= self.end, "what is not sound comes after what is");
                self.others += 1;
            }
            Ok(())
        }
    }
    let mut sound = Sound { end: 0, records: Vec::new(), others: 0 };
    let found = scan(&mut Source::Memory(file), file.len() as u64, header, seqs, &mut sound);
    let found = found.unwrap_or_else(|_| unreachable!("memory can be read and the visitor never stops"));
    let records = sound.records;
    assert!(found.end <= file.len() as u64 && found.record_count == records.len() as u64, "{found:?}");
    assert_eq!(found.first_seq, records.first().map(|(seq, _)| *seq));
    assert_eq!(found.last_seq, records.last().map(|(seq, _)| *seq));
    assert!(found.finding.is_none_or(|finding| finding.offset >= found.end), "what is wrong comes after what is sound");
    (found, records)
}

//! Groups whose checksums all hold, put together from a fuzzer's bytes: as a writer would, or with a lie in one place.

use crate::log::format::{
    GROUP_HEAD_BYTES, GroupHead, RECORD_BYTES_MIN, RECORD_HEADER_BYTES, RecordHeader, SegmentHeader, record_span,
};
use crate::log::scan::SEQ_MAX;

use super::taken::Taken;

/// The header of a segment as the log writes it, or as compaction does.
pub(super) const fn header(is_sparse: bool) -> SegmentHeader {
    SegmentHeader { store_id: [7; 16], ordinal: 1, generation: is_sparse as u64, salt: 0x5a17 }
}

/// One group, and what is true of it.
pub(super) struct Forged {
    pub(super) bytes: Vec<u8>,
    pub(super) head: GroupHead,
    pub(super) records: Vec<(u64, Vec<u8>)>,
    /// Whether it is what a writer could have written, if it follows what is before it.
    pub(super) is_sound: bool,
}

/// Where a group says what is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    Length,
    Count,
    FirstSeq,
    Digest,
    HeadFlags,
    RecordFlags,
    RecordLength,
    Body,
    Padding,
}

impl Lie {
    /// As a rule none.
    const fn of(byte: u8) -> Self {
        match byte {
            247 => Self::Length,
            248 => Self::Count,
            249 => Self::FirstSeq,
            250 => Self::Digest,
            251 => Self::HeadFlags,
            252 => Self::RecordFlags,
            253 => Self::RecordLength,
            254 => Self::Body,
            255 => Self::Padding,
            _ => Self::None,
        }
    }
}

/// The group that `taken` describes, for this offset, with seqs from `first_seq` on.
pub(super) fn forge(taken: &mut Taken<'_>, segment: &SegmentHeader, offset: u64, first_seq: u64) -> Forged {
    let lie = Lie::of(taken.byte());
    let count = 1 + taken.byte() % 4;
    // Nothing that a writer knows durable comes after what it writes.
    let durable = first_seq.saturating_sub(1).saturating_sub(taken.byte().into());
    let mut bytes = vec![0; GROUP_HEAD_BYTES];
    let (mut records, mut digest, mut seq, mut are_seqs_sound) = (Vec::new(), Vec::new(), first_seq, true);
    for index in 0..count {
        let gap = taken.number();
        if index > 0 {
            seq = seq.saturating_add(1).saturating_add(gap);
            are_seqs_sound &= gap == 0 || segment.is_sparse();
        }
        let body = body(taken);
        let told = if index == 0 { lie } else { Lie::None };
        let checksum = push_record(&mut bytes, taken, told, (seq, &body), segment.salt, offset);
        digest.extend_from_slice(&checksum.to_le_bytes());
        records.push((seq, body));
    }
    are_seqs_sound &= seq < SEQ_MAX && first_seq <= SEQ_MAX - u64::from(count);
    let truth = GroupHead {
        length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        record_count: count.into(),
        first_seq,
        durable,
        digest: crc32fast::hash(&digest),
        flags: segment.group_flags(),
    };
    let head = told(truth, lie, taken);
    for (place, byte) in bytes.iter_mut().zip(head.encode(segment.salt, offset)) {
        *place = byte;
    }
    let is_honest = head == truth
        && match lie {
            Lie::RecordFlags | Lie::Body | Lie::Padding => false,
            Lie::RecordLength => is_true_by_chance(&bytes, &mut records, segment.salt, offset),
            _ => true,
        };
    Forged { bytes, head, records, is_sound: is_honest && are_seqs_sound }
}

fn body(taken: &mut Taken<'_>) -> Vec<u8> {
    let length = RECORD_BYTES_MIN as usize + usize::from(taken.byte() % 64);
    let mut body = taken.bytes(length).to_vec();
    body.resize(length, 0);
    body
}

/// Appends a record, and returns the checksum of its header.
fn push_record(
    bytes: &mut Vec<u8>,
    taken: &mut Taken<'_>,
    lie: Lie,
    (seq, body): (u64, &[u8]),
    salt: u64,
    group: u64,
) -> u32 {
    let (start, offset) = (bytes.len(), group + bytes.len() as u64);
    let mut header = [0; RECORD_HEADER_BYTES];
    let mut checksum = RecordHeader::encode(&mut header, body.into(), seq, salt, offset);
    if let Some(truth) = RecordHeader::decode(&header, salt, offset) {
        let told = match lie {
            Lie::RecordFlags => RecordHeader { flags: taken.u32().max(1), ..truth },
            Lie::RecordLength => RecordHeader { length: truth.length ^ taken.u32().max(1), ..truth },
            _ => truth,
        };
        (header, checksum) = told.forged(salt, offset);
    }
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(body);
    bytes.resize(start + record_span(body.len()), 0);
    // A body that fills its last eight bytes has no padding; then its own last byte is changed.
    let at = match lie {
        Lie::Body => start + RECORD_HEADER_BYTES,
        Lie::Padding => bytes.len() - 1,
        _ => return checksum,
    };
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= taken.byte().max(1);
    }
    checksum
}

/// Whether the first record's other length is as good as the true one: zeros at the end of four bytes of ones, for one, leave a CRC as it
/// was. Then it is the record that a writer would have made of so much of the body.
fn is_true_by_chance(bytes: &[u8], records: &mut [(u64, Vec<u8>)], salt: u64, group: u64) -> bool {
    let record = bytes.get(GROUP_HEAD_BYTES..).unwrap_or_default();
    let (Some((_, body)), Some(told)) =
        (records.first_mut(), RecordHeader::decode(record, salt, group + GROUP_HEAD_BYTES as u64))
    else {
        return false;
    };
    let (span, end) = (record_span(body.len()), RECORD_HEADER_BYTES + told.length as usize);
    let (Some(shown), Some(padding)) = (record.get(RECORD_HEADER_BYTES..end), record.get(end..span)) else {
        return false;
    };
    *body = shown.to_vec();
    record_span(shown.len()) == span
        && crc32fast::hash(shown) == told.body_checksum
        && padding.iter().all(|byte| *byte == 0)
}

/// The head as the lie has it, which by chance may be the truth.
fn told(truth: GroupHead, lie: Lie, taken: &mut Taken<'_>) -> GroupHead {
    match lie {
        Lie::Length => GroupHead { length: truth.length.wrapping_add(taken.u32()), ..truth },
        Lie::Count => GroupHead { record_count: truth.record_count.wrapping_add(taken.u32()), ..truth },
        Lie::FirstSeq => GroupHead { first_seq: truth.first_seq.wrapping_add(taken.u64()), ..truth },
        Lie::Digest => GroupHead { digest: truth.digest ^ taken.u32(), ..truth },
        Lie::HeadFlags => GroupHead { flags: truth.flags ^ taken.u32(), ..truth },
        _ => truth,
    }
}

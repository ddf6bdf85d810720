//! The bytes of segments: headers of segments, groups and records. FORMAT.md draws them; the tests bind both.
//!
//! Every checksum covers what places its bytes, the segment's salt and the offset, so bytes that belong elsewhere never verify (R7).

use crate::log::segment::Name;
use crate::mutants::mutant;

/// First bytes of a segment.
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"ledgrseg";
/// The one format version there is.
pub(crate) const FORMAT_VERSION: u16 = 1;
/// Length of a segment's header; the first group begins here.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = HEADER_BYTES as u64;
/// The same, as the length of an array.
pub(crate) const HEADER_BYTES: usize = 64;
/// First bytes of a group.
pub(crate) const GROUP_MAGIC: [u8; 4] = *b"LGRP";
/// Length of a group's head.
pub(crate) const GROUP_HEAD_BYTES: usize = 40;
/// Flag of a group in a segment that compaction wrote: its seqs ascend, but not without gaps.
pub(crate) const GROUP_SPARSE: u32 = 1;
/// Length of a record's header.
pub(crate) const RECORD_HEADER_BYTES: usize = 24;
/// What a record's header says besides the checksums of itself and the body begins here.
const RECORD_PLACE_AT: usize = 8;
/// Groups and records begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
/// Longest body of a record.
pub(crate) const RECORD_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Longest group, head included: twice the record limit, so that no reader allocates more (R14).
pub(crate) const GROUP_BYTES_MAX: u32 = 32 * 1024 * 1024;
/// Shortest body of a record: its kind and version.
pub(crate) const RECORD_BYTES_MIN: u32 = 4;

/// `length` rounded up to the alignment.
pub(crate) const fn aligned(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

/// The bytes that a record with a body of `length` bytes takes.
pub(crate) const fn record_span(length: usize) -> usize {
    aligned(RECORD_HEADER_BYTES + length)
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store_id: [u8; 16],
    pub(crate) ordinal: u64,
    /// 0: as the log wrote it. Otherwise compaction wrote it, in place of one with the generation before.
    pub(crate) generation: u64,
    /// Chosen anew for every file, so that the bytes of one never verify in another.
    pub(crate) salt: u64,
}

/// Why the first bytes of a file are no segment header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderDefect {
    #[error("the file has {len} bytes and a segment's header 64")]
    Short { len: usize },
    #[error("the file does not begin like a segment")]
    Magic,
    #[error("unknown format version {version} or flags {flags:#x}: a newer version of ledgerline wrote it")]
    Unsupported { version: u16, flags: u32 },
    #[error("the segment header's checksum is {found:#010x} and should be {expected:#010x}")]
    Checksum { expected: u32, found: u32 },
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&SEGMENT_MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(&self.store_id);
        bytes.extend_from_slice(&self.ordinal.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.try_into().expect("the fields add up to the header")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderDefect> {
        let Some(bytes) = bytes.first_chunk::<{ HEADER_BYTES }>() else {
            return Err(HeaderDefect::Short { len: bytes.len() });
        };
        let mut fields = Fields(bytes);
        if fields.take::<8>() != SEGMENT_MAGIC {
            return Err(HeaderDefect::Magic);
        }
        let version = u16::from_le_bytes(fields.take());
        let reserved = u16::from_le_bytes(fields.take());
        let flags = fields.u32();
        let header =
            Self { store_id: fields.take(), ordinal: fields.u64(), generation: fields.u64(), salt: fields.u64() };
        let spare = fields.u32();
        let found = fields.u32();
        let expected = crc32fast::hash(bytes.split_last_chunk::<4>().map_or(&[], |(covered, _)| covered));
        if found != expected {
            return Err(HeaderDefect::Checksum { expected, found });
        }
        let is_known = version == FORMAT_VERSION || mutant!("unknown-version-read");
        if !is_known || flags != 0 || reserved != 0 || spare != 0 {
            return Err(HeaderDefect::Unsupported { version, flags });
        }
        Ok(header)
    }

    /// What the segment is known by.
    pub(crate) fn name(&self) -> Name {
        Name { ordinal: self.ordinal, generation: self.generation }
    }

    /// Whether compaction left gaps between the segment's seqs.
    pub(crate) fn is_sparse(&self) -> bool {
        self.generation > 0
    }

    /// Flags of the segment's groups.
    pub(crate) fn group_flags(&self) -> u32 {
        if self.is_sparse() { GROUP_SPARSE } else { 0 }
    }
}

/// The head of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupHead {
    /// Bytes of the whole group, head included; a multiple of the alignment.
    pub(crate) length: u32,
    pub(crate) record_count: u32,
    pub(crate) first_seq: u64,
    /// The seq that was known durable when the group was written: the evidence of R8.
    pub(crate) durable: u64,
    /// Checksum over the header checksums of the group's records, in order.
    pub(crate) digest: u32,
    pub(crate) flags: u32,
}

impl GroupHead {
    pub(crate) fn encode(&self, salt: u64, offset: u64) -> [u8; GROUP_HEAD_BYTES] {
        let mut bytes = [0; GROUP_HEAD_BYTES];
        let mut fields = Put(&mut bytes);
        fields.put(&GROUP_MAGIC);
        fields.put(&[0; 4]);
        fields.put(&self.length.to_le_bytes());
        fields.put(&self.record_count.to_le_bytes());
        fields.put(&self.first_seq.to_le_bytes());
        fields.put(&self.durable.to_le_bytes());
        fields.put(&self.digest.to_le_bytes());
        fields.put(&self.flags.to_le_bytes());
        seal::<4, GROUP_HEAD_BYTES>(&mut bytes, salt, offset);
        bytes
    }

    /// The head that `bytes` begins with, if its checksum holds at this place.
    pub(crate) fn decode(bytes: &[u8], salt: u64, offset: u64) -> Option<Self> {
        let bytes = bytes.first_chunk::<GROUP_HEAD_BYTES>()?;
        let is_sealed = mutant!("length-before-checksum") || sealed::<4, GROUP_HEAD_BYTES>(bytes, salt, offset);
        if !bytes.starts_with(&GROUP_MAGIC) || !is_sealed {
            return None;
        }
        let mut fields = Fields(bytes);
        fields.take::<8>();
        Some(Self {
            length: fields.u32(),
            record_count: fields.u32(),
            first_seq: fields.u64(),
            durable: fields.u64(),
            digest: fields.u32(),
            flags: fields.u32(),
        })
    }
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    /// Checksum of this header, which the digests are made of.
    pub(crate) checksum: u32,
    pub(crate) body_checksum: u32,
    /// Bytes of the body.
    pub(crate) length: u32,
    pub(crate) flags: u32,
    pub(crate) seq: u64,
}

/// A record's body in two pieces: what was encoded, and long data that follows it and need not be copied to be put there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) data: &'a [u8],
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(head: &'a [u8]) -> Self {
        Self { head, data: &[] }
    }
}

impl Body<'_> {
    pub(crate) const fn len(self) -> usize {
        self.head.len() + self.data.len()
    }

    fn checksum(self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.head);
        if !self.data.is_empty() {
            hasher.update(self.data);
        }
        hasher.finalize()
    }
}

impl RecordHeader {
    /// Writes the header of `body` into `bytes`, and returns its checksum.
    pub(crate) fn encode(
        bytes: &mut [u8; RECORD_HEADER_BYTES],
        body: Body<'_>,
        seq: u64,
        salt: u64,
        offset: u64,
    ) -> u32 {
        Self::begin(bytes, body);
        Self::place(bytes, body.len(), seq, salt, offset)
    }

    /// Writes into `bytes` what is known of the header of a body before its place is.
    pub(crate) fn begin(bytes: &mut [u8; RECORD_HEADER_BYTES], body: Body<'_>) {
        let mut fields = Put(bytes);
        fields.put(&[0; 4]);
        fields.put(&body.checksum().to_le_bytes());
    }

    /// Completes a header that was begun for a body of `length` bytes, and returns its checksum.
    pub(crate) fn place(bytes: &mut [u8; RECORD_HEADER_BYTES], length: usize, seq: u64, salt: u64, offset: u64) -> u32 {
        let length = u32::try_from(length).expect("a body is within the record limit");
        assert!((RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&length), "no reader takes a body of {length} bytes");
        let (_, behind) = bytes.split_at_mut(RECORD_PLACE_AT);
        let mut fields = Put(behind);
        fields.put(&length.to_le_bytes());
        fields.put(&[0; 4]);
        fields.put(&seq.to_le_bytes());
        seal::<0, RECORD_HEADER_BYTES>(bytes, salt, offset)
    }

    /// The header that `bytes` begins with, if its checksum holds at this place and its length is within the limits.
    pub(crate) fn decode(bytes: &[u8], salt: u64, offset: u64) -> Option<Self> {
        let bytes = bytes.first_chunk::<RECORD_HEADER_BYTES>()?;
        if !sealed::<0, RECORD_HEADER_BYTES>(bytes, salt, offset) {
            return None;
        }
        let header = Self::unverified(bytes);
        (RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&header.length).then_some(header)
    }

    /// What these bytes say, be it a header's or not.
    pub(crate) fn unverified(bytes: &[u8; RECORD_HEADER_BYTES]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            checksum: fields.u32(),
            body_checksum: fields.u32(),
            length: fields.u32(),
            flags: fields.u32(),
            seq: fields.u64(),
        }
    }

    /// These fields, whatever they say, under a checksum that holds; and that checksum. No writer makes such headers, but others may.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn forged(&self, salt: u64, offset: u64) -> ([u8; RECORD_HEADER_BYTES], u32) {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        let mut fields = Put(&mut bytes);
        fields.put(&[0; 4]);
        for field in [self.body_checksum, self.length, self.flags] {
            fields.put(&field.to_le_bytes());
        }
        fields.put(&self.seq.to_le_bytes());
        let checksum = seal::<0, RECORD_HEADER_BYTES>(&mut bytes, salt, offset);
        (bytes, checksum)
    }
}

/// The checksum of `bytes` at this place: of salt, offset, and all bytes but the four at `AT`, where the checksum itself stands.
fn placed_checksum<const AT: usize, const N: usize>(bytes: &[u8; N], salt: u64, offset: u64) -> u32 {
    // One array and one call: crc32fast is slow on short pieces.
    let mut covered = [0; 64];
    let salt = if mutant!("checksum-without-salt") { 0 } else { salt };
    let offset = if mutant!("checksum-without-offset") { 0 } else { offset };
    const { assert!(N + 16 <= 64 && AT + 4 <= N) };
    let mut fields = Put(&mut covered);
    fields.put(&salt.to_le_bytes());
    fields.put(&offset.to_le_bytes());
    fields.put(bytes.get(..AT).unwrap_or_default());
    fields.put(bytes.get(AT + 4..).unwrap_or_default());
    crc32fast::hash(covered.get(..N + 12).unwrap_or_default())
}

/// The checksum of a group's head covers so many bytes more behind the salt than that of a record's header.
const HEAD_PAST_RECORD_BYTES: usize = GROUP_HEAD_BYTES - RECORD_HEADER_BYTES;

/// Whether the head of a group and the header of its first record stand at this place that were sealed with one salt, whichever that is.
///
/// A checksum is linear: what a salt adds to it is known without the salt. Both pieces agree in that by chance once in 2³² times, and
/// where somebody made them to: whoever believes it may refuse what is sound, and must not believe anything else for it.
pub(crate) fn is_sealed_with_some_salt(bytes: &[u8], offset: u64) -> bool {
    let head = bytes.first_chunk::<GROUP_HEAD_BYTES>();
    let record = bytes.get(GROUP_HEAD_BYTES..).and_then(<[u8]>::first_chunk::<RECORD_HEADER_BYTES>);
    let (Some(head), Some(record)) = (head, record) else { return false };
    let mut fields = Fields(head);
    fields.take::<8>();
    let length = fields.u32();
    let is_length = length <= GROUP_BYTES_MAX && (length as usize).is_multiple_of(ALIGNMENT);
    let of_record = added_by_salt::<0, RECORD_HEADER_BYTES>(record, offset + GROUP_HEAD_BYTES as u64);
    let past = |checksum| {
        let mut hasher = crc32fast::Hasher::new_with_initial(checksum);
        hasher.update(&[0; HEAD_PAST_RECORD_BYTES]);
        hasher.finalize()
    };
    head.starts_with(&GROUP_MAGIC)
        && is_length
        && past(of_record) ^ past(0) == added_by_salt::<4, GROUP_HEAD_BYTES>(head, offset)
}

/// What the salt adds to a checksum, if `bytes` were sealed at this place.
fn added_by_salt<const AT: usize, const N: usize>(bytes: &[u8; N], offset: u64) -> u32 {
    let found = bytes.get(AT..).and_then(<[u8]>::first_chunk).map_or(0, |field| u32::from_le_bytes(*field));
    found ^ placed_checksum::<AT, N>(bytes, 0, offset)
}

fn seal<const AT: usize, const N: usize>(bytes: &mut [u8; N], salt: u64, offset: u64) -> u32 {
    let checksum = placed_checksum::<AT, N>(bytes, salt, offset);
    if let Some(field) = bytes.get_mut(AT..AT + 4) {
        field.copy_from_slice(&checksum.to_le_bytes());
    }
    checksum
}

fn sealed<const AT: usize, const N: usize>(bytes: &[u8; N], salt: u64, offset: u64) -> bool {
    bytes.get(AT..AT + 4) == Some(placed_checksum::<AT, N>(bytes, salt, offset).to_le_bytes().as_slice())
}

/// Takes fields off the front of a buffer whose length was checked; what is missing reads as zero.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// Puts fields onto the front of a buffer that is long enough.
struct Put<'a>(&'a mut [u8]);

impl Put<'_> {
    fn put(&mut self, field: &[u8]) {
        let (front, rest) = std::mem::take(&mut self.0).split_at_mut(field.len());
        front.copy_from_slice(field);
        self.0 = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader { store_id: [7; 16], ordinal: 3, generation: 0, salt: 9 };

    #[test]
    fn a_segment_header_stands_as_drawn() {
        let bytes = HEADER.encode();
        assert_eq!(&bytes[..16], b"ledgrseg\x01\0\0\0\0\0\0\0");
        assert_eq!(bytes[16..32], [7; 16]);
        assert_eq!((bytes[32], bytes[40], bytes[48]), (3, 0, 9));
        assert_eq!(bytes[60..64], crc32fast::hash(&bytes[..60]).to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Ok(HEADER));
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_seen() {
        let head = GroupHead { length: 64, record_count: 1, first_seq: 5, durable: 4, digest: 1, flags: 0 };
        let segment = HEADER.encode();
        let group = head.encode(9, 64);
        let mut record = [0; RECORD_HEADER_BYTES];
        RecordHeader::encode(&mut record, Body { head: b"bo", data: b"dy" }, 5, 9, 104);
        assert_eq!(GroupHead::decode(&group, 9, 64), Some(head));
        assert_eq!(RecordHeader::decode(&record, 9, 104).map(|header| (header.seq, header.length)), Some((5, 4)));
        let flipped = |bytes: &[u8], bit: usize| {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        for bit in 0..segment.len() * 8 {
            assert!(SegmentHeader::decode(&flipped(&segment, bit)).is_err(), "bit {bit}");
        }
        for bit in 0..group.len() * 8 {
            assert_eq!(GroupHead::decode(&flipped(&group, bit), 9, 64), None, "bit {bit}");
        }
        for bit in 0..record.len() * 8 {
            assert_eq!(RecordHeader::decode(&flipped(&record, bit), 9, 104), None, "bit {bit}");
        }
    }

    #[test]
    fn bytes_in_another_place_never_verify() {
        // R7.
        let head = GroupHead { length: 64, record_count: 1, first_seq: 5, durable: 4, digest: 1, flags: 0 };
        let group = head.encode(9, 64);
        let mut record = [0; RECORD_HEADER_BYTES];
        RecordHeader::encode(&mut record, Body { head: b"bo", data: b"dy" }, 5, 9, 104);
        for (salt, offset) in [(8, 64), (9, 72), (8, 104), (9, 112)] {
            assert_eq!(GroupHead::decode(&group, salt, offset), None);
            assert_eq!(RecordHeader::decode(&record, salt, offset), None);
        }
        assert_eq!(GroupHead::decode(&[0; GROUP_HEAD_BYTES], 9, 64), None);
        assert_eq!(RecordHeader::decode(&[0; RECORD_HEADER_BYTES], 9, 64), None);
    }

    #[test]
    fn an_unknown_version_is_refused_by_name() {
        let mut bytes = HEADER.encode();
        bytes[8] = 2;
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderDefect::Unsupported { version: 2, flags: 0 }));
    }
}

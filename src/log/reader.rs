//! Reading one record again.

use crate::env::File;
use crate::log::Error;
use crate::log::format::{RECORD_HEADER_BYTES, RecordHeader, SegmentHeader};
use crate::mutants::mutant;

/// Reads the record at `offset` whose body has `length` bytes, and which must be `seq` where that is known. Returns the body. Both
/// checksums are verified, every time (R11).
pub(crate) fn read_record(
    file: &File,
    header: &SegmentHeader,
    offset: u64,
    length: u32,
    seq: Option<u64>,
) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; RECORD_HEADER_BYTES + length as usize];
    let read = file.read_at(&mut bytes, offset)?;
    let found = bytes.get(..read).unwrap_or_default();
    if verified(found, header, offset, length, seq).is_none() {
        return Err(Error::Damaged { path: file.path().to_owned(), offset, seq });
    }
    bytes.drain(..RECORD_HEADER_BYTES);
    Ok(bytes)
}

/// The body of the record at `offset` in a segment, where `bytes` were read: none unless it has `length` bytes and is `seq`, where that
/// is known, and both checksums hold.
pub(crate) fn verified<'a>(
    bytes: &'a [u8],
    segment: &SegmentHeader,
    offset: u64,
    length: u32,
    seq: Option<u64>,
) -> Option<&'a [u8]> {
    let found = RecordHeader::decode(bytes, segment.salt, offset)?;
    let body = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + length as usize)?;
    let sound = seq.is_none_or(|seq| seq == found.seq)
        && found.length == length
        && (found.body_checksum == crc32fast::hash(body) || mutant!("read-unverified"));
    sound.then_some(body)
}

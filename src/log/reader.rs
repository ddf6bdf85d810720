//! Reading one record again.

use crate::env::File;
use crate::log::Error;
use crate::log::format::{RECORD_HEADER_BYTES, RecordHeader, SegmentHeader};

/// Reads the record at `offset` whose body has `length` bytes, and which must be `seq` where that is known. Returns the body. Both
/// checksums are verified, every time (R11).
pub(crate) fn read_record(
    file: &File,
    header: &SegmentHeader,
    offset: u64,
    length: u32,
    seq: Option<u64>,
) -> Result<Vec<u8>, Error> {
    let damaged = || Error::Damaged { path: file.path().to_owned(), offset, seq };
    let mut bytes = vec![0; RECORD_HEADER_BYTES + length as usize];
    let read = file.read_at(&mut bytes, offset)?;
    let found = RecordHeader::decode(bytes.get(..read).unwrap_or_default(), header.salt, offset).ok_or_else(damaged)?;
    let body = bytes.split_off(RECORD_HEADER_BYTES);
    let sound = read == RECORD_HEADER_BYTES + body.len()
        && seq.is_none_or(|seq| seq == found.seq)
        && found.length == length
        && found.body_checksum == crc32fast::hash(&body);
    if sound { Ok(body) } else { Err(damaged()) }
}

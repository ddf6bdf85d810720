//! Ending a segment where its sound groups end.

use crate::env::{Dir, File};
use crate::log::Error;
use crate::log::format::SegmentHeader;

/// The directory that keeps what was cut, so that nothing is destroyed that a person might want to look at.
pub(crate) const CUT_DIR: &str = "cut";

/// Bytes that are copied together.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Keeps what stands behind `end` aside, then ends the file there; durable once this returns (R3). Returns how many bytes were
/// kept aside; trailing zeros are not worth keeping.
///
/// Cut anywhere, the next opening finds the same tail and does the same again.
pub(crate) fn cut_tail(dir: &Dir, file: &File, header: &SegmentHeader, end: u64) -> Result<u64, Error> {
    let aside = dir.create_dir(CUT_DIR)?;
    // The salt tells apart what was cut at the same place of two files that bore the same name.
    let name = format!("{:010}-{end}-{:016x}.bytes", header.ordinal, header.salt);
    let temporary = format!("{name}.tmp");
    aside.remove(&temporary)?;
    let copy = aside.create_file(&temporary)?;
    let kept = copy_tail(file, end, &copy)?;
    copy.truncate(kept)?;
    copy.sync_all()?;
    aside.rename(&temporary, &name)?;
    aside.sync()?;
    end_file(file, end)?;
    Ok(kept)
}

/// Ends the file at `end`, where nothing but zeros follows.
pub(crate) fn end_file(file: &File, end: u64) -> Result<(), Error> {
    file.truncate(end)?;
    Ok(file.sync_all()?)
}

/// Copies what stands behind `end`, and returns the length without trailing zeros.
fn copy_tail(file: &File, end: u64, copy: &File) -> Result<u64, Error> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut copied = 0;
    let mut kept = 0;
    loop {
        let read = file.read_at(&mut buffer, end + copied)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else {
            if read == 0 {
                return Ok(kept);
            }
            copied += read as u64;
            continue;
        };
        copy.write_all_at(bytes, copied)?;
        kept = copied + last as u64 + 1;
        copied += read as u64;
    }
}

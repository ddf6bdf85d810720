//! Ending a segment where its sound groups end.

use crate::env::{Dir, File};
use crate::log::Error;
use crate::log::format::SegmentHeader;
use crate::mutants::mutant;

/// The directory that keeps what was cut, so that nothing is destroyed that a person might want to look at.
pub(crate) const CUT_DIR: &str = "cut";

/// Bytes that are copied together.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Keeps what stands behind `end` aside, then ends the file there; durable once this returns (R3). Returns how many bytes were
/// kept aside; trailing zeros are not worth keeping.
///
/// Cut anywhere, the next opening does the same again with whatever the crash left of the tail.
pub(crate) fn cut_tail(dir: &Dir, file: &File, header: &SegmentHeader, end: u64) -> Result<u64, Error> {
    let aside = dir.create_dir(CUT_DIR)?;
    // The salt tells apart what was cut at the same place of two files that bore the same name.
    let name = format!("{:010}-{end}-{:016x}.bytes", header.ordinal, header.salt);
    let kept = if mutant!("tail-not-kept-aside") { 0 } else { keep_aside(&aside, &name, file, end)? };
    aside.sync()?;
    end_file(file, end)?;
    Ok(kept)
}

/// Copies what stands behind `end`, unless that was done before: then a loss of power may have left less of it meanwhile.
fn keep_aside(aside: &Dir, name: &str, file: &File, end: u64) -> Result<u64, Error> {
    if aside.has(name) {
        return Ok(aside.open_file(name, false)?.len()?);
    }
    let temporary = format!("{name}.tmp");
    aside.remove(&temporary)?;
    let copy = aside.create_file(&temporary)?;
    let kept = copy_tail(file, end, &copy)?;
    copy.truncate(kept)?;
    copy.sync_all()?;
    aside.rename(&temporary, name)?;
    Ok(kept)
}

/// Ends the file at `end`, where nothing but zeros follows.
pub(crate) fn end_file(file: &File, end: u64) -> Result<(), Error> {
    file.truncate(end)?;
    if mutant!("cut-unsynced") {
        return Ok(());
    }
    Ok(file.sync_all()?)
}

/// Copies what stands behind `end`, and returns the length without trailing zeros.
fn copy_tail(file: &File, end: u64, copy: &File) -> Result<u64, Error> {
    // Most tails are short, and a buffer has to be cleared before it is filled.
    let left = usize::try_from(file.len()?.saturating_sub(end)).unwrap_or(usize::MAX);
    let mut buffer = vec![0; left.clamp(1, CHUNK_BYTES)];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::simulated::Disk;

    #[test]
    fn what_was_kept_of_a_torn_tail_is_not_replaced_by_the_less_that_a_loss_of_power_left() {
        let header = SegmentHeader { store_id: [7; 16], ordinal: 1, generation: 0, salt: 0xa };
        let disk = Disk::new();
        let dir = disk.root();
        let file = dir.create_file("segment").unwrap();
        file.write_all_at(b"sound and torn", 0).unwrap();
        assert_eq!(cut_tail(&dir, &file, &header, 5).unwrap(), 9);
        // The power failed before the end was durable, but the end's own sector had lost a part of the tail already.
        file.write_all_at(b"\0\0\0\0\0torn", 5).unwrap();
        assert_eq!(cut_tail(&dir, &file, &header, 5).unwrap(), 9);
        let files = disk.files();
        assert_eq!(files["cut/0000000001-5-000000000000000a.bytes"], b" and torn");
        assert_eq!(files["segment"], b"sound");
    }
}

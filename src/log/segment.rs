//! One segment file: its name, its creation, its handle.

use std::sync::Arc;

use crate::env::{Dir, File};
use crate::log::Error;
use crate::log::format::{HEADER_BYTES, SegmentHeader};

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) file: File,
}

/// Why a segment was not created.
#[derive(Debug)]
pub(crate) enum NotCreated {
    /// Nothing bears its name; it may be tried again.
    Nothing(Error),
    /// Renaming failed, or syncing the directory: whether the name is there after a loss of power is unknown (R2).
    Unknown(Error),
}

impl From<NotCreated> for Error {
    fn from(error: NotCreated) -> Self {
        let (NotCreated::Nothing(error) | NotCreated::Unknown(error)) = error;
        error
    }
}

/// The file name of segment `ordinal`.
pub(crate) fn file_name(ordinal: u64) -> String {
    format!("{ordinal:010}.seg")
}

/// The ordinal that a file name stands for, if it is a segment's.
pub(crate) fn ordinal_of(name: &str) -> Option<u64> {
    let ordinal = name.strip_suffix(".seg")?.parse().ok()?;
    (file_name(ordinal) == name).then_some(ordinal)
}

impl Segment {
    /// Creates the file of a segment with space for `bytes`, header written, and all of it durable (R4).
    ///
    /// It gets its name last, in place of one that was merely prepared under that name before: a file that has a segment's name has
    /// a whole header, and a name that was there never vanishes.
    pub(crate) fn create(dir: &Dir, header: SegmentHeader, bytes: u64) -> Result<Arc<Self>, NotCreated> {
        let name = file_name(header.ordinal);
        let temporary = format!("{name}.tmp");
        let written = Self::write_aside(dir, &temporary, header, bytes);
        let file = written.map_err(|error| {
            // The first failure is the one to report; what stays is debris for the next opening.
            drop(dir.remove(&temporary));
            NotCreated::Nothing(error)
        })?;
        dir.rename(&temporary, &name).and_then(|()| dir.sync()).map_err(|error| NotCreated::Unknown(error.into()))?;
        Ok(Arc::new(Self { header, file: file.renamed(&name) }))
    }

    fn write_aside(dir: &Dir, temporary: &str, header: SegmentHeader, bytes: u64) -> Result<File, Error> {
        dir.remove(temporary)?;
        let file = dir.create_file(temporary)?;
        file.reserve(bytes)?;
        file.write_all_at(&header.encode(), 0)?;
        file.sync_all()?;
        Ok(file)
    }

    /// The header of an open file, decoded.
    pub(crate) fn read_header(file: &File) -> Result<Result<SegmentHeader, super::format::HeaderDefect>, Error> {
        let mut bytes = [0; HEADER_BYTES];
        let read = file.read_at(&mut bytes, 0)?;
        Ok(SegmentHeader::decode(bytes.get(..read).unwrap_or_default()))
    }

    pub(crate) fn ordinal(&self) -> u64 {
        self.header.ordinal
    }

    pub(crate) fn salt(&self) -> u64 {
        self.header.salt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_names_are_segments() {
        assert_eq!(file_name(1), "0000000001.seg");
        for (name, ordinal) in [
            ("0000000001.seg", Some(1)),
            ("12345678901.seg", Some(12_345_678_901)),
            ("1.seg", None),
            ("00000000001.seg", None),
            ("+000000001.seg", None),
            ("0000000001.seg.tmp", None),
            ("MANIFEST", None),
        ] {
            assert_eq!(ordinal_of(name), ordinal, "{name}");
        }
    }
}

//! One segment file: its name, its creation, its handle.

use std::sync::Arc;

use crate::env::{Dir, File};
use crate::log::Error;
use crate::log::fill::{Fill, HEAD_START_BYTES};
use crate::log::format::{HEADER_BYTES, SegmentHeader};
use crate::mutants::mutant;

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) file: File,
    /// Zeros that are written ahead of its records.
    pub(crate) fill: Fill,
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

/// No segment has a higher ordinal: indexes hold 31 bits of it.
pub(crate) const ORDINAL_MAX: u64 = (1 << 31) - 1;

/// No store reaches this generation, of a segment or of its manifest; beyond it a number is a mistake, and no arithmetic is done on it.
pub(crate) const GENERATION_MAX: u64 = 1 << 63;

/// What a segment is known by: where in the log it begins, and how often compaction rewrote what begins there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) ordinal: u64,
    /// 0: as the log wrote it.
    pub(crate) generation: u64,
}

impl Name {
    /// The segment `ordinal` as the log wrote it.
    pub(crate) const fn original(ordinal: u64) -> Self {
        Self { ordinal, generation: 0 }
    }

    /// What a file name stands for, if it is a segment's.
    pub(crate) fn parse(file_name: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(".seg")?;
        let (ordinal, generation) = stem.split_once('-').unwrap_or((stem, "0"));
        let name = Self { ordinal: ordinal.parse().ok()?, generation: generation.parse().ok()? };
        (name.generation < GENERATION_MAX && name.to_string() == file_name).then_some(name)
    }

    /// The number by which places name the segment. It ascends in the order of the log; a segment and the one that replaces it
    /// differ, so places in both are told apart while compaction changes over from one to the other. The second after it has the same
    /// number again; whoever holds a place for so long finds that the record there does not verify, and asks where it is now.
    pub(crate) fn key(self) -> Option<u32> {
        let ordinal = u32::try_from(self.ordinal).ok().filter(|_| self.ordinal <= ORDINAL_MAX)?;
        Some(ordinal << 1 | u32::from(self.generation % 2 == 1))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self { ordinal, generation: 0 } => write!(f, "{ordinal:010}.seg"),
            Self { ordinal, generation } => write!(f, "{ordinal:010}-{generation}.seg"),
        }
    }
}

impl Segment {
    /// Creates the file of a segment with space for `bytes`, header written, and all of it durable (R4).
    ///
    /// It gets its name last, in place of one that was merely prepared under that name before: a file that has a segment's name has
    /// a whole header, and a name that was there never vanishes.
    pub(crate) fn create(dir: &Dir, header: SegmentHeader, bytes: u64) -> Result<Arc<Self>, NotCreated> {
        if header.name().key().is_none() {
            return Err(NotCreated::Nothing(Error::Exhausted { path: dir.path().to_owned() }));
        }
        let name = header.name().to_string();
        let temporary = format!("{name}.tmp");
        let written = Self::write_aside(dir, &temporary, header, bytes);
        let segment = written.map_err(|error| {
            // The first failure is the one to report; what stays is debris for the next opening.
            drop(dir.remove(&temporary));
            NotCreated::Nothing(error)
        })?;
        let sync = || if mutant!("segment-name-unsynced") { Ok(()) } else { dir.sync() };
        dir.rename(&temporary, &name).and_then(|()| sync()).map_err(|error| NotCreated::Unknown(error.into()))?;
        Ok(Arc::new(Self { file: segment.file.renamed(&name), ..segment }))
    }

    fn write_aside(dir: &Dir, temporary: &str, header: SegmentHeader, bytes: u64) -> Result<Self, Error> {
        dir.remove(temporary)?;
        let file = dir.create_file(temporary)?;
        if !mutant!("space-not-reserved") {
            file.reserve(bytes)?;
        }
        let filled = HEAD_START_BYTES.min(bytes);
        let mut start = header.encode().to_vec();
        start.resize(start.len().max(usize::try_from(filled).unwrap_or(0)), 0);
        file.write_all_at(&start, 0)?;
        if !mutant!("segment-unsynced") {
            file.sync_all()?;
        }
        // In memory zeros would gain nothing.
        if filled >= bytes || dir.is_in_memory() {
            return Ok(Self { header, file, fill: Fill::over() });
        }
        let handle = dir.open_file(temporary, true)?.renamed(&header.name().to_string());
        Ok(Self { header, file, fill: Fill::begin(handle, filled, bytes) })
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

    /// The number by which places name it.
    pub(crate) fn key(&self) -> u32 {
        self.header.name().key().expect("no segment with a higher ordinal is created, and none is opened")
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
        let named = |ordinal, generation| Some(Name { ordinal, generation });
        for (name, expected) in [
            ("0000000001.seg", named(1, 0)),
            ("12345678901.seg", named(12_345_678_901, 0)),
            ("0000000003-12.seg", named(3, 12)),
            ("0000000003-0.seg", None),
            ("0000000003-18446744073709551615.seg", None),
            ("0000000003-01.seg", None),
            ("0000000003-.seg", None),
            ("1.seg", None),
            ("00000000001.seg", None),
            ("+000000001.seg", None),
            ("0000000001.seg.tmp", None),
            ("MANIFEST", None),
        ] {
            assert_eq!(Name::parse(name), expected, "{name}");
        }
    }

    #[test]
    fn keys_ascend_with_the_log_and_differ_from_one_generation_to_the_next() {
        let key = |ordinal, generation| Name { ordinal, generation }.key();
        assert!(key(1, 0) < key(1, 1) && key(1, 1) < key(2, 0) && key(2, 0) < key(3, 4));
        assert_ne!(key(7, 3), key(7, 4));
        assert!(key(ORDINAL_MAX, 1).is_some() && key(ORDINAL_MAX + 1, 0).is_none());
    }
}

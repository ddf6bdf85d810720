//! What lies in a directory, before anything is read of it.

use crate::env::{Dir, File};
use crate::log::Error;
use crate::log::format::{HeaderDefect, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::manifest::{Extent, MANIFEST, Manifest};
use crate::log::segment::{Name, Segment};
use crate::log::source::Source;
use crate::log::verdict::Role;
use crate::mutants::mutant;

/// Bytes that are looked through together for anything but zeros.
const PROBE_BYTES: usize = 256 * 1024;
/// How often a reader starts again because compaction changed the set of files under it.
const ATTEMPTS_MAX: u32 = 100;
/// How often it does so because a file is missing: a name that came while names were listed need not be among them.
const GAP_ATTEMPTS_MAX: u32 = 3;

/// The files of a store.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) manifest: Option<Manifest>,
    /// Segments that belong to the store, in the order of the log.
    pub(crate) files: Vec<SegmentFile>,
    /// Names that a crash left behind: segments that the manifest does not list, and temporary files.
    pub(crate) debris: Vec<String>,
}

/// One segment's file.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) name: Name,
    pub(crate) file: File,
    pub(crate) bytes: u64,
    pub(crate) header: Result<SegmentHeader, HeaderDefect>,
}

impl Survey {
    /// Looks through `dir`. All files that are found belong to one generation of the manifest: while compaction goes on beside
    /// this reader, it starts again (R6).
    pub(crate) fn of(dir: &Dir, writable: bool) -> Result<Self, Error> {
        Self::settled(dir, || Self::once(dir, writable))
    }

    /// What `look` finds once nothing has changed meanwhile.
    fn settled(dir: &Dir, mut look: impl FnMut() -> Result<Self, Error>) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            let survey = look();
            let generation = Manifest::read(dir)?.map(|manifest| manifest.generation);
            match survey {
                Ok(survey)
                    if mutant!("generations-mixed")
                        || survey.manifest.as_ref().map(|manifest| manifest.generation) == generation =>
                {
                    if attempt >= GAP_ATTEMPTS_MAX || survey.is_without_gaps() {
                        return Ok(survey);
                    }
                }
                Err(Error::Env(error)) if error.is_not_found() && attempt < ATTEMPTS_MAX => {}
                Err(error) => return Err(error),
                Ok(_) if attempt < ATTEMPTS_MAX => {}
                Ok(_) => {
                    let reason = "was replaced again and again while the files were opened; try again".to_owned();
                    return Err(Error::Manifest { path: dir.path().join(MANIFEST), reason, unsupported: false });
                }
            }
            attempt += 1;
        }
    }

    /// Whether each file follows the one before.
    fn is_without_gaps(&self) -> bool {
        let Some(manifest) = &self.manifest else { return true };
        let mut ordinal = 0;
        self.files.iter().all(|file| {
            let follows = manifest.next_after(ordinal).name() == file.name;
            ordinal = file.rewritten(manifest).map_or(file.name.ordinal, |extent| extent.last_ordinal);
            follows
        })
    }

    fn once(dir: &Dir, writable: bool) -> Result<Self, Error> {
        let manifest = Manifest::read(dir)?;
        let mut survey = Self { manifest, files: Vec::new(), debris: Vec::new() };
        for name in dir.names()? {
            let Some(segment) = Name::parse(&name) else {
                if name.strip_suffix(".tmp").is_some_and(|stem| stem == MANIFEST || Name::parse(stem).is_some()) {
                    survey.debris.push(name);
                }
                continue;
            };
            // Before there is a manifest compaction has written nothing.
            if survey.manifest.as_ref().map_or(segment.generation == 0, |manifest| manifest.lists(segment)) {
                survey.files.push(SegmentFile::open(dir, &name, segment, writable)?);
            } else {
                survey.debris.push(name);
            }
        }
        survey.files.sort_unstable_by_key(|file| file.name);
        Ok(survey)
    }
}

/// How many of the files, counted from the first, are or precede one that was written to; those after it are merely prepared.
pub(crate) fn count_written(files: &[SegmentFile]) -> Result<usize, Error> {
    for (index, file) in files.iter().enumerate().rev() {
        if file.is_written()? {
            return Ok(index + 1);
        }
    }
    Ok(0)
}

/// As [`count_written`], where damage is tolerated: what cannot be read was written.
pub(crate) fn count_perhaps_written(files: &[SegmentFile]) -> usize {
    let last = files.iter().rposition(|file| file.is_written().unwrap_or(true));
    last.map_or(0, |last| last + 1)
}

impl SegmentFile {
    /// Opens one file as a segment.
    pub(crate) fn open(dir: &Dir, file_name: &str, name: Name, writable: bool) -> Result<Self, Error> {
        let file = dir.open_file(file_name, writable)?;
        let bytes = file.len()?;
        let header = Segment::read_header(&file)?;
        Ok(Self { name, file, bytes, header })
    }

    /// What the file is to the log, as the one with this index among the files of a store, of which so many were written to.
    pub(crate) fn role(&self, index: usize, written: usize) -> Role {
        // What compaction wrote was whole before anything named it.
        if index + 1 < written || self.name.generation > 0 { Role::Sealed } else { Role::Last }
    }

    /// The header, be the file the segment that its name says or another.
    pub(crate) fn any_header(&self) -> Result<SegmentHeader, Error> {
        self.header.clone().map_err(|defect| Error::Header { path: self.file.path().to_owned(), defect })
    }

    /// The header, if the file is the segment of this store that its name says.
    pub(crate) fn checked_header(&self, store_id: &[u8; 16]) -> Result<SegmentHeader, Error> {
        let path = || self.file.path().to_owned();
        let header = self.any_header()?;
        if header.store_id != *store_id {
            return Err(Error::Foreign { path: path() });
        }
        if header.name() != self.name {
            return Err(Error::Misnamed { path: path(), expected: self.name, found: header.name() });
        }
        Ok(header)
    }

    /// What the manifest says that the file holds, if compaction wrote it.
    pub(crate) fn rewritten<'m>(&self, manifest: &'m Manifest) -> Option<&'m Extent> {
        manifest.rewritten(self.name)
    }

    /// Whether anything but zeros stands behind the header: whether the segment was ever written to.
    pub(crate) fn is_written(&self) -> Result<bool, Error> {
        let mut source = Source::windowed(&self.file);
        let mut at = SEGMENT_HEADER_BYTES;
        loop {
            let bytes = source.view(at, PROBE_BYTES)?;
            if bytes.is_empty() {
                return Ok(false);
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(true);
            }
            at += bytes.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::simulated::Disk;

    #[test]
    fn a_reader_whose_files_compaction_replaces_under_it_looks_again() {
        // R6: it would take the files of one generation by the manifest of another.
        let dir = Disk::new().root();
        let put = |generation| {
            let mut manifest = Manifest::new([7; 16]);
            manifest.generation = generation;
            manifest.write_aside(&dir).unwrap().put().unwrap();
        };
        put(1);
        let mut looks = 0;
        let survey = Survey::settled(&dir, || {
            let survey = Survey::once(&dir, false);
            looks += 1;
            if looks < 3 {
                put(1 + looks);
            }
            survey
        });
        let generation = survey.unwrap().manifest.map(|manifest| manifest.generation);
        assert_eq!((looks, generation), (3, Some(3)), "what it saw is what is in force");
    }
}

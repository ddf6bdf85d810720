//! The files that a salvage looks through: those of one store, in the order of its log, with what is missing between them.
//!
//! ```text
//! names ──► open each ──► which store? ──► which are listed? ──► Step: Written │ Prepared │ Unreadable │ Missing
//!             └ one that cannot be opened is a problem and a step, and the others go on
//! ```
//!
//! The store is that of most headers. A manifest of another one is done without. Where the manifest lists a file that is missing, it may
//! be older than the files are: then those that it does not list are looked through, too.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::env::Dir;
use crate::error::{Error, ErrorKind};
use crate::event::hex;
use crate::log;
use crate::log::format::HeaderDefect;
use crate::log::manifest::{MANIFEST, Manifest, Next};
use crate::log::segment::{Name, ORDINAL_MAX};
use crate::log::survey::SegmentFile;
use crate::store::failure::{lacks_means, of_env, of_log};
use crate::store::verify::Problem;

/// How often the files are gathered anew because compaction changed them meanwhile.
const ATTEMPTS_MAX: u32 = 100;
/// So many missing files that follow one another are named one by one; more are named together.
const NAMED_MAX: u64 = 100;

/// A place in the log where a file is, or should be.
pub(super) struct Step {
    /// Where in the log; of several missing files, the last.
    pub(super) ordinal: u64,
    pub(super) what: What,
}

/// What is at a place in the log.
pub(super) enum What {
    /// A segment that was written to.
    Written(SegmentFile),
    /// A segment that was merely prepared.
    Prepared(SegmentFile),
    /// A file of which nothing can be read.
    Unreadable,
    /// So many files that are not there.
    Missing(u64),
    /// A file that is not there, of which the manifest says what it held.
    MissingKnown,
    /// The file that the log ended with is not there, nor is any behind it: how many there were is unknown.
    MissingEnd,
}

/// What a directory holds of one store.
pub(super) struct Candidates {
    pub(super) store_id: [u8; 16],
    /// None if it is missing, damaged or of another store.
    pub(super) manifest: Option<Manifest>,
    pub(super) steps: Vec<Step>,
    /// What cannot be read, is missing, or does not belong here.
    pub(super) problems: Vec<Problem>,
}

/// A file under a segment's name.
struct Candidate {
    name: Name,
    /// None if it cannot be read.
    file: Option<SegmentFile>,
}

impl Candidate {
    /// The store that it belongs to, where its header tells.
    fn store_id(&self) -> Option<[u8; 16]> {
        self.file.as_ref()?.header.as_ref().ok().map(|header| header.store_id)
    }
}

/// What was gathered of a directory while its manifest did not change.
struct Gathered {
    manifest: Option<Manifest>,
    files: Vec<Candidate>,
    problems: Vec<Problem>,
}

impl Candidates {
    /// Looks through `dir`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: nothing of a store is there. [`ErrorKind::Corrupt`]: nothing tells which store it is.
    /// [`ErrorKind::UnsupportedFormat`]: a newer version wrote it.
    pub(super) fn of(dir: &Dir) -> Result<Self, Error> {
        let Gathered { mut manifest, files, mut problems } = Gathered::of(dir)?;
        if files.is_empty() && manifest.is_none() {
            return Err(Error::new(ErrorKind::NotFound, format!("no store at {}", dir.path().display())));
        }
        let Some(store_id) = choose(manifest.as_ref(), &files) else {
            let text = "neither the manifest nor any segment says which store this is; nothing can be salvaged";
            return Err(Error::new(ErrorKind::Corrupt, text).at_path(dir.path()));
        };
        if let Some(other) = manifest.take_if(|manifest| manifest.store_id != store_id) {
            let text = format!("the manifest belongs to another store, {}", hex::encode(&other.store_id));
            problems.push(Problem::damage(&dir.path().join(MANIFEST), None, None, text));
        }
        let files = of_store(dir, store_id, manifest.as_ref(), files, &mut problems);
        check_supported(&files)?;
        let mut walk = Walk { path: dir.path(), manifest: manifest.as_ref(), steps: Vec::new(), problems };
        walk.all(files);
        let Walk { steps, problems, .. } = walk;
        Ok(Self { store_id, manifest, steps, problems })
    }
}

impl Gathered {
    /// Opens every file there is. While compaction goes on beside, it begins again.
    fn of(dir: &Dir) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            let mut problems = Vec::new();
            let manifest = read_manifest(dir, &mut problems)?;
            let files = open_all(dir, &mut problems)?;
            let generation = |manifest: &Option<Manifest>| manifest.as_ref().map(|manifest| manifest.generation);
            if attempt >= ATTEMPTS_MAX || generation(&read_manifest(dir, &mut Vec::new())?) == generation(&manifest) {
                return Ok(Self { manifest, files, problems });
            }
            attempt += 1;
        }
    }
}

/// The manifest, if it can be read and verifies.
fn read_manifest(dir: &Dir, problems: &mut Vec<Problem>) -> Result<Option<Manifest>, Error> {
    match Manifest::read(dir).map_err(of_log) {
        Ok(manifest) => Ok(manifest),
        Err(error) if error.kind() == ErrorKind::UnsupportedFormat => Err(error),
        Err(error) if is_denied(&error) => Err(denied(dir.path(), &error)),
        // It says nothing about the files that memory or file descriptors are missing.
        Err(error) if lacks_means(&error) => Err(error),
        Err(error) => {
            problems.push(unreadable(dir.path(), &error));
            Ok(None)
        }
    }
}

/// Opens whatever has a segment's name, in the order of the log.
fn open_all(dir: &Dir, problems: &mut Vec<Problem>) -> Result<Vec<Candidate>, Error> {
    let mut files = Vec::new();
    for file_name in dir.names().map_err(of_env)? {
        let Some(name) = Name::parse(&file_name) else { continue };
        if name.ordinal >= ORDINAL_MAX - 1 {
            let text = "no log has a segment with so high a number; it is passed over";
            problems.push(Problem::damage(&dir.path().join(&file_name), None, None, text));
            continue;
        }
        match SegmentFile::open(dir, &file_name, name, false) {
            Ok(file) => files.push(Candidate { name, file: Some(file) }),
            // Compaction removed it meanwhile; if not, it is found to be missing.
            Err(log::Error::Env(error)) if error.is_not_found() => {}
            Err(error) => {
                let (path, error) = (dir.path().join(&file_name), of_log(error));
                if is_denied(&error) {
                    return Err(denied(&path, &error));
                }
                if lacks_means(&error) {
                    return Err(error);
                }
                problems.push(unreadable(&path, &error));
                files.push(Candidate { name, file: None });
            }
        }
    }
    files.sort_unstable_by_key(|candidate| candidate.name);
    Ok(files)
}

/// Every segment of a directory, whether or not a manifest lists it, in the order of the log.
pub(super) fn all_segments(dir: &Dir) -> Result<Vec<SegmentFile>, Error> {
    let mut files = Vec::new();
    for file_name in dir.names().map_err(of_env)? {
        let Some(name) = Name::parse(&file_name) else { continue };
        match SegmentFile::open(dir, &file_name, name, false) {
            Err(log::Error::Env(error)) if error.is_not_found() => {}
            opened => files.push(opened.map_err(of_log)?),
        }
    }
    files.sort_unstable_by_key(|file| file.name);
    Ok(files)
}

/// What cannot be read, and why.
pub(super) fn unreadable(path: &Path, error: &Error) -> Problem {
    let mut problem = Problem::of_error(path, error);
    let cause = std::error::Error::source(error).map(|cause| match cause.downcast_ref::<io::Error>() {
        Some(cause) if cause.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            "it is a symbolic link, and no link is followed".to_owned()
        }
        // A name that is neither a file's nor a link's.
        Some(cause) if cause.kind() == io::ErrorKind::InvalidInput => {
            "it is a directory, a pipe or a device, and no regular file".to_owned()
        }
        _ => cause.to_string(),
    });
    if let Some(cause) = cause {
        problem.text = format!("{}: {cause}", problem.text);
    }
    problem
}

/// Whether this user may not do it: another one may, so nothing is lost for that.
fn is_denied(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::PermissionDenied)
}

fn denied(path: &Path, error: &Error) -> Error {
    let text = format!("{}: run this as the user that the service runs as", error.message());
    let cause = io::Error::from(io::ErrorKind::PermissionDenied);
    Error::new(ErrorKind::Io, text).at_path(error.path().unwrap_or(path)).caused_by(cause)
}

/// The store that most headers name; of several the manifest's own, or else the one that comes first.
fn choose(manifest: Option<&Manifest>, files: &[Candidate]) -> Option<[u8; 16]> {
    let own = manifest.map(|manifest| manifest.store_id);
    let mut votes = BTreeMap::<[u8; 16], (u64, usize)>::new();
    for (index, store_id) in files.iter().map(Candidate::store_id).enumerate() {
        let Some(store_id) = store_id else { continue };
        votes.entry(store_id).or_insert((0, index)).0 += 1;
    }
    let most = votes.into_iter().max_by_key(|(id, (count, first))| (*count, Some(*id) == own, Reverse(*first)));
    most.map(|(id, _)| id).or(own)
}

/// Those of the files that may hold records of the store. One of another store stands where one of this may have stood.
fn of_store(
    dir: &Dir,
    store_id: [u8; 16],
    manifest: Option<&Manifest>,
    mut files: Vec<Candidate>,
    problems: &mut Vec<Problem>,
) -> Vec<Candidate> {
    let is_own = |candidate: &Candidate| candidate.store_id() == Some(store_id);
    let is_whole = manifest.is_some_and(|manifest| is_whole(manifest, &files, is_own));
    if let Some(manifest) = manifest {
        files.retain(|candidate| manifest.lists(candidate.name) || !is_whole && is_own(candidate));
    }
    let highest = files.iter().filter(|candidate| is_own(candidate)).map(|candidate| candidate.name.ordinal).max();
    let highest = highest.max(manifest.map(|manifest| manifest.first_after_dropped().ordinal)).unwrap_or(0);
    files.retain_mut(|candidate| {
        let Some(other) = candidate.store_id().filter(|id| *id != store_id) else { return true };
        let text = format!("the segment belongs to another store, {}", hex::encode(&other));
        problems.push(Problem::damage(&dir.path().join(candidate.name.to_string()), Some(0), None, text));
        candidate.file = None;
        candidate.name.ordinal <= highest + 1
    });
    files
}

/// Whether every file that the manifest lists, up to the last that is there, can be read.
fn is_whole(manifest: &Manifest, files: &[Candidate], is_own: impl Fn(&Candidate) -> bool) -> bool {
    let mut ordinal = 0;
    let mut listed = files.iter().filter(|candidate| manifest.lists(candidate.name));
    let without_gaps = listed.all(|candidate| {
        let follows = manifest.next_after(ordinal).name() == candidate.name;
        ordinal = last_ordinal(Some(manifest), candidate.name);
        follows && is_own(candidate)
    });
    without_gaps && ordinal >= manifest.first_after_dropped().ordinal
}

/// The last of the ordinals that the file `name` stands for, as far as is known.
fn last_ordinal(manifest: Option<&Manifest>, name: Name) -> u64 {
    manifest.and_then(|manifest| manifest.rewritten(name)).map_or(name.ordinal, |extent| extent.last_ordinal)
}

/// What a newer version wrote is its alone to judge (R15).
fn check_supported(files: &[Candidate]) -> Result<(), Error> {
    for file in files.iter().filter_map(|candidate| candidate.file.as_ref()) {
        if let Err(defect @ HeaderDefect::Unsupported { .. }) = &file.header {
            let path = file.file.path().to_owned();
            return Err(of_log(log::Error::Header { path, defect: defect.clone() }));
        }
    }
    Ok(())
}

/// Goes from file to file.
struct Walk<'w> {
    path: &'w Path,
    manifest: Option<&'w Manifest>,
    steps: Vec<Step>,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn all(&mut self, files: Vec<Candidate>) {
        let mut ordinal = 0;
        let whats: Vec<(Name, What)> =
            files.into_iter().map(|candidate| (candidate.name, self.what(candidate))).collect();
        let is_begun = |what: &What| !matches!(what, What::Prepared(_));
        let begun = whats.iter().rposition(|(_, what)| is_begun(what)).map_or(0, |index| index + 1);
        for (index, (name, what)) in whats.into_iter().enumerate() {
            // Without a manifest nothing tells what compaction dropped, but it never drops what the log ends with.
            match self.manifest {
                Some(manifest) => ordinal = self.missing(manifest, ordinal, name),
                None if index == begun && name.ordinal > ordinal + 1 => self.originals(ordinal + 1, name.ordinal - 1),
                None => {}
            }
            if self.manifest.is_none_or(|manifest| manifest.lists(name)) {
                ordinal = last_ordinal(self.manifest, name);
            }
            self.steps.push(Step { ordinal: name.ordinal, what });
        }
        self.end(ordinal);
    }

    /// What the log ends with cannot have been compacted away.
    fn end(&mut self, ordinal: u64) {
        let is_rewritten =
            |step: &Step| matches!(&step.what, What::Written(file) | What::Prepared(file) if file.name.generation > 0);
        let name = match self.manifest {
            Some(manifest) => {
                let end = manifest.first_after_dropped();
                if self.missing(manifest, ordinal, end) >= end.ordinal {
                    return;
                }
                end
            }
            None if self.steps.last().is_some_and(is_rewritten) => Name::original(ordinal + 1),
            None => return,
        };
        self.name_missing(&name.to_string());
        self.steps.push(Step { ordinal: name.ordinal, what: What::MissingEnd });
    }

    /// Goes from `ordinal` to the file `until`; returns the ordinal that it follows.
    fn missing(&mut self, manifest: &Manifest, mut ordinal: u64, until: Name) -> u64 {
        loop {
            let next = manifest.next_after(ordinal);
            let name = next.name();
            if name >= until {
                return ordinal;
            }
            ordinal = if let Next::Rewritten(extent) = next {
                self.name_missing(&name.to_string());
                self.steps.push(Step { ordinal: extent.last_ordinal, what: What::MissingKnown });
                extent.last_ordinal
            } else {
                // Nothing was dropped from here to the next that was.
                let dropped = manifest.dropped_after(name.ordinal).map_or(u64::MAX, |extent| extent.first_ordinal);
                let last = (dropped.min(until.ordinal) - 1).max(name.ordinal);
                self.originals(name.ordinal, last);
                last
            };
        }
    }

    fn originals(&mut self, from: u64, to: u64) {
        if to < from {
            return;
        }
        let count = to - from + 1;
        if count <= NAMED_MAX {
            (from..=to).for_each(|ordinal| self.name_missing(&Name::original(ordinal).to_string()));
        } else {
            let text =
                format!("{count} files of the log are missing: {} to {}", Name::original(from), Name::original(to));
            self.problems.push(Problem::damage(self.path, None, None, text));
        }
        self.steps.push(Step { ordinal: to, what: What::Missing(count) });
    }

    fn name_missing(&mut self, name: &str) {
        let text = format!("a file of the log is missing: {name}");
        self.problems.push(Problem::damage(&self.path.join(name), None, None, text));
    }

    fn what(&mut self, candidate: Candidate) -> What {
        let Some(file) = candidate.file else { return What::Unreadable };
        let path: PathBuf = file.file.path().to_owned();
        // What can be read of it is looked through, piece by piece.
        if file.is_written().unwrap_or(true) {
            return What::Written(file);
        }
        match &file.header {
            Ok(_) => What::Prepared(file),
            // Nothing else is left of it either: it may have held anything.
            Err(defect @ (HeaderDefect::Short { .. } | HeaderDefect::Magic)) => {
                self.problems.push(Problem::damage(&path, Some(0), None, format!("nothing of it is left: {defect}")));
                What::Unreadable
            }
            Err(defect) => {
                self.problems.push(Problem::damage(&path, Some(0), None, defect.to_string()));
                What::Prepared(file)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::simulated::Disk;
    use crate::log::manifest::Extent;

    #[test]
    fn what_is_missing_between_dropped_segments_is_told_at_once_however_much_it_is() {
        let extent = |ordinal: u64| Extent {
            first_ordinal: ordinal,
            last_ordinal: ordinal,
            generation: 0,
            first_seq: ordinal,
            last_seq: ordinal,
            record_count: 1,
            length: 64,
            digest: 0,
        };
        let last = 2_000_000_000;
        let disk = Disk::new();
        let manifest =
            Manifest::of_rewritten([1; 16], extent(1), Vec::new()).after(&[extent(1_000), extent(last)], None);
        manifest.write_aside(&disk.root()).unwrap().put().unwrap();
        let found = Candidates::of(&disk.root()).unwrap();
        let missing = found.steps.iter().filter_map(|step| match step.what {
            What::Missing(count) => Some((step.ordinal, count)),
            _ => None,
        });
        assert_eq!(missing.collect::<Vec<_>>(), [(999, 998), (last - 1, last - 1_001)]);
        assert!(found.problems.len() < 10, "{:?}", found.problems);
    }
}

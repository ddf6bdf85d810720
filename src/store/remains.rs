//! What verifies of a directory that may be damaged in any way: where each record stands that can still be believed.
//!
//! ```text
//! files ──► header, or its salt alone where only that is left ──► scan, past every bad place ──► Found, by seq
//! ```
//!
//! A record counts if its own checksums hold, for they cover its place and the salt of its file; a torn tail that nobody was promised
//! does not count. What is missing between is lost, unless the manifest says that compaction dropped it.

use std::path::Path;

use crate::env::Dir;
use crate::error::{Error, ErrorKind};
use crate::log;
use crate::log::format::{GROUP_HEAD_BYTES, HEADER_BYTES, SegmentHeader, record_span};
use crate::log::manifest::Manifest;
use crate::log::scan::{Record, SEQ_MAX, Scan, Seqs, Standing, Stopped, Visitor, scan};
use crate::log::segment::Name;
use crate::log::source::Source;
use crate::log::survey::{SegmentFile, Survey};
use crate::log::verdict::{Role, Verdict, verdict};
use crate::store::audit;
use crate::store::failure::{of_env, of_log};
use crate::store::verify::Problem;

/// The least that a record takes in a file.
const RECORD_SPAN_MIN: u64 = 32;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) seq: u64,
    /// Index of its file.
    pub(super) file: u32,
    pub(super) offset: u32,
    /// Length of its body.
    pub(super) length: u32,
}

/// Everything that verifies.
pub(super) struct Remains {
    pub(super) store_id: [u8; 16],
    /// None if it is missing or damaged.
    pub(super) manifest: Option<Manifest>,
    pub(super) files: Vec<(SegmentFile, SegmentHeader)>,
    /// Ascending by seq, each seq once.
    pub(super) found: Vec<Found>,
    /// Seqs that are lost, ascending: first and last of each range.
    pub(super) lost: Vec<(u64, u64)>,
    /// The highest seq that was ever given out, as far as anything tells.
    pub(super) last_seq: u64,
    /// The highest ordinal that a file bears or the manifest names.
    pub(super) last_ordinal: u64,
    /// What cannot be read at all.
    pub(super) unreadable: Vec<Problem>,
}

impl Remains {
    /// Looks through `path`. A manifest that does not verify is done without.
    pub(super) fn of(path: &Path) -> Result<Self, Error> {
        let dir = audit::enter(path)?;
        let mut unreadable = Vec::new();
        let (manifest, opened) = match Survey::of(&dir, false).map_err(of_log) {
            Ok(Survey { manifest: Some(manifest), files, .. }) => (Some(manifest), files),
            Ok(_) => (None, every_file(&dir)?),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                unreadable.push(Problem::of_error(path, &error));
                (None, every_file(&dir)?)
            }
            Err(error) => return Err(error),
        };
        if opened.is_empty() && manifest.is_none() {
            return Err(Error::new(ErrorKind::NotFound, format!("no store at {}", path.display())));
        }
        let known = manifest.as_ref().map(|manifest| manifest.store_id);
        let store_id = known.or_else(|| opened.iter().find_map(|file| Some(file.header.as_ref().ok()?.store_id)));
        let Some(store_id) = store_id else {
            let text = "neither the manifest nor any segment says which store this is; nothing can be salvaged";
            return Err(Error::new(ErrorKind::Corrupt, text).at_path(path));
        };
        let highest = opened.iter().map(|file| file.name.ordinal).max().unwrap_or(0);
        let dropped = manifest.as_ref().map_or(0, |manifest| manifest.first_after_dropped().ordinal - 1);
        let mut search = Search { found: Vec::new(), runs: Vec::new(), file: 0, last: None, beyond: false, torn: 0 };
        let mut remains = Self {
            store_id,
            manifest,
            files: Vec::new(),
            found: Vec::new(),
            lost: Vec::new(),
            last_seq: 0,
            last_ordinal: highest.max(dropped),
            unreadable,
        };
        let written = count_written(&opened)?;
        let mut next = 1;
        for (index, file) in opened.into_iter().enumerate() {
            remains.join(path, next, &file, index >= written);
            next = remains.follows(&file);
            if index < written {
                remains.read(file, index + 1 < written, &mut search)?;
            }
        }
        remains.settle(search);
        Ok(remains)
    }

    /// The ordinal that must follow `file`.
    fn follows(&self, file: &SegmentFile) -> u64 {
        let rewritten = self.manifest.as_ref().and_then(|manifest| file.rewritten(manifest));
        rewritten.map_or(file.name.ordinal, |extent| extent.last_ordinal) + 1
    }

    /// Names the files that are missing before `file`. Where that was never written to, nothing tells what they held.
    fn join(&mut self, path: &Path, next: u64, file: &SegmentFile, is_prepared: bool) {
        for ordinal in next..file.name.ordinal {
            if self.manifest.as_ref().is_none_or(|manifest| manifest.dropped(ordinal).is_some()) {
                continue;
            }
            let name = Name::original(ordinal);
            let text = format!("a file of the log is missing: {name}");
            self.unreadable.push(Problem::damage(&path.join(name.to_string()), None, None, text));
        }
        if is_prepared
            && next < file.name.ordinal
            && self.manifest.as_ref().is_none_or(|manifest| manifest.dropped(next).is_none())
        {
            self.count_unknown(file);
        }
    }

    fn read(&mut self, file: SegmentFile, sealed: bool, search: &mut Search) -> Result<(), Error> {
        let path = file.file.path().to_owned();
        let Some(header) = believable_header(&file, &self.store_id)? else {
            let text = "nothing of the segment can be read: its header does not verify, or it belongs to another store";
            self.unreadable.push(Problem::damage(&path, Some(0), None, text));
            self.count_unknown(&file);
            return Ok(());
        };
        search.begin(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        let count = search.found.len();
        let mut source = Source::windowed(&file.file);
        let scan = scan(&mut source, file.bytes, &header, Seqs::Any, search).map_err(|stopped| match stopped {
            Stopped::Unreadable(error) => of_env(error),
            Stopped::ByVisitor(()) => Error::new(ErrorKind::Corrupt, "the segment is too long").at_path(&path),
        })?;
        drop(source);
        let role = if sealed || header.is_sparse() { Role::Sealed } else { Role::Last };
        // What this file knows durable says nothing about where the files before it ended.
        let before = search.found.iter().take(count).map(|found| found.seq).max().unwrap_or(0);
        let before = self.manifest.as_ref().map_or(before, |manifest| before.max(manifest.last_dropped_seq()));
        self.judge(&file, verdict(role, &scan, scan.last_seq.unwrap_or(before)), &scan, search, count);
        self.last_seq = self.last_seq.max(scan.evidence);
        if search.found.len() == count {
            self.count_unknown(&file);
        }
        self.last_seq = self.last_seq.max(search.found.iter().skip(count).map(|found| found.seq).max().unwrap_or(0));
        self.files.push((file, header));
        Ok(())
    }

    fn judge(&mut self, file: &SegmentFile, verdict: Verdict, scan: &Scan, search: &mut Search, count: usize) {
        let Some(finding) = scan.finding else { return };
        if verdict == Verdict::Cut {
            // Nobody was promised what stands in a torn tail.
            search.found.truncate(count + usize::try_from(scan.record_count).unwrap_or(usize::MAX));
            if search.beyond {
                search.runs.truncate(search.torn);
            }
            return;
        }
        let problem = Problem::damage(
            file.file.path(),
            Some(finding.offset),
            scan.last_seq.map(|seq| seq + 1),
            finding.defect.to_string(),
        );
        self.unreadable.push(problem);
    }

    /// Nothing tells how many records a file held: as many as could stand in it are taken to be lost, so that no seq is given twice.
    fn count_unknown(&mut self, file: &SegmentFile) {
        self.last_seq = self.last_seq.saturating_add(file.bytes / RECORD_SPAN_MIN).min(SEQ_MAX - 2);
    }

    /// Sorts what was found, and tells what is lost between.
    fn settle(&mut self, search: Search) {
        let Search { mut found, mut runs, .. } = search;
        // Of two files that hold the same record, the one that compaction wrote is in force.
        let generation = |found: &Found| self.files.get(found.file as usize).map_or(0, |(_, header)| header.generation);
        found.sort_unstable_by_key(|found| (found.seq, std::cmp::Reverse(generation(found))));
        found.dedup_by_key(|found| found.seq);
        self.found = found;
        if let Some(manifest) = &self.manifest {
            self.last_seq = self.last_seq.max(manifest.last_dropped_seq());
            runs.extend(manifest.compacted());
        }
        runs.sort_unstable();
        let mut next = 1;
        for (from, to) in runs {
            if from > next {
                self.lost.push((next, from - 1));
            }
            next = next.max(to + 1);
        }
        if next <= self.last_seq {
            self.lost.push((next, self.last_seq));
        }
    }
}

/// Every segment file there is, where no manifest says which of them count.
fn every_file(dir: &Dir) -> Result<Vec<SegmentFile>, Error> {
    let mut files = Vec::new();
    for file_name in dir.names().map_err(of_env)? {
        if let Some(name) = Name::parse(&file_name) {
            files.push(SegmentFile::open(dir, &file_name, name, false).map_err(of_log)?);
        }
    }
    files.sort_unstable_by_key(|file| file.name);
    Ok(files)
}

fn count_written(files: &[SegmentFile]) -> Result<usize, Error> {
    for (index, file) in files.iter().enumerate().rev() {
        if file.is_written().map_err(of_log)? {
            return Ok(index + 1);
        }
    }
    Ok(0)
}

/// The header of a segment of this store. Where it does not verify, its salt may still be whole: then the groups do, and prove it.
fn believable_header(file: &SegmentFile, store_id: &[u8; 16]) -> Result<Option<SegmentHeader>, Error> {
    if let Ok(header) = &file.header {
        return Ok((header.store_id == *store_id).then_some(*header));
    }
    let mut bytes = [0; HEADER_BYTES];
    let read = file.file.read_at(&mut bytes, 0).map_err(|error| of_log(log::Error::Env(error)))?;
    let salt = bytes.get(48..56).filter(|_| read == HEADER_BYTES).and_then(|salt| salt.try_into().ok());
    let Name { ordinal, generation } = file.name;
    Ok(salt.map(|salt| SegmentHeader { store_id: *store_id, ordinal, generation, salt: u64::from_le_bytes(salt) }))
}

/// Gathers what verifies.
struct Search {
    found: Vec<Found>,
    /// Seqs between which nothing is missing that was not compacted away.
    runs: Vec<(u64, u64)>,
    file: u32,
    /// Where the next record of the run would stand, and whether the run may have gaps.
    last: Option<u64>,
    beyond: bool,
    /// How many runs there were before the first that a bad place precedes.
    torn: usize,
}

impl Search {
    fn begin(&mut self, file: u32) {
        (self.file, self.last, self.beyond) = (file, None, false);
    }
}

impl Visitor for Search {
    type Stop = ();

    fn record(&mut self, record: &Record<'_>, standing: Standing) -> Result<(), ()> {
        if standing == Standing::Damaged || record.seq >= SEQ_MAX {
            return Ok(());
        }
        let offset = u32::try_from(record.offset).map_err(drop)?;
        let length = u32::try_from(record.body.len()).map_err(drop)?;
        if standing != Standing::Sound && !self.beyond {
            (self.beyond, self.torn) = (true, self.runs.len());
        }
        // Records of one group follow one another; between groups stands a head.
        let joined =
            self.last.is_some_and(|end| record.offset == end || record.offset == end + GROUP_HEAD_BYTES as u64);
        match self.runs.last_mut() {
            Some((_, to)) if joined && *to < record.seq => *to = record.seq,
            _ => self.runs.push((record.seq, record.seq)),
        }
        self.last = Some(record.offset + record_span(record.body.len()) as u64);
        self.found.push(Found { seq: record.seq, file: self.file, offset, length });
        Ok(())
    }
}

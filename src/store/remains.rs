//! What verifies of a directory that may be damaged in any way: where each record stands that can still be believed.
//!
//! ```text
//! files ──► header, or its salt alone where only that is left ──► scan, past every bad place ──► Found, by seq
//! ```
//!
//! A record counts if its own checksums hold, for they cover its place and the salt of its file; a torn tail that nobody was promised
//! does not count. What is missing between is lost, unless the manifest says that compaction dropped it.

use std::path::Path;

use crate::error::Error;
use crate::log;
use crate::log::format::{GROUP_HEAD_BYTES, HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, record_span};
use crate::log::manifest::Manifest;
use crate::log::scan::{Defect, Finding, Record, SEQ_MAX, Scan, Seqs, Standing, Stopped, Visitor, scan};
use crate::log::segment::Name;
use crate::log::source::Source;
use crate::log::survey::SegmentFile;
use crate::log::verdict::{Role, Verdict, verdict};
use crate::store::audit;
use crate::store::candidates::{Candidates, Step, What, unreadable};
use crate::store::failure::{of_env, of_log};
use crate::store::verify::Problem;

/// The least that a record takes in a file.
const RECORD_SPAN_MIN: u64 = 32;
/// What a file that is gone may have held at least: segments have this length unless they are told otherwise, and any that is left
/// may have been shortened.
const FILE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// The same where all that the log ended with is gone, be it one file or many: the longest that a segment may be told to become.
const END_BYTES_MIN: u64 = 1024 * 1024 * 1024;
/// Bytes that are looked through together for anything but zeros.
const PROBE_BYTES: usize = 256 * 1024;

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
    /// None if it is missing, damaged or of another store.
    pub(super) manifest: Option<Manifest>,
    pub(super) files: Vec<(SegmentFile, SegmentHeader)>,
    /// Ascending by seq, each seq once.
    pub(super) found: Vec<Found>,
    /// Seqs that are lost, ascending: first and last of each range.
    pub(super) lost: Vec<(u64, u64)>,
    /// Whether the end of the last range is the highest seq that may have been given out, for nothing tells which was.
    pub(super) is_end_estimated: bool,
    /// The highest seq that was ever given out, as far as anything tells, or may have been.
    pub(super) last_seq: u64,
    /// The highest ordinal that a file bears or the manifest names.
    pub(super) last_ordinal: u64,
    /// What is damaged or cannot be read at all.
    pub(super) unreadable: Vec<Problem>,
    /// Torn tails, which nobody was promised.
    pub(super) torn: Vec<Problem>,
    /// How many records may have stood behind the last that is known of.
    unknown: u64,
}

impl Remains {
    /// Looks through `path`. What cannot be read is done without.
    pub(super) fn of(path: &Path) -> Result<Self, Error> {
        let dir = audit::enter(path)?;
        let Candidates { store_id, manifest, steps, problems } = Candidates::of(&dir)?;
        let last_ordinal = steps.iter().map(|step| step.ordinal).max().unwrap_or(0);
        let dropped = manifest.as_ref().map_or(0, |manifest| manifest.first_after_dropped().ordinal - 1);
        let mut remains = Self {
            store_id,
            manifest,
            files: Vec::new(),
            found: Vec::new(),
            lost: Vec::new(),
            is_end_estimated: false,
            last_seq: 0,
            last_ordinal: last_ordinal.max(dropped),
            unreadable: problems,
            torn: Vec::new(),
            unknown: 0,
        };
        let bytes_max = steps.iter().map(|step| match &step.what {
            What::Written(file) | What::Prepared(file) => file.bytes,
            _ => 0,
        });
        let bytes_max = bytes_max.max().unwrap_or(0).max(FILE_BYTES_MIN);
        let begun = steps.iter().rposition(|step| !matches!(step.what, What::Prepared(_))).unwrap_or(0);
        let mut search = Search::default();
        for (index, Step { ordinal, what }) in steps.into_iter().enumerate() {
            match what {
                What::Written(file) => remains.read(file, index < begun || ordinal <= dropped, &mut search)?,
                What::Unreadable => remains.count_unknown(ordinal, bytes_max),
                What::Missing(count) => remains.count_unknown(ordinal, bytes_max.saturating_mul(count)),
                What::MissingEnd => remains.count_unknown(ordinal, bytes_max.max(END_BYTES_MIN)),
                What::Prepared(_) | What::MissingKnown => {}
            }
        }
        remains.settle(search);
        Ok(remains)
    }

    fn read(&mut self, file: SegmentFile, sealed: bool, search: &mut Search) -> Result<(), Error> {
        let (path, ordinal) = (file.file.path().to_owned(), file.name.ordinal);
        let Some(header) = self.believable_header(&file) else {
            self.count_unknown(ordinal, file.bytes);
            return Ok(());
        };
        search.begin(u32::try_from(self.files.len()).unwrap_or(u32::MAX), header.is_sparse());
        let count = search.found.len();
        let mut first_hole = None;
        let mut holes_end = 0;
        let mut source = Source::around_holes(&file.file, |from, to, error| {
            first_hole.get_or_insert((from, error));
            holes_end = holes_end.max(to);
        });
        let scanned = scan(&mut source, file.bytes, &header, Seqs::Any, search);
        drop(source);
        search.holes_end = holes_end;
        if let Some((from, error)) = first_hole {
            let problem = unreadable(&path, &of_env(error));
            self.unreadable.push(Problem { offset: Some(from), ..problem });
        }
        let mut rest = 0;
        match scanned {
            Ok(scan) => rest = self.judge(&file, &header, sealed, &scan, search, count)?,
            Err(Stopped::Unreadable(error)) => {
                self.unreadable.push(unreadable(&path, &of_env(error)));
                rest = file.bytes.saturating_sub(search.end);
            }
            Err(Stopped::ByVisitor(())) => {
                self.unreadable.push(Problem::damage(&path, None, None, "the segment is too long"));
            }
        }
        let highest = search.found.iter().skip(count).map(|found| found.seq).max();
        if let Some(highest) = highest {
            // What stands here came after all that is missing before.
            self.unknown = 0;
            self.last_seq = self.last_seq.max(highest);
        }
        self.count_unknown(ordinal, rest.max(holes_end.saturating_sub(search.end)));
        self.files.push((file, header));
        Ok(())
    }

    /// What may be believed of a file's header: all of it, or only the salt, which the checksums of what follows will bear out or not.
    fn believable_header(&mut self, file: &SegmentFile) -> Option<SegmentHeader> {
        if let Err(error) = file.checked_header(&self.store_id) {
            self.unreadable.push(unreadable(file.file.path(), &of_log(error)));
        }
        if let Ok(header) = &file.header {
            return Some(*header);
        }
        let mut bytes = [0; HEADER_BYTES];
        let read = file.file.read_at(&mut bytes, 0).ok()?;
        let salt = bytes.get(48..56).filter(|_| read == HEADER_BYTES)?.try_into().ok()?;
        let Name { ordinal, generation } = file.name;
        Some(SegmentHeader { store_id: self.store_id, ordinal, generation, salt: u64::from_le_bytes(salt) })
    }

    /// Decides about a bad place; returns how many bytes may have held records behind the last one that verifies.
    fn judge(
        &mut self,
        file: &SegmentFile,
        header: &SegmentHeader,
        sealed: bool,
        scan: &Scan,
        search: &mut Search,
        count: usize,
    ) -> Result<u64, Error> {
        let Some(finding) = scan.finding else { return Ok(0) };
        let path = file.file.path();
        if let Some(Finding { offset, defect: defect @ Defect::Flags { .. } }) = scan.unknown.or(Some(finding)) {
            let because = "this version must not touch it: use the one that wrote it";
            let path = path.to_owned();
            return Err(of_log(log::Error::Corrupt { path, offset, seq: None, defect, because }));
        }
        let role = if sealed || header.is_sparse() { Role::Sealed } else { Role::Last };
        // What this file knows durable says nothing about where the files before it ended.
        let before = search.found.iter().take(count).map(|found| found.seq).max().unwrap_or(0);
        let before = self.manifest.as_ref().map_or(before, |manifest| before.max(manifest.last_dropped_seq()));
        // Where the header is damaged and not one group verifies, the salt may be, too; then all of it is unreadable, and not torn. Nor
        // is what cannot be read.
        let is_read = search.holes_end <= scan.end && (file.header.is_ok() || scan.last_seq.is_some());
        if is_read && verdict(role, scan, scan.last_seq.unwrap_or(before)) == Verdict::Cut {
            // Nobody was promised what stands in a torn tail.
            search.found.truncate(count + usize::try_from(scan.record_count).unwrap_or(usize::MAX));
            if search.beyond {
                search.runs.truncate(search.torn);
            }
            let left = scan.file_bytes - scan.end;
            let text = format!("unfinished tail of {left} bytes, never acknowledged: {}", finding.defect);
            self.torn.push(Problem::remark(path, Some(finding.offset), None, text));
            return Ok(0);
        }
        let seq = scan.last_seq.map(|seq| seq + 1);
        self.unreadable.push(Problem::damage(path, Some(finding.offset), seq, finding.defect.to_string()));
        self.last_seq = self.last_seq.max(scan.evidence).max(search.highest);
        Ok(written_end(file).saturating_sub(search.end))
    }

    /// Nothing tells how many records `bytes` of segment `ordinal` held: as many as can stand in them are taken to be lost, so that no
    /// seq is given twice.
    fn count_unknown(&mut self, ordinal: u64, bytes: u64) {
        // Of what was dropped behind it the manifest knows the seqs.
        if self.manifest.as_ref().is_none_or(|manifest| ordinal >= manifest.first_after_dropped().ordinal) {
            self.unknown = self.unknown.saturating_add(bytes / RECORD_SPAN_MIN);
        }
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
        self.is_end_estimated = self.unknown > 0;
        self.last_seq = self.last_seq.saturating_add(self.unknown).min(SEQ_MAX / 2);
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

/// Where the last byte of a file stands that is not zero; its length, if it cannot be read.
fn written_end(file: &SegmentFile) -> u64 {
    let mut source = Source::windowed(&file.file);
    let (mut at, mut end) = (SEGMENT_HEADER_BYTES, 0);
    loop {
        match source.view(at, PROBE_BYTES) {
            Err(_) => return file.bytes,
            Ok([]) => return end,
            Ok(bytes) => {
                let last = bytes.iter().rposition(|byte| *byte != 0);
                end = last.map_or(end, |last| at + last as u64 + 1);
                at += bytes.len() as u64;
            }
        }
    }
}

/// Gathers what verifies.
#[derive(Default)]
struct Search {
    found: Vec<Found>,
    /// Seqs between which nothing is missing that was not compacted away.
    runs: Vec<(u64, u64)>,
    file: u32,
    is_sparse: bool,
    /// Where the next record of the run would stand.
    last: Option<u64>,
    beyond: bool,
    /// Where the last record of the file ends that verifies.
    end: u64,
    /// The highest seq in the file whose record's header verifies.
    highest: u64,
    /// Where the last piece of the file ends that cannot be read.
    holes_end: u64,
    /// How many runs there were before the first that a bad place precedes.
    torn: usize,
}

impl Search {
    fn begin(&mut self, file: u32, is_sparse: bool) {
        (self.file, self.is_sparse, self.last, self.beyond) = (file, is_sparse, None, false);
        (self.end, self.highest) = (SEGMENT_HEADER_BYTES, 0);
    }
}

impl Visitor for Search {
    type Stop = ();

    fn record(&mut self, record: &Record<'_>, standing: Standing) -> Result<(), ()> {
        if record.seq >= SEQ_MAX / 2 {
            return Ok(());
        }
        self.highest = self.highest.max(record.seq);
        if standing == Standing::Damaged {
            // What follows it is joined to nothing, though there be a head's room between.
            self.last = None;
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
        // What compaction wrote has gaps; elsewhere a record that is as long as a head may be missing there.
        let is_sparse = self.is_sparse;
        let follows = |to: u64| if is_sparse { to < record.seq } else { to + 1 == record.seq };
        match self.runs.last_mut() {
            Some((_, to)) if joined && follows(*to) => *to = record.seq,
            _ => self.runs.push((record.seq, record.seq)),
        }
        self.end = record.offset + record_span(record.body.len()) as u64;
        self.last = Some(self.end);
        self.found.push(Found { seq: record.seq, file: self.file, offset, length });
        Ok(())
    }
}

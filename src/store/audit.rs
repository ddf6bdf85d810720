//! Reading a log as evidence: every record of a segment or a directory, with what its checksums say.
//!
//! It takes no lock, maps nothing, writes nothing, and may run beside a process that writes. It judges as opening does: prepared
//! space and an unfinished tail that nobody was promised are named and fine; what acknowledged bytes should have held is damage.

mod describe;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::env::Dir;
use crate::error::{Error, ErrorKind};
use crate::event::codec::{self, Refusal};
use crate::event::entry::Entry;
use crate::log;
use crate::log::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::manifest::Manifest;
use crate::log::scan::{Defect, Record, Scan, Seqs, Standing, Visitor, is_sound_at, scan};
use crate::log::segment::Name;
use crate::log::source::Source;
use crate::log::survey::{SegmentFile, Survey, count_written};
use crate::log::verdict::{Role, Verdict, verdict};
use crate::log::writer::SegmentEnd;
use crate::store::candidates::all_segments;
use crate::store::chain::{Broken, Chain, end_of};
use crate::store::failure::{of_env, of_log, of_refusal, of_stopped};
use crate::store::open::check_path;

pub(super) use describe::describe;

/// One thing an audit has to say, in the order of the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "item", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Item {
    /// A segment begins.
    Segment {
        /// Its ordinal.
        segment: u64,
        /// 0: as the log wrote it; otherwise compaction wrote it, so many times.
        generation: u64,
        /// Its file.
        path: PathBuf,
        /// Length of the file.
        bytes: u64,
    },
    /// One record.
    Record(RecordLine),
    /// Something that is worth a remark.
    Finding {
        /// The segment it is in; 0: it is about the manifest.
        segment: u64,
        /// Where in its file.
        offset: u64,
        /// The record that it is about, or that should stand here, where that is known.
        seq: Option<u64>,
        /// Whether acknowledged bytes are damaged; if not, it is normal.
        damage: bool,
        /// What it is.
        text: String,
    },
}

/// One record, as the dump prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecordLine {
    /// Its number.
    pub seq: u64,
    /// Ordinal of its segment.
    pub segment: u64,
    /// Offset of its header.
    pub offset: u64,
    /// Length of its body in bytes.
    pub length: usize,
    /// What its checksums say.
    pub checksum: Checksum,
    /// What kind of entry it is; `unknown` if it does not decode.
    pub kind: &'static str,
    /// The event it is about, where that is known.
    pub id: Option<String>,
    /// What the entry says.
    pub says: Map<String, Value>,
}

/// What the checksums of a record say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// All hold, and so do those of all before it.
    Ok,
    /// All hold, but something before it is bad.
    OkBeyondDamage,
    /// Its own hold, but its group is incomplete, so it does not count.
    OkInTornGroup,
    /// Its header holds, its body does not.
    Bad,
}

/// What an audit came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Segments that were read.
    pub segments: u64,
    /// Groups that count.
    pub groups: u64,
    /// Records that count.
    pub records: u64,
    /// Bytes of the files that were read.
    pub bytes: u64,
    /// Places at which acknowledged bytes are damaged or missing.
    pub damage: u64,
}

/// Audits `path`, a segment's file or a store's directory, and hands each item to `tell`. An error of `tell` ends it.
///
/// # Errors
/// [`ErrorKind::NotFound`]: there is no segment or store. [`ErrorKind::UnsupportedFormat`]: a newer version wrote it.
/// [`ErrorKind::Io`]: it cannot be read. Damage is no error: [`Report::damage`] counts it.
pub fn audit(path: &Path, tell: &mut dyn FnMut(Item) -> Result<(), Error>) -> Result<Report, Error> {
    let mut audit = Audit::new(None, tell);
    if path.extension().is_some_and(|extension| extension == "seg") {
        audit.file(path)?;
    } else {
        audit.directory(&enter(path)?)?;
    }
    Ok(audit.report)
}

/// Audits the store in `dir`, and counts.
#[cfg(any(test, feature = "torture"))]
pub(super) fn audit_in(dir: &Dir) -> Result<Report, Error> {
    let mut tell = |_| Ok(());
    let mut audit = Audit::new(None, &mut tell);
    audit.directory(dir)?;
    Ok(audit.report)
}

/// Audits the files of a store that lie open already. Each entry that counts is shown to `witness`, and of the items only segments
/// and findings are told.
pub(super) fn examine<'a>(
    files: &[SegmentFile],
    manifest: &Manifest,
    witness: &'a mut dyn Witness,
    tell: &'a mut dyn FnMut(Item) -> Result<(), Error>,
) -> Result<Report, Error> {
    let mut audit = Audit::new(Some(witness), tell);
    audit.files(files, manifest)?;
    Ok(audit.report)
}

/// The same where the manifest cannot be read: nothing tells which files count, so all are read, each for itself.
pub(super) fn examine_all(dir: &Dir, tell: &mut dyn FnMut(Item) -> Result<(), Error>) -> Result<Report, Error> {
    let mut audit = Audit::new(None, tell);
    audit.all_segments(dir)?;
    Ok(audit.report)
}

/// The files of the store in `dir`, and its manifest.
///
/// # Errors
/// [`ErrorKind::Corrupt`]: there are segments, but no manifest that can be read.
pub(super) fn survey(dir: &Dir) -> Result<(Survey, Manifest), Error> {
    let mut survey = Survey::of(dir, false).map_err(of_log)?;
    match survey.manifest.take() {
        Some(manifest) => Ok((survey, manifest)),
        None => Err(no_manifest(dir.path(), &survey)),
    }
}

/// Opens the directory of a store.
pub(super) fn enter(path: &Path) -> Result<Dir, Error> {
    check_path(path)?;
    Dir::open(path).map_err(|error| if error.is_not_found() { no_store(path) } else { of_env(error) })
}

fn no_store(path: &Path) -> Error {
    Error::new(ErrorKind::NotFound, format!("no store at {}", path.display()))
}

/// What it means that there is no manifest.
fn no_manifest(path: &Path, survey: &Survey) -> Error {
    // A store is created with a first segment, in which nothing is but its header, and then a manifest: an opening begins that anew.
    let is_unwritten = |file: &SegmentFile| file.header.is_ok() && file.is_written().is_ok_and(|written| !written);
    let is_begun = match survey.files.as_slice() {
        [] => true,
        [file] => file.name == Name::original(1) && is_unwritten(file),
        _ => false,
    };
    if is_begun && survey.debris.iter().all(|name| Name::parse(name).is_none()) {
        return no_store(path);
    }
    Error::new(ErrorKind::Corrupt, "segments are there, but the manifest is missing").at_path(path)
}

/// What follows the entries of a log while it is audited.
pub(super) trait Witness {
    /// Sees an entry that counts, in the order of the log, or that verifies beyond a bad place of a sealed segment; returns what is wrong
    /// with it although its bytes are sound.
    fn entry(&mut self, seen: &Seen<'_>) -> Result<Option<String>, Error>;
}

/// An entry that counts, and where it stands.
pub(super) struct Seen<'s> {
    pub(super) file: &'s SegmentFile,
    pub(super) record: &'s Record<'s>,
    pub(super) entry: &'s Entry<'s>,
    /// Whether something before it is damaged: then it need not fit what was seen.
    pub(super) after_damage: bool,
}

/// Ids of so many receptions are remembered, to tell which event a record is about: some hundred megabytes of memory. Records mostly follow
/// soon after the reception of their event; what is said of one further back names its seq.
const IDS_MAX: usize = if cfg!(test) { 16 } else { 1_000_000 };

struct Audit<'a> {
    tell: &'a mut dyn FnMut(Item) -> Result<(), Error>,
    /// Whoever sees entries instead of lines.
    witness: Option<&'a mut dyn Witness>,
    report: Report,
    /// Ids of the receptions seen so far, by seq; of the last ones where there are more.
    ids: BTreeMap<u64, String>,
    /// How segments are joined; none where a single file is read.
    chain: Option<Chain>,
    /// How the segment before ended is not known, and that was told.
    is_unjoined: bool,
}

impl<'a> Audit<'a> {
    fn new(witness: Option<&'a mut dyn Witness>, tell: &'a mut dyn FnMut(Item) -> Result<(), Error>) -> Self {
        Self { tell, witness, report: Report::default(), ids: BTreeMap::new(), chain: None, is_unjoined: false }
    }

    fn file(&mut self, path: &Path) -> Result<(), Error> {
        let not_found = || Error::new(ErrorKind::NotFound, format!("no segment at {}", path.display()));
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(not_found)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let open = |dir: Dir| SegmentFile::open(&dir, name, Name::parse(name).unwrap_or(Name::original(0)), false);
        let file = Dir::open(parent).map_err(log::Error::from).and_then(open).map_err(|error| match error {
            log::Error::Env(error) if error.is_not_found() || error.source.kind() == io::ErrorKind::NotADirectory => {
                not_found()
            }
            error => of_log(error),
        })?;
        self.segment(&file, None, file.role(0, 1))
    }

    fn directory(&mut self, dir: &Dir) -> Result<(), Error> {
        match survey(dir) {
            Ok((survey, manifest)) => self.files(&survey.files, &manifest),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.finding(0, 0, true, error.message().to_owned())?;
                self.all_segments(dir)
            }
            Err(error) => Err(error),
        }
    }

    /// Every file under a segment's name.
    fn all_segments(&mut self, dir: &Dir) -> Result<(), Error> {
        let files = all_segments(dir)?;
        let written = count_written(&files).map_err(of_log)?;
        files.iter().enumerate().try_for_each(|(index, file)| self.segment(file, None, file.role(index, written)))
    }

    /// The files of one generation of the manifest, in the order of the log.
    fn files(&mut self, files: &[SegmentFile], manifest: &Manifest) -> Result<(), Error> {
        self.chain = Some(Chain::default());
        let written = count_written(files).map_err(of_log)?;
        for (index, file) in files.iter().enumerate() {
            if index < written || file.name.generation > 0 {
                self.segment(file, Some(manifest), file.role(index, written))?;
            } else {
                self.prepared(file, manifest)?;
            }
        }
        let name = manifest.first_after_dropped();
        if files.iter().all(|file| file.name < name) {
            self.finding(name.ordinal, 0, true, format!("a file of the log is missing: {name}"))?;
        }
        Ok(())
    }

    /// A segment that held nothing when it was looked at. A process that writes may have begun it since, after what was read of the
    /// one before; so it is not read.
    fn prepared(&mut self, file: &SegmentFile, manifest: &Manifest) -> Result<(), Error> {
        self.begin(file, Some(manifest))?;
        if let Err(error) = file.checked_header(&manifest.store_id).map_err(of_log) {
            return self.reject(file, Some(manifest), error);
        }
        let left = file.bytes.saturating_sub(SEGMENT_HEADER_BYTES);
        if left > 0 {
            let text = format!("prepared space of {left} bytes");
            self.finding(file.name.ordinal, SEGMENT_HEADER_BYTES, false, text)?;
        }
        if let Some(chain) = &mut self.chain {
            chain.skip(file.name.ordinal);
        }
        Ok(())
    }

    fn begin(&mut self, file: &SegmentFile, manifest: Option<&Manifest>) -> Result<(), Error> {
        self.report.segments += 1;
        self.report.bytes += file.bytes;
        let segment = file.name.ordinal;
        let generation = file.name.generation;
        (self.tell)(Item::Segment { segment, generation, path: file.file.path().to_owned(), bytes: file.bytes })?;
        if let (Some(chain), Some(manifest)) = (&mut self.chain, manifest)
            && let Err(broken) = chain.join(manifest, file.name)
        {
            // Whoever copied one file under the name of another has lost none.
            let is_stray = file.checked_header(&manifest.store_id).is_err();
            let text = match broken {
                Broken::Missing { name } if is_stray => {
                    format!("a file of the log is missing: {name}; or this one does not belong here: then move it away")
                }
                broken => broken.to_string(),
            };
            self.is_unjoined = true;
            self.finding(segment, 0, true, text)?;
        }
        Ok(())
    }

    /// A file whose header is not what it should be is damage, unless a newer version wrote it.
    fn reject(&mut self, file: &SegmentFile, manifest: Option<&Manifest>, error: Error) -> Result<(), Error> {
        if error.kind() != ErrorKind::Corrupt {
            return Err(error);
        }
        self.is_unjoined = true;
        if let Some(chain) = &mut self.chain {
            match manifest.and_then(|manifest| file.rewritten(manifest)) {
                Some(extent) => chain.end = Some(end_of(extent)),
                None => chain.skip(file.name.ordinal),
            }
        }
        self.finding(file.name.ordinal, 0, true, error.message().to_owned())
    }

    fn segment(&mut self, file: &SegmentFile, manifest: Option<&Manifest>, role: Role) -> Result<(), Error> {
        self.begin(file, manifest)?;
        let segment = file.name.ordinal;
        let header = match manifest {
            Some(manifest) => file.checked_header(&manifest.store_id),
            None => file.any_header(),
        };
        let header = match header {
            Ok(header) => header,
            Err(error) => return self.reject(file, manifest, of_log(error)),
        };
        // Beside a writer, the file may have grown since it was opened.
        let bytes = file.file.len().map_err(of_env)?;
        let mut source = Source::windowed(&file.file);
        let mut lines = Lines { audit: self, file, role, names_predecessor: !header.is_sparse() };
        let scan = scan(&mut source, bytes, &header, Seqs::Any, &mut lines).map_err(of_stopped)?;
        let before = self.report.damage;
        self.judge(file, role, &header, &scan)?;
        self.is_unjoined = self.report.damage > before;
        self.report.records += scan.record_count;
        self.report.groups += scan.group_count;
        let rewritten = manifest.and_then(|manifest| file.rewritten(manifest));
        if rewritten.is_some_and(|extent| !extent.is_what_was_found(&scan)) {
            let text = "the segment does not hold what the manifest says that compaction wrote".to_owned();
            self.finding(segment, 0, true, text)?;
        }
        if let Some(chain) = &mut self.chain {
            // A crash may have left no record in it; it is there all the same.
            let last_seq = scan.last_seq.unwrap_or_else(|| chain.last_seq());
            let end = SegmentEnd { ordinal: segment, last_seq, length: scan.end, digest: scan.digest };
            chain.end = Some(rewritten.map_or(end, end_of));
        }
        Ok(())
    }

    /// Says what stands behind the sound groups of a segment.
    fn judge(&mut self, file: &SegmentFile, role: Role, header: &SegmentHeader, scan: &Scan) -> Result<(), Error> {
        let segment = file.name.ordinal;
        let last_seq = scan.last_seq.unwrap_or_else(|| self.chain.map_or(0, |chain| chain.last_seq()));
        let left = scan.file_bytes - scan.end;
        match (scan.finding, verdict(role, scan, last_seq)) {
            // A group that verifies under a wrong seq was not being written: it says the same however often it is read.
            (Some(finding), Verdict::Refuse(_))
                if role == Role::Last
                    && !matches!(finding.defect, Defect::Seq { .. })
                    && is_sound_at(&file.file, header, scan.end).map_err(of_env)? =>
            {
                self.finding(segment, finding.offset, false, "was being written while it was read".to_owned())
            }
            (Some(finding), Verdict::Refuse(because)) => {
                let text = format!("{}, and {because}", finding.defect);
                let seq = Some(last_seq + 1).filter(|_| !header.is_sparse());
                self.finding_at(segment, finding.offset, seq, true, text)
            }
            (Some(finding), _) => {
                let text = format!(
                    "unfinished tail of {left} bytes, which nothing shows to have been acknowledged: {}",
                    finding.defect
                );
                self.finding(segment, finding.offset, false, text)
            }
            (None, _) if left > 0 => self.finding(segment, scan.end, false, format!("prepared space of {left} bytes")),
            (None, _) => Ok(()),
        }
    }

    fn finding(&mut self, segment: u64, offset: u64, damage: bool, text: String) -> Result<(), Error> {
        self.finding_at(segment, offset, None, damage, text)
    }

    fn finding_at(
        &mut self,
        segment: u64,
        offset: u64,
        seq: Option<u64>,
        damage: bool,
        text: String,
    ) -> Result<(), Error> {
        self.report.damage += u64::from(damage);
        (self.tell)(Item::Finding { segment, offset, seq, damage, text })
    }
}

/// Tells the records of one segment.
struct Lines<'l, 'a> {
    audit: &'l mut Audit<'a>,
    file: &'l SegmentFile,
    role: Role,
    /// Whether the first record must say how the segment before ended.
    names_predecessor: bool,
}

impl Visitor for Lines<'_, '_> {
    type Stop = Error;

    fn record(&mut self, record: &Record<'_>, standing: Standing) -> Result<(), Error> {
        let entry = if standing == Standing::Damaged { None } else { Some(codec::decode(record.body)) };
        if self.audit.witness.is_none() {
            self.tell(record, standing, entry.as_ref())?;
        }
        let (segment, offset) = (self.file.name.ordinal, record.offset);
        match entry {
            Some(Err(refusal)) if refusal.is_unsupported() => {
                Err(of_refusal(refusal).at_path(self.file.file.path()).at_offset(offset).at_seq(record.seq))
            }
            Some(Err(refusal)) => self.audit.finding_at(segment, offset, Some(record.seq), true, refusal.to_string()),
            // Nobody was promised what stands beyond a bad place of the last segment, before its verdict is known.
            Some(Ok(entry)) if standing == Standing::Sound || self.role == Role::Sealed => {
                if standing == Standing::Sound {
                    self.check_joint(record, &entry)?;
                }
                let after_damage = standing != Standing::Sound || self.audit.report.damage > 0;
                let Some(witness) = &mut self.audit.witness else { return Ok(()) };
                match witness.entry(&Seen { file: self.file, record, entry: &entry, after_damage })? {
                    Some(wrong) => self.audit.finding_at(segment, offset, Some(record.seq), true, wrong),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

impl Lines<'_, '_> {
    /// Tells a record as the dump prints it.
    fn tell(
        &mut self,
        record: &Record<'_>,
        standing: Standing,
        entry: Option<&Result<Entry<'_>, Refusal>>,
    ) -> Result<(), Error> {
        let checksum = match standing {
            Standing::Sound => Checksum::Ok,
            Standing::Beyond => Checksum::OkBeyondDamage,
            Standing::Torn => Checksum::OkInTornGroup,
            Standing::Damaged => Checksum::Bad,
        };
        let mut says = Map::new();
        let (kind, id) = match entry {
            Some(Ok(entry)) => {
                describe(entry, &mut says);
                (entry.name(), self.id(record.seq, entry))
            }
            Some(Err(refusal)) => {
                says.insert("refused".to_owned(), refusal.to_string().into());
                ("unknown", None)
            }
            None => ("unknown", None),
        };
        let (segment, offset) = (self.file.name.ordinal, record.offset);
        let line = RecordLine { seq: record.seq, segment, offset, length: record.body.len(), checksum, kind, id, says };
        (self.audit.tell)(Item::Record(line))
    }

    fn id(&mut self, seq: u64, entry: &Entry<'_>) -> Option<String> {
        if let Entry::Received(received) = entry {
            self.audit.ids.insert(seq, received.id.to_owned());
            if self.audit.ids.len() > IDS_MAX {
                self.audit.ids.pop_first();
            }
            return Some(received.id.to_owned());
        }
        self.audit.ids.get(&entry.of()?.seq).cloned()
    }

    fn check_joint(&mut self, record: &Record<'_>, entry: &Entry<'_>) -> Result<(), Error> {
        let is_first = record.offset == SEGMENT_HEADER_BYTES + log::format::GROUP_HEAD_BYTES as u64;
        let Some(chain) = self.audit.chain.filter(|_| is_first && self.names_predecessor) else { return Ok(()) };
        let text = match entry {
            Entry::Begun(_) if self.audit.is_unjoined => None,
            Entry::Begun(_) if record.seq != chain.last_seq() + 1 => {
                Some(format!("record {} stands where {} is due", record.seq, chain.last_seq() + 1))
            }
            Entry::Begun(begun) => chain.check(begun).err().map(|broken| broken.to_string()),
            _ => Some("the segment does not begin with how the one before ended".to_owned()),
        };
        match text {
            Some(text) => self.audit.finding_at(self.file.name.ordinal, record.offset, Some(record.seq), true, text),
            None => Ok(()),
        }
    }
}

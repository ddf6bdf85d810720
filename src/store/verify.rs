//! Verifying a whole store: every byte that counts, every entry, and what they come to.
//!
//! ```text
//! audit ──► every header, group, record, padding, joint between segments, extent of the manifest
//!   └─ witness ──► State::apply ─┐
//!              └─► Fold ─────────┴─ must agree on every event ──► every event's body read again at its place
//! ```
//!
//! It takes no lock, maps nothing, writes nothing and may run beside a process that writes: it holds one generation of the manifest and
//! sees what stood in the files when it came to them. Deliberately absent: what to do about damage; it says what may be done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::env::{self, Clock, Dir};
use crate::error::{Error, ErrorKind};
use crate::event::entry::Entry;
use crate::event::{Moment, Place, Status, codec, hex};
use crate::log::cut::CUT_DIR;
use crate::log::manifest::Manifest;
use crate::log::reader::read_record;
use crate::log::survey::SegmentFile;
use crate::state::{Applied, IdHasher, Policy, State, View};
use crate::store::audit::{self, Item, Report, Seen, Witness};
use crate::store::commit::moment;
use crate::store::failure::of_log;
use crate::store::fold::Fold;

/// What may be done about damage.
const NEXT: &str = "put the file back from a backup, or keep what verifies with `ledgerline salvage`";
/// How texts end that say a part of that by themselves.
const PUT_BACK: [&str; 2] = ["; put it back from a backup", "; put the file that belongs here back from a backup"];
/// What may be done where nobody knows what is right.
const DISAGREE: &str = "this is a mistake of ledgerline, not of the disk: keep the directory and report it";

/// So many records that do not fit behind damage are named.
pub(super) const MISFITS_NAMED_MAX: usize = 5;

/// What verifying a store covered and found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// What identifies the store, in hexadecimal digits; none if the manifest cannot be read.
    pub store: Option<String>,
    /// How often compaction has replaced the manifest.
    pub generation: u64,
    /// Segment files, prepared ones included.
    pub segments: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Groups whose head and records all verify.
    pub groups: u64,
    /// Records in these groups; each was decoded.
    pub records: u64,
    /// The last of them; 0 if there is none.
    pub last_seq: u64,
    /// Kept events by status.
    pub events: BTreeMap<Status, u64>,
    /// Events whose data was read again at its place.
    pub bodies: u64,
    /// Ids of forgotten events that are still refused.
    pub remembered: u64,
    /// Ranges of segments that compaction dropped.
    pub extents_dropped: u64,
    /// Files that stand for what compaction left of them.
    pub extents_rewritten: u64,
    /// Files that a crash left behind; the next opening removes them.
    pub debris: Vec<String>,
    /// Torn tails that were cut off and kept aside.
    pub cut: Vec<CutTail>,
    /// What is worth a remark and no damage of its own: prepared space, an unfinished tail that nobody was promised, an end without a
    /// mark, and behind damage all records that do not fit what is left before them, as one.
    pub remarks: Vec<Problem>,
    /// What is not as it was written.
    pub damage: Vec<Problem>,
}

impl Verification {
    /// Whether everything is as it was written.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// A torn tail in `cut/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CutTail {
    /// Its file's name.
    pub name: String,
    /// Length of the file in bytes.
    pub bytes: u64,
}

/// Something at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// The file or directory.
    pub path: PathBuf,
    /// Byte offset in the file, where there is one.
    pub offset: Option<u64>,
    /// The record that it is about, or that should stand there, where that is known.
    pub seq: Option<u64>,
    /// What it is.
    pub text: String,
    /// What to do about it; none where nothing need be done.
    pub next: Option<String>,
}

impl Problem {
    pub(super) fn damage(path: &Path, offset: Option<u64>, seq: Option<u64>, text: impl Into<String>) -> Self {
        // What to do is said once.
        let mut text = text.into();
        if let Some(told) = PUT_BACK.iter().find_map(|hint| text.strip_suffix(hint)) {
            text.truncate(told.len());
        }
        Self { path: path.to_owned(), offset, seq, text, next: Some(NEXT.to_owned()) }
    }

    pub(super) fn remark(path: &Path, offset: Option<u64>, seq: Option<u64>, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), offset, seq, text: text.into(), next: None }
    }

    pub(super) fn of_error(path: &Path, error: &Error) -> Self {
        Self::damage(error.path().unwrap_or(path), error.offset(), error.seq(), error.message())
    }
}

/// Reads everything in the store at `path` and says whether it is as it was written: each segment's header, groups, records, padding
/// and unused space; how segments are joined; what the manifest says of files; every entry, folded into the events' states in two ways
/// that must agree; and each kept event's data, read again at its place.
///
/// It may run beside a process that writes, and then shows what that one had written when it came to each file. It takes about as
/// long as reading the files twice, and about 400 bytes of memory for each kept event.
///
/// # Errors
/// [`ErrorKind::NotFound`]: there is no store. [`ErrorKind::UnsupportedFormat`]: a newer version wrote it. [`ErrorKind::Io`]: it cannot
/// be read. Damage is no error: [`Verification::damage`] lists it.
pub fn verify(path: impl AsRef<Path>) -> Result<Verification, Error> {
    verify_dir(&audit::enter(path.as_ref())?)
}

/// As [`verify`], in a directory that is open.
pub(super) fn verify_dir(dir: &Dir) -> Result<Verification, Error> {
    let path = dir.path();
    let (survey, manifest) = match audit::survey(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::Corrupt => return verify_all(dir, &error),
        Err(error) => return Err(error),
    };
    let mut verification = Verification { debris: survey.debris, ..Verification::default() };
    look_into_cut(dir, &mut verification);
    let mut folds = Folds::new(&manifest);
    read_all(dir, &survey.files, &manifest, &mut folds, &mut verification)?;
    folds.tell_misfits(path, &mut verification);
    folds.compare(path, &mut verification);
    folds.read_bodies(&survey.files, &mut verification)?;
    if folds.last_seq > 0 && !folds.ends_with_mark {
        let text = "the log does not end with a mark, so nothing shows whether there was more: it is in use, or its process died";
        verification.remarks.push(Problem::remark(path, None, Some(folds.last_seq), text));
    }
    verification.store = Some(hex::encode(&manifest.store_id));
    verification.generation = manifest.generation;
    verification.extents_dropped = manifest.dropped_count() as u64;
    verification.extents_rewritten = manifest.rewritten_count() as u64;
    verification.last_seq = folds.last_seq;
    Ok(verification)
}

/// As [`verify_dir`], where nothing tells which files count: what stands in each, and no more.
fn verify_all(dir: &Dir, no_manifest: &Error) -> Result<Verification, Error> {
    let damage = vec![Problem::of_error(dir.path(), no_manifest)];
    let mut verification = Verification { damage, ..Verification::default() };
    look_into_cut(dir, &mut verification);
    let mut path = dir.path().to_owned();
    let report = audit::examine_all(dir, &mut |item| {
        verification.note(&mut path, item);
        Ok(())
    })?;
    verification.count(&report);
    Ok(verification)
}

/// Audits every file, and folds what they hold.
fn read_all(
    dir: &Dir,
    files: &[SegmentFile],
    manifest: &Manifest,
    folds: &mut Folds<'_>,
    verification: &mut Verification,
) -> Result<(), Error> {
    let mut path = dir.path().to_owned();
    let report = audit::examine(files, manifest, folds, &mut |item| {
        verification.note(&mut path, item);
        Ok(())
    })?;
    verification.count(&report);
    Ok(())
}

impl Verification {
    /// Notes what an audit says, of the file at `path` until the next one begins.
    fn note(&mut self, path: &mut PathBuf, item: Item) {
        match item {
            Item::Segment { path: of, .. } => *path = of,
            Item::Finding { offset, seq, damage: true, text, .. } => {
                self.damage.push(Problem::damage(path, Some(offset), seq, text));
            }
            Item::Finding { offset, seq, text, .. } => {
                self.remarks.push(Problem::remark(path, Some(offset), seq, text));
            }
            Item::Record(_) => {}
        }
    }

    fn count(&mut self, report: &Report) {
        let Report { segments, groups, records, bytes, .. } = *report;
        (self.segments, self.groups, self.records, self.bytes) = (segments, groups, records, bytes);
    }
}

/// Lists what was cut off torn tails. Nothing is said of what is in it: nobody was promised anything about it, nor that it can be read.
fn look_into_cut(dir: &Dir, verification: &mut Verification) {
    match cut_tails(dir) {
        Ok(tails) => verification.cut = tails,
        Err(error) => {
            let text = format!("it cannot be looked into, and holds nothing that counts: {}", error.source);
            verification.remarks.push(Problem::remark(&dir.path().join(CUT_DIR), None, None, text));
        }
    }
}

fn cut_tails(dir: &Dir) -> Result<Vec<CutTail>, env::Error> {
    let cut = match dir.open_dir(CUT_DIR) {
        Ok(cut) => cut,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut tails = Vec::new();
    for name in cut.names()? {
        let bytes = cut.open_file(&name, false).and_then(|file| file.len())?;
        tails.push(CutTail { name, bytes });
    }
    Ok(tails)
}

/// The same entries, folded twice.
struct Folds<'m> {
    manifest: &'m Manifest,
    state: State,
    plain: Fold,
    now: Moment,
    last_seq: u64,
    /// Whether the last entry attests to all before it.
    ends_with_mark: bool,
    /// How many entries behind damage do not fit what was read before them, and the first of them.
    misfit_count: usize,
    misfits: Vec<u64>,
}

impl<'m> Folds<'m> {
    fn new(manifest: &'m Manifest) -> Self {
        let now = moment(&Clock::system());
        let state = State::new(manifest.store_id, Policy::default());
        let (last_seq, ends_with_mark, misfit_count) = (0, false, 0);
        let plain = Fold::default();
        Self { manifest, state, plain, now, last_seq, ends_with_mark, misfit_count, misfits: Vec::new() }
    }

    /// Says as one what damage before it explains, so that the damage itself is seen.
    fn tell_misfits(&self, path: &Path, verification: &mut Verification) {
        let Some(first) = self.misfits.first() else { return };
        let named: Vec<String> = self.misfits.iter().map(u64::to_string).collect();
        let more = if self.misfit_count > named.len() { " and others" } else { "" };
        let named = named.join(", ");
        let text = match self.misfit_count {
            1 => format!("1 record behind damage does not fit what is left before it: seq {named}"),
            count => format!("{count} records behind damage do not fit what is left before them: seq {named}{more}"),
        };
        verification.remarks.push(Problem::remark(path, None, Some(*first), text));
    }

    /// Holds both folds against each other. After damage they may well differ, and that says nothing more.
    fn compare(&self, path: &Path, verification: &mut Verification) {
        let counts = self.state.counts();
        verification.remembered = counts.remembered;
        for status in Status::ALL {
            verification.events.insert(status, counts.of(status));
        }
        if !verification.is_sound() {
            return;
        }
        let mut counted: BTreeMap<Status, u64> = Status::ALL.into_iter().map(|status| (status, 0)).collect();
        let mut plain = self.plain.events();
        let mut differ = |seq: u64, text: String| {
            let problem = Problem::damage(path, None, Some(seq), text);
            verification.damage.push(Problem { next: Some(DISAGREE.to_owned()), ..problem });
        };
        for view in self.state.list(0) {
            let (seq, stands) = (view.seq, view.status);
            match plain.next() {
                Some((other, status)) if (other, status) == (seq, stands) => *counted.entry(status).or_default() += 1,
                other => {
                    let other = other.map_or_else(
                        || "none is left".to_owned(),
                        |(other, status)| format!("event {other} is {status}"),
                    );
                    return differ(seq, format!("event {seq} is {stands} by the state; counted plainly, {other}"));
                }
            }
        }
        if let Some((seq, status)) = plain.next() {
            differ(seq, format!("counted plainly, event {seq} is {status}; the state does not know it"));
        } else if counted != verification.events {
            let text = format!("the state counts {:?}, and there are {counted:?}", verification.events);
            verification.damage.push(Problem::damage(path, None, None, text));
        }
    }

    /// Reads each kept event's data again, at the place that the state knows.
    fn read_bodies(&self, files: &[SegmentFile], verification: &mut Verification) -> Result<(), Error> {
        let files: BTreeMap<u32, &SegmentFile> =
            files.iter().filter_map(|file| Some((file.name.key()?, file))).collect();
        let hasher = IdHasher::new(self.manifest.store_id);
        for view in self.state.list(0) {
            let Some(file) = files.get(&view.place.segment) else { continue };
            match body(file, &view, hasher) {
                Ok(()) => verification.bodies += 1,
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    verification.damage.push(Problem::of_error(file.file.path(), &error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads the reception that `view` names.
fn body(file: &SegmentFile, view: &View, hasher: IdHasher) -> Result<(), Error> {
    let Ok(header) = &file.header else { return Ok(()) };
    let Place { offset, length, .. } = view.place;
    let bytes = read_record(&file.file, header, u64::from(offset), length, Some(view.seq)).map_err(of_log)?;
    match codec::decode(&bytes) {
        Ok(Entry::Received(received)) if hasher.id(received.id) == view.id_hash => Ok(()),
        _ => Err(Error::new(ErrorKind::Corrupt, "the record is not the reception that the state knows")
            .at_path(file.file.path())
            .at_offset(u64::from(offset))
            .at_seq(view.seq)),
    }
}

impl Witness for Folds<'_> {
    fn entry(&mut self, seen: &Seen<'_>) -> Result<Option<String>, Error> {
        let Seen { file, record, entry, after_damage } = *seen;
        self.last_seq = self.last_seq.max(record.seq);
        self.ends_with_mark = matches!(entry, Entry::Mark(_));
        self.plain.entry(record.seq, entry);
        let place = file.name.key().and_then(|key| Place::new(key, record.offset, record.body.len()));
        let Some(place) = place else {
            return Ok(Some("the segment is too long, or its ordinal past 2147483647".to_owned()));
        };
        let wrong = match self.state.apply(record.seq, place, entry, self.now) {
            Ok(Applied::Orphan { of_seq }) if !self.manifest.has_dropped_seq(of_seq) => {
                Some(format!("a {} record is about the event {of_seq}, which is not there", entry.name()))
            }
            Ok(_) => None,
            Err(illegal) => Some(format!("a {} record cannot be: {illegal}", entry.name())),
        };
        if wrong.is_none() || !after_damage {
            return Ok(wrong);
        }
        self.misfit_count += 1;
        if self.misfits.len() < MISFITS_NAMED_MAX {
            self.misfits.push(record.seq);
        }
        Ok(None)
    }
}

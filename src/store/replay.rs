//! Replaying a log into a state: one pass over all segments, checking how each is joined to the one before.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use std::thread::Scope;

use crate::error::{Error, ErrorKind};
use crate::event::codec;
use crate::event::entry::{Begun, Entry, Mark};
use crate::event::{Moment, Place};
use crate::log;
use crate::log::format::SegmentHeader;
use crate::log::manifest::{Extent, Manifest};
use crate::log::scan::{Defect, Record, Scan, Seqs, Standing, Visitor, is_sound_at, scan};
use crate::log::source::Source;
use crate::log::survey::SegmentFile;
use crate::log::verdict::{Role, Verdict, verdict};
use crate::log::writer::SegmentEnd;
use crate::mutants::mutant;
use crate::state::{Applied, FORESEEN_COUNT, Gist, Illegal, State};
use crate::store::ahead::{Ahead, Help, Passage, source_under_lock};
use crate::store::chain::{Chain, end_of};
use crate::store::core::summary;
use crate::store::failure::{of_env, of_log, of_refusal, of_stopped};
use crate::store::parsed::{Fact, Parsed};
use crate::store::readings::{Readings, reading_of};
use crate::store::verify::MISFITS_NAMED_MAX;

/// How damage is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rigour {
    /// Anything that is not as it was written refuses the opening. Sealed segments are mapped: the caller holds the lock.
    Strict,
    /// What verifies is replayed, the rest is reported. Segments are read through a window.
    Lenient,
}

/// A replay that goes from segment to segment.
pub(crate) struct Replaying<'a> {
    pub(crate) state: State,
    pub(crate) sealed: BTreeMap<u32, Extent>,
    pub(crate) epoch: u64,
    pub(crate) last_seq: u64,
    pub(crate) chain: Chain,
    pub(crate) record_count: u64,
    /// Bytes of the sound groups, and of the headers before them.
    pub(crate) byte_count: u64,
    /// What the clock read, as far as records tell.
    pub(crate) readings: Readings,
    /// Whether the last record closes the store.
    pub(crate) closed: bool,
    /// What was found damaged, where that is tolerated; of records that do not fit, the first.
    damage: Vec<String>,
    /// How many records do not fit what is left before them.
    misfit_count: usize,
    /// How the segment before ended is not known, and that was noted.
    is_unjoined: bool,
    manifest: &'a Manifest,
    rigour: Rigour,
    now: Moment,
}

/// What is to be done with a segment's file after it was replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Where its sound groups end.
    pub(crate) end: u64,
    pub(crate) torn: bool,
    /// Whether the state may have places in it: of sound records, or of those that verify beyond a bad place.
    pub(crate) is_kept: bool,
}

impl<'a> Replaying<'a> {
    pub(crate) fn new(state: State, manifest: &'a Manifest, rigour: Rigour, now: Moment) -> Self {
        Self {
            state,
            sealed: BTreeMap::new(),
            epoch: 0,
            last_seq: 0,
            chain: Chain::default(),
            record_count: 0,
            byte_count: 0,
            readings: Readings::new(),
            closed: false,
            damage: Vec::new(),
            misfit_count: 0,
            is_unjoined: false,
            manifest,
            rigour,
            now,
        }
    }

    /// Has segments verified ahead, where nobody writes meanwhile.
    pub(crate) fn ahead<'scope, 'f: 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        files: impl Iterator<Item = (&'f SegmentFile, Role)> + Clone + Send + 'scope,
    ) -> Ahead {
        match self.rigour {
            Rigour::Strict => Ahead::of(scope, files, self.manifest.store_id),
            Rigour::Lenient => Ahead::none(),
        }
    }

    /// Replays one segment; they come by ascending ordinal.
    pub(crate) fn segment(&mut self, file: &SegmentFile, role: Role, ahead: &mut Ahead) -> Result<Ending, Error> {
        self.join(file)?;
        let noted = self.noted();
        let header = match file.checked_header(&self.manifest.store_id).map_err(of_log) {
            Ok(header) => header,
            Err(error) => {
                self.tolerate(error)?;
                self.pass_over(file);
                return Ok(Ending { end: 0, torn: false, is_kept: false });
            }
        };
        let key = file.name.key().ok_or_else(|| unsupported_ordinal(file))?;
        self.readings.enter(file.name.ordinal, header.is_sparse());
        let seqs = if self.rigour == Rigour::Strict { Seqs::From(self.last_seq + 1) } else { Seqs::Any };
        let mut visitor = Applying {
            is_first: !header.is_sparse(),
            from: 0,
            wanted: Standing::Sound,
            replay: self,
            key,
            path: file.file.path(),
        };
        let scan = visitor.scan(file, role, &header, seqs, ahead)?;
        let is_damaged = self.is_damaged(file, role, &scan)?;
        if is_damaged {
            // What stands behind the bad place was kept all the same, and tells where events stand.
            let (is_first, from, wanted) = (false, 0, Standing::Beyond);
            let mut visitor = Applying { is_first, from, wanted, replay: self, key, path: file.file.path() };
            visitor.scan(file, role, &header, Seqs::Any, &mut Ahead::none())?;
        }
        let found = match file.rewritten(self.manifest) {
            Some(extent) => {
                self.check_rewritten(file, extent, &scan)?;
                Some(*extent)
            }
            None => scan.first_seq.zip(scan.last_seq).map(|(first_seq, last_seq)| {
                let (ordinal, length) = (file.name.ordinal, scan.end);
                summary(SegmentEnd { ordinal, last_seq, length, digest: scan.digest }, first_seq)
            }),
        };
        if let Some(extent) = found {
            self.sealed.insert(key, extent);
            self.chain.end = Some(end_of(&extent));
            self.last_seq = self.last_seq.max(extent.last_seq);
        }
        // What follows a damaged segment is not damaged for that.
        self.is_unjoined = self.noted() > noted;
        if found.is_none() && self.is_unjoined {
            self.pass_over(file);
        }
        self.record_count += scan.record_count;
        self.byte_count += if scan.record_count > 0 { scan.end } else { 0 };
        let is_kept = scan.record_count > 0 || is_damaged;
        Ok(Ending { end: scan.end, torn: scan.finding.is_some(), is_kept })
    }

    /// Goes past a file in which nothing can be read.
    fn pass_over(&mut self, file: &SegmentFile) {
        self.is_unjoined = true;
        self.chain.skip(file.name.ordinal);
    }

    /// Goes over from the segment before to this one: no ordinal is missing but those that compaction dropped.
    fn join(&mut self, file: &SegmentFile) -> Result<(), Error> {
        let joined = self.chain.join(self.manifest, file.name);
        self.last_seq = self.chain.last_seq().max(self.last_seq);
        joined.or_else(|broken| {
            self.is_unjoined = true;
            self.tolerate(Error::new(ErrorKind::Corrupt, broken.to_string()).at_path(file.file.path()))
        })
    }

    /// Checks that segments which were never written to follow the others: one that is prepared proves that those before it were there. Each
    /// has its header, because it gets its name only once that is durable: one without a header was more than prepared once. `last_written`
    /// counts too, though a crash may have left no record in it.
    pub(crate) fn prepared(&mut self, last_written: Option<&SegmentFile>, files: &[SegmentFile]) -> Result<(), Error> {
        self.chain.pass(self.manifest);
        self.last_seq = self.chain.last_seq().max(self.last_seq);
        let mut chain = self.chain;
        if let Some(torn) = last_written.filter(|file| file.name.ordinal > chain.ordinal()) {
            chain.skip(torn.name.ordinal);
        }
        for file in files {
            if let Err(error) = file.checked_header(&self.manifest.store_id).map_err(of_log) {
                self.tolerate(error)?;
            }
            if let Err(broken) = chain.join(self.manifest, file.name) {
                self.tolerate(Error::new(ErrorKind::Corrupt, broken.to_string()).at_path(file.file.path()))?;
            }
            chain.skip(file.name.ordinal);
        }
        Ok(())
    }

    /// Checks that a file which compaction wrote holds all of it, and nothing else.
    fn check_rewritten(&mut self, file: &SegmentFile, extent: &Extent, scan: &Scan) -> Result<(), Error> {
        if extent.is_what_was_found(scan) {
            return Ok(());
        }
        let text = "the segment does not hold what the manifest says that compaction wrote; put it back from a backup";
        self.tolerate(Error::new(ErrorKind::Corrupt, text).at_path(file.file.path()))
    }

    /// Whether a segment is damaged, which is tolerated then: not only torn, as a crash may leave it.
    fn is_damaged(&mut self, file: &SegmentFile, role: Role, scan: &Scan) -> Result<bool, Error> {
        let last_seq = scan.last_seq.unwrap_or(self.last_seq);
        let (Verdict::Refuse(because), Some(finding)) = (verdict(role, scan, last_seq), scan.finding) else {
            return Ok(false);
        };
        // A group that verifies under a wrong seq was not being written: it says the same however often it is read.
        let is_group = !matches!(finding.defect, Defect::Seq { .. });
        let beside_a_writer = self.rigour == Rigour::Lenient && role == Role::Last && is_group;
        if let Ok(header) = file.header.as_ref()
            && beside_a_writer
            && is_sound_at(&file.file, header, scan.end).unwrap_or(false)
        {
            return Ok(false);
        }
        let (path, offset, seq) = (file.file.path().to_owned(), finding.offset, Some(last_seq + 1));
        self.tolerate(of_log(log::Error::Corrupt { path, offset, seq, defect: finding.defect, because }))?;
        Ok(true)
    }

    /// Refuses what is wrong, or notes it, as the rigour is.
    fn tolerate(&mut self, error: Error) -> Result<(), Error> {
        self.check_tolerable(error).map(|error| self.damage.push(error.to_string()))
    }

    /// As [`Replaying::tolerate`], of a record that does not fit: one segment that is lost may leave thousands of them.
    fn tolerate_misfit(&mut self, error: Error) -> Result<(), Error> {
        let error = self.check_tolerable(error)?;
        self.misfit_count += 1;
        if self.misfit_count <= MISFITS_NAMED_MAX {
            self.damage.push(error.to_string());
        }
        Ok(())
    }

    fn check_tolerable(&self, error: Error) -> Result<Error, Error> {
        let is_refused = self.rigour == Rigour::Strict || error.kind() == ErrorKind::UnsupportedFormat;
        if is_refused { Err(error) } else { Ok(error) }
    }

    /// How often something was noted, named or not.
    fn noted(&self) -> usize {
        self.damage.len() + self.misfit_count
    }

    /// Takes what was found damaged. Of records that do not fit the first are named, and how many more there are.
    pub(crate) fn take_damage(&mut self) -> Vec<String> {
        let more = self.misfit_count.saturating_sub(MISFITS_NAMED_MAX);
        let told = (more > 0)
            .then(|| format!("records that do not fit what is left before them, besides those named: {more}"));
        std::mem::take(&mut self.damage).into_iter().chain(told).collect()
    }

    fn apply(&mut self, record: &Record<'_>, entry: &Entry<'_>, place: Place, path: &Path) -> Result<(), Error> {
        if let Some(at) = reading_of(entry) {
            self.readings.take(at);
        }
        self.closed = matches!(entry, Entry::Mark(Mark::Close));
        let applied = self.state.apply(record.seq, place, entry, self.now);
        self.accept(applied, entry.name(), |error| error.at_path(path).at_offset(record.offset).at_seq(record.seq))
    }

    /// Judges what became of an entry.
    fn accept(
        &mut self,
        applied: Result<Applied, Illegal>,
        name: &str,
        placed: impl FnOnce(Error) -> Error,
    ) -> Result<(), Error> {
        let text = match applied {
            Ok(Applied::Done) => return Ok(()),
            Ok(Applied::Orphan { of_seq }) if self.manifest.has_dropped_seq(of_seq) || mutant!("orphan-accepted") => {
                return Ok(());
            }
            Ok(Applied::Orphan { of_seq }) => {
                format!("a {name} record is about the event {of_seq}, which is not there")
            }
            Err(illegal) => format!("a {name} record cannot be: {illegal}"),
        };
        self.tolerate_misfit(placed(Error::new(ErrorKind::Corrupt, text)))
    }

    /// Checks that a segment begins as the one before ended (R9).
    fn check_begun(&mut self, begun: &Begun, path: &Path) -> Result<(), Error> {
        self.epoch = begun.epoch;
        if self.is_unjoined {
            return Ok(());
        }
        let checked = self.chain.check(begun);
        checked.or_else(|broken| {
            self.tolerate(Error::new(ErrorKind::Corrupt, broken.to_string()).at_path(path).at_seq(begun.first_seq))
        })
    }
}

fn unsupported_ordinal(file: &SegmentFile) -> Error {
    Error::new(ErrorKind::UnsupportedFormat, "the segment's ordinal is past 2147483647").at_path(file.file.path())
}

/// Applies the sound records of one segment.
struct Applying<'r, 'a> {
    replay: &'r mut Replaying<'a>,
    key: u32,
    path: &'r Path,
    /// Whether the next record must say how the segment before ended; compaction need not have left it.
    is_first: bool,
    /// Records before this offset were applied already.
    from: u64,
    /// Those that stand so are applied.
    wanted: Standing,
}

impl Applying<'_, '_> {
    /// Scans the segment; what is verified already is only applied.
    fn scan(
        &mut self,
        file: &SegmentFile,
        role: Role,
        header: &SegmentHeader,
        seqs: Seqs,
        ahead: &mut Ahead,
    ) -> Result<Scan, Error> {
        match ahead.show(header, seqs, |passage, names| self.apply_all(passage, names))? {
            Help::Whole(scan) => return Ok(scan),
            Help::Until(offset) => self.from = offset,
        }
        // Beside a writer, the file may have grown since it was opened.
        let bytes = file.file.len().map_err(of_env)?;
        if self.replay.rigour == Rigour::Strict {
            let mut source = source_under_lock(&file.file, role);
            return scan(&mut source, bytes, header, seqs, self).map_err(of_stopped);
        }
        // What the disk does not give back counts as zeros, and hides nothing that stands before it.
        let first_hole = OnceLock::new();
        let mut source = Source::around_holes(&file.file, |from, _, error| {
            first_hole.get_or_init(|| of_env(error).at_offset(from).to_string());
        });
        let scanned = scan(&mut source, bytes, header, seqs, self).map_err(of_stopped);
        drop(source);
        self.replay.damage.extend(first_hole.into_inner().filter(|_| self.wanted == Standing::Sound));
        scanned
    }

    /// Applies records that were verified, and taken apart, already.
    fn apply_all(&mut self, passage: &Passage, names: &[String]) -> Result<(), Error> {
        let mut bodies = passage.bodies.as_slice();
        for chunk in passage.records.chunks(FORESEEN_COUNT) {
            self.replay.state.foresee(chunk.iter().filter_map(Parsed::id));
            for parsed in chunk {
                let Parsed { seq, offset, length, fact } = *parsed;
                let record = |body| Record { seq, offset, body };
                match &fact {
                    Fact::Received(gist, number) => {
                        let name = names.get(*number as usize).map_or("", String::as_str);
                        self.receive(parsed, gist, name)?;
                    }
                    Fact::Started(started) => self.apply(&record(&[]), length, &Entry::Started(*started))?,
                    Fact::Completed(completed) => self.apply(&record(&[]), length, &Entry::Completed(*completed))?,
                    Fact::Other => {
                        let body;
                        (body, bodies) = bodies.split_at(length);
                        self.record(&record(body), Standing::Sound)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Applies a reception that is not the first record of the segment.
    fn receive(&mut self, parsed: &Parsed, gist: &Gist, event_type: &str) -> Result<(), Error> {
        let Parsed { seq, offset, length, .. } = *parsed;
        let placed = |error: Error| error.at_path(self.path).at_offset(offset).at_seq(seq);
        let place = place(self.key, offset, length).map_err(placed)?;
        let Replaying { state, readings, closed, now, .. } = &mut *self.replay;
        readings.take(gist.received_at);
        *closed = false;
        let applied = state.apply_gist((seq, place), gist, event_type, *now);
        self.replay.accept(applied, "received", placed)
    }

    /// Applies the entry of a record whose body is `length` bytes long.
    fn apply(&mut self, record: &Record<'_>, length: usize, entry: &Entry<'_>) -> Result<(), Error> {
        let placed = |error: Error| error.at_path(self.path).at_offset(record.offset).at_seq(record.seq);
        match entry {
            Entry::Begun(begun) if self.is_first => self.replay.check_begun(begun, self.path)?,
            Entry::Begun(begun) => self.replay.epoch = begun.epoch,
            _ if self.is_first => {
                let text = "the segment does not begin with how the one before ended";
                self.replay.tolerate(placed(Error::new(ErrorKind::Corrupt, text)))?;
            }
            _ => {}
        }
        self.is_first = false;
        let place = place(self.key, record.offset, length).map_err(placed)?;
        self.replay.apply(record, entry, place, self.path)
    }
}

fn place(segment: u32, offset: u64, length: usize) -> Result<Place, Error> {
    let too_long = || Error::new(ErrorKind::Corrupt, "the segment is too long");
    Place::new(segment, offset, length).ok_or_else(too_long)
}

impl Visitor for Applying<'_, '_> {
    type Stop = Error;

    fn record(&mut self, record: &Record<'_>, standing: Standing) -> Result<(), Error> {
        if standing != self.wanted || record.offset < self.from {
            return Ok(());
        }
        self.replay.last_seq = self.replay.last_seq.max(record.seq);
        match codec::decode(record.body) {
            Ok(entry) => self.apply(record, record.body.len(), &entry),
            Err(_) if mutant!("unknown-kind-skipped") => Ok(()),
            Err(refusal) => {
                let error = of_refusal(refusal).at_path(self.path);
                self.replay.tolerate_misfit(error.at_offset(record.offset).at_seq(record.seq))
            }
        }
    }
}

/// When an entry happened, if it says so.
pub(crate) fn at_of(entry: &Entry<'_>) -> Option<i64> {
    match entry {
        Entry::Begun(begun) => Some(begun.at),
        Entry::Received(received) => Some(received.received_at),
        Entry::Started(started) => Some(started.at),
        Entry::Completed(completed) => Some(completed.at),
        Entry::Failed(failed) => Some(failed.at),
        Entry::Released(released) => Some(released.at),
        Entry::Replayed(replayed) => Some(replayed.at),
        Entry::Cancelled(cancelled) => Some(cancelled.at),
        Entry::Condemned(condemned) => Some(condemned.at),
        Entry::Snoozed(snoozed) => Some(snoozed.at),
        Entry::Handled(handled) => Some(handled.at),
        Entry::Accepted(accepted) => Some(accepted.at),
        Entry::Paused(paused) => Some(paused.at),
        Entry::Resumed(resumed) => Some(resumed.at),
        Entry::Cursor(cursor) => Some(cursor.at),
        Entry::State(_) | Entry::Mark(_) | Entry::Horizon(_) | Entry::Remembered(_) => None,
    }
}

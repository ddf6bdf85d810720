//! Salvage: everything that verifies of a damaged store, as a store of its own.
//!
//! ```text
//! Remains ──► what is lost? ──► Mending ──► the survivors under their own seqs ──► segments as compaction writes them
//!                                       └─► uncertain events, condemned ──┘        MANIFEST, last
//! ```
//!
//! The copy is the same store: same id, so that ids which are only remembered are still refused; same seqs, so that histories, cursors
//! and earlier dumps go on to mean the same. It never writes to the damaged directory. An event that was not finished when records
//! after its last one are lost may have been: it is `failed` in the copy, with a reason that says so, and runs only if somebody
//! replays it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::env::{Chance, Clock, Dir};
use crate::error::{Error, ErrorKind};
use crate::event::entry::{Accepted, Begun, Condemned, Entry, Mark, Remembered};
use crate::event::{Moment, Place, Status, codec, hex};
use crate::log::format::SegmentHeader;
use crate::log::manifest::{Extent, Manifest};
use crate::log::reader::read_record;
use crate::log::rewriter::Rewriter;
use crate::log::segment::Segment;
use crate::state::{IdHasher, Policy, State, Step, low, next};
use crate::store::audit;
use crate::store::commit::moment;
use crate::store::core::Salts;
use crate::store::failure::{of_env, of_log, of_refusal};
use crate::store::mending::{LeftOut, Mending, Namesake};
use crate::store::remains::{Found, Remains};
use crate::store::target::{check_target, fill_target};
use crate::store::verify::{Problem, verify};

/// How often the survivors are gone through at most before it is decided what goes into gaps.
const REHEARSALS_MAX: u32 = 16;

/// Which losses whoever salvages accepts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acceptance {
    /// None: if anything is lost, that is told and nothing is written.
    #[default]
    Nothing,
    /// Every range of lost records that has one of these seqs in it, and every lost event that was received as one of them.
    Seqs(Vec<u64>),
    /// Whatever is lost.
    All,
}

impl Acceptance {
    fn covers(&self, (from, to): (u64, u64)) -> bool {
        match self {
            Self::Nothing => false,
            Self::Seqs(seqs) => seqs.iter().any(|seq| (from..=to).contains(seq)),
            Self::All => true,
        }
    }
}

/// What salvaging a store found, and wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Salvage {
    /// What identifies the store, and its copy, in hexadecimal digits.
    pub store: String,
    /// Whether the copy was written; not if a loss is not accepted.
    pub written: bool,
    /// Records that verify and are in the copy, or would be.
    pub records: u64,
    /// The last of them.
    pub last_seq: u64,
    /// Whether that says that the store was closed in good order. If not, nothing proves that no record came after it.
    pub closed: bool,
    /// Events in the copy by status; none if it was not written.
    pub events: BTreeMap<Status, u64>,
    /// Ranges of lost records.
    pub lost: Vec<LostRange>,
    /// Events whose reception is not in the copy, and of which anything that survives tells.
    pub lost_events: Vec<LostEvent>,
    /// Surviving records that are not in the copy: what they are about is lost, what must have come before them is lost and has no
    /// place among the lost records, or their bodies cannot be read as entries. Receptions among them are in `lost_events`.
    pub left_out: u64,
    /// Records that were put into gaps, because survivors prove that they were there.
    pub put_in: u64,
    /// Events that may have gone on in records that are lost or left out. In the copy they have failed, and run only if they are replayed.
    pub uncertain: Vec<UncertainEvent>,
    /// What does not verify.
    pub damage: Vec<Problem>,
    /// What is worth a remark and no loss: a tail that a crash tore, which nobody was promised and which is not in the copy.
    pub remarks: Vec<Problem>,
    /// Whether the manifest was read. Without it, what compaction dropped cannot be told from what is lost.
    pub manifest: bool,
}

impl Salvage {
    /// Whether every record that was acknowledged is in the copy.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.left_out == 0
    }

    fn is_accepted(&self) -> bool {
        self.lost.iter().all(|range| range.accepted) && self.lost_events.iter().all(|event| event.accepted)
    }
}

/// Consecutive records that are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LostRange {
    /// Seq of the first.
    pub from: u64,
    /// Seq of the last.
    pub to: u64,
    /// Whether `to` is the highest that may have been given out, because nothing tells which was. The copy goes on behind it.
    pub estimated: bool,
    /// Whether that is accepted.
    pub accepted: bool,
}

/// An event whose reception is lost, or cannot be told after what survives before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LostEvent {
    /// Seq of its reception.
    pub seq: u64,
    /// Its id, where its reception survives: another event has that id, and no lost record can have forgotten it.
    pub id: Option<String>,
    /// The low 64 bits of its id's hash, in hexadecimal digits: who knows the store's id can tell whether an id is meant.
    pub id_hash: String,
    /// What happened to it last, as far as that survives: `completed`, `failed` and so on.
    pub what: &'static str,
    /// Seq of that record.
    pub at_seq: u64,
    /// Whether that is accepted: with its range, or by the seq of its reception.
    pub accepted: bool,
}

/// An event whose last step may be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UncertainEvent {
    /// Seq of its reception.
    pub seq: u64,
    /// Its id.
    pub id: String,
    /// Where it stood after its last surviving record.
    pub status: Status,
    /// Seq of that record.
    pub last_seq: u64,
}

/// Copies everything that verifies of the store at `from` into a new one at `to`, which must not exist or be empty. It works where
/// opening refuses: with damaged or missing segments, headers or manifest. Nothing is written to `from`.
///
/// Events keep their ids, data, times, statuses, retry counts and histories, and records their seqs; the copy has the same store id.
/// Where losses are not all accepted, they are listed and nothing is written ([`Salvage::written`]); accepted ones are recorded in the
/// copy. The copy is durable and was verified once this returns. It takes about 200 bytes of memory for each record.
///
/// # Errors
/// [`ErrorKind::NotFound`]: there is no store. [`ErrorKind::InvalidInput`]: `to` is not empty, or lies in `from`.
/// [`ErrorKind::Corrupt`]: nothing can be salvaged. [`ErrorKind::UnsupportedFormat`], [`ErrorKind::Full`], [`ErrorKind::Io`]. After
/// an error `to` is as it was before, unless the error says otherwise; even then its manifest goes first, and without one no store
/// opens there.
pub fn salvage(from: impl AsRef<Path>, to: impl AsRef<Path>, accept: &Acceptance) -> Result<Salvage, Error> {
    let to = to.as_ref();
    check_target(&audit::enter(from.as_ref())?, to)?;
    let remains = Remains::of(from.as_ref())?;
    let mut copying = Copying::new(&remains);
    let mut mending = Mending::new(&remains.lost);
    copying.plan(&mut mending)?;
    let lost = remains.lost.iter().map(|&(from, to)| {
        let accepted = accept.covers((from, to));
        LostRange { from, to, estimated: false, accepted }
    });
    copying.report.lost = lost.collect();
    if let Some(last) = copying.report.lost.last_mut() {
        last.estimated = remains.is_end_estimated;
    }
    // Told even where nothing is written: whoever accepts should know what.
    copying.rehearse(&mut mending)?;
    copying.judge_events(accept);
    if !copying.report.is_accepted() {
        copying.report.events.clear();
        return Ok(copying.report);
    }
    copying.begin_again();
    fill_target(to, |dir| {
        copying.copy(&mending, Some(dir))?;
        match verify(to)?.damage.first() {
            None => Ok(()),
            Some(damage) => {
                Err(Error::new(ErrorKind::Corrupt, format!("the copy does not verify: {}", damage.text)).at_path(to))
            }
        }
    })?;
    Ok(Salvage { written: true, ..copying.report })
}

/// What cannot have happened after what survives before it.
#[derive(Default)]
struct Refused {
    /// Seqs of the records.
    seqs: BTreeSet<u64>,
    /// Events that such transitions are about.
    about: BTreeSet<u64>,
    /// Receptions.
    events: Vec<LostEvent>,
    /// Events that must have been forgotten before a record, for it has their id.
    namesakes: Vec<(Namesake, u64)>,
}

/// One salvage under way.
struct Copying<'r> {
    remains: &'r Remains,
    hasher: IdHasher,
    state: State,
    now: Moment,
    epoch: u64,
    /// Seqs of survivors that are left out.
    left_out: BTreeSet<u64>,
    /// Events of which records are left out although they are not lost.
    doubtful: BTreeSet<u64>,
    /// What the state refused while it went through the survivors.
    refused: Refused,
    report: Salvage,
}

impl<'r> Copying<'r> {
    fn new(remains: &'r Remains) -> Self {
        let now = moment(&Clock::system());
        let report = Salvage {
            store: hex::encode(&remains.store_id),
            damage: remains.unreadable.clone(),
            remarks: remains.torn.clone(),
            manifest: remains.manifest.is_some(),
            ..Salvage::default()
        };
        Self {
            remains,
            hasher: IdHasher::new(remains.store_id),
            state: State::new(remains.store_id, Policy::default()),
            now,
            epoch: 0,
            left_out: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            refused: Refused::default(),
            report,
        }
    }

    /// The same again: with more put into gaps, or to be written.
    fn begin_again(&mut self) {
        self.state = State::new(self.remains.store_id, Policy::default());
        self.epoch = 0;
        self.refused = Refused::default();
        let report = &mut self.report;
        report.records = 0;
        report.put_in = 0;
        report.uncertain.clear();
    }

    /// Goes through the survivors without writing, until nothing more is to be put into gaps. Then what is still refused is lost.
    fn rehearse(&mut self, mending: &mut Mending<'_>) -> Result<(), Error> {
        for _ in 0..REHEARSALS_MAX {
            self.copy(mending, None)?;
            let namesakes = std::mem::take(&mut self.refused.namesakes);
            let put_in = namesakes.into_iter().filter(|(event, before)| mending.forget(*event, *before)).count();
            if put_in == 0 {
                break;
            }
            self.begin_again();
        }
        self.report.lost_events.append(&mut self.refused.events);
        Ok(())
    }

    /// Tells which of the lost events are accepted.
    fn judge_events(&mut self, accept: &Acceptance) {
        let Salvage { lost, lost_events, .. } = &mut self.report;
        for event in lost_events {
            let range = lost.iter().find(|range| (range.from..=range.to).contains(&event.seq));
            event.accepted = range.map_or_else(|| accept.covers((event.seq, event.seq)), |range| range.accepted);
        }
    }

    /// Decides what goes into gaps and what is left out.
    fn plan(&mut self, mending: &mut Mending<'_>) -> Result<(), Error> {
        let mut lost_events = BTreeMap::new();
        for found in &self.remains.found {
            let body = read(self.remains, *found)?;
            let entry = match codec::decode(&body) {
                Ok(entry) => entry,
                Err(refusal) if refusal.is_unsupported() => {
                    return Err(of_refusal(refusal).at_seq(found.seq));
                }
                Err(_) => {
                    self.left_out.insert(found.seq);
                    continue;
                }
            };
            let hash = |id: &str| low(self.hasher.id(id));
            let Some(why) = mending.entry(found.seq, &entry, hash) else { continue };
            self.left_out.insert(found.seq);
            if let LeftOut::Orphan(of) = why {
                let id_hash = format!("{:016x}", of.id_hash);
                let (what, at_seq) = (entry.name(), found.seq);
                let lost = LostEvent { seq: of.seq, id: None, id_hash, what, at_seq, accepted: false };
                lost_events.insert(of.seq, lost);
            } else if let Some(of) = entry.of() {
                self.doubtful.insert(of.seq);
            }
        }
        self.report.lost_events = lost_events.into_values().collect();
        Ok(())
    }

    /// Goes through survivors and what is put between them, in the order of the log; writes them into `dir`, if there is one.
    fn copy(&mut self, mending: &Mending<'_>, dir: Option<&Dir>) -> Result<(), Error> {
        let mut output = dir.map(|dir| Output::new(dir, self.remains)).transpose()?;
        let mut put_in = mending.put_in.iter().peekable();
        let mut encoded = Vec::new();
        let remains = self.remains;
        for found in &remains.found {
            while let Some((seq, entry)) = put_in.next_if(|(seq, _)| **seq < found.seq) {
                encoded.clear();
                entry.encode(&mut encoded);
                self.report.put_in += u64::from(self.record(*seq, None, &encoded, output.as_mut())?);
            }
            if !self.left_out.contains(&found.seq) {
                let body = read(remains, *found)?;
                let copied = self.record(found.seq, Some(*found), &body, output.as_mut())?;
                self.report.records += u64::from(copied);
            }
        }
        self.report.left_out = (self.left_out.len() + self.refused.seqs.len()) as u64;
        self.conclude(output.as_mut())?;
        output.map_or(Ok(()), Output::finish)
    }

    /// Applies one record, and writes it; false if it cannot have happened after what was applied before.
    fn record(
        &mut self,
        seq: u64,
        found: Option<Found>,
        body: &[u8],
        output: Option<&mut Output<'_>>,
    ) -> Result<bool, Error> {
        let Ok(mut entry) = codec::decode(body) else { return Ok(false) };
        let place = Place { segment: 0, offset: 0, length: 0 };
        let mut anew = None;
        if let Entry::Remembered(remembered) = &mut entry
            && self.release_ids(seq, remembered)
        {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            anew = Some(bytes);
        }
        if self.state.apply(seq, place, &entry, self.now).is_err() {
            if found.is_some() {
                self.refuse(seq, &entry);
            }
            return Ok(false);
        }
        if let Entry::Begun(begun) = &entry {
            self.epoch = begun.epoch;
        }
        if found.is_some() {
            self.report.last_seq = seq;
            self.report.closed = matches!(entry, Entry::Mark(Mark::Close));
        }
        if let Some(output) = output {
            output.record(seq, found, anew.as_deref().unwrap_or(body))?;
        }
        Ok(true)
    }

    /// Of ids that are to be remembered, takes out those of events that are not forgotten yet; says whether there were any.
    fn release_ids(&mut self, seq: u64, remembered: &mut Remembered) -> bool {
        let count = remembered.ids.len();
        for id in &remembered.ids {
            let namesake = self.state.find(id.id_hash).and_then(|known| self.namesake(known, i64::MIN));
            self.refused.namesakes.extend(namesake.map(|namesake| (namesake, seq)));
        }
        remembered.ids.retain(|id| self.state.find(id.id_hash).is_none());
        remembered.ids.len() < count
    }

    fn refuse(&mut self, seq: u64, entry: &Entry<'_>) {
        self.refused.seqs.insert(seq);
        self.refused.about.extend(entry.of().map(|of| of.seq));
        let Entry::Received(received) = entry else { return };
        let hash = self.hasher.id(received.id);
        let namesake = match (self.state.find(hash), self.state.remembered_since(hash)) {
            (Some(known), _) => self.namesake(known, i64::MAX),
            (None, since) => since.map(|at| Namesake {
                event: None,
                last_seq: 0,
                finished_at: None,
                last_at: at,
                remembered_before: at.saturating_add(1),
            }),
        };
        self.refused.namesakes.extend(namesake.map(|namesake| (namesake, seq)));
        let (id, id_hash) = (Some(received.id.to_owned()), format!("{:016x}", low(hash)));
        let what = entry.name();
        self.refused.events.push(LostEvent { seq, id, id_hash, what, at_seq: seq, accepted: false });
    }

    /// What is known of an event that must have been forgotten. Its id was too, if it was received before `remembered_max`.
    fn namesake(&self, seq: u64, remembered_max: i64) -> Option<Namesake> {
        let view = self.state.view(seq)?;
        let is_over = matches!(view.status, Status::Completed | Status::Cancelled);
        let last_at =
            view.received_at.max(view.last_attempt.unwrap_or(i64::MIN)).max(view.finished_at.unwrap_or(i64::MIN));
        Some(Namesake {
            event: Some(view.of()),
            last_seq: view.last_seq,
            finished_at: view.finished_at.filter(|_| is_over),
            last_at,
            remembered_before: view.received_at.saturating_add(1).min(remembered_max),
        })
    }

    /// What the copy ends with: a process start of its own, the losses that are accepted, the events that are uncertain, and a mark that
    /// nothing came after.
    fn conclude(&mut self, mut output: Option<&mut Output<'_>>) -> Result<(), Error> {
        let at = self.now.wall.unix_micros();
        let mut seq = self.remains.last_seq;
        let mut put = |copying: &mut Self, entry: &Entry<'_>, seq: u64| {
            let mut encoded = Vec::new();
            entry.encode(&mut encoded);
            copying.record(seq, None, &encoded, output.as_deref_mut())
        };
        self.find_uncertain()?;
        seq += 1;
        let begun = Begun { first_seq: seq, epoch: self.epoch.saturating_add(1), boot: 0, at, predecessor: None };
        put(self, &Entry::Begun(begun), seq)?;
        for range in self.report.lost.clone() {
            seq += 1;
            let reason = "salvage: these records do not verify or are missing";
            let accepted = Accepted { first_seq: range.from, last_seq: range.to, reason, at };
            put(self, &Entry::Accepted(accepted), seq)?;
        }
        for event in self.report.uncertain.clone() {
            let Some(view) = self.state.view(event.seq) else { continue };
            if next(Some(view.status), Step::Condemned).is_none() {
                continue;
            }
            seq += 1;
            let reason = format!(
                "salvage: it was {} at record {}, and later records are lost or left out: it may have been finished; replay it if it was not",
                event.status, event.last_seq
            );
            put(self, &Entry::Condemned(Condemned { of: view.of(), reason: &reason, at }), seq)?;
        }
        put(self, &Entry::Mark(Mark::Close), seq + 1)?;
        let counts = self.state.counts();
        self.report.events = Status::ALL.into_iter().map(|status| (status, counts.of(status))).collect();
        Ok(())
    }

    fn find_uncertain(&mut self) -> Result<(), Error> {
        let last_lost = self.remains.lost.last().map_or(0, |(_, to)| *to);
        let is_doubtful = |seq: &u64| self.doubtful.contains(seq) || self.refused.about.contains(seq);
        let unfinished = |status| matches!(status, Status::Pending | Status::Processing | Status::Retrying);
        let open = self.state.list(0).filter(|view| unfinished(view.status));
        for view in open.filter(|view| view.last_seq < last_lost || is_doubtful(&view.seq)) {
            let index = self.remains.found.binary_search_by_key(&view.seq, |found| found.seq);
            let Some(found) = index.ok().and_then(|index| self.remains.found.get(index)) else { continue };
            let body = read(self.remains, *found)?;
            let Ok(Entry::Received(received)) = codec::decode(&body) else { continue };
            let (id, status, last_seq) = (received.id.to_owned(), view.status, view.last_seq);
            self.report.uncertain.push(UncertainEvent { seq: view.seq, id, status, last_seq });
        }
        Ok(())
    }
}

/// Reads a survivor again.
fn read(remains: &Remains, found: Found) -> Result<Vec<u8>, Error> {
    let Some((file, header)) = remains.files.get(found.file as usize) else {
        return Err(Error::new(ErrorKind::Corrupt, "the record's file is gone").at_seq(found.seq));
    };
    read_record(&file.file, header, u64::from(found.offset), found.length, Some(found.seq)).map_err(of_log)
}

/// The segments of the copy.
struct Output<'d> {
    dir: &'d Dir,
    remains: &'d Remains,
    salts: Salts,
    writer: Option<(u64, Rewriter)>,
    extents: Vec<Extent>,
    last_seq: u64,
}

impl<'d> Output<'d> {
    fn new(dir: &'d Dir, remains: &'d Remains) -> Result<Self, Error> {
        let salts = Salts::new(Chance::Machine.random().map_err(of_env)?);
        Ok(Self { dir, remains, salts, writer: None, extents: Vec::new(), last_seq: 0 })
    }

    /// Writes a record into the segment with the ordinal of the file it was found in; what is new goes where the last one went.
    fn record(&mut self, seq: u64, found: Option<Found>, body: &[u8]) -> Result<(), Error> {
        let source = found.and_then(|found| self.remains.files.get(found.file as usize));
        let current = self.writer.as_ref().map(|(ordinal, _)| *ordinal);
        let ordinal = source.map_or(0, |(file, _)| file.name.ordinal).max(current.unwrap_or(1));
        if current != Some(ordinal) {
            self.end_segment(ordinal - 1)?;
            let header = self.header(ordinal, self.generation());
            let writer = Rewriter::create(self.dir, header).map_err(of_log)?;
            self.writer = Some((ordinal, writer));
        }
        let Some((_, writer)) = &mut self.writer else { return Ok(()) };
        self.last_seq = seq;
        writer.put(seq, body).map(drop).map_err(of_log)
    }

    fn header(&mut self, ordinal: u64, generation: u64) -> SegmentHeader {
        SegmentHeader { store_id: self.remains.store_id, ordinal, generation, salt: self.salts.next() }
    }

    /// One that no file of the store has, so that none of them is ever taken for one of the copy.
    fn generation(&self) -> u64 {
        self.remains.files.iter().map(|(file, _)| file.name.generation).max().unwrap_or(0) + 1
    }

    fn end_segment(&mut self, last_ordinal: u64) -> Result<(), Error> {
        let Some((_, writer)) = self.writer.take() else { return Ok(()) };
        let (_, extent) = writer.finish(self.dir, last_ordinal).map_err(|error| of_log(error.into()))?;
        self.extents.push(extent);
        Ok(())
    }

    /// Ends the copy: the segment that the next opening begins, and last of all the manifest.
    fn finish(mut self) -> Result<(), Error> {
        let last_ordinal = self.remains.last_ordinal.max(1);
        self.end_segment(last_ordinal)?;
        let header = self.header(last_ordinal + 1, 0);
        Segment::create(self.dir, header, 0).map_err(|error| of_log(error.into()))?;
        self.dir.sync().map_err(of_env)?;
        let end = self.extents.last().copied();
        let dropped = Extent {
            first_ordinal: 1,
            last_ordinal,
            generation: 0,
            first_seq: 1,
            last_seq: self.last_seq,
            record_count: self.last_seq,
            length: end.map_or(0, |end| end.length),
            digest: end.map_or(0, |end| end.digest),
        };
        let manifest = Manifest::of_rewritten(self.remains.store_id, dropped, self.extents);
        manifest.write_aside(self.dir).map_err(of_log)?.put().map_err(of_env)
    }
}

//! The store as explicit steps: judge, stage, apply; take, wrote, synced.
//!
//! ```text
//! receive, claim, settle, …   judge against the state, stage the record, apply it to the state
//! take ─► (write) ─► wrote    what handlers wait for (R16)
//!         (sync)  ─► synced   what callers wait for (R1)
//! ```
//!
//! Everything here happens under one lock and waits for nothing: no clock, no file, no thread but one that helps. The state runs ahead
//! of the disk by what is staged; none of that leaks, because events are offered only up to `durable` and callers wait for it.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::event::entry::{Begun, Entry, Mark};
use crate::event::{Moment, Place, codec};
use crate::log::draft::Draft;
use crate::log::format::{Body, SegmentHeader};
use crate::log::manifest::{Extent, Manifest};
use crate::log::segment::Segment;
use crate::log::writer::{Group, Room, SegmentEnd, Stage};
use crate::mutants::mutant;
use crate::state::{Applied, Gist, State};
use crate::store::chain::predecessor;
use crate::store::options::StoreOptions;
use crate::store::sealed::Sealed;
use crate::store::statistics::Tallies;

/// Staged bytes past which callers first wait for the disk.
const STAGED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Records that every segment of the log begins with: `Begun` and `State`.
const BEGINNING_COUNT: u64 = 2;

/// Why a step was not taken, or not to its end. What it was about did not change.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The disk must catch up first: commit, then ask again.
    Busy,
    /// The log went over to its next segment, and with that the state may have forgotten what was judged: ask again.
    Rolled,
    /// It is not possible at all.
    Error(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What must hold for a record to be staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// A reception: refused while space is short, so that what runs can still be settled (R10).
    Reception,
    /// What begins runs: it may use half of what receptions leave.
    Start,
    /// What may come for very many events at once though none of them runs, as when a person calls them off: it leaves half of that.
    Bulk,
    /// What ends runs, and retention: it may use all that is left.
    Transition,
    /// The mark of the end, which is still taken where nothing else is any more.
    End,
}

impl Urgency {
    /// What must be left of the active segment while no other one can be prepared.
    const fn reserve(self, segment_bytes: u64) -> u64 {
        match self {
            Self::Reception => segment_bytes / 4,
            Self::Start => segment_bytes / 8,
            Self::Bulk => segment_bytes / 16,
            Self::Transition | Self::End => 0,
        }
    }
}

/// What a core still takes: each more than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Taking {
    Nothing,
    /// The mark of the end.
    TheEnd,
    All,
}

/// What a store is made of, under one lock.
pub(crate) struct Core {
    pub(crate) state: State,
    pub(crate) options: Arc<StoreOptions>,
    /// Shared, so that the one after it is made without the lock: only compaction replaces it, and one at a time.
    pub(crate) manifest: Arc<Manifest>,
    /// What every file before the active one holds, by its key.
    pub(crate) sealed: Sealed,
    pub(crate) epoch: u64,
    /// None where the store was opened for reading only.
    stage: Option<Stage>,
    boot: u64,
    salts: Salts,
    durable: u64,
    written: u64,
    poison: Option<String>,
    taking: Taking,
    /// Why no segment could be prepared, while that is so.
    full: Option<Error>,
    /// Whether a reception was refused since.
    is_refusing: bool,
    last_is_mark: bool,
    active_first_seq: u64,
    /// What is counted since the store was opened.
    pub(crate) tallies: Tallies,
    /// Where records are encoded before they are staged; kept so that none of them allocates.
    scratch: Vec<u8>,
}

/// Salts of new segments: each a keyed hash of a count, from a seed that was drawn when the store was opened.
#[derive(Debug)]
pub(crate) struct Salts {
    seed: [u8; 16],
    count: u64,
}

impl Salts {
    pub(crate) fn new(seed: [u8; 16]) -> Self {
        Self { seed, count: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.count += 1;
        Self::at(&self.seed, self.count)
    }

    /// The value that `seed` gives for `count`.
    pub(crate) fn at(seed: &[u8; 16], count: u64) -> u64 {
        use std::hash::Hasher as _;
        let mut hasher = siphasher::sip::SipHasher24::new_with_key(seed);
        hasher.write_u64(count);
        hasher.finish()
    }
}

/// What replaying a log gave, from which a core starts.
pub(crate) struct Replayed {
    pub(crate) state: State,
    pub(crate) manifest: Manifest,
    pub(crate) sealed: BTreeMap<u32, Extent>,
    /// The last process start that the log knows.
    pub(crate) epoch: u64,
    pub(crate) last_seq: u64,
    /// How the last segment with records ended.
    pub(crate) end: Option<SegmentEnd>,
}

impl Core {
    /// A core that only reads.
    pub(crate) fn read_only(replayed: Replayed, options: Arc<StoreOptions>) -> Self {
        let Replayed { state, manifest, sealed, epoch, last_seq, .. } = replayed;
        Self {
            state,
            options,
            manifest: Arc::new(manifest),
            sealed: sealed.into(),
            epoch,
            stage: None,
            boot: 0,
            salts: Salts::new([0; 16]),
            durable: last_seq,
            written: last_seq,
            poison: None,
            taking: Taking::All,
            full: None,
            is_refusing: false,
            last_is_mark: true,
            active_first_seq: last_seq + 1,
            tallies: Tallies::default(),
            scratch: Vec::new(),
        }
    }

    /// A core that goes on in `active`, a new segment, as the next epoch. Its first records are staged.
    pub(crate) fn begin(
        replayed: Replayed,
        options: Arc<StoreOptions>,
        active: Arc<Segment>,
        boot: u64,
        salts: Salts,
        now: Moment,
    ) -> Self {
        let (end, next_seq) = (replayed.end, replayed.last_seq + 1);
        let segment_bytes = options.segment_bytes;
        let mut core = Self::read_only(replayed, options);
        core.stage = Some(match end {
            Some(end) if mutant!("appended-after-a-cut") => Stage::resume(active, end.length, next_seq),
            _ => Stage::new(active, segment_bytes, next_seq),
        });
        core.epoch = core.epoch.saturating_add(1);
        core.boot = boot;
        core.salts = salts;
        core.begin_segment(end, now);
        core
    }

    /// Writes what every segment begins with.
    fn begin_segment(&mut self, end: Option<SegmentEnd>, now: Moment) {
        let first_seq = self.next_seq();
        self.active_first_seq = first_seq;
        let predecessor = end.map(predecessor);
        let at = now.wall.unix_micros();
        self.put(&Entry::Begun(Begun { first_seq, epoch: self.epoch, boot: self.boot, at, predecessor }), now);
        // What is said borrows from the state that it is applied to.
        let mut said = Vec::new();
        Entry::State(self.state.summary(now)).encode(&mut said);
        let entry = codec::decode(&said).expect("what was just encoded decodes");
        self.put_encoded(&entry, &said, now);
    }

    /// Makes sure that records with bodies of these lengths can be staged together, as one group.
    pub(crate) fn make_room(
        &mut self,
        bodies: impl Iterator<Item = usize> + Clone,
        urgency: Urgency,
        now: Moment,
    ) -> Result<(), Refused> {
        self.check(if urgency == Urgency::End { Taking::TheEnd } else { Taking::All })?;
        let stage = self.stage.as_ref().ok_or_else(read_only)?;
        if stage.staged_bytes() > STAGED_BYTES_MAX {
            return Err(Refused::Busy);
        }
        match stage.room(bodies.clone()) {
            Room::Never => return Err(self.too_large(bodies).into()),
            Room::Enough { left } if stage.prepared().is_some() || left >= urgency.reserve(stage.segment_bytes()) => {}
            Room::Enough { .. } if mutant!("reserve-given-away") => {}
            Room::NextSegment if stage.prepared().is_some() => {
                self.roll(now);
                return Err(Refused::Rolled);
            }
            // Until the next segment is there, nobody knows that there will be one: what endings need is not given away before.
            _ => {
                let Some(full) = &self.full else { return Err(Refused::Busy) };
                self.is_refusing |= urgency == Urgency::Reception;
                return Err(again(full).into());
            }
        }
        if let Some(stage) = &mut self.stage {
            stage.begin_batch(bodies);
        }
        Ok(())
    }

    fn too_large(&self, mut bodies: impl Iterator<Item = usize> + Clone) -> Error {
        let longest = self.options.record_bytes_max();
        let total = Stage::group_bytes(bodies.clone());
        let text = match bodies.find(|length| *length > longest) {
            Some(length) => {
                format!("the record has {length} bytes; at most {longest} fit: 16 MiB, or a quarter of a segment")
            }
            None => format!(
                "the batch takes {total} bytes; at most {} are one group: 32 MiB, or a quarter of a segment",
                Stage::group_bytes_max(self.options.segment_bytes)
            ),
        };
        Error::new(ErrorKind::TooLarge, text)
    }

    fn roll(&mut self, now: Moment) {
        let first_seq = self.active_first_seq;
        let Some(end) = self.stage.as_mut().and_then(Stage::roll) else { return };
        let extent = summary(end, first_seq);
        self.sealed.insert(extent.name().key().expect("no segment with a higher ordinal is created"), extent);
        self.begin_segment(Some(end), now);
    }

    /// Stages `entry` and applies it; room was made, and the state allows it.
    pub(crate) fn put(&mut self, entry: &Entry<'_>, now: Moment) -> (u64, Place) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        entry.encode(&mut scratch);
        let put = self.put_encoded(entry, &scratch, now);
        self.scratch = scratch;
        put
    }

    /// As [`Core::put`], for an entry that is encoded already.
    pub(crate) fn put_encoded(&mut self, entry: &Entry<'_>, encoded: &[u8], now: Moment) -> (u64, Place) {
        let (seq, place) = self.stage(encoded.into());
        self.last_is_mark = matches!(entry, Entry::Mark(_));
        let applied = self.state.apply(seq, place, entry, now);
        assert!(matches!(applied, Ok(Applied::Done)), "an entry is judged before it is staged: {applied:?}");
        (seq, place)
    }

    /// As [`Core::put`], for a reception: its gist and its bytes are made before anybody takes the lock.
    pub(crate) fn put_reception(&mut self, gist: &Gist, event_type: &str, body: Body<'_>, now: Moment) -> u64 {
        let (seq, place) = self.stage(body);
        self.apply_reception((seq, place), gist, event_type, now);
        seq
    }

    /// Stages a draft of receptions, and says where they stand; [`Core::apply_reception`] is owed to each of them, in order.
    pub(crate) fn stage_receptions<'d>(
        &mut self,
        draft: &'d mut Draft,
    ) -> impl Iterator<Item = (u64, Place)> + use<'d> {
        let stage = self.stage.as_mut().expect("only a writing store puts");
        let (seq, offset) = stage.stage_all(draft);
        let segment = stage.active().key();
        (seq..).zip(draft.places(offset)).map(move |(seq, (offset, length))| (seq, place(segment, offset, length)))
    }

    /// Applies a reception that was staged.
    pub(crate) fn apply_reception(&mut self, at: (u64, Place), gist: &Gist, event_type: &str, now: Moment) {
        self.last_is_mark = false;
        let applied = self.state.apply_gist(at, gist, event_type, now);
        assert!(matches!(applied, Ok(Applied::Done)), "a reception is judged before it is staged: {applied:?}");
    }

    fn stage(&mut self, body: Body<'_>) -> (u64, Place) {
        let stage = self.stage.as_mut().expect("only a writing store puts");
        let (seq, offset) = stage.stage(body);
        (seq, place(stage.active().key(), offset, body.len()))
    }

    /// As [`Core::make_room`] and [`Core::put`] together, for one entry.
    pub(crate) fn append(&mut self, entry: &Entry<'_>, urgency: Urgency, now: Moment) -> Result<u64, Refused> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        entry.encode(&mut scratch);
        let made = self.make_room(std::iter::once(scratch.len()), urgency, now);
        // Room may have been made by a roll, whose first records use the scratch space too.
        let appended = made.map(|()| self.put_encoded(entry, &scratch, now).0);
        self.scratch = scratch;
        appended
    }

    /// Marks that all before is durable.
    pub(crate) fn mark(&mut self, mark: Mark, now: Moment) -> Result<u64, Refused> {
        let urgency = if mark == Mark::Close { Urgency::End } else { Urgency::Transition };
        self.append(&Entry::Mark(mark), urgency, now)
    }

    /// Refuses what is asked of a store that takes nothing any more.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        self.check(Taking::All)
    }

    fn check(&self, wanted: Taking) -> Result<(), Error> {
        if let Some(reason) = self.poison.as_ref().filter(|_| !mutant!("poison-ignored")) {
            return Err(Error::new(
                ErrorKind::Poisoned,
                format!("the store takes nothing more, because {reason}; reopen it once the disk is sound"),
            ));
        }
        if self.taking >= wanted { Ok(()) } else { Err(Error::new(ErrorKind::Closed, "the store was closed")) }
    }

    /// Also refuses where the store was opened for reading only: for whoever changes the directory without appending anything.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        self.check_open()?;
        if self.is_writing() || mutant!("reader-compacts") { Ok(()) } else { Err(read_only()) }
    }

    /// From here on nothing is taken but the mark of the end: whoever closes a store waits for what was taken before, and for no more.
    pub(crate) fn end(&mut self) {
        self.taking = self.taking.min(Taking::TheEnd);
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.stage.as_ref().map_or(self.durable + 1, Stage::next_seq)
    }

    /// Seq of the last record that was staged.
    pub(crate) fn last_seq(&self) -> u64 {
        self.next_seq() - 1
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn poison(&self) -> Option<&str> {
        self.poison.as_deref()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.taking == Taking::Nothing
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.taking < Taking::All
    }

    pub(crate) fn last_is_mark(&self) -> bool {
        self.last_is_mark
    }

    pub(crate) fn is_writing(&self) -> bool {
        self.stage.is_some()
    }

    /// Bytes of the log, the active segment's included.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.sealed.bytes() + self.active_end()
    }

    /// The seq with which the active segment begins.
    #[cfg(any(test, feature = "torture"))]
    pub(crate) const fn active_first_seq(&self) -> u64 {
        self.active_first_seq
    }

    pub(crate) fn active(&self) -> Option<&Arc<Segment>> {
        self.stage.as_ref().map(Stage::active)
    }

    /// Whether all of a sealed segment is durable, and so is what the next one begins with: that says anew what it held of no event.
    pub(crate) fn is_superseded(&self, extent: &Extent) -> bool {
        extent.last_seq + BEGINNING_COUNT <= self.durable || mutant!("compacted-before-the-next-is-durable")
    }

    /// Where the active segment's last record ends.
    pub(crate) fn active_end(&self) -> u64 {
        self.stage.as_ref().map_or(0, |stage| stage.segment_bytes() - stage.left())
    }

    /// The segment that is written to: its key, and where its records end; none where the store is only read.
    pub(crate) fn end_of_log(&self) -> Option<(u32, u64)> {
        self.active().map(|active| (active.key(), self.active_end()))
    }

    /// Takes the oldest group that waits for the disk.
    pub(crate) fn take(&mut self) -> Option<Group> {
        let durable = match () {
            () if mutant!("durable-mark-too-high") => self.written,
            () if mutant!("durable-mark-missing") => 0,
            () => self.durable,
        };
        if self.poison.is_some() {
            return None;
        }
        self.stage.as_mut()?.take(durable)
    }

    /// As [`Core::take`], if the group belongs into this segment.
    pub(crate) fn take_in(&mut self, segment: &Arc<Segment>) -> Option<Group> {
        let next = self.stage.as_ref()?.next_segment()?;
        if Arc::ptr_eq(next, segment) { self.take() } else { None }
    }

    /// Bytes that wait to be taken.
    pub(crate) fn staged_bytes(&self) -> usize {
        self.stage.as_ref().map_or(0, Stage::staged_bytes)
    }

    /// A taken group is with the operating system.
    pub(crate) fn wrote(&mut self, group: Group) {
        self.written = group.last_seq;
        if let Some(stage) = &mut self.stage {
            stage.give_back(group.bytes);
        }
    }

    /// All that was written up to `seq` is durable.
    pub(crate) fn synced(&mut self, seq: u64) {
        assert!(seq <= self.written, "only what was written can be durable");
        // Compaction may have poisoned the store while this sync was under way; from then on nothing is believed.
        if self.poison.is_none() || mutant!("sync-believed-after-poison") {
            self.durable = seq;
        }
    }

    /// A write or a sync failed: nothing is taken any more, and nothing above `durable` is known (R2).
    pub(crate) fn poison_with(&mut self, reason: String) {
        if self.poison.is_none() {
            self.poison = Some(reason);
        }
    }

    pub(crate) fn close(&mut self) {
        self.taking = Taking::Nothing;
    }

    /// The segment to prepare now: when half of the active one is used, or somebody waits for it (`urgent`).
    pub(crate) fn wants_segment(&mut self, urgent: bool) -> Option<SegmentHeader> {
        let ordinal = self.due_segment(urgent)?;
        Some(SegmentHeader { store_id: self.manifest.store_id, ordinal, generation: 0, salt: self.salts.next() })
    }

    /// The header of a segment that stands for others.
    pub(crate) fn rewritten_header(&mut self, ordinal: u64, generation: u64) -> SegmentHeader {
        SegmentHeader { store_id: self.manifest.store_id, ordinal, generation, salt: self.salts.next() }
    }

    /// The ordinal of the segment to prepare now.
    pub(crate) fn due_segment(&self, urgent: bool) -> Option<u64> {
        let stage = self.stage.as_ref()?;
        let ordinal = stage.wants_segment()?;
        // After a failure it is tried again once a second only.
        let due = urgent || (self.full.is_none() && stage.left() < stage.segment_bytes() / 2);
        (due && self.poison.is_none() && !self.is_closed()).then_some(ordinal)
    }

    /// The segment that is ready for when the active one is full.
    pub(crate) fn next_segment(&self) -> Option<&Arc<Segment>> {
        self.stage.as_ref().and_then(Stage::prepared)
    }

    /// Takes back a prepared segment that turned out to be of no use; false if it is in use already.
    pub(crate) fn take_back(&mut self, segment: &Arc<Segment>) -> bool {
        self.stage.as_mut().is_some_and(|stage| stage.take_back(segment))
    }

    /// The segment that [`Core::wants_segment`] asked for is there, or not: then it is tried again later, and receptions are
    /// refused while space is short.
    pub(crate) fn prepared(&mut self, segment: Result<Arc<Segment>, Error>) {
        match segment {
            Ok(segment) => {
                if let Some(stage) = &mut self.stage {
                    stage.put_prepared(segment);
                }
                (self.full, self.is_refusing) = (None, false);
            }
            Err(error) => self.full = Some(error),
        }
    }

    /// Whether an ordinary event would be kept now: a full store rests just above the reserve, with room for none.
    #[cfg(feature = "service")]
    pub(crate) fn is_taking(&self) -> bool {
        let room =
            self.stage.as_ref().is_some_and(|stage| stage.left() >= Urgency::Reception.reserve(stage.segment_bytes()));
        self.check_open().is_ok() && (self.full.is_none() || (room && !self.is_refusing))
    }

    /// Why no segment can be prepared, while that is so.
    pub(crate) fn no_room(&self) -> Option<Error> {
        self.full.as_ref().map(again)
    }

    /// Whether preparation failed, and waits to be tried again.
    pub(crate) fn is_full(&self) -> bool {
        self.full.is_some()
    }
}

/// The error that a failed preparation means to callers.
fn again(full: &Error) -> Error {
    let cause = full.source().map_or_else(String::new, |source| format!(": {source}"));
    let text = if full.kind() == ErrorKind::Full {
        format!("there is no room for a new segment{cause}; free space, and the store goes on by itself")
    } else {
        format!("no new segment can be prepared: {}{cause}; the store tries again by itself", full.message())
    };
    let error = Error::new(full.kind(), text);
    match full.path() {
        Some(path) => error.at_path(path),
        None => error,
    }
}

fn place(segment: u32, offset: u64, length: usize) -> Place {
    Place::new(segment, offset, length).expect("segments that are written are shorter than 4 GiB")
}

fn read_only() -> Error {
    Error::new(ErrorKind::NotAllowed, "the store was opened for reading only")
}

/// How a segment of the log itself ended, as the manifest will list it once it is dropped.
pub(crate) fn summary(end: SegmentEnd, first_seq: u64) -> Extent {
    Extent {
        first_ordinal: end.ordinal,
        last_ordinal: end.ordinal,
        generation: 0,
        first_seq,
        last_seq: end.last_seq,
        record_count: end.last_seq + 1 - first_seq,
        length: end.length,
        digest: end.digest,
    }
}

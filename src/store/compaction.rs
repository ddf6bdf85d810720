//! Compaction: writing anew what is left of segments that are mostly dead, and merging small neighbours.
//!
//! ```text
//! plan (lock, a page at a time) ─► copy (no lock; a batch at a time is sifted under it) ─► file, then its name durable
//!    ─► manifest replaced ─► places change over, some at a time (lock) ─► files of the old segments deleted
//! ```
//!
//! Cut anywhere, the next opening is sound: until the manifest names it the new file is debris, afterwards the old ones are (R5). An
//! event is read from whichever file its place names; both are there while places change over. What one cut leaves undone is one job
//! of at most about a segment; the next compaction plans it again.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::event::entry::{Entry, Remembered};
use crate::event::{Place, codec};
use crate::log::format::SegmentHeader;
use crate::log::manifest::Extent;
use crate::log::rewriter::Rewriter;
use crate::log::scan::{Record, Seqs, Standing, Stopped, Visitor, scan};
use crate::log::segment::{Name, NotCreated, Segment};
use crate::log::source::Source;
use crate::mutants::mutant;
use crate::state::{Grain, Kept, Leaving, Move, Sieve, Sifted};
use crate::store::commit::Shared;
use crate::store::core::Core;
use crate::store::failure::{of_env, of_log, of_refusal};
use crate::store::retention::{SEGMENTS_PER_STEP, WEIGHT_PER_STEP};

/// Records that are sifted together, under the lock.
const BATCH_RECORDS: usize = 512;
/// Bytes of records that are read together.
const BATCH_BYTES: usize = 1024 * 1024;
/// Places that change over together, under the lock.
const MOVES_PER_STEP: usize = 256;
/// So many small neighbours are merged, even where nothing of them is dead: fewer would be written again and again.
const MERGE_COUNT: usize = 4;
/// More are not written anew together: changing over takes the lock for as long as they are many.
const SOURCES_MAX: usize = 1_000;
/// Of what is merged alone, so many bytes are read together: an opening waits for them.
const MERGED_BYTES: u64 = 8 * 1024 * 1024;
/// After so much work compaction rests as long: it may take half of a disk's time, and callers come between.
const WORK: Duration = Duration::from_millis(5);

/// How much of a segment must be dead before it is written anew, and what is merged besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thrift {
    /// Half: writing costs no more than it frees, and the log is at most twice as long as what it must hold.
    Half,
    /// An eighth: the log is longer than it may be.
    Eighth,
    /// However much: small neighbours are merged, a few megabytes at a time, and nothing else is done.
    Merge,
}

impl Thrift {
    pub(super) const fn is_worth(self, needed: u64, length: u64) -> bool {
        match self {
            Self::Half => needed <= length / 2,
            Self::Eighth => needed <= length / 8 * 7,
            Self::Merge => false,
        }
    }

    /// Whether a segment is merged with its neighbours, where segments are of so many bytes.
    pub(super) fn is_small(self, length: u64, segment_bytes: u64) -> bool {
        length <= self.run_bytes_max(segment_bytes) / 4
    }

    /// How much neighbours may be together that are written anew as one.
    fn run_bytes_max(self, segment_bytes: u64) -> u64 {
        match self {
            Self::Half | Self::Eighth => segment_bytes,
            Self::Merge => segment_bytes.min(MERGED_BYTES),
        }
    }

    /// How much of that a segment is.
    fn share(self, needed: u64, length: u64) -> u64 {
        match self {
            Self::Half | Self::Eighth => needed,
            // What is read counts, too: of many that are mostly dead that is much more than what is written.
            Self::Merge => needed.max(length),
        }
    }
}

/// Segments to write anew as one.
pub(crate) struct Plan {
    /// Neighbours, by key.
    sources: Vec<(u32, Extent)>,
    header: SegmentHeader,
    sieve: Sieve,
}

/// What copying gave.
struct Copied {
    extents: Vec<Extent>,
    keys: Vec<u32>,
    moves: Vec<Move>,
    sifted: Sifted,
    /// None: nothing is left.
    new: Option<(Arc<Segment>, Extent)>,
}

/// What rewriting freed.
pub(crate) struct Freed {
    pub(crate) segments: u64,
    pub(crate) bytes: u64,
}

impl Core {
    /// Looks for neighbours to write anew, but for those with a key in `spared`: among the next sealed segments, from `from` on, until
    /// so much was looked at. Returns where to go on, if there is more and none were found.
    pub(super) fn look_for_run(
        &self,
        (from, weight): (u32, usize),
        search: &mut RunSearch,
        thrift: Thrift,
        spared: &BTreeSet<u32>,
    ) -> Option<u32> {
        let segment_bytes = self.options.segment_bytes;
        let run_bytes_max = thrift.run_bytes_max(segment_bytes);
        let RunSearch { run, cleaned } = search;
        let mut looked_at = 0;
        for (&key, extent) in self.sealed.range(from..).filter(|(_, extent)| self.is_superseded(extent)) {
            if looked_at >= weight {
                return Some(key);
            }
            looked_at += self.state.segment_weight(key);
            // What is cleaned is what goes with this very run: a run that was given up cleans nothing.
            let judge = |cleaned: &BTreeSet<u32>| {
                let needed = self.state.bytes_needed(key, cleaned);
                let worth = thrift.is_worth(needed, extent.length);
                let joins = !spared.contains(&key) && (worth || thrift.is_small(extent.length, segment_bytes));
                (thrift.share(needed, extent.length), worth, joins)
            };
            let (mut share, mut worth, mut joins) = judge(cleaned);
            if !joins || run.bytes + share > run_bytes_max || run.sources.len() == SOURCES_MAX {
                if run.is_worth_it() {
                    return None;
                }
                run.clear();
                cleaned.clear();
                (share, worth, joins) = judge(cleaned);
            }
            if joins {
                cleaned.insert(key);
                run.sources.push((key, *extent));
                run.bytes += share;
                run.has_dead |= worth;
            }
        }
        None
    }

    /// How to write a run anew, if it is worth it. Nobody but compaction changes what segments there are, so those of the run are as
    /// they were.
    fn plan(&mut self, run: Run) -> Option<Plan> {
        let Run { sources, .. } = Some(run).filter(Run::is_worth_it)?;
        let first = sources.first()?.1.name();
        let header = self.rewritten_header(first.ordinal, first.generation + 1);
        let sieve = Sieve::new(&self.state, sources.iter().map(|(key, _)| *key).collect());
        Some(Plan { sources, header, sieve })
    }
}

/// How far one has looked for a run.
#[derive(Debug)]
pub(super) struct RunSearch {
    run: Run,
    /// Its keys.
    cleaned: BTreeSet<u32>,
}

impl RunSearch {
    /// Nothing was looked at. What will be found has its room already: an allocation under the lock may take long, because the allocator
    /// then puts in order what was freed before.
    pub(super) fn new() -> Self {
        let run = Run { sources: Vec::with_capacity(SOURCES_MAX), ..Run::default() };
        Self { run, cleaned: BTreeSet::new() }
    }
}

#[cfg(test)]
impl RunSearch {
    /// The neighbours that were found.
    pub(super) fn keys(&self) -> Vec<u32> {
        self.cleaned.iter().copied().collect()
    }
}

/// Neighbours that may be written anew together.
#[derive(Debug, Default)]
struct Run {
    sources: Vec<(u32, Extent)>,
    /// See [`Thrift::share`].
    bytes: u64,
    has_dead: bool,
}

impl Run {
    fn clear(&mut self) {
        self.sources.clear();
        (self.bytes, self.has_dead) = (0, false);
    }

    fn is_worth_it(&self) -> bool {
        self.has_dead || self.sources.len() >= MERGE_COUNT
    }
}

impl Shared {
    /// Writes one run of neighbours anew, if any is worth it; returns what that freed.
    ///
    /// Those with a key in `spared` are left as they are; more are added by what comes to light.
    pub(crate) fn rewrite_next(&self, thrift: Thrift, spared: &mut BTreeSet<u32>) -> Result<Option<Freed>, Error> {
        {
            let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            spared.extend(notes.damaged_places.iter().map(|(key, _)| *key));
        }
        let Some(plan) = self.plan_rewriting(thrift, spared)? else { return Ok(None) };
        let name = plan.header.name();
        let copied = self.copy(plan).inspect_err(|_| self.discard(name))?;
        let bytes_before: u64 = copied.extents.iter().map(|extent| extent.length).sum();
        let bytes_after = copied.new.as_ref().map_or(0, |(_, extent)| extent.length);
        let freed = Freed { segments: copied.extents.len() as u64, bytes: bytes_before.saturating_sub(bytes_after) };
        // An estimate that was wrong must not have the same segment written anew for ever.
        let is_futile = freed.bytes < bytes_before / 16 && copied.extents.len() < MERGE_COUNT;
        let key = copied.new.as_ref().map(|(segment, _)| segment.key());
        self.install(copied)?;
        spared.extend(key.filter(|_| is_futile));
        Ok(Some(freed))
    }

    /// The next neighbours to write anew, oldest first, but for those with a key in `spared`.
    fn plan_rewriting(&self, thrift: Thrift, spared: &BTreeSet<u32>) -> Result<Option<Plan>, Error> {
        let (mut search, mut next) = (RunSearch::new(), Some(0));
        while let Some(from) = next {
            let look = |core: &mut Core| {
                core.check_open().map(|()| core.look_for_run((from, WEIGHT_PER_STEP), &mut search, thrift, spared))
            };
            next = self.in_turn(look)?;
        }
        Ok(self.briefly(|core| core.plan(search.run)))
    }

    fn copy(&self, plan: Plan) -> Result<Copied, Error> {
        let Plan { sources, header, sieve } = plan;
        let rewriter = Rewriter::create(&self.dir, header).map_err(of_log)?;
        let mut copying = Copying {
            shared: self,
            sieve,
            rewriter,
            new_key: header.name().key().expect("it begins where a segment with this ordinal began"),
            key: 0,
            batch: Batch::default(),
            moves: Vec::new(),
            worked_since: self.clock.steady(),
        };
        let all = sources.iter().try_for_each(|(key, extent)| copying.source(*key, extent));
        let Copying { rewriter, moves, sieve, .. } = match all {
            Ok(()) => copying,
            Err(error) => {
                if error.kind() == ErrorKind::Corrupt {
                    // It must not keep those behind it from their turn.
                    let place = (copying.key, error.offset().unwrap_or(0));
                    self.note(|notes, _| _ = notes.damaged_places.insert(place));
                }
                return Err(error);
            }
        };
        let (keys, extents) = sources.into_iter().unzip();
        let mut copied = Copied { extents, keys, moves, sifted: Sifted::default(), new: None };
        self.end_copying(rewriter, sieve, &mut copied)?;
        Ok(copied)
    }

    /// Writes what was held back, and makes the new segment durable, if anything is left.
    fn end_copying(&self, mut rewriter: Rewriter, sieve: Sieve, copied: &mut Copied) -> Result<(), Error> {
        let mut kept = Vec::new();
        copied.sifted = sieve.end(&mut kept, !rewriter.is_empty());
        for kept in kept {
            match kept {
                Kept::Held { seq, body } => drop(rewriter.put(seq, &body).map_err(of_log)?),
                Kept::Remembered { seq, ids } => {
                    copied.moves.extend(ids.iter().map(|id| Move::Remembered { id: id.id_hash }));
                    rewriter.put(seq, &encoded(&Entry::Remembered(Remembered { ids }))).map_err(of_log)?;
                }
                Kept::AsItIs { .. } => unreachable!("a record that is kept as it is was in the last batch"),
            }
        }
        if rewriter.is_empty() {
            return rewriter.abandon(&self.dir).map_err(of_log);
        }
        let last_ordinal = copied.extents.last().map_or(0, |extent| extent.last_ordinal);
        match rewriter.finish(&self.dir, last_ordinal) {
            Ok(new) => copied.new = Some(new),
            Err(NotCreated::Nothing(error)) => return Err(of_log(error)),
            Err(NotCreated::Unknown(error)) => {
                self.poison(&error.to_string());
                return Err(of_log(error));
            }
        }
        Ok(())
    }

    /// Has the new segment stand for the old ones: in the manifest, in the state, in the directory.
    fn install(&self, copied: Copied) -> Result<(), Error> {
        let Copied { extents, keys, moves, sifted, new } = copied;
        let Some((segment, extent)) = new else { return self.delete(&extents) };
        let manifest = self.manifest_after(&extents, Some(extent));
        if mutant!("replaced-before-the-manifest") {
            self.remove_files(&extents, &[])?;
        }
        self.put_manifest(&manifest).inspect_err(|_| self.discard(extent.name()))?;
        let key = segment.key();
        self.files.write().unwrap_or_else(PoisonError::into_inner).insert(key, segment);
        let before = self.briefly(|core| {
            core.sealed.insert(key, extent);
            core.state.begin_relocation(&keys, key);
            std::mem::replace(&mut core.manifest, manifest)
        });
        drop(before);
        for moves in moves.chunks(MOVES_PER_STEP) {
            self.in_turn(|core| core.state.relocate(moves, &keys, key));
        }
        self.redirect(&keys, key);
        self.briefly(|core| core.state.replace_segments(&keys, key, &sifted, extent.length));
        self.take_out(&keys);
        self.remove_files(&extents, &keys)
    }

    /// Has what refers to segments with these keys refer to the one that is about to stand for them.
    fn redirect(&self, keys: &[u32], key: u32) {
        let mut leaving = Leaving::default();
        for keys in keys.chunks(SEGMENTS_PER_STEP) {
            self.in_turn(|core| core.state.note_leaving(keys, key, &mut leaving));
        }
        let mut next = keys.first().copied();
        while let Some(from) = next {
            next = self.in_turn(|core| core.state.redirect_references(&leaving, from, WEIGHT_PER_STEP));
        }
    }

    /// Works under the lock. What compaction does there is cut small, so that nobody else waits for it longer than a millisecond.
    pub(super) fn briefly<T>(&self, work: impl FnOnce(&mut Core) -> T) -> T {
        let mut desk = self.desk();
        timed(|| work(&mut desk.core))
    }

    /// As [`Shared::briefly`], for one step of many: rests as long as it took.
    pub(super) fn in_turn<T>(&self, work: impl FnOnce(&mut Core) -> T) -> T {
        let began = self.clock.steady();
        let result = self.briefly(work);
        self.rest_since(began);
        result
    }

    /// Removes a file that nothing will name: where a disk is full, it is in the way. After poison the manifest in force may name it.
    fn discard(&self, name: Name) {
        if self.desk().core.poison().is_none()
            && let Err(error) = self.dir.remove(&name.to_string())
        {
            tracing::warn!(%error, "what was not written to its end could not be deleted; the next opening deletes it");
        }
    }

    /// Rests as long as it worked, once that was long enough; an error if the store closes meanwhile.
    fn rest(&self, worked_since: &mut Duration) -> Result<(), Error> {
        let now = self.clock.steady();
        let worked = now.saturating_sub(*worked_since);
        if worked >= WORK {
            self.pause(worked);
            *worked_since = self.clock.steady();
        }
        let desk = self.desk();
        if desk.is_stopping() {
            Err(Error::new(ErrorKind::Closed, "the store was closed"))
        } else {
            desk.core.check_open()
        }
    }
}

/// Does what compaction does under the lock, and notes how long that takes where anybody asks.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(feature = "torture")]
    let began = crate::env::thread_time();
    let result = work();
    #[cfg(feature = "torture")]
    LONGEST_HOLD.with(|longest| longest.set(longest.get().max(crate::env::thread_time().saturating_sub(began))));
    result
}

#[cfg(feature = "torture")]
thread_local! {
    /// The processor's time for which compactions by this thread have held the lock at most.
    pub(super) static LONGEST_HOLD: std::cell::Cell<Duration> = const { std::cell::Cell::new(Duration::ZERO) };
}

/// Records of one source, copied so that they can be looked at together.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Seq, offset in the source, and where the body lies in `bytes`.
    records: Vec<(u64, u64, std::ops::Range<usize>)>,
}

impl Batch {
    fn body(&self, range: &std::ops::Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

/// Copies what is to be kept of one source after another.
struct Copying<'s> {
    shared: &'s Shared,
    sieve: Sieve,
    rewriter: Rewriter,
    new_key: u32,
    /// The source that is being read.
    key: u32,
    batch: Batch,
    moves: Vec<Move>,
    worked_since: Duration,
}

impl Copying<'_> {
    /// Copies one source, which must hold just what is known of it.
    fn source(&mut self, key: u32, extent: &Extent) -> Result<(), Error> {
        let segment = self.shared.segment(key);
        let segment = segment.ok_or_else(|| Error::new(ErrorKind::NotFound, "a sealed segment is not open"))?;
        self.key = key;
        let bytes = segment.file.len().map_err(of_env)?;
        let mut source = Source::windowed(&segment.file);
        let scan = scan(&mut source, bytes, &segment.header, Seqs::Any, self).map_err(|stopped| match stopped {
            Stopped::Unreadable(error) if error.is_for_want_of_means() => of_env(error),
            Stopped::Unreadable(error) => {
                let text = "the segment cannot be read; it is left as it is";
                Error::new(ErrorKind::Corrupt, text).at_path(segment.file.path()).caused_by(error)
            }
            Stopped::ByVisitor(error) => error,
        })?;
        let found = (scan.last_seq, scan.record_count, scan.end, scan.digest);
        let is_trusted = mutant!("copied-unverified");
        if !is_trusted && found != (Some(extent.last_seq), extent.record_count, extent.length, extent.digest) {
            let text = "the segment does not hold what was written to it; it is left as it is";
            let offset = scan.finding.map_or(scan.end, |finding| finding.offset);
            return Err(Error::new(ErrorKind::Corrupt, text).at_path(segment.file.path()).at_offset(offset));
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Error> {
        let batch = std::mem::take(&mut self.batch);
        let grains = self.grains(&batch)?;
        let mut kept = Vec::with_capacity(grains.len());
        self.shared.briefly(|core| {
            let mut lookup = core.state.lookup();
            for grain in &grains {
                self.sieve.sift(&mut lookup, grain, &mut kept);
            }
        });
        for kept in kept {
            match kept {
                Kept::AsItIs { seq, place } => {
                    let index = grains.binary_search_by_key(&seq, |grain| grain.seq);
                    let grain = index.ok().and_then(|index| grains.get(index)).expect("what is kept was looked at");
                    let to = self.put(seq, grain.body)?;
                    self.moves.extend(Move::of(seq, &grain.entry, self.shared.hasher, place, to));
                }
                Kept::Held { seq, body } => drop(self.put(seq, &body)?),
                Kept::Remembered { seq, ids } => {
                    self.moves.extend(ids.iter().map(|id| Move::Remembered { id: id.id_hash }));
                    self.put(seq, &encoded(&Entry::Remembered(Remembered { ids })))?;
                }
            }
        }
        self.shared.rest(&mut self.worked_since)
    }

    /// The records of a batch, decoded.
    fn grains<'b>(&self, batch: &'b Batch) -> Result<Vec<Grain<'b>>, Error> {
        let grain = |(seq, offset, range): &(u64, u64, std::ops::Range<usize>)| {
            let (seq, body) = (*seq, batch.body(range));
            let entry = codec::decode(body).map_err(|refusal| of_refusal(refusal).at_seq(seq))?;
            Ok(Grain { seq, place: place(self.key, *offset, body.len())?, entry, body })
        };
        batch.records.iter().map(grain).collect()
    }

    fn put(&mut self, seq: u64, body: &[u8]) -> Result<Place, Error> {
        let offset = self.rewriter.put(seq, body).map_err(of_log)?;
        place(self.new_key, offset, body.len())
    }
}

impl Visitor for Copying<'_> {
    type Stop = Error;

    fn record(&mut self, record: &Record<'_>, standing: Standing) -> Result<(), Error> {
        if standing != Standing::Sound {
            return Ok(());
        }
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(record.body);
        self.batch.records.push((record.seq, record.offset, start..self.batch.bytes.len()));
        let full = self.batch.records.len() >= BATCH_RECORDS || self.batch.bytes.len() >= BATCH_BYTES;
        if full { self.flush() } else { Ok(()) }
    }
}

fn place(segment: u32, offset: u64, length: usize) -> Result<Place, Error> {
    let too_long = || Error::new(ErrorKind::TooLarge, "a segment would be longer than 4 GiB");
    Place::new(segment, offset, length).ok_or_else(too_long)
}

fn encoded(entry: &Entry<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    bytes
}

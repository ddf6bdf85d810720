//! Reading what nobody asks for: a pass over the sealed segments that finds rot before somebody needs the bytes (R11).
//!
//! ```text
//! sealed segment ─► drop its cached pages ─► scan, a megabyte at a time, with pauses ─► as it was sealed?
//!                                                          yes ─► the next one
//!                                                          no ──► which events are hit? pending or retrying: failed for good
//!                                                                 anything else: counted, told once
//! ```
//!
//! Promises: a store that is open for longer than the interval has the manifest and every sealed segment read once in it, at 16 MiB/s at
//! most. How far a pass came is not kept: the first one of a process begins after a random part of the interval, with a random segment, so
//! that a process which is started again and again still comes to all of them, sooner or later. No lock is held while the disk is read.
//! The store goes on taking events whatever is found, but the next opening will refuse the damaged place: before that, put the segment
//! back from an earlier backup, or salvage what verifies.
//!
//! Deliberately absent: repair of segments. There is one copy of their bytes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::env;
use crate::error::{Error, ErrorKind};
use crate::event::Place;
use crate::log;
use crate::log::manifest::{Extent, MANIFEST, Manifest};
use crate::log::scan::{Finding, Record, Seqs, Standing, Stopped, Visitor, scan};
use crate::log::segment::Segment;
use crate::log::source::{Source, WINDOW_BYTES};
use crate::mutants::mutant;
use crate::state::View;
use crate::store::commit::Shared;
use crate::store::core::Core;
use crate::store::desk::Level;
use crate::store::notes::MANIFEST_PLACE;
use crate::store::reading::read;

/// Bytes that are read in a second, at most.
const BYTES_PER_SECOND: u64 = 16 * 1024 * 1024;
/// The pause before each read of [`WINDOW_BYTES`] that keeps to that.
const PAUSE: Duration = Duration::from_nanos(1_000_000_000 * WINDOW_BYTES as u64 / BYTES_PER_SECOND);
/// So many events are looked up while the lock is held.
const EVENTS_PER_STEP: usize = 1_024;

/// What a pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scrubbed {
    /// Segments that were read to their end.
    segments: u64,
    /// Segments that could not be read for want of memory or file descriptors.
    skipped: u64,
    /// Events in them whose receptions are damaged.
    events_damaged: u64,
    /// Segments in them that are damaged elsewhere.
    places_damaged: u64,
}

/// The store is being closed.
pub(super) struct Interrupted;

/// Why a segment was not read to its end, though nothing is wrong with it as far as that is known.
enum Unread {
    Interrupted,
    /// Memory or file descriptors were missing.
    ForWantOfMeans(env::Error),
}

impl Shared {
    /// One pass, as slow as it is meant to be.
    pub(crate) fn scrub_paced(&self, start: u64) {
        let scrubbed = self.scrub(start, PAUSE);
        tracing::debug!(?scrubbed, "the log was searched for rot");
    }

    /// Reads every sealed segment once, beginning with the one numbered `start` among them and pausing before each megabyte.
    fn scrub(&self, start: u64, pause: Duration) -> Scrubbed {
        let Some(_at_work) = self.scrubbing.try_begin() else { return Scrubbed::default() };
        if self.desk().is_stopping() {
            return Scrubbed::default(); // Another process may hold the directory by now.
        }
        let mut keys: Vec<u32> = self.desk().core.sealed.keys().copied().collect();
        let skip = start.checked_rem(keys.len() as u64).unwrap_or(0);
        keys.rotate_left(usize::try_from(skip).unwrap_or(0));
        let mut scrubbed = Scrubbed::default();
        for key in keys {
            if self.scrub_segment(key, pause, &mut scrubbed).is_err() {
                return scrubbed;
            }
        }
        scrubbed.places_damaged += u64::from(!self.is_manifest_sound());
        if scrubbed.skipped == 0 {
            self.note(|notes, now| notes.last_scrub = Some(now));
        }
        scrubbed
    }

    /// Whether the manifest on the disk is the one in force, if nobody is about to replace it. One that is not is replaced by that, which is
    /// in memory: of nothing else there is a second copy.
    fn is_manifest_sound(&self) -> bool {
        let Some(_unchanged) = self.compacting.try_begin() else { return true };
        let in_force = {
            let desk = self.desk();
            if desk.core.poison().is_some() {
                // Which one is in force is unknown then.
                return true;
            }
            Arc::clone(&desk.core.manifest)
        };
        let what = match Manifest::read_from_disk(&self.dir) {
            Ok(Some(manifest)) if manifest == *in_force => return true,
            _ if mutant!("manifest-not-read-again") => return true,
            Ok(Some(_)) => "it is not the one in force".to_owned(),
            Ok(None) => "it is gone".to_owned(),
            Err(log::Error::Env(error)) if error.is_for_want_of_means() => {
                tracing::warn!(%error, "whether the manifest is sound could not be looked at");
                return true;
            }
            Err(error) => error.to_string(),
        };
        let path = self.dir.path().join(MANIFEST);
        let path = path.display();
        match self.put_manifest(&in_force) {
            Ok(()) => tracing::error!(%path, what, "the manifest was damaged, and is written anew; see to the disk"),
            Err(error) => {
                tracing::error!(%path, what, %error, "the manifest is damaged, and cannot be written anew");
                self.note(|notes, _| _ = notes.damaged_places.insert(MANIFEST_PLACE));
            }
        }
        false
    }

    fn scrub_segment(&self, key: u32, pause: Duration, scrubbed: &mut Scrubbed) -> Result<(), Interrupted> {
        let Some((segment, summary)) = self.sealed_segment(key) else { return Ok(()) };
        let damage = match self.read_through(&segment, &summary, pause) {
            Ok(damage) => damage,
            Err(Unread::Interrupted) => return Err(Interrupted),
            Err(Unread::ForWantOfMeans(error)) => {
                tracing::warn!(%error, "a segment could not be searched for rot; the next pass does it");
                scrubbed.skipped += 1;
                return Ok(());
            }
        };
        // Compaction may have put another file in its place, or another summary, while it was read.
        let still = self.sealed_segment(key);
        if !still.is_some_and(|(now, told)| Arc::ptr_eq(&now, &segment) && told == summary) {
            return Ok(());
        }
        scrubbed.segments += 1;
        if let Some((offset, what)) = damage {
            return self.assess(&segment, &summary, (offset, &what), scrubbed);
        }
        self.note(|notes, _| notes.forget_damage(key));
        Ok(())
    }

    /// The segment, and how it ended; none if it is gone, or its end is not yet on the disk.
    pub(super) fn sealed_segment(&self, key: u32) -> Option<(Arc<Segment>, Extent)> {
        let desk = self.desk();
        let durable = desk.core.durable();
        let summary = desk.core.sealed.get(&key).copied().filter(|summary| summary.last_seq <= durable)?;
        Some((self.segment(key)?, summary))
    }

    /// Reads a segment; returns where it is not as it was sealed, and what is wrong there.
    fn read_through(
        &self,
        segment: &Segment,
        summary: &Extent,
        pause: Duration,
    ) -> Result<Option<(u64, String)>, Unread> {
        // The cache may still hold what the disk has lost. What cannot be dropped is read from there.
        drop(segment.file.drop_cache());
        let at = AtomicU64::new(0);
        let mut source = Source::paced(&segment.file, |offset| {
            at.store(offset, Ordering::Relaxed);
            self.pause(pause)
        });
        let scan = scan(&mut source, summary.length, &segment.header, Seqs::Any, &mut Unheeding);
        // By its name, as the next opening will: what was removed can be read by those who have it open alone.
        let name = segment.file.path().file_name().unwrap_or_default().to_string_lossy();
        let header = self.dir.open_file(&name, false).map_err(log::Error::from);
        let header = header.and_then(|file| Segment::read_header(&file));
        drop(segment.file.drop_cache());
        let scan = match scan {
            Ok(scan) => scan,
            Err(_) if !self.pause(Duration::ZERO) => return Err(Unread::Interrupted),
            Err(Stopped::Unreadable(error)) if error.is_for_want_of_means() => {
                return Err(Unread::ForWantOfMeans(error));
            }
            Err(Stopped::Unreadable(error)) => return Ok(Some((at.load(Ordering::Relaxed), error.to_string()))),
        };
        if let Some(Finding { offset, defect }) = scan.finding {
            return Ok(Some((offset, defect.to_string())));
        }
        if (scan.end, scan.digest) != (summary.length, summary.digest) {
            return Ok(Some((scan.end, "the segment does not end as it was sealed".to_owned())));
        }
        Ok(match header {
            Ok(Ok(header)) if header == segment.header => None,
            Ok(Ok(_)) => Some((0, "this is the header of another segment".to_owned())),
            Ok(Err(defect)) => Some((0, defect.to_string())),
            Err(log::Error::Env(error)) if error.is_for_want_of_means() => return Err(Unread::ForWantOfMeans(error)),
            Err(error) => Some((0, error.to_string())),
        })
    }

    /// Finds out which events the damage hits, and gives those up that wait to run.
    pub(super) fn assess(
        &self,
        segment: &Arc<Segment>,
        summary: &Extent,
        (offset, what): (u64, &str),
        scrubbed: &mut Scrubbed,
    ) -> Result<(), Interrupted> {
        let (key, path) = (segment.key(), segment.file.path().display());
        let goes_on = || if self.pause(Duration::ZERO) { Ok(()) } else { Err(Interrupted) };
        let (mut is_of_event, mut from) = (false, summary.first_seq);
        loop {
            let Some(views) = self.views_in(segment, from, summary.last_seq) else { return Ok(()) };
            let Some(last) = views.last() else { break };
            from = last.seq + 1;
            for view in &views {
                let offset_of = u64::from(view.place.offset);
                let Err(error) = read(segment, view.place, Some(view.seq)) else { continue };
                if error.kind() != ErrorKind::Corrupt || !self.desk().core.lies_at(view.seq, view.place) {
                    continue;
                }
                let mut is_new = false;
                if !self.note_of(segment, |notes| is_new = notes.damaged.insert(view.seq, (key, offset_of)).is_none()) {
                    return Ok(());
                }
                scrubbed.events_damaged += 1;
                is_of_event |= offset_of == offset;
                if is_new {
                    tracing::error!(seq = view.seq, %path, offset = offset_of, "an event is damaged");
                }
                self.give_up(view, &error);
                goes_on()?;
            }
            goes_on()?;
        }
        let mut is_new = false;
        if !is_of_event && self.note_of(segment, |notes| is_new = notes.damaged_places.insert((key, offset))) {
            scrubbed.places_damaged += 1;
            if is_new {
                tracing::error!(%path, offset, what, "the log is damaged; put the segment back from an earlier backup");
            }
        }
        Ok(())
    }

    /// Some of the events that were received in a segment as `from` or later; none if another file stands for it by now.
    fn views_in(&self, segment: &Arc<Segment>, from: u64, last_seq: u64) -> Option<Vec<View>> {
        let key = segment.key();
        let desk = self.desk();
        self.segment(key).filter(|now| Arc::ptr_eq(now, segment))?;
        let views = desk.core.state.list(from).take_while(|view| view.seq <= last_seq);
        Some(views.filter(|view| view.place.segment == key).take(EVENTS_PER_STEP).collect())
    }

    /// An event whose reception cannot be read any more waits for a person. One that runs goes on: its handler has the data, and a
    /// retry finds the damage. So does one that compaction has read while the system still had its bytes.
    fn give_up(&self, view: &View, error: &Error) {
        let (seq, reason) = (view.seq, format!("damaged: {error}"));
        let given_up = self
            .step(|core, now| if core.lies_at(seq, view.place) { core.give_up(seq, &reason, now) } else { Ok(None) });
        let given_up = given_up.and_then(|given_up| match given_up {
            Some(condemned) => self.wait(condemned, Level::Durable),
            None => Ok(()),
        });
        match given_up {
            // Others of its key may run now.
            Ok(()) => self.wake_workers(),
            Err(error) => tracing::error!(?error, seq, "a damaged event could not be given up; a claim does it"),
        }
    }
}

impl Core {
    /// Whether the event received as `seq` lies there, and has not been put elsewhere or forgotten.
    fn lies_at(&self, seq: u64, place: Place) -> bool {
        self.state.view(seq).is_some_and(|view| view.place == place)
    }
}

/// Lets the scan do all the looking.
struct Unheeding;

impl Visitor for Unheeding {
    type Stop = Infallible;

    fn record(&mut self, _: &Record<'_>, _: Standing) -> Result<(), Infallible> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Chance, Clock, Dir};
    use crate::event::{NewEvent, Outcome, Place, Status};
    use crate::log::format::{GROUP_HEAD_BYTES, SEGMENT_HEADER_BYTES};
    use crate::store::crashes::opening::first_day;
    use crate::store::handle::Store;
    use crate::store::ids::Ids;
    use crate::store::open::{Creation, Outside, open_in};
    use crate::store::options::StoreOptions;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// The key of the first segment.
    const FIRST: u32 = 2;

    /// A store whose first segments are sealed: `e0`, which is completed, and others that wait.
    fn store(dir: &std::path::Path) -> Store {
        filled(Store::open(dir, options()).unwrap())
    }

    fn options() -> StoreOptions {
        StoreOptions::default().segment_bytes(64 * 1024)
    }

    fn filled(store: Store) -> Store {
        store.append(event("e0")).unwrap();
        let claim = store.claim(1).unwrap().remove(0);
        store.settle(&claim, Outcome::Done).unwrap();
        for number in 1..60 {
            store.append(event(&format!("e{number}"))).unwrap();
        }
        assert!(store.stats().segments >= 3);
        store
    }

    fn event(id: &str) -> NewEvent {
        NewEvent::new("Issue", &"x".repeat(3_000)).unwrap().id(id)
    }

    fn place_of(store: &Store, id: &str) -> Place {
        store.shared().view_durable(id).unwrap().unwrap().place
    }

    /// Flips a bit on the disk.
    fn rot(store: &Store, key: u32, offset: u64) {
        let dir = Dir::open(store.path()).unwrap();
        let name = store.shared().segment(key).unwrap().header.name().to_string();
        let file = dir.open_file(&name, true).unwrap();
        let mut byte = [0];
        assert_eq!(file.read_at(&mut byte, offset).unwrap(), 1);
        file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
    }

    fn scrub(store: &Store) -> (u64, u64) {
        let sealed = store.shared().desk().core.sealed.len() as u64;
        let Scrubbed { segments, skipped: _, events_damaged, places_damaged } = store.shared().scrub(1, Duration::ZERO);
        assert_eq!(segments, sealed);
        (events_damaged, places_damaged)
    }

    /// Whether the store goes on: whatever is not damaged is served, and new events are taken.
    fn goes_on(store: &Store, waiting: usize) {
        store.append(event("next")).unwrap();
        assert_eq!(store.claim(100).unwrap().len(), waiting + 1);
        assert_eq!(store.stats().poisoned, None);
    }

    #[test]
    fn a_sound_log_is_read_and_nothing_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        assert_eq!(store.stats().last_scrub, None);
        assert_eq!(scrub(&store), (0, 0));
        assert!(store.stats().last_scrub.is_some());
        goes_on(&store, 59);
    }

    #[test]
    fn an_event_that_rots_in_a_sealed_segment_fails_before_anybody_claims_it() {
        // R11: and the others are served.
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let place = place_of(&store, "e3");
        rot(&store, place.segment, u64::from(place.offset) + 1_000);
        for _ in 0..2 {
            assert_eq!(scrub(&store), (1, 0));
            let stats = store.stats();
            assert_eq!((stats.failed_events, stats.damaged_events, stats.damaged_places), (1, 1, 0));
        }
        assert_eq!(store.shared().seqs(Status::Failed).len(), 1);
        goes_on(&store, 58);
    }

    #[test]
    fn damage_is_told_until_its_segment_is_gone_though_its_event_is_forgotten() {
        // The next opening refuses it.
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(first_day());
        let outside = Outside { dir: Dir::open(dir.path()).unwrap(), clock: clock.clone(), chance: Chance::Machine };
        let (shared, recovery) = open_in(outside, options(), Creation::Allowed).unwrap();
        let store = filled(Store::of(shared.into(), recovery, Ids::new([1; 16]), Some(Vec::new())));
        let place = place_of(&store, "e3");
        rot(&store, place.segment, u64::from(place.offset) + 1_000);
        assert_eq!(scrub(&store), (1, 0));
        store.cancel("e3", "it is damaged").unwrap();
        clock.advance(Duration::from_hours(25));
        store.compact().unwrap();
        assert!(store.shared().view_durable("e3").unwrap().is_none());
        let stats = store.stats();
        assert_eq!((stats.failed_events, stats.damaged_events, stats.damaged_places), (0, 0, 1));
        store.close().unwrap();
        let refused = Store::open(dir.path(), StoreOptions::default()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_segment_that_is_missed_while_it_is_in_use_is_damage_until_it_is_back() {
        let place = tempfile::tempdir().unwrap();
        let store = store(place.path());
        let (dir, name) = (Dir::open(place.path()).unwrap(), "0000000002.seg");
        // A name that it has elsewhere, as in a backup, is no help to the next opening.
        dir.rename(name, "aside").unwrap();
        assert_eq!((scrub(&store), store.stats().damaged_places), ((0, 1), 1));
        dir.rename("aside", name).unwrap();
        assert_eq!((scrub(&store), store.stats().damaged_places), ((0, 0), 0));
    }

    #[test]
    fn an_event_that_runs_is_not_given_up_and_its_retry_is() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let claim = store.claim(1).unwrap().remove(0);
        let place = place_of(&store, "e1");
        rot(&store, place.segment, u64::from(place.offset) + 1_000);
        assert_eq!(scrub(&store), (1, 0));
        let stats = store.stats();
        assert_eq!((stats.failed_events, stats.damaged_events, stats.processing_events), (0, 1, 1));
        store.settle(&claim, Outcome::Retry("again".to_owned())).unwrap();
        assert_eq!(scrub(&store), (1, 0));
        assert_eq!((store.stats().failed_events, store.stats().damaged_events), (1, 1));
        goes_on(&store, 58);
    }

    #[test]
    fn where_file_descriptors_are_missing_nothing_is_called_damaged() {
        const IN_A_PROCESS_OF_ITS_OWN: &str = "LEDGERLINE_TEST_WITHOUT_DESCRIPTORS";
        if std::env::var_os(IN_A_PROCESS_OF_ITS_OWN).is_none() {
            let name = "store::scrub::tests::where_file_descriptors_are_missing_nothing_is_called_damaged";
            let mut process = std::process::Command::new(std::env::current_exe().unwrap());
            let output = process.args(["--exact", name]).env(IN_A_PROCESS_OF_ITS_OWN, "1").output().unwrap();
            let told = String::from_utf8_lossy(&output.stdout);
            return assert!(output.status.success() && told.contains("1 passed"), "{told}");
        }
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let place = place_of(&store, "e3");
        rot(&store, place.segment, u64::from(place.offset) + 1_000);
        assert_eq!(scrub(&store), (1, 0));
        let last_scrub = store.stats().last_scrub;
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum }).unwrap();
        let scrubbed = store.shared().scrub(1, Duration::ZERO);
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
        // What was found in a segment counts though its header could not be looked at.
        assert!(scrubbed.segments == 1 && scrubbed.skipped > 0 && scrubbed.places_damaged == 0, "{scrubbed:?}");
        assert_eq!(store.stats().last_scrub, last_scrub);
        assert_eq!((store.stats().damaged_events, store.stats().damaged_places), (1, 0));
    }

    #[test]
    fn what_is_read_as_it_was_written_is_damaged_no_more() {
        // A disk, or the way to it, may fail once.
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let place = place_of(&store, "e0");
        let places = [u64::from(place.offset) + 1_000, SEGMENT_HEADER_BYTES + 4];
        for offset in places {
            rot(&store, place.segment, offset);
        }
        assert_eq!(scrub(&store), (1, 1));
        assert_eq!((store.stats().damaged_events, store.stats().damaged_places), (1, 1));
        for offset in places {
            rot(&store, place.segment, offset);
        }
        assert_eq!(scrub(&store), (0, 0));
        assert_eq!((store.stats().damaged_events, store.stats().damaged_places), (0, 0));
    }

    #[test]
    fn a_finished_event_that_rots_is_counted_and_stays_as_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let place = place_of(&store, "e0");
        rot(&store, place.segment, u64::from(place.offset) + 1_000);
        assert_eq!(scrub(&store), (1, 0));
        let stats = store.stats();
        assert_eq!((stats.completed_events, stats.failed_events, stats.damaged_events), (1, 0, 1));
        goes_on(&store, 59);
    }

    #[test]
    fn the_history_of_an_event_behind_a_bad_place_is_whole_and_that_of_a_rotten_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let claim = store.claim(5).unwrap();
        for claim in claim.iter().skip(1) {
            store.settle(claim, Outcome::Done).unwrap();
        }
        let names = |id: &str| {
            let history = store.history(id)?;
            Ok::<_, Error>(history.into_iter().map(|step| step.what).collect::<Vec<_>>())
        };
        let place = place_of(&store, "e3");
        assert_eq!(place_of(&store, "e4").segment, place.segment, "one stands behind the other");
        let before = ["e3", "e4"].map(|id| names(id).unwrap());
        assert_eq!(before[1], ["received", "started", "completed"]);
        rot(&store, place.segment, u64::from(place.offset) + 1_000);
        assert_eq!(names("e4").unwrap(), before[1]);
        // Its later steps verify, wherever they lie.
        assert_eq!(names("e3").unwrap_err().kind(), ErrorKind::Corrupt, "{:?}", before[0]);
    }

    type Where<'a> = &'a dyn Fn(&Store) -> (u32, u64);

    #[test]
    fn damage_that_hits_no_event_is_counted_and_stops_nothing() {
        let head_of = |place: Place| u64::from(place.offset) - GROUP_HEAD_BYTES as u64 + 4;
        let behind = |place: Place| u64::from(place.offset + place.length) + 24 + 2 * GROUP_HEAD_BYTES as u64;
        let cases: [(&str, Where<'_>); 3] = [
            ("the segment's header", &|_| (FIRST, 20)),
            ("the head of a group", &|store| (FIRST, head_of(place_of(store, "e3")))),
            ("the record of a start", &|store| (FIRST, behind(place_of(store, "e0")))),
        ];
        for (name, find) in cases {
            let dir = tempfile::tempdir().unwrap();
            let store = store(dir.path());
            let (key, offset) = find(&store);
            rot(&store, key, offset);
            for _ in 0..2 {
                assert_eq!(scrub(&store), (0, 1), "{name}");
                let stats = store.stats();
                assert_eq!((stats.failed_events, stats.damaged_events, stats.damaged_places), (0, 0, 1), "{name}");
            }
            goes_on(&store, 59);
        }
    }

    #[test]
    fn a_manifest_that_rots_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let names = Dir::open(dir.path()).unwrap();
        let sound = names.read(MANIFEST, 10_000).unwrap().unwrap();
        for rotten in [Some([&sound[..20], &[sound[20] ^ 1], &sound[21..]].concat()), Some(Vec::new()), None] {
            names.remove(MANIFEST).unwrap();
            if let Some(bytes) = rotten {
                names.create_file(MANIFEST).unwrap().write_all_at(&bytes, 0).unwrap();
            }
            assert_eq!(scrub(&store), (0, 1));
            assert_eq!(names.read(MANIFEST, 10_000).unwrap().as_ref(), Some(&sound));
            assert_eq!((scrub(&store), store.stats().damaged_places), ((0, 0), 0));
        }
        goes_on(&store, 59);
    }

    #[test]
    fn a_sealed_segment_that_lost_its_end_is_seen() {
        // What is gone reads as zeros, which alone would look like space that was never used.
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let summary = *store.shared().desk().core.sealed.get(&FIRST).unwrap();
        let file = Dir::open(dir.path()).unwrap().open_file("0000000001.seg", true).unwrap();
        file.truncate(SEGMENT_HEADER_BYTES).unwrap();
        let lost = (2..=summary.last_seq).filter(|seq| store.shared().desk().core.state.view(*seq).is_some()).count();
        assert_eq!(scrub(&store), (lost as u64, 1));
        assert_eq!(store.stats().failed_events, lost as u64 - 1, "all but the completed one");
        goes_on(&store, 60 - lost);
    }

    #[test]
    fn closing_does_not_wait_for_the_next_pause_to_pass() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        std::thread::scope(|scope| {
            // Looking whether it works may keep it from beginning; then it begins again.
            let scrub = scope.spawn(|| {
                loop {
                    let scrubbed = store.shared().scrub(0, Duration::from_hours(1));
                    if store.shared().desk().is_stopping() {
                        return scrubbed;
                    }
                }
            });
            while store.shared().scrubbing.try_begin().is_some() {
                std::thread::yield_now();
            }
            store.close().unwrap();
            assert_eq!(scrub.join().unwrap(), Scrubbed::default());
        });
    }
}

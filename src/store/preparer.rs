//! The next segment, created and filled before anybody needs it.
//!
//! ```text
//! half of the active segment is used ─► preparer creates the next one ─► hands it over ─► fills it, step by step
//! somebody is blocked for want of it, and nobody is at it ─► the leader creates it
//! ```
//!
//! The preparer is a thread of the store. It creates the file and reserves its space, so that a full disk shows itself here (R10),
//! then writes zeros into it with pauses between, so that commits beside it hardly notice ([`Fill`](crate::log::fill::Fill)). An active
//! segment that was not filled in time, or with which a store begins, is filled ahead of what is written. A store that rests prepares
//! nothing. Without the thread, as in tests of the steps alone, the leader creates the segments and nothing is filled.
//!
//! A failure before the new segment has its name, or while it is filled and nothing was written to it, poisons nothing: it gives its space
//! back, and another is made a second later (R2). Once a segment is in use, zeros that cannot be written are no loss either; but a sync
//! that fails poisons, as any other does.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::error::Error;
use crate::log::fill::{Failed, Step};
use crate::log::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::segment::{NotCreated, Segment};
use crate::mutants::mutant;
use crate::store::commit::{Leader, Shared, micros};
use crate::store::crash_point::CrashPoint;
use crate::store::desk::Desk;
use crate::store::failure::{of_env, of_log};
use crate::sync::MutexGuard;

/// How long to wait before a failed preparation is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Least pause between two steps of a filling.
const PAUSE: Duration = Duration::from_millis(2);
/// The filling takes at most so much of the disk's time: a pause is so many times as long as the step before it.
const PAUSE_TIMES: u32 = 2;

/// How far the preparation of the next segment is.
#[derive(Debug, Default)]
pub(crate) struct Preparation {
    /// Somebody waits for a segment.
    pub(super) wanted: bool,
    /// A segment is being created at this moment; by one at a time.
    creating: bool,
    preparer: Preparer,
    /// When a failed preparation is tried again, in microseconds of running time.
    again_at: u64,
    /// When the filling goes on, likewise.
    fill_at: u64,
    /// The failure was told, and nothing was well since.
    told: bool,
    /// What is to be said of it by whoever announces next: a subscriber is somebody else's code, which may block or call the store.
    untold: Option<String>,
}

impl Preparation {
    /// What is to be said, once.
    pub(super) const fn take_untold(&mut self) -> Option<String> {
        self.untold.take()
    }
}

/// Says that preparation failed; without the lock.
pub(super) fn tell(error: &str) {
    tracing::warn!(error, "no new segment could be prepared; it is tried again every second");
}

/// What the preparer is at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Preparer {
    /// There is none.
    #[default]
    Absent,
    /// It looks by itself what is to be done.
    Looks,
    /// It rests until it is woken.
    Rests,
}

/// What the preparer is to do next.
enum Errand {
    Create(SegmentHeader),
    Fill(Arc<Segment>, Step),
    Rest(Duration),
}

impl Desk {
    /// Whether the keeper should lead for want of a segment; and how long until it has to look again.
    pub(super) fn want_of_segment(&mut self, now: u64) -> (bool, Duration) {
        let retries = self.core.is_full() && self.preparation.preparer == Preparer::Absent;
        let left = self.preparation.again_at.saturating_sub(now);
        self.preparation.wanted |= retries && left == 0;
        let wait = if retries { Duration::from_micros(left) } else { Duration::MAX };
        (self.preparation.wanted && !self.preparation.creating, wait)
    }

    /// Whether nothing but the segment that is being created helps whoever was refused.
    pub(super) fn waits_for_creation(&self) -> bool {
        self.preparation.creating && self.core.written() == self.core.last_seq()
    }

    /// Whether the preparer has anything to do and does not know it.
    pub(super) fn may_wake_preparer(&mut self) -> bool {
        let rests = self.preparation.preparer == Preparer::Rests;
        let wake = rests && (self.core.is_full() || self.core.due_segment(false).is_some() || self.filling().is_some());
        if wake {
            self.preparation.preparer = Preparer::Looks;
        }
        wake
    }

    /// The segment to fill, and how much of it: the one that is written to before the next one.
    fn filling(&self) -> Option<(&Arc<Segment>, Step)> {
        let active = self.core.active()?;
        let beside = active.fill.due_beside(self.core.active_end()).map(|step| (active, step));
        beside.or_else(|| self.core.next_segment().and_then(|next| next.fill.due().map(|step| (next, step))))
    }

    fn next_errand(&mut self, now: u64) -> Errand {
        if self.core.poison().is_some() || self.core.is_closed() {
            return Errand::Rest(Duration::MAX);
        }
        let (wanted, full) = (self.preparation.wanted, self.core.is_full());
        let urgent = if full { now >= self.preparation.again_at } else { wanted };
        if !self.preparation.creating
            && let Some(header) = self.core.wants_segment(urgent)
        {
            return Errand::Create(header);
        }
        let until = |due: u64| Duration::from_micros(due.saturating_sub(now));
        match self.filling() {
            Some((segment, step)) if !step.paced || now >= self.preparation.fill_at => {
                Errand::Fill(Arc::clone(segment), step)
            }
            Some(_) => Errand::Rest(until(self.preparation.fill_at)),
            None if full => Errand::Rest(until(self.preparation.again_at).max(PAUSE)),
            None => Errand::Rest(Duration::MAX),
        }
    }

    /// Preparation failed: it is told once, and tried again later.
    fn not_prepared(&mut self, error: Error, now: u64) {
        if !std::mem::replace(&mut self.preparation.told, true) {
            self.preparation.untold = Some(format!("{error:?}"));
        }
        self.preparation.again_at = now + micros(AGAIN);
        self.core.prepared(Err(error));
    }
}

impl Shared {
    /// The preparer's life.
    pub(crate) fn prepare(&self) {
        let mut desk = self.desk();
        desk.preparation.preparer = Preparer::Looks;
        while !desk.is_stopping() {
            let now = self.now().steady;
            desk = match desk.next_errand(now) {
                Errand::Rest(wait) => {
                    let rests = wait == Duration::MAX;
                    desk.preparation.preparer = if rests { Preparer::Rests } else { Preparer::Looks };
                    self.preparer.wait_timeout(desk, wait).expect("no step of the core panics").0
                }
                errand => self.for_others(|| self.prepare_once(desk, errand), |_| {}),
            };
        }
    }

    fn prepare_once<'a>(&'a self, desk: MutexGuard<'a, Desk>, errand: Errand) -> MutexGuard<'a, Desk> {
        match errand {
            Errand::Create(header) => {
                let desk = self.create_segment(desk, header);
                self.announce(desk, Leader::Caller)
            }
            Errand::Fill(segment, step) => self.fill(desk, &segment, step),
            Errand::Rest(_) => desk,
        }
    }

    /// Creates the next segment for those who cannot wait for the preparer; only the leader does.
    pub(super) fn prepare_inline<'a>(&'a self, mut desk: MutexGuard<'a, Desk>) -> MutexGuard<'a, Desk> {
        if desk.preparation.creating {
            return desk;
        }
        let urgent = std::mem::take(&mut desk.preparation.wanted);
        if desk.preparation.preparer != Preparer::Absent && !urgent {
            return desk;
        }
        match desk.core.wants_segment(urgent) {
            Some(header) => self.create_segment(desk, header),
            None => desk,
        }
    }

    fn create_segment<'a>(&'a self, mut desk: MutexGuard<'a, Desk>, header: SegmentHeader) -> MutexGuard<'a, Desk> {
        desk.preparation.creating = true;
        drop(desk);
        let nothing = |error: crate::env::Error| NotCreated::Nothing(error.into());
        let created = self.pass(CrashPoint::SegmentWanted).map_err(nothing);
        let created = created.and_then(|()| Segment::create(&self.dir, header, self.options.segment_bytes));
        let created =
            created.and_then(|created| self.pass(CrashPoint::SegmentCreated).map(|()| created).map_err(nothing));
        if let Ok(segment) = &created {
            self.files.write().unwrap_or_else(PoisonError::into_inner).insert(segment.key(), Arc::clone(segment));
        }
        let now = self.now().steady;
        let mut desk = self.desk();
        desk.preparation.creating = false;
        desk.preparation.wanted = false;
        match created {
            Ok(segment) => {
                // Where it is filled, that may still fail.
                let is_filled = desk.preparation.preparer != Preparer::Absent && segment.fill.due().is_some();
                desk.preparation.told &= is_filled;
                desk.core.prepared(Ok(segment));
            }
            Err(NotCreated::Unknown(error)) if mutant!("unknown-name-forgiven") => {
                desk.not_prepared(of_log(error), now);
            }
            Err(NotCreated::Nothing(error)) if mutant!("full-disk-poisons") => desk.core.poison_with(error.to_string()),
            Err(NotCreated::Unknown(error)) => desk.core.poison_with(error.to_string()),
            Err(NotCreated::Nothing(error)) => {
                desk.not_prepared(of_log(error), now);
            }
        }
        desk
    }

    /// Takes one step of a filling, and sees to the pause after it.
    fn fill<'a>(&'a self, desk: MutexGuard<'a, Desk>, segment: &Arc<Segment>, step: Step) -> MutexGuard<'a, Desk> {
        drop(desk);
        let began = self.clock.steady();
        let taken = segment.fill.step(step);
        let ended = self.clock.steady();
        let mut desk = self.desk();
        let pause = PAUSE.max(ended.saturating_sub(began) * PAUSE_TIMES);
        desk.preparation.fill_at = micros(ended + pause);
        let failed = match taken {
            Ok(()) => {
                desk.preparation.told &= segment.fill.due().is_some();
                return desk;
            }
            Err(failed) => failed,
        };
        let is_in_use = !desk.core.take_back(segment);
        match failed {
            Failed::Write(error) | Failed::Sync(error) if !is_in_use => {
                desk = self.give_back(desk, segment);
                desk.not_prepared(of_env(error), micros(ended));
            }
            // Its space is reserved all the same, and no byte of a record is concerned.
            Failed::Write(_) => {}
            Failed::Sync(_) if mutant!("filling-sync-forgiven") => {}
            // What the disk lost may be the writer's.
            Failed::Sync(error) => desk.core.poison_with(error.to_string()),
        }
        self.announce(desk, Leader::Caller)
    }

    /// Gives back the space of a segment that was taken back: the one that is made in its place needs as much, and there may be no more.
    fn give_back<'a>(&'a self, mut desk: MutexGuard<'a, Desk>, segment: &Segment) -> MutexGuard<'a, Desk> {
        // Nobody makes another one before that.
        desk.preparation.creating = true;
        drop(desk);
        if let Err(error) = segment.file.truncate(SEGMENT_HEADER_BYTES) {
            tracing::warn!(%error, "the space of a segment that could not be filled is not given back");
        }
        let mut desk = self.desk();
        desk.preparation.creating = false;
        desk
    }

    /// Gives back the space of a segment that nothing was written to, once the store is closed and the preparer gone.
    pub(crate) fn trim_prepared(&self) {
        let next = {
            let desk = self.desk();
            if desk.core.poison().is_some() {
                return;
            }
            desk.core.next_segment().map(Arc::clone)
        };
        if let Some(next) = next {
            next.fill.stop();
            if let Err(error) = next.file.truncate(SEGMENT_HEADER_BYTES) {
                tracing::warn!(%error, "the space of a prepared segment is not given back; the next opening sees to it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::env::Clock;
    use crate::env::simulated::{Disk, Fault, Kind};
    use crate::error::ErrorKind;
    use crate::log::fill::Fill;
    use crate::log::segment::Name;
    use crate::store::desk::Level;
    use crate::store::options::StoreOptions;
    use crate::store::stories::{keep, receive, store_in, store_with};

    const SEGMENT_BYTES: u64 = 1024 * 1024;

    fn store(path: &std::path::Path) -> Shared {
        store_with(path, true, StoreOptions::default().segment_bytes(SEGMENT_BYTES))
    }

    /// Has the preparer do all there is to do at once; returns how much it did.
    fn prepare(shared: &Shared) -> u32 {
        let mut done = 0;
        let mut desk = shared.desk();
        desk.preparation.preparer = Preparer::Looks;
        loop {
            desk.preparation.fill_at = 0;
            let now = shared.now().steady;
            match desk.next_errand(now) {
                Errand::Rest(_) => return done,
                errand => desk = shared.prepare_once(desk, errand),
            }
            done += 1;
        }
    }

    /// Keeps events of 100,000 bytes until this many segments have records.
    fn keep_until(shared: &Shared, ordinal: u64) {
        let mut number = 0;
        while shared.desk().core.active().unwrap().ordinal() < ordinal {
            keep(shared, &format!("{ordinal}-{number}"), 100_000).unwrap();
            number += 1;
        }
    }

    /// A prepared segment whose filling fails.
    fn unfillable(shared: &Shared) -> Arc<Segment> {
        unfilled(shared, false)
    }

    /// A prepared segment that is half filled, and whose filling can go on or cannot.
    fn unfilled(shared: &Shared, can_go_on: bool) -> Arc<Segment> {
        let header = shared.desk().core.wants_segment(true).unwrap();
        drop(Segment::create(&shared.dir, header, SEGMENT_BYTES).unwrap());
        let open = |writable| shared.dir.open_file(&header.name().to_string(), writable).unwrap();
        let fill = Fill::begin(open(can_go_on), SEGMENT_BYTES / 2, SEGMENT_BYTES);
        Arc::new(Segment { header, file: open(true), fill })
    }

    #[test]
    fn the_next_segment_is_there_and_filled_before_it_is_needed() {
        // R10: and a store that rests has nothing prepared.
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        assert_eq!(prepare(&shared), 0, "nothing is to be done yet");
        let mut kept = 0;
        while shared.desk().core.due_segment(false).is_none() {
            keep(&shared, &format!("e{kept}"), 100_000).unwrap();
            kept += 1;
        }
        assert_eq!((kept, shared.desk().core.next_segment().map(|next| next.ordinal())), (6, None));
        assert!(prepare(&shared) >= 2, "it is created, then filled");
        {
            let desk = shared.desk();
            let next = desk.core.next_segment().unwrap();
            assert_eq!((next.fill.due(), next.file.len().unwrap()), (None, SEGMENT_BYTES));
        }
        assert_eq!(prepare(&shared), 0);
        keep_until(&shared, 2);
        assert_eq!(shared.stats().poisoned, None);
    }

    #[test]
    fn a_segment_that_cannot_be_filled_gives_way_to_another() {
        // R2, R10.
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let bad = unfillable(&shared);
        shared.desk().core.prepared(Ok(Arc::clone(&bad)));
        assert!(prepare(&shared) > 0);
        assert_eq!(bad.file.len().unwrap(), SEGMENT_HEADER_BYTES, "its space is there for the other one");
        {
            let mut desk = shared.desk();
            assert!(desk.core.is_full() && desk.core.next_segment().is_none());
            assert_eq!(desk.core.poison(), None);
            assert!(desk.preparation.told);
            assert_eq!(desk.core.due_segment(false), None, "not before a second has passed");
            desk.preparation.again_at = 0;
        }
        assert!(prepare(&shared) > 0);
        {
            let desk = shared.desk();
            let next = desk.core.next_segment().unwrap();
            assert!(next.salt() != bad.salt() && !desk.core.is_full() && !desk.preparation.told);
        }
        keep_until(&shared, 2);
    }

    /// A subscriber that asks the store something, from another thread so that it can tell whether it must wait; its answers.
    struct Asks(Arc<Shared>, mpsc::Sender<bool>);

    impl tracing::Subscriber for Asks {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, _: &tracing::Event<'_>) {
            let (shared, (told, answer)) = (Arc::clone(&self.0), mpsc::channel());
            let asking = std::thread::spawn(move || {
                drop(shared.desk());
                told.send(()).unwrap();
            });
            self.1.send(answer.recv_timeout(Duration::from_secs(10)).is_ok()).unwrap();
            drop(asking);
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn whoever_hears_that_no_segment_could_be_prepared_may_ask_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let shared = Arc::new(store(dir.path()));
        let bad = unfillable(&shared);
        shared.desk().core.prepared(Ok(bad));
        let (sender, answers) = mpsc::channel();
        tracing::subscriber::with_default(Asks(Arc::clone(&shared), sender), || assert!(prepare(&shared) > 0));
        assert_eq!(answers.iter().collect::<Vec<_>>(), [true], "it is told once, without the lock");
    }

    #[test]
    fn a_filling_that_fails_in_a_segment_in_use_stops_nothing() {
        // R2: zeros that were not written concern no record, and the space is reserved.
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let bad = unfillable(&shared);
        shared.desk().core.prepared(Ok(bad));
        keep_until(&shared, 2);
        assert!(prepare(&shared) > 0);
        keep_until(&shared, 3);
        let desk = shared.desk();
        assert!(!desk.core.is_full() && desk.core.poison().is_none());
    }

    #[test]
    fn a_filling_whose_sync_fails_in_a_segment_in_use_poisons() {
        // R2: what the disk lost may be a record that was written there and not synced yet.
        let disk = Disk::settled();
        let options = StoreOptions::default().segment_bytes(SEGMENT_BYTES);
        let shared = store_in(disk.root(), Clock::system(), true, options);
        let next = unfilled(&shared, true);
        shared.desk().core.prepared(Ok(next));
        keep_until(&shared, 2);
        let seq = receive(&shared, "written", 10).unwrap();
        shared.wait(seq, Level::Written).unwrap();
        disk.fail(Fault::of(Kind::Sync));
        assert!(prepare(&shared) > 0);
        assert_eq!(shared.wait(seq, Level::Durable).unwrap_err().kind(), ErrorKind::OutcomeUnknown);
        assert!(shared.stats().poisoned.is_some());
    }

    #[test]
    fn a_directory_that_takes_no_segment_poisons_nothing_and_is_tried_again() {
        // R2, R10.
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        assert_eq!(prepare(&shared), 0, "from here on there is a preparer, and it is slow");
        let obstacle = format!("{}.tmp", Name::original(2));
        drop(shared.dir.create_dir(&obstacle).unwrap());
        let mut kept = 0;
        let refused = loop {
            if let Err(error) = keep(&shared, &format!("e{kept}"), 100_000) {
                break error;
            }
            kept += 1;
        };
        assert_eq!((refused.kind(), kept), (ErrorKind::Io, 7), "{refused}");
        assert_eq!(refused.to_string().matches("(in ").count(), 1, "the place is named once: {refused}");
        {
            let desk = shared.desk();
            assert!(SEGMENT_BYTES - desk.core.active_end() >= SEGMENT_BYTES / 4, "endings have what is theirs");
            assert!(desk.core.poison().is_none());
        }
        shared.dir.rename(&obstacle, "aside").unwrap();
        shared.desk().preparation.again_at = 0;
        assert!(prepare(&shared) > 0);
        keep_until(&shared, 2);
    }

    #[test]
    fn whoever_is_blocked_waits_for_the_segment_that_is_being_created() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let header = shared.desk().core.wants_segment(true).unwrap();
        {
            let mut desk = shared.desk();
            desk.preparation.creating = true;
            desk.preparation.preparer = Preparer::Looks;
        }
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| (0..12).for_each(|n| keep(&shared, &format!("e{n}"), 100_000).unwrap()));
            while !shared.desk().preparation.wanted {
                std::thread::yield_now();
            }
            let desk = shared.create_segment(shared.desk(), header);
            drop(shared.announce(desk, Leader::Caller));
            caller.join().unwrap();
        });
        let desk = shared.desk();
        assert_eq!((desk.core.active().unwrap().ordinal(), desk.core.active().unwrap().salt()), (2, header.salt));
    }
}

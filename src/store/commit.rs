//! Many callers, one disk: who commits, who waits, and who wakes them.
//!
//! ```text
//! blocking caller   stage ─► is nobody leading? lead: write all groups, sync ─► wake everybody
//!                            else wait for the leader, then look again
//! async caller      stage ─► leave a waker; the keeper leads
//! keeper (a thread) leads for async callers; syncs what nobody waits for after 10 ms; marks after a second of idleness;
//!                   has retention run once an hour, and the scrub once a week
//! preparer          another thread: creates and fills the next segment (see [`super::preparer`])
//! ```
//!
//! The leader owns the [`Tail`], so one system call is in flight, and no file is touched under the lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Waker;
use std::time::Duration;

use crate::env::{Clock, Dir, File};
use crate::error::{Error, ErrorKind};
use crate::event::entry::Mark;
use crate::event::{Moment, Timestamp};
use crate::log::segment::Segment;
use crate::log::writer::Tail;
use crate::state::IdHasher;
use crate::store::core::{Core, Refused};
use crate::store::crash_point::CrashPoint;
use crate::store::failure;
use crate::store::following::Followers;
use crate::store::notes::Notes;
use crate::store::options::StoreOptions;
use crate::store::preparer::Preparation;

/// How long nothing must happen before the idle mark is written.
const IDLE: Duration = Duration::from_secs(1);

/// What all handles of one store share.
pub(crate) struct Shared {
    pub(crate) dir: Dir,
    pub(crate) options: Arc<StoreOptions>,
    pub(crate) hasher: IdHasher,
    pub(crate) clock: Clock,
    /// Open segments, by key: what point reads use.
    pub(crate) files: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// One compaction at a time.
    pub(crate) compacting: Mutex<()>,
    /// One scrub at a time.
    pub(super) scrubbing: Mutex<()>,
    pub(crate) notes: Mutex<Notes>,
    /// The directory's lock, held until the store is closed (R12).
    pub(crate) lock: Mutex<Option<File>>,
    desk: Mutex<Desk>,
    progress: Condvar,
    keeper: Condvar,
    pub(super) preparer: Condvar,
    /// Whoever works in the background and rests; the store's end wakes it.
    pub(super) resting: Condvar,
}

/// What runs again and again beside the keeper, for whom others wait: `run` only starts it.
pub(crate) struct Chore<'a> {
    /// When it runs next, in running time.
    pub(crate) due: Duration,
    pub(crate) interval: Duration,
    pub(crate) run: Box<dyn FnMut() + 'a>,
}

/// The core and who waits for it.
pub(crate) struct Desk {
    pub(crate) core: Core,
    /// Whoever takes it leads.
    tail: Option<Tail>,
    /// Somebody waits for this seq to be durable.
    sync_wanted: u64,
    pub(super) preparation: Preparation,
    durable_wakers: Vec<(u64, Level, Waker)>,
    work_wakers: Vec<Waker>,
    pub(super) followers: Followers,
    /// When the first wait ends, as whoever waits for work was last told, in microseconds of running time: what ends earlier wakes them.
    #[cfg(feature = "manager")]
    told_due: u64,
    /// Running time, in microseconds, since which something is staged or written but not durable.
    unsynced_since: Option<u64>,
    last_change: u64,
    /// Counts commits, so that whoever was refused can tell whether one has ended since.
    commits: u64,
    /// Whether there is a keeper.
    kept: bool,
    /// When the keeper looks again by itself, in microseconds of running time: whoever needs it earlier wakes it.
    keeper_looks_at: u64,
    stopping: bool,
}

/// How far a record has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// With the operating system: it survives the death of the process.
    Written,
    /// On the disk: it survives the loss of power.
    Durable,
}

impl Desk {
    fn reached(&self, level: Level) -> u64 {
        match level {
            Level::Written => self.core.written(),
            Level::Durable => self.core.durable(),
        }
    }

    /// Whether `seq` has come as far as `level`, or can come no further.
    pub(crate) fn outcome(&self, seq: u64, level: Level) -> Option<Result<(), Error>> {
        if self.reached(level) >= seq {
            return Some(Ok(()));
        }
        let reason = self.core.poison()?;
        Some(Err(Error::new(
            ErrorKind::OutcomeUnknown,
            format!(
                "whether this is on the disk is unknown, because {reason}; reopen the store and give the same id again"
            ),
        )
        .at_seq(seq)))
    }

    /// Has the next commit bring `seq` as far as `level`.
    pub(super) fn want(&mut self, seq: u64, level: Level) {
        if level == Level::Durable {
            self.sync_wanted = self.sync_wanted.max(seq);
        }
    }

    /// Whether somebody waits for a commit that nobody will make.
    pub(super) fn is_forsaken(&self) -> bool {
        !self.kept && self.tail.is_some() && !self.durable_wakers.is_empty() && self.core.poison().is_none()
    }

    /// Has `waker` woken once `seq` has come as far as `level`.
    #[cfg(feature = "manager")]
    pub(crate) fn leave_waker(&mut self, seq: u64, level: Level, waker: Waker) {
        self.want(seq, level);
        self.durable_wakers.push((seq, level, waker));
    }

    /// How many commits there were.
    #[cfg(feature = "manager")]
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    /// Has `waker` woken after the next commit, which is to prepare a segment if that is what is missing.
    #[cfg(feature = "manager")]
    pub(crate) fn leave_refused(&mut self, waker: Waker) {
        self.preparation.wanted = true;
        self.leave_work_waker(waker);
    }

    /// Has `waker` woken after the next commit.
    #[cfg(feature = "manager")]
    pub(crate) fn leave_work_waker(&mut self, waker: Waker) {
        // Whoever asks again and again while nothing happens is woken once.
        if !self.work_wakers.last().is_some_and(|last| last.will_wake(&waker)) {
            self.work_wakers.push(waker);
        }
    }

    /// When the first wait ends, by running time. Whoever waits for work knows it from here on.
    #[cfg(feature = "manager")]
    pub(crate) fn tell_due(&mut self) -> Option<u64> {
        let due = self.core.state.next_due();
        self.told_due = due.unwrap_or(u64::MAX);
        due
    }

    /// Whether a wait ends before anybody was told.
    #[cfg(feature = "manager")]
    pub(crate) fn has_untold_due(&self) -> bool {
        self.core.state.next_due().is_some_and(|due| due < self.told_due)
    }

    /// Whether the store's threads are to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether nothing more becomes durable.
    pub(crate) fn has_ended(&self) -> bool {
        !self.core.is_writing() || self.core.is_closed() && (self.stopping || !self.has_unsynced())
    }

    fn has_unsynced(&self) -> bool {
        self.core.durable() < self.core.last_seq()
    }

    /// Takes the wakers of all who have what they wait for.
    fn satisfied(&mut self) -> Vec<Waker> {
        let (written, durable, poisoned) = (self.core.written(), self.core.durable(), self.core.poison().is_some());
        let mut wakers = std::mem::take(&mut self.work_wakers);
        let has_ended = poisoned || self.has_ended();
        self.followers.satisfied(durable, has_ended, &mut wakers);
        self.durable_wakers.retain(|(seq, level, waker)| {
            let reached = if *level == Level::Written { written } else { durable };
            let waits = *seq > reached && !poisoned;
            if !waits {
                wakers.push(waker.clone());
            }
            waits
        });
        wakers
    }
}

impl Shared {
    pub(crate) fn new(
        dir: Dir,
        clock: Clock,
        core: Core,
        files: BTreeMap<u32, Arc<Segment>>,
        lock: Option<File>,
    ) -> Self {
        let tail = core.active().map(|segment| Tail::new(Arc::clone(segment)));
        let options = Arc::clone(&core.options);
        let hasher = IdHasher::new(core.manifest.store_id);
        let desk = Desk {
            core,
            tail,
            sync_wanted: 0,
            preparation: Preparation::default(),
            durable_wakers: Vec::new(),
            work_wakers: Vec::new(),
            followers: Followers::default(),
            #[cfg(feature = "manager")]
            told_due: u64::MAX,
            unsynced_since: None,
            last_change: 0,
            commits: 0,
            kept: false,
            keeper_looks_at: 0,
            stopping: false,
        };
        Self {
            dir,
            options,
            hasher,
            clock,
            files: RwLock::new(files),
            compacting: Mutex::new(()),
            scrubbing: Mutex::new(()),
            notes: Mutex::new(Notes::default()),
            lock: Mutex::new(lock),
            desk: Mutex::new(desk),
            progress: Condvar::new(),
            keeper: Condvar::new(),
            preparer: Condvar::new(),
            resting: Condvar::new(),
        }
    }

    /// What time it is, on both clocks.
    pub(crate) fn now(&self) -> Moment {
        let reading = self.clock.read();
        Moment { wall: reading.wall.into(), steady: micros(reading.steady) }
    }

    /// The core, to look at.
    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        // A panic under the lock is a mistake of ours that left the state unknown; what follows would build on it.
        self.desk.lock().expect("no step of the core panics")
    }

    /// Takes a step that needs nothing from the disk, or says that the disk must catch up first.
    pub(crate) fn try_step<T>(
        &self,
        step: &mut dyn FnMut(&mut Core, Moment) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let now = self.now();
        let mut desk = self.desk();
        let before = desk.core.last_seq();
        let taken = loop {
            match step(&mut desk.core, now) {
                Err(Refused::Rolled) => {}
                taken => break taken,
            }
        };
        if desk.core.last_seq() != before {
            desk.last_change = now.steady;
            if desk.unsynced_since.is_none() {
                desk.unsynced_since = Some(now.steady);
                self.remind_keeper(&desk, now.steady + micros(self.options.sync_delay));
            }
        }
        if matches!(taken, Err(Refused::Busy)) {
            desk.preparation.wanted = true;
            self.keeper.notify_one();
        }
        taken
    }

    /// Takes a step, committing for as long as the disk must catch up first.
    pub(crate) fn step<T>(&self, mut step: impl FnMut(&mut Core, Moment) -> Result<T, Refused>) -> Result<T, Error> {
        loop {
            match self.try_step(&mut step) {
                Ok(value) => return Ok(value),
                Err(Refused::Error(error)) => return Err(error),
                Err(Refused::Busy | Refused::Rolled) => self.catch_up(),
            }
        }
    }

    /// Sees to it that the keeper looks no later than at `due`. Under load it looks by itself, and waking a thread for every commit
    /// would cost more than the commit.
    fn remind_keeper(&self, desk: &Desk, due: u64) {
        if due < desk.keeper_looks_at {
            self.keeper.notify_one();
        }
    }

    /// Has the keeper commit, for somebody who cannot.
    #[cfg(feature = "manager")]
    pub(crate) fn call_keeper(&self) {
        self.keeper.notify_one();
    }

    /// Leads once, or waits until somebody has.
    fn catch_up(&self) {
        let desk = self.desk();
        if desk.tail.is_some() && !desk.waits_for_creation() {
            drop(self.lead(desk));
        } else {
            drop(self.progress.wait(desk).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Blocks until `seq` has come as far as `level`.
    pub(crate) fn wait(&self, seq: u64, level: Level) -> Result<(), Error> {
        let mut desk = self.desk();
        desk.want(seq, level);
        loop {
            if let Some(outcome) = desk.outcome(seq, level) {
                return outcome;
            }
            desk = if desk.tail.is_some() {
                self.lead(desk)
            } else {
                self.progress.wait(desk).expect("no step of the core panics")
            };
        }
    }

    /// Waits until the record `seq` is durable, if it ever will be, and says how far the log is; none once the store is closed, was
    /// opened for reading, or the `timeout` has passed.
    pub(crate) fn follow(&self, seq: u64, timeout: Option<Duration>) -> Result<Option<u64>, Error> {
        let until = timeout.map(|timeout| self.clock.steady().saturating_add(timeout));
        let mut desk = self.desk();
        loop {
            if desk.core.durable() >= seq {
                return Ok(Some(desk.core.durable()));
            }
            if desk.core.poison().is_some() {
                return desk.core.check_open().map(|()| None);
            }
            if desk.has_ended() {
                return Ok(None);
            }
            let left = until.map_or(Duration::MAX, |until| until.saturating_sub(self.clock.steady()));
            if left.is_zero() || timeout.is_some() && !self.clock.goes() {
                return Ok(None);
            }
            desk = self.progress.wait_timeout(desk, left.min(IDLE)).expect("no step of the core panics").0;
        }
    }

    /// Wakes whoever waits for work: something other than the disk made events claimable.
    pub(crate) fn wake_workers(&self) {
        let wakers = std::mem::take(&mut self.desk().work_wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Commits once: writes every staged group, syncs if somebody waits for that, creates a segment if somebody waits
    /// for one.
    pub(super) fn lead_once<'a>(&'a self, mut desk: MutexGuard<'a, Desk>) -> MutexGuard<'a, Desk> {
        let Some(mut tail) = desk.tail.take() else { return desk };
        // What is staged from here on is for the next commit: somebody waits for this one's sync.
        let target = desk.core.last_seq();
        while desk.core.written() < target {
            let Some(group) = desk.core.take() else { break };
            drop(desk);
            let rolls = !tail.is_in(&group.segment);
            let passed = if rolls { self.pass(CrashPoint::SegmentRolled) } else { Ok(()) };
            let written = passed.and_then(|()| tail.write(&group));
            desk = self.desk();
            match written {
                Ok(()) => desk.core.wrote(group),
                Err(error) => desk.core.poison_with(error.to_string()),
            }
        }
        if desk.core.poison().is_none() && desk.sync_wanted > desk.core.durable() {
            let written = desk.core.written();
            drop(desk);
            let synced = self.pass(CrashPoint::Written).and_then(|()| tail.sync());
            let synced = synced.and_then(|()| self.pass(CrashPoint::Synced));
            if synced.is_ok() {
                self.note(|notes, now| notes.last_persistence = Some(now));
            }
            desk = self.desk();
            match synced {
                Ok(()) => desk.core.synced(written),
                Err(error) => desk.core.poison_with(error.to_string()),
            }
        }
        desk = self.prepare_inline(desk);
        desk.tail = Some(tail);
        if !desk.has_unsynced() {
            desk.unsynced_since = None;
        }
        self.announce(desk)
    }

    /// Tells everybody who waits that something came of it, and those who go on by themselves when to look again.
    pub(super) fn announce<'a>(&'a self, mut desk: MutexGuard<'a, Desk>) -> MutexGuard<'a, Desk> {
        desk.commits += 1;
        let wakers = desk.satisfied();
        self.progress.notify_all();
        if desk.may_wake_preparer() {
            self.preparer.notify_one();
        }
        if desk.preparation.wanted || desk.core.is_full() || !desk.durable_wakers.is_empty() {
            self.keeper.notify_one();
        } else if let Some(since) = desk.unsynced_since {
            self.remind_keeper(&desk, since + micros(self.options.sync_delay));
        } else if !desk.core.last_is_mark() {
            self.remind_keeper(&desk, desk.last_change + micros(IDLE));
        }
        if wakers.is_empty() {
            return desk;
        }
        drop(desk);
        wakers.into_iter().for_each(Waker::wake);
        self.desk()
    }

    pub(crate) fn note(&self, change: impl FnOnce(&mut Notes, Timestamp)) {
        let now = self.now().wall;
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner), now);
    }

    /// Wakes everybody who waits for anything: after poison nothing will come.
    pub(crate) fn wake_all(&self) {
        let wakers = self.desk().satisfied();
        self.progress.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends the file of the active segment where its records end, once the store is closed.
    pub(crate) fn trim(&self) -> Result<(), Error> {
        let mut desk = self.desk();
        let (end, sound) = (desk.core.active_end(), desk.core.poison().is_none());
        match desk.tail.as_mut() {
            Some(tail) if sound => tail.trim(end).map_err(failure::of_env),
            _ => Ok(()),
        }
    }

    /// Waits until nobody leads: no file is touched any more.
    pub(crate) fn wait_for_leader(&self) {
        let mut desk = self.desk();
        while desk.core.is_writing() && desk.tail.is_none() {
            desk = self.progress.wait(desk).expect("no step of the core panics");
        }
    }

    /// Tells the store's threads to end.
    pub(crate) fn stop(&self) {
        let mut desk = self.desk();
        desk.stopping = true;
        self.resting.notify_all();
        self.progress.notify_all();
        let wakers = desk.satisfied();
        self.keeper.notify_one();
        self.preparer.notify_one();
        drop(desk);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Rests for so long, unless the store is being closed: then it says no.
    pub(super) fn pause(&self, rest: Duration) -> bool {
        // Where time stands still, nobody would ever have rested enough.
        let rest = if self.clock.goes() { rest } else { Duration::ZERO };
        let desk = self.desk();
        let rested = self.resting.wait_timeout_while(desk, rest, |desk| !desk.stopping);
        !rested.expect("no step of the core panics").0.stopping
    }

    /// The keeper's life; each of the `chores` runs once per its interval.
    pub(crate) fn keep(&self, chores: &mut [Chore<'_>]) {
        let mut desk = self.desk();
        desk.kept = true;
        while !desk.stopping {
            let now = self.clock.steady();
            if let Some(chore) = chores.iter_mut().find(|chore| chore.due <= now) {
                chore.due = now.saturating_add(chore.interval);
                drop(desk);
                (chore.run)();
                desk = self.desk();
                continue;
            }
            let next_chore = chores.iter().map(|chore| chore.due).min().unwrap_or(Duration::MAX);
            desk = match desk.duty(micros(now), &self.options) {
                Duty::Lead if desk.tail.is_some() => self.lead(desk),
                Duty::Mark => self.mark_idle(desk),
                Duty::Lead => {
                    desk.keeper_looks_at = u64::MAX;
                    self.keeper.wait(desk).expect("no step of the core panics")
                }
                Duty::Rest(wait) => {
                    let wait = wait.min(next_chore.saturating_sub(now));
                    desk.keeper_looks_at = micros(now.saturating_add(wait));
                    self.keeper.wait_timeout(desk, wait).expect("no step of the core panics").0
                }
            };
        }
    }

    /// What the keeper would do now; false if nothing is due. For stores that have no keeper, so that time stands still in them.
    #[cfg(any(test, feature = "manager"))]
    pub(crate) fn tend(&self) -> bool {
        let mut desk = self.desk();
        match desk.duty(micros(self.clock.steady()), &self.options) {
            Duty::Lead if desk.tail.is_some() => drop(self.lead(desk)),
            Duty::Mark => drop(self.mark_idle(desk)),
            Duty::Lead | Duty::Rest(_) => return false,
        }
        true
    }

    fn mark_idle<'a>(&'a self, mut desk: MutexGuard<'a, Desk>) -> MutexGuard<'a, Desk> {
        let now = self.now();
        desk.last_change = now.steady;
        desk.unsynced_since.get_or_insert(now.steady);
        match desk.core.mark(Mark::Idle, now) {
            Ok(seq) => desk.sync_wanted = desk.sync_wanted.max(seq),
            // It is written next time, into the segment that this one gave way to or that is to be prepared.
            Err(_) => desk.preparation.wanted = true,
        }
        if desk.tail.is_some() { self.lead(desk) } else { desk }
    }
}

/// What the keeper should do next.
enum Duty {
    Lead,
    Mark,
    Rest(Duration),
}

impl Desk {
    fn duty(&mut self, now: u64, options: &StoreOptions) -> Duty {
        if !self.core.is_writing() || self.core.poison().is_some() || self.core.is_closed() && !self.has_unsynced() {
            return Duty::Rest(Duration::MAX);
        }
        let (wanted, prepare) = self.want_of_segment(now);
        if wanted || !self.durable_wakers.is_empty() {
            return Duty::Lead;
        }
        let until = |due: u64| Duration::from_micros(due.saturating_sub(now));
        if let Some(since) = self.unsynced_since {
            let left = until(since + micros(options.sync_delay));
            if left > Duration::ZERO {
                return Duty::Rest(left.min(prepare));
            }
            self.sync_wanted = self.core.last_seq();
            return Duty::Lead;
        }
        if self.core.last_is_mark() {
            return Duty::Rest(prepare);
        }
        match until(self.last_change + micros(IDLE)) {
            Duration::ZERO => Duty::Mark,
            left => Duty::Rest(left.min(prepare)),
        }
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

//! Many callers, one disk: who commits, who waits, and who wakes them.
//!
//! ```text
//! blocking caller   stage ─► is nobody leading? lead: write all groups, sync ─► wake everybody
//!                            else wait for the leader, then look again
//! async caller      stage ─► leave a waker; the keeper leads. What begins runs it writes itself (see [`super::beside`]), and in memory
//!                   it leads (see [`super::in_memory`])
//! keeper (a thread) leads for async callers; syncs what nobody waits for after 10 ms; marks after a second of idleness;
//!                   has retention run once an hour, and the scrub once a week (see [`super::keeper`])
//! preparer          another thread: creates and fills the next segment (see [`super::preparer`])
//! ```
//!
//! The leader owns the [`Tail`], so there is one write or one sync at a time, but for a write of what begins runs beside a sync; and no
//! commit touches a file under the lock. Only a close does, which gives back the space behind the records:
//! nothing is staged any more, and whoever still looks on can wait for a truncation. Before a leader writes it lets in those whom the
//! last commit has woken: they are on their way back, and each commit costs the same however many it serves.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::env::{Clock, Dir, Lock, process_id};
use crate::error::{Error, ErrorKind};
use crate::event::Moment;
use crate::log::segment::Segment;
use crate::log::writer::Tail;
use crate::mutants::mutant;
use crate::state::IdHasher;
use crate::store::alone::Alone;
use crate::store::core::{Core, Refused};
use crate::store::crash_point::CrashPoint;
use crate::store::desk::{Desk, Level};
use crate::store::failure;
use crate::store::following::Followed;
use crate::store::keeper::IDLE;
use crate::store::notes::Notes;
use crate::store::options::StoreOptions;
use crate::store::preparer::tell;
use crate::store::relay::Relay;
use crate::store::waiters::{Marks, Seat, Waiter, wake};
use crate::sync::{Condvar, Mutex, MutexGuard, spin_loop, yield_now};

/// How long a leader waits at most for those whom it expects: less than half a sync.
const GATHER: Duration = Duration::from_micros(40);

/// What all handles of one store share.
pub(crate) struct Shared {
    pub(crate) dir: Dir,
    pub(crate) options: Arc<StoreOptions>,
    pub(crate) hasher: IdHasher,
    pub(crate) clock: Clock,
    /// Open segments, by key: what point reads use.
    pub(crate) files: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// The process that opened it.
    pub(super) opened_by: u32,
    /// One compaction at a time.
    pub(super) compacting: Alone,
    /// One scrub at a time.
    pub(super) scrubbing: Alone,
    pub(crate) notes: Mutex<Notes>,
    /// The directory's lock, held until the store is closed (R12).
    pub(crate) lock: Mutex<Option<Lock>>,
    desk: Mutex<Desk>,
    /// What is told without the lock.
    marks: Arc<Marks>,
    pub(super) relay: Relay,
    /// Whoever looks on while others commit.
    pub(super) progress: Condvar,
    /// Whoever waits for something to claim.
    pub(super) work: Condvar,
    pub(super) keeper: Condvar,
    pub(super) preparer: Condvar,
    /// Whoever works in the background and rests; the store's end wakes it.
    pub(super) resting: Condvar,
}

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leader {
    /// A caller, who needs the disk to catch up.
    Caller,
    /// A caller who waits for the sync, and is not in line because it leads.
    Waiting,
    /// It comes by again soon, and wakes those who were passed over.
    Keeper,
}

impl Leader {
    /// 1 if the leader itself waits for the sync: the waiters do not count it.
    fn own(self) -> usize {
        usize::from(self == Self::Waiting)
    }
}

/// The seat that a caller has among those who wait, if it has one, for [`Shared::wait_in_line`].
#[derive(Debug)]
pub(crate) struct InLine(Option<Seat>);

impl Shared {
    pub(crate) fn new(
        dir: Dir,
        clock: Clock,
        core: Core,
        files: BTreeMap<u32, Arc<Segment>>,
        lock: Option<Lock>,
    ) -> Self {
        let options = Arc::clone(&core.options);
        let hasher = IdHasher::new(core.manifest.store_id);
        let desk = Desk::new(core);
        let marks = Arc::clone(desk.waiters.marks());
        Self {
            dir,
            options,
            hasher,
            clock,
            files: RwLock::new(files),
            opened_by: process_id(),
            compacting: Alone::default(),
            scrubbing: Alone::default(),
            notes: Mutex::default(),
            lock: Mutex::new(lock),
            desk: Mutex::new(desk),
            marks,
            relay: Relay::default(),
            progress: Condvar::new(),
            work: Condvar::new(),
            keeper: Condvar::new(),
            preparer: Condvar::new(),
            resting: Condvar::new(),
        }
    }

    /// What time it is, on both clocks.
    pub(crate) fn now(&self) -> Moment {
        moment(&self.clock)
    }

    /// The core, to look at.
    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        // A panic under the lock is a mistake of ours that left the state unknown; what follows would build on it.
        self.desk.lock().expect("no step of the core panics")
    }

    /// Takes a step that needs nothing from the disk, or says that the disk must catch up first.
    #[cfg(any(test, feature = "torture"))]
    pub(crate) fn try_step<T>(
        &self,
        step: &mut dyn FnMut(&mut Core, Moment) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        self.step_at_desk(self.now(), step).0
    }

    /// Takes a step that needs nothing from the disk, or says that the disk must catch up first; what follows it under the same lock
    /// is up to the caller.
    pub(super) fn step_at_desk<T>(
        &self,
        now: Moment,
        step: &mut dyn FnMut(&mut Core, Moment) -> Result<T, Refused>,
    ) -> (Result<T, Refused>, MutexGuard<'_, Desk>) {
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
                self.remind_keeper(&mut desk, now.steady + micros(self.options.sync_delay));
            }
        }
        if matches!(taken, Err(Refused::Busy)) {
            desk.preparation.wanted = true;
            self.wake_keeper(&mut desk);
        }
        (taken, desk)
    }

    /// Takes a step, committing for as long as the disk must catch up first.
    pub(crate) fn step<T>(&self, mut step: impl FnMut(&mut Core, Moment) -> Result<T, Refused>) -> Result<T, Error> {
        loop {
            match self.step_at_desk(self.now(), &mut step) {
                (Ok(value), _) => return Ok(value),
                (Err(Refused::Error(error)), _) => return Err(error),
                (Err(Refused::Busy | Refused::Rolled), desk) => self.catch_up(desk),
            }
        }
    }

    /// As [`Shared::step`], for a caller who knows what time it is `now`, and then waits for the seq that `seq` finds in what the step
    /// gave to be durable: where somebody leads, it is among those who wait without coming back to the lock. [`Shared::wait_in_line`]
    /// takes what this returns.
    pub(crate) fn step_in_line<T>(
        &self,
        mut now: Moment,
        mut step: impl FnMut(&mut Core, Moment) -> Result<T, Refused>,
        seq: impl Fn(&T) -> Option<u64>,
    ) -> Result<(T, InLine), Error> {
        loop {
            match self.step_at_desk(now, &mut step) {
                (Ok(value), mut desk) => {
                    // Whoever can lead does so when it begins to wait.
                    let is_led = !desk.may_lead() && !self.dir.is_in_memory();
                    let waits_for = seq(&value).filter(|seq| is_led && desk.core.durable() < *seq);
                    return Ok((value, InLine(waits_for.map(|seq| desk.sit(seq)))));
                }
                (Err(Refused::Error(error)), _) => return Err(error),
                (Err(Refused::Busy | Refused::Rolled), desk) => self.catch_up(desk),
            }
            now = self.now();
        }
    }

    /// The answer to whoever is told by this error how things stand. What that rests on is durable first (R1); if it cannot be, the answer
    /// says so instead.
    pub(crate) fn refusal(&self, error: Error) -> Error {
        if !matches!(error.kind(), ErrorKind::NotAllowed | ErrorKind::NotFound) {
            return error;
        }
        self.wait_for_all().err().unwrap_or(error)
    }

    /// Blocks until all that was staged before is durable.
    pub(crate) fn wait_for_all(&self) -> Result<(), Error> {
        let desk = self.desk();
        let last_seq = desk.core.last_seq();
        if desk.core.durable() >= last_seq {
            return Ok(());
        }
        self.wait_at_desk(desk, last_seq, Level::Durable)
    }

    /// Leads once, or waits until somebody has.
    fn catch_up(&self, mut desk: MutexGuard<'_, Desk>) {
        if desk.may_lead() && !desk.waits_for_creation() {
            drop(self.lead(desk, Leader::Caller));
        } else if !self.refuse_copy(&mut desk) {
            drop(self.look_on(desk, Duration::MAX));
        }
    }

    /// Waits until something has come of somebody else's commit.
    pub(super) fn look_on<'a>(&'a self, mut desk: MutexGuard<'a, Desk>, wait: Duration) -> MutexGuard<'a, Desk> {
        desk.onlookers += 1;
        let mut desk = self.progress.wait_timeout(desk, wait).expect("no step of the core panics").0;
        desk.onlookers -= 1;
        desk
    }

    /// Blocks until `seq` has come as far as `level`.
    pub(crate) fn wait(&self, seq: u64, level: Level) -> Result<(), Error> {
        self.wait_at_desk(self.desk(), seq, level)
    }

    /// As [`Shared::wait`] for durability, for a caller who is in line for it already.
    pub(crate) fn wait_in_line(&self, seq: u64, InLine(seat): InLine) -> Result<(), Error> {
        let Some(seat) = seat else { return self.wait(seq, Level::Durable) };
        self.sleep(seat, seq).map_or(Ok(()), |desk| self.wait_at_desk(desk, seq, Level::Durable))
    }

    /// Sleeps in a seat: nothing once `seq` is durable, or the desk, to look there what is to be done.
    fn sleep(&self, seat: Seat, seq: u64) -> Option<MutexGuard<'_, Desk>> {
        if self.marks.sleep(seat, seq) {
            return None;
        }
        let mut desk = self.desk();
        desk.waiters.rise(seat);
        Some(desk)
    }

    fn wait_at_desk<'a>(&'a self, mut desk: MutexGuard<'a, Desk>, seq: u64, level: Level) -> Result<(), Error> {
        loop {
            if let Some(outcome) = desk.outcome(seq, level) {
                return outcome;
            }
            desk.want(seq, level);
            if desk.may_lead() {
                desk = self.lead(desk, if level == Level::Durable { Leader::Waiting } else { Leader::Caller });
                continue;
            }
            if self.refuse_copy(&mut desk) {
                continue;
            }
            if level == Level::Written {
                desk = self.look_on(desk, Duration::MAX);
                continue;
            }
            let seat = desk.sit(seq);
            drop(desk);
            match self.sleep(seat, seq) {
                None => return Ok(()),
                Some(risen) => desk = risen,
            }
        }
    }

    /// Whether `seq` is known to be as far as `level` without asking the core.
    #[cfg(feature = "manager")]
    pub(super) fn has_reached(&self, seq: u64, level: Level) -> bool {
        self.marks.has_reached(seq, level)
    }

    /// Waits, but not for long, until so many wait for a sync. Threads need the processor that a leader among them would keep busy, so it
    /// `yields`; tasks have threads of their own, and the keeper is back sooner if it does not. The clock goes by itself wherever this is
    /// called.
    pub(super) fn wait_for_waiting(&self, count: usize, wait: Duration, yields: bool) {
        let until = self.clock.steady() + wait;
        while self.marks.waiting() < count && self.clock.steady() < until {
            if yields { yield_now() } else { spin_loop() }
        }
    }

    /// Waits until the record `seq` is durable, if it ever will be, or the `timeout` has passed. That nothing more will come is said of
    /// the moment in which the record was looked for: a look after it would pass over what came between.
    pub(crate) fn follow(&self, seq: u64, timeout: Option<Duration>) -> Result<Followed, Error> {
        let until = timeout.map(|timeout| self.clock.steady().saturating_add(timeout));
        let mut desk = self.desk();
        loop {
            if desk.core.durable() >= seq {
                return Ok(Followed::Durable(desk.core.durable()));
            }
            if mutant!("stream-shows-what-is-staged") && desk.core.last_seq() >= seq {
                return Ok(Followed::Durable(desk.core.last_seq()));
            }
            if desk.core.poison().is_some() {
                return desk.core.check_open().map(|()| Followed::Never);
            }
            if desk.has_ended() {
                return Ok(Followed::Never);
            }
            let left = until.map_or(Duration::MAX, |until| until.saturating_sub(self.clock.steady()));
            if left.is_zero() || timeout.is_some() && !self.clock.goes() {
                return Ok(Followed::NotYet);
            }
            desk = self.look_on(desk, left.min(IDLE));
        }
    }

    /// Something has come of a commit, or as much as that.
    fn tell_onlookers(&self, desk: &Desk) {
        if desk.onlookers > 0 {
            self.progress.notify_all();
        }
        self.call_claimers(desk);
    }

    /// Wakes whoever waits for work: something other than the disk made events claimable.
    pub(crate) fn wake_workers(&self) {
        let wakers = {
            let mut desk = self.desk();
            self.tell_onlookers(&desk);
            std::mem::take(&mut desk.work_wakers)
        };
        wakers.into_iter().for_each(wake);
    }

    /// Commits once: writes every staged group, syncs if somebody waits for that, creates a segment if somebody waits
    /// for one.
    pub(super) fn lead_once<'a>(&'a self, mut desk: MutexGuard<'a, Desk>, leader: Leader) -> MutexGuard<'a, Desk> {
        if self.refuse_copy(&mut desk) {
            return desk;
        }
        let Some(mut tail) = desk.tail.take() else { return desk };
        let commit = || {
            desk = self.gather(desk, leader);
            desk = self.write_staged(desk, &mut tail);
            if desk.core.poison().is_none() && desk.is_sync_wanted() {
                desk = self.sync_written(desk, &mut tail);
            }
            desk = self.prepare_inline(desk);
            desk.tail = Some(tail);
            if !desk.has_unsynced() {
                desk.unsynced_since = None;
            }
            desk
        };
        let desk = self.for_others(commit, Desk::take_lead_back);
        self.for_others(|| self.announce(desk, leader), |_| {})
    }

    /// Does what others wait for. If it panics, nobody would ever come of it: the store is poisoned, as nobody knows what was written, and
    /// everybody is called. Then `mend` puts right what was left in the midst of it, and the panic goes on.
    pub(super) fn for_others<'a>(
        &self,
        work: impl FnOnce() -> MutexGuard<'a, Desk>,
        mend: impl FnOnce(&mut Desk),
    ) -> MutexGuard<'a, Desk> {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            // Whoever panicked under the lock has poisoned that too: those who are called panic in their turn.
            let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
            desk.core.poison_with("a thread panicked while it wrote the log".to_owned());
            mend(&mut desk);
            self.call_all(desk);
            // The keeper may have been it.
            self.relay.pass_on_all();
            resume_unwind(panic)
        })
    }

    /// Lets those in who are expected, if a sync is wanted: whoever comes later waits for the next one.
    fn gather<'a>(&'a self, desk: MutexGuard<'a, Desk>, leader: Leader) -> MutexGuard<'a, Desk> {
        let expected = desk.expected.saturating_sub(leader.own());
        if !desk.is_sync_wanted() || desk.waiters.for_sync() >= expected || self.dir.is_in_memory() {
            return desk;
        }
        drop(desk);
        self.wait_for_waiting(expected, GATHER, leader != Leader::Keeper);
        self.desk()
    }

    fn write_staged<'a>(&'a self, mut desk: MutexGuard<'a, Desk>, tail: &mut Tail) -> MutexGuard<'a, Desk> {
        // What is staged from here on is for the next commit: somebody waits for this one's sync.
        let target = desk.core.last_seq();
        while desk.core.written() < target {
            let Some(group) = desk.core.take() else { break };
            if group.last_seq >= target && desk.is_sync_wanted() {
                desk.waiters.close_round(group.last_seq);
            }
            drop(desk);
            let rolls = !tail.is_in(&group.segment);
            let passed = if rolls { self.pass(CrashPoint::SegmentRolled) } else { Ok(()) };
            let written = passed.and_then(|()| tail.write(&group));
            desk = self.desk();
            match written {
                Ok(()) => desk.core.wrote(group),
                Err(_) if mutant!("failed-write-forgiven") => desk.core.wrote(group),
                Err(error) => desk.core.poison_with(error.to_string()),
            }
        }
        desk
    }

    fn sync_written<'a>(&'a self, mut desk: MutexGuard<'a, Desk>, tail: &mut Tail) -> MutexGuard<'a, Desk> {
        let written = desk.core.written();
        let mut woken = std::mem::take(&mut desk.woken);
        desk.waiters.reached(written, Level::Written, &mut woken);
        // Somebody may have begun to want it during the write.
        desk.waiters.close_round(written);
        if desk.onlookers > 0 {
            self.progress.notify_all();
        }
        desk.begin_beside(tail);
        drop(desk);
        // Runs begin while the disk is busy (R16).
        woken.drain(..).for_each(Waiter::wake);
        let synced = self.pass(CrashPoint::Written).and_then(|()| tail.sync());
        let synced = synced.and_then(|()| self.pass(CrashPoint::Synced));
        if synced.is_ok() {
            self.note(|notes, now| notes.last_persistence = Some(now));
        }
        let mut desk = self.desk();
        desk.woken = woken;
        match synced {
            Ok(()) if mutant!("sync-covers-what-came-beside-it") => {
                let written = desk.core.written();
                desk.core.synced(written);
            }
            Ok(()) => desk.core.synced(written),
            Err(_) if mutant!("failed-sync-forgiven") => desk.core.synced(written),
            Err(error) => desk.core.poison_with(error.to_string()),
        }
        self.end_beside(desk, tail, written)
    }

    /// Tells everybody who waits that something came of it, and those who go on by themselves when to look again.
    pub(super) fn announce<'a>(&'a self, mut desk: MutexGuard<'a, Desk>, leader: Leader) -> MutexGuard<'a, Desk> {
        desk.commits += 1;
        let mut woken = std::mem::take(&mut desk.woken);
        let served = desk.satisfied(&mut woken) + leader.own();
        if served > 0 {
            // Those who were served come again soon, and those who came meanwhile wait already.
            desk.expected = served.max(desk.waiters.for_sync());
        }
        self.tell_onlookers(&desk);
        if desk.may_wake_preparer() {
            self.preparer.notify_one();
        }
        if desk.preparation.wanted || desk.core.is_full() || desk.waiters.has_tasks() {
            self.wake_keeper(&mut desk);
        } else if let Some(since) = desk.unsynced_since {
            self.remind_keeper(&mut desk, since + micros(self.options.sync_delay));
        } else if !desk.core.last_is_mark() {
            let due = desk.last_change + micros(IDLE);
            self.remind_keeper(&mut desk, due);
        }
        if desk.may_lead() && !desk.waiters.has_tasks() {
            woken.extend(desk.waiters.next_leader());
        }
        let untold = desk.preparation.take_untold();
        if woken.is_empty() && untold.is_none() {
            desk.woken = woken;
            return desk;
        }
        drop(desk);
        self.wake(&mut woken, leader);
        if let Some(error) = untold {
            tell(&error);
        }
        let mut desk = self.desk();
        desk.woken = woken;
        desk
    }

    fn wake(&self, woken: &mut Vec<Waiter>, leader: Leader) {
        self.relay.pass_on_all();
        let tasks = woken.extract_if(.., |waiter| matches!(waiter, Waiter::Task(..)) && leader == Leader::Keeper);
        self.relay.start(tasks.filter_map(|waiter| match waiter {
            Waiter::Task(lane, waker) => Some((lane, waker)),
            _ => None,
        }));
        woken.drain(..).for_each(Waiter::wake);
    }

    /// Has the store take nothing any more, because of something that failed outside of a commit.
    pub(super) fn poison(&self, reason: &str) {
        let mut desk = self.desk();
        desk.core.poison_with(reason.to_owned());
        self.call_all(desk);
    }

    /// Wakes everybody who waits for anything: nothing will come.
    fn call_all(&self, mut desk: MutexGuard<'_, Desk>) {
        let mut woken = Vec::new();
        desk.satisfied(&mut woken);
        drop(desk);
        self.progress.notify_all();
        self.work.notify_all();
        woken.into_iter().for_each(Waiter::wake);
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
        while desk.core.is_writing() && (!desk.may_lead() || desk.is_written_beside()) {
            desk = self.look_on(desk, Duration::MAX);
        }
    }

    /// Tells the store's threads to end.
    pub(crate) fn stop(&self) {
        let mut desk = self.desk();
        desk.stopping = true;
        self.resting.notify_all();
        self.keeper.notify_one();
        self.preparer.notify_one();
        self.call_all(desk);
    }

    /// Rests after a step under the lock that began at that time, as long as it took. Whoever waits for the lock is woken when it is let go,
    /// and comes too late if it is taken again at once.
    pub(super) fn rest_since(&self, began: Duration) {
        self.pause(self.clock.steady().saturating_sub(began));
    }

    /// Rests for so long, unless the store is being closed: then it says no.
    pub(super) fn pause(&self, rest: Duration) -> bool {
        // Where time stands still, nobody would ever have rested enough.
        let rest = if self.clock.goes() { rest } else { Duration::ZERO };
        let desk = self.desk();
        let rested = self.resting.wait_timeout_while(desk, rest, |desk| !desk.stopping);
        !rested.expect("no step of the core panics").0.stopping
    }
}

pub(super) fn moment(clock: &Clock) -> Moment {
    let reading = clock.read();
    Moment { wall: reading.wall.into(), steady: micros(reading.steady) }
}

/// As running time is counted.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

//! The keeper: a thread that leads for those who cannot, syncs what nobody waits for, and marks the end of an idle log.
//!
//! It rests whenever nothing is due, and is woken only then: waking a thread for every commit would cost more than the commit.

use std::time::Duration;

use crate::event::entry::Mark;
use crate::mutants::mutant;
use crate::store::commit::{Leader, Shared, micros};
use crate::store::desk::{Desk, Level};
use crate::store::options::StoreOptions;
use crate::sync::MutexGuard;

/// How long nothing must happen before the idle mark is written.
pub(super) const IDLE: Duration = Duration::from_secs(1);

/// How long the keeper looks out for the next task that waits, once it has led for some: they come back sooner than a thread wakes.
const LINGER: Duration = Duration::from_micros(50);

/// How long after its last time a chore that makes room runs again, where the disk is full.
const FULL_INTERVAL: Duration = Duration::from_mins(1);

/// Something that the keeper has done again and again. Others wait for the keeper, so `run` only starts it.
pub(crate) struct Chore<'a> {
    /// When it runs next, in running time.
    pub(crate) due: Duration,
    pub(crate) interval: Duration,
    /// When it last ran, or the store was opened, if it makes room.
    pub(crate) made_room: Option<Duration>,
    pub(crate) run: Box<dyn FnMut() + 'a>,
}

impl Chore<'_> {
    /// When it runs next: earlier, where the disk `is_full` and it makes room.
    fn next(&self, is_full: bool) -> Duration {
        let sooner = self.made_room.filter(|_| is_full).map(|made_room| made_room.saturating_add(FULL_INTERVAL));
        sooner.map_or(self.due, |sooner| sooner.min(self.due))
    }

    /// It begins `now`.
    fn begin(&mut self, now: Duration) {
        self.due = now.saturating_add(self.interval);
        self.made_room = self.made_room.map(|_| now);
    }
}

/// What the keeper is at.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// Whether there is a keeper.
    pub(super) kept: bool,
    /// Whether it must be woken to look.
    rests: bool,
    /// When it looks again by itself, in microseconds of running time: whoever needs it earlier wakes it.
    looks_at: u64,
}

/// What the keeper should do next.
enum Duty {
    Lead,
    Mark,
    Rest(Duration),
}

impl Shared {
    /// Has the keeper look what is due.
    pub(super) fn wake_keeper(&self, desk: &mut Desk) {
        if std::mem::take(&mut desk.keeping.rests) {
            self.keeper.notify_one();
        }
    }

    /// Sees to it that the keeper looks no later than at `due`.
    pub(super) fn remind_keeper(&self, desk: &mut Desk, due: u64) {
        if due < desk.keeping.looks_at {
            self.wake_keeper(desk);
        }
    }

    /// The keeper's life; each of the `chores` runs once per its interval.
    pub(crate) fn keep(&self, chores: &mut [Chore<'_>]) {
        let mut desk = self.desk();
        desk.keeping.kept = true;
        let mut lingers = false;
        while !desk.is_stopping() {
            let now = self.clock.steady();
            let is_full = desk.core.is_full();
            if let Some(chore) = chores.iter_mut().find(|chore| chore.next(is_full) <= now) {
                chore.begin(now);
                drop(desk);
                (chore.run)();
                desk = self.desk();
                continue;
            }
            let next_chore = chores.iter().map(|chore| chore.next(is_full)).min().unwrap_or(Duration::MAX);
            desk = match desk.duty(micros(now), &self.options) {
                Duty::Lead if desk.may_lead() => {
                    lingers = desk.waiters.has_tasks();
                    self.lead(desk, Leader::Keeper)
                }
                Duty::Mark => self.mark_idle(desk),
                // Whoever leads wakes the keeper if anything is left.
                Duty::Lead => self.keeper_rests(desk, Duration::MAX, now),
                Duty::Rest(_) if std::mem::take(&mut lingers) => self.keeper_lingers(desk),
                Duty::Rest(wait) => self.keeper_rests(desk, wait.min(next_chore.saturating_sub(now)), now),
            };
        }
        drop(desk);
        // Whoever closes the store may have come between its last commit and the waking after it: nobody else comes by any more.
        if !mutant!("lane-forgotten-at-the-end") {
            self.relay.pass_on_all();
        }
    }

    fn keeper_rests<'a>(
        &'a self,
        mut desk: MutexGuard<'a, Desk>,
        wait: Duration,
        now: Duration,
    ) -> MutexGuard<'a, Desk> {
        // It may be long before it comes by again. A waker is somebody else's code, which may call the store: it runs without the lock,
        // and whatever came meanwhile is looked at before anybody rests.
        if self.relay.is_left() {
            if mutant!("lane-woken-under-the-lock") {
                self.relay.pass_on_all();
                return desk;
            }
            drop(desk);
            self.relay.pass_on_all();
            return self.desk();
        }
        desk.keeping.rests = true;
        desk.keeping.looks_at = micros(now.saturating_add(wait));
        let mut desk = self.keeper.wait_timeout(desk, wait).expect("no step of the core panics").0;
        desk.keeping.rests = false;
        desk
    }

    fn keeper_lingers<'a>(&'a self, desk: MutexGuard<'a, Desk>) -> MutexGuard<'a, Desk> {
        drop(desk);
        self.wait_for_waiting(1, LINGER, false);
        self.desk()
    }

    /// What the keeper would do now; false if nothing is due. For stores that have no keeper, so that time stands still in them.
    #[cfg(any(test, feature = "manager"))]
    pub(crate) fn tend(&self) -> bool {
        let mut desk = self.desk();
        match desk.duty(micros(self.clock.steady()), &self.options) {
            Duty::Lead if desk.may_lead() => drop(self.lead(desk, Leader::Caller)),
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
            Ok(seq) => desk.want(seq, Level::Durable),
            // It is written next time, into the segment that this one gave way to or that is to be prepared.
            Err(_) => desk.preparation.wanted = true,
        }
        if desk.may_lead() { self.lead(desk, Leader::Caller) } else { desk }
    }
}

impl Desk {
    fn duty(&mut self, now: u64, options: &StoreOptions) -> Duty {
        if !self.core.is_writing() || self.core.poison().is_some() || self.core.is_closed() && !self.has_unsynced() {
            return Duty::Rest(Duration::MAX);
        }
        let (wanted, prepare) = self.want_of_segment(now);
        if wanted || self.waiters.has_tasks() {
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
        if self.core.last_is_mark() || self.core.is_ending() {
            return Duty::Rest(prepare);
        }
        match until(self.last_change + micros(IDLE)) {
            Duration::ZERO => Duty::Mark,
            left => Duty::Rest(left.min(prepare)),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "manager")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc::{Sender, channel};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::store::bell::{Bell, Broken};
    use crate::store::relay::Lane;
    use crate::store::stories::{receive, store_with};
    use crate::sync::Mutex;

    /// So long nothing that this waits for takes.
    const AT_MOST: Duration = Duration::from_secs(10);

    fn store(path: &std::path::Path) -> Arc<Shared> {
        Arc::new(store_with(path, true, StoreOptions::default().segment_bytes(64 * 1024)))
    }

    /// Stages an event when it is woken, as a task that is polled there and then does.
    struct Stages(Arc<Shared>, Mutex<Sender<u64>>);

    impl Wake for Stages {
        fn wake(self: Arc<Self>) {
            let seq = receive(&self.0, "a", 10).unwrap();
            self.1.lock().unwrap().send(seq).unwrap();
        }
    }

    #[test]
    fn who_is_left_in_a_lane_when_the_keeper_ends_is_woken() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let bell = Arc::new(Bell::default());
        let lane = Lane::here();
        shared.relay.start([(lane, Waker::noop().clone()), (lane, Waker::from(Arc::clone(&bell)))]);
        shared.stop();
        shared.keep(&mut []);
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_makes_room_runs_sooner_where_there_is_none() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_hours(1));
        let chore = |made_room| Chore { due: hour, interval: hour, made_room, run: Box::new(|| ()) };
        assert_eq!([false, true].map(|is_full| chore(None).next(is_full)), [hour, hour]);
        let mut retention = chore(Some(second));
        assert_eq!([false, true].map(|is_full| retention.next(is_full)), [hour, second + FULL_INTERVAL]);
        retention.begin(10 * second);
        assert_eq!(
            [false, true].map(|is_full| retention.next(is_full)),
            [hour + 10 * second, 10 * second + FULL_INTERVAL]
        );
        assert_eq!(Chore { due: second, ..retention }.next(true), second);
    }

    #[test]
    fn a_waker_that_panics_does_not_end_the_keeper() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let keeper = Arc::clone(&shared);
        let keeper = std::thread::spawn(move || keeper.keep(&mut []));
        let (sender, staged) = channel();
        let sound = Stages(Arc::clone(&shared), Mutex::new(sender));
        for (id, waker) in [("1", Waker::from(Arc::new(Broken))), ("2", Waker::from(Arc::new(sound)))] {
            let seq = receive(&shared, id, 10).unwrap();
            let mut desk = shared.desk();
            desk.leave_waker(seq, Level::Durable, waker);
            shared.wake_keeper(&mut desk);
        }
        staged.recv_timeout(AT_MOST).expect("others are served");
        shared.stop();
        keeper.join().unwrap();
    }

    #[test]
    fn whoever_the_keeper_wakes_may_call_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let (sender, staged) = channel();
        let waker = Waker::from(Arc::new(Stages(Arc::clone(&shared), Mutex::new(sender))));
        let lane = Lane::here();
        shared.relay.start([(lane, Waker::noop().clone()), (lane, waker)]);
        let keeper = Arc::clone(&shared);
        let keeper = std::thread::spawn(move || keeper.keep(&mut []));
        let seq = staged.recv_timeout(AT_MOST).expect("it is woken without the lock");
        shared.wait(seq, Level::Durable).unwrap();
        shared.stop();
        keeper.join().unwrap();
    }
}

//! Who waits for the disk, and how each is woken: threads of one commit together, tasks by the waker that each has left.
//!
//! ```text
//! tasks     leave ─► │ seq 7 │ seq 8 │ seq 9 │ … │    by seq, so what a commit has reached stands in front
//!                    └── reached ──┘                  taken under the lock, woken without it
//! threads   sit   ─► │ round 4: being synced │ round 5: staged │    each sleeps on its round's word; one call wakes a whole round
//! ```
//!
//! Nobody who is woken needs the lock to learn that it may go on: the marks tell how far the disk is. With a condition variable each
//! of hundreds would first wait for the lock, one behind the other. And to wake each thread by a call of its own would cost the one
//! that does it as much as all of them have to do.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use crate::mutants::mutant;
use crate::store::desk::Level;
use crate::store::relay::Lane;
use crate::sync::{AtomicU64, AtomicUsize, Word};

/// What can be read without the lock.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// All up to this seq is durable. It is behind the core's own for a moment at most.
    durable: AtomicU64,
    /// How many wait for a sync.
    waiting: AtomicUsize,
    /// What the threads of a round sleep on, of even and of odd ones; changed whenever any of them is to look again.
    words: [Word; 2],
}

impl Marks {
    /// Whether `seq` is known to be as far as `level`; if not, the core knows better.
    pub(crate) fn has_reached(&self, seq: u64, level: Level) -> bool {
        level == Level::Durable && self.durable.load(Ordering::Acquire) >= seq
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Sleeps until the `seat` is called; whether that was because `seq` is durable.
    pub(super) fn sleep(&self, seat: Seat, seq: u64) -> bool {
        let word = self.word(seat.round);
        while !self.has_reached(seq, Level::Durable) {
            if word.load(Ordering::Acquire) != seat.word {
                return self.has_reached(seq, Level::Durable);
            }
            word.sleep(seat.word);
        }
        true
    }

    fn word(&self, round: u64) -> &Word {
        let [even, odd] = &self.words;
        if round.is_multiple_of(2) { even } else { odd }
    }
}

/// What a thread that waits has to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    round: u64,
    /// What the round's word said when it was taken.
    word: u32,
}

/// How somebody is woken.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// All threads of a round: what they wait for is there, or will never be.
    Round(Arc<Marks>, u64),
    /// One thread of a round, to lead.
    Leader(Arc<Marks>, u64),
    /// It must not block: the keeper leads for it.
    Task(Lane, Waker),
    /// A task that waits for whatever comes, and hurries nobody.
    Onlooker(Waker),
}

impl Waiter {
    pub(super) fn wake(self) {
        match self {
            Self::Round(marks, round) => marks.word(round).wake_all(),
            Self::Leader(marks, round) => marks.word(round).wake_one(),
            Self::Task(_, waker) | Self::Onlooker(waker) => wake(waker),
        }
    }
}

/// Wakes a task. Its waker is somebody else's code: a panic in it is none of those who wait behind it, and ends no thread of ours.
pub(super) fn wake(waker: Waker) {
    if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
        tracing::error!("the waker of a task panicked; others are woken all the same");
    }
}

/// Threads that wait for one sync.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    number: u64,
    /// How many of them sit there.
    seated: usize,
}

/// Everybody who waits for what was staged.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    written: VecDeque<(u64, Lane, Waker)>,
    durable: VecDeque<(u64, Lane, Waker)>,
    /// Threads that wait for what is staged by now.
    open: Round,
    /// Threads that wait for the sync which is under way, or was last.
    closed: Round,
    /// What that sync covers.
    closed_at: u64,
    marks: Arc<Marks>,
}

impl Waiters {
    pub(super) fn marks(&self) -> &Arc<Marks> {
        &self.marks
    }

    /// Has a task woken once `seq` has come as far as `level`. Whoever asks again is woken as often.
    #[cfg_attr(not(any(test, feature = "manager")), expect(dead_code, reason = "only managers have tasks"))]
    pub(super) fn leave(&mut self, seq: u64, level: Level, lane: Lane, waker: Waker) {
        let queue = self.queue(level);
        // Nearly everybody comes in order.
        let at = match queue.back() {
            Some((last, ..)) if *last > seq => queue.partition_point(|(other, ..)| *other <= seq),
            _ => queue.len(),
        };
        queue.insert(at, (seq, lane, waker));
        self.count();
    }

    /// Has a thread called once `seq` is durable, or when it is to lead: it sleeps on what this returns.
    pub(super) fn sit(&mut self, seq: u64) -> Seat {
        let is_covered = seq <= self.closed_at;
        let round = if is_covered { &mut self.closed } else { &mut self.open };
        round.seated += 1;
        let number = round.number;
        self.count();
        Seat { round: number, word: self.marks.word(number).load(Ordering::Relaxed) }
    }

    /// A thread was called and looks for itself, unless its whole round was.
    pub(super) fn rise(&mut self, seat: Seat) {
        for round in [&mut self.open, &mut self.closed] {
            if round.number == seat.round {
                round.seated = round.seated.saturating_sub(1);
            }
        }
        self.count();
    }

    /// A sync is to cover all up to `seq`: whoever comes from here on with more than that waits for the next one.
    pub(super) fn close_round(&mut self, seq: u64) {
        if seq <= self.closed_at {
            return;
        }
        debug_assert_eq!(self.closed.seated, 0, "the sync before has served its round");
        self.closed = self.open;
        self.closed_at = seq;
        self.open = Round { number: self.closed.number + 1, seated: 0 };
    }

    /// Takes all who wait for no more than `seq` to come as far as `level`; returns how many.
    pub(super) fn reached(&mut self, seq: u64, level: Level, woken: &mut Vec<Waiter>) -> usize {
        let mut threads = 0;
        if level == Level::Durable {
            self.marks.durable.store(seq, Ordering::Release);
            if seq >= self.closed_at {
                threads = Self::call(&self.marks, &mut self.closed, woken);
            }
        }
        threads + self.take(seq, level, woken)
    }

    /// Takes everybody: nothing more will come.
    pub(super) fn all(&mut self, woken: &mut Vec<Waiter>) {
        self.take(u64::MAX, Level::Written, woken);
        self.take(u64::MAX, Level::Durable, woken);
        for round in [&mut self.open, &mut self.closed] {
            Self::call(&self.marks, round, woken);
        }
        self.count();
    }

    /// Calls a whole round; returns how many they are.
    fn call(marks: &Arc<Marks>, round: &mut Round, woken: &mut Vec<Waiter>) -> usize {
        let seated = std::mem::take(&mut round.seated);
        if seated > 0 {
            // Whoever is about to sleep sees it, whoever sleeps is woken.
            if !mutant!("round-not-called") {
                marks.word(round.number).change();
            }
            woken.push(Waiter::Round(Arc::clone(marks), round.number));
        }
        seated
    }

    fn take(&mut self, seq: u64, level: Level, woken: &mut Vec<Waiter>) -> usize {
        let before = woken.len();
        let queue = self.queue(level);
        while let Some((_, lane, waker)) = queue.pop_front_if(|(waits_for, ..)| *waits_for <= seq) {
            woken.push(Waiter::Task(lane, waker));
        }
        self.count();
        woken.len() - before
    }

    /// Calls a thread that waits, to lead: whoever was woken for that waits again if somebody else was faster.
    pub(super) fn next_leader(&mut self) -> Option<Waiter> {
        let round = [self.closed, self.open].into_iter().find(|round| round.seated > 0)?;
        if !mutant!("leader-not-called") {
            self.marks.word(round.number).change();
        }
        Some(Waiter::Leader(Arc::clone(&self.marks), round.number))
    }

    /// Whether somebody waits who cannot lead.
    pub(super) fn has_tasks(&self) -> bool {
        !(self.written.is_empty() && self.durable.is_empty())
    }

    /// How many wait for a sync.
    pub(super) fn for_sync(&self) -> usize {
        self.durable.len() + self.open.seated + self.closed.seated
    }

    fn queue(&mut self, level: Level) -> &mut VecDeque<(u64, Lane, Waker)> {
        match level {
            Level::Written => &mut self.written,
            Level::Durable => &mut self.durable,
        }
    }

    fn count(&self) {
        self.marks.waiting.store(self.for_sync(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Waker {
        Waker::noop().clone()
    }

    /// Whether whoever has the seat looks again before it sleeps, or after that.
    fn is_called(marks: &Marks, seat: Seat) -> bool {
        marks.word(seat.round).load(Ordering::Acquire) != seat.word
    }

    #[test]
    fn a_commit_takes_the_tasks_it_has_reached_in_whatever_order_they_came() {
        let mut waiters = Waiters::default();
        for seq in [5, 3, 9, 5, 7] {
            waiters.leave(seq, Level::Durable, Lane::here(), task());
        }
        waiters.leave(4, Level::Written, Lane::here(), task());
        let marks = Arc::clone(waiters.marks());
        assert_eq!((marks.waiting(), waiters.has_tasks()), (5, true));
        let mut woken = Vec::new();
        assert_eq!(waiters.reached(5, Level::Durable, &mut woken), 3);
        assert_eq!((marks.waiting(), waiters.for_sync()), (2, 2));
        assert!(marks.has_reached(5, Level::Durable) && !marks.has_reached(6, Level::Durable));
        assert!(!marks.has_reached(4, Level::Written), "that is for the core to say");
        assert_eq!(waiters.reached(9, Level::Written, &mut woken), 1);
        waiters.all(&mut woken);
        assert_eq!((woken.len(), waiters.has_tasks(), marks.waiting()), (6, false, 0));
        assert!(!marks.has_reached(9, Level::Durable), "nothing became durable by that");
    }

    #[test]
    fn a_sync_calls_the_threads_that_came_before_it_and_no_others() {
        let mut waiters = Waiters::default();
        let marks = Arc::clone(waiters.marks());
        let seats = [waiters.sit(1), waiters.sit(2)];
        waiters.close_round(2);
        // One more for what is being synced, which somebody else had staged, and one for the next.
        let (late, next) = (waiters.sit(1), waiters.sit(3));
        assert_eq!(waiters.for_sync(), 4);
        let mut woken = Vec::new();
        assert_eq!(waiters.reached(2, Level::Durable, &mut woken), 3);
        assert!(matches!(woken.as_slice(), [Waiter::Round(_, 0)]));
        assert!(seats.into_iter().chain([late]).all(|seat| marks.sleep(seat, 2)));
        assert!(!waiters.has_tasks() && waiters.for_sync() == 1);
        assert!(matches!(waiters.next_leader(), Some(Waiter::Leader(_, 1))));
        assert!(is_called(&marks, next));
        assert!(!marks.sleep(next, 3), "it is called to look, and nothing is durable yet");
        waiters.rise(next);
        assert!(waiters.for_sync() == 0 && waiters.next_leader().is_none());
    }

    #[test]
    fn whoever_sleeps_is_woken_by_one_call() {
        let mut waiters = Waiters::default();
        let marks = Arc::clone(waiters.marks());
        let sleepers: Vec<_> = (1..=3)
            .map(|seq| (waiters.sit(seq), seq, Arc::clone(&marks)))
            .map(|(seat, seq, marks)| std::thread::spawn(move || marks.sleep(seat, seq)))
            .collect();
        let mut woken = Vec::new();
        waiters.close_round(3);
        waiters.reached(3, Level::Durable, &mut woken);
        assert_eq!(woken.len(), 1);
        woken.into_iter().for_each(Waiter::wake);
        assert!(sleepers.into_iter().all(|sleeper| sleeper.join().unwrap()));
    }

    #[test]
    fn after_poison_all_are_called_and_told_no() {
        let mut waiters = Waiters::default();
        let marks = Arc::clone(waiters.marks());
        let synced = waiters.sit(1);
        waiters.close_round(1);
        let staged = waiters.sit(2);
        let mut woken = Vec::new();
        waiters.all(&mut woken);
        assert_eq!((woken.len(), waiters.for_sync()), (2, 0));
        assert!(is_called(&marks, synced) && is_called(&marks, staged));
        assert!(!marks.sleep(synced, 1) && !marks.sleep(staged, 2));
    }
}

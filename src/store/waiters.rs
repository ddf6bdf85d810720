//! Who waits for the disk, and how each is woken: a thread that is parked, or a task that left its waker.
//!
//! ```text
//! leave ─► │ seq 7 │ seq 8 │ seq 9 │ … │    by seq, so what a commit has reached stands in front
//!          └── reached ──┘                  taken under the lock, woken without it
//! ```
//!
//! Nobody who is woken needs the lock to learn that it may go on: the marks tell how far the disk is. With a condition variable each
//! of hundreds would first wait for the lock, one behind the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::thread::Thread;

use crate::store::desk::Level;

/// What can be read without the lock.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// All up to this seq is durable. It is behind the core's own for a moment at most.
    durable: AtomicU64,
    /// How many wait for a sync.
    waiting: AtomicUsize,
}

impl Marks {
    /// Whether `seq` is known to be as far as `level`; if not, the core knows better.
    pub(crate) fn has_reached(&self, seq: u64, level: Level) -> bool {
        level == Level::Durable && self.durable.load(Ordering::Acquire) >= seq
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// How somebody is woken.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// It is parked, and can lead itself.
    Thread(Thread),
    /// It must not block: the keeper leads for it.
    #[cfg_attr(not(any(test, feature = "manager")), expect(dead_code, reason = "only managers have tasks"))]
    Task(Waker),
    /// A task that waits for whatever comes, and hurries nobody.
    Onlooker(Waker),
}

impl Waiter {
    pub(super) fn wake(self) {
        match self {
            Self::Thread(thread) => thread.unpark(),
            Self::Task(waker) | Self::Onlooker(waker) => waker.wake(),
        }
    }
}

/// Everybody who waits for what was staged.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    written: VecDeque<(u64, Waiter)>,
    durable: VecDeque<(u64, Waiter)>,
    /// How many of them are tasks.
    tasks: usize,
    marks: Arc<Marks>,
}

impl Waiters {
    pub(super) fn marks(&self) -> &Arc<Marks> {
        &self.marks
    }

    /// Has `waiter` woken once `seq` has come as far as `level`. Whoever asks again is woken as often.
    pub(super) fn leave(&mut self, seq: u64, level: Level, waiter: Waiter) {
        self.tasks += usize::from(matches!(waiter, Waiter::Task(_)));
        let queue = self.queue(level);
        // Nearly everybody comes in order.
        let at = match queue.back() {
            Some((last, _)) if *last > seq => queue.partition_point(|(other, _)| *other <= seq),
            _ => queue.len(),
        };
        queue.insert(at, (seq, waiter));
        self.count();
    }

    /// Takes all who wait for no more than `seq` to come as far as `level`; returns how many.
    pub(super) fn reached(&mut self, seq: u64, level: Level, woken: &mut Vec<Waiter>) -> usize {
        if level == Level::Durable {
            self.marks.durable.store(seq, Ordering::Release);
        }
        self.take(seq, level, woken)
    }

    /// Takes everybody: nothing more will come.
    pub(super) fn all(&mut self, woken: &mut Vec<Waiter>) {
        self.take(u64::MAX, Level::Written, woken);
        self.take(u64::MAX, Level::Durable, woken);
    }

    fn take(&mut self, seq: u64, level: Level, woken: &mut Vec<Waiter>) -> usize {
        let before = woken.len();
        let queue = self.queue(level);
        while let Some((_, waiter)) = queue.pop_front_if(|(waits_for, _)| *waits_for <= seq) {
            woken.push(waiter);
        }
        let taken = woken.get(before..).unwrap_or_default();
        self.tasks -= taken.iter().filter(|waiter| matches!(waiter, Waiter::Task(_))).count();
        let count = taken.len();
        self.count();
        count
    }

    /// Takes a thread that waits, to lead: whoever was woken for that waits again if somebody else was faster.
    pub(super) fn next_leader(&mut self) -> Option<Waiter> {
        let is_thread = |(_, waiter): &mut (u64, Waiter)| matches!(waiter, Waiter::Thread(_));
        let next = self.durable.pop_front_if(is_thread).or_else(|| self.written.pop_front_if(is_thread));
        self.count();
        next.map(|(_, waiter)| waiter)
    }

    /// Whether somebody waits who cannot lead.
    pub(super) const fn has_tasks(&self) -> bool {
        self.tasks > 0
    }

    /// How many wait for a sync.
    pub(super) fn for_sync(&self) -> usize {
        self.durable.len()
    }

    fn queue(&mut self, level: Level) -> &mut VecDeque<(u64, Waiter)> {
        match level {
            Level::Written => &mut self.written,
            Level::Durable => &mut self.durable,
        }
    }

    fn count(&self) {
        self.marks.waiting.store(self.durable.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Waiter {
        Waiter::Task(Waker::noop().clone())
    }

    #[test]
    fn a_commit_takes_whom_it_has_reached_in_whatever_order_they_came() {
        let mut waiters = Waiters::default();
        for seq in [5, 3, 9, 5, 7] {
            waiters.leave(seq, Level::Durable, task());
        }
        waiters.leave(4, Level::Written, Waiter::Thread(std::thread::current()));
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
    fn only_threads_are_asked_to_lead() {
        let mut waiters = Waiters::default();
        assert!(waiters.next_leader().is_none());
        waiters.leave(1, Level::Durable, Waiter::Thread(std::thread::current()));
        waiters.leave(2, Level::Durable, task());
        waiters.leave(3, Level::Written, Waiter::Thread(std::thread::current()));
        assert!(matches!(waiters.next_leader(), Some(Waiter::Thread(_))));
        assert!(matches!(waiters.next_leader(), Some(Waiter::Thread(_))), "who waits for a write leads too");
        assert!(waiters.next_leader().is_none() && waiters.has_tasks());
    }
}

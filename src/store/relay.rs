//! Waking many tasks with few operations: the keeper wakes one task of each lane, and that one, from within its runtime, the others.
//!
//! Waking a task from outside its runtime takes that runtime's lock and often a system call; from within, it takes neither. Which tasks
//! share a runtime nobody can tell; but those that were polled by one thread do, so each thread is a lane. What the first one does not
//! pass on, because it is gone or its runtime is held up, the next commit that wakes anybody does, or the keeper before it rests or ends.
//! That is soon: the keeper rests as soon as nothing is due.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::task::Waker;

use crate::store::waiters::wake;
use crate::sync::{AtomicUsize, Mutex};

/// The tasks that one thread has polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lane(u64);

impl Lane {
    /// The lane of this thread.
    #[cfg_attr(not(any(test, feature = "manager")), expect(dead_code, reason = "only managers have tasks"))]
    pub(super) fn here() -> Self {
        // It only tells threads apart, of which nothing else depends.
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        crate::sync::thread_local! {
            static HERE: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        Self(HERE.with(|here| *here))
    }
}

/// Those who are to be woken by whoever of their lane wakes first.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    left: Mutex<Vec<(Lane, Waker)>>,
    /// How many are left, for all who look in passing.
    count: AtomicUsize,
}

impl Relay {
    /// Wakes the first of each lane; the others are woken by it.
    pub(super) fn start(&self, wakers: impl IntoIterator<Item = (Lane, Waker)>) {
        let mut firsts: Vec<(Lane, Waker)> = Vec::new();
        {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            for (lane, waker) in wakers {
                if firsts.iter().any(|(first, _)| *first == lane) {
                    left.push((lane, waker));
                } else {
                    firsts.push((lane, waker));
                }
            }
            self.count.store(left.len(), Ordering::Release);
        }
        for (_, first) in firsts {
            wake(first);
        }
    }

    /// Wakes whoever is left in a lane.
    #[cfg(feature = "manager")]
    pub(crate) fn pass_on(&self, lane: Lane) {
        self.wake(|other| other == lane);
    }

    /// Wakes whoever is left.
    pub(super) fn pass_on_all(&self) {
        self.wake(|_| true);
    }

    /// Whether anybody is left.
    pub(super) fn is_left(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    fn wake(&self, is_it: impl Fn(Lane) -> bool) {
        if !self.is_left() {
            return;
        }
        let woken: Vec<(Lane, Waker)> = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            let woken = left.extract_if(.., |(lane, _)| is_it(*lane)).collect();
            self.count.store(left.len(), Ordering::Release);
            woken
        };
        for (_, waker) in woken {
            wake(waker);
        }
    }
}

#[cfg(test)]
#[cfg(feature = "manager")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::bell::{Bell, Broken};

    #[test]
    fn one_of_a_lane_is_woken_and_whoever_of_it_comes_by_wakes_the_others_once() {
        let relay = Relay::default();
        let bells: Vec<Arc<Bell>> = (0..5).map(|_| Arc::default()).collect();
        let rung = || bells.iter().map(|bell| bell.0.load(Ordering::SeqCst)).collect::<Vec<_>>();
        let (here, there) = (Lane::here(), std::thread::spawn(Lane::here).join().unwrap());
        let waker = |number: usize| Waker::from(Arc::clone(&bells[number]));
        relay.start([(here, waker(0)), (there, waker(1)), (here, waker(2)), (here, waker(3)), (there, waker(4))]);
        assert_eq!(rung(), [1, 1, 0, 0, 0]);
        relay.pass_on(here);
        relay.pass_on(here);
        assert_eq!(rung(), [1, 1, 1, 1, 0]);
        relay.pass_on_all();
        assert_eq!(rung(), [1, 1, 1, 1, 1]);
        relay.start([]);
        relay.start([(here, waker(0))]);
        relay.pass_on(here);
        assert_eq!(rung(), [2, 1, 1, 1, 1]);
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_of_any_lane_from_being_woken() {
        let relay = Relay::default();
        let bells: Vec<Arc<Bell>> = (0..2).map(|_| Arc::default()).collect();
        let (here, there) = (Lane::here(), std::thread::spawn(Lane::here).join().unwrap());
        let (broken, bell) = (|| Waker::from(Arc::new(Broken)), |at: usize| Waker::from(Arc::clone(&bells[at])));
        relay.start([(here, broken()), (there, bell(0)), (here, broken()), (here, bell(1))]);
        relay.pass_on_all();
        assert_eq!(bells.iter().map(|bell| bell.0.load(Ordering::SeqCst)).collect::<Vec<_>>(), [1, 1]);
    }
}

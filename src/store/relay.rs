//! Waking many tasks with few operations: the keeper wakes one of them, and that one, from within its runtime, the others.
//!
//! Waking a task from outside its runtime takes that runtime's lock and often a system call; from within, it takes neither. What the
//! first one does not pass on, because it is gone or its runtime is held up, the keeper does after the next commit, or before it rests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

/// Those who are to be woken by whoever of them wakes first.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    left: Mutex<Vec<Waker>>,
    /// How many are left, for all who look in passing.
    count: AtomicUsize,
}

impl Relay {
    /// Wakes the first of `wakers`; the others are woken by it.
    pub(super) fn start(&self, wakers: impl IntoIterator<Item = Waker>) {
        let mut wakers = wakers.into_iter();
        let Some(first) = wakers.next() else { return };
        {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.extend(wakers);
            self.count.store(left.len(), Ordering::Release);
        }
        first.wake();
    }

    /// Wakes whoever is left.
    pub(crate) fn pass_on(&self) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let left = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            self.count.store(0, Ordering::Release);
            std::mem::take(&mut *left)
        };
        left.into_iter().for_each(Waker::wake);
    }
}

#[cfg(all(test, feature = "manager"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::bell::Bell;

    #[test]
    fn one_is_woken_and_whoever_comes_by_wakes_the_others_once() {
        let relay = Relay::default();
        let bells: Vec<Arc<Bell>> = (0..3).map(|_| Arc::default()).collect();
        let rung = || bells.iter().map(|bell| bell.0.load(Ordering::SeqCst)).collect::<Vec<_>>();
        relay.start(bells.iter().map(|bell| Waker::from(Arc::clone(bell))));
        assert_eq!(rung(), [1, 0, 0]);
        relay.pass_on();
        relay.pass_on();
        assert_eq!(rung(), [1, 1, 1]);
        relay.start([]);
        relay.start([Waker::from(Arc::clone(&bells[0]))]);
        relay.pass_on();
        assert_eq!(rung(), [2, 1, 1]);
    }
}

//! Where the tasks of runs leave how they ended, and the dispatcher finds it: many at once, for one lock.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::processor::attempt::Ending;

/// Which run ended: where its attempt is, and the number of the run, because others follow in that place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunKey {
    pub(super) at: usize,
    pub(super) number: u64,
}

/// How runs ended that nobody has taken yet.
#[derive(Default)]
pub(super) struct Ends {
    // A std lock: it is held for one push or one swap, and never across an await.
    left: Mutex<Left>,
}

#[derive(Default)]
struct Left {
    ended: Vec<(RunKey, Ending)>,
    /// Who waits for the next one.
    waker: Option<Waker>,
}

/// Held by a run's task until its end, whatever that is.
pub(super) struct Report {
    ends: Arc<Ends>,
    key: RunKey,
    /// None: its task was dropped.
    ending: Option<Ending>,
}

impl Ends {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all that have ended into `taken`, which is empty.
    pub(super) fn take(&self, taken: &mut Vec<(RunKey, Ending)>) {
        std::mem::swap(&mut self.left().ended, taken);
    }

    /// Resolves when there is one to be taken.
    pub(super) async fn any(&self) {
        poll_fn(|context| {
            let mut left = self.left();
            if !left.ended.is_empty() {
                return Poll::Ready(());
            }
            if !left.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                left.waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Report {
    pub(super) const fn new(ends: Arc<Ends>, key: RunKey) -> Self {
        Self { ends, key, ending: None }
    }

    /// The run has ended like this.
    pub(super) fn send(mut self, ending: Ending) {
        self.ending = Some(ending);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let ending = self.ending.take().unwrap_or(Ending::Aborted);
        let waker = {
            let mut left = self.ends.left();
            left.ended.push((self.key, ending));
            left.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;

    #[tokio::test]
    async fn whoever_waits_is_woken_by_the_end_of_a_run_even_if_its_task_is_dropped() {
        let ends = Arc::new(Ends::default());
        let waiting = Arc::clone(&ends);
        let waits = tokio::spawn(async move { waiting.any().await });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        let [dropped, returned] = [7, 8].map(|number| RunKey { at: 0, number });
        drop(Report::new(Arc::clone(&ends), dropped));
        waits.await.unwrap();
        Report::new(Arc::clone(&ends), returned).send(Ending::Returned(Outcome::Done));
        let mut taken = Vec::new();
        ends.take(&mut taken);
        assert_eq!(taken, [(dropped, Ending::Aborted), (returned, Ending::Returned(Outcome::Done))]);
    }
}

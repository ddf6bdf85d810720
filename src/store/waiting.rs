//! Waiting for the disk without blocking a thread: futures that leave a waker and have the keeper commit. They need no runtime.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::error::Error;
use crate::event::{Moment, Status};
use crate::mutants::mutant;
use crate::store::commit::{Leader, Shared};
use crate::store::core::{Core, Refused};
use crate::store::desk::Level;
use crate::store::relay::Lane;

impl Shared {
    /// As [`Shared::step`], for callers that must not block.
    pub(crate) async fn step_async<T>(
        &self,
        mut step: impl FnMut(&mut Core, Moment) -> Result<T, Refused>,
    ) -> Result<T, Error> {
        loop {
            match self.step_counted(&mut step) {
                (Ok(value), _) => return Ok(value),
                (Err(Refused::Error(error)), _) => return Err(error),
                (Err(Refused::Busy | Refused::Rolled), seen) => Progress { shared: self, seen }.await,
            }
        }
    }

    /// As [`Shared::step_async`], for a caller who knows what time it is `now`, and then waits for the seq that `seq` finds in what the
    /// step gave to be durable: it is in line for that already, and comes back to the lock only if nothing comes of it.
    pub(crate) async fn step_and_reach<T>(
        &self,
        mut now: Moment,
        mut step: impl FnMut(&mut Core, Moment) -> Result<T, Refused>,
        seq: impl Fn(&T) -> Option<u64>,
    ) -> Result<(T, Option<Reached<'_>>), Error> {
        loop {
            let waker = std::future::poll_fn(|context| Poll::Ready(context.waker().clone())).await;
            match self.step_awaited(now, &mut step, &seq, waker) {
                (Ok((value, reached)), _) => return Ok((value, reached)),
                (Err(Refused::Error(error)), _) => return Err(error),
                (Err(Refused::Busy | Refused::Rolled), seen) => Progress { shared: self, seen }.await,
            }
            now = self.now();
        }
    }

    /// Takes a step, and says how many commits there were before it.
    fn step_counted<T>(
        &self,
        step: &mut impl FnMut(&mut Core, Moment) -> Result<T, Refused>,
    ) -> (Result<T, Refused>, u64) {
        let (taken, desk) = self.step_at_desk(self.now(), step);
        (taken, desk.commits())
    }

    /// As [`Shared::step_counted`]; has `waker` woken once what the step gave is durable.
    fn step_awaited<T>(
        &self,
        now: Moment,
        step: &mut impl FnMut(&mut Core, Moment) -> Result<T, Refused>,
        seq: &impl Fn(&T) -> Option<u64>,
        waker: Waker,
    ) -> (Result<(T, Option<Reached<'_>>), Refused>, u64) {
        let (taken, mut desk) = self.step_at_desk(now, step);
        let reached = |value: &T| seq(value).map(|seq| self.reached(seq, Level::Durable));
        let mut taken = taken.map(|value| (reached(&value), value));
        if let Ok((Some(reached), _)) = &mut taken
            && !self.dir.is_in_memory()
            && desk.core.durable() < reached.seq
        {
            reached.lane = desk.leave_waker(reached.seq, reached.level, waker);
            self.wake_keeper(&mut desk);
            reached.is_in_line = true;
        }
        (taken.map(|(reached, value)| (value, reached)), desk.commits())
    }

    /// Resolves once `seq` has come as far as `level`.
    pub(crate) fn reached(&self, seq: u64, level: Level) -> Reached<'_> {
        Reached { shared: self, seq, level, lane: Lane::here(), is_in_line: false }
    }

    /// Resolves when an event may be claimed, when one waits for a time that [`Desk::tell_due`](crate::store::desk::Desk::tell_due) has
    /// not told, or when the store was closed or poisoned.
    pub(crate) fn work(&self) -> Work<'_> {
        Work { shared: self }
    }

    /// Resolves when nothing is left for a claim to do and no event is being run, not even one that was cancelled meanwhile, or the store
    /// was closed or poisoned. If `is_asked`, nobody claims who is not asked to: it resolves also when there is something to claim. Returns
    /// whether there is.
    pub(crate) async fn quiet(&self, is_asked: bool) -> bool {
        std::future::poll_fn(|context| {
            let now = self.now();
            let mut desk = self.desk();
            if desk.core.poison().is_some() || desk.core.is_closed() {
                return Poll::Ready(false);
            }
            let state = &desk.core.state;
            let runs = state.counts().of(Status::Processing) > 0 || state.has_leftovers();
            let is_ready = desk.core.is_ready(now);
            if is_ready && is_asked || !is_ready && !runs {
                return Poll::Ready(is_ready);
            }
            desk.leave_work_waker(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// See [`Shared::reached`].
pub(crate) struct Reached<'a> {
    shared: &'a Shared,
    seq: u64,
    level: Level,
    lane: Lane,
    /// The task that polls first is left to be woken.
    is_in_line: bool,
}

impl Future for Reached<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Whoever was woken, if only because it is to be, wakes the others.
        self.shared.relay.pass_on(self.lane);
        if self.shared.has_reached(self.seq, self.level) {
            return Poll::Ready(Ok(()));
        }
        if std::mem::take(&mut self.is_in_line) {
            return Poll::Pending;
        }
        let mut desk = self.shared.desk();
        self.shared.refuse_copy(&mut desk);
        if let Some(outcome) = desk.outcome(self.seq, self.level) {
            return Poll::Ready(outcome);
        }
        if self.shared.dir.is_in_memory() {
            // The commit takes less time than waking the keeper would.
            desk.want(self.seq, self.level);
            desk = self.shared.lead(desk, Leader::Caller);
            if let Some(outcome) = desk.outcome(self.seq, self.level) {
                return Poll::Ready(outcome);
            }
        }
        self.lane = desk.leave_waker(self.seq, self.level, context.waker().clone());
        self.shared.wake_keeper(&mut desk);
        drop(desk);
        Poll::Pending
    }
}

/// Resolves once there were more commits than were `seen` before the step was refused, or nothing will come any more.
struct Progress<'a> {
    shared: &'a Shared,
    seen: u64,
}

impl Future for Progress<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut desk = self.shared.desk();
        if self.shared.refuse_copy(&mut desk) || desk.commits() != self.seen || desk.core.check_open().is_err() {
            return Poll::Ready(());
        }
        if self.shared.dir.is_in_memory() {
            desk.preparation.wanted = true;
            desk = self.shared.lead(desk, Leader::Caller);
            if desk.commits() != self.seen {
                return Poll::Ready(());
            }
        }
        desk.leave_refused(context.waker().clone());
        self.shared.wake_keeper(&mut desk);
        Poll::Pending
    }
}

/// See [`Shared::work`].
pub(crate) struct Work<'a> {
    shared: &'a Shared,
}

impl Future for Work<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let now = self.shared.now();
        let mut desk = self.shared.desk();
        let is_over = desk.core.poison().is_some() || desk.core.is_closed();
        if is_over || desk.core.is_ready(now) || desk.has_untold_due() {
            return Poll::Ready(());
        }
        desk.leave_work_waker(context.waker().clone());
        Poll::Pending
    }
}

/// Resolves once the record `seq` is durable, and says how far the log is; none if it never will be, because the store was closed.
pub(crate) struct Follow<'a> {
    shared: &'a Shared,
    seq: u64,
    number: Option<u64>,
}

impl Shared {
    /// See [`Follow`].
    pub(crate) fn follow_async(&self, seq: u64) -> Follow<'_> {
        Follow { shared: self, seq, number: None }
    }
}

impl Future for Follow<'_> {
    type Output = Result<Option<u64>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut desk = self.shared.desk();
        if desk.core.durable() >= self.seq {
            return Poll::Ready(Ok(Some(desk.core.durable())));
        }
        if mutant!("task-shown-what-is-staged") && desk.core.last_seq() >= self.seq {
            return Poll::Ready(Ok(Some(desk.core.last_seq())));
        }
        if desk.core.poison().is_some() {
            return Poll::Ready(desk.core.check_open().map(|()| None));
        }
        if desk.has_ended() {
            return Poll::Ready(Ok(None));
        }
        let (number, before) = desk.followers.leave(self.number, self.seq, context.waker().clone());
        drop(desk);
        drop(before);
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for Follow<'_> {
    fn drop(&mut self) {
        // After a panic under the lock there is nothing left to tidy up.
        if let Some(number) = self.number.filter(|_| !std::thread::panicking()) {
            let left = self.shared.desk().followers.leave_off(number, self.seq);
            drop(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::task::Wake;
    use std::time::Duration;

    use super::*;
    use crate::event::{NewEvent, Scope, Timestamp};
    use crate::store::answers::Recovery;
    use crate::store::bell::Bell;
    use crate::store::handle::Store;
    use crate::store::ids::Ids;
    use crate::store::options::StoreOptions;
    use crate::store::stories::{keep, receive, store_with};

    fn store(path: &std::path::Path) -> Shared {
        store_with(path, true, StoreOptions::default().segment_bytes(64 * 1024))
    }

    #[test]
    fn a_commit_between_being_refused_and_waiting_is_not_slept_through() {
        // Whoever is refused waits for the next commit, and that may have come before the waiting begins.
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let mut context = Context::from_waker(&waker);
        let seen = shared.desk().commits();
        assert!(pin!(Progress { shared: &shared, seen }).poll(&mut context).is_pending());
        keep(&shared, "a", 10).unwrap();
        assert!(bell.0.load(Ordering::SeqCst) > 0, "who waits is woken");
        assert!(pin!(Progress { shared: &shared, seen }).poll(&mut context).is_ready(), "who comes late does not wait");
    }

    #[test]
    fn whoever_waits_for_the_disk_or_for_work_is_woken_by_the_commit_that_brings_it() {
        // R1, R16: and not before.
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let bell = || {
            let bell = Arc::new(Bell::default());
            (Arc::clone(&bell), Waker::from(bell))
        };
        let (durable, work) = (bell(), bell());
        let seq = receive(&shared, "a", 10).unwrap();
        assert!(pin!(shared.reached(seq, Level::Durable)).poll(&mut Context::from_waker(&durable.1)).is_pending());
        assert!(pin!(shared.work()).poll(&mut Context::from_waker(&work.1)).is_pending(), "it is not yet durable");
        assert_eq!((durable.0.0.load(Ordering::SeqCst), work.0.0.load(Ordering::SeqCst)), (0, 0));
        shared.wait(seq, Level::Durable).unwrap();
        assert_eq!((durable.0.0.load(Ordering::SeqCst), work.0.0.load(Ordering::SeqCst)), (1, 1));
        assert!(pin!(shared.reached(seq, Level::Durable)).poll(&mut Context::from_waker(&durable.1)).is_ready());
        assert!(pin!(shared.work()).poll(&mut Context::from_waker(&work.1)).is_ready());
    }

    #[test]
    fn whoever_waits_for_work_wakes_once_for_each_time_that_was_not_told() {
        let dir = tempfile::tempdir().unwrap();
        let shared = Arc::new(store(dir.path()));
        let store = Store::of(Arc::clone(&shared), Recovery::default(), Ids::new([2; 16]), None);
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let is_ready = || pin!(shared.work()).poll(&mut Context::from_waker(&waker)).is_ready();
        assert_eq!((store.next_due(), is_ready()), (None, false));
        let later = |hours| Timestamp::saturating_add(shared.now().wall, Duration::from_hours(hours));
        store.append(NewEvent::new("Issue", &1).unwrap().not_before(later(2))).unwrap();
        assert!(bell.0.load(Ordering::SeqCst) > 0 && is_ready(), "an event waits for its time");
        assert!(store.next_due() > Some(Duration::from_hours(1)) && !is_ready(), "it was told when");
        let before = bell.0.load(Ordering::SeqCst);
        store.pause(Scope::Type("Issue".to_owned()), Some(later(1)), "").unwrap();
        assert!(bell.0.load(Ordering::SeqCst) > before && is_ready(), "a pause ends before that");
        assert!(store.next_due() < Some(Duration::from_hours(1)) && !is_ready());
        let at_once = Scope::Key("k".to_owned());
        store.pause(at_once.clone(), None, "").unwrap();
        assert!(!is_ready(), "nobody knows when this one ends");
        store.append(NewEvent::new("Other", &1).unwrap().key("k")).unwrap();
        assert!(!is_ready(), "it is paused");
        assert!(store.resume(&at_once).unwrap() && is_ready());
    }

    #[test]
    fn a_limit_holds_a_type_until_one_of_its_runs_ends() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default().segment_bytes(64 * 1024)).unwrap();
        store.set_limits(BTreeMap::from([("Issue".to_owned(), 2)]));
        for event_type in ["Issue", "Issue", "Issue", "Comment"] {
            store.append(NewEvent::new(event_type, &1).unwrap()).unwrap();
        }
        let claims = store.claim(10).unwrap();
        let types: Vec<_> = claims.iter().map(|claim| claim.event().event_type()).collect();
        assert_eq!(types, ["Issue", "Comment", "Issue"]);
        let left = store.list(&crate::store::Filter::all().status(Status::Pending)).unwrap();
        assert_eq!(left[0].waiting(), Some(&crate::event::Waiting::Limit { runs: 2 }));
        store.settle(&claims[0], crate::event::Outcome::Done).unwrap();
        let last = store.claim(10).unwrap().remove(0);
        store.append(NewEvent::new("Issue", &1).unwrap()).unwrap();
        // A run whose event was called off goes on, until it is said to have ended.
        store.cancel(last.event().id(), "").unwrap();
        assert!(store.claim(10).unwrap().is_empty());
        store.settle(&last, crate::event::Outcome::Done).unwrap_err();
        assert_eq!(store.claim(10).unwrap().len(), 1);
    }

    #[test]
    fn callers_that_must_not_block_go_on_across_segments_with_nobody_but_the_keeper() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default().segment_bytes(64 * 1024)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = store.clone();
                scope.spawn(move || {
                    for number in 0..100 {
                        let event = NewEvent::new("Issue", &"x".repeat(3_000)).unwrap();
                        block_on(store.append_async(event.id(format!("{thread}-{number}")).into())).unwrap();
                    }
                });
            }
        });
        assert_eq!(store.stats().pending_events, 400);
    }

    #[test]
    fn a_run_makes_a_pause_longer_and_never_shorter() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default().segment_bytes(64 * 1024)).unwrap();
        let scope = Scope::Type("Issue".to_owned());
        let later = |hours| Timestamp::saturating_add(store.shared().now().wall, Duration::from_hours(hours));
        let (soon, late) = (later(1), later(2));
        let pause = |until| block_on(store.pause_async(scope.clone(), until, "too many requests"));
        let until = || store.pauses().into_iter().map(|pause| pause.until).next();
        for (asked, expected) in [(soon, soon), (late, late), (soon, late), (late, late)] {
            pause(asked).unwrap();
            assert_eq!(until(), Some(Some(expected)));
        }
        store.pause(scope.clone(), None, "a release").unwrap();
        pause(late).unwrap();
        assert_eq!(until(), Some(None), "a person ends it");
        store.pause(scope.clone(), Some(soon), "").unwrap();
        assert_eq!(until(), Some(Some(soon)), "a person may shorten it");
        store.resume(&scope).unwrap();
        pause(later(0)).unwrap();
        assert_eq!(until(), None, "that time has come");
    }

    /// Wakes the thread that blocks.
    struct Unpark(std::thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return value;
            }
            std::thread::park();
        }
    }
}

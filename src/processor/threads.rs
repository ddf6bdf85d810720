//! Threads for handlers that block.
//!
//! They are made as they are needed and used again; one that has had nothing to do for a while ends. Nobody waits for them to end:
//! neither a shutdown nor the runtime. A job that is given up while it runs keeps its thread until it returns, and another may be made
//! in its place.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::event::Outcome;

const NAME: &str = "ledgerline-blocking";

/// How long a thread waits for its next job before it ends.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// The threads. When this is dropped, those that are idle end, and the others when they have returned from their jobs.
pub(super) struct Threads {
    shared: Arc<Shared>,
}

struct Shared {
    threads_max: usize,
    /// Whether tokio's clock, where it is paused, stands still while somebody waits for a job.
    holds_clock: bool,
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<(u64, Job)>,
    /// Jobs that run, and whether each was given up.
    running: HashMap<u64, bool>,
    /// How many of them were.
    given_up: usize,
    given: u64,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Jobs {
    /// Threads that are not taken up by jobs that were given up.
    const fn threads_in_use(&self) -> usize {
        self.threads - self.given_up
    }

    /// A job that runs is given up; false if it has ended.
    fn give_up(&mut self, number: u64) -> bool {
        let runs = self.running.get_mut(&number);
        let is_new = runs.is_some_and(|given_up| !std::mem::replace(given_up, true));
        self.given_up += usize::from(is_new);
        is_new
    }

    fn ended(&mut self, number: u64) {
        let was_given_up = self.running.remove(&number) == Some(true);
        self.given_up -= usize::from(was_given_up);
    }
}

/// Says that no thread could be started; without the lock, because a subscriber is somebody else's code.
fn tell(started: &std::io::Result<()>) {
    if let Err(error) = started {
        tracing::warn!(%error, "cannot start a thread for blocking handlers");
    }
}

impl Threads {
    /// No threads yet, and at most `threads_max` later, beside those whose jobs were given up. `holds_clock` is for tests whose runtime's
    /// clock is paused: that clock would leap to the timeout of whoever waits for a job, because tokio knows nothing of these threads.
    pub(super) fn new(threads_max: usize, holds_clock: bool) -> Self {
        let shared = Shared { threads_max, holds_clock, jobs: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Runs `job` on one of them. If the future is dropped before, a job that waits is dropped too, and one that runs is given up. A
    /// panic of the job is one of the future.
    pub(super) fn run<J: FnOnce() -> Outcome + Send + 'static>(
        &self,
        job: J,
    ) -> impl Future<Output = Outcome> + Send + use<J> {
        let (answer, answered) = oneshot::channel();
        let runtime = Handle::try_current().ok();
        let held = runtime.as_ref().filter(|_| self.shared.holds_clock).map(hold_clock);
        let ticket = self.enter(Box::new(move || {
            let _entered = runtime.as_ref().map(Handle::enter);
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            // Nobody waits for what was given up.
            let _ = answer.send(ended);
        }));
        async move {
            // Moved as a whole: else the block takes a copy of one field, and the ticket is dropped before.
            let mut ticket = ticket;
            let ended = answered.await;
            ticket.is_over = true;
            drop(held);
            match ended {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(payload)) => std::panic::resume_unwind(payload),
                // There was no thread for it, or it was dropped: neither is its failure.
                Err(_) => Outcome::Release,
            }
        }
    }

    fn enter(&self, job: Job) -> Ticket {
        let mut jobs = self.shared.lock();
        jobs.given += 1;
        let ticket = Ticket { shared: Arc::clone(&self.shared), number: jobs.given, is_over: false };
        jobs.waiting.push_back((ticket.number, job));
        let started = Shared::start_thread(&self.shared, &mut jobs);
        // Without any thread nobody would ever come for it.
        let unwanted = if jobs.threads == 0 { jobs.waiting.pop_back() } else { None };
        drop(jobs);
        tell(&started);
        drop(unwanted);
        self.shared.changed.notify_one();
        ticket
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let waiting = {
            let mut jobs = self.shared.lock();
            jobs.closed = true;
            std::mem::take(&mut jobs.waiting)
        };
        // Without the lock: what a handler holds may give a job while it goes.
        drop(waiting);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// Starts a thread if one is needed and allowed.
    fn start_thread(shared: &Arc<Self>, jobs: &mut Jobs) -> std::io::Result<()> {
        if jobs.waiting.len() > jobs.idle && jobs.threads_in_use() < shared.threads_max {
            let life = Arc::clone(shared);
            std::thread::Builder::new().name(NAME.to_owned()).spawn(move || life.work())?;
            jobs.threads += 1;
        }
        Ok(())
    }

    /// The life of a thread.
    fn work(&self) {
        let mut jobs = self.lock();
        loop {
            if let Some((number, job)) = jobs.waiting.pop_front() {
                jobs.running.insert(number, false);
                drop(jobs);
                job();
                jobs = self.lock();
                jobs.ended(number);
                if jobs.threads_in_use() > self.threads_max {
                    break; // Another was made in its place.
                }
                continue;
            }
            if jobs.closed {
                break;
            }
            jobs.idle += 1;
            let (back, waited) = self.changed.wait_timeout(jobs, IDLE).unwrap_or_else(PoisonError::into_inner);
            jobs = back;
            jobs.idle -= 1;
            if waited.timed_out() && jobs.waiting.is_empty() {
                break;
            }
        }
        jobs.threads -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the runtime's clock stand still, if it is paused, until what this returns is dropped: as it does while a thread of its own works.
fn hold_clock(runtime: &Handle) -> mpsc::Sender<()> {
    let (held, holding) = mpsc::channel();
    runtime.spawn_blocking(move || _ = holding.recv());
    held
}

/// A job that somebody waits for.
struct Ticket {
    shared: Arc<Shared>,
    number: u64,
    is_over: bool,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (dropped, started) = {
            let mut jobs = self.shared.lock();
            let runs = jobs.give_up(self.number);
            // Who waits for a thread gets another in place of this one, now or when the next job is given.
            let started = if runs { Shared::start_thread(&self.shared, &mut jobs) } else { Ok(()) };
            let at = jobs.waiting.iter().position(|(number, _)| *number == self.number);
            (at.and_then(|at| jobs.waiting.remove(at)), started)
        };
        // Without the lock, as above.
        drop(dropped);
        tell(&started);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;
    use std::thread::ThreadId;

    use super::*;

    fn name_and_id() -> (Option<String>, ThreadId) {
        let thread = std::thread::current();
        (thread.name().map(str::to_owned), thread.id())
    }

    #[tokio::test]
    async fn jobs_run_on_named_threads_that_are_used_again() {
        let threads = Threads::new(4, false);
        let (tell, told) = mpsc::channel();
        for _ in 0..20 {
            let tell = tell.clone();
            let job = move || {
                tell.send(name_and_id()).unwrap();
                Outcome::Done
            };
            assert_eq!(threads.run(job).await, Outcome::Done);
        }
        let seen: BTreeSet<String> = told.try_iter().map(|(name, id)| format!("{name:?} {id:?}")).collect();
        // The one that has answered may not be idle again yet when the next job is given.
        assert!(seen.len() <= 4 && seen.iter().all(|thread| thread.contains(NAME)), "{seen:?}");
    }

    #[tokio::test]
    async fn there_are_as_many_threads_as_are_needed_but_no_more_than_allowed() {
        let threads = Threads::new(2, false);
        let barrier = Arc::new(Barrier::new(3));
        let job = || {
            let barrier = Arc::clone(&barrier);
            move || {
                barrier.wait();
                Outcome::Done
            }
        };
        let jobs = [job(), job(), job()].map(|job| tokio::spawn(threads.run(job)));
        while threads.shared.lock().running.len() < 2 {
            tokio::task::yield_now().await;
        }
        let seen = |jobs: &Jobs| (jobs.threads, jobs.threads_in_use(), jobs.waiting.len());
        assert_eq!(seen(&threads.shared.lock()), (2, 2, 1));
        // One of those that run is given up: another thread is made for the third.
        let first = jobs.into_iter().next().unwrap();
        first.abort();
        let _ = first.await;
        while !threads.shared.lock().running.is_empty() {
            tokio::task::yield_now().await;
        }
        while threads.shared.lock().threads > 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(threads.shared.lock().given_up, 0, "what was given up has ended");
    }

    #[tokio::test]
    async fn a_job_that_waits_is_dropped_with_its_future_and_never_runs() {
        let threads = Threads::new(1, false);
        let (open, gate) = mpsc::channel::<()>();
        let first = tokio::spawn(threads.run(move || {
            gate.recv().unwrap();
            Outcome::Done
        }));
        drop(threads.run(|| panic!("nobody waits for it")));
        assert!(threads.shared.lock().waiting.len() <= 1);
        open.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Outcome::Done);
    }

    #[tokio::test]
    async fn a_panic_reaches_whoever_waits_and_the_thread_goes_on() {
        let threads = Threads::new(1, false);
        let panicked = tokio::spawn(threads.run(|| panic!("bad")));
        assert!(panicked.await.unwrap_err().is_panic());
        assert_eq!(threads.run(|| Outcome::Done).await, Outcome::Done);
    }

    #[tokio::test]
    async fn dropping_them_waits_for_nobody() {
        let threads = Threads::new(2, false);
        let (_open, gate) = mpsc::channel::<()>();
        let hung = threads.run(move || {
            let _ = gate.recv();
            Outcome::Done
        });
        assert_eq!(threads.run(|| Outcome::Done).await, Outcome::Done);
        let shared = Arc::clone(&threads.shared);
        drop(threads);
        while shared.lock().threads > 1 {
            tokio::task::yield_now().await;
        }
        drop(hung);
    }
}

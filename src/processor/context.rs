//! What a handler knows about its run.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::Error;
use crate::event::{Event, NewEvent, Scope, Timestamp};
use crate::processor::attempt::Ending;
use crate::queue::{Claim, Emit, Intake, Receipt};

/// What a handler knows about its run beside the event: which one it is, how long it may take, and whether it was called off.
/// Cheap to clone.
#[derive(Clone)]
pub struct Context {
    run: Arc<Shared>,
}

struct Shared {
    event: Event,
    intake: Intake,
    attempt: u32,
    is_last: bool,
    origin: Arc<str>,
    deadline: Timestamp,
    begun: Instant,
    timeout: Duration,
    is_cancelled: AtomicBool,
    cancelled: Notify,
    is_aborted: AtomicBool,
    aborted: Notify,
    /// How much of the run goes on outside its task.
    lingering: AtomicUsize,
    quiet: Notify,
    /// A std lock: it is held for one look, and never across an await.
    members: Mutex<Members>,
}

/// The handlers of a run, if it is of several.
#[derive(Clone, Default)]
pub(super) struct Members {
    /// Those that have not returned.
    pub(super) running: Vec<Arc<str>>,
    /// Those that have, and how.
    pub(super) ended: Vec<(Arc<str>, Ending)>,
    /// Whether the time of the run is over: whoever returns now has failed.
    pub(super) is_late: bool,
}

impl Shared {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something of a run that goes on outside its task: the run has not ended before this is dropped.
pub(super) struct Linger {
    run: Arc<Shared>,
}

impl Drop for Linger {
    fn drop(&mut self) {
        if self.run.lingering.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.run.quiet.notify_waiters();
        }
    }
}

impl Context {
    /// Of a run of `claim` that begins `now` and has `timeout` to end; `origin` names the store that `intake` leads to.
    pub(super) fn new(claim: &Claim, intake: &Intake, origin: &Arc<str>, now: Instant, timeout: Duration) -> Self {
        let event = claim.event();
        let run = Shared {
            event: event.clone(),
            intake: intake.clone(),
            attempt: claim.attempt(),
            is_last: claim.is_last(),
            origin: Arc::clone(origin),
            deadline: event.last_attempt().unwrap_or(event.timestamp()).saturating_add(timeout),
            begun: now,
            timeout,
            is_cancelled: AtomicBool::new(false),
            cancelled: Notify::new(),
            is_aborted: AtomicBool::new(false),
            aborted: Notify::new(),
            lingering: AtomicUsize::new(0),
            quiet: Notify::new(),
            members: Mutex::default(),
        };
        Self { run: Arc::new(run) }
    }

    /// Which run of the event this is, counted from 1. Interrupted runs and those before a replay count too.
    /// It stays at 65,536 once it has come that far.
    pub fn attempt(&self) -> u32 {
        self.run.attempt
    }

    /// How many failures count against the event so far: 0 in the first run, and after a replay.
    pub fn retry_count(&self) -> u32 {
        self.run.event.retry_count()
    }

    /// Whether the event has failed for good if this run fails.
    pub fn is_last(&self) -> bool {
        self.run.is_last
    }

    /// When the run will count as failed, by the machine's clock (which may be set meanwhile: [`Context::time_left`] is exact).
    pub fn deadline(&self) -> Timestamp {
        self.run.deadline
    }

    /// What time it is now, by the clock that dated the run's beginning and by the time that has passed since: for whatever asks for the
    /// present time, as [`RateLimit`](crate::RateLimit) does, so that a handler does the same under a test's clock
    /// ([`testing`](crate::testing)).
    pub fn now(&self) -> Timestamp {
        self.run.deadline.saturating_add(self.run.begun.elapsed()).saturating_sub(self.run.timeout)
    }

    /// Emits an event, as [`EventManager::emit`](crate::EventManager::emit) does: for what follows from this one. It is kept whatever
    /// becomes of this run, and a further run emits it again: where there is to be one, name it after the event that it follows from and
    /// what it is for, and let its data be the same each time ([`NewEvent::id`]). Its id is remembered for as long as any
    /// ([`StoreOptions::dedup_window`](crate::StoreOptions::dedup_window)).
    ///
    /// ```
    /// use ledgerline::{Context, Event};
    ///
    /// async fn on_issue(event: Event, context: Context) -> Result<(), ledgerline::Error> {
    ///     let id = format!("notify-{}", context.idempotency_key());
    ///     context.emit("Notification", serde_json::json!({"about": event.id()})).id(id).await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn emit(&self, event_type: impl Into<String>, data: impl Serialize) -> Emit {
        Emit::new(self.run.intake.clone(), NewEvent::new(event_type, &data))
    }

    /// As [`Context::emit`], for an event that was made elsewhere: see [`EventManager::emit_event`](crate::EventManager::emit_event).
    ///
    /// # Errors
    /// Those of [`Emit`].
    pub async fn emit_event(&self, event: NewEvent) -> Result<Receipt, Error> {
        self.run.intake.append(event.into()).await
    }

    /// As [`Context::emit`], for several events, all or none: see [`EventManager::emit_many`](crate::EventManager::emit_many).
    ///
    /// # Errors
    /// As there.
    pub async fn emit_many(&self, events: impl IntoIterator<Item = NewEvent>) -> Result<Vec<Receipt>, Error> {
        self.run.intake.append_many(events.into_iter().collect()).await
    }

    /// Has no event of this one's type begin to run before `until`, as where a service says when it takes requests again
    /// ([`RateLimit`](crate::RateLimit) reads its headers). What runs already goes on; end this run with
    /// [`Outcome::RetryAt`](crate::Outcome::RetryAt), which spends no retry. Durable once this returns. A pause of the type that ends
    /// earlier is replaced; one that lasts longer, or until a person ends it, stays as it is. A time that has come pauses nothing. It is
    /// shown by [`EventManager::pauses`](crate::EventManager::pauses) and may be ended by hand.
    ///
    /// # Errors
    /// As [`Store::pause`](crate::Store::pause).
    pub async fn pause_type(&self, until: Timestamp, reason: &str) -> Result<(), Error> {
        let scope = Scope::Type(self.run.event.event_type().to_owned());
        self.run.intake.queue().pause(scope, until, reason).await
    }

    /// As [`Context::pause_type`], for the events of this one's key.
    ///
    /// # Errors
    /// As there; also [`InvalidInput`](crate::ErrorKind::InvalidInput) if the event has no key.
    pub async fn pause_key(&self, until: Timestamp, reason: &str) -> Result<(), Error> {
        let key = self.run.event.key().ok_or_else(|| {
            Error::invalid(format!("the event {:?} has no key that could be paused", self.run.event.id()))
        })?;
        self.run.intake.queue().pause(Scope::Key(key.to_owned()), until, reason).await
    }

    /// How long until the run's time is over; zero from then on. It counts as failed as soon as the workers see that: what returns before
    /// they look counts as what it returned.
    pub fn time_left(&self) -> Duration {
        self.run.timeout.saturating_sub(self.run.begun.elapsed())
    }

    /// Resolves when the run was called off: its time is over, the manager shuts down, or a person cancelled the event. What the
    /// handler returns afterwards makes no success of a run that has failed, but ending soon lets the event's key go on. At a shutdown
    /// the run has not failed, and a success is believed: whoever leaves work undone returns [`Outcome::Release`](crate::Outcome::Release)
    /// or an error, and the event runs again after the next start.
    ///
    /// It also resolves when the run is over, for what the handler has left running.
    pub async fn cancelled(&self) {
        let cancelled = self.run.cancelled.notified();
        if !self.is_cancelled() {
            cancelled.await;
        }
    }

    /// Whether the run was called off, or is over.
    pub fn is_cancelled(&self) -> bool {
        self.run.is_cancelled.load(Ordering::Acquire)
    }

    /// Names the event to other systems, so that they can tell a further run from a new event: the same in each run of this event,
    /// also after a restart and a replay, and another for every other event of any store. At most 49 bytes: hexadecimal digits and
    /// one `-`.
    pub fn idempotency_key(&self) -> String {
        format!("{}-{:x}", self.run.origin, self.run.event.seq())
    }

    /// Calls the run off.
    pub(super) fn cancel(&self) {
        // First the flag, then the wake-up: whoever misses the second sees the first.
        self.run.is_cancelled.store(true, Ordering::Release);
        self.run.cancelled.notify_waiters();
    }

    /// Calls the run off and has its task drop whatever it still awaits.
    pub(super) fn abort(&self) {
        self.cancel();
        self.run.is_aborted.store(true, Ordering::Release);
        self.run.aborted.notify_waiters();
    }

    /// Resolves when the run is aborted.
    pub(super) async fn aborted(&self) {
        let aborted = self.run.aborted.notified();
        if !self.run.is_aborted.load(Ordering::Acquire) {
            aborted.await;
        }
    }

    /// Says that the run is one of several handlers, by their names.
    pub(super) fn run_by(&self, handlers: Vec<Arc<str>>) {
        self.run.members().running = handlers;
    }

    /// Says how one of them has ended; false if the run's time was over by then.
    pub(super) fn returned(&self, handler: Arc<str>, ending: Ending) -> bool {
        let mut members = self.run.members();
        members.running.retain(|running| **running != *handler);
        members.ended.push((handler, ending));
        !members.is_late
    }

    /// As [`Context::members`], now that the run's time is over.
    pub(super) fn end_time(&self) -> Members {
        let mut members = self.run.members();
        members.is_late = true;
        members.clone()
    }

    /// Several handlers, as they stand now; none, if the run is of one alone.
    pub(super) fn members(&self) -> Members {
        self.run.members().clone()
    }

    /// Says that something of the run goes on outside its task.
    pub(super) fn linger(&self) -> Linger {
        self.run.lingering.fetch_add(1, Ordering::AcqRel);
        Linger { run: Arc::clone(&self.run) }
    }

    /// Resolves when nothing of the run goes on outside its task.
    pub(super) async fn quiet(&self) {
        loop {
            let quiet = self.run.quiet.notified();
            if self.run.lingering.load(Ordering::Acquire) == 0 {
                return;
            }
            quiet.await;
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("attempt", &self.attempt())
            .field("retry_count", &self.retry_count())
            .field("is_last", &self.is_last())
            .field("deadline", &self.deadline())
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

//! The front door: a store, its workers and the way in, under the names that users of the former Python program know.
//!
//! Promises: what [`EventManager::emit`] and the other changing calls have answered is durable; values out of bounds are refused by
//! name before anything is created; no call waits for a sync on a thread of the runtime, and what reads files runs on tokio's blocking
//! threads, but for the data of events that are claimed.
//!
//! Deliberately absent: HTTP, signals, configuration files, logs' destinations. Read next: [`crate::queue`] for what is promised
//! about running events, then [`crate::processor`] for how they run.

mod handlers;
mod health;
mod rounds;
mod selecting;
mod standing;
mod subscription;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::event::{Event, NewEvent, Status};
use crate::processor::{AnyHandler, Backlog, Given, Handler, Handlers, Layers, Options, Workers};
use crate::queue::{Emit, Intake, Queue, blocking};
use crate::store::{
    CompactionReport, Filter, HistoryEntry, MemoryDisk, Place, Receipt, Recovery, Replay, Selection, Stats, Store,
    StoreOptions, Unhandled,
};

pub use health::Health;
pub use subscription::{SubscribeFrom, Subscription};

/// Keeps events and runs handlers on them. Cheap to clone: clones are the same manager.
///
/// ```no_run
/// # async fn example() -> Result<(), ledgerline::Error> {
/// use ledgerline::{Context, Event, EventManager};
///
/// async fn post(event: Event, context: Context) -> Result<(), std::io::Error> {
///     println!("run {} of {}: {:?}", context.attempt(), event.id(), event.pointer("/title"));
///     Ok(())
/// }
///
/// let manager = EventManager::builder("./events").max_retries(5).on("Issue", post).start().await?;
/// let id = manager.emit("Issue", serde_json::json!({"title": "New"})).key("ISS-1").await?; // durable now
/// # let _ = id;
/// manager.shutdown().await?;
/// # Ok(())
/// # }
/// ```
///
/// Shut it down with [`EventManager::shutdown`]. When every clone is dropped without it, the workers stop by themselves, what they
/// ran is aborted and runs again after the next start; no event is lost. The store is closed, and its lock free, some time after, once
/// nothing uses it any more: a [`Context`](crate::Context) that was kept does.
///
/// Its async calls belong on a tokio runtime with timers enabled. [`EventManager::emit`] and [`EventManager::emit_event`] do without; the
/// others panic elsewhere where they come to need it. Once polled they go on though they are dropped, unless they say otherwise: what they
/// were to change may change. None waits for a sync on a thread of the runtime; what reads the log does so on blocking threads, but for
/// the data of events that are claimed, and the id of the event whose body a duplicate has.
#[derive(Clone)]
#[must_use = "the workers stop when the last clone of a manager is dropped"]
pub struct EventManager {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    intake: Intake,
    options: Options,
    /// None if it was opened without.
    workers: Option<Workers>,
    concern: Concern,
}

/// Says what else is wrong, if anything is, for reasons that the manager cannot see itself. It is called often, and must not wait.
type Concern = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What a manager is to be, before it is: its directory, its settings, its handlers. Nothing is checked or created until
/// [`EventManagerBuilder::start`] or [`EventManagerBuilder::open`].
#[must_use = "nothing exists until start() or open()"]
pub struct EventManagerBuilder {
    place: Place,
    store: StoreOptions,
    queue_size: usize,
    options: Options,
    handlers: Vec<Given>,
    layers: Layers,
    concern: Concern,
}

impl EventManagerBuilder {
    /// Keeps the events in memory instead of the directory, which is neither read nor created: nothing survives the process, and
    /// everything else holds. See [`Store::in_memory`] for what that does to the options.
    pub fn in_memory(mut self) -> Self {
        self.place = Place::Memory(MemoryDisk::new());
        self
    }

    /// Most events that are claimed at once: 1 to 10,000, 10 by default. A manager is not healthy while ten times as many are pending that
    /// wait for no time: see [`EventManager::health`].
    pub fn batch_size(mut self, events: usize) -> Self {
        self.options.batch_size = events;
        self
    }

    /// Most handlers that run at once: 1 to 10,000, 16 by default.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.options.concurrency = handlers;
        self
    }

    /// Bound on how late work may be noticed: 1 ms to 1 hour, 5 s by default. Events are run when they arrive or fall due; this only
    /// says how soon the workers look again should they have missed it, and after a failure of the store.
    pub fn processing_interval(mut self, interval: Duration) -> Self {
        self.options.processing_interval = interval;
        self
    }

    /// How long a handler may take: 1 ms to 24 hours, 60 s by default. Once the workers see that it is over the attempt has failed,
    /// whatever the handler still returns, and [`crate::Context::cancelled`] resolves. What has returned when they look counts as what
    /// it returned, even if that was a moment too late.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.options.handler_timeout = timeout;
        self
    }

    /// How long a handler whose time is over may take to end by itself before its task is aborted: 0 to 60 s, 5 s by default. It
    /// keeps its slot until then.
    pub fn handler_grace(mut self, grace: Duration) -> Self {
        self.options.handler_grace = grace;
        self
    }

    /// How long [`EventManager::shutdown`] lets handlers run before it calls them off: 0 to 1 hour, 25 s by default.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.options.drain_timeout = timeout;
        self
    }

    /// Whether several events may be claimed at once: on by default. Off, events are claimed one by one as slots become free, as if
    /// `batch_size` were 1, except that health still judges by `batch_size`.
    pub fn batch_processing(mut self, on: bool) -> Self {
        self.options.batch_processing = on;
        self
    }

    /// Whether events run when they arrive: on by default. Off, they wait for [`EventManager::process_pending`].
    pub fn background_processing(mut self, on: bool) -> Self {
        self.options.background_processing = on;
        self
    }

    /// Wait before the first retry; it doubles with each further one, up to an hour, ± 20 %: 1 ms to 1 hour, 60 s by default.
    pub fn retry_interval(mut self, interval: Duration) -> Self {
        self.store = self.store.retry_interval(interval);
        self
    }

    /// Runs after the first counted failure, for events that do not say: 0 to 1,000, 3 by default.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.store = self.store.max_retries(retries);
        self
    }

    /// How long completed and cancelled events are kept: 1 s to 10 years, 24 hours by default.
    pub fn max_event_age(mut self, age: Duration) -> Self {
        self.store = self.store.max_event_age(age);
        self
    }

    /// How many emits may wait for the disk at once: 1 to 1,000,000, 1,000 by default; together they may have 64 MiB of data. It does
    /// not bound how many events may be pending: the disk does.
    pub fn queue_size(mut self, waiting: usize) -> Self {
        self.queue_size = waiting;
        self
    }

    /// What becomes of events whose type has no handler: [`Unhandled::Hold`] by default. Handlers that are only registered after the
    /// start come too late for events that were completed or have failed by then: with those, say it to [`EventManagerBuilder::on`].
    pub fn unhandled(mut self, unhandled: Unhandled) -> Self {
        self.store = self.store.unhandled(unhandled);
        self
    }

    /// All settings of the store at once, also those that have no method here. They replace what `retry_interval`, `max_retries`,
    /// `max_event_age` and `unhandled` have said before.
    pub fn store_options(mut self, options: StoreOptions) -> Self {
        self.store = options;
        self
    }

    /// Runs events of `event_type` with `handler`; `"*"` stands for every type that has no handler of its own. Events of types
    /// without any handler are kept and held until one is there, unless [`EventManagerBuilder::unhandled`] says otherwise.
    ///
    /// A type may have up to 64 handlers: see [`EventManagerBuilder::on_named`]. This one is named after its type and its number among
    /// those of the type (`Issue#1`).
    pub fn on<Args>(self, event_type: impl Into<String>, handler: impl Handler<Args>) -> Self {
        self.with_handler(None, event_type.into(), AnyHandler::new(handler))
    }

    /// Makes what `concern` returns one more reason not to be healthy.
    #[cfg(feature = "service")]
    pub(crate) fn concern(mut self, concern: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.concern = Arc::new(concern);
        self
    }

    /// Opens the store, creating it if there is none, and starts the workers on the present tokio runtime.
    ///
    /// Once this returns, events that were kept before run, and those that were being processed when the last process died run again.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] names a value out of bounds, or a handler's name that is taken; nothing was created then.
    /// Else those of [`Store::open`]: [`ErrorKind::Locked`] names the process that has it open, [`ErrorKind::Corrupt`] the place.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(mut self) -> Result<EventManager, Error> {
        self.validate()?;
        let (given, layers) = (std::mem::take(&mut self.handlers), std::mem::take(&mut self.layers));
        let handlers = Handlers::new(given, layers, self.options.clone())?;
        self.build(Some(handlers)).await
    }

    /// Opens the store, creating it if there is none, without running anything: to emit, to look, to replay.
    ///
    /// # Errors
    /// As [`EventManagerBuilder::start`]; also [`ErrorKind::InvalidInput`] if handlers were given, which nothing would run.
    pub async fn open(self) -> Result<EventManager, Error> {
        self.validate()?;
        if let Some(Given { event_type, .. }) = self.handlers.first() {
            return Err(Error::invalid(format!(
                "open() runs nothing, but {event_type:?} was given a handler: use start()"
            )));
        }
        self.build(None).await
    }

    fn validate(&self) -> Result<(), Error> {
        self.place.options(self.store.clone()).validate()?;
        self.options.validate()?;
        Intake::validate(self.queue_size)
    }

    /// Opens the store, and starts workers if there are handlers.
    async fn build(self, handlers: Option<Handlers>) -> Result<EventManager, Error> {
        let Self { place, store, queue_size, options, concern, .. } = self;
        let store = blocking(move || place.open(store)).await?;
        let per_type = options.per_type.clone();
        let intake = Intake::new(
            Queue::embedded(store.clone()),
            queue_size,
            Arc::new(move |event_type| per_type.max_retries(event_type)),
        );
        let workers = handlers.map(|handlers| {
            let watching = watching(store.clone(), options.clone(), Arc::clone(&concern));
            Workers::start(intake.clone(), handlers, watching)
        });
        Ok(EventManager { inner: Arc::new(Inner { store, intake, options, workers, concern }) })
    }
}

impl fmt::Debug for EventManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<_> = self.handlers.iter().map(|given| &given.event_type).collect();
        f.debug_struct("EventManagerBuilder")
            .field("path", &self.place.path())
            .field("store", &self.store)
            .field("queue_size", &self.queue_size)
            .field("options", &self.options)
            .field("handlers", &types)
            .finish_non_exhaustive()
    }
}

impl EventManager {
    /// Begins to describe a manager of the store in the directory `path`, which is created by `start` or `open` if it is missing.
    pub fn builder(path: impl Into<PathBuf>) -> EventManagerBuilder {
        Self::builder_at(Place::Directory(path.into()))
    }

    /// As [`EventManager::builder`], of a store that is kept at `place`.
    pub(crate) fn builder_at(place: Place) -> EventManagerBuilder {
        let holds_clock = matches!(place, Place::Machine(_));
        EventManagerBuilder {
            place,
            store: StoreOptions::default(),
            queue_size: 1_000,
            options: Options { holds_clock, ..Options::default() },
            handlers: Vec::new(),
            layers: Layers::default(),
            concern: Arc::new(|| None),
        }
    }

    /// Emits an event of `event_type` that carries `data` as JSON: say more about it with the methods of [`Emit`], then await it
    /// for the event's id. The event is durable by then. While `queue_size` others, or 64 MiB of their data, wait for the disk, it
    /// waits for a place first.
    pub fn emit(&self, event_type: impl Into<String>, data: impl Serialize) -> Emit {
        Emit::new(self.inner.intake.clone(), NewEvent::new(event_type, &data))
    }

    /// Emits an event that was made elsewhere: durable once this returns. A duplicate is answered with the event that is there.
    /// While `queue_size` others, or 64 MiB of their data, wait for the disk, it waits for a place first. Dropping it is as
    /// dropping an [`Emit`].
    ///
    /// # Errors
    /// Those of [`Emit`].
    pub async fn emit_event(&self, event: NewEvent) -> Result<Receipt, Error> {
        self.inner.intake.append(event.into()).await
    }

    /// As [`EventManager::emit_event`], for callers who would rather refuse than wait.
    ///
    /// # Errors
    /// Those of [`Emit`]; also [`ErrorKind::Full`], at once, while `queue_size` emits or 64 MiB of their data wait for the disk.
    /// Nothing was kept then.
    pub async fn try_emit_event(&self, event: NewEvent) -> Result<Receipt, Error> {
        self.inner.intake.try_append(event.into()).await
    }

    /// Emits several events that were made elsewhere, as one: after a crash all of them are there, or none. Durable once this returns; the
    /// receipts are in the order of the events, and duplicates are answered with the events that are there. It waits for places as
    /// [`EventManager::emit_event`] does, for no more of them than there are. Dropping it is as dropping an [`Emit`].
    ///
    /// # Errors
    /// Those of [`Emit`]; together they may take a quarter of a segment ([`ErrorKind::TooLarge`]), and no id may come twice. Nothing was
    /// kept then.
    pub async fn emit_many(&self, events: impl IntoIterator<Item = NewEvent>) -> Result<Vec<Receipt>, Error> {
        self.inner.intake.append_many(events.into_iter().collect()).await
    }

    /// What an emit of this event would be answered with, if it is a duplicate.
    #[cfg(feature = "service")]
    pub(crate) async fn known(&self, event: &NewEvent) -> Result<Option<Receipt>, Error> {
        self.inner.intake.queue().known(event).await
    }

    /// Runs events of `event_type` with `handler` from now on, and those that were held for want of one: many of them are released by and
    /// by, before anything else is claimed, and count as held until then. See [`EventManagerBuilder::on`]; [`AnyHandler`] makes a handler
    /// of any kind.
    ///
    /// A handler that holds a clone of this manager keeps it alive until [`EventManager::shutdown`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the type has 64 handlers, or is empty or longer than 128 bytes, or an option of the handler is out
    /// of bounds; [`ErrorKind::NotAllowed`] if the manager was opened without workers; [`ErrorKind::Closed`] after a shutdown.
    pub fn register<Args>(&self, event_type: impl Into<String>, handler: impl Handler<Args>) -> Result<(), Error> {
        self.add_handler(Given { name: None, event_type: event_type.into(), handler: AnyHandler::new(handler) })
    }

    /// The event of this id as it stands, or `None` if there is none (any more).
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn get(&self, id: impl Into<String>) -> Result<Option<Event>, Error> {
        let id = id.into();
        self.call(move |store| store.get(&id)).await
    }

    /// Everything that happened to the event of this id, oldest first; empty if there is none.
    ///
    /// # Errors
    /// As [`Store::history`].
    pub async fn history(&self, id: impl Into<String>) -> Result<Vec<HistoryEntry>, Error> {
        let id = id.into();
        self.call(move |store| store.history(&id)).await
    }

    /// The events that match, oldest first, each with its data: set a limit where there may be many.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list(&self, filter: Filter) -> Result<Vec<Event>, Error> {
        self.call(move |store| store.list(&filter)).await
    }

    /// The events that have failed for good and wait for a person, oldest first, each with its data: where there may be many, list them
    /// in pages ([`Filter`]).
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn failed_events(&self) -> Result<Vec<Event>, Error> {
        self.list(Filter::all().status(Status::Failed)).await
    }

    /// Runs these events anew: retries count from 0, and each joins the end of its key. Durable once this returns. Says for each, in
    /// the order given, whether it was replayed; one that is pending or processing, or unknown, is refused with the reason.
    ///
    /// # Errors
    /// [`ErrorKind::Full`]: there is no room for all of them; those whose turn had come before are replayed. [`ErrorKind::Closed`],
    /// [`ErrorKind::Poisoned`] or [`ErrorKind::OutcomeUnknown`], for all of them together.
    pub async fn replay(&self, ids: impl IntoIterator<Item = impl Into<String>>) -> Result<Vec<Replay>, Error> {
        let ids: Vec<String> = ids.into_iter().map(Into::into).collect();
        self.call(move |store| store.replay(&ids)).await
    }

    /// Runs all events anew that have failed for good, and returns how many. Durable once this returns.
    ///
    /// # Errors
    /// As [`EventManager::replay`].
    pub async fn replay_failed(&self) -> Result<usize, Error> {
        let replayed = self.replay_all(Selection::failed()).await?;
        Ok(usize::try_from(replayed.done).unwrap_or(usize::MAX))
    }

    /// Calls an event off, for this reason: it does not run any more. Durable once this returns. A handler that runs it is told by
    /// [`crate::Context::cancelled`]; what it returns is of no account, but until it ends, or its time is over and it is aborted, the
    /// next event of its key waits, and so does this one if it is replayed. Dropped before it is ready, this may have called the event
    /// off and not told the handler, which then goes on for as long as its time allows.
    ///
    /// # Errors
    /// As [`Store::cancel`].
    pub async fn cancel(&self, id: impl Into<String>, reason: impl Into<String>) -> Result<(), Error> {
        let (id, reason) = (id.into(), reason.into());
        let called_off = self.call(move |store| store.call_off(&id, &reason)).await?;
        self.tell_called_off(called_off).await;
        Ok(())
    }

    /// Forgets completed and cancelled events that are older than `max_event_age`, and frees their space: see
    /// [`Store::compact`](crate::Store::compact). This also happens by itself, a minute after the start and then every hour.
    ///
    /// # Errors
    /// As [`Store::compact`]; no live event is lost by any of them.
    pub async fn compact(&self) -> Result<CompactionReport, Error> {
        self.call(Store::compact).await
    }

    /// Counts, over the store's whole life and as of now. `is_running` says whether the workers claim events.
    pub fn stats(&self) -> Stats {
        let mut stats = self.inner.store.stats();
        stats.is_running = self.is_running();
        stats
    }

    /// Whether the workers claim events.
    pub(crate) fn is_running(&self) -> bool {
        self.inner.workers.as_ref().is_some_and(Workers::are_running)
    }

    /// Whether [`EventManager::health`] finds nothing wrong.
    pub fn is_healthy(&self) -> bool {
        self.health().healthy
    }

    /// Whether all is well: the workers run, fewer than `batch_size` × 10 events are pending that wait for no time (or, while something is
    /// paused, that could run) and fewer than 100 have failed for good, the store takes events, nothing was found damaged, and no more
    /// than `concurrency` handlers refuse to end. If not, it says why.
    ///
    /// Running workers look every 5 s, and log a change for the worse once as a warning, and one for the better once as information.
    pub fn health(&self) -> Health {
        let backlog = self.inner.workers.as_ref().map_or_else(Backlog::default, Workers::backlog);
        let stats = Stats { is_running: self.is_running(), ..self.inner.store.gauges() };
        Health::judge(&stats, backlog, &self.inner.options).and((self.inner.concern)())
    }

    /// What opening the store found and did.
    pub fn recovery(&self) -> &Recovery {
        self.inner.store.recovery()
    }

    /// The store beneath. Its blocking calls must not run on a thread of the runtime, and closing it stops the workers. What is appended
    /// there knows nothing of [`TypeOptions`](crate::TypeOptions) and of what may wait at once.
    pub fn store(&self) -> Store {
        self.inner.store.clone()
    }

    /// Shuts down in good order: claims nothing more, lets handlers run on for `drain_timeout`, then tells them to end, aborts after
    /// a second those that do not, leaves behind what does not end for another second (a thread that blocks cannot be aborted), and
    /// releases their events; then closes the store. Handlers can so hold it up for `drain_timeout` and two seconds.
    ///
    /// Once this returns, everything is durable, the directory is free for another process, and whatever did not complete will run
    /// after the next start. Released runs count as no failure. Calling it again is fine: it waits for the same end. Once it was polled,
    /// dropping its future does not revoke it. Not to be awaited within a handler, for which it would wait.
    ///
    /// # Errors
    /// What closing the store could not do ([`ErrorKind::OutcomeUnknown`], [`ErrorKind::Io`]), each time. The workers have stopped even
    /// then.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let manager = self.clone();
        let ended = tokio::spawn(async move {
            if let Some(workers) = &manager.inner.workers {
                workers.stop().await;
            }
            manager.call(Store::close).await
        });
        match ended.await {
            Ok(closed) => closed,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::new(ErrorKind::Closed, "the runtime ended amid the shutdown")),
            },
        }
    }

    /// Ends the workers where they stand, as the death of the process would.
    pub(crate) async fn kill(&self) {
        if let Some(workers) = &self.inner.workers {
            workers.kill().await;
        }
    }

    /// Runs a call of the store that may wait for the disk.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.inner.store.clone();
        blocking(move || call(&store)).await
    }
}

impl fmt::Debug for EventManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventManager")
            .field("path", &self.inner.store.path())
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

/// Looks at the health of running workers over `store` each time it is called.
fn watching(store: Store, options: Options, concern: Concern) -> Box<dyn FnMut(Backlog) + Send> {
    let mut watch = watch::Watch::default();
    Box::new(move |backlog| {
        let stats = Stats { is_running: true, ..store.gauges() };
        watch.observe(&Health::judge(&stats, backlog, &options).and(concern()));
    })
}

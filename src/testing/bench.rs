//! The bench: a manager on a simulated machine.

use std::fmt;
use std::time::Duration;

use super::{CrashPoint, Unsynced};
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Timestamp};
use crate::manager::{EventManager, EventManagerBuilder};
use crate::store::{Filter, LogItem, Machine, Place, Store};

/// When benches begin unless they are told: 2026-01-01.
const FIRST_DAY: Timestamp = Timestamp::from_unix_micros(1_767_225_600_000_000);

/// Describes the manager of each process that a bench starts.
type Setup = Box<dyn Fn(EventManagerBuilder) -> EventManagerBuilder + Send + Sync>;

/// A manager on a machine of its own, which is in memory: its clocks stand still until they are moved, nothing works in the background, and
/// it dies where it is told to. See [the module](super).
///
/// Where tokio's clock is paused (`start_paused` of `#[tokio::test]`, with tokio's feature `test-util`), handlers that hang come to their
/// timeouts at once, but for blocking ones: while one runs that clock stands still, as it does for tokio's own `spawn_blocking`.
///
/// It is to be used from one task; the handlers may do what they like.
pub struct Bench {
    machine: Machine,
    setup: Setup,
    manager: EventManager,
    /// The first record that no drain has counted.
    uncounted: u64,
}

/// A bench that is to be other than usual.
#[derive(Debug, Clone)]
#[must_use = "nothing exists until start()"]
pub struct BenchBuilder {
    seed: u64,
    wall: Timestamp,
}

impl BenchBuilder {
    /// What all chance comes from: the store's id, the ids of events that are given none, the jitter of retries. 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// What the wall clock says at first: 2026-01-01 by default.
    pub fn wall(mut self, wall: Timestamp) -> Self {
        self.wall = wall;
        self
    }

    /// As [`Bench::start`].
    ///
    /// # Errors
    /// As [`EventManagerBuilder::start`].
    pub async fn start(
        self,
        setup: impl Fn(EventManagerBuilder) -> EventManagerBuilder + Send + Sync + 'static,
    ) -> Result<Bench, Error> {
        let setup: Setup = Box::new(setup);
        let mut machine = Machine::new(self.seed, self.wall);
        let manager = begin(&mut machine, &setup).await?;
        let uncounted = manager.store().next_seq();
        Ok(Bench { machine, setup, manager, uncounted })
    }
}

/// Starts the next process of a machine.
async fn begin(machine: &mut Machine, setup: &Setup) -> Result<EventManager, Error> {
    setup(EventManager::builder_at(Place::Machine(machine.next_process()))).start().await
}

/// How runs ended while a bench was drained. Of what was under way when the process died nothing is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Runs that began.
    pub started: u64,
    /// Those that completed their event.
    pub completed: u64,
    /// Those that failed, and whose event waits for a retry.
    pub retried: u64,
    /// Those after which the event has failed for good.
    pub failed: u64,
    /// Events that were cancelled.
    pub cancelled: u64,
    /// Runs that were given back without counting.
    pub released: u64,
    /// Runs that were put off without counting.
    pub snoozed: u64,
}

impl Drained {
    fn count(&mut self, kind: &str, retries: bool) {
        let counter = match kind {
            "started" => &mut self.started,
            "completed" => &mut self.completed,
            "failed" if retries => &mut self.retried,
            "failed" => &mut self.failed,
            "cancelled" => &mut self.cancelled,
            "released" => &mut self.released,
            "snoozed" => &mut self.snoozed,
            _ => return,
        };
        *counter += 1;
    }

    fn add(&mut self, other: &Self) {
        self.started += other.started;
        self.completed += other.completed;
        self.retried += other.retried;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.released += other.released;
        self.snoozed += other.snoozed;
    }
}

impl Bench {
    /// Starts a manager as `setup` describes it, on the present tokio runtime: handlers and options, as for any manager. It is called again
    /// for each later process, so whatever its handlers share outlives them, as the outside world would.
    ///
    /// # Errors
    /// As [`EventManagerBuilder::start`].
    pub async fn start(
        setup: impl Fn(EventManagerBuilder) -> EventManagerBuilder + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        Self::builder().start(setup).await
    }

    /// Begins to describe a bench that is other than usual.
    pub fn builder() -> BenchBuilder {
        BenchBuilder { seed: 0, wall: FIRST_DAY }
    }

    /// The manager of the present process; of a dead one after a crash, until [`Bench::reopen`].
    pub fn manager(&self) -> &EventManager {
        &self.manager
    }

    fn store(&self) -> Store {
        self.manager.store()
    }

    /// What the wall clock says.
    pub fn now(&self) -> Timestamp {
        self.machine.now()
    }

    /// Moves both clocks on. What has become due begins to run when the task next waits, as at [`Bench::drain`]; what the store would have
    /// done by itself meanwhile is done: the ends of runs are durable, and an idle log is marked.
    pub fn advance(&self, by: Duration) {
        self.machine.advance(by);
        self.store().clock_moved();
    }

    /// Sets the wall clock, backwards too; no time has passed by that.
    pub fn set_wall(&self, wall: Timestamp) {
        self.machine.set_wall(wall);
        self.store().clock_moved();
    }

    /// How long until the next event is due by time alone; none if none waits for its time.
    pub fn next_due(&self) -> Option<Duration> {
        self.store().next_due()
    }

    /// Runs handlers until nothing may be claimed now and all that was claimed is settled, durably; says how the runs ended that no drain
    /// has told of before. It returns at once where the process has died, or dies meanwhile ([`Bench::has_crashed`]). Where nothing runs in
    /// the background it asks for it, as [`EventManager::process_pending`] does. A run whose event was cancelled is waited for as well.
    ///
    /// A handler that always gives its event back is never done, and one that waits for what does not come is waited for until its
    /// timeout, which is on tokio's clock.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`]: the manager was shut down. Where nothing runs in the background, also what
    /// [`EventManager::process_pending`] is refused with.
    pub async fn drain(&mut self) -> Result<Drained, Error> {
        let mut drained = Drained::default();
        if self.has_crashed() {
            // Nobody is left who could wake whoever waits.
            return Ok(drained);
        }
        let store = self.store();
        let worked = self.work_off(&store).await;
        let settled = store.settle_down();
        if self.has_crashed() {
            return Ok(drained);
        }
        worked.and(settled)?;
        if !self.manager.is_running() {
            return Err(Error::new(ErrorKind::Closed, "the manager was shut down"));
        }
        let mut log = store.read_from(self.uncounted);
        while let Some(item) = log.next_timeout(Duration::ZERO)? {
            if let LogItem::Entry(entry) = item {
                drained.count(entry.kind, entry.says.get("retry_at").is_some_and(|at| !at.is_null()));
            }
        }
        self.uncounted = log.position();
        Ok(drained)
    }

    /// Waits until nothing may be claimed and nothing runs, and has it run where it does not by itself.
    async fn work_off(&self, store: &Store) -> Result<(), Error> {
        if self.manager.runs_in_background() {
            store.quiet(false).await;
            return Ok(());
        }
        loop {
            self.manager.process_pending().await?;
            // What comes after a round waits for the next one.
            if !store.quiet(true).await {
                return Ok(());
            }
        }
    }

    /// Drains, and goes on from due time to due time until `time` has passed on the clocks: as if the bench had run for that long.
    ///
    /// # Errors
    /// As [`Bench::drain`].
    pub async fn drain_for(&mut self, time: Duration) -> Result<Drained, Error> {
        let mut left = time;
        let mut drained = self.drain().await?;
        while !self.has_crashed() && left > Duration::ZERO {
            let step = self.next_due().map_or(left, |due| due.min(left));
            self.advance(step);
            left -= step;
            drained.add(&self.drain().await?);
        }
        Ok(drained)
    }

    /// As [`Bench::drain_for`], until the wall clock says `wall`; at once if it does already.
    ///
    /// # Errors
    /// As [`Bench::drain`].
    pub async fn drain_until(&mut self, wall: Timestamp) -> Result<Drained, Error> {
        self.drain_for(wall.saturating_since(self.now())).await
    }

    /// Every event that the store holds, oldest first, as it stands; see also [`assert_emitted!`](crate::assert_emitted).
    ///
    /// # Errors
    /// As [`EventManager::list`].
    pub fn emitted(&self) -> Result<Vec<Event>, Error> {
        self.store().list(&Filter::all())
    }

    /// The process dies when it next comes to this point: every call fails from there on. Replaces what was said before.
    pub fn crash_at(&self, point: CrashPoint) {
        self.crash_at_later(point, 0);
    }

    /// As [`Bench::crash_at`], after it has passed the point `spared` times.
    pub fn crash_at_later(&self, point: CrashPoint, spared: u64) {
        self.machine.cut_power_at(point, spared);
    }

    /// The process dies in the midst of the call of the disk that follows `calls` further ones, of those that change anything: this one may
    /// have done all of its work or none.
    pub fn crash_after(&self, calls: u64) {
        self.machine.cut_power_after(calls);
    }

    /// Calls of the disk so far that changed anything, since the bench or its last crash: what [`Bench::crash_after`] counts.
    pub fn calls(&self) -> u64 {
        self.machine.calls()
    }

    /// Whether the process has died.
    pub fn has_crashed(&self) -> bool {
        self.machine.is_without_power()
    }

    /// The process dies now; its handlers end where they stand.
    pub async fn crash(&mut self) {
        self.machine.cut_power();
        self.manager.kill().await;
    }

    /// Starts the next process after a crash, with what is left of what was not synced. A process that lives dies first.
    ///
    /// # Errors
    /// As [`EventManagerBuilder::start`].
    pub async fn reopen(&mut self, unsynced: Unsynced) -> Result<(), Error> {
        self.crash().await;
        self.machine.crash(unsynced);
        self.begin().await
    }

    async fn begin(&mut self) -> Result<(), Error> {
        self.manager = begin(&mut self.machine, &self.setup).await?;
        self.uncounted = self.store().next_seq();
        Ok(())
    }

    /// Shuts the manager down in good order and starts the next process.
    ///
    /// # Errors
    /// As [`EventManager::shutdown`] and [`EventManagerBuilder::start`].
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.manager.shutdown().await?;
        self.begin().await
    }
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench")
            .field("now", &self.now())
            .field("has_crashed", &self.has_crashed())
            .finish_non_exhaustive()
    }
}

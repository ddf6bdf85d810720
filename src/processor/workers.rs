//! The workers, as a manager holds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind};
use crate::processor::Handlers;
use crate::processor::dispatcher::Dispatcher;
use crate::processor::handlers::Given;
use crate::processor::round::{Processed, Reply};
use crate::queue::{CalledOff, Intake, Queue};

/// Commands that may wait: each is obeyed at once, and whoever gives more waits.
const COMMANDS_MAX: usize = 16;

/// What the dispatcher can be told. When nobody is left to tell it anything, it stops by itself.
pub(super) enum Command {
    /// Claim nothing more, let end what runs, then end.
    Stop,
    /// An event was called off.
    CalledOff(CalledOff),
    /// Run what is claimable until nothing is, then reply.
    Process(Reply),
}

/// What is left of runs that are over, or should be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backlog {
    /// Runs that were aborted and do not end.
    pub(crate) stuck: usize,
    /// Runs that have ended, and could not be settled yet.
    pub(crate) unsettled: usize,
}

/// Called every few seconds while the workers run.
pub(super) type Watching = Box<dyn FnMut(Backlog) + Send>;

/// What the dispatcher shows.
#[derive(Default)]
pub(super) struct Gauges {
    running: AtomicBool,
    stuck: AtomicUsize,
    unsettled: AtomicUsize,
}

impl Gauges {
    pub(super) fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::Relaxed);
    }

    pub(super) fn set_unsettled(&self, count: usize) {
        self.unsettled.store(count, Ordering::Relaxed);
    }

    pub(super) fn set_stuck(&self, count: usize) {
        self.stuck.store(count, Ordering::Relaxed);
    }

    pub(super) fn backlog(&self) -> Backlog {
        Backlog { stuck: self.stuck.load(Ordering::Relaxed), unsettled: self.unsettled.load(Ordering::Relaxed) }
    }
}

/// Workers that run. When this is dropped they stop: what runs is aborted and released.
pub(crate) struct Workers {
    queue: Queue,
    handlers: Arc<Handlers>,
    gauges: Arc<Gauges>,
    commands: mpsc::Sender<Command>,
    // An async lock: the second who stops waits in it until the first has seen the end.
    dispatcher: Mutex<Option<JoinHandle<()>>>,
}

impl Workers {
    /// Starts them on the present tokio runtime. Events of types without a handler are held from here on.
    /// `watching` is told every few seconds, until they are stopped, what is left of runs.
    pub(crate) fn start(intake: Intake, handlers: Handlers, watching: Watching) -> Self {
        let queue = intake.queue().clone();
        queue.set_handled(handlers.handled());
        queue.set_limits(handlers.options().limits());
        let handlers = Arc::new(handlers);
        let gauges = Arc::new(Gauges::default());
        gauges.set_running(true);
        let (commands, obeyed) = mpsc::channel(COMMANDS_MAX);
        let dispatcher = Dispatcher::new(intake, Arc::clone(&handlers), Arc::clone(&gauges), obeyed, watching);
        let dispatcher = Mutex::new(Some(tokio::spawn(dispatcher.run())));
        Self { queue, handlers, gauges, commands, dispatcher }
    }

    /// Adds a handler; events of its type that were held run from here on.
    pub(crate) fn register(&self, given: Given) -> Result<(), Error> {
        self.handlers.add(given, |more| self.queue.add_handled(more))
    }

    /// Tells the run of this event, if there is one, that a person has cancelled it.
    pub(crate) async fn tell_called_off(&self, called_off: CalledOff) {
        // Refused only when they have stopped: then nothing runs.
        let _ = self.commands.send(Command::CalledOff(called_off)).await;
    }

    /// Has them run what is claimable until nothing is.
    pub(crate) async fn process(&self) -> Result<Processed, Error> {
        let stopped = || Error::new(ErrorKind::Closed, "the manager was shut down");
        let (reply, processed) = oneshot::channel();
        self.commands.send(Command::Process(reply)).await.map_err(|_| stopped())?;
        processed.await.map_err(|_| stopped())?
    }

    /// Stops them, and returns when everything that was claimed is settled. Whoever calls it again waits for the same end.
    pub(crate) async fn stop(&self) {
        let _ = self.commands.send(Command::Stop).await;
        let mut dispatcher = self.dispatcher.lock().await;
        if let Some(task) = dispatcher.as_mut() {
            if let Err(error) = task.await {
                tracing::error!(%error, "the workers ended out of turn; what they ran is run again after the next start");
            }
            *dispatcher = None;
        }
    }

    /// Ends them where they stand, as the death of the process would: what runs is aborted, and nothing is settled.
    pub(crate) async fn kill(&self) {
        if let Some(task) = self.dispatcher.lock().await.take() {
            task.abort();
            // It was aborted, or had ended before.
            let _ = task.await;
        }
    }

    /// Whether they claim events.
    pub(crate) fn are_running(&self) -> bool {
        self.gauges.running.load(Ordering::Relaxed)
    }

    /// What is left of runs.
    pub(crate) fn backlog(&self) -> Backlog {
        self.gauges.backlog()
    }
}

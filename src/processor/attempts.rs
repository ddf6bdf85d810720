//! The runs that have begun: their tasks, and their timeouts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::event::Outcome;
use crate::processor::attempt::{Attempt, Ending, Standing, mishap, verdict};
use crate::processor::outcome::panic_text;
use crate::processor::{AnyHandler, Context};
use crate::queue::{Claim, Mishap};

/// A run that is over, and what becomes of its event.
pub(super) struct Ended {
    pub(super) claim: Claim,
    pub(super) outcome: Outcome,
    /// What statistics tell beside the outcome.
    pub(super) mishap: Option<Mishap>,
}

/// The runs whose tasks have not ended.
pub(super) struct Attempts {
    tasks: JoinSet<Outcome>,
    by_task: HashMap<Id, Attempt>,
    /// When something happens to a run: the end of its time, then the end of its grace. The number tells equal times apart.
    timers: BTreeMap<(Instant, u64), Id>,
    timers_set: u64,
    stuck: usize,
    timeout: Duration,
    grace: Duration,
    origin: Arc<str>,
}

impl Attempts {
    /// None yet. Each may take `timeout`, and `grace` more to end once it was told; `origin` names the store.
    pub(super) fn new(timeout: Duration, grace: Duration, origin: Arc<str>) -> Self {
        Self {
            tasks: JoinSet::new(),
            by_task: HashMap::new(),
            timers: BTreeMap::new(),
            timers_set: 0,
            stuck: 0,
            timeout,
            grace,
            origin,
        }
    }

    /// Begins a run, `now`.
    pub(super) fn begin(&mut self, claim: Claim, handler: AnyHandler, now: Instant) {
        let event = claim.event().clone();
        let context = Context::new(&claim, &self.origin, now, self.timeout);
        let span = tracing::info_span!(
            "run",
            event_id = event.id(),
            event_type = event.event_type(),
            attempt = claim.attempt()
        );
        let told = context.clone();
        // The handler is called within its task, so that a panic before its first await is its own too.
        let task = self.tasks.spawn(async move { handler(event, told).await }.instrument(span));
        let id = task.id();
        let timer = self.set_timer(now + self.timeout, id);
        self.by_task.insert(id, Attempt { claim, context, task, standing: Standing::Running, timer: Some(timer) });
    }

    /// The next run that ends; never resolves while there is none. May be dropped at any time.
    pub(super) async fn ended(&mut self) -> Ended {
        loop {
            let Some(joined) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
            if let Some(ended) = self.close(joined) {
                return ended;
            }
        }
    }

    /// A run that has ended already.
    pub(super) fn try_ended(&mut self) -> Option<Ended> {
        loop {
            let joined = self.tasks.try_join_next_with_id()?;
            if let Some(ended) = self.close(joined) {
                return Some(ended);
            }
        }
    }

    fn close(&mut self, joined: Result<(Id, Outcome), JoinError>) -> Option<Ended> {
        let (id, ending) = match joined {
            Ok((id, outcome)) => (id, Ending::Returned(outcome)),
            Err(error) => {
                let id = error.id();
                let panicked = error.try_into_panic();
                (id, panicked.map_or(Ending::Aborted, |payload| Ending::Panicked(panic_text(&*payload))))
            }
        };
        let attempt = self.by_task.remove(&id)?;
        if let Some(timer) = attempt.timer {
            self.timers.remove(&timer);
        }
        self.stuck -= usize::from(attempt.standing == Standing::Stuck);
        Some(self.judge(&attempt, ending))
    }

    fn judge(&self, attempt: &Attempt, ending: Ending) -> Ended {
        let mishap = mishap(attempt.standing, &ending);
        Ended { claim: attempt.claim.clone(), outcome: verdict(attempt.standing, ending, self.timeout), mishap }
    }

    /// When [`Attempts::expire`] has something to do.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Tells the runs whose time is over to end, and aborts those whose grace is over too.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let id = entry.remove();
            let Some(attempt) = self.by_task.get_mut(&id) else { continue };
            let event_id = attempt.claim.event().id();
            attempt.timer = None;
            if attempt.standing == Standing::Overdue {
                tracing::warn!(event_id, "a handler did not end when it was told to; its task is aborted");
                attempt.standing = Standing::Stuck;
                attempt.task.abort();
                self.stuck += 1;
            } else {
                tracing::warn!(event_id, timeout = ?self.timeout, "a handler has exceeded its time and is told to end");
                attempt.standing = Standing::Overdue;
                attempt.context.cancel();
                let timer = self.set_timer(now + self.grace, id);
                if let Some(attempt) = self.by_task.get_mut(&id) {
                    attempt.timer = Some(timer);
                }
            }
        }
    }

    fn set_timer(&mut self, at: Instant, id: Id) -> (Instant, u64) {
        self.timers_set += 1;
        let timer = (at, self.timers_set);
        self.timers.insert(timer, id);
        timer
    }

    /// Tells the run of this event to end: somebody has cancelled the event.
    pub(super) fn cancel(&self, event_id: &str) {
        self.by_task
            .values()
            .filter(|attempt| attempt.claim.event().id() == event_id)
            .for_each(|attempt| attempt.context.cancel());
    }

    /// Tells all runs to end: the manager shuts down.
    pub(super) fn cancel_all(&mut self) {
        for attempt in self.by_task.values_mut() {
            if attempt.standing == Standing::Running {
                attempt.standing = Standing::Leaving;
            }
            attempt.context.cancel();
        }
    }

    /// Aborts all tasks: they end at their next await.
    pub(super) fn abort_all(&mut self) {
        self.tasks.abort_all();
    }

    /// Lets go of the runs whose tasks do not end.
    pub(super) fn give_up(&mut self) -> Vec<Ended> {
        self.timers.clear();
        self.stuck = 0;
        let left: Vec<Attempt> = self.by_task.drain().map(|(_, attempt)| attempt).collect();
        left.iter().map(|attempt| self.judge(attempt, Ending::Aborted)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_task.is_empty()
    }

    /// How many have a slot.
    pub(super) fn slots_taken(&self) -> usize {
        self.by_task.len() - self.stuck
    }

    /// How many have lost their slot and live on.
    pub(super) fn stuck(&self) -> usize {
        self.stuck
    }
}

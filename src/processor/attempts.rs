//! The runs that have begun: their tasks, and their timeouts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::event::Outcome;
use crate::processor::Context;
use crate::processor::attempt::{Attempt, Ending, Standing, mishap, verdict};
use crate::processor::outcome::panic_text;
use crate::processor::team::{self, Team};
use crate::queue::{Claim, Mishap, Queue, Settling};

/// A run that is over, and what becomes of its event.
pub(super) struct Ended {
    pub(super) claim: Claim,
    pub(super) outcome: Outcome,
    /// What statistics tell beside the outcome.
    pub(super) mishap: Option<Mishap>,
    /// How long it waits if it is to be retried; none: it is not decided, or for the engine to say.
    pub(super) delay: Option<Duration>,
}

impl Ended {
    pub(super) fn new(claim: Claim, outcome: Outcome) -> Self {
        Self { claim, outcome, mishap: None, delay: None }
    }

    /// What the engine is to know of it.
    pub(super) fn settling(&self) -> Settling<'_> {
        Settling { claim: &self.claim, outcome: &self.outcome, delay: self.delay }
    }

    /// Says in the log how it went.
    pub(super) fn tell(&self) {
        let (event_id, event_type) = (self.claim.event().id(), self.claim.event().event_type());
        let attempt = self.claim.attempt();
        match &self.outcome {
            Outcome::Retry(error) | Outcome::Fail(error) => {
                tracing::warn!(event_id, event_type, attempt, error, "a run failed");
            }
            outcome => tracing::debug!(event_id, event_type, attempt, ?outcome, "a run ended"),
        }
    }
}

/// The runs whose tasks have not ended.
pub(super) struct Attempts {
    tasks: JoinSet<Ending>,
    by_task: HashMap<Id, Attempt>,
    /// When something happens to a run: the end of its time, then the end of its grace. The number tells equal times apart.
    timers: BTreeMap<(Instant, u64), Id>,
    timers_set: u64,
    stuck: usize,
    grace: Duration,
    queue: Queue,
    origin: Arc<str>,
}

impl Attempts {
    /// None yet. Each may take `grace` to end once it was told; `origin` names the store of `queue`.
    pub(super) fn new(grace: Duration, queue: Queue, origin: Arc<str>) -> Self {
        Self {
            tasks: JoinSet::new(),
            by_task: HashMap::new(),
            timers: BTreeMap::new(),
            timers_set: 0,
            stuck: 0,
            grace,
            queue,
            origin,
        }
    }

    /// Begins a run, `now`, that may take `timeout`.
    pub(super) fn begin(&mut self, claim: Claim, team: Team, timeout: Duration, now: Instant) {
        let event = claim.event();
        let context = Context::new(&claim, &self.queue, &self.origin, now, timeout);
        let span = tracing::info_span!(
            "run",
            event_id = event.id(),
            event_type = event.event_type(),
            attempt = claim.attempt()
        );
        let running = team::run(team, claim.clone(), context.clone(), self.queue.clone());
        let task = self.tasks.spawn(to_its_end(running, context.clone()).instrument(span));
        let id = task.id();
        let timer = Some(self.set_timer(now + timeout, id));
        self.by_task.insert(id, Attempt { claim, context, task, timeout, standing: Standing::Running, timer });
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

    fn close(&mut self, joined: Result<(Id, Ending), JoinError>) -> Option<Ended> {
        let (id, ending) = match joined {
            Ok(ended) => ended,
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
        Some(judge(&attempt, ending))
    }

    /// When [`Attempts::expire`] has something to do.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Tells the runs whose time is over to end, and aborts those whose grace is over too: they lose their slot, and end once nothing
    /// of them goes on any more.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let id = entry.remove();
            let Some(attempt) = self.by_task.get_mut(&id) else { continue };
            let event_id = attempt.claim.event().id();
            attempt.timer = None;
            if attempt.task.is_finished() {
                // It has ended before anybody looked at the clock, and is told of next.
                continue;
            }
            if attempt.standing == Standing::Overdue {
                tracing::warn!(event_id, "a handler did not end when it was told to; it is aborted");
                attempt.standing = Standing::Stuck;
                attempt.context.abort();
                self.stuck += 1;
                self.queue.lose_slot(&attempt.claim);
            } else {
                tracing::warn!(event_id, timeout = ?attempt.timeout, "a handler has exceeded its time and is told to end");
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

    /// Aborts all runs: what they await is dropped.
    pub(super) fn abort_all(&mut self) {
        self.by_task.values().for_each(|attempt| attempt.context.abort());
    }

    /// Lets go of the runs whose tasks do not end.
    pub(super) fn give_up(&mut self) -> Vec<Ended> {
        self.timers.clear();
        self.stuck = 0;
        let left: Vec<Attempt> = self.by_task.drain().map(|(_, attempt)| attempt).collect();
        left.iter().map(|attempt| judge(attempt, Ending::Aborted)).collect()
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

/// The task of a run: what it awaits is dropped when it is aborted, and it has not ended while anything of it goes on elsewhere, on a
/// thread or in a batch.
async fn to_its_end(running: impl Future<Output = Ending>, context: Context) -> Ending {
    let ending = tokio::select! {
        biased;
        ending = running => ending,
        () = context.aborted() => Ending::Aborted,
    };
    context.quiet().await;
    ending
}

fn judge(attempt: &Attempt, ending: Ending) -> Ended {
    let mishap = mishap(attempt.standing, &ending);
    let outcome = verdict(attempt.standing, ending, attempt.timeout);
    Ended { mishap, ..Ended::new(attempt.claim.clone(), outcome) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::NewEvent;
    use crate::processor::layer::HandlerService;
    use crate::processor::team::Named;
    use crate::store::{Store, StoreOptions};

    #[tokio::test(start_paused = true)]
    async fn a_run_that_has_ended_is_not_overdue_because_nobody_has_looked_since() {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        store.append(NewEvent::new("Issue", &1).unwrap()).unwrap();
        store.append(NewEvent::new("Issue", &1).unwrap()).unwrap();
        let mut attempts = Attempts::new(Duration::ZERO, Queue::embedded(store.clone()), "store".into());
        let ends = HandlerService::innermost(|_, _| Box::pin(std::future::ready(Outcome::Done)));
        let hangs = HandlerService::innermost(|_, _| Box::pin(std::future::pending()));
        let second = Duration::from_secs(1);
        for (claim, service) in store.claim(2).unwrap().into_iter().zip([ends, hangs]) {
            let team = vec![Named { name: "Issue#1".into(), service }];
            attempts.begin(claim, team, second, Instant::now());
        }
        tokio::task::yield_now().await;
        tokio::time::advance(2 * second).await;
        attempts.expire(Instant::now());
        assert_eq!(attempts.ended().await.outcome, Outcome::Done);
        assert_eq!(attempts.ended().await.outcome, Outcome::Retry("timed out after 1s".to_owned()));
    }
}

//! The runs that have begun: their tasks, and their timeouts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use crate::event::Outcome;
use crate::processor::Context;
use crate::processor::attempt::{Attempt, Ending, Standing, mishap, verdict};
use crate::processor::context::Members;
use crate::processor::ends::{Ends, Report, RunKey};
use crate::processor::outcome::{caught, panic_text};
use crate::processor::team::{self, Team};
use crate::queue::{CalledOff, Claim, Intake, Mishap, Settling};

/// How long a run whose event comes back at once keeps its slot.
const RELEASE_REST: Duration = Duration::from_secs(1);

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

    /// Says in the log how it went, once it is settled.
    pub(super) fn tell(&self) {
        let (event_id, event_type) = (self.claim.event().id(), self.claim.event().event_type());
        let attempt = self.claim.attempt();
        match &self.outcome {
            Outcome::Retry(error) if !self.claim.is_last() => {
                let retry_in = self.delay.map(tracing::field::debug);
                tracing::info!(event_id, event_type, attempt, error, retry_in, "a run failed; its event is retried");
            }
            Outcome::Retry(error) | Outcome::Fail(error) => {
                tracing::warn!(event_id, event_type, attempt, error, "a run failed; its event has failed for good");
            }
            outcome => tracing::debug!(event_id, event_type, attempt, ?outcome, "a run ended"),
        }
    }
}

/// The runs whose tasks have not ended.
pub(super) struct Attempts {
    /// Each in a place of its own, which another has after it.
    runs: Vec<Option<Attempt>>,
    free: Vec<usize>,
    begun: u64,
    /// How those ended that are not told of yet, and the same as far as it was taken from there, latest first.
    ends: Arc<Ends>,
    taken: Vec<(RunKey, Ending)>,
    /// When something happens to a run: the end of its time, then the end of its grace.
    timers: BTreeMap<(Instant, u64), RunKey>,
    stuck: usize,
    /// When the last of them was aborted.
    aborted_at: Option<Instant>,
    grace: Duration,
    intake: Intake,
    origin: Arc<str>,
}

impl Attempts {
    /// None yet. Each may take `grace` to end once it was told; `origin` names the store that `intake` leads to.
    pub(super) fn new(grace: Duration, intake: Intake, origin: Arc<str>) -> Self {
        Self {
            runs: Vec::new(),
            free: Vec::new(),
            begun: 0,
            ends: Arc::default(),
            taken: Vec::new(),
            timers: BTreeMap::new(),
            stuck: 0,
            aborted_at: None,
            grace,
            intake,
            origin,
        }
    }

    /// Begins a run, `now`, that may take `timeout`.
    pub(super) fn begin(&mut self, claim: Claim, team: Team, timeout: Duration, now: Instant) {
        let event = claim.event();
        let context = Context::new(&claim, &self.intake, &self.origin, now, timeout);
        let span = tracing::info_span!(
            "run",
            event_id = event.id(),
            event_type = event.event_type(),
            attempt = claim.attempt()
        );
        let (claimed, called_off, queue) = (claim.clone(), context.clone(), self.intake.queue().clone());
        let running = move || team::run(team, claimed, called_off, queue);
        self.begun += 1;
        let at = self.free.pop().unwrap_or(self.runs.len());
        let key = RunKey { at, number: self.begun };
        let report = Report::new(Arc::clone(&self.ends), key);
        let task = tokio::spawn(to_its_end(running, context.clone(), report).instrument(span));
        let ends_at = now + timeout;
        self.timers.insert((ends_at, key.number), key);
        let timer = Some(ends_at);
        let attempt = Attempt {
            claim,
            number: key.number,
            context,
            task,
            timeout,
            standing: Standing::Running,
            members: Members::default(),
            timer,
        };
        match self.runs.get_mut(at) {
            Some(place) => *place = Some(attempt),
            None => self.runs.push(Some(attempt)),
        }
    }

    /// The next run that ends; never resolves while there is none. May be dropped at any time.
    pub(super) async fn ended(&mut self) -> Ended {
        loop {
            if let Some(ended) = self.try_ended() {
                return ended;
            }
            self.ends.any().await;
        }
    }

    /// A run that has ended already.
    pub(super) fn try_ended(&mut self) -> Option<Ended> {
        loop {
            if self.taken.is_empty() {
                self.ends.take(&mut self.taken);
                self.taken.reverse();
            }
            let (key, ending) = self.taken.pop()?;
            if let Some(ended) = self.close(key, ending) {
                return Some(ended);
            }
        }
    }

    fn close(&mut self, key: RunKey, ending: Ending) -> Option<Ended> {
        let attempt = self.runs.get_mut(key.at)?.take_if(|attempt| attempt.number == key.number)?;
        self.free.push(key.at);
        if let Some(timer) = attempt.timer {
            self.timers.remove(&(timer, key.number));
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
            let key = entry.remove();
            let Some(attempt) = self.runs.get_mut(key.at).and_then(Option::as_mut) else { continue };
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
                self.aborted_at = Some(now);
                self.stuck += 1;
                self.intake.queue().lose_slot(&attempt.claim);
            } else {
                tracing::warn!(event_id, timeout = ?attempt.timeout, "a handler has exceeded its time and is told to end");
                attempt.standing = Standing::Overdue;
                attempt.members = attempt.context.end_time();
                attempt.context.cancel();
                let ends_at = now + self.grace;
                attempt.timer = Some(ends_at);
                self.timers.insert((ends_at, key.number), key);
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Attempt> {
        self.runs.iter().flatten()
    }

    /// Tells the run to end whose event was called off.
    pub(super) fn call_off(&self, called_off: CalledOff) {
        self.all()
            .filter(|attempt| attempt.claim.is_called_off_by(called_off))
            .for_each(|attempt| attempt.context.cancel());
    }

    /// Tells all runs to end: the manager shuts down.
    pub(super) fn cancel_all(&mut self) {
        for attempt in self.runs.iter_mut().flatten() {
            if attempt.standing == Standing::Running {
                attempt.standing = Standing::Leaving;
            }
            attempt.context.cancel();
        }
    }

    /// Aborts all runs: what they await is dropped.
    pub(super) fn abort_all(&mut self) {
        self.aborted_at = Some(Instant::now());
        self.all().for_each(|attempt| attempt.context.abort());
    }

    /// When the last of those that have not ended was aborted; none: nothing runs that was.
    pub(super) fn aborted_at(&self) -> Option<Instant> {
        self.aborted_at.filter(|_| self.len() > 0)
    }

    /// Lets go of the runs whose tasks do not end.
    pub(super) fn give_up(&mut self) -> Vec<Ended> {
        self.timers.clear();
        self.stuck = 0;
        self.free.clear();
        std::mem::take(&mut self.runs).iter().flatten().map(|attempt| judge(attempt, Ending::Aborted)).collect()
    }

    /// How many have a slot.
    pub(super) fn slots_taken(&self) -> usize {
        self.len() - self.stuck
    }

    fn len(&self) -> usize {
        self.runs.len() - self.free.len()
    }

    /// How many have lost their slot and live on.
    pub(super) fn stuck(&self) -> usize {
        self.stuck
    }
}

/// The task of a run: what it awaits is dropped when it is aborted, and it has not ended while anything of it goes on elsewhere, on a
/// thread or in a batch.
async fn to_its_end<F: Future<Output = Ending>>(running: impl FnOnce() -> F, context: Context, report: Report) {
    let ended = caught(|| async {
        tokio::select! {
            biased;
            ending = running() => ending,
            () = context.aborted() => Ending::Aborted,
        }
    });
    let ended = ended.await;
    // Also after a panic: what was dropped by it may have left a thread behind.
    context.quiet().await;
    let ending = ended.unwrap_or_else(|payload| Ending::Panicked(panic_text(&*payload)));
    if comes_back_at_once(&ending, &context) {
        rest(&context).await;
    }
    report.send(ending);
}

/// Whether the event may run again as soon as this run is settled.
fn comes_back_at_once(ending: &Ending, context: &Context) -> bool {
    match ending {
        Ending::Returned(Outcome::Release) => true,
        Ending::Returned(Outcome::Snooze(wait)) => wait.is_zero(),
        Ending::Returned(Outcome::RetryAt(time)) => *time <= context.now(),
        _ => false,
    }
}

/// A run whose event comes back at once would begin again, and again, and the log would keep each time: it keeps its slot for a moment,
/// unless it is told to end, and no longer than it may take.
async fn rest(context: &Context) {
    tokio::select! {
        () = tokio::time::sleep(RELEASE_REST.min(context.time_left() / 2)) => {}
        () = context.cancelled() => {}
    }
}

fn judge(attempt: &Attempt, ending: Ending) -> Ended {
    let mishap = mishap(attempt.standing, &ending);
    let is_failure = |outcome: &Outcome| matches!(outcome, Outcome::Retry(_) | Outcome::Fail(_));
    let members = match attempt.standing {
        Standing::Overdue | Standing::Stuck => attempt.members.clone(),
        Standing::Running | Standing::Leaving if ending == Ending::Aborted => attempt.context.members(),
        Standing::Running | Standing::Leaving => Members::default(),
    };
    let in_time = team::merge(members.ended, attempt.context.now());
    let outcome = verdict(attempt.standing, ending, attempt.timeout, &members.running, in_time);
    Ended { mishap: mishap.filter(|_| is_failure(&outcome)), ..Ended::new(attempt.claim.clone(), outcome) }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{self, Poll};

    use super::*;
    use crate::event::NewEvent;
    use crate::processor::layer::HandlerService;
    use crate::processor::team::Named;
    use crate::queue::Queue;
    use crate::store::{Store, StoreOptions};

    /// A run that something goes on of elsewhere, and that panics when it is dropped.
    struct Bad;

    impl Future for Bad {
        type Output = Outcome;

        fn poll(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Outcome> {
            Poll::Pending
        }
    }

    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[tokio::test]
    async fn a_run_that_panics_when_it_is_dropped_has_not_ended_while_its_thread_goes_on() {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        store.append(NewEvent::new("Issue", &1).unwrap()).unwrap();
        let intake = Intake::new(Queue::embedded(store.clone()), 1, Arc::new(|_| None));
        let mut attempts = Attempts::new(Duration::ZERO, intake, "store".into());
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let service = HandlerService::innermost(move |_, context| {
            let _ = tell.send(context.linger());
            Box::pin(Bad)
        });
        let team = Team::with(None, Named { name: "Issue#1".into(), service });
        attempts.begin(store.claim(1).unwrap().remove(0), team, Duration::from_secs(1), Instant::now());
        let thread = told.recv().await.unwrap();
        attempts.abort_all();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(attempts.try_ended().is_none());
        drop(thread);
        assert_eq!(attempts.ended().await.outcome, Outcome::Retry("panicked: dropped".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_whose_time_is_over_names_those_of_its_handlers_that_have_not_returned() {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        store.append(NewEvent::new("Issue", &1).unwrap()).unwrap();
        let intake = Intake::new(Queue::embedded(store.clone()), 1, Arc::new(|_| None));
        let mut attempts = Attempts::new(Duration::ZERO, intake, "store".into());
        let ends = HandlerService::innermost(|_, _| Box::pin(std::future::ready(Outcome::Done)));
        let hangs = || HandlerService::innermost(|_, _| Box::pin(std::future::pending()));
        let team = [("mail", hangs()), ("notify", ends), ("audit", hangs())];
        let team = team.into_iter().map(|(name, service)| Named { name: name.into(), service });
        let team = team.fold(None, |team, named| Some(Team::with(team.as_ref(), named))).unwrap();
        let second = Duration::from_secs(1);
        attempts.begin(store.claim(1).unwrap().remove(0), team, second, Instant::now());
        tokio::task::yield_now().await;
        tokio::time::advance(2 * second).await;
        attempts.expire(Instant::now());
        attempts.abort_all();
        assert_eq!(attempts.ended().await.outcome, Outcome::Retry("timed out after 1s in mail, audit".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_gives_its_event_up_is_heard_though_another_takes_too_long() {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        let second = Duration::from_secs(1);
        for outcome in [Outcome::Cancel("no use".to_owned()), Outcome::Fail("bad".to_owned())] {
            store.append(NewEvent::new("Issue", &1).unwrap()).unwrap();
            let intake = Intake::new(Queue::embedded(store.clone()), 1, Arc::new(|_| None));
            let mut attempts = Attempts::new(Duration::ZERO, intake, "store".into());
            let gives_up = outcome.clone();
            let gives_up = HandlerService::innermost(move |_, _| Box::pin(std::future::ready(gives_up.clone())));
            let hangs = HandlerService::innermost(|_, _| Box::pin(std::future::pending()));
            let team = [("mail", gives_up), ("audit", hangs)];
            let team = team.into_iter().map(|(name, service)| Named { name: name.into(), service });
            let team = team.fold(None, |team, named| Some(Team::with(team.as_ref(), named))).unwrap();
            attempts.begin(store.claim(1).unwrap().remove(0), team, second, Instant::now());
            tokio::task::yield_now().await;
            tokio::time::advance(2 * second).await;
            attempts.expire(Instant::now());
            attempts.abort_all();
            // Statistics count what has timed out among what is retried and failed.
            let expected = match outcome {
                Outcome::Cancel(_) => (Outcome::Cancel("mail: no use".to_owned()), None),
                _ => (Outcome::Fail("timed out after 1s in audit: mail: bad".to_owned()), Some(Mishap::TimedOut)),
            };
            let ended = attempts.ended().await;
            assert_eq!((ended.outcome, ended.mishap), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_has_ended_is_not_overdue_because_nobody_has_looked_since() {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        store.append(NewEvent::new("Issue", &1).unwrap()).unwrap();
        store.append(NewEvent::new("Issue", &1).unwrap()).unwrap();
        let intake = Intake::new(Queue::embedded(store.clone()), 1, Arc::new(|_| None));
        let mut attempts = Attempts::new(Duration::ZERO, intake, "store".into());
        let ends = HandlerService::innermost(|_, _| Box::pin(std::future::ready(Outcome::Done)));
        let hangs = HandlerService::innermost(|_, _| Box::pin(std::future::pending()));
        let second = Duration::from_secs(1);
        for (claim, service) in store.claim(2).unwrap().into_iter().zip([ends, hangs]) {
            let team = Team::with(None, Named { name: "Issue#1".into(), service });
            attempts.begin(claim, team, second, Instant::now());
        }
        tokio::task::yield_now().await;
        tokio::time::advance(2 * second).await;
        attempts.expire(Instant::now());
        assert_eq!(attempts.ended().await.outcome, Outcome::Done);
        assert_eq!(attempts.ended().await.outcome, Outcome::Retry("timed out after 1s".to_owned()));
    }
}

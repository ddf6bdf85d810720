//! The loop that claims, runs and settles.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use crate::error::{Error, ErrorKind};
use crate::event::Outcome;
use crate::processor::attempts::{Attempts, Ended};
use crate::processor::lookout::Lookout;
use crate::processor::obstacle::Obstacle;
use crate::processor::round::Round;
use crate::processor::workers::{Command, Gauges, Watching};
use crate::processor::{Handlers, Options};
use crate::queue::{CalledOff, Claim, Intake, Queue, give_way};

/// How long runs that were called off at the end may take to end, and their aborted tasks after that.
const LEAVE_GRACE: Duration = Duration::from_secs(1);

/// How long what could not be settled waits before it is tried again.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);

/// How often it is reported how the workers are.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// One task: it claims events, begins their runs, and settles how they went.
pub(super) struct Dispatcher {
    queue: Queue,
    handlers: Arc<Handlers>,
    options: Options,
    origin: Arc<str>,
    gauges: Arc<Gauges>,
    commands: mpsc::Receiver<Command>,
    attempts: Attempts,
    lookout: Lookout,
    claiming: Option<Claiming>,
    phase: Phase,
    round: Round,
    /// Runs that have ended, but whose end the engine had no room for.
    unsettled: Vec<Ended>,
    /// Why one of them still was refused when it was tried again.
    unsettled_again: Option<Error>,
    obstacle: Obstacle,
    settle_again_at: Instant,
    watching: Watching,
    report_at: Instant,
    /// Rings at the next moment that matters or before it.
    alarm: Pin<Box<Sleep>>,
}

/// A claim under way. It is never dropped before its end: nobody else knows what it has claimed.
struct Claiming {
    asked: usize,
    /// Events that were cancelled meanwhile: their runs are not begun.
    called_off: Vec<CalledOff>,
    claims: Pin<Box<dyn Future<Output = Result<Vec<Claim>, Error>> + Send>>,
}

/// How far a stop has come; each phase but the first ends at its time at the latest.
///
/// ```text
/// Running ──stop──► Draining ──► Leaving (told to end) ──► Aborting ──► Over
///    └──all managers are gone──────────────────────────────────▲
/// ```
#[derive(Debug, Clone, Copy)]
enum Phase {
    Running,
    Draining(Instant),
    Leaving(Instant),
    Aborting(Instant),
    Over,
}

/// What the loop wakes for.
enum Happening {
    /// None: nobody is left who could say something.
    Told(Option<Command>),
    Rang,
    Claimed(Result<Vec<Claim>, Error>),
    Ended(Ended),
    Arrived,
}

impl Dispatcher {
    pub(super) fn new(
        intake: Intake,
        handlers: Arc<Handlers>,
        gauges: Arc<Gauges>,
        commands: mpsc::Receiver<Command>,
        watching: Watching,
    ) -> Self {
        let now = Instant::now();
        let options = handlers.options().clone();
        let queue = intake.queue().clone();
        let origin: Arc<str> = queue.id().into();
        let attempts = Attempts::new(options.handler_grace, intake, Arc::clone(&origin));
        let lookout = Lookout::new(now, options.processing_interval);
        let alarm = Box::pin(tokio::time::sleep_until(lookout.at()));
        Self {
            queue,
            handlers,
            options,
            origin,
            gauges,
            commands,
            attempts,
            lookout,
            claiming: None,
            phase: Phase::Running,
            round: Round::default(),
            unsettled: Vec::new(),
            unsettled_again: None,
            obstacle: Obstacle::default(),
            settle_again_at: now,
            watching,
            report_at: now + REPORT_INTERVAL,
            alarm,
        }
    }

    /// Works until it is stopped, and everything that was claimed is settled.
    pub(super) async fn run(mut self) {
        while !self.is_over() {
            self.round.let_go();
            self.begin_claim();
            self.end_round_without_hope();
            self.set_alarm();
            match self.next().await {
                Happening::Told(command) => self.obey(command),
                Happening::Rang => self.tick(Instant::now()).await,
                Happening::Claimed(claims) => self.take(claims).await,
                Happening::Ended(ended) => self.settle_all(ended).await,
                Happening::Arrived => self.lookout.notice(),
            }
            self.gauges.set_stuck(self.attempts.stuck());
            self.gauges.set_unsettled(self.unsettled.len());
            // An engine may answer without ever waiting, and then nothing else here would let other tasks run.
            tokio::task::consume_budget().await;
        }
        self.await_aborted().await;
        let left = self.attempts.give_up();
        for run in &left {
            tracing::warn!(event_id = run.claim.event().id(), "a handler does not end; it is left behind");
        }
        self.settle(left).await;
        if !self.unsettled.is_empty() {
            let count = self.unsettled.len();
            tracing::error!(
                count,
                "runs could not be settled before the end; their events run again after the next start"
            );
        }
    }

    /// Runs that were aborted just now still have their time to end, although nothing else is left to wait for.
    async fn await_aborted(&mut self) {
        while let Some(aborted_at) = self.attempts.aborted_at() {
            match tokio::time::timeout_at(aborted_at + LEAVE_GRACE, self.attempts.ended()).await {
                Ok(ended) => self.settle_all(ended).await,
                Err(_) => return,
            }
        }
    }

    fn is_over(&self) -> bool {
        match self.phase {
            Phase::Running => false,
            Phase::Over => true,
            // Nobody waits for runs that have lost their slots, but for a moment at the end.
            _ => self.attempts.slots_taken() == 0 && self.claiming.is_none() && self.unsettled.is_empty(),
        }
    }

    fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// How many may be claimed now.
    fn room(&self) -> usize {
        let is_stuck = self.attempts.stuck() > self.options.concurrency || !self.unsettled.is_empty();
        let is_wanted = self.options.background_processing || self.round.is_under_way();
        if !self.is_running() || self.claiming.is_some() || is_stuck || !is_wanted {
            return 0;
        }
        let batch_size = if self.options.batch_processing { self.options.batch_size } else { 1 };
        self.options.concurrency.saturating_sub(self.attempts.slots_taken()).min(batch_size)
    }

    fn begin_claim(&mut self) {
        let asked = self.room();
        if asked > 0 && self.lookout.is_hungry() {
            let queue = self.queue.clone();
            let claims = Box::pin(async move { queue.claim(asked).await });
            self.claiming = Some(Claiming { asked, called_off: Vec::new(), claims });
        }
    }

    /// Fails a round that waits for nothing but room, which nobody may ever make.
    fn end_round_without_hope(&mut self) {
        if !self.round.is_under_way() || self.claiming.is_some() || self.attempts.slots_taken() > 0 {
            return;
        }
        if let Some(error) = &self.unsettled_again {
            self.round.fail(error);
        } else if self.attempts.stuck() > self.options.concurrency {
            let text = "handlers neither end nor stop when they are told to: nothing more is claimed";
            self.round.fail(&Error::new(ErrorKind::NotAllowed, text));
        }
    }

    fn set_alarm(&mut self) {
        let mut wanted = self.attempts.next_timer();
        let mut also = |at: Instant| wanted = Some(wanted.map_or(at, |wanted| wanted.min(at)));
        if !self.unsettled.is_empty() {
            also(self.settle_again_at);
        }
        match self.phase {
            Phase::Running => also(self.lookout.at().min(self.report_at)),
            Phase::Draining(until) | Phase::Leaving(until) | Phase::Aborting(until) => also(until),
            Phase::Over => {}
        }
        // Most timers are dropped before they ring: an alarm that rings too early costs less than setting it for each of them.
        if let Some(wanted) = wanted
            && (self.alarm.is_elapsed() || wanted < self.alarm.deadline())
        {
            self.alarm.as_mut().reset(wanted);
        }
    }

    async fn next(&mut self) -> Happening {
        let listens = self.lookout.listens() && self.room() > 0;
        let has_masters = !matches!(self.phase, Phase::Aborting(_) | Phase::Over);
        // What is rare comes first, so that what is frequent starves nothing.
        tokio::select! {
            biased;
            command = self.commands.recv(), if has_masters => Happening::Told(command),
            () = self.alarm.as_mut() => Happening::Rang,
            claims = claimed(&mut self.claiming) => Happening::Claimed(claims),
            ended = self.attempts.ended() => Happening::Ended(ended),
            () = self.queue.work(), if listens => Happening::Arrived,
        }
    }

    fn obey(&mut self, command: Option<Command>) {
        match command {
            Some(Command::CalledOff(called_off)) => {
                self.attempts.call_off(called_off);
                if let Some(claiming) = &mut self.claiming {
                    claiming.called_off.push(called_off);
                }
            }
            Some(Command::Process(reply)) if self.is_running() => {
                self.round.join(reply, self.claiming.is_some());
                self.lookout.demand();
            }
            Some(Command::Stop) if self.is_running() => {
                self.enter(Phase::Draining(Instant::now() + self.options.drain_timeout));
            }
            Some(Command::Process(_) | Command::Stop) => {}
            None => self.enter(Phase::Aborting(Instant::now() + LEAVE_GRACE)),
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.gauges.set_running(false);
        self.round.abandon();
        match phase {
            Phase::Running | Phase::Over => {}
            Phase::Draining(_) => self.handlers.call_last(),
            Phase::Leaving(_) => self.attempts.cancel_all(),
            Phase::Aborting(_) => {
                self.attempts.cancel_all();
                self.attempts.abort_all();
            }
        }
        self.phase = phase;
    }

    async fn tick(&mut self, now: Instant) {
        let stuck = self.attempts.stuck();
        self.attempts.expire(now);
        if self.attempts.stuck() > stuck {
            // A slot is free, and a round waits for the run no more.
            self.lookout.notice();
        }
        if !self.unsettled.is_empty() && now >= self.settle_again_at {
            self.settle_again().await;
        }
        match self.phase {
            Phase::Running => {
                self.lookout.tick(now);
                if now >= self.report_at {
                    (self.watching)(self.gauges.backlog());
                    self.report_at = now + REPORT_INTERVAL;
                }
            }
            Phase::Draining(until) if now >= until => self.enter(Phase::Leaving(now + LEAVE_GRACE)),
            Phase::Leaving(until) if now >= until => self.enter(Phase::Aborting(now + LEAVE_GRACE)),
            Phase::Aborting(until) if now >= until => self.enter(Phase::Over),
            Phase::Draining(_) | Phase::Leaving(_) | Phase::Aborting(_) | Phase::Over => {}
        }
    }

    async fn take(&mut self, claims: Result<Vec<Claim>, Error>) {
        let claiming = self.claiming.take();
        let (asked, called_off) = claiming.map_or((0, Vec::new()), |claiming| (claiming.asked, claiming.called_off));
        match claims {
            Ok(claims) => {
                if claims.len() < asked {
                    self.lookout.found_few(Instant::now(), self.queue.next_due());
                }
                let is_idle = self.attempts.slots_taken() == 0 && self.unsettled.is_empty();
                if claims.is_empty() && is_idle && self.round.end() {
                    self.lookout.demand();
                }
                self.begin_all(claims, &called_off).await;
            }
            Err(error) if error.kind() == ErrorKind::Closed => {
                tracing::info!("the store was closed; the workers stop");
                self.obey(Some(Command::Stop));
            }
            Err(error) => {
                tracing::error!(?error, "claiming events failed; it is tried again after the processing interval");
                self.round.fail(&error);
                self.lookout.rest(Instant::now());
            }
        }
    }

    /// Begins runs of all that was claimed, but for what was called off meanwhile.
    async fn begin_all(&mut self, claims: Vec<Claim>, called_off: &[CalledOff]) {
        let now = Instant::now();
        let mut over = Vec::new();
        for claim in claims {
            let is_called_off = called_off.iter().any(|called_off| claim.is_called_off_by(*called_off));
            if is_called_off || !self.is_running() {
                over.push(Ended::new(claim, Outcome::Release));
                continue;
            }
            let event_type = claim.event().event_type();
            if let Some(team) = self.handlers.find(event_type) {
                let timeout = self.options.timeout(event_type);
                self.attempts.begin(claim, team, timeout, now);
            } else {
                let outcome = Outcome::Retry(format!("there is no handler for {event_type:?}"));
                over.push(Ended::new(claim, outcome));
            }
        }
        if !over.is_empty() {
            self.settle(over).await;
        }
    }

    /// Settles one and whatever else has ended by now, so that the next claim asks for all the slots at once.
    async fn settle_all(&mut self, first: Ended) {
        if self.attempts.slots_taken() > 0 {
            // Those that are about to be polled may end as well: one settlement serves them all.
            give_way().await;
        }
        let ended = std::iter::once(first).chain(std::iter::from_fn(|| self.attempts.try_ended())).collect();
        self.settle(ended).await;
    }

    /// Settles them; returns why the last one that waits for room was refused, if any was.
    async fn settle(&mut self, mut ended: Vec<Ended>) -> Option<Error> {
        // Keys may go on, a retry has a due time that the lookout does not know, and a round may be over: whatever comes of it.
        self.lookout.notice();
        for run in &mut ended {
            if run.delay.is_none() && matches!(run.outcome, Outcome::Retry(_)) && !run.claim.is_last() {
                run.delay = self.options.retry_delay(run.claim.event(), run.claim.attempt(), &self.origin);
            }
        }
        let settled = {
            let runs: Vec<_> = ended.iter().map(Ended::settling).collect();
            self.queue.settle(&runs).await
        };
        let refusals = ended.into_iter().zip(settled).filter_map(|(run, settled)| self.note_settled(run, settled));
        let refused = refusals.last();
        self.obstacle.tell(refused.as_ref(), self.unsettled.len());
        refused
    }

    /// Why it is tried again, if it is.
    fn note_settled(&mut self, ended: Ended, settled: Result<(), Error>) -> Option<Error> {
        let Ended { claim, outcome, mishap, .. } = &ended;
        let (event_id, event_type, attempt) = (claim.event().id(), claim.event().event_type(), claim.attempt());
        match settled {
            Ok(()) => {
                ended.tell();
                self.round.count(Some(outcome));
                if let Some(mishap) = *mishap {
                    self.queue.note_mishap(claim, mishap);
                }
            }
            Err(error) if error.kind() == ErrorKind::NotAllowed => {
                self.round.count(None);
                let text = "a run has ended whose event was cancelled meanwhile; its outcome is of no account";
                tracing::info!(event_id, event_type, attempt, "{text}");
            }
            Err(error) if matches!(error.kind(), ErrorKind::Full | ErrorKind::Io) => {
                self.unsettled.push(ended);
                return Some(error);
            }
            Err(error) => {
                tracing::error!(
                    event_id,
                    event_type,
                    attempt,
                    ?error,
                    "a run could not be settled; the event runs again after the next start"
                );
            }
        }
        None
    }

    /// Tries again what the engine could not take: its room may be back.
    async fn settle_again(&mut self) {
        let unsettled = std::mem::take(&mut self.unsettled);
        self.unsettled_again = self.settle(unsettled).await;
        self.settle_again_at = Instant::now() + SETTLE_AGAIN;
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        // Also when the runtime is torn down under it.
        self.gauges.set_running(false);
        self.handlers.close();
    }
}

async fn claimed(claiming: &mut Option<Claiming>) -> Result<Vec<Claim>, Error> {
    match claiming {
        Some(claiming) => claiming.claims.as_mut().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, NewEvent, Status};
    use crate::processor::{AnyHandler, Context, Given, Layers};
    use crate::store::{Store, StoreOptions};

    /// A dispatcher of one handler.
    fn dispatcher(store: &Store, handler: AnyHandler) -> Dispatcher {
        let given = vec![Given { name: None, event_type: "Issue".to_owned(), handler }];
        let handlers = Arc::new(Handlers::new(given, Layers::default(), Options::default()).unwrap());
        // Nobody tells it anything but the test itself.
        let (_, commands) = mpsc::channel(1);
        let intake = Intake::new(Queue::embedded(store.clone()), 1, Arc::new(|_| None));
        Dispatcher::new(intake, handlers, Arc::default(), commands, Box::new(|_| ()))
    }

    #[tokio::test]
    async fn a_run_after_a_replay_is_not_told_of_the_cancel_before_it() {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        store.append(NewEvent::new("Issue", &1).unwrap().id("a")).unwrap();
        let until_told = |_: Event, context: Context| async move { context.cancelled().await };
        let mut dispatcher = dispatcher(&store, AnyHandler::new(until_told));
        for attempt in 1..=2 {
            dispatcher.begin_claim();
            dispatcher.take(store.claim(1)).await;
            let late = store.call_off("a", "a mistake").unwrap();
            dispatcher.obey(Some(Command::CalledOff(late)));
            let ended = dispatcher.attempts.ended().await;
            assert_eq!(ended.claim.attempt(), attempt);
            let (reply, processed) = tokio::sync::oneshot::channel();
            dispatcher.round.join(reply, false);
            dispatcher.settle(vec![ended]).await;
            dispatcher.round.end();
            let processed = processed.await.unwrap().unwrap();
            assert_eq!((processed.runs, processed.done, processed.failed), (1, 0, 0), "it has ended all the same");
            assert!(store.replay(&["a"]).unwrap()[0].refused.is_none());
            dispatcher.begin_claim();
            dispatcher.take(store.claim(1)).await;
            dispatcher.obey(Some(Command::CalledOff(late)));
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(dispatcher.attempts.try_ended().is_none(), "nobody has called this run off");
        }
    }

    #[tokio::test]
    async fn a_round_is_not_over_before_its_runs_are_settled() {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        store.append(NewEvent::new("Issue", &1).unwrap()).unwrap();
        let mut dispatcher = dispatcher(&store, AnyHandler::new(|_: Event| async {}));
        let (reply, mut processed) = tokio::sync::oneshot::channel();
        dispatcher.round.join(reply, false);
        dispatcher.begin_claim();
        dispatcher.take(store.claim(1)).await;
        let ended = dispatcher.attempts.ended().await;
        // As if there had been no room for it.
        dispatcher.unsettled.push(ended);
        dispatcher.take(store.claim(1)).await;
        assert!(processed.try_recv().is_err());
        dispatcher.settle_again().await;
        dispatcher.take(store.claim(1)).await;
        assert_eq!(processed.try_recv().unwrap().unwrap().runs, 1);
    }

    #[tokio::test]
    async fn an_event_that_is_cancelled_while_it_is_being_claimed_is_not_run() {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        for id in ["called off", "wanted"] {
            store.append(NewEvent::new("Issue", &1).unwrap().id(id)).unwrap();
        }
        let mut dispatcher = dispatcher(&store, AnyHandler::new(|_: Event| async {}));
        dispatcher.begin_claim();
        let claims = store.claim(2);
        let called_off = store.call_off("called off", "a mistake").unwrap();
        dispatcher.obey(Some(Command::CalledOff(called_off)));
        dispatcher.take(claims).await;
        assert_eq!(dispatcher.attempts.slots_taken(), 1);
        let ended = dispatcher.attempts.ended().await;
        assert_eq!(ended.claim.event().id(), "wanted");
        assert_eq!(store.get("called off").unwrap().unwrap().status(), Status::Cancelled);
        let replayed = store.replay(&["called off"]).unwrap();
        assert!(replayed[0].refused.is_none() && store.claim(1).unwrap().len() == 1, "nothing of it runs");
    }
}

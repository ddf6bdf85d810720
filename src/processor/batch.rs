//! Handlers of batches: several events in one call.
//!
//! Each event of a batch is a run of its own: it has its slot, its time and its outcome. Such a run gathers with others of its handler
//! until there are enough, or the first has waited long enough; then one call takes them all.

use std::any::Any;
use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::error::Error;
use crate::event::{Event, Outcome};
use crate::processor::context::Linger;
use crate::processor::handler::{AnyHandler, Kind};
use crate::processor::layer::HandlerService;
use crate::processor::outcome::{caught, panic_said};
use crate::processor::{Context, IntoOutcome};

/// How events are gathered for a handler of batches. Bounds are checked when the manager starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "options do nothing until they are given to a builder"]
pub struct BatchOptions {
    size: usize,
    linger: Duration,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { size: 10, linger: Duration::from_millis(100) }
    }
}

impl BatchOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Most events of one call: 1 to the builder's `concurrency`, or the type's if that is less (each of them takes a slot), 10 by default.
    pub fn size(mut self, events: usize) -> Self {
        self.size = events;
        self
    }

    /// How long the first event waits for others: 0 to 1 minute, and less than the timeout of a run of any type that comes to the handler,
    /// which it is a part of. 100 ms by default.
    ///
    /// It also waits where nobody could join it: where all that is pending has its key, or no slot is free. Where events come one by one
    /// say zero. At a shutdown those who have gathered go at once.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Refuses what is out of bounds, by name.
    pub(super) fn validate(
        &self,
        event_type: &str,
        concurrency: usize,
        (timed, timeout): (&str, Duration),
    ) -> Result<(), Error> {
        let Self { size, linger } = *self;
        if !(1..=concurrency).contains(&size) {
            return Err(Error::invalid(format!(
                "the batch size of type {event_type:?} is {size}; it must be from 1 to the concurrency, {concurrency}: each event takes a slot"
            )));
        }
        if linger > Duration::from_mins(1) || linger >= timeout {
            return Err(Error::invalid(format!(
                "the linger of type {event_type:?} is {linger:?}; it must be at most 60s and less than the timeout of type {timed:?}, {timeout:?}"
            )));
        }
        Ok(())
    }
}

/// A function that runs several events at once: an `async fn` or a closure that takes `(Vec<Event>)` or `(Vec<Event>, Vec<Context>)`
/// and returns anything that is [`IntoOutcomes`]. The contexts are in the order of the events. Nothing else is a handler of batches, and
/// nobody needs to implement this.
///
/// Events of one key are never in one batch, as they run one at a time.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of batches",
    note = "it is an async function or a closure that takes `(Vec<Event>)` or `(Vec<Event>, Vec<Context>)`, with the types written out",
    note = "its future is `Send`: no `Rc`, and no guard of a `std` lock, lives across an `.await`",
    note = "it returns `()`, a `Vec` with an outcome for each event, or a `Result` of these whose error converts into \
            `Box<dyn Error + Send + Sync>`"
)]
pub trait BatchHandler<Args>: sealed::HandleBatch<Args> {}

impl<Args, H: sealed::HandleBatch<Args>> BatchHandler<Args> for H {}

/// What a handler of batches may return.
///
/// | returned | outcome of each event |
/// |---|---|
/// | `()`, `Ok(())` | [`Outcome::Done`] |
/// | `Vec<_>` or `Ok` of one | what stands in its place, by [`IntoOutcome`] |
/// | a `Vec` of another length than the events | [`Outcome::Retry`] for all: nobody knows which is whose |
/// | `Err(error)`, a panic | [`Outcome::Retry`] for all, with the error's text and its causes' |
/// | `Err` of a [`Permanent`](crate::Permanent) error | [`Outcome::Fail`] for all |
pub trait IntoOutcomes {
    /// Says how the runs of `count` events ended, or why nothing is known of any.
    ///
    /// # Errors
    /// The text of the failure of all.
    fn into_outcomes(self, count: usize) -> Result<Vec<Outcome>, String>;
}

impl IntoOutcomes for () {
    fn into_outcomes(self, count: usize) -> Result<Vec<Outcome>, String> {
        Ok(vec![Outcome::Done; count])
    }
}

impl<T: IntoOutcome> IntoOutcomes for Vec<T> {
    fn into_outcomes(self, count: usize) -> Result<Vec<Outcome>, String> {
        if self.len() != count {
            return Err(miscounted(self.len(), count));
        }
        Ok(self.into_iter().map(IntoOutcome::into_outcome).collect())
    }
}

fn miscounted(outcomes: usize, events: usize) -> String {
    format!("the handler returned {outcomes} outcomes for {events} events")
}

impl<T: IntoOutcomes, E: Into<Box<dyn StdError + Send + Sync>>> IntoOutcomes for Result<T, E> {
    fn into_outcomes(self, count: usize) -> Result<Vec<Outcome>, String> {
        match self {
            Ok(value) => value.into_outcomes(count),
            Err(error) => match Outcome::of_error(error.into()) {
                Outcome::Retry(error) => Err(error),
                outcome => Ok(vec![outcome; count]),
            },
        }
    }
}

mod sealed {
    use super::{AnyHandler, BatchOptions};

    pub trait HandleBatch<Args>: Send + Sync + 'static {
        fn any(self, options: BatchOptions) -> AnyHandler;
    }
}

impl<H, F> sealed::HandleBatch<(Vec<Event>,)> for H
where
    H: Fn(Vec<Event>) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: IntoOutcomes,
{
    fn any(self, options: BatchOptions) -> AnyHandler {
        batching(options, move |events, _| self(events))
    }
}

impl<H, F> sealed::HandleBatch<(Vec<Event>, Vec<Context>)> for H
where
    H: Fn(Vec<Event>, Vec<Context>) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: IntoOutcomes,
{
    fn any(self, options: BatchOptions) -> AnyHandler {
        batching(options, self)
    }
}

fn batching<F>(options: BatchOptions, run: impl Fn(Vec<Event>, Vec<Context>) -> F + Send + Sync + 'static) -> AnyHandler
where
    F: Future + Send + 'static,
    F::Output: IntoOutcomes,
{
    let function: Function = Arc::new(move |events, contexts| {
        let count = events.len();
        let running = run(events, contexts);
        Box::pin(async move { running.await.into_outcomes(count) })
    });
    AnyHandler { kind: Kind::Batch(options, function) }
}

/// The function of a handler of batches: it returns an outcome for each event, or why there is none for any.
pub(super) type Function = Arc<dyn Fn(Vec<Event>, Vec<Context>) -> RunningBatch + Send + Sync>;

type RunningBatch = Pin<Box<dyn Future<Output = Result<Vec<Outcome>, String>> + Send>>;

/// The service whose runs gather there.
pub(super) fn service(gathering: Arc<Gathering>) -> HandlerService {
    HandlerService::innermost(move |event, context| Box::pin(Arc::clone(&gathering).run(event, context)))
}

/// Runs that wait for enough others.
pub(super) struct Gathering {
    options: BatchOptions,
    function: Function,
    // A std lock: it is held for one look, and never across an await.
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    taken: Vec<Member>,
    given: u64,
    /// When those who are gathered go, however few they are.
    goes_at: Option<Instant>,
    /// Nobody else is claimed: whoever still comes goes at once.
    is_last_call: bool,
}

struct Member {
    seat: u64,
    event: Event,
    context: Context,
    /// Takes the outcome, or what the handler's panic said.
    answer: oneshot::Sender<Result<Outcome, String>>,
    /// The member's run has not ended while the batch runs.
    _linger: Linger,
}

impl Gathering {
    /// Nobody yet, for `function`.
    pub(super) fn new(options: BatchOptions, function: Function) -> Self {
        Self { options, function, seats: Mutex::default() }
    }

    /// Nobody else is claimed: all who are gathered go, and nobody waits for others any more.
    pub(super) fn call_last(&self) {
        let members = {
            let mut seats = self.seats();
            seats.is_last_call = true;
            seats.leave_all()
        };
        self.begin(members);
    }

    /// The run of one event: it takes a seat, and ends as the batch says.
    async fn run(self: Arc<Self>, event: Event, context: Context) -> Outcome {
        let (seat, goes_at, mut answered) = self.sit(event, context.clone());
        let mut waits = true;
        loop {
            // Without an answer the batch was dropped with its runtime.
            tokio::select! {
                biased;
                answer = &mut answered => match answer {
                    Ok(Ok(outcome)) => return outcome,
                    // It is a panic of each of its events' runs.
                    Ok(Err(said)) => std::panic::resume_unwind(Box::new(said)),
                    Err(_) => return Outcome::Release,
                },
                () = context.cancelled(), if waits => {
                    waits = false;
                    if self.leave(seat.number) {
                        return Outcome::Release;
                    }
                }
                () = tokio::time::sleep_until(goes_at), if waits => {
                    waits = false;
                    self.go(seat.number);
                }
            }
        }
    }

    fn sit(
        self: &Arc<Self>,
        event: Event,
        context: Context,
    ) -> (Seat, Instant, oneshot::Receiver<Result<Outcome, String>>) {
        let (answer, answered) = oneshot::channel();
        let mut seats = self.seats();
        seats.given += 1;
        let seat = seats.given;
        let goes_at = *seats.goes_at.get_or_insert_with(|| Instant::now() + self.options.linger);
        let linger = context.linger();
        seats.taken.push(Member { seat, event, context, answer, _linger: linger });
        let is_enough = seats.taken.len() >= self.options.size || seats.is_last_call;
        let members = if is_enough { seats.leave_all() } else { Vec::new() };
        drop(seats);
        self.begin(members);
        (Seat { gathering: Arc::clone(self), number: seat }, goes_at, answered)
    }

    /// The time of whoever sits here is over: all who are gathered go. Not if they have gone already.
    fn go(&self, seat: u64) {
        let members = {
            let mut seats = self.seats();
            let sits_here = seats.taken.iter().any(|member| member.seat == seat);
            if sits_here { seats.leave_all() } else { Vec::new() }
        };
        self.begin(members);
    }

    /// Gives up a seat; false if its batch has begun.
    fn leave(&self, seat: u64) -> bool {
        let left = {
            let mut seats = self.seats();
            let at = seats.taken.iter().position(|member| member.seat == seat);
            let left = at.map(|at| seats.taken.remove(at));
            if seats.taken.is_empty() {
                seats.goes_at = None;
            }
            left
        };
        left.is_some()
    }

    /// Runs a batch of these, if they are any. Without the lock: whoever subscribes to spans is somebody else's code.
    fn begin(&self, members: Vec<Member>) {
        if members.is_empty() {
            return;
        }
        let span = tracing::info_span!("batch", size = members.len());
        // Its members await it, each through its answer and its lingering.
        tokio::spawn(run_batch(Arc::clone(&self.function), members).instrument(span));
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    fn leave_all(&mut self) -> Vec<Member> {
        self.goes_at = None;
        std::mem::take(&mut self.taken)
    }
}

/// A place among those who gather, which is given up when this is dropped.
struct Seat {
    gathering: Arc<Gathering>,
    number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gathering.leave(self.number);
    }
}

/// One call of the handler. It is dropped once nobody waits for it any more.
async fn run_batch(function: Function, mut members: Vec<Member>) {
    let (events, contexts) = members.iter().map(|member| (member.event.clone(), member.context.clone())).unzip();
    // What a handler leaves may panic when it is dropped, its future or what it panicked with: that is a panic of the handler as well.
    let call = || async move {
        let ended = caught(|| async move { function(events, contexts).await }).await;
        ended.map_err(|payload| said(&*payload))
    };
    let ended = tokio::select! {
        biased;
        ended = caught(call) => ended,
        () = all_gone(&mut members) => return,
    };
    let count = members.len();
    let (outcomes, left) = match ended {
        Ok(Ok(Ok(outcomes))) if outcomes.len() == count => (outcomes.into_iter().map(Ok).collect(), None),
        // From somebody else's `IntoOutcomes`.
        Ok(Ok(Ok(outcomes))) => (vec![Ok(Outcome::Retry(miscounted(outcomes.len(), count))); count], None),
        Ok(Ok(Err(error))) => (vec![Ok(Outcome::Retry(error)); count], None),
        Ok(Err(said)) => (vec![Err(said); count], None),
        Err(payload) => (vec![Err(said(&*payload)); count], Some(payload)),
    };
    for (member, outcome) in members.into_iter().zip(outcomes) {
        // Refused by those who were aborted meanwhile.
        let _ = member.answer.send(outcome);
    }
    // What even that panicked with, now that nobody waits for this any more.
    drop(left);
}

/// What a panic of the handler said.
fn said(payload: &(dyn Any + Send)) -> String {
    panic_said(payload).unwrap_or_default().to_owned()
}

async fn all_gone(members: &mut [Member]) {
    for member in members {
        member.answer.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;
    use std::pin::Pin;
    use std::sync::mpsc::{Sender, channel};
    use std::task::{self, Poll};

    use tracing::span;

    use super::*;
    use crate::event::{NewEvent, Permanent};
    use crate::processor::attempt::Ending;
    use crate::processor::layer::Run;
    use crate::queue::{Intake, Queue};
    use crate::store::{Store, StoreOptions};

    /// The run of an event.
    fn run() -> Run {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        store.append(NewEvent::new("Issue", &1).unwrap()).unwrap();
        let claim = store.claim(1).unwrap().remove(0);
        let intake = Intake::new(Queue::embedded(store), 1, Arc::new(|_| None));
        let context = Context::new(&claim, &intake, &"store".into(), Instant::now(), Duration::from_secs(1));
        Run::new(claim.event().clone(), context, "Issue#1".into())
    }

    /// A future that has ended and a payload of panics, both of which panic when they are dropped.
    struct Bad;

    impl Future for Bad {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[tokio::test]
    async fn what_panics_when_it_is_dropped_is_a_panic_of_the_batch() {
        let panics = batching(BatchOptions::new(), async |_, _| -> () { panic_any(Bad) });
        let ends = batching(BatchOptions::new(), |_, _| Bad);
        for handler in [panics, ends] {
            let Kind::Batch(options, function) = handler.kind else { panic!("it is a handler of batches") };
            let gathering = Arc::new(Gathering::new(options.linger(Duration::ZERO), function));
            assert_eq!(service(gathering).run(run()).await, Ending::Panicked("panicked: dropped".to_owned()));
        }
    }

    /// A subscriber that looks, when a batch begins, whether others could gather meanwhile.
    struct Looks(Arc<Gathering>, Sender<bool>);

    impl tracing::Subscriber for Looks {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.name() == "batch"
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            self.1.send(self.0.seats.try_lock().is_ok()).unwrap();
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, _: &tracing::Event<'_>) {}

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    #[tokio::test]
    async fn however_a_batch_begins_others_may_gather_meanwhile() {
        let options = || BatchOptions::new().linger(Duration::from_secs(10));
        let gathering = |options| {
            let Kind::Batch(options, function) = batching(options, async |_, _| ()).kind else { panic!("of batches") };
            Arc::new(Gathering::new(options, function))
        };
        // A span that another test's thread begins first is asked for there alone, where nobody listens, and then never again: so it is
        // begun here before anybody listens.
        service(gathering(options().size(1))).run(run()).await;
        // It is full, the time of the first is over, or nobody else is claimed.
        for (options, is_last) in
            [(options().size(1), false), (options().linger(Duration::ZERO), false), (options(), true)]
        {
            let gathering = gathering(options);
            let (sender, told) = channel();
            let _subscribed = tracing::subscriber::set_default(Looks(Arc::clone(&gathering), sender));
            let calls_last = async { is_last.then(|| gathering.call_last()) };
            let (ending, _) = tokio::join!(service(Arc::clone(&gathering)).run(run()), calls_last);
            assert_eq!(ending, Ending::Returned(Outcome::Done));
            assert_eq!(told.try_iter().collect::<Vec<_>>(), [true]);
        }
    }

    #[test]
    fn whatever_a_handler_of_batches_returns_is_an_outcome_for_each_event() {
        let retry = |text: &str| Outcome::Retry(text.to_owned());
        let wrong = |count: usize| Err(format!("the handler returned {count} outcomes for 2 events"));
        for (outcomes, expected) in [
            (().into_outcomes(2), Ok(vec![Outcome::Done, Outcome::Done])),
            (Ok::<_, String>(()).into_outcomes(1), Ok(vec![Outcome::Done])),
            (vec![Ok(()), Err("e")].into_outcomes(2), Ok(vec![Outcome::Done, retry("e")])),
            (vec![Outcome::Done].into_outcomes(2), wrong(1)),
            (vec![Outcome::Done; 3].into_outcomes(2), wrong(3)),
            (Err::<Vec<()>, _>("e").into_outcomes(2), Err("e".to_owned())),
            (Err::<(), _>(Permanent::new("e")).into_outcomes(2), Ok(vec![Outcome::Fail("e".to_owned()); 2])),
        ] {
            assert_eq!(outcomes, expected);
        }
    }

    #[test]
    fn values_out_of_bounds_are_refused_by_name() {
        let good = BatchOptions::new;
        let check = |options: BatchOptions| options.validate("Issue", 16, ("Short", Duration::from_secs(30)));
        check(good().size(16)).unwrap();
        for (options, says) in [
            (good().size(0), "the batch size of type \"Issue\" is 0; it must be from 1 to the concurrency, 16"),
            (good().size(17), "is 17"),
            (
                good().linger(Duration::from_secs(30)),
                "is 30s; it must be at most 60s and less than the timeout of type \"Short\", 30s",
            ),
            (good().linger(Duration::from_secs(61)), "is 61s"),
        ] {
            let error = check(options).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}

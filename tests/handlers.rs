//! Handlers of every kind on a real store: typed, blocking, of batches, several for one type, within layers, and with options of their
//! type.
//!
//! Nothing here waits for a time to pass, but for retries of a millisecond: handlers say through channels how far they are.
#![cfg(feature = "manager")]
#![expect(clippy::unwrap_used, reason = "what its own scaffolding cannot do fails a test")]

#[path = "managed/scaffold.rs"]
mod scaffold;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

use ledgerline::{
    AnyHandler, BatchOptions, Context, Event, EventManager, HandlerService, HistoryEntry, NewEvent, Outcome,
    RetryPolicy, Run, Status, TypeOptions,
};
use scaffold::{MILLISECOND, builder, dir, stands, until, within};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::unbounded_channel;

/// The waits that were decided after failures.
async fn waits(manager: &EventManager, id: &str) -> Vec<Duration> {
    let history = manager.history(id).await.unwrap();
    let wait = |entry: &HistoryEntry| Some(entry.retry_at?.saturating_since(entry.at));
    history.iter().filter(|entry| entry.what == "failed").filter_map(wait).collect()
}

async fn fails(_: Event) -> Result<(), &'static str> {
    Err("no")
}

// ------------------------------------------------------------------------------------------------------------ options of types

#[tokio::test]
async fn each_type_retries_as_often_and_as_soon_as_its_options_say() {
    let dir = dir();
    let millis = Duration::from_millis;
    let manager = builder(&dir)
        .max_retries(1)
        .retry_policy(RetryPolicy::delays([millis(7)]))
        .type_options("List", TypeOptions::new().max_retries(3).retry(RetryPolicy::delays([millis(1), millis(3)])))
        .type_options(
            "Function",
            TypeOptions::new().retry(RetryPolicy::function(|failures, event| {
                assert_eq!(event.event_type(), "Function");
                Duration::from_micros(1_500) * failures
            })),
        )
        .type_options("Broken", TypeOptions::new().retry(RetryPolicy::function(|_, _| panic!("no delay"))))
        .type_options("Never", TypeOptions::new().max_retries(0))
        .on("*", fails)
        .start()
        .await
        .unwrap();
    for (event_type, retries) in
        [("List", vec![1_000, 3_000, 3_000]), ("Function", vec![1_500]), ("Never", vec![]), ("Other", vec![7_000])]
    {
        let id = manager.emit(event_type, 1).await.unwrap();
        let event = stands(&manager, &id, Status::Failed).await;
        assert_eq!(event.max_retries() as usize, retries.len(), "{event_type}");
        let expected: Vec<Duration> = retries.into_iter().map(Duration::from_micros).collect();
        assert_eq!(waits(&manager, &id).await, expected, "{event_type}");
    }
    // What an event says itself counts before the options of its type; where a policy is at a loss, the store decides.
    let id = manager.emit("Broken", 1).max_retries(2).await.unwrap();
    stands(&manager, &id, Status::Failed).await;
    let decided = waits(&manager, &id).await;
    assert!(decided.len() == 2 && decided.iter().all(|wait| (800..=2_400).contains(&wait.as_micros())), "{decided:?}");
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn each_type_has_its_own_time() {
    let dir = dir();
    let manager = builder(&dir)
        .max_retries(0)
        .handler_grace(Duration::ZERO)
        .type_options("Short", TypeOptions::new().timeout(Duration::from_millis(20)))
        .on("*", |event: Event, context: Context| async move {
            if event.event_type() == "Short" {
                std::future::pending().await
            } else {
                context.time_left() > Duration::from_secs(30)
            }
            .then_some(())
            .ok_or("it has no time")
        })
        .start()
        .await
        .unwrap();
    for (event_type, status, error) in
        [("Short", Status::Failed, Some("timed out after 20ms")), ("Other", Status::Completed, None)]
    {
        let id = manager.emit(event_type, 1).await.unwrap();
        assert_eq!(stands(&manager, &id, status).await.error_message(), error);
    }
    manager.shutdown().await.unwrap();
}

// --------------------------------------------------------------------------------------------------------------- kinds of handlers

#[derive(serde::Deserialize)]
struct Issue {
    title: String,
}

#[tokio::test]
async fn a_typed_handler_gets_its_type_and_what_does_not_decode_has_failed_for_good() {
    let dir = dir();
    let (tell, mut told) = unbounded_channel();
    let handler = move |issue: Issue, event: Event| {
        tell.send((issue.title, event.id().to_owned())).unwrap();
        async {}
    };
    let manager = builder(&dir).on_typed("Issue", handler).start().await.unwrap();
    manager.emit("Issue", json!({ "title": "New" })).id("good").await.unwrap();
    assert_eq!(within(told.recv()).await.unwrap(), ("New".to_owned(), "good".to_owned()));
    manager.emit("Issue", json!({ "name": "New" })).id("bad").await.unwrap();
    let event = stands(&manager, "bad", Status::Failed).await;
    assert_eq!(event.retry_count(), 1, "it is not run again");
    let error = event.error_message().unwrap();
    assert!(error.contains("missing field `title`"), "{error}");
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_blocking_handler_has_a_thread_of_its_own_kind_and_its_panic_is_its_attempts_error() {
    let dir = dir();
    let (tell, mut told) = unbounded_channel();
    let handler = move |event: Event, context: Context| {
        let runtime = tokio::runtime::Handle::try_current().is_ok();
        tell.send((std::thread::current().name().map(str::to_owned), runtime)).unwrap();
        assert!(context.attempt() > 1, "event {} is bad", event.id());
        Ok::<_, std::io::Error>(())
    };
    let manager = builder(&dir).on_blocking("Issue", handler).start().await.unwrap();
    manager.emit("Issue", 1).id("one").await.unwrap();
    stands(&manager, "one", Status::Completed).await;
    for _ in 0..2 {
        assert_eq!(within(told.recv()).await.unwrap(), (Some("ledgerline-blocking".to_owned()), true));
    }
    let history = manager.history("one").await.unwrap();
    let failed = history.iter().find(|entry| entry.what == "failed").unwrap();
    assert_eq!(failed.message.as_deref(), Some("panicked: event one is bad"));
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_blocking_handler_that_does_not_end_keeps_its_key_but_not_its_slot_and_holds_up_no_shutdown() {
    let dir = dir();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let (tell, mut told) = unbounded_channel();
    let quick = move |event: Event| tell.send(event.id().to_owned()).unwrap();
    let manager = builder(&dir)
        .concurrency(1)
        .max_retries(0)
        .handler_timeout(Duration::from_millis(20))
        .handler_grace(MILLISECOND)
        .drain_timeout(Duration::from_mins(30))
        .on_blocking("Block", move |_: Event| {
            let _ = gate.lock().unwrap().recv();
        })
        .on_blocking("Quick", quick)
        .start()
        .await
        .unwrap();
    manager.emit("Block", 1).id("blocked").key("k").await.unwrap();
    manager.emit("Quick", 1).id("behind").key("k").await.unwrap();
    manager.emit("Quick", 1).id("beside").await.unwrap();
    // The one thread that is allowed is lost: another is made in its place.
    assert_eq!(within(told.recv()).await.unwrap(), "beside");
    assert_eq!(manager.get("blocked").await.unwrap().unwrap().status(), Status::Processing);
    assert_eq!(manager.get("behind").await.unwrap().unwrap().status(), Status::Pending);
    open.send(()).unwrap();
    assert_eq!(within(told.recv()).await.unwrap(), "behind");
    let event = stands(&manager, "blocked", Status::Failed).await;
    assert_eq!(event.error_message(), Some("timed out after 20ms"));
    manager.emit("Block", 1).id("hung").await.unwrap();
    stands(&manager, "hung", Status::Processing).await;
    within(manager.shutdown()).await.unwrap();
    drop(open);
}

#[tokio::test]
async fn a_batch_goes_when_it_is_full_and_each_event_has_its_own_outcome() {
    let dir = dir();
    let (tell, mut told) = unbounded_channel();
    let handler = move |events: Vec<Event>, contexts: Vec<Context>| {
        let seen: BTreeMap<String, u32> =
            events.iter().zip(&contexts).map(|(event, context)| (event.id().to_owned(), context.attempt())).collect();
        tell.send(seen).unwrap();
        async move {
            let outcome = |event: &Event| match event.id() {
                "1" => Outcome::Fail("not this one".to_owned()),
                _ => Outcome::Done,
            };
            events.iter().map(outcome).collect::<Vec<_>>()
        }
    };
    let options = BatchOptions::new().size(3).linger(Duration::from_secs(20));
    let manager = builder(&dir).on_batch("Issue", options, handler).start().await.unwrap();
    for id in ["0", "1", "2"] {
        manager.emit("Issue", 1).id(id).await.unwrap();
    }
    let seen = within(told.recv()).await.unwrap();
    assert_eq!(seen, BTreeMap::from(["0", "1", "2"].map(|id| (id.to_owned(), 1))));
    for (id, status, error) in
        [("0", Status::Completed, None), ("1", Status::Failed, Some("not this one")), ("2", Status::Completed, None)]
    {
        assert_eq!(stands(&manager, id, status).await.error_message(), error);
    }
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_batch_that_does_not_fill_goes_when_its_first_has_waited_long_enough() {
    let dir = dir();
    let (tell, mut told) = unbounded_channel();
    let handler = move |events: Vec<Event>| {
        tell.send(events.len()).unwrap();
        async {}
    };
    let options = BatchOptions::new().size(16).linger(Duration::from_millis(200));
    let manager = builder(&dir).on_batch("Issue", options, handler).start().await.unwrap();
    for id in ["0", "1"] {
        manager.emit("Issue", 1).id(id).await.unwrap();
    }
    let mut seen = 0;
    while seen < 2 {
        seen += within(told.recv()).await.unwrap();
    }
    for id in ["0", "1"] {
        stands(&manager, id, Status::Completed).await;
    }
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_wrong_count_an_error_and_a_panic_of_a_batch_are_retries_for_all_of_it() {
    let dir = dir();
    let options = BatchOptions::new().size(2).linger(Duration::from_secs(20));
    let manager = builder(&dir)
        .max_retries(0)
        .on_batch("Count", options, |_: Vec<Event>| async { vec![Outcome::Done] })
        .on_batch("Error", options, |_: Vec<Event>| async { Err::<(), _>("all down") })
        .on_batch("Panic", options, |_: Vec<Event>| -> std::future::Ready<()> { panic!("bad") })
        .start()
        .await
        .unwrap();
    for (event_type, error) in
        [("Count", "the handler returned 1 outcomes for 2 events"), ("Error", "all down"), ("Panic", "panicked: bad")]
    {
        let ids = [manager.emit(event_type, 1).await.unwrap(), manager.emit(event_type, 2).await.unwrap()];
        for id in &ids {
            assert_eq!(stands(&manager, id, Status::Failed).await.error_message(), Some(error));
        }
    }
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_batch_that_hangs_is_dropped_when_all_its_runs_are_over() {
    let dir = dir();
    let dropped = Arc::new(AtomicBool::new(false));
    let guard = Arc::clone(&dropped);
    let handler = move |_: Vec<Event>| {
        let guard = Dropped(Arc::clone(&guard));
        async move {
            std::future::pending::<()>().await;
            drop(guard);
        }
    };
    let options = BatchOptions::new().size(2).linger(Duration::ZERO);
    let manager = builder(&dir)
        .max_retries(0)
        .handler_timeout(Duration::from_millis(20))
        .handler_grace(MILLISECOND)
        .on_batch("Issue", options, handler)
        .start()
        .await
        .unwrap();
    let id = manager.emit("Issue", 1).await.unwrap();
    let event = stands(&manager, &id, Status::Failed).await;
    assert_eq!(event.error_message(), Some("timed out after 20ms"));
    assert!(dropped.load(Ordering::SeqCst), "a run has not ended while its batch goes on");
    manager.shutdown().await.unwrap();
}

struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn handlers_of_every_kind_may_be_registered_while_the_manager_runs() {
    let dir = dir();
    let manager = builder(&dir).start().await.unwrap();
    let kinds = [
        ("Plain", AnyHandler::new(|_: Event| async {})),
        ("Typed", AnyHandler::typed(|_: u64| async {})),
        ("Blocking", AnyHandler::blocking(|_: Event| ())),
        ("Batch", AnyHandler::batch(BatchOptions::new().linger(Duration::ZERO), |_: Vec<Event>| async {})),
    ];
    for (event_type, handler) in kinds {
        let id = manager.emit(event_type, 1).await.unwrap();
        assert_eq!(manager.stats().held_events, 1);
        manager.register(event_type, handler).unwrap();
        stands(&manager, &id, Status::Completed).await;
    }
    manager.shutdown().await.unwrap();
}

// ------------------------------------------------------------------------------------------------------- several handlers of one type

#[tokio::test]
async fn a_retry_runs_only_the_handlers_that_have_not_succeeded() {
    let dir = dir();
    let runs = [(); 3].map(|()| Arc::new(AtomicU32::new(0)));
    let handler = |runs: &Arc<AtomicU32>, succeeds_at: u32| {
        let runs = Arc::clone(runs);
        move |_: Event| {
            let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
            async move { if run >= succeeds_at { Ok(()) } else { Err(format!("run {run} failed")) } }
        }
    };
    let manager = builder(&dir)
        .on_named("notify", "Issue", handler(&runs[0], 2))
        .on_named("audit", "Issue", AnyHandler::new(handler(&runs[1], 1)))
        .on("Issue", handler(&runs[2], 3))
        .start()
        .await
        .unwrap();
    manager.emit("Issue", 1).id("one").await.unwrap();
    stands(&manager, "one", Status::Completed).await;
    assert_eq!(runs.each_ref().map(|runs| runs.load(Ordering::SeqCst)), [2, 1, 3]);
    let history = manager.history("one").await.unwrap();
    let said = |what: &str| -> Vec<&str> {
        history.iter().filter(|entry| entry.what == what).filter_map(|entry| entry.message.as_deref()).collect()
    };
    assert_eq!(said("failed"), ["notify: run 1 failed; Issue#3: run 1 failed", "Issue#3: run 2 failed"]);
    assert_eq!(said("handled"), ["audit", "notify", "Issue#3"]);
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_handler_that_gives_up_because_its_time_is_over_has_not_succeeded() {
    let dir = dir();
    let runs = [(); 2].map(|()| Arc::new(AtomicU32::new(0)));
    let (mails, indexes) = (Arc::clone(&runs[0]), Arc::clone(&runs[1]));
    let manager = builder(&dir)
        .on_named("mail", "Issue", move |_: Event| {
            mails.fetch_add(1, Ordering::SeqCst);
            async {}
        })
        .on_named("index", "Issue", move |_: Event, context: Context| {
            let run = indexes.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                if run == 1 {
                    context.cancelled().await;
                }
            }
        })
        .type_options("Issue", TypeOptions::new().timeout(Duration::from_millis(500)))
        .start()
        .await
        .unwrap();
    manager.emit("Issue", 1).id("one").await.unwrap();
    stands(&manager, "one", Status::Completed).await;
    assert_eq!(runs.each_ref().map(|runs| runs.load(Ordering::SeqCst)), [1, 2]);
    let history = manager.history("one").await.unwrap();
    let steps: Vec<&str> = history.iter().map(|entry| entry.what.as_str()).collect();
    assert_eq!(steps, ["received", "started", "handled", "failed", "started", "handled", "completed"]);
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn handlers_of_one_type_run_beside_one_another_and_a_panic_of_one_spares_the_others() {
    let dir = dir();
    let (here, there) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let meets = |mine: &Arc<Semaphore>, other: &Arc<Semaphore>| {
        let (mine, other) = (Arc::clone(mine), Arc::clone(other));
        move |_: Event| {
            let (mine, other) = (Arc::clone(&mine), Arc::clone(&other));
            async move {
                mine.add_permits(1);
                other.acquire().await.unwrap().forget();
            }
        }
    };
    let panics = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&panics);
    let panicking = move |_: Event| -> std::future::Ready<()> {
        count.fetch_add(1, Ordering::SeqCst);
        panic!("bad");
    };
    let manager = builder(&dir)
        .concurrency(1)
        .max_retries(1)
        .on("Issue", meets(&here, &there))
        .on_named("bad", "Issue", panicking)
        .on("Issue", meets(&there, &here))
        .start()
        .await
        .unwrap();
    let id = manager.emit("Issue", 1).await.unwrap();
    let event = stands(&manager, &id, Status::Failed).await;
    assert_eq!(event.error_message(), Some("bad: panicked: bad"));
    assert_eq!(panics.load(Ordering::SeqCst), 2);
    manager.shutdown().await.unwrap();
}

// -------------------------------------------------------------------------------------------------------------------------- layers

/// A layer that says when a run goes in and how it comes out.
#[derive(Clone)]
struct Told {
    name: &'static str,
    said: Arc<Mutex<Vec<String>>>,
}

impl tower_layer::Layer<HandlerService> for Told {
    type Service = Telling;

    fn layer(&self, inner: HandlerService) -> Telling {
        Telling { told: self.clone(), inner }
    }
}

#[derive(Clone)]
struct Telling {
    told: Told,
    inner: HandlerService,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl tower_service::Service<Run> for Telling {
    type Response = Outcome;
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, run: Run) -> Self::Future {
        let Told { name, said } = self.told.clone();
        said.lock().unwrap().push(format!("{name} in: {} {}", run.handler(), run.event().event_type()));
        assert_ne!(run.event().event_type(), "Panic", "in a layer");
        let inner = self.inner.call(run);
        Box::pin(async move {
            let outcome = inner.await;
            said.lock().unwrap().push(format!("{name} out: {outcome:?}"));
            outcome
        })
    }
}

/// A layer whose service panics when it is copied, once it was told to.
#[derive(Clone)]
struct Brittle(Arc<AtomicBool>);

impl tower_layer::Layer<HandlerService> for Brittle {
    type Service = BrittleService;

    fn layer(&self, inner: HandlerService) -> BrittleService {
        BrittleService { breaks: Arc::clone(&self.0), inner }
    }
}

struct BrittleService {
    breaks: Arc<AtomicBool>,
    inner: HandlerService,
}

impl Clone for BrittleService {
    fn clone(&self) -> Self {
        assert!(!self.breaks.swap(false, Ordering::SeqCst), "when it was copied");
        Self { breaks: Arc::clone(&self.breaks), inner: self.inner.clone() }
    }
}

impl tower_service::Service<Run> for BrittleService {
    type Response = Outcome;
    type Error = BoxError;
    type Future = <HandlerService as tower_service::Service<Run>>::Future;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, run: Run) -> Self::Future {
        self.inner.call(run)
    }
}

#[tokio::test]
async fn a_layer_that_panics_when_it_is_copied_fails_that_attempt_alone() {
    let dir = dir();
    let breaks = Arc::new(AtomicBool::new(false));
    let layer = Brittle(Arc::clone(&breaks));
    let manager = builder(&dir).max_retries(0).layer(layer).on("Issue", |_: Event| async {}).start().await.unwrap();
    breaks.store(true, Ordering::SeqCst);
    let id = manager.emit("Issue", 1).await.unwrap();
    let event = stands(&manager, &id, Status::Failed).await;
    assert!(event.error_message().unwrap().contains("when it was copied"));
    let id = manager.emit("Issue", 2).await.unwrap();
    stands(&manager, &id, Status::Completed).await;
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn layers_stand_around_every_kind_of_handler_and_the_first_is_the_outermost() {
    let dir = dir();
    let said = Arc::new(Mutex::new(Vec::new()));
    let layer = |name| Told { name, said: Arc::clone(&said) };
    let options = BatchOptions::new().linger(Duration::ZERO);
    let manager = builder(&dir)
        .max_retries(0)
        .layer(layer("outer"))
        .layer(layer("inner"))
        .on("Plain", fails)
        .on_typed("Typed", |_: u64| async {})
        .on_blocking("Blocking", |_: Event| ())
        .on_batch("Batch", options, |_: Vec<Event>| async {})
        .on_named("panics", "Panic", fails)
        .start()
        .await
        .unwrap();
    manager.register("Late", |_: Event| async {}).unwrap();
    for (event_type, status, outcome) in [
        ("Plain", Status::Failed, "Ok(Retry(\"no\"))"),
        ("Typed", Status::Completed, "Ok(Done)"),
        ("Blocking", Status::Completed, "Ok(Done)"),
        ("Batch", Status::Completed, "Ok(Done)"),
        ("Late", Status::Completed, "Ok(Done)"),
    ] {
        let id = manager.emit(event_type, 1).await.unwrap();
        stands(&manager, &id, status).await;
        let expected = [
            format!("outer in: {event_type}#1 {event_type}"),
            format!("inner in: {event_type}#1 {event_type}"),
            format!("inner out: {outcome}"),
            format!("outer out: {outcome}"),
        ];
        assert_eq!(std::mem::take(&mut *said.lock().unwrap()), expected);
    }
    // A panic of a layer is the attempt's error as well.
    let id = manager.emit("Panic", 1).await.unwrap();
    let event = stands(&manager, &id, Status::Failed).await;
    assert!(event.error_message().unwrap().contains("in a layer"));
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn limits_and_timeouts_of_tower_hold_around_handlers() {
    let dir = dir();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let handler = move |_: Event| {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
        }
    };
    let manager = builder(&dir)
        .max_retries(0)
        .layer(tower::limit::GlobalConcurrencyLimitLayer::new(2))
        .layer(tower::timeout::TimeoutLayer::new(Duration::from_millis(50)))
        .on("Issue", handler)
        .on("Hang", |_: Event| std::future::pending::<()>())
        .start()
        .await
        .unwrap();
    for _ in 0..50 {
        manager.emit("Issue", 1).await.unwrap();
    }
    until(async || (manager.stats().events_processed == 50).then_some(())).await;
    assert!((1..=2).contains(&seen.load(Ordering::SeqCst)), "{seen:?}");
    // An error of a layer is that attempt's.
    let id = manager.emit("Hang", 1).await.unwrap();
    assert_eq!(stands(&manager, &id, Status::Failed).await.error_message(), Some("request timed out"));
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_event_that_was_made_elsewhere_has_the_retries_of_its_type() {
    let dir = dir();
    let options = TypeOptions::new().max_retries(9);
    let manager = builder(&dir).type_options("Issue", options).open().await.unwrap();
    for (event, retries) in [
        (NewEvent::new("Issue", &1).unwrap(), 9),
        (NewEvent::new("Issue", &1).unwrap().max_retries(2), 2),
        (NewEvent::new("Comment", &1).unwrap(), 3),
    ] {
        let id = manager.try_emit_event(event).await.unwrap().id;
        assert_eq!(manager.get(id).await.unwrap().unwrap().max_retries(), retries);
    }
    manager.shutdown().await.unwrap();
}

/// Somebody's own, who forgets all but the first.
struct First;

impl ledgerline::IntoOutcomes for First {
    fn into_outcomes(self, _: usize) -> Result<Vec<Outcome>, String> {
        Ok(vec![Outcome::Done])
    }
}

#[tokio::test]
async fn events_of_a_batch_that_outcomes_are_missing_for_have_failed() {
    let dir = dir();
    let options = BatchOptions::new().size(2).linger(Duration::from_secs(20));
    let manager = builder(&dir).max_retries(0).on_batch("Count", options, async |_: Vec<Event>| First);
    let manager = manager.start().await.unwrap();
    for id in ["a", "b"] {
        manager.emit("Count", 1).id(id).await.unwrap();
    }
    for id in ["a", "b"] {
        let event = stands(&manager, id, Status::Failed).await;
        assert_eq!(event.error_message(), Some("the handler returned 1 outcomes for 2 events"));
    }
    manager.shutdown().await.unwrap();
}

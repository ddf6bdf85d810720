//! The workers over time: timeouts, shutdown step by step, what is said about their health, and what becomes of those that run beside
//! one that kills the process.
//!
//! Time is tokio's and stands still but for the timers that are waited for, so each of these takes milliseconds. What shall run is kept
//! before the workers start: while something waits for the disk, such a clock would leap to the next timer.
#![cfg(feature = "manager")]
#![expect(clippy::unwrap_used, reason = "what its own scaffolding cannot do fails a test")]

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledgerline::testing::Bench;
use ledgerline::{
    BatchOptions, Context, Event, EventManager, EventManagerBuilder, Filter, Outcome, RetryPolicy, Status,
    StoreOptions, Timestamp, TypeOptions, Waiting,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn builder(path: &Path) -> EventManagerBuilder {
    EventManager::builder(path).max_retries(0)
}

/// Keeps an event of each of these types, named like it.
async fn keep(path: &Path, types: &[&str]) {
    let manager = builder(path).open().await.unwrap();
    for event_type in types {
        manager.emit(*event_type, 1).id(*event_type).await.unwrap();
    }
    manager.shutdown().await.unwrap();
}

/// What happened to a run, and when.
type Seen = (&'static str, Instant);

/// Says when it is dropped.
struct Leaving(UnboundedSender<Seen>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let _ = self.0.send(("left", Instant::now()));
    }
}

/// A handler that never ends by itself, and says when it begins, is told to end, and is dropped.
fn deaf() -> (impl Fn(Event, Context) -> Hanging + Send + Sync + 'static, UnboundedReceiver<Seen>) {
    let (tell, told) = unbounded_channel();
    let handler = move |_: Event, context: Context| -> Hanging {
        let tell = tell.clone();
        Box::pin(async move {
            tell.send(("began", Instant::now())).unwrap();
            let _leaving = Leaving(tell.clone());
            context.cancelled().await;
            assert!(context.is_cancelled());
            tell.send(("told", Instant::now())).unwrap();
            std::future::pending::<()>().await;
        })
    };
    (handler, told)
}

type Hanging = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Seconds from the first to each, rounded down.
fn seconds(seen: &[Seen]) -> Vec<(&'static str, u64)> {
    let (_, first) = *seen.first().unwrap();
    seen.iter().map(|(what, at)| (*what, (*at - first).as_secs())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_is_told_after_a_minute_and_aborted_five_seconds_later() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &["Hang"]).await;
    let (handler, mut told) = deaf();
    let manager = builder(dir.path()).on("Hang", handler).start().await.unwrap();
    // Nothing bounds the claim: where time is paused, any bound ends while the disk works.
    let mut seen = vec![told.recv().await.unwrap()];
    for _ in 0..2 {
        seen.push(tokio::time::timeout(600 * SECOND, told.recv()).await.unwrap().unwrap());
    }
    assert_eq!(seconds(&seen), [("began", 0), ("told", 60), ("left", 65)]);
    while manager.stats().failed_events == 0 {
        tokio::task::yield_now().await;
    }
    manager.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_claims_nothing_drains_calls_off_aborts_and_closes_the_log() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &["Quick", "Heeding", "Deaf", "Blocking", "Later"]).await;
    let (deaf, mut deaf_told) = deaf();
    let (tell, mut told) = unbounded_channel();
    let heeding = move |_: Event, context: Context| {
        let tell = tell.clone();
        async move {
            context.cancelled().await;
            tell.send(("told", Instant::now())).unwrap();
            Err::<(), _>("was told to end")
        }
    };
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let blocks = Arc::new(AtomicBool::new(false));
    let is_blocking = Arc::clone(&blocks);
    let later = Arc::new(AtomicBool::new(false));
    let ran_later = Arc::clone(&later);
    let manager = builder(dir.path())
        .concurrency(4)
        .on("Quick", |_: Event| tokio::time::sleep(10 * SECOND))
        .on("Heeding", heeding)
        .on("Deaf", deaf)
        .on_blocking("Blocking", move |_: Event| {
            is_blocking.store(true, Ordering::SeqCst);
            let _ = gate.lock().unwrap().recv();
        })
        .on("Later", move |_: Event| {
            ran_later.store(true, Ordering::SeqCst);
            async {}
        })
        .start()
        .await
        .unwrap();
    deaf_told.recv().await.unwrap();
    // Not idle, so that time stands still until the thread has begun.
    while !blocks.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    let stopped = Instant::now();
    manager.shutdown().await.unwrap();
    let after = |at: Instant| (at - stopped).as_secs();
    // 25 s to drain, 1 s for those that were told, 1 s for those that were aborted.
    let (what, at) = told.recv().await.unwrap();
    assert_eq!((what, after(at)), ("told", 25));
    for expected in [("told", 25), ("left", 26)] {
        let (what, at) = deaf_told.recv().await.unwrap();
        assert_eq!((what, after(at)), expected);
    }
    assert_eq!(stopped.elapsed().as_secs(), 27);
    assert!(!later.load(Ordering::SeqCst), "nothing is claimed after a stop, although a slot became free");
    drop(open);

    let manager = builder(dir.path()).open().await.unwrap();
    assert!(manager.recovery().closed_cleanly);
    for (id, status) in [
        ("Quick", Status::Completed),
        ("Heeding", Status::Pending),
        ("Deaf", Status::Pending),
        ("Blocking", Status::Pending),
        ("Later", Status::Pending),
    ] {
        let event = manager.get(id).await.unwrap().unwrap();
        assert_eq!((event.status(), event.retry_count()), (status, 0), "{id}");
    }
    let history = manager.history("Later").await.unwrap();
    assert_eq!(history.len(), 1, "it was not even claimed: {history:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_gives_its_event_back_begins_again_a_second_later_unless_it_is_told_to_end() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &["Issue"]).await;
    let (tell, mut told) = unbounded_channel();
    let handler = move |_: Event| {
        let _ = tell.send(Instant::now());
        async { Outcome::Release }
    };
    let manager = builder(dir.path()).drain_timeout(Duration::ZERO).on("Issue", handler).start().await.unwrap();
    let first = told.recv().await.unwrap();
    let second = told.recv().await.unwrap();
    assert!((second - first).as_secs() == 1, "{:?}", second - first);
    let stopped = Instant::now();
    manager.shutdown().await.unwrap();
    assert_eq!(stopped.elapsed().as_secs(), 0);
    let event = builder(dir.path()).open().await.unwrap().get("Issue").await.unwrap().unwrap();
    assert_eq!((event.status(), event.retry_count()), (Status::Pending, 0));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_puts_its_event_off_by_nothing_begins_again_a_second_later() {
    for outcome in [Outcome::Snooze(Duration::ZERO), Outcome::RetryAt(Timestamp::default())] {
        let (tell, mut told) = unbounded_channel();
        let setup = move |builder: EventManagerBuilder| {
            let (tell, outcome) = (tell.clone(), outcome.clone());
            builder.on("Issue", move |_: Event| {
                let _ = tell.send(Instant::now());
                std::future::ready(outcome.clone())
            })
        };
        let bench = Bench::start(setup).await.unwrap();
        bench.manager().emit("Issue", 1).await.unwrap();
        let first = told.recv().await.unwrap();
        let second = told.recv().await.unwrap();
        assert_eq!((second - first).as_secs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn at_a_shutdown_a_batch_that_gathers_goes_at_once() {
    let setup = |builder: EventManagerBuilder| {
        let options = BatchOptions::new().linger(30 * SECOND);
        builder.on_batch("Issue", options, |_: Vec<Event>| async {})
    };
    let mut bench = Bench::start(setup).await.unwrap();
    for id in ["a", "b"] {
        bench.manager().emit("Issue", 1).id(id).await.unwrap();
    }
    // Time stands still until both have been claimed and wait.
    tokio::time::sleep(SECOND).await;
    let stopped = Instant::now();
    bench.restart().await.unwrap();
    assert_eq!(stopped.elapsed().as_secs(), 0);
    for id in ["a", "b"] {
        assert_eq!(bench.manager().get(id).await.unwrap().unwrap().status(), Status::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_of_idle_workers_takes_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let manager = builder(dir.path()).on("Issue", |_: Event| async {}).start().await.unwrap();
    let stopped = Instant::now();
    manager.shutdown().await.unwrap();
    assert_eq!(stopped.elapsed().as_secs(), 0);
}

// ---------------------------------------------------------------------------------------------------------------- what is said

/// Keeps what a module says at INFO and above: level, message and fields.
#[derive(Clone)]
struct Said {
    module: &'static str,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Said {
    fn by(module: &'static str) -> Self {
        Self { module, lines: Arc::default() }
    }

    fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// The fields of what is said, in their order.
struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let text = if field.name() == "message" { format!(" {value:?}") } else { format!(" {field}={value:?}") };
        self.0.push_str(&text);
    }
}

impl tracing::Subscriber for Said {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= tracing::Level::INFO && metadata.target().starts_with(self.module)
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.lines.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_change_of_health_is_said_once_each_way() {
    let said = Said::by("ledgerline::manager::watch");
    let _guard = tracing::subscriber::set_default(said.clone());
    let dir = tempfile::tempdir().unwrap();
    let sound = Arc::new(AtomicBool::new(false));
    let is_sound = Arc::clone(&sound);
    let handler = move |_: Event| {
        let sound = is_sound.load(Ordering::SeqCst);
        async move { if sound { Outcome::Done } else { Outcome::Fail("down".to_owned()) } }
    };
    let manager = builder(dir.path()).on("Issue", handler).start().await.unwrap();
    for _ in 0..100 {
        manager.emit("Issue", 1).await.unwrap();
    }
    let lines = lines_once_there_are(1, &said).await;
    assert!(lines.len() == 1 && lines[0].starts_with("WARN the manager is not well "), "{lines:?}");
    assert!(!manager.is_healthy());
    sound.store(true, Ordering::SeqCst);
    manager.replay_failed().await.unwrap();
    let lines = lines_once_there_are(2, &said).await;
    assert!(lines.len() == 2 && lines[1] == "INFO the manager is well again", "{lines:?}");
    assert!(manager.is_healthy());
    manager.shutdown().await.unwrap();
    assert_eq!(said.all().len(), 2, "a shutdown is no change for the worse");
}

/// Waits until so many lines are said, and a minute more for those that should not be.
async fn lines_once_there_are(count: usize, said: &Said) -> Vec<String> {
    for _ in 0..3_600 {
        if said.all().len() >= count {
            break;
        }
        tokio::time::sleep(SECOND).await;
    }
    tokio::time::sleep(60 * SECOND).await;
    said.all()
}

#[tokio::test]
async fn a_failure_that_is_retried_and_one_for_good_are_told_apart() {
    let said = Said::by("ledgerline::processor");
    let _guard = tracing::subscriber::set_default(said.clone());
    let setup = |builder: EventManagerBuilder| {
        let builder = builder.max_retries(1).retry_policy(RetryPolicy::delays([60 * SECOND]));
        builder.on("Issue", |_: Event| async { Err::<(), _>("no") })
    };
    let mut bench = Bench::start(setup).await.unwrap();
    bench.manager().emit("Issue", 1).id("a").await.unwrap();
    bench.drain_for(60 * SECOND).await.unwrap();
    let of = |attempt: u32| format!("event_id=\"a\" event_type=\"Issue\" attempt={attempt} error=\"no\"");
    let expected = [
        format!("INFO a run failed; its event is retried {} retry_in=60s", of(1)),
        format!("WARN a run failed; its event has failed for good {}", of(2)),
    ];
    assert_eq!(said.all(), expected);
}

#[tokio::test]
async fn of_a_run_whose_event_was_cancelled_no_failure_is_told() {
    let said = Said::by("ledgerline::processor");
    let _guard = tracing::subscriber::set_default(said.clone());
    let setup = |builder: EventManagerBuilder| {
        builder.on("Issue", |_: Event, context: Context| async move {
            context.cancelled().await;
            Err::<(), _>("was called off")
        })
    };
    let mut bench = Bench::start(setup).await.unwrap();
    bench.manager().emit("Issue", 1).id("a").await.unwrap();
    runs(&bench).await;
    bench.manager().cancel("a", "no longer wanted").await.unwrap();
    bench.drain().await.unwrap();
    let said = said.all();
    assert!(said.len() == 1 && said[0].starts_with("INFO a run has ended whose event was cancelled"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_aborted_at_the_end_of_a_shutdown_is_not_said_to_be_left_behind() {
    let said = Said::by("ledgerline::processor");
    let _guard = tracing::subscriber::set_default(said.clone());
    let setup = |builder: EventManagerBuilder| {
        let builder = builder.max_retries(0).handler_timeout(SECOND).handler_grace(Duration::ZERO);
        builder.on("Hang", |_: Event| std::future::pending::<()>())
    };
    let mut bench = Bench::start(setup).await.unwrap();
    bench.manager().emit("Hang", 1).id("a").await.unwrap();
    runs(&bench).await;
    bench.restart().await.unwrap();
    assert_eq!(bench.manager().get("a").await.unwrap().unwrap().error_message(), Some("timed out after 1s"));
    let said = said.all();
    assert!(said.len() == 3 && !said.iter().any(|line| line.contains("left behind")), "{said:?}");
}

/// Waits until something runs.
async fn runs(bench: &Bench) {
    while bench.manager().stats().processing_events == 0 {
        tokio::task::yield_now().await;
    }
}

// ------------------------------------------------------------------------------------------------------------------ a poison pill

/// Where the process that dies finds its store.
const PILL_STORE: &str = "LEDGERLINE_TEST_PILL_STORE";
const IN_FLIGHT: usize = 16;
/// Two deaths make all of them suspects, and so many more while it runs alone condemn the pill: ten together.
const DEATHS_ALONE: u32 = 8;
const DEATHS: usize = 10;
const DIED: i32 = 9;

#[test]
fn beside_an_event_that_kills_the_process_ten_times_no_other_fails() {
    if let Some(path) = std::env::var_os(PILL_STORE) {
        return live_and_die(Path::new(&path));
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "beside_an_event_that_kills_the_process_ten_times_no_other_fails";
    let live = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--test-threads=1"]).env(PILL_STORE, dir.path());
        command.output().unwrap().status.code()
    };
    let deaths = (0..=DEATHS).take_while(|_| live() == Some(DIED)).count();
    assert_eq!(deaths, DEATHS);
    let store = ledgerline::Store::open_read_only(dir.path()).unwrap();
    let pill = store.get("pill").unwrap().unwrap();
    assert_eq!(pill.status(), Status::Failed);
    let reason = pill.error_message().unwrap();
    assert_eq!(reason, format!("the process died {DEATHS_ALONE} times while this event ran alone"));
    let innocents = store.list(&Filter::all().status(Status::Completed)).unwrap();
    assert_eq!(innocents.len(), IN_FLIGHT - 1);
    for innocent in innocents {
        assert_eq!(innocent.retry_count(), 0, "{}", innocent.id());
        assert!(store.history(innocent.id()).unwrap().iter().all(|entry| entry.what != "failed"), "{}", innocent.id());
    }
}

/// One life of the process: it ends when the pill runs, or when nothing is left to run.
#[tokio::main(flavor = "current_thread")]
async fn live_and_die(path: &Path) {
    let options = StoreOptions::default().process_deaths_max(DEATHS_ALONE).max_retries(3);
    let running = Arc::new(AtomicUsize::new(0));
    let handler = move |event: Event| {
        let running = Arc::clone(&running);
        async move {
            running.fetch_add(1, Ordering::SeqCst);
            // Whoever does not see all the others within this time runs alone, or beside none that kills.
            let alone_at = Instant::now() + Duration::from_millis(150);
            while running.load(Ordering::SeqCst) < IN_FLIGHT && Instant::now() < alone_at {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if event.id() == "pill" {
                std::process::exit(DIED);
            }
            if running.load(Ordering::SeqCst) >= IN_FLIGHT {
                std::future::pending::<()>().await;
            }
            running.fetch_sub(1, Ordering::SeqCst);
        }
    };
    let is_new = !path.join("MANIFEST").exists();
    if is_new {
        let manager = EventManager::builder(path).store_options(options.clone()).open().await.unwrap();
        for number in 1..IN_FLIGHT {
            manager.emit("Issue", number).await.unwrap();
            if number == IN_FLIGHT / 2 {
                manager.emit("Issue", 0).id("pill").await.unwrap();
            }
        }
        manager.shutdown().await.unwrap();
    }
    let manager = EventManager::builder(path)
        .store_options(options)
        .concurrency(IN_FLIGHT)
        .batch_size(IN_FLIGHT)
        .on("Issue", handler)
        .start()
        .await
        .unwrap();
    let live = || {
        let stats = manager.stats();
        stats.pending_events + stats.processing_events + stats.retrying_events
    };
    while live() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    manager.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_end_holds_up_nobody_but_its_key() {
    let begun = Arc::new(AtomicUsize::new(0));
    let beginning = Arc::clone(&begun);
    let setup = move |builder: EventManagerBuilder| {
        let begun = Arc::clone(&beginning);
        let limited = builder.type_options("Hang", TypeOptions::new().concurrency(1));
        limited.on_blocking("Hang", move |event: Event| {
            begun.fetch_add(1, Ordering::SeqCst);
            while event.id() == "first" {
                std::thread::park();
            }
        })
    };
    let bench = Bench::start(setup).await.unwrap();
    for (id, key) in [("first", Some("k")), ("of its key", Some("k")), ("of its type", None)] {
        let emit = bench.manager().emit("Hang", 1).id(id);
        if let Some(key) = key {
            emit.key(key).await.unwrap()
        } else {
            emit.await.unwrap()
        };
    }
    // Its thread does not begin by tokio's clock.
    while begun.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(waiting(&bench, "of its type").await, Some(Waiting::Limit { runs: 1 })));
    // The clock of the one that hangs does not go on by itself.
    while waiting(&bench, "of its type").await.is_some() {
        tokio::time::advance(SECOND).await;
    }
    while begun.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(waiting(&bench, "of its key").await, Some(Waiting::Key { .. })));
    assert!(bench.manager().is_healthy());
}

async fn waiting(bench: &Bench, id: &str) -> Option<Waiting> {
    bench.manager().get(id).await.unwrap().unwrap().waiting().cloned()
}

//! The contract between workers and an engine, held against every engine there is.
//!
//! Each test states one sentence of the contract and runs it on a fresh queue of each engine. Workers look again only after an hour,
//! so whatever runs was noticed by the engine's own wake-ups. Nothing waits for a time to pass but events that are for later.
#![cfg(feature = "manager")]
#![expect(clippy::disallowed_methods, reason = "a time to wait for lies behind the one that it is")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a failing test says which engine it was, and why")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ledgerline::testing::MemoryDisk;
use ledgerline::{
    Context, Duplicate, ErrorKind, Event, EventManager, EventManagerBuilder, Filter, NewEvent, Outcome, Status,
    Timestamp, Waiting,
};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Describes a manager on top of an engine, again and again with the same events.
type Describe = Box<dyn Fn() -> EventManagerBuilder>;

/// An engine: gives its events a place of their own.
type Engine = fn() -> Describe;

const ENGINES: &[(&str, Engine)] = &[("embedded on disk", on_disk), ("embedded in memory", in_memory)];

fn on_disk() -> Describe {
    let dir = tempfile::tempdir().unwrap();
    Box::new(move || EventManager::builder(dir.path()))
}

fn in_memory() -> Describe {
    let disk = MemoryDisk::new();
    Box::new(move || disk.builder())
}

/// Runs one sentence of the contract on each engine.
fn check<F: Future<Output = ()>>(sentence: impl Fn(Bench) -> F) {
    for (name, engine) in ENGINES {
        println!("engine: {name}");
        let bench = Bench { describe: engine() };
        runtime().block_on(within(sentence(bench)));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it comes within half a minute")
}

/// An engine with a place for its events, which outlives managers.
struct Bench {
    describe: Describe,
}

impl Bench {
    fn builder(&self) -> EventManagerBuilder {
        (self.describe)().retry_interval(Duration::from_millis(1)).processing_interval(Duration::from_hours(1))
    }
}

/// What a handler says at the start of a run. It then waits for a permit of its gate.
struct Began {
    event: Event,
    context: Context,
}

/// A handler that says when it begins, waits for a permit, and ends as the event's data names it.
fn gated(gate: &Arc<Semaphore>) -> (impl Fn(Event, Context) -> Run + Send + Sync + 'static, UnboundedReceiver<Began>) {
    let (tell, told): (UnboundedSender<Began>, _) = unbounded_channel();
    let gate = Arc::clone(gate);
    let handler = move |event: Event, context: Context| -> Run {
        let (tell, gate) = (tell.clone(), Arc::clone(&gate));
        Box::pin(async move {
            let data: String = event.json().unwrap();
            let first = context.attempt() == 1;
            // A test that has seen enough no longer listens.
            let _ = tell.send(Began { event, context });
            gate.acquire().await.unwrap().forget();
            match data.as_str() {
                "retry once" if first => Outcome::Retry("once".to_owned()),
                "release once" if first => Outcome::Release,
                "fail" => Outcome::Fail("for good".to_owned()),
                "cancel" => Outcome::Cancel("called off".to_owned()),
                _ => Outcome::Done,
            }
        })
    };
    (handler, told)
}

type Run = std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>>;

fn open_gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(Semaphore::MAX_PERMITS / 2))
}

fn closed_gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

async fn ids(told: &mut UnboundedReceiver<Began>, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(told.recv().await.unwrap().event.id().to_owned());
    }
    ids
}

#[test]
fn a_batch_is_kept_whole_or_not_at_all_and_what_is_there_already_once() {
    check(async |bench: Bench| {
        let event = |id: &str| NewEvent::new("T", &"x").unwrap().id(id);
        // As many wait for a place as there are.
        let manager = bench.builder().queue_size(2).max_retries(7).open().await.unwrap();
        let receipts = manager.emit_many(["a", "b", "c"].map(event)).await.unwrap();
        assert!(receipts.is_sorted_by_key(|receipt| receipt.seq), "{receipts:?}");
        let receipts = manager.emit_many(["d", "b"].map(event)).await.unwrap();
        let told = receipts.into_iter().map(|receipt| (receipt.id, receipt.duplicate));
        assert!(told.eq([("d".to_owned(), None), ("b".to_owned(), Some(Duplicate::SameId))]));
        for bad in ["", "e", "x".repeat(257).as_str()] {
            let refused = manager.emit_many(["e", bad].map(event)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
        }
        assert!(manager.emit_many([]).await.unwrap().is_empty());
        manager.shutdown().await.unwrap();
        assert_eq!(manager.emit_many([event("e")]).await.unwrap_err().kind(), ErrorKind::Closed);
        let manager = bench.builder().open().await.unwrap();
        let events = manager.list(Filter::all()).await.unwrap();
        assert!(events.iter().map(Event::id).eq(["a", "b", "c", "d"]));
        assert!(events.iter().all(|event| event.max_retries() == 7));
        manager.shutdown().await.unwrap();
    });
}

#[test]
fn what_was_appended_is_there_once_after_a_reopening() {
    check(async |bench: Bench| {
        let manager = bench.builder().open().await.unwrap();
        for number in 0..10 {
            for _ in 0..2 {
                assert_eq!(manager.emit("T", "x").id(number.to_string()).await.unwrap(), number.to_string());
            }
        }
        manager.shutdown().await.unwrap();
        let manager = bench.builder().open().await.unwrap();
        let kept = manager.list(Filter::all()).await.unwrap();
        let kept: Vec<&str> = kept.iter().map(Event::id).collect();
        assert_eq!(kept, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        manager.shutdown().await.unwrap();
    });
}

#[test]
fn an_id_stands_for_one_event_whoever_has_named_it() {
    check(async |bench: Bench| {
        let manager = bench.builder().open().await.unwrap();
        let given = manager.emit("T", "x").await.unwrap();
        let again = |event_type: &str, data: &str| manager.emit(event_type, data).id(given.as_str()).receipt();
        assert_eq!(again("T", "x").await.unwrap().duplicate, Some(Duplicate::SameId));
        for (event_type, data) in [("T", "y"), ("U", "x")] {
            assert_eq!(again(event_type, data).await.unwrap_err().kind(), ErrorKind::IdConflict);
        }
        assert_eq!(manager.stats().pending_events, 1);
        manager.shutdown().await.unwrap();
    });
}

#[test]
fn a_claimed_event_is_in_no_other_claim() {
    check(async |bench: Bench| {
        let (handler, mut told) = gated(&open_gate());
        let manager = bench.builder().batch_size(3).concurrency(8).on("T", handler).start().await.unwrap();
        for number in 0..200 {
            manager.emit("T", "x").id(number.to_string()).await.unwrap();
        }
        let mut runs = BTreeMap::<String, u32>::new();
        for id in ids(&mut told, 200).await {
            *runs.entry(id).or_default() += 1;
        }
        manager.shutdown().await.unwrap();
        assert!(told.recv().await.is_none());
        assert!(runs.values().all(|count| *count == 1), "{runs:?}");
    });
}

#[test]
fn claims_hand_out_the_oldest_first() {
    check(async |bench: Bench| {
        let manager = bench.builder().open().await.unwrap();
        let mut kept = Vec::new();
        for _ in 0..20 {
            kept.push(manager.emit("T", "x").await.unwrap());
        }
        manager.shutdown().await.unwrap();
        let (handler, mut told) = gated(&open_gate());
        let manager = bench.builder().concurrency(1).on("T", handler).start().await.unwrap();
        assert_eq!(ids(&mut told, 20).await, kept);
        manager.shutdown().await.unwrap();
    });
}

#[test]
fn no_more_is_claimed_than_slots_are_free() {
    check(async |bench: Bench| {
        let gate = closed_gate();
        let (handler, mut told) = gated(&gate);
        let manager = bench.builder().concurrency(3).batch_size(2).on("T", handler).start().await.unwrap();
        for _ in 0..10 {
            manager.emit("T", "x").await.unwrap();
        }
        ids(&mut told, 3).await;
        let stats = manager.stats();
        assert_eq!((stats.processing_events, stats.pending_events), (3, 7));
        gate.add_permits(1);
        ids(&mut told, 1).await;
        let stats = manager.stats();
        assert_eq!((stats.processing_events, stats.pending_events, stats.events_processed), (3, 6, 1));
        gate.add_permits(10);
        ids(&mut told, 6).await;
        manager.shutdown().await.unwrap();
    });
}

#[test]
fn each_outcome_leads_to_its_status() {
    check(async |bench: Bench| {
        let (handler, mut told) = gated(&open_gate());
        let manager = bench.builder().on("T", handler).start().await.unwrap();
        let cases = [
            ("done", Status::Completed, 1, 0, None),
            ("retry once", Status::Completed, 2, 1, None),
            ("release once", Status::Completed, 2, 0, None),
            ("fail", Status::Failed, 1, 1, Some("for good")),
            ("cancel", Status::Cancelled, 1, 0, Some("called off")),
        ];
        for (data, _, runs, ..) in cases {
            manager.emit("T", data).id(data).await.unwrap();
            let began: Vec<_> = ids(&mut told, runs).await;
            assert!(began.iter().all(|id| id == data));
        }
        manager.shutdown().await.unwrap();
        let manager = bench.builder().open().await.unwrap();
        for (id, status, _, retry_count, message) in cases {
            let event = manager.get(id).await.unwrap().unwrap();
            assert_eq!((event.status(), event.retry_count()), (status, retry_count), "{id}");
            if message.is_some() {
                assert_eq!(event.error_message(), message, "{id}");
            }
        }
        manager.shutdown().await.unwrap();
    });
}

#[test]
fn events_of_one_key_run_one_at_a_time_in_order_and_hold_up_no_other_key() {
    check(async |bench: Bench| {
        let gate = closed_gate();
        let (handler, mut told) = gated(&gate);
        let manager = bench.builder().on("T", handler).start().await.unwrap();
        for number in 0..20 {
            manager.emit("T", "x").id(format!("a{number}")).key("a").await.unwrap();
        }
        manager.emit("T", "x").id("b0").key("b").await.unwrap();
        assert_eq!(ids(&mut told, 2).await, ["a0", "b0"]);
        assert_eq!(manager.stats().processing_events, 2);
        gate.add_permits(21);
        let rest: Vec<String> = (1..20).map(|number| format!("a{number}")).collect();
        assert_eq!(ids(&mut told, 19).await, rest);
        manager.shutdown().await.unwrap();
    });
}

#[test]
fn an_event_that_waits_for_its_retry_holds_its_key() {
    check(async |bench: Bench| {
        let (handler, mut told) = gated(&open_gate());
        let manager = bench.builder().on("T", handler).start().await.unwrap();
        manager.emit("T", "retry once").id("first").key("a").await.unwrap();
        manager.emit("T", "x").id("second").key("a").await.unwrap();
        assert_eq!(ids(&mut told, 3).await, ["first", "first", "second"]);
        manager.shutdown().await.unwrap();
    });
}

#[test]
fn a_claim_that_was_ended_by_others_settles_nothing_and_its_event_runs_again_once_it_has_ended() {
    check(async |bench: Bench| {
        let gates = [closed_gate(), closed_gate()];
        let (tell, mut told) = unbounded_channel();
        let handler = {
            let gates = gates.clone();
            move |_: Event, context: Context| {
                let run = context.attempt();
                let gate = Arc::clone(&gates[run as usize - 1]);
                tell.send(run).unwrap();
                async move {
                    gate.acquire().await.unwrap().forget();
                    if run == 1 { Outcome::Fail("from a claim that is over".to_owned()) } else { Outcome::Done }
                }
            }
        };
        let (other, mut other_told) = gated(&open_gate());
        let manager = bench.builder().on("T", handler).on("Other", other).start().await.unwrap();
        manager.emit("T", 1).id("one").await.unwrap();
        assert_eq!(told.recv().await, Some(1));
        manager.cancel("one", "not now").await.unwrap();
        assert_eq!(manager.replay(["one"]).await.unwrap()[0].refused, None);
        // Had it been claimed beside its former run, that had come first.
        manager.emit("Other", "x").await.unwrap();
        ids(&mut other_told, 1).await;
        assert!(told.try_recv().is_err(), "its former run has not ended");
        gates[0].add_permits(1);
        assert_eq!(told.recv().await, Some(2));
        assert_eq!(manager.get("one").await.unwrap().unwrap().status(), Status::Processing);
        gates[1].add_permits(1);
        manager.shutdown().await.unwrap();
        let manager = bench.builder().open().await.unwrap();
        let event = manager.get("one").await.unwrap().unwrap();
        assert_eq!((event.status(), event.retry_count()), (Status::Completed, 0));
        assert_eq!(manager.stats().events_failed, 0);
        manager.shutdown().await.unwrap();
    });
}

#[test]
fn a_claim_that_was_never_settled_is_claimable_at_the_next_opening_and_was_counted() {
    for (name, engine) in ENGINES {
        println!("engine: {name}");
        let bench = Bench { describe: engine() };
        let (handler, mut told) = gated(&closed_gate());
        let runtime_that_dies = runtime();
        let manager = runtime_that_dies.block_on(within(async {
            let manager = bench.builder().on("T", handler).start().await.unwrap();
            manager.emit("T", "x").id("one").await.unwrap();
            ids(&mut told, 1).await;
            manager
        }));
        drop(runtime_that_dies);
        drop(manager);
        runtime().block_on(within(async {
            let (handler, mut told) = gated(&open_gate());
            let manager = bench.builder().on("T", handler).start().await.unwrap();
            let began = told.recv().await.unwrap();
            assert_eq!(began.event.id(), "one");
            assert_eq!((began.context.attempt(), began.context.retry_count()), (2, 0));
            assert_eq!(manager.recovery().events_released, 1);
            manager.shutdown().await.unwrap();
        }));
    }
}

#[test]
fn held_events_are_never_claimed_and_hold_up_nobody() {
    check(async |bench: Bench| {
        let (handler, mut told) = gated(&open_gate());
        let manager = bench.builder().on("T", handler).start().await.unwrap();
        manager.emit("Held", "x").key("a").await.unwrap();
        let id = manager.emit("T", "x").key("a").await.unwrap();
        assert_eq!(ids(&mut told, 1).await, [id]);
        assert_eq!(manager.stats().held_events, 1);
        manager.shutdown().await.unwrap();
    });
}

#[test]
fn types_take_turns_and_priorities_go_first() {
    check(async |bench: Bench| {
        let manager = bench.builder().open().await.unwrap();
        for number in 0..20 {
            manager.emit("T", "x").id(format!("t{number}")).await.unwrap();
        }
        for number in 0..3 {
            manager.emit("Other", "x").id(format!("o{number}")).await.unwrap();
        }
        manager.emit("T", "x").id("patient").priority(9).await.unwrap();
        manager.shutdown().await.unwrap();
        let (handler, mut told) = gated(&open_gate());
        let handler: Arc<dyn Fn(Event, Context) -> Run + Send + Sync> = Arc::new(handler);
        let same = || {
            let handler = Arc::clone(&handler);
            move |event: Event, context: Context| handler(event, context)
        };
        let builder = bench.builder().concurrency(1).on("T", same()).on("Other", same());
        let manager = builder.start().await.unwrap();
        let ran = ids(&mut told, 24).await;
        assert_eq!(ran[..7], ["t0", "o0", "t1", "o1", "t2", "o2", "t3"]);
        assert_eq!(ran[23], "patient");
        manager.shutdown().await.unwrap();
    });
}

#[test]
fn an_event_for_later_wakes_idle_workers_when_it_is_due_and_holds_up_nobody() {
    check(async |bench: Bench| {
        let (handler, mut told) = gated(&open_gate());
        let manager = bench.builder().on("T", handler).start().await.unwrap();
        manager.emit("T", "x").id("now").await.unwrap();
        assert_eq!(ids(&mut told, 1).await, ["now"]);
        // The workers have looked once more by then, and found nothing to wait for.
        tokio::time::sleep(Duration::from_millis(50)).await;
        // An engine that marks its idleness wakes everybody once more, after a second; then nothing does.
        let due = Timestamp::from(SystemTime::now()).saturating_add(Duration::from_millis(1_500));
        manager.emit("T", "x").id("alone").not_before(due).await.unwrap();
        assert_eq!(ids(&mut told, 1).await, ["alone"]);
        for (id, millis) in [("never", 3_600_000), ("soon", 600), ("later", 700)] {
            let due = Timestamp::from(SystemTime::now()).saturating_add(Duration::from_millis(millis));
            manager.emit("T", "x").id(id).key("k").not_before(due).await.unwrap();
        }
        manager.emit("T", "x").id("at once").key("k").await.unwrap();
        assert_eq!(ids(&mut told, 3).await, ["at once", "soon", "later"]);
        let never = manager.get("never").await.unwrap().unwrap();
        assert!(matches!(never.waiting(), Some(Waiting::Time { .. })), "{never:?}");
        manager.shutdown().await.unwrap();
    });
}

#[test]
fn idle_workers_wake_for_whatever_becomes_claimable() {
    check(async |bench: Bench| {
        let (handler, mut told) = gated(&open_gate());
        let manager = bench.builder().on("T", handler).start().await.unwrap();
        for round in 0..20 {
            // An arrival, a retry that falls due, and now and then a release, which rests for a second.
            let released = (round % 10 == 0).then_some(("release once", 2));
            for (data, runs) in [("x", 1), ("retry once", 2), ("fail", 1)].into_iter().chain(released) {
                let id = manager.emit("T", data).id(format!("{data} {round}")).await.unwrap();
                assert!(ids(&mut told, runs).await.iter().all(|ran| *ran == id));
            }
        }
        // A replay.
        while manager.stats().failed_events < 20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(manager.replay_failed().await.unwrap(), 20);
        ids(&mut told, 20).await;
        // A handler.
        let id = manager.emit("Late", "x").await.unwrap();
        let (late, mut late_told) = gated(&open_gate());
        manager.register("Late", late).unwrap();
        assert_eq!(ids(&mut late_told, 1).await, [id]);
        manager.shutdown().await.unwrap();
    });
}

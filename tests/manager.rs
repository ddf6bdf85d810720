//! The manager, as an embedding program sees it: handlers run, fail, panic, hang and are told to end, on a real store.
//!
//! Nothing here waits for a time to pass: handlers say through channels how far they are, and what has no channel is looked at until
//! it holds. Whatever does not come within half a minute never will.
#![cfg(feature = "manager")]
#![expect(clippy::unwrap_used, reason = "what its own scaffolding cannot do fails a test")]

#[path = "managed/scaffold.rs"]
mod scaffold;

use std::collections::HashMap;
use std::error::Error as _;
use std::future::{IntoFuture as _, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use ledgerline::{Context, ErrorKind, Event, Filter, NewEvent, Outcome, Status, Timestamp};
use scaffold::{MILLISECOND, builder, dir, stands, until, within};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A handler that passes on the ids of its events.
fn teller() -> (impl Fn(Event) -> std::future::Ready<()> + Send + Sync + 'static, UnboundedReceiver<String>) {
    let (tell, told) = unbounded_channel();
    let handler = move |event: Event| {
        tell.send(event.id().to_owned()).unwrap();
        std::future::ready(())
    };
    (handler, told)
}

#[tokio::test]
async fn a_handler_runs_once_for_each_kept_event() {
    let dir = dir();
    let (handler, mut told) = teller();
    let manager = builder(&dir).on("Issue", handler).start().await.unwrap();
    let mut kept = Vec::new();
    for number in 0..100 {
        kept.push(manager.emit("Issue", json!({ "number": number })).await.unwrap());
    }
    let mut ran = Vec::new();
    for _ in 0..100 {
        ran.push(within(told.recv()).await.unwrap());
    }
    manager.shutdown().await.unwrap();
    assert!(told.try_recv().is_err());
    kept.sort();
    ran.sort();
    assert_eq!(ran, kept);
    let manager = builder(&dir).open().await.unwrap();
    assert_eq!(manager.stats().events_processed, 100);
    assert_eq!(manager.list(Filter::all().status(Status::Completed)).await.unwrap().len(), 100);
}

#[tokio::test]
async fn what_was_said_about_an_event_reaches_its_handler() {
    let dir = dir();
    let (tell, mut told) = unbounded_channel();
    let handler = move |event: Event| {
        tell.send(event).unwrap();
        async {}
    };
    let manager = builder(&dir).on("Issue", handler).start().await.unwrap();
    let emit = manager.emit("Issue", json!({ "title": "New" })).id("one").key("k").action("create").source("test");
    let id = emit.max_retries(7).header("x-request", "5").await.unwrap();
    let event = within(told.recv()).await.unwrap();
    assert_eq!((id.as_str(), event.id(), event.key()), ("one", "one", Some("k")));
    assert_eq!((event.action(), event.source(), event.max_retries()), (Some("create"), "test", 7));
    assert_eq!(event.headers(), [("x-request".to_owned(), "5".to_owned())]);
    assert_eq!((event.header("X-Request"), event.header("request")), (Some("5"), None));
    assert_eq!(event.pointer("/title"), Some(json!("New")));
    manager.shutdown().await.unwrap();
}

#[derive(Debug, thiserror::Error)]
#[error("cannot post")]
struct CannotPost(#[source] std::io::Error);

async fn never_posts(_: Event, _: Context) -> Result<(), CannotPost> {
    tokio::task::yield_now().await;
    Err(CannotPost(std::io::Error::other("connection lost")))
}

#[tokio::test]
async fn a_failing_event_is_retried_after_growing_waits_and_then_has_failed_for_good() {
    let dir = dir();
    let (tell, mut told) = unbounded_channel();
    let handler = move |event: Event, context: Context| {
        tell.send(context.clone()).unwrap();
        never_posts(event, context)
    };
    let manager = builder(&dir).max_retries(2).on("Issue", handler).start().await.unwrap();
    let id = manager.emit("Issue", 1).await.unwrap();
    let mut keys = Vec::new();
    for (attempt, retry_count, is_last) in [(1, 0, false), (2, 1, false), (3, 2, true)] {
        let context = within(told.recv()).await.unwrap();
        assert_eq!((context.attempt(), context.retry_count(), context.is_last()), (attempt, retry_count, is_last));
        assert!(context.time_left() <= Duration::from_mins(1));
        keys.push(context.idempotency_key());
    }
    let event = stands(&manager, &id, Status::Failed).await;
    assert_eq!(event.error_message(), Some("cannot post: connection lost"));
    keys.dedup();
    assert_eq!(keys.len(), 1, "all runs of one event have one key: {keys:?}");
    assert!(keys[0].len() <= 49);

    let history = manager.history(id.as_str()).await.unwrap();
    let waits: Vec<Duration> = history
        .iter()
        .filter(|entry| entry.what == "failed")
        .filter_map(|entry| Some(entry.retry_at?.saturating_since(entry.at)))
        .collect();
    let [first, second] = waits[..] else { panic!("two retries were scheduled: {history:?}") };
    assert!((800..=1_200).contains(&first.as_micros()), "{first:?}");
    assert!((1_600..=2_400).contains(&second.as_micros()), "{second:?}");
    let stats = manager.stats();
    assert_eq!((stats.events_failed, stats.events_retried, stats.failed_events), (3, 2, 1));
    assert_eq!(manager.failed_events().await.unwrap().len(), 1);
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_panic_is_a_failure_of_that_attempt_and_of_no_other() {
    let dir = dir();
    let handler = |event: Event, context: Context| async move {
        assert!(context.attempt() > 1, "event {} is bad", event.id());
    };
    let early = |_: Event| -> std::future::Ready<()> { panic!("before the first await") };
    let manager = builder(&dir).on("Issue", handler).on("Early", early).start().await.unwrap();
    manager.emit("Issue", 1).id("one").await.unwrap();
    manager.emit("Early", 1).id("two").max_retries(0).await.unwrap();
    stands(&manager, "one", Status::Completed).await;
    let history = manager.history("one").await.unwrap();
    let failed = history.iter().find(|entry| entry.what == "failed").unwrap();
    assert_eq!((failed.message.as_deref(), failed.attempt), (Some("panicked: event one is bad"), Some(1)));
    let event = stands(&manager, "two", Status::Failed).await;
    assert_eq!(event.error_message(), Some("panicked: before the first await"));
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_hung_handler_fails_its_attempt_and_holds_nobody_up() {
    let dir = dir();
    let (handler, mut told) = teller();
    let manager = builder(&dir)
        .concurrency(1)
        .handler_timeout(Duration::from_millis(20))
        .handler_grace(MILLISECOND)
        .on("Hang", |_: Event| std::future::pending::<()>())
        .on("Quick", handler)
        .start()
        .await
        .unwrap();
    manager.emit("Hang", 1).id("hung").max_retries(1).await.unwrap();
    let quick = manager.emit("Quick", 1).await.unwrap();
    assert_eq!(within(told.recv()).await.unwrap(), quick);
    let event = stands(&manager, "hung", Status::Failed).await;
    assert_eq!(event.error_message(), Some("timed out after 20ms"));
    assert_eq!(event.retry_count(), 2);
    assert!(manager.is_healthy());
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_handler_whose_time_is_over_is_told_and_has_failed_whatever_it_returns() {
    let dir = dir();
    let failing = |_: Event, context: Context| async move {
        context.cancelled().await;
        assert_eq!(context.time_left(), Duration::ZERO);
        Err::<(), _>("the other side is slow")
    };
    let pleased = |_: Event, context: Context| async move { context.cancelled().await };
    let manager = builder(&dir)
        .max_retries(0)
        .handler_timeout(Duration::from_millis(20))
        .handler_grace(Duration::from_mins(1))
        .on("Failing", failing)
        .on("Pleased", pleased)
        .start()
        .await
        .unwrap();
    for (event_type, error) in
        [("Failing", "timed out after 20ms: the other side is slow"), ("Pleased", "timed out after 20ms")]
    {
        let id = manager.emit(event_type, 1).await.unwrap();
        let event = stands(&manager, &id, Status::Failed).await;
        assert_eq!(event.error_message(), Some(error));
    }
    manager.shutdown().await.unwrap();
}

/// A handler that blocks its thread until its gate is dropped, whatever it is told.
fn blocker() -> (impl Fn(Event) -> std::future::Ready<()> + Send + Sync + 'static, std::sync::mpsc::Sender<()>) {
    let (gate, closed) = std::sync::mpsc::channel::<()>();
    let closed = Mutex::new(closed);
    let handler = move |_: Event| {
        // Whoever waits for the lock is blocked as well.
        let _ = tokio::task::block_in_place(|| closed.lock().unwrap().recv());
        std::future::ready(())
    };
    (handler, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_thread_keeps_its_key_but_not_its_slot() {
    let dir = dir();
    let (block, gate) = blocker();
    let (handler, mut told) = teller();
    let manager = builder(&dir)
        .concurrency(1)
        .max_retries(0)
        .handler_timeout(Duration::from_millis(20))
        .handler_grace(MILLISECOND)
        .on("Block", block)
        .on("Quick", handler)
        .start()
        .await
        .unwrap();
    manager.emit("Block", 1).id("blocked").key("k").await.unwrap();
    manager.emit("Quick", 1).id("behind").key("k").await.unwrap();
    manager.emit("Quick", 1).id("beside").await.unwrap();
    assert_eq!(within(told.recv()).await.unwrap(), "beside");
    assert_eq!(manager.get("blocked").await.unwrap().unwrap().status(), Status::Processing);
    assert_eq!(manager.get("behind").await.unwrap().unwrap().status(), Status::Pending);
    assert!(manager.is_healthy());
    drop(gate);
    assert_eq!(within(told.recv()).await.unwrap(), "behind");
    let event = stands(&manager, "blocked", Status::Failed).await;
    assert_eq!(event.error_message(), Some("timed out after 20ms"));
    manager.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_handlers_that_never_end_than_there_are_slots_stop_claiming_and_health_says_so() {
    let dir = dir();
    let (block, gate) = blocker();
    let manager = builder(&dir)
        .concurrency(1)
        .max_retries(0)
        .handler_timeout(Duration::from_millis(20))
        .handler_grace(MILLISECOND)
        .on("Block", block)
        .start()
        .await
        .unwrap();
    for _ in 0..3 {
        manager.emit("Block", 1).await.unwrap();
    }
    let health = until(async || Some(manager.health()).filter(|health| !health.healthy)).await;
    assert_eq!(health.reasons, ["2 handlers neither end nor stop when they are told to: nothing more is claimed"]);
    let stats = manager.stats();
    assert_eq!((stats.processing_events, stats.pending_events), (2, 1));
    drop(gate);
    until(async || manager.is_healthy().then_some(())).await;
    // The third may be done or not have been stuck for long enough: the gate is open now.
    until(async || (manager.stats().processing_events + manager.stats().pending_events == 0).then_some(())).await;
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_event_without_a_handler_is_held_until_one_is_registered() {
    let dir = dir();
    let manager = builder(&dir).start().await.unwrap();
    let id = manager.emit("Issue", 1).await.unwrap();
    let stats = manager.stats();
    assert_eq!((stats.held_events, stats.pending_events), (1, 0));
    let (handler, mut told) = teller();
    manager.register("Issue", handler).unwrap();
    assert_eq!(within(told.recv()).await.unwrap(), id);
    manager.register_named("notify", "Issue", |_: Event| async {}).unwrap();
    let error = manager.register_named("notify", "Issue", |_: Event| async {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("\"Issue\" has a handler named \"notify\""), "{error}");
    manager.shutdown().await.unwrap();
    let error = manager.register("Comment", |_: Event| async {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_star_stands_for_the_types_without_a_handler_of_their_own() {
    let dir = dir();
    let (own, mut own_told) = teller();
    let (star, mut star_told) = teller();
    let manager = builder(&dir).on("Issue", own).on("*", star).start().await.unwrap();
    let issue = manager.emit("Issue", 1).await.unwrap();
    let comment = manager.emit("Comment", 1).await.unwrap();
    assert_eq!(within(own_told.recv()).await.unwrap(), issue);
    assert_eq!(within(star_told.recv()).await.unwrap(), comment);
    manager.shutdown().await.unwrap();
    assert!(own_told.try_recv().is_err() && star_told.try_recv().is_err());
}

#[tokio::test]
async fn what_failed_for_good_runs_again_when_it_is_replayed() {
    let dir = dir();
    let sound = Arc::new(AtomicBool::new(false));
    let handler = {
        let sound = Arc::clone(&sound);
        move |_: Event| {
            let sound = sound.load(Ordering::SeqCst);
            async move { if sound { Outcome::Done } else { Outcome::Fail("down".to_owned()) } }
        }
    };
    let manager = builder(&dir).on("Issue", handler).start().await.unwrap();
    for id in ["one", "two", "three"] {
        manager.emit("Issue", 1).id(id).await.unwrap();
        stands(&manager, id, Status::Failed).await;
    }
    sound.store(true, Ordering::SeqCst);
    let replays = manager.replay(["one", "nobody"]).await.unwrap();
    assert_eq!((replays[0].id.as_str(), &replays[0].refused), ("one", &None));
    assert!(replays[1].refused.is_some());
    stands(&manager, "one", Status::Completed).await;
    assert_eq!(manager.replay_failed().await.unwrap(), 2);
    for id in ["two", "three"] {
        assert_eq!(stands(&manager, id, Status::Completed).await.retry_count(), 0);
    }
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_cancelled_events_handler_is_told_and_its_verdict_is_of_no_account() {
    let dir = dir();
    let (tell, mut told) = unbounded_channel();
    let handler = move |_: Event, context: Context| {
        let tell: UnboundedSender<&str> = tell.clone();
        async move {
            tell.send("began").unwrap();
            context.cancelled().await;
            tell.send("was told").unwrap();
            Outcome::Done
        }
    };
    let manager = builder(&dir).on("Issue", handler).start().await.unwrap();
    let id = manager.emit("Issue", 1).await.unwrap();
    assert_eq!(within(told.recv()).await, Some("began"));
    manager.cancel(id.as_str(), "not wanted").await.unwrap();
    assert_eq!(within(told.recv()).await, Some("was told"));
    assert_eq!(manager.cancel(id.as_str(), "again").await.unwrap_err().kind(), ErrorKind::NotAllowed);
    assert_eq!(manager.cancel("nobody", "").await.unwrap_err().kind(), ErrorKind::NotFound);
    manager.shutdown().await.unwrap();
    let manager = builder(&dir).open().await.unwrap();
    let event = manager.get(id).await.unwrap().unwrap();
    assert_eq!((event.status(), event.error_message()), (Status::Cancelled, Some("not wanted")));
}

#[tokio::test]
async fn shutdown_lets_handlers_end_that_do_so_in_time() {
    let dir = dir();
    let (tell, mut told) = unbounded_channel();
    let (open, opened) = tokio::sync::watch::channel(false);
    let handler = move |_: Event| {
        tell.send(()).unwrap();
        let mut opened = opened.clone();
        async move { opened.wait_for(|open| *open).await.map(|_| ()) }
    };
    let manager = builder(&dir).concurrency(1).on("Issue", handler).start().await.unwrap();
    manager.emit("Issue", 1).id("runs").await.unwrap();
    manager.emit("Issue", 1).id("waits").await.unwrap();
    within(told.recv()).await.unwrap();
    let stopping = tokio::spawn({
        let manager = manager.clone();
        async move { manager.shutdown().await }
    });
    until(async || (!manager.stats().is_running).then_some(())).await;
    open.send(true).unwrap();
    within(stopping).await.unwrap().unwrap();
    assert!(told.try_recv().is_err(), "nothing is claimed after a stop");
    let manager = builder(&dir).open().await.unwrap();
    for (id, status) in [("runs", Status::Completed), ("waits", Status::Pending)] {
        assert_eq!(manager.get(id).await.unwrap().unwrap().status(), status);
    }
}

#[tokio::test]
async fn shutdown_releases_what_still_runs_and_may_be_called_again() {
    let dir = dir();
    let (tell, mut told) = unbounded_channel();
    let heeding = {
        let tell: UnboundedSender<()> = tell.clone();
        move |_: Event, context: Context| {
            tell.send(()).unwrap();
            async move {
                context.cancelled().await;
                Err::<(), _>("was told to end")
            }
        }
    };
    let deaf = move |_: Event| {
        tell.send(()).unwrap();
        std::future::pending::<()>()
    };
    let manager =
        builder(&dir).drain_timeout(Duration::ZERO).on("Heeding", heeding).on("Deaf", deaf).start().await.unwrap();
    manager.emit("Heeding", 1).id("heeding").await.unwrap();
    manager.emit("Deaf", 1).id("deaf").await.unwrap();
    within(told.recv()).await.unwrap();
    within(told.recv()).await.unwrap();
    let (first, second) = within(async { tokio::join!(manager.shutdown(), manager.shutdown()) }).await;
    first.unwrap();
    second.unwrap();
    within(manager.shutdown()).await.unwrap();
    assert_eq!(manager.emit("Deaf", 2).await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(!manager.is_healthy());

    let manager = builder(&dir).open().await.unwrap();
    for id in ["heeding", "deaf"] {
        let event = manager.get(id).await.unwrap().unwrap();
        assert_eq!((event.status(), event.retry_count()), (Status::Pending, 0), "{id}");
        assert!(manager.history(id).await.unwrap().iter().any(|entry| entry.what == "released"));
    }
    assert!(manager.recovery().closed_cleanly);
}

#[tokio::test]
async fn dropping_every_manager_stops_its_workers_and_loses_nothing() {
    let dir = dir();
    let (tell, mut told) = unbounded_channel();
    let hanging = move |_: Event| {
        tell.send(()).unwrap();
        std::future::pending::<()>()
    };
    let manager = builder(&dir).on("Issue", hanging).start().await.unwrap();
    let id = manager.emit("Issue", 1).await.unwrap();
    within(told.recv()).await.unwrap();
    drop(manager.clone());
    assert!(manager.stats().is_running);
    drop(manager);
    let (handler, mut told) = teller();
    let handler = Arc::new(handler);
    let manager = until(async || {
        let handler = Arc::clone(&handler);
        builder(&dir).on("Issue", move |event: Event| handler(event)).start().await.ok()
    })
    .await;
    assert_eq!(within(told.recv()).await.unwrap(), id);
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn reopening_runs_what_was_left() {
    let dir = dir();
    let manager = builder(&dir).open().await.unwrap();
    assert!(manager.recovery().created);
    let id = manager.emit("Issue", 1).await.unwrap();
    let error = manager.register("Issue", |_: Event| async {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAllowed);
    assert_eq!(manager.health().reasons, ["no workers run"]);
    manager.shutdown().await.unwrap();

    let (handler, mut told) = teller();
    let manager = builder(&dir).on("Issue", handler).start().await.unwrap();
    assert!(!manager.recovery().created);
    assert_eq!(within(told.recv()).await.unwrap(), id);
    assert!(manager.is_healthy());
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn closing_the_store_beneath_stops_the_workers_and_what_they_ran_runs_again() {
    let dir = dir();
    let (tell, mut told) = unbounded_channel();
    let handler = move |event: Event, context: Context| {
        tell.send(event.id().to_owned()).unwrap();
        async move { context.cancelled().await }
    };
    let manager = builder(&dir).drain_timeout(Duration::ZERO).on("Issue", handler).start().await.unwrap();
    let id = manager.emit("Issue", 1).await.unwrap();
    assert_eq!(within(told.recv()).await.unwrap(), id);
    let store = manager.store();
    tokio::task::spawn_blocking(move || store.close()).await.unwrap().unwrap();
    until(async || (!manager.stats().is_running).then_some(())).await;
    within(manager.shutdown()).await.unwrap();
    drop(manager);
    let (handler, mut told) = teller();
    let manager = builder(&dir).on("Issue", handler).start().await.unwrap();
    assert_eq!((manager.recovery().closed_cleanly, manager.recovery().events_released), (true, 1));
    assert_eq!(within(told.recv()).await.unwrap(), id, "its success came too late to be kept");
    assert_eq!(stands(&manager, &id, Status::Completed).await.retry_count(), 0, "and it is no failure");
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_event_that_cannot_be_kept_is_refused_by_name() {
    let dir = dir();
    let manager = builder(&dir).open().await.unwrap();
    let keyed_by_pairs = HashMap::from([((1, 2), 3)]);
    let error = manager.emit("Issue", keyed_by_pairs).id("one").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.source().is_some());
    let error = manager.emit("Issue", 1).id("x".repeat(257)).await.unwrap_err();
    assert!(error.to_string().contains("id has 257 bytes"), "{error}");
    manager.emit("Issue", 1).id("one").await.unwrap();
    assert_eq!(manager.emit("Issue", 2).id("one").await.unwrap_err().kind(), ErrorKind::IdConflict);
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_emit_that_was_dropped_may_be_emitted_again_under_the_same_id() {
    let dir = dir();
    let runs = Arc::new(AtomicUsize::new(0));
    let handler = {
        let runs = Arc::clone(&runs);
        move |_: Event| {
            runs.fetch_add(1, Ordering::SeqCst);
            async {}
        }
    };
    let manager = builder(&dir).on("Issue", handler).start().await.unwrap();
    for number in 0..20 {
        let id = number.to_string();
        {
            let mut emit = pin!(manager.emit("Issue", number).id(&id).into_future());
            poll_fn(|context| Poll::Ready(emit.as_mut().poll(context).is_ready())).await;
        }
        assert_eq!(manager.emit("Issue", number).id(&id).await.unwrap(), id);
    }
    // One that is never polled is never emitted.
    drop(manager.emit("Issue", 0).id("never"));
    manager.shutdown().await.unwrap();
    assert!(runs.load(Ordering::SeqCst) <= 20);
    let manager = builder(&dir).open().await.unwrap();
    assert_eq!(manager.list(Filter::all()).await.unwrap().len(), 20);
}

#[tokio::test]
async fn no_more_emits_wait_for_the_disk_than_the_queue_holds() {
    let dir = dir();
    let manager = builder(&dir).queue_size(1).open().await.unwrap();
    let event = |number: u32| NewEvent::new("Issue", &number).unwrap();
    for number in 0.. {
        let mut waiting = pin!(manager.emit_event(event(number)));
        if poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_ready())).await {
            continue; // The disk was faster than this test.
        }
        let error = manager.try_emit_event(event(number)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full);
        // One that waits for its place gets it as soon as the first is kept.
        let (first, second) = within(async { tokio::join!(waiting, manager.emit("Issue", number)) }).await;
        assert_ne!(first.unwrap().id, second.unwrap());
        manager.try_emit_event(event(number)).await.unwrap();
        break;
    }
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn whoever_waits_for_his_time_is_not_late() {
    let dir = dir();
    let manager = builder(&dir).batch_size(2).on("Issue", async |_: Event| ()).start().await.unwrap();
    let then: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
    for number in 0..20 {
        manager.emit("Issue", number).not_before(then).await.unwrap();
    }
    let stats = manager.stats();
    assert_eq!((stats.pending_events, stats.waiting_events), (20, 20));
    assert!(manager.is_healthy(), "{:?}", manager.health());
    manager.shutdown().await.unwrap();
}

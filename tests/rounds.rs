//! Running on demand: where nothing runs in the background, `process_pending` runs what can run now, and says when nothing is left.
#![cfg(feature = "manager")]

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ledgerline::{
    Context, Error, ErrorKind, Event, EventManager, EventManagerBuilder, Outcome, Processed, Scope, Status, Timestamp,
    TypeOptions, Unhandled, Waiting,
};
use tokio::sync::Semaphore;

fn builder(dir: &Path) -> EventManagerBuilder {
    EventManager::builder(dir).processing_interval(Duration::from_millis(1)).background_processing(false)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it comes within half a minute")
}

fn counts(processed: Processed) -> (u64, u64, u64) {
    (processed.runs, processed.done, processed.failed)
}

#[tokio::test]
async fn events_wait_for_the_call_which_runs_all_that_can_run_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let handler = |event: Event| async move {
        if event.id().starts_with("bad") { Outcome::Retry("no".to_owned()) } else { Outcome::Done }
    };
    let manager =
        builder(dir.path()).retry_interval(Duration::from_hours(1)).on("Issue", handler).start().await.unwrap();
    for number in 0..50 {
        manager.emit("Issue", number).key(format!("k{}", number % 3)).await.unwrap();
    }
    manager.emit("Issue", 1).id("bad").await.unwrap();
    manager.emit("Unknown", 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let stats = manager.stats();
    assert_eq!(
        (stats.pending_events, stats.events_processed, stats.is_running),
        (51, 0, true),
        "nothing runs by itself"
    );
    assert_eq!(counts(within(manager.process_pending()).await.unwrap()), (51, 50, 1));
    let stats = manager.stats();
    assert_eq!((stats.completed_events, stats.retrying_events, stats.held_events), (50, 1, 1));
    assert_eq!(counts(within(manager.process_pending()).await.unwrap()), (0, 0, 0), "the retry is not due");
    manager.replay(["bad"]).await.unwrap();
    assert_eq!(counts(within(manager.process_pending()).await.unwrap()), (1, 0, 1));
    manager.emit("Issue", 1).id("late").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(manager.get("late").await.unwrap().unwrap().status(), Status::Pending, "the round is over");
    manager.shutdown().await.unwrap();
    assert_eq!(manager.process_pending().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn several_calls_share_the_runs_and_a_dropped_one_claims_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let passing = Arc::clone(&gate);
    let handler = move |_: Event| {
        let gate = Arc::clone(&passing);
        async move { gate.acquire().await.unwrap().forget() }
    };
    let manager = builder(dir.path()).concurrency(1).on("Issue", handler).start().await.unwrap();
    for number in 0..4 {
        manager.emit("Issue", number).await.unwrap();
    }
    let runs = async {
        while manager.stats().processing_events == 0 {
            tokio::task::yield_now().await;
        }
    };
    within(async {
        tokio::select! {
            processed = manager.process_pending() => unreachable!("nothing may end yet: {processed:?}"),
            () = runs => {}
        }
    })
    .await;
    gate.add_permits(1);
    within(async {
        while manager.stats().completed_events < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(manager.stats().processing_events, 0, "who asked has gone away");
    gate.add_permits(3);
    let (one, other) = within(async { tokio::join!(manager.process_pending(), manager.process_pending()) }).await;
    assert_eq!((counts(one.unwrap()), counts(other.unwrap())), ((3, 3, 0), (3, 3, 0)));
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn in_the_background_it_waits_until_all_is_run_and_without_handlers_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let handler = move |_: Event| {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(())
    };
    let manager = builder(dir.path()).background_processing(true).on("Issue", handler).start().await.unwrap();
    for number in 1..=100 {
        manager.emit("Issue", number).await.unwrap();
        within(manager.process_pending()).await.unwrap();
        assert_eq!(ran.load(Ordering::SeqCst), number);
    }
    manager.shutdown().await.unwrap();
    let manager = EventManager::builder(dir.path()).open().await.unwrap();
    let error = manager.process_pending().await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::NotAllowed && error.to_string().contains("background_processing(false)"),
        "{error}"
    );
    manager.shutdown().await.unwrap();
}

/// Has what is pending processed, and returns once something runs.
async fn ask_until_something_runs(manager: &EventManager) -> tokio::task::JoinHandle<Result<Processed, Error>> {
    let asking = manager.clone();
    let asked = tokio::spawn(async move { asking.process_pending().await });
    within(async {
        while manager.stats().processing_events < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    asked
}

#[tokio::test]
async fn a_shutdown_ends_the_call() {
    let dir = tempfile::tempdir().unwrap();
    let handler = |_: Event| std::future::pending::<()>();
    let manager = builder(dir.path()).drain_timeout(Duration::ZERO).on("Issue", handler).start().await.unwrap();
    manager.emit("Issue", 1).id("a").await.unwrap();
    let asked = ask_until_something_runs(&manager).await;
    manager.shutdown().await.unwrap();
    assert_eq!(within(asked).await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn without_batches_each_claim_is_for_one() {
    let dir = tempfile::tempdir().unwrap();
    for (batches, claims) in [(false, 8), (true, 1)] {
        let manager =
            builder(dir.path()).batch_processing(batches).on("Issue", |_: Event| async {}).start().await.unwrap();
        for number in 0..8 {
            manager.emit("Issue", number).await.unwrap();
        }
        let before = manager.stats().batch_operations;
        assert_eq!(within(manager.process_pending()).await.unwrap().done, 8);
        assert_eq!(manager.stats().batch_operations - before, claims);
        manager.shutdown().await.unwrap();
    }
}

/// Keeps its thread for ever.
fn hang(_: Event) {
    loop {
        std::thread::park();
    }
}

#[tokio::test]
async fn a_round_that_hung_handlers_leave_no_room_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let manager = builder(dir.path())
        .concurrency(1)
        .max_retries(0)
        .handler_timeout(Duration::from_millis(10))
        .handler_grace(Duration::from_millis(1))
        .on_blocking("Issue", hang)
        .start()
        .await
        .unwrap();
    for number in 0..3 {
        manager.emit("Issue", number).await.unwrap();
    }
    let error = within(manager.process_pending()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAllowed, "{error}");
    assert_eq!(manager.stats().pending_events, 1, "two have lost their slots, and the third waits");
    within(manager.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_round_ends_every_event_without_a_handler_as_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let manager =
        builder(dir.path()).unhandled(Unhandled::Complete).on("T", |_: Event| async {}).start().await.unwrap();
    let emits: Vec<_> = (0..600).map(|number| tokio::spawn(manager.emit("Other", number).into_future())).collect();
    for emit in emits {
        within(emit).await.unwrap().unwrap();
    }
    within(manager.process_pending()).await.unwrap();
    let stats = manager.stats();
    assert_eq!((stats.held_events, stats.completed_events), (0, 600));
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_paused_waits_until_it_is_resumed_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let start = || builder(dir.path()).on("*", |_: Event| async { Outcome::Done }).start();
    let (issues, key) = (Scope::Type("Issue".to_owned()), Scope::Key("k".to_owned()));
    let manager = start().await.unwrap();
    manager.emit("Issue", 1).id("issue").await.unwrap();
    manager.emit("Comment", 1).id("keyed").key("k").await.unwrap();
    manager.emit("Comment", 1).id("free").await.unwrap();
    manager.pause(issues.clone(), None, "a release").await.unwrap();
    manager.pause(key.clone(), None, "").await.unwrap();
    assert_eq!(counts(within(manager.process_pending()).await.unwrap()), (1, 1, 0));
    assert_eq!(manager.get("free").await.unwrap().unwrap().status(), Status::Completed);
    let shown: Vec<_> = manager.pauses().into_iter().map(|pause| (pause.scope, pause.reason)).collect();
    assert_eq!(shown, [(issues.clone(), "a release".to_owned()), (key.clone(), String::new())]);
    assert_eq!(manager.stats().pauses, 2);
    let waiting = manager.get("issue").await.unwrap().unwrap().waiting().cloned();
    assert_eq!(waiting, Some(Waiting::Pause { scope: issues.clone(), until: None }));
    assert!(manager.resume(&key).await.unwrap() && !manager.resume(&key).await.unwrap());
    assert_eq!(counts(within(manager.process_pending()).await.unwrap()), (1, 1, 0));
    let error = manager.pause(key, Some(Timestamp::from_unix_micros(7)), "").await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("1970-01-01"), "{error}");
    manager.shutdown().await.unwrap();

    let manager = start().await.unwrap();
    assert_eq!(counts(within(manager.process_pending()).await.unwrap()), (0, 0, 0), "it outlives the process");
    let later = manager.pauses()[0].since.saturating_add(Duration::from_hours(1));
    manager.pause(issues, Some(later), "an hour").await.unwrap();
    assert_eq!(manager.pauses().iter().map(|pause| pause.until).collect::<Vec<_>>(), [Some(later)], "it is replaced");
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_round_ends_with_its_last_run_also_if_nothing_comes_of_that() {
    for is_cancelled in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let handler = |_: Event, context: Context| async move { context.cancelled().await };
        let manager = builder(dir.path())
            .processing_interval(Duration::from_hours(1))
            .handler_grace(Duration::ZERO)
            .type_options("Deaf", TypeOptions::new().timeout(Duration::from_millis(500)))
            .on("Issue", handler)
            .on_blocking("Deaf", hang)
            .drain_timeout(Duration::ZERO)
            .start()
            .await
            .unwrap();
        manager.emit(if is_cancelled { "Issue" } else { "Deaf" }, 1).id("a").await.unwrap();
        let asked = ask_until_something_runs(&manager).await;
        if is_cancelled {
            manager.cancel("a", "no longer wanted").await.unwrap();
        }
        let waited = tokio::time::timeout(Duration::from_secs(10), asked).await;
        // Told to end, the one has; the other goes on.
        let runs = u64::from(is_cancelled);
        assert_eq!(counts(waited.expect("the round ends").unwrap().unwrap()), (runs, 0, 0));
        manager.shutdown().await.unwrap();
    }
}

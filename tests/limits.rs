//! What holds events back beyond themselves: limits of their type, pauses that handlers ask for, and what other handlers have done.
#![cfg(feature = "manager")]

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledgerline::testing::{Bench, CrashPoint, Unsynced};
use ledgerline::{
    Context, ErrorKind, Event, EventManagerBuilder, Outcome, Scope, Status, Timestamp, TypeOptions, Waiting,
};
use tokio::sync::Semaphore;

/// How many run now, and how many did at most.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Crowd {
    async fn join(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn of_a_type_with_a_limit_no_more_run_at_once_and_others_run_beside_it() {
    let (issues, comments) = (Arc::new(Crowd::default()), Arc::new(Crowd::default()));
    let in_crowd = |crowd: &Arc<Crowd>| {
        let crowd = Arc::clone(crowd);
        move |_: Event| {
            let crowd = Arc::clone(&crowd);
            async move { crowd.join().await }
        }
    };
    let (limited, free) = (in_crowd(&issues), in_crowd(&comments));
    let configure = move |builder: EventManagerBuilder| {
        let builder = builder.concurrency(8).type_options("Issue", TypeOptions::new().concurrency(2));
        builder.on("Issue", limited.clone()).on("Comment", free.clone())
    };
    let mut bench = Bench::start(configure).await.unwrap();
    for _ in 0..30 {
        bench.manager().emit("Issue", 1).await.unwrap();
        bench.manager().emit("Comment", 1).await.unwrap();
    }
    assert_eq!(bench.drain().await.unwrap().completed, 60);
    assert_eq!(issues.most.load(Ordering::SeqCst), 2);
    assert!((3..=8).contains(&comments.most.load(Ordering::SeqCst)), "{:?}", comments.most);
}

/// A service that takes requests again only after a while: whoever is refused pauses the type, and tries again then.
async fn call(event: Event, context: Context, wall: Timestamp) -> Result<Outcome, ledgerline::Error> {
    if context.attempt() > 1 || event.pointer("/calls") == Some(false.into()) {
        return Ok(Outcome::Done);
    }
    let until = wall.saturating_add(Duration::from_mins(10));
    context.pause_type(until, "the other side counts requests").await?;
    Ok(Outcome::RetryAt(until))
}

#[tokio::test]
async fn a_handler_pauses_its_type_durably_and_spends_no_retry() {
    let wall = Timestamp::from_unix_micros(1_700_000_000_000_000);
    let configure = move |builder: EventManagerBuilder| {
        let limited = move |event: Event, context: Context| call(event, context, wall);
        builder.concurrency(1).max_retries(0).on("Issue", limited).on("Comment", async |_: Event| ())
    };
    let mut bench = Bench::builder().wall(wall).start(configure).await.unwrap();
    bench.manager().emit("Issue", serde_json::json!({"calls": true})).id("first").await.unwrap();
    bench.manager().emit("Issue", serde_json::json!({"calls": false})).id("second").await.unwrap();
    bench.manager().emit("Comment", 1).await.unwrap();
    assert_eq!(bench.drain().await.unwrap().completed, 1, "only the comment is free to run");
    bench.restart().await.unwrap();
    assert_eq!(bench.drain().await.unwrap().completed, 0, "the pause outlives the process");
    let second = bench.manager().get("second").await.unwrap().unwrap();
    assert!(matches!(second.waiting(), Some(Waiting::Pause { until: Some(_), .. })), "{second:?}");
    let first = bench.manager().get("first").await.unwrap().unwrap();
    assert_eq!((first.status(), first.retry_count()), (Status::Retrying, 0));
    bench.advance(Duration::from_mins(9));
    assert_eq!(bench.drain().await.unwrap().completed, 0);
    bench.advance(Duration::from_mins(1));
    assert_eq!(bench.drain().await.unwrap().completed, 2);
}

#[tokio::test]
async fn what_follows_from_an_event_is_emitted_by_its_handler_once_though_it_runs_twice() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let on_issue = async |event: Event, context: Context| {
        let id = format!("notify-{}", context.idempotency_key());
        let emit = context.emit("Notify", event.id()).id(id).delay(Duration::from_mins(1));
        emit.await?;
        if context.attempt() == 1 {
            Err("the answer was lost".into())
        } else {
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        }
    };
    let configure = move |builder: EventManagerBuilder| {
        let told = Arc::clone(&told);
        let builder = builder.type_options("Notify", TypeOptions::new().max_retries(7));
        builder.on("Issue", on_issue).on("Notify", move |event: Event, context: Context| {
            told.lock().unwrap().push((event, context.now()));
            async {}
        })
    };
    let mut bench = Bench::start(configure).await.unwrap();
    let began = bench.now();
    bench.manager().emit("Issue", 1).id("one").await.unwrap();
    assert_eq!(bench.drain().await.unwrap().retried, 1);
    assert_eq!(bench.drain_for(Duration::from_mins(5)).await.unwrap().completed, 2);
    let seen = seen.lock().unwrap();
    let [(event, now)] = &seen[..] else { panic!("once: {seen:?}") };
    assert_eq!((event.data(), event.max_retries()), ("\"one\"", 7));
    assert!((60..66).contains(&now.saturating_since(began).as_secs()), "{began} {now}");
}

#[tokio::test]
async fn a_pause_that_cannot_be_is_refused_by_name() {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&refused);
    let handler = move |_: Event, context: Context| {
        let told = Arc::clone(&told);
        async move {
            context.pause_type(Timestamp::from_unix_micros(1), "late").await.unwrap();
            let keyless = context.pause_key(Timestamp::from_unix_micros(i64::MAX), "no key").await.unwrap_err();
            told.lock().unwrap().push(keyless);
        }
    };
    let mut bench = Bench::start(move |builder| builder.on("Issue", handler.clone())).await.unwrap();
    bench.manager().emit("Issue", 1).id("keyless").await.unwrap();
    assert_eq!(bench.drain().await.unwrap().completed, 1);
    let refused = refused.lock().unwrap();
    assert!(refused.iter().all(|error| error.kind() == ErrorKind::InvalidInput), "{refused:?}");
    assert!(refused[0].to_string().contains("keyless"), "{refused:?}");
    assert!(bench.manager().pauses().is_empty(), "a time that has come pauses nothing");
}

#[tokio::test]
async fn a_handler_that_has_succeeded_does_not_run_again_after_the_process_died() {
    let runs = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let counted = runs.clone();
    let configure = move |builder: EventManagerBuilder| {
        let counting = |runs: &Arc<AtomicUsize>, is_first_endless: bool| {
            let runs = Arc::clone(runs);
            move |_: Event| {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                async move {
                    if run == 0 && is_first_endless {
                        std::future::pending::<()>().await;
                    }
                }
            }
        };
        builder.on_named("notify", "Issue", counting(&counted[0], false)).on_named(
            "index",
            "Issue",
            counting(&counted[1], true),
        )
    };
    let mut bench = Bench::start(configure).await.unwrap();
    bench.manager().emit("Issue", 1).id("one").await.unwrap();
    while runs.iter().any(|runs| runs.load(Ordering::SeqCst) == 0) {
        tokio::task::yield_now().await;
    }
    // What one handler has done is durable within 10 ms, or with whatever else is.
    bench.manager().emit("Other", 1).await.unwrap();
    bench.crash().await;
    bench.reopen(Unsynced::Lost).await.unwrap();
    assert_eq!(bench.drain().await.unwrap().completed, 1);
    assert_eq!(runs.each_ref().map(|runs| runs.load(Ordering::SeqCst)), [1, 2]);
    // A crash while it says so leaves either: it may have run once or twice, and the event is completed.
    bench.crash_at(CrashPoint::Settling);
    bench.manager().emit("Issue", 1).id("two").await.unwrap();
    let _ = bench.drain().await;
    assert!(bench.has_crashed());
    bench.reopen(Unsynced::Seeded(1)).await.unwrap();
    bench.drain().await.unwrap();
    assert_eq!(bench.manager().get("two").await.unwrap().unwrap().status(), Status::Completed);
}

#[tokio::test]
async fn a_handler_that_has_succeeded_does_not_run_again_when_the_others_of_its_type_are_gone() {
    let (runs, is_alone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, alone) = (Arc::clone(&runs), Arc::clone(&is_alone));
    let configure = move |builder: EventManagerBuilder| {
        let runs = Arc::clone(&counted);
        let builder = builder.on_named("audit", "Issue", move |_: Event| {
            runs.fetch_add(1, Ordering::SeqCst);
            std::future::ready(())
        });
        if alone.load(Ordering::SeqCst) {
            builder
        } else {
            builder.on_named("notify", "Issue", |_: Event| async { Err::<(), _>("not now") })
        }
    };
    let mut bench = Bench::start(configure).await.unwrap();
    bench.manager().emit("Issue", 1).await.unwrap();
    assert_eq!(bench.drain().await.unwrap().retried, 1);
    is_alone.store(true, Ordering::SeqCst);
    bench.restart().await.unwrap();
    assert_eq!(bench.drain_for(Duration::from_mins(2)).await.unwrap().completed, 1);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_a_handler_asks_for_shortens_no_pause() {
    let gate = Arc::new(Semaphore::new(0));
    let passing = Arc::clone(&gate);
    let handler = move |event: Event, context: Context| {
        let gate = Arc::clone(&passing);
        async move {
            gate.acquire().await.unwrap().forget();
            for seconds in [60, 5, 90, 30] {
                let until = event.timestamp().saturating_add(Duration::from_secs(seconds));
                context.pause_type(until, &format!("{seconds} s")).await?;
            }
            Ok::<(), ledgerline::Error>(())
        }
    };
    let mut bench = Bench::start(move |builder| builder.on("Issue", handler.clone())).await.unwrap();
    let store = bench.manager().store();
    let reasons = || store.pauses().into_iter().map(|pause| pause.reason).collect::<Vec<_>>();
    for (by_hand, expected) in [(None, "90 s"), (Some("a release"), "a release")] {
        bench.manager().emit("Issue", 1).await.unwrap();
        while bench.manager().stats().processing_events == 0 {
            tokio::task::yield_now().await;
        }
        if let Some(reason) = by_hand {
            store.pause(Scope::Type("Issue".to_owned()), None, reason).unwrap();
        }
        gate.add_permits(1);
        assert_eq!(bench.drain().await.unwrap().completed, 1);
        assert_eq!(reasons(), [expected]);
        bench.advance(Duration::from_secs(90));
    }
    assert_eq!(reasons(), ["a release"], "until somebody ends it");
}

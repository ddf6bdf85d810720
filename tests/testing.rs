//! The kit for tests of others, held to its own promises: time that is moved, runs that are counted, deaths at every point.
#![cfg(feature = "manager")]
#![expect(clippy::unwrap_used, reason = "what a test's own scaffolding cannot do fails it")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ledgerline::testing::{Bench, CrashPoint, Drained, Unsynced};
use ledgerline::{
    Context, ErrorKind, Event, EventManagerBuilder, NewEvent, Outcome, Status, StoreOptions, Timestamp, assert_emitted,
};

/// Ends as the event's data names it.
async fn obey(event: Event) -> Outcome {
    match event.json::<String>().unwrap().as_str() {
        "retry" => Outcome::Retry("again".to_owned()),
        "retry once" if event.retry_count() == 0 => Outcome::Retry("once".to_owned()),
        "fail" => Outcome::Fail("for good".to_owned()),
        "cancel" => Outcome::Cancel("called off".to_owned()),
        _ => Outcome::Done,
    }
}

fn obedient(builder: EventManagerBuilder) -> EventManagerBuilder {
    builder.on("T", obey)
}

async fn bench() -> Bench {
    Bench::start(obedient).await.unwrap()
}

fn counts(drained: &Drained) -> [u64; 5] {
    [drained.started, drained.completed, drained.retried, drained.failed, drained.cancelled]
}

#[tokio::test]
async fn a_drain_runs_what_may_run_now_and_counts_how_it_ended() {
    let mut bench = bench().await;
    for data in ["done", "retry", "retry once", "fail", "cancel", "done"] {
        bench.manager().emit("T", data).await.unwrap();
    }
    bench.manager().emit("Held", "x").await.unwrap();
    assert_eq!(counts(&bench.drain().await.unwrap()), [6, 2, 2, 1, 1]);
    assert_eq!(bench.drain().await.unwrap(), Drained::default(), "nothing is counted twice");
    let stats = bench.manager().stats();
    assert_eq!((stats.retrying_events, stats.held_events, stats.processing_events), (2, 1, 0));
    // Three retries of one, one of the other: no retry is more than three hours and a half off.
    assert_eq!(counts(&bench.drain_for(Duration::from_hours(4)).await.unwrap()), [4, 1, 2, 1, 0]);
    assert_eq!(bench.next_due(), None);
}

#[tokio::test]
async fn nothing_is_due_before_its_time_and_the_clock_says_when_it_is() {
    let mut bench = bench().await;
    bench.manager().emit("T", "retry once").id("one").await.unwrap();
    assert_eq!(bench.drain().await.unwrap().retried, 1);
    let due = bench.next_due().unwrap();
    assert!((48..=72).contains(&due.as_secs()), "a minute ± 20 %: {due:?}");
    bench.advance(due.saturating_sub(Duration::from_millis(1)));
    assert_eq!(bench.drain().await.unwrap().started, 0);
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.drain().await.unwrap().completed, 1);
    let event = bench.manager().get("one").await.unwrap().unwrap();
    assert_eq!(event.last_attempt(), Some(bench.now()));
}

#[tokio::test]
async fn draining_until_a_time_ends_at_that_time_and_the_wall_may_be_set() {
    let start: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let mut bench = Bench::builder().wall(start).start(obedient).await.unwrap();
    assert_eq!(bench.now(), start);
    bench.manager().emit("T", "retry").await.unwrap();
    let until = "2026-03-01T12:00:40Z".parse().unwrap();
    assert_eq!(bench.drain_until(until).await.unwrap().started, 1);
    assert_eq!(bench.now(), until);
    bench.set_wall(start);
    assert_eq!((bench.now(), bench.drain().await.unwrap().started), (start, 0), "no time has passed by that");
    assert_eq!(bench.drain_until(start).await.unwrap().started, 0);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids_and_delays_and_another_one_does_not() {
    let mut told = Vec::new();
    for seed in [1, 1, 2] {
        let mut bench = Bench::builder().seed(seed).start(obedient).await.unwrap();
        let id = bench.manager().emit("T", "retry").await.unwrap();
        bench.drain().await.unwrap();
        told.push((id, bench.manager().store().id(), bench.next_due()));
    }
    assert_eq!(told[0], told[1]);
    assert!(told[0].0 != told[2].0 && told[0].1 != told[2].1 && told[0].2 != told[2].2, "{told:?}");
}

#[tokio::test]
async fn what_is_old_is_forgotten_when_the_store_is_compacted() {
    let mut bench = bench().await;
    bench.manager().emit("T", "done").id("one").await.unwrap();
    bench.drain().await.unwrap();
    bench.advance(Duration::from_hours(25));
    assert_emitted!(bench, "T", count = 1);
    bench.manager().compact().await.unwrap();
    assert_emitted!(bench, "T", count = 0);
}

#[tokio::test(start_paused = true)]
async fn where_tokios_clock_is_held_too_a_handler_that_hangs_times_out_at_once() {
    let mut bench =
        Bench::start(|manager| manager.max_retries(0).on("T", |_: Event| std::future::pending::<()>())).await.unwrap();
    bench.manager().emit("T", "x").await.unwrap();
    assert_eq!(bench.drain().await.unwrap().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn where_tokios_clock_is_held_too_a_blocking_handler_has_its_time() {
    let setup = |manager: EventManagerBuilder| {
        manager.max_retries(0).on_blocking("T", |_: Event, context: Context| {
            for _ in 0..10_000 {
                std::thread::yield_now();
                if context.is_cancelled() {
                    return Err("its time is over");
                }
            }
            Ok(())
        })
    };
    let mut bench = Bench::start(setup).await.unwrap();
    for number in 0..3 {
        bench.manager().emit("T", number).await.unwrap();
        assert_eq!(bench.drain().await.unwrap().completed, 1);
    }
}

#[tokio::test]
async fn an_assertion_shows_what_was_emitted_instead() {
    let bench = bench().await;
    bench.manager().emit("T", "x").id("one").key("k").await.unwrap();
    assert_emitted!(bench, "T");
    assert_emitted!(bench, "T", count = 1, key = "k", status = Status::Pending, data = "x");
    assert_emitted!(bench, "T", count = 0, key = "other");
    assert_emitted!(bench, "T", count = 0, action = "create");
    let panic =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| assert_emitted!(bench, "T", count = 2, key = "k")));
    let message = *panic.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(
        message,
        "expected 2 events of type \"T\", key \"k\"; found 1 among the 1 that were emitted:\n  T \"one\" pending, key \"k\": \"x\""
    );
}

#[tokio::test]
async fn a_restart_in_good_order_keeps_everything_and_counts_no_death() {
    let mut bench = bench().await;
    bench.manager().emit("T", "retry once").id("one").await.unwrap();
    bench.drain().await.unwrap();
    bench.restart().await.unwrap();
    let recovery = bench.manager().recovery();
    assert!(recovery.closed_cleanly && recovery.bytes_cut == 0 && recovery.events_released == 0, "{recovery:?}");
    assert_eq!(bench.drain_for(Duration::from_mins(2)).await.unwrap().completed, 1);
}

/// What an outside world remembers of a process that died.
#[derive(Default)]
struct Witness {
    acknowledged: BTreeSet<String>,
    refused: BTreeSet<String>,
    /// Ids in the order in which their handlers ended.
    run: Arc<Mutex<Vec<String>>>,
}

/// A bench whose segments are short, so that a few events bring about all there is.
async fn short(run: &Arc<Mutex<Vec<String>>>) -> Bench {
    let run = Arc::clone(run);
    let setup = move |builder: EventManagerBuilder| {
        let run = Arc::clone(&run);
        let options = StoreOptions::default().segment_bytes(64 * 1024).max_event_age(Duration::from_mins(1));
        builder.store_options(options.dedup_window(Duration::ZERO)).on("T", move |event: Event| {
            run.lock().unwrap().push(event.id().to_owned());
            std::future::ready(())
        })
    };
    Bench::start(setup).await.unwrap()
}

impl Witness {
    /// Emits one event of 4,000 bytes.
    async fn emit(&mut self, bench: &Bench, id: String) {
        let event = NewEvent::new("T", &"x".repeat(4_000)).unwrap().id(&id);
        match bench.manager().emit_event(event).await {
            Ok(_) => self.acknowledged.insert(id),
            Err(_) => self.refused.insert(id),
        };
    }

    /// Lives until the process dies: events come and run, segments fill, what is old is forgotten.
    async fn live(&mut self, bench: &mut Bench) {
        for round in 0..60 {
            self.emit(bench, format!("e{round}")).await;
            // Some are left to lie for a while, so that compaction has something to keep.
            if round % 3 == 0 {
                bench.drain().await.unwrap();
            }
            bench.advance(Duration::from_secs(5));
            if round % 10 == 9 {
                // It fails where the process dies in it.
                let _ = bench.manager().compact().await;
            }
            if bench.has_crashed() {
                return;
            }
        }
    }

    /// Whatever was acknowledged is there, or was run and forgotten since; whatever was not may be there, and nothing else is.
    async fn check(&self, bench: &mut Bench, what: &str) {
        bench.drain_for(Duration::from_mins(10)).await.unwrap();
        let ran: BTreeSet<String> = self.run.lock().unwrap().iter().cloned().collect();
        for id in &self.acknowledged {
            assert!(ran.contains(id), "{what}: {id} was acknowledged, and never ran");
        }
        for event in bench.emitted().unwrap() {
            let known = self.acknowledged.contains(event.id()) || self.refused.contains(event.id());
            assert!(known, "{what}: nobody emitted {}", event.id());
            assert_eq!(event.status(), Status::Completed, "{what}: {}", event.id());
        }
        let verification = bench.manager().store().verify().unwrap();
        assert!(verification.is_sound(), "{what}: {:?}", verification.damage);
    }
}

#[tokio::test]
async fn an_acknowledged_event_survives_a_death_at_every_point_and_others_may() {
    // R1, R6: what was answered is durable, and compaction may be cut anywhere.
    for point in CrashPoint::ALL {
        let (mut survived, mut lost) = (0, 0);
        for (spared, unsynced) in [
            (0, Unsynced::Lost),
            (0, Unsynced::Kept),
            (1, Unsynced::Lost),
            (1, Unsynced::Seeded(1)),
            (2, Unsynced::Seeded(2)),
            (3, Unsynced::Seeded(3)),
        ] {
            let what = format!("{point:?} after {spared}, {unsynced:?}");
            let mut witness = Witness::default();
            let mut bench = short(&witness.run).await;
            bench.crash_at_later(point, spared);
            witness.live(&mut bench).await;
            assert!(bench.has_crashed(), "{what}: it never came to that point");
            bench.reopen(unsynced).await.unwrap();
            for id in &witness.refused {
                let there = bench.manager().get(id.as_str()).await.unwrap().is_some();
                *if there { &mut survived } else { &mut lost } += 1;
            }
            witness.check(&mut bench, &what).await;
        }
        match point {
            CrashPoint::AppendStaged => assert_eq!(survived, 0, "nothing of them was written"),
            CrashPoint::Synced => {
                assert!(
                    survived > 0 && lost == 0,
                    "durable, and nobody was told: {survived} survived, {lost} were lost"
                );
            }
            CrashPoint::Written => assert!(survived > 0 && lost > 0, "{survived} survived, {lost} were lost"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_acknowledged_event_survives_a_death_in_the_midst_of_any_call() {
    let mut witness = Witness::default();
    let mut bench = short(&witness.run).await;
    let before = bench.calls();
    witness.live(&mut bench).await;
    let calls = bench.calls() - before;
    assert!(calls > 200, "{calls}");
    let mut survivors = 0;
    for call in (0..calls).step_by(7) {
        let unsynced = [Unsynced::Lost, Unsynced::Seeded(call), Unsynced::Kept][usize::try_from(call).unwrap() % 3];
        let mut witness = Witness::default();
        let mut bench = short(&witness.run).await;
        bench.crash_after(call);
        witness.live(&mut bench).await;
        if !bench.has_crashed() {
            // Tasks share syncs as they happen to meet, so one life takes some calls less than another.
            survivors += 1;
            continue;
        }
        bench.reopen(unsynced).await.unwrap();
        witness.check(&mut bench, &format!("call {call}, {unsynced:?}")).await;
    }
    assert!(survivors < 5, "{survivors} lives ended before the call that should have ended them");
}

#[tokio::test]
async fn what_a_shutdown_could_not_do_is_told_each_time() {
    let bench = Bench::start(|builder| builder).await.unwrap();
    let manager = bench.manager().clone();
    manager.emit("T", 1).await.unwrap();
    bench.crash_after(0);
    let first = manager.shutdown().await.unwrap_err();
    let second = manager.shutdown().await.unwrap_err();
    assert_eq!((first.kind(), first.to_string()), (second.kind(), second.to_string()));
}

#[tokio::test]
async fn a_run_whose_end_was_not_durable_runs_again_and_one_whose_end_was_does_not() {
    for (point, runs) in [(CrashPoint::Started, 1), (CrashPoint::Settling, 2), (CrashPoint::SettleStaged, 2)] {
        let ran = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ran);
        let setup = move |builder: EventManagerBuilder| {
            let ran = Arc::clone(&counted);
            builder.on("T", move |_: Event| {
                ran.fetch_add(1, Ordering::SeqCst);
                std::future::ready(())
            })
        };
        let mut bench = Bench::start(setup).await.unwrap();
        bench.manager().emit("T", "x").id("one").await.unwrap();
        bench.crash_at(point);
        assert_eq!(bench.drain().await.unwrap(), Drained::default());
        assert!(bench.has_crashed());
        bench.reopen(Unsynced::Kept).await.unwrap();
        assert_eq!(bench.manager().recovery().events_released, 1, "{point:?}");
        assert_eq!(bench.drain().await.unwrap().completed, 1, "{point:?}");
        assert_eq!(ran.load(Ordering::SeqCst), runs, "{point:?}");
        bench.reopen(Unsynced::Lost).await.unwrap();
        assert_eq!(bench.drain().await.unwrap().started, 0, "once a drain has returned, the end is durable");
        assert_eq!(ran.load(Ordering::SeqCst), runs);
    }
}

#[tokio::test]
async fn only_the_death_of_a_process_counts_against_the_event_that_ran() {
    for (unsynced, fails) in [(Unsynced::Kept, true), (Unsynced::Lost, false)] {
        let mut bench = bench().await;
        bench.manager().emit("T", "x").id("one").await.unwrap();
        for _ in 0..6 {
            bench.crash_at(CrashPoint::Settling);
            bench.drain().await.unwrap();
            bench.reopen(unsynced).await.unwrap();
        }
        let event = bench.manager().get("one").await.unwrap().unwrap();
        assert_eq!(event.status() == Status::Failed, fails, "{unsynced:?}: {event:?}");
    }
}

#[tokio::test]
async fn a_dead_process_takes_nothing_and_its_handlers_end_where_they_stand() {
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ended);
    let setup = move |builder: EventManagerBuilder| {
        let ended = Arc::clone(&counted);
        builder.on("T", move |_: Event| {
            let ended = Arc::clone(&ended);
            async move {
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                ended.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let mut bench = Bench::start(setup).await.unwrap();
    bench.manager().emit("T", "x").await.unwrap();
    while bench.manager().stats().processing_events == 0 {
        tokio::task::yield_now().await;
    }
    bench.crash().await;
    let dead = bench.manager().clone();
    dead.emit("T", "x").await.unwrap_err();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    bench.reopen(Unsynced::Kept).await.unwrap();
    assert_eq!(bench.drain().await.unwrap().completed, 1);
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    dead.emit("T", "x").await.unwrap_err();
    assert_emitted!(bench, "T", count = 1);
}

#[tokio::test]
async fn a_drain_ends_only_once_no_event_without_a_handler_is_left_to_be_ended() {
    let options = StoreOptions::default().unhandled(ledgerline::Unhandled::Complete);
    let mut bench = Bench::start(move |builder| builder.store_options(options.clone()).on("T", obey)).await.unwrap();
    for number in 0..600 {
        bench.manager().emit("Other", number).await.unwrap();
    }
    bench.drain().await.unwrap();
    let stats = bench.manager().stats();
    assert_eq!((stats.held_events, stats.completed_events), (0, 600));
}

/// Waits until `gate` is open.
fn wait_for(gate: &(Mutex<bool>, Condvar)) {
    let (open, opened) = gate;
    drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
}

#[tokio::test]
async fn a_suspect_that_hangs_while_it_runs_alone_holds_up_nobody_else() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let waits = Arc::clone(&gate);
    let setup = move |builder: EventManagerBuilder| {
        let waits = Arc::clone(&waits);
        let moment = Duration::from_millis(20);
        let builder = builder.handler_timeout(moment).handler_grace(moment).on("T", obey);
        builder.on_blocking("Hang", move |_: Event| wait_for(&waits))
    };
    let mut bench = Bench::start(setup).await.unwrap();
    bench.manager().emit("Hang", "x").id("suspect").await.unwrap();
    for _ in 0..2 {
        while bench.manager().stats().processing_events == 0 {
            tokio::task::yield_now().await;
        }
        bench.reopen(Unsynced::Kept).await.unwrap();
    }
    while bench.manager().stats().processing_events == 0 {
        tokio::task::yield_now().await;
    }
    bench.manager().emit("T", "x").id("other").await.unwrap();
    let mut is_done = false;
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        is_done |= bench.manager().get("other").await.unwrap().unwrap().status() == Status::Completed;
        if is_done {
            break;
        }
    }
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert!(is_done, "the one that hangs has lost its slot");
}

#[tokio::test]
async fn a_drain_runs_what_waits_to_be_asked_for_and_says_when_the_manager_was_shut_down() {
    for background in [true, false] {
        let setup = move |builder: EventManagerBuilder| obedient(builder).background_processing(background);
        let mut bench = Bench::start(setup).await.unwrap();
        bench.manager().emit("T", "done").await.unwrap();
        bench.manager().emit("T", "retry").await.unwrap();
        let drained = bench.drain().await.unwrap();
        assert_eq!((drained.completed, drained.retried), (1, 1));
        bench.manager().shutdown().await.unwrap();
        assert_eq!(bench.drain().await.unwrap_err().kind(), ErrorKind::Closed);
        let much = Duration::from_hours(9);
        assert_eq!(bench.drain_for(much).await.unwrap_err().kind(), ErrorKind::Closed, "a retry is due meanwhile");
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap()
}

#[tokio::test]
async fn a_drain_of_a_process_that_was_killed_returns_at_once() {
    let mut bench = bench().await;
    bench.manager().emit("T", "done").await.unwrap();
    bench.crash().await;
    let later = bench.now().saturating_add(Duration::from_hours(1));
    assert_eq!(within(bench.drain()).await.unwrap(), Drained::default());
    assert_eq!(within(bench.drain_for(Duration::from_hours(1))).await.unwrap(), Drained::default());
    assert_eq!(within(bench.drain_until(later)).await.unwrap(), Drained::default());
    bench.reopen(Unsynced::Kept).await.unwrap();
    assert_eq!(within(bench.drain()).await.unwrap().completed, 1);
}

#[tokio::test]
async fn a_drain_waits_for_a_run_whose_event_was_cancelled() {
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ended);
    let setup = move |builder: EventManagerBuilder| {
        let ended = Arc::clone(&counted);
        builder.on("T", move |_: Event, context: Context| {
            let ended = Arc::clone(&ended);
            async move {
                context.cancelled().await;
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                ended.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let mut bench = Bench::start(setup).await.unwrap();
    bench.manager().emit("T", "x").id("one").await.unwrap();
    while bench.manager().stats().processing_events == 0 {
        tokio::task::yield_now().await;
    }
    bench.manager().cancel("one", "no longer wanted").await.unwrap();
    assert_eq!(counts(&within(bench.drain()).await.unwrap()), [1, 0, 0, 0, 1]);
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

/// Nothing runs unless it is asked for, and what hangs soon loses its slot.
fn on_demand(builder: EventManagerBuilder) -> EventManagerBuilder {
    let moment = Duration::from_millis(20);
    let builder = builder.background_processing(false).concurrency(1).max_retries(0);
    builder.handler_timeout(moment).handler_grace(Duration::ZERO)
}

#[tokio::test]
async fn a_drain_asks_again_for_what_may_run_only_after_it_has_asked() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let waits = Arc::clone(&gate);
    let setup = move |builder: EventManagerBuilder| {
        let waits = Arc::clone(&waits);
        on_demand(builder).on("T", obey).on_blocking("Hang", move |_: Event| wait_for(&waits))
    };
    let mut bench = Bench::start(setup).await.unwrap();
    let manager = bench.manager().clone();
    manager.emit("Hang", "x").key("k").await.unwrap();
    manager.emit("T", "done").key("k").await.unwrap();
    let opening = async {
        // The one that hangs is waited for no more, and the other is behind it.
        manager.process_pending().await.unwrap();
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
    };
    let (drained, ()) = within(async { tokio::join!(bench.drain(), opening) }).await;
    assert_eq!(counts(&drained.unwrap()), [2, 1, 0, 1, 0]);
}

/// Keeps its thread for ever.
fn hang(_: Event) {
    loop {
        std::thread::park();
    }
}

#[tokio::test]
async fn a_drain_says_why_what_it_asked_for_cannot_run() {
    let setup = |builder: EventManagerBuilder| on_demand(builder).on_blocking("Hang", hang);
    let mut bench = Bench::start(setup).await.unwrap();
    for number in 0..3 {
        bench.manager().emit("Hang", number).await.unwrap();
    }
    assert_eq!(within(bench.drain()).await.unwrap_err().kind(), ErrorKind::NotAllowed);
}

//! How runs end other than by success and failure: put off, with a part of the handlers done, or after their event was cancelled; and
//! what becomes of events that nobody handles.
#![expect(clippy::unwrap_used, reason = "what its own scaffolding cannot do fails a test")]

use std::path::Path;
use std::time::{Duration, SystemTime};

use ledgerline::{Claim, ErrorKind, Event, LogItem, NewEvent, Outcome, Status, Store, StoreOptions, Timestamp};

const DAY: Duration = Duration::from_hours(24);

fn open(path: &Path) -> Store {
    let options = StoreOptions::default().segment_bytes(64 * 1024).max_event_age(Duration::from_secs(1));
    Store::open(path, options).unwrap()
}

/// Closes the store and opens it again.
fn reopen(path: &Path, store: Store) -> Store {
    store.close().unwrap();
    open(path)
}

fn append(store: &Store, id: &str, key: Option<&str>) {
    let event = NewEvent::new("Issue", &1).unwrap().id(id).max_retries(0);
    store.append(if let Some(key) = key { event.key(key) } else { event }).unwrap();
}

fn claim(store: &Store) -> Claim {
    let mut claims = store.claim(10).unwrap();
    assert_eq!(claims.len(), 1, "one event may run");
    claims.remove(0)
}

fn claimed(store: &Store) -> Vec<String> {
    store.claim(10).unwrap().iter().map(|claim| claim.event().id().to_owned()).collect()
}

fn get(store: &Store, id: &str) -> Event {
    store.get(id).unwrap().unwrap()
}

fn steps(store: &Store, id: &str) -> Vec<String> {
    store.history(id).unwrap().into_iter().map(|step| step.what).collect()
}

/// Fills segments with events that come to nothing, and has compaction write anew what is left of them.
fn compact(store: &Store) {
    for number in 0..40 {
        let filler = NewEvent::new("Filler", &"x".repeat(3_000)).unwrap().id(format!("filler {number}"));
        store.append(filler).unwrap();
        store.cancel(&format!("filler {number}"), "no").unwrap();
    }
    // Events must be a second old, and only the clock can make them so.
    std::thread::sleep(Duration::from_millis(1_100));
    assert!(store.compact().unwrap().segments_rewritten > 0);
}

#[test]
fn an_event_that_is_put_off_spends_no_retry_keeps_its_key_and_waits() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, "a", Some("k"));
    append(&store, "b", Some("k"));
    store.settle(&claim(&store), Outcome::Snooze(DAY)).unwrap();
    let event = get(&store, "a");
    assert_eq!((event.status(), event.retry_count(), event.error_message()), (Status::Retrying, 0, None));
    assert_eq!(claimed(&store), [""; 0], "b waits for it");
    assert_eq!((store.stats().events_failed, store.stats().events_retried), (0, 0));
    let store = reopen(dir.path(), store);
    assert_eq!(claimed(&store), [""; 0], "it waits in another process as well");
    let history = store.history("a").unwrap();
    let last = history.last().unwrap();
    assert_eq!((last.what.as_str(), last.status, last.attempt), ("snoozed", Status::Retrying, Some(1)));
    assert_eq!(last.retry_at.unwrap().saturating_since(last.at), DAY);
    assert!(store.verify().unwrap().is_sound(), "two ways of reading it agree");
}

#[test]
fn a_time_that_is_past_means_at_once_and_a_long_wait_is_cut_to_thirty_days() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, "a", None);
    let at = |time: SystemTime| Outcome::RetryAt(Timestamp::from(time));
    let now = SystemTime::from(get(&store, "a").timestamp());
    for past in [at(SystemTime::UNIX_EPOCH), at(now - DAY), Outcome::Snooze(Duration::ZERO)] {
        store.settle(&claim(&store), past).unwrap();
    }
    for (outcome, days) in [
        (at(now + 3 * DAY), 3),
        (at(now + 300 * DAY), 30),
        (Outcome::RetryAt(Timestamp::from_unix_micros(i64::MAX)), 30),
        (Outcome::Snooze(Duration::MAX), 30),
        (Outcome::Snooze(30 * DAY), 30),
    ] {
        store.settle(&claim(&store), outcome).unwrap();
        let last = store.history("a").unwrap().pop().unwrap();
        let wait = last.retry_at.unwrap().saturating_since(last.at);
        assert!(wait <= days * DAY && wait + Duration::from_mins(1) > days * DAY, "{wait:?} for {days}");
        store.replay(&["a"]).unwrap();
    }
}

#[test]
fn after_a_thousand_times_an_event_is_put_off_no_more_and_restart_and_compaction_lose_no_count() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    append(&store, "a", None);
    for count in 1..=1_000 {
        store.settle(&claim(&store), Outcome::Snooze(Duration::ZERO)).unwrap();
        if count == 300 {
            compact(&store);
        }
        if count % 400 == 0 {
            store = reopen(dir.path(), store);
        }
    }
    assert_eq!(get(&store, "a").status(), Status::Retrying);
    store.settle(&claim(&store), Outcome::RetryAt(Timestamp::default())).unwrap();
    let event = get(&store, "a");
    assert_eq!(event.status(), Status::Failed);
    assert!(event.error_message().unwrap().contains("put it off 1000 times"), "{event:?}");
    store.replay(&["a"]).unwrap();
    store.settle(&claim(&store), Outcome::Snooze(Duration::ZERO)).unwrap();
    assert_eq!(get(&store, "a").status(), Status::Retrying, "a replay begins anew");
    let is_counted = |item: &LogItem| match item {
        LogItem::Entry(entry) => entry.kind == "snoozed" && entry.says["count"] == 1_000,
        _ => false,
    };
    store.close().unwrap();
    assert!(store.read_from(1).any(|item| is_counted(&item.unwrap())), "the log tells how often it was");
}

#[test]
fn a_handler_that_succeeded_is_known_in_later_runs_across_restart_and_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, "a", None);
    let first = claim(&store);
    assert!(!first.is_handled_by("mail"));
    store.record_handled(&first, "mail").unwrap();
    store.record_handled(&first, "mail").unwrap();
    store.save_cursor("durable by then", 1).unwrap();
    let told: Vec<_> = store.history("a").unwrap().into_iter().map(|step| (step.what, step.message)).collect();
    let handled = ("handled".to_owned(), Some("mail".to_owned()));
    assert_eq!(told.last(), Some(&handled), "while it runs, once that is durable: {told:?}");
    store.settle(&first, Outcome::Snooze(Duration::ZERO)).unwrap();
    assert_eq!(steps(&store, "a"), ["received", "started", "handled", "snoozed"], "the same name again is no entry");
    let second = claim(&store);
    assert!(second.is_handled_by("mail") && !second.is_handled_by("post") && !second.is_handled_by("mai"));
    assert_eq!(store.record_handled(&first, "post").unwrap_err().kind(), ErrorKind::NotAllowed, "its run is over");
    store.record_handled(&second, "post").unwrap();
    compact(&store);
    let store = reopen(dir.path(), store);
    let third = claim(&store);
    assert!(third.is_handled_by("mail") && third.is_handled_by("post"), "the run before was interrupted");
    let handled = store.history("a").unwrap().into_iter().rfind(|step| step.what == "handled").unwrap();
    assert_eq!(
        (handled.status, handled.attempt, handled.message.as_deref()),
        (Status::Processing, Some(2), Some("post"))
    );
    store.settle(&third, Outcome::Fail("no".to_owned())).unwrap();
    store.replay(&["a"]).unwrap();
    let fourth = claim(&store);
    assert!(fourth.is_handled_by("mail"), "a replay of what failed runs what has not succeeded");
    store.settle(&fourth, Outcome::Done).unwrap();
    store.replay(&["a"]).unwrap();
    let fifth = claim(&store);
    assert!(!fifth.is_handled_by("mail"), "a replay of what completed runs all");
    store.record_handled(&fifth, "mail").unwrap();
    store.settle(&fifth, Outcome::Cancel("enough".to_owned())).unwrap();
    store.replay(&["a"]).unwrap();
    assert!(!claim(&store).is_handled_by("mail"), "and so does one of what was cancelled");
    assert!(store.verify().unwrap().is_sound());
}

#[test]
fn names_of_handlers_have_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, "a", None);
    let run = claim(&store);
    let refused = |name: &str| {
        let error = store.record_handled(&run, name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        error.to_string()
    };
    assert!(refused("").contains("is empty"));
    assert!(refused(&"x".repeat(129)).contains("has 129 bytes; at most 128"));
    for number in 0..64 {
        store.record_handled(&run, &format!("{number:0128}")).unwrap();
    }
    let text = refused("one more");
    assert!(text.contains("\"one more\"") && text.contains("has 64 already"), "{text}");
    store.record_handled(&run, &format!("{:0128}", 7)).unwrap();
    store.settle(&run, Outcome::Snooze(Duration::ZERO)).unwrap();
    let store = reopen(dir.path(), store);
    let again = claim(&store);
    assert!((0..64).all(|number| again.is_handled_by(&format!("{number:0128}"))) && !again.is_handled_by("one more"));
}

#[test]
fn a_cancelled_event_keeps_its_key_until_its_run_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (id, key) in [("a", Some("k")), ("b", Some("k")), ("c", None)] {
        append(&store, id, key);
    }
    let runs = store.claim(10).unwrap();
    assert_eq!(runs.len(), 2);
    for id in ["a", "c"] {
        store.cancel(id, "not now").unwrap();
        assert_eq!(get(&store, id).status(), Status::Cancelled);
    }
    assert!(store.replay(&["a", "c"]).unwrap().iter().all(|replay| replay.refused.is_none()));
    assert_eq!(claimed(&store), [""; 0], "both runs go on");
    assert_eq!(store.stats().pending_events, 3);
    assert_eq!(store.settle(&runs[1], Outcome::Done).unwrap_err().kind(), ErrorKind::NotAllowed);
    assert_eq!(claimed(&store), ["c"], "its former run has ended");
    assert_eq!(store.settle(&runs[0], Outcome::Done).unwrap_err().kind(), ErrorKind::NotAllowed);
    let next = claim(&store);
    assert_eq!(next.event().id(), "b", "a has joined the end of its key");
    assert_eq!(store.settle(&runs[0], Outcome::Done).unwrap_err().kind(), ErrorKind::NotAllowed);
    assert_eq!(claimed(&store), [""; 0], "a run ends once");
    store.settle(&next, Outcome::Done).unwrap();
    assert_eq!(claimed(&store), ["a"]);
}

#[test]
fn a_run_that_calls_its_own_event_off_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, "a", Some("k"));
    append(&store, "b", Some("k"));
    store.settle(&claim(&store), Outcome::Cancel("enough".to_owned())).unwrap();
    store.replay(&["a"]).unwrap();
    let next = claim(&store);
    assert_eq!(next.event().id(), "b");
    store.settle(&next, Outcome::Done).unwrap();
    assert_eq!(claimed(&store), ["a"]);
}

#[test]
fn a_cancelled_event_keeps_its_key_though_it_is_forgotten_and_another_process_does_not_wait() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for id in ["a", "b", "c"] {
        append(&store, id, Some("k"));
    }
    let run = claim(&store);
    store.cancel("a", "not now").unwrap();
    // It must be a second old, and only the clock can make it so.
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(store.compact().unwrap().events_forgotten, 1);
    assert_eq!(claimed(&store), [""; 0], "its run goes on");
    assert_eq!(store.settle(&run, Outcome::Done).unwrap_err().kind(), ErrorKind::NotAllowed);
    assert_eq!(claim(&store).event().id(), "b");
    store.cancel("b", "not now").unwrap();
    let store = reopen(dir.path(), store);
    assert_eq!(claim(&store).event().id(), "c", "what ran there runs no more");
}

#[cfg(feature = "manager")]
mod managed {
    //! The same, and what becomes of events without a handler, as seen through a manager.

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use ledgerline::{Context, EventManager, EventManagerBuilder, Unhandled};
    use tokio::sync::Semaphore;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// Runs one sentence of the contract; workers look again by themselves only after an hour.
    fn check<F: Future<Output = ()>>(sentence: impl FnOnce(EventManagerBuilder) -> F) {
        let dir = tempfile::tempdir().unwrap();
        let builder = EventManager::builder(dir.path()).processing_interval(Duration::from_hours(1)).max_retries(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sentence = sentence(builder);
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(30), sentence).await.expect("it comes within half a minute");
        });
    }

    /// Waits until the event stands so; nothing but the manager brings it there.
    async fn stands(manager: &EventManager, id: &str, status: Status) -> Event {
        loop {
            let event = manager.get(id).await.unwrap().unwrap();
            if event.status() == status {
                return event;
            }
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_run_may_put_its_event_off_and_runs_again_when_it_said() {
        check(async |builder: EventManagerBuilder| {
            let handler = |event: Event, context: Context| async move {
                match context.attempt() {
                    1 => Outcome::Snooze(Duration::from_millis(1)),
                    2 => Outcome::RetryAt(Timestamp::from(
                        SystemTime::from(event.timestamp()) + Duration::from_millis(20),
                    )),
                    3 => Outcome::RetryAt(Timestamp::default()),
                    _ => Outcome::Done,
                }
            };
            let manager = builder.on("T", handler).start().await.unwrap();
            let id = manager.emit("T", 1).await.unwrap();
            let event = stands(&manager, &id, Status::Completed).await;
            assert_eq!(event.retry_count(), 0);
            let stats = manager.stats();
            assert_eq!((stats.events_failed, stats.events_retried, stats.events_processed), (0, 0, 1));
            manager.shutdown().await.unwrap();
        });
    }

    #[test]
    fn nothing_of_a_key_runs_beside_what_is_left_of_a_cancelled_run() {
        check(async |builder: EventManagerBuilder| {
            let gate = Arc::new(Semaphore::new(0));
            let (tell, mut told) = unbounded_channel();
            let beside = Arc::new(AtomicU32::new(0));
            let handler = {
                let (gate, beside) = (Arc::clone(&gate), Arc::clone(&beside));
                move |event: Event| {
                    let (gate, beside, tell) = (Arc::clone(&gate), Arc::clone(&beside), tell.clone());
                    async move {
                        assert_eq!(beside.fetch_add(1, Ordering::SeqCst), 0, "it runs alone");
                        tell.send(event.id().to_owned()).unwrap();
                        gate.acquire().await.unwrap().forget();
                        beside.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            };
            let (free, mut freed) = unbounded_channel();
            let other = move |_: Event| {
                free.send(()).unwrap();
                async {}
            };
            let manager = builder.on("T", handler).on("Other", other).start().await.unwrap();
            manager.emit("T", 1).id("a").key("k").await.unwrap();
            assert_eq!(told.recv().await.unwrap(), "a");
            manager.emit("T", 1).id("b").key("k").await.unwrap();
            manager.cancel("a", "not now").await.unwrap();
            assert_eq!(manager.replay(["a"]).await.unwrap()[0].refused, None);
            // What came later and is free to run has run.
            manager.emit("Other", 1).await.unwrap();
            freed.recv().await.unwrap();
            assert!(told.try_recv().is_err());
            gate.add_permits(3);
            assert_eq!((told.recv().await.unwrap(), told.recv().await.unwrap()), ("b".to_owned(), "a".to_owned()));
            for id in ["a", "b"] {
                stands(&manager, id, Status::Completed).await;
            }
            manager.shutdown().await.unwrap();
        });
    }

    #[test]
    fn events_without_a_handler_are_held_completed_or_failed_as_the_option_says() {
        for (unhandled, status, held) in [
            (Unhandled::Hold, Status::Pending, 600),
            (Unhandled::Complete, Status::Completed, 0),
            (Unhandled::Fail, Status::Failed, 0),
        ] {
            check(async |builder: EventManagerBuilder| {
                let manager = builder.unhandled(unhandled).on("T", |_: Event| async {}).start().await.unwrap();
                manager.emit("T", 1).id("handled").key("k").await.unwrap();
                // More than are ended at a time.
                let ids: Vec<String> = (0..600).map(|number| format!("other {number}")).collect();
                emit_all(&manager, &ids).await;
                stands(&manager, "handled", Status::Completed).await;
                for id in &ids {
                    let event = stands(&manager, id, status).await;
                    let says = event.error_message().unwrap_or_default();
                    assert_eq!(says.contains("there is no handler for \"Other\""), status == Status::Failed, "{says}");
                }
                let counts = manager.stats();
                assert_eq!((counts.held_events, counts.processing_events), (held, 0));
                manager.shutdown().await.unwrap();
            });
        }
    }

    #[test]
    fn what_is_held_for_too_long_fails_at_the_next_compaction() {
        check(async |builder: EventManagerBuilder| {
            let options = StoreOptions::default().held_age_max(Duration::from_secs(1));
            let manager = builder.store_options(options).on("T", |_: Event| async {}).start().await.unwrap();
            manager.emit("Other", 1).id("old").await.unwrap();
            // It must be a second old, and only the clock can make it so.
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            manager.emit("Other", 1).id("young").await.unwrap();
            assert_eq!(manager.compact().await.unwrap().events_expired, 1);
            let old = manager.get("old").await.unwrap().unwrap();
            let says = "there is no handler for \"Other\", and none came for 1s";
            assert_eq!((old.status(), old.error_message()), (Status::Failed, Some(says)));
            assert_eq!(manager.stats().held_events, 1);
            manager.shutdown().await.unwrap();
        });
    }

    /// Emits all of them, of a type that nobody handles.
    async fn emit_all(manager: &EventManager, ids: &[String]) {
        let mut emits = tokio::task::JoinSet::new();
        for id in ids {
            emits.spawn(manager.emit("Other", 1).id(id).key("k").into_future());
        }
        while let Some(emitted) = emits.join_next().await {
            emitted.unwrap().unwrap();
        }
    }
}

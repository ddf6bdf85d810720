//! What is counted, and how it is told: by type and status, by how attempts ended, and how long it took.
#![expect(clippy::unwrap_used, reason = "what its own scaffolding cannot do fails a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ledgerline::{Claim, Filter, NewEvent, Outcome, Stats, Status, Store, StoreOptions, TypeStats};

fn open(dir: &Path) -> Store {
    let options = StoreOptions::default().segment_bytes(1024 * 1024).retry_interval(Duration::from_millis(1));
    Store::open(dir, options.max_retries(1)).unwrap()
}

fn append(store: &Store, id: &str, event_type: &str) {
    store.append(NewEvent::new(event_type, &1).unwrap().id(id)).unwrap();
}

fn claim(store: &Store) -> Claim {
    loop {
        if let Some(claim) = store.claim(1).unwrap().pop() {
            return claim;
        }
    }
}

fn of(stats: &Stats, event_type: &str) -> TypeStats {
    stats.types.iter().find(|of| of.event_type == event_type).cloned().unwrap_or_default()
}

/// The counts by type and status that a list of all events gives, and those that are told.
fn counted(store: &Store) -> [BTreeMap<(String, Status), u64>; 2] {
    let mut listed = BTreeMap::new();
    for event in store.list(&Filter::all()).unwrap() {
        *listed.entry((event.event_type().to_owned(), event.status())).or_default() += 1;
    }
    let mut told = BTreeMap::new();
    for of in store.stats().types {
        for (status, count) in [
            (Status::Pending, of.pending),
            (Status::Processing, of.processing),
            (Status::Retrying, of.retrying),
            (Status::Completed, of.completed),
            (Status::Failed, of.failed),
            (Status::Cancelled, of.cancelled),
        ] {
            if count > 0 {
                told.insert((of.event_type.clone(), status), count);
            }
        }
    }
    [listed, told]
}

#[test]
fn types_are_counted_by_status_along_with_every_change_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..30 {
        append(&store, &number.to_string(), if number % 3 == 0 { "A" } else { "B" });
    }
    for (number, claim) in store.claim(20).unwrap().into_iter().enumerate() {
        let outcome = match number % 5 {
            0 => Outcome::Done,
            1 => Outcome::Retry("later".into()),
            2 => Outcome::Fail("never".into()),
            3 => Outcome::Cancel("off".into()),
            _ => continue,
        };
        store.settle(&claim, outcome).unwrap();
        let [listed, told] = counted(&store);
        assert_eq!(listed, told);
    }
    store.replay(&["0"]).unwrap();
    store.cancel("29", "").unwrap();
    let [listed, told] = counted(&store);
    assert_eq!(listed, told);
    assert!(listed.len() > 8, "{listed:?}");
    store.close().unwrap();
    let store = open(dir.path());
    let [listed, told] = counted(&store);
    assert_eq!(listed, told);
    assert!(listed.keys().all(|(_, status)| *status != Status::Processing));
    let read_only = Store::open_read_only(dir.path()).unwrap();
    assert_eq!(counted(&read_only), [listed.clone(), listed]);
}

#[test]
fn attempts_are_counted_by_how_they_ended_and_by_type() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, "a", "A");
    for outcome in [Outcome::Release, Outcome::Retry("once".into()), Outcome::Retry("twice".into())] {
        store.settle(&claim(&store), outcome).unwrap();
    }
    for outcome in [Outcome::Done, Outcome::Fail("no".into()), Outcome::Cancel("off".into())] {
        append(&store, &format!("{outcome:?}"), "B");
        store.settle(&claim(&store), outcome).unwrap();
    }
    append(&store, "c", "B");
    let running = claim(&store);
    store.cancel("c", "off").unwrap();
    store.settle(&running, Outcome::Done).unwrap_err();
    let stats = store.stats();
    let a = of(&stats, "A").attempts;
    assert_eq!((a.released, a.retried, a.failed, a.done, a.cancelled), (1, 1, 1, 0, 0));
    let b = of(&stats, "B").attempts;
    assert_eq!((b.released, b.retried, b.failed, b.done, b.cancelled), (0, 0, 1, 1, 2));
    let all = stats.attempts;
    assert_eq!((all.released, all.retried, all.failed, all.done, all.cancelled), (1, 1, 2, 1, 2));
    assert_eq!((stats.handling.count, of(&stats, "A").handling.count), (6, 3), "all that were settled");
    assert_eq!((stats.end_to_end.count, of(&stats, "B").end_to_end.count), (1, 1), "all that were completed");
    store.close().unwrap();
    let stats = open(dir.path()).stats();
    assert_eq!(stats.attempts.done, 0, "counted since the store was opened");
    assert_eq!(stats.events_processed, 1, "counted for life");
}

#[test]
fn latencies_are_from_claim_to_settlement_and_from_reception_to_completion() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let rest = || std::thread::sleep(Duration::from_millis(40));
    append(&store, "a", "A");
    rest();
    let running = claim(&store);
    rest();
    store.settle(&running, Outcome::Done).unwrap();
    let stats = store.stats();
    let (handling, end_to_end) = (stats.handling.p50_ms.unwrap(), stats.end_to_end.p99_ms.unwrap());
    assert!(handling > 37.0 && end_to_end > 75.0 && handling < end_to_end, "{stats:?}");
    assert_eq!((of(&stats, "A").handling, of(&stats, "A").end_to_end), (stats.handling, stats.end_to_end));
}

#[test]
fn the_oldest_that_waits_is_found_of_each_type_wherever_it_comes_to_lie() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // More of another type between them than are looked at under one lock.
    for (event_type, count) in [("A", 1_u32), ("B", 3_000), ("A", 1)] {
        let of = |number: u32| NewEvent::new(event_type, &number).unwrap().id(format!("{event_type}{number}"));
        let first = u32::from(store.stats().pending_events > 0);
        for some in (first..first + count).collect::<Vec<_>>().chunks(1_000) {
            store.append_many(some.iter().copied().map(of)).unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let age = |event_type: &str| of(&store.stats(), event_type).oldest_waiting_seconds.unwrap_or(-1.0);
    let (first, others) = (age("A"), age("B"));
    assert!(first > others && others > 0.0, "{first} {others}");
    let running = claim(&store);
    assert_eq!(running.event().id(), "A0");
    assert!(age("A") < age("B"), "the one that is left came last");
    store.settle(&running, Outcome::Fail("no".into())).unwrap();
    assert!(age("A") < age("B"), "what has failed does not wait");
    store.replay(&["A0"]).unwrap();
    assert!(age("A") > age("B"), "what was replayed waits again");
    store.cancel_all(["A0", "A1"], "").unwrap();
    assert!(age("A") < 0.0, "none waits");
}

#[test]
fn beyond_256_types_the_rest_is_counted_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let event = |number: usize| NewEvent::new(format!("T{number}"), &number).unwrap();
    store.append_many((0..256).map(event)).unwrap();
    assert_eq!((store.stats().types.len(), store.stats().other_types), (256, None));
    store.append_many((256..300).chain(256..260).map(event)).unwrap();
    for claim in store.claim(302).unwrap() {
        store.settle(&claim, Outcome::Done).unwrap();
    }
    let stats = store.stats();
    let others = stats.other_types.unwrap();
    assert_eq!((stats.types.len(), others.completed, others.pending, others.event_type.as_str()), (256, 46, 2, ""));
    assert_eq!((others.attempts.done, others.end_to_end.count, stats.attempts.done), (46, 46, 302));
    assert!(others.oldest_waiting_seconds.is_some());
}

#[cfg(feature = "manager")]
mod manager {
    use ledgerline::{Event, EventManager};

    use super::*;

    #[tokio::test]
    async fn time_outs_and_panics_are_counted_beside_what_they_lead_to_and_held_events_apart() {
        let dir = tempfile::tempdir().unwrap();
        let handler = |event: Event| async move {
            match event.id() {
                "slow" => std::future::pending::<()>().await,
                "bad" => panic!("as it must"),
                _ => {}
            }
        };
        let manager = EventManager::builder(dir.path())
            .handler_timeout(Duration::from_millis(5))
            .handler_grace(Duration::ZERO)
            .max_retries(0)
            .on("A", handler)
            .start()
            .await
            .unwrap();
        for id in ["slow", "bad", "good"] {
            manager.emit("A", 1).id(id).await.unwrap();
        }
        manager.emit("B", 1).await.unwrap();
        let stats = loop {
            let stats = manager.stats();
            if stats.attempts.done == 1 && stats.failed_events == 2 && stats.attempts.timed_out == 1 {
                break stats;
            }
            tokio::task::yield_now().await;
        };
        let a = of(&stats, "A").attempts;
        assert_eq!((a.failed, a.timed_out, a.panicked, a.done), (2, 1, 1, 1));
        let b = of(&stats, "B");
        assert_eq!((b.held, b.pending), (1, 0));
        assert!(b.oldest_waiting_seconds.is_some());
        manager.shutdown().await.unwrap();
    }
}

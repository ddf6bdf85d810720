//! The store as an embedder uses it, without a runtime: what it keeps, what it hands out, what it refuses, and what is still true
//! after it was opened again.
#![expect(clippy::disallowed_methods, reason = "a test that damages files touches them")]
#![expect(clippy::unwrap_used, reason = "what its own scaffolding cannot do fails a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use ledgerline::{
    Duplicate, ErrorKind, Event, Filter, NewEvent, Outcome, Scope, Selection, Status, Store, StoreOptions,
};

fn small() -> StoreOptions {
    StoreOptions::default().segment_bytes(64 * 1024).retry_interval(Duration::from_millis(1))
}

fn open(dir: &Path) -> Store {
    Store::open(dir, small()).unwrap()
}

fn event(id: &str) -> NewEvent {
    NewEvent::new("Issue", &serde_json::json!({ "title": id })).unwrap().id(id)
}

fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().map(Event::id).collect()
}

#[test]
fn what_was_appended_is_there_after_reopening_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let data = "{ \"title\" : \"caf\u{e9}\\u00e9\",  \"n\": 1.0e2 }";
    {
        let store = open(dir.path());
        assert!(store.recovery().created);
        let event = NewEvent::from_json("Issue", data).unwrap();
        let event = event.id("a").action("create").source("test").key("k").header("h", "v").max_retries(7);
        let receipt = store.append(event).unwrap();
        assert_eq!((receipt.id.as_str(), receipt.duplicate), ("a", None));
        store.close().unwrap();
    }
    let store = open(dir.path());
    assert!(store.recovery().closed_cleanly && !store.recovery().created);
    let event = store.get("a").unwrap().unwrap();
    assert_eq!(event.data(), data);
    assert_eq!((event.event_type(), event.action(), event.source()), ("Issue", Some("create"), "test"));
    assert_eq!((event.key(), event.max_retries(), event.status()), (Some("k"), 7, Status::Pending));
    assert_eq!(event.headers(), [("h".to_owned(), "v".to_owned())]);
    assert_eq!(event.pointer("/title"), Some("caf\u{e9}\u{e9}".into()));
    assert_eq!(store.get("b").unwrap().map(|event| event.seq()), None);
}

#[test]
fn an_event_has_exactly_the_documented_json_fields() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(event("a")).unwrap();
    let json = serde_json::to_value(store.get("a").unwrap().unwrap()).unwrap();
    let names: BTreeSet<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let documented = [
        "id",
        "seq",
        "event_type",
        "action",
        "source",
        "key",
        "data",
        "timestamp",
        "status",
        "retry_count",
        "last_attempt",
        "error_message",
        "max_retries",
        "priority",
        "not_before",
        "stale",
        "waiting",
    ];
    assert_eq!(names, BTreeSet::from(documented));
    assert_eq!(json["data"], serde_json::json!({ "title": "a" }));
}

#[test]
fn a_duplicate_is_answered_and_a_conflict_refused_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let store = open(dir.path());
        let receipt = store.append(event("a")).unwrap();
        assert_eq!(receipt.duplicate, (round > 0).then_some(Duplicate::SameId));
        assert_eq!(store.append(event("a")).unwrap().duplicate, Some(Duplicate::SameId));
        let other = NewEvent::new("Issue", &"other").unwrap().id("a");
        assert_eq!(store.append(other).unwrap_err().kind(), ErrorKind::IdConflict);
        assert_eq!(ids(&store.list(&Filter::all()).unwrap()), ["a"]);
    }
}

#[test]
fn an_id_stands_for_one_event_of_one_type() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let same_data = |event_type: &str| NewEvent::new(event_type, &7).unwrap().id("order-7");
    store.append(same_data("Mail")).unwrap();
    assert_eq!(store.append(same_data("Mail")).unwrap().duplicate, Some(Duplicate::SameId));
    let error = store.append(same_data("Sms")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IdConflict);
    assert!(error.to_string().contains("of another type"), "{error}");
}

#[test]
fn an_id_that_the_store_gave_is_as_good_as_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let given = store.append(NewEvent::new("Issue", &1).unwrap()).unwrap().id;
    let other_type = NewEvent::new("Comment", &1).unwrap().id(&given);
    assert_eq!(store.append(other_type).unwrap_err().kind(), ErrorKind::IdConflict);

    let again = |store: &Store, data: u8| store.append(NewEvent::new("Issue", &data).unwrap().id(&given));
    let both = |store: &Store, data: u8| {
        store.append_many([event("other"), NewEvent::new("Issue", &data).unwrap().id(&given)])
    };
    for _ in 0..2 {
        assert_eq!(again(&store, 1).unwrap().duplicate, Some(Duplicate::SameId));
        assert_eq!(again(&store, 2).unwrap_err().kind(), ErrorKind::IdConflict);
        assert_eq!(both(&store, 2).unwrap_err().kind(), ErrorKind::IdConflict);
        assert_eq!(store.list(&Filter::all()).unwrap().len(), 1);
        store.close().unwrap();
        store = open(dir.path());
    }
    assert_eq!(both(&store, 1).unwrap()[1].duplicate, Some(Duplicate::SameId));
    assert_eq!(store.list(&Filter::all()).unwrap().len(), 2);
}

#[test]
fn a_batch_is_kept_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(event("taken")).unwrap();
    let conflicting = NewEvent::new("Issue", &"other").unwrap().id("taken");
    let error = store.append_many(vec![event("a"), event("b"), conflicting]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IdConflict);
    let error = store.append_many(vec![event("a"), event("a")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(ids(&store.list(&Filter::all()).unwrap()), ["taken"]);
    let receipts = store.append_many(vec![event("a"), event("taken"), event("b")]).unwrap();
    let duplicates: Vec<bool> = receipts.iter().map(|receipt| receipt.duplicate.is_some()).collect();
    assert_eq!(duplicates, [false, true, false]);
    assert_eq!(ids(&store.list(&Filter::all()).unwrap()), ["taken", "a", "b"]);
}

#[test]
fn what_is_too_large_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = store.append(NewEvent::new("Issue", &"x".repeat(20_000)).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let many: Vec<NewEvent> = (0..20).map(|_| NewEvent::new("Issue", &"x".repeat(1_000)).unwrap()).collect();
    assert_eq!(store.append_many(many).unwrap_err().kind(), ErrorKind::TooLarge);
    store.append(NewEvent::new("Issue", &"x".repeat(15_000)).unwrap()).unwrap();
    assert_eq!(store.list(&Filter::all()).unwrap().len(), 1);
}

#[test]
fn an_event_runs_is_retried_fails_for_good_and_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(event("a").max_retries(1)).unwrap();
    for (attempt, last) in [(1, false), (2, true)] {
        let claim = claim_one(&store);
        assert_eq!((claim.event().id(), claim.attempt(), claim.is_last()), ("a", attempt, last));
        assert_eq!(claim.event().status(), Status::Processing);
        store.settle(&claim, Outcome::Retry(format!("no {attempt}"))).unwrap();
    }
    let failed = store.get("a").unwrap().unwrap();
    assert_eq!((failed.status(), failed.retry_count()), (Status::Failed, 2));
    assert_eq!(failed.error_message(), Some("no 2"));
    assert!(store.claim(1).unwrap().is_empty());
    let replays = store.replay_failed().unwrap();
    assert_eq!((replays.len(), replays[0].id.as_str(), &replays[0].refused), (1, "a", &None));
    let claim = claim_one(&store);
    assert_eq!((claim.attempt(), claim.event().retry_count()), (3, 0));
    store.settle(&claim, Outcome::Done).unwrap();
    let history = store.history("a").unwrap();
    let steps: Vec<&str> = history.iter().map(|step| step.what.as_str()).collect();
    let expected = ["received", "started", "failed", "started", "failed", "replayed", "started", "completed"];
    assert_eq!(steps, expected);
    assert!(history[2].retry_at.is_some() && history[4].retry_at.is_none());
    let stats = store.stats();
    assert_eq!(
        (stats.events_processed, stats.events_failed, stats.events_retried, stats.batch_operations),
        (1, 2, 1, 3)
    );
    assert_eq!((stats.pending_events, stats.failed_events, stats.completed_events), (0, 0, 1));
}

/// What this thread has read so far, in bytes, by the system's count.
#[cfg(target_os = "linux")]
fn bytes_read() -> u64 {
    let counts = fs::read_to_string("/proc/thread-self/io").unwrap();
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_history_is_read_no_further_than_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let steps_of = |id: &str| {
        let before = bytes_read();
        let steps: Vec<String> = store.history(id).unwrap().into_iter().map(|step| step.what).collect();
        (steps, bytes_read() - before)
    };
    store.append(event("ended")).unwrap();
    store.settle(&claim_one(&store), Outcome::Done).unwrap();
    store.append(event("runs")).unwrap();
    let claim = claim_one(&store);
    for number in 0..100 {
        store.append(NewEvent::new("Issue", &"x".repeat(15_000)).unwrap().id(number.to_string())).unwrap();
    }
    let (steps, bytes) = steps_of("ended");
    assert_eq!(steps, ["received", "started", "completed"]);
    assert!(bytes < 200_000, "{bytes} bytes were read, of 1.5 MB");
    assert_eq!(steps_of("runs").0, ["received", "started"]);
    store.settle(&claim, Outcome::Done).unwrap();
    let (steps, bytes) = steps_of("runs");
    assert_eq!(steps, ["received", "started", "completed"]);
    assert!(bytes > 1_000_000, "its end is at the end: {bytes} bytes");
}

/// Claims one event, however long its retry has to wait.
fn claim_one(store: &Store) -> ledgerline::Claim {
    loop {
        if let Some(claim) = store.claim(1).unwrap().pop() {
            return claim;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_claim_that_is_over_settles_nothing() {
    // R17.
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(event("a")).unwrap();
    let first = claim_one(&store);
    store.settle(&first, Outcome::Release).unwrap();
    let second = claim_one(&store);
    assert_eq!(store.settle(&first, Outcome::Done).unwrap_err().kind(), ErrorKind::NotAllowed);
    store.cancel("a", "not needed").unwrap();
    assert_eq!(store.settle(&second, Outcome::Done).unwrap_err().kind(), ErrorKind::NotAllowed);
    let event = store.get("a").unwrap().unwrap();
    assert_eq!((event.status(), event.error_message()), (Status::Cancelled, Some("not needed")));
    assert_eq!(store.cancel("a", "again").unwrap_err().kind(), ErrorKind::NotAllowed);
    assert_eq!(store.cancel("b", "none").unwrap_err().kind(), ErrorKind::NotFound);
    let replays = store.replay(&["a", "b"]).unwrap();
    assert_eq!(replays.iter().map(|replay| replay.refused.is_some()).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_claim_of_another_store_settles_nothing() {
    // R17: numbers are the same in both.
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [ours, theirs] = dirs.each_ref().map(|dir| open(dir.path()));
    ours.append(event("ours")).unwrap();
    theirs.append(event("theirs")).unwrap();
    let (claim, other) = (claim_one(&ours), claim_one(&theirs));
    assert_eq!(ours.settle(&other, Outcome::Done).unwrap_err().kind(), ErrorKind::NotAllowed);
    assert_eq!(ours.record_handled(&other, "h").unwrap_err().kind(), ErrorKind::NotAllowed);
    assert_eq!(ours.get("ours").unwrap().unwrap().status(), Status::Processing);
    ours.settle(&claim, Outcome::Done).unwrap();
}

#[test]
fn whoever_removes_the_lock_of_a_store_in_use_lets_nobody_in() {
    // R12.
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fs::remove_file(dir.path().join("LOCK")).unwrap();
    let refused = Store::open(dir.path(), StoreOptions::default()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Locked);
    store.append(event("a")).unwrap();
    store.close().unwrap();
    assert_eq!(open(dir.path()).stats().pending_events, 1);
}

#[test]
fn nothing_is_acknowledged_that_went_into_a_removed_file() {
    // R1: it would be gone with the process.
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(event("a")).unwrap();
    fs::remove_file(dir.path().join("0000000001.seg")).unwrap();
    let error = store.append(event("b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert!(error.to_string().contains("removed"), "{error}");
}

#[test]
fn what_was_being_processed_runs_again_at_once_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append_many(vec![event("a"), event("b"), event("c")]).unwrap();
    let claims = store.claim(2).unwrap();
    store.settle(&claims[0], Outcome::Done).unwrap();
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!(store.recovery().events_released, 1);
    let again = store.claim(10).unwrap();
    assert_eq!(again.iter().map(|claim| claim.event().id()).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(
        store.settle(&claims[1], Outcome::Done).unwrap_err().kind(),
        ErrorKind::NotAllowed,
        "a token of an epoch"
    );
}

#[test]
fn events_of_one_key_are_claimed_one_at_a_time_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append_many(vec![event("a1").key("a"), event("a2").key("a"), event("b1").key("b")]).unwrap();
    let claims = store.claim(10).unwrap();
    assert_eq!(claims.iter().map(|claim| claim.event().id()).collect::<Vec<_>>(), ["a1", "b1"]);
    assert!(store.claim(10).unwrap().is_empty());
    store.settle(&claims[0], Outcome::Done).unwrap();
    assert_eq!(store.claim(10).unwrap()[0].event().id(), "a2");
}

#[test]
fn one_process_writes_and_others_read_beside_it() {
    // R12.
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(event("a")).unwrap();
    let error = Store::open(dir.path(), small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(
        error.to_string().contains(&format!("this process ({}) has the store open", std::process::id())),
        "{error}"
    );
    let reader = Store::open_read_only(dir.path()).unwrap();
    assert_eq!(ids(&reader.list(&Filter::all()).unwrap()), ["a"]);
    assert_eq!(reader.append(event("b")).unwrap_err().kind(), ErrorKind::NotAllowed);
    store.append(event("b")).unwrap();
    assert_eq!(ids(&reader.list(&Filter::all()).unwrap()), ["a"], "a reader shows one moment");
}

#[test]
fn a_reader_changes_nothing_of_the_directory_that_another_process_writes() {
    // R12.
    let dir = tempfile::tempdir().unwrap();
    // Each start leaves a segment that is small, or dead: there is enough to compact.
    for _ in 0..6 {
        let store = open(dir.path());
        store.append(event(&store.epoch().to_string())).unwrap();
        store.close().unwrap();
    }
    let files = || {
        let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let contents = entries.map(|path| (path.clone(), fs::read(path).unwrap()));
        contents.collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = files();
    let reader = Store::open_read_only(dir.path()).unwrap();
    let refused = [
        reader.append(event("b")).map(drop),
        reader.append_many([event("b")]).map(drop),
        reader.replay_all(Selection::all()).map(drop),
        reader.cancel_all(Selection::all(), "").map(drop),
        reader.cancel("1", ""),
        reader.claim(1).map(drop),
        reader.pause(Scope::Type("T".to_owned()), None, ""),
        reader.save_cursor("c", 1),
        reader.compact().map(drop),
    ];
    let kinds = refused.map(|refused| refused.unwrap_err().kind());
    assert_eq!(kinds, [ErrorKind::NotAllowed; 9]);
    reader.close().unwrap();
    drop(reader);
    assert!(files() == before, "no file has changed");
    let store = open(dir.path());
    assert!(store.compact().unwrap().segments_rewritten > 0, "whoever holds the lock finds something to do");
}

#[test]
fn an_empty_path_is_refused_as_one() {
    for refused in [
        Store::open("", small()).map(drop),
        Store::open_existing("", small()).map(drop),
        Store::open_read_only("").map(drop),
        ledgerline::verify("").map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::InvalidInput, "the path of the store is empty")
        );
    }
}

#[test]
fn only_open_creates_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    for error in [Store::open_existing(&missing, small()).unwrap_err(), Store::open_read_only(&missing).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().starts_with(&format!("no store at {}", missing.display())), "{error}");
    }
    assert!(!missing.exists());
    assert_eq!(Store::open_existing(dir.path(), small()).unwrap_err().kind(), ErrorKind::NotFound);
    Store::open(missing.join("deep"), small()).unwrap().close().unwrap();
    Store::open_existing(missing.join("deep"), small()).unwrap();
}

#[test]
fn segments_roll_and_every_event_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let padding = "x".repeat(3_000);
    let expected: Vec<String> = (0..100).map(|number| format!("e{number}")).collect();
    {
        let store = open(dir.path());
        for id in &expected {
            store.append(NewEvent::new("Issue", &padding).unwrap().id(id)).unwrap();
        }
        assert!(store.stats().segments >= 5, "{:?}", store.stats());
        assert_eq!(ids(&store.list(&Filter::all()).unwrap()), expected);
    }
    let store = open(dir.path());
    assert_eq!(ids(&store.list(&Filter::all()).unwrap()), expected);
    assert_eq!(store.list(&Filter::all().limit(3)).unwrap().len(), 3);
    assert_eq!(store.list(&Filter::all().event_type("Comment")).unwrap().len(), 0);
    assert_eq!(store.list(&Filter::all().status(Status::Completed)).unwrap().len(), 0);
}

#[test]
fn callers_commit_for_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = store.clone();
            scope.spawn(move || {
                for number in 0..50 {
                    store.append(event(&format!("{thread}-{number}"))).unwrap();
                }
            });
        }
    });
    store.close().unwrap();
    assert_eq!(open(dir.path()).list(&Filter::all()).unwrap().len(), 400);
}

#[test]
fn a_closed_store_takes_nothing_more_and_closes_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(event("a")).unwrap();
    store.close().unwrap();
    store.close().unwrap();
    assert_eq!(store.append(event("b")).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.claim(1).unwrap_err().kind(), ErrorKind::Closed);
    let next = open(dir.path());
    assert_eq!(next.epoch(), 2);
    assert_eq!(next.id(), store.id());
}

#[test]
fn a_closed_store_gives_back_the_space_it_had_prepared() {
    // R10 reserves it ahead, in the active segment and in the next one.
    let dir = tempfile::tempdir().unwrap();
    let len = |ordinal: u32| fs::metadata(dir.path().join(format!("{ordinal:010}.seg"))).map(|file| file.len());
    let options = StoreOptions::default().segment_bytes(2 * 1024 * 1024);
    let store = Store::open(dir.path(), options.clone()).unwrap();
    for number in 0..12 {
        store.append(NewEvent::new("Issue", &"x".repeat(100_000)).unwrap().id(format!("e{number}"))).unwrap();
    }
    // Half of the active segment is used, so the next one is created beside us.
    while len(2).is_err() {
        std::thread::yield_now();
    }
    store.close().unwrap();
    assert!((1_200_000..1_210_000).contains(&len(1).unwrap()));
    assert_eq!(len(2).unwrap(), 64, "nothing but its header is left");
    let store = Store::open(dir.path(), options).unwrap();
    assert!(store.recovery().closed_cleanly);
    assert_eq!(store.list(&Filter::all()).unwrap().len(), 12);
}

#[test]
fn a_closed_store_opens_again_at_once_though_other_threads_start_processes() {
    // R12: a process that is being started holds a copy of every open file for a moment, and with it the lock.
    let dir = tempfile::tempdir().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                std::process::Command::new("true").status().unwrap();
            }
        });
        let opened: Vec<_> =
            (0..200).map(|_| Store::open(dir.path(), small()).and_then(|store| store.close())).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(opened.iter().filter_map(|opened| opened.as_ref().err()).map(ledgerline::Error::kind).next(), None);
    });
}

#[test]
fn a_claim_is_with_the_operating_system_before_it_is_handed_out() {
    // R16: were it in memory only, an event that kills the process would not be counted.
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..20 {
        store.append(event(&format!("e{number}"))).unwrap();
        let claim = claim_one(&store);
        let reader = Store::open_read_only(dir.path()).unwrap();
        assert_eq!(reader.get(claim.event().id()).unwrap().unwrap().status(), Status::Processing, "run {number}");
    }
}

/// Fills segments with completed events and one that is live, and lets retention pass over them.
fn aged(dir: &Path, dedup: Duration) -> (Store, u64) {
    let options = small().max_event_age(Duration::from_secs(1)).dedup_window(dedup);
    let store = Store::open(dir, options).unwrap();
    let padding = "x".repeat(3_000);
    for number in 0..100 {
        store.append(NewEvent::new("Issue", &padding).unwrap().id(format!("e{number}"))).unwrap();
        let claim = claim_one(&store);
        store.settle(&claim, Outcome::Done).unwrap();
    }
    store.append(event("live")).unwrap();
    let bytes = store.stats().log_bytes;
    // Events must be a second old, and only the clock can make them so.
    std::thread::sleep(Duration::from_millis(1_100));
    (store, bytes)
}

#[test]
fn retention_forgets_what_finished_and_deletes_dead_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (store, bytes) = aged(dir.path(), Duration::from_hours(1));
    let totals = |store: &Store| {
        let stats = store.stats();
        (stats.events_processed, stats.batch_operations, stats.pending_events)
    };
    let before = totals(&store);
    let report = store.compact().unwrap();
    assert_eq!(report.events_forgotten, 100);
    assert!(report.segments_deleted + report.segments_rewritten >= 4, "{report:?}");
    assert!(report.bytes_freed > bytes / 2, "{report:?}");
    assert!(store.stats().log_bytes < bytes / 2);
    assert_eq!(totals(&store), before);
    let check = |store: &Store| {
        assert_eq!(ids(&store.list(&Filter::all()).unwrap()), ["live"]);
        let receipt = store.append(NewEvent::new("Issue", &"x".repeat(3_000)).unwrap().id("e3")).unwrap();
        assert_eq!((receipt.id.as_str(), receipt.duplicate), ("e3", Some(Duplicate::SameId)));
        assert_eq!(store.append(event("e5")).unwrap_err().kind(), ErrorKind::IdConflict);
    };
    check(&store);
    assert_eq!(store.compact().unwrap().events_forgotten, 0);
    store.close().unwrap();
    let store = open(dir.path());
    check(&store);
    assert_eq!(totals(&store), before, "totals count over the store's whole life");
}

#[test]
fn an_id_is_forgotten_with_its_dedup_window() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = aged(dir.path(), Duration::ZERO);
    store.compact().unwrap();
    assert_eq!(store.append(event("e5")).unwrap().duplicate, None);
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!(ids(&store.list(&Filter::all()).unwrap()), ["live", "e5"]);
}

#[test]
fn a_compaction_that_fails_before_its_rename_stops_nothing() {
    // R2: and the next one does what it could not.
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = aged(dir.path(), Duration::ZERO);
    fs::create_dir(dir.path().join("MANIFEST.tmp")).unwrap();
    assert_eq!(store.compact().unwrap_err().kind(), ErrorKind::Io);
    store.append(event("next")).unwrap();
    fs::remove_dir(dir.path().join("MANIFEST.tmp")).unwrap();
    assert!(store.compact().unwrap().segments_deleted >= 4);
    drop(store);
    assert_eq!(ids(&open(dir.path()).list(&Filter::all()).unwrap()), ["live", "next"]);
}

#[test]
fn segments_that_were_deleted_and_come_back_are_debris() {
    // R5: after a loss of power an unlink may not have happened.
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = aged(dir.path(), Duration::ZERO);
    let path = |ordinal: u32| dir.path().join(format!("{ordinal:010}.seg"));
    let before: Vec<(u32, Vec<u8>)> = (1..5).map(|ordinal| (ordinal, fs::read(path(ordinal)).unwrap())).collect();
    assert!(store.compact().unwrap().segments_deleted >= 4);
    store.close().unwrap();
    for (ordinal, bytes) in &before {
        assert!(!path(*ordinal).exists());
        fs::write(path(*ordinal), bytes).unwrap();
    }
    let store = open(dir.path());
    assert_eq!(ids(&store.list(&Filter::all()).unwrap()), ["live"]);
    assert!(before.iter().all(|(ordinal, _)| !path(*ordinal).exists()), "and they are removed");
}

#[test]
fn closing_beside_a_compaction_waits_for_its_step_and_loses_nothing() {
    // R6: whichever of its steps the close falls on.
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = aged(dir.path(), Duration::ZERO);
    let compacted = std::thread::scope(|scope| {
        let other = store.clone();
        let compaction = scope.spawn(move || {
            let mut deleted = 0;
            loop {
                match other.compact() {
                    Ok(report) => deleted += report.segments_deleted,
                    Err(error) => return (deleted, error.kind()),
                }
            }
        });
        store.close().unwrap();
        let names =
            || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<BTreeSet<_>>();
        let closed = names();
        let compacted = compaction.join().unwrap();
        assert_eq!(names(), closed, "nobody is at work in a directory whose lock was given up");
        compacted
    });
    assert_eq!(compacted.1, ErrorKind::Closed);
    let store = open(dir.path());
    assert!(store.recovery().closed_cleanly);
    let live = store.list(&Filter::all().status(Status::Pending)).unwrap();
    assert_eq!(ids(&live), ["live"], "after {} deletions", compacted.0);
    assert_eq!(store.stats().events_processed, 100);
}

#[test]
fn an_event_that_rots_while_the_store_serves_fails_alone() {
    // R11.
    use std::os::unix::fs::FileExt as _;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let needle = "rots in its place";
    store.append(NewEvent::new("Issue", &needle).unwrap().id("rotten")).unwrap();
    store.append(event("sound")).unwrap();
    let path = dir.path().join("0000000001.seg");
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(needle.len()).position(|window| window == needle.as_bytes()).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"R", at as u64).unwrap();
    assert_eq!(store.get("rotten").unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(ids(&store.list(&Filter::all()).unwrap()), ["sound"], "one hides no other");
    // It is the older one, and there is another whose turn is not spent on it.
    let claims = store.claim(1).unwrap();
    assert_eq!(claims.iter().map(|claim| claim.event().id()).collect::<Vec<_>>(), ["sound"]);
    let stats = store.stats();
    assert_eq!((stats.failed_events, stats.damaged_events, stats.processing_events), (1, 1, 1));
    assert_eq!(store.replay_failed().unwrap().len(), 1);
    assert_eq!(store.history("rotten").unwrap_err().kind(), ErrorKind::Corrupt);
    store.append(event("next")).unwrap();
}

#[test]
fn data_is_kept_byte_for_byte_with_its_surrounding_space() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(NewEvent::from_json("Issue", " {\"a\" : 1}\n").unwrap().id("a")).unwrap();
    let event = store.get("a").unwrap().unwrap();
    assert_eq!(event.data(), " {\"a\" : 1}\n");
    assert_eq!(serde_json::to_value(&event).unwrap()["data"], serde_json::json!({ "a": 1 }));
}

#[test]
fn retention_forgets_many_events_in_several_steps() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::default().max_event_age(Duration::from_secs(1)).dedup_window(Duration::ZERO);
    let store = Store::open(dir.path(), options).unwrap();
    for batch in 0..10 {
        store.append_many((0..1_000).map(|number| event(&format!("{batch}-{number}")))).unwrap();
        for claim in store.claim(1_000).unwrap() {
            store.settle(&claim, Outcome::Done).unwrap();
        }
    }
    // Events must be a second old, and only the clock can make them so.
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(store.compact().unwrap().events_forgotten, 10_000);
    store.close().unwrap();
    let mut horizons = 0;
    ledgerline::audit::audit(dir.path(), &mut |item| {
        if let ledgerline::audit::Item::Record(line) = item {
            horizons += u32::from(line.kind == "horizon");
        }
        Ok(())
    })
    .unwrap();
    assert!(horizons >= 2, "one step would hold the lock for as long as all of them take: {horizons}");
    let store = open(dir.path());
    assert_eq!((store.list(&Filter::all()).unwrap().len(), store.stats().events_processed), (0, 10_000));
}

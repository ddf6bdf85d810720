//! Whoever holds a place while compaction goes on: stories that need to look inside.

use std::time::Duration;

use crate::event::{NewEvent, Outcome};
use crate::store::handle::Store;
use crate::store::options::StoreOptions;

fn event(id: &str, bytes: usize) -> NewEvent {
    NewEvent::new("Issue", &"x".repeat(bytes)).unwrap().id(id)
}

/// A store that forgets at once, in segments of 64 KiB.
fn open(dir: &std::path::Path) -> Store {
    let options = StoreOptions::default().segment_bytes(64 * 1024).max_retries(0);
    Store::open(dir, options.max_event_age(Duration::from_secs(1)).dedup_window(Duration::ZERO)).unwrap()
}

fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn complete(store: &Store, count: usize) {
    for claim in store.claim(count).unwrap() {
        store.settle(&claim, Outcome::Done).unwrap();
    }
}

/// Compacts once what finished is old enough; the first segment is written anew by it.
fn compact(store: &Store, generation: u32) {
    std::thread::sleep(Duration::from_millis(1_050));
    store.compact().unwrap();
    assert!(store.path().join(format!("0000000001-{generation}.seg")).exists());
}

/// A store whose first segment holds eight events that are completed, four that wait, and `x`.
fn store(dir: &std::path::Path) -> Store {
    let store = open(dir);
    for number in 0..12 {
        store.append(event(&format!("e{number}"), 3_000)).unwrap();
    }
    store.append(event("x", 3_000)).unwrap();
    complete(&store, 8);
    store.close().unwrap();
    open(dir)
}

#[test]
fn a_claimed_event_is_found_though_its_segment_was_written_anew_twice() {
    // After two generations another file bears the number of the one that the claim names.
    let dir = in_memory();
    let store = store(dir.path());
    let mut claimed = store.shared().step(|core, now| core.claim(5, now)).unwrap();
    let x = claimed.pop().unwrap();
    compact(&store, 1);
    for claim in store.read_claims(claimed) {
        store.settle(&claim, Outcome::Done).unwrap();
    }
    compact(&store, 2);
    let claims = store.read_claims(vec![x]);
    let stats = store.stats();
    assert_eq!((claims.len(), stats.failed_events, stats.damaged_events), (1, 0, 0));
    assert_eq!(claims[0].event().id(), "x");
}

#[test]
fn a_history_is_told_though_its_segment_was_written_anew_meanwhile() {
    let dir = in_memory();
    let store = store(dir.path());
    compact(&store, 1);
    let view = store.shared().view_durable("x").unwrap().unwrap();
    complete(&store, 4);
    compact(&store, 2);
    let steps = store.shared().history_of(view).unwrap();
    assert_eq!(steps.iter().map(|step| step.what.as_str()).collect::<Vec<_>>(), ["received"]);
}

#[test]
fn a_slow_reader_outlives_two_generations_of_its_segment() {
    let dir = in_memory();
    let store = open(dir.path());
    for number in 0..341 {
        store.append(event(&format!("e{number}"), 20)).unwrap();
    }
    store.close().unwrap();
    let store = open(dir.path());
    let mut reader = store.read_from(1);
    assert!(reader.next().unwrap().is_ok());
    complete(&store, 280);
    compact(&store, 1);
    complete(&store, 60);
    compact(&store, 2);
    let last = store.shared().desk().core.durable();
    while reader.position() < last {
        assert!(reader.next_timeout(Duration::from_secs(9)).unwrap().is_some(), "at {} of {last}", reader.position());
    }
}

#[test]
fn compaction_comes_to_an_end_where_endings_lie_far_from_their_events() {
    // The endings in the third segment are needed while the first one, small and alive, holds what they ended.
    let dir = in_memory();
    let store = open(dir.path());
    for number in 0..40 {
        store.append(event(&format!("small {number}"), 20)).unwrap();
    }
    store.append(event("large", 8_000)).unwrap();
    store.close().unwrap();
    let store = open(dir.path());
    let ordinal = || store.shared().desk().core.active().unwrap().ordinal();
    let first = ordinal();
    for number in 0.. {
        if ordinal() > first {
            break;
        }
        store.append(event(&format!("waits {number}"), 1_000)).unwrap();
    }
    for claim in store.claim(41).unwrap() {
        let fails = claim.event().id() == "large";
        store.settle(&claim, if fails { Outcome::Fail("no".to_owned()) } else { Outcome::Done }).unwrap();
    }
    store.close().unwrap();
    let store = open(dir.path());
    std::thread::sleep(Duration::from_millis(1_050));
    let report = store.compact().unwrap();
    let again = store.compact().unwrap();
    assert!(report.segments_rewritten <= 3 && again.segments_rewritten == 0, "{report:?}, then {again:?}");
}

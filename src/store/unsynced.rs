//! What is staged and not durable yet: nobody is told of it, nobody is shown it, and nobody is given it.

use std::time::Duration;

use crate::store::answers::Filter;
use crate::store::commit::Shared;
use crate::store::desk::Level;
use crate::store::following::Followed;
use crate::store::options::StoreOptions;
use crate::store::stories::{receive, store_with};

/// A store in which one event is staged, and its seq.
fn staged(path: &std::path::Path) -> (Shared, u64) {
    let shared = store_with(path, true, StoreOptions::default().segment_bytes(64 * 1024));
    let seq = receive(&shared, "a", 10).unwrap();
    assert!(shared.desk().core.durable() < seq);
    (shared, seq)
}

#[test]
fn an_event_that_a_crash_may_still_take_back_is_not_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, seq) = staged(dir.path());
    let claimed = || shared.try_step(&mut |core, now| core.claim(1, now)).unwrap().len();
    assert_eq!(claimed(), 0);
    shared.wait(seq, Level::Durable).unwrap();
    assert_eq!(claimed(), 1);
}

#[test]
fn whoever_gives_an_id_again_is_answered_once_what_has_it_is_durable() {
    // R1: the answer says that the event is kept.
    let dir = tempfile::tempdir().unwrap();
    let (shared, seq) = staged(dir.path());
    assert_eq!(receive(&shared, "a", 10).unwrap(), seq, "that is what the second waits for");
}

#[test]
fn what_is_shown_is_durable_by_then() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, seq) = staged(dir.path());
    assert_eq!(shared.list(&Filter::all()).unwrap().len(), 1);
    assert!(shared.desk().core.durable() >= seq, "the list waited for it");
    let second = receive(&shared, "b", 10).unwrap();
    assert!(shared.get("b").unwrap().is_some());
    assert!(shared.desk().core.durable() >= second, "the look waited for it");
}

#[test]
fn whoever_follows_the_log_is_not_shown_what_is_staged() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, seq) = staged(dir.path());
    assert_eq!(shared.follow(seq, Some(Duration::ZERO)).unwrap(), Followed::NotYet);
    shared.wait(seq, Level::Durable).unwrap();
    assert_eq!(shared.follow(seq, Some(Duration::ZERO)).unwrap(), Followed::Durable(seq));
}

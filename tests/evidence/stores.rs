//! Stores to verify, damage and salvage, and what is known of their events.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ledgerline::{Event, Filter, NewEvent, Outcome, Status, Store, StoreOptions, audit};

pub(crate) fn options() -> StoreOptions {
    StoreOptions::default().segment_bytes(64 * 1024).retry_interval(Duration::from_millis(1))
}

pub(crate) fn event(id: &str) -> NewEvent {
    NewEvent::new("Issue", &serde_json::json!({ "title": id, "text": "x".repeat(500) })).unwrap().id(id)
}

pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

/// An event's id, status and retry count, and the numbers of its records.
pub(crate) type Story = (String, Status, u32, Vec<u64>);

/// What is known of each event.
pub(crate) fn stories(store: &Store) -> Vec<Story> {
    let mut steps = BTreeMap::<String, Vec<u64>>::new();
    let report = audit::audit(store.path(), &mut |item| {
        if let audit::Item::Record(audit::RecordLine { seq, id: Some(id), .. }) = item {
            steps.entry(id).or_default().push(seq);
        }
        Ok(())
    });
    assert_eq!(report.unwrap().damage, 0);
    let events = store.list(&Filter::all()).unwrap();
    let mut tell = |event: &Event| {
        let steps = steps.remove(event.id()).unwrap();
        (event.id().to_owned(), event.status(), event.retry_count(), steps)
    };
    events.iter().map(&mut tell).collect()
}

/// A store that three processes worked on: runs, failures, retries, replays and cancellations over several segments.
pub(crate) fn eventful(dir: &Path) {
    for epoch in 0..3 {
        let store = Store::open(dir, options()).unwrap();
        for number in 0..40 {
            store.append(event(&format!("e{epoch}-{number}"))).unwrap();
            for claim in store.claim(1 + number % 3).unwrap() {
                let outcome = match number % 5 {
                    0 => Outcome::Retry("again".to_owned()),
                    1 => Outcome::Fail("no".to_owned()),
                    2 => Outcome::Release,
                    _ => Outcome::Done,
                };
                store.settle(&claim, outcome).unwrap();
            }
            if number % 20 == 19 {
                store.replay_failed().unwrap();
                store.replay(&[format!("e{epoch}-3")]).unwrap();
            }
        }
        let left = store.list(&Filter::all().status(Status::Pending).limit(2)).unwrap();
        for event in left {
            store.cancel(event.id(), "not needed").unwrap();
        }
        store.append(event(&format!("e{epoch}-last"))).unwrap();
        store.claim(1).unwrap();
        store.close().unwrap();
    }
}

pub(crate) fn flip(path: &Path, at: u64, count: u64) {
    let mut bytes = fs::read(path).unwrap();
    let at = usize::try_from(at).unwrap();
    bytes.iter_mut().skip(at).take(usize::try_from(count).unwrap()).for_each(|byte| *byte ^= 0x5a);
    fs::write(path, bytes).unwrap();
}

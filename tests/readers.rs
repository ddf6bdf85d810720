//! Whoever reads a store while another writes it: nothing is missing, nothing comes twice, and nothing sound is called damaged.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what its own scaffolding cannot do fails a test")]
#![expect(clippy::disallowed_methods, reason = "a test that damages files touches them")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ledgerline::{ErrorKind, LogItem, NewEvent, Outcome, Point, Reader, Status, Store, StoreOptions, as_of, audit};

fn options() -> StoreOptions {
    StoreOptions::default()
        .segment_bytes(64 * 1024)
        .max_event_age(Duration::from_secs(1))
        .dedup_window(Duration::from_secs(1))
}

fn event(id: &str) -> NewEvent {
    NewEvent::new("Issue", &serde_json::json!({ "title": id, "text": "x".repeat(300) })).unwrap().id(id)
}

/// Follows a reader to its end. Panics unless entries and gaps are every number from `from` on.
struct Following {
    next: u64,
    received: BTreeMap<String, u64>,
    entries: u64,
    compacted: u64,
}

impl Following {
    fn from(from: u64) -> Self {
        Self { next: from, received: BTreeMap::new(), entries: 0, compacted: 0 }
    }

    fn take(&mut self, item: LogItem) {
        match item {
            LogItem::Entry(entry) => {
                assert_eq!(entry.seq, self.next, "no number is left out, none comes twice");
                self.next += 1;
                self.entries += 1;
                if entry.kind == "received" {
                    assert!(entry.data.is_some_and(|data| data.contains("title")));
                    self.received.insert(entry.id.unwrap(), entry.seq);
                }
            }
            LogItem::Compacted { from, to } => {
                assert!(from == self.next && to >= from, "{from} to {to} where {} is due", self.next);
                self.compacted += to + 1 - from;
                self.next = to + 1;
            }
            other => panic!("{other:?}"),
        }
    }

    fn through(mut self, reader: Reader) -> Self {
        reader.for_each(|item| self.take(item.unwrap()));
        self
    }
}

/// Appends and completes events until told to stop; returns the ids that were acknowledged, with their seqs.
fn work(store: &Store, name: &str, stop: &AtomicBool, compacts: bool) -> BTreeMap<String, u64> {
    let mut acknowledged = BTreeMap::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let batch: Vec<_> = (0..=number % 7).map(|index| event(&format!("{name}-{number}-{index}"))).collect();
        for receipt in store.append_many(batch).unwrap() {
            acknowledged.insert(receipt.id, receipt.seq);
        }
        for claim in store.claim(9).unwrap() {
            store.settle(&claim, Outcome::Done).unwrap();
        }
        if compacts && number % 50 == 49 {
            store.compact().unwrap();
        }
        number += 1;
    }
    acknowledged
}

fn beside(dir: &Path, time: Duration, follow: impl Fn(&Store) + Sync) -> (Store, BTreeMap<String, u64>) {
    let store = Store::open(dir, options()).unwrap();
    let stop = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let writers: Vec<_> = ["a", "b"]
            .map(|name| {
                scope.spawn({
                    let (store, stop) = (&store, &stop);
                    move || work(store, name, stop, name == "a")
                })
            })
            .into();
        let follower = scope.spawn(|| follow(&store));
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let acknowledged = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        store.close().unwrap();
        follower.join().unwrap();
        acknowledged
    });
    (store, acknowledged)
}

#[test]
fn a_reader_that_keeps_up_sees_every_event_once_and_in_order_beside_writers_and_retention() {
    let dir = tempfile::tempdir().unwrap();
    let seen = std::sync::Mutex::new(None);
    let (_, acknowledged) = beside(dir.path(), Duration::from_secs(2), |store| {
        *seen.lock().unwrap() = Some(Following::from(1).through(store.read_from(1)));
    });
    let seen = seen.into_inner().unwrap().unwrap();
    assert_eq!(seen.compacted, 0, "it was never behind");
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    assert_eq!(seen.received, acknowledged);
}

#[test]
fn a_reader_that_is_overtaken_by_compaction_is_told_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let seen = std::sync::Mutex::new(None);
    let (store, acknowledged) = beside(dir.path(), Duration::from_secs(3), |store| {
        let mut following = Following::from(1);
        let mut reader = store.read_from(1);
        while !reader.is_ended() {
            if let Some(item) = reader.next_timeout(Duration::from_millis(1)).unwrap() {
                following.take(item);
            }
            if following.entries == 200 {
                std::thread::sleep(Duration::from_millis(2_500));
            }
        }
        *seen.lock().unwrap() = Some(following);
    });
    let seen = seen.into_inner().unwrap().unwrap();
    assert!(seen.compacted > 0, "it was overtaken");
    assert!(seen.received.iter().all(|(id, seq)| acknowledged.get(id) == Some(seq)));
    assert!(store.read_from(1).next().is_some_and(|item| matches!(item, Ok(LogItem::Compacted { from: 1, .. }))));
    for from in [1, 2, 500, seen.next - 1, seen.next, seen.next + 5] {
        let again = Following::from(from).through(Store::open_read_only(dir.path()).unwrap().read_from(from));
        assert_eq!(again.next, seen.next.max(from), "opened for reading, from {from}");
    }
}

/// What is appended and closed in the moment in which a reader gives up waiting is still to come.
#[test]
fn a_reader_that_only_looks_now_and_then_misses_nothing_at_the_end() {
    for round in 0..400 {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        let mut reader = store.read_from(1);
        let follower = std::thread::spawn(move || {
            let mut last = None;
            while !reader.is_ended() {
                last = reader.next_timeout(Duration::ZERO).unwrap().map(told).or(last);
            }
            last
        });
        store.append(event("last")).unwrap();
        store.close().unwrap();
        assert_eq!(follower.join().unwrap(), Some(("mark", None)), "round {round}");
    }
}

#[test]
fn a_reader_waits_for_what_comes_and_ends_when_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let first = store.append(event("first")).unwrap();
    let mut reader = store.read_from(first.seq);
    assert_eq!(reader.position(), first.seq);
    let Some(LogItem::Entry(entry)) = reader.next_timeout(Duration::from_secs(5)).unwrap() else { panic!("nothing") };
    assert_eq!((entry.kind, entry.id.as_deref(), entry.of), ("received", Some("first"), Some(first.seq)));
    assert_eq!(reader.next_timeout(Duration::from_millis(1)).unwrap(), None, "nothing happened");
    assert!(!reader.is_ended());
    let claims = store.claim(1).unwrap();
    for claim in claims {
        store.settle(&claim, Outcome::Done).unwrap();
    }
    let kinds: Vec<_> = reader.by_ref().take(2).map(|item| told(item.unwrap())).collect();
    assert_eq!(kinds, [("started", Some("first".to_owned())), ("completed", Some("first".to_owned()))]);
    let waiting = std::thread::spawn(move || reader.map(|item| told(item.unwrap())).last());
    drop(store);
    assert_eq!(waiting.join().unwrap(), Some(("mark", None)), "a reader keeps no store open");
}

fn told(item: LogItem) -> (&'static str, Option<String>) {
    match item {
        LogItem::Entry(entry) => (entry.kind, entry.id),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_history_tells_where_each_step_left_the_event_and_when_a_process_died() {
    let dir = tempfile::tempdir().unwrap();
    let options = || StoreOptions::default().retry_interval(Duration::from_millis(1));
    let store = Store::open(dir.path(), options()).unwrap();
    let received = store.append(event("a")).unwrap().seq;
    store.claim(1).unwrap();
    store.close().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let claim = store.claim(1).unwrap().remove(0);
    store.settle(&claim, Outcome::Fail("no".to_owned())).unwrap();
    store.replay(&["a"]).unwrap();
    store.cancel("a", "not needed").unwrap();
    let history = store.history("a").unwrap();
    let told: Vec<_> = history.iter().map(|step| (step.what.as_str(), step.status)).collect();
    let expected = [
        ("received", Status::Pending),
        ("started", Status::Processing),
        ("interrupted", Status::Pending),
        ("started", Status::Processing),
        ("failed", Status::Failed),
        ("replayed", Status::Pending),
        ("cancelled", Status::Cancelled),
    ];
    assert_eq!(told, expected);
    // The same steps, told by folding the log to each of them.
    for step in &history {
        let then = as_of(dir.path(), Point::Seq(step.seq), Some("a")).unwrap();
        let found = then.event.unwrap();
        assert_eq!((found.seq, found.status), (received, step.status), "{step:?}");
        assert_eq!((then.seq, then.complete, then.events.values().sum::<u64>()), (step.seq, true, 1));
    }
    let before = as_of(dir.path(), Point::Seq(received - 1), Some("a")).unwrap();
    assert_eq!((before.event, before.events.values().sum::<u64>()), (None, 0));
    let at = |text: &str| as_of(dir.path(), text.parse().unwrap(), Some("a")).unwrap();
    // Before the first record of all nothing is missing.
    for before in [at("2001-01-01T00:00:00Z"), at("0")] {
        assert_eq!((before.seq, before.retained_from, before.complete), (0, 1, true));
    }
    assert_eq!(at("2999-01-01T00:00:00Z").event.unwrap().status, Status::Cancelled);
}

#[test]
fn what_was_forgotten_since_is_said_to_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = beside(dir.path(), Duration::from_secs(2), |_| ());
    let last = store.read_from(1).filter_map(Result::ok).last();
    let Some(LogItem::Entry(last)) = last else { panic!("{last:?}") };
    let now = as_of(dir.path(), Point::Seq(last.seq), None).unwrap();
    assert!(now.complete && now.retained_from > 1, "{now:?}");
    let then = as_of(dir.path(), Point::Seq(now.retained_from + 5), None).unwrap();
    assert!(!then.complete, "{then:?}");
    assert_eq!(as_of(dir.path(), Point::Seq(1), None).unwrap().seq, 0);
}

#[test]
fn records_that_damage_took_are_an_error_and_never_called_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options().max_event_age(Duration::from_hours(1))).unwrap();
    for number in 0..400 {
        store.append(event(&format!("e{number}"))).unwrap();
    }
    store.close().unwrap();
    let path = dir.path().join("0000000002.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.iter_mut().skip(30_000).take(100).for_each(|byte| *byte ^= 1);
    std::fs::write(&path, bytes).unwrap();
    let reader = Store::open_read_only(dir.path()).unwrap().read_from(1);
    let items: Vec<_> = reader.collect();
    let (last, before) = items.split_last().unwrap();
    let seqs: Vec<u64> = before
        .iter()
        .map(|item| match item {
            Ok(LogItem::Entry(entry)) => entry.seq,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "all before the bad place is yielded");
    let error = last.as_ref().unwrap_err();
    assert_eq!((error.kind(), error.seq()), (ErrorKind::Corrupt, Some(seqs.len() as u64 + 1)));
}

#[test]
fn a_segment_that_is_begun_while_the_log_is_read_is_not_held_against_what_was_read_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let prepared = dir.path().join("0000000002.seg");
    let mut number = 0;
    let mut append = || {
        number += 1;
        store.append(event(&format!("e{number}"))).unwrap();
    };
    while !prepared.exists() {
        append();
    }
    append();
    let third = dir.path().join("0000000003.seg");
    let mut told = Vec::new();
    let report = audit::audit(dir.path(), &mut |item| {
        if let audit::Item::Segment { segment: 2, .. } = item {
            // The first segment was read; now it is filled to its end, and the second is begun.
            while !third.exists() {
                append();
            }
        }
        told.push(item);
        Ok(())
    });
    assert_eq!(report.unwrap().damage, 0, "{told:?}");
    assert!(third.exists(), "the second segment was met while it was empty");
}

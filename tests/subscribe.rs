//! Whoever subscribes is told everything that is durable, once and in order, and nothing else; and whoever is slow, goes away or comes
//! back misses nothing.
#![cfg(feature = "manager")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what its own scaffolding cannot do fails a test")]

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use ledgerline::{
    ErrorKind, Event, EventManager, LogEntry, LogItem, NewEvent, Outcome, Status, Store, StoreOptions, SubscribeFrom,
    Subscription,
};

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it comes within half a minute")
}

async fn open(dir: &Path) -> EventManager {
    EventManager::builder(dir).open().await.unwrap()
}

async fn entry(subscription: &mut Subscription) -> LogEntry {
    match within(subscription.next()).await.unwrap() {
        LogItem::Entry(entry) => entry,
        other => panic!("{other:?}"),
    }
}

/// Everything up to the end, each as `kind id`; gaps as `from-to`.
async fn rest(subscription: &mut Subscription) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        match within(subscription.next()).await {
            Ok(LogItem::Entry(entry)) => told.push(format!("{} {}", entry.kind, entry.id.as_deref().unwrap_or("-"))),
            Ok(LogItem::Compacted { from, to }) => told.push(format!("{from}-{to}")),
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                return told;
            }
        }
    }
}

#[tokio::test]
async fn from_the_start_it_catches_up_follows_and_ends_when_the_manager_does() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(dir.path()).await;
    for id in 0..1_000 {
        manager.emit("Issue", id).id(id.to_string()).await.unwrap();
        if id == 500 {
            manager.store().compact().unwrap();
        }
    }
    let mut subscription = manager.subscribe(SubscribeFrom::Start);
    let mut next = 1;
    let mut received = 0;
    while received < 1_000 {
        let entry = entry(&mut subscription).await;
        assert_eq!(entry.seq, next, "no number is left out, none comes twice");
        next += 1;
        assert_eq!(subscription.position(), next);
        if entry.kind == "received" {
            assert_eq!((entry.id, entry.data), (Some(received.to_string()), Some(received.to_string())));
            assert_eq!((entry.event_type.as_deref(), entry.status), (Some("Issue"), Some(Status::Pending)));
            received += 1;
        }
    }
    let waiting = tokio::spawn(async move {
        loop {
            let entry = entry(&mut subscription).await;
            if entry.kind == "cancelled" {
                return (entry, subscription);
            }
        }
    });
    manager.cancel("7", "not wanted").await.unwrap();
    let (cancelled, mut subscription) = within(waiting).await.unwrap();
    assert_eq!((cancelled.id.as_deref(), cancelled.status), (Some("7"), Some(Status::Cancelled)));
    manager.shutdown().await.unwrap();
    assert_eq!(rest(&mut subscription).await.last().unwrap(), "mark -", "what was durable is told before the end");
    assert_eq!(subscription.next().await.unwrap_err().kind(), ErrorKind::Closed, "and it stays ended");
}

#[tokio::test]
async fn from_now_only_what_comes_is_told_and_from_a_position_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(dir.path()).await;
    manager.emit("Issue", 1).id("before").await.unwrap();
    let mut subscription = manager.subscribe(SubscribeFrom::Now);
    for id in ["a", "b", "c"] {
        manager.emit("Issue", 1).id(id).await.unwrap();
    }
    assert_eq!(entry(&mut subscription).await.id.as_deref(), Some("a"));
    let position = subscription.position();
    drop(subscription);
    let mut subscription = manager.subscribe(SubscribeFrom::Seq(position)).event_type("Issue");
    manager.shutdown().await.unwrap();
    assert_eq!(rest(&mut subscription).await, ["received b", "received c"]);
    let mut late = manager.subscribe(SubscribeFrom::Seq(u64::MAX));
    assert_eq!(within(late.next()).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn type_key_and_status_narrow_receptions_and_transitions_alike() {
    let dir = tempfile::tempdir().unwrap();
    let handler =
        |event: Event| async move { if event.id() == "b" { Outcome::Fail("no".to_owned()) } else { Outcome::Done } };
    let manager = EventManager::builder(dir.path()).on("*", handler).start().await.unwrap();
    let all = || manager.subscribe(SubscribeFrom::Start);
    let mut everything = all().event_type("Issue");
    for (id, event_type, key) in [("a", "Issue", "k"), ("b", "Issue", "l"), ("c", "Comment", "k")] {
        manager.emit(event_type, 1).id(id).key(key).await.unwrap();
    }
    let mut seen = 0;
    while seen < 2 {
        let entry = entry(&mut everything).await;
        assert!(entry.id.as_deref() != Some("c") && entry.event_type.as_deref() == Some("Issue"), "{entry:?}");
        seen += usize::from(matches!(entry.kind, "completed" | "failed"));
    }
    within(async {
        while manager.get("c").await.unwrap().unwrap().status() != Status::Completed {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (mut keyed, mut failed, mut done) =
        (all().key("k"), all().status(Status::Failed), all().status(Status::Completed).event_type("Comment"));
    let mut neither = all().key("k").status(Status::Failed);
    manager.shutdown().await.unwrap();
    let mut told = rest(&mut keyed).await;
    told.sort();
    let expected = ["completed a", "completed c", "received a", "received c", "started a", "started c"];
    assert_eq!(told, expected);
    assert_eq!(rest(&mut failed).await, ["failed b"]);
    assert_eq!(rest(&mut done).await, ["completed c"]);
    assert_eq!(rest(&mut neither).await, Vec::<String>::new());
    assert!(neither.position() > 6, "what is not wanted is passed by: {neither:?}");
}

#[tokio::test]
async fn what_compaction_dropped_is_a_gap_and_entries_about_forgotten_events_are_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::default()
        .segment_bytes(64 * 1024)
        .max_event_age(Duration::from_secs(1))
        .dedup_window(Duration::ZERO);
    {
        let store = Store::open(dir.path(), options.clone()).unwrap();
        for number in 0..200 {
            store.append(NewEvent::new("Issue", &"x".repeat(1_000)).unwrap().id(number.to_string())).unwrap();
        }
        for claim in store.claim(200).unwrap() {
            store.settle(&claim, Outcome::Done).unwrap();
        }
        store.append(NewEvent::new("Issue", &1).unwrap().id("last")).unwrap();
        std::thread::sleep(Duration::from_millis(1_100));
        assert!(store.compact().unwrap().segments_deleted > 0);
        store.close().unwrap();
    }
    let manager = EventManager::builder(dir.path()).store_options(options).open().await.unwrap();
    let mut subscription = manager.subscribe(SubscribeFrom::Start).event_type("Issue");
    let mut everything = manager.subscribe(SubscribeFrom::Start);
    manager.shutdown().await.unwrap();
    let told = rest(&mut subscription).await;
    assert!(told.first().unwrap().starts_with("1-"), "{told:?}");
    assert!(told.contains(&"received last".to_owned()), "{told:?}");
    assert!(!told.iter().any(|told| told.ends_with(" -")), "of what type they were nobody knows: {told:?}");
    let told = rest(&mut everything).await;
    assert!(told.iter().any(|told| told == "completed -"), "without a filter they are told: {told:?}");
}

#[tokio::test]
async fn a_call_that_is_dropped_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(dir.path()).await;
    let mut subscription = manager.subscribe(SubscribeFrom::Now);
    let mut told = Vec::new();
    for id in 0..100_u32 {
        manager.emit("Issue", id).id(id.to_string()).await.unwrap();
        // Polled once or a few times, then dropped, wherever it stands.
        for _ in 0..id % 4 {
            tokio::select! {
                biased;
                item = subscription.next() => told.push(item.unwrap()),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    manager.shutdown().await.unwrap();
    while let Ok(item) = within(subscription.next()).await {
        told.push(item);
    }
    let ids = told.iter().filter_map(|item| match item {
        LogItem::Entry(entry) => entry.id.clone(),
        _ => None,
    });
    assert_eq!(ids.collect::<Vec<_>>(), (0..100).map(|id: u32| id.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_subscription_keeps_no_store_open_and_is_woken_when_it_closes() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(dir.path()).await;
    let mut subscription = manager.subscribe(SubscribeFrom::Now);
    let waiting = tokio::spawn(async move { rest(&mut subscription).await });
    tokio::task::yield_now().await;
    tokio::task::spawn_blocking(move || drop(manager)).await.unwrap();
    assert_eq!(within(waiting).await.unwrap(), ["mark -"]);
    open(dir.path()).await.shutdown().await.unwrap();
}

#[tokio::test]
async fn types_and_keys_that_no_event_can_have_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(dir.path()).await;
    let all = || manager.subscribe(SubscribeFrom::Start);
    for (mut subscription, says) in [
        (all().event_type(""), "event_type has 0 bytes; an event's has from 1 to 128"),
        (all().event_type("x".repeat(129)), "event_type has 129 bytes"),
        (all().key("x".repeat(257)), "key has 257 bytes; an event's has from 1 to 256"),
    ] {
        let error = subscription.next().await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains(says), "{error}");
    }
    manager.shutdown().await.unwrap();
}

/// Every entry that the log has by now, as `kind`, once it has come to rest after one of this kind.
async fn log_at_rest(manager: &EventManager, after: &'static str) -> Vec<&'static str> {
    let mut reader = manager.store().read_from(1);
    let read = tokio::task::spawn_blocking(move || {
        let mut kinds = Vec::new();
        while let Some(LogItem::Entry(entry)) = reader.next_timeout(Duration::from_secs(30)).unwrap() {
            kinds.push(entry.kind);
            if kinds.ends_with(&[after, "mark"]) {
                return kinds;
            }
        }
        panic!("it does not come to rest: {kinds:?}");
    });
    read.await.unwrap()
}

#[tokio::test]
async fn who_saves_after_each_entry_comes_to_rest_and_goes_on_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let from_cursor = || SubscribeFrom::Cursor("mirror".to_owned());
    let manager = open(dir.path()).await;
    for id in ["a", "b"] {
        manager.emit("Issue", 1).id(id).await.unwrap();
    }
    let mut subscription = manager.subscribe(from_cursor());
    assert_eq!(subscription.position(), 1, "what nobody has saved begins at the start");
    let mut told = Vec::new();
    let mut last = 0;
    while told.last().is_none_or(|id| id != "b") {
        let entry = entry(&mut subscription).await;
        subscription.save("mirror").await.unwrap();
        assert_eq!(manager.cursor("mirror"), Some(entry.seq));
        last = entry.seq;
        told.extend(entry.id);
    }
    // What comes of its own saving, the mark of the rest that follows included, is not told to it, nor to any other.
    let (mut other, mut here) =
        (manager.subscribe(SubscribeFrom::Seq(last + 1)), manager.subscribe(SubscribeFrom::Now));
    let kinds = log_at_rest(&manager, "cursor").await;
    assert_eq!(kinds.iter().filter(|kind| **kind == "cursor").count(), usize::try_from(last).unwrap(), "{kinds:?}");
    manager.emit("Issue", 1).id("c").await.unwrap();
    for subscription in [&mut subscription, &mut other, &mut here] {
        assert_eq!(entry(subscription).await.id.as_deref(), Some("c"));
    }
    let position = subscription.position();
    tokio::spawn(async move { subscription.save("mirror").await }).await.unwrap().unwrap();
    manager.emit("Issue", 1).id("d").await.unwrap();
    manager.shutdown().await.unwrap();
    assert_eq!(here.save("late").await.unwrap_err().kind(), ErrorKind::Closed);

    let manager = open(dir.path()).await;
    assert_eq!(manager.cursors().into_iter().collect::<Vec<_>>(), [("mirror".to_owned(), position - 1)]);
    let mut subscription = manager.subscribe(from_cursor()).event_type("Issue");
    assert_eq!(entry(&mut subscription).await.id.as_deref(), Some("d"));
    assert!(manager.remove_cursor("mirror").await.unwrap() && !manager.remove_cursor("mirror").await.unwrap());
    let mut subscription = manager.subscribe(from_cursor()).event_type("Issue");
    assert_eq!(entry(&mut subscription).await.id.as_deref(), Some("a"));
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn who_saves_by_a_timer_writes_nothing_while_nothing_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(dir.path()).await;
    manager.emit("Issue", 1).id("a").await.unwrap();
    let mut subscription = manager.subscribe(SubscribeFrom::Start);
    while entry(&mut subscription).await.id.is_none() {}
    for _ in 0..5 {
        subscription.save("mirror").await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), subscription.next()).await.is_err());
    }
    let kinds = log_at_rest(&manager, "cursor").await;
    assert_eq!(kinds.iter().filter(|kind| **kind == "cursor").count(), 1, "{kinds:?}");
    manager.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_place_is_saved_as_it_is_and_a_place_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let manager = open(dir.path()).await;
    manager.emit("Issue", 1).id("a").await.unwrap();
    let now = manager.subscribe(SubscribeFrom::Now);
    now.save("now").await.unwrap();
    manager.subscribe(SubscribeFrom::Start).save("start").await.unwrap();
    assert_eq!((manager.cursor("now"), manager.cursor("start")), (Some(now.position() - 1), Some(0)), "where it began");
    manager.emit("Comment", 1).id("b").await.unwrap();
    manager.emit("Issue", 1).id("c").await.unwrap();
    let mut again = manager.subscribe(SubscribeFrom::Cursor("now".to_owned()));
    assert_eq!(entry(&mut again).await.id.as_deref(), Some("b"), "and it goes on from there");
    manager.save_cursor("now", 1).await.unwrap();
    assert_eq!(manager.subscribe(SubscribeFrom::Cursor("now".to_owned())).position(), 2);

    let behind = manager.subscribe(SubscribeFrom::Seq(1_000));
    for (saved, says) in [
        (behind.save("behind").await, "cannot be at 999: the last durable record is"),
        (behind.save("").await, "the cursor's name is empty"),
        (behind.save("x".repeat(129)).await, "the cursor's name has 129 bytes; at most 128"),
        (manager.save_cursor("behind", 1_000).await, "cannot be at 1000"),
    ] {
        let error = saved.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains(says), "{error}");
    }
    assert_eq!(manager.cursors().len(), 2);
    for (name, says) in [("", "the cursor's name has 0 bytes; a cursor's has from 1 to 128"), (&"x".repeat(129), "129")]
    {
        let mut subscription = manager.subscribe(SubscribeFrom::Cursor(name.to_owned()));
        let error = subscription.next().await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains(says), "{error}");
    }
    manager.shutdown().await.unwrap();
}

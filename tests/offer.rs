//! Who is run next and who is not, as an embedder and a person at the desk see it; and that pauses and cursors outlive everything that
//! happens to the log.
#![expect(clippy::disallowed_methods, reason = "a time to wait for lies behind the one that it is")]
#![expect(clippy::unwrap_used, reason = "what its own scaffolding cannot do fails a test")]

use std::path::Path;
use std::time::{Duration, SystemTime};

use ledgerline::{
    ErrorKind, Filter, LogItem, NewEvent, Outcome, Scope, Status, Store, StoreOptions, Timestamp, Waiting, audit,
};

fn small() -> StoreOptions {
    StoreOptions::default().segment_bytes(64 * 1024).retry_interval(Duration::from_millis(1))
}

fn open(dir: &Path) -> Store {
    Store::open(dir, small()).unwrap()
}

fn event(event_type: &str, id: &str) -> NewEvent {
    NewEvent::new(event_type, &id).unwrap().id(id)
}

fn later(time: Duration) -> Timestamp {
    Timestamp::from(SystemTime::now()).saturating_add(time)
}

const HOUR: Duration = Duration::from_hours(1);

fn of_type(name: &str) -> Scope {
    Scope::Type(name.to_owned())
}

fn of_key(name: &str) -> Scope {
    Scope::Key(name.to_owned())
}

fn claimed(store: &Store) -> Vec<String> {
    store.claim(100).unwrap().iter().map(|claim| claim.event().id().to_owned()).collect()
}

/// Fills segments until the log has gone over to the next one.
fn roll(store: &Store) {
    let segments = store.stats().segments;
    while store.stats().segments == segments {
        store.append(NewEvent::new("Filling", &"x".repeat(8_000)).unwrap()).unwrap();
        for claim in store.claim(10).unwrap() {
            store.settle(&claim, Outcome::Done).unwrap();
        }
    }
}

#[test]
fn priority_and_not_before_are_kept_shown_and_obeyed() {
    let dir = tempfile::tempdir().unwrap();
    let until = later(HOUR);
    {
        let store = open(dir.path());
        store.append(event("Issue", "last").priority(9)).unwrap();
        store.append(event("Issue", "later").not_before(until)).unwrap();
        store.append(event("Issue", "first")).unwrap();
        store.append(event("Issue", "past").not_before(Timestamp::from_unix_micros(1)).priority(3)).unwrap();
        let error = store.append(event("Issue", "odd").priority(10)).unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains("priority is 10")), (ErrorKind::InvalidInput, true));
    }
    let store = open(dir.path());
    let shown = |id: &str| {
        let event = store.get(id).unwrap().unwrap();
        (event.priority(), event.not_before(), event.waiting().cloned())
    };
    assert_eq!(shown("last"), (9, None, Some(Waiting::Turn)));
    let (priority, not_before, waiting) = shown("later");
    assert_eq!((priority, not_before), (0, Some(until)));
    assert_eq!(waiting, Some(Waiting::Time { until }));
    let json = serde_json::to_value(store.get("last").unwrap().unwrap()).unwrap();
    assert_eq!(
        (&json["priority"], &json["not_before"], &json["waiting"]["why"]),
        (&9.into(), &().into(), &"turn".into())
    );
    assert_eq!(claimed(&store), ["first", "past", "last"]);
    assert_eq!(shown("last"), (9, None, None), "it runs");
}

#[test]
fn each_reason_for_waiting_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (event_type, id, key) in
        [("Issue", "one", Some("k")), ("Issue", "two", Some("k")), ("Comment", "comment", None)]
    {
        store.append(key.into_iter().fold(event(event_type, id), NewEvent::key)).unwrap();
    }
    let why = |id: &str| store.get(id).unwrap().unwrap().waiting().cloned();
    let one = store.get("one").unwrap().unwrap().seq();
    assert_eq!(why("one"), Some(Waiting::Turn));
    assert_eq!(why("two"), Some(Waiting::Key { id: Some("one".to_owned()), seq: one }));
    let until = later(HOUR);
    store.pause(of_type("Comment"), Some(until), "a release").unwrap();
    assert_eq!(why("comment"), Some(Waiting::Pause { scope: of_type("Comment"), until: Some(until) }));
    let claim = store.claim(10).unwrap().remove(0);
    assert_eq!((claim.event().id(), why("one")), ("one", None));
    store.settle(&claim, Outcome::Fail("no".to_owned())).unwrap();
    assert_eq!((why("one"), why("two")), (None, Some(Waiting::Turn)));
    let listed: Vec<_> = store.list(&Filter::all()).unwrap().iter().map(|event| event.waiting().cloned()).collect();
    assert_eq!(listed, [why("one"), why("two"), why("comment")]);
    let reader = Store::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.get("comment").unwrap().unwrap().waiting().cloned(), why("comment"), "also without the lock");
    assert_eq!(reader.pauses(), store.pauses());
    assert_eq!(reader.pause(of_key("k"), None, "").unwrap_err().kind(), ErrorKind::NotAllowed);
}

#[test]
fn what_is_paused_waits_across_restarts_and_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let options = || small().max_event_age(Duration::from_secs(1));
    let until = later(HOUR);
    {
        let store = Store::open(dir.path(), options()).unwrap();
        store.pause(of_type("Issue"), None, "a release").unwrap();
        store.pause(of_type("Issue"), None, "a longer release").unwrap();
        store.pause(of_key("k"), Some(until), &"x".repeat(5_000)).unwrap();
        store.pause(of_key("gone"), None, "").unwrap();
        assert!(store.resume(&of_key("gone")).unwrap() && !store.resume(&of_key("gone")).unwrap());
        store.save_cursor("reader", 3).unwrap();
        store.save_cursor("removed", 1).unwrap();
        assert!(store.remove_cursor("removed").unwrap() && !store.remove_cursor("removed").unwrap());
        store.append(event("Issue", "issue")).unwrap();
        store.append(event("Other", "of k").key("k")).unwrap();
        (0..3).for_each(|_| roll(&store));
        std::thread::sleep(Duration::from_millis(1_100));
        let report = store.compact().unwrap();
        assert!(report.segments_deleted + report.segments_rewritten > 0, "{report:?}");
        let kept: Vec<&str> = kinds(&store);
        assert!(!kept.contains(&"paused") && !kept.contains(&"resumed") && !kept.contains(&"cursor"), "{kept:?}");
    }
    let store = Store::open(dir.path(), options()).unwrap();
    let pauses = store.pauses();
    let shown: Vec<_> = pauses.iter().map(|pause| (pause.scope.clone(), pause.until, pause.reason.len())).collect();
    assert_eq!(shown, [(of_type("Issue"), None, "a longer release".len()), (of_key("k"), Some(until), 4_096)]);
    assert_eq!(store.cursors().into_iter().collect::<Vec<_>>(), [("reader".to_owned(), 3)]);
    assert_eq!(claimed(&store), [""; 0]);
    assert!(store.resume(&of_key("k")).unwrap());
    assert_eq!(claimed(&store), ["of k"]);
    assert!(store.resume(&of_type("Issue")).unwrap());
    assert_eq!(claimed(&store), ["issue"]);
}

fn kinds(store: &Store) -> Vec<&'static str> {
    let mut reader = store.read_from(1);
    let next = || reader.next_timeout(Duration::ZERO).unwrap();
    let items = std::iter::from_fn(next);
    items.filter_map(|item| if let LogItem::Entry(entry) = item { Some(entry.kind) } else { None }).collect()
}

#[test]
fn a_pause_is_over_when_its_time_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(event("Issue", "issue")).unwrap();
    store.pause(of_type("Issue"), Some(later(Duration::from_millis(300))), "a moment").unwrap();
    assert_eq!((claimed(&store), store.pauses().len()), (vec![], 1));
    while !store.pauses().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(claimed(&store), ["issue"]);
}

#[test]
fn what_cannot_be_paused_or_kept_as_a_cursor_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = "x".repeat(300);
    let last = store.append(event("Issue", "one")).unwrap().seq;
    let before = kinds(&store).len();
    for (refused, says) in [
        (store.pause(of_type(""), None, ""), "the type to pause is empty"),
        (store.pause(of_key(&long), None, ""), "the key to pause has 300 bytes; at most 256"),
        (store.pause(of_type("*"), None, ""), "\"*\" is the name of none"),
        (
            store.pause(of_key("k"), Some(Timestamp::from_unix_micros(7)), ""),
            "would be over at 1970-01-01T00:00:00.000007Z",
        ),
        (store.resume(&of_type(&long)).map(drop), "the type to pause has 300 bytes; at most 128"),
        (store.save_cursor("", 1), "the cursor's name is empty"),
        (store.save_cursor(&long, 1), "the cursor's name has 300 bytes; at most 128"),
        (store.save_cursor("c", last + 1_000), "the cursor \"c\" cannot be at"),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!((store.pauses().len(), store.cursors().len(), kinds(&store).len()), (0, 0, before), "nothing changed");
}

#[test]
fn a_cursor_may_go_back_but_not_past_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let seq = store.append(event("Issue", "one")).unwrap().seq;
    assert_eq!(store.cursor("c"), None);
    for at in [seq, 1, 0, seq] {
        store.save_cursor("c", at).unwrap();
        assert_eq!(store.cursor("c"), Some(at));
    }
    // Where nothing is new nothing is written, whoever saves how often.
    let before = store.append(event("Issue", "two")).unwrap().seq;
    store.save_cursor("c", seq).unwrap();
    assert_eq!(store.append(event("Issue", "three")).unwrap().seq, before + 1);
}

#[test]
fn pauses_and_cursors_leave_room_for_events() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), small().segment_bytes(1024 * 1024)).unwrap();
    let error = loop {
        let number = store.pauses().len();
        if let Err(error) = store.pause(of_key(&format!("k{number}")), None, &"x".repeat(4_096)) {
            break error;
        }
    };
    assert_eq!((error.kind(), store.pauses().len()), (ErrorKind::TooLarge, 31), "an eighth of a segment: {error}");
    store.save_cursor("c", 1).unwrap();
    roll(&store);
    store.close().unwrap();
    let error = Store::open(dir.path(), small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("segment_bytes is 65536; the pauses and cursors"), "{error}");
    let store = Store::open(dir.path(), small().segment_bytes(512 * 1024)).unwrap();
    assert_eq!(store.pauses().len(), 31);
}

#[test]
fn there_are_at_most_so_many_pauses_and_cursors() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    for number in 0..1_000 {
        store.save_cursor(&number.to_string(), 1).unwrap();
    }
    let error = store.save_cursor("one more", 1).unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("1000 cursors")), (ErrorKind::TooLarge, true));
    store.save_cursor("7", 0).unwrap();
}

#[test]
fn the_dump_tells_what_was_paused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(event("Issue", "one").priority(2).not_before(Timestamp::from_unix_micros(5))).unwrap();
    store.pause(of_key("k"), None, "a release").unwrap();
    store.resume(&of_key("k")).unwrap();
    store.save_cursor("reader", 2).unwrap();
    store.close().unwrap();
    let mut says = Vec::new();
    let mut tell = |item| {
        if let audit::Item::Record(record) = item {
            says.push((record.kind, record.says));
        }
        Ok(())
    };
    audit::audit(dir.path(), &mut tell).unwrap();
    let of = |kind: &str| says.iter().find(|(found, _)| *found == kind).map(|(_, says)| says.clone()).unwrap();
    assert_eq!(
        (&of("received")["priority"], &of("received")["not_before"]),
        (&2.into(), &"1970-01-01T00:00:00.000005Z".into())
    );
    assert_eq!(
        (&of("paused")["key"], &of("paused")["reason"], &of("paused")["until"]),
        (&"k".into(), &"a release".into(), &().into())
    );
    assert_eq!(of("resumed")["key"], "k");
    assert_eq!((&of("cursor")["name"], &of("cursor")["seq"]), (&"reader".into(), &2.into()));
    assert_eq!((&of("state")["pauses"], &of("state")["cursors"]), (&0.into(), &0.into()));
    let store = open(dir.path());
    assert!(store.verify().unwrap().damage.is_empty());
    assert_eq!(store.get("one").unwrap().unwrap().status(), Status::Pending);
}

//! Many events at once: what is selected is replayed or cancelled, what may not be is named, and nothing else is touched.
#![expect(clippy::unwrap_used, reason = "what its own scaffolding cannot do fails a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ledgerline::{
    ErrorKind, Event, Filter, NewEvent, Outcome, Refusal, Scope, Selection, Status, Store, StoreOptions, Timestamp,
};

fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default().segment_bytes(64 * 1024).retry_interval(Duration::from_hours(1))).unwrap()
}

fn event(id: &str, event_type: &str, key: &str) -> NewEvent {
    NewEvent::new(event_type, &id).unwrap().id(id).key(key)
}

/// One event at each status, each with its status as its id, and of its own key; of two types.
fn one_of_each(store: &Store) {
    for (id, event_type) in [
        ("completed", "Issue"),
        ("failed", "Issue"),
        ("retrying", "Comment"),
        ("cancelled", "Comment"),
        ("processing", "Issue"),
        ("pending", "Comment"),
    ] {
        store.append(event(id, event_type, id)).unwrap();
    }
    for claim in store.claim(5).unwrap() {
        let outcome = match claim.event().id() {
            "completed" => Outcome::Done,
            "failed" => Outcome::Fail("no".into()),
            "retrying" => Outcome::Retry("later".into()),
            "cancelled" => Outcome::Cancel("never mind".into()),
            _ => continue,
        };
        store.settle(&claim, outcome).unwrap();
    }
}

fn statuses(store: &Store) -> BTreeMap<String, Status> {
    let events = store.list(&Filter::all()).unwrap();
    events.iter().map(|event| (event.id().to_owned(), event.status())).collect()
}

#[test]
fn a_list_is_narrowed_as_a_selection_is_and_goes_on_behind_its_last_event() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    one_of_each(&store);
    let listed = |filter: Filter| {
        let events = store.list(&filter).unwrap();
        events.iter().map(|event| event.id().to_owned()).collect::<Vec<_>>()
    };
    let events = store.list(&Filter::all()).unwrap();
    let third = events[2].timestamp();
    let all: Vec<&str> = events.iter().map(Event::id).collect();
    assert_eq!(all, ["completed", "failed", "retrying", "cancelled", "processing", "pending"]);
    for (filter, expected) in [
        (Filter::all().after(0), &all[..]),
        (Filter::all().after(events[3].seq()), &all[4..]),
        (Filter::all().after(events[5].seq()), &[]),
        (Filter::all().after(u64::MAX), &[]),
        (Filter::all().key("failed"), &["failed"]),
        (Filter::all().key("another"), &[]),
        (Filter::all().since(third), &all[2..]),
        (Filter::all().until(third), &all[..2]),
        (Filter::all().event_type("Comment").after(events[2].seq()).limit(1), &["cancelled"]),
        (Filter::all().limit(0), &[]),
    ] {
        assert_eq!(listed(filter.clone()), expected, "{filter:?}");
    }
    for width in 1..=7 {
        let (mut pages, mut page) = (Vec::new(), Filter::all().limit(width));
        loop {
            let events = store.list(&page).unwrap();
            let Some(last) = events.last() else { break };
            page = page.after(last.seq());
            pages.extend(events.into_iter().map(|event| event.id().to_owned()));
        }
        assert_eq!(pages, all, "pages of {width}");
    }
    let error = store.list(&Filter::all().key("")).unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("key is empty")), (ErrorKind::InvalidInput, true), "{error}");
}

fn ids(refusals: &[Refusal]) -> Vec<&str> {
    refusals.iter().map(|refusal| refusal.id.as_str()).collect()
}

#[test]
fn every_condition_narrows_and_what_may_not_be_replayed_is_named_with_the_reason() {
    for (selection, done, refused) in [
        (Selection::all(), &["completed", "failed", "retrying", "cancelled"][..], &["processing", "pending"][..]),
        (Selection::failed(), &["failed"], &[]),
        (Selection::all().event_type("Comment"), &["retrying", "cancelled"], &["pending"]),
        (Selection::all().event_type("Issue").status(Status::Completed), &["completed"], &[]),
        (Selection::all().key("cancelled"), &["cancelled"], &[]),
        (Selection::all().key("another"), &[], &[]),
        (Selection::all().event_type("another"), &[], &[]),
        (
            Selection::from(["pending", "failed", "nobody", "completed"]),
            &["failed", "completed"],
            &["pending", "nobody"],
        ),
        (Selection::ids(["failed", "completed"]).event_type("Comment"), &[], &["failed", "completed"]),
        (Selection::ids(Vec::<String>::new()), &[], &[]),
        (Selection::all().until(Timestamp::from_unix_micros(0)), &[], &[]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        one_of_each(&store);
        let before = statuses(&store);
        let rehearsed = store.replay_all(selection.clone().dry_run()).unwrap();
        assert_eq!(statuses(&store), before, "a rehearsal changes nothing: {selection:?}");
        let selected = store.replay_all(selection.clone()).unwrap();
        assert_eq!((rehearsed.done, &rehearsed.refusals), (selected.done, &selected.refusals), "{selection:?}");
        assert!(rehearsed.dry_run && !selected.dry_run);
        assert_eq!(ids(&selected.refusals), refused, "{selection:?}");
        assert_eq!(selected.matched, selected.done + selected.refused, "{selection:?}");
        assert_eq!((selected.done, selected.refused), (done.len() as u64, refused.len() as u64), "{selection:?}");
        let mut expected = before;
        expected.extend(done.iter().map(|id| ((*id).to_owned(), Status::Pending)));
        assert_eq!(statuses(&store), expected, "{selection:?}");
        store.close().unwrap();
        expected.insert("processing".to_owned(), Status::Pending);
        assert_eq!(statuses(&open(dir.path())), expected, "it is durable: {selection:?}");
    }
}

#[test]
fn cancelling_names_what_is_over_and_unknown_ids() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    one_of_each(&store);
    let selected = store.cancel_all(["completed", "nobody", "pending", "processing"], "not wanted").unwrap();
    let reasons: Vec<_> = selected.refusals.iter().map(|refusal| refusal.reason.as_str()).collect();
    assert_eq!(ids(&selected.refusals), ["completed", "nobody"]);
    assert_eq!(reasons, ["the event is completed and cannot be cancelled", "there is no such event"]);
    assert_eq!(selected.done, 2);
    assert_eq!(store.get("pending").unwrap().unwrap().error_message(), Some("not wanted"));
    assert_eq!(store.cancel_all(Selection::all(), "").unwrap().done, 2, "failed and retrying");
    let left = statuses(&store);
    assert!(left.values().all(|status| matches!(status, Status::Completed | Status::Cancelled)), "{left:?}");
}

#[test]
fn the_time_of_reception_is_from_since_to_before_until() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for id in ["a", "b", "c"] {
        store.append(event(id, "Issue", id)).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let at = |id: &str| store.get(id).unwrap().unwrap().timestamp();
    let matched = |selection: Selection| {
        let refused = store.replay_all(selection.dry_run()).unwrap().refusals;
        refused.iter().map(|refusal| refusal.id.clone()).collect::<String>()
    };
    assert_eq!(matched(Selection::all().since(at("b"))), "bc");
    assert_eq!(matched(Selection::all().until(at("b"))), "a");
    assert_eq!(matched(Selection::all().since(at("b")).until(at("c"))), "b");
}

/// More than are looked at under one lock.
const COUNT: usize = 3_000;

#[test]
fn thousands_are_selected_across_pages_and_steps_each_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for chunk in (0..COUNT).collect::<Vec<_>>().chunks(100) {
        let of = |number: &usize| NewEvent::new(if number.is_multiple_of(3) { "A" } else { "B" }, number).unwrap();
        store.append_many(chunk.iter().map(of)).unwrap();
    }
    assert_eq!(store.list(&Filter::all()).unwrap().len(), COUNT);
    let limited = store.list(&Filter::all().event_type("A").limit(700)).unwrap();
    assert_eq!(limited.len(), 700);
    assert!(limited.iter().all(|event| event.event_type() == "A"));
    assert!(limited.is_sorted_by_key(Event::seq), "oldest first");
    let cancelled = store.cancel_all(Selection::all().event_type("A"), "").unwrap();
    assert_eq!((cancelled.matched, cancelled.done, cancelled.refused), (1_000, 1_000, 0));
    assert_eq!(store.stats().cancelled_events, 1_000);
    let selected = store.replay_all(Selection::all()).unwrap();
    assert_eq!((selected.done, selected.refused), (1_000, 2_000));
    assert_eq!(store.stats().pending_events, COUNT as u64);
}

#[test]
fn what_is_out_of_bounds_is_refused_by_name_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    one_of_each(&store);
    let before = statuses(&store);
    let at = Timestamp::from_unix_micros;
    for (selection, says) in [
        (Selection::all().rate(0), "rate is 0"),
        (Selection::all().rate(100_001), "rate is 100001"),
        (Selection::all().event_type(""), "event_type is empty"),
        (Selection::all().key("k".repeat(257)), "key has 257 bytes"),
        (Selection::all().since(at(2)).until(at(2)), "since is 1970-01-01T00:00:00.000002Z"),
    ] {
        for error in [store.replay_all(selection.clone()), store.cancel_all(selection.clone(), "")] {
            let error = error.unwrap_err();
            assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains(says), "{error}");
        }
    }
    assert_eq!(statuses(&store), before);
}

#[test]
fn who_only_reads_may_rehearse_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    one_of_each(&store);
    let reader = Store::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.replay_all(Selection::failed().dry_run()).unwrap().done, 1);
    assert_eq!(reader.replay_all(Selection::failed()).unwrap_err().kind(), ErrorKind::NotAllowed);
}

#[test]
fn a_paced_pass_ends_when_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..50 {
        store.append(event(&number.to_string(), "Issue", "k")).unwrap();
    }
    let pacing = store.clone();
    let paced = std::thread::spawn(move || pacing.cancel_all(Selection::all().rate(1), ""));
    while store.stats().cancelled_events == 0 {
        std::thread::yield_now();
    }
    store.close().unwrap();
    assert_eq!(paced.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_rehearsal_tells_of_an_id_that_is_given_twice_what_the_real_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    one_of_each(&store);
    for (selection, cancels) in [
        (Selection::ids(["failed", "failed", "completed"]), false),
        (Selection::ids(["cancelled", "cancelled"]).status(Status::Cancelled), false),
        (Selection::ids(["pending", "processing", "pending"]), true),
    ] {
        let act = |selection| if cancels { store.cancel_all(selection, "") } else { store.replay_all(selection) };
        let rehearsed = act(selection.clone().dry_run()).unwrap();
        assert_eq!((rehearsed.dry_run, rehearsed.refused), (true, 1), "{selection:?}");
        let mut done = act(selection).unwrap();
        done.dry_run = true;
        assert_eq!(rehearsed, done);
    }
}

#[test]
fn a_closed_store_refuses_whatever_would_change_something_even_where_nothing_matches() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for id in ["completed", "runs"] {
        store.append(event(id, "Issue", id)).unwrap();
    }
    let [completed, runs] = store.claim(2).unwrap().try_into().unwrap();
    store.settle(&completed, Outcome::Done).unwrap();
    store.close().unwrap();
    for (call, answer) in [
        ("replay_failed", store.replay_failed().map(drop)),
        ("replay", store.replay(&["none"]).map(drop)),
        ("replay none", store.replay(&[] as &[&str]).map(drop)),
        ("replay_all", store.replay_all(Selection::failed()).map(drop)),
        ("cancel_all", store.cancel_all("completed", "").map(drop)),
        ("cancel", store.cancel("none", "")),
        ("cancel again", store.cancel("completed", "")),
        ("settle", store.settle(&runs, Outcome::Done)),
        ("settle again", store.settle(&completed, Outcome::Done)),
        ("record_handled", store.record_handled(&completed, "mail")),
        ("claim", store.claim(0).map(drop)),
        ("append_many", store.append_many([] as [NewEvent; 0]).map(drop)),
        ("append", store.append(event("completed", "Issue", "completed")).map(drop)),
        ("pause", store.pause(Scope::Key("k".to_owned()), Some(Timestamp::from_unix_micros(1)), "")),
        ("resume", store.resume(&Scope::Key("k".to_owned())).map(drop)),
        ("save_cursor", store.save_cursor("reader", u64::MAX)),
        ("remove_cursor", store.remove_cursor("reader").map(drop)),
        ("compact", store.compact().map(drop)),
    ] {
        assert_eq!(answer.map_err(|error| error.kind()), Err(ErrorKind::Closed), "{call}");
    }
    let rehearsed = store.replay_all(Selection::all().dry_run()).unwrap();
    assert_eq!((rehearsed.done, rehearsed.refused), (1, 1), "what only reads goes on");
}

#[cfg(feature = "manager")]
mod manager {
    use ledgerline::{Context, Event, EventManager};
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_spreads_the_steps_over_time_and_a_rehearsal_does_not_rest() {
        let dir = tempfile::tempdir().unwrap();
        let manager = EventManager::builder(dir.path()).open().await.unwrap();
        for number in 0..10 {
            manager.emit("Issue", number).await.unwrap();
        }
        let begun = Instant::now();
        assert_eq!(manager.cancel_all(Selection::all().rate(4).dry_run(), "").await.unwrap().done, 10);
        assert!(begun.elapsed() < Duration::from_secs(1));
        let begun = Instant::now();
        assert_eq!(manager.cancel_all(Selection::all().rate(4), "").await.unwrap().done, 10);
        let took = begun.elapsed();
        // After the last one nothing is waited for.
        assert!(took >= Duration::from_millis(2_250) && took < Duration::from_secs(4), "{took:?}");
        manager.shutdown().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_between_two_steps_it_leaves_the_rest_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let manager = EventManager::builder(dir.path()).open().await.unwrap();
        for number in 0..10 {
            manager.emit("Issue", number).await.unwrap();
        }
        let paced = manager.cancel_all(Selection::all().rate(1), "");
        assert!(tokio::time::timeout(Duration::from_millis(3_500), paced).await.is_err());
        let cancelled = manager.stats().cancelled_events;
        assert!((3..=5).contains(&cancelled), "{cancelled}");
        manager.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn handlers_of_events_that_are_called_off_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let (tell, mut told) = unbounded_channel();
        let handler = move |event: Event, context: Context| {
            let tell = tell.clone();
            async move {
                tell.send(format!("{} runs", event.id())).unwrap();
                context.cancelled().await;
                tell.send(format!("{} is told", event.id())).unwrap();
            }
        };
        let manager = EventManager::builder(dir.path())
            .on("Issue", handler)
            .handler_timeout(Duration::from_hours(1))
            .drain_timeout(Duration::ZERO)
            .start()
            .await
            .unwrap();
        manager.emit("Issue", 1).id("a").await.unwrap();
        assert_eq!(told.recv().await.unwrap(), "a runs");
        assert_eq!(
            manager.cancel_all(Selection::all().status(Status::Processing).dry_run(), "").await.unwrap().done,
            1
        );
        let selected = manager.cancel_all(Selection::all().event_type("Issue"), "not wanted").await.unwrap();
        assert_eq!(selected.done, 1);
        let told = tokio::time::timeout(Duration::from_secs(30), told.recv()).await;
        assert_eq!(told.expect("it is told before its time is over").unwrap(), "a is told");
        assert_eq!(manager.replay_all("a").await.unwrap().done, 1);
        manager.shutdown().await.unwrap();
    }
}

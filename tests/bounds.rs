//! Values out of bounds, wherever a program can give one: each is refused by its name and its value, and nothing has changed.
#![expect(clippy::unwrap_used, reason = "what its own scaffolding cannot do fails a test")]

use std::fmt::Debug;
use std::time::Duration;

use ledgerline::{Error, ErrorKind, LogItem, NewEvent, Point, Status, Store, StoreOptions, Timestamp};

fn check<T: Debug>(answer: Result<T, Error>, kind: ErrorKind, says: &str) {
    let error = answer.unwrap_err();
    assert!(error.kind() == kind && error.to_string().contains(says), "{kind:?} {says:?}: {error:?}");
}

fn refused<T: Debug>(answer: Result<T, Error>, says: &str) {
    check(answer, ErrorKind::InvalidInput, says);
}

/// All records but the marks that a store writes when it is left alone for a second.
fn kinds(store: &Store) -> Vec<&'static str> {
    let mut reader = store.read_from(1);
    let items = std::iter::from_fn(|| reader.next_timeout(Duration::ZERO).unwrap());
    let kinds = items.filter_map(|item| if let LogItem::Entry(entry) = item { Some(entry.kind) } else { None });
    kinds.filter(|kind| *kind != "mark").collect()
}

#[test]
fn a_store_is_not_created_with_options_out_of_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let options = StoreOptions::default;
    for (options, says) in [
        (options().segment_bytes(65_535), "segment_bytes is 65535; it must be from 65536"),
        (options().segment_bytes(u64::MAX), "segment_bytes is 18446744073709551615"),
        (options().max_retries(1_001), "max_retries is 1001; it must be from 0 to 1000"),
        (options().retry_interval(Duration::ZERO), "retry_interval is 0ns; it must be from 1ms"),
        (options().retry_interval(Duration::MAX), "retry_interval is 18446744073709551615"),
        (options().max_event_age(Duration::from_millis(999)), "max_event_age is 999ms; it must be from 1s"),
        (options().dedup_window(Duration::MAX), "dedup_window is"),
        (options().dedup_max(100_000_001), "dedup_max is 100000001"),
        (options().log_bytes_max(1), "log_bytes_max is 1; it must be from 268435456"),
        (options().process_deaths_max(16), "process_deaths_max is 16; it must be from 0 to 15"),
    ] {
        refused(Store::open(&path, options), says);
        assert!(!path.exists(), "{says}");
    }
}

#[test]
fn what_a_store_is_asked_with_values_out_of_bounds_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    store.append(NewEvent::new("Issue", &1).unwrap().id("a")).unwrap();
    let before = (kinds(&store), store.stats().pending_events);
    let event = || NewEvent::new("Issue", &1).unwrap();
    let long = |len: usize| "x".repeat(len);
    for (event, says) in [
        (event().id(""), "id is empty"),
        (event().id(long(257)), "id has 257 bytes; at most 256"),
        (event().action(long(129)), "action has 129 bytes; at most 128"),
        (event().source(""), "source is empty"),
        (event().source(long(65)), "source has 65 bytes; at most 64"),
        (event().key(""), "key is empty"),
        (event().key(long(257)), "key has 257 bytes; at most 256"),
        (event().max_retries(u32::MAX), "max_retries is 4294967295; at most 1000"),
        (event().header("h", long(8_192)), "1 headers of 8193 bytes; at most 32 of 8192 bytes"),
        ((0..33).fold(event(), |event, _| event.header("h", "v")), "33 headers of 66 bytes"),
        (NewEvent::new(long(129), &1).unwrap(), "event_type has 129 bytes; at most 128"),
        (NewEvent::new("", &1).unwrap(), "event_type is empty"),
    ] {
        refused(store.append(event.clone()), says);
        refused(store.append_many(vec![NewEvent::new("Issue", &2).unwrap(), event]), says);
    }
    refused(NewEvent::from_json("Issue", "{"), "not JSON");
    check(
        store.append(NewEvent::new("Issue", &long(17 << 20)).unwrap()),
        ErrorKind::TooLarge,
        "the record has 17825868 bytes; at most 16777144 fit",
    );
    check(store.cancel("nobody", ""), ErrorKind::NotFound, "\"nobody\"");
    assert_eq!(store.claim(0).unwrap().len(), 0);
    assert_eq!((kinds(&store), store.stats().pending_events), before);
    assert_eq!(store.read_from(0).next().unwrap().unwrap(), store.read_from(1).next().unwrap().unwrap());
}

#[test]
fn texts_that_name_nothing_are_quoted() {
    for (error, quoted) in [
        ("asleep".parse::<Status>().unwrap_err().to_string(), "\"asleep\" is no status: use pending"),
        ("yesterday".parse::<Timestamp>().unwrap_err().to_string(), "\"yesterday\" is not an RFC 3339 time"),
        ("-1".parse::<Point>().unwrap_err().to_string(), "\"-1\" is neither a record's number nor"),
    ] {
        assert!(error.contains(quoted), "{error}");
    }
}

#[cfg(feature = "manager")]
mod manager {
    use ledgerline::{BatchOptions, Event, EventManager, RetryPolicy, TypeOptions};

    use super::*;

    #[tokio::test]
    async fn a_manager_creates_nothing_with_values_out_of_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let builder = || EventManager::builder(&path);
        let handler = |_: Event| async {};
        let batch = |_: Vec<Event>| async {};
        for (builder, says) in [
            (builder().batch_size(0), "batch_size is 0; it must be from 1 to 10000"),
            (builder().batch_size(10_001), "batch_size is 10001"),
            (builder().concurrency(0), "concurrency is 0"),
            (builder().concurrency(10_001), "concurrency is 10001"),
            (builder().processing_interval(Duration::ZERO), "processing_interval is 0ns"),
            (builder().handler_timeout(Duration::ZERO), "handler_timeout is 0ns"),
            (builder().handler_timeout(Duration::MAX), "handler_timeout is 18446744073709551615"),
            (builder().handler_grace(Duration::from_secs(61)), "handler_grace is 61s; it must be from 0ns to 60s"),
            (builder().drain_timeout(Duration::from_secs(3_601)), "drain_timeout is 3601s"),
            (builder().retry_interval(Duration::ZERO), "retry_interval is 0ns"),
            (builder().max_retries(1_001), "max_retries is 1001"),
            (builder().max_event_age(Duration::ZERO), "max_event_age is 0ns"),
            (builder().queue_size(0), "queue_size is 0; it must be from 1 to 1000000"),
            (builder().queue_size(usize::MAX), "queue_size is 18446744073709551615"),
            (builder().store_options(StoreOptions::default().segment_bytes(1)), "segment_bytes is 1; it must be"),
            (
                builder().type_options("Issue", TypeOptions::new().timeout(Duration::ZERO)),
                "the timeout of type \"Issue\" is 0ns",
            ),
            (builder().type_options("*", TypeOptions::new().concurrency(1)), "\"*\" has no concurrency"),
            (builder().retry_policy(RetryPolicy::delays([])), "the number of delays of the retry policy is 0"),
            (
                builder().on_batch("Issue", BatchOptions::new().size(17), batch),
                "the batch size of type \"Issue\" is 17",
            ),
            (builder().on_named("", "Issue", handler), "the name of a handler of type \"Issue\" has 0 bytes"),
            (builder().on("", handler), "the event type of a handler is empty"),
            (builder().on("x".repeat(129), handler), "the event type of a handler has 129 bytes; at most 128"),
            (
                builder().on_named("mail", "Issue", handler).on("Issue", handler).on_named("mail", "Issue", handler),
                "event type \"Issue\" has a handler named \"mail\" already",
            ),
        ] {
            refused(builder.start().await, says);
            assert!(!path.exists(), "{says}");
        }
        refused(builder().on("Issue", handler).open().await, "\"Issue\" was given a handler: use start()");
        assert!(!path.exists());
    }
}

//! R10: a disk without room. It shows itself before anything is promised, leaves room to settle what runs, and passes by itself.

use std::time::Duration;

use super::opening::{AGE, SEGMENT_BYTES, first_day, open, open_with, options};
use crate::env::Clock;
use crate::env::simulated::{Choices, Disk};
use crate::error::{Error, ErrorKind};
use crate::event::{NewEvent, Outcome};
use crate::store::answers::{Filter, Receipt};
use crate::store::handle::Store;

/// About so many bytes one event takes.
const EVENT_BYTES: usize = 300;

fn append(store: &Store, number: usize) -> Result<Receipt, Error> {
    store.append(NewEvent::new("Issue", &"x".repeat(EVENT_BYTES)).unwrap().id(format!("e{number}")))
}

/// Lets a second pass, and the keeper do what is due then.
fn wait(store: &Store, clock: &Clock) {
    clock.advance(Duration::from_secs(1));
    while store.shared().tend() {}
}

/// A store on a disk that has no room for a second segment, filled until it refuses; and how many events it keeps.
fn filled() -> (Disk, Store, Clock, usize) {
    let disk = Disk::new();
    let (store, clock) = open(&disk, first_day(), 1, 0).unwrap();
    disk.set_capacity(Some(disk.used() + SEGMENT_BYTES / 2));
    for number in 0..100 {
        if let Err(error) = append(&store, number) {
            assert_eq!(error.kind(), ErrorKind::Full, "{error}");
            assert!(error.to_string().contains("goes on by itself"), "{error}");
            return (disk, store, clock, number);
        }
        wait(&store, &clock);
    }
    panic!("a full disk refuses");
}

/// A segment in which far more small events stand than may end in what is left of it.
const MANY_EVENTS_BYTES: u64 = 16 * SEGMENT_BYTES;

/// Keeps events of hardly any bytes until there is no room for more; returns their ids.
fn fill_with_small_ones(disk: &Disk, store: &Store, clock: &Clock) -> Vec<String> {
    disk.set_capacity(Some(disk.used() + MANY_EVENTS_BYTES / 2));
    let keep = |number: u32| {
        wait(store, clock);
        store.append(NewEvent::new("Issue", &1).unwrap().id(format!("s{number}"))).ok()
    };
    (0..10_000).map_while(keep).map(|receipt| receipt.id).collect()
}

/// Runs as many events as may begin, and settles each; how many.
fn run_all(store: &Store) -> usize {
    let mut settled = 0;
    loop {
        let claims = match store.claim(2) {
            Ok(claims) if claims.is_empty() => return settled,
            Ok(claims) => claims,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                return settled;
            }
        };
        for claim in claims {
            store.settle(&claim, Outcome::Done).unwrap();
            settled += 1;
        }
    }
}

#[test]
fn a_full_disk_refuses_events_settles_what_runs_and_compacts_to_go_on() {
    let (disk, store, clock, kept) = filled();
    assert!(kept >= 5, "three quarters of a segment are used: {kept}");
    assert_eq!(store.stats().poisoned, None);
    let run = run_all(&store);
    assert!(run >= 1, "room is left to begin some, and to settle all that began");
    assert_eq!(append(&store, 100).unwrap_err().kind(), ErrorKind::Full);
    clock.advance(AGE * 2);
    let report = store.compact().unwrap();
    assert_eq!(report.events_forgotten, run as u64);
    assert_eq!(store.stats().poisoned, None);
    disk.set_capacity(Some(disk.used() + 4 * SEGMENT_BYTES));
    wait(&store, &clock);
    wait(&store, &clock);
    append(&store, 101).unwrap();
    assert_eq!(run_all(&store), kept - run + 1, "what could not begin begins now");
}

#[test]
fn what_is_called_off_on_a_full_disk_leaves_room_to_settle_what_runs() {
    let disk = Disk::new();
    let (store, clock) = open_with(options().segment_bytes(MANY_EVENTS_BYTES), &disk, first_day(), 1, 0).unwrap();
    let ids = fill_with_small_ones(&disk, &store, &clock);
    let claims = store.claim(20).unwrap();
    let wanted = ids.len() - claims.len();
    let cancelled = ids[claims.len()..].iter().map_while(|id| store.cancel(id, "").ok()).count();
    assert!(cancelled > 10 && cancelled < wanted, "there is no room to call all of them off: {cancelled} of {wanted}");
    for claim in &claims {
        store.settle(claim, Outcome::Done).unwrap();
    }
    clock.advance(AGE * 2);
    assert_eq!(store.compact().unwrap().events_forgotten, (claims.len() + cancelled) as u64);
}

#[cfg(feature = "manager")]
#[test]
fn on_a_full_disk_what_finished_is_forgotten_though_there_is_no_room_to_give_up_what_is_held() {
    let disk = Disk::new();
    let options = options().segment_bytes(MANY_EVENTS_BYTES).held_age_max(AGE);
    let (store, clock) = open_with(options, &disk, first_day(), 1, 0).unwrap();
    append(&store, 0).unwrap();
    assert_eq!(run_all(&store), 1);
    store.set_handled(crate::state::Handled::Only([].into()));
    let held = fill_with_small_ones(&disk, &store, &clock).len() as u64;
    clock.advance(AGE * 2);
    // There is but one segment, so nothing is freed.
    assert_eq!(store.compact().unwrap_err().kind(), ErrorKind::Full);
    assert!(store.get("e0").unwrap().is_none(), "it has finished long ago");
    let given_up = store.stats().failed_events;
    assert!(given_up > 10 && given_up < held, "there is no room to give all of them up: {given_up} of {held}");
}

#[cfg(feature = "service")]
#[test]
fn a_full_store_that_has_refused_an_event_says_that_it_takes_none_until_there_is_room() {
    let (disk, store, clock, _) = filled();
    assert!(!store.is_taking());
    disk.set_capacity(Some(disk.used() + 4 * SEGMENT_BYTES));
    assert!(!store.is_taking(), "nobody has seen yet that there is room");
    wait(&store, &clock);
    assert!(store.is_taking());
    append(&store, 100).unwrap();
}

#[test]
fn what_was_forgotten_gives_room_though_there_is_none_to_forget_more() {
    let disk = Disk::new();
    let (store, clock) = open_with(options().dedup_window(Duration::ZERO), &disk, first_day(), 1, 0).unwrap();
    let ordinal = || store.shared().desk().core.active().unwrap().ordinal();
    let first = ordinal();
    let mut number = 0;
    while ordinal() < first + 2 {
        append(&store, number).unwrap();
        assert_eq!(run_all(&store), 1);
        wait(&store, &clock);
        number += 1;
    }
    clock.advance(AGE * 2);
    let mut forgotten = 0;
    store.shared().forget(&mut forgotten).unwrap();
    assert!(forgotten > 10, "{forgotten}");
    // As if the process had been busy with something else since: more has finished, and there is room for nothing.
    append(&store, 1_000).unwrap();
    assert_eq!(run_all(&store), 1);
    for number in 2_000..2_020 {
        append(&store, number).unwrap();
    }
    let mut number = 2_020;
    disk.set_capacity(Some(disk.used() + SEGMENT_BYTES / 4));
    while append(&store, number).is_ok() {
        wait(&store, &clock);
        number += 1;
    }
    clock.advance(AGE * 2);
    let refused = (2_000..number).map(|number| store.cancel(&format!("e{number}"), "")).find_map(Result::err);
    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Full), "of {} events", number - 2_000);
    let report = store.compact().unwrap();
    assert!(report.bytes_freed > SEGMENT_BYTES, "{report:?}");
}

/// The space that a process has prepared is there for the next one, also if it dies: nothing else on the disk need give way.
#[test]
fn a_store_opens_after_a_crash_in_the_space_that_it_had() {
    for events in [1, 6, 9] {
        let disk = Disk::new();
        let (store, clock) = open(&disk, first_day(), 1, 0).unwrap();
        for number in 0..events {
            append(&store, number).unwrap();
        }
        wait(&store, &clock);
        disk.set_capacity(Some(disk.used()));
        let left = disk.after_crash(&mut Choices::everything());
        left.set_capacity(Some(disk.used() + SEGMENT_BYTES / 4));
        let (next, _clock) = open(&left, first_day(), 2, 1).unwrap_or_else(|error| panic!("{events} events: {error}"));
        assert_eq!(next.list(&Filter::all()).unwrap().len(), events);
    }
}

#[test]
fn a_full_disk_closes_in_good_order_and_opens_as_soon_as_there_is_room() {
    let (disk, store, _clock, kept) = filled();
    store.shared().close_log().unwrap();
    store.shared().release().unwrap();
    drop(store);
    let left = disk.after_crash(&mut Choices::nothing());
    left.set_capacity(Some(left.used() + 512));
    let refused = open(&left, first_day(), 2, 1).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full, "{refused}");
    left.set_capacity(None);
    let (store, _clock) = open(&left, first_day(), 2, 1).unwrap();
    assert!(store.recovery().closed_cleanly);
    assert_eq!(store.list(&Filter::all()).unwrap().len(), kept);
}

#[test]
fn whatever_room_there_is_what_was_promised_stays() {
    let least = {
        let disk = Disk::new();
        drop(open(&disk, first_day(), 1, 0).unwrap());
        // While a store is created its first segment is there twice.
        disk.used() + 1_024
    };
    for room in (0..4 * SEGMENT_BYTES).step_by(512) {
        let disk = Disk::new();
        disk.set_capacity(Some(least + room));
        let (store, clock) = open(&disk, first_day(), 1, 0).unwrap();
        let mut kept = Vec::new();
        for number in 0..40 {
            match append(&store, number) {
                Ok(receipt) => kept.push(receipt.id),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Full, "with {room} bytes: {error}"),
            }
            wait(&store, &clock);
        }
        assert_eq!(store.stats().poisoned, None, "with {room} bytes");
        drop(store);
        let (store, _clock) = open(&disk.after_crash(&mut Choices::nothing()), first_day(), 2, 1).unwrap();
        let found: Vec<String> =
            store.list(&Filter::all()).unwrap().iter().map(|event| event.id().to_owned()).collect();
        assert_eq!(found, kept, "with {room} bytes");
    }
}

/// The beginning of a segment is written with its header; were the rest not reserved, the disk would turn out to be full later.
#[test]
fn a_segment_of_which_only_the_beginning_fits_is_refused_at_once() {
    let disk = Disk::new();
    let (store, clock) = open_with(options().segment_bytes(1024 * 1024), &disk, first_day(), 1, 0).unwrap();
    // Of two segments one and a half.
    disk.set_capacity(Some((1024 + 512) * 1024 + 8 * 1024));
    let refused = (0..100).find_map(|number| {
        wait(&store, &clock);
        store.append(NewEvent::new("Issue", &"x".repeat(30_000)).unwrap().id(format!("e{number}"))).err()
    });
    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Full));
    assert_eq!(store.stats().poisoned, None);
}

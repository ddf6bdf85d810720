//! What a wall clock that jumps can do to a store: nothing, until a horizon says so (R13).

use std::time::Duration;

use crate::env::simulated::Disk;
use crate::event::entry::{Entry, Horizon};
use crate::event::{Moment, NewEvent, Outcome, Status, Timestamp};
use crate::log::manifest::Manifest;
use crate::store::commit::Shared;
use crate::store::core::{Salts, Urgency};
use crate::store::crashes::opening::{AGE, SEGMENT_BYTES, first_day, open, open_with, options};
use crate::store::desk::Level;
use crate::store::fate::Decision;
use crate::store::handle::Store;
use crate::store::ids::Ids;
use crate::store::notes::{CLOCK_GAP, Notes, RETENTION_REST, Rest};
use crate::store::options::StoreOptions;
use crate::store::reception::{Givens, Single};
use crate::store::stories::{STORE_ID, store_with};

const HOUR: u64 = 3_600_000_000;
const DAY: i64 = 24 * 3_600_000_000;

/// A wall clock that stands up to five days before or after its last reading, each time it is read.
struct Jumping {
    steady: u64,
    count: u64,
}

impl Jumping {
    fn now(&mut self) -> Moment {
        self.steady += 1_000;
        self.count += 1;
        let days = i64::try_from(Salts::at(&[3; 16], self.count) % 11).unwrap() - 5;
        let wall = 1_700_000_000_000_000 + days * DAY;
        Moment { wall: Timestamp::from_unix_micros(wall), steady: self.steady }
    }
}

fn keep(shared: &Shared, round: u32, now: Moment) -> u64 {
    let id = format!("e{round}");
    let event = NewEvent::new("Issue", &id).unwrap().id(&id).key(if round.is_multiple_of(2) { "even" } else { "odd" });
    let givens = Givens { ids: &Ids::new([2; 16]), hasher: shared.hasher, max_retries: 3, now };
    let mut single = Single::new(&event, &givens).unwrap();
    let decision = shared.step(|core, _| core.receive(&mut single, None, now)).unwrap();
    let Decision::Done { seq } = decision else { panic!("{id} is taken") };
    let seq = seq.unwrap();
    shared.wait(seq, Level::Durable).unwrap();
    seq
}

#[test]
fn a_clock_that_jumps_by_days_changes_no_order_and_forgets_nothing_but_by_a_horizon() {
    // R13.
    let dir = tempfile::tempdir().unwrap();
    let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
    drop(Manifest::new(STORE_ID).write_aside(&shared.dir).unwrap().put());
    let mut clock = Jumping { steady: 0, count: 0 };
    let (mut kept, mut claimed, mut finished) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..300 {
        kept.push(keep(&shared, round, clock.now()));
        if round % 3 != 2 {
            continue;
        }
        let now = clock.now();
        for claim in shared.step(|core, _| core.claim(2, now)).unwrap() {
            let now = clock.now();
            let seq = shared.step(|core, _| core.settle(claim.view.seq, claim.token, &Outcome::Done, now)).unwrap();
            shared.wait(seq, Level::Durable).unwrap();
            claimed.push(claim.view.seq);
            finished.push((now.wall.unix_micros(), claim.view.seq));
        }
    }
    assert!(kept.is_sorted() && claimed == kept[..claimed.len()], "both keys run in the order of arrival");
    let known = |shared: &Shared| shared.desk().core.state.list(0).map(|view| view.seq).collect::<Vec<_>>();
    assert_eq!(known(&shared), kept, "nothing is forgotten");

    let horizon = Horizon { finished_before: 1_700_000_000_000_000, remembered_before: i64::MIN };
    let now = clock.now();
    let seq = shared.step(|core, _| core.append(&Entry::Horizon(horizon), Urgency::Transition, now)).unwrap();
    shared.wait(seq, Level::Durable).unwrap();
    let forgotten = |seq: &u64| finished.iter().any(|(at, of)| of == seq && *at < horizon.finished_before);
    kept.retain(|seq| !forgotten(seq));
    assert!((100..300).contains(&kept.len()));
    assert_eq!(known(&shared), kept, "what finished before the horizon by what was written, and only that");

    let counts = shared.desk().core.state.counts();
    drop(shared);
    let store = Store::open(dir.path(), StoreOptions::default().segment_bytes(64 * 1024)).unwrap();
    assert_eq!(known(store.shared()), kept, "the next process sees the same");
    assert_eq!(store.shared().desk().core.state.counts().by_status, counts.by_status);
    assert_eq!(
        store.shared().seqs(Status::Pending),
        kept.iter().copied().filter(|seq| !claimed.contains(seq)).collect::<Vec<_>>()
    );
}

#[test]
fn a_clock_that_goes_on_by_more_than_a_day_at_once_lets_retention_rest_for_an_hour() {
    // R13: whoever set it wrong has that long to set it right.
    let mut notes = Notes::default();
    let at = |wall: i64, steady: u64| Moment { wall: Timestamp::from_unix_micros(wall), steady };
    assert_eq!(notes.rests_until(at(0, 0)), 0);
    assert_eq!(notes.rests_until(at(DAY, HOUR)), 0, "a day less an hour is a late look, perhaps");
    let jumped = at(3 * DAY, HOUR + 1);
    let rest = u64::try_from(RETENTION_REST.as_micros()).unwrap();
    assert_eq!(notes.rests_until(jumped), jumped.steady + rest);
    assert_eq!(notes.rests_until(at(0, HOUR + 2)), jumped.steady + rest, "back again is no jump ahead");
    assert_eq!(CLOCK_GAP, Duration::from_hours(24));
}

/// A store in which one event has finished.
fn with_one_finished() -> (Store, crate::env::Clock) {
    let (store, clock) = open(&Disk::new(), first_day(), 1, 0).unwrap();
    store.append(NewEvent::new("Issue", &1).unwrap()).unwrap();
    let claim = store.claim(1).unwrap().remove(0);
    store.settle(&claim, Outcome::Done).unwrap();
    (store, clock)
}

#[test]
fn a_clock_behind_an_earlier_horizon_lets_retention_rest_until_it_has_caught_up() {
    // R13.
    let (store, clock) = with_one_finished();
    clock.advance(AGE * 2);
    let report = store.compact().unwrap();
    assert_eq!((report.events_forgotten, report.suspended), (1, None));
    clock.set_wall(first_day());
    assert!(store.compact().unwrap().suspended.is_some());
    clock.set_wall(first_day() + AGE * 2);
    assert_eq!(store.compact().unwrap().suspended, None);
}

#[test]
fn what_seems_to_have_finished_in_the_future_sets_no_horizon_there() {
    // R13. The clock was ten years ahead for a moment, in which an event finished.
    let bytes_max = 4 * SEGMENT_BYTES;
    let (store, clock) = open_with(options().log_bytes_max(bytes_max), &Disk::new(), first_day(), 1, 0).unwrap();
    let finish = |id: &str| {
        store.append(NewEvent::new("Issue", &1).unwrap().id(id)).unwrap();
        store.settle(&store.claim(1).unwrap()[0], Outcome::Done).unwrap();
    };
    clock.set_wall(first_day() + AGE * 24 * 3_650);
    finish("ahead");
    clock.set_wall(first_day());
    finish("in time");
    clock.advance(AGE / 2);
    for number in 0..50 {
        store.append(NewEvent::new("Issue", &"x".repeat(500)).unwrap().id(format!("e{number}"))).unwrap();
    }
    // Retention rests after such a jump, but for what the log's bound forgets.
    assert_eq!(store.compact().unwrap().events_forgotten, 1);
    assert!(store.get("in time").unwrap().is_none());
    clock.advance(AGE * 2);
    let report = store.compact().unwrap();
    assert_eq!((report.suspended, report.events_forgotten), (None, 0), "retention by age goes on");
    assert!(store.get("ahead").unwrap().is_some());
}

#[test]
fn what_finished_just_now_is_not_forgotten_because_somebody_sets_the_clock_three_days_ahead() {
    // R13.
    let (store, clock) = with_one_finished();
    clock.set_wall(first_day() + Duration::from_hours(72));
    let report = store.compact().unwrap();
    assert!(report.suspended.is_some());
    assert_eq!(report.events_forgotten, 0);
}

fn close(store: Store) {
    store.shared().close_log().unwrap();
    store.shared().release().unwrap();
}

/// Opens the store on `disk` where the clock says `wall`, and has it compact twice.
fn open_and_compact(disk: &Disk, wall: std::time::SystemTime, start: u64) -> (Store, crate::env::Clock) {
    let (store, clock) = open(disk, wall, start, 0).unwrap();
    for _ in 0..2 {
        let report = store.compact().unwrap();
        assert!(report.suspended.is_some() && report.events_forgotten == 0, "start {start}: {report:?}");
    }
    (store, clock)
}

#[test]
fn what_finished_just_now_is_not_forgotten_by_the_second_start_under_a_clock_that_is_years_ahead() {
    // R13. The first start has written by that clock already, and so has each one after it.
    let (disk, ahead) = (Disk::new(), first_day() + AGE * 24 * 3_650);
    // So many that compaction would merge what they leave.
    for start in 1..20 {
        let (store, _) = open(&disk, first_day(), start, 0).unwrap();
        if start > 17 {
            finish(&store, &format!("in time {start}"), 1);
        }
        close(store);
    }
    for start in 20..24 {
        let (store, _) = open_and_compact(&disk, ahead + Duration::from_millis(10 * start), start);
        close(store);
    }
    // Once it is right again all is known that was.
    let (store, _) = open(&disk, first_day() + AGE / 2, 30, 0).unwrap();
    assert_eq!(store.compact().unwrap().suspended, None);
    assert!(store.append(NewEvent::new("Issue", &"x").unwrap().id("in time 19")).unwrap().duplicate.is_some());
    close(store);
    // Nobody sets it right: an hour is what there is, however often the process starts.
    let (store, clock) = open_and_compact(&disk, ahead, 31);
    clock.advance(AGE / 2);
    assert!(store.compact().unwrap().suspended.is_some());
    close(store);
    let (store, clock) = open_and_compact(&disk, ahead + AGE / 2, 32);
    clock.advance(AGE / 2);
    let report = store.compact().unwrap();
    assert_eq!((report.suspended, report.events_forgotten), (None, 2));
}

/// A store whose log has a bound and whose clock was ahead by so much, for so long that retention acted on it, and is right again; the
/// horizon is where that left it.
fn with_a_horizon_ahead(disk: &Disk, by: Duration) -> (Store, crate::env::Clock) {
    let (store, clock) = open_with(options().log_bytes_max(BYTES_MAX), disk, first_day(), 1, 0).unwrap();
    finish(&store, "early", 1);
    clock.set_wall(first_day() + by);
    let first = store.compact().unwrap().events_forgotten;
    clock.advance(AGE * 2);
    assert_eq!(first + store.compact().unwrap().events_forgotten, 1);
    (store, clock)
}

const BYTES_MAX: u64 = 4 * SEGMENT_BYTES;

fn finish(store: &Store, id: &str, bytes: usize) {
    store.append(NewEvent::new("Issue", &"x".repeat(bytes)).unwrap().id(id)).unwrap();
    store.settle(&store.claim(1).unwrap()[0], Outcome::Done).unwrap();
}

fn horizon(store: &Store) -> Timestamp {
    Timestamp::from_unix_micros(store.shared().desk().core.state.totals().horizon.finished_before)
}

/// The ids of what is kept, in the order of reception.
fn kept(store: &Store) -> Vec<String> {
    let events = store.list(&crate::store::Filter::all()).unwrap();
    events.iter().map(|event| event.id().to_owned()).collect()
}

#[test]
fn the_log_stays_as_short_as_it_may_be_though_a_clock_that_was_ahead_has_set_a_horizon_in_ten_years() {
    // R13. Those that finished first go first: by that clock, then by the right one, across restarts.
    let disk = Disk::new();
    let (mut store, mut clock) = with_a_horizon_ahead(&disk, AGE * 24 * 3_650);
    let before = horizon(&store);
    let ids: Vec<_> = (0..100).map(|number| format!("{number:03}")).collect();
    for id in &ids[..8] {
        finish(&store, id, 500);
        clock.advance(AGE / 10);
    }
    for (round, ids_of_round) in (3..).zip(ids[8..].chunks(20)) {
        let wall = first_day() + AGE * round;
        clock.set_wall(wall);
        for id in ids_of_round {
            clock.advance(Duration::from_secs(1));
            finish(&store, id, 500);
        }
        let report = store.compact().unwrap();
        assert!(report.suspended.is_some_and(|why| why.contains("behind an earlier horizon")));
        assert!(store.shared().desk().core.log_bytes() <= BYTES_MAX, "round {round}");
        let (kept, last) = (kept(&store), ids_of_round.last().unwrap());
        let upto = &ids[..=ids.iter().position(|id| id == last).unwrap()];
        assert!(kept.len() > 8 && upto.ends_with(&kept), "round {round}: {kept:?}");
        close(store);
        (store, clock) = open_with(options().log_bytes_max(BYTES_MAX), &disk, wall, u64::from(round), 0).unwrap();
    }
    let by = horizon(&store).saturating_since(before);
    assert!(by <= AGE * 3, "the horizon went on by {by:?}, no further than the clock that set it");
}

#[test]
fn a_horizon_that_is_ahead_is_not_moved_to_what_finished_by_a_clock_that_was_far_further_ahead() {
    // R13.
    let (store, clock) = with_a_horizon_ahead(&Disk::new(), AGE * 20);
    clock.set_wall(first_day() + AGE * 24 * 3_650);
    finish(&store, "ahead", 500);
    clock.set_wall(first_day() + AGE * 3);
    let before = horizon(&store);
    for number in 0..100 {
        finish(&store, &format!("{number:03}"), 500);
    }
    for number in 100..150 {
        store.append(NewEvent::new("Issue", &"x".repeat(500)).unwrap().id(format!("{number}"))).unwrap();
    }
    assert_eq!(store.compact().unwrap().events_forgotten, 100);
    assert!(store.get("ahead").unwrap().is_some());
    let by = horizon(&store).saturating_since(before);
    assert!(by < Duration::from_millis(1), "the horizon went on by {by:?}");
}

#[test]
fn that_retention_by_age_rests_is_said_once_for_each_reason() {
    let mut notes = Notes::default();
    let at = |micros| Some(Rest::Behind(Timestamp::from_unix_micros(micros)));
    let jumped = |seconds| Some(Rest::Jumped(Duration::from_secs(seconds)));
    let steps = [(None, false), (jumped(9), true), (jumped(8), false), (at(1), true), (at(2), false), (None, true)];
    for (rest, is_told) in steps {
        assert_eq!(notes.note_rest(rest), is_told, "{rest:?}");
    }
}

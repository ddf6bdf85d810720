//! Whoever holds a place while compaction goes on: stories that need to look inside.

use std::time::{Duration, SystemTime};

use crate::env::Clock;
use crate::env::simulated::Disk;
use crate::event::{NewEvent, Outcome};
use crate::state::Move;
use crate::store::answers::CompactionReport;
use crate::store::crashes::opening::{first_day, open_with};
use crate::store::handle::Store;
use crate::store::options::StoreOptions;
use crate::store::scrub::Scrubbed;

/// What finished so long ago is forgotten.
const AGE: Duration = Duration::from_secs(1);

/// A store that is opened by one process after another: each begins a segment, of 64 KiB.
struct Scene {
    disk: Disk,
    starts: u64,
    store: Store,
    clock: Clock,
}

impl Scene {
    fn new() -> Self {
        Self::open(Disk::new(), 1, first_day())
    }

    fn open(disk: Disk, starts: u64, wall: SystemTime) -> Self {
        let options = StoreOptions::default().segment_bytes(64 * 1024).max_retries(0);
        let options = options.max_event_age(AGE).dedup_window(Duration::ZERO);
        let (store, clock) = open_with(options, &disk, wall, starts, 0).unwrap();
        Self { disk, starts, store, clock }
    }

    fn next_process(self) -> Self {
        let Self { disk, starts, store, clock } = self;
        store.shared().close_log().unwrap();
        drop(store);
        Self::open(disk, starts + 1, clock.read().wall)
    }

    fn append(&self, id: &str, bytes: usize) {
        self.store.append(NewEvent::new("Issue", &"x".repeat(bytes)).unwrap().id(id)).unwrap();
    }

    fn complete(&self, count: usize) {
        for claim in self.store.claim(count).unwrap() {
            self.store.settle(&claim, Outcome::Done).unwrap();
        }
    }

    /// Compacts once what finished is old enough.
    fn compact(&self) -> CompactionReport {
        self.clock.advance(AGE + Duration::from_millis(1));
        self.store.compact().unwrap()
    }

    /// The same; the first segment is written anew by it, for the time of this number.
    fn compact_first(&self, generation: u32) {
        self.compact();
        assert!(self.disk.root().has(&format!("0000000001-{generation}.seg")));
    }
}

/// A store whose first segment holds eight events that are completed, four that wait, and `x`.
fn scene() -> Scene {
    let scene = Scene::new();
    for number in 0..12 {
        scene.append(&format!("e{number}"), 3_000);
    }
    scene.append("x", 3_000);
    scene.complete(8);
    scene.next_process()
}

#[test]
fn a_claimed_event_is_found_though_its_segment_was_written_anew_twice() {
    // After two generations another file bears the number of the one that the claim names.
    let scene = scene();
    let store = &scene.store;
    let mut claimed = store.shared().step(|core, now| core.claim(5, now)).unwrap();
    let x = claimed.pop().unwrap();
    scene.compact_first(1);
    for claim in store.read_claims(claimed) {
        store.settle(&claim, Outcome::Done).unwrap();
    }
    scene.compact_first(2);
    let claims = store.read_claims(vec![x]);
    let stats = store.stats();
    assert_eq!((claims.len(), stats.failed_events, stats.damaged_events), (1, 0, 0));
    assert_eq!(claims[0].event().id(), "x");
}

#[test]
fn an_event_is_read_though_another_file_comes_to_bear_the_number_of_its_own_as_it_is_looked_for() {
    let scene = scene();
    let shared = scene.store.shared();
    let view = shared.view_durable("x").unwrap().unwrap();
    let (first, id) = (shared.segment(view.place.segment).unwrap(), shared.hasher.id("x"));
    scene.compact_first(1);
    let from = shared.view_durable("x").unwrap().unwrap().place;
    std::thread::scope(|scope| {
        // What compaction does for the next generation, while somebody who found no file by the old number asks where the event is now.
        let mut desk = shared.desk();
        let reading = scope.spawn(|| shared.read_event(&view));
        std::thread::sleep(Duration::from_millis(50));
        shared.files.write().unwrap().insert(first.key(), first);
        let (old, new) = (from.segment, view.place.segment);
        desk.core.state.begin_relocation(&[old], new);
        let moves = [Move::Reception { seq: view.seq, id, from, to: view.place }];
        desk.core.state.relocate(&moves, &[old], new);
        drop(desk);
        assert_eq!(reading.join().unwrap().unwrap().id(), "x");
    });
}

#[test]
fn an_event_that_has_failed_again_since_it_was_looked_up_is_not_said_to_have_a_damaged_text() {
    let scene = Scene::new();
    for number in 0..12 {
        scene.append(&format!("e{number}"), 3_000);
    }
    scene.append("x", 3_000);
    for claim in scene.store.claim(13).unwrap() {
        let outcome = if claim.event().id() == "x" { Outcome::Fail("first".to_owned()) } else { Outcome::Done };
        scene.store.settle(&claim, outcome).unwrap();
    }
    let scene = scene.next_process();
    let shared = scene.store.shared();
    let view = shared.view_durable("x").unwrap().unwrap();
    scene.store.replay(&["x"]).unwrap();
    scene.compact_first(1);
    let claims = scene.store.claim(1).unwrap();
    // Staged, and in no file yet.
    scene.store.settle(&claims[0], Outcome::Fail("second".to_owned())).unwrap();
    assert_eq!(shared.read_event(&view).unwrap().error_message(), None);
}

#[test]
fn damage_of_a_file_that_another_stands_for_by_now_is_not_noted() {
    // Nobody would take it back, and the other file is sound.
    let scene = scene();
    let shared = scene.store.shared();
    let key = shared.view_durable("x").unwrap().unwrap().place.segment;
    let (first, extent) = shared.sealed_segment(key).unwrap();
    for generation in 1..3 {
        scene.compact_first(generation);
        assert!(shared.assess(&first, &extent, (64, "rot"), &mut Scrubbed::default()).is_ok());
        let stats = scene.store.stats();
        assert_eq!((stats.failed_events, stats.damaged_events, stats.damaged_places), (0, 0, 0));
        scene.complete(4);
    }
}

#[test]
fn a_history_is_told_though_its_segment_was_written_anew_meanwhile() {
    let scene = scene();
    scene.compact_first(1);
    let shared = scene.store.shared();
    let view = shared.view_durable("x").unwrap().unwrap();
    scene.complete(4);
    scene.compact_first(2);
    let steps = shared.history_of(view).unwrap();
    assert_eq!(steps.iter().map(|step| step.what.as_str()).collect::<Vec<_>>(), ["received"]);
}

#[test]
fn a_slow_reader_outlives_two_generations_of_its_segment() {
    let scene = Scene::new();
    for number in 0..341 {
        scene.append(&format!("e{number}"), 20);
    }
    let scene = scene.next_process();
    let mut reader = scene.store.read_from(1);
    assert!(reader.next().unwrap().is_ok());
    scene.complete(280);
    scene.compact_first(1);
    scene.complete(60);
    scene.compact_first(2);
    let last = scene.store.shared().desk().core.durable();
    while reader.position() < last {
        assert!(reader.next_timeout(Duration::ZERO).unwrap().is_some(), "at {} of {last}", reader.position());
    }
}

#[test]
fn compaction_comes_to_an_end_where_endings_lie_far_from_their_events() {
    // The endings in the third segment are needed while the first one, small and alive, holds what they ended.
    let scene = Scene::new();
    for number in 0..40 {
        scene.append(&format!("small {number}"), 20);
    }
    scene.append("large", 8_000);
    let scene = scene.next_process();
    let ordinal = || scene.store.shared().desk().core.active().unwrap().ordinal();
    let first = ordinal();
    for number in 0.. {
        if ordinal() > first {
            break;
        }
        scene.append(&format!("waits {number}"), 1_000);
    }
    for claim in scene.store.claim(41).unwrap() {
        let fails = claim.event().id() == "large";
        scene.store.settle(&claim, if fails { Outcome::Fail("no".to_owned()) } else { Outcome::Done }).unwrap();
    }
    let scene = scene.next_process();
    let report = scene.compact();
    let again = scene.store.compact().unwrap();
    assert!(report.segments_rewritten <= 3 && again.segments_rewritten == 0, "{report:?}, then {again:?}");
}

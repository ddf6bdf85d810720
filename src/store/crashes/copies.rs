//! Copies for which there was no room: they take none. And what copies must not leave out.

use std::time::Duration;

use super::opening::{AGE, MEMORY, first_day, open};
use crate::env::Clock;
use crate::env::simulated::{Disk, Fault, Kind};
use crate::event::{NewEvent, Outcome};
use crate::log::segment::Name;
use crate::store::handle::Store;

#[test]
fn a_segment_that_could_not_be_written_anew_leaves_nothing_on_a_full_disk() {
    // R10.
    for (fault, name) in [
        (Fault::of(Kind::Write).on("-1.seg").after(1).full().times(1), "the last group"),
        (Fault::of(Kind::Sync).on("-1.seg").full().times(1), "the sync"),
        (Fault::of(Kind::Write).on("MANIFEST").full().times(1), "the manifest"),
    ] {
        let disk = Disk::new();
        let (store, clock) = open(&disk, first_day(), 1, 0).unwrap();
        for number in 0..40 {
            store.append(NewEvent::new("Issue", &"x".repeat(300)).unwrap().id(format!("e{number}"))).unwrap();
            let outcome = if number % 5 == 0 { Outcome::Fail("no".to_owned()) } else { Outcome::Done };
            let claim = store.claim(1).unwrap().remove(0);
            store.settle(&claim, outcome).unwrap();
            clock.advance(Duration::from_secs(1));
            while store.shared().tend() {}
        }
        clock.advance(AGE * 2);
        disk.fail(fault);
        drop(store.compact());
        let manifest = store.shared().desk().core.manifest.clone();
        let is_debris = |name: &String| match Name::parse(name) {
            Some(segment) => !manifest.lists(segment),
            None => std::path::Path::new(name).extension().is_some_and(|extension| extension == "tmp"),
        };
        let debris: Vec<_> = disk.files().into_keys().filter(is_debris).collect();
        assert_eq!(debris, [""; 0], "{name}");
        assert!(store.compact().unwrap().segments_rewritten > 0, "{name}: it is done the next time");
    }
}

fn event(number: usize) -> NewEvent {
    NewEvent::new("Issue", &"x".repeat(300)).unwrap().id(format!("e{number}"))
}

/// Runs 40 events; of the earlier ones every second fails for good.
fn run(store: &Store, clock: &Clock) {
    for number in 0..40 {
        store.append(event(number)).unwrap();
        let fails = number < 30 && number % 2 == 0;
        let outcome = if fails { Outcome::Fail("no".to_owned()) } else { Outcome::Done };
        let claim = store.claim(1).unwrap().remove(0);
        store.settle(&claim, outcome).unwrap();
        clock.advance(Duration::from_secs(1));
        while store.shared().tend() {}
    }
}

/// The first compaction leaves ids of what it forgets, the second ids of ids, and of segments nothing but ids.
#[test]
fn an_id_is_still_known_after_compaction_has_forgotten_its_event_and_written_its_segment_anew_twice() {
    let disk = Disk::new();
    let (store, clock) = open(&disk, first_day(), 1, 0).unwrap();
    run(&store, &clock);
    let later = AGE + Duration::from_mins(1);
    assert!(later * 2 < MEMORY);
    for compaction in 0..2 {
        if compaction == 1 {
            (0..30).step_by(2).for_each(|number| store.cancel(&format!("e{number}"), "").unwrap());
        }
        clock.advance(later);
        let report = store.compact().unwrap();
        assert!(report.events_forgotten > 0, "{report:?}");
        assert!(report.segments_rewritten > 0, "{report:?}");
    }
    let wall = clock.read().wall;
    drop(store);
    let (store, _clock) = open(&disk, wall, 2, 0).unwrap();
    for number in 0..40 {
        let receipt = store.append(event(number)).unwrap();
        assert!(receipt.duplicate.is_some(), "e{number} came again as new");
    }
}

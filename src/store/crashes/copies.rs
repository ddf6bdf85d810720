//! Copies for which there was no room: they take none.

use super::opening::{AGE, first_day, open};
use crate::env::simulated::{Disk, Fault, Kind};
use crate::event::{NewEvent, Outcome};
use crate::log::segment::Name;

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
            clock.advance(std::time::Duration::from_secs(1));
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

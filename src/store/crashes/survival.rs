//! Whatever the power leaves, the store is what it promised to be. `ledgerline-torture --only disk` goes further, for hours.

use super::campaign::{Reach, Tally, crash_in_the_last, long_life, on_all_cores, sequences};
use super::opening::{first_day, open_with, options};
use super::world::Op;
use crate::env::simulated::{Choices, Disk};
use crate::event::NewEvent;
use crate::log::format::SegmentHeader;
use crate::log::segment::Segment;
use crate::store::answers::Filter;
use crate::store::options::StoreOptions;

/// What is cheap enough for every run of the tests.
const REACH: Reach = Reach { states_max: 32, states_again_max: 2, again_every: 4, grows: false, lies: false, seed: 0 };
/// Seeds of long lives. One that failed is run alone by setting both ends to it.
const SEEDS: std::ops::Range<u64> = 0..150;

/// Crashes in every sequence from `shortest` to `longest` operations.
fn every_sequence(shortest: usize, longest: usize, reach: Reach) -> Tally {
    let cases: Vec<Vec<Op>> = (shortest..=longest).flat_map(sequences).collect();
    on_all_cores(&cases, |ops| crash_in_the_last(ops, reach))
}

fn assert_sound(tally: &Tally) {
    println!("{tally}");
    assert_eq!(tally.violations, 0, "{:#?}", tally.told);
}

#[test]
fn whatever_a_crash_of_a_short_life_leaves_is_recovered() {
    assert_sound(&every_sequence(0, 2, REACH));
}

#[test]
fn whatever_crashes_of_a_long_life_leave_is_recovered() {
    let seeds: Vec<u64> = SEEDS.collect();
    let tally = on_all_cores(&seeds, |seed| long_life(*seed, Reach { again_every: 2, ..REACH }));
    assert!(tally.segments_deleted > 0 && tally.segments_rewritten > 0, "compaction took part: {tally:?}");
    assert_sound(&tally);
}

/// Where no space was reserved, an opening has none to give back, and so no reason of its own to sync: what a dead process wrote is
/// durable all the same before it is believed (R3).
#[test]
fn where_files_grow_an_opening_makes_durable_what_it_believes() {
    let lives = [[Op::Batch, Op::Reopen], [Op::Append, Op::Reopen], [Op::Batch, Op::Batch], [Op::Batch, Op::Close]];
    let reach = Reach { grows: true, ..REACH };
    assert_sound(&on_all_cores(&lives, |ops| crash_in_the_last(ops, reach)));
}

fn mebibyte_segments() -> StoreOptions {
    options().segment_bytes(1024 * 1024)
}

/// What a process leaves that dies in a run, whose record is written and not synced, beside ten events that are; and the store's id.
fn died_in_a_run() -> (Disk, [u8; 16]) {
    let disk = Disk::new();
    disk.let_files_grow();
    let (store, _clock) = open_with(mebibyte_segments(), &disk, first_day(), 1, 0).unwrap();
    for number in 0..10 {
        store.append(NewEvent::new("Issue", &"x".repeat(30_000)).unwrap().id(format!("e{number}"))).unwrap();
    }
    assert_eq!(store.claim(1).unwrap().len(), 1);
    let store_id = store.shared().desk().core.manifest.store_id;
    (disk.copy(), store_id)
}

/// The next process finds the run and goes on from there; then the power fails.
fn assert_run_and_events_survive(disk: &Disk) {
    let (next, _clock) = open_with(mebibyte_segments(), disk, first_day(), 2, 0).unwrap();
    assert_eq!(next.recovery().events_released, 1);
    let disk = disk.after_crash(&mut Choices::nothing());
    let (last, _clock) = open_with(mebibyte_segments(), &disk, first_day(), 3, 1).unwrap();
    assert_eq!(last.list(&Filter::all()).unwrap().len(), 10);
}

/// The same where records stand behind what was filled, so that nothing is given back: a run has begun, its record is written and not
/// synced, and the process dies. The next one finds it and goes on from there; then the power fails (R3).
#[test]
fn what_a_dead_process_wrote_past_what_was_filled_is_durable_before_the_next_goes_on_from_it() {
    let (disk, _) = died_in_a_run();
    assert_run_and_events_survive(&disk);
}

/// The same where further segments were prepared meanwhile, as they are while a slow disk syncs and much has been staged: the last one
/// that was written to is not among the last two files.
#[test]
fn what_a_dead_process_wrote_is_durable_before_the_next_goes_on_whatever_was_prepared_behind_it() {
    let (disk, store_id) = died_in_a_run();
    for ordinal in [2, 3] {
        let header = SegmentHeader { store_id, ordinal, generation: 0, salt: ordinal };
        drop(Segment::create(&disk.root(), header, 0).unwrap());
    }
    assert_run_and_events_survive(&disk);
}

/// A manifest that was renamed and is not durable is seen by the next process, which removes what it calls dropped: in this order both
/// must reach the disk (R5).
#[test]
fn names_that_a_dead_process_left_in_memory_are_durable_before_anything_is_built_on_them() {
    let reach = Reach { again_every: 1, states_again_max: 16, ..REACH };
    assert_sound(&crash_in_the_last(&[Op::Rotate, Op::Compact], reach));
}

/// What a close has sealed and nobody needs any more goes, but not before the manifest that names it no more is durable (R5).
#[test]
fn segments_of_which_nothing_is_needed_go_only_after_the_manifest_names_them_no_more() {
    assert_sound(&crash_in_the_last(&[Op::Close, Op::Compact], REACH));
}

#[test]
fn a_disk_whose_syncs_lie_is_found_out() {
    let tally = crash_in_the_last(&[Op::Append], Reach { lies: true, ..REACH });
    assert!(tally.violations > 0, "{tally:?}");
}

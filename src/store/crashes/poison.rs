//! R2: what happens to a store when a call fails, whichever it is.

use super::campaign::{Tally, on_all_cores};
use super::format;
use super::opening::{first_day, open};
use super::verdict::{Start, recover};
use super::world::{Op, World};
use crate::env::simulated::{Choices, Disk, Effect, Fault, Kind};
use crate::error::{Error, ErrorKind};
use crate::event::NewEvent;
use crate::store::answers::{Filter, Receipt};
use crate::store::handle::Store;

fn append(store: &Store, id: &str) -> Result<Receipt, Error> {
    store.append(NewEvent::new("Issue", &id).unwrap().id(id))
}

fn kind<T: std::fmt::Debug>(answer: Result<T, Error>) -> ErrorKind {
    answer.unwrap_err().kind()
}

fn ids(store: &Store) -> Vec<String> {
    store.list(&Filter::all()).unwrap().iter().map(|event| event.id().to_owned()).collect()
}

#[test]
fn after_a_failed_sync_nothing_is_synced_again_and_opening_finds_what_the_disk_has() {
    let losses = [Choices::nothing(), Choices::everything(), Choices::seeded(1), Choices::seeded(2)];
    for (number, loss) in losses.into_iter().enumerate() {
        let disk = Disk::new();
        let (store, _clock) = open(&disk, first_day(), 1, 0).unwrap();
        append(&store, "kept").unwrap();
        disk.fail(Fault::of(Kind::Sync).with(Effect::Loss(loss)));
        assert_eq!(kind(append(&store, "unknown")), ErrorKind::OutcomeUnknown);
        let calls = disk.calls();
        assert_eq!(kind(append(&store, "refused")), ErrorKind::Poisoned);
        assert_eq!(kind(store.claim(1)), ErrorKind::Poisoned);
        assert_eq!(kind(store.compact()), ErrorKind::Poisoned);
        assert_eq!(kind(store.get("unknown")), ErrorKind::OutcomeUnknown);
        assert_eq!(store.get("kept").unwrap().map(|event| event.id().to_owned()), Some("kept".to_owned()));
        assert_eq!(ids(&store), ["kept"], "what is unknown is not shown");
        assert!(!store.shared().tend(), "the keeper has nothing to do");
        assert_eq!(kind(store.shared().close_log()), ErrorKind::OutcomeUnknown);
        assert_eq!(disk.calls(), calls, "the disk is left alone");
        drop(store.shared().release());
        drop(store);
        let (store, _clock) = open(&disk, first_day(), 2, 0).unwrap();
        let found = ids(&store);
        // Of what was not acknowledged all may be there, or nothing.
        let (none, all) = (["kept"].as_slice(), ["kept", "unknown"].as_slice());
        let legal: &[&[&str]] = match number {
            0 => &[none],
            1 => &[all],
            _ => &[none, all],
        };
        assert!(legal.iter().any(|legal| found == *legal), "case {number}: {found:?}");
        drop(store);
        let left = disk.after_crash(&mut Choices::nothing());
        let (store, _clock) = open(&left, first_day(), 3, 1).unwrap();
        assert_eq!(ids(&store), found, "what opening believed is on the disk");
    }
}

#[test]
fn a_failed_rename_or_sync_of_the_directory_poisons_and_opening_is_sound() {
    for fault in [
        Fault::of(Kind::Rename).on(".seg.tmp"),
        Fault::of(Kind::Rename).on(".seg.tmp").with(Effect::All),
        Fault::of(Kind::SyncDir),
        Fault::of(Kind::SyncDir).with(Effect::Loss(Choices::nothing())),
        Fault::of(Kind::Rename).on("MANIFEST"),
        Fault::of(Kind::Rename).on("MANIFEST").with(Effect::All),
    ] {
        let mut world = World::new(Disk::new(), first_day());
        world.take(Op::Append).unwrap();
        world.disk.fail(fault.clone());
        let failed = world.take(Op::Rotate).and_then(|()| world.take(Op::Compact));
        assert!(failed.is_err(), "{fault:?}");
        assert!(world.store().stats().poisoned.is_some(), "{fault:?}: {failed:?}");
        world.ledger.loose = true;
        judge(&world).unwrap();
    }
}

#[test]
fn a_failed_truncation_at_the_close_is_told_and_loses_nothing() {
    let disk = Disk::new();
    let (store, _clock) = open(&disk, first_day(), 1, 0).unwrap();
    append(&store, "kept").unwrap();
    disk.fail(Fault::of(Kind::Truncate));
    let syncs = disk.count(Kind::Sync);
    assert_eq!(kind(store.shared().close_log()), ErrorKind::Io);
    assert_eq!(disk.count(Kind::Sync), syncs + 1, "that of the mark; the file that could not be cut is not synced");
    drop(store.shared().release());
    drop(store);
    let (store, _clock) = open(&disk.after_crash(&mut Choices::nothing()), first_day(), 2, 1).unwrap();
    assert_eq!(ids(&store), ["kept"]);
}

#[test]
fn a_segment_that_cannot_be_prepared_is_tried_again_and_poisons_nothing() {
    for kind in [Kind::Create, Kind::Reserve, Kind::Write, Kind::Sync] {
        let disk = Disk::new();
        let (store, clock) = open(&disk, first_day(), 1, 0).unwrap();
        disk.fail(Fault::of(kind).on("0000000002.seg.tmp"));
        let mut number = 0;
        while disk.files().keys().all(|name| name != "0000000002.seg") {
            let event = NewEvent::new("Issue", &"x".repeat(400)).unwrap().id(format!("{number}"));
            store.append(event).unwrap();
            number += 1;
            clock.advance(std::time::Duration::from_secs(2));
            while store.shared().tend() {}
            assert!(number < 20, "{kind:?}: it is prepared before the first one is full");
        }
        assert_eq!(store.stats().poisoned, None, "{kind:?}");
        assert_eq!(ids(&store).len(), number);
    }
}

/// What was promised stays, whatever loss of power follows, and also if only the process ends.
fn judge(world: &World) -> Result<(), String> {
    let start = Start { wall: world.wall, number: world.starts + 1, boot: world.boot + 1 };
    for left in world.disk.crashes(2, 1) {
        recover(&left, &world.ledger, usize::MAX, start)?;
    }
    let disk = world.disk.copy();
    let opened = open(&disk, world.wall, world.starts + 1, world.boot);
    drop(opened.map_err(|error| format!("opening after the failure: {error:?}"))?);
    let left = disk.after_crash(&mut Choices::nothing());
    let begun = format::read(&left.files())?.last_epoch_from();
    let mut ledger = world.ledger.clone();
    // Another process goes on from where it found the end.
    ledger.loose = true;
    if ledger.last_seq >= begun {
        ledger.lose_after(begun - 1);
    }
    recover(&left, &ledger, usize::MAX, Start { number: start.number + 1, ..start }).map(drop)
}

/// Lives on while call number `spared` + 1 fails so; none: it was never made.
fn live_with(fault: &Fault, spared: u64) -> Option<Result<(), String>> {
    let mut world = World::new(Disk::new(), first_day());
    world.open().unwrap();
    let before = world.disk.calls();
    world.disk.fail(fault.clone().after(spared));
    let ops = [Op::Batch, Op::Rotate, Op::Compact, Op::Append, Op::Close, Op::Append];
    let failed = ops.into_iter().find_map(|op| world.take(op).err());
    if world.disk.calls() - before <= spared {
        return None;
    }
    if failed.is_some() {
        world.ledger.loose = true;
        if let Some(store) = world.living() {
            let poisoned = store.stats().poisoned.is_some();
            let calls = world.disk.calls();
            let more = append(store, "more");
            if poisoned && (more.is_ok() || world.disk.calls() != calls) {
                return Some(Err(format!("poisoned, and it goes on: {more:?}")));
            }
        }
        world.ledger.tried.insert("more".to_owned(), "\"more\"".to_owned());
    }
    Some(judge(&world).map_err(|what| format!("{what}, after {failed:?}")))
}

fn every_call_fails(step: usize) -> Tally {
    let faults = [
        Fault::of_any(),
        Fault::of_any().with(Effect::Half),
        Fault::of_any().with(Effect::All),
        Fault::of_any().with(Effect::Loss(Choices::nothing())),
        Fault::of_any().full(),
        Fault::of_any().times(u64::MAX),
    ];
    let cases: Vec<(&Fault, u64)> =
        faults.iter().flat_map(|fault| (0..200).map(move |spared| (fault, spared))).step_by(step).collect();
    on_all_cores(&cases, |(fault, spared)| {
        let mut tally = Tally { sequences: 1, ..Tally::default() };
        if let Some(lived) = live_with(fault, *spared) {
            tally.states += 1;
            if let Err(what) = lived {
                tally.violated(format!("call {spared} fails, {fault:?}: {what}"));
            }
        }
        tally
    })
}

#[test]
fn whichever_call_fails_what_was_promised_stays() {
    let tally = every_call_fails(7);
    println!("{tally}");
    assert!(tally.states > 50, "{tally:?}");
    assert_eq!(tally.violations, 0, "{:#?}", tally.told);
}

#[test]
#[ignore = "a campaign: some tens of seconds"]
fn every_call_may_fail_and_what_was_promised_stays() {
    let tally = every_call_fails(1);
    println!("{tally}");
    assert_eq!(tally.violations, 0, "{:#?}", tally.told);
}

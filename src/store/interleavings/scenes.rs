//! What threads do. Each scene ends only when everybody has an answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::stage::{Stage, Told, event};
use crate::env::simulated::{Call, Fault, Kind};
use crate::error::ErrorKind;
use crate::event::Outcome;
use crate::store::claims::Claimers;
use crate::store::desk::Level;
use crate::store::following::Followed;
use crate::store::stories::receive;
use crate::sync::thread;

/// Long enough that nobody needs a second one.
pub(super) const SEGMENT_BYTES: u64 = 64 * 1024;

/// Runs `act` in so many threads, of which this is the last; returns what each was told.
pub(super) fn all(threads: usize, act: impl Fn(usize) -> Vec<Told> + Clone + Send + 'static) -> Vec<Told> {
    let others: Vec<_> = (1..threads)
        .map(|number| {
            let act = act.clone();
            thread::spawn(move || act(number))
        })
        .collect();
    let own = act(0);
    others.into_iter().flat_map(|other| other.join().unwrap()).chain(own).collect()
}

/// Threads that keep events with nobody but themselves to commit: whoever comes first leads, and the others are served or lead in turn.
pub(super) fn threads_commit_for_one_another(threads: usize, events: usize) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let caller = stage.caller();
    let told =
        all(threads, move |number| (0..events).map(|event| caller.append(&format!("{number}-{event}"), 10)).collect());
    assert!(told.iter().all(|told| told.receipt.is_ok()));
    stage.check(&told);
}

/// One id, given by all: one of them keeps it, and the others wait for what that one has staged.
pub(super) fn duplicates_wait_for_what_another_has_staged(threads: usize) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let caller = stage.caller();
    let told = all(threads, move |_| vec![caller.append("a", 10)]);
    let kept = told.iter().filter(|told| told.receipt.as_ref().unwrap().duplicate.is_none()).count();
    assert_eq!(kept, 1);
    stage.check(&told);
}

/// A call of this kind fails after so many: what was synced before is so, and everybody else is told that nothing is known.
pub(super) fn after_poison_nobody_waits(threads: usize, kind: Kind, spared: u64) {
    let stage = Stage::new(SEGMENT_BYTES, &[Fault::of(kind).after(spared)]);
    let caller = stage.caller();
    let told = all(threads, move |number| vec![caller.append(&number.to_string(), 10)]);
    for error in told.iter().filter_map(|told| told.receipt.as_ref().err()) {
        assert!(matches!(error.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Poisoned), "{error:?}");
    }
    stage.check(&told);
}

/// Whoever comes first to a call of this kind panics: nobody waits for it for ever, and nobody is told that anything was kept.
pub(super) fn after_a_panic_nobody_waits(threads: usize, is_so: fn(Call) -> bool) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    stage.break_at(is_so);
    let (caller, shared) = (stage.caller(), Arc::clone(&stage.shared));
    let told = all(threads, move |number| {
        let keep = || caller.append(&number.to_string(), 10);
        catch_unwind(AssertUnwindSafe(keep)).into_iter().collect()
    });
    assert_eq!(told.len(), threads - 1, "one of them panicked");
    for told in &told {
        let kind = told.receipt.as_ref().unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::OutcomeUnknown | ErrorKind::Poisoned), "{kind:?}");
    }
    assert!(shared.close_log().is_err());
    shared.wait_for_leader();
    stage.check(&told);
}

/// One has an event made durable while the others only have theirs written, beside the sync if need be, and synced afterwards.
pub(super) fn what_is_written_beside_a_sync_waits_for_the_next(threads: usize) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let (caller, shared) = (stage.caller(), Arc::clone(&stage.shared));
    let told = all(threads, move |number| {
        let id = number.to_string();
        if number > 0 {
            return vec![caller.append(&id, 10)];
        }
        let seq = receive(&shared, &id, 10).unwrap();
        shared.wait_written(seq).unwrap();
        let written = caller.told_of(seq, Level::Written);
        shared.wait(seq, Level::Durable).unwrap();
        vec![written, caller.told_of(seq, Level::Durable)]
    });
    stage.check(&told);
}

/// The store is closed while events come: each was kept before, or is refused.
pub(super) fn closing_leaves_nobody_without_an_answer(threads: usize) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let (keeper, caller, shared) = (stage.keeper(), stage.caller(), Arc::clone(&stage.shared));
    let told = all(threads + 1, move |number| {
        if number > 0 {
            return vec![caller.append(&number.to_string(), 10)];
        }
        shared.close_log().unwrap();
        shared.stop();
        shared.wait_for_leader();
        Vec::new()
    });
    for error in told.iter().filter_map(|told| told.receipt.as_ref().err()) {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    stage.end([keeper]);
    stage.check(&told);
}

/// Somebody follows the log while others write to it, and learns of the first record that comes, once it is durable.
pub(super) fn whoever_follows_learns_what_becomes_durable(threads: usize) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let (caller, shared) = (stage.caller(), Arc::clone(&stage.shared));
    let told = all(threads + 1, move |number| {
        if number > 0 {
            return vec![caller.append(&number.to_string(), 10)];
        }
        // The first two records are what every segment begins with.
        let followed = shared.follow(3, None).unwrap();
        caller.shown(3, if let Followed::Durable(seq) = followed { Some(seq) } else { None })
    });
    stage.check(&told);
}

/// Threads wait for something to claim while others keep an event for each of them, and none of them is left waiting; if the events have
/// one key, each becomes claimable only when the one before it has ended.
pub(super) fn whoever_waits_to_claim_is_called(threads: usize, have_one_key: bool) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let (caller, store) = (stage.caller(), stage.store.clone());
    let told = all(threads + 1, move |number| {
        if number > 0 {
            let claims = store.claim_timeout(1, Duration::MAX).unwrap();
            assert_eq!(claims.len(), 1, "nobody comes back without one");
            store.settle(&claims[0], Outcome::Done).unwrap();
            return Vec::new();
        }
        let key = |number: usize| if have_one_key { "k".to_owned() } else { number.to_string() };
        let events = (0..threads).map(|number| event(&number.to_string(), 10).key(key(number)));
        let receipts = caller.store.append_many(events).unwrap();
        receipts.iter().map(|receipt| caller.told_of(receipt.seq, Level::Durable)).collect()
    });
    stage.shared.wait_for_leader();
    stage.check(&told);
    let claimers = &stage.shared.desk().claimers;
    assert_eq!(format!("{claimers:?}"), format!("{:?}", Claimers::default()), "nobody waits to claim");
}

/// Segments that are full after a few events: whoever finds one full waits for the next, or makes it.
pub(super) fn segments_follow_one_another(threads: usize, events: usize, has_preparer: bool) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let (keeper, caller, shared) = (stage.keeper(), stage.caller(), Arc::clone(&stage.shared));
    let preparer = has_preparer.then(|| thread::spawn(move || shared.prepare()));
    let told = all(threads, move |number| {
        (0..events).map(|event| caller.append(&format!("{number}-{event}"), 10_000)).collect()
    });
    assert!(told.iter().all(|told| told.receipt.is_ok()));
    stage.end(std::iter::once(keeper).chain(preparer));
    stage.check(&told);
}

//! What happens when the disk refuses: stories that need a file which fails on purpose.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::env::{Clock, Dir};
use crate::error::{Error, ErrorKind};
use crate::event::{Moment, NewEvent, Outcome};
use crate::log::fill::Fill;
use crate::log::format::SegmentHeader;
use crate::log::manifest::Manifest;
use crate::log::segment::{Name, Segment};
use crate::state::{Policy, State};
use crate::store::commit::Shared;
use crate::store::core::{Core, Refused, Replayed, Salts};
use crate::store::desk::Level;
use crate::store::fate::Decision;
use crate::store::ids::Ids;
use crate::store::options::StoreOptions;
use crate::store::reception::{Givens, Single};

pub(super) const STORE_ID: [u8; 16] = [7; 16];
const SEGMENT_BYTES: u64 = 64 * 1024;

/// A store of one segment, whose file may be written or not.
fn store(path: &std::path::Path, writable: bool) -> Shared {
    store_with(path, writable, StoreOptions::default().segment_bytes(SEGMENT_BYTES))
}

/// As [`store`], with these options.
pub(super) fn store_with(path: &std::path::Path, writable: bool, options: StoreOptions) -> Shared {
    store_in(Dir::open(path).unwrap(), Clock::system(), writable, options)
}

/// As [`store_with`], in this directory and by this clock.
pub(super) fn store_in(dir: Dir, clock: Clock, writable: bool, options: StoreOptions) -> Shared {
    let header = SegmentHeader { store_id: STORE_ID, ordinal: 1, generation: 0, salt: 1 };
    let created = Segment::create(&dir, header, options.segment_bytes).unwrap();
    drop(created);
    let file = dir.open_file(&Name::original(1).to_string(), writable).unwrap();
    let active = Arc::new(Segment { header, file, fill: Fill::over() });
    let replayed = Replayed {
        state: State::new(STORE_ID, Policy::default()),
        manifest: Manifest::new(STORE_ID),
        sealed: BTreeMap::new(),
        epoch: 0,
        last_seq: 0,
        end: None,
    };
    let now = Moment { wall: clock.read().wall.into(), steady: 0 };
    let options = Arc::new(options);
    let files = BTreeMap::from([(active.key(), Arc::clone(&active))]);
    let core = Core::begin(replayed, options, active, 1, Salts::new([1; 16]), now);
    Shared::new(dir, clock, core, files, None)
}

/// Stages one event of about `bytes` bytes; returns its seq.
pub(super) fn receive(shared: &Shared, id: &str, bytes: usize) -> Result<u64, Error> {
    let (event, ids) = (event(id, bytes), Ids::new([2; 16]));
    let mut single = Single::new(&event, &givens(shared, &ids)).unwrap();
    match shared.try_step(&mut |core, now| core.receive(&mut single, None, now)) {
        Ok(decision) => seq_of(decision),
        Err(Refused::Error(error)) => Err(error),
        Err(Refused::Busy | Refused::Rolled) => Err(Error::invalid("busy")),
    }
}

/// Keeps one event of about `bytes` bytes, as callers do.
pub(super) fn keep(shared: &Shared, id: &str, bytes: usize) -> Result<(), Error> {
    let (event, ids) = (event(id, bytes), Ids::new([2; 16]));
    let mut single = Single::new(&event, &givens(shared, &ids)).unwrap();
    let decision = shared.step(|core, now| core.receive(&mut single, None, now))?;
    shared.wait(seq_of(decision)?, Level::Durable)
}

/// An event of about `bytes` bytes.
pub(super) fn event(id: &str, bytes: usize) -> NewEvent {
    NewEvent::new("Issue", &"x".repeat(bytes)).unwrap().id(id)
}

pub(super) fn givens<'a>(shared: &Shared, ids: &'a Ids) -> Givens<'a> {
    Givens { ids, hasher: shared.hasher, max_retries: 3, now: shared.now() }
}

fn seq_of(decision: Decision) -> Result<u64, Error> {
    match decision {
        Decision::Done { seq } => Ok(seq.unwrap()),
        Decision::Conflict | Decision::Doubt { .. } => Err(Error::invalid("the id is taken")),
    }
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged_and_nothing_is_taken() {
    // R1, R2.
    let dir = tempfile::tempdir().unwrap();
    let shared = store(dir.path(), false);
    let seq = receive(&shared, "a", 10).unwrap();
    let error = shared.wait(seq, Level::Durable).unwrap_err();
    assert_eq!((error.kind(), error.seq()), (ErrorKind::OutcomeUnknown, Some(seq)));
    assert_eq!(receive(&shared, "b", 10).unwrap_err().kind(), ErrorKind::Poisoned);
    let error = shared.step(|core, now| core.claim(1, now).map(|claims| claims.len())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert_eq!(shared.view_durable("a").unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(shared.list(&crate::store::Filter::all()).unwrap().len(), 0, "what is unknown is not shown");
    assert_eq!(shared.wait(seq, Level::Written).unwrap_err().kind(), ErrorKind::OutcomeUnknown, "and it stays so");
    let stats = shared.stats();
    assert!(stats.poisoned.is_some() && stats.last_persistence.is_none(), "{stats:?}");
    let desk = shared.desk();
    assert_eq!((desk.core.durable(), desk.core.written()), (0, 0));
}

#[test]
fn what_fails_while_a_sync_is_under_way_poisons_and_nothing_becomes_durable() {
    // R2: compaction fails beside the leader.
    let dir = tempfile::tempdir().unwrap();
    let shared = store(dir.path(), true);
    let seq = receive(&shared, "a", 10).unwrap();
    {
        let mut desk = shared.desk();
        let group = desk.core.take().unwrap();
        desk.core.wrote(group);
        desk.core.poison_with("the manifest is unknown".to_owned());
        desk.core.synced(seq);
        assert_eq!(desk.core.durable(), 0);
    }
    assert_eq!(shared.wait(seq, Level::Durable).unwrap_err().kind(), ErrorKind::OutcomeUnknown);
}

#[test]
fn a_disk_without_room_refuses_receptions_settles_what_runs_and_goes_on_by_itself() {
    // R10.
    let dir = tempfile::tempdir().unwrap();
    let shared = store(dir.path(), true);
    let durable = |seq| shared.wait(seq, Level::Durable).unwrap();
    durable(receive(&shared, "first", 10).unwrap());
    let full = || Error::new(ErrorKind::Full, "no space left");
    shared.desk().core.prepared(Err(full()));
    let mut kept = 0;
    let refused = loop {
        match receive(&shared, &format!("e{kept}"), 4_000) {
            Ok(seq) => durable(seq),
            Err(error) => break error,
        }
        kept += 1;
    };
    assert_eq!(refused.kind(), ErrorKind::Full);
    assert!(refused.to_string().contains("goes on by itself"), "{refused}");
    assert_eq!(shared.gauges().full, Some(refused.to_string()), "health says so");
    assert!((10..14).contains(&kept), "a quarter of the segment is left: {kept} of 4,000 bytes are kept");
    let claims = shared.step(|core, now| core.claim(100, now)).unwrap();
    assert_eq!(claims.len(), kept + 1);
    for claim in claims {
        let settled = shared.step(|core, now| core.settle(claim.view.seq, claim.token, &Outcome::Done, now));
        durable(settled.unwrap());
    }
    let header = SegmentHeader { store_id: STORE_ID, ordinal: 2, generation: 0, salt: 2 };
    let next = Segment::create(&shared.dir, header, SEGMENT_BYTES).map_err(|_| full());
    shared.desk().core.prepared(next);
    for number in 0..5 {
        durable(receive(&shared, &format!("later{number}"), 4_000).unwrap());
    }
    assert_eq!(shared.desk().core.active().unwrap().ordinal(), 2);
    assert_eq!((shared.stats().poisoned, shared.stats().full), (None, None));
}

#[test]
fn callers_commit_for_one_another_until_the_last_of_them_is_served() {
    // Nobody else is there: whoever waits while another leads must be asked to lead, or served.
    let dir = tempfile::tempdir().unwrap();
    let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(16 * 1024 * 1024));
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let shared = &shared;
            scope.spawn(move || (0..100).for_each(|number| keep(shared, &format!("{caller}-{number}"), 100).unwrap()));
        }
    });
    let desk = shared.desk();
    assert_eq!((desk.core.durable(), desk.waiters.for_sync()), (2 + 800, 0));
    assert!(desk.commits() < 800, "{} commits for 800 callers", desk.commits());
}

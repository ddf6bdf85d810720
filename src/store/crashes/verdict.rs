//! Is what a loss of power left all that was promised, and does the store answer just that?

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::fold::Fold;
use super::format::{self, Log};
use super::ledger::Ledger;
use super::opening::open;
use crate::env::simulated::{Choices, Disk};
use crate::event::{NewEvent, Scope, Status};
use crate::store::answers::Filter;
use crate::store::audit::audit_in;
use crate::store::fate::{Decision, Fate};
use crate::store::handle::Store;
use crate::store::reception::Single;

/// What a store says of its events: seq, id, status, data.
pub(super) type Answers = Vec<(u64, String, Status, String)>;

/// When and as what recovering processes start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) wall: SystemTime,
    pub(super) number: u64,
    pub(super) boot: u64,
}

/// What the first recovery came to.
pub(super) struct Recovered {
    /// What was there before it.
    pub(super) left: Log,
    pub(super) answers: Answers,
    /// All that it could leave by dying.
    pub(super) frames: Vec<Disk>,
}

/// Judges `disk` as a loss of power left it when all promises before `frame` had been made, and has a store recover from it.
pub(super) fn recover(disk: &Disk, ledger: &Ledger, frame: usize, start: Start) -> Result<Recovered, String> {
    let left = format::read(&disk.files())?;
    ledger.judge(&left, &Fold::of(&left)?, frame)?;
    disk.record();
    let (store, _clock) = open_again(disk, start)?;
    let frames = disk.stop();
    let (answers, fold) = compare(disk, &left, &store)?;
    let audited = audit_in(&disk.root()).map_err(|error| format!("the audit: {error:?}"))?;
    if audited.damage > 0 {
        return Err(format!("the audit finds {} places damaged", audited.damage));
    }
    drop(store);
    let (store, clock) = open_again(disk, Start { number: start.number + 1, ..start })?;
    if compare(disk, &left, &store)?.0 != answers {
        return Err("opening once more changed what the store answers".into());
    }
    check_duplicates(&store, ledger, &fold)?;
    clock.advance(Duration::from_hours(1));
    check_claims(&store, &fold)?;
    let last = NewEvent::new("Issue", &"more").map_err(|error| error.to_string())?.id("more");
    store.append(last).map_err(|error| format!("the recovered store takes nothing: {error:?}"))?;
    Ok(Recovered { left, answers, frames })
}

/// Judges `disk` as a loss of power during a recovery left it: a second recovery finds just what the first one found.
pub(super) fn recover_again(disk: &Disk, first: &Recovered, start: Start) -> Result<(), String> {
    let (store, _clock) = open_again(disk, Start { number: start.number + 2, boot: start.boot + 1, ..start })?;
    let (answers, _) = compare(disk, &first.left, &store)?;
    if answers == first.answers {
        Ok(())
    } else {
        Err(format!("{answers:?} after the second recovery, {:?} after the first", first.answers))
    }
}

fn open_again(disk: &Disk, start: Start) -> Result<(Store, crate::env::Clock), String> {
    open(disk, start.wall, start.number, start.boot).map_err(|error| format!("opening: {error:?}"))
}

/// Holds what the store answers against what the second reader finds of it on the disk, after another loss of power, and that against
/// what was `left` before it was opened.
fn compare(disk: &Disk, left: &Log, store: &Store) -> Result<(Answers, Fold), String> {
    let files = disk.after_crash(&mut Choices::nothing()).files();
    if let Some((name, tail)) = &left.tail
        && files.get(name) != Some(tail)
    {
        return Err(format!("a torn tail of {} bytes is not kept as {name}", tail.len()));
    }
    let durable = format::read(&files)?;
    let last_seq = left.last_seq();
    if durable.dropped != left.dropped && left.store_id.is_some() {
        return Err(format!("ranges were {:?}, and are {:?}", left.dropped, durable.dropped));
    }
    if !durable.entries.range(..=last_seq).eq(&left.entries) {
        return Err(format!("recovery changed what was there up to {last_seq}"));
    }
    let fold = Fold::of(&durable)?;
    let answers = answers_of(store)?;
    let found = fold.events.iter().map(|(seq, event)| (*seq, event.id.clone(), event.status, event.text.clone()));
    let found: Answers = found.collect();
    let pauses = store.pauses().into_iter().map(|pause| match pause.scope {
        Scope::Type(name) => format!("type {name}"),
        Scope::Key(name) => format!("key {name}"),
    });
    let posts: BTreeSet<String> = pauses.chain(store.cursors().keys().map(|name| format!("cursor {name}"))).collect();
    if !posts.iter().eq(fold.posts.keys()) {
        return Err(format!("the store answers {posts:?}, the disk says {:?}", fold.posts));
    }
    if answers == found {
        Ok((answers, fold))
    } else {
        Err(format!("the store answers {answers:?}, the disk says {found:?}"))
    }
}

/// What the store says of its events.
pub(super) fn answers_of(store: &Store) -> Result<Answers, String> {
    let listed = store.list(&Filter::all()).map_err(|error| format!("listing: {error:?}"))?;
    let said = listed.iter().map(|event| (event.seq(), event.id().to_owned(), event.status(), event.data().to_owned()));
    Ok(said.collect())
}

/// Every id that is kept or remembered is refused as the duplicate that it is.
fn check_duplicates(store: &Store, ledger: &Ledger, fold: &Fold) -> Result<(), String> {
    for (seq, id, text) in ledger.receptions() {
        let kept = fold.events.get(&seq).is_some_and(|event| event.id == id);
        if !kept && !fold.remembered.contains_key(&fold.hash(id)) {
            continue;
        }
        let event = NewEvent::from_json("Issue", text).map_err(|error| error.to_string())?.id(id);
        let givens = store.givens(store.shared().now());
        let mut single = Single::new(&event, &givens).map_err(|error| error.to_string())?;
        let fate = match store.shared().try_step(&mut |core, now| core.receive(&mut single, None, now)) {
            Ok(Decision::Done { .. }) => single.fate(),
            Ok(Decision::Conflict | Decision::Doubt { .. }) | Err(_) => None,
        };
        match fate {
            Some(Fate::Duplicate { seq: known, is_kept, .. }) if (known, is_kept) == (seq, kept) => {}
            other => return Err(format!("{id}, kept: {kept}, sent again: {other:?}")),
        }
    }
    Ok(())
}

/// Only what waits to be run is run, and something of it is.
fn check_claims(store: &Store, fold: &Fold) -> Result<(), String> {
    let waits = |status| matches!(status, Status::Pending | Status::Retrying);
    let claims = store.claim(100).map_err(|error| format!("claiming: {error:?}"))?;
    for claim in &claims {
        let seq = claim.event().seq();
        if !fold.events.get(&seq).is_some_and(|event| waits(event.status)) {
            return Err(format!("event {seq} runs again, but it is {:?}", fold.events.get(&seq)));
        }
    }
    if claims.is_empty() && fold.events.values().any(|event| waits(event.status)) {
        return Err("events wait, and none of them is run".into());
    }
    Ok(())
}

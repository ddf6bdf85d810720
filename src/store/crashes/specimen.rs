//! Stores as a process left them, with all that is to be known of each, so that their bytes may rot one by one.

use super::format::{self, Files, Segment};
use super::opening::{first_day, open};
use super::verdict::{Answers, Start, answers_of, recover};
use super::world::{Op, World};
use crate::env::simulated::{Choices, Disk};

/// Old contents that are kept of a store's files, for sectors and files that come back.
const DONORS_MAX: usize = 12;

/// One group of the segment that was written last.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) first_seq: u64,
    /// What was durable when it was written.
    pub(super) durable: u64,
    /// What the store answers if the log ends just before it.
    pub(super) before: Answers,
}

/// A store that nobody has open.
pub(super) struct Specimen {
    /// Everything on it is durable.
    pub(super) disk: Disk,
    pub(super) files: Files,
    /// What the files hold, and what they held before.
    pub(super) donors: Vec<Vec<u8>>,
    pub(super) start: Start,
    /// What the store answers.
    pub(super) whole: Answers,
    /// Name of the segment that was written last.
    pub(super) last: String,
    pub(super) groups: Vec<Group>,
}

impl Specimen {
    /// Lives a life and ends it in one of several ways: closed, marked as idle, in the middle of it all after a torn tail was kept
    /// aside, or just begun again.
    pub(super) fn of(number: u64, seed: u64) -> Result<Self, String> {
        let mut choices = Choices::seeded(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new(Disk::new(), first_day());
        let mut past: Vec<Vec<u8>> = Vec::new();
        for op in ops(&mut choices, number) {
            world.take(op)?;
            let files = world.disk.files().into_values();
            past.extend(files.filter(|bytes| !past.contains(bytes)).collect::<Vec<_>>());
        }
        match number % 4 {
            1 => world.rest(),
            2 => tear(&mut world)?,
            _ => {}
        }
        let start = Start { wall: world.wall, number: world.starts + 1, boot: world.boot };
        let disk = world.disk.after_crash(&mut Choices::everything());
        disk.be_indifferent_to("LOCK");
        let frame = usize::MAX;
        recover(&disk.copy(), &world.ledger, frame, start).map_err(|what| format!("before anything rots: {what}"))?;
        let files = disk.files();
        let now: Vec<&Vec<u8>> = files.values().collect();
        let mut donors: Vec<Vec<u8>> = past.into_iter().rev().filter(|bytes| !now.contains(&bytes)).collect();
        donors.truncate(DONORS_MAX);
        donors.extend(now.into_iter().cloned());
        let whole = opened(&disk.copy(), start)?;
        let (last, groups) = groups(&disk, &files, start)?;
        Ok(Self { disk, files, donors, start, whole, last, groups })
    }
}

/// Some of everything: more than one segment, and mostly one that compaction wrote anew.
fn ops(choices: &mut Choices, number: u64) -> Vec<Op> {
    let mut ops = vec![Op::Batch, Op::Append, Op::Rotate, Op::Compact, Op::Append];
    for _ in 0..choices.pick(4) {
        let at = choices.pick(ops.len());
        ops.insert(at, Op::ALL[choices.pick(Op::ALL.len())]);
    }
    match number % 4 {
        0 => ops.push(Op::Close),
        3 => ops.push(Op::Reopen),
        _ => {}
    }
    ops
}

/// The power fails while something arrives, and leaves a part of that; life goes on.
fn tear(world: &mut World) -> Result<(), String> {
    world.disk.record();
    world.take(Op::Batch)?;
    let frames = world.disk.stop();
    for (frame, seed) in (0..frames.len()).flat_map(|frame| (0..8).map(move |seed| (frame, seed))) {
        let left = frames[frame].after_crash(&mut Choices::seeded(seed));
        let log = format::read(&left.files())?;
        if log.tail.is_some() {
            left.be_indifferent_to("LOCK");
            world.go_on(left, &log, frame);
            return world.take(Op::Append);
        }
    }
    Ok(())
}

/// What the store on `disk` answers.
fn opened(disk: &Disk, start: Start) -> Result<Answers, String> {
    let (store, _clock) = open(disk, start.wall, start.number, start.boot).map_err(|error| format!("{error:?}"))?;
    answers_of(&store)
}

/// Name and groups of the segment that was written last.
fn groups(disk: &Disk, files: &Files, start: Start) -> Result<(String, Vec<Group>), String> {
    let (name, segment) = Segment::last_written(files).ok_or("no segment was written")?;
    let mut groups = Vec::new();
    for (at, length, first_seq, durable) in segment.heads() {
        let cut = disk.copy();
        let file = cut.root().open_file(&name, true).map_err(|error| error.to_string())?;
        file.truncate(at as u64).and_then(|()| file.sync_all()).map_err(|error| error.to_string())?;
        drop(file);
        // A second opinion on what is left of the log then.
        let left = format::read(&cut.files())?;
        let before = opened(&cut, start).map_err(|what| format!("cut at {at}: {what}"))?;
        if left.last_seq() >= first_seq {
            return Err(format!("cut at {at}, before {first_seq}, and {} is there", left.last_seq()));
        }
        groups.push(Group { start: at, end: at + length, first_seq, durable, before });
    }
    Ok((name, groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specimens_hold_files_of_every_kind() {
        let specimens: Vec<Specimen> = (0..8).map(|number| Specimen::of(number, 1).unwrap()).collect();
        let kind = |last: &str, name: &str| match name {
            "LOCK" | "MANIFEST" => 0,
            _ if name.starts_with("cut/") => 1,
            _ if name.contains("-1.seg") => 2,
            _ if name < last => 3,
            _ if name == last => 4,
            _ => 5,
        };
        let kinds_of = |specimen: &Specimen| -> Vec<i32> {
            specimen.files.keys().map(|name| kind(&specimen.last, name)).collect()
        };
        let mut kinds: Vec<i32> = specimens.iter().flat_map(kinds_of).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds, [0, 1, 2, 3, 4, 5], "manifest, cut tail, rewritten, sealed, written last, prepared");
        assert!(specimens.iter().all(|specimen| specimen.donors.len() > specimen.files.len()), "files had a past");
    }
}

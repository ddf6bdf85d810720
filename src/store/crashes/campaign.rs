//! Every sequence of operations up to a length, a loss of power at every call of its last one, and again at every call of the recovery
//! that follows; longer sequences by seed.
//!
//! A crash within an earlier operation is the crash of a shorter sequence. States are told apart by what is on the disk and by what was
//! promised; each is judged once.

use std::collections::HashSet;
use std::fmt;
#[cfg(test)]
use std::sync::Mutex;
#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};

use super::opening::first_day;
use super::verdict::{Start, recover, recover_again};
use super::world::{Op, World};
use crate::env::simulated::{Choices, Disk};

/// How far a campaign goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// Where a crash may leave more states than this, so many of them are chosen by a seed.
    pub(super) states_max: usize,
    /// As much for a crash of the recovery.
    pub(super) states_again_max: usize,
    /// The recovery from one state in so many is crashed.
    pub(super) again_every: u64,
    /// Whether files grow, because the file system cannot reserve space.
    pub(super) grows: bool,
    /// Whether syncs lie.
    pub(super) lies: bool,
    /// Chooses the states where there are too many.
    pub(super) seed: u64,
}

impl Reach {
    fn disk(self) -> Disk {
        let disk = Disk::new();
        if self.grows {
            disk.let_files_grow();
        }
        if self.lies {
            disk.lie();
        }
        disk
    }
}

/// What a campaign came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) sequences: u64,
    /// States that a crash left, each recovered from. Of one place in a life all differ; another place may leave the same.
    pub(crate) states: u64,
    /// States that a crash of the recovery left, each recovered from; of one recovery all differ.
    pub(crate) states_again: u64,
    pub(super) segments_deleted: u64,
    pub(super) segments_rewritten: u64,
    pub(crate) violations: u64,
    /// The first few of them.
    pub(crate) told: Vec<String>,
}

impl Tally {
    #[cfg(test)]
    pub(super) fn add(&mut self, other: Self) {
        self.sequences += other.sequences;
        self.states += other.states;
        self.states_again += other.states_again;
        self.segments_deleted += other.segments_deleted;
        self.segments_rewritten += other.segments_rewritten;
        self.violations += other.violations;
        self.told.extend(other.told);
        self.told.truncate(5);
    }

    pub(super) fn violated(&mut self, what: String) {
        self.violations += 1;
        if self.told.len() < 5 {
            self.told.push(what);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequences, states, states_again, violations, .. } = self;
        let all = states + states_again;
        write!(
            f,
            "states: {all}, of these {states_again} after a second crash, in {sequences} lives; {violations} violations"
        )
    }
}

/// All sequences of just this length.
#[cfg(test)]
pub(super) fn sequences(length: usize) -> Vec<Vec<Op>> {
    (0..length).fold(vec![Vec::new()], |shorter, _| {
        shorter.iter().flat_map(|ops| Op::ALL.map(|op| ops.iter().copied().chain([op]).collect())).collect()
    })
}

/// Does `one` for each of `cases`, on every core.
#[cfg(test)]
pub(super) fn on_all_cores<C: Sync>(cases: &[C], one: impl Fn(&C) -> Tally + Sync) -> Tally {
    let (next, sum) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let tally = one(case);
            sum.lock().unwrap().add(tally);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap()
}

/// Crashes at every call of the last of `ops`; without any, of the creation.
pub(super) fn crash_in_the_last(ops: &[Op], reach: Reach) -> Tally {
    let mut tally = Tally { sequences: 1, ..Tally::default() };
    let mut world = World::new(reach.disk(), first_day());
    let lived = live(&mut world, ops);
    let frames = world.disk.stop();
    (tally.segments_deleted, tally.segments_rewritten) = (world.deleted, world.rewritten);
    if let Err(what) = lived {
        tally.violated(format!("{ops:?}: {what}"));
    }
    let mut seen = HashSet::new();
    for (frame, disk) in frames.iter().enumerate() {
        if let Err(what) = judge_death(&world, frame, disk, reach, &mut tally) {
            tally.violated(format!("{ops:?}, the process dies at frame {frame} of {}: {what}", frames.len()));
        }
        let promises = world.ledger.promises.iter().filter(|promise| promise.frame <= frame).count();
        for left in disk.crashes(reach.states_max, reach.seed ^ frame as u64) {
            if seen.insert((left.fingerprint(), promises))
                && let Err(what) = judge(&world, frame, &left, reach, &mut tally)
            {
                tally.violated(format!("{ops:?}, frame {frame} of {}: {what}", frames.len()));
            }
        }
    }
    tally
}

fn live(world: &mut World, ops: &[Op]) -> Result<(), String> {
    let Some((last, before)) = ops.split_last() else {
        world.disk.record();
        return world.open();
    };
    for op in before {
        world.take(*op)?;
    }
    world.disk.record();
    world.take(*last)
}

/// Recovers from one state, and from every state that a crash of this recovery leaves.
fn judge(world: &World, frame: usize, left: &Disk, reach: Reach, tally: &mut Tally) -> Result<(), String> {
    tally.states += 1;
    let start = Start { wall: world.wall, number: world.starts + 1, boot: world.boot + 1 };
    let first = recover(left, &world.ledger, frame, start)?;
    if !tally.states.is_multiple_of(reach.again_every) {
        return Ok(());
    }
    let mut seen = HashSet::new();
    for (index, disk) in first.frames.iter().enumerate() {
        for left in disk.crashes(reach.states_again_max, reach.seed ^ index as u64) {
            if seen.insert(left.fingerprint()) {
                tally.states_again += 1;
                recover_again(&left, &first, start).map_err(|what| format!("frame {index} of its recovery: {what}"))?;
            }
        }
    }
    Ok(())
}

/// Only the process dies: what it did not sync is still to be seen. Another one opens the store; what it believes must be durable then,
/// and if the power fails meanwhile, what was promised must still be there.
fn judge_death(world: &World, frame: usize, disk: &Disk, reach: Reach, tally: &mut Tally) -> Result<(), String> {
    tally.states += 1;
    let start = Start { wall: world.wall, number: world.starts + 1, boot: world.boot };
    let opened = recover(&disk.copy(), &world.ledger, frame, start)?;
    if !tally.states.is_multiple_of(reach.again_every) {
        return Ok(());
    }
    let again = Start { number: start.number + 2, boot: start.boot + 1, ..start };
    let mut seen = HashSet::new();
    for (index, disk) in opened.frames.iter().enumerate() {
        for left in disk.crashes(reach.states_again_max, reach.seed ^ index as u64) {
            if seen.insert(left.fingerprint()) {
                tally.states_again += 1;
                let mut ledger = world.ledger.clone();
                ledger.start_over(opened.left.last_seq());
                recover(&left, &ledger, frame, again)
                    .map_err(|what| format!("frame {index} of the opening: {what}"))?;
            }
        }
    }
    Ok(())
}

/// A long life by seed: 5 to 12 operations, some of which the power does not outlast; life goes on with what is left.
pub(super) fn long_life(seed: u64, reach: Reach) -> Tally {
    let mut tally = Tally { sequences: 1, ..Tally::default() };
    if let Err(what) = live_long(seed, reach, &mut tally) {
        tally.violated(format!("seed {seed}: {what}"));
    }
    tally
}

fn live_long(seed: u64, reach: Reach, tally: &mut Tally) -> Result<(), String> {
    let mut choices = Choices::seeded(seed);
    let mut world = World::new(reach.disk(), first_day());
    for _ in 0..5 + choices.pick(8) {
        let op = Op::MANY[choices.pick(Op::MANY.len())];
        world.disk.record();
        world.take(op)?;
        let frames = world.disk.stop();
        if choices.pick(3) > 0 {
            continue;
        }
        let frame = choices.pick(frames.len());
        let left = frames[frame].after_crash(&mut choices);
        judge(&world, frame, &left.copy(), reach, tally).map_err(|what| format!("{op:?}, frame {frame}: {what}"))?;
        let log = super::format::read(&left.files())?;
        world.go_on(left, &log, frame);
    }
    tally.segments_deleted += world.deleted;
    tally.segments_rewritten += world.rewritten;
    Ok(())
}

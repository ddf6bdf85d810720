//! A simulated machine: a disk in memory that outlives processes, clocks that go when they are told to, chance from a seed.
//!
//! A store on it has no threads, so that nothing happens but what is called for, and the same calls come to the same end.

use std::time::Duration;

use crate::env::simulated::{Choices, Disk};
use crate::env::{Chance, Clock};
use crate::error::Error;
use crate::event::Timestamp;
use crate::store::crash_point::CrashPoint;
use crate::store::failure::of_env;
use crate::store::handle::Store;
use crate::store::ids::Ids;
use crate::store::open::{Creation, Outside, open_in};
use crate::store::options::StoreOptions;

/// What becomes of bytes and names that were not synced when a simulated process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsynced {
    /// All are lost: the power failed, and nothing had reached the disk by itself.
    Lost,
    /// All are there: the process died, and the machine goes on. Only this counts as a death of the process.
    Kept,
    /// The power failed, and some had reached the disk, as this seed has it: sectors in any order, one of them torn at most.
    Seeded(u64),
}

/// A machine. Clones are handles of the same one, until one of them crashes.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    disk: Disk,
    clock: Clock,
    seed: u64,
    /// Starts of the machine so far.
    boot: u64,
    /// Starts of processes so far.
    starts: u64,
}

impl Machine {
    /// A new machine, at the time `wall`.
    pub(crate) fn new(seed: u64, wall: Timestamp) -> Self {
        Self { disk: Disk::new(), clock: Clock::manual(wall.into()), seed, boot: 0, starts: 0 }
    }

    /// The next process on this machine, which sees what the one before left.
    pub(crate) fn next_process(&mut self) -> Self {
        self.starts += 1;
        self.clock = Clock::manual(self.clock.read().wall);
        self.clone()
    }

    /// Opens the store on this machine; creates it if there is none.
    pub(crate) fn open(self, options: StoreOptions) -> Result<Store, Error> {
        let mut chance = Chance::seeded(self.seed.wrapping_mul(0x0001_0000_01b3) ^ self.starts, self.boot);
        let ids = Ids::new(chance.random().map_err(of_env)?);
        let outside = Outside { dir: self.disk.root(), clock: self.clock, chance };
        let (shared, recovery) = open_in(outside, options, Creation::Allowed)?;
        Ok(Store::of(shared.into(), recovery, ids, Some(Vec::new())))
    }

    /// Dies, whatever is under way, and starts again with what is left of the disk.
    pub(crate) fn crash(&mut self, unsynced: Unsynced) {
        self.disk.cut_power();
        self.disk = match unsynced {
            Unsynced::Lost => self.disk.after_crash(&mut Choices::nothing()),
            Unsynced::Kept => self.disk.copy(),
            Unsynced::Seeded(seed) => self.disk.after_crash(&mut Choices::seeded(seed)),
        };
        self.boot += u64::from(unsynced != Unsynced::Kept);
    }

    /// Every call of the disk fails from now on.
    pub(crate) fn cut_power(&self) {
        self.disk.cut_power();
    }

    /// See [`Disk::cut_power_at`].
    pub(crate) fn cut_power_at(&self, point: CrashPoint, spared: u64) {
        self.disk.cut_power_at(point.name(), spared);
    }

    /// See [`Disk::cut_power_after`].
    pub(crate) fn cut_power_after(&self, calls: u64) {
        self.disk.cut_power_after(calls);
    }

    pub(crate) fn is_without_power(&self) -> bool {
        self.disk.is_without_power()
    }

    /// Calls of the disk so far that change something.
    pub(crate) fn calls(&self) -> u64 {
        self.disk.calls()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.read().wall.into()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    pub(crate) fn set_wall(&self, wall: Timestamp) {
        self.clock.set_wall(wall.into());
    }
}

//! The core and who waits for it, under one lock.
//!
//! Everything here is a look or a note: nobody is woken and nothing is committed. Read next: [`super::commit`], whose leader does both.

use std::sync::Arc;
use std::task::Waker;

use crate::error::{Error, ErrorKind};
use crate::log::writer::Tail;
use crate::mutants::mutant;
use crate::store::beside::Beside;
use crate::store::claims::Claimers;
use crate::store::core::Core;
use crate::store::following::Followers;
use crate::store::keeper::Keeping;
use crate::store::preparer::Preparation;
#[cfg(feature = "manager")]
use crate::store::relay::Lane;
use crate::store::waiters::{Seat, Waiter, Waiters};

/// The core and who waits for it.
pub(crate) struct Desk {
    pub(crate) core: Core,
    /// Whoever takes it leads.
    pub(super) tail: Option<Tail>,
    pub(super) beside: Beside,
    /// Somebody waits for this seq to be durable.
    pub(super) sync_wanted: u64,
    pub(super) preparation: Preparation,
    pub(super) waiters: Waiters,
    /// How many the next commit is expected to serve.
    pub(super) expected: usize,
    /// How many threads look on: nobody is told anything while there is none.
    pub(super) onlookers: usize,
    pub(super) claimers: Claimers,
    /// Those who are to be woken are collected in it, so that no commit allocates.
    pub(super) woken: Vec<Waiter>,
    pub(super) work_wakers: Vec<Waker>,
    pub(super) followers: Followers,
    /// When the first wait ends, as whoever waits for work was last told, in microseconds of running time: what ends earlier wakes them.
    #[cfg(feature = "manager")]
    pub(super) told_due: u64,
    /// Running time, in microseconds, since which something is staged or written but not durable.
    pub(super) unsynced_since: Option<u64>,
    pub(super) last_change: u64,
    /// Counts commits, so that whoever was refused can tell whether one has ended since.
    pub(super) commits: u64,
    pub(super) keeping: Keeping,
    pub(super) stopping: bool,
}

/// How far a record has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// With the operating system: it survives the death of the process.
    Written,
    /// On the disk: it survives the loss of power.
    Durable,
}

impl Desk {
    pub(super) fn new(core: Core) -> Self {
        let tail = end_of(&core);
        Self {
            core,
            tail,
            beside: Beside::default(),
            sync_wanted: 0,
            preparation: Preparation::default(),
            waiters: Waiters::default(),
            expected: 0,
            onlookers: 0,
            claimers: Claimers::default(),
            woken: Vec::new(),
            work_wakers: Vec::new(),
            followers: Followers::default(),
            #[cfg(feature = "manager")]
            told_due: u64::MAX,
            unsynced_since: None,
            last_change: 0,
            commits: 0,
            keeping: Keeping::default(),
            stopping: false,
        }
    }

    pub(super) fn reached(&self, level: Level) -> u64 {
        match level {
            Level::Written => self.core.written(),
            Level::Durable => self.core.durable(),
        }
    }

    /// Whether `seq` has come as far as `level`, or can come no further.
    pub(crate) fn outcome(&self, seq: u64, level: Level) -> Option<Result<(), Error>> {
        if self.reached(level) >= seq {
            return Some(Ok(()));
        }
        let reason = self.core.poison()?;
        if mutant!("unknown-outcome-acknowledged") {
            return Some(Ok(()));
        }
        Some(Err(Error::new(
            ErrorKind::OutcomeUnknown,
            format!(
                "whether this is on the disk is unknown, because {reason}; reopen the store and give the same id again"
            ),
        )
        .at_seq(seq)))
    }

    /// Has this thread called once `seq` is durable, or when it is to lead.
    pub(super) fn sit(&mut self, seq: u64) -> Seat {
        self.want(seq, Level::Durable);
        self.waiters.sit(seq)
    }

    /// Has the next commit bring `seq` as far as `level`.
    pub(super) fn want(&mut self, seq: u64, level: Level) {
        if level == Level::Durable {
            self.sync_wanted = self.sync_wanted.max(seq);
        }
    }

    /// Whether somebody waits for a sync that was not made yet.
    pub(super) fn is_sync_wanted(&self) -> bool {
        self.sync_wanted > self.core.durable()
    }

    /// Whether somebody waits for a commit that nobody will make.
    pub(super) fn is_forsaken(&self) -> bool {
        !self.keeping.kept && self.may_lead() && self.waiters.has_tasks() && self.core.poison().is_none()
    }

    /// Whether nobody leads.
    pub(super) const fn may_lead(&self) -> bool {
        self.tail.is_some()
    }

    /// Whoever led is gone, and the store poisoned: somebody may lead, and writes nothing.
    pub(super) fn take_lead_back(&mut self) {
        self.end_sync();
        self.tail = self.tail.take().or_else(|| end_of(&self.core));
    }

    /// Has `waker` woken once `seq` has come as far as `level`; whoever is woken wakes the others of its lane.
    #[cfg(feature = "manager")]
    pub(crate) fn leave_waker(&mut self, seq: u64, level: Level, waker: Waker) -> Lane {
        self.want(seq, level);
        let lane = Lane::here();
        self.waiters.leave(seq, level, lane, waker);
        lane
    }

    /// How many commits there were.
    #[cfg(any(test, feature = "manager"))]
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    /// Has `waker` woken after the next commit, which is to prepare a segment if that is what is missing.
    #[cfg(feature = "manager")]
    pub(crate) fn leave_refused(&mut self, waker: Waker) {
        self.preparation.wanted = true;
        self.leave_work_waker(waker);
    }

    /// Has `waker` woken after the next commit.
    #[cfg(feature = "manager")]
    pub(crate) fn leave_work_waker(&mut self, waker: Waker) {
        // Whoever asks again and again while nothing happens is woken once.
        if !self.work_wakers.last().is_some_and(|last| last.will_wake(&waker)) {
            self.work_wakers.push(waker);
        }
    }

    /// When the first wait ends, by running time. Whoever waits for work knows it from here on.
    #[cfg(feature = "manager")]
    pub(crate) fn tell_due(&mut self) -> Option<u64> {
        let due = self.core.state.next_due();
        self.told_due = due.unwrap_or(u64::MAX);
        due
    }

    /// Whether a wait ends before anybody was told.
    #[cfg(feature = "manager")]
    pub(crate) fn has_untold_due(&self) -> bool {
        self.core.state.next_due().is_some_and(|due| due < self.told_due)
    }

    /// Whether the store's threads are to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether nothing more becomes durable.
    pub(crate) fn has_ended(&self) -> bool {
        !self.core.is_writing() || self.core.is_closed() && (self.stopping || !self.has_unsynced())
    }

    pub(super) fn has_unsynced(&self) -> bool {
        self.core.durable() < self.core.last_seq()
    }

    /// Takes all who have what they wait for; returns how many of them waited for a sync.
    pub(super) fn satisfied(&mut self, woken: &mut Vec<Waiter>) -> usize {
        let (written, durable, poisoned) = (self.core.written(), self.core.durable(), self.core.poison().is_some());
        let has_ended = poisoned || self.has_ended();
        let mut wakers = std::mem::take(&mut self.work_wakers);
        self.followers.satisfied(durable, has_ended, &mut wakers);
        woken.extend(wakers.into_iter().map(Waiter::Onlooker));
        if poisoned {
            self.waiters.all(woken);
            return 0;
        }
        self.waiters.reached(written, Level::Written, woken);
        self.waiters.reached(durable, Level::Durable, woken)
    }
}

/// Where the log ends, to be written to.
fn end_of(core: &Core) -> Option<Tail> {
    core.active().map(|segment| Tail::new(Arc::clone(segment)))
}

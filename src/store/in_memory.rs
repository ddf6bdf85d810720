//! A store on a disk in memory: the same engine, log and all, without anything that outlives the process.
//!
//! Such a disk answers at once, so whoever needs a commit makes it: no task waits for the keeper, and a store without threads, whose
//! clock stands still, goes on all the same. Read next: [`crate::env::simulated`] for the disk.

use crate::env::simulated::Disk;
use crate::env::{self, Chance, Clock};
use crate::error::Error;
use crate::store::commit::{Leader, Shared};
use crate::store::crash_point::CrashPoint;
use crate::store::desk::Desk;
use crate::store::handle::Store;
use crate::store::open::{Creation, Outside, open_in};
use crate::store::options::StoreOptions;
use crate::sync::MutexGuard;

impl Store {
    /// Opens a new, empty store in memory: nothing survives the process, and everything else holds (duplicates, retries, keys,
    /// retention, history). Its memory is that of the events which are live or retained, twice at most, and a few segments.
    ///
    /// What differs from [`Store::open`]: [`StoreOptions::segment_bytes`] is 8 MiB unless it is said, so that an event takes at most
    /// 2 MiB; retention runs every five seconds; [`StoreOptions::scrub_interval`] and [`StoreOptions::process_deaths_max`] mean
    /// nothing. Of [`StoreOptions::max_event_age`] (24 hours) and [`StoreOptions::log_bytes_max`] (no bound) depends how much memory
    /// finished events take: bound one of them. [`Store::path`] is `(memory)` and names nothing; [`Store::backup`] copies the store
    /// into a directory, where it can be opened. Every store in memory is its own, also of the same process.
    ///
    /// ```
    /// use ledgerline::{NewEvent, Outcome, Store, StoreOptions};
    ///
    /// let store = Store::in_memory(StoreOptions::default())?;
    /// store.append(NewEvent::new("Issue", &"new")?.id("one"))?;
    /// for claim in store.claim(10)? {
    ///     store.settle(&claim, Outcome::Done)?;
    /// }
    /// assert_eq!(store.stats().events_processed, 1);
    /// # Ok::<(), ledgerline::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput): an option is out of bounds.
    pub fn in_memory(options: StoreOptions) -> Result<Self, Error> {
        Self::on_disk(&Disk::settled(), options)
    }

    /// Opens the store on a disk in memory, on the clocks of the machine.
    pub(crate) fn on_disk(disk: &Disk, options: StoreOptions) -> Result<Self, Error> {
        let options = options.for_memory();
        options.validate()?;
        let outside = Outside { dir: disk.root(), clock: Clock::system(), chance: Chance::Machine };
        Self::start(open_in(outside, options, Creation::Allowed)?)
    }
}

impl Shared {
    /// The code passes a place at which a simulated process may die. If it has, the store is poisoned: no step is taken any more.
    pub(crate) fn pass(&self, point: CrashPoint) -> Result<(), env::Error> {
        self.dir.pass(point.name()).inspect_err(|error| self.poison(&error.to_string()))
    }

    /// Commits: once, unless there is nobody else to do so for those who came meanwhile.
    pub(super) fn lead<'a>(&'a self, desk: MutexGuard<'a, Desk>, leader: Leader) -> MutexGuard<'a, Desk> {
        let mut desk = self.lead_once(desk, leader);
        while self.dir.is_in_memory() && desk.is_forsaken() {
            desk = self.lead_once(desk, Leader::Caller);
        }
        desk
    }
}

#[cfg(feature = "manager")]
impl Shared {
    /// Somebody has moved the clock: does what has become due by that, and wakes whoever waits for time to pass.
    pub(crate) fn clock_moved(&self) {
        // What nobody waited for, the mark of an idle log, and a segment that is wanted.
        for _ in 0..3 {
            if !self.tend() {
                break;
            }
        }
        self.wake_workers();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::ErrorKind;
    use crate::event::{NewEvent, Outcome, Status};
    use crate::store::answers::Filter;

    fn event(id: &str, bytes: usize) -> NewEvent {
        NewEvent::new("Issue", &"x".repeat(bytes)).unwrap().id(id)
    }

    fn complete_all(store: &Store) {
        loop {
            let claims = store.claim(100).unwrap();
            if claims.is_empty() {
                return;
            }
            for claim in &claims {
                store.settle(claim, Outcome::Done).unwrap();
            }
        }
    }

    #[test]
    fn what_holds_on_a_disk_holds_in_memory_and_ends_with_the_store() {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        assert_eq!(store.path().to_str(), Some("(memory)"));
        store.append(event("a", 10)).unwrap();
        assert!(store.append(event("a", 10)).unwrap().duplicate.is_some());
        assert_eq!(store.append(event("a", 11)).unwrap_err().kind(), ErrorKind::IdConflict);
        assert_eq!(store.append(event("big", 3 * 1024 * 1024)).unwrap_err().kind(), ErrorKind::TooLarge);
        let claim = &store.claim(1).unwrap()[0];
        store.settle(claim, Outcome::Retry("later".to_owned())).unwrap();
        assert_eq!(store.get("a").unwrap().unwrap().status(), Status::Retrying);
        assert_eq!(store.history("a").unwrap().len(), 3);
        assert!(store.verify().unwrap().is_sound());
        let other = Store::in_memory(StoreOptions::default()).unwrap();
        assert!(other.list(&Filter::all()).unwrap().is_empty(), "each is its own");
        store.close().unwrap();
        assert_eq!(store.append(event("b", 10)).unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn a_backup_of_a_store_in_memory_opens_on_a_disk() {
        let place = tempfile::tempdir().unwrap();
        let to = place.path().join("copy");
        let store = Store::in_memory(StoreOptions::default().segment_bytes(64 * 1024)).unwrap();
        for number in 0..50 {
            store.append(event(&number.to_string(), 4_000)).unwrap();
        }
        let backup = store.backup(&to).unwrap();
        assert!(backup.segments > 2 && backup.segments_linked == 0, "{backup:?}");
        let copy = Store::open_existing(&to, StoreOptions::default()).unwrap();
        assert_eq!(copy.id(), store.id());
        assert_eq!(copy.list(&Filter::all()).unwrap().len(), 50);
    }

    #[test]
    fn what_is_forgotten_takes_no_memory() {
        let disk = Disk::settled();
        let options = StoreOptions::default().max_event_age(Duration::from_secs(1)).dedup_window(Duration::ZERO);
        let (clock, chance) = (Clock::manual(std::time::SystemTime::UNIX_EPOCH), Chance::seeded(1, 1));
        let outside = Outside { dir: disk.root(), clock: clock.clone(), chance };
        let opened = open_in(outside, options.for_memory().segment_bytes(256 * 1024), Creation::Allowed);
        let (shared, recovery) = opened.unwrap();
        let ids = crate::store::ids::Ids::new([1; 16]);
        let store = Store::of(shared.into(), recovery, ids, Some(Vec::new()));
        let mut most = 0;
        for round in 0..20 {
            for number in 0..100 {
                store.append(event(&format!("{round}-{number}"), 10_000)).unwrap();
            }
            most = most.max(disk.memory());
            complete_all(&store);
            clock.advance(Duration::from_secs(2));
            store.compact().unwrap();
        }
        let left = disk.memory();
        assert!(most > 1_000_000 && most < 2_500_000, "a megabyte is live at once: {most} bytes were held");
        assert!(left < 600_000, "two segments, about: {left} bytes are held");
    }
}

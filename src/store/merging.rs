//! Merging at an opening: the many small segments that short lives leave behind become a few.
//!
//! Each opening begins a segment, and each segment takes a file descriptor. Compaction would merge them, but runs a minute after the
//! opening first, and not at all in a command: a process that never lives so long would one day find no descriptor left, and then
//! neither could any that does. So it is done here before the opening returns, in the way of [`super::compaction`] and with what that
//! promises where it is cut. Nothing is forgotten by it, whatever its age: only a horizon does that.
//!
//! Deliberately absent: an error. A store that cannot be made smaller is as good as it was.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::store::commit::Shared;
use crate::store::compaction::{Freed, Thrift};

/// So many small segments are left as they are: a sixteenth of the descriptors that a process may have as a rule. An opening in sixty or
/// so pays for it then, and as that makes one of them, a byte is written anew a few times in its life, not at each opening.
const SMALL_COUNT_MAX: usize = 64;

/// For so long neighbours are merged. Those that were begun are merged to the end, which are a few megabytes; a later opening goes on.
const PATIENCE: Duration = Duration::from_millis(200);

impl Shared {
    /// Merges small neighbours among the sealed segments, where there are many of them.
    pub(crate) fn merge_small(&self) {
        let Some(_at_work) = self.compacting.try_begin() else { return };
        if self.leaves_the_log(self.why_suspended()) {
            return;
        }
        let until = self.clock.steady().saturating_add(PATIENCE);
        let mut spared = BTreeSet::new();
        while self.has_many_small() && self.clock.steady() < until {
            match self.rewrite_next(Thrift::Merge, &mut spared) {
                Ok(Some(Freed { segments, bytes })) => tracing::debug!(segments, bytes, "small segments were merged"),
                Ok(None) => return,
                // It is left out from now on, and told to whoever reads it.
                Err(error) if error.kind() == ErrorKind::Corrupt => warn(&error),
                Err(error) => return warn(&error),
            }
        }
    }

    fn has_many_small(&self) -> bool {
        let segment_bytes = self.options.segment_bytes;
        let desk = self.desk();
        let small = desk.core.sealed.values().filter(|extent| Thrift::Merge.is_small(extent.length, segment_bytes));
        small.take(SMALL_COUNT_MAX + 1).count() > SMALL_COUNT_MAX
    }
}

fn warn(error: &Error) {
    tracing::warn!(?error, "small segments could not be merged; the next opening tries it again");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::simulated::{Choices, Disk, Fault, Kind};
    use crate::event::{Event, NewEvent, Outcome, Status};
    use crate::log::segment::Name;
    use crate::store::answers::Filter;
    use crate::store::crashes::opening::{first_day, open_with};
    use crate::store::handle::Store;
    use crate::store::options::StoreOptions;

    /// One life after another, an hour apart: whatever retention could forget is old enough after a day.
    fn open(disk: &Disk, life: u64) -> Result<Store, Error> {
        let options = StoreOptions::default().segment_bytes(64 * 1024).max_retries(0);
        let wall = first_day() + Duration::from_hours(life);
        open_with(options, disk, wall, life, 0).map(|(store, _)| store)
    }

    /// Keeps one event, runs it, and ends in good order.
    fn live(disk: &Disk, life: u64) {
        let store = open(disk, life).unwrap();
        store.append(NewEvent::new("Issue", &life).unwrap().id(life.to_string())).unwrap();
        for claim in store.claim(1).unwrap() {
            let fails = life.is_multiple_of(5);
            store.settle(&claim, if fails { Outcome::Fail("no".to_owned()) } else { Outcome::Done }).unwrap();
        }
        store.shared().close_log().unwrap();
    }

    /// As many small segments as one opening leaves alone: the next one merges them.
    fn lives() -> (Disk, u64) {
        let (disk, lives) = (Disk::new(), SMALL_COUNT_MAX as u64 + 1);
        (1..=lives).for_each(|life| live(&disk, life));
        assert_eq!(segments(&disk), SMALL_COUNT_MAX + 1);
        (disk, lives)
    }

    fn segments(disk: &Disk) -> usize {
        disk.files().keys().filter(|name| Name::parse(name).is_some()).count()
    }

    /// Everything that so many lives have kept is there as they left it.
    fn check(store: &Store, lives: u64) {
        let listed = store.list(&Filter::all()).unwrap();
        let stands = |event: &Event| (event.id().to_owned(), event.data().to_owned(), event.status());
        let as_left = (1..=lives).map(|life| {
            let status = if life.is_multiple_of(5) { Status::Failed } else { Status::Completed };
            (life.to_string(), life.to_string(), status)
        });
        assert!(listed.iter().map(stands).eq(as_left), "{listed:?}");
        store.shared().desk().core.state.check();
    }

    #[test]
    fn a_store_that_lives_for_an_event_at_a_time_stays_a_few_files_and_forgets_nothing() {
        let disk = Disk::new();
        for life in 1..=300 {
            live(&disk, life);
            // Besides these the one that is written to, and what was merged until it is not small any more.
            assert!(segments(&disk) <= SMALL_COUNT_MAX + 4, "{} after {life} lives", segments(&disk));
        }
        check(&open(&disk, 301).unwrap(), 300);
    }

    #[test]
    fn an_opening_goes_on_where_there_is_no_room_to_merge() {
        let (unmerged, lives) = lives();
        for name in ["-1.seg", "MANIFEST"] {
            let disk = unmerged.copy();
            disk.fail(Fault::of(Kind::Write).full().on(name));
            let store = open(&disk, lives + 1).unwrap();
            assert_eq!(segments(&disk), SMALL_COUNT_MAX + 2, "{name} was not written");
            check(&store, lives);
            store.append(NewEvent::new("Issue", &"x").unwrap()).unwrap();
            store.shared().close_log().unwrap();
            drop(store);
            disk.heal();
            drop(open(&disk, lives + 2).unwrap());
            assert!(segments(&disk) < 5, "the next one merges: {}", segments(&disk));
        }
    }

    #[test]
    fn an_opening_that_is_cut_while_it_merges_loses_nothing() {
        // R5, R6.
        let (disk, lives) = lives();
        let whole = disk.copy();
        let before = whole.calls();
        drop(open(&whole, lives + 1).unwrap());
        assert!(segments(&whole) < 5, "it merges: {}", segments(&whole));
        let calls = whole.calls() - before;
        for spared in 0..calls {
            let cut = disk.copy();
            cut.cut_power_after(spared);
            drop(open(&cut, lives + 1));
            let after = cut.after_crash(&mut Choices::seeded(spared));
            let store = open(&after, lives + 2).unwrap();
            check(&store, lives);
        }
    }
}

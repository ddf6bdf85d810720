//! Pauses and cursors: what is kept of no single event.

use std::collections::BTreeMap;
#[cfg(feature = "manager")]
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::event::entry::{Cursor, Entry, Paused, Resumed};
use crate::event::{Moment, Pause, Scope, Timestamp, limits};
use crate::state::{CURSOR_COUNT_MAX, PAUSE_COUNT_MAX, State};
use crate::store::commit::Shared;
#[cfg(feature = "manager")]
use crate::store::commit::micros;
use crate::store::core::{Core, Refused, Urgency};
use crate::store::desk::Level;
use crate::store::handle::Store;
use crate::store::options::StoreOptions;
use crate::store::runs::bounded;

/// All pauses and cursors are said anew at the beginning of each segment: together they take no more of it than one part of so many.
const SEGMENT_PARTS: u64 = 8;
/// Nor more than this, in bytes.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

impl Store {
    /// Has no run of these events begin until somebody ends the pause ([`Store::resume`]) or, if there is one, until that time; an earlier
    /// pause of the same scope is replaced. Events are kept meanwhile, what runs already goes on, and a paused key stays with the
    /// event that comes first in it. Durable once this returns: the pause outlives the process.
    ///
    /// Of `reason` the first 4 KiB are kept. There are at most 10,000 pauses, and they and the cursors together take at most an eighth
    /// of a segment, or 4 MiB. However the clock is set meanwhile, the pause lasts no longer than `until` was away now:
    /// as for [`NewEvent::not_before`](crate::NewEvent::not_before).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`]: the scope names nothing an event can have, or `until` is not in the future. [`ErrorKind::TooLarge`]: there
    /// are too many pauses; end some. [`ErrorKind::Full`], [`ErrorKind::OutcomeUnknown`], [`ErrorKind::Poisoned`], [`ErrorKind::Closed`],
    /// [`ErrorKind::NotAllowed`] (opened for reading only).
    pub fn pause(&self, scope: Scope, until: Option<Timestamp>, reason: &str) -> Result<(), Error> {
        scope.validate_to_pause()?;
        let seq = self.shared().step(|core, now| core.pause(&scope, until, reason, now))?;
        self.shared().wait(seq, Level::Durable)?;
        // Whoever waits for work must now also wake when the pause ends.
        self.shared().wake_workers();
        Ok(())
    }

    /// Ends a pause; false if there is none. Durable once this returns.
    ///
    /// # Errors
    /// As [`Store::pause`].
    pub fn resume(&self, scope: &Scope) -> Result<bool, Error> {
        scope.validate()?;
        let Some(seq) = self.shared().step(|core, now| core.resume(scope, now))? else {
            return self.shared().wait_for_all().map(|()| false);
        };
        self.shared().wake_workers();
        self.shared().wait(seq, Level::Durable)?;
        Ok(true)
    }

    /// The pauses in force, durable yet or not: those of types first, by name. In a store that was opened for reading, those of that moment.
    pub fn pauses(&self) -> Vec<Pause> {
        let now = self.shared().now();
        self.shared().desk().core.state.pauses(now).collect()
    }

    /// Keeps a place in the log under a name: `seq` is the last record that its reader is done with, 0 that it is done with none, so it
    /// goes on with [`Store::read_from`] one later. Setting it back is allowed: somebody reads again. Durable once this returns.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`]: the name is empty or has more than 128 bytes, or `seq` lies behind the last durable record.
    /// [`ErrorKind::TooLarge`]: there are 1,000 cursors already, or they and the pauses take too much; remove some. Otherwise as
    /// [`Store::append`].
    pub fn save_cursor(&self, name: &str, seq: u64) -> Result<(), Error> {
        save_cursor(self.shared(), name, seq)
    }

    /// The place that was last saved under this name, be it durable yet or not; none if there is no such cursor.
    pub fn cursor(&self, name: &str) -> Option<u64> {
        self.shared().desk().core.state.cursor(name)
    }

    /// All cursors, by name, as [`Store::cursor`] tells each.
    pub fn cursors(&self) -> BTreeMap<String, u64> {
        self.shared().desk().core.state.cursors().map(|(name, seq)| (name.to_owned(), seq)).collect()
    }

    /// Forgets a cursor; false if there is none. Durable once this returns.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn remove_cursor(&self, name: &str) -> Result<bool, Error> {
        let Some(seq) = self.shared().step(|core, now| core.remove_cursor(name, now))? else {
            return self.shared().wait_for_all().map(|()| false);
        };
        self.shared().wait(seq, Level::Durable)?;
        Ok(true)
    }

    /// Sets how many events of a type may run at once, for each type that is named: 1 or more (0 counts as 1). Others are not bounded.
    /// It is not kept: whoever opens the store says so anew.
    #[cfg(feature = "manager")]
    pub(crate) fn set_limits(&self, limits: BTreeMap<String, u32>) {
        self.shared().desk().core.state.set_limits(limits);
        self.shared().wake_workers();
    }
}

/// Where the cursors of a store are saved by whoever must not keep it open.
#[cfg(feature = "manager")]
pub(crate) struct Bookmarks {
    shared: Arc<Shared>,
}

#[cfg(feature = "manager")]
impl Bookmarks {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// As [`Store::save_cursor`].
    pub(crate) fn save(&self, name: &str, seq: u64) -> Result<(), Error> {
        save_cursor(&self.shared, name, seq)
    }
}

fn save_cursor(shared: &Shared, name: &str, seq: u64) -> Result<(), Error> {
    limits::check("the cursor's name", name, 1, limits::CURSOR_BYTES_MAX)?;
    let seq = shared.step(|core, now| core.save_cursor(name, seq, now))?;
    shared.wait(seq, Level::Durable)
}

impl Core {
    /// Pauses a scope; returns the seq to wait for.
    pub(crate) fn pause(
        &mut self,
        scope: &Scope,
        until: Option<Timestamp>,
        reason: &str,
        now: Moment,
    ) -> Result<u64, Refused> {
        self.check_open()?;
        if let Some(until) = until.filter(|until| *until <= now.wall) {
            return Err(Error::invalid(format!("the pause would be over at {until}; it is {} now", now.wall)).into());
        }
        let until = until.map(Timestamp::unix_micros);
        let paused = Paused { scope: scope.borrowed(), at: now.wall.unix_micros(), until, reason: bounded(reason) };
        let is_new = !self.state.is_paused(paused.scope, now);
        if is_new && self.state.pause_count(now) >= PAUSE_COUNT_MAX {
            return Err(too_many(format!("there are {PAUSE_COUNT_MAX} pauses already; end some first")).into());
        }
        let replaced = self.state.pause_bytes(paused.scope, now);
        let entry = Entry::Paused(paused);
        self.check_standing(&entry, replaced, now)?;
        self.append(&entry, Urgency::Bulk, now)
    }

    /// Pauses a scope until then, unless that time has come or a pause of it lasts as long or longer: whoever runs an event knows
    /// nothing of why that is. Returns the seq to wait for.
    #[cfg(feature = "manager")]
    pub(crate) fn pause_at_least(
        &mut self,
        scope: &Scope,
        until: Timestamp,
        reason: &str,
        now: Moment,
    ) -> Result<u64, Refused> {
        self.check_open()?;
        let left = micros(until.saturating_since(now.wall));
        if left == 0 || self.state.is_paused_for(scope.borrowed(), left, now) {
            return Ok(self.last_seq());
        }
        self.pause(scope, Some(until), reason, now)
    }

    /// Ends a pause; returns the seq to wait for, or nothing if there is none.
    pub(crate) fn resume(&mut self, scope: &Scope, now: Moment) -> Result<Option<u64>, Refused> {
        self.check_open()?;
        if !self.state.is_paused(scope.borrowed(), now) {
            return Ok(None);
        }
        let entry = Entry::Resumed(Resumed { scope: scope.borrowed(), at: now.wall.unix_micros() });
        self.append(&entry, Urgency::Bulk, now).map(Some)
    }

    /// Keeps a place in the log; returns the seq to wait for.
    pub(crate) fn save_cursor(&mut self, name: &str, seq: u64, now: Moment) -> Result<u64, Refused> {
        self.check_open()?;
        let durable = self.durable();
        if seq > durable {
            let text = format!("the cursor {name:?} cannot be at {seq}: the last durable record is {durable}");
            return Err(Error::invalid(text).into());
        }
        if self.state.cursor(name) == Some(seq) {
            // Whoever saves by a timer writes nothing while nothing is new.
            return Ok(self.last_seq());
        }
        let entry = Entry::Cursor(Cursor { name, seq: Some(seq), at: now.wall.unix_micros() });
        if self.state.cursor(name).is_none() {
            if self.state.cursors().len() >= CURSOR_COUNT_MAX {
                let text = format!("there are {CURSOR_COUNT_MAX} cursors already; remove some first");
                return Err(too_many(text).into());
            }
            self.check_standing(&entry, 0, now)?;
        }
        self.append(&entry, Urgency::Reception, now)
    }

    /// Forgets a cursor; returns the seq to wait for, or nothing if there is none.
    pub(crate) fn remove_cursor(&mut self, name: &str, now: Moment) -> Result<Option<u64>, Refused> {
        self.check_open()?;
        if self.state.cursor(name).is_none() {
            return Ok(None);
        }
        let entry = Entry::Cursor(Cursor { name, seq: None, at: now.wall.unix_micros() });
        self.append(&entry, Urgency::Bulk, now).map(Some)
    }

    /// Refuses what the beginning of a segment would have no room for, though it need not say what took the `replaced` bytes.
    fn check_standing(&self, entry: &Entry<'_>, replaced: u64, now: Moment) -> Result<(), Error> {
        let mut added = Vec::new();
        entry.encode(&mut added);
        let bytes = self.state.summary_bytes(now) - replaced + added.len() as u64;
        let most = (self.options.segment_bytes / SEGMENT_PARTS).min(BYTES_MAX);
        if bytes > most {
            return Err(too_many(format!(
                "pauses and cursors would take {bytes} bytes; at most {most} are kept: end or remove some, or give shorter reasons"
            )));
        }
        Ok(())
    }
}

/// Refuses to go on with segments in which what is in force would leave no room for events: they are shorter than they were.
pub(super) fn check_room(state: &State, options: &StoreOptions, now: Moment) -> Result<(), Error> {
    let bytes = state.summary_bytes(now);
    if bytes > options.segment_bytes / 2 {
        let least = 2 * bytes;
        return Err(Error::invalid(format!(
            "segment_bytes is {}; the pauses and cursors of this store need at least {least}",
            options.segment_bytes
        )));
    }
    Ok(())
}

fn too_many(text: String) -> Error {
    Error::new(ErrorKind::TooLarge, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::manifest::Extent;
    use crate::store::core::summary;
    use crate::store::stories::{keep, store_with};

    #[test]
    fn what_is_in_force_is_as_long_as_it_is_counted_and_a_pause_is_replaced_where_there_is_room_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        let mut now = shared.now();
        let mut desk = shared.desk();
        let core = &mut desk.core;
        let check = |core: &Core, now| {
            let mut said = Vec::new();
            Entry::State(core.state.summary(now)).encode(&mut said);
            assert_eq!(core.state.summary_bytes(now), said.len() as u64);
            assert_eq!(core.state.pause_count(now), core.state.pauses(now).count());
        };
        check(core, now);
        // More than one byte counts, of types and of keys; every third ends before the others, and nobody has noticed that yet.
        for number in 0..300_u64 {
            let name = number.to_string();
            let scope = if number % 2 == 0 { Scope::Type(name) } else { Scope::Key(name) };
            let until = (number % 3 == 0).then(|| Timestamp::from_unix_micros(now.wall.unix_micros() + 1_000_000));
            core.pause(&scope, until, "", now).unwrap();
            check(core, now);
        }
        now = Moment { steady: now.steady + 2_000_000, ..now };
        check(core, now);
        assert_eq!(core.state.pause_count(now), 200);
        // As long as may be: it is refused to pause more, but not to say anew why.
        let pause = |core: &mut Core, name: &str, reason: &str| {
            let paused = core.pause(&Scope::Type(name.to_owned()), None, reason, now);
            paused.map_err(|refused| if let Refused::Error(error) = refused { Some(error.kind()) } else { None })
        };
        pause(core, "long", &"x".repeat(3_000)).unwrap();
        assert_eq!(pause(core, "another", &"x".repeat(3_000)), Err(Some(ErrorKind::TooLarge)));
        pause(core, "long", &"y".repeat(3_000)).unwrap();
        check(core, now);
    }

    #[test]
    fn a_segment_is_not_touched_before_the_state_after_it_is_durable() {
        // R6: compaction drops what was said of pauses and cursors, because the next `Begun` and `State` say it anew.
        let dir = tempfile::tempdir().unwrap();
        let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        for id in ["a", "b", "c"] {
            keep(&shared, id, 10).unwrap();
        }
        let desk = shared.desk();
        let durable = desk.core.durable();
        let end = crate::log::writer::SegmentEnd { ordinal: 1, last_seq: 0, length: 0, digest: 0 };
        let superseded = |last_seq| desk.core.is_superseded(&Extent { last_seq, ..summary(end, 1) });
        assert_eq!([durable, durable - 1, durable - 2].map(superseded), [false, false, true]);
    }
}

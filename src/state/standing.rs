//! What belongs to no single event and is said anew after each beginning: pauses and cursors.
//!
//! A pause changes only who is offered: that is worked out from the pauses as they stand, so a replay may meet old ones in any order
//! as long as the last `State` comes last.

use std::collections::BTreeMap;

use crate::event::codec::state_bytes;
use crate::event::entry::{Cursor, Entry, Paused, Resumed, Scoped, Summary};
use crate::event::{Moment, Pause};
use crate::state::events::Events;
use crate::state::machine::{Stamp, State};
use crate::state::pauses::{Hold, Target};
use crate::state::slot::Lane;
use crate::state::transition::due_by;
use crate::state::verdict::Applied;

/// Most pauses at once.
pub(crate) const PAUSE_COUNT_MAX: usize = 10_000;
/// Most cursors.
pub(crate) const CURSOR_COUNT_MAX: usize = 1_000;

impl State {
    /// Applies an entry about a pause or a cursor.
    pub(super) fn post(&mut self, stamp: Stamp, entry: &Entry<'_>) -> Applied {
        match entry {
            Entry::Paused(paused) => self.pause(stamp, paused),
            Entry::Resumed(resumed) => self.end_pause(resumed),
            Entry::Cursor(cursor) => self.place_cursor(cursor),
            _ => {}
        }
        Applied::Done
    }

    fn pause(&mut self, stamp: Stamp, paused: &Paused<'_>) {
        let target = self.target(paused.scope);
        let ends = paused.until.map(|until| {
            let delay = u64::try_from(until.saturating_sub(paused.at)).unwrap_or(0);
            due_by(stamp, until, delay)
        });
        match ends {
            // It is over already, and it replaced the one before it.
            Some(None) => drop(self.events.resume(&target)),
            ends => self.events.pause(target, Hold::new(paused, ends.flatten())),
        }
    }

    fn end_pause(&mut self, resumed: &Resumed<'_>) {
        let target = self.target(resumed.scope);
        self.events.resume(&target);
    }

    fn place_cursor(&mut self, cursor: &Cursor<'_>) {
        match cursor.seq {
            Some(seq) => drop(self.cursors.insert(cursor.name.into(), seq)),
            None => drop(self.cursors.remove(cursor.name)),
        }
    }

    /// Goes on with just the pauses and cursors that were in force. Live they are those that are there.
    pub(super) fn stand(&mut self, stamp: Stamp, summary: &Summary<'_>) {
        self.stand_paused(stamp, summary);
        let cursors = summary.cursors.iter().map(|(name, seq)| ((*name).into(), *seq));
        self.cursors = cursors.collect();
    }

    fn stand_paused(&mut self, stamp: Stamp, summary: &Summary<'_>) {
        // As a rule they are: a segment that begins says what is in force.
        if self.events.pauses.are(&summary.pauses) {
            return;
        }
        let listed: BTreeMap<Target, &Paused<'_>> =
            summary.pauses.iter().map(|paused| (self.target(paused.scope), paused)).collect();
        let gone: Vec<Target> =
            self.events.pauses.targets().filter(|target| !listed.contains_key(target)).cloned().collect();
        for target in gone {
            self.events.resume(&target);
        }
        for (target, paused) in listed {
            // One that is known keeps its end, whatever the clocks say by now.
            if !self.events.pauses.has(&target, paused) {
                self.pause(stamp, paused);
            }
        }
    }

    fn target(&self, scope: Scoped<'_>) -> Target {
        match scope {
            Scoped::Type(name) => Target::Type(name.into()),
            Scoped::Key(key) => Target::Key(self.hasher.key(key)),
        }
    }

    /// What a `State` entry is to say now.
    pub(crate) fn summary(&self, now: Moment) -> Summary<'_> {
        Summary { pauses: self.events.pauses.entries(now.steady).collect(), ..self.summary_without_pauses() }
    }

    fn summary_without_pauses(&self) -> Summary<'_> {
        Summary { totals: self.totals, pauses: Vec::new(), cursors: self.cursors().collect() }
    }

    /// How long that entry is. It costs the same however many pauses there are, which may take megabytes.
    pub(crate) fn summary_bytes(&self, now: Moment) -> u64 {
        let (count, bytes) = self.events.pauses.extent(now.steady);
        state_bytes(&self.summary_without_pauses(), count, bytes)
    }

    /// The pauses in force: those of types first, by name.
    pub(crate) fn pauses(&self, now: Moment) -> impl Iterator<Item = Pause> {
        self.events.pauses.in_force(now.steady).map(|(target, hold)| hold.shown(target))
    }

    /// How many there are.
    pub(crate) fn pause_count(&self, now: Moment) -> usize {
        self.events.pauses.extent(now.steady).0
    }

    /// How many bytes of [`State::summary_bytes`] are the pause of this.
    pub(crate) fn pause_bytes(&self, scope: Scoped<'_>, now: Moment) -> u64 {
        self.events.pauses.get(&self.target(scope), now.steady).map_or(0, Hold::bytes)
    }

    /// Whether this is paused.
    pub(crate) fn is_paused(&self, scope: Scoped<'_>, now: Moment) -> bool {
        self.events.pauses.get(&self.target(scope), now.steady).is_some()
    }

    /// Whether this is paused for so many microseconds from now on, or for longer.
    #[cfg(feature = "manager")]
    pub(crate) fn is_paused_for(&self, scope: Scoped<'_>, micros: u64, now: Moment) -> bool {
        let hold = self.events.pauses.get(&self.target(scope), now.steady);
        hold.is_some_and(|hold| hold.lasts_until(now.steady.saturating_add(micros)))
    }

    pub(crate) fn cursor(&self, name: &str) -> Option<u64> {
        self.cursors.get(name).copied()
    }

    /// All cursors, by name.
    pub(crate) fn cursors(&self) -> impl ExactSizeIterator<Item = (&str, u64)> {
        self.cursors.iter().map(|(name, seq)| (&**name, *seq))
    }
}

impl Events {
    /// Pauses a type or a key.
    pub(super) fn pause(&mut self, target: Target, hold: Hold) {
        self.pauses.set(target.clone(), hold);
        self.rearrange_for(&target);
    }

    /// Ends a pause; false if there was none.
    pub(super) fn resume(&mut self, target: &Target) -> bool {
        let was_there = self.pauses.remove(target);
        if was_there {
            self.rearrange_for(target);
        }
        was_there
    }

    /// Ends the pauses whose time has come.
    pub(super) fn end_pauses(&mut self, steady: u64) {
        while let Some((ends, target)) = self.pauses.first_end()
            && ends <= steady
        {
            let target = target.clone();
            self.resume(&target);
        }
    }

    /// Puts those where they belong whom the beginning or the end of this pause concerns.
    fn rearrange_for(&mut self, target: &Target) {
        match target {
            // Whoever is behind the first of the row stays there.
            Target::Key(key) => {
                let first = self.keys.first(&self.slots, *key).filter(|_| !self.is_deferring);
                if let Some(at) = first {
                    self.put_in_lane(at);
                }
            }
            Target::Type(name) => {
                let Some(kind) = self.types.get(name) else { return };
                let is_paused = self.pauses.has_type(name);
                self.lanes.ready.set_paused(&self.slots, kind, is_paused);
                let lane = if is_paused { Lane::Suspect } else { Lane::Shelved };
                for at in self.lanes.of_kind(&self.slots, lane, kind) {
                    self.put_in_lane(at);
                }
            }
        }
    }
}

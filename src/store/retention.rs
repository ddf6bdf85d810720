//! Retention: forgetting what finished long ago, and deleting the segments that nothing needs any more.
//!
//! ```text
//! held too long ─► Condemned
//! Horizon ─► durable ─► which sealed segments are dead? ─► manifest replaced ─► files deleted
//!                       which are mostly dead, or small? ─► written anew ([`super::compaction`])
//! ```
//!
//! Cut anywhere, the next opening is sound: a horizon alone only forgets; ids are written anew before the segments that held them go;
//! and a file goes only after the manifest says that it is dropped (R5, R6).

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::event::entry::{Entry, Horizon, Remembered};
use crate::event::{Moment, Timestamp};
use crate::log::manifest::{Extent, Manifest};
use crate::mutants::mutant;
use crate::state::REMEMBERED_BYTES;
use crate::store::alone::AtWork;
use crate::store::answers::CompactionReport;
use crate::store::commit::{Shared, micros};
use crate::store::compaction::{Thrift, timed};
use crate::store::core::{Core, Refused, Urgency};
use crate::store::crash_point::CrashPoint;
use crate::store::desk::Level;
use crate::store::failure::{of_env, of_log};
use crate::store::notes::{CLOCK_GAP, MANIFEST_PLACE, Rest};

/// About so many events, and about so many remembered ids, are forgotten while the lock is held.
const EVENTS_PER_STEP: usize = 256;
/// Where the log is too long, about so many events are forgotten before what that leaves is looked at again.
const EVENTS_PER_ROUND: u64 = 4 * 1024;
/// At most so many held events fail together while the lock is held.
const HELD_PER_STEP: usize = 512;
/// At most so many ids are appended again while the lock is held.
const IDS_PER_STEP: u64 = 2 * 1024;
/// At most so many segments are taken out of what is known while the lock is held.
pub(super) const SEGMENTS_PER_STEP: usize = 64;
/// About so many references between segments are looked at while the lock is held, or an eighth as many segments.
pub(super) const WEIGHT_PER_STEP: usize = 1024;
/// Ids that one record remembers, unless segments are so short that fewer fit.
const IDS_PER_RECORD: usize = 256;
/// No id takes more bytes in such a record.
const ID_BYTES_MAX: usize = 64;

impl Shared {
    /// Applies retention now, and frees the space that this allows.
    pub(crate) fn compact(&self) -> Result<CompactionReport, Error> {
        let here = || Error::new(ErrorKind::NotAllowed, "this thread compacts the store; its compaction goes on");
        let at_work = self.compacting.begin().ok_or_else(here)?;
        self.compact_alone(&at_work)
    }

    /// As [`Shared::compact`]; nothing where that goes on already.
    pub(crate) fn retain(&self) -> Result<(), Error> {
        let Some(at_work) = self.compacting.try_begin() else { return Ok(()) };
        self.compact_alone(&at_work).map(drop)
    }

    fn compact_alone(&self, _: &AtWork<'_>) -> Result<CompactionReport, Error> {
        {
            let mut desk = self.desk();
            self.refuse_copy(&mut desk);
            desk.core.check_writable()?;
        }
        let rest = self.why_suspended();
        self.tell_rest(rest);
        let suspended = rest.as_ref().map(Rest::to_string);
        let mut report = CompactionReport { suspended, ..CompactionReport::default() };
        // Where there is no room to say what is forgotten, what was forgotten before still gives some back.
        let full = match self.retire(&mut report) {
            Err(error) if error.kind() == ErrorKind::Full => Some(error),
            retired => retired.map(|()| None)?,
        };
        if !self.leaves_the_log(rest) {
            self.free(&mut report, Thrift::Half)?;
        }
        if let Some(error) = full.filter(|_| report.bytes_freed == 0) {
            return Err(error);
        }
        while self.excess_bytes() > 0 {
            let forgotten = self.forget_for_space()?;
            if forgotten == 0 {
                self.tell_excess();
                break;
            }
            report.events_forgotten += forgotten;
            self.free(&mut report, Thrift::Eighth)?;
        }
        self.note(|notes, now| notes.last_cleanup = Some(now));
        Ok(report)
    }

    /// Says once in the log that retention by age rests, and why, or that it goes on.
    fn tell_rest(&self, rest: Option<Rest>) {
        let is_news = self.notes.lock().unwrap_or_else(PoisonError::into_inner).note_rest(rest);
        match rest {
            Some(why) if is_news => tracing::warn!(%why, "retention by age is suspended"),
            None if is_news => tracing::info!("retention by age goes on"),
            _ => {}
        }
    }

    /// Says in the log that it is too long, and why it stays so.
    fn tell_excess(&self) {
        let bytes = self.excess_bytes();
        let is_dated_ahead = self.desk().core.state.finished_after(0).is_some();
        if is_dated_ahead {
            tracing::warn!(
                bytes,
                "the log is longer than it may be; what is finished in it a clock that was ahead has dated"
            );
        } else {
            tracing::warn!(bytes, "the log is longer than it may be, and nothing finished is left in it");
        }
    }

    /// Fails what was held for too long and forgets what finished long ago, unless that is suspended.
    fn retire(&self, report: &mut CompactionReport) -> Result<(), Error> {
        if report.suspended.is_some() {
            return Ok(());
        }
        // It gives room back, and takes next to none.
        self.forget(&mut report.events_forgotten)?;
        self.expire_held(&mut report.events_expired)
    }

    /// Deletes what is dead and writes anew what is worth it, until neither is.
    fn free(&self, report: &mut CompactionReport, thrift: Thrift) -> Result<(), Error> {
        let mut spared = BTreeSet::new();
        loop {
            let dead = self.find_dead()?;
            if !dead.is_empty() {
                self.delete_all(&dead, report)?;
                self.forget_references();
                continue;
            }
            match self.rewrite_next(thrift, &mut spared) {
                Ok(Some(freed)) => {
                    report.segments_rewritten += freed.segments;
                    report.bytes_freed += freed.bytes;
                }
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Full => {
                    tracing::warn!(?error, "there is no room to write segments anew");
                    if !self.free_in_place(report)? {
                        return Ok(());
                    }
                }
                // It is left out from now on.
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::error!(?error, "a damaged segment cannot be written anew");
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where there is no room for a copy: what is remembered of a segment that is dead otherwise is appended to the log, which keeps
    /// room for this (R10), and the segment is deleted. Whether there was one.
    fn free_in_place(&self, report: &mut CompactionReport) -> Result<bool, Error> {
        let dead = self.find_emptiest()?;
        let keys = keys_of(&dead);
        let seq = self.step(|core, now| timed(|| core.move_ids(&keys, now)))?;
        self.wait(seq, Level::Durable)?;
        self.delete_all(&dead, report)?;
        Ok(!dead.is_empty())
    }

    fn delete_all(&self, dead: &[Extent], report: &mut CompactionReport) -> Result<(), Error> {
        if !dead.is_empty() {
            self.delete(dead)?;
        }
        report.segments_deleted += dead.len() as u64;
        report.bytes_freed += dead.iter().map(|segment| segment.length).sum::<u64>();
        Ok(())
    }

    /// By how many bytes the log is longer than it may be.
    fn excess_bytes(&self) -> u64 {
        let most = self.options.log_bytes_max;
        if most == 0 { 0 } else { self.desk().core.log_bytes().saturating_sub(most) }
    }

    /// Forgets the oldest finished events, about as many as the log is too long, but no more than a round; returns how many.
    fn forget_for_space(&self) -> Result<u64, Error> {
        // At least so much: where finished events are small, their segment goes only once many of them do.
        let mut excess = self.excess_bytes().max(self.options.segment_bytes / 8);
        let mut forgotten = 0;
        while excess > 0 && forgotten < EVENTS_PER_ROUND {
            let (count, bytes) = match self.forget_some(|core, now| core.advance_for_space(excess, now)) {
                Ok((0, _)) => break,
                // What was forgotten gives room once it is looked at.
                Err(error) if error.kind() == ErrorKind::Full && forgotten > 0 => break,
                some => some?,
            };
            forgotten += count;
            excess = excess.saturating_sub(bytes);
        }
        Ok(forgotten)
    }

    /// Takes a step of forgetting, which is durable once this returns: `step` gives the seq to wait for and what else it tells. Returns
    /// how many events it forgot, and that.
    fn forget_some<T>(
        &self,
        mut step: impl FnMut(&mut Core, Moment) -> Result<(u64, T), Refused>,
    ) -> Result<(u64, T), Error> {
        let (count, seq, told) = self.step(|core, now| {
            let before = core.state.counts().all();
            let (seq, told) = timed(|| step(core, now))?;
            Ok((before - core.state.counts().all(), seq, told))
        })?;
        if !mutant!("horizon-not-awaited") {
            self.wait(seq, Level::Durable)?;
        }
        Ok((count, told))
    }

    /// Whether segments stay as they are for now: the next opening learns of the jump only from the records on both sides of it, as long
    /// as nothing was dropped between them. Space that is needed counts for more.
    pub(super) fn leaves_the_log(&self, rest: Option<Rest>) -> bool {
        matches!(rest, Some(Rest::Jumped(_))) && self.excess_bytes() == 0 && !self.desk().core.is_full()
    }

    /// Why the clock is not to be acted on just now.
    pub(super) fn why_suspended(&self) -> Option<Rest> {
        let now = self.now();
        let rests_until = self.notes.lock().unwrap_or_else(PoisonError::into_inner).rests_until(now);
        if now.steady < rests_until && !mutant!("jump-of-the-clock-acted-on") {
            return Some(Rest::Jumped(Duration::from_micros(rests_until - now.steady)));
        }
        let horizon = self.desk().core.state.totals().horizon;
        let behind = now.wall.unix_micros() < horizon.finished_before && !mutant!("clock-behind-a-horizon-acted-on");
        behind.then_some(Rest::Behind(Timestamp::from_unix_micros(horizon.finished_before)))
    }

    /// Fails the events that were held for too long, and counts them.
    fn expire_held(&self, expired: &mut u64) -> Result<(), Error> {
        loop {
            let (count, seq) = self.step(|core, now| timed(|| core.expire_held(HELD_PER_STEP, now)))?;
            self.wait(seq, Level::Durable)?;
            *expired += count as u64;
            if count == 0 {
                return Ok(());
            }
        }
    }

    /// Appends the horizon that the ages in force give, and counts the events that it forgets.
    pub(super) fn forget(&self, forgotten: &mut u64) -> Result<(), Error> {
        loop {
            let (count, more) = self.forget_some(Core::advance_horizon)?;
            *forgotten += count;
            if !more {
                return Ok(());
            }
        }
    }

    /// Drops dead segments: from the manifest first, then from the directory.
    pub(super) fn delete(&self, dead: &[Extent]) -> Result<(), Error> {
        let manifest = self.manifest_after(dead, None);
        if mutant!("deleted-before-the-manifest") {
            self.remove_files(dead, &[])?;
        }
        self.put_manifest(&manifest)?;
        let keys = keys_of(dead);
        // First of all: a record that is in no file any more is one that was compacted away.
        let before = self.briefly(|core| std::mem::replace(&mut core.manifest, manifest));
        drop(before);
        self.take_out(&keys);
        self.remove_files(dead, &keys)
    }

    /// Takes segments that the manifest in force names no more out of what is known.
    pub(super) fn take_out(&self, keys: &[u32]) {
        for keys in keys.chunks(SEGMENTS_PER_STEP) {
            drop(self.in_turn(|core| {
                for key in keys {
                    core.sealed.remove(*key);
                }
                core.state.drop_segments(keys)
            }));
        }
    }

    /// The manifest that follows the one in force: see [`Manifest::after`]. It is made without the lock, for whoever compacts: nobody else
    /// replaces the one in force meanwhile.
    pub(super) fn manifest_after(&self, gone: &[Extent], left: Option<Extent>) -> Arc<Manifest> {
        let in_force = self.briefly(|core| Arc::clone(&core.manifest));
        Arc::new(in_force.after(gone, left))
    }

    /// The sealed segments that nothing needs.
    fn find_dead(&self) -> Result<Vec<Extent>, Error> {
        self.search_dead(usize::MAX, |remembered, _| remembered == 0 || mutant!("ids-deleted-with-their-segment"))
    }

    /// The oldest sealed segment of which only ids are needed, few of them, if there is one.
    fn find_emptiest(&self) -> Result<Vec<Extent>, Error> {
        self.search_dead(1, |remembered, length| {
            remembered <= IDS_PER_STEP && Thrift::Half.is_worth(remembered * REMEMBERED_BYTES, length)
        })
    }

    /// The oldest sealed segments, `count_max` at most, that are dead but for what `may_go`: see [`Core::look_for_dead`].
    fn search_dead(&self, count_max: usize, may_go: impl Fn(u64, u64) -> bool) -> Result<Vec<Extent>, Error> {
        let (mut search, mut next) = (DeadSearch::default(), Some(0));
        while let Some(from) = next.filter(|_| search.found.len() < count_max) {
            next = self.in_turn(|core| {
                core.check_open().map(|()| core.look_for_dead((from, WEIGHT_PER_STEP), &mut search, &may_go))
            })?;
        }
        search.found.truncate(count_max);
        Ok(search.found)
    }

    /// Forgets what segments say about those that are gone.
    fn forget_references(&self) {
        let mut next = Some(0);
        while let Some(from) = next {
            next = self.in_turn(|core| core.state.forget_references(from, WEIGHT_PER_STEP));
        }
    }

    /// Replaces the manifest in the directory.
    pub(super) fn put_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        self.desk().core.check_writable()?;
        self.pass(CrashPoint::CompactionCopied).map_err(of_env)?;
        manifest.write_aside(&self.dir).map_err(of_log)?.put().map_err(|error| {
            // Which manifest is in force is unknown now, so nothing may be built on either (R2).
            if !mutant!("unknown-manifest-forgiven") {
                self.poison(&error.to_string());
            }
            of_env(error)
        })?;
        self.note(|notes, _| _ = notes.damaged_places.remove(&MANIFEST_PLACE));
        self.pass(CrashPoint::CompactionInForce).map_err(of_env)
    }

    /// Removes the files of segments that the manifest names no more.
    pub(super) fn remove_files(&self, gone: &[Extent], keys: &[u32]) -> Result<(), Error> {
        let closed: Vec<_> = {
            let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
            keys.iter().filter_map(|key| files.remove(key)).collect()
        };
        // Not while others wait for the map.
        drop(closed);
        self.note(|notes, _| notes.forget_segments(keys));
        for segment in gone {
            if let Err(error) = self.dir.remove(&segment.name().to_string()) {
                tracing::warn!(%error, "a segment that is not needed could not be deleted; the next opening deletes it");
            }
        }
        self.dir.sync().map_err(|error| {
            self.poison(&error.to_string());
            of_env(error)
        })
    }
}

impl Core {
    /// Appends the horizon that the ages in force give, or a part of the way there; returns the seq to wait for, and whether there is more.
    fn advance_horizon(&mut self, now: Moment) -> Result<(u64, bool), Refused> {
        let cutoff = |age: Duration| Timestamp::saturating_sub(now.wall, age).unix_micros();
        let dedup_max = self.options.dedup_max;
        // Of too many, the oldest go first.
        let remembered = cutoff(self.options.dedup_window);
        let (remembered_before, more) = self.state.next_remembered_horizon(remembered, dedup_max, EVENTS_PER_STEP);
        let target = cutoff(self.options.max_event_age);
        // Ids go before events: an event whose id is too old as well is then not remembered only to be forgotten.
        let Some(oldest) = self.state.finished_after(0).filter(|at| !more && *at < target) else {
            return Ok((self.advance_memory(remembered_before, now)?, more));
        };
        // Those that finished in one and the same microsecond go together.
        let next = self.state.finished_after(EVENTS_PER_STEP).filter(|at| *at < target);
        let finished_before = next.map_or(target, |next| next.max(oldest + 1));
        let seq =
            self.append(&Entry::Horizon(Horizon { finished_before, remembered_before }), Urgency::Transition, now)?;
        let is_crowded = usize::try_from(self.state.counts().remembered).is_ok_and(|count| count > dedup_max);
        Ok((seq, next.is_some() || is_crowded))
    }

    /// Appends a horizon that forgets the oldest finished events, about `excess` bytes of them, or a part; returns the seq to wait for,
    /// and about how many bytes that are.
    fn advance_for_space(&mut self, excess: u64, now: Moment) -> Result<(u64, u64), Refused> {
        let Some((last, bytes)) = self.state.finished_worth(excess, EVENTS_PER_STEP) else {
            return Ok((self.durable(), 0));
        };
        let Some(last) = self.state.finished_by(last.min(self.ended_until(now))) else {
            return Ok((self.durable(), 0));
        };
        let in_force = self.state.totals().horizon;
        let finished_before = last.saturating_add(1);
        // Retention by age may rest for years. What is forgotten meanwhile is remembered, as far as that is bounded.
        let (target, dedup_max) = (in_force.remembered_before, self.options.dedup_max);
        let (remembered_before, _) = self.state.next_remembered_horizon(target, dedup_max, EVENTS_PER_STEP);
        let horizon = Horizon { finished_before, remembered_before };
        Ok((self.append(&Entry::Horizon(horizon), Urgency::Transition, now)?, bytes))
    }

    /// Up to when events have finished that may be forgotten for their space: until now. Where the clock once was ahead, some seem to
    /// finish in the future, and a horizon there would have retention by age rest until then. Only where it rests for that already, space
    /// is taken from behind the horizon too: what finished by the clock that set it lies behind it by little more than the age that
    /// events are kept for, and what has finished since right behind that (see [`Core::ended_at`]).
    pub(super) fn ended_until(&self, now: Moment) -> i64 {
        let (now, horizon) = (now.wall.unix_micros(), self.state.totals().horizon.finished_before);
        if now >= horizon {
            return now;
        }
        let reach = micros(self.options.max_event_age.saturating_add(CLOCK_GAP));
        horizon.saturating_add_unsigned(reach)
    }

    /// Appends a horizon for the remembered ids alone, if there are any; returns the seq to wait for.
    fn advance_memory(&mut self, remembered_before: i64, now: Moment) -> Result<u64, Refused> {
        if self.state.counts().remembered == 0 {
            return Ok(self.durable());
        }
        let horizon = Horizon { remembered_before, ..self.state.totals().horizon };
        self.append(&Entry::Horizon(horizon), Urgency::Transition, now)
    }

    /// Appends the ids that are remembered in `dead` anew; returns the seq to wait for.
    fn move_ids(&mut self, dead: &[u32], now: Moment) -> Result<u64, Refused> {
        let mut seq = self.durable();
        let ids_per_record = IDS_PER_RECORD.min(self.options.record_bytes_max() / ID_BYTES_MAX);
        for ids in self.state.remembered_in(dead).chunks(ids_per_record) {
            let entry = Entry::Remembered(Remembered { ids: ids.to_vec() });
            seq = self.append(&entry, Urgency::Transition, now)?;
        }
        Ok(seq)
    }

    /// Looks for segments that are dead but for as many remembered ids as `may_go` lets go, given with the segment's length: among the next
    /// sealed ones, from `from` on, until so much was looked at. Returns where to go on, if there is more.
    fn look_for_dead(
        &self,
        (from, weight): (u32, usize),
        search: &mut DeadSearch,
        may_go: impl Fn(u64, u64) -> bool,
    ) -> Option<u32> {
        let mut looked_at = 0;
        for (&key, extent) in self.sealed.range(from..) {
            if looked_at >= weight {
                return Some(key);
            }
            looked_at += self.state.segment_weight(key);
            if self.is_superseded(extent)
                && may_go(self.state.remembered_count_in(key), extent.length)
                && self.state.is_dead_segment(key, &search.dead)
            {
                search.dead.insert(key);
                search.found.push(*extent);
            }
        }
        None
    }
}

/// The dead segments that were found. What is dead stays so while others come to the lock.
#[derive(Default)]
struct DeadSearch {
    dead: BTreeSet<u32>,
    found: Vec<Extent>,
}

fn keys_of(segments: &[Extent]) -> Vec<u32> {
    segments.iter().filter_map(|segment| segment.name().key()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{NewEvent, Outcome};
    use crate::store::compaction::RunSearch;
    use crate::store::handle::Store;
    use crate::store::options::StoreOptions;

    #[test]
    fn a_search_finds_the_same_however_short_its_steps() {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let store = Store::open(dir.path(), StoreOptions::default().segment_bytes(64 * 1024)).unwrap();
        let event = |number: u32| NewEvent::new("Issue", &"x".repeat(3_000)).unwrap().id(number.to_string());
        store.append_many((0..5).map(event)).unwrap();
        for first in (5..200).step_by(5) {
            store.append_many((first..first + 5).map(event)).unwrap();
            for claim in store.claim(4).unwrap() {
                store.settle(&claim, Outcome::Done).unwrap();
            }
        }
        let shared = store.shared();
        while shared.forget_some(|core, now| core.advance_for_space(u64::MAX, now)).unwrap().0 > 0 {}
        let desk = shared.desk();
        let look = |weight: usize| {
            let (mut dead, mut next, mut steps) = (DeadSearch::default(), Some(0), 0);
            while let Some(from) = next {
                next = desk.core.look_for_dead((from, weight), &mut dead, |_, _| true);
                steps += 1;
            }
            let (mut run, mut next) = (RunSearch::new(), Some(0));
            while let Some(from) = next {
                next = desk.core.look_for_run((from, weight), &mut run, Thrift::Half, &BTreeSet::new());
                steps += 1;
            }
            (keys_of(&dead.found), run.keys(), steps)
        };
        let (dead, run, steps) = look(usize::MAX);
        assert!(dead.len() > 3 && run.len() > 1 && steps == 2, "{dead:?}, {run:?} in {steps} steps");
        let mut before = usize::MAX;
        for weight in [1, 10, 20, 40] {
            let (found, neighbours, steps) = look(weight);
            assert_eq!((&found, &neighbours), (&dead, &run), "{weight} at a time");
            assert!((3..before).contains(&steps), "{steps} steps of {weight}");
            before = steps + 1;
        }
    }
}

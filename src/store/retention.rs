//! Retention: forgetting what finished long ago, and deleting the segments that nothing needs any more.
//!
//! ```text
//! Horizon ─► durable ─► which sealed segments are dead? ─► Remembered ─► durable ─► manifest replaced ─► files deleted
//! ```
//!
//! Cut anywhere, the next opening is sound: a horizon alone only forgets; ids are written down again before the segments that held
//! them go; and a file goes only after the manifest says that it is dropped (R5, R6).

use std::sync::PoisonError;
use std::time::Duration;

use crate::error::Error;
use crate::event::entry::{Entry, Horizon, Remembered};
use crate::event::{Moment, Timestamp};
use crate::log::manifest::{Extent, Manifest};
use crate::store::answers::CompactionReport;
use crate::store::commit::{Level, Shared};
use crate::store::core::{Core, Refused, Urgency};
use crate::store::failure::{of_env, of_log};

/// Most ids that are remembered, as far as retention can see to it: about 400 MB of memory.
const REMEMBERED_MAX: usize = 4_000_000;
/// About so many events are forgotten while the lock is held.
const EVENTS_PER_STEP: usize = 4 * 1024;
/// About so many ids are written down again while the lock is held.
const IDS_PER_STEP: usize = 16 * 1024;
/// Ids that one record remembers.
const IDS_PER_RECORD: usize = 256;

impl Shared {
    /// Applies retention now, and frees the space that this allows.
    pub(crate) fn compact(&self) -> Result<CompactionReport, Error> {
        let _one_at_a_time = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        self.desk().core.check_open()?;
        let mut report = CompactionReport { suspended: self.why_suspended(), ..CompactionReport::default() };
        if report.suspended.is_none() {
            report.events_forgotten = self.forget()?;
        }
        loop {
            let (dead, seq) = self.step(Core::find_dead)?;
            self.wait(seq, Level::Durable)?;
            if dead.is_empty() {
                break;
            }
            self.delete(&dead)?;
            report.segments_deleted += dead.len() as u64;
            report.bytes_freed += dead.iter().map(|segment| segment.length).sum::<u64>();
        }
        self.note(|notes, now| notes.last_cleanup = Some(now));
        Ok(report)
    }

    /// Why the clock is not to be acted on just now.
    fn why_suspended(&self) -> Option<String> {
        let now = self.now();
        let rests_until = self.notes.lock().unwrap_or_else(PoisonError::into_inner).rests_until(now);
        if now.steady < rests_until {
            let rest = Duration::from_micros(rests_until - now.steady).as_secs();
            return Some(format!("the clock went on by more than a day at once; retention rests for {rest} s"));
        }
        let horizon = self.desk().core.state.totals().horizon;
        let behind = now.wall.unix_micros() < horizon.finished_before;
        behind.then(|| "the clock is behind an earlier horizon; retention rests until it has caught up".to_owned())
    }

    /// Appends the horizon that the ages in force give; returns how many events it forgot.
    fn forget(&self) -> Result<u64, Error> {
        let mut forgotten = 0;
        loop {
            let (count, seq, more) = self.step(|core, now| {
                let before = core.state.counts().all();
                let (seq, more) = core.advance_horizon(now)?;
                Ok((before - core.state.counts().all(), seq, more))
            })?;
            self.wait(seq, Level::Durable)?;
            forgotten += count;
            if !more {
                return Ok(forgotten);
            }
        }
    }

    /// Drops dead segments: from the manifest first, then from the directory.
    fn delete(&self, dead: &[Extent]) -> Result<(), Error> {
        let manifest = self.desk().core.manifest.after(dead, None);
        manifest.write_aside(&self.dir).map_err(of_log)?.put().map_err(|error| {
            // Which manifest is in force is unknown now, so nothing may be built on either (R2).
            self.poison(&error.to_string());
            of_env(error)
        })?;
        self.adopt(manifest, dead);
        for segment in dead {
            if let Err(error) = self.dir.remove(&segment.name().to_string()) {
                tracing::warn!(%error, "a dropped segment could not be deleted; the next opening deletes it");
            }
        }
        self.dir.sync().map_err(|error| {
            self.poison(&error.to_string());
            of_env(error)
        })
    }

    /// From here on the dropped segments are gone, whether or not their files are.
    fn adopt(&self, manifest: Manifest, dead: &[Extent]) {
        let keys: Vec<u32> = dead.iter().filter_map(|segment| segment.name().key()).collect();
        {
            let mut desk = self.desk();
            desk.core.manifest = manifest;
            desk.core.state.drop_segments(&keys);
            for key in &keys {
                desk.core.sealed.remove(key);
            }
        }
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        for key in &keys {
            files.remove(key);
        }
    }

    fn poison(&self, reason: &str) {
        self.desk().core.poison_with(reason.to_owned());
        self.wake_all();
    }
}

impl Core {
    /// Appends the horizon that the ages in force give, or a part of the way there; returns the seq to wait for, and whether there is more.
    fn advance_horizon(&mut self, now: Moment) -> Result<(u64, bool), Refused> {
        let cutoff = |age: Duration| Timestamp::saturating_sub(now.wall, age).unix_micros();
        // Of too many, the oldest go first.
        let crowded = self.state.remembered_horizon(REMEMBERED_MAX).unwrap_or(i64::MIN);
        let target = cutoff(self.options.max_event_age);
        let Some(oldest) = self.state.finished_after(0).filter(|at| *at < target) else {
            return self.advance_memory(cutoff(self.options.dedup_window).max(crowded), now);
        };
        // Those that finished in one and the same microsecond go together.
        let next = self.state.finished_after(EVENTS_PER_STEP).filter(|at| *at < target);
        let horizon = Horizon {
            finished_before: next.map_or(target, |next| next.max(oldest + 1)),
            remembered_before: cutoff(self.options.dedup_window).max(crowded),
        };
        let seq = self.append(&Entry::Horizon(horizon), Urgency::Transition, now)?;
        Ok((seq, next.is_some()))
    }

    /// Appends a horizon for the remembered ids alone, if there are any.
    fn advance_memory(&mut self, remembered_before: i64, now: Moment) -> Result<(u64, bool), Refused> {
        if self.state.counts().remembered == 0 {
            return Ok((self.durable(), false));
        }
        let horizon = Horizon { remembered_before, ..self.state.totals().horizon };
        Ok((self.append(&Entry::Horizon(horizon), Urgency::Transition, now)?, false))
    }

    /// The sealed segments that nothing needs, after the ids they alone remember were appended anew; and the seq to wait for.
    fn find_dead(&mut self, now: Moment) -> Result<(Vec<Extent>, u64), Refused> {
        let durable = self.durable();
        let sealed = self.sealed.iter().filter(|(_, segment)| segment.last_seq <= durable).map(|(ordinal, _)| *ordinal);
        let mut dead = self.state.dead_segments(sealed);
        let mut ids = Vec::new();
        // A segment can go only after those before it, so some from the front are as good as all.
        let count = dead.iter().take_while(|segment| {
            let room = ids.len() < IDS_PER_STEP;
            if room {
                ids.extend(self.state.remembered_in(&[**segment]));
            }
            room
        });
        let count = count.count();
        dead.truncate(count);
        let mut seq = durable;
        for ids in ids.chunks(IDS_PER_RECORD) {
            let entry = Entry::Remembered(Remembered { ids: ids.to_vec() });
            seq = self.append(&entry, Urgency::Transition, now)?;
        }
        let dead = dead.iter().filter_map(|ordinal| self.sealed.get(ordinal).copied()).collect();
        Ok((dead, seq))
    }
}

//! Statistics: what the state counts, and what the store notes beside it.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::event::Status;
use crate::state::{HELD, Stands};
use crate::store::answers::Stats;
use crate::store::commit::Shared;
use crate::store::statistics::{TYPES_MAX, Tallied, TypeStats};

/// Types that are looked at under one lock.
const KINDS_PAGE: usize = 32;
/// Events that are looked at under one lock, in search of those that wait.
const EVENTS_PAGE: usize = 2_048;

impl Shared {
    /// Everything that is counted. The lock is held for a few types or events at a time.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.gauges();
        let now = self.now().wall.unix_micros();
        let mut all = Tallied::default();
        let mut others = None;
        let mut next = 0;
        loop {
            let page = self.kinds(next);
            let Some((last, ..)) = page.last() else { break };
            next = last + 1;
            for (number, name, stands, tallied) in page {
                if let Some(tallied) = &tallied {
                    all.add(tallied);
                }
                let oldest = self.oldest_waiting(number).map(|then| seconds(now.saturating_sub(then)));
                if number >= TYPES_MAX {
                    others.get_or_insert_with(TypeStats::default).stand(stands, oldest);
                } else if tallied.is_some() || stands != Stands::default() {
                    let mut of_type = TypeStats { event_type: name.as_ref().to_owned(), ..TypeStats::default() };
                    of_type.stand(stands, oldest);
                    of_type.tell(tallied.as_deref());
                    stats.types.push(of_type);
                }
            }
        }
        let rest = self.desk().core.tallies.rest().clone();
        if let Some(others) = &mut others {
            others.tell(Some(&rest));
        }
        all.add(&rest);
        stats.other_types = others;
        stats.attempts = all.attempts;
        stats.handling = all.handling.latency();
        stats.end_to_end = all.end_to_end.latency();
        stats
    }

    /// Some types from this number on, and what was counted of those that are told apart.
    fn kinds(&self, from: usize) -> Vec<Kind> {
        let desk = self.desk();
        let kind = |number: usize| {
            let (name, stands) = desk.core.state.kind(number)?;
            let tallied = desk.core.tallies.of(number);
            Some((number, name, stands, tallied.cloned().map(Box::new)))
        };
        (from..from + KINDS_PAGE).map_while(kind).collect()
    }

    /// When the event of this type was received that has waited longest.
    fn oldest_waiting(&self, number: usize) -> Option<i64> {
        loop {
            let looked = self.desk().core.state.oldest_waiting(number, EVENTS_PAGE);
            if let Ok(oldest) = looked {
                return oldest;
            }
        }
    }

    /// What can be said at once, however many types and events there are: all but what is counted by type, and attempts.
    pub(crate) fn gauges(&self) -> Stats {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.now();
        let desk = self.desk();
        let core = &desk.core;
        let (totals, counts) = (core.state.totals(), core.state.counts());
        let (known, forgotten): (Vec<_>, Vec<_>) =
            notes.damaged.iter().partition(|(seq, _)| core.state.view(**seq).is_some());
        let damaged_places: BTreeSet<_> =
            forgotten.iter().map(|(_, place)| **place).chain(notes.damaged_places.iter().copied()).collect();
        Stats {
            events_processed: totals.completed,
            events_failed: totals.attempts_failed,
            events_retried: totals.retries_scheduled,
            batch_operations: totals.claims,
            pending_events: counts.of(Status::Pending) + counts.of(Status::Retrying),
            waiting_events: core.state.waiting_count(),
            ready_events: core.state.ready_count(),
            processing_events: counts.of(Status::Processing),
            retrying_events: counts.of(Status::Retrying),
            completed_events: counts.of(Status::Completed),
            failed_events: counts.of(Status::Failed),
            cancelled_events: counts.of(Status::Cancelled),
            held_events: counts.held,
            pauses: core.state.pause_count(now) as u64,
            damaged_events: known.len() as u64,
            // What is forgotten stands there until its segment goes.
            damaged_places: damaged_places.len() as u64,
            segments: core.sealed.len() as u64 + u64::from(core.is_writing()),
            log_bytes: core.log_bytes(),
            uptime_seconds: Duration::from_micros(now.steady).as_secs_f64(),
            last_persistence: notes.last_persistence,
            last_cleanup: notes.last_cleanup,
            last_scrub: notes.last_scrub,
            is_running: false,
            poisoned: core.poison().map(str::to_owned),
            full: core.no_room().map(|error| error.to_string()),
            ..Stats::default()
        }
    }
}

/// A type by its number: its name, where its events stand, and its attempts.
type Kind = (usize, Arc<str>, Stands, Option<Box<Tallied>>);

impl TypeStats {
    fn stand(&mut self, stands: Stands, oldest: Option<f64>) {
        let of = |column: usize| stands.get(column).copied().map_or(0, u64::from);
        self.pending += of(Status::Pending as usize);
        self.processing += of(Status::Processing as usize);
        self.retrying += of(Status::Retrying as usize);
        self.completed += of(Status::Completed as usize);
        self.failed += of(Status::Failed as usize);
        self.cancelled += of(Status::Cancelled as usize);
        self.held += of(HELD);
        let so_far = self.oldest_waiting_seconds;
        self.oldest_waiting_seconds = oldest.map(|age| so_far.map_or(age, |so_far| so_far.max(age))).or(so_far);
    }

    fn tell(&mut self, tallied: Option<&Tallied>) {
        if let Some(tallied) = tallied {
            self.attempts = tallied.attempts;
            self.handling = tallied.handling.latency();
            self.end_to_end = tallied.end_to_end.latency();
        }
    }
}

fn seconds(micros: i64) -> f64 {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64()
}

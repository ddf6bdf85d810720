//! Statistics: what the state counts, and what the store notes beside it.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use crate::event::Status;
use crate::state::{HELD, OfType, Sought, Stands};
use crate::store::answers::Stats;
use crate::store::commit::Shared;
use crate::store::statistics::{TYPES_MAX, Tallied, TypeStats};

/// Types that are looked at under one lock.
const KINDS_PAGE: usize = 32;
/// Types for which the one that has waited longest is asked for under one lock.
const SOUGHT_PAGE: usize = 1_024;
/// Events that are looked at under one lock, in search of those that wait.
const EVENTS_PAGE: usize = 2_048;

impl Shared {
    /// Everything that is counted. The lock is held for a few types or events at a time, and all events are walked along once at most,
    /// however many types there are.
    pub(crate) fn stats(&self) -> Stats {
        self.seek_oldest();
        let mut stats = self.gauges();
        let now = self.now().wall.unix_micros();
        let mut all = Tallied::default();
        let mut others = None;
        let mut next = 0;
        loop {
            let page = self.kinds(next);
            let Some(last) = page.last() else { break };
            next = last.number + 1;
            for Kind { number, events, tallied } in page {
                let OfType { name, stands, oldest_waiting } = events;
                if let Some(tallied) = &tallied {
                    all.add(tallied);
                }
                let oldest = oldest_waiting.map(|then| seconds(now.saturating_sub(then)));
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
        loop {
            if let Ok(page) = self.kinds_found(from) {
                return page;
            }
            self.look_for_oldest();
        }
    }

    /// The same, once nobody is looked for of whom they tell.
    fn kinds_found(&self, from: usize) -> Result<Vec<Kind>, Sought> {
        let desk = self.desk();
        let kind = |number: usize| {
            let told = |events| {
                let tallied = desk.core.tallies.of(number).cloned().map(Box::new);
                Kind { number, events, tallied }
            };
            Some(desk.core.state.of_type(number).transpose()?.map(told))
        };
        (from..from + KINDS_PAGE).map_while(kind).collect()
    }

    /// Has those be looked for that have waited longest, each of its type.
    fn seek_oldest(&self) {
        for from in (0..).step_by(SOUGHT_PAGE) {
            let mut desk = self.desk();
            let state = &mut desk.core.state;
            if from >= state.kind_count() {
                return;
            }
            state.seek_oldest(from..from + SOUGHT_PAGE);
        }
    }

    /// Looks for some of them, and rests for as long as it looked.
    fn look_for_oldest(&self) {
        let began = self.clock.steady();
        let count = self.desk().core.state.look_for_oldest(EVENTS_PAGE);
        if count >= EVENTS_PAGE {
            self.rest_since(began);
        }
    }

    /// What can be said at once, however many types and events there are: all but what is counted by type, and attempts.
    pub(crate) fn gauges(&self) -> Stats {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.now();
        let desk = self.desk();
        let core = &desk.core;
        let (totals, counts) = (core.state.totals(), core.state.counts());
        let (known, forgotten): (Vec<_>, Vec<_>) = notes.damaged.iter().partition(|(seq, _)| core.state.knows(**seq));
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
            // Of forgotten events the damage stays until the segment goes.
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

/// A type by its number: its events, and its attempts.
struct Kind {
    number: usize,
    events: OfType,
    tallied: Option<Box<Tallied>>,
}

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

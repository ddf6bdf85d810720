//! Statistics: what the state counts, and what the store notes beside it.

use std::sync::PoisonError;
use std::time::Duration;

use crate::event::Status;
use crate::store::answers::Stats;
use crate::store::commit::Shared;

impl Shared {
    pub(crate) fn stats(&self) -> Stats {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let uptime = Duration::from_micros(self.now().steady);
        let desk = self.desk();
        let core = &desk.core;
        let (totals, counts) = (core.state.totals(), core.state.counts());
        Stats {
            events_processed: totals.completed,
            events_failed: totals.attempts_failed,
            events_retried: totals.retries_scheduled,
            batch_operations: totals.claims,
            pending_events: counts.of(Status::Pending) + counts.of(Status::Retrying),
            processing_events: counts.of(Status::Processing),
            retrying_events: counts.of(Status::Retrying),
            completed_events: counts.of(Status::Completed),
            failed_events: counts.of(Status::Failed),
            cancelled_events: counts.of(Status::Cancelled),
            held_events: counts.held,
            damaged_events: notes.damaged.iter().filter(|seq| core.state.view(**seq).is_some()).count() as u64,
            damaged_places: notes.damaged_places.len() as u64,
            segments: core.sealed.len() as u64 + u64::from(core.is_writing()),
            log_bytes: core.log_bytes(),
            uptime_seconds: uptime.as_secs_f64(),
            last_persistence: notes.last_persistence,
            last_cleanup: notes.last_cleanup,
            last_scrub: notes.last_scrub,
            is_running: false,
            poisoned: core.poison().map(str::to_owned),
        }
    }
}

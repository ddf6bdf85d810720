//! What a store answers.

use serde::Serialize;

use crate::error::ErrorKind;
use crate::event::entry::Token;
use crate::event::{Event, Status, Timestamp};
use crate::state::IdHasher;
use crate::store::histogram::Latency;
use crate::store::selection::Selection;
use crate::store::statistics::{AttemptStats, TypeStats};

/// The answer to an append: the event is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Receipt {
    /// What the event is known by. For a duplicate: the id of the event that was there before. Of one that is known by its body
    /// ([`Duplicate::SameBody`]) that is read from the log: where the event is forgotten, or its bytes are damaged, this is the id that was
    /// given now, which no event has.
    pub id: String,
    /// The number of the record that keeps it; 0 for a duplicate of an event that was forgotten, and of which only the id is remembered.
    pub seq: u64,
    /// Whether the event was there before, and nothing was appended.
    pub duplicate: Option<Duplicate>,
}

/// Why an append was a duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Duplicate {
    /// The same id, with the same data.
    SameId,
    /// Another id, but the same body of a webhook.
    SameBody,
}

/// An event that was handed out to be run, together with the proof of it.
#[derive(Debug, Clone)]
pub struct Claim {
    pub(crate) event: Event,
    pub(crate) attempt: u32,
    pub(crate) token: Token,
    /// The hashes of the names of its handlers that had succeeded.
    pub(crate) handled: Vec<u64>,
    /// Gives those hashes.
    pub(crate) hasher: IdHasher,
}

impl Claim {
    /// The event, as it stood when it was claimed.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Which run this is, counted from 1. It stays at 65,536 once it has come that far.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the handler of this name had succeeded in an earlier run of the event, and need not run again: see
    /// [`Store::record_handled`](crate::Store::record_handled).
    pub fn is_handled_by(&self, handler: &str) -> bool {
        !self.handled.is_empty() && self.handled.contains(&self.hasher.key(handler))
    }

    /// Whether its event was called off by that while this run went on.
    #[cfg(feature = "manager")]
    pub(crate) fn is_called_off_by(&self, by: CalledOff) -> bool {
        self.event.seq() == by.event && self.token.started < by.cancelled
    }

    /// Whether a failure of this run is final.
    pub fn is_last(&self) -> bool {
        self.event.retry_count() >= self.event.max_retries()
    }
}

/// An event was called off: no run of it that began before counts any more. A later one, after a replay, does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CalledOff {
    /// Seq of its reception.
    pub(crate) event: u64,
    /// Seq of the record that says so.
    pub(crate) cancelled: u64,
}

/// Which events to list: all that match every condition, oldest first.
///
/// To list many in pages, go on after the last one:
///
/// ```
/// # fn main() -> Result<(), ledgerline::Error> {
/// # let store = ledgerline::Store::in_memory(ledgerline::StoreOptions::default())?;
/// use ledgerline::{Filter, Status};
///
/// let mut page = Filter::all().status(Status::Failed).limit(100);
/// loop {
///     let events = store.list(&page)?;
///     let Some(last) = events.last() else { break };
///     page = page.after(last.seq());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Filter {
    /// Only events that stand here.
    pub status: Option<Status>,
    /// Only events of this type.
    pub event_type: Option<String>,
    /// Only events of this key.
    pub key: Option<String>,
    /// Only events that were received at this time or later.
    pub since: Option<Timestamp>,
    /// Only events that were received before this time.
    pub until: Option<Timestamp>,
    /// Only events whose [`seq`](Event::seq) is greater.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: Option<usize>,
}

impl Filter {
    /// All events.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only events that stand at `status`.
    #[must_use]
    pub fn status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// Only events of this type: 1 to 128 bytes.
    #[must_use]
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }

    /// Only events of this key: 1 to 256 bytes.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Only events that were received at `time` or later.
    #[must_use]
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// Only events that were received before `time`.
    #[must_use]
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// Only events whose [`seq`](Event::seq) is greater: those behind the last one of a page.
    #[must_use]
    pub fn after(mut self, seq: u64) -> Self {
        self.after = Some(seq);
        self
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, count: usize) -> Self {
        self.limit = Some(count);
        self
    }

    /// The same conditions on what an event is, without those on which of them are shown.
    pub(super) fn selection(&self) -> Selection {
        let Self { status, event_type, key, since, until, .. } = self;
        let mut selection = Selection::all();
        selection = status.iter().fold(selection, |selection, status| selection.status(*status));
        selection = event_type.iter().fold(selection, Selection::event_type);
        selection = key.iter().fold(selection, Selection::key);
        selection = since.iter().fold(selection, |selection, time| selection.since(*time));
        until.iter().fold(selection, |selection, time| selection.until(*time))
    }
}

/// One step of an event's life, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The number of its record.
    pub seq: u64,
    /// What happened: `received`, `started`, `handled` (one of several handlers succeeded), `completed`, `failed`, `snoozed`, `released`,
    /// `replayed`, `cancelled`, `condemned`; or `interrupted`, where a process began while it ran: then the number is that of the
    /// process start. What was `handled` in a run is shown once something else has happened to the event.
    pub what: String,
    /// Where the event stood afterwards.
    pub status: Status,
    /// When it happened.
    pub at: Timestamp,
    /// Which run it belongs to, counted from 1.
    pub attempt: Option<u32>,
    /// The error or the reason; of `handled` the name of the handler.
    pub message: Option<String>,
    /// When it is to be tried again.
    pub retry_at: Option<Timestamp>,
}

/// What became of a wish to replay one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Replay {
    /// The event.
    pub id: String,
    /// Why it was not replayed; none if it was.
    pub refused: Option<String>,
    /// Of which kind that is: [`ErrorKind::NotFound`] or [`ErrorKind::NotAllowed`].
    pub kind: Option<ErrorKind>,
}

/// What a compaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CompactionReport {
    /// Finished events that were forgotten.
    pub events_forgotten: u64,
    /// Held events for which no handler came in time, and which have failed for good now.
    pub events_expired: u64,
    /// Segments that were deleted.
    pub segments_deleted: u64,
    /// Segments of which what was left was written anew, neighbours together.
    pub segments_rewritten: u64,
    /// Bytes that this freed.
    pub bytes_freed: u64,
    /// Why nothing was forgotten for its age although something may be old enough: the clock is not to be believed just now. A log that
    /// is too long forgets all the same.
    pub suspended: Option<String>,
}

/// What opening a store found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether the store was created just now.
    pub created: bool,
    /// Whether the process before closed it in good order.
    pub closed_cleanly: bool,
    /// Segments that were read.
    pub segments: u64,
    /// Records that were read.
    pub records: u64,
    /// Bytes of the log that hold them.
    pub bytes: u64,
    /// Bytes of an unfinished write that were cut off and kept aside in `cut/`.
    pub bytes_cut: u64,
    /// Events that were being processed when the process before ended; they run again.
    pub events_released: u64,
    /// Events that were given up because the process died too often while they ran alone.
    pub events_condemned: u64,
    /// What is damaged, where a store was opened for reading in spite of it: each place, and of the records that do not fit what is left
    /// before them the first few, and how many more there are.
    pub damage: Vec<String>,
    /// How long opening took, in milliseconds.
    pub elapsed_ms: u64,
    /// How much of that went into reading and replaying the log.
    pub replay_ms: u64,
}

/// How a store is doing. The first four count over the store's whole life, across restarts and compaction.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Events that were completed.
    pub events_processed: u64,
    /// Attempts that failed.
    pub events_failed: u64,
    /// Retries that were scheduled.
    pub events_retried: u64,
    /// Claims that were not empty.
    pub batch_operations: u64,
    /// Events that wait to run, now or after a delay; held ones are not among them.
    pub pending_events: u64,
    /// Of the pending events, those that wait for a time: of their own, or for a retry.
    pub waiting_events: u64,
    /// Of the pending events, those that wait for nothing but to be claimed: neither for a time, nor for another of their key, nor for the
    /// end of a pause.
    pub ready_events: u64,
    /// Events that are being run.
    pub processing_events: u64,
    /// Events that wait for a retry; `pending_events` counts them too.
    pub retrying_events: u64,
    /// Completed events that are still kept.
    pub completed_events: u64,
    /// Events that have failed for good and wait for a person.
    pub failed_events: u64,
    /// Cancelled events that are still kept.
    pub cancelled_events: u64,
    /// Events that wait for a handler of their type.
    pub held_events: u64,
    /// Pauses in force, by which events of a type or a key do not run: [`Store::pauses`](crate::Store::pauses) names them.
    pub pauses: u64,
    /// Events whose bytes were found damaged while serving, or could not be read.
    pub damaged_events: u64,
    /// Places in the log that were found damaged while serving, elsewhere than in the bytes of an event that is still kept: the next opening
    /// refuses them.
    pub damaged_places: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of the log that hold records.
    pub log_bytes: u64,
    /// Since the store was opened.
    pub uptime_seconds: f64,
    /// When something was last made durable.
    pub last_persistence: Option<Timestamp>,
    /// When compaction last ran.
    pub last_cleanup: Option<Timestamp>,
    /// When the log was last read to its end in search of rot.
    pub last_scrub: Option<Timestamp>,
    /// Whether events are being processed; always false without a manager.
    pub is_running: bool,
    /// Why the store takes nothing more, if a write or a sync failed.
    pub poisoned: Option<String>,
    /// Why no further segment can be prepared, while that is so: new events are refused once three quarters of the present one are used,
    /// and what runs is still settled.
    pub full: Option<String>,
    /// How attempts ended since the store was opened.
    pub attempts: AttemptStats,
    /// From claim to settlement, of attempts that were settled since the store was opened. By the wall clock.
    pub handling: Latency,
    /// From reception to completion, of events that were completed since the store was opened. By the wall clock.
    pub end_to_end: Latency,
    /// The same by type, of types that have events or attempts: the 256 that the store saw first, in that order.
    pub types: Vec<TypeStats>,
    /// All further types together, if there are any.
    pub other_types: Option<TypeStats>,
}

//! What is known of an event, and of all of them together.

use std::sync::Arc;

use crate::event::entry::{Of, Token};
use crate::event::{Place, Status};
use crate::state::hash::low;

/// An event as it stands now. Its text and data are read from the places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// Seq of its reception.
    pub(crate) seq: u64,
    pub(crate) id_hash: u128,
    /// Where its reception lies.
    pub(crate) place: Place,
    pub(crate) event_type: Arc<str>,
    /// Number of its type.
    pub(crate) kind: u32,
    /// Hash of its key; 0: it has none.
    pub(crate) key: u64,
    pub(crate) status: Status,
    /// Pending or retrying, and nobody handles its type.
    pub(crate) held: bool,
    /// Counted failures since its reception or its last replay.
    pub(crate) retry_count: u32,
    pub(crate) max_retries: u32,
    /// Runs so far.
    pub(crate) attempt: u32,
    /// When a run last began; microseconds since 1970, as all times here but `due`.
    pub(crate) last_attempt: Option<i64>,
    pub(crate) received_at: i64,
    /// When it was completed, cancelled or failed for good.
    pub(crate) finished_at: Option<i64>,
    /// Seq of the last entry about it: what this view shows is durable once that is.
    pub(crate) last_seq: u64,
    /// The record that says why it failed, was cancelled or condemned; none once it completed or was replayed.
    pub(crate) error_at: Option<Place>,
    /// Until when it waits, by the steady clock.
    pub(crate) due: Option<u64>,
    /// What the present run is known by.
    pub(crate) token: Option<Token>,
    /// Whether others of its key come first, or what is left of a cancelled run of its key or its own.
    pub(crate) waits_behind_key: bool,
    /// How often it was put off since its reception or its last replay.
    pub(crate) snoozes: u32,
    /// Hashes of the names of its handlers that have succeeded, as [`State::handler`](crate::state::State::handler) gives them.
    pub(crate) handled: Vec<u64>,
}

impl View {
    /// How transitions name it.
    pub(crate) const fn of(&self) -> Of {
        Of { seq: self.seq, id_hash: low(self.id_hash) }
    }
}

/// How many events there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// By status, in the order of [`Status::ALL`], without those that are held.
    pub(crate) by_status: [u64; 6],
    /// Pending or retrying, but nobody handles their type.
    pub(crate) held: u64,
    /// Forgotten, but their ids are still refused.
    pub(crate) remembered: u64,
    /// Reception of the first event that is ready and not paused, if there is one: its age is how far the workers are behind.
    pub(crate) oldest_ready: Option<i64>,
}

impl Counts {
    /// How many there are, held ones included.
    pub(crate) fn all(&self) -> u64 {
        self.by_status.iter().sum::<u64>() + self.held
    }

    /// Whether any stand at `status`, held ones included; they may all stand at the other one at which events are held.
    pub(crate) fn may_have(&self, status: Status) -> bool {
        let may_be_held = matches!(status, Status::Pending | Status::Retrying);
        self.of(status) > 0 || may_be_held && self.held > 0
    }

    /// How many stand at `status` and are not held.
    pub(crate) fn of(&self, status: Status) -> u64 {
        self.by_status.get(status as usize).copied().unwrap_or(0)
    }
}

//! What happens, as the oracle notes it.

use crate::event::Scope;
use crate::event::entry::Wait;

/// One thing that happened to an event, or to the store.
#[derive(Debug, Clone)]
pub(super) enum Fact {
    Received(Arrival),
    Started {
        of: u64,
        epoch: u64,
        alone: bool,
    },
    Completed {
        of: u64,
        at: i64,
    },
    /// Without a wait it has failed for good.
    Failed {
        of: u64,
        at: i64,
        wait: Option<Wait>,
    },
    Released {
        of: u64,
    },
    /// Put off, at no cost.
    Snoozed {
        of: u64,
        wait: Wait,
    },
    Paused {
        scope: Scope,
        /// With an end it is over by itself after this wait.
        wait: Option<Wait>,
    },
    Resumed {
        scope: Scope,
    },
    /// One of several handlers succeeded.
    Handled {
        of: u64,
        handler: String,
    },
    Replayed {
        of: u64,
    },
    Cancelled {
        of: u64,
        at: i64,
    },
    Condemned {
        of: u64,
        at: i64,
    },
    Horizon {
        finished_before: i64,
        remembered_before: i64,
    },
    /// A process began; `is_death`: the one before it was killed.
    Begun {
        epoch: u64,
        is_death: bool,
    },
}

/// An event as it arrives.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) event_type: String,
    pub(super) key: Option<String>,
    pub(super) received_at: i64,
    pub(super) not_before: Option<i64>,
    pub(super) max_retries: u32,
}

//! What is allowed, what is refused, and why.

use crate::event::entry::{Of, Token};
use crate::event::{Place, Status};
use crate::state::table::Step;

/// What an entry did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Applied {
    /// It took effect.
    Done,
    /// It is about an event that is not known. Whether its reception was compacted away, the caller knows from the manifest.
    Orphan { of_seq: u64 },
}

/// An entry that cannot have happened; the state is as it was. In a log this is damage that no checksum saw, or our mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {seq} cannot have happened: {reason}")]
pub(crate) struct Illegal {
    pub(crate) seq: u64,
    pub(crate) reason: Reason,
}

/// Why an entry cannot have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("entry {last} came before it")]
    NotAfter { last: u64 },
    #[error("it is of epoch {found}, but the log is in epoch {expected}")]
    Epoch { expected: u64, found: u64 },
    #[error("it is about event {of_seq}, which comes later")]
    Future { of_seq: u64 },
    #[error("it is about event {of_seq}, which has another id")]
    OtherId { of_seq: u64 },
    #[error("event {of_seq} is {status} and cannot be {step}")]
    Step { of_seq: u64, status: Status, step: Step },
    #[error("it settles claim {}.{} of event {of_seq}, which runs under claim {}.{}", found.epoch, found.started, expected.epoch, expected.started)]
    Token { of_seq: u64, expected: Token, found: Token },
    #[error("event {of_seq} has more handlers that succeeded than are kept")]
    Handlers { of_seq: u64 },
    #[error("its id is that of event {seq}")]
    TakenId { seq: u64 },
    #[error("the log has more event types than can be numbered")]
    Types,
}

/// Why a caller may not do this to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("there is no such event")]
    Unknown,
    #[error("the event is {status} and cannot be {step}")]
    Status { status: Status, step: Step },
    /// The claim is over: another run has the event now (R17).
    #[error("the event runs under another claim")]
    Token,
}

/// What a reception would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reception {
    /// An event that is not known yet: append it.
    New,
    /// This event again: answer with it, append nothing.
    SameId(Known),
    /// The data of this event under another id, where that is a duplicate: answer with it, append nothing.
    SameBody(Known),
    /// Other data under the id of this event.
    Conflict(Known),
}

/// An event that a reception meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Seq of its reception.
    pub(crate) seq: u64,
    pub(crate) id_hash: u128,
    /// Whether it can still be read; otherwise only its id is remembered.
    pub(crate) kept: bool,
}

/// An event that may run next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) of: Of,
    /// Where its reception lies.
    pub(crate) place: Place,
    /// The number of the run that would begin.
    pub(crate) attempt: u32,
    /// Nothing else may run beside it; goes into its `Started`.
    pub(crate) alone: bool,
}

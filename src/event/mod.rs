//! The nouns that everything above the file system speaks: what arrived, what happened to it, and how that becomes bytes.
//!
//! ```text
//! NewEvent ──append──► Received ─┐
//!                                ├─ Entry ──codec──► the body of a record (kind, version, bincode)
//! claim, settle, … ──► the rest ─┘
//!
//! Event      what a handler or a reader sees: the reception together with its present status
//! ```
//!
//! Promises: a (kind, version) that was ever released decodes for ever; one that is unknown is refused by name (R15); nothing here
//! panics on foreign bytes (R14).
//!
//! Deliberately absent: files, clocks, randomness, Linear. Times and ids come in as values.
//!
//! Read next: [`entry`] for everything that can happen, then [`codec`] for its bytes.

pub(crate) mod backoff;
pub(crate) mod codec;
pub(crate) mod entry;
pub(crate) mod hex;
mod moment;
mod new_event;
mod outcome;
mod pause;
mod place;
mod pointer;
mod rate_limit;
mod rfc3339;
mod status;
mod stored;
mod timestamp;
mod waiting;

pub use new_event::NewEvent;
pub use outcome::{Outcome, Permanent};
pub use pause::{Pause, Scope};
pub use rate_limit::RateLimit;
pub use status::{ParseStatusError, Status};
pub use stored::Event;
pub use timestamp::{ParseTimestampError, Timestamp};
pub use waiting::Waiting;

pub(crate) use moment::Moment;
pub(crate) use new_event::limits;
#[cfg(feature = "manager")]
pub(crate) use outcome::bounded;
pub(crate) use place::Place;
pub(crate) use stored::EventParts;

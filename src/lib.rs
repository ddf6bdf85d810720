//! ledgerline: an append-only, event-sourced log processor.
//!
//! Events are appended as checksummed records to segmented log files, and so is every change of their status. What is true now is what
//! replaying those records gives; it is held in memory and rebuilt at every start. [`Store`] is that and nothing more; `EventManager`
//! runs handlers over it. The bytes on the disk are drawn in `src/log/FORMAT.md`.
//!
//! ```text
//! emit ──► EventManager ──► workers ──► your handlers
//!               │               │
//!             Store: append, claim, settle, read
//!               │
//!             0000000001.seg  0000000002.seg  …  MANIFEST  LOCK
//! ```

mod env;
mod error;
mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod log;
#[cfg(feature = "manager")]
mod manager;
#[cfg(feature = "manager")]
mod processor;
#[cfg(feature = "manager")]
mod queue;
#[cfg_attr(
    not(any(test, feature = "manager")),
    expect(dead_code, reason = "only a manager waits for work, or holds events of types without a handler")
)]
mod state;
mod store;
#[cfg(feature = "webhook")]
pub mod webhook;

pub use error::{Error, ErrorKind};
pub use event::{Event, NewEvent, Outcome, ParseStatusError, ParseTimestampError, Status, Timestamp};
#[cfg(feature = "manager")]
pub use manager::{EventManager, EventManagerBuilder, Health};
#[cfg(feature = "manager")]
pub use processor::{Context, Handler, IntoOutcome};
#[cfg(feature = "manager")]
pub use queue::Emit;
pub use store::audit;
pub use store::{
    Claim, CompactionReport, Duplicate, Filter, HistoryEntry, Receipt, Recovery, Replay, Stats, Store, StoreOptions,
};

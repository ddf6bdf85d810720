//! ledgerline: an append-only, event-sourced log processor.
//!
//! Events are appended as checksummed records to segmented log files, and so is every change of their status. What is true now is what
//! replaying those records gives; it is held in memory and rebuilt at every start. [`Store`] is that and nothing more; `EventManager`
//! runs handlers over it. What is promised when, and the limits, stand in the README; the bytes on the disk in `src/log/FORMAT.md`.
//!
//! ```text
//! emit ──► EventManager ──► workers ──► your handlers
//!               │               │
//!             Store: append, claim, settle, read
//!               │
//!             0000000001.seg  0000000002.seg  …  MANIFEST  LOCK
//! ```
//!
//! # Features
//!
//! All are on by default, so that `cargo run` and `cargo install` give the command.
//!
//! * **`manager`** adds `EventManager`: handlers, retries, timeouts and concurrency; and the module `testing`. It brings tokio.
//! * **`webhook`** adds the module `webhook`: proving and reading Linear's deliveries, for those who bring their own HTTP server.
//! * **`service`** adds the module `service`: the receiver, the control socket and the configuration. It brings hyper.
//! * **`cli`** adds the commands `ledgerline` and `ledgerline-dump`.
//!
//! One more is for work on the crate itself, and not on by default:
//!
//! * **`torture`** adds the command `ledgerline-torture`, and opens to it what only tests use otherwise.
//!
//! Without any of them there are [`Store`] and [`audit`], blocking, on threads.

mod env;
mod error;
mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod log;
#[cfg(feature = "manager")]
mod manager;
mod mutants;
#[cfg(feature = "manager")]
mod processor;
#[cfg(feature = "manager")]
mod queue;
#[cfg(feature = "service")]
pub mod service;
#[cfg_attr(
    not(any(test, feature = "manager")),
    expect(dead_code, reason = "only a manager waits for work, or holds events of types without a handler")
)]
mod state;
mod store;
mod sync;
#[cfg(feature = "manager")]
pub mod testing;
#[cfg(feature = "torture")]
#[doc(hidden)]
pub mod torture;
#[cfg(feature = "webhook")]
pub mod webhook;

pub use error::{Error, ErrorKind};
pub use event::{
    Event, NewEvent, Outcome, ParseStatusError, ParseTimestampError, Pause, Permanent, RateLimit, Scope, Status,
    Timestamp, Waiting,
};
#[cfg(feature = "manager")]
pub use manager::{EventManager, EventManagerBuilder, Health, SubscribeFrom, Subscription};
#[cfg(feature = "manager")]
pub use processor::{
    AnyHandler, BatchHandler, BatchOptions, BlockingHandler, Context, Handler, HandlerService, IntoOutcome,
    IntoOutcomes, Processed, RetryPolicy, Run, TypeOptions, TypedHandler,
};
#[cfg(feature = "manager")]
pub use queue::Emit;
pub use store::audit;
pub use store::{
    Acceptance, AsOf, AttemptStats, Backup, Claim, CompactionReport, CutTail, Duplicate, EventAsOf, Filter,
    HistoryEntry, Latency, LogEntry, LogItem, LostEvent, LostRange, ParsePointError, Point, Problem, Reader, Receipt,
    Recovery, Refusal, Replay, Salvage, Selected, Selection, Stats, Store, StoreOptions, TypeStats, UncertainEvent,
    Unhandled, Verification, as_of, backup, salvage, verify,
};

/// The examples of the README.
#[cfg(all(doctest, feature = "manager", feature = "webhook"))]
#[doc = include_str!("../README.md")]
pub struct Readme;

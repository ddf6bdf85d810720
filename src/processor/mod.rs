//! Runs handlers: claims events from a queue, runs each with the handler of its type, and settles how it went.
//!
//! ```text
//!            ┌────────────── Dispatcher (one task) ──────────────┐
//!  queue ──claim──► Attempts: one task per run, ≤ concurrency ──settle──► queue
//!            │  work, due times, interval     timeouts, grace    │
//!            └───────▲───────────────────────────────────────────┘
//!                    │ stop, called off
//!                 Workers (what the manager holds)
//! ```
//!
//! Promises:
//! - At most `concurrency` runs have a slot, and never more is claimed than slots are free and a batch may hold.
//! - A panic is a failure of that attempt. So is a run that exceeds its time: its context says so, and after a grace its task is
//!   aborted, which ends it at its next await. One that does not end even then (it blocks its thread) gives up its slot but not its
//!   event, so that nothing of the same key runs beside it; it fails when it ends. More of these than there are slots, and nothing is
//!   claimed any more: health says so.
//! - After a stop nothing is claimed, what runs may end in its own time for a while, and the rest is called off and released: that
//!   counts as no failure.
//! - One task owns all runs and awaits them; the manager owns that task. When every manager is gone, it stops by itself.
//!
//! Deliberately absent: files, stores, retries and their delays (the engine decides them), HTTP.
//!
//! Read next: [`handler`] and [`context`] for what a handler sees, then [`dispatcher`] for the loop.

mod attempt;
mod attempts;
mod context;
mod dispatcher;
mod handler;
mod handlers;
mod lookout;
mod options;
mod outcome;
mod round;
mod workers;

pub use context::Context;
pub use handler::Handler;
pub use outcome::IntoOutcome;
pub use round::Processed;

pub(crate) use handler::{AnyHandler, any};
pub(crate) use handlers::Handlers;
pub(crate) use options::Options;
pub(crate) use workers::Workers;

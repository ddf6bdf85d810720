//! Runs handlers: claims events from a queue, runs each with the handler of its type, and settles how it went.
//!
//! ```text
//!            ┌────────────── Dispatcher (one task) ──────────────┐
//!  queue ──claim──► Attempts: one task per run, ≤ concurrency ──settle──► queue
//!            │  work, due times, interval     timeouts, grace    │
//!            └───────▲────────────────────────────────│──────────┘
//!                    │ stop, called off               ▼
//!                 Workers (what the manager holds)   Team: the handlers of a type, each within its layers,
//!                                                    on the runtime, on Threads, or in a batch
//! ```
//!
//! Promises:
//! - At most `concurrency` runs have a slot, and never more is claimed than slots are free and a batch may hold.
//! - A panic is a failure of that attempt. So is a run that exceeds its time: its context says so, and after a grace it is aborted,
//!   which ends it at its next await. One that does not end even then (it blocks its thread) gives up its slot but not its event, so
//!   that nothing of the same key runs beside it; it fails when it ends. More of these than there are slots, and nothing is claimed any
//!   more: health says so.
//! - The handlers of one type run beside one another in one slot, as one task; a retry runs those that have not succeeded.
//! - After a stop nothing is claimed, what runs may end in its own time for a while, and the rest is called off and released: that
//!   counts as no failure.
//! - One task owns all runs and awaits them; the manager owns that task. When every manager is gone, it stops by itself.
//!
//! Deliberately absent: files, stores, HTTP; whether there is a retry at all (the engine decides, a policy only says how soon).
//!
//! Read next: [`handler`] and [`context`] for what a handler sees, then [`dispatcher`] for the loop, [`team`] for what a run is.

mod attempt;
mod attempts;
mod batch;
mod blocking;
mod context;
mod dispatcher;
mod ends;
mod handler;
mod handlers;
mod layer;
mod lookout;
mod obstacle;
mod options;
mod outcome;
mod retry;
mod round;
mod team;
mod threads;
mod type_options;
mod workers;

pub use batch::{BatchHandler, BatchOptions, IntoOutcomes};
pub use blocking::BlockingHandler;
pub use context::Context;
pub use handler::{AnyHandler, Handler, TypedHandler};
pub use layer::{HandlerService, Run};
pub use outcome::IntoOutcome;
pub use retry::RetryPolicy;
pub use round::Processed;
pub use type_options::TypeOptions;

pub(crate) use handlers::{Given, Handlers};
pub(crate) use layer::Layers;
pub(crate) use options::Options;
pub(crate) use workers::{Backlog, Workers};

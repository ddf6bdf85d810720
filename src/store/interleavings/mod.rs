//! The commit in whatever order its threads come: the store itself, on a disk and by a clock that are simulated, while others decide who
//! goes on.
//!
//! ```text
//! scenes   what each thread does, or, in tasks, each task
//! stage    a store, its disk watched, and what must hold when all have ended
//! runs     who decides: loom (every order with at most three preemptions), shuttle (orders by chance), or the machine
//! ```
//!
//! A thread that waits for ever is found by the checkers themselves: none is left that could go on. What must hold besides:
//!
//! * whoever is told that its event is durable, or is shown it, has it in bytes that were written before a sync began which has
//!   succeeded (R1);
//! * after a failure everybody is told so, at once or when it asks, and nobody that it went well who was not synced before; nothing is
//!   synced again (R2);
//! * whoever begins a run has its record in bytes that were written by then (R16);
//! * at most one sync and one write are under way, and no segment is written to before its predecessor is synced;
//! * when all have ended nobody is left in line, and somebody may lead.
//!
//! What they do not see: a scene ends with the process, so nothing is opened again; a wait that has a limit never reaches it; and what
//! [`crate::sync`] says of either checker. Scenes in which segments follow one another have too many orders for loom and are played by
//! shuttle alone; their segments are so small that nothing is filled, so nobody meets at [`Fill`](crate::log::fill::Fill) as it is filled.
//!
//! Tests with a checker are built by flags, because what they stand on is chosen when the crate is built:
//!
//! ```text
//! RUSTFLAGS='--cfg loom' cargo test --profile model --target-dir target/loom --no-default-features --features manager --lib \
//!     store::interleavings
//! ```
//!
//! and the same with `shuttle`. The other tests of such a build do not run: what they stand on wants a checker around it. Without flags
//! the scenes are tests like others, and the machine's threads play them a few times.

mod runs;
mod scenes;
mod stage;
#[cfg(feature = "manager")]
mod tasks;

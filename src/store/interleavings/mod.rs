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
//! * whoever is told that its event is durable has it in bytes that were written before a sync began which has succeeded (R1);
//! * after a failure everybody is told so, at once or when it asks, and nobody that it went well who was not synced before (R2);
//! * at most one sync and one write are under way, and no segment is written to before its predecessor is synced;
//! * when all have ended nobody is left in line, and somebody may lead.
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

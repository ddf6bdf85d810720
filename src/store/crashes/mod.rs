//! What survives: a store on a simulated disk that loses power at any call, fails and fills up.
//!
//! ```text
//! world     one store on one disk: operations, and a ledger of what was asked and promised
//! campaign  every sequence of operations × every call × every legal state of the disk, and again during recovery
//! sweep     lives by number, for hours
//! verdict   one such state: the ledger against the disk, the disk against the store
//! rot       every bit, byte and sector of a specimen's files: mutation says what becomes of it, specimen what must hold then
//! format, entry, fold   a second reader of the disk, from FORMAT.md alone: the code under test does not judge itself
//! ```
//!
//! Here the store is a pure function of (seed, operations, faults): no thread, no clock, no randomness of the machine.

#![expect(clippy::indexing_slicing, reason = "what it indexes it has counted itself; foreign bytes fail a test")]

mod campaign;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod determinism;
mod entry;
mod fold;
mod format;
#[cfg(test)]
mod full;
mod ledger;
mod mutation;
pub(super) mod opening;
#[cfg(test)]
mod poison;
mod rot;
mod specimen;
#[cfg(test)]
mod survival;
mod sweep;
mod verdict;
mod world;

#[cfg(feature = "torture")]
pub(crate) use rot::{Rotted, rot_case, rot_piece};
#[cfg(feature = "torture")]
pub(crate) use sweep::{EXHAUSTED_AT, life as crash_life};

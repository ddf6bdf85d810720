//! What the fuzzer calls: every parser of foreign bytes, with what must hold for any input (R14).
//!
//! ```text
//! a disk     segment ─► group ─► record ─► state        manifest
//! a network  delivery: headers, signature, envelope
//! a person   configuration: file and environment        text: times, names, places
//! a past     former: the file of the program before
//! a socket   request: what a service is asked           answer: what a command is told
//! ```
//!
//! Each target is a function of the bytes alone, so that an input which finds something once finds it always. None only waits for a
//! panic: what is refused must be refused again, what is read must say the same when it is written, and two ways to the same answer must
//! agree. Random bytes hardly ever pass a checksum, so where one stands in the way the bytes are also taken for a description of
//! something that passes. The store keeps no index files beside segments and manifest, so there is no parser of those.
//!
//! Only compiled for fuzzing and for tests: an ordinary test replays the committed inputs of `fuzz/corpus`, and `tools/fuzz` runs the
//! targets for as long as it is told to.

#[cfg(test)]
mod corpus;
#[cfg(feature = "webhook")]
mod delivery;
mod forging;
mod group;
mod manifest;
mod record;
mod segment;
mod state;
mod taken;
mod text;

#[cfg(feature = "service")]
pub use crate::service::fuzzing::{answer, configuration, former, request};
#[cfg(feature = "webhook")]
pub use delivery::delivery;
pub use group::group;
pub use manifest::manifest;
pub use record::record;
pub use segment::segment;
pub use state::state;
pub use text::text;

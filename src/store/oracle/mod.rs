//! A store under random operations, crashes and jumps of the clock, held against an oracle: the rules of its documentation, said as
//! plainly as they can be.
//!
//! ```text
//! life      random operations on a store of a simulated disk; what each answers is compared with what the rules expect
//! arrivals  what comes from outside
//! facts     what happened, one by one, with its seq: after a crash the first of them, as many as the disk kept, are all that did
//! rules     what is true after these facts: a list of events, walked for every question
//! trial     some dozens of such lives
//! ```
//!
//! The oracle shares nothing with the state but words: no index, no lane, no order. Times and texts that the store may choose
//! (jitter, a generated reason) are checked for being within their bounds and then taken over.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what its own scaffolding cannot do fails a test")]

mod arrivals;
mod facts;
mod life;
mod rules;
#[cfg(test)]
mod trial;

#[cfg(feature = "torture")]
pub(crate) use life::Life;

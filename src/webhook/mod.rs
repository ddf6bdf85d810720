//! Linear's deliveries as events: the one place that knows Linear.
//!
//! ```text
//! bytes, headers ──verify──► proven bytes ──read──► NewEvent, notes for the log ──► the store
//!                (signature)              (delivery: envelope, body hash)
//!
//! a sample body ──renew, stamp──► bytes ──Secret::sign──► what `send` posts
//! ```
//!
//! Promises: nothing is parsed before its signature is proven, which is the caller's order and the reason why `verify` takes bytes
//! and [`read`] takes a [`Delivery`]; what is kept is the body byte for byte; type, action and key come from the signed body and
//! never from a header; every part is within the bounds of an event; no bytes make it panic or overflow the stack,
//! however deep they nest (R14).
//!
//! Linear resends what it thinks was lost, and does not say whether the delivery's id and time stay the same. So a delivery is known
//! by its id and also by its body without the time, and a late one is kept and marked instead of thrown away.
//!
//! Deliberately absent: sockets, HTTP statuses, files, clocks, logs. Times come in as values, what is odd goes out as [`Note`]s, and
//! the receiver decides what to answer.
//!
//! Read next: `delivery` for the whole way of a delivery, then `body_hash` for what counts as the same body.

mod body_hash;
mod delivery;
mod envelope;
mod member;
mod note;
mod rate_limit;
#[cfg(test)]
mod samples;
mod signature;
mod splice;

#[cfg(any(test, fuzzing))]
pub(crate) use body_hash::body_hash;
#[cfg(feature = "service")]
pub(crate) use delivery::is_kept;
pub use delivery::{Delivery, Unreadable, read};
pub use note::Note;
pub use rate_limit::rate_limit;
pub use signature::{Secret, SecretRefused, Unproven, verify};
pub use splice::{NotAnObject, renew, stamp};

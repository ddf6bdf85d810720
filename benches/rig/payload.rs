//! What events carry.

use ledgerline::NewEvent;
use serde::Serialize;

/// Type of every event.
pub(crate) const TYPE: &str = "Issue";
/// Payload of an event where nothing else is said: about 1 KiB of JSON.
pub(crate) const PAYLOAD_BYTES: usize = 1_000;
/// What a record of that payload takes in the log, about.
pub(crate) const RECORD_BYTES: u64 = 1_112;

/// A payload that is not JSON yet.
#[derive(Clone, Serialize)]
pub(crate) struct Payload {
    title: String,
}

impl Payload {
    /// One that is this many bytes of JSON.
    pub(crate) fn of(bytes: usize) -> Self {
        Self { title: "x".repeat(bytes.saturating_sub(12)) }
    }
}

/// An event whose payload is this many bytes of JSON.
pub(crate) fn event(bytes: usize) -> NewEvent {
    NewEvent::new(TYPE, &Payload::of(bytes)).expect("it is JSON")
}

//! An event as handlers and readers see it.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event::pointer;
use crate::event::{Status, Timestamp, Waiting};

/// An event that is kept, with where it stood when it was read. Cheap to clone; it does not change when the store does.
///
/// As JSON it has exactly the fields `id`, `seq`, `event_type`, `action`, `source`, `key`, `data`, `timestamp`, `status`, `retry_count`,
/// `last_attempt`, `error_message`, `max_retries`, `priority`, `not_before`, `stale` and `waiting`.
#[derive(Clone)]
pub struct Event {
    parts: Arc<EventParts>,
}

/// What an [`Event`] is made of.
#[derive(Debug, Clone)]
pub(crate) struct EventParts {
    pub(crate) seq: u64,
    pub(crate) id: String,
    pub(crate) event_type: String,
    pub(crate) action: Option<String>,
    pub(crate) source: String,
    pub(crate) key: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) stale: bool,
    /// One JSON value, as it was checked before it was kept.
    pub(crate) data: String,
    pub(crate) timestamp: Timestamp,
    pub(crate) status: Status,
    pub(crate) retry_count: u32,
    pub(crate) max_retries: u32,
    pub(crate) last_attempt: Option<Timestamp>,
    pub(crate) error_message: Option<String>,
    pub(crate) priority: u8,
    pub(crate) not_before: Option<Timestamp>,
    /// None also where nobody asked.
    pub(crate) waiting: Option<Waiting>,
}

impl Event {
    pub(crate) fn new(parts: EventParts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// The number of the record that keeps this event. Events of one store are ordered by it.
    pub fn seq(&self) -> u64 {
        self.parts.seq
    }

    /// What the event is known by.
    pub fn id(&self) -> &str {
        &self.parts.id
    }

    /// The type, by which handlers are chosen: `Issue`, `Comment`, …
    pub fn event_type(&self) -> &str {
        &self.parts.event_type
    }

    /// What happened to the thing that the type names, where the sender said so.
    pub fn action(&self) -> Option<&str> {
        self.parts.action.as_deref()
    }

    /// Where the event came from: `linear` for a webhook, `emit` by default.
    pub fn source(&self) -> &str {
        &self.parts.source
    }

    /// The key whose events run one at a time, in order.
    pub fn key(&self) -> Option<&str> {
        self.parts.key.as_deref()
    }

    /// The value of the first kept header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.parts.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The kept headers, in the order in which they came; names of a webhook's are in lower case.
    pub fn headers(&self) -> &[(String, String)] {
        &self.parts.headers
    }

    /// Whether a webhook's own time was outside the tolerance when it arrived: a late retry, or a replay.
    pub fn is_stale(&self) -> bool {
        self.parts.stale
    }

    /// When the event was received.
    pub fn timestamp(&self) -> Timestamp {
        self.parts.timestamp
    }

    /// Where the event stood when it was read.
    pub fn status(&self) -> Status {
        self.parts.status
    }

    /// Counted failures so far. A replay sets it back to 0.
    pub fn retry_count(&self) -> u32 {
        self.parts.retry_count
    }

    /// How many runs may follow the first counted failure.
    pub fn max_retries(&self) -> u32 {
        self.parts.max_retries
    }

    /// When a handler last began, if one ever did.
    pub fn last_attempt(&self) -> Option<Timestamp> {
        self.parts.last_attempt
    }

    /// Why the last run failed, or why the event was cancelled.
    pub fn error_message(&self) -> Option<&str> {
        self.parts.error_message.as_deref()
    }

    /// Whether it runs before others: 0 (first) to 9 (last).
    pub fn priority(&self) -> u8 {
        self.parts.priority
    }

    /// When it was not to be run before, if its sender said so.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.parts.not_before
    }

    /// Why it did not run when it was read; none if it ran, was over, or was handed to a handler.
    ///
    /// Where the store was opened for reading, beside a process that runs events, what is known to that process alone is not told: which
    /// types have a handler, how many may run at once.
    pub fn waiting(&self) -> Option<&Waiting> {
        self.parts.waiting.as_ref()
    }

    /// The data: one JSON value, byte for byte as it was received. For a webhook this is the whole body.
    pub fn data(&self) -> &str {
        &self.parts.data
    }

    /// The data as `T`.
    ///
    /// # Errors
    /// What serde_json says if the data does not have the shape of `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.data())
    }

    /// The value at an RFC 6901 pointer such as `/data/title`, or `None` if the data has none there, or one for which serde_json has no
    /// value (with half of a surrogate pair, a number beyond any `f64`, or more than 128 levels). What stands elsewhere in the data may be so.
    ///
    /// It goes through the data anew: to look at several places, call [`Event::json`] once.
    pub fn pointer(&self, pointer: &str) -> Option<serde_json::Value> {
        pointer::find(self.data(), pointer)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The data may hold what must not reach a log.
        f.debug_struct("Event")
            .field("id", &self.id())
            .field("event_type", &self.event_type())
            .field("action", &self.action())
            .field("status", &self.status())
            .field("seq", &self.seq())
            .field("data_bytes", &self.data().len())
            .finish_non_exhaustive()
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = &*self.parts;
        let mut event = serializer.serialize_struct("Event", 17)?;
        event.serialize_field("id", &parts.id)?;
        event.serialize_field("seq", &parts.seq)?;
        event.serialize_field("event_type", &parts.event_type)?;
        event.serialize_field("action", &parts.action)?;
        event.serialize_field("source", &parts.source)?;
        event.serialize_field("key", &parts.key)?;
        let data: &RawValue = serde_json::from_str(&parts.data).map_err(serde::ser::Error::custom)?;
        event.serialize_field("data", data)?;
        event.serialize_field("timestamp", &parts.timestamp)?;
        event.serialize_field("status", &parts.status)?;
        event.serialize_field("retry_count", &parts.retry_count)?;
        event.serialize_field("last_attempt", &parts.last_attempt)?;
        event.serialize_field("error_message", &parts.error_message)?;
        event.serialize_field("max_retries", &parts.max_retries)?;
        event.serialize_field("priority", &parts.priority)?;
        event.serialize_field("not_before", &parts.not_before)?;
        event.serialize_field("stale", &parts.stale)?;
        event.serialize_field("waiting", &parts.waiting)?;
        event.end()
    }
}

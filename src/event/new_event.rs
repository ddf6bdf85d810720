//! An event that is about to be kept.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind};
use crate::event::Timestamp;

/// Bounds of an event's parts. They bound what a record can hold beside its body, and what an index can be made to hold.
pub(crate) mod limits {
    use crate::error::Error;

    /// Longest id, in bytes.
    pub(crate) const ID_BYTES_MAX: usize = 256;
    /// Longest event type, in bytes.
    pub(crate) const TYPE_BYTES_MAX: usize = 128;
    /// Longest action, in bytes.
    pub(crate) const ACTION_BYTES_MAX: usize = 128;
    /// Longest source, in bytes.
    pub(crate) const SOURCE_BYTES_MAX: usize = 64;
    /// Longest key, in bytes.
    pub(crate) const KEY_BYTES_MAX: usize = 256;
    /// Most headers.
    pub(crate) const HEADER_COUNT_MAX: usize = 32;
    /// All names and values of headers together, in bytes.
    pub(crate) const HEADER_BYTES_MAX: usize = 8 * 1024;
    /// Longest error message or reason that is kept, in bytes; longer ones are cut.
    pub(crate) const MESSAGE_BYTES_MAX: usize = 4 * 1024;
    /// Most retries an event may ask for.
    pub(crate) const RETRIES_MAX: u32 = 1_000;
    /// How often the runs of an event may put it off, since its reception or its last replay.
    pub(crate) const SNOOZES_MAX: u32 = 1_000;
    /// For how long a run may put its event off.
    pub(crate) const SNOOZE_MAX: std::time::Duration = std::time::Duration::from_hours(30 * 24);
    /// Longest name of one of several handlers of an event, in bytes.
    pub(crate) const HANDLER_BYTES_MAX: usize = 128;
    /// Most named handlers of one event that are kept as having succeeded.
    pub(crate) const HANDLERS_MAX: usize = 64;
    /// The last priority.
    pub(crate) const PRIORITY_MAX: u8 = 9;
    /// Longest name of a cursor, in bytes.
    pub(crate) const CURSOR_BYTES_MAX: usize = 128;

    /// Refuses a text, where there is one, that has fewer or more bytes than it may have.
    pub(crate) fn check<'t>(
        name: &str,
        text: impl Into<Option<&'t str>>,
        bytes_min: usize,
        bytes_max: usize,
    ) -> Result<(), Error> {
        match text.into().map(str::len) {
            Some(len) if len < bytes_min => Err(Error::invalid(format!("{name} is empty"))),
            Some(len) if len > bytes_max => {
                Err(Error::invalid(format!("{name} has {len} bytes; at most {bytes_max} are allowed")))
            }
            _ => Ok(()),
        }
    }
}

/// An event to be kept: its type, its data as JSON, and what else its sender knows about it.
///
/// Bounds, in bytes: id 256, type 128, action 128, source 64, key 256, headers 32 pairs of 8 KiB together. The data may be as long
/// as one record allows: 16 MiB, or a quarter of a segment where segments are smaller.
#[derive(Clone)]
pub struct NewEvent {
    pub(crate) id: Option<String>,
    pub(crate) event_type: String,
    pub(crate) action: Option<String>,
    /// Mostly one of a few that are known beforehand.
    pub(crate) source: Cow<'static, str>,
    pub(crate) key: Option<String>,
    pub(crate) received_at: Option<Timestamp>,
    pub(crate) not_before: Option<Start>,
    pub(crate) priority: u8,
    pub(crate) max_retries: Option<u32>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) body_hash: Option<[u8; 32]>,
    pub(crate) same_body_is_duplicate: bool,
    pub(crate) rename_on_conflict: bool,
    pub(crate) stale: bool,
}

/// When an event may begin to run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    At(Timestamp),
    /// So long after its reception.
    After(Duration),
}

impl NewEvent {
    /// An event of `event_type` that carries `data` as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if `data` cannot be written as JSON (a map whose keys are not text, for example).
    pub fn new(event_type: impl Into<String>, data: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_string(data).map_err(|cause| {
            Error::new(ErrorKind::InvalidInput, "the event's data cannot be written as JSON").caused_by(cause)
        })?;
        Ok(Self::from_checked(event_type.into(), body))
    }

    /// An event of `event_type` whose data is the JSON text `json`, kept byte for byte as it is given.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if `json` is not one JSON value.
    pub fn from_json(event_type: impl Into<String>, json: impl Into<String>) -> Result<Self, Error> {
        let body = json.into();
        serde_json::from_str::<serde::de::IgnoredAny>(&body)
            .map_err(|cause| Error::new(ErrorKind::InvalidInput, "the event's data is not JSON").caused_by(cause))?;
        Ok(Self::from_checked(event_type.into(), body))
    }

    /// As [`NewEvent::from_json`], for text that is already known to be JSON.
    pub(crate) fn from_checked(event_type: String, body: String) -> Self {
        Self {
            id: None,
            event_type,
            action: None,
            source: Cow::Borrowed("emit"),
            key: None,
            received_at: None,
            not_before: None,
            priority: 0,
            max_retries: None,
            headers: Vec::new(),
            body,
            body_hash: None,
            same_body_is_duplicate: false,
            rename_on_conflict: false,
            stale: false,
        }
    }

    /// Names the event. The same id again, while the first is kept or remembered, is answered with the event that is there; the
    /// same id with other data is refused, and so is one of another type while the first is kept (of one that is only remembered the type
    /// is not known). Data is compared byte by byte: whoever may emit an event again leaves out of it what differs each time, such as the
    /// present time or the order of a `HashMap`. Without it an id is made up (a UUID, version 7).
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Says what happened to the thing that the type names: `create`, `update`, …
    #[must_use]
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// Says where the event comes from. Default: `emit`.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Cow::Owned(source.into());
        self
    }

    /// Events of one key run one at a time, in the order of their arrival.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Not to be run earlier. Until then it holds up no other event of its key. Default: none; a time that is past is the same.
    ///
    /// However the clock is set meanwhile, the event waits no longer than this time was away when it was received. That is measured by the
    /// time that the process runs, which stands still while the machine is suspended. When the store is opened again, what is left is told
    /// by the clock anew, and is no longer than the whole.
    #[must_use]
    pub fn not_before(mut self, time: Timestamp) -> Self {
        self.not_before = Some(Start::At(time));
        self
    }

    /// The same as a wait, which begins when the event is kept. The last that was said of the two holds.
    #[must_use]
    pub fn delay(mut self, wait: Duration) -> Self {
        self.not_before = Some(Start::After(wait));
        self
    }

    /// Whether it runs before others that may run now: 0 (first, the default) to 9 (last). With each whole minute that an event has
    /// waited since its reception or its last replay it counts as one step further to the front, so none waits more than nine
    /// minutes longer for its priority (by the wall clock: one that is set back adds as much). Events of one key keep their order
    /// whatever their priorities.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Runs after the first counted failure: 0 to 1,000. Default: the store's `max_retries`.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// Adds a header: text that travelled beside the data.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Not to be run earlier, if it is kept `now`.
    pub(crate) fn starts_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.not_before.map(|start| match start {
            Start::At(time) => time,
            Start::After(wait) => now.saturating_add(wait),
        })
    }

    /// The hash by which duplicates of this body are known: SHA-256 of the data unless the sender knows better.
    pub(crate) fn hash_of_body(&self) -> [u8; 32] {
        self.body_hash.unwrap_or_else(|| Sha256::digest(self.body.as_bytes()).into())
    }

    /// Refuses what does not fit the bounds above, by name.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        limits::check("id", self.id.as_deref(), 1, limits::ID_BYTES_MAX)?;
        limits::check("event_type", self.event_type.as_str(), 1, limits::TYPE_BYTES_MAX)?;
        limits::check("action", self.action.as_deref(), 0, limits::ACTION_BYTES_MAX)?;
        limits::check("source", &*self.source, 1, limits::SOURCE_BYTES_MAX)?;
        limits::check("key", self.key.as_deref(), 1, limits::KEY_BYTES_MAX)?;
        let retries = self.max_retries.unwrap_or(0);
        if retries > limits::RETRIES_MAX {
            return Err(Error::invalid(format!(
                "max_retries is {retries}; at most {} are allowed",
                limits::RETRIES_MAX
            )));
        }
        if self.priority > limits::PRIORITY_MAX {
            let (priority, last) = (self.priority, limits::PRIORITY_MAX);
            return Err(Error::invalid(format!("priority is {priority}; it must be from 0 (first) to {last} (last)")));
        }
        let header_bytes: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.headers.len() > limits::HEADER_COUNT_MAX || header_bytes > limits::HEADER_BYTES_MAX {
            return Err(Error::invalid(format!(
                "{} headers of {header_bytes} bytes; at most {} of {} bytes are kept",
                self.headers.len(),
                limits::HEADER_COUNT_MAX,
                limits::HEADER_BYTES_MAX
            )));
        }
        Ok(())
    }
}

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The data and the headers may hold what must not reach a log.
        f.debug_struct("NewEvent")
            .field("id", &self.id)
            .field("event_type", &self.event_type)
            .field("action", &self.action)
            .field("source", &self.source)
            .field("key", &self.key)
            .field("header_count", &self.headers.len())
            .field("data_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_a_bound_is_refused_by_name() {
        let event = || NewEvent::new("Issue", &1).unwrap();
        for (event, name) in [
            (event().id(""), "id is empty"),
            (event().id("x".repeat(257)), "id has 257 bytes"),
            (event().key(""), "key is empty"),
            (event().max_retries(1_001), "max_retries is 1001"),
            (event().priority(10), "priority is 10; it must be from 0 (first) to 9 (last)"),
            (event().header("a", "x".repeat(9_000)), "headers of 9001 bytes"),
            (NewEvent::new("", &1).unwrap(), "event_type is empty"),
        ] {
            let error = event.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(name), "{error}");
        }
        event().id("x".repeat(256)).max_retries(1_000).priority(9).validate().unwrap();
        assert!(NewEvent::from_json("Issue", "{").is_err());
    }
}

//! One event of the former program.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::event::{NewEvent, Timestamp};
use crate::webhook;

/// The source of what the event manager had in its queue.
const SOURCE: &str = "import";
/// The header that keeps when an event came to the former program. It has come here only now: by that it waits, and is remembered.
const TIMESTAMP: &str = "former-timestamp";

/// One event that the former program had not finished, or had given up.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case", deny_unknown_fields)]
pub enum FormerEvent {
    /// The event manager had it in its queue.
    Queue {
        /// Its id there, and here.
        id: String,
        /// Its type.
        event_type: String,
        /// Its data: JSON, kept byte for byte.
        data: String,
        /// When it was emitted.
        timestamp: Timestamp,
        /// When it was due again.
        not_before: Option<Timestamp>,
        /// The retries that are left.
        max_retries: u32,
        /// It has failed for good, and why.
        failed: Option<String>,
    },
    /// The webhook processor had it in its list.
    Delivery {
        /// The delivery's body, kept byte for byte.
        body: String,
        /// When it was received.
        timestamp: Timestamp,
    },
}

impl FormerEvent {
    /// The event to be kept, and why it has failed for good if it has.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] if it is none that could be kept.
    pub(in crate::service) fn read(&self) -> Result<(NewEvent, Option<&str>), Error> {
        match self {
            Self::Queue { id, event_type, data, timestamp, not_before, max_retries, failed } => {
                let event = NewEvent::from_json(event_type, data)?.id(id).max_retries(*max_retries);
                let mut event = not_before.iter().fold(event, |event, time| event.not_before(*time));
                event.source = Cow::Borrowed(SOURCE);
                Ok((event.header(TIMESTAMP, timestamp.to_string()), failed.as_deref()))
            }
            Self::Delivery { body, timestamp } => {
                let (headers, body) = (Vec::new(), body.clone().into_bytes());
                // That it has no headers is nothing to tell anybody.
                let read = webhook::read(webhook::Delivery { headers, body, received_at: *timestamp }, Duration::MAX);
                let (event, _) = read.map_err(|cause| Error::invalid("the payload is no delivery").caused_by(cause))?;
                // It was taken then, so it is not late.
                let event = NewEvent { received_at: None, stale: false, ..event };
                Ok((event.header(TIMESTAMP, timestamp.to_string()), None))
            }
        }
    }

    /// Whether it is to be run.
    pub(super) fn is_to_run(&self) -> bool {
        !matches!(self, Self::Queue { failed: Some(_), .. })
    }

    /// About how many bytes it is.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Queue { id, event_type, data, failed, .. } => {
                id.len() + event_type.len() + data.len() + failed.as_ref().map_or(0, String::len)
            }
            Self::Delivery { body, .. } => body.len(),
        }
    }
}

impl fmt::Debug for FormerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The data may hold what must not reach a log.
        let id = match self {
            Self::Queue { id, .. } => Some(id),
            Self::Delivery { .. } => None,
        };
        f.debug_struct("FormerEvent").field("id", &id).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

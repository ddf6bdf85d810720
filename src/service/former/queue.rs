//! The event manager's queue.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::FormerEvent;
use super::file::{Place, time};
use crate::error::Error;
use crate::event::{Timestamp, limits};
use crate::service::printable::json_line;

/// The retries of an event that does not say.
const MAX_RETRIES: u64 = 3;

/// The whole file. What else it holds is of no use here.
#[derive(Deserialize)]
struct Queue<'f> {
    #[serde(borrow)]
    pending_events: Vec<Queued<'f>>,
    #[serde(borrow, default)]
    failed_events: Vec<Queued<'f>>,
}

#[derive(Deserialize)]
struct Queued<'f> {
    id: String,
    event_type: String,
    #[serde(borrow)]
    data: &'f RawValue,
    timestamp: String,
    status: Status,
    retry_count: Option<u64>,
    last_attempt: Option<String>,
    #[serde(borrow)]
    error_message: Option<&'f RawValue>,
    max_retries: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Pending,
    Processing,
    Completed,
    Failed,
    Retrying,
}

/// What the queue holds.
pub(super) struct Held {
    pub(super) events: Vec<FormerEvent>,
    pub(super) completed: u64,
}

/// Reads the queue as it is to go on `now`, with this retry interval. An event may stand in both lists, and counts once.
pub(super) fn read(json: &str, now: Timestamp, retry_interval: Duration) -> Result<Held, Error> {
    let queue: Queue<'_> = serde_json::from_str(json).map_err(super::file::unreadable)?;
    let lists = [("pending_events", &queue.pending_events), ("failed_events", &queue.failed_events)];
    let all = lists.iter().flat_map(|(list, events)| {
        events.iter().enumerate().map(|(index, event)| (Place { list, index, id: &event.id }, event))
    });
    let completed: HashSet<&str> = all
        .clone()
        .filter(|(_, event)| event.status == Status::Completed)
        .map(|(_, event)| event.id.as_str())
        .collect();
    let mut seen: HashMap<&str, &str> = HashMap::new();
    let mut events = Vec::new();
    for (place, event) in all {
        let data = event.data.get();
        match seen.insert(&event.id, data) {
            Some(other) if other != data => {
                return Err(place.refused("stands there twice, with other data each time"));
            }
            Some(_) => {}
            None if completed.contains(event.id.as_str()) => {}
            None => events.push(event.read(&place, now, retry_interval)?),
        }
    }
    Ok(Held { events, completed: completed.len() as u64 })
}

impl Queued<'_> {
    fn read(&self, place: &Place<'_>, now: Timestamp, retry_interval: Duration) -> Result<FormerEvent, Error> {
        let (failures, most) = (self.retry_count.unwrap_or(0), self.max_retries.unwrap_or(MAX_RETRIES));
        let bounded = |retries: u64| u32::try_from(retries).unwrap_or(u32::MAX).min(limits::RETRIES_MAX);
        let has_failed = self.status == Status::Failed && failures >= most;
        let waits = matches!(self.status, Status::Retrying | Status::Failed) && !has_failed;
        let last_attempt = self.last_attempt.as_deref().map(|text| time(text, place, "last_attempt")).transpose()?;
        // Whatever its clock said, nothing waits longer than the interval.
        let due = last_attempt.filter(|_| waits).map(|last| last.min(now).saturating_add(retry_interval));
        place.checked(FormerEvent::Queue {
            id: self.id.clone(),
            event_type: self.event_type.clone(),
            data: self.data.get().to_owned(),
            timestamp: time(&self.timestamp, place, "timestamp")?,
            not_before: due,
            // Once somebody has it run anew it has all of them again.
            max_retries: bounded(if has_failed { most } else { most.saturating_sub(failures) }),
            failed: has_failed.then(|| self.reason(failures)),
        })
    }

    /// Why it has failed for good.
    fn reason(&self, failures: u64) -> String {
        // A message may be cut within a surrogate pair, of which a text can hold nothing.
        let message = self.error_message.and_then(|raw| serde_json::from_str::<String>(&json_line(&raw).ok()?).ok());
        let message = message.unwrap_or_else(|| "it has not said why".to_owned());
        let mut reason = format!("given up by the former program after {failures} failures: {message}");
        // No more of it is kept.
        reason.truncate(reason.floor_char_boundary(limits::MESSAGE_BYTES_MAX));
        reason
    }
}

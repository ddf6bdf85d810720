//! Which events a wish is about, and what came of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::event::{Status, Timestamp, limits};
use crate::state::{IdHasher, View};

/// Most refusals that a report names; further ones are only counted.
const REFUSALS_MAX: usize = 10_000;

/// Most events a second that can be asked for.
const RATE_MAX: u32 = 100_000;

/// Which events to replay or to cancel: all that match every condition; and whether really, and how fast.
///
/// A selection is taken as of the moment it is acted on: events that are received later are not looked at. An event that ceases to
/// match before its turn comes is passed over.
///
/// ```
/// use ledgerline::Selection;
///
/// let rehearsal = Selection::failed().event_type("Issue").dry_run();
/// let slowly = Selection::failed().rate(50);
/// let three = Selection::ids(["a", "b", "c"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use = "a selection does nothing by itself"]
pub struct Selection {
    pub(super) ids: Option<Vec<String>>,
    status: Option<Status>,
    event_type: Option<String>,
    key: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    pub(super) dry_run: bool,
    rate: Option<u32>,
}

impl Selection {
    /// All events. Narrow it down.
    pub fn all() -> Self {
        Self::default()
    }

    /// All events that have failed for good.
    pub fn failed() -> Self {
        Self::all().status(Status::Failed)
    }

    /// These events, in the order given. An id that no event has is named in the report.
    pub fn ids(ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { ids: Some(ids.into_iter().map(Into::into).collect()), ..Self::default() }
    }

    /// Only events that stand at `status`. Default: wherever they stand.
    pub fn status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// Only events of this type: 1 to 128 bytes. Default: of every type.
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }

    /// Only events of this key: 1 to 256 bytes. Default: of every key, and of none.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Only events that were received at `time` or later. Default: from the first on.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// Only events that were received before `time`. Default: to the last.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// Changes nothing, and only says what would be done.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// At most so many events a second: 1 to 100,000. Each tenth of a second's share (at least one event) is durable before the next
    /// begins. Default: as fast as the disk takes them.
    pub fn rate(mut self, per_second: u32) -> Self {
        self.rate = Some(per_second);
        self
    }

    /// Whether nothing is to be changed.
    #[cfg(feature = "service")]
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Refuses what is out of bounds, by name.
    pub(super) fn validate(&self) -> Result<(), Error> {
        text("event_type", self.event_type.as_deref(), limits::TYPE_BYTES_MAX)?;
        text("key", self.key.as_deref(), limits::KEY_BYTES_MAX)?;
        if let Some(rate) = self.rate.filter(|rate| !(1..=RATE_MAX).contains(rate)) {
            return Err(Error::invalid(format!("rate is {rate} events a second; it must be from 1 to {RATE_MAX}")));
        }
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => Err(Error::invalid(format!(
                "since is {since} and until is {until}: no event was received from the one to before the other"
            ))),
            _ => Ok(()),
        }
    }

    /// Where the event must stand, if that matters.
    pub(super) fn status_wanted(&self) -> Option<Status> {
        self.status
    }

    /// What the event's key must hash to, if that matters.
    pub(super) fn key_hash(&self, hasher: IdHasher) -> Option<u64> {
        self.key.as_deref().map(|key| hasher.key(key))
    }

    pub(super) fn matches(&self, view: &View, key_hash: Option<u64>) -> bool {
        let received_at = Timestamp::from_unix_micros(view.received_at);
        self.status.is_none_or(|status| status == view.status)
            && self.event_type.as_deref().is_none_or(|event_type| event_type == &*view.event_type)
            && key_hash.is_none_or(|key| key == view.key)
            && self.since.is_none_or(|since| since <= received_at)
            && self.until.is_none_or(|until| received_at < until)
    }

    /// How many events become durable together.
    pub(super) fn step_count(&self) -> usize {
        const STEP_COUNT: u32 = 256;
        let count = self.rate.map_or(STEP_COUNT, |rate| (rate / 10).clamp(1, STEP_COUNT));
        count as usize
    }

    /// How long to rest after `count` events were done.
    pub(super) fn rest(&self, count: u64) -> Duration {
        let Some(rate) = self.rate.filter(|_| !self.dry_run) else { return Duration::ZERO };
        Duration::from_micros(count.saturating_mul(1_000_000) / u64::from(rate.max(1)))
    }
}

fn text(name: &str, text: Option<&str>, max: usize) -> Result<(), Error> {
    match text.map(str::len) {
        Some(0) => Err(Error::invalid(format!("{name} is empty: no event has such a one"))),
        Some(len) if len > max => {
            Err(Error::invalid(format!("{name} has {len} bytes; no event's has more than {max}")))
        }
        _ => Ok(()),
    }
}

impl From<&str> for Selection {
    fn from(id: &str) -> Self {
        Self::ids([id])
    }
}

impl From<String> for Selection {
    fn from(id: String) -> Self {
        Self::ids([id])
    }
}

impl<I: Into<String>> From<Vec<I>> for Selection {
    fn from(ids: Vec<I>) -> Self {
        Self::ids(ids)
    }
}

impl<I: Into<String>, const N: usize> From<[I; N]> for Selection {
    fn from(ids: [I; N]) -> Self {
        Self::ids(ids)
    }
}

/// What became of a wish about a selection of events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Selected {
    /// Events that matched, and ids that no event has.
    pub matched: u64,
    /// Events to which it was done; in a dry run those to which it would be done.
    pub done: u64,
    /// Events to which it may not be done, and ids that no event has.
    pub refused: u64,
    /// The first 10,000 of those, each with the reason.
    pub refusals: Vec<Refusal>,
    /// Whether nothing was changed, as was asked for.
    pub dry_run: bool,
}

/// Why a wish was not done to one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Refusal {
    /// The event, or the id that none has.
    pub id: String,
    /// Why not.
    pub reason: String,
    /// Of which kind that is: [`ErrorKind::NotFound`] or [`ErrorKind::NotAllowed`].
    pub kind: ErrorKind,
}

impl Selected {
    /// Counts one event that matched, of which `id` is asked only where it is told.
    pub(super) fn count(&mut self, refused: Option<&(ErrorKind, String)>, id: impl FnOnce() -> String) {
        self.matched += 1;
        let Some((kind, reason)) = refused else {
            self.done += 1;
            return;
        };
        self.refused += 1;
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push(Refusal { id: id(), reason: reason.clone(), kind: *kind });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_event_can_match_is_refused_by_name() {
        let at = Timestamp::from_unix_micros;
        for (selection, says) in [
            (Selection::all().event_type(""), "event_type is empty"),
            (Selection::all().event_type("x".repeat(129)), "event_type has 129 bytes"),
            (Selection::all().key(""), "key is empty"),
            (Selection::all().key("x".repeat(257)), "key has 257 bytes"),
            (Selection::all().rate(0), "rate is 0 events a second; it must be from 1 to 100000"),
            (Selection::all().rate(100_001), "rate is 100001"),
            (
                Selection::all().since(at(1)).until(at(1)),
                "since is 1970-01-01T00:00:00.000001Z and until is 1970-01-01T00:00:00.000001Z",
            ),
        ] {
            let error = selection.validate().unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        Selection::failed().event_type("Issue").key("k").since(at(1)).until(at(2)).rate(1).validate().unwrap();
    }

    #[test]
    fn a_step_is_a_tenth_of_a_second_and_rests_for_what_it_did() {
        for (rate, count, rest_ms) in [(1, 1, 1_000), (9, 1, 111), (50, 5, 100), (100_000, 256, 2)] {
            let selection = Selection::all().rate(rate);
            assert_eq!(selection.step_count(), count, "{rate}");
            assert_eq!(selection.rest(count as u64).as_millis(), rest_ms, "{rate}");
        }
        assert_eq!((Selection::all().step_count(), Selection::all().rest(256)), (256, Duration::ZERO));
        assert_eq!(Selection::all().rate(1).dry_run().rest(7), Duration::ZERO, "what changes nothing need not rest");
    }
}

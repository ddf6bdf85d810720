//! How events stood at an earlier point: the log folded that far and no further.
//!
//! Order is by number, and a time means the records before the first that says a later one. Like every reading from files it takes no
//! lock and may run beside a process that writes. What compaction dropped since is not counted, and the answer says so.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::Serialize;

use crate::env::Clock;
use crate::error::Error;
use crate::event::entry::Entry;
use crate::event::{Moment, Place, Status, Timestamp};
use crate::state::{IdHasher, Policy, State};
use crate::store::audit::{self, Seen, Witness};
use crate::store::commit::moment;
use crate::store::forgotten::Forgotten;
use crate::store::replay::at_of;

/// A point in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Point {
    /// After the record with this number.
    Seq(u64),
    /// Before the first record that says a later time.
    Time(Timestamp),
}

/// The text names no point in a log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text:?} is neither a record's number nor an RFC 3339 time such as 2026-11-23T09:51:00Z")]
pub struct ParsePointError {
    text: String,
}

impl FromStr for Point {
    type Err = ParsePointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParsePointError { text: text.chars().take(64).collect() };
        match text.parse() {
            Ok(seq) => Ok(Self::Seq(seq)),
            Err(_) => text.parse().map(Self::Time).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seq(seq) => write!(f, "record {seq}"),
            Self::Time(time) => time.fmt(f),
        }
    }
}

/// How events stood at a point.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AsOf {
    /// The last record that was counted; 0 if the point lies before all that are retained. Then the answer is complete only where the log
    /// begins with record 1: before it there was nothing.
    pub seq: u64,
    /// The first record that is retained; 0 if there is none.
    pub retained_from: u64,
    /// Whether nothing is missing that counted then: false where events were forgotten and dropped since.
    pub complete: bool,
    /// Events by status.
    pub events: BTreeMap<Status, u64>,
    /// The event that was asked for, if it was there.
    pub event: Option<EventAsOf>,
    /// Places at which the log is damaged: then the answer may lack something.
    pub damage: u64,
}

/// How one event stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EventAsOf {
    /// Seq of its reception.
    pub seq: u64,
    /// Where it stood.
    pub status: Status,
    /// Counted failures since its reception or its last replay.
    pub retry_count: u32,
    /// Runs so far.
    pub attempt: u32,
    /// The last record about it.
    pub last_seq: u64,
}

/// How the events of the store at `path`, and the event `id` among them, stood at `point`, as far as it is retained.
///
/// # Errors
/// As [`verify`](crate::verify()).
pub fn as_of(path: impl AsRef<Path>, point: Point, id: Option<&str>) -> Result<AsOf, Error> {
    let dir = audit::enter(path.as_ref())?;
    let (survey, manifest) = audit::survey(&dir)?;
    let now = moment(&Clock::system());
    let state = State::new(manifest.store_id, Policy::default());
    let mut folding = Folding {
        point,
        state,
        now,
        seq: 0,
        first: None,
        is_past: false,
        forgotten: Forgotten::NOTHING,
        forgotten_then: Forgotten::NOTHING,
        handled: BTreeMap::new(),
    };
    let report = audit::examine(&survey.files, &manifest, &mut folding, &mut |_| Ok(()))?;
    let Folding { state, seq, first, forgotten, forgotten_then, handled, .. } = folding;
    let counts = state.counts();
    let found = id.and_then(|id| state.find(IdHasher::new(manifest.store_id).id(id))).and_then(|seq| state.view(seq));
    Ok(AsOf {
        seq,
        retained_from: first.unwrap_or(0),
        complete: match (seq, first) {
            // Before the first record of all there was nothing.
            (0, Some(first)) => first == 1,
            (0, None) => manifest.dropped_count() == 0 && report.damage == 0,
            _ => forgotten_then.is_all_there(forgotten, &manifest),
        },
        events: Status::ALL.into_iter().map(|status| (status, counts.of(status))).collect(),
        event: found.map(|view| EventAsOf {
            seq: view.seq,
            status: view.status,
            retry_count: view.retry_count,
            attempt: view.attempt,
            last_seq: handled.get(&view.seq).copied().unwrap_or(view.last_seq),
        }),
        damage: report.damage,
    })
}

/// Applies entries up to the point.
struct Folding {
    point: Point,
    state: State,
    now: Moment,
    seq: u64,
    first: Option<u64>,
    is_past: bool,
    /// How far the log has forgotten, and how far it had at the point: what was forgotten since may be gone.
    forgotten: Forgotten,
    forgotten_then: Forgotten,
    /// The last record that one of an event's handlers has succeeded, where nothing else happened to the event since: the run goes on, so
    /// the state does not count it.
    handled: BTreeMap<u64, u64>,
}

impl Witness for Folding {
    fn entry(&mut self, seen: &Seen<'_>) -> Result<Option<String>, Error> {
        let Seen { record, entry, .. } = *seen;
        self.first.get_or_insert(record.seq);
        self.is_past |= match self.point {
            Point::Seq(seq) => record.seq > seq,
            Point::Time(time) => at_of(entry).is_some_and(|at| at > time.unix_micros()),
        };
        self.forgotten.see(entry);
        if self.is_past {
            return Ok(None);
        }
        self.forgotten_then = self.forgotten;
        self.seq = record.seq;
        match entry {
            Entry::Handled(handled) => drop(self.handled.insert(handled.of.seq, record.seq)),
            _ => drop(entry.of().map(|of| self.handled.remove(&of.seq))),
        }
        let place = Place { segment: 0, offset: 0, length: 0 };
        Ok(self.state.apply(record.seq, place, entry, self.now).err().map(|illegal| illegal.to_string()))
    }
}

//! Reading the log in order, beside whoever writes it: from any record on, and then along with what becomes durable.
//!
//! ```text
//! cursor ──► which segment holds it? (lock) ──► its groups, from the file (no lock) ──► entries
//!    ▲                                                                                    │
//!    └── nothing durable left: wait for the disk ◄────────────────────────────────────────┘
//! ```
//!
//! Everything that is yielded is durable, and together entries and gaps are every number from the first on, once and in order. A gap
//! is what compaction dropped, whether it was gone before or went while the reader was behind. Files are read without any lock; one
//! that is deleted meanwhile stays readable while it is open.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind};
use crate::event::entry::Entry;
use crate::event::{Status, Timestamp, codec};
use crate::log::format::SEGMENT_HEADER_BYTES;
use crate::log::manifest::Extent;
use crate::log::scan::{Record, Standing, Visitor, visit_group};
use crate::log::segment::Segment;
use crate::log::source::Source;
use crate::store::audit::describe;
use crate::store::commit::Shared;
use crate::store::core::Core;
use crate::store::failure::{of_env, of_refusal, of_stopped};
use crate::store::following::Followed;
use crate::store::reading::status_after;
use crate::store::replay::at_of;

/// Entries that are read ahead, unless one group has more.
const AHEAD_COUNT: usize = 256;
/// Bytes of the log that are read ahead, unless one group has more.
const AHEAD_BYTES: u64 = 1024 * 1024;
/// Receptions whose id, type and key are held, so that later entries about them are told without another read.
const SUBJECTS_MAX: usize = 16 * 1024;

/// What a [`Reader`] yields.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "item", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogItem {
    /// The next entry.
    Entry(LogEntry),
    /// These entries are no longer there: compaction dropped them, because nothing needs them.
    Compacted {
        /// Seq of the first.
        from: u64,
        /// Seq of the last.
        to: u64,
    },
}

/// One durable entry of the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LogEntry {
    /// The number of its record.
    pub seq: u64,
    /// What happened: to an event `received`, `started`, `handled`, `completed`, `failed`, `snoozed`, `released`, `replayed`,
    /// `cancelled`, `condemned`; to the store `begun`, `state`, `mark`, `horizon`, `remembered`, `accepted`, `paused`, `resumed`,
    /// `cursor`.
    pub kind: &'static str,
    /// The event it is about; none if it is about none, or about one that is forgotten.
    pub id: Option<String>,
    /// Seq of that event's reception.
    pub of: Option<u64>,
    /// The event's type; none as for its id.
    pub event_type: Option<String>,
    /// The event's key; none as for its id, or if it has none.
    pub key: Option<String>,
    /// Where the event stands after this; none if it is about none.
    pub status: Option<Status>,
    /// When it happened, if it says so.
    pub at: Option<Timestamp>,
    /// What else it says, in the names that the dump prints.
    pub says: Map<String, Value>,
    /// The data of a reception, as it was received.
    pub data: Option<String>,
}

/// Yields the entries of a log in order, without a gap that it does not name: first those that are there, then each as it becomes
/// durable. See [`Store::read_from`](crate::Store::read_from).
///
/// As an iterator it blocks until there is something, and ends when the store is closed, or with an error. It holds no lock while it
/// reads, and keeps at most about 1 MiB or one group of the log in memory, and some MB of what the entries before were about. It does not
/// keep the store open.
pub struct Reader {
    shared: Arc<Shared>,
    /// The next seq to read.
    cursor: u64,
    /// The salt of the segment that is being read, and where its next group begins.
    at: Option<(u64, u64)>,
    ready: VecDeque<LogItem>,
    subjects: HashMap<u64, Subject>,
    /// What it ends with, once `ready` is yielded.
    failure: Option<Error>,
    ended: bool,
}

/// What an entry is about.
#[derive(Clone)]
struct Subject {
    /// None: its bytes are damaged.
    id: Option<String>,
    event_type: Option<String>,
    key: Option<String>,
}

/// A segment, and where it ends unless it is being written.
type Held = (Arc<Segment>, Option<u64>);

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, seq: u64) -> Self {
        let (ready, subjects) = (VecDeque::new(), HashMap::new());
        Self { shared, cursor: seq.max(1), at: None, ready, subjects, failure: None, ended: false }
    }

    /// The number of what comes next: to be kept by whoever wants to go on here later.
    pub fn position(&self) -> u64 {
        match self.ready.front() {
            Some(LogItem::Entry(entry)) => entry.seq,
            Some(LogItem::Compacted { from, .. }) => *from,
            None => self.cursor,
        }
    }

    /// What comes next, once it is there; none if nothing came within `timeout`, or nothing more will come ([`Reader::is_ended`]).
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`]: the store failed; what was durable before has been yielded. [`ErrorKind::Corrupt`]: the log is damaged
    /// here. [`ErrorKind::UnsupportedFormat`], [`ErrorKind::Io`]. The reader has ended then.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<LogItem>, Error> {
        self.take(Some(timeout))
    }

    /// Whether nothing more will come.
    pub fn is_ended(&self) -> bool {
        self.ended && self.ready.is_empty() && self.failure.is_none()
    }

    fn take(&mut self, timeout: Option<Duration>) -> Result<Option<LogItem>, Error> {
        while self.ready.is_empty() && !self.ended {
            let filled = match self.shared.follow(self.cursor, timeout) {
                Ok(Followed::Durable(durable)) => self.fill(durable),
                Ok(Followed::Never) => {
                    self.ended = true;
                    return Ok(None);
                }
                Ok(Followed::NotYet) => return Ok(None),
                Err(error) => Err(error),
            };
            if let Err(error) = filled {
                (self.failure, self.ended) = (Some(error), true);
            }
        }
        match self.ready.pop_front() {
            Some(item) => Ok(Some(self.named(item))),
            None => self.failure.take().map_or(Ok(None), Err),
        }
    }

    /// Reads some of the groups from the cursor on, as far as they are durable.
    fn fill(&mut self, durable: u64) -> Result<(), Error> {
        let Some((segment, end)) = self.segment() else {
            // Opened for reading, and compaction took the end.
            let (from, to) = (self.cursor, durable);
            if !self.shared.desk().core.manifest.has_dropped_all(from, to) {
                let text = format!("the log is damaged: the records {from} to {to} are lost");
                return Err(Error::new(ErrorKind::Corrupt, text).at_path(self.shared.dir.path()).at_seq(from));
            }
            self.ready.push_back(LogItem::Compacted { from, to });
            self.cursor = to + 1;
            return Ok(());
        };
        let salt = segment.salt();
        let mut offset = self.at.filter(|(held, _)| *held == salt).map_or(SEGMENT_HEADER_BYTES, |(_, offset)| offset);
        let bytes = segment.file.len().map_err(of_env)?;
        let (begin, mut source) = (offset, Source::narrow(&segment.file));
        let mut gather = Gather { cursor: self.cursor, ready: &mut self.ready };
        while gather.cursor <= durable && end.is_none_or(|end| offset < end) {
            let visited = visit_group(&mut source, bytes, &segment.header, offset, &mut gather);
            let group = visited.map_err(|stopped| of_stopped(stopped).at_path(segment.file.path()))?;
            offset = group.map_err(|finding| damaged(&segment, finding.offset, gather.cursor, &finding.defect))?.offset;
            if gather.ready.len() >= AHEAD_COUNT || (offset - begin >= AHEAD_BYTES && !gather.ready.is_empty()) {
                break;
            }
        }
        self.cursor = gather.cursor;
        self.at = Some((salt, offset));
        self.check_gaps(&segment)?;
        if self.ready.is_empty() {
            return Err(damaged(&segment, offset, self.cursor, &"the segment ends before its last record"));
        }
        Ok(())
    }

    /// The segment in which the cursor stands or, where that was dropped, the next one that is left.
    fn segment(&self) -> Option<Held> {
        // Under the lock no file is taken out before what it held lies in another.
        let desk = self.shared.desk();
        let held = desk.core.holds(self.cursor);
        held.and_then(|(key, end)| Some((self.shared.segment(key)?, end)))
    }

    /// A gap that compaction did not leave is damage: a store that was opened for reading may have such gaps.
    fn check_gaps(&mut self, segment: &Segment) -> Result<(), Error> {
        let is_gap = |item: &LogItem| matches!(item, LogItem::Compacted { .. });
        if !self.ready.iter().any(is_gap) {
            return Ok(());
        }
        let desk = self.shared.desk();
        let lost = self.ready.iter().position(|item| match item {
            LogItem::Compacted { from, to } => !desk.core.manifest.has_dropped_all(*from, *to),
            LogItem::Entry(_) => false,
        });
        drop(desk);
        let Some(index) = lost else { return Ok(()) };
        let Some(LogItem::Compacted { from, to }) = self.ready.drain(index..).next() else { return Ok(()) };
        let text = format!("the records {from} to {to} are lost");
        self.cursor = from;
        Err(damaged(segment, SEGMENT_HEADER_BYTES, from, &text))
    }

    /// The item with what is known of its event, where it is about one.
    fn named(&mut self, item: LogItem) -> LogItem {
        let LogItem::Entry(mut entry) = item else { return item };
        match (&entry.id, entry.of) {
            (Some(id), _) => {
                let (event_type, key) = (entry.event_type.clone(), entry.key.clone());
                self.hold(entry.seq, Subject { id: Some(id.clone()), event_type, key });
            }
            (None, Some(of)) => {
                if let Some(Subject { id, event_type, key }) = self.subject(of) {
                    (entry.id, entry.event_type, entry.key) = (id, event_type, key);
                }
            }
            (None, None) => {}
        }
        LogItem::Entry(entry)
    }

    /// What is known of the event received as `seq`; none if it is forgotten.
    fn subject(&mut self, seq: u64) -> Option<Subject> {
        if let Some(subject) = self.subjects.get(&seq) {
            return Some(subject.clone());
        }
        let view = self.shared.desk().core.state.view(seq)?;
        let event = self.shared.read_event(&view);
        // What cannot be read now may be another time; what is damaged stays so.
        let is_final = event.as_ref().map_or_else(|error| error.kind() == ErrorKind::Corrupt, |_| true);
        let event = event.ok();
        let subject = Subject {
            id: event.as_ref().map(|event| event.id().to_owned()),
            event_type: Some(view.event_type.as_ref().to_owned()),
            key: event.as_ref().and_then(|event| event.key()).map(str::to_owned),
        };
        if is_final {
            self.hold(seq, subject.clone());
        }
        Some(subject)
    }

    fn hold(&mut self, seq: u64, subject: Subject) {
        if self.subjects.len() >= SUBJECTS_MAX {
            self.subjects.clear();
        }
        self.subjects.insert(seq, subject);
    }
}

/// For callers that must not block while nothing is there.
#[cfg(feature = "manager")]
impl Reader {
    /// Resolves once [`Reader::take_some`] has something to say; false if nothing more will come.
    pub(crate) async fn has_more(&self) -> Result<bool, Error> {
        if !self.ready.is_empty() || self.failure.is_some() {
            return Ok(true);
        }
        if self.ended {
            return Ok(false);
        }
        self.shared.follow_async(self.cursor).await.map(|durable| durable.is_some())
    }

    /// Some of what comes next, possibly nothing. It reads files, but does not wait for any to be written.
    pub(crate) fn take_some(&mut self) -> Result<Vec<LogItem>, Error> {
        let mut items = Vec::new();
        while let Some(item) = self.take(Some(Duration::ZERO))? {
            items.push(item);
            if self.ready.is_empty() {
                break;
            }
        }
        Ok(items)
    }
}

impl Iterator for Reader {
    type Item = Result<LogItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take(None).transpose()
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("position", &self.position()).field("ended", &self.ended).finish_non_exhaustive()
    }
}

fn damaged(segment: &Segment, offset: u64, seq: u64, what: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the log is damaged: {what}"))
        .at_path(segment.file.path())
        .at_offset(offset)
        .at_seq(seq)
}

/// Gathers the entries from a seq on, and names the gaps between them.
struct Gather<'r> {
    cursor: u64,
    ready: &'r mut VecDeque<LogItem>,
}

impl Visitor for Gather<'_> {
    type Stop = Error;

    fn record(&mut self, record: &Record<'_>, _: Standing) -> Result<(), Error> {
        if record.seq < self.cursor {
            return Ok(());
        }
        let entry = codec::decode(record.body).map_err(|refusal| of_refusal(refusal).at_seq(record.seq))?;
        if record.seq > self.cursor {
            self.ready.push_back(LogItem::Compacted { from: self.cursor, to: record.seq - 1 });
        }
        self.cursor = record.seq + 1;
        self.ready.push_back(LogItem::Entry(shown(record.seq, &entry)));
        Ok(())
    }
}

fn shown(seq: u64, entry: &Entry<'_>) -> LogEntry {
    let mut says = Map::new();
    describe(entry, &mut says);
    // These two have fields of their own.
    says.remove("at");
    says.remove("of");
    let mut shown = LogEntry {
        seq,
        kind: entry.name(),
        id: None,
        of: entry.of().map(|of| of.seq),
        event_type: None,
        key: None,
        status: entry.of().map(|_| status_after(entry)),
        at: at_of(entry).map(Timestamp::from_unix_micros),
        says,
        data: None,
    };
    if let Entry::Received(received) = entry {
        shown.id = Some(received.id.to_owned());
        shown.of = Some(seq);
        shown.event_type = Some(received.event_type.to_owned());
        shown.key = received.key.map(str::to_owned);
        shown.status = Some(status_after(entry));
        shown.data = std::str::from_utf8(received.body).ok().map(str::to_owned);
    }
    shown
}

impl Core {
    /// The segment in which the record `seq`, or the first that is left after it, stands: its key, and where its last group ends unless
    /// it is being written.
    pub(crate) fn holds(&self, seq: u64) -> Option<(u32, Option<u64>)> {
        let sealed = first_to(&self.sealed, seq).map(|(key, extent)| (*key, Some(extent.length)));
        // Where compaction left nothing of the end of a segment, what comes next is in the one after.
        sealed.or_else(|| self.active().map(|active| (active.key(), None)))
    }
}

/// The first segment that ends with the record `seq` or a later one: looked for from both ends, as most who ask are at one.
fn first_to(sealed: &BTreeMap<u32, Extent>, seq: u64) -> Option<(&u32, &Extent)> {
    let mut found = None;
    for (front, back) in sealed.iter().zip(sealed.iter().rev()) {
        if front.1.last_seq >= seq {
            return Some(front);
        }
        if back.1.last_seq < seq {
            break;
        }
        found = Some(back);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_found_from_either_end_as_by_a_search() {
        for count in 0..6 {
            let extent = |ordinal: u64| Extent {
                first_ordinal: ordinal,
                last_ordinal: ordinal,
                generation: 0,
                first_seq: 10 * ordinal - 9,
                last_seq: 10 * ordinal,
                record_count: 10,
                length: 640,
                digest: 0,
            };
            let sealed: BTreeMap<u32, Extent> = (1..=count).map(|key| (key, extent(key.into()))).collect();
            for seq in 0..70 {
                assert_eq!(first_to(&sealed, seq), sealed.iter().find(|(_, extent)| extent.last_seq >= seq), "{seq}");
            }
        }
    }
}

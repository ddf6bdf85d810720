//! What happens in a store, one entry after another, for whoever awaits it.
//!
//! The log itself is the queue between the store and a subscriber: what was not yet taken lies on the disk, so one that is slow costs
//! no memory and holds up nobody, and one that comes back later goes on where it stopped.

use std::collections::VecDeque;
use std::fmt;

use tokio::task::{JoinHandle, spawn_blocking};

use crate::error::{Error, ErrorKind};
use crate::event::{Status, limits};
use crate::manager::EventManager;
use crate::store::{LogEntry, LogItem, Reader};

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeFrom {
    /// With the first record of the log; what compaction has dropped since is named as a gap.
    Start,
    /// With the first record that becomes durable after this.
    Now,
    /// With the record of this number, or a later one: 1 is the first, and 0 is taken for it. Give what
    /// [`Subscription::position`] said to go on where another one stopped.
    Seq(u64),
}

/// The entries of a store's log, in order: those that are there, then each once it is durable. See [`EventManager::subscribe`].
///
/// It keeps at most about 1 MiB of entries in memory (or one group of the log, if that is longer), and reads more when those are taken.
/// It does not keep the store open. Dropping it leaves nothing behind.
#[must_use = "a subscription does nothing unless next() is awaited"]
pub struct Subscription {
    reading: Reading,
    ready: VecDeque<LogItem>,
    /// The number of what comes after `ready`.
    after: u64,
    position: u64,
    wanted: Wanted,
}

/// Who has the reader.
enum Reading {
    Waiting(Box<Reader>),
    /// A thread that may block. It is awaited to its end, also by a later call.
    Under(JoinHandle<Read>),
    Over,
}

/// The reader, and what it has read.
type Read = (Box<Reader>, Result<Vec<LogItem>, Error>);

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
struct Wanted {
    event_type: Option<String>,
    key: Option<String>,
    status: Option<Status>,
}

impl EventManager {
    /// Tells what happens in the store: every durable entry of the log from there on, in order and without a gap that is not named.
    ///
    /// ```no_run
    /// # async fn example(manager: ledgerline::EventManager) -> Result<(), ledgerline::Error> {
    /// use ledgerline::{LogItem, Status, SubscribeFrom};
    ///
    /// let mut failures = manager.subscribe(SubscribeFrom::Now).event_type("Issue").status(Status::Failed);
    /// loop {
    ///     match failures.next().await? {
    ///         LogItem::Entry(entry) => println!("{:?} has failed", entry.id),
    ///         gap => println!("too late for {gap:?}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn subscribe(&self, from: SubscribeFrom) -> Subscription {
        let store = &self.inner.store;
        let reader = match from {
            SubscribeFrom::Start => store.read_from(1),
            SubscribeFrom::Now => store.read_from_now(),
            SubscribeFrom::Seq(seq) => store.read_from(seq),
        };
        let position = reader.position();
        Subscription {
            reading: Reading::Waiting(Box::new(reader)),
            ready: VecDeque::new(),
            after: position,
            position,
            wanted: Wanted::default(),
        }
    }
}

impl Subscription {
    /// Only entries about events of this type: 1 to 128 bytes. Default: about all, and about the store itself.
    ///
    /// An entry other than a reception names its event by number alone; what type and key that event has is looked up. If it is
    /// forgotten meanwhile, and its reception was not read by this subscription, nobody knows: such an entry is passed over, unless
    /// neither type nor key matters.
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.wanted.event_type = Some(event_type.into());
        self
    }

    /// Only entries about events of this key: 1 to 256 bytes. As for [`Subscription::event_type`]. Default: of every key, and of none.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.wanted.key = Some(key.into());
        self
    }

    /// Only entries after which their event stands at `status`. Default: at any, and entries about the store itself.
    pub fn status(mut self, status: Status) -> Self {
        self.wanted.status = Some(status);
        self
    }

    /// The next entry that is wanted, once there is one and it is durable; or a gap, whatever is wanted: entries that compaction has
    /// dropped because nothing needs them. Dropping the call before its end loses nothing: the next call goes on.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`]: no event can have such a type or key. [`ErrorKind::Closed`]: the store was closed, and all that was
    /// durable has been told; also whenever it is called again after an error. [`ErrorKind::Poisoned`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::UnsupportedFormat`], [`ErrorKind::Io`] as for [`Reader::next_timeout`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn next(&mut self) -> Result<LogItem, Error> {
        self.wanted.validate()?;
        loop {
            if let Some(item) = self.ready.pop_front() {
                self.position = if self.ready.is_empty() { self.after } else { after(&item) };
                return Ok(item);
            }
            if let Err(error) = self.read().await {
                self.reading = Reading::Over;
                return Err(error);
            }
        }
    }

    /// The number of what comes next: to be kept by whoever wants to go on here later ([`SubscribeFrom::Seq`]). Entries that are not
    /// wanted are passed by without a call, so it may lie beyond the entry that was told last.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads some of what comes next, once there is something.
    async fn read(&mut self) -> Result<(), Error> {
        match &mut self.reading {
            Reading::Over => return Err(ended()),
            Reading::Waiting(reader) => {
                if !reader.has_more().await? {
                    return Err(ended());
                }
                if let Reading::Waiting(mut reader) = std::mem::replace(&mut self.reading, Reading::Over) {
                    let wanted = self.wanted.clone();
                    self.reading = Reading::Under(spawn_blocking(move || {
                        let read = reader.take_some().map(|items| wanted.of(items));
                        (reader, read)
                    }));
                }
            }
            Reading::Under(reading) => {
                let (reader, read) = reading.await.map_err(|error| {
                    Error::new(ErrorKind::Closed, "the reading of the log was broken off").caused_by(error)
                })?;
                self.after = Reader::position(&reader);
                self.reading = Reading::Waiting(reader);
                self.ready = read?.into();
                if self.ready.is_empty() {
                    self.position = self.after;
                }
            }
        }
        Ok(())
    }
}

impl Wanted {
    fn validate(&self) -> Result<(), Error> {
        let bounds =
            [("event_type", &self.event_type, limits::TYPE_BYTES_MAX), ("key", &self.key, limits::KEY_BYTES_MAX)];
        for (name, text, max) in bounds {
            if let Some(len) = text.as_ref().map(String::len).filter(|len| !(1..=max).contains(len)) {
                return Err(Error::invalid(format!("{name} has {len} bytes; an event's has from 1 to {max}")));
            }
        }
        Ok(())
    }

    fn of(&self, items: Vec<LogItem>) -> Vec<LogItem> {
        items.into_iter().filter(|item| !matches!(item, LogItem::Entry(entry) if !self.matches(entry))).collect()
    }

    fn matches(&self, entry: &LogEntry) -> bool {
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        is(&self.event_type, &entry.event_type)
            && is(&self.key, &entry.key)
            && (self.status.is_none() || self.status == entry.status)
    }
}

/// The number of what comes after an item.
fn after(item: &LogItem) -> u64 {
    match item {
        LogItem::Entry(entry) => entry.seq + 1,
        LogItem::Compacted { to, .. } => to + 1,
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Closed, "the subscription has ended: the store was closed, or it has failed before")
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("position", &self.position)
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

//! What happens in a store, one entry after another, for whoever awaits it.
//!
//! The log itself is the queue between the store and a subscriber: what was not yet taken lies on the disk, so one that is slow costs
//! no memory and holds up nobody, and one that comes back later goes on where it stopped.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};

use crate::error::{Error, ErrorKind};
use crate::event::{Status, limits};
use crate::manager::EventManager;
use crate::queue::blocking;
use crate::store::{Bookmarks, LogEntry, LogItem, Reader};

/// Where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeFrom {
    /// With the first record of the log; what compaction has dropped since is named as a gap.
    Start,
    /// With the first record that becomes durable after this.
    Now,
    /// With the record of this number, or a later one: 1 is the first, and 0 is taken for it. Give what
    /// [`Subscription::position`] said to go on where another one stopped.
    Seq(u64),
    /// With the record after the place that is kept under this name: 1 to 128 bytes. Where there is no such cursor (yet), as
    /// [`SubscribeFrom::Start`]: whoever comes for the first time misses nothing. See [`Subscription::save`].
    Cursor(String),
}

/// The entries of a store's log, in order: those that are there, then each once it is durable. See [`EventManager::subscribe`].
///
/// It keeps at most about 1 MiB of entries in memory (or one group of the log, if that is longer), and some MB of what those before were
/// about; it reads more when those are taken. It does not keep the store open. Dropping it leaves nothing behind.
#[must_use = "a subscription does nothing unless next() is awaited"]
pub struct Subscription {
    reading: Reading,
    ready: VecDeque<LogItem>,
    /// The number of what comes after `ready`.
    after: u64,
    position: u64,
    /// What saving keeps: as `position`, but not beyond what follows from saving alone.
    done: u64,
    wanted: Wanted,
    /// The cursor where it begins, if it does.
    from: Option<String>,
    bookmarks: Arc<Bookmarks>,
}

/// Who has the reader.
enum Reading {
    Waiting(Box<Reader>),
    /// A thread that may block. It is awaited to its end, also by a later call.
    Under(JoinHandle<Read>),
    Over,
}

/// The reader, and what it has read.
type Read = (Box<Reader>, Result<News, Error>);

/// What was read.
struct News {
    /// What is to be told of it.
    wanted: Vec<LogItem>,
    /// Whether any of it is more than what follows from saving.
    is_any: bool,
}

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
    /// Two sorts of entries are passed by, because a subscriber's own saving brings them about, so that one who saves after each entry
    /// would never come to rest: those of cursors, and the marks of a log at rest. [`Store::read_from`](crate::Store::read_from) tells
    /// them too.
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
    ///
    /// One that goes on after a restart where it was:
    ///
    /// ```no_run
    /// # async fn example(manager: ledgerline::EventManager) -> Result<(), ledgerline::Error> {
    /// use ledgerline::SubscribeFrom;
    ///
    /// let mut mirror = manager.subscribe(SubscribeFrom::Cursor("mirror".to_owned()));
    /// loop {
    ///     println!("{:?}", mirror.next().await?);
    ///     mirror.save("mirror").await?; // done with it; rarer is cheaper, and then some come again
    /// }
    /// # }
    /// ```
    pub fn subscribe(&self, from: SubscribeFrom) -> Subscription {
        let store = &self.inner.store;
        let (reader, from) = match from {
            SubscribeFrom::Start => (store.read_from(1), None),
            SubscribeFrom::Now => (store.read_from_now(), None),
            SubscribeFrom::Seq(seq) => (store.read_from(seq), None),
            SubscribeFrom::Cursor(name) => {
                let done = store.cursor(&name).unwrap_or(0);
                (store.read_from(done.saturating_add(1)), Some(name))
            }
        };
        let position = reader.position();
        Subscription {
            reading: Reading::Waiting(Box::new(reader)),
            ready: VecDeque::new(),
            after: position,
            position,
            done: position,
            wanted: Wanted::default(),
            from,
            bookmarks: Arc::new(store.bookmarks()),
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
    /// [`ErrorKind::InvalidInput`]: no event can have such a type or key, no cursor such a name. [`ErrorKind::Closed`]: the store
    /// was closed, and all that was durable has been told; also whenever it is called again after an error.
    /// [`ErrorKind::Poisoned`], [`ErrorKind::Corrupt`], [`ErrorKind::UnsupportedFormat`], [`ErrorKind::Io`] as for
    /// [`Reader::next_timeout`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn next(&mut self) -> Result<LogItem, Error> {
        self.wanted.validate()?;
        check("the cursor's name", self.from.as_deref(), "a cursor's", limits::CURSOR_BYTES_MAX)?;
        loop {
            if let Some(item) = self.ready.pop_front() {
                self.position = if self.ready.is_empty() { self.after } else { after(&item) };
                self.done = self.position;
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

    /// Keeps its place under a name, for [`SubscribeFrom::Cursor`]: all that was told so far is done with, and so is what was passed by
    /// up to there. Before anything was told that is the place where it began. What saving itself brings about does not count, so who
    /// saves by a timer writes nothing while nothing is new. Durable once this returns; dropping the call before its end does not revoke
    /// it. The same name may be saved again and again: the last one counts, also if it lies before an earlier one.
    ///
    /// Whoever is not yet done with all it has taken keeps the seq of an entry itself: [`EventManager::save_cursor`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`]: the name is empty or has more than 128 bytes, or nothing was told yet and it began behind the last
    /// durable record ([`SubscribeFrom::Seq`]). [`ErrorKind::TooLarge`]: there are 1,000 cursors already, or they and the pauses take
    /// too much; remove some. [`ErrorKind::Closed`]: the store was closed. Otherwise those of [`EventManager::emit_event`]. What was
    /// saved before stays.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn save(&self, name: impl Into<String>) -> Result<(), Error> {
        let (bookmarks, name, done) = (Arc::clone(&self.bookmarks), name.into(), self.done.saturating_sub(1));
        blocking(move || bookmarks.save(&name, done)).await
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
                let News { wanted, is_any } = read?;
                self.ready = wanted.into();
                if self.ready.is_empty() {
                    self.position = self.after;
                    self.done = if is_any { self.after } else { self.done };
                }
            }
        }
        Ok(())
    }
}

impl Wanted {
    fn validate(&self) -> Result<(), Error> {
        check("event_type", self.event_type.as_deref(), "an event's", limits::TYPE_BYTES_MAX)?;
        check("key", self.key.as_deref(), "an event's", limits::KEY_BYTES_MAX)
    }

    fn of(&self, items: Vec<LogItem>) -> News {
        let is_any = items.iter().any(|item| !matches!(item, LogItem::Entry(entry) if follows_from_saving(entry)));
        let is_wanted = |item: &LogItem| !matches!(item, LogItem::Entry(entry) if !self.matches(entry));
        News { wanted: items.into_iter().filter(is_wanted).collect(), is_any }
    }

    fn matches(&self, entry: &LogEntry) -> bool {
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        !follows_from_saving(entry)
            && is(&self.event_type, &entry.event_type)
            && is(&self.key, &entry.key)
            && (self.status.is_none() || self.status == entry.status)
    }
}

/// Whether a subscriber's saving may have brought it about. The log is marked when it comes to rest after any other entry, so a
/// subscriber who answered the mark with another entry would have it marked anew, every second.
fn follows_from_saving(entry: &LogEntry) -> bool {
    entry.kind == "cursor" || (entry.kind == "mark" && entry.says.get("mark").is_some_and(|mark| mark == "idle"))
}

/// Refuses a name that nothing can have.
fn check(what: &str, text: Option<&str>, whose: &str, max: usize) -> Result<(), Error> {
    match text.map(str::len).filter(|len| !(1..=max).contains(len)) {
        Some(len) => Err(Error::invalid(format!("{what} has {len} bytes; {whose} has from 1 to {max}"))),
        None => Ok(()),
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

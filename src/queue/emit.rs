//! The way in: events that are being emitted, and how many of them may wait for the engine at once.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{Error, ErrorKind};
use crate::event::{NewEvent, Timestamp};
use crate::queue::Queue;
use crate::store::Receipt;

/// Most places that an intake may have.
const PLACES_MAX: usize = 1_000_000;

/// Most bytes of data that may wait for the engine at once.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// How many retries an event has that does not say, by its type; none: as the engine does by itself.
pub(crate) type Retries = Arc<dyn Fn(&str) -> Option<u32> + Send + Sync>;

/// The way into a queue. Cheap to clone; clones share the places.
#[derive(Clone)]
pub(crate) struct Intake {
    way: Arc<Way>,
}

struct Way {
    queue: Queue,
    places: Arc<Semaphore>,
    places_max: usize,
    bytes: Arc<Semaphore>,
    bytes_max: usize,
    retries: Retries,
}

/// What events take up while they wait for the engine.
struct Place<'a> {
    _place: SemaphorePermit<'a>,
    _bytes: SemaphorePermit<'a>,
}

impl Intake {
    /// Refuses a number of places that is out of bounds, under the name that users know it by.
    pub(crate) fn validate(queue_size: usize) -> Result<(), Error> {
        if (1..=PLACES_MAX).contains(&queue_size) {
            return Ok(());
        }
        Err(Error::invalid(format!("queue_size is {queue_size}; it must be from 1 to {PLACES_MAX}")))
    }

    /// `places_max` events, of 64 MiB of data together, may wait for the engine at once.
    pub(crate) fn new(queue: Queue, places_max: usize, retries: Retries) -> Self {
        Self::bounded(queue, places_max, BYTES_MAX, retries)
    }

    fn bounded(queue: Queue, places_max: usize, bytes_max: usize, retries: Retries) -> Self {
        let (places, bytes) = (Arc::new(Semaphore::new(places_max)), Arc::new(Semaphore::new(bytes_max)));
        Self { way: Arc::new(Way { queue, places, places_max, bytes, bytes_max, retries }) }
    }

    /// Where it leads to.
    pub(crate) fn queue(&self) -> &Queue {
        &self.way.queue
    }

    /// Keeps an event, waiting for a place first: durable once this returns. It comes in a box because each future on its way moves it.
    pub(crate) async fn append(&self, event: Box<NewEvent>) -> Result<Receipt, Error> {
        let _place = self.way.place(event.body.len()).await?;
        self.way.keep(event).await
    }

    /// As [`Intake::append`], but with `Full` at once while all places are taken.
    pub(crate) async fn try_append(&self, event: Box<NewEvent>) -> Result<Receipt, Error> {
        let _place = self.way.try_place(event.body.len())?;
        self.way.keep(event).await
    }

    /// Keeps all of these events, or none, waiting for places first: durable once this returns. More than there are places for take all
    /// of them.
    pub(crate) async fn append_many(&self, mut events: Vec<NewEvent>) -> Result<Vec<Receipt>, Error> {
        let Way { places, places_max, bytes, bytes_max, .. } = &*self.way;
        let (count, length) = (events.len(), events.iter().map(|event| event.body.len()).sum());
        let place = Arc::clone(places).acquire_many_owned(share(count, *places_max)).await;
        let place = place.map_err(|_| self.way.full())?;
        let bytes = Arc::clone(bytes).acquire_many_owned(share(length, *bytes_max)).await;
        let bytes = bytes.map_err(|_| self.way.full())?;
        for event in &mut events {
            self.way.complete(event);
        }
        // The engine goes on though nobody waits any more, and the batch takes its places for as long.
        self.way.queue.append_many(events, (place, bytes)).await
    }
}

impl Way {
    async fn place(&self, bytes: usize) -> Result<Place<'_>, Error> {
        let place = self.places.acquire().await.map_err(|_| self.full())?;
        let bytes = self.bytes.acquire_many(share(bytes, self.bytes_max)).await.map_err(|_| self.full())?;
        Ok(Place { _place: place, _bytes: bytes })
    }

    fn try_place(&self, bytes: usize) -> Result<Place<'_>, Error> {
        let place = self.places.try_acquire().map_err(|_| self.full())?;
        let bytes = self.bytes.try_acquire_many(share(bytes, self.bytes_max)).map_err(|_| self.full_of_bytes())?;
        Ok(Place { _place: place, _bytes: bytes })
    }

    async fn keep(&self, mut event: Box<NewEvent>) -> Result<Receipt, Error> {
        self.complete(&mut event);
        self.queue.append(event).await
    }

    /// Says of an event what its type says and it does not.
    fn complete(&self, event: &mut NewEvent) {
        event.max_retries = event.max_retries.or_else(|| (self.retries)(&event.event_type));
    }

    fn full(&self) -> Error {
        Error::new(ErrorKind::Full, format!("{} events wait for the disk already; try again later", self.places_max))
    }

    fn full_of_bytes(&self) -> Error {
        let taken = self.bytes_max - self.bytes.available_permits();
        Error::new(
            ErrorKind::Full,
            format!(
                "events with {taken} bytes of data wait for the disk already, and {} may; try again later",
                self.bytes_max
            ),
        )
    }
}

/// What is asked for of a semaphore that has `all`: whatever needs more, and may be refused for that later, has all.
fn share(wanted: usize, all: usize) -> u32 {
    u32::try_from(wanted.min(all)).unwrap_or(u32::MAX)
}

/// An event on its way into the store: say what else is known about it, then await it.
///
/// Awaiting gives the event's id. The event is durable by then: it survives the death of the process and of the machine, and it will
/// run. Nothing is emitted before the first poll. Dropping it after that, or the error [`ErrorKind::OutcomeUnknown`], leaves unknown
/// whether the event was kept; the same id (and data) may be emitted again then, and is kept once.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] if a part exceeds its bounds (see [`NewEvent`]) or the data cannot be written as JSON,
/// [`ErrorKind::TooLarge`] if it does not fit a record, [`ErrorKind::IdConflict`] if the id is taken by other data: give other values.
/// [`ErrorKind::Full`] if the disk is full: try again later. [`ErrorKind::Closed`] after a shutdown. [`ErrorKind::Poisoned`] and
/// [`ErrorKind::OutcomeUnknown`] after a failed write: open anew.
#[must_use = "an event is emitted only when this is awaited"]
pub struct Emit {
    intake: Intake,
    event: Result<Box<NewEvent>, Error>,
}

impl Emit {
    pub(crate) fn new(intake: Intake, event: Result<NewEvent, Error>) -> Self {
        Self { intake, event: event.map(Box::new) }
    }

    /// Names the event. Without it an id is made up (a UUID, version 7). The same id again is answered with the event that is there
    /// and nothing is kept twice, as long as the first is kept or remembered; with other data, byte by byte, it is
    /// refused: see [`NewEvent::id`].
    pub fn id(self, id: impl Into<String>) -> Self {
        self.with(|event| event.id(id))
    }

    /// Events of one key run one at a time, in the order of their arrival. Default: none.
    pub fn key(self, key: impl Into<String>) -> Self {
        self.with(|event| event.key(key))
    }

    /// Not to be run earlier, and holding up no other event of its key until then. Default: none.
    pub fn not_before(self, time: Timestamp) -> Self {
        self.with(|event| event.not_before(time))
    }

    /// The same as a wait, which begins when the event is kept. The last that was said of the two holds.
    pub fn delay(self, wait: Duration) -> Self {
        self.with(|event| event.delay(wait))
    }

    /// Whether it runs before others that may run now: 0 (first, the default) to 9 (last). See [`NewEvent::priority`].
    pub fn priority(self, priority: u8) -> Self {
        self.with(|event| event.priority(priority))
    }

    /// Says what happened to the thing that the type names. Default: nothing is said.
    pub fn action(self, action: impl Into<String>) -> Self {
        self.with(|event| event.action(action))
    }

    /// Runs after the first counted failure: 0 to 1,000. Default: the builder's `max_retries`.
    pub fn max_retries(self, retries: u32) -> Self {
        self.with(|event| event.max_retries(retries))
    }

    /// Says where the event comes from. Default: `emit`.
    pub fn source(self, source: impl Into<String>) -> Self {
        self.with(|event| event.source(source))
    }

    /// Adds a header: text that travels beside the data. At most 32, of 8 KiB together.
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|event| event.header(name, value))
    }

    /// Emits it as awaiting it does, and gives the whole answer: also its seq, and whether it was a duplicate.
    ///
    /// # Errors
    /// As above.
    pub async fn receipt(self) -> Result<Receipt, Error> {
        self.intake.append(self.event?).await
    }

    fn with(self, change: impl FnOnce(NewEvent) -> NewEvent) -> Self {
        let change = |mut event: Box<NewEvent>| {
            *event = change(*event);
            event
        };
        Self { event: self.event.map(change), ..self }
    }
}

impl IntoFuture for Emit {
    type Output = Result<String, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.receipt().await?.id) })
    }
}

impl fmt::Debug for Emit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The data may hold what must not reach a log.
        let event_type = self.event.as_ref().ok().map(|event| event.event_type.as_str());
        f.debug_struct("Emit").field("event_type", &event_type).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::store::{Store, StoreOptions};

    #[tokio::test]
    async fn no_more_bytes_wait_for_the_disk_than_there_is_room_for() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue::embedded(Store::open(dir.path(), StoreOptions::default()).unwrap());
        let intake = Intake::bounded(queue, 10, 100, Arc::new(|_| None));
        let event = |bytes: usize| Box::new(NewEvent::new("Issue", &"x".repeat(bytes - 2)).unwrap());
        let waiting = intake.way.try_place(60).unwrap();
        intake.try_append(event(40)).await.unwrap();
        let error = intake.try_append(event(41)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full);
        assert!(error.to_string().contains("60 bytes of data wait for the disk already, and 100 may"), "{error}");
        let mut append = pin!(intake.append(event(41)));
        assert!(append.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(waiting);
        append.await.unwrap();
        // Alone, even the longest has room.
        intake.append(event(1_000)).await.unwrap();
        let event = |bytes: usize| *event(bytes);
        assert_eq!(intake.append_many((0..20).map(|_| event(9)).collect()).await.unwrap().len(), 20);
        assert_eq!((intake.way.places.available_permits(), intake.way.bytes.available_permits()), (10, 100));
    }
}

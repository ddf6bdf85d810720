//! One store that grows, and what an operation costs in it.

use std::path::Path;
use std::time::{Duration, Instant};

use ledgerline::{Filter, NewEvent, Outcome, Status, Store, StoreOptions};
use rustix::time::{ClockId, clock_gettime};

use super::rig::directory::settle;
use super::rig::memory::resident_bytes;
use super::rig::mode::full_or_quick;

/// Bytes of an event's data.
const DATA_BYTES: usize = 200;
/// Events that are appended together to fill the store.
const BATCH: usize = 1_000;
/// Small, so that compaction finds whole segments to write anew.
pub(crate) const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// What has been finished for this long may be forgotten.
pub(crate) const AGE: Duration = Duration::from_secs(1);
/// Each operation is timed for this many events again and again: the middle of these times counts.
const PER_ROUND: usize = 20;
/// Events that a list shows.
const LISTED: usize = 100;

/// What is done to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Append,
    Claim,
    Settle,
    List,
}

impl Operation {
    pub(crate) const ALL: [Self; 4] = [Self::Append, Self::Claim, Self::Settle, Self::List];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Claim => "claim",
            Self::Settle => "settle",
            Self::List => "list",
        }
    }
}

/// What one event costs, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// That pass.
    pub(crate) time: f64,
    /// Of the processor, for the thread that calls.
    pub(crate) processor: f64,
}

/// What the store costs at a size.
pub(crate) struct Size {
    pub(crate) live: usize,
    /// Resident memory.
    pub(crate) resident_bytes: u64,
    /// By [`Operation`], in the order of [`Operation::ALL`].
    pub(crate) costs: [Cost; 4],
}

/// A store that grows.
pub(crate) struct Growing {
    pub(crate) store: Store,
    /// Events that were appended so far: each has an id and a key of its own.
    appended: usize,
}

impl Growing {
    /// An empty one. What is finished is forgotten by the next compaction.
    pub(crate) fn begin(dir: &Path) -> Self {
        let options = StoreOptions::default().segment_bytes(SEGMENT_BYTES);
        let options = options.max_event_age(AGE).dedup_window(Duration::ZERO);
        let store = Store::open(dir, options).expect("the store opens");
        Self { store, appended: 0 }
    }

    /// Appends until `live` events are live, then measures.
    pub(crate) fn grow_to(&mut self, live: usize) -> Size {
        let pending = self.store.stats().pending_events as usize;
        let (mut left, failing) = (live.saturating_sub(pending), LISTED);
        while left > 0 {
            let count = left.min(BATCH);
            self.append(count, "Issue");
            left -= count;
        }
        self.fail(failing);
        settle();
        Size { live, resident_bytes: resident_bytes(), costs: self.costs() }
    }

    /// Appends `count` events together.
    pub(crate) fn append(&mut self, count: usize, event_type: &str) {
        let events = (self.appended..self.appended + count).map(|number| event(number, event_type));
        self.store.append_many(events).expect("a batch succeeds");
        self.appended += count;
    }

    /// Appends `count` events and has them fail for good: they lie behind all others.
    fn fail(&mut self, count: usize) {
        self.append(count, "Comment");
        let mut left = count;
        while left > 0 {
            for claim in self.store.claim(2 * left).expect("a claim succeeds") {
                let fails = claim.event().event_type() == "Comment";
                left -= usize::from(fails);
                let outcome = if fails { Outcome::Fail("for good".to_owned()) } else { Outcome::Release };
                self.store.settle(&claim, outcome).expect("what runs is settled");
            }
        }
    }

    /// What each operation costs now. The store has as many live events afterwards.
    fn costs(&mut self) -> [Cost; 4] {
        let mut watches = Operation::ALL.map(|_| Watch::default());
        for _ in 0..full_or_quick(101, 15) {
            let [append, claim, settle, list] = &mut watches;
            let events: Vec<NewEvent> =
                (self.appended..self.appended + PER_ROUND).map(|number| event(number, "Issue")).collect();
            self.appended += PER_ROUND;
            append.time(PER_ROUND, || {
                for event in events {
                    self.store.append(event).expect("an append succeeds");
                }
            });
            let claims = claim.time(PER_ROUND, || self.store.claim(PER_ROUND).expect("a claim succeeds"));
            assert_eq!(claims.len(), PER_ROUND, "so many wait");
            settle.time(PER_ROUND, || {
                for claim in &claims {
                    self.store.settle(claim, Outcome::Done).expect("what runs is settled");
                }
            });
            let listed = list.time(2 * LISTED, || {
                let filters = [Filter::all(), Filter::all().status(Status::Failed)];
                filters.map(|filter| self.store.list(&filter.limit(LISTED)).expect("a list is shown").len())
            });
            assert_eq!(listed, [LISTED; 2], "there are so many");
        }
        watches.map(Watch::cost)
    }
}

fn event(number: usize, event_type: &str) -> NewEvent {
    let json = format!("{{\"title\":\"{}\"}}", "x".repeat(DATA_BYTES - 12));
    let event = NewEvent::from_json(event_type, json).expect("it is JSON");
    event.id(format!("event-{number:010}")).key(format!("key-{number:010}"))
}

/// The times of one operation, per event, in seconds.
#[derive(Default)]
struct Watch {
    times: Vec<f64>,
    processor: Vec<f64>,
}

impl Watch {
    fn time<T>(&mut self, events: usize, call: impl FnOnce() -> T) -> T {
        let (began, processor) = (Instant::now(), processor_time());
        let answer = call();
        let (processor, time) = (processor_time().saturating_sub(processor), began.elapsed());
        self.times.push(time.as_secs_f64() / events as f64);
        self.processor.push(processor.as_secs_f64() / events as f64);
        answer
    }

    fn cost(self) -> Cost {
        Cost { time: median(self.times), processor: median(self.processor) }
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().expect("something was measured")
}

/// The processor's time that this thread has taken.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

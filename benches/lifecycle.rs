//! Whole lives of events: emitted, claimed, handled, completed, all history kept, by 16 handlers that do nothing.
//!
//! ```text
//! streamed   64 producers emit while the handlers run; the time is from the first emit to the last completion
//! drained    200,000 events wait when the handlers start; the time is from the first handler to the last completion
//! start      100 events a second; the time of each is from its emit to the start of its handler
//! ```
//!
//! The floor of a stream and of a drain writes what they wrote; that of a start writes and syncs one record.
#![expect(clippy::disallowed_methods, reason = "a bench reads clocks, and its floor writes files")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures have three digits"
)]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use ledgerline::{Event, EventManager, EventManagerBuilder, Store};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::{MissedTickBehavior, interval, sleep};

use rig::callers::tasks;
use rig::directory::{directory, settle};
use rig::latency::{Latencies, Percentiles};
use rig::log::Groups;
use rig::mode::full_or_quick;
use rig::payload::{PAYLOAD_BYTES, Payload, RECORD_BYTES, TYPE, event};
use rig::quota::Quota;
use rig::row::{Row, Unit};
use rig::run::Run;
use rig::segment::Segment;
use rig::writing::{Work, Writer, burst, floor_rate, open};

#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

const HANDLERS: usize = 16;
const PRODUCERS: usize = 64;
/// Between two events where latency is measured.
const PAUSE: Duration = Duration::from_millis(10);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_time().build().expect("a runtime starts")
}

fn manager(dir: &Path) -> EventManagerBuilder {
    EventManager::builder(dir).concurrency(HANDLERS).batch_size(HANDLERS)
}

/// Waits until `count` events were completed since the store was created.
async fn completed(manager: &EventManager, count: u64) {
    while manager.stats().events_processed < count {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Producers beside handlers.
struct Stream {
    runtime: Runtime,
    manager: EventManager,
    payload: Arc<Payload>,
}

impl Stream {
    fn open(dir: &Path) -> Self {
        let runtime = runtime();
        let started = manager(dir).on(TYPE, |_: Event| async {}).start();
        let manager = runtime.block_on(started).expect("the manager starts");
        Self { runtime, manager, payload: Arc::new(Payload::of(PAYLOAD_BYTES)) }
    }
}

impl Writer for Stream {
    fn store(&self) -> Store {
        self.manager.store()
    }

    fn write(&mut self, quota: &Arc<Quota>, latencies: Option<&mut Latencies>) -> Duration {
        let (manager, payload) = (self.manager.clone(), Arc::clone(&self.payload));
        let call = move || {
            let emitted = manager.emit(TYPE, &*payload);
            async move {
                emitted.await.expect("an emit succeeds");
            }
        };
        let manager = self.manager.clone();
        let quota = Arc::clone(quota);
        let began = Instant::now();
        let done = manager.stats().events_processed;
        self.runtime.block_on(async {
            tasks(PRODUCERS, &quota, latencies, call).await;
            completed(&manager, done + quota.taken()).await;
        });
        began.elapsed()
    }

    fn rest(&self) {
        self.runtime.block_on(async {
            while self.manager.stats().pending_events + self.manager.stats().processing_events > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        });
    }
}

/// The time for handling `count` events that wait, what was written meanwhile, and where.
fn drain(runtime: &Runtime, count: u64) -> (Duration, Groups, TempDir) {
    let dir = directory();
    let store = open(dir.path());
    let mut seq = 0;
    for first in (0..count).step_by(1_000) {
        let batch = vec![event(PAYLOAD_BYTES); 1_000.min(count - first) as usize];
        let receipts = store.append_many(batch).expect("a batch succeeds");
        seq = receipts.last().map_or(seq, |receipt| receipt.seq);
    }
    store.close().expect("the store closes");
    drop(store);
    settle();
    let began = Arc::new(OnceLock::new());
    let first = Arc::clone(&began);
    let handler = move |_: Event| {
        first.get_or_init(Instant::now);
        async {}
    };
    let took = runtime.block_on(async {
        let manager = manager(dir.path()).on(TYPE, handler).start().await.expect("the manager starts");
        completed(&manager, count).await;
        let took = began.get().map_or(Duration::ZERO, Instant::elapsed);
        manager.shutdown().await.expect("the manager ends");
        took
    });
    (took, Groups::after(dir.path(), seq), dir)
}

fn drained(run: &mut Run) {
    let count = full_or_quick(200_000, 2_000);
    let name = format!("drain {count} waiting, {HANDLERS} handlers");
    if !run.wants(&name) {
        return;
    }
    let runtime = runtime();
    let mut last = None;
    let rate = run.rate(&name, count, |rounds| {
        let mut took = Duration::ZERO;
        for _ in 0..rounds {
            let (once, groups, dir) = drain(&runtime, count);
            last = Some((groups, dir));
            took += once;
        }
        took
    });
    let (groups, _dir) = last.expect("criterion takes samples");
    let work = Work { name: &name, events: count, target: None, is_bound_by_disk: false };
    let floor = floor_rate(run, &work, &groups, count);
    run.tell(Row::new(name, Unit::PerSecond, rate).floor(floor).target((300e3, 600e3)));
}

/// From emit to the start of the handler, with this much time between events.
fn starts(dir: &Path, count: usize) -> Percentiles {
    let base = Instant::now();
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
    let latencies = Arc::new(Mutex::new(Latencies::new()));
    let handler = {
        let (sent, latencies) = (Arc::clone(&sent), Arc::clone(&latencies));
        move |event: Event| {
            let now = base.elapsed();
            let sent = event.id().parse().ok().and_then(|number: usize| sent.get(number));
            let sent = sent.expect("ids are numbers").load(Ordering::Acquire);
            latencies.lock().expect("nothing panics").count(now.saturating_sub(Duration::from_nanos(sent)));
            async {}
        }
    };
    runtime().block_on(async {
        let manager = manager(dir).on(TYPE, handler).start().await.expect("the manager starts");
        let payload = Payload::of(PAYLOAD_BYTES);
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for (number, sent) in sent.iter().enumerate() {
            ticks.tick().await;
            sent.store(base.elapsed().as_nanos() as u64, Ordering::Release);
            manager.emit(TYPE, &payload).id(number.to_string()).await.expect("an emit succeeds");
        }
        completed(&manager, count as u64).await;
        manager.shutdown().await.expect("the manager ends");
    });
    latencies.lock().expect("nothing panics").percentiles()
}

/// Writing and syncing one record, with this much time between.
fn start_floor(dir: &Path, count: usize) -> Percentiles {
    let segment = Segment::create(dir, 0);
    segment.fill();
    let bytes = vec![0x5a; RECORD_BYTES as usize];
    let mut latencies = Latencies::new();
    for _ in 0..count {
        std::thread::sleep(PAUSE);
        let began = Instant::now();
        segment.write(&bytes);
        segment.file.sync_data().expect("a sync succeeds");
        latencies.count(began.elapsed());
    }
    latencies.percentiles()
}

fn started(run: &mut Run) {
    let name = |percentile| format!("emit to handler, 100 events/s, {percentile}");
    if !run.wants(&name("p50")) {
        return;
    }
    let (dir, floor_dir) = (directory(), directory());
    let start = starts(dir.path(), full_or_quick(1_500, 40));
    let floor = start_floor(floor_dir.path(), full_or_quick(500, 20));
    let row = |percentile, figure, floor| Row::new(name(percentile), Unit::Seconds, figure).floor(floor);
    run.tell(row("p50", start.p50, floor.p50).target((200e-6, 140e-6)).percentiles(start));
    run.tell(row("p99", start.p99, floor.p99).target((600e-6, 300e-6)));
}

fn main() {
    let Some(mut run) = Run::begin("lifecycle") else { return };
    let name = format!("whole life, {PRODUCERS} producers, {HANDLERS} handlers");
    let target = Some((120e3, 250e3));
    let work = Work { name: &name, events: PRODUCERS as u64, target, is_bound_by_disk: false };
    burst(&mut run, &work, Stream::open);
    drained(&mut run);
    started(&mut run);
    run.end();
}

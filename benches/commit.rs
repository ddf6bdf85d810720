//! Durable appends of 1 KiB, each beside its floor.
//!
//! ```text
//! blocking   threads in `Store::append`, committing for one another
//! async      tasks of one thread in `EventManager::emit_event`, of a manager without workers, with events that are JSON already
//! batch      one caller of `Store::append_many`
//! ```
//!
//! The bench `emit` has the same path with all that an emit does, and a runtime with many threads. Rows named "sustained" go on for at
//! least ten seconds and 5 GB (twenty seconds at most); the others fit into prepared space.
#![expect(clippy::disallowed_methods, reason = "a bench reads clocks, and its floor writes files")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures have three digits"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ledgerline::{EventManager, NewEvent, Store};
use tokio::runtime::Runtime;

use rig::callers::{tasks, threads};
use rig::latency::Latencies;
use rig::payload::{PAYLOAD_BYTES, event};
use rig::quota::Quota;
use rig::run::Run;
use rig::writing::{Work, Writer, burst, open, sustained};

#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

/// Callers, and what they should reach together.
const BLOCKING: [(usize, (f64, f64)); 4] =
    [(1, (9_800.0, 10_400.0)), (16, (85e3, 100e3)), (64, (200e3, 250e3)), (256, (330e3, 400e3))];
const ASYNC: [(usize, (f64, f64)); 4] =
    [(1, (9_500.0, 9_800.0)), (16, (110e3, 135e3)), (64, (350e3, 460e3)), (256, (700e3, 1.1e6))];
const BATCHES: [(usize, (f64, f64)); 2] = [(100, (650e3, 800e3)), (1_000, (1.8e6, 2.3e6))];

/// Threads that append.
struct Blocking {
    store: Store,
    callers: usize,
    event: NewEvent,
}

impl Writer for Blocking {
    fn store(&self) -> Store {
        self.store.clone()
    }

    fn write(&mut self, quota: &Arc<Quota>, latencies: Option<&mut Latencies>) -> Duration {
        threads(self.callers, quota, 1, latencies, || {
            self.store.append(self.event.clone()).expect("an append succeeds");
        })
    }
}

/// Tasks of one thread that append.
struct Async {
    runtime: Runtime,
    manager: EventManager,
    callers: usize,
    event: NewEvent,
}

impl Async {
    fn open(dir: &Path, callers: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
        let manager = runtime.block_on(EventManager::builder(dir).open()).expect("the store opens");
        Self { runtime, manager, callers, event: event(PAYLOAD_BYTES) }
    }
}

impl Writer for Async {
    fn store(&self) -> Store {
        self.manager.store()
    }

    fn write(&mut self, quota: &Arc<Quota>, latencies: Option<&mut Latencies>) -> Duration {
        let (manager, event) = (self.manager.clone(), self.event.clone());
        let call = move || {
            let (manager, event) = (manager.clone(), event.clone());
            async move {
                manager.emit_event(event).await.expect("an append succeeds");
            }
        };
        self.runtime.block_on(tasks(self.callers, quota, latencies, call))
    }
}

/// One thread that appends many at once.
struct Batches {
    store: Store,
    batch: Vec<NewEvent>,
}

impl Writer for Batches {
    fn store(&self) -> Store {
        self.store.clone()
    }

    fn write(&mut self, quota: &Arc<Quota>, latencies: Option<&mut Latencies>) -> Duration {
        threads(1, quota, self.batch.len() as u64, latencies, || {
            self.store.append_many(&self.batch).expect("a batch succeeds");
        })
    }
}

fn main() {
    let Some(mut run) = Run::begin("commit") else { return };
    for (callers, target) in BLOCKING {
        let name = format!("append, {callers} blocking");
        let events = callers as u64;
        let work = Work { name: &name, events, target: Some(target), is_bound_by_disk: callers == 1 };
        burst(&mut run, &work, |dir| Blocking { store: open(dir), callers, event: event(PAYLOAD_BYTES) });
    }
    for (callers, target) in ASYNC {
        let name = format!("append, {callers} async");
        let events = callers as u64;
        let work = Work { name: &name, events, target: Some(target), is_bound_by_disk: callers == 1 };
        burst(&mut run, &work, |dir| Async::open(dir, callers));
    }
    let batches = |dir: &Path, count| Batches { store: open(dir), batch: vec![event(PAYLOAD_BYTES); count] };
    for (count, target) in BATCHES {
        let name = format!("append, batches of {count}");
        let work = Work { name: &name, events: count as u64, target: Some(target), is_bound_by_disk: true };
        burst(&mut run, &work, |dir| batches(dir, count));
    }
    let work = |name| Work { name, events: 1, target: None, is_bound_by_disk: true };
    sustained(&mut run, &work("append, 256 blocking, sustained"), |dir| Blocking {
        store: open(dir),
        callers: 256,
        event: event(PAYLOAD_BYTES),
    });
    sustained(&mut run, &work("append, 256 async, sustained"), |dir| Async::open(dir, 256));
    sustained(&mut run, &work("append, batches of 100, sustained"), |dir| batches(dir, 100));
    sustained(&mut run, &work("append, batches of 1000, sustained"), |dir| batches(dir, 1_000));
    run.end();
}

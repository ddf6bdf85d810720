//! `EventManager::emit` awaited by many producers at once, each beside its floor: data of 1 KiB that becomes JSON, an id that is made
//! up, a place that is waited for, a commit, a wake-up. The runtime has as many threads as the machine has cores.
//!
//! The bench `commit` has less of all this on one thread. The row named "sustained" goes on for at least ten seconds and 5 GB; the
//! others fit into prepared space.
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

use ledgerline::{EventManager, Store};
use tokio::runtime::Runtime;

use rig::callers::tasks;
use rig::latency::Latencies;
use rig::payload::{PAYLOAD_BYTES, Payload, TYPE};
use rig::quota::Quota;
use rig::run::Run;
use rig::writing::{Work, Writer, burst, sustained};

#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

/// Producers, and what they should reach together.
const PRODUCERS: [(usize, (f64, f64)); 4] =
    [(1, (9e3, 9.8e3)), (16, (90e3, 120e3)), (64, (250e3, 400e3)), (256, (400e3, 800e3))];

/// Tasks that emit.
struct Producers {
    runtime: Runtime,
    manager: EventManager,
    count: usize,
    payload: Arc<Payload>,
}

impl Producers {
    fn open(dir: &Path, count: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime starts");
        let manager = runtime.block_on(EventManager::builder(dir).open()).expect("the store opens");
        Self { runtime, manager, count, payload: Arc::new(Payload::of(PAYLOAD_BYTES)) }
    }
}

impl Writer for Producers {
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
        // What waits for the tasks is no thread of the runtime.
        self.runtime.block_on(tasks(self.count, quota, latencies, call))
    }
}

fn main() {
    let Some(mut run) = Run::begin("emit") else { return };
    for (count, target) in PRODUCERS {
        let name = format!("emit, {count} producers");
        let work = Work { name: &name, events: count as u64, target: Some(target), is_bound_by_disk: count == 1 };
        burst(&mut run, &work, |dir| Producers::open(dir, count));
    }
    let work = Work { name: "emit, 256 producers, sustained", events: 1, target: None, is_bound_by_disk: true };
    sustained(&mut run, &work, |dir| Producers::open(dir, 256));
    run.end();
}

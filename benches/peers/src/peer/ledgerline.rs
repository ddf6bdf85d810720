//! ledgerline itself: the store as a log, the manager as a queue, with the defaults of both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledgerline::{Event, EventManager, NewEvent, Store, StoreOptions};
use serde_json::value::RawValue;
use tokio::runtime::Runtime;

use super::{Log, LogPeer, Made, Peer, Queue, Reopened};
use crate::load::{self, Extent, Measured, Tally};

pub(super) const PEER: Peer = Peer {
    name: "ledgerline",
    made: Made::Crate,
    how: "defaults; its reopening builds the index, its life keeps all history",
    log: Some(LogPeer { create, reopen }),
    queue: Some(|dir| Box::new(Managed::new(dir))),
};

/// Events of a batch that fills a queue.
const FILL_BATCH: u64 = 1_000;

fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default()).expect("the store opens")
}

fn event(payload: &str) -> NewEvent {
    NewEvent::from_json("Issue", payload).expect("it is JSON")
}

fn create(dir: &Path) -> Box<dyn Log> {
    Box::new(open(dir))
}

fn reopen(dir: &Path) -> Reopened {
    let store = open(dir);
    let stats = store.stats();
    Reopened { records: stats.pending_events + stats.held_events, _log: Box::new(store) }
}

impl Log for Store {
    fn append(&self, _caller: usize, payload: &str) {
        Store::append(self, event(payload)).expect("an append succeeds");
    }

    fn append_batch(&self, payload: &str, records: usize) {
        self.append_many((0..records).map(|_| event(payload))).expect("a batch succeeds");
    }

    fn close(self: Box<Self>) {
        Store::close(&self).expect("the store closes");
    }
}

struct Managed {
    dir: PathBuf,
    runtime: Runtime,
    manager: EventManager,
}

impl Managed {
    fn new(dir: &Path) -> Self {
        let runtime = Runtime::new().expect("a runtime starts");
        let manager = runtime.block_on(EventManager::builder(dir).open()).expect("the manager opens");
        Self { dir: dir.to_owned(), runtime, manager }
    }

    fn shut_down(&self) {
        self.runtime.block_on(self.manager.shutdown()).expect("the manager shuts down");
    }
}

impl Queue for Managed {
    fn emit(&mut self, producers: usize, extent: Extent) -> Measured {
        let manager = self.manager.clone();
        let payload: Arc<RawValue> = RawValue::from_string(load::payload()).expect("it is JSON").into();
        let emit = move || {
            let emitted = manager.emit("Issue", &*payload);
            async {
                emitted.await.expect("an emit succeeds");
            }
        };
        self.runtime.block_on(load::by_tasks(producers, extent, emit))
    }

    fn fill(&mut self, events: u64, time: Duration) -> u64 {
        self.shut_down();
        let store = open(&self.dir);
        let until = Instant::now() + time;
        let mut filled = 0;
        while filled < events && Instant::now() < until {
            let batch = FILL_BATCH.min(events - filled);
            let payload = load::payload();
            store.append_many((0..batch).map(|_| event(&payload))).expect("a batch succeeds");
            filled += batch;
        }
        store.close().expect("the store closes");
        filled
    }

    fn handle(&mut self, handlers: usize, tally: &Arc<Tally>) {
        self.shut_down();
        let tally = Arc::clone(tally);
        let handler = move |event: Event| {
            let tally = Arc::clone(&tally);
            async move { tally.handle(event.data().as_bytes()) }
        };
        let builder = EventManager::builder(&self.dir).concurrency(handlers).batch_size(handlers).on("Issue", handler);
        self.manager = self.runtime.block_on(builder.start()).expect("the manager starts");
    }

    fn finish(&mut self, _tally: &Tally, events: u64) {
        load::wait_until(|| self.manager.stats().events_processed >= events);
        self.shut_down();
    }
}

//! What an event costs the processor on its way into the log and out of it again, on one thread and without a disk: JSON, hashes,
//! encoding, checksums, the index.
//!
//! ```text
//! json in    `NewEvent::from_json`: the text is proven to be JSON       floor: its bytes are copied
//! in         a batch into a store in memory: encoded, summed, indexed   floor: its bytes are copied and summed
//! out        every record of such a store, verified and decoded         floor: its bytes are copied and summed
//! json out   a member of an event's data, `Event::pointer`              floor: its bytes are copied
//! ```
#![expect(clippy::disallowed_methods, reason = "a bench reads clocks")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures have three digits"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use ledgerline::{Event, Filter, LogItem, NewEvent, Store, StoreOptions};

use rig::mode::full_or_quick;
use rig::payload::{PAYLOAD_BYTES, RECORD_BYTES, TYPE, event};
use rig::row::{Row, Unit};
use rig::run::Run;

#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

/// Events that are kept together.
const BATCH: u64 = 1_000;

fn main() {
    let Some(mut run) = Run::begin("codec") else { return };
    let json = format!("{{\"title\":\"{}\"}}", "x".repeat(PAYLOAD_BYTES - 12));
    let copied = |run: &mut Run, name: &str, bytes: usize| run.rate(&format!("{name}, floor"), 1, |n| copy(bytes, n));
    let summed = |run: &mut Run, name: &str, bytes: usize| run.rate(&format!("{name}, floor"), 1, |n| sum(bytes, n));

    let name = "json in, 1 KiB";
    if run.wants(name) {
        let rate = run.rate(name, 1, |rounds| {
            repeat(rounds, || NewEvent::from_json(TYPE, black_box(json.as_str())).expect("it is JSON"))
        });
        let floor = copied(&mut run, name, json.len());
        run.tell(Row::new(name, Unit::PerSecond, rate).floor(floor));
    }
    let name = "into memory, batches of 1000, 1 KiB";
    if run.wants(name) {
        let rate = run.rate(name, BATCH, kept);
        let floor = summed(&mut run, name, RECORD_BYTES as usize);
        run.tell(Row::new(name, Unit::PerSecond, rate).floor(floor));
    }
    let name = "out of memory, 1 KiB";
    if run.wants(name) {
        let store = memory();
        let count = full_or_quick(20, 2) * BATCH;
        fill(&store, count / BATCH);
        let rate = run.rate(name, count, |rounds| repeat(rounds, || read(&store, count)));
        let floor = summed(&mut run, name, RECORD_BYTES as usize);
        run.tell(Row::new(name, Unit::PerSecond, rate).floor(floor));
    }
    let name = "json out, a member of 1 KiB";
    if run.wants(name) {
        let store = memory();
        fill(&store, 1);
        let events = store.list(&Filter::all().limit(1)).expect("events are listed");
        let event: &Event = events.first().expect("one was kept");
        let rate = run.rate(name, 1, |rounds| repeat(rounds, || event.pointer("/title")));
        let floor = copied(&mut run, name, json.len());
        run.tell(Row::new(name, Unit::PerSecond, rate).floor(floor));
    }
    run.end();
}

fn memory() -> Store {
    Store::in_memory(StoreOptions::default()).expect("memory is there")
}

fn fill(store: &Store, batches: u64) {
    for _ in 0..batches {
        store.append_many(vec![event(PAYLOAD_BYTES); BATCH as usize]).expect("a batch is kept");
    }
}

fn repeat<T>(rounds: u64, mut once: impl FnMut() -> T) -> Duration {
    let began = Instant::now();
    for _ in 0..rounds {
        black_box(once());
    }
    began.elapsed()
}

/// The time for keeping so many batches. Stores are small, so that what is measured is not how memory grows.
fn kept(rounds: u64) -> Duration {
    const BATCHES_PER_STORE: u64 = 16;
    let mut took = Duration::ZERO;
    let mut left = rounds;
    while left > 0 {
        let store = memory();
        for _ in 0..left.min(BATCHES_PER_STORE) {
            let batch = vec![event(PAYLOAD_BYTES); BATCH as usize];
            let began = Instant::now();
            store.append_many(batch).expect("a batch is kept");
            took += began.elapsed();
        }
        left = left.saturating_sub(BATCHES_PER_STORE);
    }
    took
}

/// Reads the events of a store as its followers do.
fn read(store: &Store, count: u64) -> u64 {
    let items = store.read_from(1);
    items
        .take(count as usize)
        .map(|item| u64::from(matches!(item.expect("a record is sound"), LogItem::Entry(_))))
        .sum()
}

fn copy(bytes: usize, rounds: u64) -> Duration {
    let source = vec![b'x'; bytes];
    repeat(rounds, || black_box(&source).clone())
}

fn sum(bytes: usize, rounds: u64) -> Duration {
    let source = vec![b'x'; bytes];
    repeat(rounds, || crc32fast::hash(&black_box(&source).clone()))
}

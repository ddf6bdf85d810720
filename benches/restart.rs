//! Opening a store by replaying its log, each beside its floor: a bare scan of the same files that verifies every checksum and keeps
//! nothing, in the same run. The files are in the system's cache; what matters is the ratio, machines differ.
//!
//! ```text
//! records   receptions of 256 bytes, each to be found by its id and offered afterwards
//! lives     received, started, completed: nothing is left to be offered
//! pending   receptions of 1 KiB
//! ```
//!
//! `LEDGERLINE_BENCH=quick cargo bench` takes seconds instead of minutes and is only good for seeing that it runs.
#![expect(clippy::disallowed_methods, reason = "a bench reads clocks, and its floor reads files")]
#![expect(clippy::indexing_slicing, reason = "the floor reads what this bench wrote")]

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ledgerline::{NewEvent, Outcome, Store, StoreOptions};

/// Events that are appended, and claimed, together.
const BATCH_COUNT: usize = 1_000;
/// What a reception takes in the log beside its payload, about.
const RECEPTION_BYTES: usize = 140;

/// What lies in a store that is opened again and again.
struct Log {
    name: &'static str,
    event_count: usize,
    record_bytes: usize,
    is_lived: bool,
}

const LOGS: [Log; 3] = [
    Log { name: "records", event_count: 1_000_000, record_bytes: 256, is_lived: false },
    Log { name: "lives", event_count: 500_000, record_bytes: 256, is_lived: true },
    Log { name: "pending", event_count: 1_000_000, record_bytes: 1_164, is_lived: false },
];

fn is_quick() -> bool {
    std::env::var_os("LEDGERLINE_BENCH").is_some_and(|value| value == "quick")
}

fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default()).expect("the store opens")
}

impl Log {
    /// Writes the log into a directory of the disk that holds the build; returns how many records it has.
    fn write(&self, dir: &Path) -> u64 {
        let event_count = if is_quick() { self.event_count / 50 } else { self.event_count };
        let json = format!("{{\"title\":\"{}\"}}", "x".repeat(self.record_bytes - RECEPTION_BYTES));
        let store = open(dir);
        for first in (0..event_count).step_by(BATCH_COUNT) {
            let event = |number| {
                let event = NewEvent::from_json("Issue", json.clone()).expect("it is JSON");
                event.id(format!("event-{number:08}")).key(format!("key-{number:08}"))
            };
            store.append_many((first..first + BATCH_COUNT).map(event).collect()).expect("a batch succeeds");
            let claims = if self.is_lived { store.claim(BATCH_COUNT).expect("a claim succeeds") } else { Vec::new() };
            for claim in claims {
                store.settle(&claim, Outcome::Done).expect("what runs is settled");
            }
        }
        store.close().expect("the store closes");
        let store = Store::open_read_only(dir).expect("the store opens");
        store.recovery().records
    }
}

/// The time for opening the store so often.
fn openings(dir: &Path, rounds: u64) -> Duration {
    let opened = (0..rounds).map(|_| {
        let began = Instant::now();
        let store = open(dir);
        let took = began.elapsed();
        store.close().expect("the store closes");
        took
    });
    opened.sum()
}

/// The time for reading and verifying the store's segments so often.
fn floor(dir: &Path, rounds: u64) -> Duration {
    let began = Instant::now();
    for _ in 0..rounds {
        let files =
            std::fs::read_dir(dir).expect("the directory is there").map(|entry| entry.expect("it is listed").path());
        for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "seg")) {
            verify(&std::fs::read(path).expect("the segment is read"));
        }
    }
    began.elapsed()
}

/// Verifies the groups of a segment, as FORMAT.md draws them.
fn verify(segment: &[u8]) {
    let salt = segment.get(48..56).expect("a segment has a header");
    let mut group = 64;
    while let Some(head) = segment.get(group..group + 40).filter(|head| head.starts_with(b"LGRP")) {
        assert_eq!(number(head, 4), placed(&[salt, &group.to_le_bytes(), &head[..4], &head[8..]]));
        let end = group + number(head, 8) as usize;
        let mut checksums = Vec::new();
        let mut at = group + 40;
        while at < end {
            let header = &segment[at..at + 24];
            assert_eq!(number(header, 0), placed(&[salt, &at.to_le_bytes(), &header[4..]]));
            let body = &segment[at + 24..at + 24 + number(header, 8) as usize];
            assert_eq!(number(header, 4), crc32fast::hash(body));
            checksums.extend_from_slice(&header[..4]);
            at = (at + 24 + body.len()).next_multiple_of(8);
        }
        assert_eq!(number(head, 32), crc32fast::hash(&checksums));
        group = end;
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four"))
}

/// The checksum of a head or a header at its place.
fn placed(parts: &[&[u8]]) -> u32 {
    let mut covered = [0; 64];
    let mut len = 0;
    for part in parts {
        covered[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    }
    crc32fast::hash(&covered[..len])
}

fn restart(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("restart");
    for log in LOGS {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build's directory is writable");
        let path = dir.path();
        let record_count = log.write(path);
        group.throughput(Throughput::Elements(record_count));
        group.bench_function(BenchmarkId::new(log.name, record_count), |bencher| {
            bencher.iter_custom(|rounds| openings(path, rounds));
        });
        group.bench_function(BenchmarkId::new(format!("{}_floor", log.name), record_count), |bencher| {
            bencher.iter_custom(|rounds| floor(path, rounds));
        });
    }
    group.finish();
}

fn criterion() -> Criterion {
    let millis = if is_quick() { 200 } else { 4_000 };
    let criterion = Criterion::default().without_plots().sample_size(10);
    criterion.warm_up_time(Duration::from_millis(millis / 2)).measurement_time(Duration::from_millis(millis))
}

criterion_group!(name = benches; config = criterion(); targets = restart);
criterion_main!(benches);

//! Durable appends, each beside its floor: a loop that writes and syncs the same bytes in the same groups to a file prepared the same
//! way, in the same run. What matters is the ratio; machines differ.
//!
//! `LEDGERLINE_BENCH=quick cargo bench` takes seconds instead of a minute and is only good for seeing that it runs.
#![expect(clippy::disallowed_methods, reason = "a bench reads clocks, and its floor writes files")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ledgerline::{NewEvent, Store, StoreOptions};

/// Payload of every event: about 1 KiB of JSON.
const PAYLOAD_BYTES: usize = 1_000;
/// What a record of that payload takes in the log, about.
const RECORD_BYTES: usize = 1_112;
/// Size of the floor's file; it starts over at its end.
const FLOOR_BYTES: u64 = 64 * 1024 * 1024;

fn payload() -> NewEvent {
    let json = format!("{{\"title\":\"{}\"}}", "x".repeat(PAYLOAD_BYTES - 12));
    NewEvent::from_json("Issue", json).expect("it is JSON")
}

/// A directory on the disk that holds the build, because a file system in memory would sync nothing.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build's directory is writable")
}

/// The time for `rounds` of `callers` threads that append one event each round, committing for one another.
fn callers(dir: &Path, callers: usize, rounds: u64) -> Duration {
    let store = Store::open(dir, StoreOptions::default()).expect("the store opens");
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                for _ in 0..rounds {
                    store.append(payload()).expect("an append succeeds");
                }
            });
        }
    });
    began.elapsed()
}

/// The time for `rounds` batches of `count` events by one caller.
fn batches(dir: &Path, count: usize, rounds: u64) -> Duration {
    let store = Store::open(dir, StoreOptions::default()).expect("the store opens");
    let batch: Vec<NewEvent> = (0..count).map(|_| payload()).collect();
    let began = Instant::now();
    for _ in 0..rounds {
        store.append_many(batch.clone()).expect("a batch succeeds");
    }
    began.elapsed()
}

/// The time for `rounds` writes of `count` records, each synced, into space that is reserved.
fn floor(dir: &Path, count: usize, rounds: u64) -> Duration {
    let path = dir.join("floor");
    let file = File::create(&path).expect("a file is created");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, FLOOR_BYTES).expect("space is reserved");
    file.sync_all().expect("a sync succeeds");
    let bytes = vec![0x5a; count * RECORD_BYTES];
    let mut offset = 0;
    let began = Instant::now();
    for _ in 0..rounds {
        if offset + bytes.len() as u64 > FLOOR_BYTES {
            offset = 0;
        }
        file.write_all_at(&bytes, offset).expect("a write succeeds");
        file.sync_data().expect("a sync succeeds");
        offset += bytes.len() as u64;
    }
    began.elapsed()
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    for count in [1, 16, 64] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("callers", count), |bencher| {
            bencher.iter_custom(|rounds| callers(directory().path(), count, rounds));
        });
        group.bench_function(BenchmarkId::new("callers_floor", count), |bencher| {
            bencher.iter_custom(|rounds| floor(directory().path(), count, rounds));
        });
    }
    for count in [100, 1_000] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("batch", count), |bencher| {
            bencher.iter_custom(|rounds| batches(directory().path(), count, rounds));
        });
        group.bench_function(BenchmarkId::new("batch_floor", count), |bencher| {
            bencher.iter_custom(|rounds| floor(directory().path(), count, rounds));
        });
    }
    group.finish();
}

fn criterion() -> Criterion {
    let quick = std::env::var_os("LEDGERLINE_BENCH").is_some_and(|value| value == "quick");
    let millis = if quick { 200 } else { 2_000 };
    let criterion = Criterion::default().without_plots().sample_size(10);
    criterion.warm_up_time(Duration::from_millis(millis / 2)).measurement_time(Duration::from_millis(millis))
}

criterion_group!(name = benches; config = criterion(); targets = append);
criterion_main!(benches);

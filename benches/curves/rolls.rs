//! How long an append may take while one segment after the other is written: most of it is the disk's, and shown beside the disk's own.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use ledgerline::{NewEvent, Store, StoreOptions};

use super::rig::directory::{directory, settle};
use super::rig::latency::{Latencies, Percentiles};
use super::rig::mode::full_or_quick;
use super::rig::payload::{PAYLOAD_BYTES, RECORD_BYTES, event};

/// Events that are appended together: a crowd of callers would come to about as many.
const BATCH: usize = 64;

/// Smaller than by default, so that there are many rolls: what happens at each is the same.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// What appends took.
pub(crate) struct Rolls {
    /// Those that began a segment.
    pub(crate) rolling: Percentiles,
    pub(crate) count: u64,
    /// All of them.
    pub(crate) all: Percentiles,
    /// The same bytes, written and synced by a bare loop into one file that was filled before.
    pub(crate) disk: Percentiles,
}

/// Appends until enough segments were begun, and measures each append.
pub(crate) fn rolls() -> Rolls {
    let dir = directory();
    let store = Store::open(dir.path(), StoreOptions::default().segment_bytes(SEGMENT_BYTES)).expect("the store opens");
    let batch: Vec<NewEvent> = vec![event(PAYLOAD_BYTES); BATCH];
    let (mut rolling, mut all, mut appended) = (Latencies::new(), Latencies::new(), 0);
    let first = store.stats().segments;
    let mut segments = first;
    settle();
    while segments < first + full_or_quick(50, 4) {
        let batch = batch.clone();
        let took = timed(|| store.append_many(batch).map(drop).expect("a batch succeeds"));
        all.count(took);
        appended += 1;
        let now = store.stats().segments;
        if now > segments {
            segments = now;
            rolling.count(took);
        }
    }
    store.close().expect("the store closes");
    let disk = disk(dir.path(), appended);
    Rolls { rolling: rolling.percentiles(), count: segments - first, all: all.percentiles(), disk }
}

fn disk(dir: &Path, appended: u64) -> Percentiles {
    let bytes = vec![0x5a; BATCH * RECORD_BYTES as usize];
    let file = File::create(dir.join("floor")).expect("a file is created");
    file.write_all_at(&vec![0; SEGMENT_BYTES as usize], 0).expect("a write succeeds");
    file.sync_all().expect("a sync succeeds");
    settle();
    let (mut latencies, mut offset) = (Latencies::new(), 0);
    for _ in 0..appended {
        if offset + bytes.len() as u64 > SEGMENT_BYTES {
            offset = 0;
        }
        latencies.count(timed(|| {
            file.write_all_at(&bytes, offset).expect("a write succeeds");
            file.sync_data().expect("a sync succeeds");
        }));
        offset += bytes.len() as u64;
    }
    latencies.percentiles()
}

fn timed(call: impl FnOnce()) -> Duration {
    let began = Instant::now();
    call();
    began.elapsed()
}

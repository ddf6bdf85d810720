//! raft-engine: each caller appends to a group of its own, which is how the engine is meant to be used.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use super::{Log, LogPeer, Made, Peer, Reopened};

pub(super) const PEER: Peer = Peer {
    name: "raft-engine",
    made: Made::Crate,
    how: "`write(…, sync)`, a group per caller, compression off; its reopening builds the index, without reading what the entries hold",
    log: Some(LogPeer { create, reopen }),
    queue: None,
};

const CALLERS_MAX: usize = 256;
/// An entry begins with its index.
const INDEX_BYTES: usize = 8;

/// Entries as the engine wants to see them.
struct Entries;

impl MessageExt for Entries {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        entry.value.first_chunk::<INDEX_BYTES>().map_or(0, |index| u64::from_le_bytes(*index))
    }
}

struct Groups {
    engine: Engine,
    /// The last index of each group.
    last: Vec<AtomicU64>,
}

fn open(dir: &Path) -> Engine {
    let dir = dir.to_str().expect("the path is UTF-8").to_owned();
    let config = Config { dir, batch_compression_threshold: ReadableSize(0), ..Config::default() };
    Engine::open(config).expect("the engine opens")
}

fn create(dir: &Path) -> Box<dyn Log> {
    Box::new(Groups { engine: open(dir), last: (0..CALLERS_MAX).map(|_| AtomicU64::new(0)).collect() })
}

fn reopen(dir: &Path) -> Reopened {
    let engine = open(dir);
    let of_group = |group: u64| engine.last_index(group).zip(engine.first_index(group));
    let groups = engine.raft_groups().into_iter().filter_map(of_group);
    Reopened { records: groups.map(|(last, first)| last - first + 1).sum(), _log: Box::new(engine) }
}

impl Groups {
    fn write(&self, group: usize, payload: &str, records: usize) {
        let entries: Vec<BytesValue> = (0..records)
            .map(|_| {
                let index = self.last[group].fetch_add(1, Ordering::Relaxed) + 1;
                let mut entry = BytesValue::new();
                entry.set_value([&index.to_le_bytes(), payload.as_bytes()].concat());
                entry
            })
            .collect();
        let mut batch = LogBatch::with_capacity(1);
        batch.add_entries::<Entries>(group as u64 + 1, &entries).expect("the entries fit a batch");
        self.engine.write(&mut batch, true).expect("a write succeeds");
    }
}

impl Log for Groups {
    fn append(&self, caller: usize, payload: &str) {
        self.write(caller, payload, 1);
    }

    fn append_batch(&self, payload: &str, records: usize) {
        self.write(0, payload, records);
    }
}

//! okaywal: an entry per record or batch, and a log manager that keeps nothing at a checkpoint.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use okaywal::{Configuration, Entry, EntryId, LogManager, SegmentReader, WriteAheadLog};

use super::{Log, LogPeer, Made, Peer, Reopened};

pub(super) const PEER: Peer = Peer {
    name: "okaywal",
    made: Made::Crate,
    how: "files of 1 GiB, so that a checkpoint, which drops what it has written, hardly ever comes; its reopening reads",
    log: Some(LogPeer { create, reopen }),
    queue: None,
};

/// Reserved at once, and more than most rows write.
const FILE_BYTES: u32 = 1024 * 1024 * 1024;
const CHECKPOINT_BYTES: u64 = 960 * 1024 * 1024;

/// Counts what is recovered and keeps nothing.
#[derive(Debug)]
struct Counting(Arc<AtomicU64>);

impl LogManager for Counting {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let chunks = entry.read_all_chunks()?.map_or(0, |chunks| chunks.len());
        self.0.fetch_add(chunks as u64, Ordering::Relaxed);
        Ok(())
    }

    fn checkpoint_to(&mut self, _last: EntryId, _entries: &mut SegmentReader, _log: &WriteAheadLog) -> io::Result<()> {
        Ok(())
    }
}

fn open(dir: &Path, counted: &Arc<AtomicU64>) -> WriteAheadLog {
    Configuration::default_for(dir)
        .preallocate_bytes(FILE_BYTES)
        .checkpoint_after_bytes(CHECKPOINT_BYTES)
        .open(Counting(Arc::clone(counted)))
        .expect("the log opens")
}

fn create(dir: &Path) -> Box<dyn Log> {
    Box::new(open(dir, &Arc::default()))
}

fn reopen(dir: &Path) -> Reopened {
    let counted = Arc::default();
    let log = open(dir, &counted);
    Reopened { records: counted.load(Ordering::Relaxed), _log: Box::new(log) }
}

impl Log for WriteAheadLog {
    fn append(&self, _caller: usize, payload: &str) {
        self.append_batch(payload, 1);
    }

    fn append_batch(&self, payload: &str, records: usize) {
        let mut entry = self.begin_entry().expect("an entry begins");
        for _ in 0..records {
            entry.write_chunk(payload.as_bytes()).expect("a write succeeds");
        }
        entry.commit().expect("a commit succeeds");
    }

    fn close(self: Box<Self>) {
        self.shutdown().expect("the log closes");
    }
}

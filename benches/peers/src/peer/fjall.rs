//! fjall: an insert is durable once the journal was persisted.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Log, LogPeer, Made, Peer, Reopened};

pub(super) const PEER: Peer = Peer {
    name: "fjall",
    made: Made::Crate,
    how: "`insert`, then `persist(SyncAll)`; its reopening reads the keyspace",
    log: Some(LogPeer { create, reopen }),
    queue: None,
};

struct Records {
    database: Database,
    keyspace: Keyspace,
    next: AtomicU64,
}

fn open(dir: &Path) -> Records {
    let database = Database::builder(dir).open().expect("the database opens");
    let keyspace = database.keyspace("records", KeyspaceCreateOptions::default).expect("the keyspace opens");
    Records { database, keyspace, next: AtomicU64::new(0) }
}

fn create(dir: &Path) -> Box<dyn Log> {
    Box::new(open(dir))
}

fn reopen(dir: &Path) -> Reopened {
    let log = open(dir);
    let records = log.keyspace.iter().map(|record| record.into_inner().expect("a record is read").1);
    Reopened { records: records.filter(|value| !value.is_empty()).count() as u64, _log: Box::new(log) }
}

impl Records {
    fn next_key(&self) -> [u8; 8] {
        self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }
}

impl Log for Records {
    fn append(&self, _caller: usize, payload: &str) {
        self.keyspace.insert(self.next_key(), payload).expect("an insert succeeds");
        self.database.persist(PersistMode::SyncAll).expect("the journal is persisted");
    }

    fn append_batch(&self, payload: &str, records: usize) {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for _ in 0..records {
            batch.insert(&self.keyspace, self.next_key(), payload);
        }
        batch.commit().expect("a commit succeeds");
    }
}

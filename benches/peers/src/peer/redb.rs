//! redb: a write transaction per operation; those of several callers wait for one another.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Log, LogPeer, Made, Peer, Reopened};

pub(super) const PEER: Peer = Peer {
    name: "redb",
    made: Made::Crate,
    how: "a transaction of `Durability::Immediate` per operation; its reopening reads the table",
    log: Some(LogPeer { create, reopen }),
    queue: None,
};

const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
const FILE: &str = "peer.redb";

struct Table {
    database: Database,
    next: AtomicU64,
}

fn create(dir: &Path) -> Box<dyn Log> {
    Box::new(Table {
        database: Database::create(dir.join(FILE)).expect("a database is created"),
        next: AtomicU64::new(0),
    })
}

fn reopen(dir: &Path) -> Reopened {
    let database = Database::open(dir.join(FILE)).expect("the database opens");
    let reading = database.begin_read().expect("a transaction begins");
    let table = reading.open_table(RECORDS).expect("the table is there");
    let records = table.iter().expect("it is read").map(|record| record.expect("it is read").1.value().len());
    let records = records.filter(|len| *len > 0).count();
    drop((table, reading));
    Reopened { records: records as u64, _log: Box::new(database) }
}

impl Log for Table {
    fn append(&self, _caller: usize, payload: &str) {
        self.append_batch(payload, 1);
    }

    fn append_batch(&self, payload: &str, records: usize) {
        let mut writing = self.database.begin_write().expect("a transaction begins");
        writing.set_durability(Durability::Immediate).expect("it may be durable");
        {
            let mut table = writing.open_table(RECORDS).expect("the table opens");
            for _ in 0..records {
                let key = self.next.fetch_add(1, Ordering::Relaxed);
                table.insert(key, payload.as_bytes()).expect("an insert succeeds");
            }
        }
        writing.commit().expect("a commit succeeds");
    }
}

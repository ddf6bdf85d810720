//! SQLite by rusqlite: one connection that callers take in turn, which is quicker than one for each.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use super::{Log, LogPeer, Made, Peer, Reopened};

pub(super) const PEER: Peer = Peer {
    name: "rusqlite",
    made: Made::Crate,
    how: "`journal_mode=WAL`, `synchronous=FULL`, a transaction per operation; its reopening reads the table",
    log: Some(LogPeer { create, reopen }),
    queue: None,
};

const FILE: &str = "peer.sqlite";

struct Table(Mutex<Connection>);

fn open(dir: &Path) -> Connection {
    let connection = Connection::open(dir.join(FILE)).expect("the database opens");
    log_ahead(&connection);
    connection.pragma_update(None, "synchronous", "FULL").expect("it syncs");
    connection
}

/// Gives the database a write-ahead log, which it keeps.
pub(super) fn log_ahead(connection: &Connection) {
    let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
    assert_eq!(mode.as_deref(), Ok("wal"), "it has a write-ahead log");
}

fn create(dir: &Path) -> Box<dyn Log> {
    let connection = open(dir);
    connection
        .execute_batch("CREATE TABLE record (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        .expect("a table is created");
    Box::new(Table(Mutex::new(connection)))
}

fn reopen(dir: &Path) -> Reopened {
    let connection = open(dir);
    let count = "SELECT count(*) FROM record WHERE length(CAST(body AS BLOB)) > 0";
    let records: i64 = connection.query_row(count, [], |row| row.get(0)).expect("the table is read");
    Reopened { records: records.unsigned_abs(), _log: Box::new(connection) }
}

impl Log for Table {
    fn append(&self, _caller: usize, payload: &str) {
        self.append_batch(payload, 1);
    }

    fn append_batch(&self, payload: &str, records: usize) {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction().expect("a transaction begins");
        {
            let mut insert = transaction.prepare_cached("INSERT INTO record (body) VALUES (?1)").expect("it is SQL");
            for _ in 0..records {
                insert.execute([payload]).expect("an insert succeeds");
            }
        }
        transaction.commit().expect("a commit succeeds");
    }
}

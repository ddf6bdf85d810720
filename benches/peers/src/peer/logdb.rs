//! logdb: an append is durable once a flush has returned.

use std::path::Path;
use std::time::Duration;

use logdb::{Config, DurabilityMode, LogDb};

use super::{Log, LogPeer, Made, Peer, Reopened};

pub(super) const PEER: Peer = Peer {
    name: "logdb",
    made: Made::Crate,
    how: "`DurabilityMode::Sync`, `flush` after each append; its reopening reads",
    log: Some(LogPeer { create, reopen }),
    queue: None,
};

const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);

fn open(dir: &Path) -> LogDb {
    let config = Config { data_dir: dir.to_owned(), durability_mode: DurabilityMode::Sync, ..Config::default() };
    LogDb::open(config).expect("the log opens")
}

fn create(dir: &Path) -> Box<dyn Log> {
    Box::new(open(dir))
}

fn reopen(dir: &Path) -> Reopened {
    let log = open(dir);
    let records = log.scan(0, u64::MAX).expect("a scan begins").map(|record| record.expect("a record is read"));
    Reopened { records: records.count() as u64, _log: Box::new(log) }
}

impl Log for LogDb {
    fn append(&self, _caller: usize, payload: &str) {
        LogDb::append(self, payload.as_bytes()).expect("an append succeeds");
        self.flush().expect("a flush succeeds");
    }

    fn append_batch(&self, payload: &str, records: usize) {
        LogDb::append_batch(self, &vec![payload.as_bytes(); records]).expect("a batch succeeds");
        self.flush().expect("a flush succeeds");
    }

    fn close(self: Box<Self>) {
        self.shutdown(CLOSE_TIME_MAX).expect("the log closes");
    }
}

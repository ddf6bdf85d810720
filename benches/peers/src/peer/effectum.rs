//! effectum: jobs in SQLite. It asks for `synchronous=NORMAL`, with which a write-ahead log is not synced at commits, and it means to
//! ask for that log but misspells it. So the file is given its write-ahead log beforehand, and the asking is overheard.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use effectum::{Error, Job, JobRunner, Queue as Jobs, RunningJob, Worker};
use rusqlite::{Connection, ffi};
use tokio::runtime::Runtime;

use super::rusqlite::log_ahead;
use super::{Made, Peer, Queue};
use crate::load::{self, Extent, Measured, Tally};

pub(super) const PEER: Peer = Peer {
    name: "effectum",
    made: Made::Crate,
    how: "its SQLite made to use `journal_mode=WAL`, `synchronous=FULL`",
    log: None,
    queue: Some(|dir| Box::new(Queued::new(dir))),
};

/// Jobs of a batch that fills a queue.
const FILL_BATCH: u64 = 500;

struct Queued {
    runtime: Runtime,
    /// Left as it is at the end of the process, because dropping it would look for a runtime, and panic.
    jobs: &'static Jobs,
    worker: Option<Worker>,
}

impl Queued {
    fn new(dir: &Path) -> Self {
        let file = dir.join("peer.effectum");
        let connection = Connection::open(&file).expect("the database opens");
        log_ahead(&connection);
        drop(connection);
        stay_synchronous();
        let runtime = Runtime::new().expect("a runtime starts");
        let jobs = runtime.block_on(Jobs::new(&file)).expect("the queue opens");
        Self { runtime, jobs: Box::leak(Box::new(jobs)), worker: None }
    }
}

fn job() -> Job {
    Job::builder("Issue").payload(load::payload().into_bytes()).build()
}

/// The context of a job, which must be printable.
#[derive(Debug, Clone)]
struct Shared(Arc<Tally>);

async fn run(job: RunningJob, shared: Shared) -> Result<(), Error> {
    shared.0.handle(&job.payload);
    Ok(())
}

impl Queue for Queued {
    fn emit(&mut self, producers: usize, extent: Extent) -> Measured {
        let jobs = self.jobs;
        let emit = move || async {
            jobs.add_job(job()).await.expect("a job is added");
        };
        self.runtime.block_on(load::by_tasks(producers, extent, emit))
    }

    fn fill(&mut self, events: u64, time: Duration) -> u64 {
        let until = Instant::now() + time;
        let mut filled = 0;
        while filled < events && Instant::now() < until {
            let batch = FILL_BATCH.min(events - filled);
            let added = self.jobs.add_jobs((0..batch).map(|_| job()).collect());
            self.runtime.block_on(added).expect("jobs are added");
            filled += batch;
        }
        filled
    }

    fn handle(&mut self, handlers: usize, tally: &Arc<Tally>) {
        let runner = JobRunner::builder("Issue", run).build();
        let at_once = u16::try_from(handlers).expect("handlers are few");
        let worker = Worker::builder(self.jobs, Shared(Arc::clone(tally))).max_concurrency(at_once).jobs([runner]);
        self.worker = Some(self.runtime.block_on(worker.build()).expect("a worker starts"));
    }

    fn finish(&mut self, _tally: &Tally, events: u64) {
        // A worker that is dropped looks for the runtime.
        let _inside = self.runtime.enter();
        let worker = self.worker.take().expect("it was started");
        load::wait_until(|| worker.counts().finished >= events);
    }
}

/// Makes every connection that this process opens from now on pass over `PRAGMA synchronous = …`; it is FULL unless it is set.
fn stay_synchronous() {
    #[expect(
        unsafe_code,
        reason = "SQLite calls C functions at each connection, and rusqlite offers no other way to them"
    )]
    // SAFETY: SQLite calls `begin` with a connection that is open, and `overhear` with strings of its own that end in a zero byte;
    // neither function keeps what it is given.
    unsafe {
        unsafe extern "C" fn begin(
            connection: *mut ffi::sqlite3,
            _error: *mut *const c_char,
            _api: *const ffi::sqlite3_api_routines,
        ) -> c_int {
            unsafe { ffi::sqlite3_set_authorizer(connection, Some(overhear), ptr::null_mut()) }
        }
        unsafe extern "C" fn overhear(
            _context: *mut c_void,
            action: c_int,
            name: *const c_char,
            value: *const c_char,
            _database: *const c_char,
            _within: *const c_char,
        ) -> c_int {
            let sets = action == ffi::SQLITE_PRAGMA && !name.is_null() && !value.is_null();
            if sets && unsafe { CStr::from_ptr(name) }.to_bytes().eq_ignore_ascii_case(b"synchronous") {
                return ffi::SQLITE_IGNORE;
            }
            ffi::SQLITE_OK
        }
        assert_eq!(ffi::sqlite3_auto_extension(Some(begin)), ffi::SQLITE_OK, "SQLite refuses an extension");
    }
}

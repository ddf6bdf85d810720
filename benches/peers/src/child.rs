//! One figure, in a process of its own.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::load::{self, Extent, Measured, Tally};
use crate::peer::{LogPeer, Peer, Queue};
use crate::row::{HANDLERS, LIFE_PRODUCERS, Row};

/// The first argument of a child.
pub(crate) const FLAG: &str = "--child";
/// What a trace shows where the measured part begins: an attempt to open a file that is not there.
pub(crate) const BEGIN: &str = "ledgerline-peers-begin";
/// And where it ends.
pub(crate) const END: &str = "ledgerline-peers-end";

/// Records of a batch that fills a log.
const FILL_BATCH: usize = 1_000;
/// The longest that a queue is filled; what is there by then is drained.
const FILL_TIME_MAX: Duration = Duration::from_secs(2);

/// How much a child does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// Done first, and not counted.
    pub(crate) warm: Duration,
    pub(crate) time: Duration,
    /// Most operations, over all callers.
    pub(crate) operations: u64,
    /// Records that are there at a reopening, and events that wait for a drain.
    pub(crate) backlog: u64,
}

impl Work {
    fn extent(self) -> Extent {
        Extent { time: self.time, operations: self.operations }
    }

    fn warming(self) -> Option<Extent> {
        (!self.warm.is_zero()).then_some(Extent { time: self.warm, operations: u64::MAX })
    }
}

/// The arguments after [`FLAG`]; `result` is the file that it writes.
pub(crate) fn arguments(peer: &Peer, row: Row, work: Work, dir: &Path, result: &Path) -> Vec<String> {
    let (warm, time) = (work.warm.as_millis(), work.time.as_millis());
    vec![
        peer.name.to_owned(),
        row.name(),
        warm.to_string(),
        time.to_string(),
        work.operations.to_string(),
        work.backlog.to_string(),
        dir.display().to_string(),
        result.display().to_string(),
    ]
}

/// Does what the arguments say.
pub(crate) fn run(arguments: &[String]) {
    thread::spawn(end_with_parent);
    let [peer, row, warm, time, operations, backlog, dir, result] = arguments else {
        panic!("a child is only started by its parent");
    };
    let peer = Peer::of_name(peer).expect("the peer is known");
    let row = Row::of_name(row).expect("the row is known");
    let number = |text: &String| text.parse::<u64>().expect("it is a number");
    let millis = |text: &String| Duration::from_millis(number(text));
    let work =
        Work { warm: millis(warm), time: millis(time), operations: number(operations), backlog: number(backlog) };
    let dir = Path::new(dir);
    let measured = match (peer.log, peer.queue) {
        (Some(log), _) if row.is_of_logs() => log_row(log, row, work, dir),
        (_, Some(create)) => queue_row(create(dir).as_mut(), row, work),
        _ => panic!("{} does not do that", peer.name),
    };
    fs::write(result, serde_json::to_string(&measured).expect("it is JSON")).expect("the result is written");
}

fn log_row(peer: LogPeer, row: Row, work: Work, dir: &Path) -> Measured {
    let log = (peer.create)(dir);
    let payload = load::payload();
    let (callers, records) = match row {
        Row::Commit { callers } => (callers, 1),
        Row::Batch { records } => (1, records),
        _ => {
            let batches = usize::try_from(work.backlog).expect("it fits memory") / FILL_BATCH;
            (0..batches).for_each(|_| log.append_batch(&payload, FILL_BATCH));
            log.close();
            return reopen(peer, (batches * FILL_BATCH) as u64, dir);
        }
    };
    let append = |caller| {
        if let Row::Batch { .. } = row {
            log.append_batch(&payload, records);
        } else {
            log.append(caller, &payload);
        }
    };
    if let Some(warming) = work.warming() {
        load::by_threads(callers, warming, records as u64, append);
    }
    mark(BEGIN);
    let measured = load::by_threads(callers, work.extent(), records as u64, append);
    mark(END);
    log.close();
    measured
}

fn reopen(peer: LogPeer, records: u64, dir: &Path) -> Measured {
    mark(BEGIN);
    let began = Instant::now();
    let reopened = (peer.reopen)(dir);
    let measured = Measured::since(began, reopened.records);
    mark(END);
    let lost = records.saturating_sub(reopened.records);
    assert_eq!(lost, 0, "{lost} of {records} acknowledged records are gone after a clean close");
    measured
}

fn queue_row(queue: &mut dyn Queue, row: Row, work: Work) -> Measured {
    let tally = Tally::new();
    if let Row::Emit { producers } = row {
        if let Some(warming) = work.warming() {
            queue.emit(producers, warming);
        }
        mark(BEGIN);
        let measured = queue.emit(producers, work.extent());
        mark(END);
        return measured;
    }
    if row == Row::Drain {
        let filled = queue.fill(work.backlog, FILL_TIME_MAX);
        mark(BEGIN);
        queue.handle(HANDLERS, &tally);
        queue.finish(&tally, filled);
        let measured = Measured::since(tally.first(), filled);
        mark(END);
        return measured;
    }
    queue.handle(HANDLERS, &tally);
    mark(BEGIN);
    let began = Instant::now();
    let emitted = queue.emit(LIFE_PRODUCERS, work.extent()).operations;
    queue.finish(&tally, emitted);
    let measured = Measured::since(began, emitted);
    mark(END);
    measured
}

/// Ends this process, and all that it has started, once its parent has: no server is left behind then.
fn end_with_parent() {
    // The parent holds the other end and never writes.
    let _ = io::stdin().read(&mut [0]);
    let _ = Command::new("kill").args(["-KILL", "0"]).status();
}

/// Shows in a trace.
fn mark(name: &str) {
    // There is no such file, and that is how a mark leaves none.
    let _ = File::open(name);
}

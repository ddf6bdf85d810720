//! Opening a store by replaying its log, each beside its floor: a bare scan of the same files that verifies every checksum and keeps
//! nothing, in the same run. The files are in the system's cache.
//!
//! ```text
//! replay    receptions of 256 bytes, each to be found by its id and offered afterwards; lives are received, started, completed
//! ready     a million receptions of 1 KiB are pending; what an event takes in memory is counted in a process of its own
//! kill -9   a process that emits and handles is killed amid it; a witness outside has noted what was acknowledged and what has run
//! ```
#![expect(clippy::disallowed_methods, reason = "a bench reads clocks, and its floor reads files")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures have three digits"
)]

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ledgerline::{Event, EventManager, NewEvent, Outcome, Store};

use rig::directory::{directory, settle};
use rig::memory::resident_bytes;
use rig::mode::full_or_quick;
use rig::payload::{PAYLOAD_BYTES, Payload, TYPE};
use rig::row::{Row, Unit};
use rig::run::Run;
use rig::scan::scan;
use rig::writing::open;

#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

/// Events that are appended, and claimed, together.
const BATCH_COUNT: usize = 1_000;
/// What a reception takes in the log beside its payload, about.
const RECEPTION_BYTES: usize = 140;
/// Of the process that is killed.
const HANDLERS: usize = 16;
const PRODUCERS: usize = 64;

/// What lies in a store that is opened again and again.
struct Log {
    name: &'static str,
    event_count: usize,
    record_bytes: usize,
    is_lived: bool,
    target: Option<(f64, f64)>,
}

const REPLAYED: [Log; 2] = [
    Log {
        name: "replay, 256 B, pending",
        event_count: 1_000_000,
        record_bytes: 256,
        is_lived: false,
        target: Some((8e6, 15e6)),
    },
    Log { name: "replay, 256 B, whole lives", event_count: 500_000, record_bytes: 256, is_lived: true, target: None },
];
const PENDING: Log = Log {
    name: "ready with 1 M pending of 1 KiB",
    event_count: 1_000_000,
    record_bytes: 1_164,
    is_lived: false,
    target: Some((0.4, 0.1)),
};

impl Log {
    fn event_count(&self) -> usize {
        full_or_quick(self.event_count, self.event_count / 50)
    }

    /// Writes the log; returns how many records it has.
    fn write(&self, dir: &Path) -> u64 {
        let json = format!("{{\"title\":\"{}\"}}", "x".repeat(self.record_bytes - RECEPTION_BYTES));
        let store = open(dir);
        for first in (0..self.event_count()).step_by(BATCH_COUNT) {
            let event = |number| {
                let event = NewEvent::from_json(TYPE, json.clone()).expect("it is JSON");
                event.id(format!("event-{number:08}")).key(format!("key-{number:08}"))
            };
            store.append_many((first..first + BATCH_COUNT).map(event)).expect("a batch succeeds");
            let claims = if self.is_lived { store.claim(BATCH_COUNT).expect("a claim succeeds") } else { Vec::new() };
            for claim in claims {
                store.settle(&claim, Outcome::Done).expect("what runs is settled");
            }
        }
        store.close().expect("the store closes");
        settle();
        Store::open_read_only(dir).expect("the store opens").recovery().records
    }
}

/// The time for opening the store `rounds` times.
fn openings(dir: &Path, rounds: u64) -> Duration {
    let opened = (0..rounds).map(|_| {
        let began = Instant::now();
        let store = open(dir);
        let took = began.elapsed();
        store.close().expect("the store closes");
        took
    });
    opened.sum()
}

fn replayed(run: &mut Run, log: &Log) {
    if !run.wants(log.name) {
        return;
    }
    let dir = directory();
    let records = log.write(dir.path());
    let rate = run.rate(log.name, records, |rounds| openings(dir.path(), rounds));
    let floor = run.rate(&format!("{}, floor", log.name), records, |rounds| scan(dir.path(), rounds));
    run.tell(Row::new(log.name, Unit::PerSecond, rate).floor(floor).target(log.target));
}

fn ready(run: &mut Run) {
    if !run.wants(PENDING.name) {
        return;
    }
    let dir = directory();
    let records = PENDING.write(dir.path());
    // Before anything else: the first opening finds the files in the cache, and the process fresh.
    let bytes = child("memory", dir.path()).output().expect("the bench runs").stdout;
    let bytes: f64 = String::from_utf8_lossy(&bytes).trim().parse().expect("it prints a number");
    let rate = run.rate(PENDING.name, records, |rounds| openings(dir.path(), rounds));
    let floor = run.rate(&format!("{}, floor", PENDING.name), records, |rounds| scan(dir.path(), rounds));
    let seconds = |rate| records as f64 / rate;
    let row = Row::new(PENDING.name, Unit::Seconds, seconds(rate)).floor(seconds(floor));
    run.tell(row.target(PENDING.target));
    let each = bytes / PENDING.event_count() as f64;
    run.tell(Row::new("memory of a pending event", Unit::Bytes, each).target((160.0, 112.0)));
}

/// This program again, for `duty`.
fn child(duty: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program knows where it is"));
    command.arg("--child").arg(duty).arg(dir).stdout(Stdio::piped());
    command
}

/// Prints by how many bytes this process has grown with the store open.
fn measure_memory(dir: &Path) {
    let before = resident_bytes();
    let store = open(dir);
    let grown = resident_bytes().saturating_sub(before);
    writeln!(std::io::stdout(), "{grown}").expect("somebody reads");
    store.close().expect("the store closes");
}

/// Emits and handles until it is killed, and tells of each step as one line: `a` and the id is acknowledged, `r` and the id runs.
fn emit_for_ever(dir: &Path) {
    let tell = |what: char, id: &str| {
        let _ = std::io::stdout().lock().write_all(format!("{what}{id}\n").as_bytes());
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        let handler = move |event: Event| {
            tell('r', event.id());
            async {}
        };
        let manager = EventManager::builder(dir).concurrency(HANDLERS).batch_size(HANDLERS);
        let manager = manager.on(TYPE, handler).start().await.expect("the manager starts");
        let payload = Arc::new(Payload::of(PAYLOAD_BYTES));
        for _ in 0..PRODUCERS {
            let (manager, payload) = (manager.clone(), Arc::clone(&payload));
            tokio::spawn(async move {
                loop {
                    let id = manager.emit(TYPE, &*payload).await.expect("an emit succeeds");
                    tell('a', &id);
                }
            });
        }
        std::future::pending::<()>().await;
    });
}

/// What a process that was killed has told.
#[derive(Default)]
struct Told {
    acknowledged: HashSet<String>,
    ran: HashSet<String>,
}

/// Runs such a process, and kills it in the midst.
fn killed(dir: &Path, after: Duration) -> Told {
    let mut process = child("load", dir).spawn().expect("the bench runs");
    let output = BufReader::new(process.stdout.take().expect("it is piped"));
    let witness = std::thread::spawn(move || {
        let mut told = Told::default();
        // What the kill has cut short was not told.
        for line in output.lines().map_while(Result::ok) {
            match line.split_at_checked(1) {
                Some(("a", id)) => told.acknowledged.insert(id.to_owned()),
                Some(("r", id)) => told.ran.insert(id.to_owned()),
                _ => false,
            };
        }
        told
    });
    std::thread::sleep(after);
    process.kill().expect("it runs");
    process.wait().expect("it was started");
    witness.join().expect("the witness lives")
}

/// What became of events after a kill.
#[derive(Default)]
struct Aftermath {
    acknowledged: usize,
    lost: usize,
    in_flight: u64,
    not_released: u64,
    ran_twice: usize,
    ready: Duration,
}

fn kill(dir: &Path, after: Duration) -> Aftermath {
    let told = killed(dir, after);
    let began = Instant::now();
    let store = open(dir);
    let ready = began.elapsed();
    let in_flight = store.recovery().events_released;
    let not_released = store.stats().processing_events;
    let missing = |id: &&String| store.get(id).expect("what is kept is read").is_none();
    let lost = told.acknowledged.iter().filter(missing).count();
    store.close().expect("the store closes");
    drop(store);

    let runs = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&runs);
    let handler = move |event: Event| {
        noted.lock().expect("nothing panics").push(event.id().to_owned());
        async {}
    };
    tokio::runtime::Runtime::new().expect("a runtime starts").block_on(async {
        let manager = EventManager::builder(dir).concurrency(HANDLERS).on(TYPE, handler).start().await;
        let manager = manager.expect("the manager starts");
        while manager.stats().pending_events + manager.stats().processing_events > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        manager.shutdown().await.expect("the manager ends");
    });
    let runs = runs.lock().expect("nothing panics");
    let ran_twice = runs.iter().filter(|id| told.ran.contains(*id)).count();
    Aftermath { acknowledged: told.acknowledged.len(), lost, in_flight, not_released, ran_twice, ready }
}

fn kills(run: &mut Run) {
    if !run.wants("kill -9") {
        return;
    }
    let mut all = Aftermath::default();
    let count = full_or_quick(6, 1);
    for number in 0..count {
        let dir = directory();
        let once = kill(dir.path(), Duration::from_millis(full_or_quick(700, 300) + 37 * number));
        all.acknowledged += once.acknowledged;
        all.lost += once.lost;
        all.in_flight += once.in_flight;
        all.not_released += once.not_released;
        all.ran_twice += once.ran_twice;
        all.ready = all.ready.max(once.ready);
    }
    let in_flight = all.in_flight as f64;
    let row = |name: String, count: f64, most: f64| Row::new(name, Unit::Count, count).target((most, most));
    run.tell(row(format!("kill -9: lost, of {} acknowledged", all.acknowledged), all.lost as f64, 0.0));
    run.tell(row(format!("kill -9: run twice, of {in_flight} in flight"), all.ran_twice as f64, in_flight));
    run.tell(row("kill -9: not released once open".to_owned(), all.not_released as f64, 0.0));
    run.tell(Row::new("kill -9: until open again, at most", Unit::Seconds, all.ready.as_secs_f64()));
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, child, duty, dir] = arguments.as_slice()
        && child == "--child"
    {
        return if duty == "memory" { measure_memory(dir.as_ref()) } else { emit_for_ever(dir.as_ref()) };
    }
    let Some(mut run) = Run::begin("restart") else { return };
    for log in REPLAYED {
        replayed(&mut run, &log);
    }
    ready(&mut run);
    kills(&mut run);
    run.end();
}

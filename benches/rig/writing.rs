//! What writes in bulk, measured in bursts and sustained, each beside its floor.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ledgerline::{Store, StoreOptions};

use super::burst::Bursts;
use super::directory::{directory, settle};
use super::floor::Floor;
use super::latency::Latencies;
use super::log::Groups;
use super::mode::{full_or_quick, sustained as bounds, sustained_bytes_max};
use super::payload::{PAYLOAD_BYTES, RECORD_BYTES, event};
use super::quota::Quota;
use super::row::{Row, Unit};
use super::run::Run;
use super::segment::SEGMENT_BYTES;

/// Something that writes to a store.
pub(crate) trait Writer {
    /// The store it writes to.
    fn store(&self) -> Store;

    /// Writes a quota of events, and says how long that took.
    fn write(&mut self, quota: &Arc<Quota>, latencies: Option<&mut Latencies>) -> Duration;

    /// Waits until whatever follows from what was written has ended.
    fn rest(&self) {}
}

/// What is to be measured.
pub(crate) struct Work<'w> {
    pub(crate) name: &'w str,
    /// Events of one round.
    pub(crate) events: u64,
    pub(crate) target: Option<(f64, f64)>,
    pub(crate) is_bound_by_disk: bool,
}

/// Opens a store in a directory.
pub(crate) fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default()).expect("the store opens")
}

/// Measures a writer inside prepared space.
pub(crate) fn burst<W: Writer>(run: &mut Run, work: &Work<'_>, open: impl FnOnce(&Path) -> W) {
    if !run.wants(work.name) {
        return;
    }
    let dir = directory();
    let mut writer = open(dir.path());
    let seq = use_first_segment(&writer);
    let (mut bursts, mut written) = (Bursts::default(), 0);
    let mut write = |rounds: u64, latencies: Option<&mut Latencies>| {
        let mut latencies = latencies;
        bursts.time(rounds, work.events * RECORD_BYTES, |rounds| {
            written += rounds * work.events;
            writer.write(&Arc::new(Quota::of(rounds * work.events)), latencies.as_deref_mut())
        })
    };
    let rate = run.rate(work.name, work.events, |rounds| write(rounds, None));
    // Again with a clock, which would cost the throughput a few percent.
    let mut latencies = Latencies::new();
    let rounds = (rate * full_or_quick(1.0, 0.02) / work.events as f64).min(100_000.0);
    write((rounds as u64).max(1), Some(&mut latencies));
    close(&writer);
    let groups = Groups::after(dir.path(), seq);
    let floor = floor_rate(run, work, &groups, written);
    run.tell(row(work, rate, floor).percentiles(latencies.percentiles()));
}

/// Measures a writer that goes on, rotation and preparation included.
pub(crate) fn sustained<W: Writer>(run: &mut Run, work: &Work<'_>, open: impl FnOnce(&Path) -> W) {
    if !run.wants(work.name) {
        return;
    }
    let dir = directory();
    let mut writer = open(dir.path());
    let ((bytes, time), bytes_max) = (bounds(), sustained_bytes_max());
    let quota = Arc::new(Quota::lasting(bytes / RECORD_BYTES, time, bytes_max / RECORD_BYTES));
    let mut latencies = Latencies::new();
    settle();
    let took = writer.write(&quota, Some(&mut latencies));
    close(&writer);
    let groups = Groups::after(dir.path(), 0);
    drop(writer);
    let floor_dir = directory();
    let mut floor = Floor::begin(floor_dir.path(), &groups);
    settle();
    let floor_took = floor.time(groups.bytes);
    let per_second = |took: Duration| quota.taken() as f64 / took.as_secs_f64();
    run.tell(row(work, per_second(took), per_second(floor_took)).percentiles(latencies.percentiles()));
}

/// The events per second of a loop that writes `groups`, which hold `written` events, in bursts.
pub(crate) fn floor_rate(run: &mut Run, work: &Work<'_>, groups: &Groups, written: u64) -> f64 {
    let dir = directory();
    let mut floor = Floor::begin(dir.path(), groups);
    let round_bytes = (groups.bytes as f64 / written as f64 * work.events as f64) as u64;
    let mut bursts = Bursts::default();
    run.rate(&format!("{}, floor", work.name), work.events, |rounds| {
        bursts.time(rounds, round_bytes, |rounds| floor.time(rounds * round_bytes))
    })
}

fn row(work: &Work<'_>, rate: f64, floor: f64) -> Row {
    let row = Row::new(work.name, Unit::PerSecond, rate).target(work.target);
    if work.is_bound_by_disk { row.disk_floor(floor) } else { row.floor(floor) }
}

/// Writes past the first segment of a store, which is filled only while it is in use; returns a seq of when that was done.
fn use_first_segment(writer: &impl Writer) -> u64 {
    let store = writer.store();
    let batch = vec![event(PAYLOAD_BYTES); 1_000];
    for _ in 0..(SEGMENT_BYTES / RECORD_BYTES / 1_000 + 2) {
        store.append_many(&batch).expect("a batch succeeds");
    }
    writer.rest();
    let last = store.append(event(PAYLOAD_BYTES)).expect("an append succeeds");
    writer.rest();
    settle();
    last.seq
}

fn close(writer: &impl Writer) {
    writer.store().close().expect("the store closes");
}

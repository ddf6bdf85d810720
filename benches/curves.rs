//! What one operation costs as the store grows: from a thousand live events to five million, in one store that is filled step by step.
//!
//! ```text
//! append   one event, durable                 claim   twenty of the oldest, their data read
//! settle   one of them, as completed          list    the first hundred of all, and a hundred that failed, behind all others
//! ```
//!
//! Each is measured for one event: the time that passes, and the processor's time of the thread that calls, which commits by itself. Judged
//! are the time that the four take together, most of which is the disk's, and the processor's time of each. Every event has a key of its
//! own, which costs most. Measured as well: memory for each live event; compaction for each byte that it writes anew, and what an append
//! beside it notices; the slowest append while one segment after the other is written.
//!
//! A row's floor is what the same costs with a thousand live events. Without `quick` the curves become a chart, `benches/curves.svg`, which
//! the README shows.
#![expect(clippy::disallowed_methods, reason = "a bench reads clocks, and writes its chart")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "figures have three digits, and a bench may panic"
)]

use chart::{Chart, Curve, Panel};
use growing::{Cost, Growing, Operation, Size};
use rig::directory::directory;
use rig::latency::Percentiles;
use rig::machine::Machine;
use rig::mode::is_quick;
use rig::row::{Row, Unit};
use rig::run::Run;

#[path = "curves/beside.rs"]
mod beside;
#[path = "curves/chart.rs"]
mod chart;
#[path = "curves/growing.rs"]
mod growing;
#[expect(dead_code, reason = "each bench uses a part")]
mod rig;
#[path = "curves/rolls.rs"]
mod rolls;

/// Numbers of live events at which the store is measured.
const SIZES: [usize; 4] = [1_000, 100_000, 1_000_000, 5_000_000];
/// How many of them a quick run measures.
const QUICK_SIZES: usize = 2;

/// How many times as long as in a small store all operations together may take, and how many times the processor's time each may take.
const TIME_TIMES: f64 = 1.3;
const PROCESSOR_TIMES: f64 = 4.0;
/// Bytes of memory for each live event.
const EVENT_BYTES: (f64, f64) = (160.0, 112.0);
/// How many times as long an append may take beside compaction as without, at the 99th percentile.
const BESIDE_TIMES: f64 = 2.0;
/// The slowest append, in seconds.
const STALL: (f64, f64) = (0.020, 0.010);

fn main() {
    let Some(mut run) = Run::begin("curves") else { return };
    if run.wants("grow") {
        let sizes = grow(&mut run);
        if !is_quick() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/curves.svg");
            std::fs::write(path, chart(&sizes).to_string()).expect("the chart is written");
        }
    }
    if run.wants("rolls") {
        let rolls::Rolls { rolling, count, all, disk } = rolls::rolls();
        let row = Row::new(format!("64 appended at {count} rolls, slowest"), Unit::Seconds, rolling.max);
        run.tell(row.floor(disk.max).target(STALL).percentiles(rolling));
        let row = Row::new("64 appended at any time, p99.9", Unit::Seconds, all.p999);
        run.tell(row.floor(disk.p999).target(STALL).percentiles(all));
    }
    run.end();
}

/// Measures one store at every size.
fn grow(run: &mut Run) -> Vec<Size> {
    let dir = directory();
    let mut growing = Growing::begin(dir.path());
    let wanted = if is_quick() { &SIZES[..QUICK_SIZES] } else { &SIZES[..] };
    let (mut sizes, mut compacted) = (Vec::<Size>::new(), Vec::new());
    for live in wanted {
        let size = growing.grow_to(*live);
        tell_costs(run, sizes.first(), &size);
        sizes.push(size);
        if *live >= SIZES[1] {
            let done = beside::compact(&mut growing);
            let smallest: f64 = compacted.first().copied().unwrap_or(done.per_megabyte);
            tell_compaction(run, *live, smallest, &done);
            compacted.push(done.per_megabyte);
        }
    }
    growing.store.close().expect("the store closes");
    sizes
}

fn tell_costs(run: &mut Run, smallest: Option<&Size>, size: &Size) {
    let live = chart::count(size.live as f64);
    let all = |size: &Size| size.costs.iter().map(|cost| cost.time).sum::<f64>();
    let row = Row::new(format!("all four at {live} live"), Unit::Seconds, all(size));
    run.tell(match smallest.map(all) {
        Some(floor) => row.floor(floor).target((floor * TIME_TIMES, floor)),
        None => row,
    });
    for (number, operation) in Operation::ALL.into_iter().enumerate() {
        let name = operation.name();
        let cost = size.costs[number];
        let floor = smallest.map(|smallest| smallest.costs[number]);
        let row = Row::new(format!("{name} at {live} live, processor"), Unit::Seconds, cost.processor);
        run.tell(match floor.map(|floor| floor.processor) {
            Some(floor) => row.floor(floor).target((floor * PROCESSOR_TIMES, floor)),
            None => row,
        });
    }
    if let Some(smallest) = smallest {
        let more = |of: fn(&Size) -> u64| of(size).saturating_sub(of(smallest)) as f64;
        let event_bytes = more(|size| size.resident_bytes) / more(|size| size.live as u64);
        let name = format!("memory of an event at {live} live");
        run.tell(Row::new(name, Unit::Bytes, event_bytes).target(EVENT_BYTES));
    }
}

fn tell_compaction(run: &mut Run, live: usize, smallest: f64, done: &beside::Compacted) {
    let live = chart::count(live as f64);
    let name = format!("compaction of 1 MB at {live} live");
    let row = Row::new(name, Unit::Seconds, done.per_megabyte).floor(smallest);
    run.tell(row.target((smallest * TIME_TIMES, smallest)));
    let Percentiles { p99: without, .. } = done.without;
    let name = format!("append beside it at {live} live, p99");
    let row = Row::new(name, Unit::Seconds, done.beside.p99).floor(without);
    run.tell(row.target((without * BESIDE_TIMES, without)).percentiles(done.beside));
}

fn chart(sizes: &[Size]) -> Chart {
    let Machine { processor, cores, kernel, file_system, date } = Machine::this();
    let panel = |title: &str, of: fn(&Cost) -> f64| {
        let curve = |(number, operation): (usize, Operation)| {
            let point = |size: &Size| (size.live as f64, of(&size.costs[number]) * 1e6);
            Curve { name: operation.name().to_owned(), points: sizes.iter().map(point).collect() }
        };
        Panel { title: title.to_owned(), curves: Operation::ALL.into_iter().enumerate().map(curve).collect() }
    };
    Chart {
        title: "What one event costs as the store grows".to_owned(),
        caption: format!("{date}, {processor}, {cores} cores, {kernel}, {file_system}"),
        x_label: "live events".to_owned(),
        panels: vec![
            panel("time until it is done (append: durable), µs", |cost| cost.time),
            panel("processor's time, µs", |cost| cost.processor),
        ],
    }
}

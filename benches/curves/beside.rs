//! Compaction of segments that are mostly dead: what it takes for each byte that it writes anew, and what callers notice of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ledgerline::{NewEvent, Selection, Store};

use super::growing::{AGE, Growing, SEGMENT_BYTES};
use super::rig::directory::settle;
use super::rig::latency::{Latencies, Percentiles};
use super::rig::mode::full_or_quick;

/// Events that are appended together, and how many of them are called off.
const BATCH: usize = 1_000;
const DEAD: usize = 600;
/// Of the events that do not live long.
const SHORT_LIVED: &str = "Reaction";

/// What a compaction took, and what appends took beside it and without it.
pub(crate) struct Compacted {
    /// Seconds for each megabyte that was written anew.
    pub(crate) per_megabyte: f64,
    pub(crate) beside: Percentiles,
    pub(crate) without: Percentiles,
}

/// Lets segments become mostly dead behind all that is in the store, and has it compacted while somebody appends.
pub(crate) fn compact(growing: &mut Growing) -> Compacted {
    for _ in 0..full_or_quick(200, 80) {
        growing.append(BATCH - DEAD, "Issue");
        growing.append(DEAD, SHORT_LIVED);
    }
    let selection = Selection::all().event_type(SHORT_LIVED);
    growing.store.cancel_all(selection, "short-lived").expect("what waits is called off");
    std::thread::sleep(AGE);
    settle();
    let without = append_until(&growing.store, |began| began.elapsed() > Duration::from_millis(400));
    let is_done = AtomicBool::new(false);
    let (took, report, beside) = std::thread::scope(|scope| {
        let beside = scope.spawn(|| append_until(&growing.store, |_| is_done.load(Ordering::Acquire)));
        let began = Instant::now();
        let report = growing.store.compact().expect("the store is compacted");
        let took = began.elapsed();
        is_done.store(true, Ordering::Release);
        (took, report, beside.join().expect("nobody panics"))
    });
    let before = report.segments_rewritten * SEGMENT_BYTES;
    assert!(report.segments_rewritten > 0, "{report:?}");
    let megabytes = before.saturating_sub(report.bytes_freed) as f64 / 1e6;
    Compacted { per_megabyte: took.as_secs_f64() / megabytes, beside, without }
}

/// Appends one event after the other; what each took.
fn append_until(store: &Store, is_over: impl Fn(Instant) -> bool) -> Percentiles {
    let (began, mut latencies) = (Instant::now(), Latencies::new());
    while !is_over(began) {
        let event = NewEvent::from_json(SHORT_LIVED, "{}").expect("it is JSON");
        let called = Instant::now();
        store.append(event).expect("an append succeeds");
        latencies.count(called.elapsed());
    }
    latencies.percentiles()
}

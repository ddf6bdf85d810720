//! Load: callers that do one thing again and again until it is enough, and what came of it.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Bytes of JSON in each record or event.
const PAYLOAD_BYTES: usize = 1_024;

/// How much is done: until either is used up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) time: Duration,
    pub(crate) operations: u64,
}

impl Extent {
    /// Each caller does at least one operation.
    fn share(self, callers: usize) -> u64 {
        (self.operations / callers as u64).max(1)
    }
}

/// What was acknowledged, and how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
}

impl Measured {
    pub(crate) fn since(began: Instant, operations: u64) -> Self {
        Self { operations, seconds: began.elapsed().as_secs_f64() }
    }

    pub(crate) fn per_second(self) -> f64 {
        self.operations as f64 / self.seconds
    }
}

/// 1 KiB of JSON. No peer compresses in this crate, so it may be the same each time.
pub(crate) fn payload() -> String {
    let head = r#"{"action":"update","type":"Issue","data":{"id":"2174add1-f7c8-44e3-bbf3-2d60b5ea8bc9","title":""#;
    let tail = r#""}}"#;
    let words = "the quick brown fox jumps over the lazy dog ".bytes().cycle().map(char::from);
    let text: String = words.take(PAYLOAD_BYTES - head.len() - tail.len()).collect();
    format!("{head}{text}{tail}")
}

/// Threads, each of which calls `operation` with its number until the extent is used up; each call does `count` operations.
pub(crate) fn by_threads(callers: usize, extent: Extent, count: u64, operation: impl Fn(usize) + Sync) -> Measured {
    let barrier = Barrier::new(callers + 1);
    let done = AtomicU64::new(0);
    let mut began = Instant::now();
    thread::scope(|scope| {
        for caller in 0..callers {
            let (barrier, done, operation) = (&barrier, &done, &operation);
            scope.spawn(move || {
                barrier.wait();
                let until = Instant::now() + extent.time;
                let mut mine = 0;
                while mine < extent.share(callers) && Instant::now() < until {
                    operation(caller);
                    mine += count;
                }
                done.fetch_add(mine, Ordering::Relaxed);
            });
        }
        barrier.wait();
        began = Instant::now();
    });
    Measured::since(began, done.into_inner())
}

/// As [`by_threads`], by tasks of the present tokio runtime.
pub(crate) async fn by_tasks<F, Done>(callers: usize, extent: Extent, operation: F) -> Measured
where
    F: Fn() -> Done + Clone + Send + 'static,
    Done: Future<Output = ()> + Send,
{
    let began = Instant::now();
    let until = began + extent.time;
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let operation = operation.clone();
            tokio::spawn(async move {
                let mut mine = 0;
                while mine < extent.share(callers) && Instant::now() < until {
                    operation().await;
                    mine += 1;
                }
                mine
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.expect("a producer does not panic");
    }
    Measured::since(began, done)
}

/// What handlers have done so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    first: OnceLock<Instant>,
    completed: AtomicU64,
}

impl Tally {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The handler of every peer: it looks at the payload and is done.
    pub(crate) fn handle(&self, payload: &[u8]) {
        assert_eq!(payload.len(), PAYLOAD_BYTES, "a handler was given something else than was emitted");
        self.first.get_or_init(Instant::now);
    }

    /// Counts completions that the peer has acknowledged.
    pub(crate) fn complete(&self, events: u64) {
        self.completed.fetch_add(events, Ordering::Release);
    }

    /// When the first handler began.
    pub(crate) fn first(&self) -> Instant {
        *self.first.get().expect("a handler has run")
    }

    /// Waits until so many completions were acknowledged.
    pub(crate) fn wait(&self, events: u64) {
        wait_until(|| self.completed.load(Ordering::Acquire) >= events);
    }
}

/// Looks every millisecond; whoever started this process bounds how long.
pub(crate) fn wait_until(is_so: impl Fn() -> bool) {
    while !is_so() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_json_of_the_size_that_is_told() {
        let payload = payload();
        assert_eq!(payload.len(), PAYLOAD_BYTES);
        serde_json::from_str::<serde_json::Value>(&payload).expect("it is JSON");
    }
}

//! Callers that write at once, as threads or as tasks, each as soon as its last call has returned.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::latency::Latencies;
use super::quota::Quota;

/// Latencies of one caller. One call begins when the last has ended, so the clock is read once a call, and not at all if nobody wants
/// to know.
struct Watch {
    latencies: Option<Latencies>,
    last: Instant,
}

impl Watch {
    fn begin(is_wanted: bool) -> Self {
        Self { latencies: is_wanted.then(Latencies::new), last: Instant::now() }
    }

    fn called(&mut self) {
        if let Some(latencies) = &mut self.latencies {
            let now = Instant::now();
            latencies.count(now - self.last);
            self.last = now;
        }
    }

    fn end(self, all: Option<&mut Latencies>) {
        if let (Some(all), Some(latencies)) = (all, self.latencies) {
            all.add(&latencies);
        }
    }
}

/// The time that `callers` threads take for a quota; each call takes `events` of it.
pub(crate) fn threads(
    callers: usize,
    quota: &Quota,
    events: u64,
    mut latencies: Option<&mut Latencies>,
    call: impl Fn() + Sync,
) -> Duration {
    let start = Barrier::new(callers + 1);
    let (start, call, is_wanted) = (&start, &call, latencies.is_some());
    std::thread::scope(|scope| {
        let life = move || {
            start.wait();
            let mut watch = Watch::begin(is_wanted);
            while quota.take(events) {
                call();
                watch.called();
            }
            watch
        };
        let running: Vec<_> = (0..callers).map(|_| scope.spawn(life)).collect();
        start.wait();
        let began = Instant::now();
        let ended: Vec<_> = running.into_iter().map(|caller| caller.join().expect("no caller panics")).collect();
        let took = began.elapsed();
        for watch in ended {
            watch.end(latencies.as_deref_mut());
        }
        took
    })
}

/// The time that `callers` tasks of the present runtime take for a quota; each call takes one of it.
pub(crate) async fn tasks<F, Calling>(
    callers: usize,
    quota: &Arc<Quota>,
    mut latencies: Option<&mut Latencies>,
    call: F,
) -> Duration
where
    F: Fn() -> Calling + Clone + Send + 'static,
    Calling: Future<Output = ()> + Send,
{
    let is_wanted = latencies.is_some();
    let began = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..callers {
        let (quota, call) = (Arc::clone(quota), call.clone());
        running.spawn(async move {
            let mut watch = Watch::begin(is_wanted);
            while quota.take(1) {
                call().await;
                watch.called();
            }
            watch
        });
    }
    let ended = running.join_all().await;
    let took = began.elapsed();
    for watch in ended {
        watch.end(latencies.as_deref_mut());
    }
    took
}

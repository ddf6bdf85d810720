//! Latencies as percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Latencies of one row, in nanoseconds, to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// What is shown of latencies, in seconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(Histogram::new(3).expect("three digits are allowed"))
    }

    pub(crate) fn count(&mut self, latency: Duration) {
        self.0.record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)).expect("the histogram grows");
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the histogram grows");
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |quantile| seconds(self.0.value_at_quantile(quantile));
        Percentiles { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: seconds(self.0.max()) }
    }
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

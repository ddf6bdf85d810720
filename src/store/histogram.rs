//! How long something took, as a distribution of fixed size: eight buckets for each doubling, so a quantile is within 6.25 % of the
//! truth, from a microsecond to half a year, in 1,344 bytes. A count costs a few nanoseconds.

use serde::Serialize;

/// Buckets for each doubling, as a power of two.
const BITS: u32 = 3;
/// The first eight hold one microsecond each; then eight for each doubling up to 2⁴⁴ µs.
const BUCKET_COUNT: usize = 8 * 42;

/// Counts of durations.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Box<[u32; BUCKET_COUNT]>,
}

/// How long it took, of those that were counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// How many were counted.
    pub count: u64,
    /// Half of them took no longer than so many milliseconds, give or take 6.25 %; none if there are none.
    pub p50_ms: Option<f64>,
    /// 99 of 100 took no longer than so many milliseconds, give or take 6.25 %; none if there are none.
    pub p99_ms: Option<f64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKET_COUNT]) }
    }
}

impl Histogram {
    pub(crate) fn count(&mut self, micros: u64) {
        if let Some(count) = self.counts.get_mut(bucket(micros)) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds what another has counted.
    pub(crate) fn add(&mut self, other: &Self) {
        for (count, also) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count = count.saturating_add(*also);
        }
    }

    pub(crate) fn latency(&self) -> Latency {
        let count = self.counts.iter().copied().map(u64::from).sum();
        Latency { count, p50_ms: self.quantile(count, 50), p99_ms: self.quantile(count, 99) }
    }

    /// The middle of the bucket in which the one of rank `percent` lies, in milliseconds.
    fn quantile(&self, count: u64, percent: u64) -> Option<f64> {
        let mut left = count.saturating_mul(percent).div_ceil(100);
        let found = self.counts.iter().position(|of| {
            left = left.saturating_sub(u64::from(*of));
            left == 0
        });
        found.filter(|_| count > 0).map(|bucket| middle(bucket) / 1_000.0)
    }
}

fn bucket(micros: u64) -> usize {
    let doublings = (u64::BITS - micros.leading_zeros()).saturating_sub(BITS + 1);
    let within = usize::try_from(micros >> doublings).unwrap_or(usize::MAX);
    (doublings as usize * (1 << BITS) + within).min(BUCKET_COUNT - 1)
}

/// The middle of a bucket, in microseconds.
fn middle(bucket: usize) -> f64 {
    let (buckets, single) = (1_usize << BITS, 2 << BITS);
    if bucket < single {
        return f64::from(u32::try_from(bucket).unwrap_or(u32::MAX));
    }
    let (doublings, within) = (bucket / buckets - 1, bucket % buckets + buckets);
    let width = f64::from(i32::try_from(doublings).unwrap_or(0)).exp2();
    (f64::from(u32::try_from(within).unwrap_or(0)) + 0.5) * width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_within_the_stated_distance_of_its_buckets_middle() {
        let mut last = 0;
        for exponent in 0..440 {
            let micros = (f64::from(exponent) / 10.0).exp2();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 2⁴⁴")]
            let micros = micros as u64;
            let found = bucket(micros);
            assert!(found >= last && found < BUCKET_COUNT, "{micros}");
            last = found;
            #[expect(clippy::cast_precision_loss, reason = "at most 2⁴⁴")]
            let micros = micros as f64;
            assert!((middle(found) - micros).abs() <= micros * 0.0625, "{micros} is told as {}", middle(found));
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKET_COUNT - 1));
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.latency(), Latency::default());
        (1..=1_000).for_each(|millis| histogram.count(millis * 1_000));
        let mut both = Histogram::default();
        both.add(&histogram);
        both.add(&histogram);
        let latency = both.latency();
        assert_eq!(latency.count, 2_000);
        let near = |found: Option<f64>, truth: f64| (found.unwrap() - truth).abs() <= truth * 0.0625;
        assert!(near(latency.p50_ms, 500.0) && near(latency.p99_ms, 990.0), "{latency:?}");
    }
}

//! How long everything may take.
//!
//! `LEDGERLINE_BENCH=quick cargo bench` takes seconds instead of minutes and only shows that it runs.

use std::time::Duration;

/// Whether this run only shows that it runs.
pub(crate) fn is_quick() -> bool {
    std::env::var_os("LEDGERLINE_BENCH").is_some_and(|value| value == "quick")
}

/// One of two values, by how long this run may take.
pub(crate) fn full_or_quick<T>(full: T, quick: T) -> T {
    if is_quick() { quick } else { full }
}

/// How long one row is sampled.
pub(crate) fn measurement() -> Duration {
    full_or_quick(Duration::from_millis(1_500), Duration::from_millis(60))
}

/// How long one row is run before it is sampled.
pub(crate) fn warm_up() -> Duration {
    full_or_quick(Duration::from_millis(300), Duration::from_millis(10))
}

/// What sustained writing takes at least, both of them, unless the disk is so slow that it takes twice the time.
pub(crate) fn sustained() -> (u64, Duration) {
    full_or_quick((5_000_000_000, Duration::from_secs(10)), (50_000_000, Duration::from_millis(100)))
}

/// Sustained writing ends here even if its time has not come: disks and memory are finite.
pub(crate) fn sustained_bytes_max() -> u64 {
    full_or_quick(8_000_000_000, 200_000_000)
}

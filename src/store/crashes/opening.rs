//! Opening a store on a simulated disk.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::env::simulated::Disk;
use crate::env::{Chance, Clock};
use crate::error::Error;
use crate::store::handle::Store;
use crate::store::ids::Ids;
use crate::store::open::{Creation, Outside, open_in};
use crate::store::options::StoreOptions;

/// Small enough that a few events fill it.
pub(in crate::store) const SEGMENT_BYTES: u64 = 4 * 1024;
/// How long finished events are kept.
pub(in crate::store) const AGE: Duration = Duration::from_hours(1);
/// How long ids are remembered.
pub(in crate::store) const MEMORY: Duration = Duration::from_mins(150);

/// The wait before the first retry.
pub(in crate::store) const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// When simulated stores begin.
pub(in crate::store) fn first_day() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 50)
}

pub(in crate::store) fn options() -> StoreOptions {
    StoreOptions::default()
        .segment_bytes(SEGMENT_BYTES)
        .retry_interval(RETRY_INTERVAL)
        .max_event_age(AGE)
        .dedup_window(MEMORY)
}

/// Opens the store on `disk`, as the start number `start` of a process, since the start number `boot` of the machine.
pub(in crate::store) fn open(disk: &Disk, wall: SystemTime, start: u64, boot: u64) -> Result<(Store, Clock), Error> {
    open_with(options(), disk, wall, start, boot)
}

/// The same, with other options.
pub(in crate::store) fn open_with(
    options: StoreOptions,
    disk: &Disk,
    wall: SystemTime,
    start: u64,
    boot: u64,
) -> Result<(Store, Clock), Error> {
    let clock = Clock::manual(wall);
    let outside = Outside { dir: disk.root(), clock: clock.clone(), chance: Chance::seeded(start, boot) };
    let (shared, recovery) = open_in(outside, options, Creation::Allowed)?;
    Ok((Store::of(Arc::new(shared), recovery, Ids::new([1; 16]), None), clock))
}

//! How long compaction holds the lock.

use std::path::Path;
use std::time::Duration;

use crate::error::Error;
use crate::event::{NewEvent, Outcome};
use crate::store::compaction::LONGEST_HOLD;
use crate::store::handle::Store;
use crate::store::options::StoreOptions;

/// What finished so long ago is forgotten.
const AGE: Duration = Duration::from_secs(1);
const BATCH: usize = 1_000;
/// Of each batch so many are completed: of these the ids are remembered, the others are what is moved.
const COMPLETED: usize = 800;

/// Events that are appended: they fill some dozens of segments.
const EVENT_COUNT: usize = 300_000;

/// The processor's time for which one compaction of many small events, in a new store in `dir`, held the lock at most in one step; and how
/// many segments it wrote anew.
///
/// # Errors
/// Those of the store.
pub(crate) fn longest_hold(dir: &Path) -> Result<(Duration, u64), Error> {
    let options = StoreOptions::default().segment_bytes(1024 * 1024).max_event_age(AGE);
    let store = Store::open(dir, options.dedup_window(Duration::from_hours(1)))?;
    for batch in (0..EVENT_COUNT).step_by(BATCH) {
        let event =
            |number: usize| NewEvent::new("Issue", &"xxxxxxxxxxxxxxxxxxxx").map(|event| event.id(number.to_string()));
        store.append_many((batch..batch + BATCH).map(event).collect::<Result<Vec<_>, _>>()?)?;
        for claim in store.claim(COMPLETED)? {
            store.settle(&claim, Outcome::Done)?;
        }
    }
    std::thread::sleep(AGE + AGE / 20);
    LONGEST_HOLD.set(Duration::ZERO);
    let report = store.compact()?;
    Ok((LONGEST_HOLD.get(), report.segments_rewritten))
}

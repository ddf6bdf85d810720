//! A short life that does a little of everything in a fixed order, so that each of its system calls can be made to fail in turn.

use ledgerline::Store;

use super::dice::Dice;
use super::life::{Died, Life, append, confirm, options, refused, run as run_events, say};
use super::witness;

/// Events that are kept in each of the two lives of the store.
const EVENTS_EACH: u64 = 13;
/// All that are kept.
pub(crate) const EVENTS: u64 = 2 * EVENTS_EACH;

/// What fails is said, and the rest is tried all the same: a log that was poisoned must go on refusing.
fn opened(life: &Life, store: &Store, first: u64) -> Result<(), Died> {
    let mut dice = Dice::of(life.seed, first);
    let mut attempts = Vec::new();
    for number in first..first + 3 {
        attempts.push(append(store, &witness::id(number, 300)));
    }
    let done = run_events(store, 2, &mut dice, 0).unwrap_or_default();
    attempts.push(confirm(store, &done));
    // Beyond the end of a segment, and of the next.
    for number in first + 3..first + EVENTS_EACH - 1 {
        attempts.push(append(store, &witness::id(number, 15_000)));
    }
    let done = run_events(store, 8, &mut dice, 0).unwrap_or_default();
    attempts.push(confirm(store, &done));
    say("compacting store");
    attempts.push(store.compact().map(drop).map_err(|error| refused(&error)));
    say("compacted");
    attempts.push(append(store, &witness::id(first + EVENTS_EACH - 1, 300)));
    attempts.into_iter().collect()
}

/// Opens, appends, runs, rolls, compacts, closes, and does so again.
pub(crate) fn run(life: &Life) -> Result<(), Died> {
    for first in [life.first, life.first + 100] {
        say("opening store");
        let store = Store::open(&life.dir, options()).map_err(|error| refused(&error))?;
        say("opened");
        let lived = opened(life, &store, first);
        say("closing");
        let closed = store.close().map_err(|error| refused(&error));
        // A file whose sync failed is not synced again by this process.
        lived.and(closed)?;
    }
    Ok(())
}

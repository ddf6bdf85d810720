//! Which of an event's handlers have succeeded, so that a retry runs only the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::queue::Claim;

/// Most events of which it is known; of more, those that were received first are forgotten, and all their handlers run again.
const EVENTS_MAX: usize = 10_000;

/// The handlers that have succeeded, of events that have not. Cheap to clone: clones are the same ledger.
#[derive(Clone, Default)]
pub(super) struct Ledger {
    // A std lock: it is held for one look into the map, and never across an await.
    succeeded: Arc<Mutex<BTreeMap<u64, BTreeSet<Arc<str>>>>>,
}

impl Ledger {
    /// Whether this handler succeeded in an earlier run of the claimed event.
    pub(super) fn has_succeeded(&self, claim: &Claim, handler: &str) -> bool {
        self.lock().get(&claim.event().seq()).is_some_and(|handlers| handlers.contains(handler))
    }

    /// This handler of the claimed event has succeeded.
    pub(super) fn note_success(&self, claim: &Claim, handler: &Arc<str>) -> impl Future<Output = ()> + use<> {
        let mut succeeded = self.lock();
        succeeded.entry(claim.event().seq()).or_default().insert(Arc::clone(handler));
        if succeeded.len() > EVENTS_MAX {
            succeeded.pop_first();
        }
        std::future::ready(())
    }

    /// The claimed event will not be retried: if it ever runs again, all of its handlers do.
    pub(super) fn forget(&self, claim: &Claim) {
        self.lock().remove(&claim.event().seq());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, BTreeSet<Arc<str>>>> {
        self.succeeded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Work of which there is one at a time, and on which thread.
//!
//! Such work waits for commits, and a commit wakes tasks of others. One of those may close the store, and a close waits for such work: but
//! not for its own thread, whose work finds that the store is closed before it touches a file again.

use std::sync::{PoisonError, TryLockError};
use std::thread::ThreadId;

use crate::sync::{Mutex, MutexGuard};

/// Whoever does the work, if anybody does.
#[derive(Default)]
pub(crate) struct Alone {
    work: Mutex<()>,
    by: Mutex<Option<ThreadId>>,
}

/// Nobody else does the work while this is there.
pub(crate) struct AtWork<'a> {
    alone: &'a Alone,
    _work: MutexGuard<'a, ()>,
}

impl Alone {
    /// Waits for whoever does it; none if that is this thread.
    pub(super) fn begin(&self) -> Option<AtWork<'_>> {
        if self.is_here() {
            return None;
        }
        // Whatever broke off left nothing half done that others would build on.
        Some(self.begun(self.work.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// None while anybody does it.
    pub(super) fn try_begin(&self) -> Option<AtWork<'_>> {
        match self.work.try_lock() {
            Ok(work) => Some(self.begun(work)),
            Err(TryLockError::Poisoned(poisoned)) => Some(self.begun(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Waits until no other thread does it.
    pub(super) fn wait(&self) {
        drop(self.begin());
    }

    /// Whether this thread does it.
    pub(super) fn is_here(&self) -> bool {
        *self.by() == Some(std::thread::current().id())
    }

    fn begun<'a>(&'a self, work: MutexGuard<'a, ()>) -> AtWork<'a> {
        *self.by() = Some(std::thread::current().id());
        AtWork { alone: self, _work: work }
    }

    fn by(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        *self.alone.by() = None;
    }
}

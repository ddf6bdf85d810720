//! Writing what begins runs, at once and by whoever claims them: it need not be synced (R16), and waking another thread for it would take
//! longer than the write.
//!
//! ```text
//! nobody leads      take the tail, write, give it back
//! a leader syncs    write beside the sync, into the same segment; the leader goes on once that is done
//! a leader writes   wait for it: it wakes whoever waits for a write
//! ```
//!
//! So there may be one write beside one sync, and never two of either. What is written beside a sync is none of its business: it makes
//! durable what was written before it began, and the next one the rest.

#[cfg(feature = "manager")]
use std::future::Future;
#[cfg(feature = "manager")]
use std::pin::Pin;
use std::sync::Arc;
#[cfg(feature = "manager")]
use std::task::{Context, Poll};
use std::time::Duration;

use crate::env;
use crate::error::Error;
use crate::log::segment::Segment;
use crate::log::writer::{Group, Tail};
use crate::mutants::mutant;
use crate::store::commit::{Leader, Shared};
use crate::store::desk::{Desk, Level};
#[cfg(feature = "manager")]
use crate::store::relay::Lane;
use crate::sync::MutexGuard;

/// Longer writes are left to a leader: whoever must not block its thread has other things to do than this for some tens of microseconds.
const WRITE_BYTES_MAX: usize = 256 * 1024;

/// What goes on beside a sync.
#[derive(Default)]
pub(super) struct Beside {
    /// What is being synced.
    syncing: Option<Arc<Segment>>,
    /// Somebody writes there.
    writing: bool,
}

impl Desk {
    /// The leader is about to sync, without the lock: until [`Shared::end_beside`] somebody else may write.
    pub(super) fn begin_beside(&mut self, tail: &Tail) {
        self.beside.syncing = Some(Arc::clone(tail.segment()));
    }

    /// From here on nobody begins to write beside a sync.
    pub(super) fn end_sync(&mut self) {
        self.beside.syncing = None;
    }

    /// Whether somebody writes beside a sync, or has begun to when there was one.
    pub(super) const fn is_written_beside(&self) -> bool {
        self.beside.writing
    }
}

impl Shared {
    /// The leader has synced what was written up to `synced`: lets nobody begin to write any more, and waits for whoever has.
    pub(super) fn end_beside<'a>(
        &'a self,
        mut desk: MutexGuard<'a, Desk>,
        tail: &mut Tail,
        synced: u64,
    ) -> MutexGuard<'a, Desk> {
        desk.end_sync();
        while desk.is_written_beside() {
            desk = self.look_on(desk, Duration::MAX);
        }
        if desk.core.written() > synced && !mutant!("write-beside-a-sync-forgotten") {
            tail.note_write_beside();
        }
        desk
    }
}

impl Shared {
    /// Blocks until the record `seq` is with the operating system.
    pub(super) fn wait_written(&self, seq: u64) -> Result<(), Error> {
        if mutant!("claim-answered-before-its-record") {
            return Ok(());
        }
        let desk = self.write_at_once(self.desk());
        let outcome = desk.outcome(seq, Level::Written);
        drop(desk);
        outcome.unwrap_or_else(|| self.wait(seq, Level::Written))
    }

    /// Resolves once the record `seq` is with the operating system.
    #[cfg(feature = "manager")]
    pub(super) fn written(&self, seq: u64) -> Written<'_> {
        Written { shared: self, seq, lane: Lane::here() }
    }

    /// Writes what is staged by now, if that may be done at once.
    fn write_at_once<'a>(&'a self, mut desk: MutexGuard<'a, Desk>) -> MutexGuard<'a, Desk> {
        if desk.core.staged_bytes() > WRITE_BYTES_MAX || self.refuse_copy(&mut desk) {
            return desk;
        }
        if let Some(mut tail) = desk.tail.take() {
            let segment = Arc::clone(tail.segment());
            let write = || {
                desk = self.write_into(desk, &segment, |group| tail.write(group));
                desk.tail = Some(tail);
                desk
            };
            let desk = self.for_others(write, Desk::take_lead_back);
            return self.announce(desk, Leader::Caller);
        }
        let Some(segment) = desk.beside.syncing.clone().filter(|_| !desk.beside.writing) else { return desk };
        desk.beside.writing = true;
        let write = || self.write_into(desk, &segment, Group::write);
        desk = self.for_others(write, |desk| desk.beside.writing = false);
        desk.beside.writing = false;
        if desk.beside.syncing.is_none() {
            // The leader has come back meanwhile.
            self.progress.notify_all();
        }
        desk
    }

    /// Writes, group by group, what is staged for this segment by now.
    fn write_into<'a>(
        &'a self,
        mut desk: MutexGuard<'a, Desk>,
        segment: &Arc<Segment>,
        mut write: impl FnMut(&Group) -> Result<(), env::Error>,
    ) -> MutexGuard<'a, Desk> {
        let target = desk.core.last_seq();
        while desk.core.written() < target {
            let Some(group) = desk.core.take_in(segment) else { break };
            drop(desk);
            let written = write(&group);
            desk = self.desk();
            match written {
                Ok(()) => desk.core.wrote(group),
                Err(_) if mutant!("beside-write-forgiven") => desk.core.wrote(group),
                Err(error) => desk.core.poison_with(error.to_string()),
            }
        }
        desk
    }
}

/// See [`Shared::written`].
#[cfg(feature = "manager")]
pub(super) struct Written<'a> {
    shared: &'a Shared,
    seq: u64,
    lane: Lane,
}

#[cfg(feature = "manager")]
impl Future for Written<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (shared, seq) = (self.shared, self.seq);
        // Whoever was woken wakes the others.
        shared.relay.pass_on(self.lane);
        if mutant!("run-begins-before-its-record") {
            return Poll::Ready(Ok(()));
        }
        let mut desk = shared.desk();
        if let Some(outcome) = desk.outcome(seq, Level::Written) {
            return Poll::Ready(outcome);
        }
        desk = if shared.dir.is_in_memory() { shared.lead(desk, Leader::Caller) } else { shared.write_at_once(desk) };
        if let Some(outcome) = desk.outcome(seq, Level::Written) {
            return Poll::Ready(outcome);
        }
        self.lane = desk.leave_waker(seq, Level::Written, context.waker().clone());
        shared.wake_keeper(&mut desk);
        Poll::Pending
    }
}

#[cfg(all(test, feature = "manager"))]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::Ordering;
    use std::task::Waker;

    use super::*;
    use crate::error::ErrorKind;
    use crate::store::bell::Bell;
    use crate::store::options::StoreOptions;
    use crate::store::stories::{receive, store_with};

    fn is_written(shared: &Shared, seq: u64, waker: &Waker) -> bool {
        matches!(pin!(shared.written(seq)).poll(&mut Context::from_waker(waker)), Poll::Ready(Ok(())))
    }

    fn reached(shared: &Shared) -> (u64, u64) {
        let desk = shared.desk();
        (desk.core.written(), desk.core.durable())
    }

    /// Whoever is woken stages an event and has it written.
    struct Writes(Arc<Shared>);

    impl std::task::Wake for Writes {
        fn wake(self: Arc<Self>) {
            let seq = receive(&self.0, "b", 10).expect("there is room");
            assert!(is_written(&self.0, seq, Waker::noop()));
        }
    }

    #[test]
    fn a_sync_is_not_believed_to_cover_what_came_while_it_was_under_way() {
        // R1.
        let dir = tempfile::tempdir().unwrap();
        let shared = Arc::new(store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024)));
        let first = receive(&shared, "a", 10).unwrap();
        let writes = Waker::from(Arc::new(Writes(Arc::clone(&shared))));
        let _lane = shared.desk().leave_waker(first, Level::Written, writes);
        shared.wait(first, Level::Durable).unwrap();
        assert_eq!(reached(&shared), (first + 1, first));
    }

    #[test]
    fn what_begins_runs_is_written_by_whoever_waits_for_it_and_not_synced() {
        // R16.
        let dir = tempfile::tempdir().unwrap();
        let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        let seq = receive(&shared, "a", 10).unwrap();
        assert!(is_written(&shared, seq, Waker::noop()));
        assert_eq!(reached(&shared), (seq, 0));
        shared.wait(seq, Level::Durable).unwrap();
        assert_eq!(reached(&shared), (seq, seq));
    }

    #[test]
    fn a_claim_that_blocks_is_answered_once_its_record_is_written_and_not_synced() {
        // R16.
        let dir = tempfile::tempdir().unwrap();
        let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        let seq = receive(&shared, "a", 10).unwrap();
        shared.wait_written(seq).unwrap();
        assert_eq!(reached(&shared), (seq, 0));
    }

    #[test]
    fn a_write_of_what_begins_runs_that_fails_poisons() {
        // R2: there is no telling how much of it the file has.
        let dir = tempfile::tempdir().unwrap();
        let shared = store_with(dir.path(), false, StoreOptions::default().segment_bytes(64 * 1024));
        let seq = receive(&shared, "a", 10).unwrap();
        assert!(!is_written(&shared, seq, Waker::noop()));
        assert_eq!(shared.wait_written(seq).unwrap_err().kind(), ErrorKind::OutcomeUnknown);
        assert!(shared.stats().poisoned.is_some());
        assert_eq!(reached(&shared), (0, 0));
    }

    #[test]
    fn what_is_written_beside_a_sync_is_made_durable_by_the_next() {
        // R1: the sync that is under way may have missed it.
        let dir = tempfile::tempdir().unwrap();
        let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        let first = receive(&shared, "a", 10).unwrap();
        assert!(is_written(&shared, first, Waker::noop()));
        let mut tail = shared.desk().tail.take().unwrap();
        let bell = Arc::new(Bell::default());
        let second = receive(&shared, "b", 10).unwrap();
        assert!(!is_written(&shared, second, &Waker::from(Arc::clone(&bell))), "whoever leads may be writing");
        shared.desk().begin_beside(&tail);
        assert!(is_written(&shared, second, Waker::noop()));
        tail.sync().unwrap();
        let mut desk = shared.desk();
        desk.core.synced(first);
        desk = shared.end_beside(desk, &mut tail, first);
        assert!(tail.is_unsynced());
        desk.tail = Some(tail);
        drop(shared.announce(desk, Leader::Caller));
        assert_eq!((bell.0.load(Ordering::SeqCst), reached(&shared)), (1, (second, first)));
        shared.wait(second, Level::Durable).unwrap();
        let tail = shared.desk().tail.take().unwrap();
        assert!(!tail.is_unsynced(), "a sync has made it durable");
    }
}

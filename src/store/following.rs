//! Following the log without blocking a thread: whoever waits for the next durable record leaves a waker, and takes it back when it
//! waits no more.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::mutants::mutant;

/// What became of a record that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Followed {
    /// It is durable, and so is all up to this seq.
    Durable(u64),
    /// It will never be: the store was closed, or opened for reading.
    Never,
    /// The time is up, and it was not durable.
    NotYet,
}

/// Who waits for which seq, in the order of those, so that a commit looks only at those whom it has reached. Unlike those who wait for an
/// append, followers hurry nobody: the disk syncs as it would without them.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    waiting: BTreeMap<(u64, u64), Waker>,
    #[cfg(feature = "manager")]
    last: u64,
}

impl Followers {
    /// Has `waker` woken once `seq` is durable, or never will be; returns by what it is taken back beside `seq`, and the waker in whose
    /// place it is. That one is to be dropped without the lock: what it drops in its turn may call the store.
    #[cfg(feature = "manager")]
    #[must_use = "the other waker is dropped without the lock"]
    pub(super) fn leave(&mut self, number: Option<u64>, seq: u64, waker: Waker) -> (u64, Option<Waker>) {
        let number = number.unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        (number, self.waiting.insert((seq, number), waker))
    }

    /// Takes back a waker, to be dropped without the lock.
    #[cfg(feature = "manager")]
    #[must_use = "it is dropped without the lock"]
    pub(super) fn leave_off(&mut self, number: u64, seq: u64) -> Option<Waker> {
        self.waiting.remove(&(seq, number))
    }

    /// Takes the wakers of those who have what they wait for; of all, if nothing more will come.
    pub(super) fn satisfied(&mut self, durable: u64, ended: bool, wakers: &mut Vec<Waker>) {
        let seq_max = if ended { u64::MAX } else { durable };
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= seq_max
            && (ended || !mutant!("follower-not-woken"))
        {
            wakers.push(first.remove());
        }
    }
}

#[cfg(all(test, feature = "manager"))]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::task::{Context, Poll, Wake};

    use super::*;
    use crate::store::bell::Bell;
    use crate::store::commit::Shared;
    use crate::store::desk::Level;
    use crate::store::options::StoreOptions;
    use crate::store::stories::{receive, store_with};

    #[test]
    fn a_follower_is_woken_when_its_record_is_durable_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let mut context = Context::from_waker(&waker);
        let seq = shared.desk().core.last_seq() + 1;
        {
            let mut following = pin!(shared.follow_async(seq));
            for _ in 0..10 {
                assert!(following.as_mut().poll(&mut context).is_pending());
            }
            assert_eq!(shared.desk().followers.waiting.len(), 1, "asked again and again it waits once");
            let received = receive(&shared, "a", 10).unwrap();
            assert_eq!((received, bell.0.load(Ordering::SeqCst)), (seq, 0), "what is staged is nobody's");
            assert!(following.as_mut().poll(&mut context).is_pending(), "nor is it shown to whoever asks again");
            shared.wait(received, Level::Durable).unwrap();
            assert_eq!(bell.0.load(Ordering::SeqCst), 1);
            assert!(matches!(following.as_mut().poll(&mut context), Poll::Ready(Ok(Some(durable))) if durable >= seq));
        }
        {
            let mut never = pin!(shared.follow_async(u64::MAX));
            assert!(never.as_mut().poll(&mut context).is_pending());
        }
        assert!(shared.desk().followers.waiting.is_empty(), "who is gone waits no more");
    }

    /// A waker that looks at the store when it goes, as that of a task may whose future holds a handle.
    struct Looks(Arc<Shared>);

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            assert!(self.0.desk().core.poison().is_none());
        }
    }

    #[test]
    fn the_waker_of_a_follower_goes_without_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let shared = Arc::new(store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024)));
        let mut following = pin!(shared.follow_async(u64::MAX));
        // The last that is left of each is with the store: another takes its place, and in the end nobody follows.
        for _ in 0..2 {
            let waker = Waker::from(Arc::new(Looks(Arc::clone(&shared))));
            assert!(following.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
    }
}

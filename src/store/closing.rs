//! Closing a store: everything durable, the end marked, the space behind it given back, the lock released.

use std::sync::PoisonError;

use crate::error::{Error, ErrorKind};
use crate::event::entry::Mark;
use crate::mutants::mutant;
use crate::store::commit::Shared;
use crate::store::core::{Core, Refused};
use crate::store::desk::Level;
use crate::store::failure::of_env;

impl Shared {
    /// Ends the log in good order, and takes nothing more.
    pub(crate) fn close_log(&self) -> Result<(), Error> {
        let marked = self.mark_end();
        if marked.is_err() {
            self.desk().core.close();
        }
        self.wait(marked?, Level::Durable)?;
        self.trim()
    }

    /// Marks the end once all before it is durable: the head of the mark's group attests to that, so that no rot in it passes for a
    /// write that a crash tore (R8). Returns the seq to wait for.
    fn mark_end(&self) -> Result<u64, Error> {
        self.desk().core.end();
        // More than once where the mark needs a segment of its own, which begins with records.
        loop {
            let last_seq = self.desk().core.last_seq();
            if !mutant!("end-marked-before-durable") {
                self.wait(last_seq, Level::Durable)?;
            }
            let marked = self.step(|core: &mut Core, now| {
                if core.durable() < core.last_seq() && !mutant!("end-marked-before-durable") {
                    return Ok(None);
                }
                let seq = match core.mark(Mark::Close, now) {
                    // A full disk must not keep anybody from closing: all before the mark is durable all the same.
                    Err(Refused::Error(error)) if error.kind() == ErrorKind::Full => core.last_seq(),
                    marked => marked?,
                };
                core.close();
                Ok(Some(seq))
            })?;
            if let Some(seq) = marked {
                return Ok(seq);
            }
        }
    }

    /// Releases the directory: whoever locks it next must find nobody at work in it.
    pub(crate) fn release(&self) -> Result<(), Error> {
        drop(self.compacting.lock().unwrap_or_else(PoisonError::into_inner));
        self.wait_for_scrub();
        self.wait_for_leader();
        self.trim_prepared();
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        lock.map_or(Ok(()), |lock| lock.release().map_err(of_env))
    }
}

#[cfg(test)]
#[cfg(feature = "manager")]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use super::*;
    use crate::store::options::StoreOptions;
    use crate::store::stories::{receive, store_with};

    /// Keeps another event whenever one has become durable, while it may.
    struct GoesOn {
        shared: Shared,
        kept: AtomicUsize,
    }

    impl GoesOn {
        fn keep(self: &Arc<Self>, number: usize) {
            let Ok(seq) = receive(&self.shared, &number.to_string(), 10) else { return };
            let waker = Waker::from(Arc::clone(self));
            assert!(pin!(self.shared.reached(seq, Level::Durable)).poll(&mut Context::from_waker(&waker)).is_pending());
        }
    }

    impl Wake for GoesOn {
        fn wake(self: Arc<Self>) {
            let kept = self.kept.fetch_add(1, Ordering::SeqCst);
            if kept < 100 {
                self.keep(kept);
            }
        }
    }

    #[test]
    fn whoever_goes_on_as_soon_as_he_may_keeps_no_store_from_closing() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        let goes_on = Arc::new(GoesOn { shared, kept: AtomicUsize::new(1) });
        goes_on.keep(0);
        goes_on.shared.close_log().unwrap();
        assert_eq!(goes_on.kept.load(Ordering::SeqCst), 2, "what it had kept was durable, and nothing more was taken");
    }
}

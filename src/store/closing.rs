//! Closing a store: everything durable, the end marked, the space behind it given back, its threads ended, the lock released.
//!
//! Whoever is woken by that is somebody else's code, which may close the store too, or drop its last handle: on the thread that closes
//! it, or on one that is waited for. So no lock is held meanwhile, and no thread waits for itself.

use std::sync::PoisonError;
use std::thread::{JoinHandle, ThreadId};

use crate::error::{Error, ErrorKind};
use crate::event::entry::Mark;
use crate::mutants::mutant;
use crate::store::commit::Shared;
use crate::store::core::{Core, Refused};
use crate::store::desk::Level;
use crate::store::failure::of_env;
use crate::store::forked::not_ours;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// The end of a store, by whichever handle it comes.
pub(super) struct Ending {
    life: Mutex<Life>,
    is_over: Condvar,
}

/// What is to be ended when a store is closed.
enum Life {
    /// Its threads.
    Open(Vec<JoinHandle<()>>),
    /// It is being ended by one of these threads, which waits for the others.
    Closing(Vec<ThreadId>),
    /// Nothing: it was closed, or opened for reading. What closing could not do is told whoever closes it again, too.
    Over(Told),
}

type Told = Option<(ErrorKind, String)>;

impl Ending {
    /// Of a store with these threads, or of one that needs no end.
    pub(super) fn new(threads: Option<Vec<JoinHandle<()>>>) -> Self {
        Self { life: Mutex::new(threads.map_or(Life::Over(None), Life::Open)), is_over: Condvar::new() }
    }

    /// One more thread that is to end.
    pub(super) fn await_too(&self, thread: JoinHandle<()>) {
        if let Life::Open(threads) = &mut *self.life() {
            threads.push(thread);
        }
    }

    /// Whether nobody has closed the store, and somebody must.
    pub(super) fn is_to_come(&self) -> bool {
        matches!(*self.life(), Life::Open(_))
    }

    /// Closes the store, or waits until somebody has.
    pub(super) fn close(&self, shared: &Shared) -> Result<(), Error> {
        if shared.is_copy() {
            return Err(not_ours());
        }
        let here = std::thread::current().id();
        let mut life = self.life();
        // Whoever closes it waits for this thread if it is one of the store's, or does what there is one of at a time.
        let is_awaited = shared.compacting.is_here() || shared.scrubbing.is_here();
        while matches!(&*life, Life::Closing(awaited) if !is_awaited && !awaited.contains(&here)) {
            life = self.is_over.wait(life).unwrap_or_else(PoisonError::into_inner);
        }
        let threads = match &mut *life {
            Life::Open(threads) => std::mem::take(threads),
            Life::Closing(_) => {
                let text = "the store is being closed by whoever waits for this thread, and is told what comes of it";
                return Err(Error::new(ErrorKind::OutcomeUnknown, text));
            }
            Life::Over(told) => return told.clone().map_or(Ok(()), |(kind, text)| Err(Error::new(kind, text))),
        };
        *life = Life::Closing(threads.iter().map(|thread| thread.thread().id()).chain([here]).collect());
        drop(life);
        // What a panic leaves: nobody closes it twice.
        let broken = Some((ErrorKind::OutcomeUnknown, "the closing of the store broke off".to_owned()));
        let mut closing = Closing { ending: self, told: broken };
        let closed = shared.close_log();
        shared.stop();
        // One that closes the store goes on as soon as it has done so: it finds that it is to end, and touches no file before.
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != here) {
            drop(thread.join());
        }
        let closed = closed.and(shared.release());
        closing.told = closed.as_ref().err().map(|error| (error.kind(), error.to_string()));
        closed
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store that is being closed. When this is dropped, it is: whoever waits for that is told.
struct Closing<'a> {
    ending: &'a Ending,
    told: Told,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        *self.ending.life() = Life::Over(self.told.take());
        self.ending.is_over.notify_all();
    }
}

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
            if !mutant!("end-marked-before-durable") {
                self.wait_for_all()?;
            }
            let marked = self.step(|core: &mut Core, now| {
                if core.durable() < core.last_seq() && !mutant!("end-marked-before-durable") {
                    return Ok(None);
                }
                let seq = match core.mark(Mark::Close, now) {
                    // That there is no segment for it must not keep anybody from closing: all before it is durable all the same.
                    Err(Refused::Error(error)) if lacks_segment(core, error.kind()) => core.last_seq(),
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
        self.compacting.wait();
        self.scrubbing.wait();
        self.wait_for_leader();
        self.trim_prepared();
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        lock.map_or(Ok(()), |lock| lock.release().map_err(of_env))
    }
}

/// Whether something was refused because the next segment cannot be prepared.
fn lacks_segment(core: &Core, kind: ErrorKind) -> bool {
    core.no_room().is_some_and(|error| error.kind() == kind)
}

#[cfg(test)]
#[cfg(feature = "manager")]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Sender, channel};
    use std::task::{Context, Wake, Waker};
    use std::time::Duration;

    use super::*;
    use crate::event::Outcome;
    use crate::store::answers::Recovery;
    use crate::store::handle::Store;
    use crate::store::ids::Ids;
    use crate::store::options::StoreOptions;
    use crate::store::stories::{receive, store_with};

    /// So long nothing that this waits for takes.
    const AT_MOST: Duration = Duration::from_secs(10);

    /// Closes a store when it is woken, or only drops its handle; and says what it was told, and that it was, on which thread.
    struct Closes {
        store: Mutex<Option<Store>>,
        drops: bool,
        told: Mutex<Sender<(Option<ErrorKind>, ThreadId)>>,
    }

    impl Wake for Closes {
        fn wake(self: Arc<Self>) {
            let store = self.store.lock().unwrap().take().expect("it is woken once");
            let closed = if self.drops { Ok(()) } else { store.close() };
            drop(store);
            let told = (closed.err().map(|error| error.kind()), std::thread::current().id());
            self.told.lock().unwrap().send(told).unwrap();
        }
    }

    fn one_that_closes(store: Store, drops: bool, told: Sender<(Option<ErrorKind>, ThreadId)>) -> Waker {
        let (store, told) = (Mutex::new(Some(store)), Mutex::new(told));
        Waker::from(Arc::new(Closes { store, drops, told }))
    }

    #[test]
    fn whoever_is_woken_by_a_close_may_close_the_store_too() {
        let dir = tempfile::tempdir().unwrap();
        let shared = Arc::new(store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024)));
        // Without a keeper it is the close that wakes.
        let store = Store::of(Arc::clone(&shared), Recovery::default(), Ids::new([2; 16]), Some(Vec::new()));
        let seq = receive(&shared, "a", 10).unwrap();
        let (sender, told) = channel();
        shared.desk().leave_waker(seq, Level::Durable, one_that_closes(store.clone(), false, sender));
        let closing = std::thread::spawn(move || {
            store.close().unwrap();
            store.close().unwrap();
        });
        let (kind, thread) = told.recv_timeout(AT_MOST).expect("it waits for nobody");
        assert_eq!((kind, thread), (Some(ErrorKind::OutcomeUnknown), closing.thread().id()));
        closing.join().unwrap();
    }

    #[test]
    fn the_last_handle_may_go_on_a_thread_of_the_store() {
        for drops in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let shared = Arc::new(store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024)));
            let keeper = Arc::clone(&shared);
            let keeper = std::thread::spawn(move || keeper.keep(&mut []));
            let keepers = keeper.thread().id();
            let store = Store::of(Arc::clone(&shared), Recovery::default(), Ids::new([2; 16]), Some(vec![keeper]));
            let (sender, told) = channel();
            let waker = one_that_closes(store, drops, sender);
            let seq = receive(&shared, "a", 10).unwrap();
            let mut desk = shared.desk();
            desk.leave_waker(seq, Level::Durable, waker);
            shared.wake_keeper(&mut desk);
            drop(desk);
            assert_eq!(told.recv_timeout(AT_MOST).expect("the keeper does not wait for itself"), (None, keepers));
            assert!(shared.desk().core.is_closed() && shared.desk().core.durable() > seq, "the end is marked");
            while Arc::strong_count(&shared) > 1 {
                std::thread::yield_now(); // The keeper ends.
            }
        }
    }

    #[test]
    fn whoever_is_woken_by_a_compaction_may_close_the_store() {
        for drops in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let age = Duration::from_millis(1);
            let options = StoreOptions::default().segment_bytes(64 * 1024).max_event_age(age);
            let shared = Arc::new(store_with(dir.path(), true, options));
            let store = Store::of(Arc::clone(&shared), Recovery::default(), Ids::new([2; 16]), Some(Vec::new()));
            shared.wait(receive(&shared, "finished", 10).unwrap(), Level::Durable).unwrap();
            for claim in store.claim(1).unwrap() {
                store.settle(&claim, Outcome::Done).unwrap();
            }
            std::thread::sleep(2 * age);
            let seq = receive(&shared, "a", 10).unwrap();
            let (sender, told) = channel();
            shared.desk().leave_waker(seq, Level::Durable, one_that_closes(store, drops, sender));
            let compacting = std::thread::spawn(move || shared.compact());
            let told = told.recv_timeout(AT_MOST).expect("the compaction does not wait for itself");
            assert_eq!(told, (None, compacting.thread().id()));
            assert_eq!(compacting.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        }
    }

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

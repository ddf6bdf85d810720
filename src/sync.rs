//! What threads meet at: locks, conditions, numbers that they share or sleep on.
//!
//! They are the machine's, under other names: so that there is one place to put others in, which a model checker knows.

pub(crate) use machines::{
    AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Word, spin_loop, thread_local, yield_now,
};

mod machines {
    pub(crate) use std::hint::spin_loop;
    use std::sync::atomic::{AtomicU32, Ordering};
    pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize};
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::thread::yield_now;
    pub(crate) use std::thread_local;

    /// A number that threads sleep on until it changes.
    #[derive(Debug, Default)]
    pub(crate) struct Word(AtomicU32);

    impl Word {
        pub(crate) fn load(&self, ordering: Ordering) -> u32 {
            self.0.load(ordering)
        }

        /// Has whoever is about to sleep stay awake; who sleeps already is to be woken. What was done before is seen by whoever sees this.
        pub(crate) fn change(&self) {
            self.0.fetch_add(1, Ordering::Release);
        }

        /// Sleeps until somebody is woken here, unless the number is no longer what was `seen`. It may also wake for no reason.
        pub(crate) fn sleep(&self, seen: u32) {
            atomic_wait::wait(&self.0, seen);
        }

        pub(crate) fn wake_one(&self) {
            atomic_wait::wake_one(&raw const self.0);
        }

        pub(crate) fn wake_all(&self) {
            atomic_wait::wake_all(&raw const self.0);
        }
    }
}

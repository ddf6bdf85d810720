//! What threads meet at: locks, conditions, numbers that they share or sleep on.
//!
//! In every build but two these are the machine's, under other names. Tests that are built with `--cfg loom` or `--cfg shuttle` get a
//! model checker's instead: it runs the threads itself, one at a time, and at each use of these decides which goes on. Loom tries every
//! order with so many preemptions, and every value that a read may find; shuttle tries a great many orders by chance. What they check
//! is thereby the code that runs everywhere else, and no copy of it.
//!
//! Whatever a thread holds or waits for while others go on must come from here, or a checker stands still without knowing why. What is
//! held for a look or a note, as the simulated disk's lock is, may be std's: in a model nobody ever finds it taken. So may a thread that
//! does a part of one step and meets nobody but who waits for it.
//!
//! In a model no wait ends because time has passed: whoever counts on that is found by it. And a model is less than a machine: loom wakes
//! those who sleep on a condition in the order in which they came, never another one of them, and nobody for no reason; shuttle takes
//! every access to a number as sequentially consistent, so an ordering that is too weak is for loom alone to find. Neither sees std's
//! own locks, such as that around the open files, nor what `Arc` counts.

#[cfg(test)]
pub(crate) use chosen::thread;
pub(crate) use chosen::{AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Word, spin_loop, thread_local, yield_now};
#[cfg(all(test, loom))]
use looms as chosen;
#[cfg(not(all(test, any(loom, shuttle))))]
use machines as chosen;
#[cfg(all(test, shuttle))]
use shuttles as chosen;

#[cfg(not(all(test, any(loom, shuttle))))]
mod machines {
    pub(crate) use std::hint::spin_loop;
    use std::sync::atomic::{AtomicU32, Ordering};
    pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize};
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
    #[cfg(test)]
    pub(crate) use std::thread;
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

#[cfg(all(test, loom))]
mod looms {
    use std::time::Duration;

    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
    use loom::sync::{LockResult, WaitTimeoutResult};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
    pub(crate) use loom::thread;
    pub(crate) use loom::thread::yield_now;
    pub(crate) use loom::thread_local;

    pub(crate) use super::word::Word;

    /// Loom's, and what it lacks.
    #[derive(Debug)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
            self.0.wait(guard)
        }

        pub(crate) fn wait_timeout<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            wait: Duration,
        ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
            self.0.wait_timeout(guard, wait)
        }

        pub(crate) fn wait_timeout_while<'a, T>(
            &self,
            mut guard: MutexGuard<'a, T>,
            _: Duration,
            mut condition: impl FnMut(&mut T) -> bool,
        ) -> LockResult<(MutexGuard<'a, T>, ())> {
            while condition(&mut guard) {
                guard = self.wait(guard).expect("loom poisons no lock");
            }
            Ok((guard, ()))
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    impl Default for Condvar {
        fn default() -> Self {
            Self::new()
        }
    }
}

#[cfg(all(test, shuttle))]
mod shuttles {
    pub(crate) use shuttle::hint::spin_loop;
    pub(crate) use shuttle::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use shuttle::thread;
    pub(crate) use shuttle::thread::yield_now;
    pub(crate) use shuttle::thread_local;

    pub(crate) use super::word::Word;
}

/// What the machine's kernel does for a number that threads sleep on, made of what the checkers know.
#[cfg(all(test, any(loom, shuttle)))]
mod word {
    use std::sync::atomic::Ordering;

    #[cfg(loom)]
    use super::looms::{AtomicU32, Condvar, Mutex};
    #[cfg(shuttle)]
    use super::shuttles::{AtomicU32, Condvar, Mutex};

    #[derive(Debug, Default)]
    pub(crate) struct Word {
        value: AtomicU32,
        /// Held by whoever goes to sleep, from its last look on, and by whoever wakes: as the kernel's queue of sleepers.
        queue: Mutex<()>,
        woken: Condvar,
    }

    impl Word {
        pub(crate) fn load(&self, ordering: Ordering) -> u32 {
            self.value.load(ordering)
        }

        pub(crate) fn change(&self) {
            self.value.fetch_add(1, Ordering::Release);
        }

        pub(crate) fn sleep(&self, seen: u32) {
            let queue = self.queue.lock().expect("nobody panics there");
            if self.value.load(Ordering::Relaxed) == seen {
                drop(self.woken.wait(queue));
            }
        }

        pub(crate) fn wake_one(&self) {
            let _queue = self.queue.lock().expect("nobody panics there");
            self.woken.notify_one();
        }

        pub(crate) fn wake_all(&self) {
            let _queue = self.queue.lock().expect("nobody panics there");
            self.woken.notify_all();
        }
    }
}

//! Two parts of one piece of work, done at the same time.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};

/// With fewer things to go through, a thread would cost more than it saves.
pub(super) const LEN_MIN: usize = if cfg!(test) { 64 } else { 16 * 1_024 };

/// Does both, at the same time if they go through `len` things that are worth a thread. What they come to does not depend on that.
pub(crate) fn both<A: Send, B>(len: usize, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B) -> (A, B) {
    if len < LEN_MIN {
        return (a(), b());
    }
    with_thread(Builder::new().name("ledgerline-arrange".to_owned()), a, b)
}

fn with_thread<A: Send, B>(builder: Builder, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B) -> (A, B) {
    // A thread that cannot be had leaves its part for this one.
    let part = Mutex::new(Some(a));
    let take = || part.lock().unwrap_or_else(PoisonError::into_inner).take();
    scope(|scope| {
        let other = builder.spawn_scoped(scope, || take().map(|a| a()));
        let b = b();
        let done = other.ok().and_then(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        let a = done.or_else(|| take().map(|a| a())).expect("one of them took it");
        (a, b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done_whether_at_the_same_time_or_not() {
        for len in [0, LEN_MIN - 1, LEN_MIN, usize::MAX] {
            let (here, mut count) = (std::thread::current().id(), 0);
            let (other, ()) = both(len, || std::thread::current().id(), || count += 1);
            assert_eq!((other != here, count), (len >= LEN_MIN, 1), "{len}");
        }
    }

    #[test]
    fn without_a_thread_both_are_done_by_the_caller() {
        let too_large = Builder::new().stack_size(1 << 60);
        let here = std::thread::current().id();
        assert_eq!(with_thread(too_large, || std::thread::current().id(), || 1), (here, 1));
    }

    #[test]
    fn a_panic_of_either_is_one_of_the_caller() {
        for len in [0, LEN_MIN] {
            let caught = std::panic::catch_unwind(|| both(len, || panic!("a"), || ()));
            assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"a"), "{len}");
            let caught = std::panic::catch_unwind(|| both(len, || (), || panic!("b")));
            assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"b"), "{len}");
        }
    }
}

//! Telling a test what goes on at the disk while it goes on: between the beginning of a call and its end others may do what they like.

use std::io;
#[cfg(test)]
use std::sync::{Arc, OnceLock};

/// What is asked of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// These bytes are to be written.
    Write {
        offset: u64,
        end: u64,
    },
    Sync,
}

/// How far it is.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Begins,
    Done,
    Failed,
}

/// Who is told, if anybody is.
#[derive(Clone, Default)]
pub(super) struct Watcher(#[cfg(test)] Arc<OnceLock<Box<Watch>>>);

#[cfg(test)]
type Watch = dyn Fn(&str, Call, Progress) + Send + Sync;

impl Watcher {
    #[cfg(test)]
    pub(super) fn set(&self, watch: impl Fn(&str, Call, Progress) + Send + Sync + 'static) {
        assert!(self.0.set(Box::new(watch)).is_ok(), "one watches");
    }

    #[cfg(test)]
    pub(super) fn around<T>(&self, name: &str, call: Call, call_disk: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(watch) = self.0.get() else { return call_disk() };
        watch(name, call, Progress::Begins);
        let done = call_disk();
        watch(name, call, if done.is_ok() { Progress::Done } else { Progress::Failed });
        done
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "nobody watches but tests")]
    pub(super) fn around<T>(&self, _: &str, _: Call, call_disk: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        call_disk()
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

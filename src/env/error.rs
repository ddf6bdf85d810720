//! A system call that failed, with what it was meant to do.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The operating system refused `operation` on `path`.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub(crate) struct Error {
    pub(crate) operation: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl Error {
    pub(crate) fn new(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self { operation, path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether memory or file descriptors were missing, which tells nothing about the file.
    pub(crate) fn is_for_want_of_means(&self) -> bool {
        is_for_want_of_means(&self.source)
    }

    /// Whether space, and nothing worse, was missing.
    pub(crate) fn is_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

/// Whether memory or file descriptors were missing.
pub(crate) fn is_for_want_of_means(error: &io::Error) -> bool {
    let missing = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| missing.contains(&error))
}

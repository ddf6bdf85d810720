//! The lock of a file, held by one process.

use crate::env::{Error, File};

/// A file whose lock is held, and given up when this is dropped.
///
/// Closing the file would do so too, but only once nobody has a copy of it, and a process that another thread is just starting has one
/// for a moment: whoever opens a store again would now and then find it held by nobody.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Of a file whose lock was taken.
    pub(crate) const fn held(file: File) -> Self {
        Self(file)
    }

    /// The file.
    pub(crate) const fn file(&self) -> &File {
        &self.0
    }

    /// Gives the lock up, and says whether that worked.
    pub(crate) fn release(&self) -> Result<(), Error> {
        self.0.unlock()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Where that fails, closing the file is all that is left.
        drop(self.release());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Dir;

    #[test]
    fn a_lock_ends_though_somebody_has_a_copy_of_its_file() {
        // R12.
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open(place.path()).unwrap();
        let file = dir.open_or_create_file("LOCK").unwrap();
        assert!(file.try_lock().unwrap());
        let copy = file.copy();
        let lock = Lock::held(file);
        let other = dir.open_or_create_file("LOCK").unwrap();
        assert!(!other.try_lock().unwrap());
        drop(lock);
        assert!(other.try_lock().unwrap());
        drop(copy);
    }
}

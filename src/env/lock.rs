//! The lock of a directory, held by one process.

use crate::env::chance::process_id;
use crate::env::{Dir, Error, File};

/// A file whose lock is held, and given up when this is dropped; and with it that of its directory, where the system locks directories:
/// whoever takes the file for a leftover, and removes it, lets nobody else in.
///
/// Closing them would do so too, but only once nobody has a copy of either, and a process that another thread is just starting has one
/// for a moment: whoever opens a store again would now and then find it held by nobody.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    dir: Option<std::fs::File>,
    /// The process that took it. A copy of that, as `fork` makes one, has the same open files, and would give up the lock of both.
    holder: u32,
}

impl Lock {
    /// Takes the locks of `dir` and of `file`, which lies in it, without waiting. Where another open file has either, it is the file alone.
    pub(crate) fn take(dir: &Dir, file: File) -> Result<Result<Self, File>, Error> {
        if !file.try_lock()? {
            return Ok(Err(file));
        }
        if !dir.try_lock() {
            file.unlock()?;
            return Ok(Err(file));
        }
        Ok(Ok(Self { file, dir: dir.copy()?, holder: process_id() }))
    }

    /// Whether anybody holds the locks of `dir` or of `file`, which lies in it, if it is there. Both are open files of the asker's own.
    pub(crate) fn is_held(dir: &Dir, file: Option<&File>) -> Result<bool, Error> {
        Ok(file.map_or(Ok(false), File::is_locked)? || dir.is_locked())
    }

    /// Of a file whose lock nobody took.
    pub(crate) fn pretended(file: File) -> Self {
        Self { file, dir: None, holder: process_id() }
    }

    /// The file.
    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Gives the lock up, unless another process holds it, and says whether that worked.
    pub(crate) fn release(&self) -> Result<(), Error> {
        if process_id() != self.holder {
            return Ok(());
        }
        if let Some(dir) = &self.dir {
            // The file's is what others ask first.
            drop(dir.unlock());
        }
        self.file.unlock()
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

    fn file(dir: &Dir) -> File {
        dir.open_or_create_file("LOCK").unwrap()
    }

    #[test]
    fn a_lock_ends_though_somebody_has_a_copy_of_its_file() {
        // R12.
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open(place.path()).unwrap();
        let first = file(&dir);
        let copy = first.copy();
        let lock = Lock::take(&dir, first).unwrap().unwrap();
        let other = Dir::open(place.path()).unwrap();
        let is_held = || Lock::is_held(&Dir::open(place.path()).unwrap(), Some(&file(&other))).unwrap();
        assert!(Lock::take(&other, file(&other)).unwrap().is_err() && is_held());
        drop(lock);
        assert!(!is_held());
        assert!(Lock::take(&other, file(&other)).unwrap().is_ok());
        drop(copy);
    }

    #[test]
    fn a_copy_of_the_process_leaves_the_lock_to_the_one_that_took_it() {
        // R12.
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open(place.path()).unwrap();
        let taken = Lock::take(&dir, file(&dir)).unwrap().unwrap();
        drop(Lock { file: file(&dir), dir: dir.copy().unwrap(), holder: taken.holder + 1 });
        assert!(Lock::is_held(&Dir::open(place.path()).unwrap(), None).unwrap());
        drop(taken);
    }

    #[test]
    fn whoever_removes_the_file_of_a_lock_lets_nobody_in() {
        // R12.
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open(place.path()).unwrap();
        let lock = Lock::take(&dir, file(&dir)).unwrap().unwrap();
        dir.remove("LOCK").unwrap();
        let other = Dir::open(place.path()).unwrap();
        assert!(Lock::is_held(&other, None).unwrap());
        assert!(Lock::take(&other, file(&other)).unwrap().is_err());
        drop(lock);
        assert!(Lock::take(&other, file(&other)).unwrap().is_ok());
    }
}

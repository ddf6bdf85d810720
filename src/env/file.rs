//! One open file.

use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::env::Error;
use crate::env::simulated;

/// One open file. Reads and writes name their offset, so a shared handle needs no lock.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    handle: Handle,
}

#[derive(Debug)]
pub(super) enum Handle {
    System(std::fs::File),
    Simulated(simulated::FileHandle),
}

impl File {
    pub(super) fn new(path: PathBuf, file: std::fs::File) -> Self {
        Self { path, handle: Handle::System(file) }
    }

    /// A file of a simulated disk, known by `path`.
    pub(super) fn simulated(path: PathBuf, file: simulated::FileHandle) -> Self {
        Self { path, handle: Handle::Simulated(file) }
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The same file, known by the name it was given meanwhile, in the same directory.
    pub(crate) fn renamed(mut self, name: &str) -> Self {
        self.path.set_file_name(name);
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> Result<u64, Error> {
        let measured = match &self.handle {
            Handle::System(file) => measures(file).map(|measures| measures.length),
            Handle::Simulated(file) => file.len(),
        };
        measured.map_err(|source| self.error("measure", source))
    }

    /// Reads into `buffer` from `offset` until it is full or the file ends; returns how many bytes were read.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            let count = match &self.handle {
                Handle::System(file) => file.read_at(rest, offset + read as u64),
                Handle::Simulated(file) => file.read_at(rest, offset + read as u64),
            };
            match count {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.error("read", source)),
            }
        }
        Ok(read)
    }

    /// The whole of a small file, or of a pipe, that a person named, whatever links lead to it. Longer than `bytes_max` is an error.
    #[cfg(feature = "service")]
    #[expect(clippy::disallowed_methods, reason = "what a person names need not lie in a directory of ours")]
    pub(crate) fn read_named(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let file = std::fs::File::open(path).map_err(|source| Error::new("open", path, source))?;
        Self::new(path.to_owned(), file).read_whole(bytes_max)
    }

    /// All of it, from where it was opened on. Longer than `bytes_max` is an error.
    pub(super) fn read_whole(&self, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let bytes = self.read_to_end(bytes_max + 1)?;
        if bytes.len() as u64 > bytes_max {
            let source = io::Error::new(io::ErrorKind::InvalidData, format!("longer than {bytes_max} bytes"));
            return Err(self.error("read", source));
        }
        Ok(bytes)
    }

    /// The file from where it was opened on, but at most `bytes_max` bytes of it. Pipes can be read so, too.
    pub(super) fn read_to_end(&self, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        match &self.handle {
            Handle::System(file) => {
                file.take(bytes_max).read_to_end(&mut bytes).map_err(|source| self.error("read", source))?;
            }
            Handle::Simulated(file) => {
                let length = file.len().map_err(|source| self.error("read", source))?.min(bytes_max);
                bytes.resize(usize::try_from(length).expect("it is in memory"), 0);
                self.read_at(&mut bytes, 0)?;
            }
        }
        Ok(bytes)
    }

    /// Writes all of `bytes` at `offset`; interruptions and short writes are continued. Not durable before [`File::sync_data`].
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        let done = match &self.handle {
            Handle::System(file) => file.write_all_at(bytes, offset),
            Handle::Simulated(file) => file.write_all_at(bytes, offset),
        };
        done.map_err(|source| self.error("write", source))
    }

    /// Makes written bytes, and the length that is needed to read them, durable. After a failure nothing is known about them, and
    /// calling it again proves nothing (R2).
    pub(crate) fn sync_data(&self) -> Result<(), Error> {
        let done = match &self.handle {
            Handle::System(file) => file.sync_data(),
            Handle::Simulated(file) => file.sync(),
        };
        done.map_err(|source| self.error("sync", source))
    }

    /// As [`File::sync_data`], with all of the file's attributes.
    pub(crate) fn sync_all(&self) -> Result<(), Error> {
        let done = match &self.handle {
            Handle::System(file) => file.sync_all(),
            Handle::Simulated(file) => file.sync(),
        };
        done.map_err(|source| self.error("sync", source))
    }

    pub(crate) fn truncate(&self, len: u64) -> Result<(), Error> {
        let done = match &self.handle {
            Handle::System(file) => file.set_len(len),
            Handle::Simulated(file) => file.truncate(len),
        };
        done.map_err(|source| self.error("truncate", source))
    }

    /// Reserves space up to `len`, so that a full disk shows itself here and not in the middle of a promise (R10). File systems that
    /// cannot reserve leave the file growing.
    #[cfg(target_os = "linux")]
    pub(crate) fn reserve(&self, len: u64) -> Result<(), Error> {
        if len == 0 {
            return Ok(());
        }
        let done = match &self.handle {
            Handle::System(file) => loop {
                match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
                    Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => break Ok(()),
                    // Some file systems give up for any signal.
                    Err(rustix::io::Errno::INTR) => {}
                    Err(source) => break Err(source.into()),
                }
            },
            Handle::Simulated(file) => file.reserve(len),
        };
        done.map_err(|source| self.error("reserve space for", source))
    }

    /// As on Linux, where the system offers it; elsewhere the file grows.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn reserve(&self, _len: u64) -> Result<(), Error> {
        Ok(())
    }

    /// Drops the file's clean pages from the cache, so that the next read sees what the disk holds: after a failed sync the cache
    /// still serves bytes that were lost (R3).
    #[cfg(target_os = "linux")]
    pub(crate) fn drop_cache(&self) -> Result<(), Error> {
        let done = match &self.handle {
            Handle::System(file) => {
                rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).map_err(io::Error::from)
            }
            Handle::Simulated(file) => file.drop_cache(),
        };
        done.map_err(|source| self.error("drop the cached pages of", source))
    }

    /// Only Linux serves lost bytes from its cache.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn drop_cache(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Takes the exclusive lock, without waiting: false if another open file has it. It ends with the process whatever happens to it;
    /// to end it before, see [`Lock`](crate::env::Lock).
    pub(crate) fn try_lock(&self) -> Result<bool, Error> {
        let locked = match &self.handle {
            Handle::System(file) => match file.try_lock() {
                Ok(()) => Ok(true),
                Err(std::fs::TryLockError::WouldBlock) => Ok(false),
                Err(std::fs::TryLockError::Error(source)) => Err(source),
            },
            Handle::Simulated(file) => file.try_lock(),
        };
        locked.map_err(|source| self.error("lock", source))
    }

    /// Whether another open file has the lock. Whoever asks has a shared one for a moment, and must not be the one that holds it.
    pub(super) fn is_locked(&self) -> Result<bool, Error> {
        let is_locked = match &self.handle {
            Handle::System(file) => match file.try_lock_shared() {
                Ok(()) => file.unlock().map(|()| false),
                Err(std::fs::TryLockError::WouldBlock) => Ok(true),
                Err(std::fs::TryLockError::Error(source)) => Err(source),
            },
            Handle::Simulated(file) => file.try_lock().inspect(|_| file.unlock()).map(|is_free| !is_free),
        };
        is_locked.map_err(|source| self.error("look at the lock of", source))
    }

    /// The same open file once more, as a process has it that is being started.
    #[cfg(test)]
    pub(super) fn copy(&self) -> Option<std::fs::File> {
        match &self.handle {
            Handle::System(file) => file.try_clone().ok(),
            Handle::Simulated(_) => None,
        }
    }

    pub(super) fn unlock(&self) -> Result<(), Error> {
        match &self.handle {
            Handle::System(file) => file.unlock().map_err(|source| self.error("unlock", source)),
            Handle::Simulated(file) => {
                file.unlock();
                Ok(())
            }
        }
    }

    /// Whether the file still has a name, as far as the system tells: one that has none ends with the process.
    pub(crate) fn has_name(&self) -> bool {
        match &self.handle {
            Handle::System(file) => measures(file).map_or(true, |measures| measures.name_count > 0),
            Handle::Simulated(_) => true,
        }
    }

    /// Whether this open file and the one that `path` names now are the same inode: a lock on a removed file locks nothing.
    pub(crate) fn is_still_at_its_path(&self) -> Result<bool, Error> {
        let same = match &self.handle {
            Handle::System(file) => is_at(file, &self.path),
            Handle::Simulated(file) => file.is_named(&self.path.file_name().unwrap_or_default().to_string_lossy()),
        };
        same.map_err(|source| self.error("look at", source))
    }

    /// Somebody has removed it.
    pub(crate) fn removed(&self) -> Error {
        self.error("go on in", io::Error::new(io::ErrorKind::NotFound, "somebody removed the file"))
    }

    fn error(&self, operation: &'static str, source: io::Error) -> Error {
        Error::new(operation, &self.path, source)
    }
}

/// Length and names of a file. Nothing else is asked for: where somebody has asked when a file was changed, Linux (6.13 and newer) notes the
/// time of its next write anew, and whoever syncs after each write pays for that.
struct Measures {
    length: u64,
    name_count: u64,
}

#[cfg(target_os = "linux")]
fn measures(file: &std::fs::File) -> io::Result<Measures> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let known = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::SIZE | StatxFlags::NLINK)?;
    Ok(Measures { length: known.stx_size, name_count: known.stx_nlink.into() })
}

#[cfg(not(target_os = "linux"))]
fn measures(file: &std::fs::File) -> io::Result<Measures> {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().map(|known| Measures { length: known.len(), name_count: known.nlink() })
}

fn is_at(file: &std::fs::File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let mine = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((mine.dev(), mine.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(source),
    }
}

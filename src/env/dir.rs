//! One directory, and the ways in which names in it change.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::env::{Error, File};

/// One directory. A name that was created, replaced or removed is durable only after [`Dir::sync`].
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
    handle: std::fs::File,
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that touches names of files")]
impl Dir {
    /// Opens a directory that is there.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let handle = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(flags(rustix::fs::OFlags::DIRECTORY))
            .open(path)
            .map_err(|source| Error::new("open directory", path, source))?;
        Ok(Self { path: path.to_owned(), handle })
    }

    /// Opens a directory, creating it (0700) and the parents it lacks; created names are durable when this returns.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        match Self::open(path) {
            Err(error) if error.is_not_found() => {}
            opened => return opened,
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => Self::create(parent)?,
            _ => Self::open(Path::new("."))?,
        };
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => parent.sync()?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Error::new("create directory", path, source)),
        }
        Self::open(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory `name` within this one, created if need be.
    pub(crate) fn create_dir(&self, name: &str) -> Result<Self, Error> {
        Self::create(&self.path.join(name))
    }

    /// Makes the names in this directory durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.handle.sync_all().map_err(|source| Error::new("sync directory", &self.path, source))
    }

    /// The names of all entries that are valid UTF-8, sorted.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let error = |source| Error::new("list directory", &self.path, source);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(error)? {
            if let Ok(name) = entry.map_err(error)?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        std::fs::symlink_metadata(self.path.join(name)).is_ok()
    }

    /// Creates a file that must not be there yet (R4).
    pub(crate) fn create_file(&self, name: &str) -> Result<File, Error> {
        let path = self.path.join(name);
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(flags(rustix::fs::OFlags::NOFOLLOW))
            .open(&path)
            .map_err(|source| Error::new("create", &path, source))
            .map(|file| File::new(path.clone(), file))
    }

    /// Opens a file for reading and writing, creating it if it is not there.
    pub(crate) fn open_or_create_file(&self, name: &str) -> Result<File, Error> {
        let path = self.path.join(name);
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags(rustix::fs::OFlags::NOFOLLOW))
            .open(&path)
            .map_err(|source| Error::new("open", &path, source))
            .map(|file| File::new(path.clone(), file))
    }

    /// Opens a file that is there, for reading and, if `writable`, writing.
    pub(crate) fn open_file(&self, name: &str, writable: bool) -> Result<File, Error> {
        let path = self.path.join(name);
        std::fs::OpenOptions::new()
            .read(true)
            .write(writable)
            .custom_flags(flags(rustix::fs::OFlags::NOFOLLOW))
            .open(&path)
            .map_err(|source| Error::new("open", &path, source))
            .map(|file| File::new(path.clone(), file))
    }

    /// The whole of a small file, or nothing if it is not there. Longer than `bytes_max` is an error.
    pub(crate) fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let file = match self.open_file(name, false) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        let mut limited = file.as_std().take(bytes_max + 1);
        limited.read_to_end(&mut bytes).map_err(|source| Error::new("read", file.path(), source))?;
        if bytes.len() as u64 > bytes_max {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, format!("longer than {bytes_max} bytes"));
            return Err(Error::new("read", file.path(), source));
        }
        Ok(Some(bytes))
    }

    /// Writes `bytes` beside the file `name`, durably, to replace it (R5). Until [`Replacement::put`] the old file stays.
    pub(crate) fn write_aside(&self, name: &str, bytes: &[u8]) -> Result<Replacement<'_>, Error> {
        let temporary = format!("{name}.tmp");
        // A crash may have left one behind.
        self.remove(&temporary)?;
        let file = self.create_file(&temporary)?;
        file.as_std().write_all(bytes).map_err(|source| Error::new("write", file.path(), source))?;
        file.sync_all()?;
        Ok(Replacement { dir: self, temporary, name: name.to_owned() })
    }

    /// Replaces the file `name` by one that holds `bytes`; durable once this returns.
    #[cfg(feature = "service")]
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.write_aside(name, bytes)?.put()
    }

    /// Renames within this directory.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let path = self.path.join(from);
        std::fs::rename(&path, self.path.join(to)).map_err(|source| Error::new("rename", &path, source))
    }

    /// Removes a file; that it is not there is fine.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::new("remove", &path, source)),
            _ => Ok(()),
        }
    }
}

/// A file that was written to replace another.
#[must_use]
pub(crate) struct Replacement<'d> {
    dir: &'d Dir,
    temporary: String,
    name: String,
}

impl Replacement<'_> {
    /// Replaces the old file: either it or the new one survives a crash, whole. Durable once this returns; after a failure it is unknown
    /// which of them is there (R2).
    pub(crate) fn put(self) -> Result<(), Error> {
        self.dir.rename(&self.temporary, &self.name)?;
        self.dir.sync()
    }
}

fn flags(flags: rustix::fs::OFlags) -> i32 {
    // std adds O_CLOEXEC by itself.
    flags.bits().cast_signed()
}

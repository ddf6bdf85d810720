//! One directory, and the ways in which names in it change.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use crate::env::simulated;
use crate::env::{Error, File};
use crate::mutants::mutant;

/// One directory. A name that was created, replaced or removed is durable only after [`Dir::sync`].
#[derive(Debug)]
pub(crate) struct Dir {
    /// As whoever opened it named it, for messages: names are looked up, changed and made durable by the handle, so it stays the directory
    /// that was opened, wherever that is moved, and wherever the process goes.
    path: PathBuf,
    handle: Handle,
    in_memory: bool,
    /// Whether a sync has failed. Locked while one is under way: by the standard library, because a simulated one never yields.
    failed: Mutex<bool>,
}

#[derive(Debug)]
enum Handle {
    System(std::fs::File),
    Simulated(simulated::FolderHandle),
}

/// Whose the file at `path` is, and whose this process, where they differ.
#[cfg(feature = "service")]
pub(crate) fn foreign_owner(path: &Path) -> Option<(u32, u32)> {
    let owner = std::fs::metadata(path).ok()?.uid();
    let me = rustix::process::geteuid().as_raw();
    (owner != me).then_some((owner, me))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that touches names of files")]
impl Dir {
    /// Opens a directory that is there.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let handle = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(flags(OFlags::DIRECTORY))
            .open(path)
            .map_err(|source| Error::new("open directory", path, source))?;
        Ok(Self::of(path, handle))
    }

    fn of(path: &Path, handle: std::fs::File) -> Self {
        Self { path: path.to_owned(), handle: Handle::System(handle), in_memory: false, failed: Mutex::new(false) }
    }

    /// A directory of a simulated disk, known by `path`.
    pub(in crate::env) fn simulated(path: &Path, handle: simulated::FolderHandle) -> Self {
        Self { path: path.to_owned(), handle: Handle::Simulated(handle), in_memory: true, failed: Mutex::new(false) }
    }

    /// Has a simulated disk pass for a machine's, for tests of those who wait for such a one.
    #[cfg(test)]
    pub(crate) fn disguised(self) -> Self {
        Self { in_memory: false, ..self }
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

    /// Makes durable the name of the directory and of those it lies in, up to where its file system is mounted: whoever created them may
    /// have died before that. Where one may not be read, it and those above it are somebody else's. A symbolic link by which the directory
    /// was named stays as it is.
    pub(crate) fn sync_ancestors(&self) -> Result<(), Error> {
        let Handle::System(dir) = &self.handle else { return Ok(()) };
        let mut path = self.path.join("..");
        let known = |dir: &std::fs::File| dir.metadata().map(|known| (known.dev(), known.ino()));
        let mut inside: Option<std::fs::File> = None;
        let mut below = known(dir).map_err(|source| Error::new("look at directory", &self.path, source))?;
        loop {
            // By handles and not by names, which may not be allowed from here, or lead elsewhere by now.
            let inner = inside.as_ref().unwrap_or(dir);
            let above = match openat(inner, "..", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
                Ok(above) => std::fs::File::from(above),
                Err(Errno::ACCESS | Errno::PERM) => return Ok(()),
                Err(source) => return Err(Error::new("open directory", &path, std::io::Error::from(source))),
            };
            let here = known(&above).map_err(|source| Error::new("look at directory", &path, source))?;
            // The root lies in itself.
            if here.0 != below.0 || here == below {
                return Ok(());
            }
            match above.sync_all() {
                // Some file systems have no such thing.
                Err(source) if source.kind() == std::io::ErrorKind::InvalidInput => {}
                synced => synced.map_err(|source| Error::new("sync directory", &path, source))?,
            }
            path.push("..");
            (inside, below) = (Some(above), here);
        }
    }

    /// The path without links and from the root, as far as it is there; the rest as it is named.
    pub(crate) fn resolved(path: &Path) -> Result<PathBuf, Error> {
        match std::fs::canonicalize(path) {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
            resolved => return resolved.map_err(|source| Error::new("resolve", path, source)),
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => Self::resolved(parent)?,
            _ => Self::resolved(Path::new("."))?,
        };
        Ok(path.file_name().map_or_else(|| parent.clone(), |name| parent.join(name)))
    }

    /// Removes the directory, which must be empty.
    pub(crate) fn remove_itself(&self) -> Result<(), Error> {
        let removed = match &self.handle {
            Handle::System(_) => std::fs::remove_dir(&self.path),
            Handle::Simulated(_) => Err(std::io::ErrorKind::Unsupported.into()),
        };
        removed.map_err(|source| Error::new("remove directory", &self.path, source))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// By which the system finds what has names in it.
    pub(in crate::env) fn handle(&self) -> Option<&std::fs::File> {
        match &self.handle {
            Handle::System(handle) => Some(handle),
            Handle::Simulated(_) => None,
        }
    }

    /// Takes the exclusive lock of the directory itself, without waiting: false if another open file has it. Where there is no such lock,
    /// as on a simulated disk and some of the machine's, nobody has it.
    pub(crate) fn try_lock(&self) -> bool {
        self.handle().is_none_or(|handle| !matches!(handle.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
    }

    /// Gives that lock up, whoever has a copy of the open file.
    pub(crate) fn unlock(&self) {
        if let Some(handle) = self.handle() {
            // Where that fails, closing it is all that is left.
            drop(handle.unlock());
        }
    }

    /// Whether another open file has that lock; as [`File::is_locked`].
    pub(super) fn is_locked(&self) -> bool {
        let Some(handle) = self.handle() else { return false };
        match handle.try_lock_shared() {
            Ok(()) => handle.unlock().is_err(),
            Err(std::fs::TryLockError::WouldBlock) => true,
            Err(std::fs::TryLockError::Error(_)) => false,
        }
    }

    /// The same open directory once more: locked as this one is.
    pub(super) fn copy(&self) -> Result<Option<std::fs::File>, Error> {
        let copied = self.handle().map(std::fs::File::try_clone).transpose();
        copied.map_err(|source| Error::new("copy the handle of", &self.path, source))
    }

    /// Whether `path`, as far as it is there, leads to this directory or into it.
    pub(crate) fn contains(&self, path: &Path) -> Result<bool, Error> {
        let Some(handle) = self.handle() else { return Ok(false) };
        let known = |known: std::fs::Metadata| (known.dev(), known.ino());
        let this =
            handle.metadata().map(known).map_err(|source| Error::new("look at directory", &self.path, source))?;
        let path = Self::resolved(path)?;
        Ok(path.ancestors().any(|above| std::fs::metadata(above).is_ok_and(|above| known(above) == this)))
    }

    /// Whether it is on a disk in memory, which ends with the process: waiting for such a disk costs nothing, and the system knows no
    /// file by its path.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// Tells a simulated disk that the code passes a place at which its power may have been told to fail: an error if it does, or has
    /// done so. The machine's is not told.
    pub(crate) fn pass(&self, place: &'static str) -> Result<(), Error> {
        match &self.handle {
            Handle::System(_) => Ok(()),
            Handle::Simulated(handle) => {
                handle.pass(place).map_err(|source| Error::new("go on in", &self.path, source))
            }
        }
    }

    /// The directory `name` within this one, created if need be.
    pub(crate) fn create_dir(&self, name: &str) -> Result<Self, Error> {
        let path = self.path.join(name);
        match &self.handle {
            Handle::System(handle) => {
                match mkdirat(handle, name, Mode::RWXU) {
                    Ok(()) => self.sync()?,
                    Err(Errno::EXIST) => {}
                    Err(source) => return Err(Error::new("create directory", &path, source)),
                }
                self.open_dir(name)
            }
            Handle::Simulated(handle) => {
                let made = handle.make_dir(name).map_err(|source| Error::new("create directory", &path, source));
                let (made, new) = made?;
                if new {
                    self.sync()?;
                }
                Ok(Self::simulated(&path, made))
            }
        }
    }

    /// The directory `name` within this one, which must be there.
    pub(crate) fn open_dir(&self, name: &str) -> Result<Self, Error> {
        let path = self.path.join(name);
        match &self.handle {
            Handle::System(handle) => {
                let opened = openat(handle, name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
                let opened = opened.map_err(|source| Error::new("open directory", &path, source))?;
                Ok(Self::of(&path, opened.into()))
            }
            Handle::Simulated(handle) => match handle.open_dir(name) {
                Ok(opened) => Ok(Self::simulated(&path, opened)),
                Err(source) => Err(Error::new("open directory", &path, source)),
            },
        }
    }

    /// Makes the names in this directory durable. Once that has failed it fails for good: the system tells of a loss once, and maybe to
    /// somebody else than the one whose name was lost (R2).
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let synced = match &self.handle {
            _ if *failed && !mutant!("directory-synced-after-a-failure") => {
                Err(std::io::Error::other("an earlier sync of it has failed, and what it has lost is unknown"))
            }
            Handle::System(handle) => handle.sync_all(),
            Handle::Simulated(handle) => handle.sync(),
        };
        *failed |= synced.is_err();
        synced.map_err(|source| Error::new("sync directory", &self.path, source))
    }

    /// The names of all entries that are valid UTF-8, sorted.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let error = |source| Error::new("list directory", &self.path, source);
        let handle = match &self.handle {
            Handle::System(handle) => handle,
            Handle::Simulated(handle) => return handle.names().map_err(error),
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(handle).map_err(|source| error(source.into()))? {
            let entry = entry.map_err(|source| error(source.into()))?;
            names
                .extend(entry.file_name().to_str().ok().filter(|name| !matches!(*name, "." | "..")).map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Whether anything has this name, as far as that may be looked at.
    pub(crate) fn has(&self, name: &str) -> bool {
        match &self.handle {
            Handle::System(handle) => statat(handle, name, AtFlags::SYMLINK_NOFOLLOW).is_ok(),
            Handle::Simulated(handle) => handle.has(name),
        }
    }

    /// Creates a file that must not be there yet (R4).
    pub(crate) fn create_file(&self, name: &str) -> Result<File, Error> {
        self.open_with("create", name, Access { writable: true, create: Create::New })
    }

    /// Opens a file for reading and writing, creating it if it is not there.
    pub(crate) fn open_or_create_file(&self, name: &str) -> Result<File, Error> {
        self.open_with("open", name, Access { writable: true, create: Create::IfMissing })
    }

    /// Opens a file that is there, for reading and, if `writable`, writing. What is no regular file is refused, and never waited for.
    pub(crate) fn open_file(&self, name: &str, writable: bool) -> Result<File, Error> {
        self.open_with("open", name, Access { writable, create: Create::Never })
    }

    fn open_with(&self, operation: &'static str, name: &str, access: Access) -> Result<File, Error> {
        let path = self.path.join(name);
        let Access { writable, create } = access;
        let exclusive = create == Create::New && !mutant!("created-over-another");
        let create = create != Create::Never;
        let opened = match &self.handle {
            Handle::System(handle) => {
                // Opening a pipe that nobody writes to would wait for ever. Of regular files it changes nothing.
                let mut flags = OFlags::CLOEXEC | OFlags::NONBLOCK;
                flags |= if writable { OFlags::RDWR } else { OFlags::RDONLY };
                flags.set(OFlags::CREATE, create);
                flags.set(OFlags::EXCL, exclusive);
                flags.set(OFlags::NOFOLLOW, !mutant!("links-followed"));
                let mode = if mutant!("files-for-everybody") { 0o644 } else { 0o600 };
                openat(handle, name, flags, Mode::from_raw_mode(mode))
                    .map_err(std::io::Error::from)
                    .map(std::fs::File::from)
                    .and_then(|file| if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) })
                    .map(|file| File::new(path.clone(), file))
            }
            Handle::Simulated(handle) => {
                handle.open(name, writable, create, exclusive).map(|file| File::simulated(path.clone(), file))
            }
        };
        opened.map_err(|source| Error::new(operation, &path, source))
    }

    /// The whole of a small file, or nothing if it is not there. Longer than `bytes_max` is an error.
    pub(crate) fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        match self.open_file(name, false) {
            Ok(file) => file.read_whole(bytes_max).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes `bytes` beside the file `name`, durably, to replace it (R5). Until [`Replacement::put`] the old file stays.
    pub(crate) fn write_aside(&self, name: &str, bytes: &[u8]) -> Result<Replacement<'_>, Error> {
        let temporary = if mutant!("replaced-in-place") { name.to_owned() } else { format!("{name}.tmp") };
        // A crash may have left one behind.
        self.remove(&temporary)?;
        let file = self.create_file(&temporary)?;
        let sync = || if mutant!("replacement-unsynced") { Ok(()) } else { file.sync_all() };
        file.write_all_at(bytes, 0).and_then(|()| sync()).inspect_err(|_| {
            // The first failure is the one to report; where a disk is full, what was written is in the way.
            drop(self.remove(&temporary));
        })?;
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
        let renamed = match &self.handle {
            Handle::System(handle) => renameat(handle, from, handle, to).map_err(std::io::Error::from),
            Handle::Simulated(handle) => handle.rename(from, to),
        };
        renamed.map_err(|source| Error::new("rename", &path, source))
    }

    /// Removes a file; that it is not there is fine.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        let removed = match &self.handle {
            Handle::System(handle) => unlinkat(handle, name, AtFlags::empty()).map_err(std::io::Error::from),
            Handle::Simulated(handle) => handle.remove(name),
        };
        match removed {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::new("remove", &path, source)),
            _ => Ok(()),
        }
    }
}

/// How a file is to be opened.
#[derive(Clone, Copy)]
struct Access {
    writable: bool,
    create: Create,
}

/// When a file is to be created.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Create {
    Never,
    IfMissing,
    /// Always: it must not be there.
    New,
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
        if mutant!("replacement-name-unsynced") {
            return Ok(());
        }
        self.dir.sync()
    }
}

fn not_regular() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a regular file")
}

fn flags(flags: OFlags) -> i32 {
    // std adds O_CLOEXEC by itself.
    flags.bits().cast_signed()
}

/// Whether anything may be at `path`, if only a link that leads nowhere: where that may not be looked at, too.
#[cfg(feature = "service")]
pub(crate) fn may_be_there(path: &Path) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    !std::fs::symlink_metadata(path).is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test of names looks at them from outside")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::env::simulated::{Disk, Fault, Kind};

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_created_for_its_owner_alone_and_only_where_nothing_is() {
        // R4.
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::create(&place.path().join("store")).unwrap();
        let file = dir.create_file("a").unwrap();
        assert_eq!((mode(dir.path()), mode(file.path())), (0o700, 0o600));
        let error = dir.create_file("a").unwrap_err();
        assert_eq!(error.source.kind(), std::io::ErrorKind::AlreadyExists);

        let elsewhere = place.path().join("elsewhere");
        std::fs::write(&elsewhere, "theirs").unwrap();
        symlink(&elsewhere, dir.path().join("link")).unwrap();
        symlink(place.path().join("nowhere"), dir.path().join("dangling")).unwrap();
        for name in ["link", "dangling"] {
            assert!(dir.create_file(name).is_err() && dir.open_or_create_file(name).is_err(), "{name}");
            assert!(dir.open_file(name, true).is_err(), "{name}");
        }
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"theirs");
        assert!(!place.path().join("nowhere").exists());
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open(place.path()).unwrap();
        let pipe = place.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::create_dir(place.path().join("folder")).unwrap();
        for name in ["pipe", "folder"] {
            let error = dir.open_file(name, false).unwrap_err();
            assert!(error.to_string().ends_with(&format!("{name}: it is not a regular file")), "{error}");
            assert!(dir.read(name, 100).is_err(), "{name}");
        }
    }

    #[test]
    fn what_replaces_a_file_stands_whole_beside_it_until_it_takes_its_name() {
        // R5.
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open(place.path()).unwrap();
        dir.write_aside("a", b"old").unwrap().put().unwrap();
        std::fs::write(place.path().join("a.tmp"), "what a crash left behind").unwrap();
        let replacement = dir.write_aside("a", b"new").unwrap();
        assert_eq!(dir.read("a", 100).unwrap().as_deref(), Some(&b"old"[..]));
        assert_eq!(dir.read("a.tmp", 100).unwrap().as_deref(), Some(&b"new"[..]));
        replacement.put().unwrap();
        assert_eq!(dir.read("a", 100).unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(dir.names().unwrap(), ["a"]);
    }

    #[test]
    fn a_directory_that_was_moved_stays_the_one_that_was_opened() {
        // R4, R5, R12.
        let place = tempfile::tempdir().unwrap();
        let (here, there) = (place.path().join("here"), place.path().join("there"));
        let dir = Dir::create(&here).unwrap();
        drop(dir.create_file("a").unwrap());
        std::fs::rename(&here, &there).unwrap();
        let other = Dir::create(&here).unwrap();
        drop(other.create_file("a").unwrap());
        dir.rename("a", "b").unwrap();
        drop(dir.create_file("c").unwrap());
        dir.remove("b").unwrap();
        drop(dir.create_dir("d").unwrap().create_file("e").unwrap());
        dir.link("c", &dir.open_dir("d").unwrap()).unwrap();
        assert!(dir.has("c") && !dir.has("a"));
        assert_eq!(
            (dir.names().unwrap(), other.names().unwrap()),
            (vec!["c".to_owned(), "d".to_owned()], vec!["a".to_owned()])
        );
        assert_eq!(Dir::open(&there.join("d")).unwrap().names().unwrap(), ["c", "e"]);
        for (path, lies_in_it) in
            [(&there, true), (&there.join("d/new/er"), true), (&here, false), (&here.join("d"), false)]
        {
            assert_eq!(dir.contains(path).unwrap(), lies_in_it, "{}", path.display());
        }
    }

    #[test]
    fn a_directory_whose_sync_has_failed_is_not_synced_again() {
        // R2. Who asks again may be another, whose name was lost as well.
        let disk = Disk::new();
        let dir = disk.root();
        disk.fail(Fault::of(Kind::SyncDir));
        drop(dir.create_file("a").unwrap());
        dir.sync().unwrap_err();
        let calls = disk.calls();
        let again = dir.sync().unwrap_err();
        assert!(again.to_string().contains("an earlier sync"), "{again}");
        assert_eq!(disk.calls(), calls, "the disk is left alone");
        disk.root().sync().unwrap();
    }
}

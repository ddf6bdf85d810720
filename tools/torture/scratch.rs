//! Folders for a while.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where Linux keeps files in memory.
const MEMORY: &str = "/dev/shm";

/// What all such folders are called, before the number of their process.
const PREFIX: &str = "ledgerline-torture-";

/// Folders of one name that are kept beside one another.
const COPIES_MAX: u32 = 9;

/// A folder of its own, which is gone once this is dropped.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Beside other temporary files.
    pub(crate) fn on_disk() -> io::Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    /// In memory, where there is such a place; else beside other temporary files.
    pub(crate) fn in_memory() -> io::Result<Self> {
        Self::within(Path::new(MEMORY)).or_else(|_| Self::on_disk())
    }

    fn within(place: &Path) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        if COUNT.load(Ordering::Relaxed) == 0 {
            sweep(Path::new(MEMORY), is_gone);
            sweep(&std::env::temp_dir(), is_gone);
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("{PREFIX}{}-{count}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.path));
    }
}

/// Removes what runs have left that `is_over` is true of: nobody else would unmount their images.
fn sweep(place: &Path, is_over: impl Fn(u32) -> bool) {
    let Ok(entries) = std::fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        // What others made there under such a name is none of ours, nor what a link leads to.
        let own = std::fs::metadata("/proc/self").map(|status| status.uid()).ok();
        let is_ours = entry.metadata().is_ok_and(|status| status.is_dir() && Some(status.uid()) == own);
        if is_ours && process.is_some_and(&is_over) {
            remove(&entry.path());
        }
    }
}

/// Removes a folder, and unmounts what is mounted in it. If that does not go, it stays: nothing in there may be removed.
fn remove(folder: &Path) {
    let mounted = folder.join("mounted");
    let is_mounted = || {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        mounts.lines().any(|mount| mount.split(' ').nth(1).is_some_and(|place| Path::new(place) == mounted))
    };
    if is_mounted() {
        drop(Command::new("umount").args(["--lazy", "--no-canonicalize"]).arg(&mounted).stderr(Stdio::null()).status());
    }
    if !is_mounted() {
        drop(std::fs::remove_dir_all(folder));
    }
}

/// Removes the folders of this run, whoever still has them.
pub(crate) fn sweep_own() {
    for place in [Path::new(MEMORY), &std::env::temp_dir()] {
        sweep(place, |process| process == std::process::id());
    }
}

/// Whether a process has ended, so that nobody uses its folders any more.
fn is_gone(process: u32) -> bool {
    !Path::new("/proc").join(process.to_string()).exists()
}

/// Copies a folder and all that is in it into a folder that was not there before: `to`, or where that is taken, one whose name goes on
/// with a number. The ninth is the last; after that nothing is copied.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fresh(to)?.map_or(Ok(()), |to| copy_into(from, &to))
}

/// Makes a folder that was not there before, as [`copy`] does; none if there are enough.
pub(crate) fn fresh(path: &Path) -> io::Result<Option<PathBuf>> {
    for count in 1..=COPIES_MAX {
        let mut name = path.as_os_str().to_owned();
        if count > 1 {
            name.push(format!("-{count}"));
        }
        match std::fs::create_dir(&name) {
            Ok(()) => return Ok(Some(name.into())),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn copy_into(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            std::fs::create_dir(&target)?;
            copy_into(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_goes_into_no_folder_that_is_there() {
        let scratch = Scratch::on_disk().unwrap();
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        for name in ["first", "second"] {
            std::fs::write(from.join(name), name).unwrap();
            copy(&from, &to).unwrap();
            std::fs::remove_file(from.join(name)).unwrap();
        }
        assert!(to.join("first").exists() && !to.join("second").exists());
        assert!(scratch.path().join("to-2").join("second").exists());
        for _ in 0..20 {
            copy(&from, &to).unwrap();
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1 + 9);
    }
}

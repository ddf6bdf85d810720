//! Folders for a while.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where Linux keeps files in memory.
const MEMORY: &str = "/dev/shm";

/// What all such folders are called, before the number of their process.
const PREFIX: &str = "ledgerline-torture-";

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
            sweep(Path::new(MEMORY));
            sweep(&std::env::temp_dir());
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

/// Removes what runs that were killed have left: nobody else would unmount their images.
fn sweep(place: &Path) {
    let Ok(entries) = std::fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            let unmount =
                Command::new("umount").arg("--lazy").arg(entry.path().join("mounted")).stderr(Stdio::null()).status();
            // A folder in which something is still mounted stays, so that nothing in there is removed.
            drop(unmount.and_then(|_| std::fs::remove_dir_all(entry.path())));
        }
    }
}

/// Copies a folder and all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

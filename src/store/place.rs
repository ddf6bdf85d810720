//! Where a store is kept, chosen before it is opened.

use std::path::{Path, PathBuf};

use crate::env::simulated::Disk;
use crate::error::Error;
use crate::store::handle::Store;
use crate::store::machine::Machine;
use crate::store::options::StoreOptions;

/// Where a store is kept.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In a directory.
    Directory(PathBuf),
    /// In the memory of this process.
    Memory(MemoryDisk),
    /// On a simulated machine.
    Machine(Machine),
}

/// A disk in memory, which outlives the stores on it but not the process. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub(crate) struct MemoryDisk(Disk);

impl MemoryDisk {
    /// An empty disk.
    pub(crate) fn new() -> Self {
        Self(Disk::settled())
    }
}

impl Place {
    /// As a person would call it.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Directory(path) => path,
            Self::Memory(_) | Self::Machine(_) => Path::new("(memory)"),
        }
    }

    /// The options as they hold there.
    pub(crate) fn options(&self, options: StoreOptions) -> StoreOptions {
        match self {
            Self::Directory(_) => options,
            Self::Memory(_) | Self::Machine(_) => options.for_memory(),
        }
    }

    /// Opens the store there, creating it if there is none.
    pub(crate) fn open(self, options: StoreOptions) -> Result<Store, Error> {
        match self {
            Self::Directory(path) => Store::open(path, options),
            Self::Memory(MemoryDisk(disk)) => Store::on_disk(&disk, options),
            Self::Machine(machine) => machine.open(options.for_memory()),
        }
    }
}

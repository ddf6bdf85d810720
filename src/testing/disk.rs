//! A disk in memory for managers on real clocks, one after the other.

use crate::manager::{EventManager, EventManagerBuilder};
use crate::store::{MemoryDisk as Disk, Place};

/// A disk in memory that outlives the managers on it: what one has kept, the next one finds. Nothing fails on it, and it is not for
/// crashes: a [`Bench`](super::Bench) is. Clones are handles of the same disk.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), ledgerline::Error> {
/// let disk = ledgerline::testing::MemoryDisk::new();
/// let manager = disk.builder().open().await?;
/// let id = manager.emit("Issue", "new").await?;
/// manager.shutdown().await?;
/// assert!(disk.builder().open().await?.get(id).await?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MemoryDisk {
    disk: Disk,
}

impl MemoryDisk {
    /// An empty disk.
    #[expect(clippy::new_without_default, reason = "which disk it is matters: it is made, not defaulted to")]
    pub fn new() -> Self {
        Self { disk: Disk::new() }
    }

    /// Begins to describe a manager of the store on this disk, as [`EventManager::builder`] does for a directory.
    pub fn builder(&self) -> EventManagerBuilder {
        EventManager::builder_at(Place::Memory(self.disk.clone()))
    }
}

//! A disk in memory that can lose power, fail, fill up and lie.
//!
//! ```text
//!            what the page cache shows                  what a power cut may leave
//! file       ghosts over unsynced over durable          per sector any version since the last sync, or the durable one; any length
//!                                                       it had since; at most one sector torn, its first bytes new, the rest old
//! directory  names                                      the durable ones, and any of the changes since the last sync, in their order
//! ```
//!
//! | call | makes durable |
//! |---|---|
//! | sync of a file | its bytes and its length; not its name |
//! | sync of a directory | its names; not what they name |
//!
//! That is what POSIX promises, which is less than ext4 and xfs give: code that is right here is right there. A sync that fails does
//! what Linux does: some of the bytes are on the disk, the rest are lost and called clean, the cache shows them until it is dropped,
//! and the next sync succeeds.
//!
//! A [`Disk`] is a handle; [`Disk::root`] is the directory to work in. [`Disk::record`] keeps a frame for every call that changes
//! anything, each with all that a process which died there would have left; [`Disk::crashes`] lists what a power cut makes of it.
//! Nothing here is random: the same calls, faults and seeds give the same disks.
//!
//! A [`Disk::settled`] keeps none of that: its calls succeed, and everything is durable at once. It is what stores in memory stand on,
//! and takes memory for what is written and not zero.
//!
//! Deliberately absent: times, owners, links, and everything else of which a store knows nothing.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what it indexes it has counted itself; it reads no foreign bytes"
)]
#![cfg_attr(not(test), expect(dead_code, reason = "faults, films and the like are for tests of this crate"))]

mod bytes;
mod choices;
mod disk;
mod fault;
mod folder;
mod handle;
mod image;
mod plain;
mod sector;
#[cfg(test)]
mod table;
mod watch;

#[cfg(any(test, feature = "manager"))]
pub(crate) use choices::Choices;
pub(crate) use disk::Disk;
#[cfg(test)]
pub(crate) use fault::{Effect, Fault, Kind};
pub(in crate::env) use handle::{FileHandle, FolderHandle};
#[cfg(test)]
pub(crate) use watch::{Call, Progress};

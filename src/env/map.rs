//! A sealed file as memory.

use std::ops::Range;

use crate::env::file::Handle;
use crate::env::{Error, File};

/// The bytes of a file that nobody changes while it is mapped.
pub(crate) enum Map {
    System(memmap2::Mmap),
    /// A copy: what is in memory cannot be mapped.
    Simulated(Vec<u8>),
}

impl Map {
    /// Maps the whole of `file`.
    ///
    /// Only for sealed segments, under the directory's lock (R11): their bytes do not change, and only the holder of the lock could
    /// cut or remove them. A process that ignores the lock and truncates the file would kill this one with SIGBUS; readers that
    /// hold no lock therefore never map.
    #[expect(unsafe_code, reason = "mapping is unsafe because another process could change the file; see above")]
    pub(crate) fn sealed(file: &File) -> Result<Self, Error> {
        match file.handle() {
            Handle::System(mappable) => {
                // SAFETY: the segment is sealed and the caller holds the exclusive lock of its directory, so no writer of ours
                // changes or shortens the file while it is mapped.
                let mapped = unsafe { memmap2::Mmap::map(mappable) };
                mapped.map(Self::System).map_err(|source| Error::new("map", file.path(), source))
            }
            Handle::Simulated(_) => file.read_to_end(u64::MAX).map(Self::Simulated),
        }
    }

    /// Has the system map the pages of a part now, all at once, which is cheaper than one after another as they are read; and says
    /// whether they can be read: to touch a page that the disk does not give back ends the process.
    pub(crate) fn populate(&self, part: Range<usize>) -> std::io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::System(bytes) => bytes.advise_range(memmap2::Advice::PopulateRead, part.start, part.len()),
            #[cfg(not(target_os = "linux"))]
            Self::System(_) => Err(std::io::ErrorKind::Unsupported.into()),
            Self::Simulated(_) => Ok(()),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::System(bytes) => bytes,
            Self::Simulated(bytes) => bytes,
        }
    }
}

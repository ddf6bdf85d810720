//! A sealed file as memory.

use crate::env::{Error, File};

/// The bytes of a file that nobody changes while it is mapped.
pub(crate) struct Map {
    bytes: memmap2::Mmap,
}

impl Map {
    /// Maps the whole of `file`.
    ///
    /// Only for sealed segments, under the directory's lock (R11): their bytes do not change, and only the holder of the lock could
    /// cut or remove them. A process that ignores the lock and truncates the file would kill this one with SIGBUS; readers that
    /// hold no lock therefore never map.
    #[expect(unsafe_code, reason = "mapping is unsafe because another process could change the file; see above")]
    pub(crate) fn sealed(file: &File) -> Result<Self, Error> {
        // SAFETY: the segment is sealed and the caller holds the exclusive lock of its directory, so no writer of ours changes or
        // shortens the file while it is mapped.
        let mapped = unsafe { memmap2::Mmap::map(file.as_std()) };
        let bytes = mapped.map_err(|source| Error::new("map", file.path(), source))?;
        Ok(Self { bytes })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

//! A sector: what a disk writes whole, or, at worst, torn in the middle.

use std::hash::Hasher as _;
use std::sync::{Arc, OnceLock};

/// Bytes of a sector.
pub(super) const SECTOR_BYTES: usize = 512;

/// The bytes of a sector that holds anything but zeros, with their hash once somebody asks, so that whole disks are compared cheaply.
#[derive(Debug)]
pub(super) struct Sector {
    pub(super) bytes: [u8; SECTOR_BYTES],
    hash: OnceLock<u64>,
}

impl Sector {
    pub(super) fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| {
            let mut hasher = std::hash::DefaultHasher::new();
            hasher.write(&self.bytes);
            hasher.finish()
        })
    }
}

/// What stands in a sector; none: zeros.
pub(super) type Content = Option<Arc<Sector>>;

/// The sector that holds `bytes`.
pub(super) fn content(bytes: &[u8; SECTOR_BYTES]) -> Content {
    if *bytes == [0; SECTOR_BYTES] {
        return None;
    }
    Some(Arc::new(Sector { bytes: *bytes, hash: OnceLock::new() }))
}

/// The bytes of a sector.
pub(super) fn bytes_of(content: Option<&Arc<Sector>>) -> [u8; SECTOR_BYTES] {
    content.map_or([0; SECTOR_BYTES], |sector| sector.bytes)
}

/// The first bytes of `new`, the rest of `old`: torn in the middle of what differs. None if that is one of them.
pub(super) fn torn(old: Option<&Arc<Sector>>, new: Option<&Arc<Sector>>) -> Option<Content> {
    let (old, new) = (bytes_of(old), bytes_of(new));
    let differs = |at: &usize| old[*at] != new[*at];
    let first = (0..SECTOR_BYTES).find(differs)?;
    let last = (0..SECTOR_BYTES).rfind(differs)?;
    if first == last {
        return None;
    }
    let cut = usize::midpoint(first, last) + 1;
    let mut bytes = old;
    bytes[..cut].copy_from_slice(&new[..cut]);
    Some(content(&bytes))
}

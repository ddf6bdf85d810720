//! The segments before the active one: what each of them holds, and how many bytes they are together.
//!
//! The sum is kept: whoever asks for it, be it statistics or the bound of the log, does so under the lock, and there may be thousands of
//! segments.

use std::collections::BTreeMap;
use std::ops::Deref;

use crate::log::manifest::Extent;

/// What every file before the active one holds, by its key.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    extents: BTreeMap<u32, Extent>,
    bytes: u64,
}

impl Sealed {
    pub(crate) fn insert(&mut self, key: u32, extent: Extent) {
        let before = self.extents.insert(key, extent);
        self.bytes = self.bytes + extent.length - before.map_or(0, |before| before.length);
    }

    pub(crate) fn remove(&mut self, key: u32) {
        let gone = self.extents.remove(&key);
        self.bytes -= gone.map_or(0, |gone| gone.length);
    }

    /// How many bytes of log they hold together.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl From<BTreeMap<u32, Extent>> for Sealed {
    fn from(extents: BTreeMap<u32, Extent>) -> Self {
        let bytes = extents.values().map(|extent| extent.length).sum();
        Self { extents, bytes }
    }
}

/// All else is that of the map.
impl Deref for Sealed {
    type Target = BTreeMap<u32, Extent>;

    fn deref(&self) -> &Self::Target {
        &self.extents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(length: u64) -> Extent {
        let (first_ordinal, last_ordinal, generation) = (1, 1, 0);
        Extent {
            first_ordinal,
            last_ordinal,
            generation,
            first_seq: 1,
            last_seq: 1,
            record_count: 1,
            length,
            digest: 0,
        }
    }

    #[test]
    fn the_bytes_are_those_of_what_is_there() {
        let mut sealed = Sealed::from(BTreeMap::from([(2, extent(100)), (4, extent(20))]));
        let check = |sealed: &Sealed, bytes: u64| {
            assert_eq!((sealed.bytes(), sealed.values().map(|extent| extent.length).sum::<u64>()), (bytes, bytes));
        };
        check(&sealed, 120);
        sealed.insert(6, extent(3));
        check(&sealed, 123);
        sealed.insert(4, extent(40));
        check(&sealed, 143);
        for _ in 0..2 {
            sealed.remove(2);
        }
        check(&sealed, 43);
        sealed.remove(9);
        for key in [4, 6] {
            sealed.remove(key);
        }
        check(&sealed, 0);
    }
}

//! The manifest: which store this is, and which segments compaction took away.
//!
//! It is written when the store is created, after the first segment, so that a directory with a manifest has or had records; and
//! again whenever compaction changes the set of files, before any file goes (R5). Its bytes are drawn in FORMAT.md.

use crate::env::{Dir, Replacement};
use crate::log::Error;
use crate::log::format::Fields;
use crate::log::scan::SEQ_MAX;

/// The file's name.
pub(crate) const MANIFEST: &str = "MANIFEST";

const MAGIC: [u8; 8] = *b"ledgrman";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 40;
const RANGE_BYTES: usize = 64;
/// The range's segments were dropped: no file of theirs belongs to the store any more.
const FLAG_DROPPED: u32 = 1;
/// No segment has a higher ordinal: indexes hold 32 bits of it.
const ORDINAL_MAX: u64 = u32::MAX as u64;
/// Longest manifest: a million ranges.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Consecutive segments that compaction dropped, and how the last of them ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) first_ordinal: u64,
    pub(crate) last_ordinal: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) record_count: u64,
    /// Length of the last segment.
    pub(crate) length: u64,
    /// Digest of the last segment.
    pub(crate) digest: u32,
}

/// What the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) store_id: [u8; 16],
    /// Counts replacements; a reader that sees it change starts again.
    pub(crate) generation: u64,
    /// Ascending, without overlap; neighbours are merged.
    dropped: Vec<Dropped>,
}

impl Manifest {
    pub(crate) fn new(store_id: [u8; 16]) -> Self {
        Self { store_id, generation: 0, dropped: Vec::new() }
    }

    /// The range that `ordinal` was dropped with, if it was.
    pub(crate) fn dropped(&self, ordinal: u64) -> Option<&Dropped> {
        self.dropped.iter().find(|range| (range.first_ordinal..=range.last_ordinal).contains(&ordinal))
    }

    /// Whether the record `seq` lay in a segment that was dropped.
    pub(crate) fn has_dropped_seq(&self, seq: u64) -> bool {
        let index = self.dropped.partition_point(|range| range.last_seq < seq);
        self.dropped.get(index).is_some_and(|range| range.first_seq <= seq)
    }

    pub(crate) fn ranges(&self) -> &[Dropped] {
        &self.dropped
    }

    /// The manifest that follows this one once `more`, one segment each, are dropped too.
    pub(crate) fn after_dropping(&self, more: impl IntoIterator<Item = Dropped>) -> Self {
        let mut all: Vec<Dropped> = self.dropped.iter().copied().chain(more).collect();
        all.sort_unstable_by_key(|range| range.first_ordinal);
        let mut dropped: Vec<Dropped> = Vec::with_capacity(all.len());
        for range in all {
            match dropped.last_mut() {
                Some(last) if last.last_ordinal + 1 == range.first_ordinal => {
                    *last = Dropped {
                        first_ordinal: last.first_ordinal,
                        first_seq: last.first_seq,
                        record_count: last.record_count + range.record_count,
                        ..range
                    };
                }
                _ => dropped.push(range),
            }
        }
        Self { store_id: self.store_id, generation: self.generation + 1, dropped }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.dropped.len()).expect("fewer ranges than segments, fewer segments than 2^32");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.dropped.len() * RANGE_BYTES + 4);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&self.store_id);
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        for range in &self.dropped {
            for field in [range.first_ordinal, range.last_ordinal, 0, range.first_seq, range.last_seq] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
            bytes.extend_from_slice(&range.record_count.to_le_bytes());
            bytes.extend_from_slice(&range.length.to_le_bytes());
            bytes.extend_from_slice(&range.digest.to_le_bytes());
            bytes.extend_from_slice(&FLAG_DROPPED.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The manifest that `bytes` hold, or why they hold none, and whether a newer version explains it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, (String, bool)> {
        let damaged = |reason: &str| (reason.to_owned(), false);
        let (covered, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("is too short"))?;
        let mut fields = Fields(covered);
        if covered.len() < HEADER_BYTES || fields.take::<8>() != MAGIC {
            return Err(damaged("does not begin like one"));
        }
        if crc32fast::hash(covered) != u32::from_le_bytes(*checksum) {
            return Err(damaged("does not verify: its checksum is wrong"));
        }
        let version = u16::from_le_bytes(fields.take());
        let reserved = u16::from_le_bytes(fields.take());
        if version != VERSION || reserved != 0 {
            return Err((format!("has the unknown version {version}: a newer version of ledgerline wrote it"), true));
        }
        let count = fields.u32() as usize;
        let mut manifest = Self::new(fields.take());
        manifest.generation = fields.u64();
        if Some(covered.len()) != count.checked_mul(RANGE_BYTES).and_then(|bytes| bytes.checked_add(HEADER_BYTES)) {
            return Err(damaged("is longer or shorter than it says"));
        }
        for _ in 0..count {
            let (first_ordinal, last_ordinal, generation) = (fields.u64(), fields.u64(), fields.u64());
            let range = Dropped {
                first_ordinal,
                last_ordinal,
                first_seq: fields.u64(),
                last_seq: fields.u64(),
                record_count: fields.u64(),
                length: fields.u64(),
                digest: 0,
            };
            let digest = fields.take();
            let flags = fields.u32();
            if flags != FLAG_DROPPED || generation != 0 {
                return Err((
                    format!(
                        "lists segment {first_ordinal} with unknown flags {flags:#x}: a newer version of ledgerline wrote it"
                    ),
                    true,
                ));
            }
            let (last, most) =
                (manifest.dropped.last(), range.last_seq.saturating_sub(range.first_seq).saturating_add(1));
            let in_order = last.is_none_or(|last| last.last_ordinal < first_ordinal && last.last_seq < range.first_seq)
                && (1..=last_ordinal).contains(&first_ordinal)
                && (1..=range.last_seq).contains(&range.first_seq);
            if !in_order || last_ordinal >= ORDINAL_MAX || range.last_seq >= SEQ_MAX || range.record_count > most {
                return Err(damaged("lists segments out of order"));
            }
            manifest.dropped.push(Dropped { digest: u32::from_le_bytes(digest), ..range });
        }
        Ok(manifest)
    }

    /// Reads the directory's manifest; none if there is no such file.
    pub(crate) fn read(dir: &Dir) -> Result<Option<Self>, Error> {
        let Some(bytes) = dir.read(MANIFEST, MANIFEST_BYTES_MAX)? else { return Ok(None) };
        Self::decode(&bytes).map(Some).map_err(|(reason, unsupported)| Error::Manifest {
            path: dir.path().join(MANIFEST),
            reason,
            unsupported,
        })
    }

    /// Writes what is to replace the directory's manifest. Nothing is replaced before [`Replacement::put`](crate::env::Replacement::put).
    pub(crate) fn write_aside<'d>(&self, dir: &'d Dir) -> Result<Replacement<'d>, Error> {
        Ok(dir.write_aside(MANIFEST, &self.encode())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(ordinal: u64) -> Dropped {
        Dropped {
            first_ordinal: ordinal,
            last_ordinal: ordinal,
            first_seq: ordinal * 10,
            last_seq: ordinal * 10 + 9,
            record_count: 10,
            length: 4_096,
            digest: u32::try_from(ordinal).unwrap(),
        }
    }

    #[test]
    fn neighbours_merge_and_gaps_stay() {
        let manifest = Manifest::new([1; 16]).after_dropping([segment(2), segment(5)]).after_dropping([segment(3)]);
        assert_eq!(manifest.generation, 2);
        let ranges: Vec<_> = manifest.ranges().iter().map(|range| (range.first_ordinal, range.last_ordinal)).collect();
        assert_eq!(ranges, [(2, 3), (5, 5)]);
        assert_eq!(
            manifest.dropped(3).map(|range| (range.last_seq, range.digest, range.record_count)),
            Some((39, 3, 20))
        );
        assert_eq!(manifest.dropped(4), None);
        for (seq, dropped) in [(19, false), (20, true), (39, true), (40, false), (50, true), (60, false)] {
            assert_eq!(manifest.has_dropped_seq(seq), dropped, "{seq}");
        }
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }

    #[test]
    fn numbers_that_no_store_reaches_are_refused() {
        let sound = segment(2);
        for range in [
            Dropped { last_ordinal: u64::MAX, ..sound },
            Dropped { first_ordinal: 0, ..sound },
            Dropped { last_seq: u64::MAX, ..sound },
            Dropped { first_seq: 0, ..sound },
            Dropped { record_count: 11, ..sound },
        ] {
            let bytes = Manifest { store_id: [1; 16], generation: 1, dropped: vec![range] }.encode();
            assert!(Manifest::decode(&bytes).is_err(), "{range:?}");
        }
    }

    #[test]
    fn any_flipped_bit_or_missing_byte_is_seen() {
        let bytes = Manifest::new([1; 16]).after_dropping([segment(2)]).encode();
        assert_eq!(bytes.len(), HEADER_BYTES + RANGE_BYTES + 4);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len]).is_err(), "cut to {len}");
        }
    }
}

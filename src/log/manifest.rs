//! The manifest: which store this is, which segments compaction took away, and which files stand for what is left of them.
//!
//! It is written when the store is created, after the first segment, so that a directory with a manifest has or had records; and
//! again whenever compaction changes the set of files, before any file goes (R5). Its bytes are drawn in FORMAT.md.
//!
//! ```text
//! dropped     │ 1 ──────────────── 7 │        │ 9 ─ 11 │          as the log wrote them; gone
//! rewritten        │ 3 ─ 5 g2 │ 6 g1 │        │ 9 g1 │            what is left of them, in files of their own
//! files            0000000003-2.seg  0000000008.seg  …
//! ```

use std::collections::BTreeSet;

use crate::env::{Dir, Replacement};
use crate::log::Error;
use crate::log::format::Fields;
use crate::log::scan::{SEQ_MAX, Scan};
use crate::log::segment::{GENERATION_MAX, Name, ORDINAL_MAX};
use crate::mutants::mutant;

/// The file's name.
pub(crate) const MANIFEST: &str = "MANIFEST";

const MAGIC: [u8; 8] = *b"ledgrman";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 40;
const EXTENT_BYTES: usize = 64;
/// The extent's segments were dropped: no file of theirs, as the log wrote it, belongs to the store any more.
const FLAG_DROPPED: u32 = 1;
/// One file holds what is left of the extent's segments.
const FLAG_REWRITTEN: u32 = 1 << 1;
/// Longest manifest: a million extents.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Consecutive segments, and what they hold or held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first_ordinal: u64,
    pub(crate) last_ordinal: u64,
    /// 0: segments as the log wrote them. Otherwise one file that compaction wrote in their place, so many times after another.
    pub(crate) generation: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) record_count: u64,
    /// Where the groups of the last segment end; of the file, if compaction wrote it.
    pub(crate) length: u64,
    /// Checksum over the header checksums of all records in the last segment; in the file, if compaction wrote it.
    pub(crate) digest: u32,
}

impl Extent {
    /// What the file is known by that holds it, or held its first segment.
    pub(crate) const fn name(&self) -> Name {
        Name { ordinal: self.first_ordinal, generation: self.generation }
    }

    /// Whether a scan of the file that compaction wrote found just what it wrote.
    pub(crate) fn is_what_was_found(&self, scan: &Scan) -> bool {
        (scan.first_seq, scan.last_seq) == (Some(self.first_seq), Some(self.last_seq))
            && (scan.record_count, scan.digest) == (self.record_count, self.digest)
            && (scan.end, scan.file_bytes) == (self.length, self.length)
    }

    fn covers(&self, ordinal: u64) -> bool {
        (self.first_ordinal..=self.last_ordinal).contains(&ordinal)
    }
}

/// The file that must follow in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next<'m> {
    /// A segment as the log wrote it, directly after the one before.
    Original(Name),
    /// The same, after segments of which nothing is left but how the last of them ended.
    AfterDropped(&'m Extent, Name),
    /// A file that compaction wrote.
    Rewritten(&'m Extent),
}

impl Next<'_> {
    pub(crate) const fn name(&self) -> Name {
        match self {
            Self::Original(name) | Self::AfterDropped(_, name) => *name,
            Self::Rewritten(extent) => extent.name(),
        }
    }
}

/// What the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) store_id: [u8; 16],
    /// Counts replacements; a reader that sees it change starts again.
    pub(crate) generation: u64,
    /// Ascending, without overlap; neighbours are merged.
    dropped: Vec<Extent>,
    /// Ascending, without overlap, each within what was dropped.
    rewritten: Vec<Extent>,
}

impl Manifest {
    pub(crate) fn new(store_id: [u8; 16]) -> Self {
        Self { store_id, generation: 0, dropped: Vec::new(), rewritten: Vec::new() }
    }

    /// The extent that segment `ordinal` was dropped with, if it was.
    pub(crate) fn dropped(&self, ordinal: u64) -> Option<&Extent> {
        let index = self.dropped.partition_point(|extent| extent.last_ordinal < ordinal);
        self.dropped.get(index).filter(|extent| extent.covers(ordinal))
    }

    /// Whether the record `seq` lay in a segment that was dropped; compaction may have kept it in another file.
    pub(crate) fn has_dropped_seq(&self, seq: u64) -> bool {
        let index = self.dropped.partition_point(|extent| extent.last_seq < seq);
        self.dropped.get(index).is_some_and(|extent| extent.first_seq <= seq)
    }

    /// Whether all records of the range lay in segments that were dropped.
    pub(crate) fn has_dropped_all(&self, from_seq: u64, to_seq: u64) -> bool {
        let index = self.dropped.partition_point(|extent| extent.last_seq < from_seq);
        let mut next = from_seq;
        for extent in self.dropped.iter().skip(index).take_while(|extent| extent.first_seq <= to_seq) {
            if extent.first_seq > next {
                return false;
            }
            next = extent.last_seq + 1;
        }
        next > to_seq
    }

    /// What the file `name` must hold, if compaction wrote it.
    pub(crate) fn rewritten(&self, name: Name) -> Option<&Extent> {
        let index = self.rewritten.binary_search_by_key(&name.ordinal, |extent| extent.first_ordinal).ok()?;
        self.rewritten
            .get(index)
            .filter(|extent| extent.generation == name.generation || mutant!("older-generation-accepted"))
    }

    /// Whether the file `name` belongs to the store.
    pub(crate) fn lists(&self, name: Name) -> bool {
        if mutant!("dropped-file-accepted") && name.generation == 0 {
            return true;
        }
        if name.generation == 0 { self.dropped(name.ordinal).is_none() } else { self.rewritten(name).is_some() }
    }

    /// A manifest that lists just these: the originals that were dropped, and the files that stand for what is left of them.
    pub(crate) fn of_rewritten(store_id: [u8; 16], dropped: Extent, rewritten: Vec<Extent>) -> Self {
        Self { store_id, generation: 1, dropped: vec![dropped], rewritten }
    }

    /// The last seq that was dropped; 0 if none was.
    pub(crate) fn last_dropped_seq(&self) -> u64 {
        self.dropped.last().map_or(0, |extent| extent.last_seq)
    }

    /// Ranges of seqs that were dropped and that no other file stands for.
    pub(crate) fn compacted(&self) -> Vec<(u64, u64)> {
        let mut ranges = Vec::new();
        for dropped in &self.dropped {
            let mut next = dropped.first_seq;
            let from = self.rewritten.partition_point(|extent| extent.first_ordinal < dropped.first_ordinal);
            let left = self.rewritten.iter().skip(from);
            for extent in left.take_while(|extent| dropped.covers(extent.first_ordinal)) {
                if extent.first_seq > next {
                    ranges.push((next, extent.first_seq - 1));
                }
                next = extent.last_seq + 1;
            }
            if next <= dropped.last_seq {
                ranges.push((next, dropped.last_seq));
            }
        }
        ranges
    }

    /// How many ranges of segments were dropped.
    pub(crate) fn dropped_count(&self) -> usize {
        self.dropped.len()
    }

    /// How many files compaction wrote that are in force.
    pub(crate) fn rewritten_count(&self) -> usize {
        self.rewritten.len()
    }

    /// Everything that was dropped.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn extents(&self) -> &[Extent] {
        &self.dropped
    }

    /// The first segment, as the log wrote it, after all that was dropped. It must be there: only what has a successor is dropped.
    pub(crate) fn first_after_dropped(&self) -> Name {
        Name::original(self.dropped.last().map_or(1, |extent| extent.last_ordinal + 1))
    }

    /// The file that follows segment `ordinal`, 0 before the first.
    pub(crate) fn next_after(&self, ordinal: u64) -> Next<'_> {
        // Where the one before was rewritten, what follows still says how it ended as the log wrote it.
        let next = ordinal.saturating_add(1);
        let Some(dropped) = self.dropped(next).or_else(|| self.dropped(ordinal)) else {
            return Next::Original(Name::original(next));
        };
        let index = self.rewritten.partition_point(|extent| extent.first_ordinal <= ordinal);
        match self.rewritten.get(index).filter(|extent| extent.first_ordinal <= dropped.last_ordinal) {
            Some(extent) => Next::Rewritten(extent),
            None => Next::AfterDropped(dropped, Name::original(dropped.last_ordinal + 1)),
        }
    }

    /// The first segments after `ordinal` that were dropped, if any were.
    pub(crate) fn dropped_after(&self, ordinal: u64) -> Option<&Extent> {
        self.dropped.get(self.dropped.partition_point(|extent| extent.first_ordinal <= ordinal))
    }

    /// The manifest that follows this one once the files of `gone` are too, one file each, and `left` stands for them.
    pub(crate) fn after(&self, gone: &[Extent], left: Option<Extent>) -> Self {
        let names: BTreeSet<Name> = gone.iter().map(Extent::name).collect();
        let originals = gone.iter().filter(|extent| extent.generation == 0);
        let mut all: Vec<Extent> = self.dropped.iter().chain(originals).copied().collect();
        all.sort_unstable_by_key(|extent| extent.first_ordinal);
        let mut dropped: Vec<Extent> = Vec::with_capacity(all.len());
        for extent in all {
            match dropped.last_mut() {
                Some(last) if last.last_ordinal + 1 == extent.first_ordinal => {
                    *last = Extent {
                        first_ordinal: last.first_ordinal,
                        first_seq: last.first_seq,
                        record_count: last.record_count + extent.record_count,
                        ..extent
                    };
                }
                _ => dropped.push(extent),
            }
        }
        let kept = self.rewritten.iter().filter(|extent| !names.contains(&extent.name()));
        let mut rewritten: Vec<Extent> = kept.copied().chain(left).collect();
        rewritten.sort_unstable_by_key(|extent| extent.first_ordinal);
        Self { store_id: self.store_id, generation: self.generation + 1, dropped, rewritten }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let extents = || self.dropped.iter().chain(&self.rewritten);
        let count = u32::try_from(extents().count()).expect("fewer extents than segments, fewer segments than 2^32");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + count as usize * EXTENT_BYTES + 4);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&self.store_id);
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        for extent in extents() {
            let Extent { first_ordinal, last_ordinal, generation, first_seq, last_seq, .. } = *extent;
            for field in [first_ordinal, last_ordinal, generation, first_seq, last_seq] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
            let flags = if generation == 0 { FLAG_DROPPED } else { FLAG_REWRITTEN };
            bytes.extend_from_slice(&extent.record_count.to_le_bytes());
            bytes.extend_from_slice(&extent.length.to_le_bytes());
            bytes.extend_from_slice(&extent.digest.to_le_bytes());
            bytes.extend_from_slice(&flags.to_le_bytes());
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
        if crc32fast::hash(covered) != u32::from_le_bytes(*checksum) && !mutant!("manifest-unverified") {
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
        if manifest.generation >= GENERATION_MAX {
            return Err(damaged("counts more replacements than there can have been"));
        }
        if Some(covered.len()) != count.checked_mul(EXTENT_BYTES).and_then(|bytes| bytes.checked_add(HEADER_BYTES)) {
            return Err(damaged("is longer or shorter than it says"));
        }
        for _ in 0..count {
            let (extent, flags) = read_extent(&mut fields);
            let known =
                flags == FLAG_DROPPED && extent.generation == 0 || flags == FLAG_REWRITTEN && extent.generation > 0;
            if !known {
                let first = extent.first_ordinal;
                let text = format!(
                    "lists segment {first} with unknown flags {flags:#x}: a newer version of ledgerline wrote it"
                );
                return Err((text, true));
            }
            if !manifest.push(extent) {
                return Err(damaged("lists segments out of order"));
            }
        }
        Ok(manifest)
    }

    /// Adds the next extent as they are listed: first what was dropped, then what was rewritten; false if it cannot stand there.
    fn push(&mut self, extent: Extent) -> bool {
        let is_original = extent.generation == 0;
        let within = |dropped: &Extent| {
            extent.last_ordinal <= dropped.last_ordinal
                && (dropped.first_seq..=dropped.last_seq).contains(&extent.first_seq)
                && extent.last_seq <= dropped.last_seq
        };
        let list = if is_original { &self.dropped } else { &self.rewritten };
        // Of what was dropped neighbours are one extent: whoever looks what follows the first must not be led to the second.
        let between = u64::from(is_original);
        let follows = |last: &Extent| {
            last.last_ordinal.saturating_add(between) < extent.first_ordinal && last.last_seq < extent.first_seq
        };
        let in_order = list.last().is_none_or(follows);
        let most = extent.last_seq.saturating_sub(extent.first_seq).saturating_add(1);
        let sound = (1..=extent.last_ordinal).contains(&extent.first_ordinal)
            && (1..=extent.last_seq).contains(&extent.first_seq)
            && extent.last_ordinal < ORDINAL_MAX
            && extent.last_seq < SEQ_MAX
            && extent.generation < GENERATION_MAX
            && (1..=most).contains(&extent.record_count);
        let placed = if is_original {
            self.rewritten.is_empty()
        } else {
            self.dropped(extent.first_ordinal).is_some_and(within)
        };
        if in_order && sound && placed {
            let list = if is_original { &mut self.dropped } else { &mut self.rewritten };
            list.push(extent);
        }
        in_order && sound && placed
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

    /// As [`Manifest::read`], from the disk and not from what the system still holds of it.
    pub(crate) fn read_from_disk(dir: &Dir) -> Result<Option<Self>, Error> {
        match dir.open_file(MANIFEST, false) {
            Ok(file) => file.drop_cache()?,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        Self::read(dir)
    }

    /// Writes what is to replace the directory's manifest. Nothing is replaced before [`Replacement::put`](crate::env::Replacement::put).
    pub(crate) fn write_aside<'d>(&self, dir: &'d Dir) -> Result<Replacement<'d>, Error> {
        Ok(dir.write_aside(MANIFEST, &self.encode())?)
    }
}

/// One extent and its flags.
fn read_extent(fields: &mut Fields<'_>) -> (Extent, u32) {
    let extent = Extent {
        first_ordinal: fields.u64(),
        last_ordinal: fields.u64(),
        generation: fields.u64(),
        first_seq: fields.u64(),
        last_seq: fields.u64(),
        record_count: fields.u64(),
        length: fields.u64(),
        digest: fields.u32(),
    };
    (extent, fields.u32())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(ordinal: u64) -> Extent {
        Extent {
            first_ordinal: ordinal,
            last_ordinal: ordinal,
            generation: 0,
            first_seq: ordinal * 10,
            last_seq: ordinal * 10 + 9,
            record_count: 10,
            length: 4_096,
            digest: u32::try_from(ordinal).unwrap(),
        }
    }

    fn rewritten(first: u64, last: u64, generation: u64) -> Extent {
        let (first_seq, last_seq) = (first * 10 + 3, last * 10 + 5);
        Extent { last_ordinal: last, generation, first_seq, last_seq, record_count: 2, ..segment(first) }
    }

    #[test]
    fn neighbours_merge_and_gaps_stay() {
        let manifest = Manifest::new([1; 16]).after(&[segment(2), segment(5)], None).after(&[segment(3)], None);
        assert_eq!(manifest.generation, 2);
        let extents: Vec<_> =
            manifest.extents().iter().map(|extent| (extent.first_ordinal, extent.last_ordinal)).collect();
        assert_eq!(extents, [(2, 3), (5, 5)]);
        assert_eq!(
            manifest.dropped(3).map(|extent| (extent.last_seq, extent.digest, extent.record_count)),
            Some((39, 3, 20))
        );
        assert_eq!(manifest.dropped(4), None);
        for (seq, dropped) in [(19, false), (20, true), (39, true), (40, false), (50, true), (60, false)] {
            assert_eq!(manifest.has_dropped_seq(seq), dropped, "{seq}");
        }
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }

    #[test]
    fn what_is_neither_in_its_segment_nor_in_what_is_left_of_it_was_compacted() {
        let two = Manifest::new([1; 16]).after(&[segment(2), segment(3), segment(5)], None);
        let manifest = two.after(&[], Some(rewritten(2, 3, 1)));
        assert_eq!(two.compacted(), [(20, 39), (50, 59)]);
        assert_eq!(manifest.compacted(), [(20, 22), (36, 39), (50, 59)]);
        for (from, to, dropped) in [(20, 39, true), (50, 50, true), (19, 20, false), (39, 40, false), (30, 55, false)] {
            assert_eq!(manifest.has_dropped_all(from, to), dropped, "{from} to {to}");
        }
    }

    #[test]
    fn what_is_left_of_segments_follows_in_their_place_and_can_go_in_its_turn() {
        let originals = [segment(1), segment(2), segment(3), segment(4)];
        let first = Manifest::new([1; 16]).after(&originals[1..3], Some(rewritten(2, 3, 1)));
        let follow = |manifest: &Manifest| {
            let mut names = Vec::new();
            let mut at = 0;
            while at < 5 {
                let next = manifest.next_after(at);
                names.push(next.name().to_string());
                at = if let Next::Rewritten(extent) = next { extent.last_ordinal } else { next.name().ordinal };
            }
            names
        };
        let second = first.after(&[segment(1), segment(4)], Some(rewritten(4, 4, 1)));
        let third = second.after(&[rewritten(2, 3, 1), rewritten(4, 4, 1)], Some(rewritten(2, 4, 2)));
        let fourth = third.after(&[rewritten(2, 4, 2)], None);
        for (manifest, names) in [
            (&first, vec!["0000000001.seg", "0000000002-1.seg", "0000000004.seg", "0000000005.seg"]),
            (&second, vec!["0000000002-1.seg", "0000000004-1.seg", "0000000005.seg"]),
            (&third, vec!["0000000002-2.seg", "0000000005.seg"]),
            (&fourth, vec!["0000000005.seg"]),
        ] {
            assert_eq!(follow(manifest), names);
            for name in ["0000000001.seg", "0000000002-1.seg", "0000000004-1.seg", "0000000002-2.seg"] {
                assert_eq!(manifest.lists(Name::parse(name).unwrap()), names.contains(&name), "{name} in {names:?}");
            }
            assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(manifest));
        }
        assert_eq!(third.next_after(4), Next::AfterDropped(third.dropped(1).unwrap(), Name::original(5)));
        assert_eq!(third.first_after_dropped(), Name::original(5));
    }

    #[test]
    fn numbers_that_no_store_reaches_are_refused() {
        let sound = segment(2);
        let decoded = |dropped: &[Extent], rewritten: &[Extent]| {
            let (dropped, rewritten) = (dropped.to_vec(), rewritten.to_vec());
            Manifest::decode(&Manifest { store_id: [1; 16], generation: 1, dropped, rewritten }.encode()).is_ok()
        };
        assert!(decoded(&[sound], &[rewritten(2, 2, 1)]));
        for extent in [
            Extent { last_ordinal: u64::MAX, ..sound },
            Extent { first_ordinal: 0, ..sound },
            Extent { last_seq: u64::MAX, ..sound },
            Extent { first_seq: 0, ..sound },
            Extent { record_count: 11, ..sound },
            Extent { generation: u64::MAX, ..sound },
            Extent { record_count: 0, ..sound },
            rewritten(2, 2, 1),
        ] {
            assert!(!decoded(&[extent], &[]), "{extent:?}");
        }
        let (early, late) =
            (Extent { first_seq: 1, ..rewritten(2, 2, 1) }, Extent { last_seq: 30, ..rewritten(2, 2, 1) });
        for extent in [rewritten(1, 2, 1), rewritten(2, 3, 1), rewritten(3, 3, 1), early, late] {
            assert!(!decoded(&[sound], &[extent]), "what was not dropped has no file beside it: {extent:?}");
        }
        assert!(decoded(&[sound, segment(4)], &[]) && !decoded(&[sound, segment(3)], &[]), "neighbours are one extent");
        assert!(!decoded(&[sound], &[rewritten(2, 2, 1), rewritten(2, 2, 2)]));
        assert!(!decoded(&[sound], &[rewritten(2, 2, u64::MAX)]));
        let last = Manifest { generation: u64::MAX, ..Manifest::new([1; 16]) };
        assert!(Manifest::decode(&last.encode()).is_err(), "compaction could not count on");
    }

    #[test]
    fn any_flipped_bit_or_missing_byte_is_seen() {
        let bytes = Manifest::new([1; 16]).after(&[segment(2)], Some(rewritten(2, 2, 1))).encode();
        assert_eq!(bytes.len(), HEADER_BYTES + 2 * EXTENT_BYTES + 4);
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

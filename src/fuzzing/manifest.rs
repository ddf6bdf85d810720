//! The manifest, and the questions that are asked of it.

use super::taken::Taken;
use crate::log::manifest::{Extent, Manifest, Next};
use crate::log::segment::GENERATION_MAX;

/// Bytes of a manifest's head, and of one extent, as FORMAT.md draws them.
const HEAD_BYTES: usize = 40;
const EXTENT_BYTES: usize = 64;

/// The first byte chooses how the rest is taken:
///
/// * 0: as a file.
/// * 1: as store id, generation and extents, under a count and a checksum that hold.
/// * otherwise: as a description of extents with small numbers, which mostly follow one another; under a checksum that holds.
///
/// What is read says the same when it is encoded again, and its answers agree with one another.
pub fn manifest(bytes: &[u8]) {
    match bytes.split_first() {
        None => {}
        Some((0, file)) => decoded(file),
        Some((1, rest)) => {
            let (head, extents) = rest.split_at(rest.len().min(24));
            decoded(&sealed(head, extents));
        }
        Some((_, rest)) => decoded(&described(rest)),
    }
}

/// A file whose length and checksum are right.
fn sealed(head: &[u8], extents: &[u8]) -> Vec<u8> {
    let count = u32::try_from(extents.len() / EXTENT_BYTES).unwrap_or(0);
    let mut file = b"ledgrman\x01\0\0\0".to_vec();
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(head);
    file.resize(HEAD_BYTES, 0);
    file.extend_from_slice(extents.get(..count as usize * EXTENT_BYTES).unwrap_or_default());
    let checksum = crc32fast::hash(&file);
    file.extend_from_slice(&checksum.to_le_bytes());
    file
}

fn described(bytes: &[u8]) -> Vec<u8> {
    let mut taken = Taken::new(bytes);
    let (mut ordinal, mut seq) = (0, 0);
    let mut extents = Vec::new();
    for _ in 0..32 {
        if taken.is_over() {
            break;
        }
        let generation = taken.number() % 4;
        if taken.byte() == u8::MAX {
            // What was rewritten is listed after all that was dropped, and begins again at the first of them.
            (ordinal, seq) = (0, 0);
        }
        let mut next = |number: &mut u64| {
            *number = number.wrapping_add(taken.number());
            *number
        };
        let (first_ordinal, last_ordinal) = (next(&mut ordinal), next(&mut ordinal));
        let (first_seq, last_seq) = (next(&mut seq), next(&mut seq));
        for field in [first_ordinal, last_ordinal, generation, first_seq, last_seq] {
            extents.extend_from_slice(&field.to_le_bytes());
        }
        for field in [taken.number().saturating_add(1), taken.number()] {
            extents.extend_from_slice(&field.to_le_bytes());
        }
        let flags = if generation == 0 { 1 } else { 2 } ^ u32::from(taken.byte() == u8::MAX);
        extents.extend_from_slice(&taken.u32().to_le_bytes());
        extents.extend_from_slice(&flags.to_le_bytes());
    }
    sealed(&[3; 24], &extents)
}

fn decoded(file: &[u8]) {
    let manifest = match Manifest::decode(file) {
        Ok(manifest) => manifest,
        Err((reason, _)) => {
            assert!(!reason.is_empty() && Manifest::decode(file).is_err());
            return;
        }
    };
    assert!(manifest.encode() == file, "a manifest keeps every byte: {manifest:?}");
    let most = file.len() / EXTENT_BYTES;
    assert!(manifest.dropped_count() + manifest.rewritten_count() <= most, "an extent takes its bytes");
    let dropped = manifest.extents().to_vec();
    follow(&manifest, &dropped);
    for extent in &dropped {
        ask(&manifest, extent);
    }
    let gone = manifest.compacted();
    assert!(gone.windows(2).all(|pair| matches!(pair, [(_, last), (first, _)] if last < first)), "{gone:?}");
    for (first, last) in gone {
        assert!(first <= last && manifest.has_dropped_all(first, last), "what is gone was dropped: {first} to {last}");
    }
    // Compaction goes on from here: whatever it takes away, what it writes can be read.
    let left = manifest.after(&[], None);
    assert!(left.extents().len() <= dropped.len(), "neighbours merge and nothing comes of nothing");
    assert_eq!(left.rewritten_count(), manifest.rewritten_count());
    assert!(left.generation == GENERATION_MAX || Manifest::decode(&left.encode()).as_ref() == Ok(&left), "{left:?}");
}

fn ask(manifest: &Manifest, extent: &Extent) {
    for ordinal in [extent.first_ordinal, extent.last_ordinal] {
        assert_eq!(manifest.dropped(ordinal), Some(extent), "{ordinal}");
    }
    for seq in [extent.first_seq, extent.last_seq] {
        assert!(manifest.has_dropped_seq(seq) && manifest.has_dropped_all(seq, seq), "{seq}");
    }
    assert!(manifest.has_dropped_all(extent.first_seq, extent.last_seq));
    assert!(!manifest.lists(extent.name()), "the file of what was dropped does not belong to the store");
}

/// Follows the log from its beginning to the first segment after all that was dropped: it ascends, and meets each rewritten file once.
fn follow(manifest: &Manifest, dropped: &[Extent]) {
    let last = dropped.last().map_or(0, |extent| extent.last_ordinal);
    let (mut at, mut rewritten) = (0, 0);
    for extent in dropped {
        // Between two extents stand segments as the log wrote them.
        at = at.max(extent.first_ordinal - 1);
        while at < extent.last_ordinal {
            let next = manifest.next_after(at);
            assert!(manifest.lists(next.name()), "what follows {at} is a file of the store: {next:?}");
            at = match next {
                Next::Rewritten(file) => {
                    rewritten += 1;
                    assert!(file.first_ordinal > at && file.last_ordinal <= extent.last_ordinal, "{file:?} after {at}");
                    assert_eq!(manifest.rewritten(next.name()), Some(file));
                    file.last_ordinal
                }
                Next::AfterDropped(found, name) => {
                    assert_eq!((found, name.ordinal), (extent, extent.last_ordinal + 1));
                    extent.last_ordinal
                }
                Next::Original(name) => unreachable!("{name} was dropped"),
            };
        }
    }
    assert_eq!(rewritten, manifest.rewritten_count(), "every rewritten file has its place");
    assert_eq!(manifest.first_after_dropped().ordinal, last + 1);
}

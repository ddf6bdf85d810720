//! What the fuzzer calls: parsers of foreign bytes, with what must hold for any input (R14).
//!
//! Only compiled for fuzzing and for tests; an ordinary test replays the committed corpus.

use crate::event::codec;
use crate::log::format::{
    GROUP_HEAD_BYTES, GroupHead, HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader, SegmentHeader, record_span,
};
use crate::log::scan::{Record, Seqs, Standing, Visitor, scan};
use crate::log::source::Source;

const HEADER: SegmentHeader = SegmentHeader { store_id: [7; 16], ordinal: 1, generation: 0, salt: 0x5a17 };

/// The first byte chooses how the rest is taken:
///
/// * 0: as the body of a record. What decodes is encoded to the same entry again.
/// * 1: as a segment, behind a sound header. It is scanned to its end.
/// * otherwise: as bodies of records in a sound segment, and a place in it to damage. The scan shows a prefix of what was written.
pub fn record(bytes: &[u8]) {
    match bytes.split_first() {
        None => {}
        Some((0, body)) => decode(body),
        Some((1, rest)) => drop(scanned(&[HEADER.encode().as_slice(), rest].concat())),
        Some((_, rest)) => damaged(rest),
    }
}

fn decode(body: &[u8]) {
    let Ok(entry) = codec::decode(body) else { return };
    let mut encoded = Vec::new();
    entry.encode(&mut encoded);
    assert_eq!(codec::decode(&encoded).as_ref(), Ok(&entry), "an entry keeps its meaning");
}

/// The bodies of all sound records.
fn scanned(file: &[u8]) -> Vec<Vec<u8>> {
    struct Sound(Vec<Vec<u8>>);
    impl Visitor for Sound {
        type Stop = std::convert::Infallible;

        fn record(&mut self, record: &Record<'_>, standing: Standing) -> Result<(), Self::Stop> {
            drop(codec::decode(record.body));
            if standing == Standing::Sound {
                self.0.push(record.body.to_vec());
            }
            Ok(())
        }
    }
    let mut sound = Sound(Vec::new());
    let scanned = scan(&mut Source::Memory(file), file.len() as u64, &HEADER, Seqs::Any, &mut sound);
    let scanned = scanned.unwrap_or_else(|_| unreachable!("memory can be read and the visitor never stops"));
    assert!(scanned.end <= file.len() as u64 && scanned.record_count == sound.0.len() as u64, "{scanned:?}");
    sound.0
}

/// Writes groups of one record each, flips bits at one place, and scans.
fn damaged(bytes: &[u8]) {
    let Some((place, bodies)) = bytes.split_first_chunk::<3>() else { return };
    let [low, high, flip] = *place;
    let bodies: Vec<&[u8]> = bodies.chunks(29).filter(|body| body.len() >= 4).collect();
    let mut file = HEADER.encode().to_vec();
    for (seq, body) in (1_u64..).zip(&bodies) {
        push_group(&mut file, body, seq);
    }
    assert_eq!(scanned(&file), bodies, "what was written is read");
    let at = usize::from(u16::from_le_bytes([low, high]));
    let Some(byte) = file.get_mut(HEADER_BYTES + at) else { return };
    *byte ^= flip;
    let found = scanned(&file);
    assert!(bodies.starts_with(&found.iter().map(Vec::as_slice).collect::<Vec<_>>()), "damage shows no other records");
    assert!(flip == 0 || found.len() < bodies.len(), "damage is seen");
}

fn push_group(file: &mut Vec<u8>, body: &[u8], seq: u64) {
    let start = file.len();
    let offset = start as u64;
    let mut header = [0; RECORD_HEADER_BYTES];
    let checksum = RecordHeader::encode(&mut header, body.into(), seq, HEADER.salt, offset + GROUP_HEAD_BYTES as u64);
    let length = GROUP_HEAD_BYTES + record_span(body.len());
    let head = GroupHead {
        length: u32::try_from(length).unwrap_or(u32::MAX),
        record_count: 1,
        first_seq: seq,
        durable: seq - 1,
        digest: crc32fast::hash(&checksum.to_le_bytes()),
        flags: 0,
    };
    file.extend_from_slice(&head.encode(HEADER.salt, offset));
    file.extend_from_slice(&header);
    file.extend_from_slice(body);
    file.resize(start + length, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the corpus lies in files")]
    fn the_corpus_finds_nothing() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/record");
        let mut count = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            record(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 10, "the corpus has {count} inputs");
    }

    #[test]
    fn every_place_of_a_small_segment_may_be_damaged() {
        let bodies = [0_u8, 1, 2, 3, 4, 5, 6].repeat(12);
        for at in 0_u16..400 {
            for flip in [0, 1, 0x80, 0xff] {
                let [low, high] = at.to_le_bytes();
                record(&[[2, low, high, flip].as_slice(), &bodies].concat());
            }
        }
    }
}

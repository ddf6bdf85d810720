//! The floor of opening a store: a bare scan of its files that verifies every checksum and keeps nothing.
#![expect(clippy::indexing_slicing, reason = "it reads what a bench wrote")]

use std::path::Path;
use std::time::{Duration, Instant};

use super::log::segments;

/// The time for reading and verifying the segments in `dir` `rounds` times.
pub(crate) fn scan(dir: &Path, rounds: u64) -> Duration {
    let began = Instant::now();
    for _ in 0..rounds {
        for path in segments(dir) {
            verify(&std::fs::read(path).expect("the segment is read"));
        }
    }
    began.elapsed()
}

/// Verifies the groups of a segment, as FORMAT.md draws them.
fn verify(segment: &[u8]) {
    let salt = segment.get(48..56).expect("a segment has a header");
    let mut group = 64;
    while let Some(head) = segment.get(group..group + 40).filter(|head| head.starts_with(b"LGRP")) {
        assert_eq!(number(head, 4), placed(&[salt, &group.to_le_bytes(), &head[..4], &head[8..]]));
        let end = group + number(head, 8) as usize;
        let mut checksums = Vec::new();
        let mut at = group + 40;
        while at < end {
            let header = &segment[at..at + 24];
            assert_eq!(number(header, 0), placed(&[salt, &at.to_le_bytes(), &header[4..]]));
            let body = &segment[at + 24..at + 24 + number(header, 8) as usize];
            assert_eq!(number(header, 4), crc32fast::hash(body));
            checksums.extend_from_slice(&header[..4]);
            at = (at + 24 + body.len()).next_multiple_of(8);
        }
        assert_eq!(number(head, 32), crc32fast::hash(&checksums));
        group = end;
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four"))
}

/// The checksum of a head or a header at its place.
fn placed(parts: &[&[u8]]) -> u32 {
    let mut covered = [0; 64];
    let mut len = 0;
    for part in parts {
        covered[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    }
    crc32fast::hash(&covered[..len])
}

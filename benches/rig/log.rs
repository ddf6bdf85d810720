//! The groups of a store's log, as FORMAT.md draws them: how many bytes were written at once, and which of these writes were synced.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Length of a segment's header; the first group begins here.
const HEADER_BYTES: u64 = 64;
/// Length of a group's head.
const HEAD_BYTES: usize = 40;

/// One write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    pub(crate) bytes: u32,
    /// Whether a sync came before the next write.
    pub(crate) synced: bool,
}

/// The writes of a log, in order.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) groups: Vec<Group>,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
}

/// What the head of a group says.
struct Head {
    length: u32,
    record_count: u32,
    first_seq: u64,
    durable: u64,
}

impl Groups {
    /// The groups of the log in `dir` whose records all come after `seq`.
    pub(crate) fn after(dir: &Path, seq: u64) -> Self {
        let mut found = Self { groups: Vec::new(), bytes: 0, records: 0 };
        let mut durable = 0;
        for path in segments(dir) {
            let file = File::open(&path).expect("a segment is there");
            let mut offset = HEADER_BYTES;
            while let Some(head) = Head::read(&file, offset) {
                offset += u64::from(head.length);
                if head.first_seq <= seq {
                    continue;
                }
                // A head says what was durable when it was written: if that grew, a sync has ended since the write before.
                if let Some(last) = found.groups.last_mut() {
                    last.synced = head.durable > durable;
                }
                durable = head.durable;
                found.groups.push(Group { bytes: head.length, synced: true });
                found.bytes += u64::from(head.length);
                found.records += u64::from(head.record_count);
            }
        }
        assert!(!found.groups.is_empty(), "something was written");
        found
    }
}

impl Head {
    fn read(file: &File, offset: u64) -> Option<Self> {
        let mut bytes = [0; HEAD_BYTES];
        file.read_exact_at(&mut bytes, offset).ok()?;
        let half = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let whole = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let head = Self { length: half(8)?, record_count: half(12)?, first_seq: whole(16)?, durable: whole(24)? };
        bytes.starts_with(b"LGRP").then_some(head)
    }
}

/// The segments in `dir`, in their order.
pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("the directory is there");
    let paths = entries.map(|entry| entry.expect("it is listed").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect();
    paths.sort();
    paths
}

//! The bytes of released formats open for ever, and a reader written from FORMAT.md alone agrees with ours.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what its own scaffolding cannot do fails a test")]
#![expect(clippy::disallowed_methods, reason = "a test of bytes reads and copies files")]

use std::fs;
use std::path::Path;

use ledgerline::{Duplicate, ErrorKind, Event, Filter, NewEvent, Status, Store, StoreOptions, audit};

/// A store of format version 1: two events that retention forgot and whose segment was dropped, then one event of every fate.
const V1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-v1");

/// One in which compaction wrote three segments anew as one: of each an event that failed is left, and the ids of three others.
const V1_REWRITTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-v1-rewritten");

fn copy(fixture: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

#[test]
fn a_store_of_version_1_opens_with_everything_in_it() {
    let dir = copy(V1);
    let options = StoreOptions::default().segment_bytes(64 * 1024);
    let store = Store::open(dir.path(), options).unwrap();
    let events = store.list(&Filter::all()).unwrap();
    let stand: Vec<(&str, Status)> = events.iter().map(|event| (event.id(), event.status())).collect();
    let expected = [
        ("completed", Status::Completed),
        ("failed", Status::Failed),
        ("cancelled", Status::Cancelled),
        ("pending", Status::Pending),
        ("again", Status::Pending),
    ];
    assert_eq!(stand, expected);
    let by_id = |id: &str| events.iter().find(|event| event.id() == id).unwrap();
    let failed: &Event = by_id("failed");
    assert_eq!((failed.error_message(), failed.retry_count(), failed.max_retries()), (Some("second error"), 2, 1));
    assert_eq!(failed.headers(), [("content-type".to_owned(), "application/json".to_owned())]);
    assert_eq!(failed.data(), "{\"note\":\"caf\u{e9}\",\"title\":\"failed\"}");
    assert_eq!(by_id("cancelled").error_message(), Some("not needed"));
    assert_eq!((by_id("completed").key(), by_id("pending").source()), (Some("k"), "fixture"));
    let stats = store.stats();
    assert_eq!((stats.events_processed, stats.events_failed, stats.events_retried), (4, 2, 1));
    let forgotten = NewEvent::from_json("Issue", "{\"note\":\"caf\u{e9}\",\"title\":\"old0\"}").unwrap().id("old0");
    assert_eq!(store.append(forgotten).unwrap().duplicate, Some(Duplicate::SameId), "its id is remembered");
    let other = NewEvent::from_json("Issue", "{}").unwrap().id("old1");
    assert_eq!(store.append(other).unwrap_err().kind(), ErrorKind::IdConflict);
    let steps: Vec<String> = store.history("failed").unwrap().into_iter().map(|step| step.what).collect();
    assert_eq!(steps, ["received", "started", "failed", "started", "failed"]);
}

#[test]
fn a_store_of_version_1_that_was_rewritten_opens_with_what_was_left() {
    let dir = copy(V1_REWRITTEN);
    let store = Store::open(dir.path(), StoreOptions::default().segment_bytes(64 * 1024)).unwrap();
    let events = store.list(&Filter::all()).unwrap();
    let stand: Vec<_> = events.iter().map(|event| (event.id(), event.error_message().unwrap_or_default())).collect();
    assert_eq!(stand, [("failed0", "error 0"), ("failed1", "error 1"), ("failed2", "error 2"), ("pending", "")]);
    let steps = |id: &str| store.history(id).unwrap().into_iter().map(|step| step.what).collect::<Vec<_>>();
    assert_eq!(steps("failed1"), ["received", "started", "failed"]);
    for round in 0..3 {
        let other = NewEvent::from_json("Issue", "{}").unwrap().id(format!("done{round}2"));
        assert_eq!(store.append(other).unwrap_err().kind(), ErrorKind::IdConflict, "its id is remembered");
    }
    assert_eq!((store.stats().events_processed, store.epoch()), (9, 5));
}

/// A reader as FORMAT.md tells to write one. It shares no line with the crate's: not even the checksum.
mod independent {
    pub(super) struct Record {
        pub(super) seq: u64,
        pub(super) offset: u64,
        pub(super) kind: u16,
        pub(super) length: usize,
    }

    /// Every record of a segment; panics if anything does not verify.
    pub(super) fn records(file: &[u8]) -> Vec<Record> {
        assert_eq!(&file[..8], b"ledgrseg");
        assert_eq!((u16_at(file, 8), u32_at(file, 12)), (1, 0));
        assert_eq!(crc(&[&file[..60]]), u32_at(file, 60));
        let salt = &file[48..56];
        let is_sparse = u64_at(file, 40) > 0;
        let mut records = Vec::new();
        let mut at = 64;
        while at < file.len() && file[at..].iter().any(|byte| *byte != 0) {
            at += group(file, at, salt, is_sparse, &mut records);
        }
        records
    }

    fn group(file: &[u8], start: usize, salt: &[u8], is_sparse: bool, records: &mut Vec<Record>) -> usize {
        let head = &file[start..start + 40];
        let place = (start as u64).to_le_bytes();
        assert_eq!(&head[..4], b"LGRP");
        assert_eq!(crc(&[salt, &place, &head[..4], &head[8..]]), u32_at(head, 4));
        let (length, count, first_seq) = (u32_at(head, 8) as usize, u32_at(head, 12), u64_at(head, 16));
        assert!(u64_at(head, 24) < first_seq && u32_at(head, 36) == u32::from(is_sparse));
        let mut digest = Vec::new();
        let mut at = start + 40;
        for index in 0..u64::from(count) {
            let header = &file[at..at + 24];
            let place = (at as u64).to_le_bytes();
            assert_eq!(crc(&[salt, &place, &header[4..]]), u32_at(header, 0));
            digest.extend_from_slice(&header[..4]);
            let body = &file[at + 24..at + 24 + u32_at(header, 8) as usize];
            assert_eq!(crc(&[body]), u32_at(header, 4));
            let (flags, seq) = (u32_at(header, 12), u64_at(header, 16));
            let after = records.last().filter(|_| index > 0).map_or(first_seq, |last| last.seq + 1);
            assert!(flags == 0 && (seq == after || is_sparse && index > 0 && seq > after), "{seq} after {after}");
            assert_eq!(u16_at(body, 2), 1);
            records.push(Record { seq, offset: at as u64, kind: u16_at(body, 0), length: body.len() });
            at = (at + 24 + body.len()).next_multiple_of(8);
        }
        assert_eq!((crc(&[&digest]), at), (u32_at(head, 32), start + length));
        length
    }

    fn crc(parts: &[&[u8]]) -> u32 {
        let mut crc = u32::MAX;
        for byte in parts.iter().copied().flatten() {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        !crc
    }

    fn u16_at(bytes: &[u8], at: usize) -> u16 {
        u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }
}

#[test]
fn a_reader_written_from_the_format_page_lists_the_same_records() {
    const KINDS: [&str; 15] = [
        "",
        "begun",
        "state",
        "mark",
        "received",
        "started",
        "completed",
        "failed",
        "released",
        "replayed",
        "cancelled",
        "condemned",
        "horizon",
        "remembered",
        "accepted",
    ];
    let rewritten = ["0000000001-1.seg", "0000000004.seg"].map(|name| Path::new(V1_REWRITTEN).join(name));
    for path in ["0000000002.seg", "0000000003.seg"].map(|name| Path::new(V1).join(name)).into_iter().chain(rewritten) {
        let theirs: Vec<_> = independent::records(&fs::read(&path).unwrap())
            .iter()
            .map(|record| (record.seq, record.offset, KINDS[usize::from(record.kind)], record.length))
            .collect();
        let mut ours = Vec::new();
        let report = audit::audit(&path, &mut |item| {
            if let audit::Item::Record(line) = item {
                assert_eq!(line.checksum, audit::Checksum::Ok);
                ours.push((line.seq, line.offset, line.kind, line.length));
            }
            Ok(())
        });
        assert_eq!(report.unwrap().damage, 0);
        assert_eq!(ours, theirs);
        assert!(ours.len() >= 4);
    }
}

//! The bytes of released formats open for ever, and a reader written from FORMAT.md alone agrees with ours.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what its own scaffolding cannot do fails a test")]
#![expect(clippy::disallowed_methods, reason = "a test of bytes reads and copies files")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ledgerline::{
    Duplicate, ErrorKind, Event, Filter, NewEvent, Scope, Status, Store, StoreOptions, Timestamp, Waiting, audit,
};

/// A store of format version 1: two events that retention forgot and whose segment was dropped, then one event of every fate.
const V1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-v1");

/// One in which compaction wrote three segments anew as one: of each an event that failed is left, and the ids of three others.
const V1_REWRITTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-v1-rewritten");

/// One with the kinds up to 19: events that wait for every reason, were put off, or of whose handlers some have succeeded. What its first
/// segment said of pauses and cursors was dropped, so that the states after it alone tell that.
const V1_KINDS_19: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-v1-kinds-19");

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

#[test]
fn a_store_of_version_1_with_pauses_and_cursors_opens_with_all_that_holds() {
    let dir = copy(V1_KINDS_19);
    let store = Store::open(dir.path(), StoreOptions::default().segment_bytes(64 * 1024)).unwrap();
    let of_type = |name: &str| Scope::Type(name.to_owned());
    let (comment, report, key) = (of_type("Comment"), of_type("Report"), Scope::Key("k".to_owned()));
    let year = |year: u32| format!("{year}-01-01T00:00:00Z").parse::<Timestamp>().unwrap();
    let pauses = store.pauses();
    let in_force: Vec<_> = pauses.iter().map(|pause| (&pause.scope, pause.until, pause.reason.as_str())).collect();
    let expected = [
        (&comment, None, "another release"),
        (&report, None, "a longer release"),
        (&key, Some(year(2300)), "until somebody asks"),
    ];
    assert_eq!(in_force, expected);
    let cursors: Vec<_> = store.cursors().into_iter().collect();
    assert_eq!(cursors, [("archive".to_owned(), 3), ("reader".to_owned(), 9)]);
    let events = store.list(&Filter::all()).unwrap();
    let stand: Vec<_> = events.iter().map(|event| (event.id(), event.status(), event.priority())).collect();
    let expected = [
        ("snoozed", Status::Retrying, 0),
        ("handled", Status::Failed, 0),
        ("paused", Status::Pending, 9),
        ("timed", Status::Pending, 7),
        ("keyed", Status::Pending, 0),
        ("both", Status::Retrying, 0),
    ];
    assert_eq!(stand, expected);
    let why = |id: &str| store.get(id).unwrap().unwrap().waiting().cloned();
    assert_eq!(why("paused"), Some(Waiting::Pause { scope: report, until: None }));
    assert_eq!(why("keyed"), Some(Waiting::Pause { scope: key, until: Some(year(2300)) }));
    assert_eq!(why("timed"), Some(Waiting::Time { until: year(2200) }));
    assert_eq!(why("both"), Some(Waiting::Turn), "it was put off to at once");
    let snoozed = store.history("snoozed").unwrap().pop().unwrap();
    assert_eq!((snoozed.what.as_str(), snoozed.attempt), ("snoozed", Some(2)));
    assert_eq!(snoozed.retry_at.unwrap().saturating_since(snoozed.at), Duration::from_hours(30 * 24));
    store.replay(&["handled"]).unwrap();
    let claims = store.claim(10).unwrap();
    let handled = |id: &str| {
        let claim = claims.iter().find(|claim| claim.event().id() == id).unwrap();
        ["mail", "post"].map(|handler| claim.is_handled_by(handler))
    };
    assert_eq!((handled("handled"), handled("both")), ([true, true], [true, false]));
    assert!(store.verify().unwrap().is_sound());
}

/// A reader as FORMAT.md tells to write one. It shares no line with the crate's: not even the checksum.
mod independent {
    pub(super) struct Record {
        pub(super) seq: u64,
        pub(super) offset: u64,
        pub(super) kind: u16,
        pub(super) body: Vec<u8>,
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
            records.push(Record { seq, offset: at as u64, kind: u16_at(body, 0), body: body.to_vec() });
            at = (at + 24 + body.len()).next_multiple_of(8);
        }
        assert_eq!((crc(&[&digest]), at), (u32_at(head, 32), start + length));
        length
    }

    /// What a body of kind 2, 15, 16, 17, 18 or 19 says, but for the time at which it was said; no other has the version 2.
    pub(super) fn says(body: &[u8]) -> Option<String> {
        let (kind, version, mut fields) = (u16_at(body, 0), u16_at(body, 2), Fields(&body[4..]));
        assert!(version == 1 || (kind, version) == (2, 2));
        let said = match kind {
            2 => {
                let counts = [0; 5].map(|_| fields.u());
                let forgets = [fields.i(), fields.i()].map(|time| time != i64::MIN);
                let more = if version == 2 { fields.posts() } else { String::new() };
                format!("state {version} {counts:?} {forgets:?}{more}")
            }
            15 => format!("paused {}", fields.paused()),
            16 => format!("resumed {} {}", fields.scope(), fields.time()),
            17 => {
                let (run, at, due) = (fields.run(), fields.i(), fields.i());
                format!("snoozed {run}, {} {} us, {} times", due - at, fields.u(), fields.u())
            }
            18 => format!("handled {}, {} {}", fields.run(), fields.text(), fields.time()),
            19 => {
                let name = fields.text();
                let seq = (fields.byte() == 1).then(|| fields.u());
                format!("cursor {name} {seq:?} {}", fields.time())
            }
            _ => return None,
        };
        assert_eq!(fields.0, [0; 0], "after {said}");
        Some(said)
    }

    /// What names an event in a record's body.
    pub(super) enum Event {
        Id(String),
        /// Seq of its reception, and the low half of its id's hash.
        Of(u64, u64),
    }

    pub(super) fn event(body: &[u8]) -> Option<Event> {
        let (kind, mut fields) = (u16_at(body, 0), Fields(&body[4..]));
        match kind {
            4 => Some(Event::Id(fields.text())),
            5..=11 | 17 | 18 => Some(Event::Of(fields.u(), fields.u())),
            _ => None,
        }
    }

    /// The low half of an id's hash in the store that a segment's header names.
    pub(super) fn id_hash(header: &[u8], id: &str) -> u64 {
        let (low, high) = (u64_at(header, 16), u64_at(header, 24));
        let ascii = |text: &[u8; 8]| u64::from_be_bytes(*text);
        let mut v = [
            low ^ ascii(b"somepseu"),
            high ^ ascii(b"dorandom") ^ 0xee,
            low ^ ascii(b"lygenera"),
            high ^ ascii(b"tedbytes"),
        ];
        let round = |v: &mut [u64; 4]| {
            for (a, b, left) in [(0, 1, 13), (2, 3, 16), (0, 3, 21), (2, 1, 17)] {
                v[a] = v[a].wrapping_add(v[b]);
                v[b] = v[b].rotate_left(left) ^ v[a];
                if left == 13 || left == 17 {
                    v[a] = v[a].rotate_left(32);
                }
            }
        };
        let mut padded = id.as_bytes().to_vec();
        padded.resize(id.len() / 8 * 8 + 7, 0);
        padded.push(u8::try_from(id.len() % 256).unwrap());
        for at in (0..padded.len()).step_by(8) {
            let word = u64_at(&padded, at);
            v[3] ^= word;
            (0..2).for_each(|_| round(&mut v));
            v[0] ^= word;
        }
        v[2] ^= 0xee;
        (0..4).for_each(|_| round(&mut v));
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }

    struct Fields<'a>(&'a [u8]);

    impl Fields<'_> {
        fn byte(&mut self) -> u8 {
            let (byte, rest) = self.0.split_first().unwrap();
            self.0 = rest;
            *byte
        }

        fn u(&mut self) -> u64 {
            let first = self.byte();
            if first < 251 {
                return u64::from(first);
            }
            assert!(first <= 253, "a number that begins with {first}");
            (0..2 << (first - 251)).fold(0, |number, place| number | u64::from(self.byte()) << (8 * place))
        }

        fn i(&mut self) -> i64 {
            let number = self.u();
            (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
        }

        /// The time at which something was said: the fixtures were made between 2026-11-23 and 2026-11-24.
        fn time(&mut self) -> &'static str {
            let seconds = self.i() / 1_000_000;
            assert!((1_795_392_000..1_795_478_400).contains(&seconds), "{seconds}");
            "in time"
        }

        fn text(&mut self) -> String {
            let len = self.u();
            String::from_utf8((0..len).map(|_| self.byte()).collect()).unwrap()
        }

        /// Pauses and cursors in force.
        fn posts(&mut self) -> String {
            let mut posts = vec![String::new()];
            for _ in 0..self.u() {
                posts.push(format!("paused {}", self.paused()));
            }
            for _ in 0..self.u() {
                posts.push(format!("cursor {} {}", self.text(), self.u()));
            }
            posts.join("; ")
        }

        fn run(&mut self) -> String {
            let (of, _id_hash, epoch, started) = (self.u(), self.u(), self.u(), self.u());
            format!("of {of} in {epoch}/{started}")
        }

        fn scope(&mut self) -> String {
            format!("{} {}", ["type", "key"][usize::from(self.byte())], self.text())
        }

        fn paused(&mut self) -> String {
            let scope = self.scope();
            self.time();
            let until = if self.byte() == 1 { format!(" until {}", self.i() / 1_000_000) } else { String::new() };
            format!("{scope}{until}: {}", self.text())
        }
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

/// All files of segments among the fixtures, in order.
fn segments() -> impl Iterator<Item = PathBuf> {
    let of = |store: &'static str, names: &'static [&str]| names.iter().map(move |name| Path::new(store).join(name));
    of(V1, &["0000000002.seg", "0000000003.seg"])
        .chain(of(V1_REWRITTEN, &["0000000001-1.seg", "0000000004.seg"]))
        .chain(of(V1_KINDS_19, &["0000000001-1.seg", "0000000002.seg", "0000000003.seg"]))
}

#[test]
fn a_reader_written_from_the_format_page_lists_the_same_records() {
    const KINDS: [&str; 20] = [
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
        "paused",
        "resumed",
        "snoozed",
        "handled",
        "cursor",
    ];
    for path in segments() {
        let theirs: Vec<_> = independent::records(&fs::read(&path).unwrap())
            .iter()
            .map(|record| (record.seq, record.offset, KINDS[usize::from(record.kind)], record.body.len()))
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

#[test]
fn a_reader_written_from_the_format_page_reads_what_is_said_of_pauses_cursors_and_runs() {
    let said: Vec<String> = segments()
        .flat_map(|path| independent::records(&fs::read(path).unwrap()))
        .filter_map(|record| independent::says(&record.body))
        .collect();
    let expected = [
        "state 1 [2, 2, 0, 0, 2] [false, false]",
        "state 1 [7, 4, 2, 1, 5] [true, true]",
        "state 1 [0, 0, 0, 0, 0] [false, false]",
        "state 1 [4, 3, 1, 0, 4] [false, false]",
        "state 1 [8, 6, 2, 0, 8] [false, false]",
        "state 1 [12, 9, 3, 0, 12] [false, false]",
        "state 2 [0, 0, 0, 0, 0] [false, false]",
        "snoozed of 9 in 1/10, 0 0 us, 1 times",
        "snoozed of 9 in 1/12, 2592000000000 2592000000000 us, 2 times",
        "handled of 14 in 1/15, mail in time",
        "handled of 14 in 1/15, post in time",
        "state 2 [88, 0, 1, 0, 3] [false, false]; paused type Report: a longer release; cursor archive 3; cursor reader 2",
        "paused key k until 10413792000: until somebody asks",
        "paused type Brief until 1795457396: a moment",
        "paused type Short: by mistake",
        "resumed type Short in time",
        "cursor reader Some(9) in time",
        "cursor removed Some(1) in time",
        "cursor removed None in time",
        "handled of 207 in 1/208, mail in time",
        "snoozed of 207 in 1/208, 0 0 us, 1 times",
        "state 2 [93, 0, 1, 0, 4] [true, true]; paused type Report: a longer release; \
         paused key k until 10413792000: until somebody asks; cursor archive 3; cursor reader 9",
        "paused type Comment: another release",
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_reader_written_from_the_format_page_knows_an_event_by_the_hash_of_its_id() {
    let (mut ids, mut checked) = (BTreeMap::new(), 0);
    for path in segments() {
        let (store, file) = (path.parent().unwrap().to_owned(), fs::read(&path).unwrap());
        for record in independent::records(&file) {
            match independent::event(&record.body) {
                Some(independent::Event::Id(id)) => {
                    ids.insert((store.clone(), record.seq), id);
                }
                Some(independent::Event::Of(seq, hash)) => {
                    let Some(id) = ids.get(&(store.clone(), seq)) else { continue };
                    assert_eq!(hash, independent::id_hash(&file, id), "{id}");
                    checked += 1;
                }
                None => {}
            }
        }
    }
    assert!(checked > 20, "{checked}");
}

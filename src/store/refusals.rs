//! What an opening refuses: stories of a store whose files are not what it left.

use std::sync::Arc;

use crate::env::Dir;
use crate::env::simulated::Disk;
use crate::error::{Error, ErrorKind};
use crate::event::entry::{Completed, Entry, Mark, Of, Token};
use crate::event::{NewEvent, Outcome};
use crate::log::fill::Fill;
use crate::log::format::SegmentHeader;
use crate::log::manifest::{Extent, Manifest};
use crate::log::segment::{Name, ORDINAL_MAX, Segment};
use crate::log::writer::Stage;
use crate::store::answers::{Duplicate, Filter};
use crate::store::crashes::opening::{AGE, first_day, open};
use crate::store::handle::Store;
use crate::store::options::StoreOptions;
use crate::store::stories::receive;

/// Where a process left the last segment of a store.
struct Left {
    disk: Disk,
    segment: SegmentHeader,
    end: u64,
    last_seq: u64,
}

fn append(store: &Store, number: usize) {
    store.append(NewEvent::new("Issue", &"x".repeat(300)).unwrap().id(format!("e{number}"))).unwrap();
}

/// A store that holds so many events, each of them acknowledged, when its process dies.
fn left(count: usize) -> Left {
    let disk = Disk::new();
    let (store, clock) = open(&disk, first_day(), 1, 0).unwrap();
    for number in 0..count {
        append(&store, number);
        clock.advance(std::time::Duration::from_secs(1));
        while store.shared().tend() {}
    }
    let at_desk = store.shared().desk();
    let core = &at_desk.core;
    let segment = core.active().unwrap().header;
    let (end, last_seq) = (core.active_end(), core.last_seq());
    Left { disk: disk.copy(), segment, end, last_seq }
}

/// What another process answers who opens the store.
fn refusal(disk: &Disk) -> Option<Error> {
    open(disk, first_day(), 2, 0).map(drop).err()
}

fn refused_as(disk: &Disk) -> Option<ErrorKind> {
    refusal(disk).map(|error| error.kind())
}

impl Left {
    /// Puts a whole group behind the last one, with one record `seq` that says `body`.
    fn put(&self, seq: u64, body: &[u8]) {
        let file = self.disk.root().open_file(&self.name(), true).unwrap();
        let segment = Arc::new(Segment { header: self.segment, file, fill: Fill::over() });
        let mut stage = Stage::resume(segment, self.end, seq);
        stage.stage(body.into());
        stage.take(0).unwrap().write().unwrap();
    }

    fn name(&self) -> String {
        self.segment.name().to_string()
    }
}

/// Changes a byte in the `count`th data that events have in a file.
fn rot(disk: &Disk, name: &str, count: usize) {
    let bytes = disk.files().remove(name).unwrap();
    let (at, _) = bytes.windows(8).enumerate().filter(|(_, found)| *found == b"\"xxxxxxx").nth(count).unwrap();
    disk.root().open_file(name, true).unwrap().write_all_at(b"y", at as u64 + 4).unwrap();
}

#[test]
fn rot_in_what_a_later_group_knew_durable_refuses_the_opening_and_cuts_nothing() {
    // R8: without that evidence it would pass for a write that a crash tore.
    let left = left(4);
    let name = left.name();
    assert_eq!(refused_as(&left.disk.copy()), None);
    rot(&left.disk, &name, 1);
    let before = left.disk.files();
    assert_eq!(refused_as(&left.disk), Some(ErrorKind::Corrupt));
    assert_eq!(left.disk.files()[&name], before[&name]);
}

#[test]
fn rot_in_what_stood_before_the_mark_of_a_close_refuses_the_opening() {
    // R8: it was only staged when the store was closed, and the mark attests that it was durable before the mark was.
    let disk = Disk::new();
    let (store, _clock) = open(&disk, first_day(), 1, 0).unwrap();
    append(&store, 0);
    receive(store.shared(), "e1", 300).unwrap();
    let name = store.shared().desk().core.active().unwrap().header.name().to_string();
    store.shared().close_log().unwrap();
    let disk = disk.copy();
    assert_eq!(refused_as(&disk.copy()), None);
    rot(&disk, &name, 1);
    assert_eq!(refused_as(&disk), Some(ErrorKind::Corrupt));
}

#[test]
fn a_header_that_the_segment_had_at_another_time_is_not_believed() {
    // R7, R8: a sector that is stale holds such a header. With its salt nothing verifies, and all of it would pass for torn.
    for count in [2, 4, 9] {
        let left = left(count);
        let name = left.name();
        let mut sector = SegmentHeader { salt: left.segment.salt ^ 1 << 40, ..left.segment }.encode().to_vec();
        sector.resize(512, 0);
        left.disk.root().open_file(&name, true).unwrap().write_all_at(&sector, 0).unwrap();
        let before = left.disk.files();
        assert_eq!(refused_as(&left.disk), Some(ErrorKind::Corrupt), "{count}");
        assert_eq!(left.disk.files()[&name], before[&name]);
    }
}

#[test]
fn zeros_where_a_later_group_knew_records_durable_are_no_end_of_the_log() {
    // R8: a whole group is gone, and those behind it prove it.
    let left = left(4);
    let name = left.name();
    let bytes = left.disk.files().remove(&name).unwrap();
    let heads: Vec<usize> = (0..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(b"LGRP")).collect();
    let (from, to) = (heads[heads.len() - 2], heads[heads.len() - 1]);
    let file = left.disk.root().open_file(&name, true).unwrap();
    file.write_all_at(&vec![0; to - from], from as u64).unwrap();
    assert_eq!(refused_as(&left.disk), Some(ErrorKind::Corrupt));
}

#[test]
fn a_store_without_its_segments_is_not_opened_as_an_empty_one() {
    // R5.
    let left = left(4);
    for name in left.disk.files().into_keys().filter(|name| name.contains(".seg")) {
        left.disk.root().remove(&name).unwrap();
    }
    assert_eq!(refused_as(&left.disk), Some(ErrorKind::Corrupt));
}

#[test]
fn a_store_without_its_manifest_is_not_created_anew() {
    // R5.
    let left = left(4);
    left.disk.root().remove("MANIFEST").unwrap();
    let mut before = left.disk.files();
    assert_eq!(refused_as(&left.disk), Some(ErrorKind::Corrupt));
    let mut after = left.disk.files();
    before.remove("LOCK");
    after.remove("LOCK");
    assert!(after == before, "nothing is made anew");
}

#[test]
fn a_store_in_whose_midst_a_file_is_missing_is_refused() {
    // R9.
    let left = left(30);
    assert!(left.segment.ordinal > 2);
    let missing = Name::original(2).to_string();
    left.disk.root().remove(&missing).unwrap();
    let refused = refusal(&left.disk).unwrap();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.to_string().contains(&format!("is missing: {missing}")), "an operator is told which: {refused}");
}

#[test]
fn a_log_whose_numbers_have_run_out_takes_nothing_more_and_refuses_the_next_opening() {
    // No store comes that far by itself: whoever wrote the directory wanted a panic.
    let disk = Disk::new();
    let dir = disk.root();
    let (first_seq, last_seq, record_count) = (1, 10, 10);
    let last_ordinal = ORDINAL_MAX - 1;
    let (generation, length, digest) = (0, 640, 5);
    let dropped =
        Extent { first_ordinal: 1, last_ordinal, generation, first_seq, last_seq, record_count, length, digest };
    let manifest = Manifest::new([7; 16]).after(&[dropped], None);
    manifest.write_aside(&dir).unwrap().put().unwrap();
    let header = SegmentHeader { store_id: [7; 16], ordinal: ORDINAL_MAX, generation: 0, salt: 1 };
    Segment::create(&dir, header, 0).unwrap();
    let (store, clock) = open(&disk, first_day(), 1, 0).unwrap();
    let text = |error: &Error| error.to_string().contains("no segment can follow 2147483647");
    let refused = (0..1_000).find_map(|number: u32| {
        clock.advance(std::time::Duration::from_secs(1));
        while store.shared().tend() {}
        store.append(NewEvent::new("Issue", &"x".repeat(300)).unwrap().id(format!("e{number}"))).err()
    });
    assert!(refused.is_some_and(|error| text(&error)));
    let kept = store.list(&Filter::all()).unwrap().len();
    assert!(kept > 2, "what there was room for is kept");
    store.close().unwrap();
    let left = disk.copy();
    let mut before = left.files();
    assert!(refusal(&left).is_some_and(|error| text(&error)));
    let mut after = left.files();
    before.remove("LOCK");
    after.remove("LOCK");
    assert!(after == before, "a refused opening changes nothing");
}

#[test]
fn a_record_of_an_unknown_kind_refuses_the_opening_and_names_it() {
    // R15: a newer version wrote it, and what it means is not known.
    let left = left(2);
    left.put(left.last_seq + 1, &[0xe7, 3, 1, 0]);
    let refused = refusal(&left.disk).unwrap();
    assert_eq!((refused.kind(), refused.seq()), (ErrorKind::UnsupportedFormat, Some(left.last_seq + 1)), "{refused}");
    assert!(refused.to_string().contains("999"), "{refused}");
}

#[test]
fn a_whole_group_that_follows_another_than_the_one_before_refuses_the_opening() {
    // R9: no crash leaves it, so what should stand between is lost.
    let left = left(2);
    // A mark, which means nothing but that it is there.
    left.put(left.last_seq + 2, &encoded(&Entry::Mark(Mark::Idle)));
    assert_eq!(refused_as(&left.disk), Some(ErrorKind::Corrupt));
}

#[test]
fn what_is_about_an_event_that_is_not_there_refuses_the_opening() {
    // R9: its reception is lost.
    let left = left(2);
    let token = Token { epoch: 1, started: 2 };
    left.put(left.last_seq + 1, &encoded(&Entry::Completed(Completed { of: Of { seq: 1, id_hash: 1 }, token, at: 0 })));
    assert_eq!(refused_as(&left.disk), Some(ErrorKind::Corrupt));
}

fn encoded(entry: &Entry<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    entry.encode(&mut body);
    body
}

#[test]
fn a_second_process_is_refused_while_the_first_lives() {
    // R12.
    let disk = Disk::new();
    let (store, _clock) = open(&disk, first_day(), 1, 0).unwrap();
    append(&store, 0);
    assert_eq!(refused_as(&disk), Some(ErrorKind::Locked));
    append(&store, 1);
    assert_eq!(store.list(&Filter::all()).unwrap().len(), 2);
}

#[test]
fn a_segment_that_rots_is_never_written_anew_without_what_it_lost() {
    // R6, R11.
    let disk = Disk::new();
    let (store, clock) = open(&disk, first_day(), 1, 0).unwrap();
    for number in 0..40 {
        append(&store, number);
        let outcome = if number % 5 == 0 { Outcome::Fail("no".to_owned()) } else { Outcome::Done };
        let claim = store.claim(1).unwrap().remove(0);
        store.settle(&claim, outcome).unwrap();
        clock.advance(std::time::Duration::from_secs(1));
        while store.shared().tend() {}
    }
    clock.advance(AGE * 2);
    let name = Name::original(2).to_string();
    rot(&disk, &name, 3);
    let before = disk.files().remove(&name);
    assert!(store.compact().unwrap().segments_rewritten > 0, "the others are");
    assert_eq!(disk.files().remove(&name), before, "it is left as it is");
}

#[test]
fn a_duplicate_of_an_event_whose_bytes_are_damaged_is_a_duplicate_and_spoils_no_batch() {
    let disk = Disk::new();
    let (store, _clock) = open(&disk, first_day(), 1, 0).unwrap();
    append(&store, 0);
    let name = store.shared().desk().core.active().unwrap().header.name().to_string();
    rot(&disk, &name, 0);
    assert_eq!(store.get("e0").unwrap_err().kind(), ErrorKind::Corrupt);
    let event = |number: usize| NewEvent::new("Issue", &"x".repeat(300)).unwrap().id(format!("e{number}"));
    let first = store.append(event(0)).unwrap();
    assert_eq!((first.id.as_str(), first.duplicate), ("e0", Some(Duplicate::SameId)));
    let batch = store.append_many([event(0), event(7)]).unwrap();
    assert_eq!((&batch[0], batch[1].duplicate), (&first, None));
    assert!(store.get("e7").unwrap().is_some());
}

#[test]
fn a_run_that_cannot_be_read_and_was_called_off_meanwhile_holds_its_key_no_more() {
    let disk = Disk::new();
    let (store, _clock) = open(&disk, first_day(), 1, 0).unwrap();
    let event = |number: usize| NewEvent::new("Issue", &"x".repeat(300)).unwrap().id(format!("e{number}")).key("k");
    store.append(event(0)).unwrap();
    let name = store.shared().desk().core.active().unwrap().header.name().to_string();
    rot(&disk, &name, 0);
    let claimed = store.shared().step(|core, now| core.claim(1, now)).unwrap();
    store.cancel("e0", "no").unwrap();
    store.append(event(1)).unwrap();
    assert!(store.claim(1).unwrap().is_empty(), "its run has not ended");
    assert!(store.read_claims(claimed).is_empty());
    assert_eq!(store.claim(1).unwrap()[0].event().id(), "e1");
}

/// R12: though there is enough to do, and nothing to be appended for it.
#[test]
fn what_was_opened_for_reading_is_not_compacted() {
    let place = tempfile::tempdir().unwrap();
    for start in 0..6 {
        let store = Store::open(place.path(), StoreOptions::default().segment_bytes(64 * 1024)).unwrap();
        append(&store, start);
        store.close().unwrap();
    }
    let dir = Dir::open(place.path()).unwrap();
    let before = dir.names().unwrap();
    let reader = Store::open_read_only(place.path()).unwrap();
    assert_eq!(reader.compact().map(drop).map_err(|error| error.kind()), Err(ErrorKind::NotAllowed));
    assert_eq!(dir.names().unwrap(), before);
}

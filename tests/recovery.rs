//! What opening makes of a directory that a crash or rot left behind: nothing acknowledged is lost unseen, and what was torn is cut,
//! kept aside, and said.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what its own scaffolding cannot do fails a test")]
#![expect(clippy::disallowed_methods, reason = "a test that damages files touches them")]

use std::fs;
use std::path::{Path, PathBuf};

use ledgerline::{ErrorKind, Event, Filter, NewEvent, Outcome, Status, Store, StoreOptions, audit};

const HEADER: usize = 64;

fn options() -> StoreOptions {
    StoreOptions::default().segment_bytes(64 * 1024)
}

fn event(id: &str) -> NewEvent {
    NewEvent::new("Issue", &serde_json::json!({ "title": id })).unwrap().id(id)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A directory for thousands of openings, each with its syncs: in memory, where there is such a file system.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The directory of a process that died with every event acknowledged, as it stood at that moment.
fn crashed(ids: &[&str]) -> tempfile::TempDir {
    let dir = in_memory();
    let live = dir.path().join("live");
    let store = Store::open(&live, options()).unwrap();
    for id in ids {
        store.append(event(id)).unwrap();
    }
    copy(&live, &dir.path().join("image"));
    drop(store);
    fs::remove_dir_all(&live).unwrap();
    dir
}

/// Something that happens to a directory.
type Damage<'a> = &'a dyn Fn(&Path);

/// The ids of all events, or why the store does not open.
fn reopened(dir: &Path) -> Result<Vec<String>, ErrorKind> {
    let store = Store::open(dir, options()).map_err(|error| error.kind())?;
    let events = store.list(&Filter::all()).map_err(|error| error.kind())?;
    Ok(events.iter().map(Event::id).map(str::to_owned).collect())
}

fn segment(dir: &Path, ordinal: u32) -> PathBuf {
    dir.join(format!("{ordinal:010}.seg"))
}

/// Where the records of a segment file end: behind the last byte that is not zero, at a multiple of 8.
fn end_of(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 1).next_multiple_of(8))
}

/// Where the groups of a segment begin.
fn groups(bytes: &[u8]) -> Vec<usize> {
    let mut at = HEADER;
    let mut found = Vec::new();
    while bytes.get(at..at + 4) == Some(b"LGRP") {
        found.push(at);
        at += u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
    }
    found
}

#[test]
fn an_image_of_a_crash_opens_with_every_acknowledged_event() {
    let dir = crashed(&["a", "b", "c"]);
    let image = dir.path().join("image");
    for _ in 0..3 {
        assert_eq!(reopened(&image), Ok(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]));
    }
}

#[test]
fn a_torn_tail_is_cut_and_kept_aside_and_later_openings_agree() {
    // R3: whatever an unfinished write left behind the last group, of any length.
    let dir = crashed(&["a", "b"]);
    let image = dir.path().join("image");
    let sound = fs::read(segment(&image, 1)).unwrap();
    let end = end_of(&sound);
    let salt = u64::from_le_bytes(sound[48..56].try_into().unwrap());
    let last = *groups(&sound).last().unwrap();
    let tail = sound[last..end].to_vec();
    for (name, torn) in [
        ("garbage", vec![0xa5; 100]),
        ("a stale group", tail.clone()),
        ("half a group", tail[..tail.len() / 2].to_vec()),
        ("one byte far away", [vec![0; 5_000], vec![1]].concat()),
    ] {
        let case = dir.path().join(name);
        copy(&image, &case);
        let mut bytes = sound.clone();
        bytes[end..end + torn.len()].copy_from_slice(&torn);
        fs::write(segment(&case, 1), &bytes).unwrap();
        {
            let store = Store::open(&case, options()).unwrap();
            assert_eq!(store.recovery().bytes_cut, torn.len() as u64, "{name}");
            assert_eq!(store.list(&Filter::all()).unwrap().len(), 2, "{name}");
        }
        let aside = fs::read(case.join("cut").join(format!("{:010}-{end}-{salt:016x}.bytes", 1))).unwrap();
        assert_eq!(aside, torn, "{name}");
        assert_eq!(
            fs::metadata(segment(&case, 1)).unwrap().len(),
            end as u64,
            "{name}: the file ends where it is sound"
        );
        let store = Store::open(&case, options()).unwrap();
        assert_eq!(store.recovery().bytes_cut, 0, "{name}");
        assert_eq!(store.list(&Filter::all()).unwrap().len(), 2, "{name}");
    }
}

#[test]
fn the_last_segment_cut_anywhere_loses_only_what_no_later_group_proves() {
    // R8: each event is a group of its own, and each head attests to the groups before it.
    let dir = crashed(&["a", "b", "c"]);
    let image = dir.path().join("image");
    let sound = fs::read(segment(&image, 1)).unwrap();
    let starts = groups(&sound);
    assert_eq!(starts.len(), 4, "one group begins the epoch, three keep an event each");
    for len in HEADER..=end_of(&sound) {
        let case = dir.path().join("case");
        copy(&image, &case);
        fs::write(segment(&case, 1), &sound[..len]).unwrap();
        let whole = starts.iter().skip(2).filter(|start| **start <= len).count() + usize::from(len == end_of(&sound));
        let found = reopened(&case).unwrap();
        assert_eq!(found.len(), whole, "cut to {len}");
        fs::remove_dir_all(&case).unwrap();
    }
}

#[test]
fn a_bad_place_that_a_later_group_proves_durable_refuses_the_opening() {
    // R8: and nothing is changed by the refusal, and what verifies can still be read.
    let dir = crashed(&["a", "b", "c"]);
    let image = dir.path().join("image");
    let sound = fs::read(segment(&image, 1)).unwrap();
    let starts = groups(&sound);
    for at in [starts[1], starts[1] + 50, starts[2], starts[2] + 100] {
        let case = dir.path().join("case");
        copy(&image, &case);
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        fs::write(segment(&case, 1), &bytes).unwrap();
        let error = Store::open(&case, options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.path().is_some() && error.offset().is_some(), "{error}");
        assert_eq!(fs::read(segment(&case, 1)).unwrap(), bytes, "a refused opening changes nothing");
        let reader = Store::open_read_only(&case).unwrap();
        assert_eq!(reader.recovery().damage.len(), 1);
        assert!(reader.list(&Filter::all()).unwrap().len() < 3);
        fs::remove_dir_all(&case).unwrap();
    }
}

#[test]
fn every_flipped_byte_of_a_closed_store_is_refused_or_harmless() {
    // R7, R8, R14.
    let dir = in_memory();
    let sound = dir.path().join("sound");
    for round in ["a", "b"] {
        let store = Store::open(&sound, options()).unwrap();
        store.append(event(round)).unwrap();
        store.close().unwrap();
    }
    let case = dir.path().join("case");
    let last = fs::read(segment(&sound, 2)).unwrap();
    let close_mark = *groups(&last).last().unwrap();
    for name in ["0000000001.seg", "0000000002.seg", "MANIFEST"] {
        let bytes = fs::read(sound.join(name)).unwrap();
        for at in 0..bytes.len() {
            copy(&sound, &case);
            let mut flipped = bytes.clone();
            flipped[at] ^= 0xff;
            fs::write(case.join(name), &flipped).unwrap();
            // Rot in the very last group cannot be told from a torn write; so that it loses nothing, it is a mark.
            let expected = if name == "0000000002.seg" && at >= close_mark {
                Ok(vec!["a".to_owned(), "b".to_owned()])
            } else {
                Err(ErrorKind::Corrupt)
            };
            assert_eq!(reopened(&case), expected, "{name} at {at}");
            fs::remove_dir_all(&case).unwrap();
        }
    }
}

#[test]
fn a_missing_or_foreign_file_refuses_the_opening() {
    // R9: a lost part of the log is seen, whichever it is.
    let dir = tempfile::tempdir().unwrap();
    let sound = dir.path().join("sound");
    for round in 0..3 {
        let store = Store::open(&sound, options()).unwrap();
        store.append(event(&format!("e{round}"))).unwrap();
        store.close().unwrap();
    }
    let other = dir.path().join("other");
    Store::open(&other, options()).unwrap().close().unwrap();
    let damages: [(&str, Damage<'_>); 6] = [
        ("no first segment", &|case| fs::remove_file(segment(case, 1)).unwrap()),
        ("no second segment", &|case| fs::remove_file(segment(case, 2)).unwrap()),
        ("no manifest", &|case| fs::remove_file(case.join("MANIFEST")).unwrap()),
        ("a segment of another store", &|case| {
            fs::copy(segment(&other, 1), segment(case, 2)).unwrap();
        }),
        ("a segment under another's name", &|case| {
            fs::copy(segment(case, 1), segment(case, 2)).unwrap();
        }),
        ("no segment at all", &|case| (1..=3).for_each(|ordinal| fs::remove_file(segment(case, ordinal)).unwrap())),
    ];
    for (name, damage) in damages {
        let case = dir.path().join("case");
        copy(&sound, &case);
        damage(&case);
        assert_eq!(reopened(&case), Err(ErrorKind::Corrupt), "{name}");
        fs::remove_dir_all(&case).unwrap();
    }
}

#[test]
fn a_prepared_segment_proves_that_the_one_before_it_was_there() {
    // R9: otherwise the loss of the active segment would look like an empty store.
    let dir = in_memory();
    let live = dir.path().join("live");
    let store = Store::open(&live, options()).unwrap();
    for number in 0..12 {
        store.append(NewEvent::new("Issue", &"x".repeat(3_000)).unwrap().id(format!("e{number}"))).unwrap();
    }
    // Half of the first segment is used, so the next one is created beside us.
    while !segment(&live, 2).exists() {
        std::thread::yield_now();
    }
    let image = dir.path().join("image");
    copy(&live, &image);
    fs::remove_file(segment(&image, 1)).unwrap();
    assert_eq!(reopened(&image), Err(ErrorKind::Corrupt));
    assert_eq!(Store::open_read_only(&image).unwrap().recovery().damage.len(), 1);
}

#[test]
fn an_audit_beside_a_writer_finds_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let mut number = 0;
    for _ in 0..20 {
        let report = audit::audit(dir.path(), &mut |_| {
            number += 1;
            store.append(event(&format!("e{number}"))).map(drop)
        });
        assert_eq!(report.unwrap().damage, 0, "after {number} events");
        store.append(event(&format!("round{number}"))).unwrap();
        if number > 400 {
            break;
        }
    }
}

#[test]
fn a_reader_shows_what_verifies_of_a_damaged_store() {
    // A bad header hides nothing but what it heads.
    let dir = in_memory();
    for round in 0..3 {
        let store = Store::open(dir.path(), options()).unwrap();
        store.append(event(&format!("e{round}"))).unwrap();
        store.close().unwrap();
    }
    let mut bytes = fs::read(segment(dir.path(), 2)).unwrap();
    bytes[50] ^= 1;
    fs::write(segment(dir.path(), 2), &bytes).unwrap();
    let reader = Store::open_read_only(dir.path()).unwrap();
    assert!(!reader.recovery().damage.is_empty());
    let events = reader.list(&Filter::all()).unwrap();
    assert_eq!(events.iter().map(Event::id).collect::<Vec<_>>(), ["e0", "e2"]);
}

#[test]
fn a_reader_goes_on_behind_a_bad_place_and_tells_how_events_stand() {
    let dir = in_memory();
    let store = Store::open(dir.path(), options()).unwrap();
    for number in 0..40 {
        store.append(event(&format!("e{number}"))).unwrap();
    }
    for claim in store.claim(20).unwrap() {
        store.settle(&claim, Outcome::Done).unwrap();
    }
    store.close().unwrap();
    let path = segment(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let third = groups(&bytes)[4];
    bytes[third + 100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let reader = Store::open_read_only(dir.path()).unwrap();
    let stats = reader.stats();
    // One reception is gone, and with it what came of it.
    assert_eq!((stats.completed_events, stats.pending_events), (19, 20), "{:?}", reader.recovery().damage);
    assert_eq!(reader.recovery().damage.len(), 3, "the place, its start, its end: {:?}", reader.recovery().damage);
    assert_eq!(reader.get("e39").unwrap().unwrap().status(), Status::Pending);
}

#[test]
fn a_reader_shows_every_event_behind_a_bad_first_group() {
    // Nothing sound stands before the bad place, in a segment that has a successor and in one that has none.
    for is_last in [false, true] {
        let dir = in_memory();
        let store = Store::open(dir.path(), options()).unwrap();
        for number in 0..30 {
            store.append(NewEvent::new("Issue", &"x".repeat(8_000)).unwrap().id(format!("e{number}"))).unwrap();
        }
        store.close().unwrap();
        let is_written =
            |ordinal: &u32| fs::read(segment(dir.path(), *ordinal)).is_ok_and(|bytes| groups(&bytes).len() > 2);
        let last = (2..20).take_while(is_written).last().unwrap();
        let path = segment(dir.path(), if is_last { last } else { 2 });
        let mut bytes = fs::read(&path).unwrap();
        bytes[3_000] ^= 1;
        fs::write(&path, bytes).unwrap();
        let refused = Store::open(dir.path(), options()).unwrap_err();
        assert_eq!((refused.kind(), refused.path()), (ErrorKind::Corrupt, Some(path.as_path())));
        let reader = Store::open_read_only(dir.path()).unwrap();
        let events = reader.list(&Filter::all()).unwrap();
        assert_eq!((reader.stats().pending_events, events.len()), (29, 29), "{:?}", reader.recovery().damage);
        for event in events {
            assert_eq!(reader.get(event.id()).unwrap().map(|event| event.data().len()), Some(8_002));
            assert_eq!(reader.history(event.id()).unwrap().len(), 1, "{}", event.id());
        }
    }
}

#[test]
fn a_reader_names_a_few_of_the_records_that_do_not_fit_and_counts_the_others() {
    // Without the receptions nothing fits that is said about their events.
    let dir = in_memory();
    let store = Store::open(dir.path(), options()).unwrap();
    for number in 0..100 {
        store.append(event(&format!("e{number}"))).unwrap();
    }
    store.close().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    for claim in store.claim(100).unwrap() {
        store.settle(&claim, Outcome::Done).unwrap();
    }
    store.close().unwrap();
    fs::remove_file(segment(dir.path(), 1)).unwrap();
    let reader = Store::open_read_only(dir.path()).unwrap();
    let damage = &reader.recovery().damage;
    assert_eq!(damage.len(), 1 + 5 + 1, "{damage:?}");
    assert!(damage[0].contains("is missing") && damage[5].contains("which is not there"), "{damage:?}");
    assert!(damage[6].ends_with("besides those named: 195"), "{damage:?}");
}

#[test]
fn a_file_that_lost_its_header_and_all_behind_it_refuses_the_opening() {
    // A segment has its name only since its header is durable, so no crash leaves that.
    let dir = crashed(&["a", "b"]);
    let image = dir.path().join("image");
    drop(Store::open(&image, options()).unwrap());
    let last = segment(&image, 2);
    for left in [vec![], vec![0; 4_096], b"what else".to_vec()] {
        let case = dir.path().join("case");
        copy(&image, &case);
        fs::write(case.join(last.file_name().unwrap()), &left).unwrap();
        assert_eq!(reopened(&case), Err(ErrorKind::Corrupt), "{left:?}");
        assert!(!ledgerline::verify(&case).unwrap().is_sound());
        let reader = Store::open_read_only(&case).unwrap();
        assert!(!reader.recovery().damage.is_empty() && reader.stats().pending_events == 2);
        fs::remove_dir_all(case).unwrap();
    }
}

#[test]
fn an_emptied_store_does_not_pass_for_an_empty_one_with_readers() {
    let dir = crashed(&["a", "b"]);
    let image = dir.path().join("image");
    fs::remove_file(segment(&image, 1)).unwrap();
    assert_eq!(reopened(&image), Err(ErrorKind::Corrupt));
    let reader = Store::open_read_only(&image).unwrap();
    assert!(reader.recovery().damage[0].contains("a file of the log is missing: 0000000001.seg"));
}

#[test]
fn a_backup_does_not_attest_to_an_end_that_nothing_proves() {
    let dir = crashed(&["a", "b"]);
    let (image, copied) = (dir.path().join("image"), dir.path().join("copied"));
    let is_unproven = |store: &Path| {
        let remarks = ledgerline::verify(store).unwrap().remarks;
        remarks.iter().any(|remark| remark.text.contains("does not end with a mark"))
    };
    assert!(is_unproven(&image));
    assert!(!ledgerline::backup(&image, &copied, None).unwrap().end_proven);
    assert!(is_unproven(&copied), "or a loss at the end would go unnoticed from here on");
    fs::remove_dir_all(&copied).unwrap();
    // Whoever has it in use knows its end, and so does whoever cuts before it.
    assert!(ledgerline::backup(&image, &copied, Some(3)).unwrap().end_proven);
    fs::remove_dir_all(&copied).unwrap();
    let store = Store::open(&image, options()).unwrap();
    assert!(ledgerline::backup(&image, &copied, None).unwrap().end_proven);
    assert!(!is_unproven(&copied));
    drop(store);
}

#[test]
fn no_store_is_created_among_the_things_of_others() {
    for (name, content, is_refused) in [
        ("notes.txt", "mine", true),
        ("LOCK", "pid of another program", true),
        ("LOCK", "4711\n", false),
        (".gitignore", "*", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let opened = Store::open(dir.path(), options()).map(drop).map_err(|error| error.kind());
        assert_eq!(opened, if is_refused { Err(ErrorKind::NotAllowed) } else { Ok(()) }, "{name}");
        let is_alone = fs::read_dir(dir.path()).unwrap().count() == 1;
        assert!(!is_refused || is_alone && fs::read_to_string(&path).unwrap() == content, "nothing is changed");
    }
    // Nor over a file that has a name of ours, and nothing else.
    let dir = tempfile::tempdir().unwrap();
    fs::write(segment(dir.path(), 1), "precious").unwrap();
    assert_eq!(reopened(dir.path()), Err(ErrorKind::Corrupt));
    assert_eq!(fs::read_to_string(segment(dir.path(), 1)).unwrap(), "precious");
}

#[test]
fn a_segment_that_lost_its_tail_at_a_group_is_seen_by_its_successor() {
    // R9: the file is well-formed, but its successor knows how it ended.
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let store = Store::open(dir.path(), options()).unwrap();
        store.append(event(&format!("e{round}"))).unwrap();
        store.close().unwrap();
    }
    let bytes = fs::read(segment(dir.path(), 1)).unwrap();
    let last = *groups(&bytes).last().unwrap();
    fs::write(segment(dir.path(), 1), &bytes[..last]).unwrap();
    assert_eq!(reopened(dir.path()), Err(ErrorKind::Corrupt));
}

#[test]
fn a_segment_of_another_history_is_seen_by_its_successor() {
    // R9: the same store, ordinal and seqs, and every checksum holds; but it is not what the successor followed.
    let dir = in_memory();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    Store::open(&ours, options()).unwrap().close().unwrap();
    copy(&ours, &theirs);
    for (place, id) in [(&ours, "ours"), (&theirs, "them"), (&ours, "next")] {
        let store = Store::open(place, options()).unwrap();
        store.append(event(id)).unwrap();
        store.close().unwrap();
    }
    assert_eq!(reopened(&theirs), Ok(vec!["them".to_owned()]));
    fs::copy(segment(&theirs, 2), segment(&ours, 2)).unwrap();
    assert_eq!(reopened(&ours), Err(ErrorKind::Corrupt));
}

#[test]
fn an_unknown_version_is_refused_by_name() {
    // R15.
    let dir = crashed(&["a"]);
    let image = dir.path().join("image");
    let mut bytes = fs::read(segment(&image, 1)).unwrap();
    bytes[8] = 9;
    let checksum = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
    fs::write(segment(&image, 1), &bytes).unwrap();
    let error = Store::open(&image, options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
    assert!(error.to_string().contains("unknown format version 9"), "{error}");
}

#[test]
fn an_interrupted_creation_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path(), options()).unwrap().close().unwrap();
    let bytes = fs::read(segment(dir.path(), 1)).unwrap();
    for (name, files) in [
        ("nothing but a lock", vec![]),
        ("a first segment without a manifest", vec![("0000000001.seg", &bytes[..HEADER])]),
        ("an unfinished first segment", vec![("0000000001.seg.tmp", &bytes[..10])]),
    ] {
        let case = dir.path().join("case");
        fs::create_dir(&case).unwrap();
        fs::write(case.join("LOCK"), "1\n").unwrap();
        for (name, bytes) in files {
            fs::write(case.join(name), bytes).unwrap();
        }
        assert_eq!(reopened(&case), Ok(vec![]), "{name}");
        fs::remove_dir_all(&case).unwrap();
    }
}

#[test]
fn the_audit_agrees_with_the_opening() {
    let dir = crashed(&["a", "b", "c"]);
    let image = dir.path().join("image");
    let sound = fs::read(segment(&image, 1)).unwrap();
    let (starts, end) = (groups(&sound), end_of(&sound));
    let flips = [None, Some(end + 40), Some(starts[3] + 60), Some(starts[2] + 60), Some(starts[1])];
    for (flip, (damage, records)) in flips.into_iter().zip([(0, 5), (0, 5), (0, 4), (1, 3), (1, 2)]) {
        let mut bytes = sound.clone();
        if let Some(at) = flip {
            bytes[at] ^= 1;
        }
        fs::write(segment(&image, 1), &bytes).unwrap();
        let mut lines = 0;
        let report = audit::audit(&image, &mut |item| {
            lines += u64::from(matches!(item, audit::Item::Record(_)));
            Ok(())
        });
        let report = report.unwrap();
        assert_eq!((report.damage, report.records), (damage, records), "{flip:?}");
        assert!(lines >= records, "what lies behind a bad place is shown too");
        let case = image.with_file_name("case");
        copy(&image, &case);
        assert_eq!(reopened(&case).is_err(), damage > 0, "{flip:?}");
        fs::remove_dir_all(&case).unwrap();
    }
}

#[test]
fn what_was_settled_just_before_a_close_does_not_rot_unseen() {
    // R8: the mark's group attests to all before it, so it waits until that is durable.
    let dir = in_memory();
    let live = dir.path().join("live");
    let store = Store::open(&live, options()).unwrap();
    store.append_many(["a", "b", "c"].map(event).to_vec()).unwrap();
    for claim in store.claim(3).unwrap() {
        store.settle(&claim, Outcome::Done).unwrap();
    }
    store.close().unwrap();
    let sound = fs::read(segment(&live, 1)).unwrap();
    let mark = *groups(&sound).last().unwrap();
    for at in (HEADER..mark).step_by(7) {
        let case = dir.path().join("case");
        copy(&live, &case);
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        fs::write(segment(&case, 1), &bytes).unwrap();
        assert_eq!(reopened(&case), Err(ErrorKind::Corrupt), "byte {at} of {}", sound.len());
        fs::remove_dir_all(&case).unwrap();
    }
}

#[test]
fn a_torn_first_group_before_a_prepared_segment_is_cut_like_any_other() {
    // R3: of the segment nothing is left but its header, and the one prepared after it shows only that it was there.
    let dir = crashed(&["a", "b"]);
    let image = dir.path().join("image");
    let store = Store::open(&image, options()).unwrap();
    while !segment(&image, 3).exists() {
        store.append(NewEvent::new("Issue", &"x".repeat(3_000)).unwrap()).unwrap();
    }
    let case = dir.path().join("case");
    copy(&image, &case);
    drop(store);
    let mut bytes = fs::read(segment(&case, 2)).unwrap();
    bytes[HEADER..].fill(0);
    bytes[HEADER..HEADER + 100].fill(0xa5);
    fs::write(segment(&case, 2), &bytes).unwrap();
    let mut damage = 0;
    audit::audit(&case, &mut |item| {
        damage += u32::from(matches!(item, audit::Item::Finding { damage: true, .. }));
        Ok(())
    })
    .unwrap();
    assert_eq!(damage, 0);
    for _ in 0..2 {
        assert_eq!(reopened(&case), Ok(vec!["a".to_owned(), "b".to_owned()]));
    }
}

//! What a store says about itself to whoever must rely on it: verified as a whole, and backed up while it is in
//! use.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what its own scaffolding cannot do fails a test")]
#![expect(clippy::disallowed_methods, reason = "a test that damages files touches them")]

#[path = "evidence/stores.rs"]
mod stores;

use std::fs;
use std::path::Path;

use ledgerline::{
    Acceptance, ErrorKind, LogItem, Outcome, Point, Status, Store, as_of, audit, backup, salvage, verify,
};
use stores::{event, eventful, flip, options, segments, stories};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-v1");

/// Files of a directory, copied into one of their own.
fn copied(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
    }
    to
}

/// A store of several segments with an event of every fate, closed.
fn busy(dir: &Path, count: usize) {
    let store = Store::open(dir, options()).unwrap();
    for number in 0..count {
        store.append(event(&format!("e{number}"))).unwrap();
        if number % 3 == 2 {
            for (index, claim) in store.claim(2).unwrap().into_iter().enumerate() {
                let outcome = if index == 0 { Outcome::Done } else { Outcome::Fail("no".to_owned()) };
                store.settle(&claim, outcome).unwrap();
            }
        }
    }
    store.cancel(&format!("e{}", count - 1), "not needed").unwrap();
    store.close().unwrap();
}

#[test]
fn a_sound_store_is_covered_to_its_last_byte() {
    let dir = tempfile::tempdir().unwrap();
    busy(dir.path(), 200);
    let verification = verify(dir.path()).unwrap();
    assert!(verification.is_sound(), "{:?}", verification.damage);
    assert_eq!(verification.events.values().sum::<u64>(), 200);
    assert_eq!((verification.events[&Status::Cancelled], verification.bodies), (1, 200));
    assert!(verification.events[&Status::Completed] > 50 && verification.events[&Status::Failed] > 50);
    assert_eq!(verification.segments, segments(dir.path()).len() as u64);
    assert_eq!(verification.last_seq, verification.records, "nothing was compacted");
    let lengths: u64 = segments(dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(verification.bytes, lengths);
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(Some(store.id()), verification.store);
    store.append(event("later")).unwrap();
    let beside = verify(dir.path()).unwrap();
    assert!(beside.is_sound(), "{:?}", beside.damage);
    assert_eq!(beside.bodies, 201, "it runs beside a writer");
}

#[test]
fn the_fixture_of_version_1_is_sound_and_its_compacted_range_is_named() {
    let verification = verify(FIXTURE).unwrap();
    assert!(verification.is_sound(), "{:?}", verification.damage);
    assert_eq!((verification.extents_dropped, verification.remembered, verification.bodies), (1, 2, 5));
    let again = serde_json::to_value(&verification).unwrap();
    assert_eq!((&again["events"]["pending"], &again["events"]["processing"]), (&1.into(), &1.into()));
}

#[test]
fn any_flipped_byte_that_counts_is_damage_with_its_place_and_what_next() {
    let sound = verify(FIXTURE).unwrap();
    for name in ["MANIFEST", "0000000002.seg", "0000000003.seg"] {
        let length = fs::metadata(Path::new(FIXTURE).join(name)).unwrap().len();
        for at in (0..length).step_by(if name == "MANIFEST" { 1 } else { 29 }) {
            let dir = copied(Path::new(FIXTURE));
            let path = dir.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            bytes[usize::try_from(at).unwrap()] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            let verification = match verify(dir.path()) {
                // A version or a flag that a newer ledgerline may know is refused by name.
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{name} at {at}: {error}");
                    continue;
                }
                Ok(verification) => verification,
            };
            // The very last group looks like a torn write: the one ambiguity there is.
            let is_tail = verification.remarks.iter().any(|remark| remark.text.contains("unfinished tail"));
            assert!(!verification.is_sound() || is_tail, "{name} at {at}: {verification:?}");
            for damage in &verification.damage {
                assert!(damage.path.starts_with(dir.path()), "{damage:?}");
                assert!(damage.next.as_ref().is_some_and(|next| next.contains("salvage")), "{damage:?}");
            }
            assert_ne!(verification, sound);
        }
    }
}

#[test]
fn what_lies_around_is_named_and_fine() {
    let dir = copied(Path::new(FIXTURE));
    fs::write(dir.path().join("0000000001.seg"), b"dropped long ago").unwrap();
    fs::write(dir.path().join("MANIFEST.tmp"), b"half").unwrap();
    fs::create_dir(dir.path().join("cut")).unwrap();
    fs::write(dir.path().join("cut/0000000003-64-1.bytes"), b"torn").unwrap();
    let verification = verify(dir.path()).unwrap();
    assert!(verification.is_sound(), "{:?}", verification.damage);
    assert_eq!(verification.debris, ["0000000001.seg", "MANIFEST.tmp"]);
    assert_eq!((verification.cut.len(), verification.cut[0].bytes), (1, 4));
}

#[test]
fn a_lost_file_of_the_log_is_damage_and_no_store_is_trouble() {
    let dir = tempfile::tempdir().unwrap();
    busy(dir.path(), 200);
    let paths = segments(dir.path());
    for path in [&paths[0], &paths[1], paths.last().unwrap(), &dir.path().join("MANIFEST")] {
        let case = copied(dir.path());
        fs::remove_file(case.path().join(path.file_name().unwrap())).unwrap();
        let verification = verify(case.path()).unwrap();
        // The last segment ends the log; without it nothing says that it ever began.
        let is_last = Some(path) == paths.last();
        assert_eq!(verification.is_sound(), is_last, "{}", path.display());
    }
    let empty = tempfile::tempdir().unwrap();
    // Or one whose creation was cut short, which an opening begins anew.
    let begun = tempfile::tempdir().unwrap();
    let header = fs::read(&paths[0]).unwrap().get(..64).unwrap().to_vec();
    fs::write(begun.path().join("0000000001.seg"), header).unwrap();
    for path in [empty.path(), &empty.path().join("nowhere"), begun.path()] {
        assert_eq!(verify(path).unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn a_backup_of_a_store_in_service_opens_as_the_same_store_and_runs_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    eventful(&base);
    let store = Store::open(&base, options()).unwrap();
    store.append(event("last")).unwrap();
    let to = dir.path().join("to");
    let made = store.backup(&to).unwrap();
    assert!(made.segments_linked >= 2 && made.segments > made.segments_linked, "{made:?}");
    let before = stories(&store);
    assert!(verify(&to).unwrap().is_sound());
    assert_eq!(store.backup(&to).unwrap_err().kind(), ErrorKind::InvalidInput, "it is not empty");
    let copy = Store::open(&to, options()).unwrap();
    assert!(copy.recovery().closed_cleanly, "its end is attested");
    assert_eq!((copy.id(), stories(&copy)), (store.id(), before.clone()));
    // Each goes its own way: a link is never written to.
    for store in [&store, &copy] {
        for number in 0..300 {
            store.append(event(&format!("more{number}"))).unwrap();
        }
        store.compact().unwrap();
    }
    store.close().unwrap();
    copy.close().unwrap();
    for path in [&base, &to] {
        Store::open(path, options()).unwrap().close().unwrap();
        let verification = verify(path).unwrap();
        assert!(verification.is_sound(), "{:?}", verification.damage);
    }
}

#[test]
fn a_backup_up_to_a_record_ends_with_a_whole_group_and_what_was_finished_by_then() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    eventful(&base);
    let last_seq = verify(&base).unwrap().last_seq;
    for to_seq in (1..=last_seq + 10).step_by(23) {
        let to = dir.path().join(format!("to{to_seq}"));
        let made = match backup(&base, &to, Some(to_seq)) {
            Err(error) => {
                assert!(to_seq < 2 && error.kind() == ErrorKind::InvalidInput && !to.exists(), "{to_seq}: {error}");
                continue;
            }
            Ok(made) => made,
        };
        assert!(made.last_seq <= to_seq && made.last_seq + 20 > to_seq.min(last_seq), "{to_seq}: {made:?}");
        let verification = verify(&to).unwrap();
        assert!(verification.is_sound() && verification.remarks.is_empty(), "{to_seq}: {verification:?}");
        let (mut finished, mut running) = (Vec::new(), 0);
        for item in Store::open_read_only(&base).unwrap().read_from(1) {
            match item.unwrap() {
                LogItem::Entry(entry) if entry.seq <= made.last_seq => match entry.kind {
                    "completed" => finished.push(entry.id.unwrap()),
                    "replayed" => finished.retain(|id| Some(id) != entry.id.as_ref()),
                    "started" => running += 1,
                    _ => {}
                },
                _ => {}
            }
        }
        let store = Store::open(&to, options()).unwrap();
        for id in &finished {
            assert_eq!(store.get(id).unwrap().unwrap().status(), Status::Completed, "{to_seq}: {id} of {running}");
        }
        store.close().unwrap();
    }
}

#[test]
fn damage_is_not_backed_up_and_half_a_backup_is_none() {
    let dir = copied(Path::new(FIXTURE));
    flip(&dir.path().join("0000000002.seg"), 600, 1);
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("to");
    let error = backup(dir.path(), &to, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(!to.exists() && error.to_string().contains("salvage"), "{error}");
    let sound = place.path().join("sound");
    backup(FIXTURE, &sound, None).unwrap();
    fs::remove_file(sound.join("MANIFEST")).unwrap();
    assert!(Store::open_existing(&sound, options()).is_err());
    assert!(!verify(&sound).unwrap().is_sound());
}

#[test]
fn a_pipe_under_the_name_of_a_segment_is_an_error_and_no_wait() {
    let dir = copied(Path::new(FIXTURE));
    let path = dir.path().join("0000000003.seg");
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let error = verify(dir.path()).unwrap_err();
    assert!(error.kind() == ErrorKind::Io && format!("{error:?}").contains("not a regular file"), "{error:?}");
}

#[test]
fn a_copy_of_a_store_is_never_written_into_that_store() {
    let dir = copied(Path::new(FIXTURE));
    std::os::unix::fs::symlink(dir.path(), dir.path().with_extension("link")).unwrap();
    let before = fs::read_dir(dir.path()).unwrap().count();
    for to in [dir.path().to_owned(), dir.path().join("to/deeper"), dir.path().with_extension("link").join("to")] {
        let refused =
            [backup(dir.path(), &to, None).unwrap_err(), salvage(dir.path(), &to, &Acceptance::All).unwrap_err()];
        for error in refused {
            assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("outside"), "{error}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before);
    fs::remove_file(dir.path().with_extension("link")).unwrap();
}

#[test]
fn what_is_damage_to_an_opening_is_damage_to_whoever_verifies_also_a_number_left_out() {
    // Sealed for the place where it stands, so no crash left it: within a segment, and where one joins the next.
    for is_joint in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        for id in ["a", "b"] {
            let store = Store::open(dir.path(), options()).unwrap();
            store.append(event(id)).unwrap();
            store.close().unwrap();
        }
        leave_seqs_out(&dir.path().join("0000000002.seg"), is_joint);
        assert_eq!(Store::open(dir.path(), options()).unwrap_err().kind(), ErrorKind::Corrupt);
        let verification = verify(dir.path()).unwrap();
        assert_eq!(verification.damage.len(), 1, "{verification:?}");
        let text = &verification.damage[0].text;
        assert!(text.starts_with("record ") && text.contains("is due"), "{text}");
        assert_eq!(backup(dir.path(), dir.path().with_extension("to"), None).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

/// Raises the seqs of a segment's last group, or of all its groups, and reseals what covers them.
fn leave_seqs_out(path: &Path, all: bool) {
    let mut bytes = fs::read(path).unwrap();
    let field = |bytes: &[u8], at: usize| {
        let field = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        usize::try_from(field).unwrap()
    };
    let checksum = |bytes: &[u8], at: usize, covered: &[(usize, usize)]| {
        let mut sealed = [&bytes[48..56], &(at as u64).to_le_bytes()].concat();
        for (from, to) in covered {
            sealed.extend_from_slice(&bytes[at + from..at + to]);
        }
        crc32fast::hash(&sealed).to_le_bytes()
    };
    let mut groups = Vec::new();
    let mut at = 64;
    while bytes[at..].starts_with(b"LGRP") {
        groups.push(at);
        at += field(&bytes, at + 8);
    }
    for start in groups.split_off(if all { 0 } else { groups.len() - 1 }) {
        let (mut at, mut checksums) = (start + 40, Vec::new());
        for _ in 0..field(&bytes, start + 12) {
            bytes[at + 16] += 7;
            let sealed = checksum(&bytes, at, &[(4, 24)]);
            bytes[at..at + 4].copy_from_slice(&sealed);
            checksums.extend_from_slice(&sealed);
            at += (24 + field(&bytes, at + 8)).next_multiple_of(8);
        }
        bytes[start + 16] += 7;
        bytes[start + 32..start + 36].copy_from_slice(&crc32fast::hash(&checksums).to_le_bytes());
        let sealed = checksum(&bytes, start, &[(0, 4), (8, 40)]);
        bytes[start + 4..start + 8].copy_from_slice(&sealed);
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn the_last_record_about_an_event_is_also_one_that_a_handler_has_succeeded() {
    // Received as record 14 and started by 15; then one handler succeeded, another, and the event failed.
    let store = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-v1-kinds-19");
    for (at, last_seq) in [(14, 14), (15, 15), (16, 16), (17, 17), (18, 18), (30, 18)] {
        let event = as_of(store, Point::Seq(at), Some("handled")).unwrap().event.unwrap();
        assert_eq!((event.seq, event.last_seq), (14, last_seq));
    }
}

#[test]
fn without_a_manifest_every_segment_is_verified_all_the_same() {
    let dir = copied(Path::new(FIXTURE));
    let sound = verify(dir.path()).unwrap();
    fs::remove_file(dir.path().join("MANIFEST")).unwrap();
    let verification = verify(dir.path()).unwrap();
    assert_eq!(verification.damage.len(), 1, "{verification:?}");
    assert_eq!((verification.segments, verification.records), (sound.segments, sound.records));
    flip(&dir.path().join("0000000002.seg"), 600, 1);
    assert_eq!(verify(dir.path()).unwrap().damage.len(), 2);
}

#[test]
fn a_place_for_torn_tails_that_cannot_be_looked_into_is_a_remark() {
    let dir = copied(Path::new(FIXTURE));
    fs::write(dir.path().join("cut"), b"no directory").unwrap();
    let verification = verify(dir.path()).unwrap();
    assert!(verification.is_sound(), "{:?}", verification.damage);
    assert!(verification.remarks.iter().any(|remark| remark.path == dir.path().join("cut")), "{verification:?}");
}

#[test]
fn one_bad_record_is_one_damaged_place_however_many_records_follow_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let all: Vec<_> = (0..20).map(|number| event(&format!("e{number}"))).collect();
    store.append_many(all).unwrap();
    for round in 0..4 {
        (0..40).for_each(|number| drop(store.append(event(&format!("more{round}-{number}"))).unwrap()));
        for claim in store.claim(10).unwrap() {
            store.settle(&claim, Outcome::Done).unwrap();
        }
    }
    store.close().unwrap();
    let sound = verify(dir.path()).unwrap();
    assert!(sound.segments > 2 && sound.is_sound(), "{sound:?}");
    let (mut body, mut last) = (None, 0);
    audit::audit(dir.path(), &mut |item| {
        if let audit::Item::Record(line) = item {
            last = last.max(line.segment);
            body = body.or((line.id.as_deref() == Some("e3")).then_some(line.offset + 24));
        }
        Ok(())
    })
    .unwrap();
    flip(&segments(dir.path())[0], body.unwrap() + 100, 1);
    let verification = verify(dir.path()).unwrap();
    let [damage] = &verification.damage[..] else { panic!("{verification:?}") };
    assert!(damage.path.ends_with("0000000001.seg") && damage.text.contains("body of record"), "{damage:?}");
    let behind = verification.remarks.iter().find(|remark| remark.text.contains("behind damage")).unwrap();
    // Of the one event that is lost, it was started and completed.
    assert!(behind.text.starts_with("2 records behind damage do not fit") && behind.next.is_none(), "{behind:?}");
    assert_eq!(verification.events.values().sum::<u64>(), 179, "all but that one are counted");
    assert_eq!(verification.last_seq, sound.last_seq);
}

#[test]
fn a_whole_segment_that_is_lost_is_one_damaged_place() {
    let dir = tempfile::tempdir().unwrap();
    busy(dir.path(), 200);
    flip(&segments(dir.path())[1], 20, 1);
    let verification = verify(dir.path()).unwrap();
    let [damage] = &verification.damage[..] else { panic!("{verification:?}") };
    assert!(damage.path.ends_with("0000000002.seg") && !damage.text.contains("(in "), "{damage:?}");
    assert!(verification.remarks.iter().any(|remark| remark.text.ends_with(" and others")), "{verification:?}");
}

#[test]
fn a_copy_of_a_segment_under_a_higher_name_is_told_to_be_perhaps_a_stranger() {
    let dir = copied(Path::new(FIXTURE));
    fs::copy(dir.path().join("0000000003.seg"), dir.path().join("0000000009.seg")).unwrap();
    let verification = verify(dir.path()).unwrap();
    let damage = verification.damage.iter().find(|damage| damage.text.contains("missing: 0000000004.seg")).unwrap();
    assert!(damage.text.contains("does not belong here") && damage.path.ends_with("0000000009.seg"), "{damage:?}");
}

#[test]
fn a_copy_that_salvage_made_says_what_it_wants_before_it_is_backed_up() {
    let place = tempfile::tempdir().unwrap();
    let [copy, to] = ["copy", "to"].map(|name| place.path().join(name));
    salvage(FIXTURE, &copy, &Acceptance::All).unwrap();
    let error = backup(&copy, &to, None).unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.message().contains("open it once"), "{error}");
    Store::open(&copy, options()).unwrap().close().unwrap();
    backup(&copy, &to, None).unwrap();
}

//! What a power cut was measured to leave, row by row, and what calls do that fail: the simulated disk does the same or worse.

use std::collections::BTreeSet;

use super::{Choices, Disk, Effect, Fault, Kind};
use crate::env::{Dir, File};

/// What a file may hold after a crash, over every legal case; none: it is not there.
fn left(disk: &Disk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    disk.crashes(10_000, 1).iter().map(|disk| disk.files().remove(name)).collect()
}

fn texts(texts: &[Option<&str>]) -> BTreeSet<Option<Vec<u8>>> {
    texts.iter().map(|text| text.map(|text| text.as_bytes().to_vec())).collect()
}

/// A disk whose file `old` holds "old", durably.
fn disk() -> (Disk, Dir, File) {
    let disk = Disk::new();
    let dir = disk.root();
    let file = dir.create_file("old").unwrap();
    file.write_all_at(b"old", 0).unwrap();
    file.sync_data().unwrap();
    dir.sync().unwrap();
    (disk, dir, file)
}

fn shown(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let read = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(read);
    bytes
}

#[test]
fn a_rename_is_lost_without_a_sync_of_its_directory() {
    let (disk, dir, _) = disk();
    let new = dir.create_file("tmp").unwrap();
    new.write_all_at(b"new", 0).unwrap();
    new.sync_all().unwrap();
    dir.rename("tmp", "old").unwrap();
    assert_eq!(left(&disk, "old"), texts(&[Some("old"), Some("new")]));
    dir.sync().unwrap();
    assert_eq!(left(&disk, "old"), texts(&[Some("new")]));
    assert_eq!(left(&disk, "tmp"), texts(&[None]));
}

#[test]
fn a_rename_without_a_sync_of_its_file_may_leave_an_empty_one() {
    let (disk, dir, _) = disk();
    dir.create_file("tmp").unwrap().write_all_at(b"new", 0).unwrap();
    dir.rename("tmp", "old").unwrap();
    dir.sync().unwrap();
    let left = left(&disk, "old");
    assert!(left.contains(&Some(Vec::new())) && left.contains(&Some(b"new".to_vec())), "{left:?}");
    assert!(!left.contains(&Some(b"old".to_vec())), "the name itself is durable: {left:?}");
}

#[test]
fn a_removed_file_may_be_back_until_its_directory_is_synced() {
    let (disk, dir, _) = disk();
    dir.remove("old").unwrap();
    assert_eq!(left(&disk, "old"), texts(&[None, Some("old")]));
    dir.sync().unwrap();
    assert_eq!(left(&disk, "old"), texts(&[None]));
}

#[test]
fn a_truncated_file_may_have_its_old_length_until_it_is_synced() {
    let (disk, _dir, file) = disk();
    file.truncate(1).unwrap();
    let left_before = left(&disk, "old");
    assert!(left_before.contains(&Some(b"old".to_vec())) && left_before.contains(&Some(b"o".to_vec())));
    file.sync_all().unwrap();
    assert_eq!(left(&disk, "old"), texts(&[Some("o")]));
    file.write_all_at(b"!", 2).unwrap();
    assert_eq!(shown(&file), b"o\0!", "what was cut off does not come back by growing");
}

#[test]
fn a_created_file_is_empty_after_a_sync_of_its_directory_alone() {
    let (disk, dir, _) = disk();
    dir.create_file("new").unwrap().write_all_at(b"new", 0).unwrap();
    dir.sync().unwrap();
    assert_eq!(disk.after_crash(&mut Choices::nothing()).files()["new"], b"");
}

#[test]
fn a_created_file_may_be_gone_if_only_its_bytes_were_synced() {
    let (disk, dir, _) = disk();
    let file = dir.create_file("new").unwrap();
    file.write_all_at(b"new", 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(left(&disk, "new"), texts(&[None, Some("new")]));
}

#[test]
fn unsynced_sectors_survive_independently_and_one_may_be_torn() {
    let (disk, _dir, file) = disk();
    file.write_all_at(&[1; 1024], 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(&[2; 1024], 0).unwrap();
    file.write_all_at(&[3; 512], 512).unwrap();
    let mut torn = BTreeSet::new();
    let mut whole = BTreeSet::new();
    for bytes in left(&disk, "old").into_iter().flatten() {
        assert_eq!(bytes.len(), 1024);
        let runs = |sector: &[u8]| sector.chunk_by(|a, b| a == b).map(|run| run[0]).collect::<Vec<u8>>();
        let sectors = (runs(&bytes[..512]), runs(&bytes[512..]));
        if sectors.0.len() + sectors.1.len() == 2 {
            whole.insert((sectors.0[0], sectors.1[0]))
        } else {
            torn.insert(sectors)
        };
    }
    assert_eq!(whole, [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)].into());
    assert!(torn.contains(&(vec![2, 1], vec![3])) && torn.contains(&(vec![1], vec![3, 1])), "{torn:?}");
    assert!(torn.iter().all(|(first, second)| first.len() + second.len() == 3), "one sector at most: {torn:?}");
}

#[test]
fn after_a_failed_sync_the_cache_shows_lost_bytes_and_the_next_sync_succeeds() {
    let (disk, _dir, file) = disk();
    file.write_all_at(b"new", 0).unwrap();
    disk.fail(Fault::of(Kind::Sync).with(Effect::Loss(Choices::nothing())));
    let error = file.sync_data().unwrap_err();
    assert_eq!(error.source.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    assert_eq!(shown(&file), b"new");
    file.sync_data().unwrap();
    assert_eq!(shown(&file), b"new");
    assert_eq!(left(&disk, "old"), texts(&[Some("old")]));
    file.drop_cache().unwrap();
    assert_eq!(shown(&file), b"old");
}

#[test]
fn a_call_fails_when_it_is_planned_to_and_as_far_as_planned() {
    let (disk, dir, file) = disk();
    disk.fail(Fault::of(Kind::Write).on("old").after(1).with(Effect::Half));
    file.write_all_at(b"1234", 0).unwrap();
    file.write_all_at(b"abcd", 0).unwrap_err();
    assert_eq!(shown(&file), b"ab34");
    file.write_all_at(b"xyzw", 0).unwrap();
    disk.fail(Fault::of_any().times(2));
    dir.sync().unwrap_err();
    dir.remove("old").unwrap_err();
    dir.remove("old").unwrap();
    disk.fail(Fault::of(Kind::Rename).with(Effect::All));
    dir.create_file("a").unwrap();
    dir.rename("a", "b").unwrap_err();
    assert_eq!(dir.names().unwrap(), ["b"], "only the answer said that it failed");
    disk.fail(Fault::of(Kind::Create).full().times(9));
    assert!(dir.create_file("c").unwrap_err().is_full());
    disk.heal();
    dir.create_file("c").unwrap();
    assert_eq!(disk.count(Kind::Create), 4);
}

#[test]
fn a_full_disk_refuses_to_let_files_grow_and_reserved_space_stays() {
    let (disk, dir, file) = disk();
    disk.set_capacity(Some(2_048));
    file.reserve(1_024).unwrap();
    let other = dir.create_file("other").unwrap();
    other.write_all_at(&[1; 1_024], 0).unwrap();
    assert_eq!(disk.used(), 2_048);
    let error = other.write_all_at(&[1; 1], 1_024).unwrap_err();
    assert!(error.is_full(), "{error}");
    file.write_all_at(&[2; 1_024], 0).unwrap();
    assert!(file.reserve(1_025).unwrap_err().is_full());
    dir.remove("other").unwrap();
    file.reserve(1_025).unwrap();
    disk.let_files_grow();
    file.reserve(1_000_000).unwrap();
    assert_eq!(file.len().unwrap(), 1_025, "a file system that cannot reserve lets files grow");
}

#[test]
fn where_the_system_has_no_memory_to_give_a_file_has_no_room_and_stays_as_it_was() {
    let disk = Disk::settled();
    let file = disk.root().create_file("a").unwrap();
    file.write_all_at(b"kept", 0).unwrap();
    // More than there are addresses.
    let too_much = 1 << 60;
    for refused in [file.reserve(too_much), file.truncate(too_much), file.write_all_at(&[1], too_much)] {
        let error = refused.unwrap_err();
        assert!(error.is_full(), "{error}");
    }
    assert_eq!(shown(&file), b"kept");
}

#[test]
fn without_power_every_call_fails_and_a_lying_sync_makes_nothing_durable() {
    let (disk, dir, file) = disk();
    disk.lie();
    file.write_all_at(b"new", 0).unwrap();
    file.sync_data().unwrap();
    dir.sync().unwrap();
    assert_eq!(disk.after_crash(&mut Choices::nothing()).files()["old"], b"old");
    disk.cut_power_after(1);
    file.write_all_at(b"any", 0).unwrap();
    dir.remove("old").unwrap_err();
    assert!(
        dir.names().is_err()
            && file.len().is_err()
            && file.sync_data().is_err()
            && dir.open_file("old", false).is_err()
    );
    assert!(left(&disk, "old").contains(&None), "the call at which the power failed may have done its work");
}

#[test]
fn a_lock_lasts_as_long_as_its_file_is_open() {
    let (_disk, dir, file) = disk();
    assert!(file.try_lock().unwrap() && file.try_lock().unwrap());
    let other = dir.open_file("old", false).unwrap();
    assert!(!other.try_lock().unwrap());
    drop(file);
    assert!(other.try_lock().unwrap());
    assert!(other.is_still_at_its_path().unwrap());
    dir.remove("old").unwrap();
    assert!(!other.is_still_at_its_path().unwrap());
}

#[test]
fn of_bytes_that_nobody_relies_on_the_newest_are_left() {
    let (disk, _dir, file) = disk();
    disk.be_indifferent_to("old");
    file.write_all_at(b"new", 0).unwrap();
    assert_eq!(left(&disk, "old"), texts(&[Some("new")]));
}

#[test]
fn frames_show_all_that_a_process_could_leave() {
    let (disk, dir, file) = disk();
    disk.record();
    file.write_all_at(b"new", 0).unwrap();
    file.sync_data().unwrap();
    let learned = disk.frames();
    dir.remove("old").unwrap();
    dir.sync().unwrap();
    let frames = disk.stop();
    let left: Vec<BTreeSet<_>> = frames.iter().map(|frame| left(frame, "old")).collect();
    assert!(
        left[..learned].iter().all(|left| left.contains(&Some(b"old".to_vec()))),
        "nobody was promised anything yet"
    );
    assert!(left[learned..].iter().all(|left| !left.contains(&Some(b"old".to_vec()))));
    assert_eq!(left.last(), Some(&texts(&[None])));
}

//! What salvage makes of a damaged store: whatever verifies is in the copy, whatever is lost is named, and nothing finished runs again.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what its own scaffolding cannot do fails a test")]
#![expect(clippy::disallowed_methods, reason = "a test that damages files touches them")]

#[path = "evidence/stores.rs"]
mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ledgerline::{
    Acceptance, ErrorKind, Filter, LogItem, Outcome, Scope, Status, Store, StoreOptions, audit, backup, salvage, verify,
};
use stores::{Story, event, eventful, flip, options, segments, stories};

/// Numbers that look random and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// How many cases are tried, unless somebody says otherwise.
fn seeds(count: u64) -> u64 {
    std::env::var("LEDGERLINE_SEEDS").map_or(count, |seeds| seeds.parse().unwrap())
}

#[test]
fn a_sound_store_is_salvaged_whole_with_every_number() {
    let dir = tempfile::tempdir().unwrap();
    eventful(dir.path());
    let before = stories(&Store::open_read_only(dir.path()).unwrap());
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("salvaged");
    let report = salvage(dir.path(), &to, &Acceptance::Nothing).unwrap();
    assert!(report.is_complete() && report.written, "{report:?}");
    assert_eq!((report.put_in, report.uncertain.len(), report.damage.len()), (0, 0, 0));
    let after = Store::open(&to, options()).unwrap();
    assert_eq!(after.id(), report.store);
    let settled = |stories: &[Story]| -> Vec<_> {
        let running = |status| if status == Status::Processing { Status::Pending } else { status };
        stories
            .iter()
            .map(|(id, status, retries, steps)| (id.clone(), running(*status), *retries, steps.clone()))
            .collect()
    };
    assert_eq!(settled(&stories(&after)), settled(&before));
    assert_eq!(salvage(dir.path(), &to, &Acceptance::All).unwrap_err().kind(), ErrorKind::InvalidInput, "not empty");
    let again = after.append(event("e0-1")).unwrap();
    assert!(again.duplicate.is_some(), "ids are refused as before");
}

#[test]
fn whatever_is_damaged_what_verifies_is_salvaged_and_nothing_finished_runs_again() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let bases = ["plain", "compacted"].map(|name| dir.path().join(name));
    eventful(&bases[0]);
    compacted(&bases[1]);
    eventful(&bases[1]);
    let before = bases.each_ref().map(|base| stories(&Store::open_read_only(base).unwrap()));
    let (mut put_in, mut uncertain) = (0, 0);
    for seed in 0..seeds(24) {
        let mut chance = Chance(seed);
        let [case, to, copy, again] = ["case", "to", "copy", "again"].map(|name| dir.path().join(name));
        for path in [&case, &to, &copy, &again] {
            let _ = fs::remove_dir_all(path);
        }
        let which = usize::from(seed % 3 == 2);
        copy_into(&bases[which], &case);
        let is_beheaded = damage(&case, &mut chance);
        let listed = salvage(&case, &to, &Acceptance::Nothing).unwrap();
        if !listed.lost.is_empty() {
            assert!(!listed.written && !to.exists() && listed.events.is_empty(), "seed {seed}");
        }
        let report = if listed.written { listed } else { salvage(&case, &to, &Acceptance::All).unwrap() };
        put_in += report.put_in;
        uncertain += report.uncertain.len();
        let missing = missing(&case, &to, &report);
        assert!(missing.len() as u64 <= report.left_out, "seed {seed}: {missing:?} are not in the copy: {report:?}");
        let store = Store::open(&to, options()).unwrap();
        check_numbers(&store, seed);
        check_stories(&before[which], &stories(&store), &report, is_beheaded, seed);
        store.close().unwrap();
        backup(&to, &copy, None).unwrap();
        for path in [&to, &copy] {
            let verification = verify(path).unwrap();
            assert!(verification.is_sound(), "seed {seed}: {:?}", verification.damage);
        }
        // What was salvaged once can be damaged and salvaged again.
        damage(&copy, &mut chance);
        salvage(&copy, &again, &Acceptance::All).unwrap();
        Store::open(&again, options()).unwrap().close().unwrap();
    }
    assert!(put_in > 0 && uncertain > 0, "{put_in} were put in, {uncertain} are uncertain");
}

/// Seqs of the records whose checksums hold, but for those of torn tails that are told to be dropped.
fn sound(path: &Path, report: &ledgerline::Salvage) -> BTreeSet<u64> {
    let mut seqs = BTreeSet::new();
    for path in segments(path) {
        let torn = report.remarks.iter().find(|remark| remark.path == path).and_then(|remark| remark.offset);
        let audited = audit::audit(&path, &mut |item| {
            if let audit::Item::Record(line) = item
                && matches!(line.checksum, audit::Checksum::Ok | audit::Checksum::OkBeyondDamage)
                && torn.is_none_or(|torn| line.offset < torn)
            {
                seqs.insert(line.seq);
            }
            Ok(())
        });
        audited.unwrap();
    }
    seqs
}

/// Records that the dump shows to be sound and that are not in the copy.
fn missing(from: &Path, to: &Path, report: &ledgerline::Salvage) -> Vec<u64> {
    sound(from, report).difference(&sound(to, report)).copied().collect()
}

/// Entries and gaps are every number.
fn check_numbers(store: &Store, seed: u64) {
    let mut next = 1;
    let mut reader = store.read_from(1);
    while let Some(item) = reader.next_timeout(Duration::ZERO).unwrap() {
        let (from, to) = match item {
            LogItem::Compacted { from, to } => (from, to),
            LogItem::Entry(entry) => (entry.seq, entry.seq),
            other => unreachable!("{other:?}"),
        };
        assert_eq!(from, next, "seed {seed}");
        next = to + 1;
    }
}

/// Whatever became of an event is told: its records are lost, or it is named. Nothing tells of the last file if it is gone.
fn check_stories(before: &[Story], after: &[Story], report: &ledgerline::Salvage, is_beheaded: bool, seed: u64) {
    let is_beyond = |seq: u64| is_beheaded && seq > report.last_seq;
    let is_lost = |seq: u64| report.lost.iter().any(|range| (range.from..=range.to).contains(&seq)) || is_beyond(seq);
    for (id, status, _, steps) in before {
        let Some((_, now, _, left)) = after.iter().find(|(other, ..)| other == id) else {
            assert!(
                is_lost(steps[0]),
                "seed {seed}: {id} is gone, and its record {} is not lost: {report:?}",
                steps[0]
            );
            continue;
        };
        let told = format!("seed {seed}: {id} was {status}, and is {now}: {steps:?} {left:?} {report:?}");
        let is_open = |status| matches!(status, Status::Pending | Status::Processing | Status::Retrying);
        let last = *steps.last().unwrap();
        assert!(is_open(*status) || !is_open(*now) || is_beyond(last), "{told}");
        let is_named = report.uncertain.iter().any(|event| event.id == *id);
        if steps.iter().all(|seq| !is_lost(*seq)) {
            assert!(steps.iter().all(|seq| left.contains(seq)) || is_named, "{told}");
        }
        if !is_lost(last) && *status != Status::Pending {
            assert!(now == status || is_open(*status) || is_named, "{told}");
        }
    }
}

#[test]
fn a_bad_head_of_a_group_costs_none_of_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.append(event("first")).unwrap();
    store.close().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.append_many((0..20).map(|number| event(&format!("e{number}")))).unwrap();
    store.close().unwrap();
    let last_seq = verify(dir.path()).unwrap().last_seq;
    let segment = &segments(dir.path())[1];
    let batch = 64 + group_bytes(segment, 64);
    for at in [64, batch] {
        flip(segment, at as u64 + 16, 1);
    }
    let (_to, report) = salvaged(dir.path());
    assert_eq!((&report.lost[..], report.records), (&[][..], last_seq), "{report:?}");
    // The header of one of its records: that one is lost.
    flip(segment, batch as u64 + 40, 1);
    let (_to, report) = salvaged(dir.path());
    let [lost] = &report.lost[..] else { panic!("{report:?}") };
    assert_eq!((lost.from, report.records), (lost.to, last_seq - 1), "{report:?}");
}

#[test]
fn however_many_groups_are_damaged_the_others_are_salvaged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default().segment_bytes(1024 * 1024)).unwrap();
    for number in 0..400 {
        store.append(event(&format!("e{number}"))).unwrap();
    }
    store.close().unwrap();
    let segment = &segments(dir.path())[0];
    let mut at = 64;
    for number in 0..400 {
        let bytes = group_bytes(segment, at);
        // Not what the segment begins with.
        if number >= 5 && number % 2 == 0 {
            flip(segment, (at + bytes - 16) as u64, 1);
        }
        at += bytes;
    }
    let (_to, report) = salvaged(dir.path());
    let lost: Vec<_> = report.lost.iter().map(|lost| (lost.from, lost.to)).collect();
    let damaged: Vec<_> = (6..400).step_by(2).map(|number| (number + 2, number + 2)).collect();
    assert_eq!(lost, damaged, "one record of each");
}

#[test]
fn no_record_is_lost_whose_own_bytes_are_as_they_were() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let base = dir.path().join("base");
    let store = Store::open(&base, options()).unwrap();
    for number in 0..120 {
        let count = [1, 1, 7, 25][number % 4];
        store.append_many((0..count).map(|one| event(&format!("e{number}-{one}")))).unwrap();
    }
    // Records that are as short as the head of a group, several in one.
    std::thread::scope(|scope| {
        for name in 'a'..='h' {
            let store = &store;
            scope.spawn(move || {
                let name = || Scope::Type(name.to_string());
                for _ in 0..40 {
                    store.pause(name(), None, "").unwrap();
                    assert!(store.resume(&name()).unwrap());
                }
            });
        }
    });
    store.close().unwrap();
    let places = places(&base);
    let (end_file, end_span) = places.last_key_value().unwrap().1.clone();
    let case = dir.path().join("case");
    let mut lost_in_all = 0;
    for seed in 0..seeds(30) {
        let mut chance = Chance(seed);
        copy_into(&base, &case);
        let mut touched = BTreeSet::new();
        for path in segments(&case) {
            let bytes = fs::metadata(&path).unwrap().len();
            let name = path.file_name().unwrap().to_owned();
            // Neither the header, by which the rest is known, nor the end, which attests to it.
            let end = if name == end_file { end_span.start - 100 } else { bytes };
            // One is prepared, and has nothing but its header.
            let most = if end > 64 { 1 << chance.below(9) } else { 1 };
            for _ in 0..chance.below(most) {
                let at = 64 + chance.below(end - 64);
                flip(&path, at, 1);
                let hit = |(_, (file, span)): &(&u64, &(OsString, Range<u64>))| *file == name && span.contains(&at);
                touched.extend(places.iter().filter(hit).map(|(seq, _)| *seq));
            }
        }
        let (_to, report) = salvaged(&case);
        let lost: BTreeSet<u64> = report.lost.iter().flat_map(|lost| lost.from..=lost.to).collect();
        assert!(lost.is_subset(&touched), "seed {seed}: {:?}", lost.difference(&touched));
        let found = report.records + report.left_out + lost.len() as u64;
        assert_eq!(found, places.len() as u64, "seed {seed}: every record is there or listed");
        lost_in_all += lost.len();
        fs::remove_dir_all(&case).unwrap();
    }
    assert!(lost_in_all > 1_000, "{lost_in_all}");
}

/// Where the bytes of each record stand that its checksums cover: by seq, the file and what of it.
fn places(dir: &Path) -> BTreeMap<u64, (OsString, Range<u64>)> {
    let (mut file, mut places) = (OsString::new(), BTreeMap::new());
    let told = audit::audit(dir, &mut |item| {
        match item {
            audit::Item::Segment { path, .. } => path.file_name().unwrap().clone_into(&mut file),
            audit::Item::Record(line) => {
                let span = line.offset..line.offset + 24 + line.length as u64;
                places.insert(line.seq, (file.clone(), span));
            }
            _ => {}
        }
        Ok(())
    });
    told.unwrap();
    places
}

/// A store that was compacted: rewritten segments, and ids that are only remembered.
fn compacted(dir: &Path) {
    let short = || options().max_event_age(Duration::from_secs(1)).dedup_window(Duration::from_hours(1));
    let store = Store::open(dir, short()).unwrap();
    for round in 0..4 {
        for number in 0..60 {
            store.append(event(&format!("old{round}-{number}"))).unwrap();
            let outcome = if number == 7 { Outcome::Fail("no".to_owned()) } else { Outcome::Done };
            store.settle(&store.claim(1).unwrap()[0], outcome).unwrap();
        }
    }
    std::thread::sleep(Duration::from_millis(1_050));
    let report = store.compact().unwrap();
    assert!(report.events_forgotten > 200 && report.segments_rewritten > 0, "{report:?}");
    for number in 0..40 {
        store.append(event(&format!("new{number}"))).unwrap();
    }
    store.close().unwrap();
}

/// Salvages a store into a place of its own, accepting every loss.
fn salvaged(from: &Path) -> (tempfile::TempDir, ledgerline::Salvage) {
    let place = tempfile::tempdir().unwrap();
    let report = salvage(from, place.path(), &Acceptance::All).unwrap();
    let verification = verify(place.path()).unwrap();
    assert!(verification.is_sound(), "{:?}", verification.damage);
    (place, report)
}

fn is_named(report: &ledgerline::Salvage, name: &str) -> bool {
    report.damage.iter().any(|problem| problem.path.ends_with(name))
}

#[test]
fn a_lost_file_of_a_compacted_store_is_named_and_no_number_is_given_again() {
    let dir = tempfile::tempdir().unwrap();
    compacted(dir.path());
    let last_seq = verify(dir.path()).unwrap().last_seq;
    let rewritten = |path: &Path| path.file_name().unwrap().to_str().unwrap().contains('-');
    let (left, originals): (Vec<_>, Vec<_>) = segments(dir.path()).into_iter().partition(|path| rewritten(path));
    assert!(!left.is_empty() && !originals.is_empty());
    for gone in [left.clone(), left[..1].to_vec(), originals.clone(), originals[..1].to_vec()] {
        let case = tempfile::tempdir().unwrap();
        copy_into(dir.path(), &case.path().join("store"));
        let store = case.path().join("store");
        for path in &gone {
            fs::remove_file(store.join(path.file_name().unwrap())).unwrap();
        }
        let listed = salvage(&store, case.path().join("to"), &Acceptance::Nothing).unwrap();
        assert!(!listed.written && !listed.lost.is_empty(), "{gone:?}: {listed:?}");
        let name = gone[0].file_name().unwrap().to_str().unwrap();
        assert!(is_named(&listed, name), "{name}: {:?}", listed.damage);
        assert_eq!(listed.lost[0].estimated, !rewritten(&gone[0]), "{listed:?}");
        let (copy, _) = salvaged(&store);
        let copy = Store::open(copy.path(), options()).unwrap();
        assert!(copy.append(event("after")).unwrap().seq > last_seq, "{gone:?}");
    }
}

#[test]
fn a_lost_file_that_was_longer_than_its_successor_costs_every_number_it_may_have_held() {
    let dir = tempfile::tempdir().unwrap();
    for count in [3, 90] {
        let store = Store::open(dir.path(), options()).unwrap();
        (0..count).for_each(|number| drop(store.append(event(&format!("e{count}-{number}"))).unwrap()));
        store.close().unwrap();
    }
    let last_seq = verify(dir.path()).unwrap().last_seq;
    let paths = segments(dir.path());
    let prepared = paths.last().unwrap();
    assert_eq!(fs::metadata(prepared).unwrap().len(), 64, "closed in good order, nothing is prepared ahead");
    paths[1..paths.len() - 1].iter().for_each(|path| fs::remove_file(path).unwrap());
    let (copy, report) = salvaged(dir.path());
    let [lost] = report.lost[..] else { panic!("{report:?}") };
    assert!(lost.estimated && lost.to >= last_seq, "{report:?}");
    assert!(Store::open(copy.path(), options()).unwrap().append(event("after")).unwrap().seq > lost.to);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["lost"][0]["estimated"], true);
}

/// Puts something else in place of a file.
type Spoil = fn(&Path);

#[test]
fn one_file_that_cannot_be_read_costs_that_file_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    eventful(dir.path());
    let spoil: [(&str, Spoil); 3] = [
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a symbolic link", |path| std::os::unix::fs::symlink("/dev/null", path).unwrap()),
        ("a pipe", |path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success())),
    ];
    for (what, spoil) in spoil {
        for name in ["0000000002.seg", "MANIFEST"] {
            let case = tempfile::tempdir().unwrap();
            let store = case.path().join("store");
            copy_into(dir.path(), &store);
            fs::remove_file(store.join(name)).unwrap();
            spoil(&store.join(name));
            let (_, report) = salvaged(&store);
            let told = report.damage.iter().find(|problem| problem.path.ends_with(name));
            assert!(told.is_some_and(|problem| problem.text.contains(what)), "{what} {name}: {:?}", report.damage);
            assert_eq!((report.lost.is_empty(), report.manifest), (name == "MANIFEST", name != "MANIFEST"), "{what}");
            assert!(report.records > 100, "{what} {name}: {report:?}");
        }
    }
    let long = fs::File::options().write(true).open(dir.path().join("MANIFEST")).unwrap();
    long.set_len(65 * 1024 * 1024).unwrap();
    let (_, report) = salvaged(dir.path());
    assert!(!report.manifest && report.lost.is_empty() && is_named(&report, "MANIFEST"), "{report:?}");
}

#[test]
fn a_file_of_another_store_does_not_decide_which_one_is_salvaged() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    eventful(dir.path());
    Store::open(other.path(), options()).unwrap().close().unwrap();
    let own = verify(dir.path()).unwrap().store.unwrap();
    for manifest in [false, true] {
        let case = tempfile::tempdir().unwrap();
        let store = case.path().join("store");
        copy_into(dir.path(), &store);
        fs::copy(other.path().join("0000000001.seg"), store.join("0000000001.seg")).unwrap();
        fs::remove_file(store.join("MANIFEST")).unwrap();
        if manifest {
            fs::copy(other.path().join("MANIFEST"), store.join("MANIFEST")).unwrap();
        }
        let (_, report) = salvaged(&store);
        assert_eq!((&report.store, report.manifest), (&own, false));
        assert!(is_named(&report, "0000000001.seg") && is_named(&report, "MANIFEST") == manifest, "{report:?}");
        assert!(report.records > 100 && report.lost.len() == 1, "{report:?}");
    }
}

#[test]
fn with_a_manifest_older_than_the_files_those_that_it_does_not_list_are_salvaged_too() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path(), options()).unwrap().close().unwrap();
    let older = fs::read(dir.path().join("MANIFEST")).unwrap();
    compacted(dir.path());
    let before = verify(dir.path()).unwrap();
    fs::write(dir.path().join("MANIFEST"), older).unwrap();
    let (copy, report) = salvaged(dir.path());
    assert!(!report.damage.is_empty() && report.records >= before.records, "{report:?}");
    assert_eq!(verify(copy.path()).unwrap().events[&Status::Failed], before.events[&Status::Failed], "{report:?}");
}

#[test]
fn what_a_newer_version_wrote_is_not_salvaged_by_this_one() {
    let dir = tempfile::tempdir().unwrap();
    eventful(dir.path());
    let path = segments(dir.path())[1].clone();
    let mut bytes = fs::read(&path).unwrap();
    let sound = bytes.clone();
    bytes[8] = 2;
    let checksum = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let to = tempfile::tempdir().unwrap();
    let refused = || salvage(dir.path(), to.path(), &Acceptance::All).unwrap_err().kind();
    assert_eq!(refused(), ErrorKind::UnsupportedFormat, "a version");
    // The flags of a group: of the first, and of the second behind a first that is damaged.
    let path = &segments(dir.path())[2];
    for at in [64, 64 + group_bytes(path, 64)] {
        fs::write(&segments(dir.path())[1], &sound).unwrap();
        let before = fs::read(path).unwrap();
        set_flags(path, at, 0x80);
        if at > 64 {
            flip(path, 80, 1);
        }
        assert_eq!(refused(), ErrorKind::UnsupportedFormat, "flags at {at}");
        fs::write(path, before).unwrap();
    }
    assert!(salvage(dir.path(), to.path(), &Acceptance::All).unwrap().is_complete());
}

/// Length of the group at an offset.
fn group_bytes(path: &Path, at: usize) -> usize {
    let bytes = fs::read(path).unwrap();
    u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize
}

/// Sets the flags of the group at an offset, and the checksum that covers them.
fn set_flags(path: &Path, at: usize, flags: u32) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at + 36..at + 40].copy_from_slice(&flags.to_le_bytes());
    let head = &bytes[at..at + 40];
    let covered = [&bytes[48..56], &(at as u64).to_le_bytes(), &head[..4], &head[8..]].concat();
    let checksum = crc32fast::hash(&covered);
    bytes[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_event_whose_id_was_forgotten_in_a_lost_record_and_came_again_is_kept() {
    for lost in [&["horizon"][..], &["horizon", "completed"]] {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Store::open(dir.path(), options().max_event_age(Duration::from_secs(1)).dedup_window(Duration::ZERO))
                .unwrap();
        for id in ["done", "cancelled", "other"] {
            store.append(event(id)).unwrap();
        }
        store.settle(&store.claim(1).unwrap()[0], Outcome::Done).unwrap();
        store.cancel("cancelled", "not needed").unwrap();
        std::thread::sleep(Duration::from_millis(1_050));
        assert_eq!(store.compact().unwrap().events_forgotten, 2);
        for id in ["done", "cancelled", "new"] {
            assert!(store.append(event(id)).unwrap().duplicate.is_none(), "{id}");
        }
        store.close().unwrap();
        for (path, offset) in records(dir.path(), lost) {
            flip(&path, offset + 24, 1);
        }
        let (copy, report) = salvaged(dir.path());
        assert!(report.put_in >= 1 && report.lost_events.is_empty() && report.left_out == 0, "{report:?}");
        let copy = Store::open(copy.path(), options()).unwrap();
        for id in ["done", "cancelled", "new"] {
            assert_eq!(copy.get(id).unwrap().unwrap().status(), Status::Pending, "{id}: {report:?}");
        }
        let others = copy.list(&Filter::all()).unwrap();
        assert_eq!(others.len(), 4, "{report:?}");
    }
}

/// Where the records of some kinds stand.
fn records(dir: &Path, kinds: &[&str]) -> Vec<(PathBuf, u64)> {
    let (mut path, mut places) = (PathBuf::new(), Vec::new());
    let told = audit::audit(dir, &mut |item| {
        match item {
            audit::Item::Segment { path: of, .. } => path = of,
            audit::Item::Record(line) if kinds.contains(&line.kind) => places.push((path.clone(), line.offset)),
            _ => {}
        }
        Ok(())
    });
    told.unwrap();
    places
}

#[test]
fn a_torn_tail_is_told_and_nobody_claims_that_nothing_came_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.append(event("first")).unwrap();
    store.close().unwrap();
    let (_, report) = salvaged(dir.path());
    assert!(report.closed && report.remarks.is_empty() && report.is_complete(), "{report:?}");
    let path = &segments(dir.path())[0];
    flip(path, fs::metadata(path).unwrap().len() - 20, 1);
    let (_, report) = salvaged(dir.path());
    assert!(!report.closed && report.is_complete() && report.damage.is_empty(), "{report:?}");
    assert!(report.remarks[0].text.starts_with("unfinished tail of"), "{report:?}");
}

#[test]
fn a_damaged_header_is_named_even_where_nothing_is_lost_by_it() {
    let dir = tempfile::tempdir().unwrap();
    eventful(dir.path());
    flip(&segments(dir.path())[1], 20, 1);
    let (_, report) = salvaged(dir.path());
    assert!(report.lost.is_empty() && is_named(&report, "0000000002.seg"), "{report:?}");
}

fn copy_into(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for path in segments(from).iter().chain([&from.join("MANIFEST")]) {
        fs::copy(path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Damages a copy in one to three ways, but not the very last group: rot in that looks like a torn write. Says whether the last file is
/// gone that was written to, or what is the last now may look torn.
fn damage(dir: &Path, chance: &mut Chance) -> bool {
    let mut is_beheaded = false;
    for _ in 0..=chance.below(3) {
        let paths = segments(dir);
        let index = usize::try_from(chance.below(paths.len() as u64)).unwrap();
        let path = &paths[index];
        let is_last = paths[index + 1..].iter().all(|path| fs::read(path).unwrap()[64..].iter().all(|byte| *byte == 0));
        match chance.below(10) {
            0 => fs::write(dir.join("MANIFEST"), b"rot").unwrap(),
            1 => drop(fs::remove_file(dir.join("MANIFEST"))),
            2 if paths.len() > 2 => {
                is_beheaded |= is_last;
                fs::remove_file(path).unwrap();
            }
            3 => flip(path, 16 + chance.below(20), 1),
            4 => flip(path, chance.below(64), 64),
            _ => {
                let length = fs::metadata(path).unwrap().len();
                let spared = if is_last { 3_200 } else { 0 };
                if length > spared + 64 {
                    flip(path, 64 + chance.below(length - spared - 64), 1 + chance.below(3_000));
                }
            }
        }
    }
    is_beheaded
}

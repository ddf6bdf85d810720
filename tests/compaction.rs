//! Compaction while events come and go: what is waited for stays, what is forgotten frees its space, and nothing comes back.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what its own scaffolding cannot do fails a test")]
#![expect(clippy::disallowed_methods, reason = "a test that looks at files and clocks touches them")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ledgerline::{
    Duplicate, Event, Filter, NewEvent, Outcome, Point, Status, Store, StoreOptions, as_of, audit, backup,
};

const SEGMENT: u64 = 64 * 1024;

/// A directory for thousands of syncs: in memory, where there is such a file system.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn options() -> StoreOptions {
    StoreOptions::default().segment_bytes(SEGMENT).max_retries(0)
}

/// Finished events may be forgotten at once.
fn forgetful() -> StoreOptions {
    options().max_event_age(Duration::from_secs(1)).dedup_window(Duration::ZERO)
}

fn event(id: &str, bytes: usize) -> NewEvent {
    NewEvent::new("Issue", &"x".repeat(bytes)).unwrap().id(id)
}

/// Keeps an event and runs it to its end.
fn live_through(store: &Store, id: &str, outcome: Outcome) {
    store.append(event(id, 1_000)).unwrap();
    let claims = store.claim(1).unwrap();
    assert_eq!(claims[0].event().id(), id);
    store.settle(&claims[0], outcome).unwrap();
}

fn segments(dir: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let files = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()));
    files.filter(|(name, _)| Path::new(name).extension().is_some_and(|extension| extension == "seg")).collect()
}

fn ids(store: &Store, filter: &Filter) -> Vec<String> {
    store.list(filter).unwrap().iter().map(Event::id).map(str::to_owned).collect()
}

fn damage(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    audit::audit(dir, &mut |item| {
        if let audit::Item::Finding { damage: true, text, .. } = item {
            found.push(text);
        }
        Ok(())
    })
    .unwrap();
    found
}

fn outlive_the_age() {
    std::thread::sleep(Duration::from_millis(1_050));
}

#[test]
fn one_waiting_event_keeps_itself_and_not_its_segment() {
    // R6.
    let dir = in_memory();
    let store = Store::open(dir.path(), forgetful()).unwrap();
    let mut failed = Vec::new();
    for round in 0..8 {
        for number in 0..60 {
            live_through(&store, &format!("done {round} {number}"), Outcome::Done);
        }
        failed.push(format!("failed {round}"));
        live_through(&store, &failed[round], Outcome::Fail(format!("reason {round}")));
    }
    let before = segments(dir.path());
    assert!(before.len() > 8, "{before:?}");
    let histories: Vec<_> = failed.iter().map(|id| store.history(id).unwrap()).collect();
    outlive_the_age();
    let report = store.compact().unwrap();
    assert_eq!(report.events_forgotten, 480);
    let after = segments(dir.path());
    let sealed = |(name, bytes): (&String, &u64)| name.contains('-').then_some(*bytes);
    let rewritten: u64 = after.iter().filter_map(sealed).sum();
    assert!(rewritten > 8_000 && rewritten < 16_000, "eight events of 1,000 bytes are left: {after:?}");
    assert!(after.len() <= 4, "{after:?}");
    let check = |store: &Store| {
        assert_eq!(ids(store, &Filter::all()), failed);
        for (round, id) in failed.iter().enumerate() {
            let event = store.get(id).unwrap().unwrap();
            assert_eq!(event.error_message(), Some(format!("reason {round}").as_str()));
            assert_eq!(store.history(id).unwrap(), histories[round]);
        }
    };
    check(&store);
    assert_eq!(damage(dir.path()), [""; 0]);
    assert_eq!(store.compact().unwrap().segments_rewritten, 0, "there is nothing left to gain");
    drop(store);
    check(&Store::open_read_only(dir.path()).unwrap());
    let store = Store::open(dir.path(), forgetful()).unwrap();
    check(&store);
    assert_eq!(store.stats().events_processed, 480, "totals outlive what they count");
    let replays = store.replay(&failed).unwrap();
    assert!(replays.iter().all(|replay| replay.refused.is_none()), "{replays:?}");
    assert_eq!(store.claim(100).unwrap().len(), 8);
}

#[test]
fn a_copy_of_an_earlier_point_says_that_what_counted_then_is_gone() {
    let dir = in_memory();
    let base = dir.path().join("base");
    let store = Store::open(&base, forgetful()).unwrap();
    let seqs: Vec<u64> = (0..80).map(|number| store.append(event(&format!("e{number}"), 1_000)).unwrap().seq).collect();
    let then = seqs[79];
    let copied = |name: &str, to_seq| {
        let to = dir.path().join(name);
        let made = backup(&base, &to, to_seq).unwrap();
        (made.last_seq, made.complete, ids(&Store::open_read_only(&to).unwrap(), &Filter::all()).len())
    };
    assert_eq!(copied("before", Some(then)), (then, true, 80));
    for claim in store.claim(100).unwrap() {
        store.settle(&claim, Outcome::Done).unwrap();
    }
    assert_eq!(copied("finished", Some(then)), (then, true, 80));
    outlive_the_age();
    assert_eq!(store.compact().unwrap().events_forgotten, 80);
    let (last_seq, complete, count) = copied("after", Some(then));
    assert!(!segments(&base).contains_key("0000000001.seg") && (1..80).contains(&count), "{count}");
    assert_eq!((last_seq, complete), (then, false));
    assert!(!as_of(&base, Point::Seq(then), None).unwrap().complete, "both say the same");
    let nothing = as_of(&base, Point::Seq(0), None).unwrap();
    assert!(nothing.seq == 0 && nothing.retained_from > 1 && !nothing.complete, "{nothing:?}");
    assert!(copied("now", None).1 && store.backup(dir.path().join("own")).unwrap().complete);
}

#[test]
fn ids_outlive_the_segments_of_their_events() {
    let dir = in_memory();
    let open = || Store::open(dir.path(), forgetful().dedup_window(Duration::from_hours(1))).unwrap();
    let store = open();
    for number in 0..3_000 {
        live_through(&store, &format!("id {number}"), Outcome::Done);
    }
    outlive_the_age();
    let before: u64 = segments(dir.path()).values().sum();
    let report = store.compact().unwrap();
    let after: u64 = segments(dir.path()).values().sum();
    assert_eq!(report.events_forgotten, 3_000);
    assert!(after < before / 8, "{before} bytes became {after}");
    drop(store);
    let store = open();
    assert_eq!(ids(&store, &Filter::all()), [""; 0]);
    for number in [0, 1, 1_500, 2_999] {
        let receipt = store.append(event(&format!("id {number}"), 1_000)).unwrap();
        assert_eq!(receipt.duplicate, Some(Duplicate::SameId), "{number}");
        let conflict = store.append(event(&format!("id {number}"), 7)).unwrap_err();
        assert_eq!(conflict.kind(), ledgerline::ErrorKind::IdConflict, "{number}");
    }
    assert_eq!(damage(dir.path()), [""; 0]);
}

#[test]
fn of_too_many_ids_the_oldest_are_forgotten() {
    let dir = in_memory();
    let options = forgetful().dedup_window(Duration::from_hours(1)).dedup_max(10);
    let store = Store::open(dir.path(), options).unwrap();
    for number in 0..30 {
        live_through(&store, &format!("id {number}"), Outcome::Done);
    }
    outlive_the_age();
    store.compact().unwrap();
    store.compact().unwrap();
    let is_duplicate = |number| store.append(event(&format!("id {number}"), 1_000)).unwrap().duplicate.is_some();
    assert!(!is_duplicate(0) && !is_duplicate(19) && is_duplicate(20) && is_duplicate(29));
}

#[test]
fn many_ids_too_many_are_forgotten_by_one_compaction() {
    // More than retention forgets at once, of events and of ids.
    let dir = in_memory();
    let options = forgetful().dedup_window(Duration::from_hours(1)).dedup_max(100);
    let store = Store::open(dir.path(), options).unwrap();
    let batch = |number: u32| (0..100).map(move |other| event(&format!("id {number} {other}"), 1)).collect::<Vec<_>>();
    for number in 0..90 {
        store.append_many(batch(number)).unwrap();
        for claim in store.claim(100).unwrap() {
            store.settle(&claim, Outcome::Done).unwrap();
        }
    }
    outlive_the_age();
    assert_eq!(store.compact().unwrap().events_forgotten, 9_000);
    let receipts = |number| store.append_many(batch(number)).unwrap();
    assert!(receipts(89).iter().all(|receipt| receipt.duplicate == Some(Duplicate::SameId)), "the last hundred stay");
    for number in [0, 45, 88] {
        assert!(receipts(number).iter().all(|receipt| receipt.duplicate.is_none()), "batch {number} is forgotten");
    }
}

#[test]
fn a_log_that_is_too_long_loses_what_finished_first_and_nothing_that_is_waited_for() {
    let dir = in_memory();
    let most = 6 * SEGMENT;
    let store = Store::open(dir.path(), options().log_bytes_max(most)).unwrap();
    let mut failed = Vec::new();
    for number in 0..900 {
        if number % 90 == 0 {
            failed.push(format!("failed {number}"));
            live_through(&store, &format!("failed {number}"), Outcome::Fail("no".to_owned()));
        }
        live_through(&store, &format!("done {number}"), Outcome::Done);
    }
    assert!(store.stats().log_bytes > 2 * most);
    let report = store.compact().unwrap();
    assert!(store.stats().log_bytes <= most, "{:?} after {report:?}", store.stats());
    assert_eq!(ids(&store, &Filter::all().status(Status::Failed)), failed);
    let done = ids(&store, &Filter::all().status(Status::Completed));
    assert!((100..500).contains(&done.len()), "as many as find room are still there: {}", done.len());
    let newest: Vec<_> = (900 - done.len()..900).map(|number| format!("done {number}")).collect();
    assert_eq!(done, newest, "those that finished first went first");
    drop(store);
    let store = Store::open(dir.path(), options().log_bytes_max(most)).unwrap();
    assert_eq!(ids(&store, &Filter::all().status(Status::Completed)), newest);
}

#[test]
fn a_steady_load_takes_at_most_twice_what_is_needed_and_three_segments() {
    let dir = in_memory();
    let store = Store::open(dir.path(), forgetful()).unwrap();
    let mut number = 0;
    let mut waiting = 0;
    let deadline = Instant::now() + Duration::from_secs(6);
    while Instant::now() < deadline || number < 2_000 {
        for _ in 0..200 {
            number += 1;
            let fails = number % 40 == 0;
            let outcome = if fails { Outcome::Fail("no".to_owned()) } else { Outcome::Done };
            live_through(&store, &format!("{number}"), outcome);
            waiting += u64::from(fails);
        }
        store.compact().unwrap();
        let kept = store.list(&Filter::all()).unwrap().len() as u64;
        assert!(kept >= waiting);
        // A reception of 1,000 bytes, its start and its end.
        let needed = kept * (1_090 + 2 * 65);
        let bytes: u64 = segments(dir.path()).values().sum();
        assert!(bytes <= 2 * needed + 3 * SEGMENT, "{bytes} bytes for {kept} events, which need {needed}");
    }
    assert_eq!(damage(dir.path()), [""; 0]);
}

#[test]
fn events_come_and_go_and_are_read_while_segments_are_written_anew() {
    let dir = in_memory();
    let store = Store::open(dir.path(), forgetful()).unwrap();
    let failed: Vec<String> = (0..400).map(|number| format!("failed {number}")).collect();
    for id in &failed {
        live_through(&store, id, Outcome::Fail("no".to_owned()));
        live_through(&store, &format!("done with {id}"), Outcome::Done);
    }
    outlive_the_age();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                live_through(&store, &format!("meanwhile {number}"), Outcome::Done);
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for id in &failed {
                    let event = store.get(id).unwrap().unwrap();
                    assert_eq!((event.id(), event.error_message()), (id.as_str(), Some("no")));
                }
                assert_eq!(store.history(&failed[7]).unwrap().len(), 3);
                assert_eq!(ids(&store, &Filter::all().status(Status::Failed)), failed);
            }
        });
        let mut rewritten = 0;
        let deadline = Instant::now() + Duration::from_mins(1);
        while rewritten < 20 && Instant::now() < deadline {
            rewritten += store.compact().unwrap().segments_rewritten;
        }
        done.store(true, Ordering::Relaxed);
        assert!(rewritten >= 20, "{rewritten}");
    });
    drop(store);
    let store = Store::open(dir.path(), forgetful()).unwrap();
    assert_eq!(ids(&store, &Filter::all().status(Status::Failed)), failed);
    assert_eq!(damage(dir.path()), [""; 0]);
}

/// A store in which compaction wrote three segments anew as `0000000001-1.seg`, and `0000000004.seg` follows.
const REWRITTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-v1-rewritten");

#[test]
fn a_program_that_lives_for_one_event_at_a_time_is_not_locked_out_by_its_own_segments() {
    // Each opening begins a segment, and each takes a file descriptor: at a thousand no opening would find any left.
    let dir = in_memory();
    let mut most = 0;
    for number in 0..150 {
        let before = segments(dir.path());
        assert_eq!(Store::open_read_only(dir.path()).is_ok(), number > 0);
        assert_eq!(segments(dir.path()), before, "reading leaves them as they are");
        let store = Store::open(dir.path(), options()).unwrap();
        live_through(&store, &number.to_string(), Outcome::Done);
        store.close().unwrap();
        most = most.max(segments(dir.path()).len());
    }
    assert!((60..75).contains(&most), "{most} segments");
    let store = Store::open_read_only(dir.path()).unwrap();
    assert!(ids(&store, &Filter::all()).into_iter().eq((0..150).map(|number: u32| number.to_string())));
    assert_eq!(damage(dir.path()), [""; 0]);
}

fn rewritten_copy() -> tempfile::TempDir {
    let dir = in_memory();
    for entry in fs::read_dir(REWRITTEN).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

/// A copy of the store above after `change`: whether it opens with all that was left, is found to be damaged, or neither.
fn opens(change: &dyn Fn(&Path)) -> Result<bool, String> {
    let dir = rewritten_copy();
    change(dir.path());
    let found = damage(dir.path());
    match Store::open(dir.path(), options()) {
        Ok(store)
            if ids(&store, &Filter::all()) == ["failed0", "failed1", "failed2", "pending"] && found.is_empty() =>
        {
            Ok(true)
        }
        Err(error) if error.kind() == ledgerline::ErrorKind::Corrupt && !found.is_empty() => Ok(false),
        Ok(store) => Err(format!("it opens with {:?}, the audit finds {found:?}", ids(&store, &Filter::all()))),
        Err(error) => Err(format!("{error:?}, the audit finds {found:?}")),
    }
}

#[test]
fn a_rewritten_segment_that_is_not_what_the_manifest_says_is_damage() {
    // R5, R6: its own checksums hold wherever a group ends, so only the manifest knows what is missing.
    let rewritten = |dir: &Path| dir.join("0000000001-1.seg");
    let length = fs::metadata(rewritten(Path::new(REWRITTEN))).unwrap().len();
    assert_eq!(opens(&|_| ()), Ok(true));
    for left in [0, 32, 64, 100, length - 8, length + 8] {
        let cut = |dir: &Path| fs::File::options().write(true).open(rewritten(dir)).unwrap().set_len(left).unwrap();
        assert_eq!(opens(&cut), Ok(false), "{left} of {length} bytes are left");
    }
    let remove = |dir: &Path| fs::remove_file(rewritten(dir)).unwrap();
    assert_eq!(opens(&remove), Ok(false));
    for (name, is_sound) in [("0000000001-2.seg", true), ("0000000001.seg", true), ("0000000002-1.seg", true)] {
        let stray = |dir: &Path| _ = fs::copy(rewritten(dir), dir.join(name)).unwrap();
        assert_eq!(opens(&stray), Ok(is_sound), "{name} is debris beside the one that the manifest names");
        let moved = |dir: &Path| fs::rename(rewritten(dir), dir.join(name)).unwrap();
        assert_eq!(opens(&moved), Ok(false), "{name} is not the one that the manifest names");
    }
}

#[test]
fn no_flipped_byte_of_a_rewritten_segment_or_its_manifest_passes_unseen() {
    for name in ["0000000001-1.seg", "MANIFEST"] {
        let length = fs::metadata(Path::new(REWRITTEN).join(name)).unwrap().len();
        for at in 0..usize::try_from(length).unwrap() {
            let dir = rewritten_copy();
            let mut bytes = fs::read(dir.path().join(name)).unwrap();
            bytes[at] ^= 0x20;
            fs::write(dir.path().join(name), bytes).unwrap();
            assert!(Store::open(dir.path(), options()).is_err(), "byte {at} of {name}");
        }
    }
}

#[test]
fn a_store_that_lost_its_manifest_is_not_taken_for_a_new_one() {
    // R5: whatever files are left, nothing is created over them, and nothing is removed.
    let cases: [&[&str]; 3] = [&[], &["0000000004.seg"], &["0000000001-1.seg"]];
    for removed in cases {
        let dir = in_memory();
        for name in ["0000000001-1.seg", "0000000004.seg"].iter().filter(|name| !removed.contains(name)) {
            fs::copy(Path::new(REWRITTEN).join(name), dir.path().join(name)).unwrap();
        }
        let before = segments(dir.path());
        let read = Store::open_read_only(dir.path()).unwrap_err();
        let error = Store::open(dir.path(), options()).unwrap_err();
        assert_eq!((error.kind(), read.kind()), (ledgerline::ErrorKind::Corrupt, ledgerline::ErrorKind::Corrupt));
        assert!(error.to_string().contains("the manifest is missing"), "{error}");
        assert_eq!(segments(dir.path()), before, "without {removed:?}");
        assert!(!dir.path().join("MANIFEST").exists());
    }
}

//! What salvage makes of a damaged store: whatever verifies is in the copy, whatever is lost is named, and nothing finished runs again.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what its own scaffolding cannot do fails a test")]
#![expect(clippy::disallowed_methods, reason = "a test that damages files touches them")]

#[path = "evidence/stores.rs"]
mod stores;

use std::fs;
use std::path::Path;
use std::time::Duration;

use ledgerline::{Acceptance, ErrorKind, LogItem, Status, Store, backup, salvage, verify};
use stores::{Story, event, eventful, flip, options, segments, stories};

/// Numbers that look random and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
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
    let base = dir.path().join("base");
    eventful(&base);
    let before = stories(&Store::open_read_only(&base).unwrap());
    let (mut put_in, mut uncertain) = (0, 0);
    let seeds = std::env::var("LEDGERLINE_SEEDS").map_or(24, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let mut chance = Chance(seed);
        let case = dir.path().join("case");
        let to = dir.path().join("to");
        for path in [&case, &to] {
            let _ = fs::remove_dir_all(path);
        }
        copy_into(&base, &case);
        damage(&case, &mut chance);
        let listed = salvage(&case, &to, &Acceptance::Nothing).unwrap();
        if !listed.lost.is_empty() {
            assert!(!listed.written && !to.exists(), "seed {seed}");
        }
        let report = if listed.written { listed } else { salvage(&case, &to, &Acceptance::All).unwrap() };
        put_in += report.put_in;
        uncertain += report.uncertain.len();
        let store = Store::open(&to, options()).unwrap();
        let mut next = 1;
        let mut reader = store.read_from(1);
        while let Some(item) = reader.next_timeout(Duration::ZERO).unwrap() {
            let (from, to) = match item {
                LogItem::Compacted { from, to } => (from, to),
                LogItem::Entry(entry) => (entry.seq, entry.seq),
                other => panic!("{other:?}"),
            };
            assert_eq!(from, next, "seed {seed}: entries and gaps are every number");
            next = to + 1;
        }
        let is_lost = |seq: u64| report.lost.iter().any(|range| (range.from..=range.to).contains(&seq));
        let after = stories(&store);
        for (id, status, _, steps) in &before {
            let Some((_, now, _, left)) = after.iter().find(|(other, ..)| other == id) else {
                assert!(is_lost(steps[0]), "seed {seed}: {id} is gone, and its record {} is not lost", steps[0]);
                continue;
            };
            let is_open = |status| matches!(status, Status::Pending | Status::Processing | Status::Retrying);
            assert!(is_open(*status) || !is_open(*now), "seed {seed}: {id} was {status} and may run again: {now}");
            if steps.iter().all(|seq| !is_lost(*seq)) {
                assert!(steps.iter().all(|seq| left.contains(seq)), "seed {seed}: {id}: {steps:?}, {left:?}");
            } else if !is_lost(*steps.last().unwrap()) && *status != Status::Pending {
                let same = now == status || is_open(*status);
                assert!(
                    same || report.left_out > 0,
                    "seed {seed}: {id} was {status}, and is {now}: {steps:?} {left:?}"
                );
            }
        }
        store.close().unwrap();
        let copy = dir.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        backup(&to, &copy, None).unwrap();
        for path in [&to, &copy] {
            let verification = verify(path).unwrap();
            assert!(verification.is_sound(), "seed {seed}: {:?}", verification.damage);
        }
        // What was salvaged once can be damaged and salvaged again.
        damage(&copy, &mut chance);
        let again = dir.path().join("again");
        let _ = fs::remove_dir_all(&again);
        salvage(&copy, &again, &Acceptance::All).unwrap();
        Store::open(&again, options()).unwrap().close().unwrap();
    }
    assert!(put_in > 0 && uncertain > 0, "{put_in} were put in, {uncertain} are uncertain");
}

#[test]
fn a_bad_first_group_of_the_last_segment_costs_that_group_and_nothing_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.append(event("first")).unwrap();
    store.close().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    for number in 0..20 {
        store.append(event(&format!("e{number}"))).unwrap();
    }
    store.close().unwrap();
    let last_seq = verify(dir.path()).unwrap().last_seq;
    flip(&segments(dir.path())[1], 80, 1);
    let report = salvage(dir.path(), dir.path().with_extension("salvaged"), &Acceptance::All).unwrap();
    let [lost] = report.lost[..] else { panic!("{report:?}") };
    assert!(lost.to < 10 && report.records >= last_seq - 10, "{report:?}");
    fs::remove_dir_all(dir.path().with_extension("salvaged")).unwrap();
}

fn copy_into(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for path in segments(from).iter().chain([&from.join("MANIFEST")]) {
        fs::copy(path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Damages a copy in one to three ways, but not the very last group: rot in that looks like a torn write.
fn damage(dir: &Path, chance: &mut Chance) {
    for _ in 0..=chance.below(3) {
        let paths = segments(dir);
        let index = usize::try_from(chance.below(paths.len() as u64)).unwrap();
        let path = &paths[index];
        let is_last = paths[index + 1..].iter().all(|path| fs::read(path).unwrap()[64..].iter().all(|byte| *byte == 0));
        match chance.below(10) {
            0 => fs::write(dir.join("MANIFEST"), b"rot").unwrap(),
            1 => drop(fs::remove_file(dir.join("MANIFEST"))),
            2 if !is_last && paths.len() > 2 => fs::remove_file(path).unwrap(),
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
}

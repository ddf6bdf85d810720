//! Everything that reads, against everything that writes, for as long as `LEDGERLINE_RACE_SECONDS` says (3 by default): nothing sound
//! is ever called damaged, no acknowledged event is missing, no two generations of the files are mixed.
#![expect(clippy::unwrap_used, reason = "what its own scaffolding cannot do fails a test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ledgerline::{
    Filter, LogItem, NewEvent, Outcome, Point, Reader, Store, StoreOptions, as_of, audit, backup, verify,
};

fn options() -> StoreOptions {
    StoreOptions::default()
        .segment_bytes(64 * 1024)
        .max_event_age(Duration::from_secs(1))
        .dedup_window(Duration::from_secs(1))
}

/// What is shared by those who race.
struct Race<'d> {
    dir: &'d Path,
    stop: AtomicBool,
    /// Acknowledged events that nothing ever finishes: whoever looks later must find them.
    kept: Mutex<BTreeSet<String>>,
    deleted: AtomicU64,
    rewritten: AtomicU64,
}

impl Race<'_> {
    fn is_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Appends and completes events, keeps some for good, compacts, and now and then closes the store and opens it again.
    fn write(&self) {
        let mut store = Store::open(self.dir, options()).unwrap();
        let mut follower = follow(&store);
        let mut number = 0_u64;
        while self.is_on() {
            if number % 500 == 499 {
                store.close().unwrap();
                follower.join().unwrap();
                store = Store::open(self.dir, options()).unwrap();
                follower = follow(&store);
            }
            let event = |id: String| NewEvent::new("Work", &"x".repeat(700)).unwrap().id(id);
            let batch: Vec<_> = (0..=number % 5).map(|index| event(format!("{number}-{index}"))).collect();
            store.append_many(batch).unwrap();
            for claim in store.claim(9).unwrap() {
                let outcome = if claim.event().event_type() == "Kept" {
                    Outcome::Fail("for a person".to_owned())
                } else {
                    Outcome::Done
                };
                store.settle(&claim, outcome).unwrap();
            }
            if number.is_multiple_of(400) {
                let id = format!("kept-{number}");
                store.append(NewEvent::new("Kept", &1).unwrap().id(&id)).unwrap();
                self.kept.lock().unwrap().insert(id);
            }
            if number.is_multiple_of(60) {
                let report = store.compact().unwrap();
                self.deleted.fetch_add(report.segments_deleted, Ordering::Relaxed);
                self.rewritten.fetch_add(report.segments_rewritten, Ordering::Relaxed);
            }
            number += 1;
        }
        store.close().unwrap();
        follower.join().unwrap();
    }

    fn kept(&self) -> BTreeSet<String> {
        self.kept.lock().unwrap().clone()
    }

    /// Does `look` again and again; what it finds must hold all that was kept before.
    fn look(&self, name: &str, mut look: impl FnMut(&Path) -> BTreeSet<String>) {
        while self.is_on() {
            let before = self.kept();
            let found = look(self.dir);
            let missing: Vec<_> = before.difference(&found).collect();
            assert!(missing.is_empty(), "{name} misses {missing:?}");
        }
    }
}

/// Reads along with the writer until it closes the store.
fn follow(store: &Store) -> JoinHandle<BTreeSet<String>> {
    let reader = store.read_from(1);
    std::thread::spawn(|| ids(reader))
}

fn dump(dir: &Path) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let report = audit::audit(dir, &mut |item| {
        match item {
            audit::Item::Record(audit::RecordLine { kind: "received", id: Some(id), .. }) => drop(ids.insert(id)),
            audit::Item::Finding { damage, segment, offset, text, .. } => {
                assert!(!damage, "the dump finds segment {segment}, offset {offset}: {text}");
            }
            _ => {}
        }
        Ok(())
    });
    assert_eq!(report.unwrap().damage, 0);
    ids
}

fn list(dir: &Path) -> BTreeSet<String> {
    let store = Store::open_read_only(dir).unwrap();
    assert_eq!(store.recovery().damage, Vec::<String>::new());
    let events = store.list(&Filter::all().event_type("Kept")).unwrap();
    events.iter().map(|event| event.id().to_owned()).collect()
}

/// Everything that a reader yields until its store is closed, or what was there is read; without a gap that is not named.
fn ids(reader: Reader) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut next = 1;
    for item in reader {
        match item.unwrap() {
            LogItem::Entry(entry) => {
                assert_eq!(entry.seq, next);
                next += 1;
                ids.extend(entry.id.filter(|_| entry.kind == "received"));
            }
            LogItem::Compacted { from, to } => {
                assert_eq!(from, next);
                next = to + 1;
            }
            other => assert_eq!(format!("{other:?}"), ""),
        }
    }
    ids
}

fn back_up(dir: &Path) -> BTreeSet<String> {
    let to = tempfile::tempdir().unwrap();
    backup(dir, to.path(), None).unwrap();
    let verification = verify(to.path()).unwrap();
    assert!(verification.is_sound() && verification.remarks.is_empty(), "{verification:?}");
    let store = Store::open(to.path(), options()).unwrap();
    assert!(store.recovery().closed_cleanly);
    store.close().unwrap();
    list(to.path())
}

#[test]
fn whoever_reads_beside_a_writer_with_compaction_finds_all_of_it_sound() {
    let seconds = std::env::var("LEDGERLINE_RACE_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    Store::open(dir, options()).unwrap().close().unwrap();
    let race = Race {
        dir,
        stop: AtomicBool::new(false),
        kept: Mutex::default(),
        deleted: AtomicU64::new(0),
        rewritten: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        // Whoever fails ends the race for all.
        let run = |work: &dyn Fn(&Race<'_>)| {
            let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&race)));
            race.stop.store(true, Ordering::Relaxed);
            assert!(failed.is_ok(), "see above");
        };
        scope.spawn(move || run(&|race| race.write()));
        scope.spawn(move || run(&|race| race.look("dump", dump)));
        scope.spawn(move || run(&|race| race.look("list", list)));
        scope.spawn(move || {
            run(&|race| race.look("read_from", |dir| ids(Store::open_read_only(dir).unwrap().read_from(1))));
        });
        scope.spawn(move || run(&|race| race.look("backup", back_up)));
        scope.spawn(move || {
            run(&|race| {
                race.look("verify", |dir| {
                    let verification = verify(dir).unwrap();
                    assert!(verification.is_sound(), "{:?}", verification.damage);
                    let then = as_of(dir, Point::Seq(verification.last_seq), None).unwrap();
                    // What it counts last may have been dropped since.
                    assert!(then.damage == 0 && then.seq <= verification.last_seq, "{then:?}");
                    list(dir)
                });
            });
        });
        let mut left = seconds * 10;
        while left > 0 && race.is_on() {
            std::thread::sleep(Duration::from_millis(100));
            left -= 1;
        }
        race.stop.store(true, Ordering::Relaxed);
    });
    let (deleted, rewritten) = (race.deleted.into_inner(), race.rewritten.into_inner());
    assert!(deleted + rewritten > 0, "compaction took part");
    assert!(rewritten > 0 || seconds < 10, "compaction wrote nothing anew");
}

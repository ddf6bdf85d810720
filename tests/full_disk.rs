//! A disk that is full: what is refused, what goes on, and how the store comes back by itself (R10). Each story mounts a file system of
//! its own in memory, a few hundred kilobytes large, and unmounts it whatever happens.
//!
//! Only root may mount. Others see that a story was SKIPPED; where `LEDGERLINE_REQUIRE_ALL` is 1 that is a failure.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what its own scaffolding cannot do fails a test")]
#![expect(clippy::disallowed_methods, reason = "a test of full disks fills them, and waits for the store's own second")]
#![expect(clippy::print_stderr, reason = "a story that cannot be told is named")]

use std::path::{Path, PathBuf};
#[cfg(feature = "cli")]
use std::process::Stdio;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use ledgerline::{Claim, ErrorKind, Filter, NewEvent, Outcome, Status, Store, StoreOptions};

const SEGMENT_BYTES: u64 = 64 * 1024;

/// A small file system that is gone when this is dropped.
struct Disk {
    /// Removed after the file system is unmounted.
    place: tempfile::TempDir,
}

impl Disk {
    /// None where nobody may mount.
    fn mount(bytes: u64) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "ledgerline-full-disk"])
            .arg(place.path())
            .output();
        let why = match mounted {
            Ok(Output { status, .. }) if status.success() => return Some(Self { place }),
            Ok(Output { stderr, .. }) => String::from_utf8_lossy(&stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        assert_ne!(std::env::var("LEDGERLINE_REQUIRE_ALL").as_deref(), Ok("1"), "no file system can be mounted: {why}");
        eprintln!("SKIPPED: no file system can be mounted: {why}");
        None
    }

    fn store(&self) -> PathBuf {
        self.place.path().join("store")
    }

    /// Makes it larger than anything that these stories write.
    #[cfg(feature = "cli")]
    fn grow(&self) {
        let grown = Command::new("mount").args(["-o", "remount,size=16m"]).arg(self.place.path()).status();
        assert!(grown.unwrap().success(), "a disk that was mounted can be made larger");
    }

    /// Takes all the space that is left.
    fn fill(&self) -> PathBuf {
        let path = self.place.path().join("ballast");
        let mut bytes = std::fs::read(&path).unwrap_or_default();
        while std::fs::write(&path, &bytes).is_ok() {
            bytes.resize(bytes.len() + 4_096, 0xa5);
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A store that still holds files open does not keep the name busy.
        let unmounted = Command::new("umount").arg("--lazy").arg(self.place.path()).output();
        if !std::thread::panicking() {
            assert!(unmounted.is_ok_and(|output| output.status.success()), "the file system is unmounted");
        }
    }
}

fn options() -> StoreOptions {
    StoreOptions::default()
        .segment_bytes(SEGMENT_BYTES)
        .max_event_age(Duration::from_secs(1))
        .dedup_window(Duration::ZERO)
        .retry_interval(Duration::from_millis(1))
}

fn event(id: &str) -> NewEvent {
    NewEvent::new("Issue", &"x".repeat(3_000)).unwrap().id(id)
}

/// Keeps events until one is refused; returns how many were kept.
fn fill_with_events(store: &Store, prefix: &str) -> usize {
    for number in 0.. {
        if let Err(error) = store.append(event(&format!("{prefix}{number}"))) {
            assert_eq!(error.kind(), ErrorKind::Full, "{error}");
            assert!(error.to_string().contains("goes on by itself"), "{error}");
            return number;
        }
    }
    unreachable!("no disk is endless")
}

/// Tries until it works: the store looks for space once a second.
fn until<T>(what: &str, mut attempt: impl FnMut() -> Result<T, ledgerline::Error>) -> T {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if error.kind() == ErrorKind::Full && began.elapsed() < Duration::from_secs(30) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

fn settled(store: &Store) -> usize {
    let claims = store.claim(20).unwrap_or_default();
    for claim in &claims {
        store.settle(claim, Outcome::Done).unwrap();
    }
    claims.len()
}

#[test]
fn a_full_disk_refuses_receptions_settles_what_runs_and_serves_again_once_there_is_room() {
    // R10: and nothing has to be opened anew.
    let Some(disk) = Disk::mount(6 * SEGMENT_BYTES + 16 * 1024) else { return };
    let store = Store::open(disk.store(), options()).unwrap();
    let running = {
        store.append(event("first")).unwrap();
        store.claim(1).unwrap().remove(0)
    };
    let kept = fill_with_events(&store, "e");
    assert!(kept > 60, "several segments are full: {kept}");
    assert_eq!(store.append(event("one more")).unwrap_err().kind(), ErrorKind::Full);
    let stats = store.stats();
    assert_eq!((stats.poisoned, stats.pending_events, stats.processing_events), (None, kept as u64, 1));

    store.settle(&running, Outcome::Done).unwrap();
    let done: usize = std::iter::repeat_with(|| settled(&store)).take_while(|count| *count > 0).sum();
    assert!(done > 0, "what is left of the active segment serves runs");
    assert_eq!(store.stats().completed_events, done as u64 + 1);
    assert_eq!(store.append(event("one more")).unwrap_err().kind(), ErrorKind::Full);

    // Events must be a second old, and only the clock can make them so.
    std::thread::sleep(Duration::from_millis(1_100));
    assert!(store.compact().unwrap().segments_deleted > 0);
    until("an event is kept", || store.append(event("later")));
    let rest: usize = std::iter::repeat_with(|| settled(&store)).take_while(|count| *count > 0).sum();
    assert_eq!(done + rest, kept + 1, "all that was kept has run");
    assert_eq!(store.stats().poisoned, None);
    store.close().unwrap();
    let store = Store::open(disk.store(), options()).unwrap();
    assert!(store.recovery().closed_cleanly);
    assert_eq!(store.stats().events_processed, kept as u64 + 2);
}

#[test]
fn a_settle_that_found_no_room_is_taken_once_there_is_some() {
    // R10: its run is neither lost nor repeated.
    let Some(disk) = Disk::mount(4 * SEGMENT_BYTES) else { return };
    let store = Store::open(disk.store(), options()).unwrap();
    store.append(event("first")).unwrap();
    let claim = store.claim(1).unwrap().remove(0);
    let others = runs(&store);
    let ballast = disk.fill();
    fill_with_events(&store, "e");
    spend_the_reserve(&store, &others);
    let error = store.settle(&claim, Outcome::Fail("y".repeat(3_000))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(store.stats().processing_events >= 1);
    assert!(store.claim(1).is_err(), "nothing new begins");
    assert_eq!(store.cancel("e0", "").unwrap_err().kind(), ErrorKind::Full);

    std::fs::remove_file(ballast).unwrap();
    until("the run is settled", || store.settle(&claim, Outcome::Fail("y".repeat(3_000))));
    let first = store.get("first").unwrap().unwrap();
    assert_eq!((first.status(), first.error_message().map(str::len)), (Status::Failed, Some(3_000)));
    assert_eq!(store.settle(&claim, Outcome::Done).unwrap_err().kind(), ErrorKind::NotAllowed);
    store.append(event("later")).unwrap();
}

/// So many runs say more at their end than there is kept room for.
const RUNS: usize = 40;

/// Runs that have begun.
fn runs(store: &Store) -> Vec<Claim> {
    store.append_many((0..RUNS).map(|number| NewEvent::new("Issue", &1).unwrap().id(format!("r{number}")))).unwrap();
    let claims = store.claim(RUNS).unwrap();
    assert_eq!(claims.len(), RUNS);
    claims
}

/// Uses up what is kept for the ends of runs.
fn spend_the_reserve(store: &Store, runs: &[Claim]) {
    let mut left = runs.iter();
    for length in [3_000, 300, 30, 1] {
        let outcome = Outcome::Fail("z".repeat(length));
        let refused = left.find_map(|run| store.settle(run, outcome.clone()).err());
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Full));
    }
}

#[test]
fn a_store_on_a_full_disk_closes_and_opens_once_there_is_room() {
    // R10, R2: nothing of it is damage.
    let Some(disk) = Disk::mount(4 * SEGMENT_BYTES) else { return };
    let store = Store::open(disk.store(), options()).unwrap();
    let runs = runs(&store);
    let ballast = disk.fill();
    let kept = fill_with_events(&store, "e") + runs.len();
    spend_the_reserve(&store, &runs);
    store.close().unwrap();
    // What closing gave back is taken by somebody else.
    disk.fill();
    let error = Store::open(disk.store(), options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    std::fs::remove_file(ballast).unwrap();
    // A process that another test is just starting may hold the ballast open for a moment more.
    let store = until("there is room", || Store::open(disk.store(), options()));
    assert_eq!(store.list(&Filter::all()).unwrap().len(), kept);
    store.append(event("later")).unwrap();
}

#[cfg(feature = "manager")]
#[tokio::test]
async fn a_run_that_ends_on_a_full_disk_is_settled_by_the_workers_later() {
    // R10: meanwhile the health says so.
    use ledgerline::EventManager;
    use tokio::sync::Semaphore;

    let Some(disk) = Disk::mount(4 * SEGMENT_BYTES) else { return };
    let (begun, may_end) = (std::sync::Arc::new(Semaphore::new(0)), std::sync::Arc::new(Semaphore::new(0)));
    let (begins, ends) = (std::sync::Arc::clone(&begun), std::sync::Arc::clone(&may_end));
    let handler = move |_: ledgerline::Event| {
        let (begins, ends) = (std::sync::Arc::clone(&begins), std::sync::Arc::clone(&ends));
        async move {
            begins.add_permits(1);
            ends.acquire().await.unwrap().forget();
            Outcome::Fail("y".repeat(3_000))
        }
    };
    let builder = EventManager::builder(disk.store()).store_options(options()).concurrency(RUNS);
    let manager = builder.on("Run", handler).start().await.unwrap();
    let ids: Vec<String> = (0..RUNS).map(|number| format!("r{number}")).collect();
    for id in &ids {
        manager.emit("Run", serde_json::json!({})).id(id).await.unwrap();
    }
    begun.acquire_many(u32::try_from(RUNS).unwrap()).await.unwrap().forget();
    let ballast = disk.fill();
    let mut kept = 0;
    while manager.emit("Issue", "x".repeat(3_000)).id(format!("e{kept}")).await.is_ok() {
        kept += 1;
    }
    may_end.add_permits(RUNS);
    let has_no_room = || manager.health().reasons.iter().any(|reason| reason.contains("it cannot be said in the log"));
    while !has_no_room() {
        tokio::task::yield_now().await;
    }
    std::fs::remove_file(ballast).unwrap();
    while has_no_room() {
        tokio::task::yield_now().await;
    }
    for id in ids {
        let run = manager.get(id).await.unwrap().unwrap();
        assert_eq!((run.status(), run.retry_count()), (Status::Failed, 1), "it ran once, and failed once");
    }
    manager.shutdown().await.unwrap();
}

/// What `stats` counts in a store that is in service.
#[cfg(feature = "cli")]
fn counted(data: &Path, name: &str) -> Option<u64> {
    let mut stats = Command::new(env!("CARGO_BIN_EXE_ledgerline"));
    let answer = stats.env_clear().args(["stats", "--json", "--data"]).arg(data).output().unwrap();
    serde_json::from_slice::<serde_json::Value>(&answer.stdout).ok()?.get(name)?.as_u64()
}

#[cfg(feature = "cli")]
#[test]
fn events_whose_lines_have_no_room_wait_for_it_and_leave_one_fragment_among_whole_lines() {
    const EVENTS: usize = 300;
    let Some(disk) = Disk::mount(SEGMENT_BYTES) else { return };
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path(), StoreOptions::default()).unwrap();
    let short = "x".repeat(200);
    store.append_many((0..EVENTS).map(|_| NewEvent::new("Issue", &short).unwrap())).unwrap();
    store.close().unwrap();
    let printed = disk.place.path().join("printed");
    let mut service = Command::new(env!("CARGO_BIN_EXE_ledgerline"));
    service.env_clear().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path());
    let mut service = service.stdout(std::fs::File::create(&printed).unwrap()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let wait_for = |is_so: &dyn Fn(u64) -> bool| {
        while !counted(data.path(), "completed_events").is_some_and(is_so) {
            assert!(begun.elapsed() < Duration::from_secs(30), "it takes too long");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    wait_for(&|done| done > 0);
    // Until nothing more fits.
    let length = || std::fs::metadata(&printed).unwrap().len();
    while length() < SEGMENT_BYTES {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} bytes", length());
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(100));
    disk.grow();
    wait_for(&|done| done == EVENTS as u64);
    assert_eq!(counted(data.path(), "events_failed"), Some(0), "a full disk is no failure of theirs");
    let asked = Command::new("kill").arg(service.id().to_string()).status().unwrap();
    assert!(asked.success() && service.wait().unwrap().success());
    let text = std::fs::read_to_string(&printed).unwrap();
    let id = |line: &str| Some(serde_json::from_str::<serde_json::Value>(line).ok()?.get("id")?.as_str()?.to_owned());
    let ids: Vec<String> = text.lines().filter_map(id).collect();
    let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (EVENTS, EVENTS), "each line stands there whole, and once");
    assert_eq!(text.lines().count(), EVENTS + 1, "and the fragment of the one that had no room");
}

/// Nothing here is left behind by stories that were told before.
#[test]
fn no_file_system_of_these_stories_outlives_its_test() {
    let mounted = |at: &Path| {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.lines().any(|line| line.split(' ').nth(1) == at.to_str())
    };
    let Some(disk) = Disk::mount(SEGMENT_BYTES) else { return };
    let place = disk.place.path().to_owned();
    assert!(mounted(&place));
    let panicked = std::thread::spawn(move || {
        let _disk = disk;
        panic!("this test panics on purpose");
    });
    assert!(panicked.join().is_err());
    assert!(!mounted(&place) && !place.exists());
}

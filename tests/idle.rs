//! Watched from outside: a service without traffic costs nothing. It is there at once, holds little, writes and syncs nothing, and uses
//! no processor. And what nothing inside can show: that a new store's own name is made durable.
//!
//! What it asks of the system is counted from outside, by strace. Where that is missing, or may watch nobody, those stories are SKIPPED; where
//! `LEDGERLINE_REQUIRE_ALL` is 1 that is a failure. Bounds of time and memory are those of a build that was not optimised, on a busy machine.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "what its own scaffolding cannot do fails a test")]
#![expect(
    clippy::disallowed_methods,
    reason = "a witness outside the service has its own clock and files, and watches for a while"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long an idle service is watched.
const WATCHED: Duration = Duration::from_secs(3);
/// Within this it has come to rest: the mark of an idle log is written after a second.
const REST_WITHIN: Duration = Duration::from_secs(30);
const START_MAX: Duration = Duration::from_secs(2);
/// A thread writes eight bytes to wake another; a record has more than all that is written so in a while.
const WAKING_BYTES_MAX: u64 = 64;
const RESIDENT_KIB_MAX: u64 = 20 * 1024;
/// A hundredth of a core while it is watched, in ticks of a hundredth of a second.
const TICKS_MAX: u64 = WATCHED.as_secs();

/// A running service on an empty log; killed when it is dropped.
struct Service {
    child: Child,
    started_in: Duration,
}

impl Service {
    fn start(dir: &Path) -> Self {
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ledgerline"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(dir.join("data"))
            .current_dir(dir)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("listens on")));
        assert!(ready.is_some(), "the service ended early");
        let started_in = began.elapsed();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, started_in }
    }

    /// A file that the system keeps about it.
    fn told(&self, name: &str) -> String {
        fs::read_to_string(PathBuf::from("/proc").join(self.child.id().to_string()).join(name)).unwrap()
    }

    /// The number behind a word in such a file.
    fn number(&self, name: &str, word: &str) -> u64 {
        let told = self.told(name);
        let line = told.lines().find_map(|line| line.strip_prefix(word)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Processor time so far, its own and the system's, in ticks.
    fn ticks(&self) -> u64 {
        let told = self.told("stat");
        let (_, behind_name) = told.rsplit_once(')').unwrap();
        behind_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Waits until nothing was written for as long as the idle mark takes and half as long again.
    fn rest(&self) {
        let began = Instant::now();
        let mut written = 0;
        loop {
            let now = self.number("io", "wchar:");
            if now - written <= WAKING_BYTES_MAX {
                return;
            }
            assert!(began.elapsed() < REST_WITHIN, "it does not come to rest");
            written = now;
            std::thread::sleep(Duration::from_millis(1_500));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the service asks of its files meanwhile; none where nobody may watch it.
fn calls(service: &Service, dir: &Path, meanwhile: impl FnOnce()) -> Option<String> {
    let trace = dir.join("trace");
    let pid = service.child.id().to_string();
    let calls = "trace=fsync,fdatasync,syncfs,sync,sync_file_range,msync,pwrite64,pwritev,fallocate,ftruncate";
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", calls, "-o"]).arg(&trace).args(["-p", &pid]).stderr(Stdio::piped());
    let mut strace = strace.spawn().ok()?;
    // It says so once it watches, and ends where it may not.
    let mut said = String::new();
    let mut stderr = BufReader::new(strace.stderr.take().unwrap());
    let watches = stderr.read_line(&mut said).is_ok() && said.contains("attached");
    if watches {
        meanwhile();
    }
    let _ = Command::new("kill").args(["-INT", &strace.id().to_string()]).status();
    let _ = strace.wait();
    watches.then(|| fs::read_to_string(&trace).unwrap())
}

#[expect(clippy::print_stderr, reason = "whoever runs it must see that nothing was looked at")]
fn skipped() {
    assert_ne!(std::env::var("LEDGERLINE_REQUIRE_ALL").as_deref(), Ok("1"), "nobody can be watched by strace");
    eprintln!("SKIPPED: nobody can be watched by strace");
}

#[test]
fn an_empty_service_is_there_at_once() {
    let times = (0..5).map(|_| {
        let dir = tempfile::tempdir().unwrap();
        Service::start(dir.path()).started_in
    });
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    assert!(times.get(2).is_some_and(|median| *median < START_MAX), "{times:?}");
}

#[test]
fn a_service_without_traffic_holds_little_and_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    service.rest();
    let (ticks, written) = (service.ticks(), service.number("io", "wchar:"));
    std::thread::sleep(WATCHED);
    let used = service.ticks() - ticks;
    assert!(used <= TICKS_MAX, "{used} hundredths of a second of processor time in {WATCHED:?}");
    let written = service.number("io", "wchar:") - written;
    assert!(written <= WAKING_BYTES_MAX, "{written} bytes are written in {WATCHED:?}");
    let resident = service.number("status", "VmRSS:");
    assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB are resident");
}

#[test]
fn a_service_without_traffic_syncs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    service.rest();
    let Some(calls_at_rest) = calls(&service, dir.path(), || std::thread::sleep(WATCHED)) else {
        return skipped();
    };
    assert!(!calls_at_rest.contains('('), "{calls_at_rest}");
    // What happens is seen.
    let emit = || {
        let mut emit = Command::new(env!("CARGO_BIN_EXE_ledgerline"));
        let emitted =
            emit.args(["emit", "--data"]).arg(dir.path().join("data")).args(["Issue", "{}"]).output().unwrap();
        assert!(emitted.status.success(), "{emitted:?}");
    };
    assert!(calls(&service, dir.path(), emit).unwrap().contains("fdatasync("));
}

#[test]
fn a_store_makes_durable_the_names_of_directories_that_somebody_else_has_created() {
    // R4. Whoever made them may have been killed before it could.
    let place = tempfile::tempdir().unwrap();
    let place = place.path().canonicalize().unwrap();
    fs::create_dir_all(place.join("a/b/data")).unwrap();
    let synced = || {
        let mut traced = Command::new("strace");
        traced.args(["-y", "-e", "trace=fsync", "-o", "trace", env!("CARGO_BIN_EXE_ledgerline")]);
        traced.args(["emit", "--data", "a/b/data", "Issue", "{}"]).current_dir(&place);
        let ended = traced.output().ok()?;
        let trace = fs::read_to_string(place.join("trace")).unwrap_or_default();
        // Where it may watch nobody, nothing ran.
        assert!(ended.status.success() || trace.is_empty(), "{ended:?}");
        ended.status.success().then_some(trace)
    };
    let Some(first) = synced() else {
        return skipped();
    };
    let parents = ["a/b", "a", "."].map(|name| place.join(name).canonicalize().unwrap());
    let is_synced = |calls: &str, path: &Path| {
        let call = format!("<{}>)", path.display());
        calls.lines().any(|line| line.contains(&call) && line.ends_with("= 0"))
    };
    for path in &parents {
        assert!(is_synced(&first, path), "{}: {first}", path.display());
    }
    // From then on the name is relied on, and nobody asks again.
    let second = synced().unwrap();
    for path in &parents {
        assert!(!is_synced(&second, path), "{}: {second}", path.display());
    }
}

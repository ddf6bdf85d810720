//! Directories of benches, and when their disk is at rest.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A directory on the disk that holds the build, because a file system in memory would sync nothing.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build's directory is writable")
}

/// Where the rows of a run are kept.
pub(crate) fn reports() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench");
    std::fs::create_dir_all(&path).expect("the build's directory is writable");
    path
}

/// Waits until no thread of this process has written anything for a while: what is prepared in the background is prepared then. The
/// last of it is spent busily, because a process that has slept begins slowly (seen: half the rate for some tens of milliseconds, as
/// its threads share one core), and that is a matter of the scheduler.
pub(crate) fn settle() {
    const REST: Duration = Duration::from_millis(60);
    const BUSY: Duration = Duration::from_millis(40);
    let until = Instant::now() + Duration::from_secs(10);
    let (mut written, mut since) = (written_bytes(), Instant::now());
    while since.elapsed() < REST && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
        let now = written_bytes();
        if now != written {
            (written, since) = (now, Instant::now());
        }
    }
    let until = Instant::now() + BUSY;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Bytes that this process has sent towards a disk.
fn written_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

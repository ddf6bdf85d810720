//! The machine that a figure belongs to, in one line, and how quick its disk is at the moment.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::Instant;

/// Bytes of the file that is synced to see how long that takes, all written before.
const SYNCED_BYTES: usize = 1024 * 1024;
const SYNCED_WRITE_BYTES: usize = 4096;

/// Cores, kernel, and the file system that `dir` lies on.
pub(crate) fn describe(dir: &Path) -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let said = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = said("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.trim().to_owned()))
        .unwrap_or_else(|| "unknown processor".to_owned());
    let kernel = said("/proc/sys/kernel/osrelease");
    let kernel = kernel.split(['-', '+', '\n']).next().unwrap_or_default();
    format!("{cores} cores ({processor}), Linux {kernel}, {}", file_system(&said("/proc/mounts"), dir))
}

/// Microseconds that a sync of one small write takes in `dir` now: the median. Other work on the same disk shows here.
pub(crate) fn sync_micros(dir: &Path) -> u64 {
    let file = tempfile::tempfile_in(dir).expect("the build's directory is writable");
    file.write_all_at(&vec![0x5a; SYNCED_BYTES], 0).expect("a write succeeds");
    file.sync_all().expect("a sync succeeds");
    let writes = (0..SYNCED_BYTES as u64).step_by(SYNCED_WRITE_BYTES);
    let mut took: Vec<u64> = writes
        .map(|offset| {
            let began = Instant::now();
            file.write_all_at(&[0xa5; SYNCED_WRITE_BYTES], offset).expect("a write succeeds");
            file.sync_data().expect("a sync succeeds");
            u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 2]
}

/// The kind of file system that `dir` lies on, by what is mounted: the mount with the longest path wins, the later one if equal.
fn file_system(mounts: &str, dir: &Path) -> String {
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let holding = mounted.filter(|(at, _)| dir.starts_with(at)).max_by_key(|(at, _)| at.len());
    holding.map_or("unknown file system", |(_, kind)| kind).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_names_the_file_system() {
        let mounts = "none / overlay rw 0 0\n/dev/vda /data ext4 rw 0 0\nnone /database tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/data/peers")), "ext4");
        assert_eq!(file_system(mounts, Path::new("/elsewhere")), "overlay");
        assert_eq!(file_system("", Path::new("/data")), "unknown file system");
    }
}

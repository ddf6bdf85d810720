//! The machine that a figure belongs to, in one line.

use std::fs;
use std::path::Path;
use std::thread;

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

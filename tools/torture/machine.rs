//! Where it ran: what a reader has to know of a machine to make sense of figures, and nothing that tells whose it is.

use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::arguments::RESULT;

/// Cores, memory, kernel, and the file system of the current directory.
pub(crate) fn described() -> Value {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    json!({ "cores": cores, "memory": memory(), "kernel": kernel.trim(), "filesystem": filesystem() })
}

/// Whether the kernel lets this process do everything.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|status| status.uid() == 0)
}

/// The commit that is checked out here, and whether files differ from it, other than what campaigns left; "unknown" outside of a
/// repository.
pub(crate) fn commit() -> String {
    let but_the_result = format!(":(top,exclude){RESULT}");
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ":/", &but_the_result]);
    match (git(&["rev-parse", "HEAD"]), changed.as_deref()) {
        (Some(hash), Some("")) => hash,
        (Some(hash), _) => format!("{hash}, with changes"),
        (None, _) => "unknown".to_owned(),
    }
}

/// What git answers, if it does.
fn git(arguments: &[&str]) -> Option<String> {
    let asked = Command::new("git").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).trim().to_owned())
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// As "24 GB".
fn memory() -> String {
    let lines = read("/proc/meminfo");
    let total = lines.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|total| total.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map_or("unknown".to_owned(), |kilobytes| format!("{} GB", (kilobytes + 500_000) / 1_000_000))
}

/// The type of the file system that the current directory is on: of all mounts above it the innermost, and of several at one place
/// the last.
fn filesystem() -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let mounts = read("/proc/self/mountinfo");
    let mut innermost = (0, "unknown");
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let (Some(place), Some(kind)) = (before.split(' ').nth(4), after.split(' ').next()) else { continue };
        if here.starts_with(place) && place.len() >= innermost.0 {
            innermost = (place.len(), kind);
        }
    }
    innermost.1.to_owned()
}

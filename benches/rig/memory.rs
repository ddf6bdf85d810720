//! What this process takes.

/// Bytes of this process's memory that are no file's.
pub(crate) fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("a process has a status");
    let kib =
        text.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("it is told in KiB") * 1_024
}

//! The machine that a table was measured on.

use std::time::SystemTime;

use ledgerline::Timestamp;
use serde::Serialize;

/// What figures depend on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    pub(crate) date: String,
}

impl Machine {
    /// This one, now.
    pub(crate) fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let date = Timestamp::from(SystemTime::now()).to_string();
        Self {
            processor: model.map_or("unknown processor", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            file_system: file_system(&read("/proc/mounts")),
            date: date.get(..10).unwrap_or(&date).to_owned(),
        }
    }
}

/// The type of the file system that the benches write to: that of the longest mount point which leads there.
fn file_system(mounts: &str) -> String {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let leading = mounted.filter(|(point, _)| std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).starts_with(point));
    leading.max_by_key(|(point, _)| point.len()).map_or("unknown file system", |(_, name)| name).to_owned()
}

//! Counts what a peer really asks of the disk: the system calls that make bytes durable, between the marks of a child.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::child::{BEGIN, END};
use crate::row::Row;

/// Calls after which bytes are durable, or that may ask for it.
const SYNCS: [&str; 7] = ["fsync", "fdatasync", "sync_file_range", "syncfs", "sync", "msync", "io_uring_enter"];
/// Calls that show marks, and files whose every write is durable.
const OPENS: [&str; 2] = ["open", "openat"];
/// Files that were opened so need no calls.
const DURABLE_WRITES: [&str; 2] = ["O_DSYNC", "O_SYNC"];

/// What was counted while so many operations were acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Syncs {
    pub(crate) operations: u64,
    pub(crate) calls: BTreeMap<String, u64>,
    /// Whether a file was opened whose every write is durable; those are not counted.
    pub(crate) writes_are_durable: bool,
}

impl Syncs {
    pub(crate) fn per_operation(&self) -> f64 {
        self.calls.values().sum::<u64>() as f64 / self.operations.max(1) as f64
    }

    /// Whether there were enough for each operation to have waited for one.
    pub(crate) fn suffice_for(&self, row: Row) -> bool {
        let needed = row.operations_per_sync_max().map_or(0, |max| self.operations / max as u64);
        self.writes_are_durable || self.calls.values().sum::<u64>() >= needed
    }
}

pub(crate) fn is_possible() -> bool {
    let mut command = Command::new("strace");
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// `program`, traced into the file `trace`, with all that it starts.
pub(crate) fn command(program: &OsStr, trace: &Path) -> Command {
    let mut command = Command::new("strace");
    let calls: Vec<&str> = SYNCS.into_iter().chain(OPENS).collect();
    command.args(["-f", "-qq", "--seccomp-bpf", "-e", "signal=none", "-e"]).arg(format!("trace={}", calls.join(",")));
    command.arg("-o").arg(trace).arg(program);
    command
}

/// What the trace in this file shows while `operations` were acknowledged.
pub(crate) fn count(trace: &Path, operations: u64) -> Option<Syncs> {
    let trace = fs::read(trace).ok()?;
    Some(counted(&String::from_utf8_lossy(&trace), operations))
}

fn counted(trace: &str, operations: u64) -> Syncs {
    let mut syncs = Syncs { operations, ..Syncs::default() };
    let mut is_measured = false;
    for line in trace.lines() {
        // A line begins with the thread; one that only resumes a call names it further on.
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let Some((name, arguments)) = call.split_once('(') else { continue };
        if OPENS.contains(&name) {
            is_measured = (is_measured || arguments.contains(BEGIN)) && !arguments.contains(END);
            syncs.writes_are_durable |= DURABLE_WRITES.iter().any(|flag| arguments.contains(flag));
        } else if is_measured && SYNCS.contains(&name) && (name != "msync" || arguments.contains("MS_SYNC")) {
            *syncs.calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    syncs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(measured: &str) -> Syncs {
        let around = |mark| format!("7 openat(AT_FDCWD, \"{mark}\", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file)\n");
        counted(&format!("7 fsync(3) = 0\n{}{measured}{}8 fdatasync(4) = 0\n", around(BEGIN), around(END)), 4)
    }

    #[test]
    fn only_what_lies_between_the_marks_counts_and_only_once() {
        let syncs = trace("7 fdatasync(3 <unfinished ...>\n 8 fsync(4) = 0\n7 <... fdatasync resumed>) = 0\n");
        assert_eq!(syncs.calls, BTreeMap::from([("fdatasync".to_owned(), 1), ("fsync".to_owned(), 1)]));
        assert!((syncs.per_operation() - 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn acknowledging_more_than_was_synced_is_seen() {
        let syncs = trace("7 fdatasync(3) = 0\n7 msync(0x7f, 4096, MS_ASYNC) = 0\n");
        assert!(!syncs.suffice_for(Row::Commit { callers: 1 }));
        assert!(syncs.suffice_for(Row::Commit { callers: 16 }));
        assert!(trace("").suffice_for(Row::Reopen));
    }

    #[test]
    fn a_file_whose_writes_are_durable_needs_no_calls() {
        let syncs = trace("7 openat(AT_FDCWD, \"log\", O_RDWR|O_CREAT|O_DSYNC|O_CLOEXEC, 0666) = 3\n");
        assert!(syncs.suffice_for(Row::Commit { callers: 1 }));
    }
}

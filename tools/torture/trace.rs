//! What a process asked of its files, as strace tells it, held against the order that promises need.
//!
//! ```text
//! write of records ──► sync that succeeds ──► an event is acknowledged
//!        │                     │
//!      fails                 fails ──► that file is never synced again, nor given its name
//!        └─────────┬───────────┘
//!                  ▼
//!     nothing is acknowledged any more
//! ```

use std::collections::{BTreeMap, BTreeSet};

/// Groups of records begin with this.
const GROUP: &str = "\"LGRP";

/// One call that has ended.
#[derive(Debug, PartialEq, Eq)]
struct Call<'t> {
    name: &'t str,
    arguments: &'t str,
    failed: bool,
}

/// What a trace shows.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// Files, or directories, of which a sync failed.
    unsynced: BTreeSet<String>,
    /// Segments that hold records which were not synced.
    dirty: BTreeSet<String>,
    /// Why nothing may be acknowledged any more.
    poison: Option<String>,
    /// Whether a fault met a file of the store.
    pub(crate) met: bool,
    pub(crate) faults: Vec<String>,
}

impl Trace {
    /// Reads a whole trace of `-f -y`, of a process whose store is in `dir`.
    pub(crate) fn read(text: &str, dir: &str) -> Self {
        let mut trace = Self::default();
        let mut unfinished: BTreeMap<&str, &str> = BTreeMap::new();
        for line in text.lines() {
            let Some((process, rest)) = line.split_once(' ') else { continue };
            let rest = rest.trim_start();
            // One that waited while others went on stands on two lines.
            let whole = if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
                unfinished.insert(process, begun);
                continue;
            } else if let Some((_, ended)) = rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
                format!("{}{ended}", unfinished.remove(process).unwrap_or_default())
            } else {
                rest.to_owned()
            };
            if let Some(call) = parsed(&whole) {
                trace.met |= whole.ends_with("(INJECTED)") && whole.contains(dir);
                trace.take(&call);
            }
        }
        trace
    }

    fn take(&mut self, call: &Call<'_>) {
        match call.name {
            "fsync" | "fdatasync" => self.synced(&opened(call.arguments), call.failed),
            "pwrite64" if call.arguments.contains(GROUP) => self.written(&opened(call.arguments), call.failed),
            "write" if call.arguments.contains("\"acknowledged") => self.acknowledged(),
            // Another file of that name.
            "openat" if call.arguments.contains("O_EXCL") && !call.failed => self.forget(&named(call.arguments, 0)),
            "unlink" if !call.failed => self.forget(&named(call.arguments, 0)),
            "rename" => self.renamed(&named(call.arguments, 0), &named(call.arguments, 1), call.failed),
            _ => {}
        }
    }

    fn synced(&mut self, path: &str, failed: bool) {
        if self.unsynced.contains(path) {
            self.faults.push(format!("{path} is synced again after a sync of it has failed"));
        }
        if !failed {
            self.dirty.remove(path);
            return;
        }
        self.unsynced.insert(path.to_owned());
        if self.dirty.contains(path) && is_appended_to(path) {
            self.poison = Some(format!("the sync of records in {path} failed"));
        }
    }

    fn written(&mut self, path: &str, failed: bool) {
        if failed && is_appended_to(path) {
            self.poison = Some(format!("the write of records into {path} failed"));
        } else if !failed {
            self.dirty.insert(path.to_owned());
        }
    }

    fn acknowledged(&mut self) {
        if let Some(why) = &self.poison {
            self.faults.push(format!("an event is acknowledged although {why}"));
        }
        if let Some(path) = self.dirty.first() {
            self.faults.push(format!("an event is acknowledged before the records in {path} are synced"));
        }
    }

    fn renamed(&mut self, from: &str, to: &str, failed: bool) {
        if self.unsynced.contains(from) {
            self.faults.push(format!("{from} becomes {to} although its sync failed"));
        }
        if !failed {
            self.forget(to);
            if self.dirty.remove(from) {
                self.dirty.insert(to.to_owned());
            }
        }
    }

    fn forget(&mut self, path: &str) {
        self.unsynced.remove(path);
        self.dirty.remove(path);
    }
}

/// Whether it is a segment as the log writes it. What compaction writes bears a generation too, and nobody waits for that.
fn is_appended_to(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.strip_suffix(".seg").is_some_and(|ordinal| ordinal.bytes().all(|digit| digit.is_ascii_digit()))
}

/// `name(arguments) = result`; none where it did not end.
fn parsed(text: &str) -> Option<Call<'_>> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    // To begin anew after an interruption is no failure.
    let failed = result.starts_with('-') && !result.contains("EINTR");
    Some(Call { name, arguments, failed })
}

/// The path of the descriptor that comes first: `5</a/b>, …`.
fn opened(arguments: &str) -> String {
    let path = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
    path.to_owned()
}

/// The path that is named: the first between quotes, or a later one.
fn named(arguments: &str, index: usize) -> String {
    arguments.split('"').nth(2 * index + 1).unwrap_or_default().to_owned()
}

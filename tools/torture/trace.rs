//! What a process asked of its files, as strace tells it, held against the order that promises need.
//!
//! ```text
//! write of records ──► sync that succeeds ──► an event is acknowledged
//!        │                     │
//!      fails                 fails ──► that file is never synced again, nor given its name
//!        └─────────┬───────────┘
//!                  ▼
//!     nothing is acknowledged any more
//!
//! a segment gets its name ──► sync of the directory ──► records are written into it
//!            │                          │
//!          fails                      fails ──► no record is ever written into it
//!            └────────────┬─────────────┘
//!                         ▼        also where another file's name, or the end of a segment with records, is not made durable:
//!     this thread acknowledges, writes, syncs, creates, renames and removes nothing any more
//! ```
//!
//! But for one event whose records it had synced before, and not acknowledged yet. Only this thread, because the others learn of the
//! failure a moment later, and what they do meanwhile rests on what was durable before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Groups of records begin with this.
const GROUP: &str = "\"LGRP";

/// One call.
#[derive(Debug, PartialEq, Eq)]
struct Call<'t> {
    name: &'t str,
    arguments: &'t str,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Succeeded,
    Failed,
    /// The process died in it.
    Never,
}

impl Call<'_> {
    fn failed(&self) -> bool {
        self.end == End::Failed
    }
}

/// How often a process did what its promises rest on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Groups of records written.
    pub(crate) groups: u64,
    /// Syncs of segments into which records had been written since the last one.
    pub(crate) syncs: u64,
    pub(crate) acknowledged: u64,
    /// Segments that were given their name.
    pub(crate) named: u64,
    /// Manifests that were given theirs.
    pub(crate) manifests: u64,
}

/// Whether records may be written into a segment that was given its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// Once the directory is synced.
    Unsynced,
    /// Never: whether the name is there after a loss of power is unknown.
    Unknown,
}

/// What a trace shows.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    dir: String,
    /// Files, or directories, of which a sync failed.
    unsynced: BTreeSet<String>,
    /// Segments that hold records which were not synced.
    dirty: BTreeSet<String>,
    /// Segments into which records were written.
    written: BTreeSet<String>,
    /// Segments whose name is not durable.
    nameless: BTreeMap<String, Named>,
    /// Threads that have synced records, and neither acknowledged anything nor written more since.
    owing: BTreeSet<String>,
    /// Why nothing may be acknowledged any more, by whatever thread.
    poison: Option<String>,
    /// Threads that may change nothing any more, and why.
    stopped: BTreeMap<String, String>,
    pub(crate) counts: Counts,
    /// Whether a fault met a file of the store.
    pub(crate) met: bool,
    pub(crate) faults: Vec<String>,
}

impl Trace {
    /// Reads a whole trace of `-f -y`, of a process whose store is in `dir`.
    pub(crate) fn read(text: &str, dir: &str) -> Self {
        let mut trace = Self { dir: dir.to_owned(), ..Self::default() };
        for (thread, whole) in ended(text) {
            let Some(call) = parsed(&whole) else { continue };
            // Death in a call leaves no result: it was not made, as far as anybody can tell.
            trace.met |= (whole.ends_with("(INJECTED)") || call.end == End::Never)
                && (whole.contains(dir) || call.name == "clone3");
            if call.end != End::Never {
                trace.take(thread, &call);
            }
        }
        trace
    }

    fn take(&mut self, thread: &str, call: &Call<'_>) {
        self.check_stopped(thread, call);
        match call.name {
            "fsync" | "fdatasync" => self.synced(thread, &opened(call.arguments), call.failed()),
            "pwrite64" if call.arguments.contains(GROUP) => {
                self.grouped(thread, &opened(call.arguments), call.failed());
            }
            "ftruncate" if call.failed() => self.not_truncated(thread, &opened(call.arguments)),
            "write" if call.arguments.contains("\"acknowledged") => self.acknowledged(thread),
            // Another file of that name.
            "openat" if call.arguments.contains("O_EXCL") && !call.failed() => self.forget(&named(call.arguments, 0)),
            "unlinkat" if !call.failed() => self.forget(&named(call.arguments, 0)),
            "renameat" => self.renamed(thread, &named(call.arguments, 0), &named(call.arguments, 1), call.failed()),
            _ => {}
        }
    }

    /// A thread that met what poisons leaves the store as it is. That it removes a temporary file is no change.
    fn check_stopped(&mut self, thread: &str, call: &Call<'_>) {
        let Some(why) = self.stopped.get(thread) else { return };
        let changes = match call.name {
            "fsync" | "fdatasync" | "renameat" => true,
            "pwrite64" => call.arguments.contains(GROUP),
            "openat" => call.arguments.contains("O_EXCL"),
            "unlinkat" => named(call.arguments, 0).strip_suffix(".seg").is_some(),
            _ => false,
        };
        if changes && call.arguments.contains(&self.dir) {
            self.faults.push(format!("{}({}) is called although {why}", call.name, call.arguments));
        }
    }

    fn synced(&mut self, thread: &str, path: &str, failed: bool) {
        if self.unsynced.contains(path) {
            self.faults.push(format!("{path} is synced again after a sync of it has failed"));
        }
        if !failed {
            if self.dirty.remove(path) {
                self.counts.syncs += 1;
                self.owing.insert(thread.to_owned());
            }
            if path == self.dir {
                self.nameless.retain(|_, named| *named == Named::Unknown);
            }
            return;
        }
        self.unsynced.insert(path.to_owned());
        if self.dirty.contains(path) && is_appended_to(path) {
            self.poisoned(thread, format!("the sync of records in {path} failed"));
        }
        if self.is_directory(path) {
            self.stop(thread, format!("the sync of the directory {path} failed"));
        }
        if path == self.dir {
            self.nameless.values_mut().for_each(|named| *named = Named::Unknown);
        }
    }

    fn grouped(&mut self, thread: &str, path: &str, failed: bool) {
        if let Some(named) = self.nameless.get(path) {
            self.faults.push(format!("records are written into {path}, whose name is not durable: {named:?}"));
        }
        self.owing.remove(thread);
        if !failed {
            self.counts.groups += 1;
            self.dirty.insert(path.to_owned());
            self.written.insert(path.to_owned());
        } else if is_appended_to(path) {
            self.poisoned(thread, format!("the write of records into {path} failed"));
        }
    }

    /// Space that nobody wrote to may be given back or not; where a segment with records ends must be known.
    fn not_truncated(&mut self, thread: &str, path: &str) {
        if self.written.contains(path) && is_appended_to(path) {
            self.stop(thread, format!("the truncation of {path} failed"));
        }
    }

    fn acknowledged(&mut self, thread: &str) {
        self.counts.acknowledged += 1;
        // What was synced before is durable, whatever failed since.
        let is_owed = self.owing.remove(thread);
        if let Some(why) = self.poison.as_ref().or(self.stopped.get(thread)).filter(|_| !is_owed) {
            self.faults.push(format!("an event is acknowledged although {why}"));
        }
        if let Some(path) = self.dirty.first() {
            self.faults.push(format!("an event is acknowledged before the records in {path} are synced"));
        }
    }

    fn renamed(&mut self, thread: &str, from: &str, to: &str, failed: bool) {
        if self.unsynced.contains(from) {
            self.faults.push(format!("{from} becomes {to} although its sync failed"));
        }
        if failed {
            if to.starts_with(&self.dir) {
                self.stop(thread, format!("the renaming of {from} to {to} failed"));
            }
            if is_appended_to(to) {
                self.nameless.insert(to.to_owned(), Named::Unknown);
            }
            return;
        }
        self.forget(to);
        if self.dirty.remove(from) {
            self.dirty.insert(to.to_owned());
        }
        if is_appended_to(to) {
            self.counts.named += 1;
            self.nameless.insert(to.to_owned(), Named::Unsynced);
        }
        self.counts.manifests += u64::from(to.ends_with("/MANIFEST"));
    }

    fn poisoned(&mut self, thread: &str, why: String) {
        self.poison = Some(why.clone());
        self.stop(thread, why);
    }

    /// The first cause is the one to report.
    fn stop(&mut self, thread: &str, why: String) {
        self.stopped.entry(thread.to_owned()).or_insert(why);
    }

    fn forget(&mut self, path: &str) {
        self.unsynced.remove(path);
        self.dirty.remove(path);
        self.written.remove(path);
        self.nameless.remove(path);
    }

    /// Whether it is the store's directory, the one for what was cut, or one that the store is within.
    fn is_directory(&self, path: &str) -> bool {
        let holds = !path.is_empty() && Path::new(&self.dir).starts_with(path);
        holds || path == format!("{}/cut", self.dir)
    }
}

/// At which of a thread's calls of this name, counted from 1, a file of the store in `dir` is concerned, in whatever thread.
pub(crate) fn places(text: &str, dir: &str, name: &str) -> BTreeSet<u64> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut places = BTreeSet::new();
    for (thread, whole) in ended(text) {
        if parsed(&whole).is_some_and(|call| call.name == name) {
            let count = counts.entry(thread).or_default();
            *count += 1;
            if whole.contains(dir) {
                places.insert(*count);
            }
        }
    }
    places
}

/// The calls of a trace in the order in which they ended, each on a line of its own, with the thread that made it.
fn ended(text: &str) -> impl Iterator<Item = (&str, String)> {
    let mut unfinished: BTreeMap<&str, &str> = BTreeMap::new();
    text.lines().filter_map(move |line| {
        let (thread, rest) = line.split_once(' ')?;
        let rest = rest.trim_start();
        // One that waited while others went on stands on two lines.
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, begun);
            return None;
        }
        if let Some((_, end)) = rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            return Some((thread, format!("{}{end}", unfinished.remove(thread).unwrap_or_default())));
        }
        Some((thread, rest.to_owned()))
    })
}

/// Whether it is a segment as the log writes it. What compaction writes bears a generation too, and nobody waits for that.
fn is_appended_to(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.strip_suffix(".seg").is_some_and(|ordinal| ordinal.bytes().all(|digit| digit.is_ascii_digit()))
}

/// `name(arguments) = result`.
fn parsed(text: &str) -> Option<Call<'_>> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')').unwrap_or(arguments);
    let end = match result.chars().next()? {
        '?' => End::Never,
        // To begin anew after an interruption is no failure.
        '-' if !result.contains("EINTR") => End::Failed,
        _ => End::Succeeded,
    };
    Some(Call { name, arguments, end })
}

/// The path of the descriptor that comes first: `5</a/b>, …`.
fn opened(arguments: &str) -> String {
    let path = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
    path.to_owned()
}

/// The path that is named: the first between quotes, or a later one, in the directory whose handle is given before it.
fn named(arguments: &str, index: usize) -> String {
    let mut parts = arguments.split('"').skip(2 * index);
    let (before, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let dir = before.rsplit_once('<').and_then(|(_, dir)| dir.split_once('>'));
    match dir {
        Some((dir, _)) if !name.starts_with('/') => format!("{dir}/{name}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trace of a store in `/s`, shortened: `T` a thread, `#` a group, `!` a failure that was made.
    fn read(lines: &[&str]) -> Trace {
        let spelled = |line: &&str| {
            let (thread, call) = line.split_once(' ').unwrap();
            let (call, result) =
                call.strip_suffix('!').map_or((call, "0"), |call| (call, "-1 EIO (Input/output error) (INJECTED)"));
            let whole = match *call.split(' ').collect::<Vec<_>>() {
                ["group", path] => format!("pwrite64(5</s/{path}>, \"LGRP\\1\"..., 72, 64)"),
                ["sync", path] => format!("fdatasync(5</s/{path}>)"),
                ["sync_dir"] => "fsync(4</s>)".to_owned(),
                ["sync_parent"] => "fsync(3</>)".to_owned(),
                ["rename", from, to] => format!("renameat(4</s>, \"{from}\", 4</s>, \"{to}\")"),
                ["cut", path] => format!("ftruncate(5</s/{path}>, 100)"),
                ["create", path] => format!("openat(4</s>, \"{path}\", O_RDWR|O_CREAT|O_EXCL, 0600)"),
                ["remove", path] => format!("unlinkat(4</s>, \"{path}\", 0)"),
                ["ack"] => "write(1<pipe:[1]>, \"acknowledged eve\"..., 27)".to_owned(),
                _ => panic!("{line}"),
            };
            format!("{thread} {whole} = {result}")
        };
        Trace::read(&lines.iter().map(spelled).collect::<Vec<_>>().join("\n"), "/s")
    }

    const TMP: &str = "1 rename 0000000002.seg.tmp 0000000002.seg";

    #[test]
    fn what_keeps_the_order_is_no_fault() {
        for lines in [
            &["1 group 0000000001.seg", "1 sync 0000000001.seg", "1 ack"][..],
            &[TMP, "1 sync_dir", "1 group 0000000002.seg", "1 sync 0000000002.seg", "1 ack"],
            // Of what compaction writes, and of what is prepared, nothing was promised.
            &["1 group 0000000001-1.seg!", "1 sync 0000000001.seg.tmp!", "1 remove 0000000001.seg.tmp", "1 ack"],
            &["1 cut 0000000002.seg!", "1 ack"],
            &["1 remove 0000000001-1.seg!", "1 ack"],
            // A new file of that name.
            &["1 sync 0000000001.seg.tmp!", "1 create 0000000001.seg.tmp", "1 sync 0000000001.seg.tmp"],
            // Another thread learns of it a moment later.
            &[
                "2 rename 0000000002.seg.tmp 0000000002.seg!",
                "1 group 0000000001.seg",
                "1 sync 0000000001.seg",
                "1 ack",
            ],
            &["1 sync_dir!", "1 remove MANIFEST.tmp"],
            // It commits, prepares the next segment in passing, and then answers for what it has committed.
            &["1 group 0000000001.seg", "1 sync 0000000001.seg", TMP, "1 sync_dir!", "1 ack"],
        ] {
            assert_eq!(read(lines).faults, Vec::<String>::new(), "{lines:?}");
        }
    }

    #[test]
    fn what_breaks_the_order_is_a_fault() {
        for (lines, fault) in [
            (&["1 group 0000000001.seg", "1 ack"][..], "before the records in /s/0000000001.seg are synced"),
            (&["1 group 0000000001.seg!", "2 ack"], "acknowledged although the write"),
            (&["1 group 0000000001.seg", "1 sync 0000000001.seg!", "1 sync 0000000001.seg"], "synced again"),
            (&["1 group 0000000001.seg", "1 sync 0000000001.seg!", "2 ack"], "acknowledged although the sync"),
            (&["1 sync 0000000002.seg.tmp!", TMP], "although its sync failed"),
            (&["1 rename 0000000002.seg.tmp 0000000002.seg!", "1 ack"], "acknowledged although the renaming"),
            (&["1 rename MANIFEST.tmp MANIFEST!", "1 ack"], "acknowledged although the renaming"),
            (&["1 rename MANIFEST.tmp MANIFEST!", "1 sync_dir"], "called although the renaming"),
            (&["1 rename MANIFEST.tmp MANIFEST!", "1 remove 0000000001-1.seg"], "called although the renaming"),
            (
                &["2 rename 0000000002.seg.tmp 0000000002.seg!", "2 create 0000000002.seg.tmp"],
                "called although the renaming",
            ),
            (&["2 rename 0000000002.seg.tmp 0000000002.seg!", "1 group 0000000002.seg"], "whose name is not durable"),
            (&[TMP, "1 group 0000000002.seg"], "whose name is not durable"),
            (&[TMP, "1 sync_dir!", "2 group 0000000002.seg"], "whose name is not durable"),
            (&["1 sync_dir!", "1 ack"], "acknowledged although the sync of the directory"),
            (&["1 sync_parent!", "1 ack"], "acknowledged although the sync of the directory"),
            (&["1 sync_dir!", "2 sync_dir"], "/s is synced again"),
            (
                &["1 group 0000000001.seg", "1 sync 0000000001.seg", "1 ack", "1 cut 0000000001.seg!", "1 ack"],
                "although the truncation",
            ),
            (
                &["1 group 0000000001.seg", "1 sync 0000000001.seg", TMP, "1 sync_dir!", "1 ack", "1 ack"],
                "acknowledged although the sync of the directory",
            ),
            (
                &["1 group 0000000001.seg", "1 sync 0000000001.seg", "1 group 0000000001.seg!", "1 ack"],
                "acknowledged although the write",
            ),
            (
                &["1 group 0000000001.seg", "1 sync 0000000001.seg", "1 cut 0000000001.seg!", "1 sync 0000000001.seg"],
                "called although the truncation",
            ),
        ] {
            let found = read(lines).faults;
            assert!(found.iter().any(|found| found.contains(fault)), "{lines:?}: {found:?}");
        }
    }

    #[test]
    fn what_promises_rest_on_is_counted() {
        let counted = read(&[
            TMP,
            "1 sync_dir",
            "1 group 0000000002.seg",
            "1 sync 0000000002.seg",
            "1 sync 0000000002.seg",
            "1 ack",
        ]);
        assert_eq!(counted.counts, Counts { groups: 1, syncs: 1, acknowledged: 1, named: 1, manifests: 0 });
        assert!(!counted.met);
        assert_eq!(read(&["1 rename MANIFEST.tmp MANIFEST"]).counts.manifests, 1);
    }

    #[test]
    fn a_call_on_two_lines_is_one_and_one_in_which_the_process_died_is_none() {
        let text = "7 fdatasync(5</s/0000000001.seg> <unfinished ...>\n\
            8 read(3</lib/x>, \"\"..., 10) = 0\n\
            7 <... fdatasync resumed>)          = -1 EIO (Input/output error) (INJECTED)\n\
            7 fdatasync(5</s/0000000001.seg>)   = ?\n\
            7 +++ killed by SIGKILL +++\n";
        let trace = Trace::read(text, "/s");
        assert!(trace.met && trace.faults.is_empty(), "{trace:?}");
        let died = "7 renameat(4</s>, \"a\", 4</s>, \"b\" <unfinished ...>\n7 <... renameat resumed>)  = ?\n7 +++ killed by SIGKILL +++\n";
        assert!(Trace::read(died, "/s").met && !Trace::read(died, "/elsewhere").met);
    }

    #[test]
    fn places_are_counted_for_each_thread() {
        let text = "1 openat(A, \"/lib\", O) = 3\n1 openat(A, \"/s/a\", O) = 3\n2 openat(A, \"/s/b\", O) = 4\n2 mkdir(\"/s\") = 0\n";
        assert_eq!(places(text, "/s", "openat"), BTreeSet::from([1, 2]));
        assert_eq!(places(text, "/s", "mkdir"), BTreeSet::from([1]));
    }
}

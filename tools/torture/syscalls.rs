//! System calls that fail: each call of a short life, in turn, with each error that it may have, once or from then on; or the process is
//! killed where it makes that call.
//!
//! strace makes them fail, and tells what the process asked for. It counts the calls of every thread by itself. A first life in which
//! nothing fails shows at which of its calls a thread is concerned with the store: that the faults meet those is demanded in the end.
//!
//! Deliberately absent: what the store takes no answer of (`close`, `madvise`), and what it says to its witness (`write`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::life::{Life, Sort};
use super::process::{Process, tells_of_a_panic};
use super::scratch::{self, Scratch};
use super::trace::{self, Counts, Trace};
use super::trial::{Skipped, Trial, unkept};
use super::witness::{Loss, Witness};
use super::{judge, script};

/// One call: how often a thread of the script makes it at most, and what may come of it.
struct Call {
    name: &'static str,
    times: u64,
    aim: Aim,
    faults: &'static [&'static str],
}

/// Which calls of a thread are made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// Each from the first on.
    All,
    /// Each after so many: they are this program's own.
    After(u64),
    /// Those that concern a file of the store. The others are the loader's and the allocator's, whose failures are no answer of the store.
    Store,
}

const KILL: &str = "signal=KILL";

#[rustfmt::skip]
const CALLS: [Call; 17] = [
    Call { name: "openat", times: 60, aim: Aim::All, faults: &["error=EIO", "error=EMFILE", "error=EROFS", "error=ENOSPC", KILL] },
    Call { name: "pwrite64", times: 64, aim: Aim::All, faults: &["error=EIO", "error=ENOSPC", "error=EINTR", "error=EDQUOT", KILL] },
    Call { name: "fdatasync", times: 48, aim: Aim::All, faults: &["error=EIO", "error=ENOSPC", KILL] },
    Call { name: "fsync", times: 40, aim: Aim::All, faults: &["error=EIO", "error=ENOSPC", KILL] },
    Call { name: "ftruncate", times: 10, aim: Aim::All, faults: &["error=EIO", "error=EROFS", KILL] },
    Call { name: "renameat", times: 14, aim: Aim::All, faults: &["error=EIO", "error=ENOSPC", "error=EROFS", KILL] },
    Call { name: "unlinkat", times: 18, aim: Aim::All, faults: &["error=EIO", "error=EROFS", KILL] },
    Call { name: "fallocate", times: 10, aim: Aim::All, faults: &["error=EIO", "error=ENOSPC", "error=EOPNOTSUPP", KILL] },
    Call { name: "pread64", times: 48, aim: Aim::All, faults: &["error=EIO", "error=EINTR"] },
    Call { name: "read", times: 44, aim: Aim::All, faults: &["error=EIO", "error=EINTR"] },
    Call { name: "mkdir", times: 2, aim: Aim::All, faults: &["error=EIO", "error=ENOSPC", "error=EROFS", KILL] },
    Call { name: "getdents64", times: 14, aim: Aim::All, faults: &["error=EIO", "error=EMFILE"] },
    Call { name: "flock", times: 12, aim: Aim::All, faults: &["error=EIO", "error=ENOLCK"] },
    Call { name: "fadvise64", times: 6, aim: Aim::All, faults: &["error=EIO", "error=EINVAL"] },
    Call { name: "statx", times: 88, aim: Aim::All, faults: &["error=EIO", "error=EACCES"] },
    Call { name: "mmap", times: 4, aim: Aim::Store, faults: &["error=ENOMEM", "error=ENODEV"] },
    Call { name: "clone3", times: 6, aim: Aim::After(1), faults: &["error=EAGAIN", "error=ENOMEM"] },
];

/// Each fault of each call comes once, and from then on.
#[expect(clippy::indexing_slicing, reason = "it is known when this is built, and ends with the table")]
pub(crate) const CASES: u64 = {
    let (mut sum, mut at) = (0, 0);
    while at < CALLS.len() {
        sum += CALLS[at].times * CALLS[at].faults.len() as u64 * 2;
        at += 1;
    }
    sum
};

/// Follows cases through the table in large steps, so that a short run sees something of everything. It shares no factor with their count.
const STEP: u64 = 1_009;
const _: () = assert!(!CASES.is_multiple_of(STEP), "every case comes");

/// Where the process says that it lived on until the end of its lifetime.
const HUNG: i32 = 3;
const PANICKED: i32 = 101;

pub(crate) fn run(trial: &mut Trial) -> Result<(), Skipped> {
    trial.require("strace")?;
    let calm = calm(trial)?;
    if let Some(case) = trial.only_case() {
        if case != CASES {
            let met = once(trial, case % CASES, &calm)?;
            trial.remark(format!("the fault {} the store", if met { "met" } else { "did not meet" }));
        }
        return Ok(());
    }
    let mut met: BTreeMap<&str, Met> = BTreeMap::new();
    let mut lives = 0;
    while trial.goes_on() {
        let case = lives % CASES;
        let met_store = once(trial, case, &calm)?;
        let fault = fault(case);
        let entry = met.entry(fault.call.name).or_default();
        entry.due += u64::from(fault.is_due(&calm));
        entry.met += u64::from(met_store);
        lives += 1;
    }
    let (sum, due) = met.values().fold((0, 0), |(sum, due), met| (sum + met.met, due + met.due));
    trial.remark(format!("faults met the store in {sum} of {lives} lives, and were to meet it in {due}"));
    let short: Vec<String> = met.iter().filter_map(|(name, met)| met.short(name)).collect();
    if short.is_empty() {
        return Ok(());
    }
    let kept = trial.violated_as_a_whole(&short.join("\n")).map(drop);
    kept.map_err(unkept)
}

/// How many lives of one call's faults were to meet the store, and how many did.
#[derive(Debug, Default, Clone, Copy)]
struct Met {
    due: u64,
    met: u64,
}

impl Met {
    /// That too few did. Which thread makes a call is not the same in each life, so a quarter may miss, and a few in any case.
    fn short(self, name: &str) -> Option<String> {
        let Self { due, met } = self;
        (met + 3 < due * 3 / 4).then(|| format!("{met} faults of {name} met the store, and {due} were to do so"))
    }
}

/// At which of a thread's calls the store is concerned, by the call's name, where nothing fails.
type Calm = BTreeMap<&'static str, BTreeSet<u64>>;

/// What is made to fail in a case.
struct Fault {
    call: &'static Call,
    fault: &'static str,
    /// Which one fails first of the calls that are aimed at, from 0.
    place: u64,
    lasts: bool,
}

/// How many interruptions follow each other where they last: a call that is made again and again must succeed some time.
const INTERRUPTIONS: u64 = 4;

/// Which fault a case is.
fn fault(case: u64) -> Fault {
    let mut place = (case % CASES) * STEP % CASES;
    for call in &CALLS {
        for fault in call.faults {
            for lasts in [false, true] {
                if place < call.times {
                    return Fault { call, fault, place, lasts };
                }
                place -= call.times;
            }
        }
    }
    unreachable!("the table has as many places as it has cases")
}

impl Fault {
    /// Which of a thread's calls fails first, from 1. Beyond the last that is aimed at, it is one that is never made.
    fn first(&self, calm: &Calm) -> u64 {
        match self.call.aim {
            Aim::All => self.place + 1,
            Aim::After(own) => self.place + 1 + own,
            Aim::Store => {
                let at = usize::try_from(self.place).unwrap_or(usize::MAX);
                calm.get(self.call.name).and_then(|places| places.iter().nth(at)).copied().unwrap_or(9_999)
            }
        }
    }

    fn last(&self, calm: &Calm) -> u64 {
        match (self.lasts, self.fault.ends_with("EINTR")) {
            (false, _) => self.first(calm),
            (true, true) => self.first(calm) + INTERRUPTIONS - 1,
            (true, false) => u64::MAX,
        }
    }

    /// As strace takes it: `inject=call:fault:when=…`.
    fn text(&self, calm: &Calm) -> String {
        let (first, last) = (self.first(calm), self.last(calm));
        let last = match last {
            _ if last == first => String::new(),
            u64::MAX => "+".to_owned(),
            last => format!("..{last}"),
        };
        format!("inject={}:{}:when={first}{last}", self.call.name, self.fault)
    }

    /// Whether it meets the store, if this life is like the calm one until then: the first call that fails concerns it. Where that is the
    /// loader's, a fault that lasts ends the process before there is a store.
    fn is_due(&self, calm: &Calm) -> bool {
        calm.get(self.call.name).is_some_and(|places| places.contains(&self.first(calm)))
    }
}

/// A life in which nothing fails. In it every call is made, none more often than it is made to fail, and what promises rest on is seen.
fn calm(trial: &mut Trial) -> Result<Calm, Skipped> {
    let scratch = Scratch::in_memory().map_err(unwatched)?;
    let mut witness = Witness::new(Loss::Process);
    let lived = lived(trial.seed(), None, scratch.path(), &mut witness).map_err(unwatched)?;
    let text = std::fs::read(scratch.path().join("trace")).map_err(unwatched)?;
    let text = String::from_utf8_lossy(&text);
    let dir = scratch.path().join("store");
    // Threads are no file's; those that are this program's own do not count.
    let places = |call: &'static Call| match call.aim {
        Aim::After(own) => trace::places(&text, "", call.name).into_iter().filter(|place| *place > own).collect(),
        _ => trace::places(&text, &dir.to_string_lossy(), call.name),
    };
    let calm: Calm = CALLS.iter().map(|call| (call.name, places(call))).collect();
    if trial.only_case().is_none_or(|case| case == CASES) {
        let mut faults = lived.faults;
        faults.extend(CALLS.iter().filter_map(|call| unfit(call, calm.get(call.name))));
        faults.extend(unseen(lived.counts));
        faults.extend(judge::faults(&mut witness, &dir, true));
        if !faults.is_empty() {
            report(trial, CASES, &faults, scratch.path())?;
        }
    }
    Ok(calm)
}

/// Why the table does not fit what a life calls.
fn unfit(call: &Call, places: Option<&BTreeSet<u64>>) -> Option<String> {
    let places = places?;
    let own = if let Aim::After(own) = call.aim { own } else { 0 };
    let times = if call.aim == Aim::Store { Some(places.len() as u64) } else { places.last().map(|last| last - own) };
    match times {
        None | Some(0) => Some(format!("{} is never called for the store", call.name)),
        Some(times) if times > call.times => {
            Some(format!("{} is called {times} times, and is made to fail in the first {} only", call.name, call.times))
        }
        Some(_) => None,
    }
}

/// What a life that does everything shows, and this one does not: nothing could be said against a trace in which nothing is seen.
fn unseen(counts: Counts) -> Vec<String> {
    let Counts { groups, syncs, acknowledged, named, manifests } = counts;
    let least = [
        ("groups of records", groups, script::EVENTS),
        ("syncs of records", syncs, script::EVENTS),
        ("segments that get their name", named, 4),
        ("manifests", manifests, 2),
    ];
    let mut unseen: Vec<String> = least
        .iter()
        .filter(|(_, seen, least)| seen < least)
        .map(|(what, seen, least)| format!("the trace shows {seen} {what}, and there are {least} at least"))
        .collect();
    if acknowledged != script::EVENTS {
        unseen.push(format!("the trace shows {acknowledged} acknowledgements of {} events", script::EVENTS));
    }
    unseen
}

/// One life in which something fails; whether that met the store.
fn once(trial: &mut Trial, case: u64, calm: &Calm) -> Result<bool, Skipped> {
    let scratch = Scratch::in_memory().map_err(unwatched)?;
    let mut witness = Witness::new(Loss::Process);
    let fault = fault(case).text(calm);
    let lived = lived(trial.seed(), Some(&fault), scratch.path(), &mut witness).map_err(unwatched)?;
    let mut faults = lived.faults;
    faults.extend(judge::faults(&mut witness, &scratch.path().join("store"), true));
    trial.counted(1);
    if let Some(first) = faults.first_mut() {
        *first = format!("{fault}: {first}");
        report(trial, case, &faults, scratch.path())?;
    }
    Ok(lived.met)
}

fn unwatched(error: io::Error) -> Skipped {
    Skipped(format!("a process cannot be watched: {error}"))
}

fn report(trial: &mut Trial, case: u64, faults: &[String], place: &Path) -> Result<(), Skipped> {
    let kept = trial.violated(case, &faults.join("\n")).and_then(|folder| scratch::copy(place, &folder.join("place")));
    kept.map_err(unkept)
}

/// What came of a life.
struct Lived {
    faults: Vec<String>,
    /// Whether the fault met the store.
    met: bool,
    counts: Counts,
}

/// Lives the script in `place/store`.
fn lived(seed: u64, fault: Option<&str>, place: &Path, witness: &mut Witness) -> io::Result<Lived> {
    let life = Life { sort: Sort::Script, dir: place.join("store"), first: 1, seed, again: None };
    let watched: Vec<&str> = CALLS.iter().map(|call| call.name).chain(["write"]).collect();
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "16", "-e", &format!("trace={}", watched.join(","))]);
    if let Some(fault) = fault {
        command.args(["-e", fault]);
    }
    // It is cheap, but a process that is stopped by the filter does not take a signal.
    if fault.is_none_or(|fault| !fault.contains(KILL)) {
        command.arg("--seccomp-bpf");
    }
    command.arg("-o").arg(place.join("trace")).arg(std::env::current_exe()?).args(life.arguments());
    let mut process = Process::start(command.stderr(Stdio::from(File::create(place.join("said"))?)))?;
    witness.next_process(true);
    while let Some(line) = process.line() {
        witness.hear(&line);
    }
    let ended = process.end()?;
    let trace = std::fs::read(place.join("trace"))?;
    let Trace { mut faults, met, counts, .. } =
        Trace::read(&String::from_utf8_lossy(&trace), &life.dir.to_string_lossy());
    let said = std::fs::read(place.join("said"))?;
    if ended.code() == Some(HUNG) {
        faults.push("the process hung".to_owned());
    }
    if ended.code() == Some(PANICKED) || tells_of_a_panic(&String::from_utf8_lossy(&said)) {
        faults.push(format!("the process panicked: {}", String::from_utf8_lossy(&said)));
    }
    if fault.is_none() && !ended.success() {
        faults.push(format!("nothing was made to fail, and the process ended with {ended}"));
    }
    Ok(Lived { faults, met, counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm_of(name: &'static str, places: impl IntoIterator<Item = u64>) -> Calm {
        BTreeMap::from([(name, places.into_iter().collect())])
    }

    #[test]
    fn every_fault_of_the_table_is_one_case() {
        let calm = CALLS.iter().map(|call| (call.name, (100..100 + call.times).collect())).collect();
        let texts: BTreeSet<String> = (0..CASES).map(|case| fault(case).text(&calm)).collect();
        assert_eq!(texts.len() as u64, CASES);
        assert!(texts.contains("inject=openat:error=EIO:when=1"));
        assert!(texts.contains("inject=pwrite64:error=EINTR:when=64..67"));
        assert!(texts.contains("inject=mmap:error=ENODEV:when=103+"));
        assert!(texts.contains("inject=clone3:error=EAGAIN:when=2"), "the first one is this program's own");
    }

    #[test]
    fn a_fault_is_due_where_the_calm_life_concerns_the_store() {
        let [openat, .., mmap, _] = &CALLS;
        let due = |call, fault, place, lasts, calm: &Calm| Fault { call, fault, place, lasts }.is_due(calm);
        let calm = calm_of("openat", [10, 20]);
        for (place, expected) in [(5, false), (8, false), (9, true), (10, false), (19, true), (20, false)] {
            for (fault, lasts) in [("error=EIO", false), ("error=EIO", true), ("error=EINTR", true)] {
                assert_eq!(due(openat, fault, place, lasts, &calm), expected, "{place} {fault} {lasts}");
            }
        }
        let calm = calm_of("mmap", [26, 27]);
        assert!(due(mmap, "error=ENOMEM", 1, false, &calm) && !due(mmap, "error=ENOMEM", 2, true, &calm));
    }

    #[test]
    fn a_table_that_does_not_fit_and_a_trace_that_shows_nothing_are_faults() {
        let [openat, .., mmap, _] = &CALLS;
        assert_eq!(unfit(openat, Some(&BTreeSet::from([1, 60]))), None);
        assert!(unfit(openat, Some(&BTreeSet::from([61]))).is_some());
        assert!(unfit(openat, Some(&BTreeSet::new())).is_some());
        assert_eq!(unfit(mmap, Some(&BTreeSet::from([1_000]))), None);
        assert_eq!(unseen(Counts::default()).len(), 5);
        let all = Counts { groups: 60, syncs: 50, acknowledged: script::EVENTS, named: 6, manifests: 2 };
        assert!(unseen(all).is_empty());
        assert_eq!(unseen(Counts { acknowledged: all.acknowledged - 1, ..all }).len(), 1);
    }

    #[test]
    fn too_few_faults_that_meet_the_store_are_a_fault() {
        for (due, met, enough) in [(0, 0, true), (4, 0, true), (8, 0, false), (100, 72, true), (100, 71, false)] {
            assert_eq!(Met { due, met }.short("rename").is_none(), enough, "{met} of {due}");
        }
    }
}

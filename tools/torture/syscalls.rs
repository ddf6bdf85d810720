//! System calls that fail: each call of a short life, in turn, with each error that it may have, once or from then on; or the process is
//! killed where it makes that call.
//!
//! strace makes them fail, and tells what the process asked for. It counts the calls of every thread by itself.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::judge;
use super::life::{Life, Sort};
use super::process::Process;
use super::scratch::{self, Scratch};
use super::trace::Trace;
use super::trial::{Skipped, Trial};
use super::witness::{Loss, Witness};

/// One call: how often a thread of the script makes it at most, and what may come of it.
struct Call {
    name: &'static str,
    times: u64,
    faults: &'static [&'static str],
}

const KILL: &str = "signal=KILL";

#[rustfmt::skip]
const CALLS: [Call; 14] = [
    Call { name: "openat", times: 60, faults: &["error=EIO", "error=EMFILE", "error=EROFS", "error=ENOSPC", KILL] },
    Call { name: "pwrite64", times: 64, faults: &["error=EIO", "error=ENOSPC", "error=EINTR", "error=EDQUOT", KILL] },
    Call { name: "fdatasync", times: 48, faults: &["error=EIO", "error=ENOSPC", KILL] },
    Call { name: "fsync", times: 40, faults: &["error=EIO", "error=ENOSPC", KILL] },
    Call { name: "ftruncate", times: 10, faults: &["error=EIO", "error=EROFS", KILL] },
    Call { name: "rename", times: 14, faults: &["error=EIO", "error=ENOSPC", "error=EROFS", KILL] },
    Call { name: "unlink", times: 18, faults: &["error=EIO", "error=EROFS", KILL] },
    Call { name: "fallocate", times: 10, faults: &["error=EIO", "error=ENOSPC", "error=EOPNOTSUPP", KILL] },
    Call { name: "pread64", times: 48, faults: &["error=EIO", "error=EINTR"] },
    Call { name: "read", times: 44, faults: &["error=EIO", "error=EINTR"] },
    Call { name: "mkdir", times: 2, faults: &["error=EIO", "error=ENOSPC", "error=EROFS", KILL] },
    Call { name: "getdents64", times: 10, faults: &["error=EIO", "error=EMFILE"] },
    Call { name: "flock", times: 6, faults: &["error=EIO", "error=ENOLCK"] },
    Call { name: "fadvise64", times: 6, faults: &["error=EIO", "error=EINVAL"] },
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
    if let Some(case) = trial.only_case() {
        return once(trial, case).map(drop);
    }
    measure(trial)?;
    let mut met = 0;
    let mut case = 0;
    while trial.goes_on() {
        met += u64::from(once(trial, case)?);
        case += 1;
    }
    trial.remark(format!("faults met the store's files in {met} of {case} lives"));
    Ok(())
}

/// Which fault a case is: `call:fault:when=…`.
fn fault(case: u64) -> String {
    let mut place = (case % CASES) * STEP % CASES;
    for call in &CALLS {
        for fault in call.faults {
            for lasts in [false, true] {
                if place < call.times {
                    let first = place + 1;
                    let last = match (lasts, fault.ends_with("EINTR")) {
                        (false, _) => String::new(),
                        // An interruption is over some time.
                        (true, true) => format!("..{}", first + 3),
                        (true, false) => "+".to_owned(),
                    };
                    return format!("inject={}:{fault}:when={first}{last}", call.name);
                }
                place -= call.times;
            }
        }
    }
    unreachable!("the table has as many places as it has cases")
}

/// Nothing fails, and no call is made more often than it is made to fail.
fn measure(trial: &mut Trial) -> Result<(), Skipped> {
    let scratch = Scratch::in_memory().map_err(unwatched)?;
    let mut witness = Witness::new(Loss::Process);
    let (mut faults, _) = lived(trial.seed(), None, scratch.path(), &mut witness).map_err(unwatched)?;
    let trace = std::fs::read_to_string(scratch.path().join("trace")).map_err(unwatched)?;
    for call in &CALLS {
        let begins = |line: &&str| {
            line.split_whitespace().nth(1).is_some_and(|text| text.starts_with(&format!("{}(", call.name)))
        };
        let times = trace.lines().filter(begins).count() as u64;
        if times > call.times {
            faults.push(format!(
                "{} is called {times} times, and is made to fail in the first {} only",
                call.name, call.times
            ));
        }
    }
    if faults.is_empty() { Ok(()) } else { report(trial, CASES, &faults, scratch.path()) }
}

/// One life in which something fails; whether that met the store.
fn once(trial: &mut Trial, case: u64) -> Result<bool, Skipped> {
    let scratch = Scratch::in_memory().map_err(unwatched)?;
    let mut witness = Witness::new(Loss::Process);
    let fault = fault(case);
    let (mut faults, met) = lived(trial.seed(), Some(&fault), scratch.path(), &mut witness).map_err(unwatched)?;
    faults.extend(judge::faults(&mut witness, &scratch.path().join("store"), true));
    trial.counted(1);
    if let Some(first) = faults.first_mut() {
        *first = format!("{fault}: {first}");
        report(trial, case, &faults, scratch.path())?;
    }
    Ok(met)
}

fn unwatched(error: io::Error) -> Skipped {
    Skipped(format!("a process cannot be watched: {error}"))
}

fn report(trial: &mut Trial, case: u64, faults: &[String], place: &Path) -> Result<(), Skipped> {
    let kept = trial.violated(case, &faults.join("\n")).and_then(|folder| scratch::copy(place, &folder.join("place")));
    kept.map_err(|error| Skipped(format!("what it found could not be kept: {error}")))
}

/// Lives the script in `place/store`; returns what was wrong, and whether the fault met the store.
fn lived(seed: u64, fault: Option<&str>, place: &Path, witness: &mut Witness) -> io::Result<(Vec<String>, bool)> {
    let life = Life { sort: Sort::Script, dir: place.join("store"), first: 1, seed, again: None };
    let watched: Vec<&str> = CALLS.iter().map(|call| call.name).chain(["write"]).collect();
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "--seccomp-bpf", "-s", "16", "-e", &format!("trace={}", watched.join(","))]);
    if let Some(fault) = fault {
        command.args(["-e", fault]);
    }
    command.arg("-o").arg(place.join("trace")).arg(std::env::current_exe()?).args(life.arguments());
    let mut process = Process::start(command.stderr(Stdio::from(File::create(place.join("said"))?)))?;
    witness.next_process(true);
    while let Some(line) = process.line() {
        witness.hear(&line);
    }
    let ended = process.end()?;
    let trace = std::fs::read(place.join("trace"))?;
    let trace = Trace::read(&String::from_utf8_lossy(&trace), &life.dir.to_string_lossy());
    let mut faults = trace.faults;
    let said = std::fs::read(place.join("said"))?;
    if ended.code() == Some(HUNG) {
        faults.push("the process hung".to_owned());
    }
    if ended.code() == Some(PANICKED) || String::from_utf8_lossy(&said).contains("panicked at") {
        faults.push(format!("the process panicked: {}", String::from_utf8_lossy(&said)));
    }
    if fault.is_none() && !ended.success() {
        faults.push(format!("nothing was made to fail, and the process ended with {ended}"));
    }
    Ok((faults, trace.met))
}

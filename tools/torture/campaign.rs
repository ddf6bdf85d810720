//! The kinds one after the other, each with its share of the time.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::arguments::{Arguments, Extent};
use super::kinds::KINDS;
use super::machine;
use super::progress::Progress;
use super::report::{self, Outcome};
use super::trial::{Kind, Skipped, Trial};

/// A kind that goes on for so long after its time is up hangs.
const OVERTIME: Duration = Duration::from_mins(2);

/// Runs what is asked for and leaves the result file; returns how much of it failed.
pub(crate) fn run(arguments: &Arguments) -> Result<u64, String> {
    let kinds = chosen(&arguments.only)?;
    if arguments.case.is_some() && kinds.len() != 1 {
        return Err("--case repeats a case of one kind: name it with --only, once".to_owned());
    }
    let seed = arguments.seed.unwrap_or_else(|| RandomState::new().hash_one(Instant::now()) >> 32);
    drop(writeln!(io::stderr(), "seed {seed}"));
    let (began, extent) = (Instant::now(), arguments.extent());
    let mut outcomes = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        let rest: u32 = kinds.iter().skip(at).map(|kind| kind.weight).sum();
        // What earlier kinds left of their time, and what they took too much, is shared by all that follow.
        let left = extent.time.saturating_sub(began.elapsed());
        let until = Instant::now() + left * kind.weight / rest.max(1);
        outcomes.push(try_kind(kind, seed, until, extent, arguments));
    }
    // A case that is only repeated is no result, and may not take the place of one.
    if arguments.case.is_none() {
        report::write(&arguments.out, &outcomes, began.elapsed())
            .map_err(|error| format!("cannot write {}: {error}", arguments.out.display()))?;
    }
    let skipped = outcomes.iter().filter(|outcome| outcome.skipped.is_some()).count() as u64;
    let violations: u64 = outcomes.iter().map(|outcome| outcome.violations).sum();
    Ok(violations + if arguments.require_all { skipped } else { 0 })
}

/// The kinds of these names; of no name, all.
fn chosen(names: &[String]) -> Result<Vec<&'static Kind>, String> {
    if let Some(unknown) = names.iter().find(|name| KINDS.iter().all(|kind| kind.name != **name)) {
        return Err(format!("there is no kind {unknown}; --list names those that there are"));
    }
    Ok(KINDS.iter().filter(|kind| names.is_empty() || names.iter().any(|name| name == kind.name)).collect())
}

fn try_kind(kind: &'static Kind, seed: u64, until: Instant, extent: Extent, arguments: &Arguments) -> Outcome {
    let wanted = extent.part.map_or(u64::MAX, |part| kind.cases_full.div_ceil(part));
    let progress = Progress::new(kind.name, wanted);
    let teller = progress.told();
    // Beside the result, because both are for whoever looks at this run.
    let violations = arguments.out.with_file_name("torture-violations");
    let trial = || Trial::new(kind.name, seed, until, (wanted, arguments.case), &violations, progress.clone());
    let ran = if kind.needs_root && !machine::is_root() {
        Err(Skipped("it needs root".to_owned()))
    } else {
        watched(kind, trial, until + OVERTIME)
    };
    let skipped = ran.err().map(|Skipped(why)| why);
    progress.end(teller, skipped.as_deref());
    Outcome {
        kind: kind.name,
        cases: progress.cases(),
        violations: progress.violations(),
        seed,
        time: progress.elapsed(),
        remarks: progress.remarks(),
        skipped,
    }
}

/// Runs the kind; that it does not end is a violation, and then the next one begins beside it.
fn watched(kind: &'static Kind, trial: impl Fn() -> Trial, until: Instant) -> Result<(), Skipped> {
    let (tell, told) = channel();
    let mut own = trial();
    std::thread::spawn(move || drop(tell.send(caught(kind, &mut own))));
    told.recv_timeout(until.saturating_duration_since(Instant::now()))
        .unwrap_or_else(|_| report_of_itself(&mut trial(), "the kind does not end: what it does last may hang"))
}

/// Reports what is wrong with the kind as a whole.
fn report_of_itself(trial: &mut Trial, found: &str) -> Result<(), Skipped> {
    let told = trial.violated_as_a_whole(found);
    told.map(drop).map_err(|error| Skipped(format!("what it found could not be kept: {error}")))
}

/// Runs the kind; that it panics is a violation.
fn caught(kind: &Kind, trial: &mut Trial) -> Result<(), Skipped> {
    catch_unwind(AssertUnwindSafe(|| (kind.run)(trial))).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
        report_of_itself(trial, &format!("the kind itself panicked: {}", text.unwrap_or("it said nothing")))
    })
}

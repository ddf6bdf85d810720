//! The kinds one after the other, each with its share of the time.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::arguments::{Arguments, Extent};
use super::cores::said;
use super::kinds::KINDS;
use super::machine;
use super::progress::{self, Progress};
use super::report::{Outcome, Report};
use super::trial::{Kind, Skipped, Trial, unkept};

/// A kind that goes on for longer than this after its time is up hangs.
const OVERTIME: Duration = Duration::from_mins(2);

/// Runs what is asked for, and leaves what each kind came to as soon as it ends; returns how much of it failed.
pub(crate) fn run(arguments: &Arguments) -> Result<u64, String> {
    let kinds = chosen(&arguments.only)?;
    if arguments.case.is_some() && kinds.len() != 1 {
        return Err("--case repeats a case of one kind: name it with --only, once".to_owned());
    }
    let report = arguments.result().map(Report::begin).transpose()?;
    let seed = arguments.seed.unwrap_or_else(|| RandomState::new().hash_one(Instant::now()) >> 32);
    drop(writeln!(io::stderr(), "seed {seed}"));
    let (began, extent) = (Instant::now(), arguments.extent());
    let (mut failed, mut unwritten) = (0, None);
    for (at, kind) in kinds.iter().enumerate() {
        let rest: u32 = kinds.iter().skip(at).map(|kind| kind.weight).sum();
        // What earlier kinds left of their time, and what they took too much, is shared by all that follow.
        let left = extent.time.saturating_sub(began.elapsed());
        let until = Instant::now() + left * kind.weight / rest.max(1);
        let outcome = try_kind(kind, seed, until, extent, arguments);
        failed += failures(&outcome, arguments.require_all);
        // That it cannot be left ends no campaign: what the next kinds find is told, too.
        if let Some(Err(error)) = report.as_ref().map(|report| report.add(&outcome)) {
            progress::say(&error);
            unwritten = Some(error);
        }
    }
    unwritten.map_or(Ok(failed), Err)
}

/// How much of it failed. Of a kind that fell short nobody may say that it held.
fn failures(outcome: &Outcome, require_all: bool) -> u64 {
    if outcome.skipped.is_some() {
        return outcome.violations + u64::from(require_all);
    }
    let wanted = outcome.wanted.unwrap_or(1);
    let is_short = outcome.cases < wanted && outcome.violations == 0;
    if is_short {
        progress::say(&format!("{:<10} FELL SHORT: {} of {wanted} cases", outcome.kind, outcome.cases));
    }
    outcome.violations + u64::from(is_short)
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
    let violations = arguments.violations();
    let trial = || Trial::new(kind.name, seed, until, (wanted, arguments.case), &violations, progress.clone());
    let ran = if kind.needs_root && !machine::is_root() {
        Err(Skipped("it needs root".to_owned()))
    } else {
        watched(kind, trial, &progress, until + OVERTIME)
    };
    let skipped = ran.err().map(|Skipped(why)| why);
    progress.end(teller, skipped.as_deref());
    Outcome {
        kind: kind.name,
        cases: progress.cases(),
        wanted: extent.part.map(|_| wanted),
        violations: progress.violations(),
        seed,
        time: progress.elapsed(),
        remarks: progress.remarks(),
        skipped,
    }
}

/// Runs the kind; that it does not end is a violation, and then the next one begins beside it.
fn watched(kind: &'static Kind, trial: impl Fn() -> Trial, progress: &Progress, until: Instant) -> Result<(), Skipped> {
    let (tell, told) = channel();
    let mut own = trial();
    std::thread::spawn(move || drop(tell.send(caught(kind, &mut own))));
    told.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap_or_else(|_| {
        let found = match progress.under_way().as_slice() {
            [] => "the kind does not end: what it does last may hang".to_owned(),
            numbers => format!("the kind does not end; one of the cases {numbers:?} may hang"),
        };
        report_of_itself(&mut trial(), &found)
    })
}

/// Reports what is wrong with the kind as a whole.
fn report_of_itself(trial: &mut Trial, found: &str) -> Result<(), Skipped> {
    let told = trial.violated_as_a_whole(found);
    told.map(drop).map_err(unkept)
}

/// Runs the kind; that it panics is a violation.
fn caught(kind: &Kind, trial: &mut Trial) -> Result<(), Skipped> {
    catch_unwind(AssertUnwindSafe(|| (kind.run)(trial)))
        .unwrap_or_else(|cause| report_of_itself(trial, &format!("the kind itself panicked: {}", said(&*cause))))
}

//! `verify`: reads everything, and says whether it is as it was written.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{json_line, printable};
use ledgerline::{Problem, Status, Verification};

use super::output::{Output, Table};
use super::trouble::Trouble;

/// Read everything in a store and say whether it is as it was written: exit 0 if it is, 1 if not
///
/// It takes no lock and writes nothing, so it may run beside a service.
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Verify {
    /// The store's directory
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// Print JSON with stable names instead of text
    #[arg(long)]
    json: bool,
}

const FIELDS: &str = "JSON: store (its id), generation (of the manifest), segments, bytes, groups, records, last_seq, events (a \
    number for each status), bodies (events whose data was read again), remembered (ids), extents_dropped, extents_rewritten, \
    debris (names), cut [{name, bytes}], remarks and damage [{path, offset, seq, text, next}].";

/// Something is not as it was written, or was lost.
pub(super) const DAMAGE: u8 = 1;

impl Verify {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let verification = ledgerline::verify(&self.path)?;
        let mut output = Output::new();
        if self.json {
            let _ = output.line(json_line(&verification)?);
        } else {
            print(&verification, &mut output);
        }
        output.finish()?;
        Ok(if verification.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGE) })
    }
}

fn print(verification: &Verification, output: &mut Output) {
    let mut table = Table::without_head();
    let mut fact = |name: &str, value: &dyn Display| table.row([name.to_owned(), value.to_string()]);
    if let Some(store) = &verification.store {
        fact("store", store);
    }
    fact("files", &format!("{} segments, {} bytes", verification.segments, verification.bytes));
    let (groups, records) = (verification.groups, verification.records);
    if verification.store.is_none() {
        fact(
            "log",
            &format!("{records} records in {groups} groups; without a manifest nothing tells which files count"),
        );
    } else {
        fact("log", &format!("{records} records in {groups} groups, up to seq {}", verification.last_seq));
        print_events(verification, &mut fact);
    }
    if !verification.debris.is_empty() {
        fact("debris", &printable(&format!("{} (the next start removes it)", verification.debris.join(", "))));
    }
    for tail in &verification.cut {
        fact(
            "cut",
            &printable(&format!("{}, {} bytes that nothing showed to have been acknowledged", tail.name, tail.bytes)),
        );
    }
    for remark in &verification.remarks {
        fact("remark", &printable(&placed(remark)));
    }
    table.print(output);
    for damage in &verification.damage {
        let _ = output.line(format_args!("DAMAGE  {}", printable(&placed(damage))));
        if let Some(next) = &damage.next {
            let _ = output.line(format_args!("        {}", printable(next)));
        }
    }
    let _ = output.line(match verification.damage.len() {
        0 => "sound".to_owned(),
        1 => "DAMAGED in 1 place".to_owned(),
        count => format!("DAMAGED in {count} places"),
    });
}

fn print_events(verification: &Verification, fact: &mut dyn FnMut(&str, &dyn Display)) {
    let (dropped, rewritten) = (verification.extents_dropped, verification.extents_rewritten);
    if dropped + rewritten > 0 {
        fact("compacted", &format!("{dropped} ranges dropped, {rewritten} files rewritten"));
    }
    fact("events", &by_status(&verification.events).unwrap_or_else(|| "none".to_owned()));
    fact("data", &format!("of {} events read again", verification.bodies));
    if verification.remembered > 0 {
        fact("remembered", &format!("{} ids of forgotten events", verification.remembered));
    }
}

/// How many events stand at each status, if there are any.
pub(super) fn by_status(events: &BTreeMap<Status, u64>) -> Option<String> {
    let told: Vec<_> = events.iter().filter(|(_, n)| **n > 0).map(|(status, n)| format!("{n} {status}")).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// What it is, after where it is.
pub(super) fn placed(problem: &Problem) -> String {
    let path = problem.path.display();
    let offset = problem.offset.map_or_else(String::new, |offset| format!(", offset {offset}"));
    let seq = problem.seq.map_or_else(String::new, |seq| format!(", seq {seq}"));
    format!("{path}{offset}{seq}: {}", problem.text)
}

//! What `replay` and `cancel` have in common: which events, and how what became of them is told.

use std::collections::BTreeSet;
use std::mem;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{Operation, printable};
use ledgerline::{Selection, Status, Timestamp};
use serde::Deserialize;

use super::output::{Output, counted, plural};
use super::store::StoreArguments;
use super::trouble::Trouble;

/// What `--help` says about the JSON.
pub(super) const FIELDS: &str = "JSON, one event a line: id, refused (null, or why it was not done), kind (null, not_found \
    or not_allowed); where conditions beside --failed select, or --dry-run or --rate is given, a last line: selected (matched, done, \
    refused, dry_run); `cancel` always has one. An event must match every condition. Times are RFC 3339, such as \
    2026-11-23T09:51:00Z. If any event was refused the exit code is 2.";

/// Which events: all that match every condition.
#[derive(Args)]
pub(super) struct Selecting {
    /// The events' ids; needed unless a condition is given
    #[arg(
        value_name = "ID",
        conflicts_with = "failed",
        required_unless_present_any = ["failed", "event_type", "key", "status", "since", "until"]
    )]
    ids: Vec<String>,
    /// All events that have failed for good
    #[arg(long, conflicts_with = "status")]
    pub(super) failed: bool,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only events of this key
    #[arg(long)]
    key: Option<String>,
    /// Only events that stand here: pending, processing, retrying, completed, failed, cancelled
    #[arg(long)]
    status: Option<Status>,
    /// Only events that were received at this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only events that were received before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Change nothing, and say what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
    /// At most this many events a second: 1 to 100,000
    #[arg(long, value_name = "NUMBER")]
    rate: Option<u32>,
}

/// What is told: of one event, or of all.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    One { id: String, refused: Option<String> },
    All { selected: Selected },
}

#[derive(Deserialize)]
struct Selected {
    matched: u64,
    done: u64,
    dry_run: bool,
}

/// What was asked for, in words.
pub(super) struct Words {
    /// `replay`
    pub(super) infinitive: &'static str,
    /// `replayed`
    pub(super) participle: &'static str,
    /// Whether nothing is changed.
    pub(super) is_rehearsal: bool,
}

impl Selecting {
    /// Whether nothing but ids, or nothing but `--failed`, was given.
    pub(super) fn is_plain(&self) -> bool {
        let narrowed = self.event_type.is_some() || self.key.is_some() || self.status.is_some();
        let timed = self.since.is_some() || self.until.is_some();
        !narrowed && !timed && !self.dry_run && self.rate.is_none()
    }

    /// The ids that were given, each once: whoever names an event twice wants no more than that.
    pub(super) fn take_ids(&mut self) -> Vec<String> {
        let mut ids = mem::take(&mut self.ids);
        let mut seen = BTreeSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        ids
    }

    pub(super) fn selection(mut self) -> Selection {
        let ids = self.take_ids();
        let mut selection = if ids.is_empty() { Selection::all() } else { Selection::ids(ids) };
        if self.failed {
            selection = selection.status(Status::Failed);
        }
        if self.dry_run {
            selection = selection.dry_run();
        }
        selection = self.event_type.into_iter().fold(selection, Selection::event_type);
        selection = self.key.into_iter().fold(selection, Selection::key);
        selection = self.status.into_iter().fold(selection, Selection::status);
        selection = self.since.into_iter().fold(selection, Selection::since);
        selection = self.until.into_iter().fold(selection, Selection::until);
        self.rate.into_iter().fold(selection, Selection::rate)
    }
}

/// Does `operation`, and tells what became of each event.
pub(super) fn perform(store: &StoreArguments, operation: &Operation, words: &Words) -> Result<ExitCode, Trouble> {
    let mut output = Output::new();
    let (mut done, mut refused, mut is_totalled) = (0_u64, 0_u64, false);
    let performed = store.perform(operation, |line| {
        let answer: Option<Answer> = serde_json::from_str(&line).ok();
        if let Some(Answer::One { refused: why, .. }) = &answer {
            *(if why.is_some() { &mut refused } else { &mut done }) += 1;
        }
        let _ = match answer.filter(|_| !store.json) {
            Some(Answer::One { id, refused: Some(why) }) => {
                output.told(format_args!("refused {}: {}", printable(&id), printable(&why)))
            }
            Some(Answer::One { id, refused: None }) => {
                let would = if words.is_rehearsal { "would be " } else { "" };
                output.told(format_args!("{would}{} {}", words.participle, printable(&id)))
            }
            Some(Answer::All { selected: Selected { matched, done, dry_run } }) => {
                is_totalled = true;
                let would = if dry_run { "would be " } else { "" };
                let events = plural(matched, "event");
                output.told(format_args!("{done} of {matched} {events} {would}{}", words.participle))
            }
            None => output.told(line),
        };
        // Whatever becomes of what is told, what was asked for is done.
        ControlFlow::Continue(())
    });
    if !store.json && performed.is_ok() && done + refused == 0 && !is_totalled {
        let _ = output.line(format_args!("nothing to {}", words.infinitive));
    }
    let told = output.finish();
    performed?;
    told?;
    if refused > 0 {
        let (all, were) = (done + refused, if refused == 1 { "was" } else { "were" });
        let text = format!("{refused} of {} {were} not {}", counted(all, "event"), words.participle);
        return Err(Trouble::new(text));
    }
    Ok(ExitCode::SUCCESS)
}

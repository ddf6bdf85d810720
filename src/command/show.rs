//! `show`: one event, and its whole history.

use std::process::ExitCode;

use clap::Args;
use ledgerline::Waiting;
use ledgerline::service::{Operation, printable};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::output::{Output, Table};
use super::store::StoreArguments;
use super::trouble::Trouble;

/// Show one event, with its headers and its data; with --history every step of its life
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Show {
    /// The event's id
    id: String,
    /// Show every step of its life, with where it stood afterwards, instead of its data
    #[arg(long)]
    history: bool,
    #[command(flatten)]
    store: StoreArguments,
}

const FIELDS: &str = "JSON: the fields of `list`, and headers [{name, value}], history [{seq, what, status (afterwards), at, attempt, \
    message, retry_at}], where what is received, started, handled, completed, failed, snoozed, released, replayed, cancelled, condemned, \
    or interrupted (a process began while it ran).";

#[derive(Deserialize)]
struct Shown {
    id: String,
    event_type: String,
    action: Option<String>,
    source: String,
    key: Option<String>,
    data: Box<RawValue>,
    timestamp: String,
    status: String,
    retry_count: u32,
    last_attempt: Option<String>,
    error_message: Option<String>,
    max_retries: u32,
    #[serde(default)]
    priority: u8,
    not_before: Option<String>,
    waiting: Option<Waiting>,
    seq: u64,
    stale: bool,
    headers: Vec<Header>,
    history: Vec<Step>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct Step {
    seq: u64,
    what: String,
    status: Option<String>,
    at: String,
    attempt: Option<u32>,
    message: Option<String>,
    retry_at: Option<String>,
}

impl Show {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let (operation, history) = (Operation::Show { id: self.id }, self.history);
        self.store.print(&operation, |shown: Shown, output| shown.print(history, output))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Shown {
    fn print(&self, history: bool, output: &mut Output) {
        let optional = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let mut facts = Table::without_head();
        for (name, value) in [
            ("id", self.id.clone()),
            ("type", self.event_type.clone()),
            ("action", optional(&self.action)),
            ("source", self.source.clone()),
            ("key", optional(&self.key)),
            ("status", self.status.clone()),
            ("received", format!("{}{}", self.timestamp, if self.stale { " (stale)" } else { "" })),
            ("retries", format!("{} of {}", self.retry_count, self.max_retries)),
            ("priority", self.priority.to_string()),
            ("not before", optional(&self.not_before)),
            ("waits", self.waiting.as_ref().map_or_else(|| "-".to_owned(), Waiting::to_string)),
            ("last attempt", optional(&self.last_attempt)),
            ("error", optional(&self.error_message)),
            ("seq", self.seq.to_string()),
        ] {
            facts.row([name.to_owned(), printable(&value)]);
        }
        for header in &self.headers {
            facts.row(["header".to_owned(), printable(&format!("{}: {}", header.name, header.value))]);
        }
        facts.print(output);

        if history {
            let _ = output.line("\nhistory");
            let mut history = Table::without_head();
            for step in &self.history {
                history.row(step.cells());
            }
            history.print(output);
            return;
        }
        let _ = output.line("\ndata");
        let _ = output.line(printable(self.data.get()));
    }
}

impl Step {
    fn cells(&self) -> [String; 6] {
        let attempt = self.attempt.map(|attempt| format!("attempt {attempt}"));
        let retry = self.retry_at.as_ref().map(|at| format!("again at {at}"));
        let more: Vec<_> = [self.message.clone(), retry].into_iter().flatten().collect();
        [
            format!("  seq {}", self.seq),
            self.at.clone(),
            printable(&self.what),
            self.status.as_deref().map_or_else(String::new, |status| printable(&format!("→ {status}"))),
            attempt.unwrap_or_default(),
            printable(&more.join("; ")),
        ]
    }
}

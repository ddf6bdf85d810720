//! `list`: which events there are.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{Operation, printable};
use ledgerline::{ErrorKind, Status, Timestamp, Waiting};
use serde::Deserialize;

use super::output::{Output, Table, counted};
use super::store::StoreArguments;
use super::trouble::Trouble;

/// List events, oldest first
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct List {
    /// Only events that stand here: pending, processing, retrying, completed, failed, cancelled
    #[arg(long)]
    status: Option<Status>,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only events of this key
    #[arg(long)]
    key: Option<String>,
    /// Only events that were received at this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only events that were received before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only events whose seq is greater: those behind a list that ended with it
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// List at most this many, up to 100,000
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    limit: usize,
    #[command(flatten)]
    store: StoreArguments,
}

const FIELDS: &str = "JSON, one event a line: id, seq (number of the record that keeps it), event_type, action, source, key, data, \
    timestamp, status, retry_count, last_attempt, error_message, max_retries, priority (0 first to 9), not_before, stale (its \
    sender's time was off), waiting (null, or why a pending or retrying event does not run now: {why}, one of handler, time {until}, \
    pause {scope, until}, key {id, seq}, run {seq}, alone, limit {runs}, turn). Times are RFC 3339 in UTC; what an event lacks is null.";

#[derive(Deserialize)]
struct Row {
    id: String,
    event_type: String,
    action: Option<String>,
    timestamp: String,
    status: String,
    retry_count: u32,
    max_retries: u32,
    error_message: Option<String>,
    /// None from a service of an earlier version, as is the next.
    seq: Option<u64>,
    waiting: Option<Waiting>,
}

impl List {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        if self.limit == 0 || self.limit >= Operation::LIST_MAX {
            let text = format!("--limit is {}; it must be from 1 to 100,000", self.limit);
            return Err(Trouble::of(ErrorKind::InvalidInput, text));
        }
        // One more than is shown tells whether there are more.
        let limit = self.limit + 1;
        let Self { status, since, until, after, .. } = self;
        let (event_type, key) = (self.event_type.clone(), self.key.clone());
        let operation = Operation::List { status, event_type, key, since, until, after, limit };
        let listed = if self.store.json { self.documents(&operation)? } else { self.table(&operation)? };
        if listed.count > self.limit {
            // Told beside the list, not in it.
            let further = listed.last.map_or_else(String::new, |seq| format!(", and --after {seq} what comes behind"));
            let _ = writeln!(
                std::io::stderr(),
                "ledgerline: {} listed; --limit NUMBER lists more{further}",
                counted(self.limit as u64, "event")
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    fn documents(&self, operation: &Operation) -> Result<Listed, Trouble> {
        let mut listed = Listed::default();
        let mut output = Output::new();
        let performed = self.store.perform(operation, |line| {
            listed.count += 1;
            if listed.count == self.limit {
                listed.last = serde_json::from_str(&line).ok().map(|Numbered { seq }| seq);
            }
            // The one that is too many is the last: what is to be said behind it is awaited.
            if listed.count > self.limit { ControlFlow::Continue(()) } else { output.line(line) }
        });
        output.finish()?;
        performed.map(|()| listed)
    }

    fn table(&self, operation: &Operation) -> Result<Listed, Trouble> {
        let mut table = Table::new(&["STATUS", "RECEIVED", "RETRIES", "TYPE", "ACTION", "ID", "WAITS", "ERROR"]);
        let mut listed = Listed::default();
        let mut output = Output::new();
        let performed = self.store.print(operation, |row: Row, _| {
            listed.count += 1;
            if listed.count <= self.limit {
                listed.last = row.seq;
                table.row(row.cells());
            }
        });
        // What came before a trouble holds.
        if listed.count > 0 {
            table.print(&mut output);
        }
        output.finish()?;
        performed.map(|()| listed)
    }
}

/// How many there were, one more than is shown at most, and the number of the last that is shown.
#[derive(Default)]
struct Listed {
    count: usize,
    last: Option<u64>,
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

impl Row {
    fn cells(self) -> [String; 8] {
        let optional = |text: Option<String>| text.map_or_else(|| "-".to_owned(), |text| printable(&text));
        [
            printable(&self.status),
            self.timestamp,
            format!("{}/{}", self.retry_count, self.max_retries),
            printable(&self.event_type),
            optional(self.action),
            printable(&self.id),
            self.waiting.map_or_else(|| "-".to_owned(), |waiting| printable(&waiting.to_string())),
            optional(self.error_message),
        ]
    }
}

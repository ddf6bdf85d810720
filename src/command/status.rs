//! `status`: how events stood at an earlier point.

use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{json_line, printable};
use ledgerline::{AsOf, ErrorKind, ParsePointError, Point};

use super::output::{Output, Table};
use super::store::StoreArguments;
use super::trouble::Trouble;

/// Show how events, or one event, stood at a record or a time
///
/// It folds the log that far, as it is retained, without lock, also beside a service.
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Status {
    /// The event's id; without it events are counted by status
    id: Option<String>,
    /// A record's number, or an RFC 3339 time
    #[arg(long, value_name = "SEQ|TIME")]
    at: String,
    #[command(flatten)]
    store: StoreArguments,
}

const FIELDS: &str = "JSON: seq (the last record that was counted), retained_from, complete, events (a number for each status), event \
    (null, and the exit code 2, if none is known; else {seq, status, retry_count, attempt, last_seq}), damage (places).";

impl Status {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let at: Point = self
            .at
            .parse()
            .map_err(|error: ParsePointError| Trouble::of(ErrorKind::InvalidInput, format!("--at: {error}")))?;
        let config = self.store.config()?;
        let answer = ledgerline::as_of(config.data(), at, self.id.as_deref())?;
        let mut output = Output::new();
        if self.store.json {
            let _ = output.line(json_line(&answer)?);
        } else {
            self.print(&answer, at, &mut output);
        }
        output.finish()?;
        if answer.damage > 0 {
            let data = config.data().display();
            let text = format!(
                "the store at {data} is damaged, and only what verifies was counted (`ledgerline verify {data}`)"
            );
            return Err(Trouble::of(ErrorKind::Corrupt, text));
        }
        if self.id.is_some() && answer.event.is_none() {
            let text = format!("no event {:?} is known to have been there at {at}", self.id.unwrap_or_default());
            return Err(Trouble::of(ErrorKind::NotFound, text));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, answer: &AsOf, at: Point, output: &mut Output) {
        if answer.seq == 0 {
            let _ = match (answer.complete, answer.retained_from) {
                (true, 0) => output.line("nothing was ever written to the store"),
                (true, first) => output.line(format_args!("{at} lies before the first record of all: record {first}")),
                (false, first) => output.line(format_args!("{at} lies before all that is retained: record {first}")),
            };
            return;
        }
        let mut table = Table::without_head();
        match (&self.id, &answer.event) {
            (Some(id), Some(event)) => {
                table.row(["id".to_owned(), printable(id)]);
                table.row(["status".to_owned(), event.status.to_string()]);
                table.row(["runs".to_owned(), format!("{}, {} counted failures", event.attempt, event.retry_count)]);
                table.row(["records".to_owned(), format!("{} to {}", event.seq, event.last_seq)]);
            }
            (Some(_), None) => {}
            (None, _) => {
                for (status, count) in &answer.events {
                    table.row([status.to_string(), count.to_string()]);
                }
            }
        }
        table.print(output);
        let _ = output.line(format_args!("after record {}", answer.seq));
        if !answer.complete && self.id.is_none() {
            let _ = output.line("events that were forgotten and dropped since are not counted");
        }
    }
}

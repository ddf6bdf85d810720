//! `stats`: how a store is doing, in numbers.

use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{Operation, printable};
use serde_json::{Map, Value};

use super::output::{Output, Table};
use super::store::StoreArguments;
use super::trouble::Trouble;

/// Show how the store is doing, in numbers
#[derive(Args)]
#[command(after_help = fields())]
pub(super) struct Stats {
    #[command(flatten)]
    store: StoreArguments,
}

/// What `--help` says about the JSON.
fn fields() -> String {
    let names: Vec<_> = MEANINGS.iter().map(|(name, _)| *name).collect();
    format!("JSON: {}. {NOTES}", names.join(", "))
}

const NOTES: &str = "The first four count over the store's whole life, across restarts and compaction. \
    Times are RFC 3339 in UTC; what never happened is null. attempts: done, retried, failed, cancelled, put_off, released, and of the \
    retried and failed ones timed_out and panicked. handling and end_to_end: count, p50_ms, p99_ms (give or take 6.25 %). types: \
    event_type, pending, processing, retrying, completed, failed, cancelled, held, oldest_waiting_seconds, attempts, handling, \
    end_to_end.";

/// What the numbers are, in the order in which they are printed.
const MEANINGS: [(&str, &str); 30] = [
    ("events_processed", "events completed, ever"),
    ("events_failed", "attempts that failed, ever"),
    ("events_retried", "retries scheduled, ever"),
    ("batch_operations", "claims that were not empty, ever"),
    ("pending_events", "waiting to run, now or after a delay"),
    ("waiting_events", "of those, waiting for a time: of their own, or for a retry"),
    ("ready_events", "of the pending ones, those that wait for nothing but to be claimed"),
    ("processing_events", "being run"),
    ("retrying_events", "pending ones that wait for a retry"),
    ("completed_events", "completed and still kept"),
    ("failed_events", "failed for good, waiting for a person"),
    ("cancelled_events", "cancelled and still kept"),
    ("held_events", "waiting for a handler of their type"),
    ("pauses", "in force: `ledgerline pauses` names them"),
    ("damaged_events", "found damaged while serving"),
    ("damaged_places", "places found damaged elsewhere"),
    ("segments", "files of the log"),
    ("log_bytes", "bytes of the log"),
    ("uptime_seconds", "since the store was opened"),
    ("last_persistence", "when something last became durable"),
    ("last_cleanup", "when compaction last ran"),
    ("last_scrub", "when the log was last searched for rot"),
    ("is_running", "whether events are being processed"),
    ("poisoned", "why nothing more is taken"),
    ("full", "why there is no room for a new segment"),
    ("attempts", "how runs ended since the store was opened"),
    ("handling", "from claim to settlement, of those runs"),
    ("end_to_end", "from reception to completion, since then"),
    ("types", "the same by type, below"),
    ("other_types", "all types beyond the first 256"),
];

impl Stats {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        self.store.print(&Operation::Stats {}, |mut stats: Map<String, Value>, output| {
            let mut table = Table::without_head();
            let types = stats.remove("types").and_then(|types| types.as_array().cloned()).unwrap_or_default();
            let mut wide = Vec::new();
            let others = stats.remove("other_types").filter(Value::is_object);
            for (name, meaning) in MEANINGS {
                match stats.remove(name) {
                    Some(parts @ Value::Object(_)) => wide.push([name.to_owned(), told(&parts)]),
                    Some(value) => table.row([name.to_owned(), told(&value), meaning.to_owned()]),
                    None => {}
                }
            }
            // A newer service may count more than this command can explain.
            for (name, value) in stats {
                table.row([printable(&name), told(&value)]);
            }
            table.print(output);
            // Their cells would make that table too wide.
            let mut table = Table::without_head();
            for row in wide {
                table.row(row);
            }
            table.print(output);
            print_types(types.iter().chain(&others), output);
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// One row a type, if there are any.
fn print_types<'v>(types: impl Iterator<Item = &'v Value>, output: &mut Output) {
    const COUNTS: [&str; 7] = ["pending", "processing", "retrying", "completed", "failed", "cancelled", "held"];
    let mut types = types.peekable();
    if types.peek().is_none() {
        return;
    }
    let _ = output.line("");
    let head: Vec<_> =
        ["type"].iter().chain(&COUNTS).chain(&["oldest s", "handling p50 / p99 ms", "end to end"]).copied().collect();
    let mut table = Table::new(&head);
    for of in types {
        let name = of.get("event_type").and_then(Value::as_str).filter(|name| !name.is_empty());
        let latency = |name: &str| {
            let part = |part: &str| of.get(name).and_then(|of| of.get(part)).map_or_else(|| "-".to_owned(), told);
            format!("{} / {}", part("p50_ms"), part("p99_ms"))
        };
        let mut row = vec![name.map_or_else(|| "(all others)".to_owned(), printable)];
        row.extend(
            COUNTS.iter().chain(&["oldest_waiting_seconds"]).map(|name| of.get(*name).map_or("-".to_owned(), told)),
        );
        row.extend([latency("handling"), latency("end_to_end")]);
        table.row(row);
    }
    table.print(output);
}

fn told(value: &Value) -> String {
    match value {
        Value::Object(parts) => {
            let told: Vec<_> =
                parts.iter().map(|(name, value)| format!("{} {}", told(value), printable(name))).collect();
            told.join(", ")
        }
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Number(number) => {
            let fraction = number.as_f64().filter(|_| number.is_f64());
            fraction.map_or_else(|| number.to_string(), |seconds| format!("{seconds:.1}"))
        }
        other => printable(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_explained() {
        let stats = serde_json::to_value(ledgerline::Stats::default()).unwrap();
        let unexplained: Vec<_> =
            stats.as_object().unwrap().keys().filter(|name| MEANINGS.iter().all(|(known, _)| known != name)).collect();
        assert!(unexplained.is_empty(), "{unexplained:?}");
        assert_eq!(stats.as_object().unwrap().len(), MEANINGS.len());
    }
}

//! `emit`: keeps an event of the caller's own.

use std::io::{self, Read as _};
use std::process::ExitCode;

use clap::Args;
use ledgerline::Timestamp;
use ledgerline::service::{Operation, printable};
use serde::Deserialize;

use super::store::StoreArguments;
use super::trouble::Trouble;

/// Longest data: what a record takes.
const DATA_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Keep an event. It is durable once its id is printed
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Emit {
    /// The event's type, by which handlers are chosen
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// The event's data, kept byte for byte; `-` reads it from stdin
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    body: String,
    /// Names the event: the same id with the same data again is a duplicate, with other data an error
    #[arg(long)]
    id: Option<String>,
    /// Events of one key run one at a time, in order
    #[arg(long)]
    key: Option<String>,
    /// Not to be run earlier: an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    not_before: Option<Timestamp>,
    /// Whether it runs before others: 0 (first) to 9 (last); it moves up one a minute
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    priority: u8,
    #[command(flatten)]
    store: StoreArguments,
}

const FIELDS: &str =
    "JSON: id, duplicate (whether the event was there before), seq (number of the record that keeps it).
A data directory that is not there is created.";

#[derive(Deserialize)]
struct Emitted {
    id: String,
    duplicate: bool,
}

impl Emit {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let data = if self.body == "-" { from_stdin()? } else { self.body };
        let Self { event_type, id, key, not_before, priority, .. } = self;
        let operation = Operation::Emit { event_type, data, id, key, not_before, priority };
        self.store.print(&operation, |Emitted { id, duplicate }, output| {
            let _ = output.line(format_args!("{} {}", if duplicate { "duplicate of" } else { "kept" }, printable(&id)));
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn from_stdin() -> Result<String, Trouble> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(DATA_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Trouble::during("cannot read stdin", &error))?;
    if bytes.len() as u64 > DATA_BYTES_MAX {
        return Err(Trouble::new(format!("stdin has more than the {DATA_BYTES_MAX} bytes that an event takes")));
    }
    String::from_utf8(bytes).map_err(|error| Trouble::during("stdin is not UTF-8", &error))
}

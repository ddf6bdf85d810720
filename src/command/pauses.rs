//! `pauses`: what is paused, until when and why.

use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{Operation, printable};
use ledgerline::{Scope, Timestamp};
use serde::Deserialize;

use super::output::{Output, Table};
use super::store::StoreArguments;
use super::trouble::Trouble;

/// List the pauses in force: those of types first
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Pauses {
    #[command(flatten)]
    store: StoreArguments,
}

const FIELDS: &str = "JSON, one pause a line: scope ({type} or {key}), until (null: until it is resumed), since, reason. Times are \
    RFC 3339 in UTC.";

#[derive(Deserialize)]
struct Row {
    scope: Scope,
    until: Option<Timestamp>,
    since: Timestamp,
    reason: String,
}

impl Pauses {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let mut table = Table::new(&["PAUSED", "NAME", "SINCE", "UNTIL", "REASON"]);
        let mut is_empty = true;
        self.store.print(&Operation::Pauses {}, |Row { scope, until, since, reason }, _| {
            is_empty = false;
            let (what, name) = match &scope {
                Scope::Type(name) => ("type", name.clone()),
                Scope::Key(name) => ("key", name.clone()),
                other => ("other", other.to_string()),
            };
            let until = until.map_or_else(|| "it is resumed".to_owned(), |until| until.to_string());
            table.row([what.to_owned(), printable(&name), since.to_string(), until, printable(&reason)]);
        })?;
        let mut output = Output::new();
        if !is_empty {
            table.print(&mut output);
        }
        output.finish()?;
        Ok(ExitCode::SUCCESS)
    }
}

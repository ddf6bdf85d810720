//! `process`: runs what is pending, where a service does not by itself.

use std::process::ExitCode;

use clap::Args;
use ledgerline::service::Operation;
use serde::Deserialize;

use super::output::counted;
use super::store::StoreArguments;
use super::trouble::Trouble;

/// Have the running service run what is pending: for one that was started with LINEAR_BACKGROUND_PROCESSING=false
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Process {
    #[command(flatten)]
    store: StoreArguments,
}

const FIELDS: &str = "JSON: runs, done, failed. It ends when nothing is left that can run now.";

#[derive(Deserialize)]
struct Answer {
    runs: u64,
    done: u64,
    failed: u64,
}

impl Process {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        self.store.print(&Operation::Process {}, |Answer { runs, done, failed }, output| {
            let _ = output.line(format_args!("{}: {done} done, {failed} failed", counted(runs, "run")));
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

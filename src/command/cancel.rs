//! `cancel`: calls events off.

use std::process::ExitCode;

use clap::Args;
use ledgerline::service::Operation;

use super::selecting::{FIELDS, Selecting, Words, perform};
use super::store::StoreArguments;
use super::trouble::Trouble;

/// Call events off: pending, running, retrying or failed ones
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Cancel {
    #[command(flatten)]
    which: Selecting,
    /// Why: it is kept with each event, up to 4 KiB
    #[arg(long, value_name = "TEXT", default_value = "called off by hand")]
    reason: String,
    #[command(flatten)]
    store: StoreArguments,
}

impl Cancel {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let words = Words { infinitive: "cancel", participle: "cancelled", is_rehearsal: self.which.dry_run };
        let operation = Operation::CancelAll { selection: self.which.selection(), reason: self.reason };
        perform(&self.store, &operation, &words)
    }
}

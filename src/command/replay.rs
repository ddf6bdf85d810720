//! `replay`: runs events anew.

use std::process::ExitCode;

use clap::Args;
use ledgerline::service::Operation;

use super::selecting::{FIELDS, Selecting, Words, perform};
use super::store::StoreArguments;
use super::trouble::Trouble;

/// Run events anew: completed, failed, cancelled or retrying ones
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Replay {
    #[command(flatten)]
    which: Selecting,
    #[command(flatten)]
    store: StoreArguments,
}

impl Replay {
    pub(super) fn run(mut self) -> Result<ExitCode, Trouble> {
        let words = Words { infinitive: "replay", participle: "replayed", is_rehearsal: self.which.dry_run };
        // A service of an earlier version knows the plain forms only.
        let operation = match (self.which.is_plain(), self.which.failed) {
            (true, true) => Operation::ReplayFailed {},
            (true, false) => Operation::Replay { ids: self.which.take_ids() },
            (false, _) => Operation::ReplayAll { selection: self.which.selection() },
        };
        perform(&self.store, &operation, &words)
    }
}

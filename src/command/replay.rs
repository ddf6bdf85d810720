//! `replay`: runs events anew.

use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{Operation, printable};
use serde::Deserialize;

use super::output::Output;
use super::store::StoreArguments;
use super::trouble::Trouble;

/// Run events anew: completed, failed, cancelled or retrying ones
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Replay {
    /// The events' ids
    #[arg(value_name = "ID", required_unless_present = "failed", conflicts_with = "failed")]
    ids: Vec<String>,
    /// All events that have failed for good
    #[arg(long)]
    failed: bool,
    #[command(flatten)]
    store: StoreArguments,
}

const FIELDS: &str =
    "JSON, one event a line: id, refused (null, or why it was not replayed). If any was refused the exit code is 2.";

#[derive(Deserialize)]
struct Answer {
    id: String,
    refused: Option<String>,
}

impl Replay {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let operation = if self.failed { Operation::ReplayFailed {} } else { Operation::Replay { ids: self.ids } };
        let mut output = Output::new();
        let (mut replayed, mut refused) = (0_usize, 0_usize);
        let performed = self.store.perform(&operation, |line| {
            let answer: Option<Answer> = serde_json::from_str(&line).ok();
            let why = answer.as_ref().and_then(|answer| answer.refused.as_deref());
            *(if why.is_some() { &mut refused } else { &mut replayed }) += 1;
            match &answer {
                Some(Answer { id, .. }) if !self.store.json => {
                    let id = printable(id);
                    output.line(why.map_or(format!("replayed {id}"), |why| format!("refused {id}: {}", printable(why))))
                }
                _ => output.line(line),
            }
        });
        if !self.store.json && performed.is_ok() && replayed + refused == 0 {
            let _ = output.line("nothing to replay");
        }
        output.finish()?;
        performed?;
        if refused > 0 {
            return Err(Trouble::new(format!("{refused} of {} events were not replayed", replayed + refused)));
        }
        Ok(ExitCode::SUCCESS)
    }
}

//! `health`: whether all is well, for people and for scripts.

use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{Operation, printable};
use serde::Deserialize;

use super::output::Output;
use super::store::StoreArguments;
use super::trouble::Trouble;

/// Say whether the running service is healthy: exit 0 if it is, 1 if it is not or does not run
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Health {
    #[command(flatten)]
    store: StoreArguments,
}

const FIELDS: &str = "JSON: healthy, reasons (a list of texts; empty if healthy).";

#[derive(Deserialize)]
struct Answer {
    healthy: bool,
    reasons: Vec<String>,
}

impl Health {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let mut output = Output::new();
        let mut healthy = None;
        let performed = self.store.perform(&Operation::Health {}, |line| {
            let answer: Option<Answer> = serde_json::from_str(&line).ok();
            healthy = answer.as_ref().map(|answer| answer.healthy);
            if self.store.json {
                return output.line(line);
            }
            let reasons = answer.map(|answer| answer.reasons).unwrap_or_default();
            let told: Vec<_> = reasons.iter().map(|reason| printable(reason)).collect();
            output.line(if told.is_empty() {
                "healthy".to_owned()
            } else {
                format!("not healthy: {}", told.join("; "))
            })
        });
        output.finish()?;
        match healthy {
            // That is the answer, whatever else there is to tell.
            Some(false) => {
                performed.unwrap_or_else(|trouble| trouble.tell(self.store.json));
                Ok(ExitCode::from(1))
            }
            Some(true) => performed.map(|()| ExitCode::SUCCESS),
            None => performed.and_then(|()| Err(Trouble::not_understood())),
        }
    }
}

//! `resume`: ends a pause.

use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{Operation, printable};
use ledgerline::{ErrorKind, Scope};
use serde::Deserialize;

use super::output::Output;
use super::pause::ScopeArguments;
use super::store::StoreArguments;
use super::trouble::Trouble;

/// End the pause of a type or a key: its events run again
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Resume {
    #[command(flatten)]
    scope: ScopeArguments,
    #[command(flatten)]
    store: StoreArguments,
}

const FIELDS: &str =
    "JSON: scope ({type} or {key}), resumed (false: it was not paused). If it was not paused the exit code is 2.";

#[derive(Deserialize)]
struct Resumed {
    scope: Scope,
    resumed: bool,
}

impl Resume {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let scope = self.scope.scope();
        let mut output = Output::new();
        let mut answer = None;
        let performed = self.store.perform(&Operation::Resume { scope }, |line| {
            answer = serde_json::from_str(&line).ok();
            match &answer {
                Some(Resumed { scope, resumed: true }) if !self.store.json => {
                    output.line(format_args!("{} is resumed", printable(&scope.to_string())))
                }
                _ if self.store.json => output.line(line),
                _ => ControlFlow::Continue(()),
            }
        });
        output.finish()?;
        performed?;
        match answer {
            Some(Resumed { resumed: true, .. }) => Ok(ExitCode::SUCCESS),
            Some(Resumed { scope, .. }) => {
                let text = format!("{scope} is not paused (`ledgerline pauses` lists what is)");
                Err(Trouble::of(ErrorKind::NotFound, text))
            }
            None => Err(Trouble::not_understood()),
        }
    }
}

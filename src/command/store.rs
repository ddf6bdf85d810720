//! What the commands on a store have in common.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use ledgerline::ErrorKind;
use ledgerline::service::{Config, Given, Operation, Setting, perform};
use serde::de::DeserializeOwned;

use super::output::Output;
use super::trouble::Trouble;

/// Which store, and how to answer.
#[derive(Args)]
pub(super) struct StoreArguments {
    /// The data directory
    #[arg(long, value_name = "DIR", help = data_help())]
    pub(super) data: Option<PathBuf>,
    /// The configuration file that the service was started with [environment: LEDGERLINE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print JSON with stable names instead of text
    #[arg(long)]
    pub(super) json: bool,
}

impl StoreArguments {
    pub(super) fn config(&self) -> Result<Config, Trouble> {
        resolve(self.data.as_ref(), self.config.as_ref(), Given::new())
    }

    /// Does `operation`, and gives each line of its answer to `line`. Damage is trouble even where an answer was possible.
    pub(super) fn perform(
        &self,
        operation: &Operation,
        line: impl FnMut(String) -> ControlFlow<()>,
    ) -> Result<(), Trouble> {
        perform_by(&self.config()?, operation, line)
    }

    /// Does `operation`, and prints its answer: as it is with `--json`, else as `told` tells each document of it.
    pub(super) fn print<T: DeserializeOwned>(
        &self,
        operation: &Operation,
        mut told: impl FnMut(T, &mut Output),
    ) -> Result<(), Trouble> {
        let mut output = Output::new();
        let mut unknown = None;
        let performed = self.perform(operation, |line| {
            if self.json {
                return output.line(line);
            }
            match serde_json::from_str(&line) {
                Ok(document) => {
                    told(document, &mut output);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    unknown = Some(Trouble::during("cannot understand the answer", &error));
                    ControlFlow::Break(())
                }
            }
        });
        // What was answered before a failure holds, and is printed.
        output.finish()?;
        performed?;
        unknown.map_or(Ok(()), Err)
    }
}

/// As [`StoreArguments::perform`], by a configuration that is known already.
pub(super) fn perform_by(
    config: &Config,
    operation: &Operation,
    mut line: impl FnMut(String) -> ControlFlow<()>,
) -> Result<(), Trouble> {
    let damage = perform(config, operation, &mut line)?;
    if damage.is_empty() {
        return Ok(());
    }
    let (data, damage) = (config.data().display(), damage.join("; "));
    let text = format!(
        "the store at {data} is damaged, and only what verifies was answered: {damage} (`ledgerline verify {data}` says all \
         that is)"
    );
    Err(Trouble::of(ErrorKind::Corrupt, text))
}

/// What the setting itself says of its value.
fn data_help() -> String {
    Setting::all().iter().find(|setting| setting.flag() == "data").map(|setting| setting.help()).unwrap_or_default()
}

/// Joins what was given with the environment.
pub(super) fn resolve(data: Option<&PathBuf>, config: Option<&PathBuf>, mut given: Given) -> Result<Config, Trouble> {
    if let Some(data) = data {
        given = given.data(data);
    }
    if let Some(config) = config {
        given = given.file(config);
    }
    Ok(given.environment(std::env::vars_os()).resolve()?)
}

//! The real binary, as a person types it.

use std::path::Path;
use std::process::Command;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ledgerline");

/// The command in `directory`, with an environment of its own.
pub(crate) fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(directory).args(arguments).env_clear();
    command
}

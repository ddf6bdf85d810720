//! The real binary, as a person types it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ledgerline");

/// Only the last line that a service says when it starts has these words.
pub(crate) const READY: &str = "Linear needs";

/// The command in `directory`, with an environment of its own.
pub(crate) fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(directory).args(arguments).env_clear();
    command
}

/// What is read up to and including the line that has these words.
pub(crate) fn read_until(stderr: &mut impl BufRead, words: &str) -> String {
    let mut said = String::new();
    while !said.contains(words) {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "the service ended early: {said}");
    }
    said
}

/// What a child says on stderr up to these words. The rest is read and discarded, so that a full pipe never blocks the child.
pub(crate) fn said_until(child: &mut Child, words: &str) -> String {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let said = read_until(&mut stderr, words);
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    said
}

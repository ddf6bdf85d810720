//! A process that says lines, and may be killed at any of them.

use std::io::{self, BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use super::life::Life;

/// A process whose output is read. Killed with SIGKILL when it is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, lines: BufReader::new(output).lines() })
    }

    /// This program, living such a life.
    pub(crate) fn living(life: &Life) -> io::Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).args(life.arguments()).stderr(Stdio::null()))
    }

    /// What it says next; none once it is dead, and all was heard. A line that death cut off was not said.
    pub(crate) fn line(&mut self) -> Option<String> {
        self.lines.next()?.ok()
    }

    /// Kills it. What it said before can still be heard.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

//! A process that says lines, and may be killed at any of them.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Lines};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use super::life::Life;

const SIGKILL: i32 = 9;

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

    /// This program, living such a life. What it says of its own failure goes to the file `said`, in which that of the one before is
    /// written over.
    pub(crate) fn living(life: &Life, said: &Path) -> io::Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).args(life.arguments()).stderr(File::create(said)?))
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

/// Whether a process was killed, and had not ended by itself before.
pub(crate) fn was_killed(ended: ExitStatus) -> bool {
    ended.signal() == Some(SIGKILL)
}

/// Whether a process says here that it, or a thread of it, panicked.
pub(crate) fn tells_of_a_panic(said: &str) -> bool {
    said.contains("panicked at")
}

/// The line in which a process has said that it panicked, with the one after it, which says why.
pub(crate) fn panic_in(said: &Path) -> io::Result<Option<String>> {
    let said = String::from_utf8_lossy(&std::fs::read(said)?).into_owned();
    let mut lines = said.lines().skip_while(|line| !tells_of_a_panic(line));
    Ok(lines.next().map(|line| format!("the process panicked: {line} {}", lines.next().unwrap_or_default())))
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

//! What went wrong, for the person at the terminal, or for the script that asked for JSON.

use std::error::Error as StdError;
use std::io::{self, Write as _};

use ledgerline::ErrorKind;
use ledgerline::service::{json_line, printable};
use rustix::io::Errno;
use serde::Serialize;

/// A command could not be done. It is told on stderr, and the exit code is 2.
#[derive(Debug)]
pub(super) struct Trouble {
    /// None: it is the command's own.
    kind: Option<ErrorKind>,
    text: String,
}

/// As JSON.
#[derive(Serialize)]
struct Told<'a> {
    error: Option<&'static str>,
    message: &'a str,
}

impl Trouble {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { kind: None, text: text.into() }
    }

    /// One of a kind that the library knows too.
    pub(super) fn of(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind: Some(kind), ..Self::new(text) }
    }

    /// The same, and what else is to be said of it.
    pub(super) fn and(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// The service said something that this command does not know.
    pub(super) fn not_understood() -> Self {
        Self::new("cannot understand the service's answer: use the same ledgerline for both")
    }

    /// What clap says, without its own beginning.
    pub(super) fn of_arguments(error: &clap::Error) -> Self {
        let text = error.to_string();
        Self::of(ErrorKind::InvalidInput, text.strip_prefix("error: ").unwrap_or(&text).trim_end())
    }

    /// `error` and its causes, after what was being done.
    pub(super) fn during(what: &str, error: &(dyn StdError + 'static)) -> Self {
        let told = Self::chain(error);
        Self::new(format!("{what}: {told}"))
    }

    fn chain(error: &(dyn StdError + 'static)) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }

    /// Prints it: as text, or as a document of JSON.
    pub(super) fn tell(&self, json: bool) {
        // Where stderr is gone there is nobody to tell.
        let _ = io::stderr().lock().write_all(self.told(json).as_bytes());
    }

    /// What is printed.
    pub(super) fn told(&self, json: bool) -> String {
        let told = Told { error: self.kind.map(ErrorKind::as_str), message: &self.text };
        if json && let Ok(line) = json_line(&told) {
            return line + "\n";
        }
        // Lines of ours stay lines; within them nothing reaches the terminal as it came.
        let lines = self.text.lines().map(|line| printable(line) + "\n");
        std::iter::once("ledgerline: ".to_owned()).chain(lines).collect()
    }
}

/// What to do about an error of this kind, where it does not say so itself.
fn next(kind: ErrorKind, text: &str) -> &'static str {
    match kind {
        ErrorKind::Corrupt if !text.contains("`ledgerline salvage") => {
            " (`ledgerline verify DIR` says what is damaged, `ledgerline salvage` copies what is not)"
        }
        ErrorKind::Full | ErrorKind::Io => limit(text).unwrap_or(match kind {
            ErrorKind::Full => " (free some space, then try again)",
            _ => "",
        }),
        _ => "",
    }
}

/// What to do about a limit that the process has met, if the operating system's words for that are in `text`: of what a service has met
/// nothing else arrives.
fn limit(text: &str) -> Option<&'static str> {
    let says = |errno: Errno| text.contains(&io::Error::from(errno).to_string());
    if says(Errno::FBIG) {
        Some(" (a limit on the size of files: raise `ulimit -f` for this command, or for the service)")
    } else if says(Errno::MFILE) {
        Some(" (a limit on file descriptors: raise `ulimit -n` for this command, or for the service)")
    } else {
        None
    }
}

impl From<ledgerline::Error> for Trouble {
    fn from(error: ledgerline::Error) -> Self {
        let text = Self::chain(&error);
        let next = next(error.kind(), &text);
        Self::of(error.kind(), text + next)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        let text = Self::chain(&error);
        let next = next(ErrorKind::Io, &text);
        Self::new(text + next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_next_goes_by_what_the_system_has_refused() {
        let words = |errno: Errno| io::Error::from(errno).to_string();
        let space = "free some space";
        for (kind, text, says) in [
            (ErrorKind::Full, words(Errno::NOSPC), space),
            (ErrorKind::Full, "too many wait".to_owned(), space),
            (ErrorKind::Full, words(Errno::FBIG), "raise `ulimit -f`"),
            (ErrorKind::Io, words(Errno::MFILE), "raise `ulimit -n`"),
            (ErrorKind::Io, words(Errno::IO), ""),
        ] {
            let next = next(kind, &text);
            assert!(next.contains(says) && next.is_empty() == says.is_empty(), "{text}: {next}");
        }
        let own = Trouble::from(io::Error::from(Errno::MFILE));
        assert!(own.text.contains("raise `ulimit -n`"), "{}", own.text);
    }
}

//! Stdout: results, and nothing else.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::ops::ControlFlow;

use super::trouble::Trouble;

/// Takes lines for stdout. The first failure is kept and told at the end.
pub(super) struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    failure: Option<io::Error>,
}

impl Output {
    pub(super) fn new() -> Self {
        Self { stdout: BufWriter::new(io::stdout().lock()), failure: None }
    }

    /// Writes one line; breaks when no more can be written.
    pub(super) fn line(&mut self, line: impl Display) -> ControlFlow<()> {
        if self.failure.is_none() {
            self.failure = writeln!(self.stdout, "{line}").err();
        }
        if self.failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The same for what is told as it happens: it is seen at once.
    pub(super) fn told(&mut self, line: impl Display) -> ControlFlow<()> {
        let written = self.line(line);
        if self.failure.is_none() {
            self.failure = self.stdout.flush().err();
        }
        written
    }

    /// Everything was written. That nobody wanted to read all of it (`| head`) is no trouble.
    pub(super) fn finish(mut self) -> Result<(), Trouble> {
        match self.failure.map_or_else(|| self.stdout.flush(), Err) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Trouble::during("cannot write to stdout", &error))
            }
            _ => Ok(()),
        }
    }
}

/// A count and its noun, in the plural unless it is one.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {}", plural(count, noun))
}

/// The noun, in the plural unless `count` is one.
pub(super) fn plural(count: u64, noun: &str) -> String {
    format!("{noun}{}", if count == 1 { "" } else { "s" })
}

/// Rows in columns as wide as they need to be; the last column is not padded.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|name| (*name).to_owned()).collect()] }
    }

    /// A table whose columns explain themselves.
    pub(super) fn without_head() -> Self {
        Self { rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn print(&self, output: &mut Output) {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                let width = cell.chars().count();
                match widths.get_mut(column) {
                    Some(widest) => *widest = width.max(*widest),
                    None => widths.push(width),
                }
            }
        }
        for row in &self.rows {
            let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            if output.line(cells.join("  ").trim_end()).is_break() {
                return;
            }
        }
    }
}

//! The rows of one run. `cargo bench` runs one bench after the other, each a process of its own, and there is to be one table: so each
//! adds its rows to a file that is named after the cargo process, and the last one prints them all.
//!
//! A bench that was not started by cargo is a run by itself.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;

use serde::Serialize;

use super::directory::reports;
use super::machine::Machine;
use super::mode::is_quick;
use super::row::{Met, Row};
use super::table::table;

/// The benches in the order in which cargo runs them, and whether they are built.
const BENCHES: [(&str, bool); 7] = [
    ("codec", cfg!(feature = "manager")),
    ("commit", cfg!(feature = "manager")),
    ("curves", cfg!(feature = "manager")),
    ("emit", cfg!(feature = "manager")),
    ("lifecycle", cfg!(feature = "manager")),
    ("restart", cfg!(feature = "manager")),
    ("webhook", cfg!(feature = "service")),
];

/// The rows of this bench, and where those of the others are.
pub(crate) struct Report {
    rows: Vec<Row>,
    cargo: Option<Cargo>,
    bench: &'static str,
}

/// The cargo process that started this one.
struct Cargo {
    /// Its number and when it began, because numbers are used again.
    name: String,
    /// What `--bench` was given.
    benches: Vec<String>,
}

/// The whole table, as a file for those who quote it.
#[derive(Serialize)]
struct Document<'r> {
    is_quick: bool,
    machine: Machine,
    rows: Vec<Judged<'r>>,
}

#[derive(Serialize)]
struct Judged<'r> {
    #[serde(flatten)]
    row: &'r Row,
    share: Option<f64>,
    met: Option<Met>,
    is_close_to_floor: Option<bool>,
}

impl Report {
    pub(crate) fn of_this_run(bench: &'static str) -> Self {
        Self { rows: Vec::new(), cargo: Cargo::parent(), bench }
    }

    pub(crate) fn is_by_cargo(&self) -> bool {
        self.cargo.is_some()
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn end(self) {
        let Some(cargo) = self.cargo else { return show(&self.rows) };
        let path = cargo.rows();
        if !path.exists() {
            forget_other_runs();
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("the file is ours");
        for row in &self.rows {
            let line = serde_json::to_string(row).expect("a row is JSON");
            writeln!(file, "{line}").expect("the row is written");
        }
        if cargo.runs_last(self.bench) {
            let lines = BufReader::new(File::open(&path).expect("the file is ours")).lines();
            let row = |line: std::io::Result<String>| serde_json::from_str(&line.ok()?).ok();
            show(&lines.filter_map(row).collect::<Vec<_>>());
        }
    }
}

impl Cargo {
    fn parent() -> Option<Self> {
        let number = std::os::unix::process::parent_id();
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{number}/{file}")).ok();
        if read("comm")?.trim() != "cargo" {
            return None;
        }
        // The name, which may hold anything, ends with the last parenthesis; the start is the twentieth field after it.
        let began = read("stat")?.rsplit_once(')')?.1.split_whitespace().nth(19)?.to_owned();
        let line = read("cmdline")?;
        let arguments: Vec<&str> = line.split('\0').take_while(|argument| *argument != "--").collect();
        let after = arguments.windows(2).filter_map(|pair| match pair {
            ["--bench", name] => Some((*name).to_owned()),
            _ => None,
        });
        let joined = arguments.iter().filter_map(|argument| argument.strip_prefix("--bench=")).map(str::to_owned);
        Some(Self { name: format!("{number}-{began}"), benches: after.chain(joined).collect() })
    }

    fn rows(&self) -> PathBuf {
        reports().join(format!("{}.rows", self.name))
    }

    fn runs_last(&self, bench: &str) -> bool {
        let runs = |name: &str| self.benches.is_empty() || self.benches.iter().any(|given| given == name);
        let mut running = BENCHES.iter().filter(|(name, is_built)| *is_built && runs(name));
        running.next_back().is_none_or(|(last, _)| *last == bench)
    }
}

/// Removes the rows of runs before this one.
fn forget_other_runs() {
    for entry in std::fs::read_dir(reports()).expect("the directory is there").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "rows") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Prints the table, and writes it as JSON.
fn show(rows: &[Row]) {
    let machine = Machine::this();
    let path = reports().join("rows.json");
    let text = table(rows, &machine, is_quick());
    let judged = |row| {
        let row: &Row = row;
        Judged { row, share: row.share(), met: row.met(), is_close_to_floor: row.is_close_to_floor() }
    };
    let document = Document { is_quick: is_quick(), machine, rows: rows.iter().map(judged).collect() };
    let json = serde_json::to_string_pretty(&document).expect("the table is JSON");
    std::fs::write(&path, json).expect("the build's directory is writable");
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{text}\n(also in {})", path.display()).expect("somebody reads");
}

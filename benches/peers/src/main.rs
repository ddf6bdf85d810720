//! ledgerline beside its peers: the same work, on the same disk, in the same run, each made to sync before it acknowledges.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml                # all of it, in under 10 minutes
//! LEDGERLINE_BENCH=quick cargo run --release --manifest-path …                # in a minute: only to see that it runs
//! cargo run --release --manifest-path … -- commit-16 reopen                   # these rows anew, the others as they were
//! ```
//!
//! It prints a table and leaves it beside the build, as `peers.md` (what the README quotes) and `peers.json` (with every round).
//! Each figure is taken by a process of its own ([`child`]), so that a peer that crashes or hangs costs its own cell; rounds go over
//! all peers in turn, and the median stands. Whether a peer synced is counted, not believed: before the rounds the same work is done
//! once under `strace` ([`trace`]). beanstalkd and Redis take part where they are installed.
//!
//! Stores live beside the build too, because a file system in memory would sync nothing. The crate is outside the project's build:
//! its dependencies are its own.
#![expect(clippy::disallowed_methods, reason = "a bench reads clocks and writes files")]

mod cell;
mod child;
mod load;
mod machine;
mod peer;
mod row;
mod server;
mod table;
mod trace;

use std::env;
use std::process::ExitCode;

use cell::{Bench, Pace};
use row::Row;
use table::Table;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some((first, rest)) = arguments.split_first()
        && first == child::FLAG
    {
        child::run(rest);
        return ExitCode::SUCCESS;
    }
    match rows(&arguments) {
        Ok(rows) => run(&rows),
        Err(unknown) => {
            let names: Vec<String> = Row::all().iter().map(Row::name).collect();
            eprintln!("there is no row {unknown:?}; there are {}", names.join(", "));
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// The rows of these names, or whose names begin so up to a dash; all if none is named.
fn rows(names: &[String]) -> Result<Vec<Row>, &String> {
    let is_meant = |row: &Row, name: &String| row.name() == *name || row.name().starts_with(&format!("{name}-"));
    if let Some(unknown) = names.iter().find(|name| !Row::all().iter().any(|row| is_meant(row, name))) {
        return Err(unknown);
    }
    let all = Row::all().into_iter();
    Ok(all.filter(|row| names.is_empty() || names.iter().any(|name| is_meant(row, name))).collect())
}

fn run(rows: &[Row]) {
    let bench = Bench::new(Pace::from_env());
    let mut table = Table::load(bench.results(), bench.pace());
    for row in rows {
        eprintln!("{}", row.title());
        table.put(*row, bench.row(*row));
        // After each row, so that a run that is broken off has not been for nothing.
        table.save(bench.results());
    }
    println!("{}", table.markdown());
    println!("{}", bench.results().with_extension("md").display());
}

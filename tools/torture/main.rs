//! `ledgerline-torture`: beats on the log for as long as it is told to, and says what broke.
//!
//! ```text
//! arguments  what is asked for: how long, which kinds, from which seed
//! campaign   the kinds one after the other, each with its share of the time
//! kinds      the table of what there is; each entry's work stands in a file of its own
//! trial      what a kind is given: a seed, a bound, and where to report
//! progress   what is told meanwhile
//! report     the file that is left
//! ```
//!
//! A kind is one way of breaking promises. It invents cases from its seed, counts them, and reports each that shows a broken promise, with
//! a command that repeats that case alone. Exit 0: nothing broke; 1: something did; 2: it could not run.

#![expect(clippy::disallowed_methods, reason = "it measures time, and leaves files for whoever looks into what broke")]

mod arguments;
mod campaign;
mod cores;
mod dice;
mod disk;
mod hostile;
mod judge;
mod kill;
mod kinds;
mod leaving;
mod life;
mod machine;
mod power;
mod process;
mod progress;
mod report;
mod requests;
mod rot;
mod scratch;
mod script;
mod service;
mod soak;
mod syscalls;
mod trace;
mod trial;
mod witness;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use arguments::Arguments;

/// Counts what each thread allocates: foreign bytes never make the store ask for more than they are worth (R14).
#[global_allocator]
static MEMORY: alloc_tracker::Allocator<std::alloc::System> = alloc_tracker::Allocator::system();

fn main() -> ExitCode {
    if let Some(lived) = life::asked() {
        return lived;
    }
    let arguments = Arguments::parse();
    if arguments.list {
        return said(kinds::list());
    }
    leaving::prepare();
    let ran = campaign::run(&arguments);
    leaving::clean_up();
    match ran {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            drop(writeln!(io::stderr(), "ledgerline-torture: {error}"));
            ExitCode::from(2)
        }
    }
}

fn said(text: String) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

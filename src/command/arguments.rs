//! The verbs, and how a run of the command begins and ends.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use rustix::process::Signal;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::trouble::Trouble;
use super::{
    backup, cancel, compact, emit, health, import, list, pause, pauses, process, replay, resume, salvage, send, serve,
    show, stats, status, verify,
};

/// Keeps events durably, runs them, retries them and shows what became of them.
#[derive(Parser)]
#[command(name = "ledgerline", version, max_term_width = 120, after_help = ENDS)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

const ENDS: &str = "Exit codes: 0 done; 1 health, verify, salvage or backup found that not all is well; 2 trouble, told on stderr (with \
    --json as {error, message}: the kind of the error, such as not_found or locked, or null).";

/// The exit code of everything that could not be done.
pub(super) const TROUBLE: u8 = 2;

#[derive(Subcommand)]
enum Verb {
    Serve(serve::Serve),
    Send(send::Send),
    Emit(emit::Emit),
    Import(import::Import),
    List(list::List),
    Show(show::Show),
    Stats(stats::Stats),
    Health(health::Health),
    Replay(replay::Replay),
    Cancel(cancel::Cancel),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Pauses(pauses::Pauses),
    Process(process::Process),
    Compact(compact::Compact),
    Verify(verify::Verify),
    Salvage(salvage::Salvage),
    Backup(backup::Backup),
    Status(status::Status),
}

/// Does what the process's arguments say.
pub(crate) fn run() -> ExitCode {
    ledgerline::service::use_all_descriptors();
    outlive_file_limits();
    let matches = Arguments::command().try_get_matches();
    let json = matches.as_ref().map_or_else(|_| std::env::args_os().any(|argument| argument == "--json"), wants_json);
    let done = match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments.verb.run(),
        Err(error) if is_help(&error) => return tell_help(&error),
        Err(error) => Err(Trouble::of_arguments(&error)),
    };
    done.unwrap_or_else(|trouble| {
        trouble.tell(json);
        ExitCode::from(TROUBLE)
    })
}

/// Where files may not grow beyond a limit (`ulimit -f`), a write that would pass it is to fail, not to end the process without a word. A
/// signal that was listened to once ends no process any more.
fn outlive_file_limits() {
    if let Ok(runtime) = Builder::new_current_thread().enable_io().build() {
        let _entered = runtime.enter();
        let _ = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
    }
}

/// Whether the answer is to be JSON, for a verb that can answer so.
fn wants_json(matches: &ArgMatches) -> bool {
    let verb = matches.subcommand().map(|(_, verb)| verb);
    verb.and_then(|verb| verb.try_get_one("json").ok().flatten()).copied().unwrap_or(false)
}

/// `--help` and `--version` are answers and go to stdout; the help that is shown for want of a verb goes to stderr.
fn is_help(error: &clap::Error) -> bool {
    !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

fn tell_help(error: &clap::Error) -> ExitCode {
    let told = error.print().is_ok() && !error.use_stderr();
    if told { ExitCode::SUCCESS } else { ExitCode::from(TROUBLE) }
}

impl Verb {
    fn run(self) -> Result<ExitCode, Trouble> {
        match self {
            Self::Serve(verb) => verb.run(),
            Self::Send(verb) => verb.run(),
            Self::Emit(verb) => verb.run(),
            Self::Import(verb) => verb.run(),
            Self::List(verb) => verb.run(),
            Self::Show(verb) => verb.run(),
            Self::Stats(verb) => verb.run(),
            Self::Health(verb) => verb.run(),
            Self::Replay(verb) => verb.run(),
            Self::Cancel(verb) => verb.run(),
            Self::Pause(verb) => verb.run(),
            Self::Resume(verb) => verb.run(),
            Self::Pauses(verb) => verb.run(),
            Self::Process(verb) => verb.run(),
            Self::Compact(verb) => verb.run(),
            Self::Verify(verb) => verb.run(),
            Self::Salvage(verb) => verb.run(),
            Self::Backup(verb) => verb.run(),
            Self::Status(verb) => verb.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}

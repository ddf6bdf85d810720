//! What is asked for on the command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Parser};

/// The result of a campaign.
pub(crate) const RESULT: &str = "RELIABILITY.json";
/// How long a campaign takes at most.
const CAMPAIGN: Duration = Duration::from_hours(3);
/// How long the short form takes at most.
const SHORT: Duration = Duration::from_mins(6);
/// How long it goes on where nothing else is said.
const USUAL: Duration = Duration::from_mins(1);

/// Beats on ledgerline's log and its programs in every way it knows, and counts the promises that broke.
///
/// Each kind invents cases from a seed, for its share of the time: crashes of simulated stores at every call, bytes that rot, random
/// lives beside an oracle, and more; --list names them all. One line per kind tells how far it is. A case that broke a promise leaves
/// a folder in torture-violations/, with what it takes to see it again and the command that repeats it.
///
/// Exit status: 0 nothing broke, 1 something did or a kind did less than it was to, 2 it could not run.
#[derive(Debug, Parser)]
#[command(name = "ledgerline-torture", version)]
#[command(group(ArgGroup::new("extent").args(["seconds", "campaign", "short", "case"])))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Arguments {
    /// Go on for this long in all; the kinds share it by their weights. 60, if nothing else is said.
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u64>,
    /// Draw everything from this seed. Otherwise from one that is invented, and printed.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Only this kind; may be given more than once.
    #[arg(long, value_name = "KIND")]
    pub(crate) only: Vec<String>,
    /// Only this case of the one kind that --only names, as a violation says. No result file is left.
    #[arg(long, value_name = "N", requires = "seed", requires = "only")]
    pub(crate) case: Option<u64>,
    /// Run what is due before a release: every kind to its full count, for three hours at most.
    #[arg(long)]
    pub(crate) campaign: bool,
    /// Run what every change has to pass: about a hundredth of a campaign, for six minutes at most.
    #[arg(long)]
    pub(crate) short: bool,
    /// A kind that is skipped, because this machine lacks what it needs, is a failure.
    #[arg(long)]
    pub(crate) require_all: bool,
    /// Where the result is left: when a kind ends, its entry replaces the one that is there. A campaign leaves it in RELIABILITY.json,
    /// if nothing else is said; others leave none.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Name the kinds, and end.
    #[arg(long)]
    pub(crate) list: bool,
}

/// How far a run goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// For how long, all kinds together.
    pub(crate) time: Duration,
    /// By how much its full count is divided for each kind; none: as many cases as fit into its time.
    pub(crate) part: Option<u64>,
}

impl Arguments {
    /// Where the result is left, if it is.
    pub(crate) fn result(&self) -> Option<&Path> {
        // A case that is only repeated is no result, and may not take the place of one.
        if self.case.is_some() {
            return None;
        }
        self.out.as_deref().or_else(|| self.campaign.then_some(Path::new(RESULT)))
    }

    /// Where what is found is kept: beside the result.
    pub(crate) fn violations(&self) -> PathBuf {
        self.out.as_deref().unwrap_or(Path::new(RESULT)).with_file_name("torture-violations")
    }

    pub(crate) fn extent(&self) -> Extent {
        match self.seconds {
            _ if self.campaign => Extent { time: CAMPAIGN, part: Some(1) },
            _ if self.short => Extent { time: SHORT, part: Some(100) },
            // One case is done whatever it takes.
            _ if self.case.is_some() => Extent { time: CAMPAIGN, part: None },
            Some(seconds) => Extent { time: Duration::from_secs(seconds), part: None },
            None => Extent { time: USUAL, part: None },
        }
    }
}

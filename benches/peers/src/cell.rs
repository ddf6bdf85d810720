//! One cell of the table: its rounds, each taken by a child, and their median.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::child::{self, Work};
use crate::load::Measured;
use crate::machine;
use crate::peer::{PEERS, Peer};
use crate::row::Row;
use crate::trace::{self, Syncs};

/// The longest that a child may take.
const CHILD_TIME_MAX: Duration = Duration::from_secs(45);
/// Operations under a trace, of each of those who are at once: enough for a rate, few enough not to take long.
const TRACED_ROUNDS: u64 = 16;
/// The fewest of all together.
const TRACED_OPERATIONS_MIN: u64 = 512;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// Operations per second, of each round.
    pub(crate) rounds: Vec<f64>,
    /// None if they were not counted.
    pub(crate) syncs: Option<Syncs>,
    /// Why there is no figure.
    pub(crate) failure: Option<String>,
}

impl Cell {
    /// The median of the rounds.
    pub(crate) fn figure(&self) -> Option<f64> {
        let mut rounds = self.rounds.clone();
        rounds.sort_by(f64::total_cmp);
        rounds.get(rounds.len() / 2).copied().filter(|_| self.failure.is_none())
    }
}

/// A row, as one run has measured it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// Microseconds that a sync of one small write took before each round.
    pub(crate) sync_micros: Vec<u64>,
    /// By peer.
    pub(crate) cells: BTreeMap<String, Cell>,
}

/// How much is done for a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pace {
    /// Enough to be quoted.
    Full,
    /// Enough to see that it runs.
    Quick,
}

impl Pace {
    pub(crate) fn from_env() -> Self {
        let is_quick = env::var_os("LEDGERLINE_BENCH").is_some_and(|value| value == "quick");
        if is_quick { Self::Quick } else { Self::Full }
    }

    fn rounds(self) -> usize {
        match self {
            Self::Full => 3,
            Self::Quick => 1,
        }
    }

    fn work(self) -> Work {
        let millis = Duration::from_millis;
        match self {
            Self::Full => Work { warm: millis(200), time: millis(900), operations: u64::MAX, backlog: 200_000 },
            Self::Quick => Work { warm: millis(20), time: millis(150), operations: u64::MAX, backlog: 10_000 },
        }
    }

    fn traced(row: Row) -> Work {
        let at_once = row.operations_per_sync_max().unwrap_or(1) as u64;
        let operations = TRACED_OPERATIONS_MIN.max(TRACED_ROUNDS * at_once);
        Work { warm: Duration::ZERO, time: Duration::from_secs(5), operations, backlog: 2_000 }
    }
}

/// Where it is measured, and whom.
pub(crate) struct Bench {
    pace: Pace,
    program: PathBuf,
    /// Holds the stores: beside the build, and so on a disk.
    room: PathBuf,
    results: PathBuf,
    traces: bool,
    peers: Vec<&'static Peer>,
}

impl Bench {
    pub(crate) fn new(pace: Pace) -> Self {
        let program = env::current_exe().expect("the program knows its path");
        let build = program.parent().and_then(Path::parent).expect("it lies in a build").to_owned();
        let (room, results) = (build.join("tmp"), build.join("peers.json"));
        fs::create_dir_all(&room).expect("the build's directory is writable");
        let peers = PEERS.iter().filter(|peer| peer.version().is_some()).collect();
        Self { pace, program, room, results, traces: trace::is_possible(), peers }
    }

    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// The file of the results; the table is beside it.
    pub(crate) fn results(&self) -> &Path {
        &self.results
    }

    /// The cells of a row, by peer, and how quick the disk was before each round.
    pub(crate) fn row(&self, row: Row) -> Measurement {
        let peers: Vec<&Peer> = self.peers.iter().copied().filter(|peer| peer.does(row)).collect();
        let mut cells: Vec<Cell> = peers.iter().map(|peer| self.traced(peer, row)).collect();
        let mut sync_micros = Vec::new();
        for _ in 0..self.pace.rounds() {
            sync_micros.push(machine::sync_micros(&self.room));
            for (peer, cell) in peers.iter().zip(&mut cells) {
                if cell.failure.is_some() {
                    continue;
                }
                match self.child(peer, row, self.pace.work(), false) {
                    Ok((measured, _)) => {
                        eprintln!("  {}: {:.0}/s", peer.name, measured.per_second());
                        cell.rounds.push(measured.per_second());
                    }
                    Err(failure) => {
                        eprintln!("  {}: {failure}", peer.name);
                        cell.failure = Some(failure);
                    }
                }
            }
        }
        let cells = peers.iter().map(|peer| peer.name.to_owned()).zip(cells).collect();
        Measurement { sync_micros, cells }
    }

    fn traced(&self, peer: &Peer, row: Row) -> Cell {
        // Opening acknowledges nothing.
        if !self.traces || row == Row::Reopen {
            return Cell::default();
        }
        match self.child(peer, row, Pace::traced(row), true) {
            Ok((_, syncs)) => Cell { syncs, ..Cell::default() },
            Err(failure) => Cell { failure: Some(failure), ..Cell::default() },
        }
    }

    /// Has a child do the work, in a directory of its own that is removed afterwards.
    fn child(&self, peer: &Peer, row: Row, work: Work, is_traced: bool) -> Result<(Measured, Option<Syncs>), String> {
        let at = tempfile::tempdir_in(&self.room).expect("the build's directory is writable");
        let [store, result, errors, trace] = ["store", "result", "errors", "trace"].map(|name| at.path().join(name));
        fs::create_dir(&store).expect("the build's directory is writable");
        let mut command =
            if is_traced { trace::command(self.program.as_os_str(), &trace) } else { Command::new(&self.program) };
        command.arg(child::FLAG).args(child::arguments(peer, row, work, &store, &result)).current_dir(at.path());
        let said = File::create(&errors).expect("the build's directory is writable");
        // In a group of its own, so that a server ends with it.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(said).process_group(0);
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let ended = wait(&mut child);
        let measured = fs::read_to_string(&result).ok().and_then(|text| serde_json::from_str::<Measured>(&text).ok());
        match measured {
            Some(measured) if ended => Ok((measured, trace::count(&trace, measured.operations))),
            _ if !ended => Err(format!("it took more than {} s", CHILD_TIME_MAX.as_secs())),
            _ => Err(complaint(&fs::read_to_string(&errors).unwrap_or_default())),
        }
    }
}

/// Whether the child ended by itself; otherwise it is ended, with all that it has started.
///
/// Its standard input stays open until then, because it ends itself with that.
fn wait(child: &mut Child) -> bool {
    let began = Instant::now();
    while began.elapsed() < CHILD_TIME_MAX {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    // What cannot be ended has ended.
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status();
    let _ = child.wait();
    false
}

/// What a child that failed has said: the message of its first panic, else its last line.
fn complaint(errors: &str) -> String {
    let panicked = errors.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
    panicked.or(errors.lines().last()).unwrap_or("it ended without a word").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_and_a_failure_has_none() {
        let cell = Cell { rounds: vec![3.0, 1.0, 2.0], ..Cell::default() };
        assert_eq!(cell.figure(), Some(2.0));
        assert_eq!(Cell { failure: Some("it hung".to_owned()), ..cell }.figure(), None);
        assert_eq!(Cell::default().figure(), None);
    }

    #[test]
    fn a_panic_is_told_by_its_message() {
        let errors = "thread 'main' panicked at src/child.rs:1:1:\n7 records are gone\nnote: run with …\n";
        assert_eq!(complaint(errors), "7 records are gone");
        assert_eq!(complaint("strace: no"), "strace: no");
        assert_eq!(complaint(""), "it ended without a word");
    }
}

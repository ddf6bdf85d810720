//! Crashes of stores on a simulated disk.

use ledgerline::torture;

use super::cores::{Piece, note, on_all_cores};
use super::progress;
use super::trial::{Skipped, Trial};

/// Each piece is one life, and the number of a life is what a violation is repeated by; what is counted is states of the disk.
pub(crate) fn run(trial: &mut Trial) -> Result<(), Skipped> {
    let seed = trial.seed();
    if let Some(case) = trial.only_case() {
        return note(trial, life(case, seed));
    }
    on_all_cores(trial, |number| {
        if number == torture::DISK_EXHAUSTED_AT {
            progress::say("disk: every short sequence of operations was lived; what follows is drawn by seed");
        }
        Some(life(number, seed))
    })
}

fn life(number: u64, seed: u64) -> Piece {
    let torture::Sum { cases, violations, told } = torture::disk(number, seed);
    let found = (violations > 0).then(|| {
        let all = format!("{violations} of {cases} states of life {number}, the first of them:\n");
        (number, format!("{}\n{all}{}", told.first().map_or("", String::as_str), told.join("\n")))
    });
    Piece { cases, violations: found.into_iter().collect() }
}

//! Random lives of stores beside an oracle.

use ledgerline::torture;

use super::cores::{Piece, note, on_all_cores};
use super::dice::Dice;
use super::trial::{Skipped, Trial};

/// Each case is one life.
pub(crate) fn run(trial: &mut Trial) -> Result<(), Skipped> {
    let seed = trial.seed();
    if let Some(case) = trial.only_case() {
        return note(trial, life(seed, case));
    }
    on_all_cores(trial, |number| Some(life(seed, number)))
}

fn life(seed: u64, case: u64) -> Piece {
    let lived = torture::soak(Dice::of(seed, case).roll());
    Piece { cases: 1, violations: lived.err().map(|found| (case, found)).into_iter().collect() }
}

//! Bytes that rot.

use ledgerline::torture;
use tikv_jemalloc_ctl::thread;

use super::cores::{Piece, note, on_all_cores};
use super::trial::{Skipped, Trial};

/// Each case is one mutation of one file of one store.
pub(crate) fn run(trial: &mut Trial) -> Result<(), Skipped> {
    let seed = trial.seed();
    let allocated = || thread::allocatedp::read().expect("the allocator counts").get();
    if let Some(case) = trial.only_case() {
        return note(trial, piece(torture::rot_again(case, seed, &allocated)));
    }
    on_all_cores(trial, |number| Some(piece(torture::rot(number, seed, &allocated))))
}

fn piece(rot: torture::Rot) -> Piece {
    Piece { cases: rot.cases, violations: rot.violations }
}

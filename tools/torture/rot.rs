//! Bytes that rot.

use std::sync::atomic::{AtomicU64, Ordering};

use ledgerline::torture;
use tikv_jemalloc_ctl::thread;

use super::cores::{Piece, note, on_all_cores};
use super::trial::{Skipped, Trial, unkept};

/// Of so many cases some must have been refused, or nobody looks at the bytes.
const JUDGED_FROM: u64 = 1_000;
/// At least one in so many is.
const REFUSED_ONE_IN: u64 = 4;

/// Each case is one mutation of one file of one store.
pub(crate) fn run(trial: &mut Trial) -> Result<(), Skipped> {
    let seed = trial.seed();
    let allocated = || thread::allocatedp::read().expect("the allocator counts").get();
    if let Some(case) = trial.only_case() {
        return note(trial, piece(torture::rot_again(case, seed, &allocated)));
    }
    let (cases, refused, torn) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    on_all_cores(trial, |number| {
        let rot = torture::rot(number, seed, &allocated);
        for (sum, more) in [(&cases, rot.cases), (&refused, rot.refused), (&torn, rot.torn)] {
            sum.fetch_add(more, Ordering::Relaxed);
        }
        Some(piece(rot))
    })?;
    let (cases, refused, torn) = (cases.into_inner(), refused.into_inner(), torn.into_inner());
    let told = format!("{refused} were refused, {torn} ended the log where that is legal, the others did no harm");
    trial.remark(&*told);
    if cases >= JUDGED_FROM && refused < cases / REFUSED_ONE_IN {
        trial.violated_as_a_whole(&format!("too few were noticed: of {cases}, {told}")).map_err(unkept)?;
    }
    Ok(())
}

fn piece(rot: torture::Rot) -> Piece {
    Piece { cases: rot.cases, violations: rot.violations }
}

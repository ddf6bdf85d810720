//! Bytes that rot.

use std::sync::atomic::{AtomicU64, Ordering};

use alloc_tracker::Session;
use ledgerline::torture;

use super::cores::{Piece, note, on_all_cores};
use super::trial::{Skipped, Trial, unkept};

/// From this many cases on, too few refusals are a fault: nobody would be looking at the bytes.
const JUDGED_FROM: u64 = 1_000;
/// At least one store in this many refuses to open.
const REFUSED_ONE_IN: u64 = 4;

/// Each case is one mutation of one file of one store.
pub(crate) fn run(trial: &mut Trial) -> Result<(), Skipped> {
    let seed = trial.seed();
    if let Some(case) = trial.only_case() {
        return note(trial, piece(torture::rot_again(case, seed, allocated_by)));
    }
    let (cases, refused, torn) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    on_all_cores(trial, |number| {
        let rot = torture::rot(number, seed, allocated_by);
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

/// How many bytes this thread allocates for some work.
fn allocated_by(work: &mut dyn FnMut()) -> u64 {
    let session = Session::new().no_stdout().no_file();
    {
        let opening = session.operation("opening");
        let _span = opening.measure_thread().iterations(1).no_peak();
        work();
    }
    session.to_report().operations().map(|(_, opening)| opening.total_bytes_allocated()).sum()
}

fn piece(rot: torture::Rot) -> Piece {
    Piece { cases: rot.cases, violations: rot.violations }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_allocates_is_counted_though_it_was_given_back() {
        let bytes = allocated_by(&mut || (0..3).for_each(|_| drop(std::hint::black_box(vec![0_u8; 1_000_000]))));
        assert!((3_000_000..3_001_000).contains(&bytes), "{bytes}");
        assert!(allocated_by(&mut || {}) < 1_000);
    }
}

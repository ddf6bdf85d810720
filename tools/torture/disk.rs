//! Crashes of stores on a simulated disk.

use std::sync::atomic::{AtomicU64, Ordering};

use ledgerline::torture;

use super::cores::{Piece, note, on_all_cores};
use super::trial::{Skipped, Trial};

/// Each piece is one life, and the number of a life is what a violation is repeated by; what is counted is states of the disk.
pub(crate) fn run(trial: &mut Trial) -> Result<(), Skipped> {
    let seed = trial.seed();
    if let Some(case) = trial.only_case() {
        return note(trial, life(case, seed));
    }
    let short = AtomicU64::new(0);
    on_all_cores(trial, |number| {
        let lived = life(number, seed);
        short.fetch_add(u64::from(number < torture::DISK_EXHAUSTED_AT), Ordering::Relaxed);
        Some(lived)
    })?;
    let short = short.into_inner();
    trial.remark(if short == torture::DISK_EXHAUSTED_AT {
        "every sequence of up to five operations was lived".to_owned()
    } else {
        let part = short * 100 / torture::DISK_EXHAUSTED_AT;
        format!("{part} % of the sequences of up to five operations were lived, the shortest first")
    });
    Ok(())
}

fn life(number: u64, seed: u64) -> Piece {
    let torture::Sum { cases, violations, told } = torture::disk(number, seed);
    let found = (violations > 0).then(|| {
        let all = format!("{violations} of {cases} states of life {number}, the first of them:\n");
        (number, format!("{}\n{all}{}", told.first().map_or("", String::as_str), told.join("\n")))
    });
    Piece { cases, violations: found.into_iter().collect() }
}

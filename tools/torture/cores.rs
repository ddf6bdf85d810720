//! Work that is cut into numbered pieces, on all cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::trial::{Skipped, Trial};

/// What a piece of work came to.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) cases: u64,
    /// Case and what was found.
    pub(crate) violations: Vec<(u64, String)>,
}

/// Does one piece after the other, numbered from 0 on, for as long as the trial goes on; or until there are no more.
pub(crate) fn on_all_cores(trial: &mut Trial, piece: impl Fn(u64) -> Option<Piece> + Sync) -> Result<(), Skipped> {
    let next = AtomicU64::new(0);
    let trial = Mutex::new((trial, Ok(())));
    let work = || {
        while trial.lock().unwrap_or_else(PoisonError::into_inner).0.goes_on() {
            let Some(done) = piece(next.fetch_add(1, Ordering::Relaxed)) else { return };
            let mut trial = trial.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = note(trial.0, done) {
                trial.1 = Err(error);
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    trial.into_inner().unwrap_or_else(PoisonError::into_inner).1
}

/// Counts a piece and reports what it found.
pub(crate) fn note(trial: &mut Trial, piece: Piece) -> Result<(), Skipped> {
    trial.counted(piece.cases);
    for (case, found) in piece.violations {
        trial.violated(case, &found).map_err(|error| Skipped(format!("what it found could not be kept: {error}")))?;
    }
    Ok(())
}

//! Work that is cut into numbered pieces, on all cores.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::trial::{Skipped, Trial, unkept};

/// What a piece of work came to.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) cases: u64,
    /// Case and what was found.
    pub(crate) violations: Vec<(u64, String)>,
}

impl Piece {
    fn panicked(number: u64, cause: &(dyn Any + Send)) -> Self {
        Self { cases: 1, violations: vec![(number, format!("it panicked: {}", said(cause)))] }
    }
}

/// Does one piece after the other, numbered from 0 on, for as long as the trial goes on; or until there are no more. One that panics
/// has broken a promise, under its number.
pub(crate) fn on_all_cores(trial: &mut Trial, piece: impl Fn(u64) -> Option<Piece> + Sync) -> Result<(), Skipped> {
    let next = AtomicU64::new(0);
    let progress = trial.progress();
    let trial = Mutex::new((trial, Ok(())));
    let work = || {
        while trial.lock().unwrap_or_else(PoisonError::into_inner).0.goes_on() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            progress.begins(number);
            let done = catch_unwind(AssertUnwindSafe(|| piece(number)));
            progress.ends(number);
            let Some(done) = done.unwrap_or_else(|cause| Some(Piece::panicked(number, &*cause))) else { return };
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
        trial.violated(case, &found).map_err(unkept)?;
    }
    Ok(())
}

/// What a panic said.
pub(crate) fn said(cause: &(dyn Any + Send)) -> &str {
    let text = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
    text.unwrap_or("it said nothing")
}

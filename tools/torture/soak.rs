//! Random lives of stores beside an oracle; and how long a compaction keeps callers waiting.

use std::time::{Duration, Instant};

use ledgerline::torture;

use super::cores::{Piece, note, on_all_cores};
use super::dice::Dice;
use super::scratch::Scratch;
use super::trial::{Skipped, Trial, unkept};

/// Serving goes on beside a compaction, because no step of it holds the lock for longer.
const HOLD_MAX: Duration = Duration::from_millis(1);
/// Compactions that are measured before it is not the machine's fault. The processor's time is not all our own where a machine is shared,
/// for seconds on end: what takes too long by itself takes too long each time.
const ATTEMPTS: usize = 20;
/// After this no further one begins: what does not end is taken for hanging.
const PATIENCE: Duration = Duration::from_secs(80);
/// A compaction that writes no more segments anew than that says nothing.
const REWRITTEN_MIN: u64 = 20;

/// Each case is one life.
pub(crate) fn run(trial: &mut Trial) -> Result<(), Skipped> {
    let seed = trial.seed();
    if let Some(case) = trial.only_case() {
        return note(trial, life(seed, case));
    }
    on_all_cores(trial, |number| Some(life(seed, number)))?;
    hold(trial)
}

/// Measures how long compactions hold the lock, until one does as it should.
fn hold(trial: &mut Trial) -> Result<(), Skipped> {
    let (mut shortest, mut attempts, began) = (Duration::MAX, 0, Instant::now());
    while attempts < ATTEMPTS && (attempts == 0 || began.elapsed() < PATIENCE) {
        attempts += 1;
        let scratch = Scratch::in_memory().map_err(|error| Skipped(format!("nothing can be measured: {error}")))?;
        let longest = match torture::longest_hold(&scratch.path().join("store")) {
            Ok((longest, rewritten)) if rewritten > REWRITTEN_MIN && !longest.is_zero() => longest,
            strange => {
                let found = format!("a compaction that was to be measured came to {strange:?}");
                return trial.violated_as_a_whole(&found).map(drop).map_err(unkept);
            }
        };
        shortest = shortest.min(longest);
        if shortest < HOLD_MAX {
            trial.remark(format!("no step of a compaction held the lock for over {longest:?} of the processor's time"));
            return Ok(());
        }
    }
    let found =
        format!("each of {attempts} compactions held the lock for {shortest:?} or more of the processor's time");
    trial.violated_as_a_whole(&found).map(drop).map_err(unkept)
}

fn life(seed: u64, case: u64) -> Piece {
    let lived = torture::soak(Dice::of(seed, case).roll());
    Piece { cases: 1, violations: lived.err().map(|found| (case, found)).into_iter().collect() }
}

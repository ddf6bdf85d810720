//! What the tool `ledgerline-torture` calls: one case, or one piece of many, of each kind that needs no process but its own.
//!
//! Each is a pure function of its numbers, but for the last, which measures. What comes back is a count, and every violation in words;
//! the tool decides how long it goes on and where it says so. Only compiled with the feature `torture`, and no part of what the crate
//! promises.

use std::path::Path;
use std::time::Duration;

use crate::error::Error;
use crate::store::{self, EXHAUSTED_AT, Life, Rotted, crash_life, rot_case, rot_piece};

/// Operations of a random life.
const STEPS: usize = 80;
/// One life in this many is a long one.
const LONG_EVERY: u64 = 16;
/// Operations of those: enough for ids that come back after they were forgotten, and for a log of many generations.
const STEPS_LONG: usize = 600;

/// What some cases came to.
#[derive(Debug)]
pub struct Sum {
    /// How many were judged.
    pub cases: u64,
    /// How many of them broke a promise.
    pub violations: u64,
    /// The first few of those, in words.
    pub told: Vec<String>,
}

/// Once all lives below this number were lived by [`disk`], every sequence of up to five operations was.
pub const DISK_EXHAUSTED_AT: u64 = EXHAUSTED_AT;

/// One life of a store on a simulated disk, by number: the power fails at every call of it, or at some, and all that may be left is
/// recovered from, and again where the power fails during that. Each state of the disk that was judged is a case.
pub fn disk(life: u64, seed: u64) -> Sum {
    let tally = crash_life(life, seed);
    Sum { cases: tally.states + tally.states_again, violations: tally.violations, told: tally.told }
}

/// What a number of mutations came to.
#[derive(Debug)]
pub struct Rot {
    /// How many mutations happened, each to a store of its own.
    pub cases: u64,
    /// How many of these stores refused to open.
    pub refused: u64,
    /// How many ended the log before what was broken, where that is legal: whoever wrote it was promised nothing.
    pub torn: u64,
    /// Each case that broke a promise, in words.
    pub violations: Vec<(u64, String)>,
}

impl From<Rotted> for Rot {
    fn from(rotted: Rotted) -> Self {
        let Rotted { cases, refused, torn, violations } = rotted;
        Self { cases, refused, torn, violations }
    }
}

/// A numbered piece of all that may happen to the bytes of stores: every bit, byte and sector of every file flipped, zeroed, swapped,
/// cut, or replaced by those of others. `allocated_by` runs what it is given, and tells how many bytes this thread has allocated
/// meanwhile, given back or not.
pub fn rot(piece: u64, seed: u64, allocated_by: fn(&mut dyn FnMut()) -> u64) -> Rot {
    rot_piece(piece, seed, allocated_by).into()
}

/// One case of [`rot`] once more.
pub fn rot_again(case: u64, seed: u64, allocated_by: fn(&mut dyn FnMut()) -> u64) -> Rot {
    rot_case(case, seed, allocated_by).into()
}

/// One random life of a store beside an oracle, from its seed: mixed load, compaction, restarts, losses of power and jumps of the
/// clock.
///
/// # Errors
/// What contradicts the oracle, and all that happened before.
pub fn soak(seed: u64) -> Result<(), String> {
    let mut life = Life::new(seed);
    life.live(if seed.is_multiple_of(LONG_EVERY) { STEPS_LONG } else { STEPS })
        .map_err(|what| format!("{what}\n{}", life.told.join("\n")))
}

/// Compacts a large store that is made for this in `dir`. Returns how much time of the processor the longest step took that held the
/// lock, and how many segments were written anew.
///
/// # Errors
/// Those of the store.
pub fn longest_hold(dir: &Path) -> Result<(Duration, u64), Error> {
    store::longest_hold(dir)
}

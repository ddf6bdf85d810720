//! Lives by number, for campaigns that go on for hours: the same number and seed live the same life.
//!
//! Every second number takes the next sequence of operations, shortest first, until all of them up to [`LENGTH_MAX`] were lived; all
//! other numbers are long lives by seed. So a campaign that is cut short has done some of both.
//!
//! | | short sequences | long lives |
//! |---|---|---|
//! | operations | every sequence of the six | 5 to 12 of all, by seed |
//! | where the power fails | at every call of the last one | at one call of every third operation |
//! | what it leaves | everything legal; past 1,024 cases, so many by seed | one case by seed |
//! | and again | at every call of the recovery, everything legal; past 16 cases, so many by seed | the same |

use super::campaign::{Reach, Tally, crash_in_the_last, long_life};
use super::world::Op;

/// All sequences of up to so many operations are lived.
const LENGTH_MAX: u32 = 5;
/// All of up to so many once more where files grow.
const LENGTH_GROWING_MAX: u32 = 4;

const REACH: Reach =
    Reach { states_max: 1_024, states_again_max: 16, again_every: 1, grows: false, lies: false, seed: 0 };

/// Sequences of up to `length` operations.
const fn count(length: u32) -> u64 {
    let (mut sum, mut of_length, mut at) = (1, 1, 0);
    while at < length {
        of_length *= Op::ALL.len() as u64;
        sum += of_length;
        at += 1;
    }
    sum
}

/// How many numbers it takes until every sequence was lived.
pub(crate) const EXHAUSTED_AT: u64 = 2 * (count(LENGTH_MAX) + count(LENGTH_GROWING_MAX));

/// Lives the life of this number, and judges all that its crashes leave.
pub(crate) fn life(number: u64, seed: u64) -> Tally {
    let (short, growing) = (count(LENGTH_MAX), count(LENGTH_GROWING_MAX));
    let turn = number / 2;
    let mixed = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let reach = Reach { seed: mixed, ..REACH };
    // The growing ones are short, and come early.
    if number.is_multiple_of(2) && turn < 2 * growing {
        let ops = sequence(turn / 2);
        return crash_in_the_last(&ops, Reach { grows: !turn.is_multiple_of(2), ..reach });
    }
    if number.is_multiple_of(2) && turn < short + growing {
        return crash_in_the_last(&sequence(turn - growing), reach);
    }
    long_life(mixed, Reach { grows: mixed.is_multiple_of(4), ..reach })
}

/// The sequence number `index`, of all the shortest first.
fn sequence(index: u64) -> Vec<Op> {
    let mut ops = Vec::new();
    // As numbers are written, but without a digit for nothing.
    let mut rest = index;
    let base = Op::ALL.len() as u64;
    while rest > 0 {
        let digit = usize::try_from((rest - 1) % base).expect("it is small");
        ops.push(Op::ALL[digit]);
        rest = (rest - 1) / base;
    }
    ops.reverse();
    ops
}

#[cfg(test)]
mod tests {
    use super::super::campaign::sequences;
    use super::*;

    #[test]
    fn every_sequence_has_a_number_and_shorter_ones_come_first() {
        let all: Vec<Vec<Op>> = (0..=3).flat_map(sequences).collect();
        let numbered: Vec<Vec<Op>> = (0..count(3)).map(sequence).collect();
        assert_eq!(numbered, all);
        assert_eq!(sequence(count(3)).len(), 4);
        let longest = usize::try_from(LENGTH_MAX).unwrap();
        assert_eq!(sequence(EXHAUSTED_AT / 2 - count(LENGTH_GROWING_MAX) - 1).len(), longest);
    }

    #[test]
    fn the_same_number_and_seed_live_the_same_life() {
        for number in [0, 1, EXHAUSTED_AT] {
            let (one, other) = (life(number, 7), life(number, 7));
            assert_eq!((one.violations, one.states > 0), (0, true), "{:?}", one.told);
            assert_eq!((one.states, one.states_again), (other.states, other.states_again));
        }
    }
}

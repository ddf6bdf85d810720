//! What a case draws, from the run's seed and its own number alone: the same case is the same again.

/// A source of numbers.
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    /// Those of one case.
    pub(crate) fn of(seed: u64, case: u64) -> Self {
        let mut dice = Self { state: seed ^ 0x6a09_e667_f3bc_c908 };
        dice.state = dice.roll() ^ case;
        dice.roll();
        dice
    }

    /// Any number (splitmix64).
    pub(crate) fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.roll().checked_rem(bound).unwrap_or(0)
    }

    /// A number from `low` to `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Whether one of so many equal chances comes true.
    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_draws_the_same_again_and_another_draws_otherwise() {
        let drawn = |seed, case| {
            let mut dice = Dice::of(seed, case);
            [dice.roll(), dice.roll(), dice.roll()]
        };
        let of_all: Vec<_> = (0..4).flat_map(|seed| (0..1_000).map(move |case| drawn(seed, case))).collect();
        let different: std::collections::BTreeSet<_> = of_all.iter().collect();
        assert_eq!(different.len(), of_all.len());
        assert_eq!(drawn(3, 999), of_all[3_999]);
    }

    #[test]
    fn what_is_drawn_keeps_to_its_bounds_and_comes_to_each() {
        let mut dice = Dice::of(1, 1);
        assert_eq!((dice.below(0), dice.below(1), dice.between(7, 7)), (0, 0, 7));
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| dice.between(2, 5)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [2, 3, 4, 5]);
        let came_true = (0..8_000).filter(|_| dice.one_in(8)).count();
        assert!((800..1_200).contains(&came_true), "{came_true} of 8,000 chances of one in eight came true");
    }
}

//! What becomes of everything that was not synced: all of it in turn, or by a seed.

/// Who decides what a loss of power, or a failed sync, leaves.
#[derive(Debug, Clone)]
pub(crate) struct Choices {
    by: By,
    /// How many ways there were at each choice so far.
    ways: Vec<usize>,
    torn: bool,
}

#[derive(Debug, Clone)]
enum By {
    Nothing,
    Everything,
    /// At each choice the way of this number; past the end the first.
    Turn(Vec<usize>),
    Seed(u64),
}

impl Choices {
    /// Nothing unsynced survived.
    pub(crate) fn nothing() -> Self {
        Self::by(By::Nothing)
    }

    /// Everything survived, as after the death of the process alone.
    pub(crate) fn everything() -> Self {
        Self::by(By::Everything)
    }

    /// As the seed has it: the same one decides the same.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::by(By::Seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    /// The first of all ways, from which [`Choices::next`] goes on.
    pub(super) fn first() -> Self {
        Self::by(By::Turn(Vec::new()))
    }

    fn by(by: By) -> Self {
        Self { by, ways: Vec::new(), torn: false }
    }

    /// One of `ways` ways: 0 is what was durable, the last what is newest.
    pub(crate) fn pick(&mut self, ways: usize) -> usize {
        if ways < 2 {
            return 0;
        }
        let place = self.ways.len();
        self.ways.push(ways);
        match &mut self.by {
            By::Nothing => 0,
            By::Everything => ways - 1,
            By::Turn(digits) => digits.get(place).copied().unwrap_or(0),
            By::Seed(state) => below(state, ways),
        }
    }

    /// Which of `count` sectors is torn, if any; one in a whole disk at most.
    pub(super) fn tear(&mut self, count: usize) -> Option<usize> {
        if count == 0 || self.torn {
            return None;
        }
        let way = match self.by {
            By::Nothing | By::Everything => {
                // It counts among the ways, although neither goes it.
                self.ways.push(1 + count);
                0
            }
            By::Turn(_) => self.pick(1 + count),
            // Most crashes tear nothing.
            By::Seed(_) => self.pick(2) * self.pick(1 + count),
        };
        self.torn = way > 0;
        way.checked_sub(1)
    }

    /// How many ways there are for all choices together, as far as they were met.
    pub(super) fn product(&self) -> usize {
        self.ways.iter().fold(1, |product: usize, ways| product.saturating_mul(*ways))
    }

    /// The turn after this one; none if it was the last.
    pub(super) fn next(self) -> Option<Self> {
        let By::Turn(mut digits) = self.by else { return None };
        digits.resize(self.ways.len(), 0);
        for place in (0..digits.len()).rev() {
            digits[place] += 1;
            if digits[place] < self.ways[place] {
                return Some(Self::by(By::Turn(digits)));
            }
            digits.pop();
        }
        None
    }
}

/// A number below `bound` (xorshift64*).
fn below(state: &mut u64, bound: usize) -> usize {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    let high = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
    usize::try_from(high).expect("31 bits") % bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_comes_once_even_where_one_choice_opens_others() {
        let mut seen = Vec::new();
        let mut turn = Some(Choices::first());
        while let Some(mut choices) = turn {
            let first = choices.pick(2);
            let second = if first == 1 { choices.pick(3) } else { 9 };
            seen.push((first, second, choices.pick(2)));
            turn = choices.next();
        }
        assert_eq!(seen, [(0, 9, 0), (0, 9, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1), (1, 2, 0), (1, 2, 1)]);
    }
}

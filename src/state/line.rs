//! What is ready of one type and priority, by rank.

use crate::state::order::Order;

/// Up to so many lie in one small allocation: there may be as many lines as types, most of them short.
const FEW_MAX: usize = 16;
/// An order that has shrunk to this is few again.
const FEW_AGAIN: usize = 4;

/// A set of (rank, slot) that is not empty for long, in that order.
#[derive(Debug)]
pub(crate) enum Line {
    Few(Vec<(u64, u32)>),
    Many(Order),
}

impl Line {
    pub(crate) fn of(rank: u64, at: u32) -> Self {
        Self::Few(vec![(rank, at)])
    }

    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(order) => order.len(),
        }
    }

    /// The least.
    pub(crate) fn first(&self) -> Option<(u64, u32)> {
        match self {
            Self::Few(few) => few.first().copied(),
            Self::Many(order) => order.first(),
        }
    }

    /// Adds a pair that is not yet there.
    pub(crate) fn insert(&mut self, rank: u64, at: u32) {
        match self {
            Self::Few(few) if few.len() < FEW_MAX => {
                let index = few.partition_point(|pair| *pair < (rank, at));
                few.insert(index, (rank, at));
            }
            Self::Few(few) => {
                let mut order = Order::new();
                few.drain(..).for_each(|(rank, at)| order.insert(rank, at));
                order.insert(rank, at);
                *self = Self::Many(order);
            }
            Self::Many(order) => order.insert(rank, at),
        }
    }

    /// Removes a pair that is there, and says whether any is left.
    pub(crate) fn remove(&mut self, rank: u64, at: u32) -> bool {
        match self {
            Self::Few(few) => {
                let index = few.binary_search(&(rank, at)).expect("only what is there is removed");
                few.remove(index);
                !few.is_empty()
            }
            Self::Many(order) => {
                order.remove(rank, at);
                if order.len() <= FEW_AGAIN {
                    *self = Self::Few(order.from(0).collect());
                }
                self.first().is_some()
            }
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = (u64, u32)> + '_> {
        match self {
            Self::Few(few) => Box::new(few.iter().copied()),
            Self::Many(order) => Box::new(order.from(0)),
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        match self {
            Self::Few(few) => assert!(!few.is_empty() && few.len() <= FEW_MAX && few.is_sorted()),
            Self::Many(order) => order.check(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::state::chance::Chance;

    #[test]
    fn it_holds_what_a_b_tree_holds_however_long_it_is() {
        let mut chance = Chance::new(1);
        let (mut line, mut set) = (Line::of(7, 1), BTreeSet::from([(7, 1)]));
        let mut longest = 0;
        for step in 0..20_000_u64 {
            let grows = step / 500 % 2 == 0;
            if chance.below(10) < if grows { 8 } else { 2 } {
                let pair = (chance.below(1_000), 1);
                if set.insert(pair) {
                    line.insert(pair.0, pair.1);
                }
            } else if set.len() > 1 {
                let pair = *set.iter().nth(usize::try_from(chance.below(set.len() as u64)).unwrap()).unwrap();
                set.remove(&pair);
                assert!(line.remove(pair.0, pair.1));
            }
            longest = longest.max(set.len());
            assert_eq!(line.first(), set.first().copied());
            line.check();
            assert!(line.iter().eq(set.iter().copied()));
        }
        assert!(longest > 100, "{longest}");
        for (rank, at) in &set {
            let is_last = set.last() == Some(&(*rank, *at));
            assert_eq!(line.remove(*rank, *at), !is_last);
        }
    }
}

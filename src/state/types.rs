//! Event types as numbers, and which of them anybody handles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most distinct types that receptions may bring. They are never forgotten while the store is open.
pub(crate) const TYPE_COUNT_MAX: usize = 65_536;

/// A slot has twenty bits for the number of a type; more come only from a log that was not written here.
const NUMBER_COUNT_MAX: usize = 1 << 20;

/// The types for which a handler is there. Events of others are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Handled {
    All,
    Only(Vec<String>),
}

impl Handled {
    fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|handled| handled == name),
        }
    }
}

/// The types seen so far.
#[derive(Debug)]
pub(crate) struct Types {
    names: Vec<(Arc<str>, bool)>,
    numbers: BTreeMap<Arc<str>, u32>,
    /// The number that was given out last.
    last: u32,
    handled: Handled,
    /// How many of a type may run at once, where that is bounded.
    limits: BTreeMap<String, u32>,
}

impl Types {
    pub(crate) const fn new() -> Self {
        Self { names: Vec::new(), numbers: BTreeMap::new(), last: 0, handled: Handled::All, limits: BTreeMap::new() }
    }

    /// Whether receptions of these types may be appended together.
    pub(crate) fn have_room<'n>(&self, names: impl Iterator<Item = &'n str>) -> bool {
        let left = TYPE_COUNT_MAX.saturating_sub(self.names.len());
        if names.size_hint().1.is_some_and(|most| most <= left) {
            return true;
        }
        names.filter(|name| !self.numbers.contains_key(*name)).collect::<BTreeSet<_>>().len() <= left
    }

    /// Whether [`Types::number`] can number it.
    pub(crate) fn is_numberable(&self, name: &str) -> bool {
        self.names.len() < NUMBER_COUNT_MAX || self.numbers.contains_key(name)
    }

    /// The number of a type, a new one if need be.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        // Types come in rows: the one before is asked first.
        if self.names.get(self.last as usize).is_some_and(|(last, _)| **last == *name) {
            return self.last;
        }
        if let Some(number) = self.numbers.get(name) {
            self.last = *number;
            return *number;
        }
        assert!(self.names.len() < NUMBER_COUNT_MAX, "room for a type is looked for first");
        let number = u32::try_from(self.names.len()).expect("the bound is below 2³²");
        let name: Arc<str> = name.into();
        self.names.push((Arc::clone(&name), self.handled.contains(&name)));
        self.numbers.insert(name, number);
        self.last = number;
        number
    }

    /// The number of a type that has one.
    pub(crate) fn get(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// All, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Arc<str>)> {
        (0..).zip(self.names.iter().map(|(name, _)| name))
    }

    /// How many have a number: the next one.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// How many of a type may run at once.
    pub(crate) fn limit(&self, name: &str) -> u32 {
        self.limits.get(name).map_or(u32::MAX, |limit| (*limit).max(1))
    }

    pub(crate) fn set_limits(&mut self, limits: BTreeMap<String, u32>) {
        self.limits = limits;
    }

    pub(crate) fn name(&self, number: u32) -> Arc<str> {
        let (name, _) = self.names.get(number as usize).expect("slots hold numbers that were given out");
        Arc::clone(name)
    }

    pub(crate) fn is_handled(&self, number: u32) -> bool {
        self.names.get(number as usize).is_some_and(|(_, handled)| *handled)
    }

    /// Sets what is handled, and returns whether that changes anything for the types seen so far.
    pub(crate) fn set_handled(&mut self, handled: Handled) -> bool {
        self.handled = handled;
        let mut changed = false;
        for (name, is_handled) in &mut self.names {
            let now = self.handled.contains(name);
            changed |= now != *is_handled;
            *is_handled = now;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_keeps_its_number_and_room_ends_at_the_stated_maximum() {
        let mut types = Types::new();
        let have_room = |types: &Types, names: &[&str]| types.have_room(names.iter().copied());
        for number in 0..TYPE_COUNT_MAX {
            assert!(have_room(&types, &[&number.to_string()]));
            if number + 1 == TYPE_COUNT_MAX {
                assert!(have_room(&types, &["7", "one more", "one more", "8"]), "only one of them is new");
                assert!(!have_room(&types, &["one more", "7", "another"]));
            }
            assert_eq!(types.number(&number.to_string()) as usize, number);
        }
        assert!(!have_room(&types, &["one more"]) && types.is_numberable("one more"));
        assert!(have_room(&types, &["7"]));
        assert_eq!((types.number("7"), &*types.name(7)), (7, "7"));
    }

    #[test]
    fn types_that_come_later_are_held_as_well() {
        let mut types = Types::new();
        let number = types.number("Issue");
        let changed = types.set_handled(Handled::Only(vec!["Issue".to_owned()]));
        assert!(!changed && types.is_handled(number));
        let other = types.number("Comment");
        assert!(!types.is_handled(other));
        assert!(types.set_handled(Handled::All) && types.is_handled(other));
    }
}

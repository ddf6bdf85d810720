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
    Only(BTreeSet<String>),
}

impl Handled {
    /// Which events of a type are held, if none was before it was handled.
    fn holding(&self, name: &str) -> Holding {
        let is_handled = match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        };
        if is_handled { Holding::None } else { Holding::All }
    }
}

/// Which events of a type are held, of those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holding {
    /// All: nobody handles it.
    All,
    /// Those that were held when somebody came who handles it, as far as they were not released since.
    Earlier,
    None,
}

/// The types seen so far.
#[derive(Debug)]
pub(crate) struct Types {
    names: Vec<(Arc<str>, Holding)>,
    numbers: BTreeMap<Arc<str>, u32>,
    /// The number that was given out last.
    last: u32,
    handled: Handled,
    /// Those of which earlier ones are held.
    releasing: BTreeSet<u32>,
    /// How many of a type may run at once, where that is bounded.
    limits: BTreeMap<String, u32>,
}

impl Types {
    pub(crate) const fn new() -> Self {
        Self {
            names: Vec::new(),
            numbers: BTreeMap::new(),
            last: 0,
            handled: Handled::All,
            releasing: BTreeSet::new(),
            limits: BTreeMap::new(),
        }
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
        let holding = self.handled.holding(&name);
        self.names.push((Arc::clone(&name), holding));
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

    /// Which of its events are held.
    pub(crate) fn holding(&self, number: u32) -> Holding {
        self.names.get(number as usize).map_or(Holding::All, |(_, holding)| *holding)
    }

    /// Sets what is handled, and returns whether that changes anything for the types seen so far.
    pub(crate) fn set_handled(&mut self, handled: Handled) -> bool {
        self.handled = handled;
        self.releasing.clear();
        let mut changed = false;
        for (name, holding) in &mut self.names {
            let now = self.handled.holding(name);
            changed |= now != *holding;
            *holding = now;
        }
        changed
    }

    /// More types are handled. Of those of which events are held, as `has_held` says, these are still to be released (see
    /// [`Types::released`]); returns whether there are such. Costs a look at each of them, and at all types if it is all.
    pub(crate) fn add_handled(&mut self, more: Handled, has_held: impl Fn(u32) -> bool) -> bool {
        let before = self.releasing.len();
        let is_new = |number: &u32| self.holding(*number) == Holding::All;
        let new: Vec<u32> = match &more {
            Handled::All => (0..).take(self.names.len()).filter(is_new).collect(),
            Handled::Only(names) => names.iter().filter_map(|name| self.get(name)).filter(is_new).collect(),
        };
        for number in new {
            let has_held = has_held(number);
            self.set_holding(number, if has_held { Holding::Earlier } else { Holding::None });
            if has_held {
                self.releasing.insert(number);
            }
        }
        match (&mut self.handled, more) {
            (Handled::Only(names), Handled::Only(more)) => names.extend(more),
            (handled, Handled::All) => *handled = Handled::All,
            (Handled::All, Handled::Only(_)) => {}
        }
        self.releasing.len() > before
    }

    /// Whether events are held of types that somebody handles.
    pub(crate) fn are_releasing(&self) -> bool {
        !self.releasing.is_empty()
    }

    /// None of its events is held any more.
    pub(crate) fn released(&mut self, number: u32) {
        if self.releasing.remove(&number) {
            self.set_holding(number, Holding::None);
        }
    }

    /// The same of all types that somebody handles.
    pub(crate) fn all_released(&mut self) {
        while let Some(number) = self.releasing.pop_first() {
            self.set_holding(number, Holding::None);
        }
    }

    fn set_holding(&mut self, number: u32, now: Holding) {
        if let Some((_, holding)) = self.names.get_mut(number as usize) {
            *holding = now;
        }
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
        let changed = types.set_handled(Handled::Only(["Issue".to_owned()].into()));
        assert!(!changed && types.holding(number) == Holding::None);
        let other = types.number("Comment");
        assert_eq!(types.holding(other), Holding::All);
        assert!(types.set_handled(Handled::All) && types.holding(other) == Holding::None);
    }

    #[test]
    fn a_type_that_is_handled_too_has_its_held_events_released_and_others_none() {
        let mut types = Types::new();
        let numbers = ["Issue", "Comment", "Cycle"].map(|name| types.number(name));
        let holdings = |types: &Types| numbers.map(|number| types.holding(number));
        types.set_handled(Handled::Only([].into()));
        let more = Handled::Only(["Issue", "Comment", "new"].map(str::to_owned).into());
        assert!(types.add_handled(more, |number| number == 0));
        assert_eq!(holdings(&types), [Holding::Earlier, Holding::None, Holding::All]);
        let new = types.number("new");
        assert!(types.holding(new) == Holding::None && types.are_releasing());
        assert!(types.add_handled(Handled::All, |number| number < 3));
        assert!(!types.add_handled(Handled::All, |_| true), "that is known");
        assert_eq!(holdings(&types), [Holding::Earlier, Holding::None, Holding::Earlier]);
        types.released(0);
        types.released(1);
        assert_eq!(holdings(&types), [Holding::None, Holding::None, Holding::Earlier]);
        types.all_released();
        assert!(!types.are_releasing() && holdings(&types) == [Holding::None; 3]);
    }

    /// In time, a look through a list for each would take a minute here.
    #[test]
    fn that_many_types_are_handled_makes_none_costly() {
        let mut types = Types::new();
        let name = |number: usize| number.to_string();
        types.set_handled(Handled::Only((0..TYPE_COUNT_MAX).map(name).collect()));
        for number in (0..TYPE_COUNT_MAX).rev() {
            let number = types.number(&name(number));
            assert_eq!(types.holding(number), Holding::None);
        }
        assert!(!types.set_handled(Handled::All));
    }
}

//! Pauses in force, and when they end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::codec::pause_bytes;
use crate::event::entry::{Paused, Scoped};
use crate::event::{Pause, Timestamp};

/// What is paused. A key is known by its hash, as everywhere in the state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Type(Arc<str>),
    Key(u64),
}

/// One pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The type or the key as text.
    name: Box<str>,
    since: i64,
    until: Option<i64>,
    reason: Box<str>,
    /// When it ends, by the steady clock.
    ends: Option<u64>,
    /// How many bytes it takes where all are said anew.
    bytes: u64,
}

impl Hold {
    /// The pause that an entry says, which ends then by the steady clock.
    pub(crate) fn new(paused: &Paused<'_>, ends: Option<u64>) -> Self {
        let (Scoped::Type(name) | Scoped::Key(name)) = paused.scope;
        Self {
            name: name.into(),
            since: paused.at,
            until: paused.until,
            reason: paused.reason.into(),
            ends,
            bytes: pause_bytes(paused),
        }
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is what the entry says.
    fn is(&self, paused: &Paused<'_>) -> bool {
        self.since == paused.at && self.until == paused.until && *self.reason == *paused.reason
    }

    fn is_in_force(&self, steady: u64) -> bool {
        self.ends.is_none_or(|ends| ends > steady)
    }

    /// Whether it ends no earlier than this, by the steady clock.
    #[cfg(feature = "manager")]
    pub(crate) fn lasts_until(&self, steady: u64) -> bool {
        self.ends.is_none_or(|ends| ends >= steady)
    }

    fn scope(&self, target: &Target) -> Scoped<'_> {
        match target {
            Target::Type(_) => Scoped::Type(&self.name),
            Target::Key(_) => Scoped::Key(&self.name),
        }
    }

    fn paused(&self, target: &Target) -> Paused<'_> {
        Paused { scope: self.scope(target), at: self.since, until: self.until, reason: &self.reason }
    }

    /// The pause as callers see it.
    pub(crate) fn shown(&self, target: &Target) -> Pause {
        Pause {
            scope: self.scope(target).into(),
            until: self.until.map(Timestamp::from_unix_micros),
            since: Timestamp::from_unix_micros(self.since),
            reason: self.reason.to_string(),
        }
    }
}

/// All pauses.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    holds: BTreeMap<Target, Hold>,
    ends: BTreeSet<(u64, Target)>,
    /// How many of them are of keys: mostly none, and then nobody need ask.
    key_count: usize,
    /// How many bytes they take together.
    bytes: u64,
}

impl Pauses {
    pub(crate) const fn new() -> Self {
        Self { holds: BTreeMap::new(), ends: BTreeSet::new(), key_count: 0, bytes: 0 }
    }

    pub(crate) fn set(&mut self, target: Target, hold: Hold) {
        self.remove(&target);
        self.key_count += usize::from(matches!(target, Target::Key(_)));
        self.ends.extend(hold.ends.map(|ends| (ends, target.clone())));
        self.bytes += hold.bytes;
        self.holds.insert(target, hold);
    }

    /// Ends a pause; false if there was none.
    pub(crate) fn remove(&mut self, target: &Target) -> bool {
        let Some(hold) = self.holds.remove(target) else { return false };
        self.bytes -= hold.bytes;
        self.key_count -= usize::from(matches!(target, Target::Key(_)));
        if let Some(ends) = hold.ends {
            self.ends.remove(&(ends, target.clone()));
        }
        true
    }

    pub(crate) fn has_key(&self, key: u64) -> bool {
        self.key_count > 0 && self.holds.contains_key(&Target::Key(key))
    }

    pub(crate) fn has_type(&self, name: &Arc<str>) -> bool {
        self.holds.contains_key(&Target::Type(Arc::clone(name)))
    }

    /// Whether the pause is there already, as the entry says it.
    pub(crate) fn has(&self, target: &Target, paused: &Paused<'_>) -> bool {
        self.holds.get(target).is_some_and(|hold| hold.is(paused))
    }

    /// Whether these are all there are, as [`Pauses::entries`] says them. Asked one after another each would have to be looked for.
    pub(crate) fn are(&self, said: &[Paused<'_>]) -> bool {
        let is_same = |((target, hold), said): ((&Target, &Hold), &Paused<'_>)| hold.paused(target) == *said;
        self.holds.len() == said.len() && self.holds.iter().zip(said).all(is_same)
    }

    /// The pause of a target, if it is in force.
    pub(crate) fn get(&self, target: &Target, steady: u64) -> Option<&Hold> {
        self.holds.get(target).filter(|hold| hold.is_in_force(steady))
    }

    /// The one that ends first, and when.
    pub(crate) fn first_end(&self) -> Option<(u64, &Target)> {
        self.ends.first().map(|(ends, target)| (*ends, target))
    }

    /// How many are in force, and how many bytes these take together.
    pub(crate) fn extent(&self, steady: u64) -> (usize, u64) {
        let over = self.ends.iter().take_while(|(ends, _)| *ends <= steady);
        let over = over.filter_map(|(_, target)| self.holds.get(target));
        over.fold((self.holds.len(), self.bytes), |(count, bytes), hold| (count - 1, bytes - hold.bytes))
    }

    /// All that are in force: types first, by name.
    pub(crate) fn in_force(&self, steady: u64) -> impl Iterator<Item = (&Target, &Hold)> {
        self.holds.iter().filter(move |(_, hold)| hold.is_in_force(steady))
    }

    /// The same as entries.
    pub(crate) fn entries(&self, steady: u64) -> impl Iterator<Item = Paused<'_>> {
        self.in_force(steady).map(|(target, hold)| hold.paused(target))
    }

    /// Everything that is known to be paused, whether it is over or not.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.holds.keys()
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        let ends = self.holds.iter().filter_map(|(target, hold)| hold.ends.map(|ends| (ends, target.clone())));
        assert_eq!(ends.collect::<BTreeSet<_>>(), self.ends, "ends are known");
        let keys = self.holds.keys().filter(|target| matches!(target, Target::Key(_))).count();
        assert_eq!(keys, self.key_count, "keys are counted");
        assert_eq!(self.holds.values().map(|hold| hold.bytes).sum::<u64>(), self.bytes, "bytes are counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_beginning_says_is_what_is_there_or_is_looked_at_one_by_one() {
        let said_of = |scope, at, reason| Paused { scope, at, until: None, reason };
        let said = [
            said_of(Scoped::Type("Comment"), 1, "a"),
            said_of(Scoped::Type("Issue"), 2, "b"),
            said_of(Scoped::Key("ENG-1"), 3, "c"),
        ];
        let targets = [Target::Type("Comment".into()), Target::Type("Issue".into()), Target::Key(7)];
        let mut pauses = Pauses::new();
        assert!(pauses.are(&[]) && !pauses.are(&said));
        for (target, said) in targets.into_iter().zip(&said) {
            pauses.set(target, Hold::new(said, None));
        }
        assert!(pauses.are(&said) && pauses.entries(0).eq(said));
        let [comment, issue, key] = said;
        for other in [
            vec![],
            vec![comment, issue],
            vec![comment, issue, key, key],
            vec![issue, comment, key],
            vec![comment, issue, issue],
            vec![comment, issue, Paused { scope: Scoped::Key("ENG-2"), ..key }],
            vec![comment, issue, Paused { scope: Scoped::Type("ENG-1"), ..key }],
            vec![comment, issue, Paused { at: 4, ..key }],
            vec![comment, issue, Paused { until: Some(9), ..key }],
            vec![comment, issue, Paused { reason: "", ..key }],
        ] {
            assert!(!pauses.are(&other), "{other:?}");
        }
    }
}

//! The mutants: which promise each breaks and how, and the tests that must find it.

use super::believed::BELIEVED;
use super::kept::KEPT;
use super::named::NAMED;

/// A bug that is built in on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mutant {
    /// A promise of `RULES.md` by its number, or another one by its subject.
    pub(super) promise: &'static str,
    pub(super) name: &'static str,
    /// What it breaks, in one sentence.
    pub(super) breaks: &'static str,
    /// Tests of which each must find it.
    pub(super) killers: &'static [&'static str],
}

/// A line of the table.
pub(super) const fn mutant(
    promise: &'static str,
    name: &'static str,
    breaks: &'static str,
    killers: &'static [&'static str],
) -> Mutant {
    Mutant { promise, name, breaks, killers }
}

/// All of them, by promise.
pub(super) fn all() -> Vec<Mutant> {
    KEPT.iter().chain(BELIEVED).chain(NAMED).copied().collect()
}

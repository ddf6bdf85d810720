//! The switch: which mutant lives in this process, if any does.

#[cfg(test)]
use std::sync::OnceLock;

/// The environment variable that names the mutant to live in a process of tests; without it none does.
#[cfg(test)]
pub(super) const VARIABLE: &str = "LEDGERLINE_MUTANT";

/// Whether the mutant of this name lives: never outside of tests, where nothing is left of it.
#[cfg(not(test))]
macro_rules! mutant {
    ($name:literal) => {
        false
    };
}

/// Whether the mutant of this name lives.
#[cfg(test)]
macro_rules! mutant {
    ($name:literal) => {
        $crate::mutants::lives($name)
    };
}

pub(crate) use mutant;

/// What [`mutant`] asks. The environment is read once: a mutant lives as long as the process.
#[cfg(test)]
pub(crate) fn lives(name: &str) -> bool {
    static LIVING: OnceLock<Option<String>> = OnceLock::new();
    LIVING.get_or_init(|| std::env::var(VARIABLE).ok()).as_deref() == Some(name)
}

//! Bugs that are built in on purpose, one at a time: each breaks a promise, and the tests must notice.
//!
//! ```text
//! the code    if mutant!("failed-sync-retried") { … }     `false` outside of tests: nothing of it is in what users get
//! the table   promise, name, what it breaks, tests        held against the code, and against the list of tests
//! the run     a process for each mutant and test          each test must fail while its mutant lives
//! ```
//!
//! A promise that no mutant breaks may be one that no test guards. So a new promise brings its mutant, and a mutant that no test
//! finds brings a test, named for what a user would see. A mutant is one small change at the place that keeps the promise; where its
//! effect could be seen only by luck, in a race or after hours, it is none.
//!
//! `LEDGERLINE_MUTANT=failed-sync-retried cargo test --lib` lets one live; `./tools/check` runs them all. A mutant may have more than
//! one place where the same thing is done twice.
//!
#![doc = include_str!("MUTANTS.md")]

#[cfg(test)]
#[cfg(feature = "cli")]
mod believed;
#[cfg(test)]
#[cfg(feature = "cli")]
mod kept;
#[cfg(test)]
#[cfg(feature = "cli")]
mod named;
#[cfg(test)]
#[cfg(feature = "cli")]
mod run;
mod switch;
#[cfg(test)]
#[cfg(feature = "cli")]
mod table;

#[cfg(test)]
pub(crate) use switch::lives;
pub(crate) use switch::mutant;

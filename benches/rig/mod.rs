//! What all benches share: how a row is measured, beside which floor, and how all rows of one `cargo bench` become one table.
//!
//! ```text
//! a bench ──► run: samples by criterion ─────────────► row ──► file of this run ──► table, by the last bench
//!              │   single timed runs                    ▲
//!              └► log: the groups that the store wrote ─┴─ floor: the same groups, written and synced by a bare loop
//! ```
//!
//! A figure alone says little, because disks differ and have moods. So each row stands beside its floor, taken right after it in the
//! same run, and what matters is the ratio.
//!
//! Read next: [`floor`] for what a floor does, [`burst`] for the difference between burst and sustained, [`row`] for what is shown.

pub(crate) mod burst;
pub(crate) mod callers;
pub(crate) mod directory;
pub(crate) mod floor;
pub(crate) mod latency;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod mode;
pub(crate) mod payload;
pub(crate) mod quota;
pub(crate) mod report;
pub(crate) mod row;
pub(crate) mod run;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod table;
pub(crate) mod writing;

//! Joins log and state: what was appended is applied, what is replayed was appended.
//!
//! ```text
//! handle ── Store, what callers see; spare ── memory that its batches use again
//!   │ claims ── what is handed out to be run; stretch ── reading many of them at once
//!   │ reception (ids; fate ── what comes of it), runs, standing, retention ── steps that judge, stage and apply
//!   │ compaction, merging ── what is left of segments, written anew
//!   │ reading, census, statistics, histogram ── what can be asked; notes ── what is known beside the state
//!   │ selection, pass ── many events at once
//! commit, desk ── many callers, one disk; waiters, relay, keeper ── who waits for it, is woken how, and by whom
//!   │ beside ── what begins runs, written at once; closing ── the end of it all
//! preparer ── the next segment, before anybody needs it
//! in_memory ── the same on a disk that ends with the process; crash_point ── where simulated processes die
//! core ── the store as explicit steps, without clock, file or thread of its own
//! scrub ── reading the log in search of rot; alone ── that there is one compaction and one scrub at a time
//! open, replay, ahead ── from a directory to a core, with a thread that verifies ahead of the one that applies
//! audit ── every record of a directory, for whoever must prove what happened
//!   └ verify, fold ── all of it, folded in two ways; as_of ── folded to an earlier point; backup ── copied;
//!   │   forgotten ── what is missing of an earlier point
//! reader, following ── entries in order, along with the writer
//! salvage, remains, candidates, mending ── what is left of a damaged store
//! ```
//!
//! Promises: acknowledged means durable (R1); after a failed write nothing is believed and nothing is taken (R2); a run starts after
//! its record is written, and is settled by whoever holds its token (R16, R17). Deliberately absent: tokio, handlers, Linear.
//!
//! Read next: [`core`] for the steps, then [`commit`] for who takes them.
//!
#![doc = include_str!("RULES.md")]

mod ahead;
mod alone;
mod answers;
mod as_of;
pub mod audit;
mod backup;
#[cfg(test)]
#[cfg(feature = "manager")]
mod bell;
mod beside;
mod candidates;
mod census;
mod chain;
mod claims;
#[cfg(test)]
mod clocks;
mod closing;
mod commit;
mod compaction;
mod core;
#[cfg_attr(
    not(feature = "manager"),
    expect(dead_code, unreachable_pub, reason = "only the kit for tests tells them to anybody")
)]
mod crash_point;
#[cfg(any(test, feature = "torture"))]
mod crashes;
mod desk;
mod failure;
mod fate;
mod fold;
mod following;
mod forgotten;
mod forked;
mod handle;
mod histogram;
#[cfg(feature = "torture")]
mod holding;
mod ids;
mod in_memory;
#[cfg(test)]
mod interleavings;
mod keeper;
#[cfg(feature = "manager")]
mod machine;
mod mending;
mod merging;
mod notes;
mod open;
mod options;
#[cfg(any(test, feature = "torture"))]
mod oracle;
mod parsed;
mod pass;
#[cfg(feature = "manager")]
mod place;
mod preparer;
mod reader;
mod reading;
mod readings;
mod reception;
#[cfg(test)]
mod refusals;
mod relay;
#[cfg(test)]
mod relocation;
mod remains;
mod replay;
mod retention;
mod runs;
mod salvage;
mod scrub;
mod sealed;
mod selection;
mod spare;
mod standing;
mod statistics;
#[cfg(test)]
mod stories;
mod stretch;
mod target;
#[cfg(feature = "manager")]
mod unblocked;
#[cfg(test)]
mod unsynced;
mod verify;
mod waiters;
#[cfg(feature = "manager")]
mod waiting;

pub use answers::{Claim, CompactionReport, Duplicate, Filter, HistoryEntry, Receipt, Recovery, Replay, Stats};
pub use as_of::{AsOf, EventAsOf, ParsePointError, Point, as_of};
pub use backup::{Backup, backup};
#[cfg(feature = "manager")]
pub use crash_point::CrashPoint;
pub use handle::Store;
pub use histogram::Latency;
#[cfg(feature = "manager")]
pub use machine::Unsynced;
#[cfg(feature = "service")]
pub(crate) use open::{check_owner, check_unlocked, lock_without_store};
pub use options::{StoreOptions, Unhandled};
pub use reader::{LogEntry, LogItem, Reader};
pub use salvage::{Acceptance, LostEvent, LostRange, Salvage, UncertainEvent, salvage};
pub use selection::{Refusal, Selected, Selection};
pub use statistics::{AttemptStats, TypeStats};
pub use verify::{CutTail, Problem, Verification, verify};

#[cfg(feature = "manager")]
pub(crate) use crate::state::Handled;
#[cfg(feature = "manager")]
pub(crate) use answers::CalledOff;
#[cfg(feature = "torture")]
pub(crate) use crashes::{EXHAUSTED_AT, Rotted, crash_life, rot_case, rot_piece};
#[cfg(feature = "torture")]
pub(crate) use holding::longest_hold;
#[cfg(feature = "manager")]
pub(crate) use machine::Machine;
#[cfg(feature = "torture")]
pub(crate) use oracle::Life;
#[cfg(feature = "manager")]
pub(crate) use pass::{Act, Acted, Pass};
#[cfg(feature = "manager")]
pub(crate) use place::{MemoryDisk, Place};
#[cfg(feature = "manager")]
pub(crate) use standing::Bookmarks;
#[cfg(feature = "manager")]
pub(crate) use statistics::Mishap;
#[cfg(feature = "manager")]
pub(crate) use unblocked::{Settling, give_way};

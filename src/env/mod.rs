//! The outside: files, clocks and chance. Nothing else in the crate touches `std::fs`, `SystemTime` or `Instant`.
//!
//! Every call that can fail says what it did to which path. What is created is private to its owner (R4: exclusive, no symbolic
//! links followed, 0600; directories 0700); what is replaced is replaced whole (R5). An interrupted or short write is continued; any
//! other failure is reported once and never retried here, because a second `fdatasync` after a failed one lies (R2).
//!
//! Each of them is the machine's own or a simulated one: a disk in memory, for stores that outlive nobody, which can be told to fail
//! and shows what a loss of power leaves; clocks that go only when they are told to; chance from a seed.
//!
//! Deliberately absent: what the files mean. Read next: [`Dir`], then [`File`].

#[cfg_attr(
    not(any(test, feature = "manager")),
    expect(dead_code, reason = "only the kit for tests simulates machines")
)]
mod chance;
#[cfg_attr(
    not(any(test, feature = "manager")),
    expect(dead_code, reason = "only the kit for tests simulates machines")
)]
mod clock;
mod dir;
mod error;
mod file;
mod link;
mod lock;
mod map;
pub(crate) mod simulated;

#[cfg(feature = "service")]
pub(crate) use chance::random;
pub(crate) use chance::{Chance, process_id};
pub(crate) use clock::Clock;
#[cfg(feature = "torture")]
pub(crate) use clock::thread_time;
#[cfg(feature = "service")]
pub(crate) use dir::foreign_owner;
#[cfg(feature = "service")]
pub(crate) use dir::may_be_there;
pub(crate) use dir::{Dir, Replacement};
pub(crate) use error::{Error, is_for_want_of_means};
pub(crate) use file::File;
pub(crate) use lock::Lock;
pub(crate) use map::Map;

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("ledgerline keeps its promises on Linux; macOS builds unproven; other systems are not supported");

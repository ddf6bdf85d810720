//! For tests of programs that embed ledgerline: a manager in memory whose clock stands still, and whose process dies where it is told to.
//!
//! ```
//! use std::time::Duration;
//!
//! use ledgerline::testing::{Bench, CrashPoint, Unsynced};
//! use ledgerline::{Event, assert_emitted};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ledgerline::Error> {
//! async fn post(event: Event) -> Result<(), std::io::Error> {
//!     if event.retry_count() == 0 { Err(std::io::Error::other("not now")) } else { Ok(()) }
//! }
//!
//! let mut bench = Bench::start(|manager| manager.on("Issue", post)).await?;
//! bench.manager().emit("Issue", "new").id("one").await?;
//! assert_emitted!(bench, "Issue", count = 1);
//!
//! // It fails, and runs again when its time has come; nothing sleeps.
//! assert_eq!(bench.drain().await?.retried, 1);
//! assert_eq!(bench.drain_for(Duration::from_secs(600)).await?.completed, 1);
//!
//! // The process dies after the next event was synced, and before anybody hears of it.
//! bench.crash_at(CrashPoint::Synced);
//! assert!(bench.manager().emit("Issue", "newer").id("two").await.is_err());
//! bench.reopen(Unsynced::Lost).await?;
//! assert_emitted!(bench, "Issue", count = 2);
//! # Ok(())
//! # }
//! ```
//!
//! **Time.** Both clocks of the store stand still until [`Bench::advance`] or [`Bench::drain_for`] moves them; nothing sleeps. Handlers and
//! their timeouts live on tokio's clock: hold that with `#[tokio::test(start_paused = true)]` (tokio's feature `test-util`), and it goes on
//! by itself whenever everybody waits. It stands still while a blocking handler runs; one that does not return comes to its timeout only by
//! `tokio::time::advance`. Retention does not run by itself: call [`compact`](crate::EventManager::compact).
//!
//! **The same again.** No thread works in the background, and ids, salts and the store's id come from the [seed](BenchBuilder::seed). When a
//! retry is due is spread by a hash of the store's id, the event's seq and its attempt: the same seed and the same calls in the same order
//! give the same times, within ± 20 % of the [interval](crate::EventManagerBuilder::retry_interval). Tests need not know them:
//! [`Bench::next_due`] tells the next one. Handlers that run at once interleave as the runtime has it: with one thread, always alike.
//!
//! **Death.** [`Bench::crash_at`] names a [`CrashPoint`], [`Bench::crash_after`] counts calls of the disk; [`Bench::reopen`] starts the next
//! process with what the rules of a disk leave of what was not synced ([`Unsynced`]).
//!
//! Read next: [`Bench`], and [`assert_emitted!`](crate::assert_emitted) at the root. For a manager in memory on real clocks see
//! [`EventManagerBuilder::in_memory`](crate::EventManagerBuilder::in_memory).

mod bench;
mod disk;
mod emitted;

pub use bench::{Bench, BenchBuilder, Drained};
pub use disk::MemoryDisk;
#[doc(hidden)]
pub use emitted::Wanted;

pub use crate::store::{CrashPoint, Unsynced};

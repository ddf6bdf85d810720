//! The seam between the workers, who run handlers, and the engine, which keeps the events: what either may expect of the other.
//!
//! ```text
//!   emit ──append──► ┌────────┐ ──claim──► run the handler ──settle──► Done | Retry | RetryAt | Snooze | Fail | Cancel | Release
//!                    │ engine │
//!                    └────────┘ ──work, next_due──► look again
//! ```
//!
//! | step | is over when | if the process dies right after it |
//! |---|---|---|
//! | append | the event, or each of a batch, is durable | it is there, once; of a batch all are, or none |
//! | claim | the start of each run is with the operating system (R16) | the run was counted, and the event runs again |
//! | settle | the engine acts by it; durable a little later | it is as if settled, or the event runs again |
//!
//! **At least once.** An event that was appended runs until a run of it is settled for good. It may run again although it succeeded,
//! when the process died before that was durable: handlers carry an idempotency key for this.
//!
//! **One claim at a time.** A claimed event is in no other claim until it was settled, and a claim is known by its token: once another
//! has ended it (a person cancelled the event, say), settling is refused with `NotAllowed` and changes nothing (R17). A claim that is
//! never settled lasts as long as the process: the next one to open the engine finds the event claimable at once. So every claim is
//! settled once its run has ended, whatever has become of the event.
//!
//! **Put off.** A run may put its event off (`RetryAt`, `Snooze`) to at most 30 days ahead: that is no failure and spends no retry, and
//! the event keeps its key. It may happen 1,000 times since the event's reception or last replay; the next time it fails for good.
//!
//! **Several handlers.** Which of them have succeeded is kept by name with the event, and told in its later claims, until it is completed
//! or cancelled; a replay of an event that has failed leaves it so.
//!
//! **Order.** Claims hand out the most urgent first: by priority, less one for each minute that the event has waited. Among equals
//! types take turns, so that a flood of one type starves no other, and of one type the oldest goes first. Events of one key run one at
//! a time, in the order of their arrival; while one waits for its retry the later ones wait too. An event that is cancelled while it
//! runs keeps its key until the run has ended, which settling says though it is refused, and is in no claim before that, even if it is
//! replayed. Events of different keys, and those without one, promise no order among each other.
//!
//! **Claims are small.** At most as many events as were asked for: the workers ask for free slots only, so that nothing is claimed
//! and then waits. A claim that has begun is awaited to its end, because what it claimed is known to nobody else.
//!
//! **Held.** The engine is told which types have a handler. Events of other types are never claimed and hold up nobody:
//! they wait, for 30 days by default, then they have failed; or are ended at once, completed or failed, as the engine was told. Once
//! their type has one too, they are released before anything else is claimed.
//!
//! **Paused and limited.** Events of a type or a key that a person has paused are not claimed until the pause ends; those of a type of
//! which as many run as may, not until one of them has ended. Neither holds up others, but for those of the same key.
//!
//! **Wake-ups.** `work` resolves when something may have become claimable since the last claim came back with less than it was asked
//! for; nothing that happens between that claim and the call is missed. What will become claimable by time alone is told by `next_due`;
//! what is due earlier than it told resolves `work` too. Waking too often costs a claim that comes back empty; waking too seldom is
//! bounded by the workers' own interval. An engine that was closed or takes nothing more resolves `work` at once, and says why at the
//! next claim, even if there is nothing to claim.
//!
//! Engines are a closed set ([`Queue`]): whoever embeds ledgerline chooses one, and implements nothing. `tests/queue.rs` holds each to
//! this page. Deliberately absent: handlers, attempts, timeouts. Read next: [`Queue`], then [`Emit`] for the way in.

mod blocking;
mod embedded;
mod emit;
mod engine;

pub(crate) use blocking::blocking;
pub use emit::Emit;
pub(crate) use emit::Intake;
pub(crate) use engine::Queue;

pub(crate) use crate::store::{CalledOff, Claim, Handled, Mishap, Receipt, Settling, give_way};

//! What is true, and what may happen next.
//!
//! ```text
//!                    ┌────────────── State ──────────────┐
//! (seq, entry) ─apply─► table ─► events ─┬─ slots   one per event, 112 bytes; by seq, id, body
//!                    │                   ├─ lanes   ready (by type and priority), waiting, in flight, finished, …
//!                    │                   ├─ keys    rows of events that run one after another
//!                    │                   └─ leftovers   runs that go on although their events were cancelled
//!                    ├─ standing  pauses, cursors
//!                    ├─ memory    ids of forgotten events
//!                    ├─ segments  which files are still needed, and how much of them
//!                    └─ totals, epoch
//! judge_… ─► may this be appended?     next_claim ─► what may run?     view, list, counts ─► what is true?
//! ```
//!
//! Promises: there is one way to change a [`State`], [`State::apply`], live and at replay, so replaying what was appended gives
//! what was. While a log is replayed, who may run next is left open and worked out at the end ([`State::arrange`]). An entry either
//! takes effect whole or is refused with a reason and changes nothing; entries come from a disk, so none panics (R14). Where an
//! event stands after an entry is one exhaustive [`table`]. No structure grows by doubling, no body is held, and a live event costs
//! about 160 bytes ([`slot`] adds them up).
//!
//! Deliberately absent: files, clocks, randomness, waiting. A [`Moment`](crate::event::Moment) comes in with each call that needs
//! one; time alone changes nothing but whether an event is due (R13). Nor is it known here what is durable: [`State::next_claim`]
//! is told. Waiting has one exception: what goes over all events, after a replay or when the handlers change, has a second thread do
//! a part ([`at_once`]), which shares nothing with anybody else; it comes to the same as with one.
//!
//! Read next: [`table`], then [`machine`], [`transition`], [`claim`] and [`ready`].

#![expect(clippy::expect_used, reason = "what is expected are our own invariants; bytes of others are judged before")]

mod at_once;
mod claim;
mod events;
mod gist;
mod hash;
mod index;
mod judgement;
mod keys;
mod lanes;
mod leftovers;
mod line;
mod machine;
mod memory;
mod order;
mod pauses;
mod reading;
mod ready;
mod segments;
mod sieve;
mod slab;
mod slot;
mod slots;
mod space;
mod standing;
mod table;
mod tally;
mod transition;
mod types;
mod verdict;
mod view;
mod why;

#[cfg(test)]
mod chance;
#[cfg(any(test, fuzzing))]
pub(crate) mod foreign;
#[cfg(test)]
mod model;
#[cfg(test)]
mod offers;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod stories;

pub(crate) use gist::Gist;
pub(crate) use hash::{IdHasher, body as body_hash, low};
pub(crate) use judgement::judge_step;
pub(crate) use machine::{FORESEEN_COUNT, Policy, State};
pub(crate) use reading::{OfType, Sought};
pub(crate) use segments::Leaving;
pub(crate) use sieve::{Grain, Kept, Sieve, Sifted};
pub(crate) use space::{Move, REMEMBERED_BYTES};
pub(crate) use standing::{CURSOR_COUNT_MAX, PAUSE_COUNT_MAX};
pub(crate) use table::{Step, next};
pub(crate) use tally::{HELD, Stands};
#[cfg(any(test, feature = "manager"))]
pub(crate) use types::Handled;
pub(crate) use verdict::{Applied, Illegal, Known, Reception};
pub(crate) use view::View;

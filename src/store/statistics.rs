//! What is counted by type since the store was opened: how attempts ended, and how long they took.
//!
//! It is counted under the lock that settling holds anyway. At most 256 types are told apart, by the order in which the store first saw
//! them; the rest is counted together. With its two distributions a type costs less than 3 KiB, so all cost less than 1 MiB.

use serde::Serialize;

use crate::event::Moment;
use crate::event::entry::Entry;
use crate::state::View;
use crate::store::histogram::{Histogram, Latency};

/// So many types are told apart.
pub(crate) const TYPES_MAX: usize = 256;

/// How the attempts that were settled since the store was opened have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AttemptStats {
    /// They succeeded.
    pub done: u64,
    /// They failed, and a retry was scheduled.
    pub retried: u64,
    /// They failed for good: no run can succeed, or the retries were spent.
    pub failed: u64,
    /// They called their event off, or it was called off while they ran.
    pub cancelled: u64,
    /// They asked for another run later, at no cost.
    pub put_off: u64,
    /// They were given up without a verdict, as at shutdown.
    pub released: u64,
    /// Of those that were retried or failed: they took longer than they may.
    pub timed_out: u64,
    /// Of those that were retried or failed: they panicked.
    pub panicked: u64,
}

/// The events of one type, and the attempts to handle them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TypeStats {
    /// The type; empty where several are counted together.
    pub event_type: String,
    /// Events that wait to run, without those that wait for a retry and those that are held.
    pub pending: u64,
    /// Events that are being run.
    pub processing: u64,
    /// Events that wait for a retry.
    pub retrying: u64,
    /// Completed events that are still kept.
    pub completed: u64,
    /// Events that have failed for good and wait for a person.
    pub failed: u64,
    /// Cancelled events that are still kept.
    pub cancelled: u64,
    /// Events that wait for a handler of their type.
    pub held: u64,
    /// How long ago the oldest event was received of those that are pending, retrying or held; none if there is none.
    pub oldest_waiting_seconds: Option<f64>,
    /// How attempts ended since the store was opened.
    pub attempts: AttemptStats,
    /// From claim to settlement, of attempts that were settled since the store was opened, whatever their outcome.
    pub handling: Latency,
    /// From reception to completion, of events that were completed since the store was opened: waits and retries are part of it.
    pub end_to_end: Latency,
}

/// What else is to be said of an attempt that failed.
#[cfg(feature = "manager")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    TimedOut,
    Panicked,
}

/// The attempts of one type, or of several.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tallied {
    pub(crate) attempts: AttemptStats,
    pub(crate) handling: Histogram,
    pub(crate) end_to_end: Histogram,
}

/// The attempts of all types, by number; beyond those that are told apart there is one for the rest.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    by_kind: Vec<Option<Tallied>>,
    rest: Tallied,
}

impl Tallies {
    /// What was counted of the type with this number, if it is told apart and there is something.
    pub(crate) fn of(&self, number: usize) -> Option<&Tallied> {
        self.by_kind.get(number)?.as_ref()
    }

    /// What was counted of all types that are not told apart.
    pub(crate) fn rest(&self) -> &Tallied {
        &self.rest
    }

    fn of_mut(&mut self, kind: u32) -> &mut Tallied {
        let number = kind as usize;
        if number >= self.by_kind.len() && number < TYPES_MAX {
            self.by_kind.resize_with(number + 1, || None);
        }
        self.by_kind.get_mut(number).map_or(&mut self.rest, Option::get_or_insert_default)
    }

    /// The run of the event, which stood as `view` says, was settled by `entry`.
    pub(crate) fn settled(&mut self, view: &View, entry: &Entry<'_>, now: Moment) {
        let now = now.wall.unix_micros();
        let since = |then: i64| u64::try_from(now.saturating_sub(then)).unwrap_or(0);
        let tallied = self.of_mut(view.kind);
        let attempts = &mut tallied.attempts;
        *match entry {
            Entry::Completed(_) => &mut attempts.done,
            Entry::Failed(failed) if failed.retry.is_some() => &mut attempts.retried,
            Entry::Failed(_) => &mut attempts.failed,
            Entry::Cancelled(_) => &mut attempts.cancelled,
            Entry::Snoozed(_) => &mut attempts.put_off,
            _ => &mut attempts.released,
        } += 1;
        if let Some(started) = view.last_attempt {
            tallied.handling.count(since(started));
        }
        if matches!(entry, Entry::Completed(_)) {
            tallied.end_to_end.count(since(view.received_at));
        }
    }

    /// The event, which stood as `view` says, was called off.
    pub(crate) fn called_off(&mut self, view: &View) {
        if view.token.is_some() {
            self.of_mut(view.kind).attempts.cancelled += 1;
        }
    }

    #[cfg(feature = "manager")]
    pub(crate) fn mishap(&mut self, view: &View, mishap: Mishap) {
        let attempts = &mut self.of_mut(view.kind).attempts;
        *match mishap {
            Mishap::TimedOut => &mut attempts.timed_out,
            Mishap::Panicked => &mut attempts.panicked,
        } += 1;
    }
}

impl Tallied {
    pub(crate) fn add(&mut self, other: &Self) {
        let (attempts, also) = (&mut self.attempts, &other.attempts);
        attempts.done += also.done;
        attempts.retried += also.retried;
        attempts.failed += also.failed;
        attempts.cancelled += also.cancelled;
        attempts.put_off += also.put_off;
        attempts.released += also.released;
        attempts.timed_out += also.timed_out;
        attempts.panicked += also.panicked;
        self.handling.add(&other.handling);
        self.end_to_end.add(&other.end_to_end);
    }
}

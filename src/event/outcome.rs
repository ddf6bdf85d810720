//! How a run ended.

use std::time::Duration;

use crate::event::Timestamp;

/// How a run of a handler ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It succeeded: the event is completed.
    Done,
    /// It failed with this error, and a later run may succeed: the event is retried after the wait that its type's retry policy gives,
    /// by default exponential backoff, until its retries are spent, then it has failed for good.
    Retry(String),
    /// It failed with this error, and no later run can succeed: the event has failed for good.
    Fail(String),
    /// The event is called off, for this reason.
    Cancel(String),
    /// The event is to run again at this time, as where a service says when it takes more: it counts as no failure and spends no retry.
    /// A time in the past means at once; one more than 30 days ahead is cut to that. An event may be put off 1,000 times since its
    /// reception or its last replay, by this and [`Outcome::Snooze`] together; the next time it has failed for good. While it waits
    /// it is retrying and keeps its key.
    RetryAt(Timestamp),
    /// As [`Outcome::RetryAt`], for so long from now: at most 30 days, to which a longer time is cut; zero means at once.
    Snooze(Duration),
    /// The run was given up without a verdict, as at shutdown: it counts as no failure, and the event may run again at once. Where a
    /// handler returns it, that is after a second: to wait for longer, or for something, is what [`Outcome::Snooze`] is for.
    Release,
}

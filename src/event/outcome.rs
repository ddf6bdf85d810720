//! How a run ended.

/// How a run of a handler ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It succeeded: the event is completed.
    Done,
    /// It failed with this error, and a later run may succeed: the event is retried with exponential backoff until its retries are
    /// spent, then it has failed for good.
    Retry(String),
    /// It failed with this error, and no later run can succeed: the event has failed for good.
    Fail(String),
    /// The event is called off, for this reason.
    Cancel(String),
    /// The run was given up without a verdict, as at shutdown: it counts as no failure, and the event may run again at once.
    Release,
}

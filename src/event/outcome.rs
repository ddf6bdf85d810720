//! How a run ended.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::event::{Timestamp, limits};

/// Most causes of an error that are told; a chain may be endless.
const CAUSES_MAX: usize = 64;

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
    /// A time in the past means at once, or after a second where a handler returns it; one more than 30 days ahead is cut to that. An event
    /// may be put off 1,000 times since its reception or its last replay, by this and [`Outcome::Snooze`] together; the next time it has
    /// failed for good. While it waits it is retrying and keeps its key.
    RetryAt(Timestamp),
    /// As [`Outcome::RetryAt`], for so long from now: at most 30 days, to which a longer time is cut; zero means at once, or after a second
    /// where a handler returns it.
    Snooze(Duration),
    /// The run was given up without a verdict, as at shutdown: it counts as no failure, and the event may run again at once. Where a
    /// handler returns it, that is after a second: to wait for longer, or for something, is what [`Outcome::Snooze`] is for.
    Release,
}

impl Outcome {
    /// [`Outcome::Retry`], with the error's text and its causes', joined by `: `, of which 4 KiB are kept.
    #[must_use]
    pub fn retry(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Retry(told(&*error.into()))
    }

    /// [`Outcome::Fail`], with the same text.
    #[must_use]
    pub fn fail(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Fail(told(&*error.into()))
    }

    /// How a run has ended that has failed with this error: for good, if that is [`Permanent`].
    #[cfg(feature = "manager")]
    pub(crate) fn of_error(error: Box<dyn StdError + Send + Sync>) -> Self {
        let error: &(dyn StdError + 'static) = &*error;
        let is_permanent = chain(error).any(|cause| cause.is::<Permanent>() || cause.is::<Cause>());
        if is_permanent { Self::Fail(told(error)) } else { Self::Retry(told(error)) }
    }
}

/// An error that no further run can mend. A handler that returns it, or an error that it is the cause of, has failed for good
/// ([`Outcome::Fail`]), where any other error is retried. It is told as the error in it.
///
/// ```
/// use ledgerline::{Event, Permanent};
///
/// async fn on_issue(event: Event) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     let number: u64 = event.json().map_err(Permanent::new)?;
///     let _sent = send(number).await?; // what fails here is tried again
///     Ok(())
/// }
/// # async fn send(_: u64) -> Result<(), std::io::Error> { Ok(()) }
/// ```
#[derive(Debug)]
pub struct Permanent(Cause);

/// The error in a [`Permanent`] one. It is the cause of that, because some errors show no more of what they wrap than its causes.
#[derive(Debug)]
struct Cause(Box<dyn StdError + Send + Sync>);

impl Permanent {
    /// Says of an error that it will not go away.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Cause(error.into()))
    }
}

impl fmt::Display for Permanent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Permanent {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// An error and its causes.
fn chain<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause: &&'e (dyn StdError + 'static)| (*cause).source()).take(CAUSES_MAX + 1)
}

/// An error's text and its causes', joined by `: `.
pub(crate) fn told(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    // What a permanent error is said of says the same.
    for cause in chain(error).skip(1).filter(|cause| !cause.is::<Cause>()) {
        if text.len() >= limits::MESSAGE_BYTES_MAX {
            break;
        }
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    bounded(text)
}

/// The text, cut to what an entry keeps of it.
pub(crate) fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limits::MESSAGE_BYTES_MAX));
    text
}

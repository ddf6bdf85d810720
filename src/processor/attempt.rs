//! One run of one event, and the verdict on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::event::{Outcome, bounded};
use crate::processor::Context;
use crate::queue::{Claim, Mishap};

/// A run that has begun and whose task has not ended.
pub(super) struct Attempt {
    pub(super) claim: Claim,
    /// Tells it from others that have been where it is.
    pub(super) number: u64,
    pub(super) context: Context,
    pub(super) task: JoinHandle<()>,
    pub(super) timeout: Duration,
    pub(super) standing: Standing,
    /// Those of several handlers that had not returned when the time was over.
    pub(super) late: Vec<Arc<str>>,
    /// When something happens to it next.
    pub(super) timer: Option<Instant>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // For what the handler has left running.
        self.context.cancel();
        // Does nothing to a task that has ended: others go with the workers.
        self.task.abort();
    }
}

/// Where a run stands.
///
/// ```text
/// Running ──its time is over──► Overdue ──the grace is over──► Stuck
///    └──the manager shuts down──► Leaving
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Within its time.
    Running,
    /// Its time is over: it has failed, and was told to end.
    Overdue,
    /// It did not end when told: it was aborted and has no slot, but its event is not settled while anything of it goes on.
    Stuck,
    /// The manager shuts down, and it was told to end.
    Leaving,
}

/// How a run's task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The handler returned.
    Returned(Outcome),
    /// The handler panicked, and said this.
    Panicked(String),
    /// It was aborted, or is given up while it runs.
    Aborted,
}

/// What becomes of an event whose run stood at `standing` and ended like this; `late` names the handlers that took too long, if it had several.
///
/// A run that is told to leave may still succeed, or give its event up for good; whatever else it says then is taken for the
/// consequence of being told, and counts as no failure. A run whose time is over has failed, whatever it says.
pub(super) fn verdict(standing: Standing, ending: Ending, timeout: Duration, late: &[Arc<str>]) -> Outcome {
    let outcome = match (standing, ending) {
        (Standing::Running | Standing::Leaving, Ending::Aborted)
        | (Standing::Leaving, Ending::Returned(Outcome::Retry(_)) | Ending::Panicked(_)) => Outcome::Release,
        (Standing::Running | Standing::Leaving, Ending::Returned(outcome)) => outcome,
        (Standing::Running, Ending::Panicked(said)) => Outcome::Retry(said),
        (Standing::Overdue | Standing::Stuck, ending) => Outcome::Retry(overdue(ending, timeout, late)),
    };
    match outcome {
        Outcome::Retry(error) => Outcome::Retry(bounded(error)),
        Outcome::Fail(error) => Outcome::Fail(bounded(error)),
        Outcome::Cancel(reason) => Outcome::Cancel(bounded(reason)),
        other => other,
    }
}

/// What statistics tell of such a run beside its verdict.
pub(super) fn mishap(standing: Standing, ending: &Ending) -> Option<Mishap> {
    match (standing, ending) {
        (Standing::Overdue | Standing::Stuck, _) => Some(Mishap::TimedOut),
        (Standing::Running, Ending::Panicked(_)) => Some(Mishap::Panicked),
        _ => None,
    }
}

fn overdue(ending: Ending, timeout: Duration, late: &[Arc<str>]) -> String {
    let mut text = format!("timed out after {timeout:?}");
    if !late.is_empty() {
        text = format!("{text} in {}", late.join(", "));
    }
    match ending {
        Ending::Returned(Outcome::Retry(said) | Outcome::Fail(said)) | Ending::Panicked(said) => {
            format!("{text}: {said}")
        }
        Ending::Returned(_) | Ending::Aborted => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;

    #[test]
    fn a_run_of_several_handlers_names_those_that_took_too_long() {
        let late = ["mail".into(), "audit".into()];
        let verdict = |ending| verdict(Standing::Overdue, ending, Duration::from_mins(1), &late);
        let text = "timed out after 60s in mail, audit";
        assert_eq!(verdict(Ending::Aborted), Outcome::Retry(text.to_owned()));
        let said = Ending::Returned(Outcome::Retry("post: lost".to_owned()));
        assert_eq!(verdict(said), Outcome::Retry(format!("{text}: post: lost")));
    }

    #[test]
    fn every_standing_and_ending_has_its_verdict() {
        use Ending::{Aborted, Panicked, Returned};
        use Outcome::{Cancel, Done, Fail, Release, Retry, RetryAt, Snooze};
        let (at, wait) = (Timestamp::from_unix_micros(9), Duration::from_secs(9));
        let text = |text: &str| text.to_owned();
        let late = || Retry(text("timed out after 60s"));
        let late_with = |said: &str| Retry(format!("timed out after 60s: {said}"));
        // Ending: verdict when running, when overdue or stuck, when leaving.
        for (ending, running, over, leaving) in [
            (Returned(Done), Done, late(), Done),
            (Returned(Retry(text("e"))), Retry(text("e")), late_with("e"), Release),
            (Returned(Fail(text("e"))), Fail(text("e")), late_with("e"), Fail(text("e"))),
            (Returned(Cancel(text("r"))), Cancel(text("r")), late(), Cancel(text("r"))),
            (Returned(Release), Release, late(), Release),
            (Returned(RetryAt(at)), RetryAt(at), late(), RetryAt(at)),
            (Returned(Snooze(wait)), Snooze(wait), late(), Snooze(wait)),
            (Panicked(text("panicked")), Retry(text("panicked")), late_with("panicked"), Release),
            (Aborted, Release, late(), Release),
        ] {
            for (standing, expected) in [
                (Standing::Running, &running),
                (Standing::Overdue, &over),
                (Standing::Stuck, &over),
                (Standing::Leaving, &leaving),
            ] {
                let outcome = verdict(standing, ending.clone(), Duration::from_mins(1), &[]);
                assert_eq!(outcome, *expected, "{standing:?} × {ending:?}");
            }
        }
    }
}

//! One run of one event, and the verdict on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::event::{Outcome, bounded};
use crate::processor::Context;
use crate::processor::context::Members;
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
    /// Several handlers, as they stood when the time was over.
    pub(super) members: Members,
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

impl Ending {
    /// What a failure says of itself.
    fn said(&self) -> Option<&str> {
        match self {
            Self::Returned(Outcome::Retry(said) | Outcome::Fail(said)) | Self::Panicked(said) => Some(said),
            Self::Returned(_) | Self::Aborted => None,
        }
    }
}

/// What becomes of an event whose run stood at `standing` and ended like this; if it had several handlers, `late` names those that took
/// too long, and the others came to `in_time`.
///
/// A run that is told to leave may still succeed, or give its event up for good; whatever else it says then is taken for the
/// consequence of being told, and counts as no failure. A run whose time is over has failed, whatever it says then, unless one of several
/// handlers had given the event up for good before.
pub(super) fn verdict(
    standing: Standing,
    ending: Ending,
    timeout: Duration,
    late: &[Arc<str>],
    in_time: Ending,
) -> Outcome {
    let outcome = match (standing, ending) {
        (Standing::Running | Standing::Leaving, Ending::Aborted) => match in_time {
            Ending::Returned(given_up @ (Outcome::Cancel(_) | Outcome::Fail(_))) => given_up,
            _ => Outcome::Release,
        },
        (Standing::Leaving, Ending::Returned(Outcome::Retry(_)) | Ending::Panicked(_)) => Outcome::Release,
        (Standing::Running | Standing::Leaving, Ending::Returned(outcome)) => outcome,
        (Standing::Running, Ending::Panicked(said)) => Outcome::Retry(said),
        (Standing::Overdue | Standing::Stuck, ending) => {
            let text = || overdue(ending.said().or(in_time.said()), timeout, late);
            match &in_time {
                Ending::Returned(Outcome::Cancel(reasons)) => Outcome::Cancel(reasons.clone()),
                Ending::Returned(Outcome::Fail(_)) => Outcome::Fail(text()),
                _ => Outcome::Retry(text()),
            }
        }
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

fn overdue(said: Option<&str>, timeout: Duration, late: &[Arc<str>]) -> String {
    let mut text = format!("timed out after {timeout:?}");
    if !late.is_empty() {
        text = format!("{text} in {}", late.join(", "));
    }
    match said {
        Some(said) => format!("{text}: {said}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;

    #[test]
    fn a_run_of_several_handlers_names_those_that_took_too_long() {
        let late = ["mail".into(), "audit".into()];
        let verdict = |ending, in_time| {
            verdict(Standing::Overdue, ending, Duration::from_mins(1), &late, Ending::Returned(in_time))
        };
        let text = "timed out after 60s in mail, audit";
        assert_eq!(verdict(Ending::Aborted, Outcome::Done), Outcome::Retry(text.to_owned()));
        let said = Outcome::Retry("post: lost".to_owned());
        let with_it = Outcome::Retry(format!("{text}: post: lost"));
        assert_eq!(verdict(Ending::Returned(said.clone()), Outcome::Done), with_it);
        assert_eq!(verdict(Ending::Aborted, said), with_it);
    }

    #[test]
    fn what_one_of_several_handlers_gave_up_in_time_is_given_up_though_another_took_too_long() {
        let late = ["slow".into()];
        let (cancel, fail) = (Outcome::Cancel("quick: done".to_owned()), Outcome::Fail("quick: bad".to_owned()));
        let told_of = Outcome::Fail("timed out after 60s in slow: quick: bad".to_owned());
        for ending in [Ending::Aborted, Ending::Returned(Outcome::Done), Ending::Returned(cancel.clone())] {
            for standing in [Standing::Overdue, Standing::Stuck] {
                let verdict = |in_time: &Outcome| {
                    let in_time = Ending::Returned(in_time.clone());
                    verdict(standing, ending.clone(), Duration::from_mins(1), &late, in_time)
                };
                assert_eq!((&verdict(&cancel), &verdict(&fail)), (&cancel, &told_of), "{ending:?}");
            }
        }
        for (in_time, expected) in [(&cancel, &cancel), (&fail, &fail), (&Outcome::Done, &Outcome::Release)] {
            let in_time = Ending::Returned(in_time.clone());
            assert_eq!(verdict(Standing::Leaving, Ending::Aborted, Duration::ZERO, &[], in_time), *expected);
        }
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
                let alone = Returned(Done);
                let outcome = verdict(standing, ending.clone(), Duration::from_mins(1), &[], alone);
                assert_eq!(outcome, *expected, "{standing:?} × {ending:?}");
            }
        }
    }
}

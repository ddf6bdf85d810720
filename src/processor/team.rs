//! A run of all handlers that an event's type has.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use crate::error::ErrorKind;
use crate::event::{Event, Outcome, Timestamp, limits};
use crate::processor::Context;
use crate::processor::attempt::Ending;
use crate::processor::layer::{HandlerService, Run};
use crate::queue::{Claim, Queue};

/// A handler with its name.
pub(super) struct Named {
    pub(super) name: Arc<str>,
    pub(super) service: HandlerService,
}

/// The handlers of one type; at least one. It is cheap to copy, and copying it runs nobody's code.
#[derive(Clone)]
pub(super) struct Team(Arc<[Member]>);

#[derive(Clone)]
struct Member {
    name: Arc<str>,
    /// To copy it calls the layers around it, which are code of others.
    service: Arc<Mutex<HandlerService>>,
}

impl Team {
    /// These, and one more.
    pub(super) fn with(team: Option<&Self>, Named { name, service }: Named) -> Self {
        let more = Member { name, service: Arc::new(Mutex::new(service)) };
        Self(team.map_or(&[][..], |team| &team.0).iter().cloned().chain([more]).collect())
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.0.iter().map(|member| Arc::clone(&member.name)).collect()
    }

    /// A copy of each for a run, which catches what panics meanwhile.
    fn copied(&self) -> Vec<Named> {
        let copied = |member: &Member| Named {
            name: Arc::clone(&member.name),
            service: member.service.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        self.0.iter().map(copied).collect()
    }
}

/// Runs the handlers of the team that have not succeeded yet, beside one another, and merges how they ended. It is all one task: the
/// others go on while one waits, and whatever ends that task ends them all.
pub(super) async fn run(team: Team, claim: Claim, context: Context, queue: Queue) -> Ending {
    let event = claim.event().clone();
    let members = team.copied();
    let is_one_of_many = members.len() > 1;
    // Also one that is alone by now: it may have succeeded beside others that are gone.
    let mut left: Vec<_> = members.into_iter().filter(|handler| !claim.is_handled_by(&handler.name)).collect();
    if !is_one_of_many && let Some(alone) = left.pop() {
        return alone.service.run(Run::new(event, context, alone.name)).await;
    }
    context.run_by(left.iter().map(|handler| Arc::clone(&handler.name)).collect());
    let runs = left.into_iter().map(|handler| run_one(handler, event.clone(), &claim, context.clone(), &queue));
    merge(together(runs).await, context.now())
}

async fn run_one(handler: Named, event: Event, claim: &Claim, context: Context, queue: &Queue) -> (Arc<str>, Ending) {
    let name = Arc::clone(&handler.name);
    let ending = handler.service.run(Run::new(event, context.clone(), handler.name)).await;
    let is_in_time = context.returned(Arc::clone(&name), ending.clone());
    if ending == Ending::Returned(Outcome::Done) && is_in_time {
        match queue.record_handled(claim, &name).await {
            // Somebody ended the claim meanwhile: nothing of it counts.
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotAllowed => {}
            Err(error) => {
                let (event_id, handler) = (claim.event().id(), &*name);
                tracing::warn!(event_id, handler, %error, "a handler's success was not kept; a retry runs it again");
            }
        }
    }
    (name, ending)
}

/// Awaits all of them; what they give is in their order.
async fn together<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| Some(Box::pin(future))).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (running, output) in running.iter_mut().zip(&mut outputs) {
            if let Some(future) = running
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                (*running, *output) = (None, Some(value));
            }
        }
        if running.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// What becomes of an event whose handlers ended like this: called off if one says so, failed for good if one says so, run again if
/// one has failed, released if one was given up, put off to the soonest time if one was put off, and else completed. The text names
/// each handler that had a part in it. A failure that a panic had a part in is told as one.
pub(super) fn merge(ended: Vec<(Arc<str>, Ending)>, now: Timestamp) -> Ending {
    let panicked = ended.iter().any(|(_, ending)| matches!(ending, Ending::Panicked(_)));
    let outcome = |ending| match ending {
        Ending::Returned(outcome) => outcome,
        Ending::Panicked(said) => Outcome::Retry(said),
        Ending::Aborted => Outcome::Release,
    };
    let outcomes: Vec<_> = ended.into_iter().map(|(name, ending)| (name, outcome(ending))).collect();
    match gravest(&outcomes, now) {
        Outcome::Retry(errors) if panicked => Ending::Panicked(errors),
        outcome => Ending::Returned(outcome),
    }
}

fn gravest(ended: &[(Arc<str>, Outcome)], now: Timestamp) -> Outcome {
    let text = |pick: fn(&Outcome) -> Option<&str>| {
        let picked: Vec<(&str, &str)> =
            ended.iter().filter_map(|(name, outcome)| Some((&**name, pick(outcome)?))).collect();
        (!picked.is_empty()).then(|| list(&picked))
    };
    let cancelled = text(|outcome| if let Outcome::Cancel(reason) = outcome { Some(reason) } else { None });
    if let Some(reasons) = cancelled {
        return Outcome::Cancel(reasons);
    }
    let errors = text(|outcome| match outcome {
        Outcome::Retry(error) | Outcome::Fail(error) => Some(error),
        _ => None,
    });
    match errors {
        Some(errors) if ended.iter().any(|(_, outcome)| matches!(outcome, Outcome::Fail(_))) => Outcome::Fail(errors),
        Some(errors) => Outcome::Retry(errors),
        None if ended.iter().any(|(_, outcome)| *outcome == Outcome::Release) => Outcome::Release,
        None => soonest(ended, now).unwrap_or(Outcome::Done),
    }
}

/// Of those that put the event off, the one that does so for the shortest time.
fn soonest(ended: &[(Arc<str>, Outcome)], now: Timestamp) -> Option<Outcome> {
    let wait = |outcome: &Outcome| match outcome {
        Outcome::Snooze(wait) => Some(*wait),
        Outcome::RetryAt(time) => Some(time.saturating_since(now)),
        _ => None,
    };
    let put_off = ended.iter().filter_map(|(_, outcome)| Some((wait(outcome)?, outcome)));
    put_off.min_by_key(|(wait, _)| *wait).map(|(_, outcome)| outcome.clone())
}

/// Names and texts, each cut so that all of them are seen.
fn list(texts: &[(&str, &str)]) -> String {
    let share = limits::MESSAGE_BYTES_MAX / texts.len().max(1);
    let cut = |(name, text): &(&str, &str)| {
        let mut line = format!("{name}: {text}");
        line.truncate(line.floor_char_boundary(share.saturating_sub(2)));
        line
    };
    texts.iter().map(cut).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_gravest_outcome_is_that_of_the_event_and_names_its_handlers() {
        use Outcome::{Cancel, Done, Fail, Release, Retry, RetryAt, Snooze};
        let text = |text: &str| text.to_owned();
        let at = Timestamp::from_unix_micros;
        let seconds = Duration::from_secs;
        for (ended, merged) in [
            (vec![], Done),
            (vec![Done, Snooze(seconds(2))], Snooze(seconds(2))),
            (vec![Snooze(seconds(2)), RetryAt(at(1_000_000)), Snooze(seconds(1))], RetryAt(at(1_000_000))),
            (vec![RetryAt(at(9_000_000)), Snooze(seconds(3))], Snooze(seconds(3))),
            (vec![Snooze(seconds(2)), Release], Release),
            (vec![Snooze(seconds(2)), Retry(text("e"))], Retry(text("1: e"))),
            (vec![Done, Done], Done),
            (vec![Done, Release], Release),
            (vec![Retry(text("e")), Release, Done], Retry(text("0: e"))),
            (vec![Retry(text("e")), Done, Retry(text("f"))], Retry(text("0: e; 2: f"))),
            (vec![Retry(text("e")), Fail(text("f"))], Fail(text("0: e; 1: f"))),
            (vec![Fail(text("e")), Cancel(text("r")), Cancel(text("s"))], Cancel(text("1: r; 2: s"))),
        ] {
            let ended: Vec<(Arc<str>, Outcome)> =
                ended.into_iter().enumerate().map(|(at, outcome)| (at.to_string().into(), outcome)).collect();
            assert_eq!(gravest(&ended, at(500_000)), merged, "{ended:?}");
        }
    }

    #[test]
    fn a_failure_that_a_panic_had_a_part_in_is_told_as_a_panic() {
        let panicked = || ("a".into(), Ending::Panicked("panicked: e".to_owned()));
        let returned = |outcome| ("b".into(), Ending::Returned(outcome));
        for (other, merged) in [
            (Outcome::Done, Ending::Panicked("a: panicked: e".to_owned())),
            (Outcome::Retry("f".to_owned()), Ending::Panicked("a: panicked: e; b: f".to_owned())),
            (Outcome::Fail("f".to_owned()), Ending::Returned(Outcome::Fail("a: panicked: e; b: f".to_owned()))),
        ] {
            assert_eq!(merge(vec![panicked(), returned(other)], Timestamp::default()), merged);
        }
        assert_eq!(merge(vec![returned(Outcome::Done)], Timestamp::default()), Ending::Returned(Outcome::Done));
    }

    #[test]
    fn every_failing_handler_is_named_however_long_the_errors_are() {
        let ended: Vec<(Arc<str>, Outcome)> =
            ["first", "second", "third"].map(|name| (name.into(), Outcome::Retry("ä".repeat(4_096)))).into();
        let Outcome::Retry(errors) = gravest(&ended, Timestamp::default()) else { panic!("errors are retried") };
        assert!(errors.len() <= limits::MESSAGE_BYTES_MAX);
        for name in ["first: ä", "; second: ä", "; third: ä"] {
            assert!(errors.contains(name), "{name}");
        }
    }
}

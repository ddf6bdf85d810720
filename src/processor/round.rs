//! A round: what is claimable is run until nothing is, and whoever asked for it is told.

use serde::Serialize;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::event::Outcome;

/// What came of [`EventManager::process_pending`](crate::EventManager::process_pending): runs that have ended since it was called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Processed {
    /// Runs that have ended, whatever their outcome. An event that is retried meanwhile counts each time.
    pub runs: u64,
    /// Those that succeeded.
    pub done: u64,
    /// Those that failed, whether a retry follows or not.
    pub failed: u64,
}

/// Who is told of the end.
pub(super) type Reply = oneshot::Sender<Result<Processed, Error>>;

/// Who waits for the end of a round, and what has come of it so far.
#[derive(Default)]
pub(super) struct Round {
    waiting: Vec<Waiting>,
}

struct Waiting {
    reply: Reply,
    processed: Processed,
    /// A claim was under way when this was asked for: it may not have seen what was there by then.
    is_early: bool,
}

impl Round {
    /// Somebody asks for a round; if one is under way it goes on until nothing is claimable for either.
    pub(super) fn join(&mut self, reply: Reply, is_early: bool) {
        self.waiting.push(Waiting { reply, processed: Processed::default(), is_early });
    }

    /// Who waits no more need not be waited for.
    pub(super) fn let_go(&mut self) {
        self.waiting.retain(|waiting| !waiting.reply.is_closed());
    }

    pub(super) fn is_under_way(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A run has ended; its outcome, unless that is of no account.
    pub(super) fn count(&mut self, outcome: Option<&Outcome>) {
        for Waiting { processed, .. } in &mut self.waiting {
            processed.runs += 1;
            processed.done += u64::from(outcome == Some(&Outcome::Done));
            processed.failed += u64::from(matches!(outcome, Some(Outcome::Retry(_) | Outcome::Fail(_))));
        }
    }

    /// A claim found nothing, and nothing runs. Returns whether another claim is to be made.
    pub(super) fn end(&mut self) -> bool {
        for mut waiting in std::mem::take(&mut self.waiting) {
            if waiting.is_early {
                waiting.is_early = false;
                self.waiting.push(waiting);
            } else {
                // Whoever has gone away need not be told.
                let _ = waiting.reply.send(Ok(waiting.processed));
            }
        }
        self.is_under_way()
    }

    /// It cannot go on.
    pub(super) fn fail(&mut self, error: &Error) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.reply.send(Err(Error::new(error.kind(), error.to_string())));
        }
    }

    /// The workers stop: those who wait are told by the loss of their reply.
    pub(super) fn abandon(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_was_under_way_before_ends_no_round() {
        let mut round = Round::default();
        let ((early, mut told), (late, mut told_late)) = (oneshot::channel(), oneshot::channel());
        round.join(early, true);
        round.join(late, false);
        round.count(Some(&Outcome::Done));
        assert!(round.end(), "another claim is wanted");
        let done = Processed { runs: 1, done: 1, failed: 0 };
        assert!(told.try_recv().is_err());
        assert_eq!(told_late.try_recv().unwrap().unwrap(), done);
        round.count(Some(&Outcome::Retry("no".to_owned())));
        round.count(None);
        assert!(!round.end());
        assert_eq!(told.try_recv().unwrap().unwrap(), Processed { runs: 3, failed: 1, ..done });
    }
}

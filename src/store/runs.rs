//! Steps of an event's runs: claimed, settled, replayed, cancelled, given up.

use crate::error::{Error, ErrorKind};
use crate::event::backoff::Backoff;
use crate::event::entry::{
    Cancelled, Completed, Condemned, Entry, Failed, Of, Released, Replayed, Started, Token, Wait,
};
use crate::event::{Moment, Outcome, limits};
use crate::state::View;
use crate::store::core::{Core, Refused, Salts, Urgency};

/// An event that was claimed; its body is still on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    /// As it stands now: processing.
    pub(crate) view: View,
    pub(crate) token: Token,
}

/// What settling leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) seq: u64,
}

impl Core {
    /// Claims up to `count` events, oldest first. What it claims may run once it is written (R16).
    pub(crate) fn claim(&mut self, count: usize, now: Moment) -> Result<Vec<Claimed>, Refused> {
        self.check_open()?;
        while self.condemn_next(now)? {}
        let mut claimed = Vec::new();
        while claimed.len() < count {
            let durable = self.durable();
            let Some(offer) = self.state.next_claim(now, durable) else { break };
            let started = Started {
                of: offer.of,
                epoch: self.epoch,
                attempt: offer.attempt,
                alone: offer.alone,
                opens_claim: claimed.is_empty(),
                at: now.wall.unix_micros(),
            };
            match self.append(&Entry::Started(started), Urgency::Start, now) {
                Ok(seq) => {
                    let view = self.state.view(offer.of.seq).expect("what was offered is there");
                    claimed.push(Claimed { view, token: Token { epoch: self.epoch, started: seq } });
                }
                Err(_) if !claimed.is_empty() => break,
                Err(refused) => return Err(refused),
            }
        }
        Ok(claimed)
    }

    /// Settles the run that `token` names (R17).
    pub(crate) fn settle(&mut self, of: u64, token: Token, outcome: &Outcome, now: Moment) -> Result<Settled, Refused> {
        let view = self.state.judge_settle(of, token).map_err(|refused| not_allowed(&refused))?;
        let (of, at) = (view.of(), self.ended_at(now));
        let entry = match outcome {
            Outcome::Done => Entry::Completed(Completed { of, token, at }),
            Outcome::Retry(error) => {
                let retry = self.next_retry(&view, now);
                Entry::Failed(Failed { of, token, error: bounded(error), at, retry })
            }
            Outcome::Fail(error) => Entry::Failed(Failed { of, token, error: bounded(error), at, retry: None }),
            Outcome::Cancel(reason) => Entry::Cancelled(Cancelled { of, reason: bounded(reason), at }),
            Outcome::Release => Entry::Released(Released { of, token, at }),
        };
        let seq = self.append(&entry, Urgency::Transition, now)?;
        Ok(Settled { seq })
    }

    /// When something ends that ends now: not before the horizon in force. A clock behind that is wrong, and what it dated would be
    /// forgotten with the next segment, as if it had finished long ago.
    fn ended_at(&self, now: Moment) -> i64 {
        now.wall.unix_micros().max(self.state.totals().horizon.finished_before)
    }

    /// When the event runs again after the failure of its present run; none: its retries are spent.
    fn next_retry(&self, view: &View, now: Moment) -> Option<Wait> {
        if view.retry_count >= view.max_retries {
            return None;
        }
        let hash = Salts::at(&self.manifest.store_id, view.seq ^ (u64::from(view.attempt) << 48));
        let delay = Backoff::exponential(self.options.retry_interval).delay(view.retry_count + 1, hash);
        let due = now.wall.saturating_add(delay).unix_micros();
        Some(Wait { due, delay: u64::try_from(delay.as_micros()).unwrap_or(u64::MAX) })
    }

    /// Lets an event run anew; returns the seq to wait for.
    pub(crate) fn replay(&mut self, seq: u64, now: Moment) -> Result<u64, Refused> {
        let view = self.state.judge_replay(seq).map_err(|refused| not_allowed(&refused))?;
        let entry = Entry::Replayed(Replayed { of: view.of(), at: now.wall.unix_micros() });
        self.append(&entry, Urgency::Reception, now)
    }

    /// Calls an event off; returns the seq to wait for.
    pub(crate) fn cancel(&mut self, seq: u64, reason: &str, now: Moment) -> Result<u64, Refused> {
        let view = self.state.judge_cancel(seq).map_err(|refused| not_allowed(&refused))?;
        let entry = Entry::Cancelled(Cancelled { of: view.of(), reason: bounded(reason), at: self.ended_at(now) });
        self.append(&entry, Urgency::Transition, now)
    }

    /// Gives up one event that killed the process too often while it ran alone; false if there is none.
    pub(crate) fn condemn_next(&mut self, now: Moment) -> Result<bool, Refused> {
        let Some(of) = self.state.condemned().next() else { return Ok(false) };
        let reason = format!("the process died {} times while this event ran alone", self.options.process_deaths_max);
        self.condemn(of, &reason, now)?;
        Ok(true)
    }

    /// Gives up an event that waits to run; returns the seq to wait for, or nothing if it does not wait.
    pub(crate) fn give_up(&mut self, seq: u64, reason: &str, now: Moment) -> Result<Option<u64>, Refused> {
        let Ok(view) = self.state.judge_condemn(seq) else { return Ok(None) };
        self.condemn(view.of(), reason, now).map(Some)
    }

    fn condemn(&mut self, of: Of, reason: &str, now: Moment) -> Result<u64, Refused> {
        let entry = Entry::Condemned(Condemned { of, reason: bounded(reason), at: now.wall.unix_micros() });
        self.append(&entry, Urgency::Transition, now)
    }
}

/// A message as far as it is kept.
fn bounded(message: &str) -> &str {
    let end = message.floor_char_boundary(limits::MESSAGE_BYTES_MAX);
    message.get(..end).unwrap_or_default()
}

fn not_allowed(refused: &impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::NotAllowed, refused.to_string())
}

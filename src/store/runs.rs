//! Steps of an event's runs: claimed, settled, put off, replayed, cancelled, given up; and what becomes of events that nobody handles.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::event::backoff::Backoff;
use crate::event::entry::{
    Cancelled, Completed, Condemned, Entry, Failed, Handled, Of, Released, Replayed, Snoozed, Started, Token, Wait,
};
use crate::event::{Moment, Outcome, limits};
use crate::mutants::mutant;
use crate::state::View;
use crate::store::commit::micros;
use crate::store::core::{Core, Refused, Salts, Urgency};
use crate::store::options::Unhandled;

/// So many held events are ended together, under the lock.
const UNHANDLED_PER_CLAIM: usize = 256;

/// Why an event fails whose runs only ever put it off.
const PUT_OFF_TOO_OFTEN: &str = "its runs have put it off 1000 times since it arrived or was last replayed, and this one did so again: no more is allowed";

/// An event that was claimed; its body is still on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    /// As it stands now: processing.
    pub(crate) view: View,
    pub(crate) token: Token,
}

impl Core {
    /// Claims up to `count` events, as [`State::next_claim`](crate::state::State::next_claim) offers them. What it claims may run
    /// once it is written (R16).
    pub(crate) fn claim(&mut self, count: usize, now: Moment) -> Result<Vec<Claimed>, Refused> {
        self.check_open()?;
        while self.condemn_next(now)? {}
        self.end_unhandled(UNHANDLED_PER_CLAIM, now)?;
        let mut claimed = Vec::new();
        while claimed.len() < count {
            let durable = if mutant!("claim-before-durable") { u64::MAX } else { self.durable() };
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

    /// Settles the run that `token` names (R17); returns the seq to wait for.
    pub(crate) fn settle(&mut self, of: u64, token: Token, outcome: &Outcome, now: Moment) -> Result<u64, Refused> {
        self.settle_after(of, token, outcome, None, now)
    }

    /// As [`Core::settle`]; if a retry follows, it does so after `delay`, or else after the store's own backoff.
    pub(crate) fn settle_after(
        &mut self,
        of: u64,
        token: Token,
        outcome: &Outcome,
        delay: Option<Duration>,
        now: Moment,
    ) -> Result<u64, Refused> {
        self.check_open()?;
        let view = self.state.judge_settle(of, token).map_err(|refused| not_allowed(&refused))?;
        let (of, at) = (view.of(), self.ended_at(now));
        let entry = match outcome {
            Outcome::Done => Entry::Completed(Completed { of, token, at }),
            Outcome::Retry(error) => {
                let retry = self.next_retry(&view, delay, now);
                Entry::Failed(Failed { of, token, error: bounded(error), at, retry })
            }
            Outcome::Fail(error) => Entry::Failed(Failed { of, token, error: bounded(error), at, retry: None }),
            Outcome::Cancel(reason) => Entry::Cancelled(Cancelled { of, reason: bounded(reason), at }),
            Outcome::Release => Entry::Released(Released { of, token, at }),
            Outcome::RetryAt(time) => snoozed(&view, token, time.saturating_since(now.wall), now),
            Outcome::Snooze(wait) => snoozed(&view, token, *wait, now),
        };
        let seq = self.append(&entry, Urgency::Transition, now)?;
        self.tallies.settled(&view, &entry, now);
        Ok(seq)
    }

    /// When something ends that ends now: not before the horizon in force. What a clock behind that dated would be forgotten with the
    /// next segment, as if it had finished long ago. There each end is dated right behind the last one, so that those that finished first
    /// are still known, and go first where the log is too long.
    fn ended_at(&self, now: Moment) -> i64 {
        let (at, horizon) = (now.wall.unix_micros(), self.state.totals().horizon.finished_before);
        if at >= horizon {
            return at;
        }
        let last = self.state.finished_by(self.ended_until(now));
        last.map_or(horizon, |last| last.saturating_add(1).max(horizon))
    }

    /// Keeps that, of several handlers of the event whose run `token` names, the one of this name has succeeded (R17).
    pub(crate) fn record_handled(&mut self, of: u64, token: Token, handler: &str, now: Moment) -> Result<(), Refused> {
        limits::check("the name of a handler", handler, 1, limits::HANDLER_BYTES_MAX)?;
        self.check_open()?;
        let view = self.state.judge_settle(of, token).map_err(|refused| not_allowed(&refused))?;
        if view.handled.contains(&self.state.handler(handler)) {
            return Ok(());
        }
        if view.handled.len() >= limits::HANDLERS_MAX {
            let text = format!(
                "the handler {handler:?} cannot be kept as having succeeded: event {of} has {} already, and more are not kept",
                limits::HANDLERS_MAX
            );
            return Err(Error::invalid(text).into());
        }
        let entry = Entry::Handled(Handled { of: view.of(), token, handler, at: now.wall.unix_micros() });
        self.append(&entry, Urgency::Transition, now).map(drop)
    }

    /// When the event runs again after the failure of its present run; none: its retries are spent.
    fn next_retry(&self, view: &View, delay: Option<Duration>, now: Moment) -> Option<Wait> {
        if view.retry_count >= view.max_retries && !mutant!("retries-never-spent") {
            return None;
        }
        let delay = delay.unwrap_or_else(|| {
            let hash = Salts::at(&self.manifest.store_id, view.seq ^ (u64::from(view.attempt) << 48));
            Backoff::exponential(self.options.retry_interval).delay(view.retry_count + 1, hash)
        });
        let due = now.wall.saturating_add(delay).unix_micros();
        Some(Wait { due, delay: micros(delay) })
    }

    /// Lets an event run anew; returns the seq to wait for.
    pub(crate) fn replay(&mut self, seq: u64, now: Moment) -> Result<u64, Refused> {
        self.check_open()?;
        let view = self.state.judge_replay(seq).map_err(|refused| not_allowed(&refused))?;
        let entry = Entry::Replayed(Replayed { of: view.of(), at: now.wall.unix_micros() });
        self.append(&entry, Urgency::Reception, now)
    }

    /// Calls an event off; returns the seq to wait for.
    pub(crate) fn cancel(&mut self, seq: u64, reason: &str, now: Moment) -> Result<u64, Refused> {
        self.check_open()?;
        let view = self.state.judge_cancel(seq).map_err(|refused| not_allowed(&refused))?;
        let entry = Entry::Cancelled(Cancelled { of: view.of(), reason: bounded(reason), at: self.ended_at(now) });
        let has_slot = self.state.has_slot(seq);
        let cancelled = self.append(&entry, Urgency::Bulk, now)?;
        if let Some(token) = view.token.filter(|_| !mutant!("cancelled-run-forgotten")) {
            // Whoever runs it does not know yet; a run that calls its own event off has ended and comes by `settle`.
            self.state.leave(seq, token, has_slot);
        }
        self.tallies.called_off(&view);
        Ok(cancelled)
    }

    /// Whether claiming is worth it: events may be claimed, or some are to end because nobody handles them.
    pub(crate) fn is_ready(&self, now: Moment) -> bool {
        self.ends_held() || self.state.condemned().next().is_some() || self.state.ready(now, self.durable())
    }

    /// Whether events are left that are to end because nobody handles them.
    pub(crate) fn ends_held(&self) -> bool {
        self.options.unhandled != Unhandled::Hold && self.state.held().next().is_some()
    }

    /// Ends at most `count_max` of the held events as the options say; whether there were so many.
    pub(crate) fn end_unhandled(&mut self, count_max: usize, now: Moment) -> Result<bool, Refused> {
        for _ in 0..count_max {
            let Some((of, _)) = self.state.held().next() else { return Ok(false) };
            match self.options.unhandled {
                Unhandled::Hold => return Ok(false),
                Unhandled::Complete => self.complete_unhandled(of, now)?,
                Unhandled::Fail => drop(self.condemn(of, &self.no_handler(of), now)?),
            }
        }
        Ok(true)
    }

    /// Completes an event for which there is no handler: with a run of its own, in which nothing happens, because only a run completes.
    fn complete_unhandled(&mut self, of: Of, now: Moment) -> Result<(), Refused> {
        let view = self.state.judge_condemn(of.seq).map_err(|refused| not_allowed(&refused))?;
        let (epoch, at) = (self.epoch, now.wall.unix_micros());
        let attempt = view.attempt.saturating_add(1);
        let started = Entry::Started(Started { of, epoch, attempt, alone: false, opens_claim: false, at });
        let at = self.ended_at(now);
        let completed = |started| Entry::Completed(Completed { of, token: Token { epoch, started }, at });
        // Both stand in one group or neither does: nobody would settle the run.
        let lengths = [length(&started), length(&completed(u64::MAX))];
        self.make_room(lengths.iter().copied(), Urgency::Bulk, now)?;
        let (seq, _) = self.put(&started, now);
        self.put(&completed(seq), now);
        Ok(())
    }

    /// Fails at most `count_max` held events that are older than options allow; returns how many, and the seq to wait for.
    pub(crate) fn expire_held(&mut self, count_max: usize, now: Moment) -> Result<(usize, u64), Refused> {
        let before = now.wall.saturating_sub(self.options.held_age_max).unix_micros();
        let mut seq = self.durable();
        for count in 0..count_max {
            let Some((of, _)) = self.state.held().next().filter(|(_, since)| *since < before) else {
                return Ok((count, seq));
            };
            let reason = format!("{}, and none came for {:?}", self.no_handler(of), self.options.held_age_max);
            match self.condemn(of, &reason, now) {
                Ok(condemned) => seq = condemned,
                // What was done counts; the rest is asked for again.
                Err(_) if count > 0 => return Ok((count, seq)),
                Err(refused) => return Err(refused),
            }
        }
        Ok((count_max, seq))
    }

    fn no_handler(&self, of: Of) -> String {
        let event_type = self.state.view(of.seq).map_or_else(String::new, |view| view.event_type.to_string());
        format!("there is no handler for {event_type:?}")
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
        self.append(&condemned(of, reason, now), Urgency::Bulk, now)
    }

    /// Gives up an event that was received just now; room was made for that.
    pub(super) fn put_condemned(&mut self, seq: u64, reason: &str, now: Moment) {
        let view = self.state.judge_condemn(seq).expect("what was just received waits to run");
        self.put(&condemned(view.of(), reason, now), now);
    }
}

/// The most bytes that [`Core::put_condemned`] puts: how many they are depends on the event.
pub(super) fn condemned_bytes_max(reason: &str, now: Moment) -> usize {
    length(&condemned(Of { seq: u64::MAX, id_hash: u64::MAX }, reason, now))
}

fn condemned(of: Of, reason: &str, now: Moment) -> Entry<'_> {
    Entry::Condemned(Condemned { of, reason: bounded(reason), at: now.wall.unix_micros() })
}

/// What a run does that puts its event off by `wait`.
fn snoozed(view: &View, token: Token, wait: Duration, now: Moment) -> Entry<'static> {
    let (of, at) = (view.of(), now.wall.unix_micros());
    if view.snoozes >= limits::SNOOZES_MAX {
        return Entry::Failed(Failed { of, token, error: PUT_OFF_TOO_OFTEN, at, retry: None });
    }
    let delay = wait.min(limits::SNOOZE_MAX);
    let due = now.wall.saturating_add(delay).unix_micros();
    let wait = Wait { due, delay: micros(delay) };
    Entry::Snoozed(Snoozed { of, token, at, wait, count: view.snoozes + 1 })
}

fn length(entry: &Entry<'_>) -> usize {
    let mut encoded = Vec::new();
    entry.encode(&mut encoded);
    encoded.len()
}

/// A message as far as it is kept.
pub(super) fn bounded(message: &str) -> &str {
    let end = message.floor_char_boundary(limits::MESSAGE_BYTES_MAX);
    message.get(..end).unwrap_or_default()
}

pub(super) fn not_allowed(refused: &impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::NotAllowed, refused.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Status, Timestamp};
    use crate::state::Handled as Types;
    use crate::store::commit::Shared;
    use crate::store::options::StoreOptions;
    use crate::store::stories::{keep, store_with};

    const DAY: Duration = Duration::from_hours(24);

    /// What stands how, and why.
    fn all(shared: &Shared) -> Vec<(String, Status, String)> {
        let events = shared.list(&crate::store::Filter::all()).unwrap();
        let told = |event: &crate::event::Event| {
            let why = event.error_message().unwrap_or_default().to_owned();
            (event.id().to_owned(), event.status(), why)
        };
        events.iter().map(told).collect()
    }

    fn held(shared: &Shared) -> u64 {
        shared.desk().core.state.counts().held
    }

    fn settle(shared: &Shared, claimed: &Claimed, outcome: &Outcome, now: Moment) {
        shared.step(|core, _| core.settle(claimed.view.seq, claimed.token, outcome, now)).unwrap();
    }

    fn after(shared: &Shared, time: Duration) -> Moment {
        let now = shared.now();
        let steady = now.steady + u64::try_from(time.as_micros()).unwrap();
        Moment { wall: Timestamp::saturating_add(now.wall, time), steady }
    }

    #[test]
    fn what_is_held_for_thirty_days_since_it_last_moved_fails_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        for id in ["ran later", "never ran", "done"] {
            keep(&shared, id, 10).unwrap();
        }
        let later = after(&shared, 10 * DAY);
        let claims = shared.step(|core, _| core.claim(3, later)).unwrap();
        settle(&shared, &claims[0], &Outcome::Snooze(DAY), later);
        settle(&shared, &claims[1], &Outcome::Release, later);
        settle(&shared, &claims[2], &Outcome::Done, later);
        keep(&shared, "untouched", 10).unwrap();
        shared.desk().core.state.set_handled(Types::Only(["Comment".to_owned()].into()));
        assert_eq!(held(&shared), 3);
        let expire = |time, count_max| {
            let now = after(&shared, time);
            let (count, seq) = shared.step(|core, _| core.expire_held(count_max, now)).unwrap();
            shared.wait(seq, crate::store::desk::Level::Durable).unwrap();
            count
        };
        assert_eq!(expire(29 * DAY, 9), 0);
        assert_eq!(expire(31 * DAY, 9), 1, "the one that never ran");
        assert_eq!(expire(41 * DAY, 1), 1, "no more at a time than asked for");
        assert_eq!(expire(41 * DAY, 9), 1);
        let why = "there is no handler for \"Issue\", and none came for 2592000s";
        let failed = |id: &str| (id.to_owned(), Status::Failed, why.to_owned());
        let expected = [
            failed("ran later"),
            failed("never ran"),
            ("done".to_owned(), Status::Completed, String::new()),
            failed("untouched"),
        ];
        assert_eq!(all(&shared), expected);
    }

    #[test]
    fn events_that_are_held_are_listed_where_they_stand_though_no_other_stands_there() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        for id in ["pending", "retrying"] {
            keep(&shared, id, 10).unwrap();
        }
        let claims = shared.step(|core, now| core.claim(2, now)).unwrap();
        settle(&shared, &claims[0], &Outcome::Release, shared.now());
        settle(&shared, &claims[1], &Outcome::Retry("e".to_owned()), shared.now());
        shared.desk().core.state.set_handled(Types::Only([].into()));
        assert_eq!(held(&shared), 2);
        for (status, id) in [(Status::Pending, "pending"), (Status::Retrying, "retrying")] {
            let listed = shared.list(&crate::store::Filter::all().status(status)).unwrap();
            assert_eq!(listed.iter().map(crate::event::Event::id).collect::<Vec<_>>(), [id]);
        }
    }

    #[test]
    fn what_failed_for_lack_of_a_handler_has_another_thirty_days_once_it_was_replayed() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        keep(&shared, "a", 10).unwrap();
        shared.desk().core.state.set_handled(Types::Only([].into()));
        let expire = |time| {
            let now = after(&shared, time);
            shared.step(|core, _| core.expire_held(9, now)).unwrap().0
        };
        assert_eq!(expire(31 * DAY), 1);
        let (seq, later) = (shared.seqs(Status::Failed)[0], after(&shared, 40 * DAY));
        shared.step(|core, _| core.replay(seq, later)).unwrap();
        assert_eq!((expire(69 * DAY), expire(71 * DAY)), (0, 1));
    }

    #[test]
    fn claiming_ends_what_nobody_handles_some_at_a_time_and_says_that_there_is_more() {
        for unhandled in [Unhandled::Hold, Unhandled::Complete, Unhandled::Fail] {
            let dir = tempfile::tempdir().unwrap();
            let shared = store_with(dir.path(), true, StoreOptions::default().unhandled(unhandled));
            for number in 0..4 {
                keep(&shared, &number.to_string(), 10).unwrap();
            }
            let now = shared.now();
            assert!(!shared.step(|core, now| core.end_unhandled(9, now)).unwrap(), "all types are handled");
            shared.desk().core.state.set_handled(Types::Only([].into()));
            let more = shared.step(|core, _| core.end_unhandled(3, now)).unwrap();
            let ends = unhandled != Unhandled::Hold;
            assert_eq!((more, held(&shared)), (ends, if ends { 1 } else { 4 }));
            #[cfg(feature = "manager")]
            assert_eq!(shared.desk().core.is_ready(now), ends, "{unhandled:?}");
            assert_eq!(shared.step(|core, now| core.claim(9, now)).unwrap().len(), 0);
            let totals = shared.desk().core.state.totals();
            let counts = shared.desk().core.state.counts();
            assert_eq!((counts.of(Status::Processing), totals.claims), (0, 0), "no batch was claimed");
            let (held, completed, failed) = match unhandled {
                Unhandled::Hold => (4, 0, 0),
                Unhandled::Complete => (0, 4, 0),
                Unhandled::Fail => (0, 0, 4),
            };
            let found = (counts.held, counts.of(Status::Completed), counts.of(Status::Failed));
            assert_eq!((found, totals.completed), ((held, completed, failed), completed));
        }
    }
}

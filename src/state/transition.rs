//! What entries do to events.
//!
//! Each method judges first and changes afterwards: an entry that is refused has changed nothing.

use crate::event::entry::{
    Cancelled, Completed, Condemned, Failed, Handled, Of, Released, Replayed, Snoozed, Started, Token,
};
use crate::event::{Status, limits};
use crate::mutants::mutant;
use crate::state::events::Events;
use crate::state::gist::Gist;
use crate::state::hash::low;
use crate::state::machine::{Stamp, State};
use crate::state::slot::{Arrival, Fact};
use crate::state::slots::Slots;
use crate::state::table::{self, Step};
use crate::state::verdict::{Applied, Illegal, Reason};

impl State {
    /// Adds the event that a reception brings.
    pub(super) fn add(&mut self, stamp: Stamp, gist: &Gist, event_type: &str) -> Result<(), Illegal> {
        let taken = |seq| stamp.illegal(Reason::TakenId { seq });
        let gap = match self.events.slots.by_id_or_gap(gist.id) {
            Ok(at) => return Err(taken(self.events.slots[at].seq)),
            Err(gap) => gap,
        };
        if let Some(known) = self.memory.by_id(gist.id) {
            return Err(taken(known.seq));
        }
        if !self.events.types.is_numberable(event_type) {
            return Err(stamp.illegal(Reason::Types));
        }
        let status = table::next(None, Step::Received).expect("what is new may be received");
        let due = gist.not_before.and_then(|due| {
            let delay = u64::try_from(due.saturating_sub(gist.received_at)).unwrap_or(0);
            due_by(stamp, due, delay)
        });
        let kind = self.events.number(event_type);
        let arrival = Arrival {
            seq: stamp.seq,
            place: stamp.place,
            id: gist.id,
            body: gist.body,
            key: gist.key,
            kind,
            // A log that was not written here may have others.
            priority: gist.priority.min(limits::PRIORITY_MAX),
            received_at: gist.received_at,
            max_retries: gist.max_retries,
            flags: gist.flags,
            due,
            status,
        };
        self.events.add(&arrival, gap);
        self.segments.keep(stamp.place, stamp.seq);
        Ok(())
    }

    pub(super) fn start(&mut self, stamp: Stamp, started: Started) -> Result<Applied, Illegal> {
        if started.epoch != self.epoch {
            return Err(stamp.illegal(Reason::Epoch { expected: self.epoch, found: started.epoch }));
        }
        let was_suspect = !self.events.lanes.suspects.is_empty();
        let Events { slots, lanes, .. } = &mut self.events;
        let kind = slots.by_seq(started.of.seq).map(|at| slots[at].kind());
        if let Some(kind) = kind {
            lanes.ready.begin_turn(kind);
        }
        let applied = self.change(stamp, started.of, Step::Started, None, |slots, at| {
            let slot = &mut slots[at];
            slot.attempt = u16::try_from(started.attempt).unwrap_or(u16::MAX);
            slot.set_last_attempt(started.at);
            slot.set_due(None);
            slot.set(Fact::ALONE, started.alone);
        });
        if let Some(kind) = kind {
            let Events { slots, lanes, .. } = &mut self.events;
            lanes.ready.end_turn(slots, kind, applied.is_ok().then_some(stamp.seq));
        }
        let applied = applied?;
        self.passed_over = if was_suspect && !started.alone { self.passed_over.saturating_add(1) } else { 0 };
        Ok(applied)
    }

    pub(super) fn complete(&mut self, stamp: Stamp, completed: Completed) -> Result<Applied, Illegal> {
        self.change(stamp, completed.of, Step::Completed, Some(completed.token), |slots, at| {
            slots[at].set_finished_at(completed.at);
            slots.set_error_at(at, None);
            slots.forget_extras(at);
        })
    }

    pub(super) fn fail(&mut self, stamp: Stamp, failed: &Failed<'_>) -> Result<Applied, Illegal> {
        let step = if failed.retry.is_some() { Step::FailedAgain } else { Step::Failed };
        self.change(stamp, failed.of, step, Some(failed.token), |slots, at| {
            let slot = &mut slots[at];
            slot.retry_count = slot.retry_count.saturating_add(1);
            match failed.retry {
                Some(wait) => slot.set_due(due_by(stamp, wait.due, wait.delay)),
                None => slot.set_finished_at(failed.at),
            }
            slots.set_error_at(at, Some(stamp.place));
        })
    }

    pub(super) fn release(&mut self, stamp: Stamp, released: Released) -> Result<Applied, Illegal> {
        self.change(stamp, released.of, Step::Released, Some(released.token), |_, _| ())
    }

    pub(super) fn replay(&mut self, stamp: Stamp, replayed: Replayed) -> Result<Applied, Illegal> {
        self.change(stamp, replayed.of, Step::Replayed, None, |slots, at| {
            let slot = &mut slots[at];
            slot.retry_count = if mutant!("replay-keeps-the-retry-count") { slot.retry_count } else { 0 };
            slot.forget_deaths();
            slot.set_due(None);
            slots.set_error_at(at, None);
            if !mutant!("replay-keeps-its-place") {
                slots.set_rank(at, stamp.seq, replayed.at);
            }
            slots.set_snoozes(at, 0);
        })
    }

    pub(super) fn cancel(&mut self, stamp: Stamp, cancelled: &Cancelled<'_>) -> Result<Applied, Illegal> {
        self.give_up(stamp, cancelled.of, Step::Cancelled, cancelled.at)
    }

    pub(super) fn snooze(&mut self, stamp: Stamp, snoozed: Snoozed) -> Result<Applied, Illegal> {
        self.change(stamp, snoozed.of, Step::Snoozed, Some(snoozed.token), |slots, at| {
            slots[at].set_due(due_by(stamp, snoozed.wait.due, snoozed.wait.delay));
            slots.set_snoozes(at, snoozed.count);
        })
    }

    /// The run goes on under its token, so the entry that started it stays the event's last.
    pub(super) fn handle(&mut self, stamp: Stamp, handled: Handled<'_>) -> Result<Applied, Illegal> {
        let of = handled.of;
        let Some((at, _)) = self.judge_change(stamp, of, Step::Handled, Some(handled.token))? else {
            return Ok(Applied::Orphan { of_seq: of.seq });
        };
        let name = self.handler(handled.handler);
        let known = self.events.slots.handled(at);
        if !known.contains(&name) {
            if known.len() >= limits::HANDLERS_MAX {
                return Err(stamp.illegal(Reason::Handlers { of_seq: of.seq }));
            }
            self.events.slots.add_handled(at, name);
        }
        self.events.slots.note(of.seq, at);
        self.segments.refer(stamp.place, self.events.slots[at].place().segment, stamp.seq);
        Ok(Applied::Done)
    }

    pub(super) fn condemn(&mut self, stamp: Stamp, condemned: &Condemned<'_>) -> Result<Applied, Illegal> {
        self.give_up(stamp, condemned.of, Step::Condemned, condemned.at)
    }

    fn give_up(&mut self, stamp: Stamp, of: Of, step: Step, finished_at: i64) -> Result<Applied, Illegal> {
        self.change(stamp, of, step, None, |slots, at| {
            if step == Step::Cancelled {
                slots.forget_extras(at);
            }
            slots[at].set_finished_at(finished_at);
            slots.set_error_at(at, Some(stamp.place));
        })
    }

    /// Judges a transition and makes it: the status is the table's, `change` does the rest.
    fn change(
        &mut self,
        stamp: Stamp,
        of: Of,
        step: Step,
        token: Option<Token>,
        change: impl FnOnce(&mut Slots, u32),
    ) -> Result<Applied, Illegal> {
        let Some((at, next)) = self.judge_change(stamp, of, step, token)? else {
            return Ok(Applied::Orphan { of_seq: of.seq });
        };
        self.events.slots.note(of.seq, at);
        self.segments.refer(stamp.place, self.events.slots[at].place().segment, stamp.seq);
        self.events.change(at, |slots| {
            let slot = &mut slots[at];
            slot.set_status(next);
            slot.last_seq = stamp.seq;
            slot.set(Fact::ALONE, false);
            slot.set(Fact::STUCK, false);
            change(slots, at);
        });
        debug_assert!(next != Status::Processing || self.events.slots[at].due().is_none(), "what runs does not wait");
        Ok(Applied::Done)
    }

    /// The event that a transition is about, if it is known, and where it stands afterwards.
    fn judge_change(
        &self,
        stamp: Stamp,
        of: Of,
        step: Step,
        token: Option<Token>,
    ) -> Result<Option<(u32, Status)>, Illegal> {
        let Some(at) = self.subject(stamp, of)? else { return Ok(None) };
        let slot = &self.events.slots[at];
        let status = slot.status();
        let Some(next) = table::next(Some(status), step) else {
            return Err(stamp.illegal(Reason::Step { of_seq: of.seq, status, step }));
        };
        let expected = Token { epoch: self.epoch, started: slot.last_seq };
        match token.filter(|token| *token != expected && !mutant!("stale-token-accepted")) {
            Some(found) => Err(stamp.illegal(Reason::Token { of_seq: of.seq, expected, found })),
            None => Ok(Some((at, next))),
        }
    }

    /// The event that a transition is about, if it is known.
    fn subject(&self, stamp: Stamp, of: Of) -> Result<Option<u32>, Illegal> {
        if of.seq >= stamp.seq {
            return Err(stamp.illegal(Reason::Future { of_seq: of.seq }));
        }
        let Some(at) = self.events.slots.by_seq(of.seq) else {
            return Ok(None);
        };
        if low(self.events.slots[at].id()) != of.id_hash {
            return Err(stamp.illegal(Reason::OtherId { of_seq: of.seq }));
        }
        Ok(Some(at))
    }
}

/// Until when to wait, by the steady clock, for a moment of the wall clock that was `delay` away when it was decided; none if it is
/// here. One formula, live and at replay: a clock that went back stretches no wait beyond its delay.
pub(super) fn due_by(stamp: Stamp, due: i64, delay: u64) -> Option<u64> {
    let left = u64::try_from(due.saturating_sub(stamp.now.wall.unix_micros())).unwrap_or(0);
    let left = if mutant!("wait-stretched-by-the-clock") { left } else { left.min(delay) };
    if mutant!("delay-recomputed-after-a-restart") {
        return (delay > 0).then(|| stamp.now.steady.saturating_add(delay));
    }
    (left > 0).then(|| stamp.now.steady.saturating_add(left))
}

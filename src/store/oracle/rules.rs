//! What is true after some facts.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Arrival, Fact};
use crate::event::entry::Wait;
use crate::event::{Scope, Status};

/// From so many deaths on an event runs alone.
const SUSPECT_DEATHS: u32 = 2;
/// After so many deaths alone it has failed.
pub(super) const DEATHS_MAX: u32 = 3;

/// An event.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) seq: u64,
    pub(super) arrival: Arrival,
    pub(super) status: Status,
    pub(super) retry_count: u32,
    pub(super) attempt: u32,
    /// Its place in the order of its key: when it arrived, or was last replayed.
    pub(super) rank: u64,
    pub(super) wait: Option<Wait>,
    /// Until when it waits, by the steady clock.
    pub(super) due: Option<u64>,
    /// Epoch and seq of the start of its present run.
    pub(super) run: Option<(u64, u64)>,
    pub(super) snoozes: u32,
    /// The handlers that have succeeded.
    pub(super) handled: BTreeSet<String>,
    alone: bool,
    deaths: u32,
    pub(super) alone_deaths: u32,
    pub(super) finished_at: Option<i64>,
}

impl Case {
    fn new(seq: u64, arrival: Arrival) -> Self {
        Self {
            seq,
            arrival,
            status: Status::Pending,
            retry_count: 0,
            attempt: 0,
            rank: seq,
            wait: None,
            due: None,
            run: None,
            snoozes: 0,
            handled: BTreeSet::new(),
            alone: false,
            deaths: 0,
            alone_deaths: 0,
            finished_at: None,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.status, Status::Pending | Status::Retrying)
    }

    fn is_suspect(&self) -> bool {
        self.deaths >= SUSPECT_DEATHS
    }

    pub(super) fn is_condemned(&self) -> bool {
        self.is_waiting() && self.due.is_none() && self.alone_deaths >= DEATHS_MAX
    }

    /// Whether it was completed or cancelled before this moment.
    pub(super) fn is_over_since(&self, before: i64) -> bool {
        let is_over = matches!(self.status, Status::Completed | Status::Cancelled);
        is_over && self.finished_at.is_some_and(|at| at < before)
    }

    fn holds_key(&self) -> bool {
        let is_not_due = self.status == Status::Pending && self.due.is_some();
        (self.is_waiting() || self.status == Status::Processing) && !is_not_due
    }

    /// It is over: what only matters to a further run is not remembered.
    fn end(&mut self, status: Status, at: i64) {
        self.finish(status, at);
        self.handled.clear();
        self.snoozes = 0;
    }

    fn finish(&mut self, status: Status, at: i64) {
        (self.status, self.finished_at) = (status, Some(at));
        (self.wait, self.due, self.run, self.alone) = (None, None, None, false);
    }
}

/// All events, and the clock by which they wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    pub(super) cases: BTreeMap<u64, Case>,
    /// Ids of forgotten events, and when those were received.
    pub(super) remembered: BTreeMap<String, (String, i64)>,
    /// What is paused: with an end, that of the wait and that by the steady clock.
    pub(super) pauses: BTreeMap<Scope, (Option<Wait>, Option<u64>)>,
    /// How many of a type may run at once; the process that dies forgets it.
    pub(super) limits: BTreeMap<String, u32>,
    pub(super) epoch: u64,
    /// Runs of events that were called off meanwhile: by the event, with its arrival and the run's start. The process that dies ends them.
    pub(super) leftovers: BTreeMap<u64, (Arrival, u64)>,
    /// Endings are not dated before this, whatever the clock says: see [`Rules::ending`].
    pub(super) finished_before: i64,
    remembered_before: i64,
}

/// A reading of both clocks, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: i64,
    pub(super) steady: u64,
}

impl Rules {
    pub(super) fn new() -> Self {
        Self { finished_before: i64::MIN, remembered_before: i64::MIN, ..Self::default() }
    }

    /// Lets it have happened.
    pub(super) fn take(&mut self, seq: u64, fact: &Fact, now: Now) {
        match fact {
            Fact::Received(arrival) => {
                let mut case = Case::new(seq, arrival.clone());
                case.wait = arrival.not_before.map(|due| {
                    let delay = u64::try_from(due.saturating_sub(arrival.received_at)).unwrap_or(0);
                    Wait { due, delay }
                });
                case.due = case.wait.and_then(|wait| left(wait, now));
                self.cases.insert(seq, case);
            }
            Fact::Paused { scope, wait } => {
                let ends = wait.map(|wait| left(wait, now).unwrap_or(0));
                self.pauses.insert(scope.clone(), (*wait, ends));
            }
            Fact::Resumed { scope } => drop(self.pauses.remove(scope)),
            Fact::Begun { epoch, is_death } => self.begin(*epoch, *is_death, now),
            Fact::Horizon { finished_before, remembered_before } => self.forget(*finished_before, *remembered_before),
            Fact::Started { of, epoch, alone } => {
                let case = self.case(*of);
                case.status = Status::Processing;
                case.attempt += 1;
                (case.run, case.alone, case.wait, case.due) = (Some((*epoch, seq)), *alone, None, None);
            }
            Fact::Completed { of, at } => self.case(*of).end(Status::Completed, *at),
            Fact::Cancelled { of, at } => self.case(*of).end(Status::Cancelled, *at),
            Fact::Condemned { of, at } => self.case(*of).finish(Status::Failed, *at),
            Fact::Failed { of, at, wait } => {
                let case = self.case(*of);
                case.retry_count += 1;
                match wait {
                    None => case.finish(Status::Failed, *at),
                    Some(wait) => {
                        case.finish(Status::Retrying, *at);
                        (case.finished_at, case.wait, case.due) = (None, Some(*wait), left(*wait, now));
                    }
                }
            }
            Fact::Snoozed { of, wait } => {
                let case = self.case(*of);
                case.finish(Status::Retrying, 0);
                (case.finished_at, case.wait, case.due) = (None, Some(*wait), left(*wait, now));
                case.snoozes += 1;
            }
            Fact::Handled { of, handler } => drop(self.case(*of).handled.insert(handler.clone())),
            Fact::Released { of } => {
                let case = self.case(*of);
                (case.status, case.run, case.alone) = (Status::Pending, None, false);
            }
            Fact::Replayed { of } => {
                let case = self.case(*of);
                case.finish(Status::Pending, 0);
                (case.finished_at, case.rank, case.retry_count, case.snoozes) = (None, seq, 0, 0);
                (case.deaths, case.alone_deaths) = (0, 0);
            }
        }
    }

    fn case(&mut self, seq: u64) -> &mut Case {
        self.cases.get_mut(&seq).unwrap()
    }

    fn begin(&mut self, epoch: u64, is_death: bool, now: Now) {
        self.epoch = epoch;
        self.leftovers.clear();
        self.limits.clear();
        for (wait, ends) in self.pauses.values_mut() {
            *ends = wait.map(|wait| left(wait, now).unwrap_or(0));
        }
        for case in self.cases.values_mut() {
            if case.status == Status::Processing {
                case.status = Status::Pending;
                case.deaths += u32::from(is_death);
                case.alone_deaths += u32::from(is_death && case.alone);
                (case.run, case.alone) = (None, false);
            }
            // No clock stretches a wait beyond what was decided.
            case.due = case.wait.and_then(|wait| left(wait, now));
        }
    }

    fn forget(&mut self, finished_before: i64, remembered_before: i64) {
        self.finished_before = self.finished_before.max(finished_before);
        self.remembered_before = self.remembered_before.max(remembered_before);
        let is_old = |case: &Case| case.is_over_since(finished_before);
        for case in self.cases.extract_if(.., |_, case| is_old(case)).map(|(_, case)| case) {
            self.remembered.insert(case.arrival.id, (case.arrival.text, case.arrival.received_at));
        }
        let before = self.remembered_before;
        self.remembered.retain(|_, (_, received_at)| *received_at >= before);
    }

    /// How what ends now is dated: behind all that finished before it, where the clock is behind the horizon.
    pub(super) fn ending(&self, now: i64, reach: i64) -> i64 {
        let horizon = self.finished_before;
        if now >= horizon {
            return now;
        }
        let is_over = |case: &&Case| case.is_over_since(horizon.saturating_add(reach).saturating_add(1));
        let last = self.cases.values().filter(is_over).filter_map(|case| case.finished_at).max();
        last.map_or(horizon, |last| horizon.max(last + 1))
    }

    /// Ends the waits that are over.
    pub(super) fn wake(&mut self, now: Now) {
        self.pauses.retain(|_, (_, ends)| ends.is_none_or(|ends| ends > now.steady));
        for case in self.cases.values_mut() {
            if case.due.is_some_and(|due| due <= now.steady) {
                (case.due, case.wait) = (None, None);
            }
        }
    }

    /// The event of the key that comes before this one, if one does.
    pub(super) fn ahead_of(&self, case: &Case) -> Option<&Case> {
        let key = case.arrival.key.as_ref()?;
        let place = |case: &Case| (case.status != Status::Processing, case.rank);
        self.cases.values().find(|other| {
            other.seq != case.seq
                && other.arrival.key.as_ref() == Some(key)
                && other.holds_key()
                && place(other) < place(case)
        })
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.cases.values().filter(|case| case.status == Status::Processing).count()
    }

    fn runs_alone(&self) -> bool {
        self.cases.values().any(|case| case.status == Status::Processing && case.alone)
    }

    /// Whether a suspect waits for its turn; then others may have to wait for it.
    pub(super) fn has_suspect(&self) -> bool {
        self.cases.values().any(|case| case.is_waiting() && case.is_suspect())
    }

    /// Whether a run that is left over must end before it may run: its own, or one of its key.
    fn is_behind_a_leftover(&self, case: &Case) -> bool {
        let is_of_key = |left: &Arrival| left.key.is_some() && left.key == case.arrival.key;
        self.leftovers.iter().any(|(of, (left, _))| *of == case.seq || is_of_key(left))
    }

    fn is_paused(&self, case: &Case) -> bool {
        let of_key = case.arrival.key.clone().map(Scope::Key);
        let scopes = [Some(Scope::Type(case.arrival.event_type.clone())), of_key];
        scopes.into_iter().flatten().any(|scope| self.pauses.contains_key(&scope))
    }

    /// Whether as many of its type run as may.
    fn is_at_its_limit(&self, case: &Case) -> bool {
        let event_type = &case.arrival.event_type;
        let is_running = |case: &&Case| case.status == Status::Processing && case.arrival.event_type == *event_type;
        let left = self.leftovers.values().filter(|(left, _)| left.event_type == *event_type).count();
        let running = self.cases.values().filter(is_running).count() + left;
        self.limits.get(event_type).is_some_and(|limit| running >= *limit as usize)
    }

    /// Whether it may run now, but for what is not durable yet; and whether alone.
    pub(super) fn may_run(&self, case: &Case) -> Option<bool> {
        let is_free = case.is_waiting() && case.due.is_none() && !case.is_condemned() && self.ahead_of(case).is_none();
        let alone = case.is_suspect();
        let is_free = is_free && !self.is_behind_a_leftover(case) && !self.is_paused(case);
        let is_free = is_free && (alone || !self.is_at_its_limit(case));
        let is_let = if alone { self.running() == 0 } else { !self.runs_alone() };
        (is_free && is_let).then_some(alone)
    }
}

/// Until when it waits: as long as was decided, but no longer than until the moment that was decided.
fn left(wait: Wait, now: Now) -> Option<u64> {
    let left = u64::try_from(wait.due.saturating_sub(now.wall)).unwrap_or(0).min(wait.delay);
    (left > 0).then_some(now.steady + left)
}

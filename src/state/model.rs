//! The same rules as [`State`](crate::state::State), as plainly as they can be said: a list of events, walked for every question.

use std::collections::BTreeMap;

use crate::event::entry::{Entry, Flags, Of, Paused, Received, Token};
use crate::event::{Moment, Place, Scope, Status, Timestamp, Waiting};
use crate::state::hash::low;
use crate::state::ready::STEP_MICROS;
use crate::state::{Handled, Known, Reception};

#[derive(Debug, Clone)]
pub(super) struct Toy {
    pub(super) seq: u64,
    pub(super) id: u128,
    pub(super) key: Option<String>,
    pub(super) event_type: String,
    pub(super) place: Place,
    pub(super) body: Option<u128>,
    pub(super) flags: Flags,
    pub(super) received_at: i64,
    pub(super) priority: u8,
    /// Since when it waits: its reception or its last replay.
    since: i64,
    pub(super) status: Status,
    pub(super) rank: u64,
    pub(super) due: Option<u64>,
    pub(super) started: u64,
    pub(super) alone: bool,
    /// Its run has lost its slot.
    pub(super) stuck: bool,
    pub(super) attempt: u32,
    pub(super) retry_count: u32,
    pub(super) deaths: u32,
    pub(super) alone_deaths: u32,
    pub(super) finished_at: Option<i64>,
    pub(super) error_at: Option<Place>,
    pub(super) last_seq: u64,
    pub(super) snoozes: u32,
    /// Names of its handlers that have succeeded.
    pub(super) handled: Vec<String>,
}

/// A run that goes on although its event was cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) seq: u64,
    pub(super) started: u64,
    key: Option<String>,
    event_type: String,
    pub(super) has_slot: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Ghost {
    pub(super) seq: u64,
    pub(super) id: u128,
    body: Option<u128>,
    identity: bool,
    received_at: i64,
}

/// When a pause ends, if ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Until(pub(super) Option<i64>);

#[derive(Debug)]
pub(super) struct Model {
    pub(super) toys: Vec<Toy>,
    pub(super) ghosts: Vec<Ghost>,
    pub(super) handled: Handled,
    pub(super) left: Vec<Left>,
    /// Types in the order in which they came, each with the seq of its last `Started`.
    pub(super) types: Vec<(String, u64)>,
    pub(super) limits: BTreeMap<String, u32>,
    /// Until when by both clocks, where there is an end.
    pub(super) pauses: BTreeMap<Scope, Option<(i64, u64)>>,
    pub(super) cursors: BTreeMap<String, u64>,
    pub(super) epoch: u64,
    boot: Option<u64>,
    closed: bool,
    passed_over: u32,
    remembered_before: i64,
}

impl Model {
    /// The event's reception, or its message, lies elsewhere from now on.
    pub(super) fn relocate(&mut self, seq: u64, from: Place, to: Place) {
        if let Some(toy) = self.toys.iter_mut().find(|toy| toy.seq == seq) {
            if toy.place == from {
                toy.place = to;
            } else if toy.error_at == Some(from) {
                toy.error_at = Some(to);
            }
        }
    }

    pub(super) fn new() -> Self {
        Self {
            toys: Vec::new(),
            ghosts: Vec::new(),
            handled: Handled::All,
            left: Vec::new(),
            types: Vec::new(),
            limits: BTreeMap::new(),
            pauses: BTreeMap::new(),
            cursors: BTreeMap::new(),
            epoch: 0,
            boot: None,
            closed: false,
            passed_over: 0,
            remembered_before: i64::MIN,
        }
    }

    pub(super) fn token(&self, toy: &Toy) -> Token {
        Token { epoch: self.epoch, started: toy.started }
    }

    /// Applies an entry that is legal.
    pub(super) fn apply(&mut self, seq: u64, place: Place, id: u128, entry: &Entry<'_>, now: Moment) {
        match entry {
            Entry::Begun(begun) if begun.epoch > self.epoch => {
                let death = self.boot == Some(begun.boot) && !self.closed;
                for toy in self.toys.iter_mut().filter(|toy| toy.status == Status::Processing) {
                    toy.status = Status::Pending;
                    toy.deaths += u32::from(death);
                    toy.alone_deaths += u32::from(death && toy.alone);
                    toy.stuck = false;
                }
                (self.epoch, self.boot, self.passed_over) = (begun.epoch, Some(begun.boot), 0);
                self.left.clear();
            }
            Entry::Begun(_) | Entry::State(_) | Entry::Mark(_) | Entry::Remembered(_) | Entry::Accepted(_) => {}
            Entry::Paused(paused) => self.pause(paused, now),
            Entry::Resumed(resumed) => drop(self.pauses.remove(&resumed.scope.into())),
            Entry::Cursor(cursor) => {
                self.cursors.remove(cursor.name);
                self.cursors.extend(cursor.seq.map(|seq| (cursor.name.to_owned(), seq)));
            }
            Entry::Horizon(horizon) => self.forget(horizon.finished_before, horizon.remembered_before),
            Entry::Received(received) => self.receive(seq, place, id, received, now),
            _ => self.change(seq, place, entry, now),
        }
        self.closed = matches!(entry, Entry::Mark(crate::event::entry::Mark::Close));
    }

    fn pause(&mut self, paused: &Paused<'_>, now: Moment) {
        let left = |until: i64| u64::try_from((until - now.wall.unix_micros()).min(until - paused.at)).unwrap_or(0);
        let ends = paused.until.map(|until| (until, now.steady + left(until)));
        self.pauses.insert(paused.scope.into(), ends);
    }

    /// The pause of this scope, if it is in force, and until when.
    pub(super) fn pause_of(&self, scope: &Scope, now: Moment) -> Option<Until> {
        let ends = self.pauses.get(scope)?;
        ends.is_none_or(|(_, steady)| steady > now.steady).then(|| Until(ends.map(|(until, _)| until)))
    }

    /// The pause that concerns an event: that of its key, or of its type.
    fn pause_over(&self, toy: &Toy, now: Moment) -> Option<Waiting> {
        let key = toy.key.clone().map(Scope::Key);
        let mut scopes = key.into_iter().chain([Scope::Type(toy.event_type.clone())]);
        scopes.find_map(|scope| {
            let until = self.pause_of(&scope, now)?.0.map(Timestamp::from_unix_micros);
            Some(Waiting::Pause { scope, until })
        })
    }

    fn receive(&mut self, seq: u64, place: Place, id: u128, received: &Received<'_>, now: Moment) {
        if self.types.iter().all(|(name, _)| name != received.event_type) {
            self.types.push((received.event_type.to_owned(), 0));
        }
        let due = received.not_before.filter(|due| *due > now.wall.unix_micros());
        let left = due.map(|due| (due - now.wall.unix_micros()).min((due - received.received_at).max(0)));
        self.toys.push(Toy {
            seq,
            id,
            key: received.key.map(str::to_owned),
            event_type: received.event_type.to_owned(),
            place,
            body: received.body_hash.map(|hash| crate::state::body_hash(&hash)),
            flags: received.flags,
            received_at: received.received_at,
            priority: received.priority,
            since: received.received_at,
            status: Status::Pending,
            rank: seq,
            due: left.filter(|left| *left > 0).map(|left| now.steady + u64::try_from(left).unwrap()),
            started: 0,
            alone: false,
            stuck: false,
            attempt: 0,
            retry_count: 0,
            deaths: 0,
            alone_deaths: 0,
            finished_at: None,
            error_at: None,
            last_seq: seq,
            snoozes: 0,
            handled: Vec::new(),
        });
    }

    /// A cancelled event's run goes on.
    pub(super) fn leave(&mut self, seq: u64, started: u64, has_slot: bool) {
        let toy = self.toys.iter().find(|toy| toy.seq == seq).unwrap();
        self.left.push(Left { seq, started, key: toy.key.clone(), event_type: toy.event_type.clone(), has_slot });
    }

    /// It does not end either.
    pub(super) fn lose_leftover(&mut self, seq: u64) {
        self.left.iter_mut().filter(|left| left.seq == seq).for_each(|left| left.has_slot = false);
    }

    /// A run does not end though it was told to.
    pub(super) fn lose_slot(&mut self, seq: u64) {
        let toy = self.toys.iter_mut().find(|toy| toy.seq == seq).unwrap();
        (toy.alone, toy.stuck) = (false, true);
    }

    /// One that did not.
    pub(super) fn stuck(&self) -> Option<(Of, Token)> {
        let toy = self.toys.iter().find(|toy| toy.stuck)?;
        Some((Of { seq: toy.seq, id_hash: low(toy.id) }, self.token(toy)))
    }

    fn change(&mut self, seq: u64, place: Place, entry: &Entry<'_>, now: Moment) {
        let suspects = !self.offerable(now, true).is_empty();
        let of = entry.of().expect("the rest are transitions").seq;
        let toy = self.toys.iter_mut().find(|toy| toy.seq == of).unwrap();
        if let Entry::Handled(handled) = entry {
            if !toy.handled.iter().any(|name| name == handled.handler) {
                toy.handled.push(handled.handler.to_owned());
            }
            return;
        }
        toy.last_seq = seq;
        toy.due = None;
        toy.stuck = false;
        if matches!(entry, Entry::Completed(_) | Entry::Cancelled(_)) {
            (toy.snoozes, toy.handled) = (0, Vec::new());
        }
        match entry {
            Entry::Snoozed(snoozed) => {
                (toy.status, toy.snoozes) = (Status::Retrying, snoozed.count);
                let left = u64::try_from(snoozed.wait.due - now.wall.unix_micros()).unwrap_or(0);
                toy.due = Some(now.steady + left).filter(|_| left > 0);
            }
            Entry::Started(started) => {
                (toy.status, toy.started, toy.attempt) = (Status::Processing, seq, started.attempt);
                toy.alone = started.alone;
                let event_type = toy.event_type.clone();
                self.types.iter_mut().find(|(name, _)| *name == event_type).unwrap().1 = seq;
                self.passed_over = if suspects && !started.alone { self.passed_over + 1 } else { 0 };
            }
            Entry::Completed(completed) => {
                (toy.status, toy.finished_at, toy.error_at) = (Status::Completed, Some(completed.at), None);
            }
            Entry::Failed(failed) => {
                toy.retry_count += 1;
                toy.error_at = Some(place);
                toy.status = if failed.retry.is_some() { Status::Retrying } else { Status::Failed };
                toy.finished_at = Some(failed.at).filter(|_| failed.retry.is_none());
                let left = failed.retry.map(|wait| u64::try_from(wait.due - now.wall.unix_micros()).unwrap_or(0));
                toy.due = left.filter(|left| *left > 0).map(|left| now.steady + left);
            }
            Entry::Released(_) => toy.status = Status::Pending,
            Entry::Replayed(replayed) => {
                toy.since = replayed.at;
                (toy.status, toy.finished_at, toy.error_at) = (Status::Pending, None, None);
                (toy.rank, toy.retry_count, toy.deaths, toy.alone_deaths) = (seq, 0, 0, 0);
                toy.snoozes = 0;
            }
            Entry::Cancelled(cancelled) => {
                (toy.status, toy.finished_at, toy.error_at) = (Status::Cancelled, Some(cancelled.at), Some(place));
            }
            Entry::Condemned(condemned) => {
                (toy.status, toy.finished_at, toy.error_at) = (Status::Failed, Some(condemned.at), Some(place));
            }
            other => panic!("{other:?} is no transition"),
        }
    }

    fn forget(&mut self, finished_before: i64, remembered_before: i64) {
        self.remembered_before = self.remembered_before.max(remembered_before);
        let before = self.remembered_before;
        let is_forgotten = |toy: &Toy| {
            matches!(toy.status, Status::Completed | Status::Cancelled) && toy.finished_at < Some(finished_before)
        };
        let forgotten = self.toys.extract_if(.., |toy| is_forgotten(toy));
        self.ghosts.extend(forgotten.filter(|toy| !toy.flags.contains(Flags::OWN_ID)).map(|toy| Ghost {
            seq: toy.seq,
            id: toy.id,
            body: toy.body,
            identity: toy.flags.contains(Flags::BODY_IS_IDENTITY),
            received_at: toy.received_at,
        }));
        self.ghosts.retain(|ghost| ghost.received_at >= before);
    }

    pub(super) fn is_held(&self, toy: &Toy) -> bool {
        let handled = match &self.handled {
            Handled::All => true,
            Handled::Only(names) => names.contains(&toy.event_type),
        };
        !handled && matches!(toy.status, Status::Pending | Status::Retrying)
    }

    fn holds_key(&self, toy: &Toy, now: Moment) -> bool {
        let waits = toy.status == Status::Pending && toy.due > Some(now.steady);
        matches!(toy.status, Status::Pending | Status::Processing | Status::Retrying) && !self.is_held(toy) && !waits
    }

    /// Whether another of its key comes first, or a run must end that is left over: its own, or one of its key.
    pub(super) fn is_behind(&self, toy: &Toy, now: Moment) -> bool {
        let waits = matches!(toy.status, Status::Pending | Status::Retrying) && !self.is_held(toy);
        let is_of_key = |left: &Left| left.key.is_some() && left.key == toy.key && self.holds_key(toy, now);
        if waits && self.left.iter().any(|left| left.seq == toy.seq || is_of_key(left)) {
            return true;
        }
        let place = |toy: &Toy| (toy.status != Status::Processing, toy.rank);
        let before = |other: &&Toy| other.key == toy.key && place(other) < place(toy) && self.holds_key(other, now);
        toy.key.is_some() && self.holds_key(toy, now) && self.toys.iter().any(|other| before(&other))
    }

    pub(super) fn is_condemned(&self, toy: &Toy) -> bool {
        matches!(toy.status, Status::Pending | Status::Retrying) && !self.is_held(toy) && toy.alone_deaths >= 3
    }

    /// What may be offered: ordinary events, or suspects.
    fn offerable(&self, now: Moment, suspects: bool) -> BTreeMap<u64, &Toy> {
        let may = |toy: &&Toy| {
            matches!(toy.status, Status::Pending | Status::Retrying)
                && !self.is_held(toy)
                && toy.due <= Some(now.steady)
                && !self.is_condemned(toy)
                && !self.is_behind(toy, now)
                && self.pause_over(toy, now).is_none()
                && (toy.deaths >= 2) == suspects
        };
        self.toys.iter().filter(may).map(|toy| (toy.rank, toy)).collect()
    }

    /// The event to offer, and whether alone.
    pub(super) fn next_claim(&self, now: Moment, durable: u64) -> Option<(u64, bool)> {
        let in_flight = || self.toys.iter().filter(|toy| toy.status == Status::Processing);
        if in_flight().any(|toy| toy.alone) {
            return None;
        }
        let suspect = self.offerable(now, true).range(..=durable).next().map(|(_, toy)| toy.seq);
        let is_left = self.may_never_be_idle();
        let idle = in_flight().next().is_none() && !is_left;
        match (self.next_ready(now, durable), suspect) {
            (Some(ready), None) => Some((ready, false)),
            (Some(ready), Some(_)) if is_left || self.passed_over < 256 => Some((ready, false)),
            (_, Some(suspect)) if idle => Some((suspect, true)),
            _ => None,
        }
    }

    fn may_never_be_idle(&self) -> bool {
        !self.left.is_empty() || self.toys.iter().any(|toy| toy.stuck)
    }

    /// How many of a type may run at once, if so many run.
    fn limit_reached(&self, event_type: &str) -> Option<u32> {
        let runs = |toy: &&Toy| toy.status == Status::Processing && toy.event_type == event_type && !toy.stuck;
        let left = |left: &&Left| left.event_type == event_type && left.has_slot;
        let count = self.toys.iter().filter(runs).count() + self.left.iter().filter(left).count();
        self.limits.get(event_type).copied().filter(|limit| count >= *limit as usize)
    }

    /// The ordinary event to offer: of the first of each type and priority one at the least level, of the type that ran longest ago.
    fn next_ready(&self, now: Moment, durable: u64) -> Option<u64> {
        let offerable = self.offerable(now, false);
        let mut firsts = BTreeMap::new();
        for toy in offerable.values() {
            firsts.entry((&toy.event_type, toy.priority)).or_insert(*toy);
        }
        let level = |toy: &Toy| {
            let minutes = (now.wall.unix_micros() - toy.since).max(0) / STEP_MICROS;
            (i64::from(toy.priority) - minutes).max(0)
        };
        let turn = |toy: &Toy| {
            let number = self.types.iter().position(|(name, _)| *name == toy.event_type).unwrap();
            (level(toy), self.types[number].1, number, toy.rank)
        };
        let may = |toy: &&Toy| toy.rank <= durable && self.limit_reached(&toy.event_type).is_none();
        firsts.into_values().filter(may).min_by_key(|toy| turn(toy)).map(|toy| toy.seq)
    }

    /// Why an event does not run.
    pub(super) fn why_waiting(&self, toy: &Toy, now: Moment) -> Option<Waiting> {
        if !matches!(toy.status, Status::Pending | Status::Retrying) {
            return None;
        }
        if self.is_held(toy) {
            return Some(Waiting::Handler);
        }
        if let Some(due) = toy.due.filter(|due| *due > now.steady) {
            let left = std::time::Duration::from_micros(due - now.steady);
            return Some(Waiting::Time { until: now.wall.saturating_add(left) });
        }
        if let Some(pause) = self.pause_over(toy, now) {
            return Some(pause);
        }
        if self.is_condemned(toy) {
            return Some(Waiting::Turn);
        }
        let left_before = |left: &&Left| left.key.is_some() && left.key == toy.key && self.holds_key(toy, now);
        let own = self.left.iter().find(|left| left.seq == toy.seq);
        if let Some(left) = own.or_else(|| self.left.iter().filter(left_before).min_by_key(|left| left.seq)) {
            return Some(Waiting::Run { seq: left.seq });
        }
        if self.is_behind(toy, now) {
            let row = self.toys.iter().filter(|other| other.key == toy.key && self.holds_key(other, now));
            let first = row.min_by_key(|other| (other.status != Status::Processing, other.rank)).unwrap();
            return Some(Waiting::Key { id: None, seq: first.seq });
        }
        let mut running = self.toys.iter().filter(|toy| toy.status == Status::Processing);
        if toy.deaths >= 2 {
            return Some(if running.next().is_some() || !self.left.is_empty() {
                Waiting::Alone
            } else {
                Waiting::Turn
            });
        }
        let patience_is_over = self.passed_over >= 256 && !self.may_never_be_idle();
        let suspects_first = patience_is_over && !self.offerable(now, true).is_empty();
        if suspects_first || running.any(|toy| toy.alone) {
            return Some(Waiting::Alone);
        }
        let reached = self.limit_reached(&toy.event_type);
        Some(reached.map_or(Waiting::Turn, |runs| Waiting::Limit { runs }))
    }

    pub(super) fn judge_reception(&self, id: u128, body: Option<u128>, identity: bool) -> Reception {
        let toys = self.toys.iter().map(|toy| {
            let known = Known { seq: toy.seq, id_hash: toy.id, kept: true };
            (known, toy.body, toy.flags.contains(Flags::BODY_IS_IDENTITY))
        });
        let ghosts = self
            .ghosts
            .iter()
            .map(|ghost| (Known { seq: ghost.seq, id_hash: ghost.id, kept: false }, ghost.body, ghost.identity));
        let all: Vec<_> = toys.chain(ghosts).collect();
        if let Some((known, theirs, _)) = all.iter().find(|(known, ..)| known.id_hash == id) {
            let conflict = theirs.is_some() && body.is_some() && *theirs != body;
            return if conflict { Reception::Conflict(*known) } else { Reception::SameId(*known) };
        }
        let same = |(_, theirs, is_identity): &&(Known, Option<u128>, bool)| {
            identity && *is_identity && body.is_some() && *theirs == body
        };
        all.iter().find(same).map_or(Reception::New, |(known, ..)| Reception::SameBody(*known))
    }
}

//! One life of a store, and of the oracle beside it.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::facts::Fact;
use super::rules::{Case, Now, Rules};
use crate::env::Clock;
use crate::env::simulated::{Choices, Disk};
use crate::error::{Error, ErrorKind};
use crate::event::entry::{Token, Wait};
use crate::event::{Outcome, Scope, Status, Timestamp};
use crate::store::answers::Claim;
use crate::store::crashes::opening::{AGE, MEMORY, RETRY_INTERVAL, first_day, open};
use crate::store::desk::Level;
use crate::store::handle::Store;
use crate::store::notes::CLOCK_GAP;

/// What contradicts the oracle.
pub(crate) type Done = Result<(), String>;

pub(super) const TYPES: [&str; 3] = ["Issue", "Comment", "Cycle"];
const HANDLERS: [&str; 3] = ["notify", "index", "mirror"];

/// The store, the oracle, and everything that happened.
pub(crate) struct Life {
    chance: Choices,
    disk: Disk,
    wall: SystemTime,
    starts: u64,
    boot: u64,
    store: Option<(Store, Clock)>,
    facts: Vec<(u64, Fact)>,
    pub(super) rules: Rules,
    /// Claims whose runs go on, as far as this process knows.
    claims: Vec<Claim>,
    /// All up to this seq was promised to be durable.
    promised: u64,
    /// The boot of the last process, unless that one closed the store.
    unclosed: Option<u64>,
    /// The latest time by which anything was forgotten.
    latest: i64,
    /// What happened, for whoever has to find out why.
    pub(crate) told: Vec<String>,
    /// How often each thing happened that a trial must not do without.
    pub(super) crashes: u64,
    pub(super) forgotten: u64,
    pub(super) settled: u64,
}

impl Life {
    pub(crate) fn new(seed: u64) -> Self {
        let disk = Disk::new();
        disk.be_indifferent_to("LOCK");
        Self {
            chance: Choices::seeded(seed),
            disk,
            wall: first_day(),
            starts: 0,
            boot: 0,
            store: None,
            facts: Vec::new(),
            rules: Rules::new(),
            claims: Vec::new(),
            promised: 0,
            unclosed: None,
            latest: i64::MIN,
            told: Vec::new(),
            crashes: 0,
            forgotten: 0,
            settled: 0,
        }
    }

    /// Lives for so many steps.
    pub(crate) fn live(&mut self, steps: usize) -> Done {
        self.open()?;
        for _ in 0..steps {
            let micros = self.pick(900_000) as u64 + 1;
            self.pass(Duration::from_micros(micros));
            self.step()?;
            self.compare()?;
        }
        self.close()?;
        self.open()?;
        self.compare()
    }

    pub(super) fn pick(&mut self, bound: usize) -> usize {
        self.chance.pick(bound)
    }

    fn step(&mut self) -> Done {
        match self.pick(100) {
            0..26 => self.append(),
            26..50 => self.claim(),
            50..71 => self.settle(),
            71..74 => self.handle(),
            74..78 => self.cancel(),
            78..82 => self.replay(),
            82..86 => {
                let seconds = [1, 5, 60, 600, 4_000][self.pick(5)];
                self.pass(Duration::from_secs(seconds));
                Ok(())
            }
            86 => self.pause(),
            87 => {
                self.jump();
                Ok(())
            }
            88..92 => self.compact(),
            92 => {
                self.limit();
                Ok(())
            }
            93..95 => self.die(),
            95..97 => self.lose_power(),
            97..98 => {
                self.close()?;
                self.open()
            }
            _ => self.make_durable(),
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store.as_ref().unwrap().0
    }

    pub(super) fn now(&self) -> Now {
        let reading = self.store.as_ref().unwrap().1.read();
        let steady = u64::try_from(reading.steady.as_micros()).unwrap();
        Now { wall: Timestamp::from(reading.wall).unix_micros(), steady }
    }

    fn pass(&mut self, time: Duration) {
        self.wall += time;
        if let Some((_, clock)) = &self.store {
            clock.advance(time);
        }
    }

    /// Sets the wall clock forward or back, by up to two days.
    fn jump(&mut self) {
        let by = Duration::from_secs(self.pick(48 * 3600) as u64);
        self.wall = if self.pick(2) == 0 { self.wall + by } else { self.wall - by };
        self.tell(format!("the clock is set to {:?}", self.wall));
        self.store.as_ref().unwrap().1.set_wall(self.wall);
    }

    pub(super) fn tell(&mut self, what: String) {
        self.told.push(what);
    }

    /// Notes that it happened, as the record `seq`.
    pub(super) fn note(&mut self, seq: u64, fact: Fact) {
        let now = self.now();
        self.rules.take(seq, &fact, now);
        self.tell(format!("{seq}: {fact:?}"));
        self.facts.push((seq, fact));
    }

    pub(super) fn promise(&mut self, seq: u64) {
        self.promised = self.promised.max(seq);
    }

    /// Waits until all is durable.
    fn make_durable(&mut self) -> Done {
        let last = self.store().shared().desk().core.last_seq();
        self.store().shared().wait(last, Level::Durable).map_err(|error| error.to_string())?;
        self.promise(last);
        Ok(())
    }

    fn claim(&mut self) -> Done {
        if self.pick(3) > 0 {
            self.make_durable()?;
        }
        let count = 1 + self.pick(4);
        let durable = self.store().shared().desk().core.durable();
        let mut left = count;
        while left > 0 {
            // Where the log goes over to its next segment a claim may end early; nothing is left only when it comes back empty.
            let claimed = self.claim_up_to(left, durable)?;
            left = if claimed == 0 { break } else { left - claimed };
        }
        let may_run = |case: &&Case| case.rank <= durable && self.rules.may_run(case).is_some();
        match self.rules.cases.values().find(may_run) {
            Some(case) if left > 0 && !self.rules.has_suspect() => {
                Err(format!("{left} of {count} were not claimed, and {case:?} may run"))
            }
            _ => Ok(()),
        }
    }

    fn claim_up_to(&mut self, count: usize, durable: u64) -> Result<usize, String> {
        let now = self.now();
        self.rules.wake(now);
        self.note_condemned();
        let claims = self.store().claim(count).map_err(|error| format!("claiming: {error:?}"))?;
        self.check_condemned()?;
        for claim in &claims {
            self.check_claim(claim, durable)?;
        }
        let claimed = claims.len();
        self.claims.extend(claims);
        Ok(claimed)
    }

    fn check_claim(&mut self, claim: &Claim, durable: u64) -> Done {
        let (of, token) = (claim.event().seq(), claim.token);
        let case = self.rules.cases.get(&of).ok_or_else(|| format!("{of} is claimed and is not there"))?;
        let Some(alone) = self.rules.may_run(case) else {
            return Err(format!("{case:?} is claimed; ahead of it: {:?}", self.rules.ahead_of(case)));
        };
        let text = claim.event().json::<String>().ok();
        let same = case.arrival.id == claim.event().id() && claim.attempt() == case.attempt + 1;
        if !same || text.as_ref() != Some(&case.arrival.text) {
            return Err(format!("{case:?} is claimed as {claim:?} with {text:?}"));
        }
        let known = |name: &&&str| claim.is_handled_by(name);
        let known: BTreeSet<String> = HANDLERS.iter().filter(known).map(|name| (*name).to_owned()).collect();
        if known != case.handled {
            return Err(format!("{case:?} is claimed as handled by {known:?}"));
        }
        self.check_is_next(case, durable)?;
        self.note(token.started, Fact::Started { of, epoch: token.epoch, alone });
        Ok(())
    }

    /// Whether no other of its type that may run comes before it. Types take turns.
    fn check_is_next(&self, case: &Case, durable: u64) -> Done {
        let is_before = |other: &&Case| {
            other.rank < case.rank
                && other.arrival.event_type == case.arrival.event_type
                && other.rank <= durable
                && self.rules.may_run(other) == Some(false)
        };
        match self.rules.cases.values().find(is_before) {
            Some(other) if !self.rules.has_suspect() => Err(format!("{case:?} is claimed before {other:?}")),
            _ => Ok(()),
        }
    }

    /// Before a claim the store gives up what killed the process too often.
    fn note_condemned(&mut self) {
        let condemned: Vec<u64> =
            self.rules.cases.values().filter(|case| case.is_condemned()).map(|case| case.seq).collect();
        for of in condemned {
            let at = self.now().wall;
            // Its seq is told afterwards.
            self.note(u64::MAX, Fact::Condemned { of, at });
        }
    }

    fn check_condemned(&mut self) -> Done {
        let core = &self.store.as_ref().unwrap().0;
        for (seq, fact) in self.facts.iter_mut().filter(|(seq, _)| *seq == u64::MAX) {
            let Fact::Condemned { of, .. } = fact else { continue };
            let view = core.shared().desk().core.state.view(*of);
            let view = view.filter(|view| view.status == Status::Failed);
            *seq = view.ok_or_else(|| format!("{of} killed the process three times alone and may still run"))?.last_seq;
        }
        self.facts.sort_by_key(|(seq, _)| *seq);
        Ok(())
    }

    fn settle(&mut self) -> Done {
        if self.claims.is_empty() {
            return Ok(());
        }
        let at = self.pick(self.claims.len());
        let claim = self.claims.swap_remove(at);
        let of = claim.event().seq();
        let outcome = match self.pick(10) {
            0..4 => Outcome::Done,
            4..7 => Outcome::Retry("later".to_owned()),
            7 => Outcome::Fail("never".to_owned()),
            8 => self.later(),
            9 if self.pick(2) == 0 => Outcome::Cancel("no more".to_owned()),
            _ => Outcome::Release,
        };
        let runs = self.rules.cases.get(&of).and_then(|case| case.run);
        let settled = {
            let shared = self.store().shared();
            shared.step(|core, now| core.settle(of, claim.token, &outcome, now))
        };
        let in_force = runs == Some((claim.token.epoch, claim.token.started));
        match settled {
            Ok(seq) if in_force => self.note_settled(of, seq, &outcome),
            Err(error) if !in_force && error.kind() == ErrorKind::NotAllowed => {
                // The run has ended all the same.
                self.store().let_go(of, claim.token);
                if self.rules.leftovers.get(&of).is_some_and(|(_, started)| *started == claim.token.started) {
                    self.rules.leftovers.remove(&of);
                }
                Ok(())
            }
            settled => Err(format!("{claim:?}, in force: {in_force}, was settled as {outcome:?}: {settled:?}")),
        }
    }

    /// How what ends now is dated.
    fn ending(&self) -> i64 {
        let reach = i64::try_from((AGE + CLOCK_GAP).as_micros()).unwrap();
        self.rules.ending(self.now().wall, reach)
    }

    /// One of several handlers of an event that runs succeeds.
    fn handle(&mut self) -> Done {
        if self.claims.is_empty() {
            return Ok(());
        }
        let (at, handler) = (self.pick(self.claims.len()), HANDLERS[self.pick(HANDLERS.len())]);
        let claim = self.claims[at].clone();
        let of = claim.event().seq();
        let case = self.rules.cases.get(&of).cloned();
        let in_force = case.as_ref().and_then(|case| case.run) == Some((claim.token.epoch, claim.token.started));
        let before = self.store().shared().desk().core.last_seq();
        match self.store().record_handled(&claim, handler) {
            Ok(()) if in_force => {
                let last = self.store().shared().desk().core.last_seq();
                if last > before {
                    self.note(last, Fact::Handled { of, handler: handler.to_owned() });
                }
                Ok(())
            }
            Err(error) if !in_force && error.kind() == ErrorKind::NotAllowed => Ok(()),
            answer => Err(format!("{case:?}, in force: {in_force}, was handled: {answer:?}")),
        }
    }

    fn note_settled(&mut self, of: u64, seq: u64, outcome: &Outcome) -> Done {
        self.settled += 1;
        let at = self.ending();
        let fact = match outcome {
            Outcome::Done => Fact::Completed { of, at },
            Outcome::Fail(_) => Fact::Failed { of, at, wait: None },
            Outcome::Cancel(_) => Fact::Cancelled { of, at },
            Outcome::Snooze(_) | Outcome::RetryAt(_) => Fact::Snoozed { of, wait: self.put_off(outcome) },
            Outcome::Release => Fact::Released { of },
            Outcome::Retry(_) => Fact::Failed { of, at, wait: self.retry(of)? },
        };
        self.note(seq, fact);
        Ok(())
    }

    /// An outcome that puts the event off: by a time, which may be past, or for a while, which may be too long.
    fn later(&mut self) -> Outcome {
        let by = Duration::from_millis([0, 1, 700, 5_000, 60_000, 40 * 24 * 3_600_000][self.pick(6)]);
        match self.pick(3) {
            0 => Outcome::RetryAt(Timestamp::from(self.wall + by)),
            1 => Outcome::RetryAt(Timestamp::from(self.wall - by)),
            _ => Outcome::Snooze(by),
        }
    }

    /// How long that puts it off: at most 30 days.
    fn put_off(&self, outcome: &Outcome) -> Wait {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
        let wall = self.now().wall;
        let delay = match outcome {
            Outcome::Snooze(wait) => micros(*wait),
            Outcome::RetryAt(time) => u64::try_from(time.unix_micros() - wall).unwrap_or(0),
            _ => 0,
        };
        let delay = delay.min(micros(Duration::from_hours(30 * 24)));
        Wait { due: wall + i64::try_from(delay).unwrap(), delay }
    }

    /// The wait that the store chose for the next run, if it is one it may choose: each twice as long as the one before, ± 20 %.
    fn retry(&self, of: u64) -> Result<Option<Wait>, String> {
        let case = self.rules.cases.get(&of).ok_or("it is not there")?;
        let due = self.store().shared().desk().core.state.view(of).and_then(|view| view.due);
        if case.retry_count >= case.arrival.max_retries {
            return if due.is_none() { Ok(None) } else { Err(format!("{case:?} waits for a retry that it has not")) };
        }
        let now = self.now();
        let delay = due.ok_or_else(|| format!("{case:?} does not wait"))? - now.steady;
        let middle = u64::try_from(RETRY_INTERVAL.as_micros()).unwrap() << case.retry_count;
        if delay < middle * 8 / 10 || delay > middle * 12 / 10 {
            return Err(format!("{case:?} waits for {delay} µs"));
        }
        Ok(Some(Wait { due: now.wall + i64::try_from(delay).unwrap(), delay }))
    }

    /// Any event, or none.
    fn any(&mut self) -> Option<Case> {
        let count = self.rules.cases.len();
        if count == 0 {
            return None;
        }
        let at = self.pick(count);
        self.rules.cases.values().nth(at).cloned()
    }

    fn cancel(&mut self) -> Done {
        let Some(case) = self.any() else { return Ok(()) };
        let allowed = !matches!(case.status, Status::Completed | Status::Cancelled);
        let seq = self
            .allow(allowed, &case, |store| store.shared().step(|core, now| core.cancel(case.seq, "called off", now)))?;
        if let Some(seq) = seq {
            let at = self.ending();
            self.note(seq, Fact::Cancelled { of: case.seq, at });
            if let Some((_, started)) = case.run {
                self.rules.leftovers.insert(case.seq, (case.arrival, started));
            }
        }
        Ok(())
    }

    fn replay(&mut self) -> Done {
        let Some(case) = self.any() else { return Ok(()) };
        let allowed = !matches!(case.status, Status::Pending | Status::Processing);
        let seq = self.allow(allowed, &case, |store| store.shared().step(|core, now| core.replay(case.seq, now)))?;
        if let Some(seq) = seq {
            self.note(seq, Fact::Replayed { of: case.seq });
        }
        Ok(())
    }

    /// Does what must be allowed, or must be refused as not allowed.
    fn allow(
        &self,
        allowed: bool,
        case: &Case,
        act: impl FnOnce(&Store) -> Result<u64, Error>,
    ) -> Result<Option<u64>, String> {
        match act(self.store()) {
            Ok(seq) if allowed => Ok(Some(seq)),
            Err(error) if !allowed && error.kind() == ErrorKind::NotAllowed => Ok(None),
            answer => Err(format!("{case:?}, allowed: {allowed}, was answered with {answer:?}")),
        }
    }

    fn compact(&mut self) -> Done {
        let before = self.rules.cases.len();
        let report = self.store().compact().map_err(|error| format!("compacting: {error:?}"))?;
        let wall = self.now().wall;
        let (durable, horizon) = {
            let desk = self.store().shared().desk();
            (desk.core.durable(), desk.core.state.totals().horizon)
        };
        self.latest = self.latest.max(wall);
        let ago = |age: Duration| self.latest - i64::try_from(age.as_micros()).unwrap();
        if horizon.finished_before > ago(AGE) || horizon.remembered_before > ago(MEMORY) {
            return Err(format!("{horizon:?} forgets too early"));
        }
        let (finished_before, remembered_before) = (horizon.finished_before, horizon.remembered_before);
        self.note(durable, Fact::Horizon { finished_before, remembered_before });
        self.promise(durable);
        self.forgotten += (before - self.rules.cases.len()) as u64;
        let limit = wall - i64::try_from(AGE.as_micros()).unwrap();
        match self.rules.cases.values().find(|case| case.is_over_since(limit)) {
            Some(case) if report.suspended.is_none() => Err(format!("{case:?} is not forgotten: {report:?}")),
            _ => Ok(()),
        }
    }

    fn close(&mut self) -> Done {
        let shared = self.store().shared();
        let last = shared.desk().core.last_seq();
        shared.close_log().map_err(|error| format!("closing: {error:?}"))?;
        drop(shared.release());
        self.promise(last);
        self.store = None;
        self.unclosed = None;
        Ok(())
    }

    /// The process dies: what it wrote is there, what it only staged is not.
    fn die(&mut self) -> Done {
        self.crashes += 1;
        self.store = None;
        self.tell("the process dies".to_owned());
        self.open()
    }

    /// The machine loses power: of what was not synced, anything may be there.
    fn lose_power(&mut self) -> Done {
        self.crashes += 1;
        self.store = None;
        self.boot += 1;
        self.disk = self.disk.after_crash(&mut self.chance);
        self.disk.be_indifferent_to("LOCK");
        self.tell("the power fails".to_owned());
        self.open()
    }

    /// Opens the store, and has the oracle go on from what the disk kept.
    fn open(&mut self) -> Done {
        self.starts += 1;
        let opened =
            open(&self.disk, self.wall, self.starts, self.boot).map_err(|error| format!("opening: {error:?}"))?;
        self.store = Some(opened);
        let (kept, epoch, durable) = {
            let desk = self.store().shared().desk();
            (desk.core.active_first_seq() - 1, desk.core.epoch, desk.core.durable())
        };
        if kept < self.promised {
            return Err(format!("all up to {} was promised, and {kept} is there", self.promised));
        }
        self.claims.clear();
        self.facts.retain(|(seq, _)| *seq <= kept);
        self.rules = Rules::new();
        let now = self.now();
        for (seq, fact) in &self.facts {
            self.rules.take(*seq, fact, now);
        }
        let is_death = self.unclosed.replace(self.boot) == Some(self.boot);
        self.note(kept + 1, Fact::Begun { epoch, is_death });
        self.promise(durable);
        self.check_pauses()?;
        self.note_condemned();
        self.check_condemned()
    }

    /// After a restart: what is paused without an end is so still; what ended by itself may be again, if the clock went back.
    fn check_pauses(&mut self) -> Done {
        let shown: BTreeSet<Scope> = self.store().pauses().into_iter().map(|pause| pause.scope).collect();
        let now = self.now();
        self.rules.wake(now);
        let pauses = &mut self.rules.pauses;
        let is_lost = pauses.iter().any(|(scope, (wait, _))| wait.is_none() && !shown.contains(scope));
        if is_lost || shown.iter().any(|scope| !pauses.contains_key(scope)) {
            return Err(format!("{shown:?} are paused; there were {pauses:?}"));
        }
        pauses.retain(|scope, _| shown.contains(scope));
        Ok(())
    }

    /// Compares all that the state tells of each event.
    fn compare(&mut self) -> Done {
        let now = self.now();
        let views: Vec<_> = self.store().shared().desk().core.state.list(0).collect();
        let cases = &self.rules.cases;
        if !views.iter().map(|view| view.seq).eq(cases.keys().copied()) {
            let seqs: Vec<u64> = views.iter().map(|view| view.seq).collect();
            return Err(format!("there are {seqs:?}; there should be {:?}", cases.keys()));
        }
        for (view, case) in views.iter().zip(cases.values()) {
            let due = |due: Option<u64>| due.filter(|due| *due > now.steady);
            let token = case.run.map(|(epoch, started)| Token { epoch, started });
            let same = view.status == case.status
                && view.retry_count == case.retry_count
                && view.attempt == case.attempt
                && view.snoozes == case.snoozes
                && view.handled.len() == case.handled.len()
                && view.max_retries == case.arrival.max_retries
                && *view.event_type == *case.arrival.event_type
                && view.received_at == case.arrival.received_at
                && view.finished_at == case.finished_at
                && due(view.due) == due(case.due)
                && view.token == token;
            if !same {
                return Err(format!("{view:?} should be {case:?} at {now:?}"));
            }
        }
        Ok(())
    }
}

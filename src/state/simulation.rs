//! Some thousand random operations, on the state and on the plain [`Model`] of it: after each they agree, and all invariants hold.
//! Every now and then segments are compacted away and what is left of the log is replayed: it gives the same state.

mod looking;
mod rewriting;

use std::collections::{BTreeMap, BTreeSet};

use crate::event::codec;
use crate::event::entry::{
    Accepted, Begun, Cancelled, Completed, Condemned, Cursor, Entry, Failed, Flags, Handled as HandledBy, Horizon,
    Mark, Of, Paused, Received, Released, Remembered, Replayed, Resumed, Scoped, Snoozed, Started, Token, Wait,
};
use crate::event::{Moment, Pause, Place, Scope, Status, Timestamp};
use crate::state::at_once;
use crate::state::chance::Chance;
use crate::state::hash::low;
use crate::state::model::{Model, Until};
use crate::state::verdict::Reason;
use crate::state::{Applied, Handled, Policy, Reception, State, View};

const STORE_ID: [u8; 16] = [7; 16];
const TYPES: [&str; 3] = ["Issue", "Comment", "Cycle"];
/// The wall clock's lead over the steady one.
const WALL: i64 = 1_000_000;

struct World {
    chance: Chance,
    state: State,
    model: Model,
    log: Vec<(u64, Place, Vec<u8>)>,
    seq: u64,
    segment: u32,
    boot: u64,
    steady: u64,
    /// Segments that were compacted away.
    gone: u32,
    /// Segments that were written in place of others.
    rewritten: u32,
    compacting: bool,
    orphans: u32,
    /// Runs of cancelled events that have ended, and those of them whose events were forgotten by then.
    let_go: u32,
    forgotten_left: u32,
    /// So many replayed logs were arranged by two threads.
    in_two: u32,
    /// Events that were held until somebody came who handles their type.
    released: u64,
    /// Accepted losses.
    accepted: Vec<u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let state = State::new(STORE_ID, Policy::default());
        let (log, model) = (Vec::new(), Model::new());
        let chance = Chance::new(seed);
        let mut world = Self {
            chance,
            state,
            model,
            log,
            seq: 0,
            segment: 0,
            boot: 1,
            steady: 0,
            gone: 0,
            rewritten: 0,
            compacting: false,
            orphans: 0,
            let_go: 0,
            forgotten_left: 0,
            in_two: 0,
            released: 0,
            accepted: Vec::new(),
        };
        world.roll(true);
        world
    }

    fn now(&self) -> Moment {
        Moment { wall: Timestamp::from_unix_micros(self.wall()), steady: self.steady }
    }

    fn wall(&self) -> i64 {
        WALL + i64::try_from(self.steady).unwrap()
    }

    /// Appends an entry that is legal.
    fn put(&mut self, entry: &Entry<'_>) {
        self.seq += 1 + self.chance.below(2);
        let place = Place { segment: self.segment, offset: u32::try_from(self.seq).unwrap(), length: 1 };
        let id = if let Entry::Received(received) = entry { self.state.hasher().id(received.id) } else { 0 };
        let now = self.now();
        assert_eq!(self.state.apply(self.seq, place, entry, now), Ok(Applied::Done), "{entry:?}");
        self.model.apply(self.seq, place, id, entry, now);
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        self.log.push((self.seq, place, bytes));
    }

    /// A new segment, by a new process or by the same.
    fn roll(&mut self, process: bool) {
        // What is written in place of it has the next number.
        self.segment += 2;
        let epoch = self.model.epoch + u64::from(process);
        let begun = Begun { first_seq: self.seq + 1, epoch, boot: self.boot, at: self.wall(), predecessor: None };
        self.put(&Entry::Begun(begun));
        // Pauses that are over end with the next look, or with this.
        assert_eq!(self.state.next_claim(self.now(), 0), None);
        let (before, counts) = (self.state.totals(), self.state.counts());
        let mut said = Vec::new();
        Entry::State(self.state.summary(self.now())).encode(&mut said);
        self.put(&codec::decode(&said).unwrap());
        assert_eq!((self.state.totals(), self.state.counts()), (before, counts), "live, a state entry changes nothing");
    }

    fn step(&mut self) {
        self.steady += self.chance.below(20);
        if self.chance.below(3) == 0 {
            self.look_for_oldest();
        }
        match self.chance.below(110) {
            0..30 => self.receive(),
            30..55 => self.claim(),
            55..78 => self.settle(),
            78..84 | 102..110 => self.replay_or_cancel(),
            84..87 => self.forget(),
            87..90 => self.roll(false),
            90..92 => self.restart(),
            92 if self.chance.below(2) == 0 => self.set_handled(),
            92 if self.chance.below(2) == 0 => self.add_handled(),
            92 => self.set_limits(),
            93 => self.compact(),
            94..96 => self.condemn(),
            96 => self.accept(),
            97 => self.refuse(),
            98..100 => self.let_go(),
            100 => self.pause(),
            _ => self.place_cursor(),
        }
    }

    fn receive(&mut self) {
        let own = self.chance.below(4) == 0;
        let id = if own { format!("own {}", self.seq) } else { format!("id {}", self.chance.below(150)) };
        let body = [u8::try_from(self.chance.below(40)).unwrap(); 32];
        let body_hash = if own { None } else { Some(body) };
        let identity = !own && self.chance.below(2) == 0;
        let key = format!("key {}", self.chance.below(6));
        let wall = self.wall();
        let not_before = wall - 30 + i64::try_from(self.chance.below(200)).unwrap();
        let received = Received {
            id: &id,
            event_type: TYPES[usize::try_from(self.chance.below(3)).unwrap()],
            action: None,
            source: "test",
            key: Some(key.as_str()).filter(|_| self.chance.below(3) > 0),
            received_at: wall - i64::try_from(self.chance.below(50)).unwrap(),
            not_before: Some(not_before).filter(|_| self.chance.below(4) == 0),
            priority: u8::try_from(self.chance.below(14).saturating_sub(4)).unwrap(),
            max_retries: 3,
            flags: Flags::default().with(Flags::OWN_ID, own).with(Flags::BODY_IS_IDENTITY, identity),
            body_hash,
            headers: Vec::new(),
            body: b"{}",
        };
        let hash = self.state.hasher().id(&id);
        let body_hash = body_hash.as_ref().map(crate::state::body_hash);
        let judged = self.state.judge_reception(hash, body_hash, identity);
        match (judged, self.model.judge_reception(hash, body_hash, identity)) {
            // Two events may have the same body, where only one is of the kind that asks: either will do.
            (Reception::SameBody(_), Reception::SameBody(_)) => {}
            (judged, expected) => assert_eq!(judged, expected),
        }
        if judged == Reception::New {
            self.put(&Entry::Received(received));
        }
    }

    fn claim(&mut self) {
        let durable = self.seq - self.chance.below(5).min(self.seq);
        let mut opens_claim = true;
        for _ in 0..=self.chance.below(3) {
            let now = self.now();
            let expected = self.model.next_claim(now, durable);
            assert!(expected.is_none() || self.state.ready(now, durable), "what is offered is announced");
            let offer = self.state.next_claim(now, durable);
            assert_eq!(offer.map(|offer| (offer.of.seq, offer.alone)), expected);
            assert_eq!(self.state.ready(now, durable), offer.is_some(), "having looked, it is known");
            let Some(offer) = offer else { return };
            let started = Started {
                of: offer.of,
                epoch: self.model.epoch,
                attempt: offer.attempt,
                alone: offer.alone,
                opens_claim: std::mem::take(&mut opens_claim),
                at: self.wall(),
            };
            self.put(&Entry::Started(started));
        }
    }

    /// Any event that stands so.
    fn any(&mut self, is_it: impl Fn(Status) -> bool) -> Option<(Of, Token)> {
        let toys: Vec<_> = self.model.toys.iter().filter(|toy| is_it(toy.status)).collect();
        let at = usize::try_from(self.chance.below(toys.len().max(1) as u64)).unwrap();
        let toy = toys.get(at)?;
        Some((Of { seq: toy.seq, id_hash: low(toy.id) }, self.model.token(toy)))
    }

    fn settle(&mut self) {
        let Some((of, token)) = self.any(|status| status == Status::Processing) else { return };
        assert_eq!(self.state.judge_settle(of.seq, token).unwrap().token, Some(token));
        let (at, delay) = (self.wall(), self.chance.below(60));
        let retry = Wait { due: at + i64::try_from(delay).unwrap(), delay };
        let count = self.state.view(of.seq).unwrap().snoozes + 1;
        let wait = retry;
        let retry = Some(retry).filter(|_| self.chance.below(4) > 0);
        let handler = ["mail", "post", "page"][usize::try_from(self.chance.below(3)).unwrap()];
        let entry = match self.chance.below(15) {
            0..6 => Entry::Completed(Completed { of, token, at }),
            6..9 => Entry::Failed(Failed { of, token, error: "no", at, retry }),
            9..11 => Entry::Snoozed(Snoozed { of, token, at, wait, count }),
            11..13 => Entry::Handled(HandledBy { of, token, handler, at }),
            13 => {
                assert!(self.state.lose_slot(of.seq, token));
                return self.model.lose_slot(of.seq);
            }
            _ => Entry::Released(Released { of, token, at }),
        };
        self.put(&entry);
    }

    fn replay_or_cancel(&mut self) {
        let Some((of, token)) = self.any(|_| true) else { return };
        let at = self.wall();
        if self.chance.below(2) == 0 && self.state.judge_replay(of.seq).is_ok() {
            self.put(&Entry::Replayed(Replayed { of, at }));
        } else if self.state.judge_cancel(of.seq).is_ok() {
            let runs = self.state.view(of.seq).unwrap().status == Status::Processing;
            let has_slot = self.state.has_slot(of.seq);
            self.put(&Entry::Cancelled(Cancelled { of, reason: "no", at }));
            // A run may also call off its own event, and is over then.
            if runs && self.chance.below(4) > 0 {
                self.state.leave(of.seq, token, has_slot);
                self.model.leave(of.seq, token.started, has_slot);
            }
        }
    }

    /// A run ends whose event was cancelled; nobody else's end is taken for it.
    fn let_go(&mut self) {
        let index = usize::try_from(self.chance.below(self.model.left.len().max(1) as u64)).unwrap();
        let Some(left) = self.model.left.get(index).cloned() else { return };
        let (epoch, started) = (self.model.epoch, left.started);
        if self.chance.below(4) == 0 {
            assert!(!self.state.lose_slot(left.seq, Token { epoch, started: started + 1 }));
            assert_eq!(self.state.lose_slot(left.seq, Token { epoch, started }), left.has_slot);
            return self.model.lose_leftover(left.seq);
        }
        assert!(!self.state.let_go(left.seq, Token { epoch, started: started + 1 }));
        assert!(!self.state.let_go(left.seq, Token { epoch: epoch - 1, started }));
        assert!(self.state.let_go(left.seq, Token { epoch, started }));
        assert!(!self.state.let_go(left.seq, Token { epoch, started }), "it ends once");
        self.model.left.remove(index);
        self.let_go += 1;
        self.forgotten_left += u32::from(!self.model.toys.iter().any(|toy| toy.seq == left.seq));
    }

    fn condemn(&mut self) {
        let first = self.state.condemned().next();
        let damaged = if self.chance.below(10) == 0 { self.any(|status| status == Status::Retrying) } else { None };
        let Some(of) = first.or(damaged.map(|(of, _)| of)) else { return };
        self.put(&Entry::Condemned(Condemned { of, reason: "no", at: self.wall() }));
    }

    fn forget(&mut self) {
        let wall = self.wall();
        let mut ago = |most| wall - i64::try_from(self.chance.below(most)).unwrap();
        let (finished_before, remembered_before) = (ago(2_000), ago(8_000));
        let in_force = self.state.totals().horizon;
        let finished_before = finished_before.max(in_force.finished_before);
        self.put(&Entry::Horizon(Horizon { finished_before, remembered_before }));
        assert!(self.state.totals().horizon.remembered_before >= remembered_before.max(in_force.remembered_before));
    }

    /// An operator accepts a loss, now and then.
    fn accept(&mut self) {
        if self.chance.below(4) == 0 {
            let last_seq = self.seq;
            self.put(&Entry::Accepted(Accepted { first_seq: last_seq, last_seq, reason: "lost", at: self.wall() }));
            self.accepted.push(self.seq);
        }
    }

    /// The process ends, whatever runs, and another begins: now and then after a segment in which nothing else happened.
    fn restart(&mut self) {
        // The next process replays the log, which does not tell who has lost its slot: one that was started alone still counts as that.
        self.release_stuck();
        if self.chance.below(2) == 0 {
            self.roll(false);
        }
        match self.chance.below(4) {
            0 => self.boot += 1,
            1 => self.put(&Entry::Mark(Mark::Close)),
            2 => self.put(&Entry::Mark(Mark::Idle)),
            _ => {}
        }
        self.roll(true);
    }

    fn set_handled(&mut self) {
        let only = TYPES.iter().filter(|_| self.chance.below(3) > 0).map(|name| (*name).to_owned());
        let only: BTreeSet<_> = only.collect();
        let handled = if self.chance.below(2) == 0 { Handled::All } else { Handled::Only(only) };
        self.model.handled = handled.clone();
        self.state.set_handled(handled);
    }

    fn set_limits(&mut self) {
        let limited = TYPES.iter().filter(|_| self.chance.below(3) == 0).copied().collect::<Vec<_>>();
        let limit = |name: &str| (name.to_owned(), 1 + u32::try_from(self.chance.below(3)).unwrap());
        let limits: BTreeMap<String, u32> = limited.into_iter().map(limit).collect();
        self.model.limits.clone_from(&limits);
        self.state.set_limits(limits);
    }

    /// A person pauses a type or a key, for a while or for good, or ends a pause.
    fn pause(&mut self) {
        let number = self.chance.below(9);
        let key = format!("key {number}");
        let name = TYPES.get(usize::try_from(number).unwrap()).filter(|_| self.chance.below(2) == 0);
        let scope = name.map_or(Scoped::Key(&key), |name| Scoped::Type(name));
        let at = self.wall();
        if self.state.is_paused(scope, self.now()) && self.chance.below(4) > 0 {
            self.put(&Entry::Resumed(Resumed { scope, at }));
        } else {
            let until = Some(at + i64::try_from(self.chance.below(300)).unwrap()).filter(|_| self.chance.below(4) > 0);
            self.put(&Entry::Paused(Paused { scope, at, until, reason: "why not" }));
        }
    }

    fn place_cursor(&mut self) {
        let name = ["a", "b", "c"][usize::try_from(self.chance.below(3)).unwrap()];
        let seq = Some(self.chance.below(self.seq)).filter(|_| self.chance.below(4) > 0);
        self.put(&Entry::Cursor(Cursor { name, seq, at: self.wall() }));
    }

    /// Deletes what is dead, then rewrites some neighbours while other things go on.
    fn compact(&mut self) {
        if std::mem::replace(&mut self.compacting, true) {
            return;
        }
        self.delete();
        let mut sealed: Vec<u32> = self.log.iter().map(|(_, place, _)| place.segment).collect();
        sealed.dedup();
        sealed.pop();
        let count = sealed.len() as u64;
        let first = usize::try_from(self.chance.below(count.max(1))).unwrap();
        let length = 1 + usize::try_from(self.chance.below(3)).unwrap();
        let sources: Vec<u32> = sealed.into_iter().skip(first).take(length).collect();
        if let Some(first) = sources.first() {
            let new = first ^ 1;
            self.rewrite(&sources, new);
        }
        self.compacting = false;
    }

    /// Something happens meanwhile, now and then; compaction goes on one at a time.
    fn go_on(&mut self) {
        if self.chance.below(20) == 0 {
            self.step();
        }
    }

    fn delete(&mut self) {
        let dead = self.state.dead_segments(1..self.segment);
        let ids = self.state.remembered_in(&dead);
        if !ids.is_empty() {
            self.put(&Entry::Remembered(Remembered { ids }));
        }
        self.state.drop_segments(&dead);
        self.log.retain(|(_, place, _)| !dead.contains(&place.segment));
        self.gone += u32::try_from(dead.len()).unwrap();
    }

    /// What the table or the token does not allow is refused and changes nothing.
    fn refuse(&mut self) {
        let Some((of, token)) = self.any(|_| true) else { return };
        let view = self.state.view(of.seq).unwrap();
        let at = self.wall();
        let wrong = Token { started: token.started + 1, ..token };
        let other = Of { id_hash: of.id_hash ^ 1, ..of };
        for (entry, is_token) in [
            (Entry::Completed(Completed { of, token: wrong, at }), view.status == Status::Processing),
            (Entry::Handled(HandledBy { of, token: wrong, handler: "mail", at }), view.status == Status::Processing),
            (Entry::Replayed(Replayed { of: other, at }), false),
            (Entry::Cancelled(Cancelled { of: Of { seq: self.seq + 9, ..of }, reason: "", at }), false),
        ] {
            let refused = self.state.apply(self.seq + 1, view.place, &entry, self.now()).unwrap_err();
            assert_eq!(matches!(refused.reason, Reason::Token { .. }), is_token, "{refused}");
        }
        assert!(self.state.judge_settle(of.seq, wrong).is_err());
        assert_eq!(self.state.view(of.seq), Some(view));
    }

    /// The state is what the model says.
    fn compare(&mut self) {
        let now = self.now();
        let (expected, offer) = (self.model.next_claim(now, 0), self.state.next_claim(now, 0));
        assert_eq!((expected, offer), (None, None), "nothing is durable");
        assert_eq!(self.state.list(0).count(), self.model.toys.len());
        let (mut held, mut by_status) = (0, [0; 6]);
        for toy in &self.model.toys {
            let view = self.state.view(toy.seq).expect("what the model has is there");
            let is_held = self.model.is_held(toy);
            *if is_held { &mut held } else { &mut by_status[toy.status as usize] } += 1;
            let due = toy.due.filter(|due| *due > now.steady);
            assert_eq!(view.due.filter(|due| *due > now.steady), due, "{toy:?}");
            assert_eq!((view.status, view.held, view.place), (toy.status, is_held, toy.place), "{toy:?}");
            assert_eq!((view.attempt, view.retry_count), (toy.attempt, toy.retry_count), "{toy:?}");
            let deaths = (toy.deaths.min(15), toy.alone_deaths.min(15));
            assert_eq!(deaths_of(&self.state, toy.seq), (toy.seq, deaths.0, deaths.1), "{toy:?}");
            assert_eq!((view.finished_at, view.error_at), (toy.finished_at, toy.error_at), "{toy:?}");
            assert_eq!((view.last_seq, &*view.event_type), (toy.last_seq, &*toy.event_type), "{toy:?}");
            assert_eq!(view.waits_behind_key, self.model.is_behind(toy, now), "{toy:?}");
            assert_eq!(self.state.find(toy.id), Some(toy.seq));
            let handled: Vec<u64> = toy.handled.iter().map(|name| self.state.handler(name)).collect();
            assert_eq!((view.snoozes, view.handled), (toy.snoozes, handled), "{toy:?}");
            assert_eq!(self.state.why_waiting(toy.seq, now), self.model.why_waiting(toy, now), "{toy:?}");
        }
        let in_force = |(scope, _): (&Scope, _)| Some((scope.clone(), self.model.pause_of(scope, now)?));
        let pauses: BTreeMap<_, _> = self.model.pauses.iter().filter_map(in_force).collect();
        let until = |pause: &Pause| Until(pause.until.map(Timestamp::unix_micros));
        let shown = self.state.pauses(now).map(|pause| (pause.scope.clone(), until(&pause)));
        assert_eq!(shown.collect::<BTreeMap<_, _>>(), pauses);
        let cursors = self.state.cursors().map(|(name, seq)| (name.to_owned(), seq));
        assert_eq!(cursors.collect::<BTreeMap<_, _>>(), self.model.cursors);
        let counts = self.state.counts();
        let remembered = self.model.ghosts.len() as u64;
        assert_eq!((counts.by_status, counts.held, counts.remembered), (by_status, held, remembered));
        let condemned = self.model.toys.iter().filter(|toy| self.model.is_condemned(toy)).map(|toy| toy.seq);
        assert!(self.state.condemned().map(|of| of.seq).eq(condemned));
        self.state.check();
    }

    fn release_stuck(&mut self) {
        while let Some((of, token)) = self.model.stuck() {
            self.put(&Entry::Released(Released { of, token, at: self.wall() }));
        }
    }

    /// What is left of the log, replayed into a new state, gives the same views, counts, totals and remembered ids: whether it is
    /// arranged after each entry, after the last, or from anywhere between on.
    fn compare_with_replay(&mut self) {
        // No entry tells which runs are left over, or have lost their slot.
        self.release_stuck();
        while !self.model.left.is_empty() {
            self.let_go();
        }
        let somewhere = usize::try_from(self.chance.below(self.log.len() as u64)).unwrap();
        for arranged_after in [0, somewhere, self.log.len()] {
            self.compare_with_one(arranged_after);
        }
    }

    fn compare_with_one(&mut self, arranged_after: usize) {
        let mut again = State::replaying(STORE_ID, Policy::default());
        let now = self.now();
        for (index, (seq, place, bytes)) in self.log.iter().enumerate() {
            if index == arranged_after {
                again.arrange();
            }
            let applied = again.apply(*seq, *place, &codec::decode(bytes).unwrap(), now).unwrap();
            self.orphans += u32::from(applied != Applied::Done);
        }
        if arranged_after == self.log.len() {
            again.arrange();
            self.in_two += u32::from(again.events.slots.len() >= at_once::LEN_MIN);
        }
        again.set_handled(self.model.handled.clone());
        again.set_limits(self.model.limits.clone());
        again.check();
        assert_eq!(again.next_claim(now, 0), None);
        let views = |state: &State| -> Vec<View> {
            // Types are numbered as they come, and those of which compaction left nothing come no more.
            let wake = |view: View| View { due: view.due.filter(|due| *due > now.steady), kind: 0, ..view };
            state.list(0).map(wake).collect()
        };
        assert_eq!(views(&again), views(&self.state));
        let deaths = |state: &State| -> Vec<_> { state.list(0).map(|view| deaths_of(state, view.seq)).collect() };
        assert_eq!(deaths(&again), deaths(&self.state));
        let is_accepted = |bytes: &[u8]| matches!(codec::decode(bytes), Ok(Entry::Accepted(_)));
        let accepted = self.log.iter().filter(|(_, _, bytes)| is_accepted(bytes)).map(|(seq, ..)| *seq);
        assert!(accepted.eq(self.accepted.iter().copied()), "what was accepted is kept for ever");
        assert_eq!(again.summary(now), self.state.summary(now));
        assert!(again.condemned().eq(self.state.condemned()));
        let ghosts = |state: &State| {
            let mut ghosts: Vec<_> = state.memory.iter().map(|(id, segment)| (id.seq, id, segment)).collect();
            ghosts.sort_unstable_by_key(|(seq, ..)| *seq);
            ghosts
        };
        assert_eq!(ghosts(&again), ghosts(&self.state));
        if self.gone == 0 {
            assert_eq!(again.counts(), self.state.counts());
            assert_eq!(again.next_claim(now, self.seq), self.state.next_claim(now, self.seq));
        }
    }
}

/// The seq of an event, deaths of the process while it ran, and those while it ran alone.
fn deaths_of(state: &State, seq: u64) -> (u64, u32, u32) {
    let slot = &state.events.slots[state.events.slots.by_seq(seq).unwrap()];
    (seq, slot.deaths().into(), slot.alone_deaths().into())
}

/// What simulations came across.
#[derive(Debug, Default)]
struct Tally {
    gone: u32,
    rewritten: u32,
    orphans: u32,
    let_go: u32,
    forgotten_left: u32,
    /// So many replayed logs were arranged by two threads.
    in_two: u32,
    released: u64,
}

fn check(seed: u64, steps: u32, tally: &mut Tally) {
    let mut world = World::new(seed);
    for step in 0..steps {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.step();
            world.compare();
            if step % 100 == 99 {
                world.compare_with_replay();
            }
        }));
        assert!(result.is_ok(), "seed {seed}, step {step}");
    }
    tally.gone += world.gone;
    tally.rewritten += world.rewritten;
    tally.orphans += world.orphans;
    tally.let_go += world.let_go;
    tally.forgotten_left += world.forgotten_left;
    tally.in_two += world.in_two;
    tally.released += world.released;
}

#[test]
fn state_and_model_agree_after_every_step_and_after_replay() {
    let mut tally = Tally::default();
    for seed in 1..=8 {
        check(seed, 1_200, &mut tally);
    }
    let often = [tally.gone, tally.rewritten, tally.orphans, tally.let_go, tally.in_two].into_iter().min();
    assert!(often > Some(20) && tally.released > 40 && tally.forgotten_left > 0, "{tally:?}");
}

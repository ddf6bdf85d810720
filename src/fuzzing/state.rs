//! The state, which entries of any kind and in any order come to, and whatever a store does between them.

use std::collections::{BTreeMap, BTreeSet};

use super::taken::Taken;
use crate::event::codec;
use crate::event::entry::{
    Cancelled, Completed, Condemned, Entry, Failed, Released, Replayed, Snoozed, Started, Token, Wait,
};
use crate::event::{Moment, Place, Timestamp};
use crate::state::foreign::{STORE_ID, entry};
use crate::state::{Applied, Handled, Policy, State, View};

/// Most steps that are taken of one input; the rest of it is passed over.
const STEPS_MAX: usize = 200;

/// One step for each byte, with the bytes after it as its numbers: an entry that anybody might have written, one that its bytes are, one
/// that a store would write, or something that a store does beside the log.
///
/// An entry is applied whole or changes nothing; what is offered, or judged to be allowed, can be done; and in the end, replaying what
/// was applied gives the same state, and in both everything agrees with everything.
pub fn state(bytes: &[u8]) {
    let mut taken = Taken::new(bytes);
    let mut world = World::new(Policy { process_deaths_max: u32::from(taken.byte() % 4) });
    for _ in 0..STEPS_MAX {
        if taken.is_over() {
            break;
        }
        world.step(&mut taken);
    }
    world.state.check();
    world.replayed();
}

struct World {
    policy: Policy,
    state: State,
    /// What was applied, and when.
    log: Vec<(u64, Place, Vec<u8>, Moment)>,
    seq: u64,
    now: Moment,
    /// Events whose runs were left over.
    left: BTreeSet<u64>,
}

impl World {
    fn new(policy: Policy) -> Self {
        let now = Moment { wall: Timestamp::from_unix_micros(50), steady: 0 };
        let state = State::new(STORE_ID, policy);
        Self { policy, state, log: Vec::new(), seq: 0, now, left: BTreeSet::new() }
    }

    fn step(&mut self, taken: &mut Taken<'_>) {
        match taken.byte() {
            0..128 => {
                let mut number = |most: u64| match taken.number() {
                    number @ 0..=255 => number % most,
                    number => number,
                };
                let entry = entry(&mut number);
                self.try_entry(&entry, taken.byte());
            }
            128..160 => {
                let length = taken.byte();
                let body = taken.bytes(length.into());
                if let Ok(entry) = codec::decode(body) {
                    self.try_entry(&entry, length);
                }
            }
            160..190 => self.claim(taken),
            190..216 => self.settle(taken),
            216..232 => self.decide(taken),
            232..240 => self.look_away(taken),
            240..246 => self.set_up(taken),
            _ => {
                self.now.steady = self.now.steady.saturating_add(taken.number());
                let wall = self.now.wall.unix_micros().saturating_add(taken.number().cast_signed());
                self.now.wall = Timestamp::from_unix_micros(wall);
            }
        }
    }

    /// Applies an entry, with the next seq or, now and then, with one that is taken; if it is refused, nothing has changed.
    fn try_entry(&mut self, entry: &Entry<'_>, chance: u8) {
        // Looking at all events costs more than all else, so every other refusal is judged by the numbers alone.
        let is_closely = chance.is_multiple_of(2);
        let before = self.shown(is_closely);
        if self.put(entry, u64::from(chance % 8 != 7)).is_none() {
            assert_eq!(self.shown(is_closely), before, "what is refused changes nothing: {entry:?}");
        }
    }

    fn shown(&self, is_closely: bool) -> impl PartialEq + std::fmt::Debug + use<> {
        let events: Vec<View> = if is_closely { self.state.list(0).collect() } else { Vec::new() };
        (self.state.counts(), self.state.totals(), events)
    }

    fn put(&mut self, entry: &Entry<'_>, further: u64) -> Option<Applied> {
        let seq = self.seq + further;
        let segment = u32::try_from(seq / 10).unwrap_or(u32::MAX);
        let place = Place { segment, offset: u32::try_from(seq).unwrap_or(u32::MAX), length: 1 };
        let applied = self.state.apply(seq, place, entry, self.now).ok()?;
        let mut body = Vec::new();
        entry.encode(&mut body);
        self.log.push((seq, place, body, self.now));
        self.seq = seq;
        Some(applied)
    }

    /// Applies an entry that cannot be refused.
    fn must(&mut self, entry: &Entry<'_>) {
        let applied = self.put(entry, 1);
        assert_eq!(applied, Some(Applied::Done), "what was judged to be allowed is refused: {entry:?}");
    }

    fn claim(&mut self, taken: &mut Taken<'_>) {
        let durable = self.seq.saturating_sub(u64::from(taken.byte() % 8));
        let offer = self.state.next_claim(self.now, durable);
        assert_eq!(self.state.ready(self.now, durable), offer.is_some(), "having looked, it is known");
        let Some(offer) = offer else { return };
        assert!(offer.of.seq <= durable, "only what is durable is offered");
        self.must(&Entry::Started(Started {
            of: offer.of,
            epoch: self.state.epoch(),
            attempt: offer.attempt,
            alone: offer.alone,
            opens_claim: taken.byte().is_multiple_of(2),
            at: self.now.wall.unix_micros(),
        }));
    }

    /// Any of the events of which this is true.
    fn any(&self, taken: &mut Taken<'_>, is_it: impl Fn(&View) -> bool) -> Option<View> {
        let views: Vec<View> = self.state.list(0).filter(is_it).collect();
        views.get(usize::from(taken.byte()) % views.len().max(1)).cloned()
    }

    /// A run ends under its token, and under no other.
    fn settle(&mut self, numbers: &mut Taken<'_>) {
        let Some(view) = self.any(numbers, |view| view.token.is_some()) else { return };
        let Some(token) = view.token else { return };
        let (of, at) = (view.of(), self.now.wall.unix_micros());
        let other = Token { started: token.started.wrapping_add(1), ..token };
        assert!(self.state.judge_settle(view.seq, other).is_err(), "another token settles it");
        assert!(self.state.judge_settle(view.seq, token).is_ok());
        let delay = numbers.number();
        let wait = Wait { due: at.saturating_add_unsigned(delay), delay };
        let entry = match numbers.byte() % 5 {
            0 => Entry::Completed(Completed { of, token, at }),
            1 => Entry::Failed(Failed { of, token, error: "no", at, retry: Some(wait) }),
            2 => Entry::Failed(Failed { of, token, error: "no", at, retry: None }),
            3 => Entry::Released(Released { of, token, at }),
            _ => Entry::Snoozed(Snoozed { of, token, at, wait, count: view.snoozes.saturating_add(1) }),
        };
        self.must(&entry);
    }

    /// A person, or the store itself, decides about an event that allows it.
    fn decide(&mut self, numbers: &mut Taken<'_>) {
        let condemned = self.state.condemned().next();
        let Some(view) = self.any(numbers, |_| true) else { return };
        let (of, at, kind) = (view.of(), self.now.wall.unix_micros(), numbers.byte() % 4);
        match kind {
            0 if self.state.judge_replay(view.seq).is_ok() => self.must(&Entry::Replayed(Replayed { of, at })),
            1 | 2 if self.state.judge_cancel(view.seq).is_ok() => {
                self.must(&Entry::Cancelled(Cancelled { of, reason: "no", at }));
                if let Some(token) = view.token.filter(|_| kind == 2)
                    && self.left.insert(view.seq)
                {
                    self.state.leave(view.seq, token, true);
                }
            }
            3 => {
                if let Some(of) = condemned {
                    self.must(&Entry::Condemned(Condemned { of, reason: "no", at }));
                }
            }
            _ => {}
        }
    }

    /// What is about tasks of this process, and not in the log.
    fn look_away(&mut self, numbers: &mut Taken<'_>) {
        let Some(view) = self.any(numbers, |_| true) else { return };
        if let Some(token) = view.token {
            assert!(self.state.lose_slot(view.seq, token), "what runs may lose its slot");
            return;
        }
        let token = Token { epoch: self.state.epoch(), started: numbers.number() };
        // By chance it may be that of a run which goes on though its event was cancelled.
        let had_slot = self.state.lose_slot(view.seq, token);
        assert!(!had_slot || self.left.contains(&view.seq), "what does not run has no slot");
        if self.state.let_go(view.seq, token) {
            assert!(self.left.remove(&view.seq), "only what was left is let go");
        }
    }

    fn set_up(&mut self, taken: &mut Taken<'_>) {
        let issue = || "Issue".to_owned();
        match taken.byte() % 4 {
            0 => self.state.set_handled(Handled::All),
            1 => self.state.set_handled(Handled::Only([].into())),
            2 => self.state.set_handled(Handled::Only([issue()].into())),
            _ => self.state.set_limits(BTreeMap::from([(issue(), 1 + u32::from(taken.byte() % 3))])),
        }
    }

    /// The log is read again.
    fn replayed(&self) {
        let mut state = State::replaying(STORE_ID, self.policy);
        for (seq, place, body, now) in &self.log {
            let applied = codec::decode(body).map(|entry| state.apply(*seq, *place, &entry, *now));
            assert!(matches!(applied, Ok(Ok(_))), "what was applied once is applied again: {applied:?}");
        }
        state.arrange();
        state.check();
        assert_eq!(state.totals(), self.state.totals());
        assert_eq!(state.counts().remembered, self.state.counts().remembered);
        let events = |state: &State| state.list(0).map(|view| of_the_log(view, self.now.steady)).collect::<Vec<_>>();
        assert_eq!(events(&state), events(&self.state), "replay gives the same events");
    }
}

/// What the log says of an event, without what is so in one process: who has looked since a wait was over, for one.
fn of_the_log(view: View, steady: u64) -> View {
    let due = view.due.filter(|due| *due > steady);
    View { held: false, waits_behind_key: false, due, ..view }
}

//! What the state promises, one story each.

use std::collections::BTreeMap;

use crate::event::entry::{
    Begun, Cancelled, Completed, Condemned, Entry, Failed, Flags, Horizon, Mark, Of, Received, Released, Remembered,
    RememberedId, Replayed, Snoozed, Started, Token, Totals, Wait,
};
use crate::event::{Moment, Place, Status, Timestamp, Waiting, codec};
use crate::state::table::Step;
use crate::state::verdict::{Illegal, Refused};
use crate::state::{Applied, Handled, Known, Policy, Reception, State, body_hash};

pub(super) use crate::state::foreign::EVENT;

/// A state that is written to as a store would.
pub(super) struct Book {
    pub(super) state: State,
    seq: u64,
    segment: u32,
    pub(super) wall: i64,
    pub(super) steady: u64,
    pages: Vec<(u64, Place, Entry<'static>)>,
}

impl Book {
    pub(super) fn new() -> Self {
        let state = State::new([1; 16], Policy::default());
        let mut book = Self { state, seq: 0, segment: 0, wall: 0, steady: 0, pages: Vec::new() };
        book.begin(1, 1);
        book
    }

    pub(super) fn now(&self) -> Moment {
        Moment { wall: Timestamp::from_unix_micros(self.wall), steady: self.steady }
    }

    fn try_put(&mut self, entry: Entry<'static>) -> Result<Applied, Illegal> {
        let place = Place { segment: self.segment, offset: u32::try_from(self.seq).unwrap(), length: 1 };
        let applied = self.state.apply(self.seq + 1, place, &entry, self.now())?;
        self.seq += 1;
        self.pages.push((self.seq, place, entry));
        self.state.check();
        Ok(applied)
    }

    pub(super) fn put(&mut self, entry: Entry<'static>) -> u64 {
        assert_eq!(self.try_put(entry), Ok(Applied::Done));
        self.seq
    }

    pub(super) fn begin(&mut self, epoch: u64, boot: u64) {
        self.segment += 1;
        self.put(Entry::Begun(Begun { first_seq: self.seq + 1, epoch, boot, at: 0, predecessor: None }));
        let mut said = Vec::new();
        Entry::State(self.state.summary(self.now())).encode(&mut said);
        self.put(codec::decode(said.leak()).unwrap());
    }

    pub(super) fn receive(&mut self, id: &'static str, key: Option<&'static str>) -> u64 {
        self.put(Entry::Received(Received { id, key, received_at: self.wall, ..EVENT }))
    }

    pub(super) fn of(&self, seq: u64) -> Of {
        self.state.view(seq).unwrap().of()
    }

    /// Starts what is offered, and returns what and whether alone.
    pub(super) fn claim(&mut self) -> Option<(u64, bool)> {
        let offer = self.state.next_claim(self.now(), u64::MAX)?;
        let epoch = self.state.epoch();
        let started =
            Started { of: offer.of, epoch, attempt: offer.attempt, alone: offer.alone, opens_claim: true, at: 0 };
        self.put(Entry::Started(started));
        Some((offer.of.seq, offer.alone))
    }

    fn token(&self, seq: u64) -> Token {
        self.state.view(seq).unwrap().token.unwrap()
    }

    pub(super) fn complete(&mut self, seq: u64) {
        let (of, token) = (self.of(seq), self.token(seq));
        self.put(Entry::Completed(Completed { of, token, at: self.wall }));
    }

    pub(super) fn fail(&mut self, seq: u64, delay: u64) {
        let retry = Some(Wait { due: self.wall + i64::try_from(delay).unwrap(), delay });
        let (of, token) = (self.of(seq), self.token(seq));
        self.put(Entry::Failed(Failed { of, token, error: "no", at: self.wall, retry }));
    }

    fn forget(&mut self, finished_before: i64, remembered_before: i64) {
        self.put(Entry::Horizon(Horizon { finished_before, remembered_before }));
    }

    /// The state that the entries outside of `gone` give at a moment.
    pub(super) fn replayed(&self, gone: &[u32], now: Moment) -> State {
        let mut state = State::new([1; 16], Policy::default());
        for (seq, place, entry) in self.pages.iter().filter(|(_, place, _)| !gone.contains(&place.segment)) {
            let _ = state.apply(*seq, *place, entry, now).unwrap();
        }
        state.check();
        state
    }
}

#[test]
fn events_of_one_key_run_one_at_a_time_in_order_and_wait_for_a_retry() {
    let mut book = Book::new();
    let [a, b, other, c] =
        [("a", "k"), ("b", "k"), ("other", "l"), ("c", "k")].map(|(id, key)| book.receive(id, Some(key)));
    assert_eq!((book.claim(), book.claim(), book.claim()), (Some((a, false)), Some((other, false)), None));
    book.fail(a, 100);
    assert_eq!(book.claim(), None, "b waits while a waits for its retry");
    assert!(book.state.view(b).unwrap().waits_behind_key);
    assert_eq!(book.state.next_due(), Some(100));
    book.steady = 100;
    assert_eq!((book.claim(), book.claim()), (Some((a, false)), None));
    book.complete(a);
    assert_eq!(book.claim(), Some((b, false)));
    let of = book.of(a);
    book.put(Entry::Replayed(Replayed { of, at: 0 }));
    book.complete(b);
    assert_eq!(book.claim(), Some((c, false)), "what was replayed joins the end");
    book.put(Entry::Cancelled(Cancelled { of: book.of(c), reason: "", at: 0 }));
    assert_eq!(book.claim(), Some((a, false)));
}

#[test]
fn what_is_held_or_not_yet_due_does_not_hold_its_key() {
    let mut book = Book::new();
    let later = Received { id: "later", key: Some("k"), not_before: Some(50), ..EVENT };
    let later = book.put(Entry::Received(later));
    let comment = Received { id: "comment", key: Some("k"), event_type: "Comment", ..EVENT };
    let comment = book.put(Entry::Received(comment));
    let [first, last] = ["first", "last"].map(|id| book.receive(id, Some("k")));
    book.state.set_handled(Handled::Only(["Issue".to_owned()].into()));
    book.state.check();
    assert!(book.state.view(comment).unwrap().held);
    let counts = book.state.counts();
    assert_eq!((counts.of(Status::Pending), counts.held), (3, 1));
    assert_eq!(book.claim(), Some((first, false)));
    book.steady = 50;
    assert_eq!(book.claim(), None, "what runs keeps its key from what became due");
    book.complete(first);
    assert_eq!(book.claim(), Some((later, false)), "it came first, and is due now");
    book.state.set_handled(Handled::All);
    book.state.check();
    book.complete(later);
    assert_eq!(book.claim(), Some((comment, false)));
    book.complete(comment);
    assert_eq!(book.claim(), Some((last, false)));
}

#[test]
fn what_was_held_is_released_in_steps_and_comes_in_order_whatever_happens_between() {
    let mut book = Book::new();
    book.state.set_handled(Handled::Only(["Issue".to_owned()].into()));
    let comment = |book: &mut Book, id: &'static str, key| {
        book.put(Entry::Received(Received { id, key, event_type: "Comment", ..EVENT }))
    };
    let held: Vec<u64> = ["a", "b", "c", "d"].map(|id| comment(&mut book, id, Some("k"))).into();
    let issue = book.receive("issue", Some("k"));
    book.put(Entry::Received(Received { id: "cycle", event_type: "Cycle", ..EVENT }));
    assert_eq!(book.claim(), Some((issue, false)));
    book.state.add_handled(Handled::Only(["Comment".to_owned()].into()));
    book.state.check();
    let release = |book: &mut Book, count_max| {
        let is_more = book.state.events.release(10, count_max);
        book.state.check();
        (is_more, book.state.counts().held)
    };
    assert_eq!(release(&mut book, 2), (true, 3));
    let later = comment(&mut book, "later", Some("k"));
    assert!(!book.state.view(later).unwrap().held && book.state.view(held[2]).unwrap().held);
    book.complete(issue);
    assert_eq!(book.claim(), None, "the first of the key may still be held");
    assert!(book.state.ready(book.now(), u64::MAX), "but there is something to be done");
    book.put(Entry::Cancelled(Cancelled { of: book.of(held[0]), reason: "", at: 0 }));
    book.put(Entry::Cancelled(Cancelled { of: book.of(held[2]), reason: "", at: 0 }));
    book.put(Entry::Replayed(Replayed { of: book.of(held[2]), at: 0 }));
    assert!(!book.state.view(held[2]).unwrap().held, "what changes is released by that");
    assert_eq!(release(&mut book, 2), (false, 1), "the one that nobody handles");
    for seq in [held[1], held[3], later, held[2]] {
        assert_eq!(book.claim(), Some((seq, false)));
        book.complete(seq);
    }
    assert_eq!(book.claim(), None);
}

#[test]
fn only_what_is_durable_is_offered() {
    let mut book = Book::new();
    let seq = book.receive("a", None);
    assert_eq!(book.state.next_claim(book.now(), seq - 1), None);
    assert!(!book.state.ready(book.now(), seq - 1) && book.state.ready(book.now(), seq));
    assert_eq!(book.state.next_claim(book.now(), seq).unwrap().of.seq, seq);
}

#[test]
fn a_duplicate_is_refused_while_live_retained_or_remembered() {
    let mut book = Book::new();
    let event = Received { id: "a", body_hash: Some([1; 32]), flags: Flags::BODY_IS_IDENTITY, received_at: 5, ..EVENT };
    let seq = book.put(Entry::Received(event));
    let own = book.put(Entry::Received(Received { id: "own", flags: Flags::OWN_ID, received_at: 5, ..EVENT }));
    let body = |byte| Some(body_hash(&[byte; 32]));
    let judge =
        |book: &Book, id, byte, identity| book.state.judge_reception(book.state.hasher().id(id), body(byte), identity);
    let is_known = |book: &Book, is_kept: bool| {
        let id_hash = book.state.hasher().id("a");
        let known = Known { seq, id_hash, kept: is_kept };
        assert_eq!(judge(book, "a", 1, false), Reception::SameId(known));
        assert_eq!(judge(book, "a", 2, true), Reception::Conflict(known));
        assert_eq!(judge(book, "b", 1, true), Reception::SameBody(known));
        assert_eq!(judge(book, "b", 1, false), Reception::New);
        assert_eq!(book.state.judge_reception(id_hash, None, false), Reception::SameId(known));
    };
    is_known(&book, true);
    assert_eq!((book.claim(), book.claim()), (Some((seq, false)), Some((own, false))));
    book.complete(seq);
    book.complete(own);
    is_known(&book, true);
    book.forget(1, 0);
    is_known(&book, false);
    assert_eq!(judge(&book, "own", 1, false), Reception::New, "nobody can send our own ids again");
    assert_eq!(book.state.remembered_in(&[1]).len(), 1);
    book.begin(1, 1);
    let ids = book.state.remembered_in(&[1]);
    book.put(Entry::Remembered(Remembered { ids }));
    assert_eq!(book.state.remembered_in(&[1]), []);
    is_known(&book, false);
    book.state.drop_segments(&[1]);
    book.state = book.replayed(&[1], book.now());
    is_known(&book, false);
    let crowded = |count_max| book.state.next_remembered_horizon(0, count_max, 10);
    assert_eq!((crowded(1), crowded(0)), ((0, false), (6, false)));
    book.forget(0, 6);
    assert_eq!(judge(&book, "a", 1, true), Reception::New);
    let again = book.receive("a", None);
    assert_eq!(book.state.find(book.of(again).id_hash.into()), None, "an id is looked for by its whole hash");
}

#[test]
fn many_remembered_ids_are_forgotten_in_steps_and_none_too_early() {
    const STEP: usize = 10;
    // When each was received, the horizon to reach, how many may stay, and how many are forgotten in each step.
    let spread: Vec<i64> = (0..100).collect();
    let at_once = vec![5; 100];
    let check = |received: &[i64], target: i64, count_max: usize, expected: &[usize]| {
        let mut book = Book::new();
        let remembered = |(number, at): (usize, &i64)| {
            let id_hash = number as u128 + 1;
            RememberedId { seq: 1, id_hash, body_hash: None, body_is_identity: false, received_at: *at }
        };
        let ids = received.iter().enumerate().map(remembered).collect();
        book.put(Entry::Remembered(Remembered { ids }));
        let mut steps = Vec::new();
        loop {
            let before = book.state.memory.len();
            let (horizon, more) = book.state.next_remembered_horizon(target, count_max, STEP);
            book.forget(i64::MIN, horizon);
            steps.push(before - book.state.memory.len());
            if !more {
                break;
            }
        }
        assert_eq!(steps, expected, "to {target}, at most {count_max}");
        let mut left: Vec<i64> = book.state.memory.iter().map(|(id, _)| id.received_at).collect();
        left.sort_unstable();
        let is_left = |at: &&i64| **at >= target;
        let due = received.iter().filter(is_left).count();
        let last = received.get(received.len() - due.min(count_max)..).unwrap();
        let at_most = if received.first() == received.last() { &[] } else { last };
        assert_eq!(left, at_most, "those that are left are the last");
    };
    check(&spread, 35, 1_000, &[10, 10, 10, 5]);
    check(&spread, 30, 1_000, &[10, 10, 10]);
    check(&spread, -1, 75, &[10, 10, 5]);
    check(&spread, 12, 95, &[10, 2]);
    check(&spread, 1_000, 0, &[10; 10]);
    check(&at_once, 6, 1_000, &[100]);
    check(&at_once, 0, 99, &[100]);
    check(&[], 6, 0, &[0]);
}

#[test]
fn a_claim_is_settled_by_its_own_token_only() {
    // R17.
    let mut book = Book::new();
    let seq = book.receive("a", None);
    book.claim();
    let (of, old) = (book.of(seq), book.token(seq));
    book.put(Entry::Released(Released { of, token: old, at: 0 }));
    let refused = Refused::Status { status: Status::Pending, step: Step::Completed };
    assert_eq!(book.state.judge_settle(seq, old), Err(refused));
    book.claim();
    assert_eq!(book.state.judge_settle(seq, old), Err(Refused::Token));
    assert!(book.try_put(Entry::Completed(Completed { of, token: old, at: 0 })).is_err());
    assert_eq!(book.state.view(seq).unwrap().status, Status::Processing);
    assert!(book.state.judge_settle(seq, book.token(seq)).is_ok());
    assert_eq!(book.state.judge_settle(99, old), Err(Refused::Unknown));
}

#[test]
fn an_event_that_kills_the_process_runs_alone_and_is_condemned() {
    let mut book = Book::new();
    let killer = book.receive("killer", None);
    let mut epoch = 1;
    let mut die = |book: &mut Book, boot| {
        epoch += 1;
        book.begin(epoch, boot);
    };
    for boot in [1, 1] {
        assert_eq!(book.claim(), Some((killer, false)));
        die(&mut book, boot);
    }
    let [a, b] = ["a", "b"].map(|id| book.receive(id, None));
    assert_eq!((book.claim(), book.claim(), book.claim()), (Some((a, false)), Some((b, false)), None));
    book.complete(a);
    assert_eq!(book.claim(), None, "something runs");
    book.complete(b);
    assert_eq!(book.claim(), Some((killer, true)));
    let c = book.receive("c", None);
    assert_eq!(book.claim(), None, "it runs alone");
    die(&mut book, 2);
    assert_eq!((book.claim(), book.claim()), (Some((c, false)), None), "a reboot did not count");
    book.complete(c);
    for died in 0..3 {
        assert_eq!(book.state.condemned().next(), None, "{died} deaths");
        assert_eq!(book.claim(), Some((killer, true)));
        die(&mut book, 2);
    }
    assert_eq!(book.claim(), None);
    let of = book.state.condemned().next().unwrap();
    assert_eq!(of, book.of(killer));
    book.put(Entry::Condemned(Condemned { of, reason: "", at: 0 }));
    assert_eq!(book.state.view(killer).unwrap().status, Status::Failed);
    book.put(Entry::Replayed(Replayed { of, at: 0 }));
    assert_eq!(book.claim(), Some((killer, false)), "a replay begins anew");
    book.put(Entry::Mark(Mark::Close));
    die(&mut book, 2);
    assert_eq!(book.claim(), Some((killer, false)));
    die(&mut book, 2);
    assert_eq!(book.claim(), Some((killer, false)), "a clean end did not count");
}

/// An event during which the process died twice; epoch 3 has begun.
fn suspect(book: &mut Book) -> u64 {
    let killer = book.receive("killer", None);
    for epoch in [2, 3] {
        book.claim();
        book.begin(epoch, 1);
    }
    killer
}

#[test]
fn nothing_runs_alone_beside_what_is_left_of_a_cancelled_run_and_nobody_else_waits_for_it() {
    let mut book = Book::new();
    let killer = suspect(&mut book);
    let hung = book.receive("hung", None);
    assert_eq!(book.claim(), Some((hung, false)));
    let (of, token) = (book.of(hung), book.token(hung));
    book.put(Entry::Cancelled(Cancelled { of, reason: "", at: 0 }));
    book.state.leave(hung, token, true);
    assert_eq!(book.claim(), None, "what is left of it may be what kills the process");
    for _ in 0..300 {
        let id: &'static str = Box::leak(book.seq.to_string().into_boxed_str());
        let next = book.receive(id, None);
        assert_eq!(book.claim(), Some((next, false)), "it may never end, and others do not wait for it");
        book.complete(next);
    }
    assert!(book.state.let_go(hung, token));
    assert_eq!(book.claim(), Some((killer, true)));
    let of = book.of(killer);
    let token = book.token(killer);
    book.put(Entry::Cancelled(Cancelled { of, reason: "", at: 0 }));
    book.state.leave(killer, token, true);
    book.put(Entry::Replayed(Replayed { of, at: 0 }));
    assert_eq!(book.claim(), None);
    book.begin(4, 1);
    assert_eq!(book.claim(), Some((killer, false)), "with its process ended whatever it had left running");
}

#[test]
fn a_run_that_lost_its_slot_holds_up_nobody_but_who_must_run_alone() {
    let mut book = Book::new();
    book.state.set_limits(BTreeMap::from([("Issue".to_owned(), 1)]));
    let killer = suspect(&mut book);
    let hung = book.receive("hung", None);
    assert_eq!(book.claim(), Some((hung, false)));
    assert!(book.state.lose_slot(hung, book.token(hung)));
    for _ in 0..300 {
        let id: &'static str = Box::leak(book.seq.to_string().into_boxed_str());
        let next = book.receive(id, None);
        assert_eq!(book.claim(), Some((next, false)), "it may never end, and neither its type nor anybody else waits");
        assert_eq!(book.claim(), None, "the type is bounded as before");
        book.complete(next);
        book.state.check();
    }
    book.complete(hung);
    assert_eq!(book.claim(), Some((killer, true)));
    let token = book.token(killer);
    let next = book.receive("next", None);
    assert_eq!((book.claim(), book.state.why_waiting(next, book.now())), (None, Some(Waiting::Alone)));
    assert!(book.state.lose_slot(killer, token));
    assert_eq!(book.claim(), Some((next, false)), "what ran alone may never end either");
    book.complete(killer);
    assert!(!book.state.lose_slot(killer, token), "it is over");
    book.state.check();
}

#[test]
fn a_suspect_has_its_turn_under_load() {
    let mut book = Book::new();
    let killer = suspect(&mut book);
    let mut ordinary = 0;
    let mut running = None;
    for _ in 0..1_000 {
        let id: &'static str = Box::leak(book.seq.to_string().into_boxed_str());
        book.receive(id, None);
        let claimed = book.claim();
        if let Some(before) = running.take() {
            book.complete(before);
        }
        match claimed {
            Some((seq, true)) => return assert_eq!((seq, ordinary), (killer, 256)),
            Some((seq, false)) => (running, ordinary) = (Some(seq), ordinary + 1),
            None => {}
        }
    }
    panic!("it never ran");
}

#[test]
fn compaction_never_brings_a_finished_event_back() {
    // R6.
    let mut book = Book::new();
    let [a, b] = ["a", "b"].map(|id| book.receive(id, None));
    book.begin(1, 1);
    assert_eq!(book.claim(), Some((a, false)));
    book.complete(a);
    book.begin(1, 1);
    let c = book.receive("c", None);
    assert_eq!(book.claim(), Some((b, false)));
    book.begin(1, 1);
    book.forget(1, 0);
    assert_eq!(book.state.view(a), None);
    assert_eq!(book.state.dead_segments(1..4), [0; 0], "segment 2 keeps a completed as long as 1 keeps b");
    assert_eq!(
        book.replayed(&[2], book.now()).view(a).unwrap().status,
        Status::Pending,
        "without it, a would run again"
    );
    book.complete(b);
    book.forget(1, 0);
    assert_eq!(book.state.dead_segments(1..4), [1, 2], "3 keeps c");
    assert_eq!(book.state.dead_segments(2..4), [0; 0]);
    book.state.drop_segments(&[1, 2]);
    let again = book.replayed(&[1, 2], book.now());
    assert!(again.list(0).eq(book.state.list(0)));
    assert_eq!(again.list(0).map(|view| view.seq).collect::<Vec<_>>(), [c]);
    assert_eq!(again.totals(), book.state.totals());
}

/// What ended a run outlives its segment's other uses: the deaths of an event are those that were counted when they happened.
fn check_deaths(book: &Book, event: u64, ending: u32, deaths: u8) {
    let count = |state: &State| state.events.slots[state.events.slots.by_seq(event).unwrap()].deaths();
    assert_eq!(count(&book.state), deaths);
    assert_eq!(
        book.state.dead_segments(1..book.segment),
        [0; 0],
        "segment {ending} holds nothing but what ended its run"
    );
    assert_eq!(count(&book.replayed(&[], book.now())), deaths);
    assert_ne!(count(&book.replayed(&[ending], book.now())), deaths, "without it replay counts otherwise");
}

#[test]
fn a_crash_is_counted_though_nothing_else_happened_before_the_next_reboot() {
    let mut book = Book::new();
    let event = book.receive("a", None);
    book.claim();
    book.begin(2, 1);
    book.begin(3, 2);
    check_deaths(&book, event, 2, 1);
}

#[test]
fn a_close_while_an_event_ran_is_never_taken_for_a_crash() {
    let mut book = Book::new();
    let event = book.receive("a", None);
    book.claim();
    book.begin(1, 1);
    book.put(Entry::Mark(Mark::Close));
    book.begin(2, 1);
    book.begin(2, 1);
    check_deaths(&book, event, 2, 0);
}

#[test]
fn no_jump_of_the_clock_stretches_a_wait_and_none_ends_before_its_time_by_restart() {
    for put_off in [false, true] {
        check_wait(put_off);
    }
}

/// A retry that waits for 600, because the run failed or because it put its event off.
fn check_wait(put_off: bool) {
    let mut book = Book::new();
    book.wall = 1_000_000;
    let seq = book.receive("a", None);
    book.claim();
    if put_off {
        let (of, token, wait) = (book.of(seq), book.token(seq), Wait { due: book.wall + 600, delay: 600 });
        book.put(Entry::Snoozed(Snoozed { of, token, at: book.wall, wait, count: 1 }));
    } else {
        book.fail(seq, 600);
    }
    assert_eq!(book.state.view(seq).unwrap().due, Some(600));
    for (wall, left) in
        [(1_000_000, 600), (1_000_200, 400), (1_000_599, 1), (1_000_600, 0), (i64::MAX, 0), (0, 600), (i64::MIN, 600)]
    {
        let now = Moment { wall: Timestamp::from_unix_micros(wall), steady: 7 };
        let mut again = book.replayed(&[], now);
        assert_eq!(again.view(seq).unwrap().due, Some(7 + left).filter(|_| left > 0), "opened at {wall}");
        assert_eq!(again.next_claim(now, u64::MAX).is_some(), left == 0, "opened at {wall}");
        let then = Moment { steady: 7 + left, ..now };
        assert!(again.next_claim(then, u64::MAX).is_some(), "opened at {wall}");
    }
}

#[test]
fn totals_go_on_from_a_state_entry() {
    let mut state = State::new([1; 16], Policy::default());
    let horizon = Horizon { finished_before: 3, remembered_before: 2 };
    let totals = Totals { received: 9, completed: 8, attempts_failed: 7, retries_scheduled: 6, claims: 5, horizon };
    let (of, token) = (Of { seq: 1, id_hash: 1 }, Token { epoch: 4, started: 2 });
    let place = Place { segment: 5, offset: 0, length: 0 };
    let now = Moment { wall: Timestamp::default(), steady: 0 };
    let begun = Begun { first_seq: 10, epoch: 4, boot: 1, at: 0, predecessor: None };
    let completed = Entry::Completed(Completed { of, token, at: 0 });
    assert_eq!(state.apply(10, place, &Entry::Begun(begun), now), Ok(Applied::Done));
    assert_eq!(state.apply(11, place, &Entry::State(totals.into()), now), Ok(Applied::Done));
    assert_eq!(state.apply(12, place, &completed, now), Ok(Applied::Orphan { of_seq: 1 }));
    assert_eq!(state.totals(), Totals { completed: 9, ..totals });
    assert!(state.apply(12, place, &completed, now).is_err(), "seqs ascend");
    let lower = Horizon { finished_before: 2, remembered_before: 1 };
    assert_eq!(state.apply(13, place, &Entry::Horizon(lower), now), Ok(Applied::Done));
    assert_eq!(state.totals().horizon, horizon, "horizons do not go back");
}

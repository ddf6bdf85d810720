//! Who is offered next, and who is not, one story each.

use std::collections::BTreeMap;

use crate::event::entry::{Entry, Paused, Received, Replayed, Resumed, Scoped};
use crate::event::{Scope, Timestamp, Waiting};
use crate::state::ready::STEP_MICROS;
use crate::state::stories::{Book, EVENT};
use crate::state::{Gist, IdHasher};

const ISSUE: Scoped<'static> = Scoped::Type("Issue");
const KEY: Scoped<'static> = Scoped::Key("k");

/// An event that is about to be received: id, type, key, priority.
type Arriving = (&'static str, &'static str, Option<&'static str>, u8);

fn receive<const N: usize>(book: &mut Book, events: [Arriving; N]) -> [u64; N] {
    events.map(|(id, event_type, key, priority)| {
        let received_at = book.wall;
        book.put(Entry::Received(Received { id, event_type, key, received_at, priority, ..EVENT }))
    })
}

fn pause(book: &mut Book, scope: Scoped<'static>, until: Option<i64>) {
    book.put(Entry::Paused(Paused { scope, at: book.wall, until, reason: "a release" }));
}

fn resume(book: &mut Book, scope: Scoped<'static>) {
    book.put(Entry::Resumed(Resumed { scope, at: book.wall }));
}

fn pass(book: &mut Book, micros: i64) {
    book.wall += micros;
    book.steady += u64::try_from(micros).unwrap();
}

/// Claims until there is nothing, and tells the seqs.
fn claims(book: &mut Book) -> Vec<u64> {
    std::iter::from_fn(|| book.claim().map(|(seq, _)| seq)).collect()
}

/// Three of one type, two of another, one of a third.
const OF_THREE_TYPES: [Arriving; 6] = [
    ("a1", "A", None, 0),
    ("a2", "A", None, 0),
    ("a3", "A", None, 0),
    ("b1", "B", None, 0),
    ("b2", "B", None, 0),
    ("c1", "C", None, 0),
];

#[test]
fn types_take_turns_whatever_came_first() {
    let mut book = Book::new();
    let [a1, a2, a3, b1, b2, c1] = receive(&mut book, OF_THREE_TYPES);
    assert_eq!(claims(&mut book), [a1, b1, c1, a2, b2, a3]);
    let [a4, c2, b3] = receive(&mut book, [("a4", "A", None, 0), ("c2", "C", None, 0), ("b3", "B", None, 0)]);
    assert_eq!(claims(&mut book), [c2, b3, a4], "whose last run began longest ago");
    let now = book.now();
    let mut again = book.replayed(&[], now);
    assert_eq!(again.next_claim(now, u64::MAX), None);
    let [a5, b4, c3] = receive(&mut book, [("a5", "A", None, 0), ("b4", "B", None, 0), ("c3", "C", None, 0)]);
    again = book.replayed(&[], now);
    assert_eq!(again.next_claim(now, u64::MAX).unwrap().of.seq, c3, "a restart keeps the turns");
    assert_eq!(claims(&mut book), [c3, b4, a5]);
}

#[test]
fn what_is_urgent_goes_first_until_the_rest_has_waited_for_it() {
    let mut book = Book::new();
    let [late, later, first] =
        receive(&mut book, [("late", "A", None, 2), ("later", "A", None, 3), ("first", "B", None, 0)]);
    assert_eq!(book.claim(), Some((first, false)));
    pass(&mut book, 2 * STEP_MICROS - 1);
    let [fresh] = receive(&mut book, [("fresh", "B", None, 1)]);
    assert_eq!(book.claim(), Some((late, false)), "both count as 1, and B ran last");
    assert_eq!(book.claim(), Some((fresh, false)));
    assert_eq!(book.claim(), Some((later, false)));
}

#[test]
fn the_last_priority_costs_nine_steps_at_most() {
    for (steps, expected) in [(8, "urgent"), (9, "patient")] {
        let mut book = Book::new();
        let [patient] = receive(&mut book, [("patient", "A", None, 9)]);
        pass(&mut book, steps * STEP_MICROS);
        // Of one type, so that the rank decides among equals.
        let [urgent] = receive(&mut book, [("urgent", "A", None, 0)]);
        let expected = if expected == "urgent" { urgent } else { patient };
        assert_eq!(book.claim(), Some((expected, false)), "after {steps} steps");
    }
}

#[test]
fn a_replay_begins_to_wait_anew() {
    let mut book = Book::new();
    let [old] = receive(&mut book, [("old", "A", None, 1)]);
    assert_eq!(book.claim(), Some((old, false)));
    book.complete(old);
    pass(&mut book, STEP_MICROS);
    let of = book.of(old);
    book.put(Entry::Replayed(Replayed { of, at: book.wall }));
    let [new] = receive(&mut book, [("new", "A", None, 0)]);
    assert_eq!(claims(&mut book), [new, old]);
}

#[test]
fn priorities_change_no_order_within_a_key() {
    let mut book = Book::new();
    let [slow, urgent, other] =
        receive(&mut book, [("slow", "A", Some("k"), 9), ("urgent", "A", Some("k"), 0), ("other", "A", None, 5)]);
    assert_eq!(claims(&mut book), [other, slow]);
    book.complete(slow);
    assert_eq!(claims(&mut book), [urgent]);
}

#[test]
fn an_unknown_priority_counts_as_the_last() {
    let mut book = Book::new();
    let [foreign, last] = receive(&mut book, [("foreign", "A", None, 200), ("last", "A", None, 9)]);
    assert_eq!(claims(&mut book), [foreign, last]);
}

#[test]
fn a_type_at_its_limit_lets_others_go_and_goes_on_when_one_of_its_runs_ends() {
    let mut book = Book::new();
    book.state.set_limits(BTreeMap::from([("A".to_owned(), 2), ("B".to_owned(), 0)]));
    let [a1, a2, a3, b1, b2, c1] = receive(&mut book, OF_THREE_TYPES);
    assert_eq!(claims(&mut book), [a1, b1, c1, a2], "0 counts as 1");
    let why = |book: &Book, seq| book.state.why_waiting(seq, book.now());
    assert_eq!((why(&book, a3), why(&book, b2)), (Some(Waiting::Limit { runs: 2 }), Some(Waiting::Limit { runs: 1 })));
    assert!(!book.state.ready(book.now(), u64::MAX));
    book.fail(a1, 5);
    assert_eq!(claims(&mut book), [a3], "a run that failed has ended too");
    pass(&mut book, 5);
    assert_eq!(claims(&mut book), [0; 0]);
    book.state.set_limits(BTreeMap::new());
    book.state.check();
    assert_eq!(claims(&mut book).len(), 2, "{a1} {b2}");
    book.begin(2, 2);
    book.state.set_limits(BTreeMap::from([("A".to_owned(), 1)]));
    book.state.check();
    let [_] = receive(&mut book, [("c2", "C", None, 0)]);
    assert_eq!(claims(&mut book).len(), 5, "one A, two B and two C: none of the process before runs");
}

#[test]
fn a_paused_type_or_key_is_not_offered_and_holds_up_nobody_else() {
    let mut book = Book::new();
    let [first, second, issue, other] = receive(
        &mut book,
        [
            ("first", "A", Some("k"), 0),
            ("second", "A", Some("k"), 0),
            ("issue", "Issue", None, 0),
            ("other", "A", None, 0),
        ],
    );
    pause(&mut book, KEY, None);
    pause(&mut book, ISSUE, None);
    assert_eq!(book.state.ready_count(), 1, "neither what is paused nor who is behind it");
    assert_eq!(claims(&mut book), [other]);
    let why = |book: &Book, seq| book.state.why_waiting(seq, book.now());
    let paused = |scope: Scoped<'_>| Some(Waiting::Pause { scope: Scope::from(scope), until: None });
    assert_eq!((why(&book, first), why(&book, second), why(&book, issue)), (paused(KEY), paused(KEY), paused(ISSUE)));
    assert_eq!(book.state.counts().oldest_ready, None, "nobody is behind with what is paused");
    let [held] = receive(&mut book, [("third", "Issue", None, 0)]);
    assert_eq!(claims(&mut book), [0; 0]);
    resume(&mut book, KEY);
    assert_eq!(claims(&mut book), [first], "it kept its key");
    assert_eq!(why(&book, second), Some(Waiting::Key { id: None, seq: first }));
    pause(&mut book, KEY, None);
    book.complete(first);
    assert_eq!(claims(&mut book), [0; 0], "what runs goes on, what is next does not");
    resume(&mut book, ISSUE);
    resume(&mut book, KEY);
    assert_eq!(claims(&mut book), [issue, second, held]);
}

#[test]
fn a_pause_ends_by_itself_and_whoever_waits_is_told_when() {
    let mut book = Book::new();
    book.wall = 1_000;
    let [a] = receive(&mut book, [("a", "Issue", None, 0)]);
    pause(&mut book, ISSUE, Some(1_050));
    assert_eq!((claims(&mut book), book.state.next_due()), (vec![], Some(50)));
    // Replacing it replaces its end.
    pause(&mut book, ISSUE, Some(1_090));
    pass(&mut book, 60);
    assert_eq!((claims(&mut book), book.state.next_due()), (vec![], Some(90)));
    let until = Some(Timestamp::from_unix_micros(1_090));
    assert_eq!(book.state.why_waiting(a, book.now()), Some(Waiting::Pause { scope: ISSUE.into(), until }));
    pass(&mut book, 30);
    assert!(book.state.ready(book.now(), u64::MAX));
    assert_eq!(
        (book.state.pauses(book.now()).count(), book.state.why_waiting(a, book.now())),
        (0, Some(Waiting::Turn))
    );
    assert_eq!((claims(&mut book), book.state.next_due()), (vec![a], None));
}

#[test]
fn no_clock_stretches_a_pause() {
    let mut book = Book::new();
    book.wall = 1_000;
    receive(&mut book, [("a", "Issue", None, 0)]);
    pause(&mut book, ISSUE, Some(1_050));
    for (wall, ends) in [(1_010, Some(40)), (0, Some(50)), (1_050, None), (9_999, None)] {
        book.wall = wall;
        let again = book.replayed(&[], book.now());
        assert_eq!(again.next_due(), ends, "at {wall}");
        assert_eq!(again.pauses(book.now()).count(), usize::from(ends.is_some()), "at {wall}");
    }
}

#[test]
fn a_later_segment_says_all_that_is_in_force() {
    let mut book = Book::new();
    book.wall = 1_000;
    pause(&mut book, KEY, Some(5_000));
    pause(&mut book, ISSUE, None);
    pause(&mut book, Scoped::Type("A"), Some(1_001));
    book.put(Entry::Cursor(crate::event::entry::Cursor { name: "c", seq: Some(2), at: 0 }));
    resume(&mut book, ISSUE);
    pass(&mut book, 10);
    book.begin(1, 1);
    let now = book.now();
    let said = |state: &crate::state::State| {
        let summary = state.summary(now);
        (summary.pauses.len(), summary.cursors.len())
    };
    assert_eq!(said(&book.state), (1, 1), "what is over is not said");
    assert_eq!(book.state.dead_segments([1].into_iter()), [1], "nothing in the segments before is needed");
    let again = book.replayed(&[1], now);
    assert_eq!((said(&again), again.summary(now)), ((1, 1), book.state.summary(now)));
    assert_eq!(again.next_due(), Some(now.steady + 3_990));
}

#[test]
fn a_pause_that_a_later_segment_does_not_list_is_over() {
    // Compaction may keep an older `State` for its horizon, and drops what ended the pause.
    let mut book = Book::new();
    pause(&mut book, ISSUE, None);
    book.begin(1, 1);
    book.begin(1, 1);
    resume(&mut book, ISSUE);
    book.begin(1, 1);
    let again = book.replayed(&[1, 3], book.now());
    assert_eq!((again.pauses(book.now()).count(), again.summary(book.now())), (0, book.state.summary(book.now())));
    let [a] = receive(&mut book, [("a", "Issue", None, 0)]);
    assert_eq!(book.claim(), Some((a, false)));
}

#[test]
fn a_suspect_of_a_paused_type_keeps_nobody_waiting() {
    let mut book = Book::new();
    let [killer] = receive(&mut book, [("killer", "Issue", None, 0)]);
    for epoch in [2, 3] {
        assert_eq!(book.claim(), Some((killer, false)));
        book.begin(epoch, 1);
    }
    pause(&mut book, ISSUE, None);
    for number in 0..300 {
        let id: &'static str = format!("a{number}").leak();
        let [a] = receive(&mut book, [(id, "A", None, 0)]);
        assert_eq!(book.claim(), Some((a, false)), "{number}");
        book.complete(a);
    }
    assert_eq!(book.claim(), None);
    resume(&mut book, ISSUE);
    let [a] = receive(&mut book, [("more", "A", None, 0)]);
    let why = |book: &Book, seq| book.state.why_waiting(seq, book.now());
    assert_eq!((book.claim(), why(&book, killer)), (Some((a, false)), Some(Waiting::Alone)));
    book.complete(a);
    assert_eq!((why(&book, killer), book.claim()), (Some(Waiting::Turn), Some((killer, true))));
    let [a] = receive(&mut book, [("last", "A", None, 0)]);
    assert_eq!(why(&book, a), Some(Waiting::Alone), "one runs alone");
}

/// Counted in lines that are looked at, it would be the same; in time, a walk over all types for each pick would take minutes here.
#[test]
fn a_pick_costs_about_the_same_however_many_types_there_are() {
    let mut state = crate::state::State::new([1; 16], crate::state::Policy::default());
    let hasher = IdHasher::new([1; 16]);
    let mut book = Book::new();
    std::mem::swap(&mut state, &mut book.state);
    let now = book.now();
    let mut seq = 0;
    let begun = crate::event::entry::Begun { first_seq: 1, epoch: 1, boot: 1, at: 0, predecessor: None };
    let place = crate::event::Place { segment: 1, offset: 0, length: 1 };
    let _ = book.state.apply(1, place, &Entry::Begun(begun), now).unwrap();
    for round in 0..3_u8 {
        for number in 0..20_000 {
            seq += 1;
            let id = format!("{round} {number}");
            let gist: Gist = hasher.gist(&Received { id: &id, priority: round, ..EVENT });
            let _ = book.state.apply_gist((seq + 1, place), &gist, &format!("type {number}"), now).unwrap();
        }
    }
    for expected in 0..20_000 {
        let offer = book.state.next_claim(now, u64::MAX).unwrap();
        assert_eq!(offer.of.seq, expected + 2);
        seq += 1;
        let entry =
            crate::event::entry::Started { of: offer.of, epoch: 1, attempt: 1, alone: false, opens_claim: true, at: 0 };
        let _ = book.state.apply(seq + 1, place, &Entry::Started(entry), now).unwrap();
    }
    book.state.check();
}

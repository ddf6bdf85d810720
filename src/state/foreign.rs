//! Entries that nobody here wrote: in any order, about anything. None panics, and what is refused has changed nothing (R14).

use crate::event::entry::{
    Begun, Cancelled, Completed, Condemned, Cursor, Entry, Failed, Flags, Handled, Horizon, Mark, Of, Paused, Received,
    Released, Remembered, RememberedId, Replayed, Resumed, Scoped, Snoozed, Started, Summary, Token, Totals, Wait,
};
use crate::event::{Moment, Place, Timestamp};
use crate::state::chance::Chance;
use crate::state::hash::low;
use crate::state::stories::EVENT;
use crate::state::{IdHasher, Policy, State};

/// Any entry, of small numbers so that they meet, and of the largest.
fn foreign(chance: &mut Chance) -> Entry<'static> {
    let mut number = |most| if chance.below(20) == 0 { chance.next() } else { chance.below(most) };
    let ids = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let id = ids[usize::try_from(number(8) % 8).unwrap()];
    let hasher = IdHasher::new([1; 16]);
    let of = Of { seq: number(60), id_hash: low(hasher.id(id)) };
    let token = Token { epoch: number(3), started: number(60) };
    let at = number(100).cast_signed();
    let retry = Some(Wait { due: number(100).cast_signed(), delay: number(100) }).filter(|_| at % 2 == 0);
    let narrow = |number: u64| u32::try_from(number & 0xffff_ffff).unwrap();
    let horizon = Horizon { finished_before: number(9).cast_signed(), remembered_before: number(9).cast_signed() };
    let scope = [Scoped::Type("Issue"), Scoped::Key("k"), Scoped::Key("")][usize::try_from(number(3) % 3).unwrap()];
    let paused = Paused { scope, at, until: retry.map(|wait| wait.due), reason: "" };
    let cursor = Cursor { name: id, seq: Some(number(9)).filter(|seq| seq % 2 == 0), at };
    match number(31) {
        0 => Entry::Begun(Begun { first_seq: 0, epoch: number(4) & 0xff, boot: number(2), at, predecessor: None }),
        1 => Entry::State(Summary {
            totals: Totals { received: number(9), claims: u64::MAX, horizon, ..Totals::default() },
            pauses: vec![paused, paused],
            cursors: vec![("a", number(9)), ("a", 7)],
        }),
        2 => Entry::Horizon(horizon),
        3 => {
            let ghost = RememberedId { seq: number(60), id_hash: hasher.id(id), body_hash: None, ..GHOST };
            Entry::Remembered(Remembered { ids: vec![ghost, ghost, RememberedId { received_at: at, ..ghost }] })
        }
        4 => Entry::Mark(Mark::Close),
        5..10 => Entry::Received(Received {
            id,
            key: Some("k").filter(|_| at % 3 > 0),
            received_at: at,
            not_before: retry.map(|wait| wait.due),
            priority: u8::try_from(number(20) & 0xff).unwrap(),
            max_retries: narrow(number(9)),
            flags: Flags(narrow(number(16) % 16)),
            body_hash: Some([7; 32]),
            ..EVENT
        }),
        10..15 => Entry::Started(Started {
            of,
            epoch: token.epoch,
            attempt: narrow(number(9)),
            alone: at % 5 == 0,
            opens_claim: true,
            at,
        }),
        15..17 => Entry::Completed(Completed { of, token, at }),
        17..19 => Entry::Failed(Failed { of, token, error: "", at, retry }),
        19 => Entry::Released(Released { of, token, at }),
        20 => Entry::Replayed(Replayed { of, at }),
        21 => Entry::Cancelled(Cancelled { of, reason: "", at }),
        22..24 => Entry::Condemned(Condemned { of, reason: "", at }),
        24..26 => {
            let wait = Wait { due: at, delay: number(100) };
            Entry::Snoozed(Snoozed { of, token, at, wait, count: narrow(number(9)) })
        }
        26 => Entry::Paused(paused),
        27 => Entry::Resumed(Resumed { scope, at }),
        28 => Entry::Cursor(cursor),
        _ => Entry::Handled(Handled { of, token, handler: id, at }),
    }
}

const GHOST: RememberedId =
    RememberedId { seq: 0, id_hash: 0, body_hash: Some(1), body_is_identity: true, received_at: 0 };

#[test]
fn foreign_entries_are_refused_or_applied_whole_and_never_panic() {
    for seed in 1..=40 {
        let mut chance = Chance::new(seed);
        let mut state = State::new([1; 16], Policy::default());
        let mut applied = 0;
        let mut seq = 0;
        for _ in 0..600 {
            let entry = foreign(&mut chance);
            seq += u64::from(seq < 50 || chance.below(4) == 0);
            let place = Place { segment: u32::try_from(seq / 10).unwrap(), offset: 0, length: 0 };
            let wall = Timestamp::from_unix_micros(chance.next().cast_signed());
            let now = Moment { wall, steady: chance.below(99) };
            let before = (state.counts(), state.totals(), state.list(0).collect::<Vec<_>>());
            match state.apply(seq, place, &entry, now) {
                Ok(_) => applied += 1,
                Err(illegal) => {
                    let after = (state.counts(), state.totals(), state.list(0).collect::<Vec<_>>());
                    assert_eq!(before, after, "seed {seed}: {illegal}");
                }
            }
            let _ = state.next_claim(now, chance.below(99));
            state.check();
        }
        assert!(applied > 20, "seed {seed}: {applied} entries applied");
    }
}

//! Entries that nobody here wrote: in any order, about anything. None panics, and what is refused has changed nothing (R14).

use crate::event::entry::{
    Begun, Cancelled, Completed, Condemned, Cursor, Entry, Failed, Flags, Handled, Horizon, Mark, Of, Paused, Received,
    Released, Remembered, RememberedId, Replayed, Resumed, Scoped, Snoozed, Started, Summary, Token, Totals, Wait,
};
use crate::state::IdHasher;
use crate::state::hash::low;

/// The store that they are about, as far as hashes tell.
pub(crate) const STORE_ID: [u8; 16] = [1; 16];

/// An event like any other.
pub(crate) const EVENT: Received<'static> = Received {
    id: "",
    event_type: "Issue",
    action: None,
    source: "test",
    key: None,
    received_at: 0,
    not_before: None,
    priority: 0,
    max_retries: 3,
    flags: Flags(0),
    body_hash: None,
    headers: Vec::new(),
    body: b"{}",
};

const GHOST: RememberedId =
    RememberedId { seq: 0, id_hash: 0, body_hash: Some(1), body_is_identity: true, received_at: 0 };

/// Any entry, made of what `number` gives: numbers below its argument, so that they meet, and now and then others.
pub(crate) fn entry(number: &mut dyn FnMut(u64) -> u64) -> Entry<'static> {
    let id = pick(&["a", "b", "c", "d", "e", "f", "g", "h"], number(8));
    let hasher = IdHasher::new(STORE_ID);
    let of = Of { seq: number(60), id_hash: low(hasher.id(id)) };
    let token = Token { epoch: number(3), started: number(60) };
    let at = number(100).cast_signed();
    let wait = Wait { due: number(100).cast_signed(), delay: number(100) };
    let retry = Some(wait).filter(|_| at % 2 == 0);
    let scope = pick(&[Scoped::Type("Issue"), Scoped::Key("k"), Scoped::Key("")], number(3));
    let paused = Paused { scope, at, until: retry.map(|wait| wait.due), reason: "" };
    match number(31) {
        0..5 => of_the_store(number, hasher.id(id), paused),
        5..10 => Entry::Received(Received {
            id,
            key: Some("k").filter(|_| at % 3 > 0),
            received_at: at,
            not_before: retry.map(|wait| wait.due),
            priority: narrow(number(20)).to_le_bytes()[0],
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
        24..26 => Entry::Snoozed(Snoozed { of, token, at, wait, count: narrow(number(9)) }),
        26 => Entry::Paused(paused),
        27 => Entry::Resumed(Resumed { scope, at }),
        28 => Entry::Cursor(Cursor { name: id, seq: Some(number(9)).filter(|seq| seq % 2 == 0), at }),
        _ => Entry::Handled(Handled { of, token, handler: id, at }),
    }
}

/// What belongs to no single event.
fn of_the_store(number: &mut dyn FnMut(u64) -> u64, id_hash: u128, paused: Paused<'static>) -> Entry<'static> {
    let at = paused.at;
    let horizon = Horizon { finished_before: number(9).cast_signed(), remembered_before: number(9).cast_signed() };
    match number(5) {
        0 => Entry::Begun(Begun { first_seq: 0, epoch: number(4) & 0xff, boot: number(2), at, predecessor: None }),
        1 => Entry::State(Summary {
            totals: Totals { received: number(9), claims: u64::MAX, horizon, ..Totals::default() },
            pauses: vec![paused, paused],
            cursors: vec![("a", number(9)), ("a", 7)],
        }),
        2 => Entry::Horizon(horizon),
        3 => {
            let ghost = RememberedId { seq: number(60), id_hash, body_hash: None, ..GHOST };
            Entry::Remembered(Remembered { ids: vec![ghost, ghost, RememberedId { received_at: at, ..ghost }] })
        }
        _ => Entry::Mark(Mark::Close),
    }
}

fn pick<T: Copy, const N: usize>(among: &[T; N], number: u64) -> T {
    let at = usize::try_from(number % N as u64).expect("a remainder is small");
    *among.get(at).expect("a remainder is within")
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).expect("so few bits fit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Moment, Place, Timestamp};
    use crate::state::chance::Chance;
    use crate::state::{Policy, State};

    #[test]
    fn foreign_entries_are_refused_or_applied_whole_and_never_panic() {
        for seed in 1..=40 {
            let mut chance = Chance::new(seed);
            let mut state = State::new(STORE_ID, Policy::default());
            let mut applied = 0;
            let mut seq = 0;
            for _ in 0..600 {
                let entry = entry(&mut |most| if chance.below(20) == 0 { chance.next() } else { chance.below(most) });
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
}

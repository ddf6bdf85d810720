//! One event, in 112 bytes.
//!
//! ```text
//! per live event, in bytes                          full    typical
//! slot                                               112        112
//! order by seq              12 + run and tree         13         13
//! line of what is offered   12 + run and tree         13         13
//! index by id               6 at 75 to 85 %            8          8
//! index of keys             the same, one per key      8       ≤  8
//! index of bodies           where they are identity    8          –
//!                                                    162        154
//! ```
//!
//! Measured as resident memory with a million events, each with a key of its own: 160 bytes, and 170 where bodies are identity;
//! 137 where a thousand events share a key, because only the first of each key is in the order of what is offered.
//!
//! What is offered lies in a line for each type and priority: a line of up to sixteen events takes 16 bytes for each and about 150
//! more, so that many types with few events each take no more than they did before they had lines of their own.
//!
//! Retries wait in an order whose runs are two thirds full (18 instead of 13), and are not offered meanwhile. What few events have
//! lies beside the slots: the place of an error text and the rank after a replay ([`crate::state::slots`]).

use crate::event::entry::{Flags, Of};
use crate::event::{Place, Status};
use crate::state::hash::low;
use crate::state::slab::{NONE, Vacate};

const _: () = assert!(size_of::<Slot>() == 112);

/// What is kept of an event that is live or retained.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// Seq of its reception; 0 in a vacant slot.
    pub(crate) seq: u64,
    id: [u64; 2],
    body: [u64; 2],
    /// Hash of its key; 0: it has none.
    pub(crate) key: u64,
    pub(crate) received_at: i64,
    /// Seq of the last entry about it. While it is processing this is the one that started it, so it is the token's too.
    pub(crate) last_seq: u64,
    /// When a run last began; `i64::MIN`: never.
    last_attempt: i64,
    /// Waiting: until when, by the steady clock. Finished: since when, as [`ascending`] has it. Otherwise nothing.
    pub(crate) when: u64,
    segment: u32,
    offset: u32,
    length: u32,
    /// The next of its key, or [`NONE`].
    pub(crate) next: u32,
    /// The one before it in its key; the first has the last here; [`NONE`]: it does not hold its key.
    pub(crate) prev: u32,
    /// The number of its type in 20 bits, its priority in the 4 above.
    kind: [u8; 3],
    /// Its status in 3 bits, its lane in the 4 above.
    stand: u8,
    /// These count up to 65,535 and stay there.
    pub(crate) attempt: u16,
    pub(crate) retry_count: u16,
    pub(crate) max_retries: u16,
    marks: u8,
    deaths: u8,
}

/// Facts about an event, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fact(u8);

impl Fact {
    pub(crate) const OWN_ID: Self = Self(1);
    pub(crate) const BODY_IS_IDENTITY: Self = Self(1 << 1);
    pub(crate) const HAS_BODY_HASH: Self = Self(1 << 2);
    /// It is not to run before [`Slot::when`].
    pub(crate) const WAITS: Self = Self(1 << 3);
    /// Its present run was started alone.
    pub(crate) const ALONE: Self = Self(1 << 4);
    /// Its rank is not its seq but lies beside the slots.
    pub(crate) const RERANKED: Self = Self(1 << 5);
    /// The place of an error text lies beside the slots.
    pub(crate) const HAS_ERROR: Self = Self(1 << 6);
    /// Its present run does not end though it was told to: it has lost its slot.
    pub(crate) const STUCK: Self = Self(1 << 7);
}

/// Which set an event is in. Each is in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// In none yet.
    Out,
    /// May be offered.
    Ready,
    /// May be offered when nothing runs.
    Suspect,
    /// Killed the process too often; to be condemned.
    Condemned,
    /// Waits for a time.
    Waiting,
    /// Waits for another of its key.
    Behind,
    /// The first of a key that is paused.
    Paused,
    /// A suspect of a type that is paused.
    Shelved,
    /// Nobody handles its type.
    Held,
    /// Runs.
    InFlight,
    /// Completed or cancelled; a horizon forgets it.
    Finished,
    /// Failed for good; waits for a person.
    Failed,
}

impl Lane {
    const ALL: [Self; 12] = [
        Self::Out,
        Self::Ready,
        Self::Suspect,
        Self::Condemned,
        Self::Waiting,
        Self::Behind,
        Self::Paused,
        Self::Shelved,
        Self::Held,
        Self::InFlight,
        Self::Finished,
        Self::Failed,
    ];
}

const _: () = assert!(Lane::ALL.len() <= 16);

/// What a new slot is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) seq: u64,
    pub(crate) place: Place,
    pub(crate) id: u128,
    pub(crate) body: Option<u128>,
    pub(crate) key: Option<u64>,
    pub(crate) kind: u32,
    /// 0 to 9.
    pub(crate) priority: u8,
    pub(crate) received_at: i64,
    pub(crate) max_retries: u32,
    pub(crate) flags: Flags,
    /// Not to run before this, by the steady clock.
    pub(crate) due: Option<u64>,
    pub(crate) status: Status,
}

impl Slot {
    pub(crate) fn new(arrival: &Arrival) -> Self {
        let mut slot = Self::vacant(NONE);
        slot.seq = arrival.seq;
        slot.id = halves(arrival.id);
        slot.body = halves(arrival.body.unwrap_or(0));
        slot.key = arrival.key.unwrap_or(0);
        slot.received_at = arrival.received_at;
        slot.last_seq = arrival.seq;
        slot.segment = arrival.place.segment;
        slot.offset = arrival.place.offset;
        slot.length = arrival.place.length;
        debug_assert!(arrival.kind < 1 << 20 && arrival.priority < 16, "type and priority share three bytes");
        let [low, middle, high, _] = (arrival.kind | u32::from(arrival.priority) << 20).to_le_bytes();
        slot.kind = [low, middle, high];
        slot.max_retries = u16::try_from(arrival.max_retries).unwrap_or(u16::MAX);
        slot.set(Fact::OWN_ID, arrival.flags.contains(Flags::OWN_ID));
        slot.set(Fact::BODY_IS_IDENTITY, arrival.flags.contains(Flags::BODY_IS_IDENTITY));
        slot.set(Fact::HAS_BODY_HASH, arrival.body.is_some());
        slot.set_due(arrival.due);
        slot.set_status(arrival.status);
        slot
    }

    pub(crate) fn id(&self) -> u128 {
        whole(self.id)
    }

    /// How transitions name it.
    pub(crate) fn of(&self) -> Of {
        Of { seq: self.seq, id_hash: low(self.id()) }
    }

    /// When it arrived or, if that was later, when a run of it last began.
    pub(crate) fn last_moved(&self) -> i64 {
        self.received_at.max(self.last_attempt)
    }

    pub(crate) fn body(&self) -> Option<u128> {
        self.is(Fact::HAS_BODY_HASH).then(|| whole(self.body))
    }

    /// The hash of the body, where the same body under another id is a duplicate.
    pub(crate) fn identity(&self) -> Option<u128> {
        self.body().filter(|_| self.is(Fact::BODY_IS_IDENTITY))
    }

    pub(crate) fn kind(&self) -> u32 {
        let [low, middle, high] = self.kind;
        u32::from_le_bytes([low, middle, high & 15, 0])
    }

    pub(crate) const fn priority(&self) -> u8 {
        let [_, _, high] = self.kind;
        high >> 4
    }

    pub(crate) fn place(&self) -> Place {
        Place { segment: self.segment, offset: self.offset, length: self.length }
    }

    pub(crate) fn set_place(&mut self, place: Place) {
        Place { segment: self.segment, offset: self.offset, length: self.length } = place;
    }

    pub(crate) fn status(&self) -> Status {
        Status::ALL.get(usize::from(self.stand & 7)).copied().expect("only statuses are stored")
    }

    pub(crate) fn set_status(&mut self, status: Status) {
        self.stand = self.stand & !7 | status as u8;
    }

    pub(crate) fn lane(&self) -> Lane {
        Lane::ALL.get(usize::from(self.stand >> 3)).copied().expect("only lanes are stored")
    }

    pub(crate) fn set_lane(&mut self, lane: Lane) {
        self.stand = self.stand & 7 | (lane as u8) << 3;
    }

    pub(crate) const fn is(&self, fact: Fact) -> bool {
        self.marks & fact.0 != 0
    }

    pub(crate) const fn set(&mut self, fact: Fact, holds: bool) {
        self.marks = if holds { self.marks | fact.0 } else { self.marks & !fact.0 };
    }

    /// Whether a handler may still run for it without anybody's doing.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.status(), Status::Pending | Status::Processing | Status::Retrying)
    }

    /// Whether it lies in the list of its key.
    pub(crate) const fn is_linked(&self) -> bool {
        self.prev != NONE
    }

    pub(crate) fn due(&self) -> Option<u64> {
        self.is(Fact::WAITS).then_some(self.when)
    }

    pub(crate) fn set_due(&mut self, due: Option<u64>) {
        self.set(Fact::WAITS, due.is_some());
        self.when = due.unwrap_or(0);
    }

    pub(crate) fn finished_at(&self) -> Option<i64> {
        let finished = matches!(self.status(), Status::Completed | Status::Failed | Status::Cancelled);
        finished.then(|| descending(self.when))
    }

    pub(crate) fn set_finished_at(&mut self, at: i64) {
        self.set(Fact::WAITS, false);
        self.when = ascending(at);
    }

    pub(crate) fn last_attempt(&self) -> Option<i64> {
        Some(self.last_attempt).filter(|at| *at != i64::MIN)
    }

    pub(crate) const fn set_last_attempt(&mut self, at: i64) {
        self.last_attempt = at;
    }

    /// Deaths of the process while this ran; counts to 15.
    pub(crate) const fn deaths(&self) -> u8 {
        self.deaths & 15
    }

    /// Those of them while this ran alone; counts to 15.
    pub(crate) const fn alone_deaths(&self) -> u8 {
        self.deaths >> 4
    }

    pub(crate) fn count_death(&mut self, alone: bool) {
        let deaths = (self.deaths() + 1).min(15);
        let alone_deaths = (self.alone_deaths() + u8::from(alone)).min(15);
        self.deaths = alone_deaths << 4 | deaths;
    }

    pub(crate) const fn forget_deaths(&mut self) {
        self.deaths = 0;
    }
}

impl Vacate for Slot {
    fn vacant(next: u32) -> Self {
        Self {
            seq: 0,
            id: [0; 2],
            body: [0; 2],
            key: 0,
            received_at: 0,
            last_seq: 0,
            last_attempt: i64::MIN,
            when: 0,
            segment: 0,
            offset: 0,
            length: 0,
            next,
            prev: NONE,
            kind: [0; 3],
            stand: 0,
            attempt: 0,
            retry_count: 0,
            max_retries: 0,
            marks: 0,
            deaths: 0,
        }
    }

    fn next_vacant(&self) -> Option<u32> {
        (self.seq == 0).then_some(self.next)
    }
}

/// A time as a number that ascends with it.
pub(crate) const fn ascending(at: i64) -> u64 {
    at.cast_unsigned() ^ (1 << 63)
}

/// The time that [`ascending`] made a number of.
pub(crate) const fn descending(number: u64) -> i64 {
    (number ^ (1 << 63)).cast_signed()
}

/// 128 bits as two words, which need not lie on sixteen bytes.
#[expect(clippy::cast_possible_truncation, reason = "the two halves of a u128")]
pub(crate) const fn halves(hash: u128) -> [u64; 2] {
    [(hash >> 64) as u64, hash as u64]
}

/// What [`halves`] cut.
pub(crate) const fn whole([high, low]: [u64; 2]) -> u128 {
    (high as u128) << 64 | low as u128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_lane_share_a_byte_without_touching_each_other() {
        let mut slot = Slot::vacant(NONE);
        for status in Status::ALL {
            for lane in Lane::ALL {
                slot.set_status(status);
                slot.set_lane(lane);
                assert_eq!((slot.status(), slot.lane()), (status, lane));
                slot.set_status(status);
                assert_eq!(slot.lane(), lane);
            }
        }
    }

    #[test]
    fn deaths_are_counted_apart_and_stay_at_fifteen() {
        let mut slot = Slot::vacant(NONE);
        slot.count_death(false);
        slot.count_death(true);
        assert_eq!((slot.deaths(), slot.alone_deaths()), (2, 1));
        (0..40).for_each(|_| slot.count_death(true));
        assert_eq!((slot.deaths(), slot.alone_deaths()), (15, 15));
    }

    #[test]
    fn times_ascend_as_numbers() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(times.is_sorted_by_key(|at| ascending(*at)));
        assert!(times.iter().all(|at| descending(ascending(*at)) == *at));
    }
}

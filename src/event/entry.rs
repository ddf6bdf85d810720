//! Everything that can happen: to an event, or to the store.
//!
//! An entry is the body of one record. Text and bytes are borrowed from the record, so that replaying a log copies nothing.
//! Transitions name the reception they belong to by its seq and a hash of its id ([`Of`]): either alone would do, both together
//! show a mix-up. The kinds and versions are numbered in [`crate::event::codec`].

use bincode::{BorrowDecode, Encode};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry<'a> {
    Begun(Begun),
    State(Summary<'a>),
    Mark(Mark),
    Received(Received<'a>),
    Started(Started),
    Completed(Completed),
    Failed(Failed<'a>),
    Released(Released),
    Replayed(Replayed),
    Cancelled(Cancelled<'a>),
    Condemned(Condemned<'a>),
    Snoozed(Snoozed),
    Handled(Handled<'a>),
    Horizon(Horizon),
    Remembered(Remembered),
    Accepted(Accepted<'a>),
    Paused(Paused<'a>),
    Resumed(Resumed<'a>),
    Cursor(Cursor<'a>),
}

impl Entry<'_> {
    /// The event that the entry is about, if it is a transition.
    pub(crate) const fn of(&self) -> Option<Of> {
        match self {
            Self::Started(entry) => Some(entry.of),
            Self::Completed(entry) => Some(entry.of),
            Self::Failed(entry) => Some(entry.of),
            Self::Released(entry) => Some(entry.of),
            Self::Replayed(entry) => Some(entry.of),
            Self::Cancelled(entry) => Some(entry.of),
            Self::Condemned(entry) => Some(entry.of),
            Self::Snoozed(entry) => Some(entry.of),
            Self::Handled(entry) => Some(entry.of),
            Self::Begun(_)
            | Self::State(_)
            | Self::Mark(_)
            | Self::Received(_)
            | Self::Horizon(_)
            | Self::Remembered(_)
            | Self::Accepted(_)
            | Self::Paused(_)
            | Self::Resumed(_)
            | Self::Cursor(_) => None,
        }
    }
}

/// The event that a transition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Of {
    /// Seq of its [`Received`].
    pub(crate) seq: u64,
    /// The low 64 bits of its id's hash.
    pub(crate) id_hash: u64,
}

/// What a claim is known by; settling with any other is refused (R17).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Token {
    /// The process start that claimed.
    pub(crate) epoch: u64,
    /// Seq of the claim's [`Started`].
    pub(crate) started: u64,
}

/// A segment begins. Always its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Begun {
    /// Seq of this record.
    pub(crate) first_seq: u64,
    /// Counts process starts of this store from 1.
    pub(crate) epoch: u64,
    /// Differs after a reboot, which kills processes without their doing.
    pub(crate) boot: u64,
    /// Microseconds since 1970.
    pub(crate) at: i64,
    /// How the segment before this one ended (R9); none in the first.
    pub(crate) predecessor: Option<Predecessor>,
}

/// How a segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Predecessor {
    pub(crate) ordinal: u64,
    /// Seq of its last record.
    pub(crate) last_seq: u64,
    /// Offset at which its last group ends.
    pub(crate) length: u64,
    /// Checksum over the header checksums of all its records, in order.
    pub(crate) digest: u32,
}

/// All that belongs to no single event, written after each [`Begun`] so that older copies are dead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Summary<'a> {
    pub(crate) totals: Totals,
    /// The pauses in force: these and no others.
    pub(crate) pauses: Vec<Paused<'a>>,
    /// Names and seqs of the cursors: these and no others.
    pub(crate) cursors: Vec<(&'a str, u64)>,
}

impl From<Totals> for Summary<'_> {
    /// What version 1 said, which knew neither pauses nor cursors.
    fn from(totals: Totals) -> Self {
        Self { totals, ..Self::default() }
    }
}

/// What is counted over the whole life of a store, and the horizons in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Totals {
    /// Receptions, ever.
    pub(crate) received: u64,
    /// Completions, ever.
    pub(crate) completed: u64,
    /// Attempts that failed, ever.
    pub(crate) attempts_failed: u64,
    /// Retries that were scheduled, ever.
    pub(crate) retries_scheduled: u64,
    /// Claims that were not empty, ever.
    pub(crate) claims: u64,
    /// The horizons in force.
    pub(crate) horizon: Horizon,
}

/// Why a mark was written. Its group attests that all before it was durable (R8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) enum Mark {
    /// Nothing happened for a second.
    Idle,
    /// The store was closed in good order.
    Close,
}

/// An event arrived.
#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Received<'a> {
    pub(crate) id: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) action: Option<&'a str>,
    pub(crate) source: &'a str,
    pub(crate) key: Option<&'a str>,
    /// Microseconds since 1970.
    pub(crate) received_at: i64,
    /// Not to be run earlier; microseconds since 1970.
    pub(crate) not_before: Option<i64>,
    /// 0 (first) to 9.
    pub(crate) priority: u8,
    pub(crate) max_retries: u32,
    pub(crate) flags: Flags,
    /// SHA-256 by which duplicates of the body are known.
    pub(crate) body_hash: Option<[u8; 32]>,
    /// Names and values of the kept headers.
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    /// The data as it was received: JSON.
    pub(crate) body: &'a [u8],
}

/// What else is known of a reception, one bit each; unknown bits are refused (R15).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Flags(pub(crate) u32);

impl Flags {
    /// The sender's own time was outside the tolerance.
    pub(crate) const STALE: Self = Self(1);
    /// The id was made up here, so nobody can send it again and it need not be remembered.
    pub(crate) const OWN_ID: Self = Self(1 << 1);
    /// The same body under another id is a duplicate too.
    pub(crate) const BODY_IS_IDENTITY: Self = Self(1 << 2);
    /// Kept under another id than was sent, because that one was taken by another body.
    pub(crate) const RENAMED: Self = Self(1 << 3);

    const KNOWN: u32 = (1 << 4) - 1;

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub(crate) const fn with(self, other: Self, set: bool) -> Self {
        if set { Self(self.0 | other.0) } else { self }
    }

    pub(crate) const fn unknown(self) -> u32 {
        self.0 & !Self::KNOWN
    }
}

/// A handler is about to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Started {
    pub(crate) of: Of,
    pub(crate) epoch: u64,
    /// Counts runs from 1.
    pub(crate) attempt: u32,
    /// Nothing else runs beside it: a death now is this event's doing.
    pub(crate) alone: bool,
    /// Whether this record is the first of its claim, which counts as one batch operation.
    pub(crate) opens_claim: bool,
    pub(crate) at: i64,
}

/// A run succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Completed {
    pub(crate) of: Of,
    pub(crate) token: Token,
    pub(crate) at: i64,
}

/// A run failed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Failed<'a> {
    pub(crate) of: Of,
    pub(crate) token: Token,
    pub(crate) error: &'a str,
    pub(crate) at: i64,
    /// When to run again; none: it has failed for good.
    pub(crate) retry: Option<Wait>,
}

/// A wait that was decided once. After a restart the rest of it is `clamp(due − now, 0, delay)`, so no clock can stretch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Wait {
    /// Microseconds since 1970.
    pub(crate) due: i64,
    /// Microseconds.
    pub(crate) delay: u64,
}

/// A run was given up without a verdict: it counts as no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Released {
    pub(crate) of: Of,
    pub(crate) token: Token,
    pub(crate) at: i64,
}

/// A run put its event off to a time of its own choice: it counts as no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Snoozed {
    pub(crate) of: Of,
    pub(crate) token: Token,
    pub(crate) at: i64,
    /// When to run again.
    pub(crate) wait: Wait,
    /// How often that was since its reception or its last replay, this time included: whoever drops older ones loses no count.
    pub(crate) count: u32,
}

/// Of several handlers of an event the one of this name has succeeded in this run, which goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Handled<'a> {
    pub(crate) of: Of,
    pub(crate) token: Token,
    pub(crate) handler: &'a str,
    pub(crate) at: i64,
}

/// A person asked for it to run anew: retries start from 0, and it joins the end of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Replayed {
    pub(crate) of: Of,
    pub(crate) at: i64,
}

/// Somebody called it off.
#[derive(Debug, Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Cancelled<'a> {
    pub(crate) of: Of,
    pub(crate) reason: &'a str,
    pub(crate) at: i64,
}

/// The store itself gave the event up, outside any run: its bytes are damaged, or it killed the process too often.
#[derive(Debug, Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Condemned<'a> {
    pub(crate) of: Of,
    pub(crate) reason: &'a str,
    pub(crate) at: i64,
}

/// Retention: what finished before, and what was received before. Only this forgets (R13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Horizon {
    /// Completed and cancelled events that finished earlier are forgotten; microseconds since 1970.
    pub(crate) finished_before: i64,
    /// Ids received earlier are no longer remembered; microseconds since 1970.
    pub(crate) remembered_before: i64,
}

impl Default for Horizon {
    fn default() -> Self {
        Self { finished_before: i64::MIN, remembered_before: i64::MIN }
    }
}

/// Ids of forgotten events whose receptions are about to leave the disk, so that duplicates are still refused.
#[derive(Debug, Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Remembered {
    pub(crate) ids: Vec<RememberedId>,
}

/// What is left of a forgotten event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct RememberedId {
    /// Seq of its [`Received`].
    pub(crate) seq: u64,
    pub(crate) id_hash: u128,
    /// The first 128 bits of its body's hash, where it had one.
    pub(crate) body_hash: Option<u128>,
    /// Whether the same body under another id is a duplicate too.
    pub(crate) body_is_identity: bool,
    pub(crate) received_at: i64,
}

/// Somebody accepted that records are lost: it is said here for good, so that no later reader takes the gap for anything else.
#[derive(Debug, Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Accepted<'a> {
    /// The first lost seq.
    pub(crate) first_seq: u64,
    /// The last lost seq.
    pub(crate) last_seq: u64,
    pub(crate) reason: &'a str,
    pub(crate) at: i64,
}

/// What a pause is for: the events of a type, or those of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) enum Scoped<'a> {
    Type(&'a str),
    Key(&'a str),
}

/// A person stopped the events of a type or of a key from being run. It replaces an earlier pause of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Paused<'a> {
    pub(crate) scope: Scoped<'a>,
    pub(crate) at: i64,
    /// When it ends by itself; none: somebody must end it. Microseconds since 1970. After a restart the rest of it is
    /// `clamp(until − now, 0, until − at)`.
    pub(crate) until: Option<i64>,
    pub(crate) reason: &'a str,
}

/// A person ended a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Resumed<'a> {
    pub(crate) scope: Scoped<'a>,
    pub(crate) at: i64,
}

/// Somebody who reads the log keeps their place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Cursor<'a> {
    pub(crate) name: &'a str,
    /// The last record that is done with; none: the cursor is removed.
    pub(crate) seq: Option<u64>,
    pub(crate) at: i64,
}

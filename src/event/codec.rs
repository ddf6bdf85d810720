//! Entries as bytes, and back: the only place that knows bincode. What a log mostly consists of is decoded without it ([`quick`]).
//!
//! ```text
//! 0        2          4
//! │ kind   │ version  │ bincode: little-endian, integers of variable length, no padding │
//! ```
//!
//! Integers below 251 take one byte; 251, 252, 253 and 254 announce two, four, eight and sixteen bytes; signed ones are zigzagged
//! first. Text and bytes are a length, then the bytes. An option is one byte, 0 or 1, then the value. A choice (`Mark`) is its
//! number. `u8`, `bool` and arrays of bytes stand as they are.
//!
//! A released (kind, version) never changes: a new shape gets a new version, and the old one is decoded for ever (R15).

mod quick;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::{SizeWriter, Writer};
use bincode::error::DecodeError;
use bincode::{BorrowDecode, Encode};

use crate::event::entry::{
    Accepted, Begun, Cancelled, Completed, Condemned, Cursor, Entry, Failed, Handled, Horizon, Mark, Paused, Received,
    Released, Remembered, Replayed, Resumed, Snoozed, Started, Summary, Totals,
};

/// No decoder reserves more than this, whatever a length says (R14): the record limit, and what bincode counts beyond it, which is 8
/// bytes for each length and 14 for each header however few they take.
const DECODE_BYTES_MAX: usize = 16 * 1024 * 1024 + 64 * 1024;

const CONFIG: Configuration<LittleEndian, Varint, Limit<DECODE_BYTES_MAX>> =
    bincode::config::standard().with_limit::<DECODE_BYTES_MAX>();

/// Bytes before the bincode part: kind and version.
const PREFIX_BYTES: usize = 4;

/// The kinds, as they stand in the first two bytes. Numbers are never reused.
mod kind {
    pub(super) const BEGUN: u16 = 1;
    pub(super) const STATE: u16 = 2;
    pub(super) const MARK: u16 = 3;
    pub(super) const RECEIVED: u16 = 4;
    pub(super) const STARTED: u16 = 5;
    pub(super) const COMPLETED: u16 = 6;
    pub(super) const FAILED: u16 = 7;
    pub(super) const RELEASED: u16 = 8;
    pub(super) const REPLAYED: u16 = 9;
    pub(super) const CANCELLED: u16 = 10;
    pub(super) const CONDEMNED: u16 = 11;
    pub(super) const HORIZON: u16 = 12;
    pub(super) const REMEMBERED: u16 = 13;
    pub(super) const ACCEPTED: u16 = 14;
    pub(super) const PAUSED: u16 = 15;
    pub(super) const RESUMED: u16 = 16;
    pub(super) const SNOOZED: u16 = 17;
    pub(super) const HANDLED: u16 = 18;
    pub(super) const CURSOR: u16 = 19;
}

/// The version that is written, and the only one but of those kinds that have another below.
const VERSION: u16 = 1;

/// The version of `State` that is written. Version 1 held the totals alone.
const STATE_VERSION: u16 = 2;

/// Why a record's body is no entry. Its checksum held, so another version wrote it or we did wrong; it is never guessed at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a body of {len} bytes is too short to name its kind")]
    Short { len: usize },
    #[error("unknown record kind {kind}: a newer version of ledgerline wrote it")]
    UnknownKind { kind: u16 },
    #[error("unknown version {version} of record kind {kind} ({name}): a newer version of ledgerline wrote it")]
    UnknownVersion { kind: u16, name: &'static str, version: u16 },
    #[error("the body of a {name} record does not decode: {reason}")]
    Undecodable { name: &'static str, reason: String },
    #[error("{left} bytes remain after the body of a {name} record")]
    Remainder { name: &'static str, left: usize },
    #[error("unknown flags {flags:#x} in a received record: a newer version of ledgerline wrote it")]
    UnknownFlags { flags: u32 },
}

impl Refusal {
    /// Whether a newer version, rather than damage, explains it.
    pub(crate) fn is_unsupported(&self) -> bool {
        matches!(self, Self::UnknownKind { .. } | Self::UnknownVersion { .. } | Self::UnknownFlags { .. })
    }
}

impl Entry<'_> {
    /// The entry's name, as the dump and the history print it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Begun(_) => "begun",
            Self::State(_) => "state",
            Self::Mark(_) => "mark",
            Self::Received(_) => "received",
            Self::Started(_) => "started",
            Self::Completed(_) => "completed",
            Self::Failed(_) => "failed",
            Self::Released(_) => "released",
            Self::Replayed(_) => "replayed",
            Self::Cancelled(_) => "cancelled",
            Self::Condemned(_) => "condemned",
            Self::Snoozed(_) => "snoozed",
            Self::Handled(_) => "handled",
            Self::Horizon(_) => "horizon",
            Self::Remembered(_) => "remembered",
            Self::Accepted(_) => "accepted",
            Self::Paused(_) => "paused",
            Self::Resumed(_) => "resumed",
            Self::Cursor(_) => "cursor",
        }
    }

    /// Appends the entry's bytes to `buffer`.
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Begun(body) => put(buffer, kind::BEGUN, body),
            Self::State(body) => put_version(buffer, kind::STATE, STATE_VERSION, body),
            Self::Mark(body) => put(buffer, kind::MARK, body),
            Self::Received(body) => put(buffer, kind::RECEIVED, body),
            Self::Started(body) => put(buffer, kind::STARTED, body),
            Self::Completed(body) => put(buffer, kind::COMPLETED, body),
            Self::Failed(body) => put(buffer, kind::FAILED, body),
            Self::Released(body) => put(buffer, kind::RELEASED, body),
            Self::Replayed(body) => put(buffer, kind::REPLAYED, body),
            Self::Cancelled(body) => put(buffer, kind::CANCELLED, body),
            Self::Condemned(body) => put(buffer, kind::CONDEMNED, body),
            Self::Snoozed(body) => put(buffer, kind::SNOOZED, body),
            Self::Handled(body) => put(buffer, kind::HANDLED, body),
            Self::Horizon(body) => put(buffer, kind::HORIZON, body),
            Self::Remembered(body) => put(buffer, kind::REMEMBERED, body),
            Self::Accepted(body) => put(buffer, kind::ACCEPTED, body),
            Self::Paused(body) => put(buffer, kind::PAUSED, body),
            Self::Resumed(body) => put(buffer, kind::RESUMED, body),
            Self::Cursor(body) => put(buffer, kind::CURSOR, body),
        }
    }
}

impl Received<'_> {
    /// Appends what [`Entry::encode`] would, but for the bytes of the event's own body: they come last, and are where the caller has them.
    pub(crate) fn encode_head(&self, buffer: &mut Vec<u8>) {
        put(buffer, kind::RECEIVED, &Received { body: &[], headers: self.headers.clone(), ..*self });
        let length = buffer.pop();
        debug_assert_eq!(length, Some(0), "the length of a body stands last before it");
        bincode::encode_into_writer(self.body.len(), Append(buffer), CONFIG).expect("lengths have an encoding");
    }
}

/// Appends to a vector without bincode's intermediate copy.
struct Append<'a>(&'a mut Vec<u8>);

impl Writer for Append<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn put(buffer: &mut Vec<u8>, kind: u16, body: &impl Encode) {
    put_version(buffer, kind, VERSION, body);
}

fn put_version(buffer: &mut Vec<u8>, kind: u16, version: u16, body: &impl Encode) {
    buffer.extend_from_slice(&kind.to_le_bytes());
    buffer.extend_from_slice(&version.to_le_bytes());
    // Only the writer can fail, and a vector does not.
    bincode::encode_into_writer(body, Append(buffer), CONFIG).expect("entries have an encoding");
}

/// How many bytes a pause takes in a `State`.
pub(crate) fn pause_bytes(paused: &Paused<'_>) -> u64 {
    bytes_of(paused)
}

/// How many bytes a `State` takes that says this, and beside it so many pauses, which take so many bytes together.
pub(crate) fn state_bytes(rest: &Summary<'_>, pause_count: usize, pause_bytes: u64) -> u64 {
    PREFIX_BYTES as u64 + bytes_of(rest) - bytes_of(&rest.pauses.len()) + bytes_of(&pause_count) + pause_bytes
}

fn bytes_of(value: &impl Encode) -> u64 {
    let mut size = SizeWriter::default();
    bincode::encode_into_writer(value, &mut size, CONFIG).expect("what an entry holds has an encoding");
    size.bytes_written as u64
}

/// The entry that `body` holds.
pub(crate) fn decode(body: &[u8]) -> Result<Entry<'_>, Refusal> {
    let (kind, version, rest) = split(body)?;
    if version == VERSION
        && let Some(entry) = quick::decode(kind, rest)
    {
        return Ok(entry);
    }
    decoded(kind, version, rest)
}

/// The same by bincode alone, whose word counts.
#[cfg(any(test, fuzzing))]
pub(crate) fn decode_slowly(body: &[u8]) -> Result<Entry<'_>, Refusal> {
    let (kind, version, rest) = split(body)?;
    decoded(kind, version, rest)
}

/// Kind, version, and the bincode part.
fn split(body: &[u8]) -> Result<(u16, u16, &[u8]), Refusal> {
    let Some((prefix, rest)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(Refusal::Short { len: body.len() });
    };
    let [kind_low, kind_high, version_low, version_high] = *prefix;
    let kind = u16::from_le_bytes([kind_low, kind_high]);
    Ok((kind, u16::from_le_bytes([version_low, version_high]), rest))
}

fn decoded(kind: u16, version: u16, rest: &[u8]) -> Result<Entry<'_>, Refusal> {
    let named = |name| Named { name, kind, version, rest };
    Ok(match kind {
        kind::BEGUN => Entry::Begun(named("begun").body()?),
        kind::STATE if version == STATE_VERSION => Entry::State(named("state").body_of(STATE_VERSION)?),
        kind::STATE => Entry::State(named("state").body::<Totals>()?.into()),
        kind::MARK => Entry::Mark(named("mark").body()?),
        kind::RECEIVED => Entry::Received(checked(named("received").body()?)?),
        kind::STARTED => Entry::Started(named("started").body()?),
        kind::COMPLETED => Entry::Completed(named("completed").body()?),
        kind::FAILED => Entry::Failed(named("failed").body()?),
        kind::RELEASED => Entry::Released(named("released").body()?),
        kind::REPLAYED => Entry::Replayed(named("replayed").body()?),
        kind::CANCELLED => Entry::Cancelled(named("cancelled").body()?),
        kind::CONDEMNED => Entry::Condemned(named("condemned").body()?),
        kind::SNOOZED => Entry::Snoozed(named("snoozed").body()?),
        kind::HANDLED => Entry::Handled(named("handled").body()?),
        kind::HORIZON => Entry::Horizon(named("horizon").body()?),
        kind::REMEMBERED => Entry::Remembered(named("remembered").body()?),
        kind::ACCEPTED => Entry::Accepted(named("accepted").body()?),
        kind::PAUSED => Entry::Paused(named("paused").body()?),
        kind::RESUMED => Entry::Resumed(named("resumed").body()?),
        kind::CURSOR => Entry::Cursor(named("cursor").body()?),
        _ => return Err(Refusal::UnknownKind { kind }),
    })
}

/// The body of a kind that is known by name.
struct Named<'a> {
    name: &'static str,
    kind: u16,
    version: u16,
    rest: &'a [u8],
}

impl<'a> Named<'a> {
    fn body<T: BorrowDecode<'a, ()>>(&self) -> Result<T, Refusal> {
        self.body_of(VERSION)
    }

    fn body_of<T: BorrowDecode<'a, ()>>(&self, expected: u16) -> Result<T, Refusal> {
        let Self { name, kind, version, rest } = *self;
        if version != expected {
            return Err(Refusal::UnknownVersion { kind, name, version });
        }
        let (body, read) = bincode::borrow_decode_from_slice::<T, _>(rest, CONFIG)
            .map_err(|cause| Refusal::Undecodable { name, reason: plain(&cause) })?;
        if read == rest.len() { Ok(body) } else { Err(Refusal::Remainder { name, left: rest.len() - read }) }
    }
}

/// Why a body does not decode, for people who do not know the decoder.
fn plain(cause: &DecodeError) -> String {
    match cause {
        DecodeError::UnexpectedEnd { .. } => "it ends within a field".to_owned(),
        DecodeError::LimitExceeded => "a length in it is past the record limit".to_owned(),
        DecodeError::InvalidIntegerType { .. } => "an integer in it does not fit its field".to_owned(),
        DecodeError::UnexpectedVariant { found, .. } => format!("a choice in it has the unknown number {found}"),
        DecodeError::InvalidBooleanValue(found) => format!("a yes or no in it is {found}"),
        DecodeError::Utf8 { .. } => "a text in it is not UTF-8".to_owned(),
        other => other.to_string(),
    }
}

fn checked(received: Received<'_>) -> Result<Received<'_>, Refusal> {
    match received.flags.unknown() {
        0 => Ok(received),
        flags => Err(Refusal::UnknownFlags { flags }),
    }
}

const _: () = {
    // Every body that is put has a decoder; the list keeps the two in step.
    const fn both<'a, T: Encode + BorrowDecode<'a, ()>>() {}
    both::<Begun>();
    both::<Summary<'static>>();
    both::<Totals>();
    both::<Mark>();
    both::<Received<'static>>();
    both::<Started>();
    both::<Completed>();
    both::<Failed<'static>>();
    both::<Released>();
    both::<Replayed>();
    both::<Cancelled<'static>>();
    both::<Condemned<'static>>();
    both::<Snoozed>();
    both::<Handled<'static>>();
    both::<Horizon>();
    both::<Remembered>();
    both::<Accepted<'static>>();
    both::<Paused<'static>>();
    both::<Resumed<'static>>();
    both::<Cursor<'static>>();
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::entry::{Flags, Of, Predecessor, RememberedId, Scoped, Token, Wait};

    const OF: Of = Of { seq: 300, id_hash: 0x0102_0304_0506_0708 };
    const TOKEN: Token = Token { epoch: 2, started: 301 };
    const TOTALS: Totals = Totals {
        received: 1,
        completed: 2,
        attempts_failed: 3,
        retries_scheduled: 4,
        claims: 5,
        horizon: Horizon { finished_before: 6, remembered_before: -7 },
    };
    const PAUSED: Paused<'static> = Paused { scope: Scoped::Key("x"), at: 5, until: Some(4), reason: "no" };

    /// One entry of every kind with its golden bytes: what was once released decodes for ever.
    fn golden() -> Vec<(Entry<'static>, String)> {
        let mut golden = golden_of_the_store();
        golden.extend(golden_of_events());
        golden
    }

    fn golden_of_the_store() -> Vec<(Entry<'static>, String)> {
        let predecessor = Some(Predecessor { ordinal: 1, last_seq: 9, length: 4_096, digest: 0xdead_beef });
        vec![
            (
                Entry::Begun(Begun { first_seq: 10, epoch: 2, boot: 7, at: -1, predecessor }),
                "010001000a020701010109fb0010fcefbeadde".to_owned(),
            ),
            (
                Entry::State(Summary { totals: TOTALS, pauses: vec![PAUSED], cursors: vec![("c", 300)] }),
                "0200020001020304050c0d010101780a0108026e6f010163fb2c01".to_owned(),
            ),
            (Entry::Paused(PAUSED), "0f0001000101780a0108026e6f".to_owned()),
            (Entry::Resumed(Resumed { scope: Scoped::Type("I"), at: 5 }), "100001000001490a".to_owned()),
            (Entry::Cursor(Cursor { name: "c", seq: Some(9), at: 5 }), "13000100016301090a".to_owned()),
            (Entry::Cursor(Cursor { name: "c", seq: None, at: 5 }), "130001000163000a".to_owned()),
            (Entry::Mark(Mark::Idle), "0300010000".to_owned()),
            (Entry::Mark(Mark::Close), "0300010001".to_owned()),
            (Entry::Horizon(Horizon { finished_before: 6, remembered_before: -7 }), "0c0001000c0d".to_owned()),
            (
                Entry::Remembered(Remembered {
                    ids: vec![RememberedId {
                        seq: 1,
                        id_hash: 2,
                        body_hash: None,
                        body_is_identity: true,
                        received_at: 3,
                    }],
                }),
                "0d000100010102000106".to_owned(),
            ),
            (
                Entry::Accepted(Accepted { first_seq: 3, last_seq: 300, reason: "x", at: 5 }),
                "0e00010003fb2c0101780a".to_owned(),
            ),
        ]
    }

    fn golden_of_events() -> Vec<(Entry<'static>, String)> {
        let of = "fb2c01fd0807060504030201";
        let token = "02fb2d01";
        vec![
            (
                Entry::Received(Received {
                    id: "a",
                    event_type: "Issue",
                    action: Some("create"),
                    source: "linear",
                    key: None,
                    received_at: 1_000,
                    not_before: None,
                    priority: 0,
                    max_retries: 3,
                    flags: Flags::STALE,
                    body_hash: Some([0xab; 32]),
                    headers: vec![("h", "v")],
                    body: b"{}",
                }),
                format!(
                    "0400010001610549737375650106637265617465066c696e65617200fbd0070000030101{}0101680176027b7d",
                    "ab".repeat(32)
                ),
            ),
            (
                Entry::Started(Started { of: OF, epoch: 2, attempt: 1, alone: false, opens_claim: true, at: 5 }),
                format!("05000100{of}020100010a"),
            ),
            (Entry::Completed(Completed { of: OF, token: TOKEN, at: 5 }), format!("06000100{of}{token}0a")),
            (
                Entry::Failed(Failed {
                    of: OF,
                    token: TOKEN,
                    error: "no",
                    at: 5,
                    retry: Some(Wait { due: 9, delay: 4 }),
                }),
                format!("07000100{of}{token}026e6f0a011204"),
            ),
            (Entry::Released(Released { of: OF, token: TOKEN, at: 5 }), format!("08000100{of}{token}0a")),
            (Entry::Replayed(Replayed { of: OF, at: 5 }), format!("09000100{of}0a")),
            (Entry::Cancelled(Cancelled { of: OF, reason: "x", at: 5 }), format!("0a000100{of}01780a")),
            (Entry::Condemned(Condemned { of: OF, reason: "x", at: 5 }), format!("0b000100{of}01780a")),
            (
                Entry::Snoozed(Snoozed { of: OF, token: TOKEN, at: 5, wait: Wait { due: 9, delay: 4 }, count: 300 }),
                format!("11000100{of}{token}0a1204fb2c01"),
            ),
            (
                Entry::Handled(Handled { of: OF, token: TOKEN, handler: "mail", at: 5 }),
                format!("12000100{of}{token}046d61696c0a"),
            ),
        ]
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
        digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
    }

    #[test]
    fn a_head_is_all_of_a_reception_but_its_body() {
        static LONG: [u8; 70_000] = [b'x'; 70_000];
        let received = |body: &'static [u8]| {
            let entries = golden_of_events().into_iter().map(|(entry, _)| entry);
            let found = entries.filter_map(|entry| if let Entry::Received(found) = entry { Some(found) } else { None });
            found.map(move |found| Received { body, ..found })
        };
        for len in [0, 2, 250, 251, 70_000] {
            let body = &LONG[..len];
            for received in received(body) {
                let (mut whole, mut head) = (Vec::new(), Vec::new());
                received.encode_head(&mut head);
                Entry::Received(received).encode(&mut whole);
                head.extend_from_slice(body);
                assert!(whole == head, "{} bytes", body.len());
            }
        }
    }

    #[test]
    fn every_kind_keeps_its_golden_bytes() {
        for (entry, hex) in golden() {
            let mut encoded = Vec::new();
            entry.encode(&mut encoded);
            assert_eq!(encoded, bytes(&hex), "{entry:?}");
            assert_eq!(decode(&encoded).unwrap(), entry);
        }
    }

    #[test]
    fn versions_that_are_no_longer_written_are_decoded_for_ever() {
        let state = Entry::State(Summary::from(TOTALS));
        assert_eq!(decode(&bytes("0200010001020304050c0d")), Ok(state));
    }

    /// Whatever the quick decoder takes, bincode takes for the same.
    #[test]
    fn the_quick_decoder_agrees_wherever_it_decides() {
        let (mut decided, mut left) = (0, 0);
        for (entry, hex) in golden() {
            let whole = bytes(&hex);
            for at in PREFIX_BYTES..=whole.len() {
                for byte in [0, 1, 2, 3, 0x7f, 0x80, 250, 251, 252, 253, 254, 255] {
                    let mut odd = whole.clone();
                    match odd.get_mut(at) {
                        Some(place) => *place = byte,
                        None => odd.push(byte),
                    }
                    for odd in [&odd[..], &odd[..at]] {
                        let kind = u16::from_le_bytes([odd[0], odd[1]]);
                        let rest = &odd[PREFIX_BYTES..];
                        let Some(found) = quick::decode(kind, rest) else {
                            left += 1;
                            continue;
                        };
                        decided += 1;
                        let named = Named { name: "", kind, version: VERSION, rest };
                        let expected = match kind {
                            kind::RECEIVED => Entry::Received(checked(named.body().unwrap()).unwrap()),
                            kind::STARTED => Entry::Started(named.body().unwrap()),
                            kind::COMPLETED => Entry::Completed(named.body().unwrap()),
                            _ => panic!("{entry:?} is not for the quick decoder"),
                        };
                        assert_eq!(found, expected);
                    }
                }
            }
        }
        assert!(decided > 500 && left > 500, "{decided} decided, {left} left to bincode");
    }

    #[test]
    fn what_is_unknown_or_odd_is_refused_by_name() {
        let flags = {
            let mut encoded = Vec::new();
            let Entry::Received(mut received) = golden_of_events().swap_remove(0).0 else {
                panic!("the first is a reception")
            };
            received.flags = Flags(1 << 30);
            Entry::Received(received).encode(&mut encoded);
            encoded
        };
        for (bytes, says) in [
            (bytes("0100"), "too short"),
            (bytes("ff7f0100"), "unknown record kind 32767"),
            (bytes("0300020000"), "unknown version 2 of record kind 3 (mark)"),
            (bytes("0200030000"), "unknown version 3 of record kind 2 (state)"),
            (bytes("0f0001000201780a0108026e6f"), "does not decode: a choice in it has the unknown number 2"),
            (bytes("0300010002"), "does not decode: a choice in it has the unknown number 2"),
            (bytes("03000100fd0000000000000000"), "does not decode: an integer in it does not fit its field"),
            (bytes("1000010000"), "does not decode: it ends within a field"),
            (bytes("100001000001ff0a"), "does not decode: a text in it is not UTF-8"),
            (bytes("030001000000"), "1 bytes remain"),
            (bytes("0d000100fd00000000000000ff"), "does not decode"),
            (flags, "unknown flags 0x40000000"),
        ] {
            let refusal = decode(&bytes).unwrap_err();
            assert!(refusal.to_string().contains(says), "{refusal}");
        }
    }

    #[test]
    fn the_longest_record_decodes_however_many_headers_it_has() {
        let body = vec![b'x'; 16 * 1024 * 1024 - 300];
        let Entry::Received(mut received) = golden_of_events().swap_remove(0).0 else {
            panic!("the first is a reception")
        };
        received.headers = vec![("h", "v"); 32];
        received.body = &body;
        let mut encoded = Vec::new();
        Entry::Received(received.clone()).encode(&mut encoded);
        assert!((16 * 1024 * 1024 - 100..=16 * 1024 * 1024).contains(&encoded.len()), "{}", encoded.len());
        assert_eq!(decode(&encoded), Ok(Entry::Received(received)));
    }

    #[test]
    fn no_prefix_of_an_entry_decodes() {
        for (entry, hex) in golden() {
            let whole = bytes(&hex);
            for len in 0..whole.len() {
                assert!(decode(&whole[..len]).is_err(), "{entry:?} cut to {len}");
            }
        }
    }
}

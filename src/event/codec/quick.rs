//! The three kinds that a log mostly consists of, decoded without bincode, which takes several times as long.
//!
//! It only ever says yes: whatever is odd, long or has many headers is left to bincode, whose word counts. The tests of
//! [`super`] hold the two against each other.

use super::kind;
use crate::event::entry::{Completed, Entry, Flags, Of, Received, Started, Token};

/// Longer bodies are left to bincode, which bounds what a decoder may reserve.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// So are more headers than a reception may have.
const HEADER_COUNT_MAX: u64 = 32;

/// The entry of this kind, version 1, that `rest` holds, if it is plain.
pub(super) fn decode(kind: u16, rest: &[u8]) -> Option<Entry<'_>> {
    if rest.len() > BODY_BYTES_MAX {
        return None;
    }
    let mut fields = Fields(rest);
    let entry = match kind {
        kind::RECEIVED => Entry::Received(received(&mut fields)?),
        kind::STARTED => Entry::Started(Started {
            of: of(&mut fields)?,
            epoch: fields.u64()?,
            attempt: fields.u32()?,
            alone: fields.bool()?,
            opens_claim: fields.bool()?,
            at: fields.i64()?,
        }),
        kind::COMPLETED => {
            let of = of(&mut fields)?;
            let token = Token { epoch: fields.u64()?, started: fields.u64()? };
            Entry::Completed(Completed { of, token, at: fields.i64()? })
        }
        _ => return None,
    };
    fields.0.is_empty().then_some(entry)
}

fn of(fields: &mut Fields<'_>) -> Option<Of> {
    Some(Of { seq: fields.u64()?, id_hash: fields.u64()? })
}

fn received<'a>(fields: &mut Fields<'a>) -> Option<Received<'a>> {
    Some(Received {
        id: fields.text()?,
        event_type: fields.text()?,
        action: if fields.bool()? { Some(fields.text()?) } else { None },
        source: fields.text()?,
        key: if fields.bool()? { Some(fields.text()?) } else { None },
        received_at: fields.i64()?,
        not_before: if fields.bool()? { Some(fields.i64()?) } else { None },
        priority: fields.byte()?,
        max_retries: fields.u32()?,
        flags: Some(Flags(fields.u32()?)).filter(|flags| flags.unknown() == 0)?,
        body_hash: if fields.bool()? { Some(fields.take()?) } else { None },
        headers: headers(fields)?,
        body: fields.bytes()?,
    })
}

fn headers<'a>(fields: &mut Fields<'a>) -> Option<Vec<(&'a str, &'a str)>> {
    let count = fields.u64().filter(|count| *count <= HEADER_COUNT_MAX)?;
    (0..count).map(|_| Some((fields.text()?, fields.text()?))).collect()
}

/// Takes fields off the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn bool(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn u64(&mut self) -> Option<u64> {
        match self.byte()? {
            251 => self.take().map(|field| u16::from_le_bytes(field).into()),
            252 => self.take().map(|field| u32::from_le_bytes(field).into()),
            253 => self.take().map(u64::from_le_bytes),
            254.. => None,
            byte => Some(byte.into()),
        }
    }

    /// Eight bytes are too many for it, whatever they hold.
    fn u32(&mut self) -> Option<u32> {
        match self.byte()? {
            251 => self.take().map(|field| u16::from_le_bytes(field).into()),
            252 => self.take().map(u32::from_le_bytes),
            253.. => None,
            byte => Some(byte.into()),
        }
    }

    fn i64(&mut self) -> Option<i64> {
        let zigzag = self.u64()?;
        Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.bytes()?).ok()
    }
}
